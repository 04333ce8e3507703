//! One VM thread's place in a recording, and its part of the loss ledger.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use spoor_format::Full;
use spoor_format::brief::{self, Kind, Line};
use spoor_format::lane::{Cause, DROPPED_OFFSET, DROPPING_OFFSET, SAMPLED_OFFSET};
use spoor_format::record::Ref;

use crate::clock;
use crate::governed::{Dropping, Governed, Probe, Verdict, Wanted};
use crate::governor::{About, Flow, remark};
use crate::limits::{Limit, Limits};
use crate::pool::Grant;
use crate::recall::Signal;
use crate::store::{Store, Which};
use crate::stream::{FunctionWords, Names, Stream};

/// The events' stream remembers four times 2^9 functions and as many atoms in a
/// chunk (100 KiB); more than that are defined again.
const EVENT_NAME_BITS: u32 = 9;
/// Chunks of process facts are small.
const INFO_NAME_BITS: u32 = 5;

/// One thread's place to write. Only that thread uses it while the recording is
/// open; afterwards the keeper does.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Lane {
    /// Events that may be stored before asking `limits` for more; always 0 in a
    /// recording that is thinned, so that each event is judged.
    credit: u64,
    /// Up to when the lane need not look at the limits, nor for its chunk.
    signal: Arc<Signal>,
    /// Of `limits`, where it is at hand.
    content_bytes: usize,
    events: Stream,
    infos: Stream,
    number: u32,
    store: Arc<Store>,
    limits: Arc<Limits>,
    /// What it held of a limit that is nearly used up was given back, or taken away.
    settled: bool,
    /// What judges them, in a recording that is thinned.
    governed: Option<Box<Governed>>,
    refusing: Refusing,
}

/// A stretch in which the lane refuses each event, whatever it is.
#[derive(Debug)]
struct Refusing {
    /// It ends at this tick, 0 for no stretch. Not later than a millisecond after the last
    /// refusal that was looked at more closely.
    until: u64,
    cause: Cause,
    /// Events refused that the next one stored is to tell of.
    events: u64,
}

impl Lane {
    pub(crate) fn new(number: u32, store: Arc<Store>, limits: Arc<Limits>) -> Self {
        let signal = limits.signal(number);
        let events = Stream::new(Arc::clone(&store), Which::Events, number, EVENT_NAME_BITS, Arc::clone(&signal));
        // Nobody recalls chunks of facts.
        let infos = Stream::new(Arc::clone(&store), Which::Infos, number, INFO_NAME_BITS, Arc::new(Signal::new()));
        let governed = limits.governor.as_ref().map(|governor| Box::new(Governed::new(Arc::clone(governor))));
        let content_bytes = limits.content_bytes;
        let refusing = Refusing { until: 0, cause: Cause::Rate, events: 0 };
        Lane {
            credit: 0,
            signal,
            content_bytes,
            events,
            infos,
            number,
            store,
            limits,
            settled: false,
            governed,
            refusing,
        }
    }

    /// Stores an event that happened at `tick`, or counts it as dropped. `write`
    /// writes the record into the stream it is given, with the time delta it is
    /// given; it may be called more than once, and a record that is [`Full`] is undone.
    #[inline(always)]
    pub fn event(&mut self, tick: u64, write: impl FnMut(&mut Stream, u64) -> Result<(), Full>) {
        self.event_about(tick, || About { tracee: None, flow: Flow::Other }, write);
    }

    /// As [`Lane::event`]; `about` is asked only in a recording that is thinned.
    #[inline(always)]
    pub fn event_about(
        &mut self,
        tick: u64,
        about: impl FnOnce() -> About,
        write: impl FnMut(&mut Stream, u64) -> Result<(), Full>,
    ) {
        if self.credit == 0 || self.signal.wants_look(tick) {
            if self.governed.is_some() {
                return self.governed_event(tick, about, write);
            }
            if !self.may_go_on(tick) {
                return self.drop_event(Cause::AfterLimit);
            }
        }
        match self.events.record(tick, write) {
            Ok(()) => self.credit -= 1,
            Err(cause) => self.not_stored(cause),
        }
    }

    #[cold]
    fn not_stored(&mut self, cause: Cause) {
        self.give_back();
        self.drop_event(cause);
        if cause == Cause::AfterLimit {
            self.limits.reach(Limit::Full);
        }
    }

    /// Need no limit be asked for an event, so that it can be stored by [`Lane::brief`]? That
    /// is so for nearly all, and never in a recording that is thinned.
    #[inline(always)]
    pub fn is_simple(&self, tick: u64) -> bool {
        self.credit > 0 && !self.signal.wants_look(tick) && self.events.is_clean()
    }

    /// Where names are defined for an event that [`Lane::is_simple`].
    #[inline(always)]
    pub fn names(&mut self) -> &mut Stream {
        &mut self.events
    }

