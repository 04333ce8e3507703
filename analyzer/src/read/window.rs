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

impl Recording {
    /// The window, and around it as much as `bytes` of events on either side.
    pub fn around(&self, window: Window, bytes: u64) -> Window {
        let (from, to) = ticks(self, window);
        let mut chunks: Vec<(u64, u64)> =
            self.events.chunks().map(|chunk| (chunk.header.base_tick, u64::from(chunk.header.bytes))).collect();
        chunks.sort_unstable();
        let (before, others) = chunks.split_at(chunks.partition_point(|chunk| chunk.0 < from));
        let after = others.get(others.partition_point(|chunk| chunk.0 < to)..).unwrap_or_default();
        let reaches = |room: &mut u64, length: u64| {
            let left = room.checked_sub(length);
            *room = left.unwrap_or(0);
            left.is_some()
        };
        let (mut room, mut since) = (bytes, from);
        let enough = before.iter().rev().find_map(|(tick, length)| {
            let ends = (!reaches(&mut room, *length)).then_some(since);
            since = *tick;
            ends
        });
        let mut room = bytes;
        let until = after.iter().find(|(_, length)| !reaches(&mut room, *length));
        Window {
            from_ns: enough.map_or(0, |tick| self.clock.ns(tick)).max(self.complete_from_ns).min(window.from_ns),
            to_ns: until.map_or(u64::MAX, |(tick, _)| self.clock.ns(*tick)).max(window.to_ns),
        }
    }
}
