//! Whether the clocks of threads agree.
//!
//! Ticks of different threads are compared all the time: they make the order of events and
//! the durations of whatever moves between threads. Where one thing must come before
//! another and its tick does not, the clocks of the two threads disagree, by as much as
//! that at least. Nothing is corrected: it is counted and told.
//!
//! * A process leaves a thread before it comes in on another.
//! * A process is spawned before it comes in for the first time.
//! * A message is sent before it is received, where both events carry its reference.
//!
//! Where events may be missing in between, nothing is concluded.

use std::cmp::Reverse;

use foldhash::{HashMap, HashSet};
use spoor_format::chunk::Identity;

use crate::model::pids::Places;
use crate::read::{Dealt, Deed, Event, Finding, Recording, SHARE_BITS, Step, TraceeId, kind};

/// Messages that were sent or received, and not yet both: more are not kept.
const MESSAGES: usize = 1 << 16;
/// Processes of which nothing is known are forgotten when there are twice as many as before.
const FEWEST_KEPT: usize = 4096;
const NOWHERE: u32 = u32::MAX;

/// A moment on a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    lane: u32,
    /// Ticks, or nanoseconds: whatever the events are told in.
    time: u64,
}

const NEVER: Moment = Moment { lane: NOWHERE, time: 0 };

/// What is known of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Life {
    /// It came in on this lane last, and was not out since.
    on: u32,
    /// It came in elsewhere before it was out there.
    early: Moment,
    /// And was out of there again.
    gone: bool,
    /// Its first event, while it is not known to have been spawned.
    first: Moment,
    epoch: u32,
}

impl Life {
    fn new(epoch: u32) -> Life {
        Life { on: NOWHERE, early: NEVER, gone: false, first: NEVER, epoch }
    }
}

/// What came before what must come before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Worst {
    /// When the effect was, and its cause, which is later.
    effect: Moment,
    cause: Moment,
}

impl Worst {
    fn by(&self) -> u64 {
        self.cause.time - self.effect.time
    }

    /// The worst is last; of those that are as bad, the one that was found first.
    fn order(&self) -> (u64, Reverse<[u64; 4]>) {
        let Worst { effect, cause } = self;
        (self.by(), Reverse([cause.time, u64::from(cause.lane), effect.time, u64::from(effect.lane)]))
    }
}

/// Looks for what is in the wrong order, in events in the order of time.
#[derive(Debug, Default)]
pub struct Clocks {
    lives: Vec<Life>,
    /// Of processes that are not numbered: those of which there is something to know.
    surveyed: HashMap<Identity, Life>,
    swept: usize,
    places: Places,
    /// Messages that were received before they were sent, as far as is known.
    received: HashMap<u64, Moment>,
    /// And those that are on their way.
    sent: HashSet<u64>,
    epoch: u32,
    hole_until: u64,
    found: u64,
    worst: Option<Worst>,
}

impl Clocks {
    /// Of a recording that is surveyed.
    pub fn of_survey(recording: &Recording) -> Clocks {
        Clocks { places: Places::of(recording), ..Clocks::default() }
    }

