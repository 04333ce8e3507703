//! The lane table: one entry for each thread of the VM that ever recorded, with
//! its part of the loss ledger.
//!
//! The ledger always adds up: what the VM offered on a lane was stored or
//! dropped for one of [`CAUSES`]; what was stored is in the file or overwritten.

/// Size of an entry.
pub const ENTRY_BYTES: usize = 256;
/// Where the counters begin in an entry; each is a little-endian u64.
pub const SEALED_EVENTS_OFFSET: usize = 64;
/// As [`SEALED_EVENTS_OFFSET`], for the records in the info ring.
pub const SEALED_INFOS_OFFSET: usize = 72;
/// Where it stands since when the lane drops events, and until when at the latest:
/// two ticks, 0 while it drops none. What the last event of a lane would say.
pub const DROPPING_OFFSET: usize = 80;
/// Where in an entry a copy of a window says how many of the lane's stored events it left
/// out because their chunks end before the window begins.
pub const OUTSIDE_OFFSET: usize = 96;
/// Where it stands how many processes the lane was the first to be asked about, of a recording of
/// a sample: those in it, and those that are not.
pub const SAMPLED_OFFSET: usize = 104;
/// Where the drop counters begin, in the order of [`CAUSES`].
pub const DROPPED_OFFSET: usize = 128;

/// Why an event was offered but not stored. Only appended to; at most 16.
pub const CAUSES: [&str; 12] = [
    "no_chunk",      // every chunk of the ring was being written or copied
    "too_large",     // one event larger than a chunk
    "after_limit",   // a limit had been reached, tracing was still ending
    "no_lane",       // more threads than lanes
    "panic",         // a defect of the recorder, contained
    "nested",        // offered while the same thread was storing another event
    "rate",          // more events than the rate allows
    "function_rate", // more calls of the function than the rate allows
    "max_cost",      // the recorder had taken its share of the thread's time
    "sample",        // the process is not in the sample; these are counted as processes now
    "no_segment",    // the disk did not keep up: no segment was ready
    "gc_guard",      // garbage collections left to another that may trace them
];

/// A cause, as an index into [`CAUSES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
#[allow(missing_docs, reason = "described in CAUSES")]
pub enum Cause {
    NoChunk = 0,
    TooLarge = 1,
    AfterLimit = 2,
    NoLane = 3,
    Panic = 4,
    Nested = 5,
    Rate = 6,
    FunctionRate = 7,
    MaxCost = 8,
    Sample = 9,
    NoSegment = 10,
    GcGuard = 11,
}

impl Cause {
    /// The name.
    pub fn name(self) -> &'static str {
        CAUSES.get(self as usize).copied().unwrap_or("?")
    }
}

/// What kind of thread a lane is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum LaneKind {
    /// A normal scheduler.
    Scheduler = 1,
    /// A dirty CPU scheduler.
    DirtyCpu = 2,
    /// A dirty I/O scheduler.
    DirtyIo = 3,
    /// The recorder itself (info records only).
    Recorder = 4,
    /// A thread of another kind.
    Other = 5,
}

impl LaneKind {
    /// All kinds, with their names.
    pub const ALL: [(LaneKind, &'static str); 5] = [
        (LaneKind::Scheduler, "scheduler"),
        (LaneKind::DirtyCpu, "dirty_cpu"),
        (LaneKind::DirtyIo, "dirty_io"),
        (LaneKind::Recorder, "recorder"),
        (LaneKind::Other, "other"),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(kind, _)| *kind == self).map_or("other", |(_, name)| name)
    }
}

/// An entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lane {
    /// What kind of thread.
    pub kind: LaneKind,
    /// The number the VM gives it among its kind, from 1; 0 when unknown.
    pub index: u32,
    /// The operating system's thread id.
    pub os_tid: u64,
    /// Events stored in chunks that the lane has finished.
    pub sealed_events: u64,
    /// Info records stored in chunks that the lane has finished.
    pub sealed_infos: u64,
    /// Since when the lane drops events, and until when at the latest, in ticks;
    /// zeroes when it stored its last event, or was not offered another.
    pub dropping: [u64; 2],
    /// Of the events stored, those that a copy left out as outside of its window.
    pub outside: u64,
    /// Of a recording of a sample: processes in it, and not in it, that the lane was the first to
    /// be asked about.
    pub sampled: [u64; 2],
    /// Events dropped, by cause.
    pub dropped: [u64; 16],
}

