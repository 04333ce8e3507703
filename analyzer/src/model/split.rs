//! What time was spent on: parts that add up to it, to the nanosecond.

use schemars::JsonSchema;
use serde::Serialize;

/// Time by what it was spent on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Split {
    /// On a scheduler.
    pub running_ns: u64,
    /// On a dirty scheduler.
    pub dirty_ns: u64,
    /// Collecting garbage.
    pub gc_ns: u64,
    /// In the code of a port that it called; where `port_in` and `port_out` events are recorded.
    pub port_ns: u64,
    /// Ready to run, in a run queue.
    pub queued_ns: u64,
    /// Waiting in `receive`.
    pub waiting_ns: u64,
    /// Not on a scheduler; whether waiting or queued the events do not say.
    pub off_ns: u64,
    /// On a scheduler or not: there are no `in` and `out` events, or some are missing.
    pub unknown_ns: u64,
}

impl Split {
    /// All of it.
    pub fn sum_ns(&self) -> u64 {
        self.parts().iter().map(|(_, ns)| *ns).fold(0, u64::saturating_add)
    }

    /// The parts with their names, in the order of the fields.
    pub fn parts(&self) -> [(&'static str, u64); 8] {
        [
            ("running", self.running_ns),
            ("dirty", self.dirty_ns),
            ("gc", self.gc_ns),
            ("port", self.port_ns),
            ("queued", self.queued_ns),
            ("waiting", self.waiting_ns),
            ("off", self.off_ns),
            ("unknown", self.unknown_ns),
        ]
    }

    /// What came since an earlier reading of the same process.
    pub fn since(&self, earlier: &Split) -> Split {
        Split {
            running_ns: self.running_ns.saturating_sub(earlier.running_ns),
            dirty_ns: self.dirty_ns.saturating_sub(earlier.dirty_ns),
            gc_ns: self.gc_ns.saturating_sub(earlier.gc_ns),
            port_ns: self.port_ns.saturating_sub(earlier.port_ns),
            queued_ns: self.queued_ns.saturating_sub(earlier.queued_ns),
            waiting_ns: self.waiting_ns.saturating_sub(earlier.waiting_ns),
            off_ns: self.off_ns.saturating_sub(earlier.off_ns),
            unknown_ns: self.unknown_ns.saturating_sub(earlier.unknown_ns),
        }
    }

    /// What of it was on some thread.
    pub fn on_threads(&self) -> Split {
        let Split { running_ns, dirty_ns, gc_ns, port_ns, .. } = *self;
        Split { running_ns, dirty_ns, gc_ns, port_ns, ..Split::default() }
    }

    /// Adds another.
    pub fn add(&mut self, other: &Split) {
        self.running_ns = self.running_ns.saturating_add(other.running_ns);
        self.dirty_ns = self.dirty_ns.saturating_add(other.dirty_ns);
        self.gc_ns = self.gc_ns.saturating_add(other.gc_ns);
        self.port_ns = self.port_ns.saturating_add(other.port_ns);
        self.queued_ns = self.queued_ns.saturating_add(other.queued_ns);
        self.waiting_ns = self.waiting_ns.saturating_add(other.waiting_ns);
        self.off_ns = self.off_ns.saturating_add(other.off_ns);
        self.unknown_ns = self.unknown_ns.saturating_add(other.unknown_ns);
    }
}
