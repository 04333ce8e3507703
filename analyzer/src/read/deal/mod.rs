//! The events that stacks are made of, dealt out by process to a fixed number of
//! shares, by any number of threads.
//!
//! Chunks stand for themselves, so they are decoded on several threads, a round of
//! them at a time; then names and processes get their numbers, chunk by chunk; then
//! each share is put in order and replayed by one thread, while others decode the
//! next round. Rounds and shares do not depend on the number of threads, so that what
//! comes of them does not either. In memory are two rounds, and two chunks of each lane.

mod part;
mod share;

use std::cmp::Reverse;
use std::sync::Mutex;
use std::thread;

use part::{Kept, Moment, Part, of_stacks};
use share::{Hole, LaneParts, Share};
use spoor_format::chunk::Identity;

use super::finding::Finding;
use super::gaps::Gaps;
use super::index::ChunkRef;
use super::ledger::{LaneLedger, account, dropped_between};
use super::names::{FunctionId, Names, TraceeId};
use super::recording::Recording;
use super::stream::Outcome;
use super::tracees::Tracees;
use super::window::{Window, ticks};

/// Processes are dealt out by the last bits of their numbers: two to the power of
/// this are the shares.
pub const SHARE_BITS: u32 = 5;
/// How many shares there are.
pub const SHARES: usize = 1 << SHARE_BITS;
/// Bytes of payload in a round.
const ROUND_BYTES: u64 = 4 << 20;

/// An event, as far as stacks are concerned: see [`super::Event`] for what is what.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "each stands in Event")]
pub struct Dealt {
    pub time: u64,
    pub tracee: TraceeId,
    pub lane: u32,
    pub kind: u8,
    pub function: Option<FunctionId>,
    pub epoch: u32,
    pub complete: bool,
    pub missing: bool,
    /// For `exit`: is the reason `normal`?
    pub normal_exit: bool,
    /// Its process and lane are asked for.
    pub asked_for: bool,
}

/// Who is asked whether events are wanted.
#[derive(Debug)]
#[allow(missing_docs, reason = "each is what it says")]
pub struct Asked<'a> {
    pub recording: &'a Recording,
    pub lane: u32,
    pub tracee: TraceeId,
    pub tracees: &'a Tracees,
    pub names: &'a Names,
}

/// A recording about to be dealt out.
#[derive(Debug)]
pub struct Deal<'a> {
    recording: &'a Recording,
    names: Names,
    tracees: Tracees,
    from_tick: u64,
    to_tick: u64,
    kept: Box<Kept>,
    lanes: Vec<Lane>,
    parts: Vec<LaneParts>,
    /// Chunks to come, the next one last.
    chunks: Vec<Next>,
    holes: Vec<Hole>,
    planned: Vec<(u64, u64)>,
    ledger: Vec<LaneLedger>,
    findings: Vec<Finding>,
    /// Parts to be used again.
    spare: Vec<Part>,
    done_bytes: u64,
}

/// A chunk that is to be read.
#[derive(Debug, Clone, Copy)]
struct Next {
    /// The lane's place in `lanes`.
    lane: usize,
    chunk: ChunkRef,
    /// Where the one behind it begins.
    behind: Option<u64>,
}

/// A chunk that was read.
#[derive(Debug)]
struct Read {
    next: Next,
    part: Part,
}

/// A lane, as far as it was read.
#[derive(Debug)]
struct Lane {
    number: u32,
    /// Chunks that are not read yet.
    left: usize,
    /// The record that the next chunk should begin with.
    expected: u64,
    holes_anywhere: bool,
    open_end: bool,
    /// It goes on behind the window.
    goes_on: bool,
    /// Something was lost behind the last event; which is known to the gaps, or not.
    lost: bool,
    told: bool,
    /// The tick of the last event of the last chunk with events in the window.
    now: Option<u64>,
    /// Before this tick nothing more will become known of the lane.
    reached: u64,
}

