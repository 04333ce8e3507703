//! The status block in page 0: the only part of it that changes after the start.

/// Where the block begins in page 0.
pub const OFFSET: usize = 1024;
/// Offset of the phase, a little-endian u32, within the page.
pub const PHASE_OFFSET: usize = OFFSET;
/// Offset of the tick at which recording stopped, a little-endian u64.
pub const STOP_TICK_OFFSET: usize = OFFSET + 8;
/// Offset of [`Found::wall_ns`], a little-endian u64, within the page.
pub const FOUND_WALL_OFFSET: usize = OFFSET + 16;
/// Offset of [`Found::by`], a little-endian u32.
pub const FOUND_BY_OFFSET: usize = OFFSET + 24;
/// Offset of [`Found::phase`], a little-endian u32.
pub const DIED_IN_OFFSET: usize = OFFSET + 28;
/// Offset of the reason's length, a little-endian u32; the reason follows it.
pub const REASON_OFFSET: usize = OFFSET + 64;
/// Longest reason, in bytes of UTF-8.
pub const MAX_REASON: usize = 1024;
/// Bytes of page 0 up to the end of the block.
pub const END: usize = REASON_OFFSET + 4 + MAX_REASON;

/// How far a recording has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// Being set up; nothing was recorded.
    Preparing = 0,
    /// Recording; in a file that nobody writes, the VM died.
    Recording = 1,
    /// A limit was reached, tracing is ending.
    Stopping = 2,
    /// Complete.
    Stopped = 3,
    /// The VM died; said by a later one that found the file.
    Crashed = 4,
}

impl Phase {
    /// All phases, with their names.
    pub const ALL: [(Phase, &'static str); 5] = [
        (Phase::Preparing, "preparing"),
        (Phase::Recording, "recording"),
        (Phase::Stopping, "stopping"),
        (Phase::Stopped, "stopped"),
        (Phase::Crashed, "crashed"),
    ];

    /// The name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(phase, _)| *phase == self).map_or("?", |(_, name)| name)
    }
}

/// The block, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// How far the recording has come.
    pub phase: Phase,
    /// When it stopped, in ticks; 0 while it records.
    pub stop_tick: u64,
    /// Why it stopped; empty while it records.
    pub reason: String,
}

impl Status {
    /// Writes the block into page 0, [`END`] bytes of it or more.
    #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "all offsets lie before END")]
    pub fn encode_into(&self, page: &mut [u8]) {
        page[PHASE_OFFSET..PHASE_OFFSET + 4].copy_from_slice(&(self.phase as u32).to_le_bytes());
        page[STOP_TICK_OFFSET..STOP_TICK_OFFSET + 8].copy_from_slice(&self.stop_tick.to_le_bytes());
        let reason = clip(&self.reason);
        page[REASON_OFFSET..REASON_OFFSET + 4].copy_from_slice(&(reason.len() as u32).to_le_bytes());
        page[REASON_OFFSET + 4..REASON_OFFSET + 4 + reason.len()].copy_from_slice(reason.as_bytes());
    }

    /// Reads the block from page 0; what is damaged reads as unknown text or 0.
    pub fn decode(page: &[u8]) -> Status {
        let word = |at: usize| page.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
        let number = word(PHASE_OFFSET) as u32;
        let phase = Phase::ALL.iter().find(|(phase, _)| *phase as u32 == number);
        let len = (word(REASON_OFFSET) as u32 as usize).min(MAX_REASON);
        let text = page.get(REASON_OFFSET + 4..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        Status {
            phase: phase.map_or(Phase::Recording, |(phase, _)| *phase),
            stop_tick: word(STOP_TICK_OFFSET),
            reason: String::from_utf8_lossy(text).into_owned(),
        }
    }
}

/// What a later VM says of a recording whose own VM died: where the phase is
/// [`Phase::Crashed`]. The rest of the block stays as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// When it was found, in nanoseconds since 1970.
    pub wall_ns: u64,
    /// Process id of the VM that found it.
    pub by: u32,
    /// How far the recording had come.
    pub phase: Phase,
}

impl Found {
    /// The bytes from [`FOUND_WALL_OFFSET`] on.
    pub fn encode(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        let values = self.wall_ns.to_le_bytes().into_iter().chain(self.by.to_le_bytes());
        let values = values.chain((self.phase as u32).to_le_bytes());
        bytes.iter_mut().zip(values).for_each(|(place, byte)| *place = byte);
        bytes
    }

    /// Reads it from page 0; `None` where nobody found the recording.
    pub fn decode(page: &[u8]) -> Option<Found> {
        let status = Status::decode(page);
        let word = |at: usize| page.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
        let (wall_ns, rest) = (word(FOUND_WALL_OFFSET), word(FOUND_BY_OFFSET));
        let died_in = (rest >> 32) as u32;
        let phase = Phase::ALL.iter().find(|(phase, _)| *phase as u32 == died_in);
        let phase = phase.map_or(Phase::Recording, |(phase, _)| *phase);
        let found = status.phase == Phase::Crashed && wall_ns > 0;
        found.then_some(Found { wall_ns, by: rest as u32, phase })
    }
}

/// The reason, cut to what fits, at a character boundary.
pub fn clip(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(MAX_REASON)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_reads_back_with_its_reason_clipped() {
        let mut page = vec![0; 4096];
        let status = Status { phase: Phase::Stopped, stop_tick: 77, reason: "é".repeat(MAX_REASON) };
        status.encode_into(&mut page);
        let read = Status::decode(&page);
        assert_eq!(read.phase, Phase::Stopped);
        assert_eq!(read.stop_tick, 77);
        assert_eq!(read.reason, "é".repeat(MAX_REASON / 2));
        assert_eq!(Status::decode(&[]).reason, "");
    }

    #[test]
    fn who_found_it_reads_back_where_the_phase_says_so() {
        let mut page = vec![0; END];
        let status = Status { phase: Phase::Stopping, stop_tick: 7, reason: "time".into() };
        status.encode_into(&mut page);
        let found = Found { wall_ns: 1 << 60, by: 4711, phase: status.phase };
        page[FOUND_WALL_OFFSET..FOUND_WALL_OFFSET + 16].copy_from_slice(&found.encode());
        assert_eq!(Found::decode(&page), None);
        page[PHASE_OFFSET] = Phase::Crashed as u8;
        assert_eq!(Found::decode(&page), Some(found));
        assert_eq!(Status::decode(&page), Status { phase: Phase::Crashed, ..status });
    }
}
