//! The chunks of a ring, found by their headers alone, in the order of each lane.

use std::collections::BTreeMap;

use spoor_format::chunk::{COMMIT_OFFSET, ChunkHeader};
use spoor_format::header::RingLayout;

use super::finding::Finding;
use super::source::Source;

/// A chunk: its header as it was when the ring was indexed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkRef {
    pub(crate) header: ChunkHeader,
    /// Place in the ring.
    pub(crate) index: u64,
    /// Where its payload begins in the file.
    pub(crate) payload: u64,
    /// Bytes of the committed payload that the file still has.
    pub(crate) available: u64,
}

impl ChunkRef {
    /// Records that the lane had stored when this chunk ended.
    pub(crate) fn end_record(&self) -> u64 {
        self.header.first_record.saturating_add(u64::from(self.header.records))
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.available < u64::from(self.header.bytes)
    }
}

/// A ring's chunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct RingIndex {
    /// By lane, each in the order written.
    pub(crate) lanes: BTreeMap<u32, Vec<ChunkRef>>,
    /// Places whose header is damaged or behind the end of a cut file.
    pub(crate) unreadable: u64,
    /// Places not in use; in a ring that has turned, one being taken.
    pub(crate) unused: u64,
    /// No event of an unreadable chunk is older than this tick.
    pub(crate) unreadable_from: u64,
    /// Did the ring ever begin to overwrite?
    pub(crate) turned: bool,
}

impl RingIndex {
    /// Once every place was used and can be read, what is missing was overwritten.
    pub(crate) fn hides_nothing(&self) -> bool {
        self.turned && self.unreadable == 0 && self.unused == 0
    }

    /// The first tick of the last chunk before which something of its lane was overwritten.
    pub(crate) fn last_hole(&self) -> Option<u64> {
        let of_lane = |chunks: &Vec<ChunkRef>| {
            // Of holes further on nobody knows whether they are damage, unless there is none.
            let most = if self.hides_nothing() { chunks.len() } else { 1 };
            let ends = std::iter::once(0).chain(chunks.iter().map(ChunkRef::end_record));
            let holed = chunks.iter().zip(ends).take(most).filter(|(chunk, end)| chunk.header.first_record > *end);
            holed.last().map(|(chunk, _)| chunk.header.base_tick)
        };
        self.lanes.values().filter_map(of_lane).max()
    }

    /// The first tick of the oldest chunk there is.
    pub(crate) fn oldest_tick(&self) -> Option<u64> {
        let chunks = self.lanes.values().flatten();
        chunks.min_by_key(|chunk| chunk.header.seq).map(|chunk| chunk.header.base_tick)
    }

    /// All chunks in the order of their places.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &ChunkRef> {
        self.lanes.values().flatten()
    }
}

/// Reads all chunk headers of a ring.
pub(crate) fn read(
    source: &Source,
    name: &str,
    ring: &RingLayout,
    lane_slots: u64,
    live: bool,
    findings: &mut Vec<Finding>,
) -> RingIndex {
    let mut index = RingIndex::default();
    let mut bytes = Vec::new();
    let in_file = source.len().saturating_sub(ring.offset).div_ceil(ring.chunk_bytes.max(1)).min(ring.chunks);
    for place in 0..in_file {
        if source.is_gone(ring.chunk_offset(place)) {
            index.unreadable = index.unreadable.saturating_add(1);
            continue;
        }
        match read_header(source, ring, place, lane_slots, live, &mut bytes) {
            Ok(Some(chunk)) => index.lanes.entry(chunk.header.lane).or_default().push(chunk),
            Ok(None) => index.unused = index.unused.saturating_add(1),
            Err(what) => {
                index.unreadable = index.unreadable.saturating_add(1);
                findings.push(Finding::damage(
                    format!("{name} chunk {place} at byte {}", ring.chunk_offset(place)),
                    what,
                    "all that the chunk held",
                ));
            }
        }
    }
    index.unreadable = index.unreadable.saturating_add(ring.chunks.saturating_sub(in_file));
    for chunks in index.lanes.values_mut() {
        chunks.sort_by_key(|chunk| (chunk.header.seq, chunk.index));
    }
    let (turned, from) = (has_turned(&index, ring), unreadable_from(&index, ring));
    index.turned = turned;
    index.unreadable_from = from;
    index
}

fn read_header(
    source: &Source,
    ring: &RingLayout,
    place: u64,
    lane_slots: u64,
    live: bool,
    bytes: &mut Vec<u8>,
) -> Result<Option<ChunkRef>, String> {
    let start = ring.chunk_offset(place);
    source.read(start, ChunkHeader::BYTES, bytes).map_err(|error| error.to_string())?;
    if bytes.len() < ChunkHeader::BYTES {
        return Err("the file ends in its header".to_owned());
    }
    let room = ring.chunk_bytes.saturating_sub(ChunkHeader::BYTES as u64);
    let Some(header) = ChunkHeader::decode(bytes, room).map_err(|error| error.to_string())? else {
        return if live || !holds_records(bytes) { Ok(None) } else { Err(NOT_IN_USE.to_owned()) };
    };
    if u64::from(header.lane) >= lane_slots {
        return Err(format!("it says it is of lane {}, there are {lane_slots}", header.lane));
    }
    let payload = start.saturating_add(ChunkHeader::BYTES as u64);
    let available = source.available(payload, u64::from(header.bytes));
    Ok(Some(ChunkRef { header, index: place, payload, available }))
}

const NOT_IN_USE: &str = "it holds events, but its number says that it is not in use";

/// A chunk that is not in use has nothing committed, but for two instructions
/// while a thread takes it.
fn holds_records(header: &[u8]) -> bool {
    let commit = header.get(COMMIT_OFFSET..).and_then(|bytes| bytes.first_chunk());
    commit.is_some_and(|bytes| u64::from_le_bytes(*bytes) != 0)
}

fn has_turned(index: &RingIndex, ring: &RingLayout) -> bool {
    index.chunks().map(|chunk| chunk.header.seq).max().unwrap_or(0) > ring.chunks
}

/// Chunks are taken in the order of their numbers, and begin when taken: what is
/// missing began no earlier than the chunk with the last number before it.
fn unreadable_from(index: &RingIndex, ring: &RingLayout) -> u64 {
    let mut taken: Vec<(u64, u64)> = index.chunks().map(|chunk| (chunk.header.seq, chunk.header.base_tick)).collect();
    taken.sort_unstable();
    let newest = taken.last().map_or(0, |(seq, _)| *seq);
    let mut expected = newest.saturating_sub(ring.chunks).saturating_add(1);
    let mut from = 0;
    for (seq, tick) in taken {
        if seq > expected {
            break;
        }
        from = tick;
        expected = expected.max(seq.saturating_add(1));
    }
    from
}
