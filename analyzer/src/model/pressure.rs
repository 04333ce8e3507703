//! How hard the schedulers are pressed: run queues, garbage collection.
//!
//! A process is in a run queue from the moment it is ready to run: a message was sent to it
//! while it waited, it was scheduled out without waiting for one, or it was
//! spawned. The VM does not say so: it is concluded, see [`States`]. Where the events do not say
//! what a process was off for, it may have been in one: so there are at least so many, and at most.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;

use crate::model::cut::Cut;
use crate::model::histogram::{Durations, Percentiles};
use crate::model::processes::Processes;
use crate::model::slots::Slots;
use crate::model::states::{Ready, States};
use crate::read::{Event, Recording, TraceeId, kind};

/// Stretches of the window for which the length of the queue is told apart.
const COLUMNS: u64 = 1_000;

/// One recording's schedulers.
#[derive(Debug)]
pub struct Pressure {
    cut: Cut,
    width: u64,
    states: States,
    asked_for: Slots<bool>,
    /// Time of processes that may have been in a run queue.
    perhaps_ns: u64,
    waits: Durations,
    columns: Vec<u64>,
    collecting: HashMap<TraceeId, (u64, u32)>,
    gc: BTreeMap<u32, u64>,
    epoch: Option<u32>,
}

/// The run queues, all together.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RunQueue {
    /// How often a process was in a run queue in the window, as far as that came to light.
    pub waits: u64,
    /// How long; null when never.
    #[serde(flatten)]
    pub percentiles: Option<Percentiles>,
    /// Processes in it on average over the window, at least: those that were ready for certain.
    pub mean_at_least: f64,
    /// And at most: with those that were off, came back, and of which the events do not say why.
    /// Without the `receive` events of all messages, that is who waited for others, too.
    pub mean_at_most: f64,
    /// Are there `receive` events of all messages, not of requests alone?
    pub receives_recorded: bool,
    /// The largest average over a thousandth of the window of those that were ready for certain.
    pub peak_length: f64,
    /// When that stretch began, in nanoseconds since the start of the recording.
    pub peak_at_ns: u64,
}

/// Garbage collection on a lane.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LaneGc {
    /// The lane.
    pub lane: String,
    /// Time in collections, as much as lies in the window.
    pub gc_ns: u64,
    /// The same as a part of the window, 0 to 1.
    pub share: f64,
}

/// What presses them.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The run queues: null without `in` and `out` events.
    pub run_queue: Option<RunQueue>,
    /// By lane.
    pub gc: Vec<LaneGc>,
}

impl Pressure {
    /// For a window; what is around it may be handed in.
    pub fn new(recording: &Recording, cut: Cut) -> Pressure {
        Pressure {
            cut,
            width: cut.to.saturating_sub(cut.from).div_ceil(COLUMNS).max(1),
            states: States::within(recording, cut),
            asked_for: Slots::default(),
            perhaps_ns: 0,
            waits: Durations::default(),
            columns: vec![0; COLUMNS as usize],
            collecting: HashMap::new(),
            gc: BTreeMap::new(),
            epoch: None,
        }
    }

    /// Takes an event; one that is not asked for is only learned from.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) {
        if self.epoch != Some(event.epoch) {
            self.epoch = Some(event.epoch);
            self.collecting.clear();
        }
        if let Some(ready) = self.states.event(event, processes).filter(|_| asked_for) {
            self.was_ready(ready);
        }
        // Who is in a queue at the end is in that of the thread of its last event.
        *self.asked_for.entry(event.tracee.0) = asked_for;
        self.states.let_go();
        if event.kind == kind::EXIT {
            self.collecting.remove(&event.tracee);
        }
        if !event.complete || !matches!(event.identity(), Identity::Process(_)) {
            return;
        }
        match event.kind {
            of if kind::begins_gc(of) && asked_for => {
                self.collecting.insert(event.tracee, (event.time, event.lane));
            }
            of if kind::ends_gc(of) => {
                if let Some((from, _)) = self.collecting.remove(&event.tracee) {
                    self.collected(from, event.time, event.lane);
                }
            }
            _ => {}
        }
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId]) {
        for tracee in gone {
            self.states.remove(*tracee);
            self.asked_for.remove(tracee.0);
            self.collecting.remove(tracee);
        }
    }

    fn collected(&mut self, from: u64, to: u64, lane: u32) {
        if self.cut.meets(from, to) {
            let sum = self.gc.entry(lane).or_default();
            *sum = sum.saturating_add(self.cut.part(from, to));
        }
    }

    fn was_ready(&mut self, Ready { from, to, certain }: Ready) {
        if !certain {
            self.perhaps_ns = self.perhaps_ns.saturating_add(self.cut.part(from, to));
        } else if self.cut.meets(from, to) {
            self.waits.record(to.saturating_sub(from));
            self.paint(from, to);
        }
    }

    fn paint(&mut self, from: u64, to: u64) {
        let (mut at, to) = (from.max(self.cut.from), to.min(self.cut.to));
        while at < to {
            let column = (at - self.cut.from) / self.width;
            let until = to.min(self.cut.from + self.width * (column + 1));
            if let Some(sum) = self.columns.get_mut(column as usize) {
                *sum = sum.saturating_add(until - at);
            }
            at = until;
        }
    }

    /// The report.
    pub fn report(mut self, recording: &Recording, in_out_events: bool) -> Report {
        let asked_for = |tracee: &TraceeId| self.asked_for.get(tracee.0) == Some(&true);
        let still: Vec<Ready> =
            self.states.in_queues().filter(|(tracee, _)| asked_for(tracee)).map(|(_, ready)| ready).collect();
        still.into_iter().for_each(|ready| self.was_ready(ready));
        for (from, lane) in std::mem::take(&mut self.collecting).into_values() {
            self.collected(from, self.cut.to, lane);
        }
        let window = self.cut.to.saturating_sub(self.cut.from).max(1);
        let ready_ns = self.columns.iter().copied().fold(0, u64::saturating_add);
        let most = self.columns.iter().enumerate().max_by_key(|(at, ns)| (**ns, std::cmp::Reverse(*at)));
        let (peak_at, peak) = most.map_or((0, 0), |(at, ns)| (at as u64, *ns));
        let run_queue = RunQueue {
            waits: self.waits.count(),
            percentiles: self.waits.percentiles(),
            mean_at_least: ready_ns as f64 / window as f64,
            mean_at_most: ready_ns.saturating_add(self.perhaps_ns) as f64 / window as f64,
            receives_recorded: self.states.knows_receives(),
            peak_length: peak as f64 / self.width as f64,
            peak_at_ns: (self.cut.from + peak_at * self.width).saturating_sub(recording.start_ns),
        };
        let name = |lane: u32| recording.lane_name(lane);
        Report {
            run_queue: in_out_events.then_some(run_queue),
            gc: self
                .gc
                .iter()
                .map(|(lane, ns)| LaneGc { lane: name(*lane), gc_ns: *ns, share: *ns as f64 / window as f64 })
                .collect(),
        }
    }
}
