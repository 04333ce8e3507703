//! A window, cut out of what is read: one place that says what of a stretch counts.

use crate::read::{Recording, Window};

/// What counts of a recording: a window of which the events around are known, too.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// It begins.
    pub from: u64,
    /// It ends, with the recording at the latest.
    pub to: u64,
    /// What happens before this lies in it. One that reaches past the end of the recording has its last event, too.
    pub before: u64,
    /// All events since then are read; of those before, the last of each thread at most. 0 for
    /// all that there are.
    pub since: u64,
}

impl Cut {
    /// A window of a recording, of which is read what lies `around`.
    pub fn new(recording: &Recording, window: Window, around: Window) -> Cut {
        let from = window.from_ns.max(recording.start_ns);
        let to = window.to_ns.min(recording.end_ns).max(from);
        let since = if around.from_ns > recording.start_ns { around.from_ns } else { 0 };
        Cut { from, to, before: window.to_ns, since }
    }

    /// Everything.
    pub fn all(recording: &Recording) -> Cut {
        Cut::new(recording, Window::ALL, Window::ALL)
    }

    /// Since when it is known who is on a thread, as far as no event is missing. Before the first
    /// event of a recording, at this time, nobody was traced.
    pub fn known_from(&self, first: u64) -> u64 {
        if self.since > 0 { self.since } else { first }
    }

    /// How much of a stretch lies in it.
    pub fn part(&self, from: u64, to: u64) -> u64 {
        to.min(self.to).saturating_sub(from.max(self.from))
    }

    /// Does a stretch lie in it, or a part of it? One that ends where the window begins does not.
    pub fn meets(&self, from: u64, to: u64) -> bool {
        from < self.before && (from >= self.from || to > self.from)
    }

    /// Is the moment in it? One at which windows meet is in the later one alone.
    pub fn holds(&self, time: u64) -> bool {
        (self.from..self.before).contains(&time)
    }
}
