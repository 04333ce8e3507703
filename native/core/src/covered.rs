//! From when on a copy has all that was stored.
//!
//! Chunks are overwritten in turn, but not without exception: one that is passed over
//! when its turn comes outlives those behind it, and a copy may be overtaken in the
//! middle. What is missing is known by how many events a lane had stored before a chunk.

use std::collections::BTreeMap;

/// What the chunks of a copy tell, each lane's told in their order.
#[derive(Debug, Default)]
pub(crate) struct Covered {
    /// When the oldest chunk was begun.
    begun: Option<u64>,
    /// When the last was begun before which there is a hole in its lane.
    holed: u64,
    /// By lane: events stored up to the end of its last chunk.
    ends: BTreeMap<u32, u64>,
}

impl Covered {
    /// There is a chunk of so many records, begun at that tick, before which its lane had
    /// stored `first_record`.
    pub(crate) fn has(&mut self, lane: u32, base_tick: u64, first_record: u64, records: u64) {
        let end = self.ends.entry(lane).or_default();
        if first_record > *end {
            self.holed = self.holed.max(base_tick);
        }
        *end = first_record.saturating_add(records);
        self.begun = Some(self.begun.map_or(base_tick, |begun| begun.min(base_tick)));
    }

    /// The tick from which on nothing is missing; `None` when there is no chunk.
    pub(crate) fn from(&self) -> Option<u64> {
        self.begun.map(|begun| begun.max(self.holed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_covered_from_the_last_hole_of_any_lane() {
        let mut covered = Covered::default();
        assert_eq!(covered.from(), None);
        covered.has(1, 100, 0, 10);
        covered.has(2, 120, 0, 5);
        covered.has(1, 130, 10, 10);
        assert_eq!(covered.from(), Some(100), "all that there ever was");
        covered.has(1, 150, 21, 10);
        assert_eq!(covered.from(), Some(150));
        covered.has(2, 140, 5, 5);
        covered.has(3, 145, 7, 5);
        covered.has(1, 160, 31, 1);
        assert_eq!(covered.from(), Some(150), "what was overwritten before is the older hole");
    }
}
