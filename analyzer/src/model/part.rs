//! What of a recording is asked for, where that is not all of it: how it is told, what of it
//! there is, and whether something that is wrong belongs to it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::filter::EventFilter;
use crate::model::pids::Pids;
use crate::model::processes::Known;
use crate::model::verdicts::Verdicts;
use crate::read::{Deed, Defect, Event, Recording, Step, TraceeId, Window, kind};

/// At most so many processes are listed.
const LISTED: usize = 30;

/// What of a recording is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Part {
    /// From here on, nanoseconds since the start of the recording.
    pub from_ns: u64,
    /// Before this.
    pub to_ns: u64,
    /// The filters, as they were given.
    pub filters: Vec<String>,
}

/// A process, and how many events of it are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ProcessRow {
    /// The process, with its name.
    pub process: String,
    /// Its events.
    pub events: u64,
}

/// The events that are asked for: how many there are, of which kind, where, whose.
#[derive(Debug)]
pub struct Tally {
    /// By kind.
    pub kinds: Vec<u64>,
    /// By the number of the lane.
    pub lanes: Vec<u64>,
    /// All that had any.
    pub whose: Pids,
    /// Of those that have numbers, how many events.
    each: Vec<u64>,
    most: BinaryHeap<Reverse<(u64, Reverse<String>)>>,
}

impl Tally {
    /// Of a recording, of which nothing was read yet.
    pub fn new(recording: &Recording) -> Tally {
        let whose = Pids::new(recording.pids);
        Tally { kinds: vec![0; 256], lanes: Vec::new(), whose, each: Vec::new(), most: BinaryHeap::new() }
    }

    /// Takes an event that is asked for.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>) {
        add(&mut self.kinds, usize::from(event.kind));
        add(&mut self.lanes, event.lane as usize);
        add(&mut self.each, event.tracee.0 as usize);
    }

    /// A process has no more events.
    pub fn leave(&mut self, tracee: TraceeId, known: &Known<'_>) {
        let events = self.each.get_mut(tracee.0 as usize).map_or(0, std::mem::take);
        if events == 0 {
            return;
        }
        self.whose.insert(known.tracees.identity(tracee));
        let full = self.most.len() >= LISTED;
        if full && self.most.peek().is_some_and(|Reverse((least, _))| events < *least) {
            return;
        }
        self.most.push(Reverse((events, Reverse(known.full_name(tracee)))));
        if full {
            self.most.pop();
        }
    }

    /// There are no more events at all.
    pub fn end(&mut self, known: &Known<'_>) {
        (0..self.each.len() as u32).for_each(|number| self.leave(TraceeId(number), known));
    }

    /// How many are on a lane.
    pub fn on_lane(&self, lane: u32) -> u64 {
        self.lanes.get(lane as usize).copied().unwrap_or(0)
    }

    /// The processes with most events, the most first.
    pub fn processes(self) -> Vec<ProcessRow> {
        let most = self.most.into_sorted_vec().into_iter();
        most.map(|Reverse((events, Reverse(process)))| ProcessRow { process, events }).collect()
    }
}

fn add(counts: &mut Vec<u64>, at: usize) {
    if counts.len() <= at {
        counts.resize(at + 1, 0);
    }
    counts[at] += 1;
}

/// What is asked for of what is wrong.
#[derive(Debug)]
pub struct Wanted {
    /// In this stretch of time.
    pub window: Window,
    /// On these lanes, and at events of these kinds.
    pub events: EventFilter,
    /// Of these processes: those of which another number than 0 was told; `None` for all.
    pub processes: Option<Verdicts>,
}

impl Wanted {
    /// Is it asked for? What cannot be said to lie elsewhere is. `step`: at which step it
    /// showed, where a process did what it cannot.
    pub fn takes(&self, defect: &Defect, step: Option<&Step>) -> bool {
        let inside = |ns| (self.window.from_ns..self.window.to_ns).contains(&ns);
        defect.place.time_ns.is_none_or(inside)
            && defect.place.lane.is_none_or(|lane| self.events.takes_lane(lane))
            && step.is_none_or(|step| self.takes_step(step))
    }

    /// Is there a thread and a process of which anything is asked for?
    pub fn takes_any(&self, recording: &Recording) -> bool {
        recording.ledger.iter().any(|lane| self.events.takes_lane(lane.lane))
            && self.processes.as_ref().is_none_or(Verdicts::any)
    }

    fn takes_step(&self, step: &Step) -> bool {
        let process = self.processes.as_ref().is_none_or(|verdicts| verdicts.of(step.whose) > 0);
        let mut kinds = match step.deed {
            Deed::Event(kind) => kind..=kind,
            Deed::Calls { .. } => kind::CALL..=kind::EXCEPTION_FROM,
            Deed::Spawned(_) => kind::SPAWN..=kind::SPAWN,
            Deed::SpawnedBy(_) => kind::SPAWNED..=kind::SPAWNED,
            Deed::Sent(_) => kind::SEND..=kind::SEND,
            Deed::Received(_) => kind::RECEIVE..=kind::RECEIVE,
            Deed::Missing | Deed::Hole(_) => 0..=u8::MAX,
        };
        process && kinds.any(|kind| self.events.takes_kind(kind))
    }
}
