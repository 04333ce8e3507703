//! Stretches of time in which events may be missing.
//!
//! A hole in one lane may hide events of any process: it could have run there.
//! So from the moment a hole begins until it ends nothing is certain, and what
//! was open when it began has no known end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use spoor_format::status::Phase;

use super::ledger::dropping_at_end;
use super::recording::Recording;

/// The stretches, as the stream comes by them.
#[derive(Debug, Default)]
pub(crate) struct Gaps {
    /// Counts beginnings and ends of stretches.
    epoch: u32,
    /// The stretch that is open ends here.
    open_until: Option<u64>,
    /// Stretches known before, the next one first: (from, until).
    planned: BinaryHeap<Reverse<(u64, u64)>>,
    /// Nothing changes before this tick.
    boundary: u64,
    /// When the last stretch ended.
    ended: u64,
}

impl Gaps {
    /// With stretches known from the start.
    pub(crate) fn new(planned: Vec<(u64, u64)>) -> Gaps {
        let planned = planned.into_iter().map(Reverse).collect();
        let mut gaps = Gaps { planned, ..Gaps::default() };
        gaps.set_boundary();
        gaps
    }

    /// A stretch begins, here and now in the order of events.
    pub(crate) fn open(&mut self, until: u64) {
        self.epoch = self.epoch.wrapping_add(1);
        self.open_until = Some(self.open_until.map_or(until, |open| open.max(until)));
        self.set_boundary();
    }

    /// Adds a stretch that begins later.
    pub(crate) fn plan(&mut self, from: u64, until: u64) {
        self.planned.push(Reverse((from, until)));
        self.set_boundary();
    }

    /// Time has come to `tick`: which epoch is it, and are events complete?
    #[inline(always)]
    pub(crate) fn at(&mut self, tick: u64) -> (u32, bool) {
        if tick >= self.boundary {
            self.cross(tick);
        }
        (self.epoch, self.open_until.is_none())
    }

    #[cold]
    fn cross(&mut self, tick: u64) {
        while let Some(Reverse((from, until))) = self.planned.peek().copied().filter(|next| next.0.0 <= tick) {
            self.planned.pop();
            if from < until {
                self.open(until);
            }
        }
        if let Some(until) = self.open_until.filter(|until| *until <= tick && *until != u64::MAX) {
            (self.open_until, self.ended) = (None, until);
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.set_boundary();
    }

    /// The tick at which the last stretch ended; 0 when there was none.
    pub(crate) fn ended(&self) -> u64 {
        self.ended
    }

    fn set_boundary(&mut self) {
        let next = self.planned.peek().map_or(u64::MAX, |next| next.0.0);
        self.boundary = next.min(self.open_until.unwrap_or(u64::MAX));
    }
}

impl Recording {
    /// Lanes that have, or may have had, events.
    pub(super) fn event_lanes(&self) -> Vec<u32> {
        let mut lanes: Vec<u32> = self.events.lanes.keys().copied().collect();
        lanes.extend(self.ledger.iter().map(|entry| entry.lane));
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// May there have been chunks of the lane behind the last one that is there?
    pub(super) fn has_open_end(&self, number: u32) -> bool {
        if self.events.unreadable == 0 {
            return false;
        }
        let Some(lane) = self.lane(number) else { return true };
        let Some(last) = self.events.lanes.get(&number).and_then(|chunks| chunks.last()) else { return true };
        let still_open = last.header.first_record == lane.sealed_events && self.status.phase != Phase::Stopped;
        let all_closed = last.end_record() == lane.sealed_events && self.status.phase == Phase::Stopped;
        !(still_open || all_closed)
    }

    /// Stretches in which events of a lane are missing, as its entry alone tells: behind
    /// its last event, or everywhere, should it have no chunk.
    pub(super) fn planned_gaps(&self, number: u32) -> impl Iterator<Item = (u64, u64)> {
        let none = self.events.lanes.get(&number).is_none_or(Vec::is_empty);
        let everywhere = if none { self.gap_of_missing_lane(number) } else { None };
        self.lane(number).and_then(dropping_at_end).into_iter().chain(everywhere)
    }

    /// Where lanes that nobody knows may have had events.
    pub(super) fn gap_of_damaged_lanes(&self) -> Option<(u64, u64)> {
        let unknown = self.lane_table_damaged && self.events.unreadable > 0;
        unknown.then_some((self.events.unreadable_from, u64::MAX))
    }

    /// When a lane has no chunk at all.
    fn gap_of_missing_lane(&self, number: u32) -> Option<(u64, u64)> {
        let stored = self.lane(number).map_or(0, |lane| lane.sealed_events);
        match (self.events.unreadable > 0, stored > 0, self.events.oldest_tick()) {
            (true, _, _) => Some((0, u64::MAX)),
            (false, true, Some(oldest)) => Some((0, oldest)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_opens_and_closes() {
        let mut gaps = Gaps::new(vec![(0, 10), (50, u64::MAX)]);
        assert_eq!(gaps.at(3), (1, false));
        assert_eq!(gaps.at(9), (1, false));
        assert_eq!(gaps.at(10), (2, true));
        gaps.open(20);
        gaps.open(15);
        assert_eq!(gaps.at(19), (4, false));
        assert_eq!(gaps.at(20), (5, true));
        gaps.plan(30, 40);
        assert_eq!(gaps.at(29), (5, true));
        assert_eq!(gaps.at(30), (6, false));
        assert_eq!(gaps.at(45), (7, true));
        assert_eq!(gaps.at(u64::MAX), (8, false));
    }
}