    /// Stores an event that [`Lane::is_simple`], of a local process, by the VM's word: `identity`
    /// says who that is. False where it may not fit: it goes by [`Lane::event_about`] then.
    #[inline(always)]
    pub fn brief(&mut self, tick: u64, whose: u64, identity: impl Fn(u64) -> u64, line: Line) -> bool {
        let stored = self.events.brief(tick, whose, identity, line);
        self.credit -= u64::from(stored);
        stored
    }

    /// The same for an event of a function, of which nothing else is to be said.
    #[inline(always)]
    pub fn brief_function(
        &mut self,
        tick: u64,
        whose: u64,
        identity: impl Fn(u64) -> u64,
        kind: Kind,
        function: Ref,
    ) -> bool {
        let stored = self.events.brief_function(tick, whose, identity, kind, function);
        self.credit -= u64::from(stored);
        stored
    }

    /// The same for a garbage collection, whose sizes are below 2^56, of whom
    /// [`Stream::whose_word`] said.
    #[inline(always)]
    pub fn collection(&mut self, tick: u64, kind: Kind, sizes: &[u64; brief::SIZES]) -> bool {
        let stored = self.events.collection(tick, kind, sizes);
        self.credit -= u64::from(stored);
        stored
    }

    /// Bytes of arguments, messages and values to keep; 0 for none.
    #[inline(always)]
    pub fn content_bytes(&self) -> usize {
        self.content_bytes
    }

    /// Stores a fact in the info ring. What does not fit is not counted: facts
    /// are not events. Nor is a panic of `write`: it ends here, so that nobody counts
    /// the event that told the fact as dropped.
    #[inline(always)]
    pub fn info(&mut self, tick: u64, write: impl FnMut(&mut Stream, u64) -> Result<(), Full>) {
        let infos = &mut self.infos;
        // A fact that finds no chunk is told again by the next sweep.
        let _ = catch_unwind(AssertUnwindSafe(|| infos.record(tick, write)));
    }

    /// Stores in the info ring what a process is that was spawned: by whom, and what it runs.
    #[inline(always)]
    pub fn spawned(&mut self, tick: u64, process: u64, parent: u64, function: FunctionWords, names: &impl Names) {
        if !self.infos.spawned(tick, process, parent, function) {
            self.spawned_in_full(tick, process, parent, function, names);
        }
    }

    #[cold]
    #[inline(never)]
    fn spawned_in_full(&mut self, tick: u64, process: u64, parent: u64, function: FunctionWords, names: &impl Names) {
        self.info(tick, |stream, delta| {
            let function = stream.function(function, names)?;
            brief::process_info(stream, delta, process, parent, function)
        });
    }

    /// Looks what was asked of the lane since it looked last.
    fn look(&mut self, tick: u64) {
        if self.signal.wants_look(tick) {
            let mut recalled = 0;
            self.signal.look(|| {
                recalled = self.limits.signals.recalled();
                self.limits.deadline()
            });
            self.events.give_back(recalled);
            if !self.settled && self.limits.pool.is_to_settle() {
                self.settled = true;
                let credit = self.take_credit();
                self.limits.pool.settle(self.number, credit);
            }
        }
    }

    /// Nothing of what was granted is the lane's any more.
    fn take_credit(&mut self) -> u64 {
        let governed = self.governed.as_mut().map_or(0, |governed| std::mem::take(&mut governed.credit));
        governed + std::mem::take(&mut self.credit)
    }

    /// The last events of a limit are for lanes that store them.
    fn give_back(&mut self) {
        if self.settled {
            let credit = self.take_credit();
            self.limits.pool.give_back(self.number, credit);
        }
    }

    /// Looks, and asks the limits for more; false when one is reached.
    #[cold]
    fn may_go_on(&mut self, tick: u64) -> bool {
        self.look(tick);
        if self.limits.is_over(tick) {
            self.limits.reach(Limit::Time);
            return false;
        }
        if self.credit == 0 {
            self.credit = self.granted();
        }
        self.credit > 0
    }

    /// More events to store; 0 when there are none, at least for now.
    fn granted(&self) -> u64 {
        match self.limits.pool.grant(self.number) {
            Grant::Some(credit) => credit,
            Grant::Later => 0,
            Grant::None => {
                self.limits.reach(Limit::MaxEvents);
                0
            }
        }
    }

    /// As [`Lane::event`], in a recording that is thinned. Takes `write` as it is:
    /// a reference to it would keep the hot path from having it in registers.
    #[cold]
    #[inline(never)]
    fn governed_event(
        &mut self,
        tick: u64,
        about: impl FnOnce() -> About,
        mut write: impl FnMut(&mut Stream, u64) -> Result<(), Full>,
    ) {
        self.judged_event(tick, about(), &mut write);
        if let Some(governed) = self.governed.as_mut() {
            governed.worked_since(tick);
        }
    }

