//! Where each process's time went: on a scheduler, collecting garbage, waiting.
//!
//! The parts add up to the time that passed between a process's first event and
//! its last, to the nanosecond. What the events do not say is said to be unknown.
//!
//! * From `in` to `out` a process runs: on a scheduler, or on a dirty one.
//! * From `out` to `in` it waited in `receive` when it then took a message or a
//!   `timeout`; from the first message that was sent to it in the meantime it
//!   was queued. When it then ran on by itself, it was not waiting for a message:
//!   it was queued all the time. When it did nothing, a signal may have woken it, and nobody
//!   can tell; nor without the `receive` events of all messages.
//! * Who goes off to hibernate waits for a message, whatever it does then; and of who goes off where the VM
//!   suspends nobody can tell.
//! * What a process did before its first event, its first event tells, as far back as no event is
//!   missing: before `in` it was off, and before `out`, a call and the like on that thread.
//! * While a port is in on the thread of a process that is on a scheduler, the process
//!   runs the port's code: it called the port.
//! * Garbage collection is told by its own events, wherever it runs.

use crate::model::calm::Calm;
use crate::model::cut::Cut;
use crate::model::filter::EventFilter;
use crate::model::off::{Off, Place, of_requests_alone};
use crate::model::processes::Processes;
use crate::model::replies::{Replies, receiver, reply_to_alias};
use crate::model::slots::{Exited, Slots};
use crate::model::split::Split;
use crate::read::{Event, FunctionId, Recording, TraceeId, kind};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Unknown,
    Running,
    Port,
    Dirty,
    Off,
}

#[derive(Debug, Clone, Default)]
struct State {
    begun: bool,
    epoch: u32,
    since: u64,
    mode: Mode,
    /// Of the thread on which it came in.
    lane: u32,
    /// It runs elsewhere than on the threads that are asked for.
    elsewhere: bool,
    collecting: bool,
    /// It is off, or came back: since when.
    off_from: u64,
    /// In which function it went off.
    left: Option<FunctionId>,
    /// What that says of why.
    place: Place,
    /// It came back, and has not shown yet what it was off for: when.
    back_at: Option<u64>,
    /// Up to then it was in no run queue, for certain.
    calm_until: u64,
    /// It left, or came to, a dirty scheduler.
    dirty: bool,
    /// While it was off, the first message was sent to it.
    message_at: Option<u64>,
    /// In this stretch without missing events.
    message_epoch: u32,
    exited_at: Option<u64>,
    split: Split,
}

/// A stretch in which a process was ready to run and did not, or may have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// From.
    pub from: u64,
    /// To.
    pub to: u64,
    /// It was; else nobody says.
    pub certain: bool,
}

/// The processes of one recording.
#[derive(Debug)]
pub struct States {
    states: Slots<State>,
    exited: Exited,
    /// Whose exit is long enough ago.
    leaving: Option<TraceeId>,
    /// Of each thread, the process that came in last.
    on_lanes: Vec<TraceeId>,
    dirty_lanes: Vec<bool>,
    /// Who takes a message has an event.
    receives: bool,
    of_requests_alone: bool,
    /// Replies to aliases, and when they were sent.
    replies: Replies<u64>,
    runs: bool,
    cut: Cut,
    /// From then on all events are known, as far as none is missing.
    whole_since: Option<u64>,
    calm: Calm,
    lanes: EventFilter,
}

impl States {
    /// Of a recording.
    pub fn new(recording: &Recording) -> States {
        States::within(recording, Cut::all(recording))
    }

    /// Of a part of a recording: only what lies in it is added up.
    pub fn within(recording: &Recording, cut: Cut) -> States {
        let lanes = recording.ledger.iter().map(|lane| lane.lane as usize + 1).max().unwrap_or(0);
        let mut dirty_lanes = vec![false; lanes];
        for lane in recording.ledger.iter().filter(|lane| lane.kind.starts_with("dirty")) {
            dirty_lanes[lane.lane as usize] = true;
        }
        let (states, exited, on_lanes) = (Slots::default(), Exited::default(), Vec::new());
        let of_requests_alone = of_requests_alone(recording);
        let (receives, runs) = (recording.traces("receive") && !of_requests_alone, recording.traces("running"));
        States {
            states,
            exited,
            leaving: None,
            on_lanes,
            dirty_lanes,
            receives,
            of_requests_alone,
            replies: Replies::default(),
            runs,
            cut,
            whole_since: None,
            calm: Calm::new(recording),
            lanes: EventFilter::default(),
        }
    }

    /// With `runs`, there are `in` and `out` events in the recording, whatever was read of it so far.
    pub fn knowing(self, runs: bool) -> States {
        States { runs: self.runs || runs, ..self }
    }