impl<'a> Deal<'a> {
    /// Of a recording, with the kinds of events that `kinds` takes. Facts about processes are
    /// left out. Numbers of processes that are gone are used again, so that memory does not
    /// depend on how many there were.
    pub fn new(recording: &'a Recording, names: Names, window: Window, kinds: impl Fn(u8) -> bool) -> Deal<'a> {
        let (from_tick, to_tick) = ticks(recording, window);
        let mut kept = Box::new([false; 256]);
        kept.iter_mut().zip(0..=u8::MAX).for_each(|(kept, id)| *kept = of_stacks(id) && kinds(id));
        let mut tracees = Tracees::default();
        tracees.begin(&recording.pids, 0);
        let mut deal = Deal {
            recording,
            names,
            tracees,
            from_tick,
            to_tick,
            kept,
            lanes: Vec::new(),
            parts: Vec::new(),
            chunks: Vec::new(),
            holes: Vec::new(),
            planned: Vec::new(),
            ledger: recording.ledger.clone(),
            findings: recording.findings.clone(),
            spare: Vec::new(),
            done_bytes: 0,
        };
        recording.check_infos(&mut deal.findings);
        deal.plan();
        deal
    }

    /// What is dealt out.
    pub fn recording(&self) -> &'a Recording {
        self.recording
    }

    /// The names so far.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Lanes, and their chunks in the order in which they are needed.
    fn plan(&mut self) {
        let recording = self.recording;
        let mut order = Vec::new();
        for number in recording.event_lanes() {
            self.planned.extend(recording.planned_gaps(number));
            let mut chunks = recording.events.lanes.get(&number).map(Vec::as_slice).unwrap_or_default();
            if chunks.is_empty() {
                continue;
            }
            let mut expected = 0;
            while let [skipped, next, ..] = chunks
                && next.header.base_tick <= self.from_tick
            {
                expected = skipped.end_record();
                chunks = chunks.get(1..).unwrap_or_default();
            }
            let place = self.lanes.len();
            // One behind the window may tell that events are missing in it.
            let inside = chunks.iter().skip(1).take_while(|chunk| chunk.header.base_tick < self.to_tick).count();
            let wanted = inside.saturating_add(2).min(chunks.len());
            // A chunk is needed before the one before it has ended.
            let mut needed = 0;
            for (at, chunk) in chunks.iter().take(wanted).enumerate() {
                let behind = chunks.get(at.saturating_add(1)).map(|next| next.header.base_tick);
                order.push((needed, number, chunk.header.seq, Next { lane: place, chunk: *chunk, behind }));
                needed = needed.max(chunk.header.base_tick);
            }
            let lane = recording.lane(number);
            self.lanes.push(Lane {
                number,
                left: wanted,
                expected,
                holes_anywhere: lane.is_some_and(|lane| dropped_between(lane) > 0),
                open_end: recording.has_open_end(number),
                goes_on: wanted < chunks.len(),
                lost: false,
                told: false,
                now: None,
                reached: 0,
            });
            self.parts.push(LaneParts { number, ..LaneParts::default() });
        }
        self.planned.extend(recording.gap_of_damaged_lanes());
        order.sort_by_key(|(needed, number, seq, next)| (*needed, *number, *seq, next.chunk.index));
        self.chunks = order.into_iter().rev().map(|(.., next)| next).collect();
    }

