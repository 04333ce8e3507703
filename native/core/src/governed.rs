//! A lane of a recording that is thinned: what it decides for itself, and what
//! it owes the file about the events it dropped.
//!
//! Lanes that are not thinned never come here: their [`crate::lane::Lane`] holds
//! a credit of events, and this one's stays at 0.

use std::sync::Arc;

use spoor_format::Full;
use spoor_format::lane::Cause;
use spoor_format::record::write;

use crate::clock;
use crate::governor::{About, Flow, Governor};
use crate::missing::Told;
use crate::stream::Stream;

/// The governor's part of a lane.
#[derive(Debug)]
pub(crate) struct Governed {
    pub(crate) governor: Arc<Governor>,
    /// Events that may be stored before the limit of all is asked again.
    pub(crate) credit: u64,
    /// Events dropped since the last one stored.
    pub(crate) dropping: Dropping,
    /// When the window ends in which the recorder's time is counted, and its sum.
    cost_until: u64,
    spent: u64,
}

/// A stretch of a lane in which events were dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dropping {
    /// Tick of the first.
    pub(crate) since: u64,
    /// The last is not later.
    pub(crate) until: u64,
    /// How many; 0 for no stretch.
    pub(crate) events: u64,
}

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is stored, if no limit ends the recording.
    Store(Told),
    /// It is dropped. Others of the lane may be, up to the tick; `None` when only
    /// those of its process are, and these are accounted for.
    Drop(Cause, Option<u64>),
}

/// What the VM is told when it asks whether an event is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is, or that can only be told when it is there.
    Yes,
    /// It is not.
    No,
    /// Nothing of this process ever is.
    Never,
}

/// What the VM asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// Whether the process is traced at all; may be asked at any time.
    Process,
    /// An event of which it asks once, and which is dropped if it is not wanted.
    Event,
    /// An event of which it asks any number of times.
    Unclear,
}

impl Governed {
    pub(crate) fn new(governor: Arc<Governor>) -> Governed {
        Governed { governor, credit: 0, dropping: Dropping::default(), cost_until: 0, spent: 0 }
    }

    /// May the event be stored? Takes what it may take of the rates.
    pub(crate) fn judge(&mut self, tick: u64, about: About) -> Verdict {
        if self.governor.leaves_out(about.tracee) {
            return Verdict::Drop(Cause::Sample, None);
        }
        if let Some(until) = self.too_dear(tick) {
            return Verdict::Drop(Cause::MaxCost, Some(until));
        }
        let used_up = |left| Verdict::Drop(Cause::Rate, Some(tick.saturating_add(left)));
        if let Some(left) = self.governor.used_up(tick) {
            return used_up(left);
        }
        let told = match (&self.governor.missing, about) {
            (Some(missing), About { tracee: Some(tracee), flow }) => {
                if let Flow::Call(function) = flow
                    && !self.governor.take_call(function, tick)
                {
                    missing.leave_out(tracee, function);
                    return Verdict::Drop(Cause::FunctionRate, None);
                }
                missing.look(tracee, flow)
            }
            _ => Told::Nothing,
        };
        if told == Told::LeftOut {
            return Verdict::Drop(Cause::FunctionRate, None);
        }
        if self.governor.take(tick) { Verdict::Store(told) } else { used_up(self.governor.used_up(tick).unwrap_or(0)) }
    }

    /// Is an event wanted, before anything of it is known but whose it is? Answers
    /// what it is dropped for if not, with the tick.
    pub(crate) fn wants(&mut self, probe: Probe, tracee: Option<u64>) -> (Wanted, Option<(Cause, u64, Option<u64>)>) {
        if self.governor.leaves_out(tracee) {
            return match probe {
                Probe::Process if self.governor.removes() => (Wanted::Never, None),
                Probe::Event => (Wanted::No, Some((Cause::Sample, clock::now(), None))),
                Probe::Process | Probe::Unclear => (Wanted::Yes, None),
            };
        }
        if let Some(cost) = self.governor.cost {
            self.spent = self.spent.saturating_add(cost.clock_ticks);
        }
        let may_be = self.governor.may_be_used_up() || self.governor.cost.is_some_and(|c| self.spent >= c.most_ticks);
        if probe != Probe::Event || !may_be {
            return (Wanted::Yes, None);
        }
        let tick = clock::now();
        if let Some(until) = self.too_dear(tick) {
            return (Wanted::No, Some((Cause::MaxCost, tick, Some(until))));
        }
        match self.governor.used_up(tick) {
            Some(left) => (Wanted::No, Some((Cause::Rate, tick, Some(tick.saturating_add(left))))),
            None => (Wanted::Yes, None),
        }
    }

    /// When the recorder may go on, if it has taken its share of this thread's time.
    fn too_dear(&mut self, tick: u64) -> Option<u64> {
        let cost = self.governor.cost?;
        if tick >= self.cost_until {
            self.cost_until = (tick / cost.window_ticks + 1) * cost.window_ticks;
            self.spent = 0;
        }
        (self.spent >= cost.most_ticks).then_some(self.cost_until)
    }

    /// The recorder has been at work on this thread since the tick.
    pub(crate) fn worked_since(&mut self, tick: u64) {
        if let Some(cost) = self.governor.cost {
            let took = clock::now().saturating_sub(tick).saturating_add(cost.clock_ticks);
            self.spent = self.spent.saturating_add(took);
        }
    }

    /// An event is dropped at this tick, and up to another others may be.
    pub(crate) fn drop_until(&mut self, tick: u64, until: u64) {
        if self.dropping.events == 0 {
            self.dropping = Dropping { since: tick, until, events: 0 };
        }
        self.dropping.until = self.dropping.until.max(until);
        self.dropping.events += 1;
    }

    /// The event is in the file, with what [`Governed::judge`] said.
    pub(crate) fn stored(&mut self, about: About, told: Told) {
        self.credit = self.credit.saturating_sub(1);
        self.dropping = Dropping::default();
        if let (Some(missing), Some(tracee)) = (&self.governor.missing, about.tracee) {
            missing.stored(tracee, about.flow, told);
        }
    }
}

impl Dropping {
    /// Writes what the next event at `tick` says of the stretch.
    pub(crate) fn annotate(self, stream: &mut Stream, tick: u64) -> Result<(), Full> {
        if self.events == 0 {
            return Ok(());
        }
        let (since, lasted) = (tick.saturating_sub(self.since), self.until.saturating_sub(self.since));
        write::dropped(stream, 0, since, lasted, self.events)
    }
}

impl Told {
    /// Writes what an event says of calls that were left out before it.
    pub(crate) fn annotate(self, stream: &mut Stream) -> Result<(), Full> {
        match self {
            Told::Own => write::missing(stream, 0, 0),
            Told::Any => write::missing(stream, 0, 1),
            Told::Nothing | Told::LeftOut => Ok(()),
        }
    }
}
