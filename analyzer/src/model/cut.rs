//! A window, cut out of what is read: one place that says what of a stretch counts.

use crate::read::{Recording, Window};

/// What counts of a recording: a window of which the events around are known, too.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// It begins.
    pub from: u64,
    /// It ends.
    pub to: u64,
    /// All events since then are read; of those before, the last of each thread at most.
    pub since: u64,
}

impl Cut {
    /// A window of a recording, of which is read what lies `around`.
    pub fn new(recording: &Recording, window: Window, around: Window) -> Cut {
        let from = window.from_ns.max(recording.start_ns);
        Cut { from, to: window.to_ns.min(recording.end_ns).max(from), since: around.from_ns }
    }

    /// Everything.
    pub fn all(recording: &Recording) -> Cut {
        Cut::new(recording, Window::ALL, Window::ALL)
    }

    /// How much of a stretch lies in it.
    pub fn part(&self, from: u64, to: u64) -> u64 {
        to.min(self.to).saturating_sub(from.max(self.from))
    }

    /// Does a stretch lie in it, or a part of it?
    pub fn meets(&self, from: u64, to: u64) -> bool {
        from < self.to && to > self.from
    }

    /// Is the moment in it?
    pub fn holds(&self, time: u64) -> bool {
        (self.from..=self.to).contains(&time)
    }
}
