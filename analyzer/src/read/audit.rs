//! What the headers of a recording must say of each other.

use std::collections::BTreeSet;

use spoor_format::header::{FRONT_BYTES, Header, META_OFFSET, Meta};
use spoor_format::lane::{CAUSES, LaneKind};
use spoor_format::status::Phase;

use super::finding::{Defect, Place};
use super::index::RingIndex;
use super::recording::Recording;

impl Recording {
    /// What is wrong beyond what had to be known to open it: copies that differ,
    /// chunks out of their places, counters that cannot be.
    pub fn audit(&self) -> Vec<Defect> {
        let mut defects = Vec::new();
        self.audit_copy(&mut defects);
        self.audit_ring("events", &self.events, self.header.events.chunks, &mut defects);
        self.audit_ring("info", &self.infos, self.header.info.chunks, &mut defects);
        self.audit_lanes(&mut defects);
        defects
    }

    fn audit_copy(&self, defects: &mut Vec<Defect>) {
        if self.source.len() < self.header.file_bytes {
            return;
        }
        let at = self.header.backup_offset();
        let copy = self.source.bytes(at, FRONT_BYTES).unwrap_or_default();
        let mut wrong = |byte: u64, what: &str| {
            let place = Place { part: Some("copy of the front".to_owned()), byte: Some(byte), ..Place::default() };
            defects.push(Defect::damage(place, what, "nothing, as long as the front is good"));
        };
        match Header::decode(&copy) {
            Ok(header) if header == self.header => {}
            Ok(_) => wrong(at, "its header says something else than the front"),
            Err(_) => wrong(at, "its header is damaged"),
        }
        let meta_at = at.saturating_add(META_OFFSET);
        match Meta::decode(copy.get(META_OFFSET as usize..).unwrap_or_default()) {
            Ok(meta) if meta == self.meta => {}
            Ok(_) => wrong(meta_at, "its meta section says something else than the front"),
            Err(_) => wrong(meta_at, "its meta section is damaged"),
        }
    }

    /// Turn n is place (n - 1) mod chunks, and no turn comes twice.
    fn audit_ring(&self, name: &'static str, ring: &RingIndex, places: u64, defects: &mut Vec<Defect>) {
        let mut chunks: Vec<_> = ring.chunks().map(|chunk| (chunk.header.seq, chunk)).collect();
        chunks.sort_unstable_by_key(|(seq, chunk)| (*seq, chunk.index));
        let turn = |seq: u64| seq.saturating_sub(1).checked_rem(places).unwrap_or(0);
        // In a stream the first place is that of the first segment that is there.
        let segments = self.source.segment_facts().filter(|_| name == "events");
        let shift = match (segments, chunks.first()) {
            (Some(_), Some((seq, chunk))) => seq.saturating_sub(1).saturating_sub(chunk.index),
            _ => 0,
        };
        // A copy of a window has only some of the chunks.
        let copied = name == "events" && self.meta.get("snapshot").is_some();
        let mut before = 0;
        for (seq, chunk) in chunks {
            let expected = match shift {
                _ if copied => chunk.index,
                0 => turn(seq),
                shift => seq.saturating_sub(1).saturating_sub(shift),
            };
            let what = if seq == before {
                "its number is that of another chunk".to_owned()
            } else if expected != chunk.index {
                format!("its number belongs to place {expected}")
            } else {
                before = seq;
                continue;
            };
            before = seq;
            let byte = Some(chunk.payload.saturating_sub(spoor_format::chunk::ChunkHeader::BYTES as u64));
            let place = Place {
                ring: Some(name),
                chunk: Some(chunk.index),
                number: Some(seq),
                byte,
                lane: Some(chunk.header.lane),
                time_ns: Some(self.clock.ns(chunk.header.base_tick)),
                ..Place::default()
            };
            defects.push(Defect::damage(place, what, "the order of events"));
        }
    }

    fn audit_lanes(&self, defects: &mut Vec<Defect>) {
        let causes = self.meta.get("drop_causes").map_or(0, |names| names.split_ascii_whitespace().count());
        let causes = causes.max(CAUSES.len());
        let chunks = self.events.lanes.keys().chain(self.infos.lanes.keys());
        let lanes: BTreeSet<u32> = (0..self.lanes_there()).chain(chunks.copied()).collect();
        for number in lanes {
            let Some(lane) = self.lane(number) else {
                let orphan = self.events.lanes.contains_key(&number) || self.infos.lanes.contains_key(&number);
                if orphan && !self.lane_table_damaged {
                    let place = Place { lane: Some(number), ..Place::default() };
                    let what = "it has chunks, but is not in the lane table";
                    defects.push(Defect::damage(place, what, "what it dropped, and which thread it is"));
                }
                continue;
            };
            let at = self.header.lane_offset.saturating_add(u64::from(number).saturating_mul(256));
            let mut wrong = |what: String, cost: &str| {
                let place = Place { byte: Some(at), lane: Some(number), ..Place::default() };
                defects.push(Defect::damage(place, what, cost));
            };
            if lane.dropped.iter().skip(causes).any(|n| *n > 0) {
                wrong("it dropped events for a cause that has no name".to_owned(), "why they were dropped");
            }
            if lane.dropping[0] > 0 && lane.dropping[1] > 0 && lane.dropping[1] < lane.dropping[0] {
                wrong("it stopped dropping before it began".to_owned(), "when its last events were dropped");
            }
            let stored = self.events.lanes.get(&number).and_then(|chunks| chunks.last());
            let stored = stored.map_or(0, super::index::ChunkRef::end_record);
            let over = self.status.phase == Phase::Stopped && self.events.unreadable == 0;
            if over && lane.sealed_events < stored && lane.kind != LaneKind::Recorder {
                let said = lane.sealed_events;
                wrong(format!("its counter of stored events says {said}, its last chunk {stored}"), "nothing");
            }
        }
    }
}