    /// Time on other threads than those asked for is left out; time on no thread is not.
    pub fn on(self, lanes: EventFilter) -> States {
        States { lanes, ..self }
    }

    /// Does the recording say when a process takes a message, whichever it is?
    pub fn knows_receives(&self) -> bool {
        self.receives
    }

    /// Takes an event; answers when its process was last in a run queue, if that
    /// came to light.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes) -> Option<Ready> {
        if event.time < self.cut.since {
            self.last_of_its_thread(event);
            return None;
        }
        let whole_since = self.begin(event);
        self.beside(event, processes);
        self.runs |= matches!(event.kind, kind::IN | kind::OUT);
        let calm_until = self.calm.event(event);
        let (receives, runs) = (self.receives, self.runs);
        let dirty = self.dirty_lanes.get(event.lane as usize) == Some(&true);
        let elsewhere = !self.lanes.takes_lane(event.lane);
        let (state, cut) = (self.states.entry(event.tracee.0), &self.cut);
        let message_at = state.message_at.filter(|_| state.message_epoch == event.epoch);
        let forgets = state.begun && (state.epoch != event.epoch || event.missing || !event.complete);
        let ready = match Off::told_by(event, state.left) {
            _ if forgets => state.came_back(Off::Unsaid, cut),
            Some(Off::Queued) if !receives => state.came_back(Off::Unsaid, cut),
            Some(off) => state.came_back(off, cut),
            None => None,
        };
        if forgets || !state.begun {
            state.forget(event.epoch);
            if !state.begun && event.kind == kind::SPAWNED {
                state.since = event.time;
            } else if runs && event.complete && !event.missing {
                state.elsewhere = elsewhere;
                state.did_before(event, whole_since.max(event.whole_since_ns()), dirty, cut);
                state.message_at = message_at;
            }
            state.begun = true;
        }
        state.pass(event.time, cut);
        if matches!(event.kind, kind::IN | kind::IN_EXITING) || kind::is_of_running(event.kind) {
            state.elsewhere = elsewhere;
        }
        state.turn(event, dirty, runs, cut);
        state.calm_until = calm_until;
        match event.kind {
            kind::EXIT => self.exits(event),
            kind::SPAWNED => state.exited_at = None,
            _ => {}
        }
        ready
    }

    /// Takes an event of a process that nobody asks about, for what it says of others.
    #[inline]
    pub fn beside(&mut self, event: &Event<'_>, processes: &Processes) {
        if event.time < self.cut.since {
            return self.last_of_its_thread(event);
        }
        self.begin(event);
        match event.kind {
            kind::SEND => self.sent(event, processes),
            kind::RECEIVE => self.takes(event),
            kind::IN | kind::IN_EXITING => self.comes_in(event),
            kind::PORT_IN | kind::PORT_OUT => self.port(event),
            _ => {}
        }
        self.receives |= event.kind == kind::RECEIVE && !self.of_requests_alone;
    }

    /// Since when all events are known, as far as none is missing.
    fn begin(&mut self, event: &Event<'_>) -> u64 {
        *self.whole_since.get_or_insert(self.cut.known_from(event.time))
    }

    /// What comes first is the last event of a thread before all are read: it says who is on the
    /// thread, should anybody be.
    #[cold]
    fn last_of_its_thread(&mut self, event: &Event<'_>) {
        self.calm.event(event);
        if !event.complete || event.kind == kind::OUT || !kind::is_of_running(event.kind) || !self.runs {
            return;
        }
        self.comes_in(event);
        let dirty = self.dirty_lanes.get(event.lane as usize) == Some(&true);
        *self.states.entry(event.tracee.0) = State {
            begun: true,
            epoch: event.epoch,
            since: event.time,
            mode: if dirty { Mode::Dirty } else { Mode::Running },
            lane: event.lane,
            elsewhere: !self.lanes.takes_lane(event.lane),
            collecting: kind::begins_gc(event.kind),
            ..State::default()
        };
    }

    /// Who is in a run queue still, when all has been read, as nothing else can they wait for; and
    /// who came in, and has not shown what it was off for.
    pub fn in_queues(&self) -> impl Iterator<Item = (TraceeId, Ready)> + '_ {
        self.states.numbers().into_iter().filter_map(|number| {
            let state = self.states.get(number)?;
            let is_off = state.mode == Mode::Off && state.dirty && state.exited_at.is_none();
            let still = Ready { from: state.off_from, to: self.cut.to.max(state.off_from), certain: true };
            let ready = state.clone().came_back(Off::Unsaid, &self.cut).or(is_off.then_some(still))?;
            Some((TraceeId(number), ready))
        })
    }

    fn exits(&mut self, event: &Event<'_>) {
        self.states.entry(event.tracee.0).exited_at = Some(event.time);
        let gone = self.exited.push(event.tracee.0, event.time);
        let is_gone =
            |(number, time): &(u32, u64)| self.states.get(*number).is_some_and(|state| state.exited_at == Some(*time));
        self.leaving = gone.filter(is_gone).map(|(number, _)| TraceeId(number));
    }

    /// Who exited so long ago that it has no more events, if one has been found by the last
    /// event; told once.
    pub fn leaving(&mut self) -> Option<TraceeId> {
        self.leaving.take()
    }

    /// Is there anything to say of it?
    pub fn knows(&self, tracee: TraceeId) -> bool {
        self.states.get(tracee.0).is_some_and(|state| state.begun)
    }

    /// Nothing more is asked about it.
    pub fn remove(&mut self, tracee: TraceeId) {
        self.states.remove(tracee.0);
    }

    /// Forgets who is leaving.
    pub fn let_go(&mut self) {
        if let Some(tracee) = self.leaving() {
            self.remove(tracee);
        }
    }

    fn comes_in(&mut self, event: &Event<'_>) {
        let lane = event.lane as usize;
        if self.on_lanes.len() <= lane {
            self.on_lanes.resize(lane + 1, event.tracee);
        }
        let before = std::mem::replace(&mut self.on_lanes[lane], event.tracee);
        if before == event.tracee {
            return;
        }
        // Who was there has left, at a moment that nobody knows: it is no longer traced.
        if let Some(state) = self.states.get_mut(before.0).filter(|state| state.is_on(event.lane)) {
            (state.mode, state.collecting) = (Mode::Unknown, false);
        }
    }

    /// A port's code runs: for the process that is on this thread, if one is.
    fn port(&mut self, event: &Event<'_>) {
        let Some(whose) = self.on_lanes.get(event.lane as usize) else { return };
        let Some(state) = self.states.get_mut(whose.0).filter(|state| state.lane == event.lane) else {
            return;
        };
        let (from, to) = match event.kind {
            kind::PORT_IN => (Mode::Running, Mode::Port),
            _ => (Mode::Port, Mode::Running),
        };
        if state.mode == from && state.epoch == event.epoch {
            state.pass(event.time, &self.cut);
            state.mode = to;
        }
    }

    /// Somebody is sent a message: if it waits, it does no longer.
    fn sent(&mut self, event: &Event<'_>, processes: &Processes) {
        let Some(to) = receiver(event, processes) else {
            if let Some(alias) = reply_to_alias(event).filter(|alias| !self.replies.holds(alias)) {
                self.replies.sent(alias, event.time);
            }
            return;
        };
        let state = self.states.entry(to.0);
        // What it is doing since events were missing its first event will tell.
        if state.begun && state.epoch == event.epoch && state.mode != Mode::Off {
            return;
        }
        if state.message_epoch != event.epoch {
            (state.message_epoch, state.message_at) = (event.epoch, None);
        }
        state.message_at.get_or_insert(event.time);
    }

    /// Whose the alias is to which a reply was sent is known now. Who takes one first when it came back has been
    /// ready since that was sent.
    fn takes(&mut self, event: &Event<'_>) {
        let Some(sent) = self.replies.that_comes(event) else { return };
        if let Some(state) = self.states.get_mut(event.tracee.0).filter(|state| state.back_at.is_some()) {
            state.message_at = Some(state.message_at.map_or(sent, |at| at.min(sent)));
        }
    }

    /// Up to its last event, or, when it was off at that, up to `now`.
    pub fn split(&self, tracee: TraceeId, now: Option<u64>) -> Split {
        let Some(state) = self.states.get(tracee.0).filter(|state| state.begun) else {
            return Split::default();
        };
        let mut state = state.clone();
        state.came_back(Off::Unsaid, &self.cut);
        if let Some(now) = now {
            let ns = self.cut.part(state.off_from, now);
            match state.mode {
                Mode::Off if state.dirty => state.split.queued_ns = state.split.queued_ns.saturating_add(ns),
                Mode::Off => state.split.off_ns = state.split.off_ns.saturating_add(ns),
                _ => state.pass(now, &self.cut),
            }
        }
        state.split
    }
}

