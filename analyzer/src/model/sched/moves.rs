//! Migrations: who came in on which lane, and on which it had been before.
//!
//! Where a process was before its first event nobody knows, unless that is its birth: such an
//! arrival is counted apart, and may have been a migration.

use std::collections::{BTreeMap, HashMap};

use crate::model::filter::EventFilter;
use crate::read::TraceeId;

#[derive(Debug, Default)]
pub(super) struct Moves {
    /// The lane that a process was last on; `None` for one that is new.
    last: HashMap<TraceeId, Option<u32>>,
    /// How often one came in on another lane than before: from, to.
    pub(super) known: BTreeMap<(u32, u32), u64>,
    /// How often one came in of which the lane before is not known: to.
    unknown: BTreeMap<u32, u64>,
}

impl Moves {
    /// It comes in, in the window or around it.
    pub(super) fn comes_in(&mut self, tracee: TraceeId, lane: u32, in_window: bool) {
        let before = self.last.insert(tracee, Some(lane));
        match before {
            _ if !in_window => {}
            None => *self.unknown.entry(lane).or_default() += 1,
            Some(Some(before)) if before != lane => *self.known.entry((before, lane)).or_default() += 1,
            Some(_) => {}
        }
    }

    /// It is there, or was.
    pub(super) fn is_on(&mut self, tracee: TraceeId, lane: u32) {
        self.last.insert(tracee, Some(lane));
    }

    pub(super) fn is_born(&mut self, tracee: TraceeId) {
        self.last.insert(tracee, None);
    }

    pub(super) fn forget(&mut self, tracee: TraceeId) {
        self.last.remove(&tracee);
    }

    /// Events are missing: whoever was on a lane may have been on another since.
    pub(super) fn forget_all(&mut self) {
        self.last.clear();
    }

    /// Only arrivals on these lanes are told of.
    pub(super) fn show_only(&mut self, shown: &EventFilter) {
        self.known.retain(|(_, to), _| shown.takes_lane(*to));
        self.unknown.retain(|to, _| shown.takes_lane(*to));
    }

    /// How often processes came to the lane from others.
    pub(super) fn known_to(&self, lane: u32) -> u64 {
        self.known.iter().filter(|((_, to), _)| *to == lane).map(|(_, n)| n).sum()
    }

    /// How often one came to the lane from nobody knows which.
    pub(super) fn unknown_to(&self, lane: u32) -> u64 {
        self.unknown.get(&lane).copied().unwrap_or(0)
    }

    /// The same to all lanes.
    pub(super) fn all_unknown(&self) -> u64 {
        self.unknown.values().sum()
    }
}