impl Lane {
    /// The fixed part of the entry: magic word, kind, index, thread id, check word.
    pub fn identity(kind: LaneKind, index: u32, os_tid: u64) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(b"LANE");
        bytes[4..8].copy_from_slice(&(kind as u32).to_le_bytes());
        bytes[8..12].copy_from_slice(&index.to_le_bytes());
        bytes[16..24].copy_from_slice(&os_tid.to_le_bytes());
        let check = crc32fast::hash(&bytes[..24]);
        bytes[24..28].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// The bytes of an entry.
    #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "all offsets lie within the entry")]
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..32].copy_from_slice(&Self::identity(self.kind, self.index, self.os_tid));
        let sealed = [(SEALED_EVENTS_OFFSET, self.sealed_events), (SEALED_INFOS_OFFSET, self.sealed_infos)];
        let counters = sealed.into_iter().chain([(OUTSIDE_OFFSET, self.outside)]);
        let dropping = self.dropping.iter().enumerate().map(|(i, n)| (DROPPING_OFFSET + 8 * i, *n));
        let dropped = self.dropped.iter().enumerate().map(|(i, n)| (DROPPED_OFFSET + 8 * i, *n));
        let sampled = self.sampled.iter().enumerate().map(|(i, n)| (SAMPLED_OFFSET + 8 * i, *n));
        for (at, count) in counters.chain(dropping).chain(sampled).chain(dropped) {
            bytes[at..at + 8].copy_from_slice(&count.to_le_bytes());
        }
        bytes
    }

    /// The entry: `None` when no thread took it, an error when damaged.
    pub fn decode(bytes: &[u8]) -> Option<Result<Lane, crate::DecodeError>> {
        let entry: &[u8; ENTRY_BYTES] = bytes.get(..ENTRY_BYTES)?.try_into().ok()?;
        if entry.iter().take(32).all(|byte| *byte == 0) {
            return None;
        }
        let word = |at: usize| entry.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
        let kind_number = (word(0) >> 32) as u32;
        let got = crc32fast::hash(entry.get(..24).unwrap_or_default());
        let want = word(24) as u32;
        if got != want || entry.get(..4) != Some(b"LANE") {
            return Some(Err(crate::DecodeError::Checksum { what: "lane", want, got }));
        }
        let kind = LaneKind::ALL.iter().find(|(kind, _)| *kind as u32 == kind_number);
        let mut dropped = [0; 16];
        for (i, count) in dropped.iter_mut().enumerate() {
            *count = word(DROPPED_OFFSET.saturating_add(i.saturating_mul(8)));
        }
        Some(Ok(Lane {
            kind: kind.map_or(LaneKind::Other, |(kind, _)| *kind),
            index: word(8) as u32,
            os_tid: word(16),
            sealed_events: word(SEALED_EVENTS_OFFSET),
            sealed_infos: word(SEALED_INFOS_OFFSET),
            dropping: [word(DROPPING_OFFSET), word(DROPPING_OFFSET.saturating_add(8))],
            outside: word(OUTSIDE_OFFSET),
            sampled: [word(SAMPLED_OFFSET), word(SAMPLED_OFFSET.saturating_add(8))],
            dropped,
        }))
    }

    /// Events dropped for any cause.
    pub fn dropped_events(&self) -> u64 {
        self.dropped.iter().fold(0, |sum: u64, n| sum.saturating_add(*n))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back() {
        let mut dropped = [0; 16];
        dropped[Cause::AfterLimit as usize] = 9;
        let (kind, dropping, sampled) = (LaneKind::DirtyIo, [8, 9], [6, 4]);
        let (sealed_events, sealed_infos, outside) = (1 << 40, 3, 5);
        let lane =
            Lane { kind, index: 7, os_tid: 4242, sealed_events, sealed_infos, dropping, outside, sampled, dropped };
        assert_eq!(Lane::decode(&lane.encode()), Some(Ok(lane)));
        assert_eq!(lane.dropped_events(), 9);
        assert_eq!(Lane::decode(&[0; ENTRY_BYTES]), None);
    }

    #[test]
    fn a_damaged_identity_is_an_error() {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..32].copy_from_slice(&Lane::identity(LaneKind::Scheduler, 1, 5));
        bytes[9] ^= 4;
        assert!(matches!(Lane::decode(&bytes), Some(Err(crate::DecodeError::Checksum { .. }))));
    }
}