impl State {
    fn is_on(&self, lane: u32) -> bool {
        self.lane == lane && matches!(self.mode, Mode::Running | Mode::Port | Mode::Dirty)
    }

    fn came_back(&mut self, off: Off, cut: &Cut) -> Option<Ready> {
        let back = self.back_at.take()?;
        let from = self.off_from;
        let message = self.message_at.take().map(|at| at.clamp(from, back));
        let perhaps = Some(Ready { from: self.calm_until.clamp(from, back), to: back, certain: false });
        let (queued_from, unknown) = match (off, self.place) {
            _ if self.dirty => (Some(from), None),
            // By which message it was woken, should it be none that is known, nobody says.
            (_, Place::Hibernates) => (message, perhaps),
            (Off::Unsaid, _) | (_, Place::Suspends) => {
                self.split.off_ns = self.split.off_ns.saturating_add(cut.part(from, back));
                return perhaps;
            }
            (Off::Waiting, _) => (message, None),
            (Off::Queued, _) => (Some(from), None),
        };
        let until = queued_from.unwrap_or(back);
        self.split.waiting_ns = self.split.waiting_ns.saturating_add(cut.part(from, until));
        self.split.queued_ns = self.split.queued_ns.saturating_add(cut.part(until, back));
        queued_from.map(|from| Ready { from, to: back, certain: true }).or(unknown)
    }