    /// Takes an event of a recording that is read.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>) {
        if !matches!(event.kind, kind::IN..=kind::OUT_EXITED | kind::SPAWNED | kind::EXIT) {
            return;
        }
        let now = Moment { lane: event.lane, time: event.time };
        let epoch = if event.missing || !event.complete { None } else { Some(event.epoch) };
        self.of_process(event.tracee.0, event.kind, now, epoch);
    }

    /// Takes an event of a recording that is dealt out: all those of its share and no others.
    #[inline(always)]
    pub fn dealt(&mut self, dealt: &Dealt) {
        // Nearly all are calls and returns.
        if dealt.kind > kind::EXCEPTION_FROM {
            self.dealt_other(dealt);
        }
    }

    fn dealt_other(&mut self, dealt: &Dealt) {
        let now = Moment { lane: dealt.lane, time: dealt.time };
        let epoch = if dealt.missing || !dealt.complete { None } else { Some(dealt.epoch) };
        // Of a share, all numbers end in the same bits.
        self.of_process(dealt.tracee.0 >> SHARE_BITS, dealt.kind, now, epoch);
    }

    /// A process has no more events: its number may be another's.
    pub fn leave(&mut self, tracee: TraceeId) {
        self.forget(tracee.0);
    }

    /// The same, of a recording that is dealt out.
    pub fn leave_share(&mut self, tracee: TraceeId) {
        self.forget(tracee.0 >> SHARE_BITS);
    }

    fn forget(&mut self, number: u32) {
        if let Some(life) = self.lives.get_mut(number as usize) {
            *life = Life::new(u32::MAX);
        }
    }

    /// What was found in the shares of a recording, together.
    pub fn of_shares<'a>(shares: impl Iterator<Item = &'a Clocks>) -> Clocks {
        shares.fold(Clocks::default(), |sum, share| Clocks {
            found: sum.found + share.found,
            worst: sum.worst.into_iter().chain(share.worst).max_by_key(Worst::order),
            ..sum
        })
    }

    /// Takes a step of a recording that is surveyed.
    pub fn step(&mut self, step: &Step) {
        let now = Moment { lane: step.lane, time: step.tick };
        if let Deed::Hole(until) = step.deed {
            self.hole_until = self.hole_until.max(until);
            self.epoch = self.epoch.wrapping_add(1);
            self.received.clear();
            self.sent.clear();
            return;
        }
        let kind = match step.deed {
            Deed::Event(kind @ (kind::IN..=kind::OUT_EXITED | kind::SPAWNED | kind::EXIT)) => Some(kind),
            Deed::Missing => None,
            Deed::Received(reference) if step.tick >= self.hole_until => return self.message_received(reference, now),
            Deed::Sent(reference) if step.tick >= self.hole_until => return self.message_sent(reference, now),
            _ => return,
        };
        let epoch = self.epoch;
        let sure = kind.is_some() && step.tick >= self.hole_until;
        let life = match self.surveyed.get_mut(&step.whose) {
            Some(life) => life,
            None => self.met(step.whose),
        };
        let wrong = life.event(kind.unwrap_or(kind::UNKNOWN), now, sure.then_some(epoch));
        if let Some(effect) = wrong {
            self.found(effect, now);
        }
    }

    /// One of which nothing is known by now.
    #[cold]
    fn met(&mut self, whose: Identity) -> &mut Life {
        self.sweep();
        self.places.replaced(whose).and_then(|gone| self.surveyed.remove(&gone));
        self.surveyed.entry(whose).or_insert(Life::new(u32::MAX))
    }

    /// Forgets those of which there is nothing to know, when there are twice as many as before.
    fn sweep(&mut self) {
        if self.surveyed.len() > self.swept.saturating_mul(2).max(FEWEST_KEPT) {
            self.surveyed.retain(|_, life| *life != Life::new(life.epoch));
            self.swept = self.surveyed.len();
        }
    }

    /// `epoch` is `None` where events may be missing.
    fn of_process(&mut self, number: u32, event: u8, now: Moment, epoch: Option<u32>) {
        let at = number as usize;
        if self.lives.len() <= at {
            self.lives.resize(at + 1, Life::new(u32::MAX));
        }
        if let Some(effect) = self.lives[at].event(event, now, epoch) {
            self.found(effect, now);
        }
    }

    fn message_received(&mut self, reference: u64, now: Moment) {
        if self.sent.remove(&reference) {
            return;
        }
        if self.received.len() >= MESSAGES {
            self.received.clear();
        }
        self.received.entry(reference).or_insert(now);
    }

    fn message_sent(&mut self, reference: u64, now: Moment) {
        match self.received.remove(&reference) {
            Some(effect) if effect.lane != now.lane => self.found(effect, now),
            Some(_) => {}
            None if self.sent.len() < MESSAGES => drop(self.sent.insert(reference)),
            None => self.sent.clear(),
        }
    }

    fn found(&mut self, effect: Moment, cause: Moment) {
        let one = Worst { effect, cause };
        if cause.time <= effect.time {
            return;
        }
        self.found += 1;
        if self.worst.is_none_or(|worst| worst.order() < one.order()) {
            self.worst = Some(one);
        }
    }

    /// What was found, in events that were read.
    pub fn finding(&self, recording: &Recording) -> Option<Finding> {
        self.told(recording, |time| time)
    }

    /// What was found, in a survey.
    pub fn finding_of_survey(&self, recording: &Recording) -> Option<Finding> {
        self.told(recording, |tick| recording.clock.ns(tick))
    }

    fn told(&self, recording: &Recording, ns: impl Fn(u64) -> u64) -> Option<Finding> {
        let Worst { effect, cause } = self.worst?;
        let by = ns(cause.time).saturating_sub(ns(effect.time));
        let times = if self.found == 1 { "once".to_owned() } else { format!("{} times", self.found) };
        let (early, late) = (recording.lane_name(effect.lane), recording.lane_name(cause.lane));
        let what = "what must come later came first";
        Some(Finding::clocks(format!("{times} {what}, by up to {by} ns (on {early}, against {late})")))
    }
}

impl Life {
    /// Answers what came too early.
    fn event(&mut self, event: u8, now: Moment, epoch: Option<u32>) -> Option<Moment> {
        let Some(epoch) = epoch else {
            *self = Life::new(u32::MAX);
            return None;
        };
        if self.epoch != epoch {
            // What it was doing is not known, nor that it is new.
            *self = Life::new(epoch);
        }
        match event {
            kind::IN | kind::IN_EXITING => self.comes_in(now),
            kind::OUT | kind::OUT_EXITING => self.leaves(now),
            kind::SPAWNED => {
                let first = std::mem::replace(&mut self.first, NEVER);
                (first.lane != NOWHERE && first.lane != now.lane).then_some(first)
            }
            _ => {
                *self = Life::new(epoch);
                None
            }
        }
    }

    /// When it came in before it was out elsewhere, that is known once it is out there.
    fn comes_in(&mut self, now: Moment) -> Option<Moment> {
        if self.first.lane == NOWHERE && self.on == NOWHERE {
            self.first = now;
        }
        if self.on == NOWHERE || self.on == now.lane {
            (self.on, self.early) = (now.lane, NEVER);
        } else {
            (self.early, self.gone) = (now, false);
        }
        None
    }

    fn leaves(&mut self, now: Moment) -> Option<Moment> {
        if self.early.lane == NOWHERE {
            self.on = NOWHERE;
            return None;
        }
        if now.lane != self.on {
            self.gone = true;
            return None;
        }
        // Out of where it was, and in already elsewhere.
        let early = std::mem::replace(&mut self.early, NEVER);
        self.on = if self.gone { NOWHERE } else { early.lane };
        Some(early)
    }
}
