//! Which stretch of a recording is read.

use super::recording::Recording;

/// A stretch of time, in monotonic nanoseconds: from the first, before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Events from here on.
    pub from_ns: u64,
    /// Events before this.
    pub to_ns: u64,
}

impl Window {
    /// Everything.
    pub const ALL: Window = Window { from_ns: 0, to_ns: u64::MAX };

    /// What of it lies in the recording.
    pub fn within(self, recording: &Recording) -> Window {
        let from_ns = self.from_ns.max(recording.start_ns);
        Window { from_ns, to_ns: self.to_ns.min(recording.end_ns).max(from_ns) }
    }

    /// Its length.
    pub fn length_ns(self) -> u64 {
        self.to_ns.saturating_sub(self.from_ns)
    }
}

/// The ticks of a window, as far as the recording goes.
pub(super) fn ticks(recording: &Recording, window: Window) -> (u64, u64) {
    let to_tick = if window.to_ns == u64::MAX { u64::MAX } else { recording.clock.tick_at(window.to_ns) };
    let from_tick = if window.from_ns == 0 { 0 } else { recording.clock.tick_at(window.from_ns) };
    (from_tick, to_tick.min(recording.settled_tick.saturating_add(1)))
}