    #[inline(never)]
    fn judged_event(&mut self, tick: u64, about: About, write: &mut dyn FnMut(&mut Stream, u64) -> Result<(), Full>) {
        self.look(tick);
        let refused = std::mem::take(&mut self.refusing.events);
        let Some(governed) = self.governed.as_mut() else { return };
        governed.refused(refused);
        if self.limits.is_over(tick) {
            self.limits.reach(Limit::Time);
            return self.drop_event(Cause::AfterLimit);
        }
        let told = match governed.judge(tick, about) {
            Verdict::Store(told) => told,
            Verdict::Drop(cause, until) => return self.leave_out(cause, tick, until),
            Verdict::Ignore => return,
        };
        let dropping = governed.dropping;
        if governed.credit == 0 {
            let credit = self.granted();
            if let (Some(governed), true) = (self.governed.as_mut(), credit > 0) {
                governed.credit = credit;
            } else {
                return self.drop_event(Cause::AfterLimit);
            }
        }
        let stored = self.events.record(tick, |stream, delta| {
            dropping.annotate(stream, tick)?;
            told.annotate(stream)?;
            write(stream, delta)
        });
        match stored {
            Ok(()) => {
                if let Some(governed) = self.governed.as_mut() {
                    governed.stored(tick, about, told);
                }
                self.refusing.until = 0;
                if dropping.events > 0 {
                    self.tell_dropping(Dropping::default());
                }
            }
            Err(Cause::AfterLimit) => self.not_stored(Cause::AfterLimit),
            Err(cause) => {
                self.give_back();
                self.leave_out(cause, tick, Some(tick));
            }
        }
    }

    /// Drops an event of a recording that is thinned.
    fn leave_out(&mut self, cause: Cause, tick: u64, until: Option<u64>) {
        self.drop_event(cause);
        let Some(governed) = self.governed.as_mut() else { return };
        let first = governed.governor.note(cause, tick);
        let too_dear = || governed.is_far_too_dear().then_some(Limit::Refusing);
        let limit = governed.governor.ends_with(cause).or_else(too_dear);
        if let Some(until) = until {
            governed.drop_until(tick, until);
            let (dropping, cut) = (governed.dropping, tick.saturating_add(governed.governor.noted_each()));
            self.refusing = Refusing { until: until.min(cut), cause, ..self.refusing };
            self.tell_dropping(dropping);
        }
        if first {
            self.info(tick, |s, delta| remark(s, delta, cause, "events are dropped from here on"));
        }
        if let Some(limit) = limit {
            self.limits.reach(limit);
        }
    }

    /// Puts into the file what the next event would say, should there be none.
    fn tell_dropping(&self, dropping: Dropping) {
        for (place, tick) in [dropping.since, dropping.until].into_iter().enumerate() {
            let word = self.store.lane_word(self.number, DROPPING_OFFSET + 8 * place);
            word.store(tick, Ordering::Relaxed);
        }
    }

    /// Is an event refused without further ado? It is counted then. All are for a while after one
    /// was that [`Lane::wants`] looked at, but those of processes that are not in the sample.
    /// Asked only in recordings that are thinned, and only of what `Probe::Event` stands for.
    #[inline]
    pub fn refuses(&mut self, tracee: impl FnOnce() -> Option<u64>) -> bool {
        if self.refusing.until == 0 {
            return false;
        }
        if clock::now() >= self.refusing.until {
            self.refusing.until = 0;
            return false;
        }
        let Some(governed) = &self.governed else { return false };
        if governed.governor.is_sample() && governed.governor.leaves_out(tracee()) {
            return false;
        }
        self.refusing.events += 1;
        self.count_one(DROPPED_OFFSET + 8 * self.refusing.cause as usize);
        true
    }

    /// Is an event wanted of which the VM has not said more than whose it is?
    /// Asked only in recordings that are thinned.
    #[cold]
    #[inline(never)]
    pub fn wants(&mut self, probe: Probe, tracee: Option<u64>) -> Wanted {
        let refused = std::mem::take(&mut self.refusing.events);
        let Some(governed) = self.governed.as_mut() else { return Wanted::Yes };
        governed.refused(refused);
        if probe != Probe::Unclear && governed.governor.is_to_count(tracee) {
            let place = usize::from(governed.governor.leaves_out(tracee));
            self.count_one(SAMPLED_OFFSET + 8 * place);
        }
        let Some(governed) = self.governed.as_mut() else { return Wanted::Yes };
        let (wanted, dropped) = governed.wants(probe, tracee);
        if let Some((cause, tick, until)) = dropped {
            self.leave_out(cause, tick, Some(until));
        }
        wanted
    }

    /// Adds one to a counter of the lane's entry.
    #[inline]
    fn count_one(&self, offset: usize) {
        let counter = self.store.lane_word(self.number, offset);
        // One writer, so load and store are enough; readers want any recent value.
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Counts an event that was offered and not stored.
    #[cold]
    pub fn drop_event(&self, cause: Cause) {
        self.count_one(DROPPED_OFFSET + 8 * cause as usize);
    }

    /// Gives back the open chunks. Nothing may be stored afterwards.
    pub(crate) fn close(&mut self) {
        self.events.close();
        self.infos.close();
    }
}
