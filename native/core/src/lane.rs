//! One VM thread's place in a recording, and its part of the loss ledger.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use spoor_format::Full;
use spoor_format::lane::{Cause, DROPPED_OFFSET};

use crate::recording::{Limit, Limits};
use crate::store::{Store, Which};
use crate::stream::Stream;

/// The events' stream remembers four times 2^9 functions and as many atoms in a
/// chunk (100 KiB); more than that are defined again.
const EVENT_NAME_BITS: u32 = 9;
/// Chunks of process facts are small.
const INFO_NAME_BITS: u32 = 5;

/// One thread's place to write. Only that thread uses it while the recording is
/// open; afterwards the keeper does.
#[derive(Debug)]
pub struct Lane {
    number: u32,
    store: Arc<Store>,
    limits: Arc<Limits>,
    events: Stream,
    infos: Stream,
    /// Events that may be stored before asking `limits` for more.
    credit: u64,
}

impl Lane {
    pub(crate) fn new(number: u32, store: Arc<Store>, limits: Arc<Limits>) -> Self {
        let events = Stream::new(Arc::clone(&store), Which::Events, number, EVENT_NAME_BITS);
        let infos = Stream::new(Arc::clone(&store), Which::Infos, number, INFO_NAME_BITS);
        Lane { number, store, limits, events, infos, credit: 0 }
    }

    /// Stores an event that happened at `tick`, or counts it as dropped. `write`
    /// writes the record into the stream it is given, with the time delta it is
    /// given; it may be called twice, and a record that is [`Full`] is undone.
    #[inline(always)]
    pub fn event(&mut self, tick: u64, write: impl FnMut(&mut Stream, u64) -> Result<(), Full>) {
        if (self.credit == 0 || self.limits.is_over(tick)) && !self.may_go_on(tick) {
            return self.drop_event(Cause::AfterLimit);
        }
        match self.events.record(tick, write) {
            Ok(()) => self.credit -= 1,
            Err(cause) => self.drop_event(cause),
        }
    }

    /// Bytes of arguments, messages and values to keep; 0 for none.
    #[inline(always)]
    pub fn content_bytes(&self) -> usize {
        self.limits.content_bytes
    }

    /// Stores a fact in the info ring. What does not fit is not counted: facts
    /// are not events.
    #[inline(always)]
    pub fn info(&mut self, tick: u64, write: impl FnMut(&mut Stream, u64) -> Result<(), Full>) {
        // A fact that finds no chunk is told again by the next sweep.
        let _ = self.infos.record(tick, write);
    }

    /// Asks the limits for more; false when one is reached.
    #[cold]
    fn may_go_on(&mut self, tick: u64) -> bool {
        let granted = if self.limits.is_over(tick) { Err(Limit::Time) } else { self.limits.grant() };
        match granted {
            Ok(credit) => self.credit = credit,
            Err(limit) => self.limits.reach(limit),
        }
        granted.is_ok()
    }

    /// Counts an event that was offered and not stored.
    #[cold]
    pub fn drop_event(&self, cause: Cause) {
        let counter = self.store.lane_word(self.number, DROPPED_OFFSET + 8 * cause as usize);
        // One writer, so load and store are enough; readers want any recent value.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Gives back the open chunks. Nothing may be stored afterwards.
    pub(crate) fn close(&mut self) {
        self.events.close();
        self.infos.close();
    }
}