    /// Deals out all. Each share is handed its events in order, by `take`, together
    /// with one of the workers, of which there are as many as threads may be used; and is told
    /// by `leave` who has no more events: the number may be another's then. `asked` says of a tracee on a lane whether its events are wanted, and asked for;
    /// `progress` is told how many bytes are done.
    pub fn run<S: Send, W: Send>(
        mut self,
        shares: &mut [S; SHARES],
        workers: &mut [W],
        take: impl Fn(&mut S, &mut W, Dealt) + Sync,
        leave: impl Fn(&mut S, &mut W, TraceeId),
        mut asked: impl FnMut(&Asked<'_>) -> Option<bool>,
        mut progress: impl FnMut(u64),
    ) -> Outcome {
        let lanes = self.lanes.len();
        let clock = || self.recording.clock.cursor();
        let mut orders: Vec<Share> =
            (0..SHARES).map(|n| Share::new(n, lanes, Gaps::new(self.planned.clone()), clock())).collect();
        let mut next = self.next_round();
        load(&mut next, self.recording, &self.kept, workers);
        while !next.is_empty() {
            self.link(&mut next, &mut asked);
            let horizon = self.horizon();
            next = self.next_round();
            self.turn(horizon, &mut next, (&mut orders, &mut *shares), workers, &take);
            self.forget(horizon, &mut orders);
            self.free(shares, workers, &leave);
            progress(self.done_bytes);
        }
        Outcome { names: self.names, tracees: self.tracees, ledger: self.ledger, findings: self.findings }
    }

    /// Takes the next chunks; none at the end.
    fn next_round(&mut self) -> Vec<Read> {
        let (mut round, mut bytes) = (Vec::new(), 0_u64);
        while bytes < ROUND_BYTES {
            let Some(next) = self.chunks.pop() else { break };
            let part = self.spare.pop().unwrap_or_default();
            bytes = bytes.saturating_add(u64::from(next.chunk.header.bytes));
            round.push(Read { next, part });
        }
        self.done_bytes = self.done_bytes.saturating_add(bytes);
        round
    }

    /// Events before this tick are all in memory, and so is what is missing before it.
    fn horizon(&self) -> u64 {
        let open = self.lanes.iter().filter(|lane| lane.left > 0);
        open.map(|lane| lane.reached).min().unwrap_or(u64::MAX).min(self.to_tick)
    }

    /// Deals out what is before the horizon, and decodes the next round.
    fn turn<S: Send, W: Send>(
        &self,
        horizon: u64,
        next: &mut [Read],
        (orders, shares): (&mut [Share], &mut [S]),
        workers: &mut [W],
        take: &(impl Fn(&mut S, &mut W, Dealt) + Sync),
    ) {
        let clock = &self.recording.clock;
        let replay = |(order, share): (&mut Share, &mut S), worker: &mut W| {
            order.advance(&self.parts, &self.holes, horizon, clock, |dealt| take(share, worker, dealt));
        };
        let (source, schema) = (&self.recording.source, &self.recording.schema);
        // The longest first, so that none is left to one thread at the end.
        let mut pairs: Vec<_> = orders.iter_mut().zip(shares).collect();
        pairs.sort_by_key(|(order, _)| Reverse(order.pending(&self.parts)));
        let pairs = Mutex::new(pairs.into_iter());
        let parts = Mutex::new(next.iter_mut());
        each_worker(workers, |worker| {
            while let Some(pair) = next_of(&pairs) {
                replay(pair, worker);
            }
            let mut payload = Vec::new();
            while let Some(Read { next, part }) = next_of(&parts) {
                part.load(&next.chunk, source, schema, &self.kept, &mut payload);
            }
        });
    }

    /// Forgets what lies before the horizon.
    fn forget(&mut self, horizon: u64, orders: &mut [Share]) {
        for lane in &mut self.parts {
            let gone = lane.parts.iter().take_while(|part| part.last_tick < horizon).count();
            lane.first = lane.first.saturating_add(gone as u64);
            for mut part in lane.parts.drain(..gone) {
                part.held.drain(..).for_each(|tracee| self.tracees.let_go(tracee));
                self.spare.push(part);
            }
        }
        let gone = self.holes.partition_point(|hole| hole.at.tick < horizon);
        self.holes.drain(..gone);
        orders.iter_mut().for_each(|order| order.forget_holes(gone));
    }

    /// The numbers of those that are gone are free.
    fn free<S, W>(&mut self, shares: &mut [S], workers: &mut [W], leave: &impl Fn(&mut S, &mut W, TraceeId)) {
        let gone = self.tracees.take_gone();
        let Some(worker) = workers.first_mut() else { return };
        for id in &gone {
            if let Some(share) = shares.get_mut(usize::try_from(id.0).unwrap_or(0) % SHARES) {
                leave(share, worker, *id);
            }
        }
        self.tracees.free(gone, Vec::new());
    }

    /// Takes a decoded round in: names, processes, and what is missing.
    fn link(&mut self, round: &mut Vec<Read>, asked: &mut impl FnMut(&Asked<'_>) -> Option<bool>) {
        for Read { next, mut part } in round.drain(..) {
            let place = next.lane;
            self.follow(&next, &mut part);
            let (Some(lane), Some(parts)) = (self.lanes.get(place), self.parts.get_mut(place)) else { continue };
            let (recording, number, tracees) = (self.recording, lane.number, &mut self.tracees);
            let mut held = std::mem::take(&mut part.held);
            part.link(&mut self.names, self.from_tick, |identity: Identity, tick, names| {
                let tracee = tracees.id(identity);
                tracees.hold(tracee, tick);
                held.push(tracee);
                let asked = asked(&Asked { recording, lane: number, tracee, tracees, names });
                asked.map(|asked_for| (tracee, asked_for))
            });
            part.held = held;
            part.lives().for_each(|(identity, tick, exits)| tracees.exits(identity, tick, exits));
            let at = |tick, place| Moment { tick, lane: number, part: parts.next(), place };
            let missing = part.missing.iter().map(|(tick, place)| (at(*tick, *place), *tick));
            self.holes.extend(missing.map(|(at, until)| Hole { at, from: None, until }));
            parts.parts.push_back(part);
        }
        self.holes.sort_by_key(|hole| hole.at);
    }

    /// The lane goes on with a part: what is missing before it, in it, or behind it?
    fn follow(&mut self, next: &Next, part: &mut Part) {
        let (Some(lane), Some(parts)) = (self.lanes.get_mut(next.lane), self.parts.get(next.lane)) else { return };
        let chunk = &next.chunk;
        lane.left = lane.left.saturating_sub(1);
        let loss = part.loss.take().map_or(Ok(()), Err);
        self.findings.extend(account(chunk, &loss, part.count, lane.number, &mut self.ledger));
        let mut hole = |lane: &Lane, from, until| {
            let at = match parts.next().checked_sub(1) {
                Some(part) => Moment { tick: lane.reached, lane: lane.number, part, place: u32::MAX },
                None => Moment::FIRST,
            };
            self.holes.push(Hole { at, from, until });
        };
        let gap = chunk.header.first_record > lane.expected || lane.lost;
        let told = std::mem::take(&mut lane.told);
        if (gap || (lane.holes_anywhere && lane.now.is_some())) && !told {
            hole(lane, None, chunk.header.base_tick);
        }
        lane.expected = chunk.end_record();
        if loss.is_ok() {
            for (from, until) in &part.dropped {
                hole(lane, Some(*from), (*until).max(from.saturating_add(1)));
            }
            lane.lost = chunk.is_cut();
            lane.reached = lane.reached.max(part.last_tick);
            if part.count > 0 && part.last_tick >= self.from_tick {
                lane.open_end |= chunk.is_cut();
                lane.now = Some(part.last_tick);
            }
        } else {
            lane.lost = true;
            if let Some(behind) = next.behind {
                hole(lane, None, behind);
                (lane.told, lane.reached) = (true, lane.reached.max(behind));
            }
        }
        if lane.left == 0 && !lane.goes_on && (lane.lost || lane.open_end || lane.holes_anywhere) {
            let events = &self.recording.events;
            let unreadable = events.unreadable > 0 && !lane.lost && !lane.holes_anywhere;
            let from = if unreadable { events.unreadable_from } else { 0 };
            let here = lane.now.is_some_and(|now| from <= now);
            let at = Moment { tick: lane.reached, lane: lane.number, part: parts.next(), place: u32::MAX };
            self.holes.push(Hole { at, from: (!here).then_some(from), until: u64::MAX });
        }
    }
}

/// Decodes a round.
fn load<W: Send>(round: &mut [Read], recording: &Recording, kept: &Kept, workers: &mut [W]) {
    let parts = Mutex::new(round.iter_mut());
    each_worker(workers, |_| {
        let mut payload = Vec::new();
        while let Some(Read { next, part }) = next_of(&parts) {
            part.load(&next.chunk, &recording.source, &recording.schema, kept, &mut payload);
        }
    });
}

/// The next of what there is to do, for whoever asks first.
pub(super) fn next_of<T>(work: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    // A worker that panicked takes all with it.
    work.lock().ok()?.next()
}

/// The work of each worker on a thread of its own; of one alone on this.
fn each_worker<W: Send>(workers: &mut [W], work: impl Fn(&mut W) + Sync) {
    let Some((own, others)) = workers.split_first_mut() else { return };
    thread::scope(|scope| {
        let work = &work;
        others.iter_mut().for_each(|worker| drop(scope.spawn(move || work(worker))));
        work(own);
    });
}
