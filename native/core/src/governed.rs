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
use crate::governor::{About, Cost, Flow, Governor};
use crate::missing::Told;
use crate::stream::Stream;

/// Refusing alone takes far too much when it takes so many times the share.
const FAR: u64 = 2;
/// In so many windows, a second, more than in others: then it ends the recording.
const FAR_TOO_DEAR_WINDOWS: u64 = 100;
/// What refusing took is owed for so many windows at most.
const MOST_OWED_WINDOWS: u64 = 100;

/// The governor's part of a lane.
#[derive(Debug)]
pub(crate) struct Governed {
    pub(crate) governor: Arc<Governor>,
    /// Events that may be stored before the limit of all is asked again.
    pub(crate) credit: u64,
    /// Events dropped since the last one stored.
    pub(crate) dropping: Dropping,
    spent: Spent,
}

/// The recorder's time on this thread, in ticks.
#[derive(Debug, Default)]
struct Spent {
    /// When the window ends in which it is counted.
    until: u64,
    /// On events that were stored, or could have been.
    on_events: u64,
    /// On refusing others.
    refusing: u64,
    /// What windows before this one took beyond their share by refusing.
    owed: u64,
    /// Windows in which refusing alone took far more than the share, less those in which it did not.
    far_too_dear: u64,
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
    /// Its process is not in the sample: it is as if it had not been.
    Ignore,
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
        Governed { governor, credit: 0, dropping: Dropping::default(), spent: Spent::default() }
    }

    /// May the event be stored? Takes what it may take of the rates.
    pub(crate) fn judge(&mut self, tick: u64, about: About) -> Verdict {
        if self.governor.leaves_out(about.tracee) {
            return Verdict::Ignore;
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
                    missing.leave_out(tracee, function, tick);
                    return Verdict::Drop(Cause::FunctionRate, None);
                }
                missing.look(tracee, flow, tick)
            }
            _ => Told::Nothing,
        };
        if told == Told::LeftOut {
            return Verdict::Drop(Cause::FunctionRate, None);
        }
        if self.governor.take(tick) { Verdict::Store(told) } else { used_up(self.governor.used_up(tick).unwrap_or(0)) }
    }

    /// Is an event wanted, before anything of it is known but whose it is? Answers
    /// what it is dropped for if not, when, and up to which tick others are.
    pub(crate) fn wants(&mut self, probe: Probe, tracee: Option<u64>) -> (Wanted, Option<(Cause, u64, u64)>) {
        if self.governor.leaves_out(tracee) {
            return match probe {
                Probe::Process if self.governor.removes() => (Wanted::Never, None),
                Probe::Event => (Wanted::No, None),
                Probe::Process | Probe::Unclear => (Wanted::Yes, None),
            };
        }
        if probe != Probe::Event {
            return (Wanted::Yes, None);
        }
        if let Some(cost) = self.governor.cost {
            // Of two questions.
            self.spent.on_events = self.spent.on_events.saturating_add(2 * cost.clock_ticks);
        }
        let is_dear = self.governor.cost.is_some_and(|cost| self.spent.all() >= cost.most_ticks);
        if !is_dear && !self.governor.may_be_used_up() {
            return (Wanted::Yes, None);
        }
        let tick = clock::now();
        if let Some(until) = self.too_dear(tick) {
            return (Wanted::No, Some((Cause::MaxCost, tick, until)));
        }
        match self.governor.used_up(tick) {
            Some(left) => (Wanted::No, Some((Cause::Rate, tick, tick.saturating_add(left)))),
            None => (Wanted::Yes, None),
        }
    }

    /// When the recorder may go on, if it has taken its share of this thread's time.
    fn too_dear(&mut self, tick: u64) -> Option<u64> {
        let cost = self.governor.cost?;
        if tick >= self.spent.until {
            self.spent.begin_window(tick, cost);
        }
        (self.spent.all() >= cost.most_ticks).then_some(self.spent.until)
    }

    /// Does refusing alone take far more than the share, and has for long?
    pub(crate) fn is_far_too_dear(&self) -> bool {
        self.spent.far_too_dear >= FAR_TOO_DEAR_WINDOWS
    }

    /// The recorder has been at work on this thread since the tick.
    pub(crate) fn worked_since(&mut self, tick: u64) {
        if let Some(cost) = self.governor.cost {
            let took = clock::now().saturating_sub(tick).saturating_add(cost.clock_ticks);
            self.spent.on_events = self.spent.on_events.saturating_add(took);
        }
    }

    /// So many events more were refused in the stretch that is told with the next one stored.
    pub(crate) fn refused(&mut self, events: u64) {
        self.dropping.events += events;
        if let Some(cost) = self.governor.cost {
            self.spent.refusing = self.spent.refusing.saturating_add(events.saturating_mul(cost.refusal_ticks));
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
    pub(crate) fn stored(&mut self, tick: u64, about: About, told: Told) {
        self.credit = self.credit.saturating_sub(1);
        self.dropping = Dropping::default();
        if let (Some(missing), Some(tracee)) = (&self.governor.missing, about.tracee) {
            missing.stored(tracee, about.flow, tick, told);
        }
    }
}

impl Spent {
    fn all(&self) -> u64 {
        self.owed.saturating_add(self.on_events).saturating_add(self.refusing)
    }

    /// A window begins. That events take no more than the share each window sees to; what
    /// refusing took beyond it later ones pay for.
    fn begin_window(&mut self, tick: u64, cost: Cost) {
        let begun = tick / cost.window_ticks * cost.window_ticks;
        let windows = begun.saturating_sub(self.until) / cost.window_ticks + 1;
        let took = self.owed.saturating_add(self.on_events.min(cost.most_ticks)).saturating_add(self.refusing);
        let owed = took.saturating_sub(cost.most_ticks.saturating_mul(windows));
        let is_far = self.refusing > FAR * cost.most_ticks;
        *self = Spent {
            until: begun + cost.window_ticks,
            on_events: 0,
            refusing: 0,
            owed: owed.min(MOST_OWED_WINDOWS * cost.most_ticks),
            far_too_dear: (self.far_too_dear + u64::from(is_far)).saturating_sub(windows - u64::from(is_far)),
        };
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
