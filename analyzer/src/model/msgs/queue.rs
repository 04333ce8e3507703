//! Messages on their way to one process.

use std::collections::VecDeque;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::histogram::{Durations, Percentiles};
use crate::read::{Event, Recording};

/// Messages on their way to one process whose times are kept.
const KEPT: usize = 1 << 16;

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) sent: u64,
    pub(super) received: u64,
    unsent: u64,
    waiting: u64,
    peak: u64,
    peak_at: u64,
    times: VecDeque<u64>,
    delays: Durations,
    /// When replies to aliases came that may have been on their way together with the next.
    taken: VecDeque<u64>,
    missing: bool,
    pub(super) asked_for: bool,
    /// Its name was looked at.
    pub(super) decided: bool,
    pub(super) exited_at: Option<u64>,
}

/// Messages on their way to one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueueRow {
    /// The recording it is in.
    pub recording: String,
    /// The process.
    pub process: String,
    /// Sent to it by processes whose `send` events are recorded.
    pub sent: u64,
    /// Came to it.
    pub received: u64,
    /// Of these, from elsewhere: timers, ports, monitors, processes not traced, other nodes.
    pub from_elsewhere: u64,
    /// The most that were on their way at a time.
    pub peak: u64,
    /// When that was first so, in nanoseconds since the start of the recording.
    pub peak_at_ns: u64,
    /// On their way at the end.
    pub left: u64,
    /// How long they were on their way; null when none came.
    #[serde(flatten)]
    pub delays: Option<Percentiles>,
}

impl Queue {
    pub(super) fn row(&self, process: String, recording: &Recording) -> QueueRow {
        QueueRow {
            recording: recording.path.clone(),
            process,
            sent: self.sent,
            received: self.received,
            from_elsewhere: self.unsent,
            peak: self.peak,
            peak_at_ns: self.peak_at.saturating_sub(recording.start_ns),
            left: self.waiting,
            delays: self.delays.percentiles(),
        }
    }

    pub(super) fn sent(&mut self, time: u64, here: bool) {
        self.sent += u64::from(here);
        self.waiting += 1;
        if self.waiting > self.peak {
            (self.peak, self.peak_at) = (self.waiting, time);
        }
        if self.times.len() < KEPT && !self.missing {
            self.times.push_back(time);
        } else {
            self.missing = true;
        }
    }

    /// A reply to an alias, which is in no other order than that of its sending.
    pub(super) fn reply_came(&mut self, sent: u64, time: u64, sent_here: bool, here: bool) {
        self.sent += u64::from(sent_here);
        self.received += u64::from(here);
        if here {
            self.delays.record(time.saturating_sub(sent));
        }
        while self.taken.front().is_some_and(|taken| *taken < sent) || self.taken.len() >= KEPT {
            self.taken.pop_front();
        }
        self.taken.push_back(time);
        if self.taken.len() as u64 > self.peak {
            (self.peak, self.peak_at) = (self.taken.len() as u64, sent);
        }
    }

    pub(super) fn came(&mut self, event: &Event<'_>, here: bool) {
        self.received += u64::from(here);
        if self.waiting == 0 {
            self.unsent += u64::from(here);
            return;
        }
        self.waiting -= 1;
        if let Some(time) = self.times.pop_front().filter(|_| here) {
            self.delays.record(event.time.saturating_sub(time));
        }
        if self.waiting == 0 {
            self.missing = false;
        }
    }
}