    fn pass(&mut self, now: u64, cut: &Cut) {
        let ns = cut.part(self.since, now);
        match self.mode {
            // Told when it comes back.
            Mode::Off => return,
            Mode::Unknown if !self.collecting => self.split.unknown_ns = self.split.unknown_ns.saturating_add(ns),
            _ if self.elsewhere => {}
            _ if self.collecting => self.split.gc_ns = self.split.gc_ns.saturating_add(ns),
            Mode::Unknown => {}
            Mode::Running => self.split.running_ns = self.split.running_ns.saturating_add(ns),
            Mode::Port => self.split.port_ns = self.split.port_ns.saturating_add(ns),
            Mode::Dirty => self.split.dirty_ns = self.split.dirty_ns.saturating_add(ns),
        }
        self.since = self.since.max(now);
    }

    /// Events may be missing since the one before.
    fn forget(&mut self, epoch: u32) {
        if self.mode == Mode::Off {
            self.since = self.off_from;
        }
        (self.epoch, self.mode, self.collecting) = (epoch, Mode::Unknown, false);
        (self.back_at, self.message_at, self.left, self.place) = (None, None, None, Place::Anywhere);
    }

    /// Its first event in a stretch in which none is missing tells what it did in it before.
    fn did_before(&mut self, event: &Event<'_>, whole_since: u64, dirty: bool, cut: &Cut) {
        self.pass(whole_since.min(event.time), cut);
        match event.kind {
            kind::IN | kind::IN_EXITING => {
                (self.mode, self.off_from, self.dirty, self.place) = (Mode::Off, self.since, false, Place::of(event));
            }
            of if kind::is_of_running(of) => {
                self.mode = if dirty { Mode::Dirty } else { Mode::Running };
                self.lane = event.lane;
                self.collecting = kind::ends_gc(of);
            }
            _ => {}
        }
    }

    fn turn(&mut self, event: &Event<'_>, dirty: bool, runs: bool, cut: &Cut) {
        match event.kind {
            kind::IN | kind::IN_EXITING => {
                if self.mode == Mode::Off {
                    // Times of damaged chunks may go back.
                    self.back_at = Some(event.time.max(self.off_from));
                    self.dirty |= dirty;
                } else {
                    self.dirty = dirty;
                }
                self.mode = if dirty { Mode::Dirty } else { Mode::Running };
                (self.since, self.lane) = (self.since.max(event.time), event.lane);
            }
            kind::OUT | kind::OUT_EXITING => {
                self.leaves(event.time, Place::of(event), dirty, cut);
                self.left = event.function;
            }
            of if kind::begins_gc(of) => self.collecting = true,
            of if kind::ends_gc(of) => self.collecting = false,
            // Made by its parent, it waits for its turn; nothing else can it wait for.
            kind::SPAWNED if runs => self.leaves(event.time, Place::Anywhere, true, cut),
            kind::CALL..=kind::EXCEPTION_FROM | kind::SEND if self.mode == Mode::Off => {
                // Whoever has these is on a scheduler: an `in` is missing.
                self.off_until(event.time, cut);
                self.mode = Mode::Running;
            }
            // Its own code, not a port's.
            kind::CALL..=kind::EXCEPTION_FROM if self.mode == Mode::Port => self.mode = Mode::Running,
            _ => {}
        }
    }

    fn leaves(&mut self, now: u64, place: Place, dirty: bool, cut: &Cut) {
        if self.mode == Mode::Off {
            self.off_until(now, cut);
        }
        (self.mode, self.off_from, self.message_at, self.place) = (Mode::Off, self.since, None, place);
        // Who went to a dirty scheduler to collect its garbage hibernates from there.
        self.dirty = dirty && place != Place::Hibernates;
    }

    /// It was off, and nobody says why.
    fn off_until(&mut self, now: u64, cut: &Cut) {
        let now = now.max(self.off_from);
        self.split.off_ns = self.split.off_ns.saturating_add(cut.part(self.off_from, now));
        self.since = now;
    }
}
