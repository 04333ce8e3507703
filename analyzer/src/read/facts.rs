//! Facts about processes, from the info ring, in the order of time: some way ahead of the
//! events, so that a process has its names by its first event, and no more than that in
//! memory. A recording with fewer facts has all of them before its first event.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use spoor_format::chunk::Identity;
use spoor_format::record::Body;

use super::batch::{Batch, Context, Loss, Packed};
use super::detail::Detail;
use super::finding::Finding;
use super::index::ChunkRef;
use super::names::{AtomId, Names, TraceeId};
use super::recording::{Info, Recording};
use super::tracees::Tracees;

/// So many facts are known ahead of the events.
const AHEAD: usize = 1 << 16;

/// The facts of a recording.
#[derive(Debug, Default)]
pub(super) struct Facts {
    lanes: Vec<Lane>,
    /// The next fact of each lane: its tick, the lane's number and its place.
    next: BinaryHeap<Reverse<(u64, u32, usize)>>,
    /// Facts ahead of the events: about whom, and when.
    ahead: VecDeque<(u64, TraceeId)>,
}

#[derive(Debug)]
struct Lane {
    number: u32,
    chunks: VecDeque<ChunkRef>,
    batch: Batch,
    next: usize,
}

impl Facts {
    pub(super) fn new(recording: &Recording) -> Facts {
        let lane = |(number, chunks): (&u32, &Vec<ChunkRef>)| Lane {
            number: *number,
            chunks: chunks.iter().copied().collect(),
            batch: Batch::default(),
            next: 0,
        };
        let lanes: Vec<Lane> = recording.infos.lanes.iter().map(lane).collect();
        Facts { lanes, ..Facts::default() }
    }

    /// Loads the first chunk of each lane.
    pub(super) fn start(&mut self, context: &mut Context<'_>, findings: &mut Vec<Finding>) {
        for place in 0..self.lanes.len() {
            self.enter(place, context, findings);
        }
    }

    /// Were some not read?
    pub(super) fn are_left(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.chunks.is_empty())
    }

    /// The events have come to `now`: adds facts to `infos` until there are enough ahead.
    pub(super) fn follow(
        &mut self,
        now: u64,
        recording: &Recording,
        (names, tracees): (&mut Names, &mut Tracees),
        findings: &mut Vec<Finding>,
        infos: &mut Vec<Info>,
    ) {
        loop {
            while let Some((tick, tracee)) = self.ahead.front().copied().filter(|(tick, _)| *tick <= now) {
                self.ahead.pop_front();
                tracees.lived(tracee, tick);
            }
            if self.ahead.len() >= AHEAD {
                return;
            }
            let Some((lane, fact)) = self.take() else { return };
            let Some(detail) = self.lanes.get(lane).map(|lane| lane.batch.detail(&fact, &recording.schema)) else {
                return;
            };
            let info = info_of(recording.clock.ns(fact.tick), tracees, names, recording, &detail);
            if let Some(Info::Process { tracee, .. }) = info {
                self.ahead.push_back((fact.tick, tracee));
            }
            infos.extend(info);
            let mut context = Context { source: &recording.source, schema: &recording.schema, names, tracees };
            self.enter(lane, &mut context, findings);
        }
    }

    /// The next fact, and its lane's place: the lane must be entered again before the one after it.
    fn take(&mut self) -> Option<(usize, Packed)> {
        let Reverse((_, _, place)) = self.next.pop()?;
        let lane = self.lanes.get_mut(place)?;
        let fact = *lane.batch.events.get(lane.next)?;
        lane.next = lane.next.saturating_add(1);
        Some((place, fact))
    }

    /// Puts the lane's next fact among the others'; loads its next good chunk when needed.
    fn enter(&mut self, place: usize, context: &mut Context<'_>, findings: &mut Vec<Finding>) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        loop {
            if let Some(fact) = lane.batch.events.get(lane.next) {
                self.next.push(Reverse((fact.tick, lane.number, place)));
                return;
            }
            let Some(chunk) = lane.chunks.pop_front() else {
                lane.batch = Batch::default();
                return;
            };
            lane.next = 0;
            findings.extend(load(&mut lane.batch, &chunk, context));
        }
    }
}

/// Loads a chunk of the info ring; what is wrong with it is found.
pub(super) fn load(batch: &mut Batch, chunk: &ChunkRef, context: &mut Context<'_>) -> Option<Finding> {
    match batch.load(chunk, context) {
        Ok(()) | Err(Loss::Overwritten) => None,
        Err(Loss::Damaged(what)) => {
            let place = format!("info chunk {} (number {})", chunk.index, chunk.header.seq);
            Some(Finding::damage(place, what, "facts about processes: some may go without a name"))
        }
    }
}

/// Resolves what an info record says.
pub(super) fn info_of(
    time: u64,
    tracees: &mut Tracees,
    names: &Names,
    recording: &Recording,
    detail: &Detail<'_>,
) -> Option<Info> {
    let text = |term| detail.term_text(term, names, &recording.pids);
    match detail.body()? {
        Body::ProcessInfo { pid, parent, name, label, initial_call } => Some(Info::Process {
            time,
            tracee: tracees.id(Identity::Process(pid)),
            parent: parent.pid(),
            name: detail.atom(name),
            label: detail.name_text(label, names, &recording.pids),
            initial_call: detail.function(initial_call),
        }),
        Body::Note { what, detail: term } => {
            let what = detail.atom(what).map_or("?", |id: AtomId| names.atom_text(id)).to_owned();
            Some(Info::Note { time, what, detail: text(term).unwrap_or_default() })
        }
        _ => None,
    }
}
