//! Every chunk by itself: is it what the format says, and which of its events
//! change what a process may do next.
//!
//! Chunks stand for themselves, so they are read on several threads, a round of
//! them at a time; what comes of a round is handed on in the order of the chunks.
//! Memory is that of two rounds, whatever the size of the file.

mod walk;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use foldhash::fast::RandomState;
use spoor_format::chunk::{ChunkHeader, Identity};
use spoor_format::record::Class;

use super::deal::next_of;
use super::finding::{Defect, Place};
use super::index::ChunkRef;
use super::kind;
use super::recording::Recording;
use super::terms::thousands;
use super::window::Window;
use walk::{Steps, Surveyed, Wanted, survey};

/// Bytes of payload in a round.
const ROUND_BYTES: u64 = 2 << 20;
/// More threads than this have nothing to do: the judge of the events is one.
const MOST_THREADS: usize = 8;

/// An event, or a run of calls and returns, as the judge of processes sees it.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// When.
    pub tick: u64,
    /// Whose.
    pub whose: Identity,
    /// What.
    pub deed: Deed,
    /// The lane.
    pub lane: u32,
    /// Which of the chunks surveyed.
    chunk: u32,
    /// Where in the payload its records begin.
    at: u32,
}

/// What a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// An event of this kind: see [`super::kind`].
    Event(u8),
    /// Calls and returns in a row: how far returns were ahead of calls at most, and
    /// how many calls more than returns there were.
    Calls {
        /// `return_from` and `exception_from` ahead of `call`.
        behind: u32,
        /// Calls less these returns.
        sum: i32,
    },
    /// It spawned the process with this pid word.
    Spawned(u64),
    /// It was spawned by the process with this pid word.
    SpawnedBy(u64),
    /// A message was sent: its reference, shape and receiver make this number.
    Sent(u64),
    /// A message was received: as if it was sent.
    Received(u64),
    /// Events of the process were left out before this.
    Missing,
    /// Events of any process may be missing from here to a tick.
    Hole(u64),
}

impl Deed {
    /// Does it tell whether the clocks of threads agree?
    fn is_of_clocks(self) -> bool {
        match self {
            Deed::Event(event) => matches!(event, kind::IN..=kind::OUT_EXITED | kind::SPAWNED | kind::EXIT),
            Deed::Calls { .. } | Deed::Spawned(_) | Deed::SpawnedBy(_) => false,
            Deed::Sent(_) | Deed::Received(_) | Deed::Missing | Deed::Hole(_) => true,
        }
    }
}

/// What a round of chunks holds.
#[derive(Debug, Default)]
pub struct Round {
    /// In the order of time, up to a moment that later rounds do not come before.
    pub steps: Vec<Step>,
    /// What is wrong with the chunks.
    pub defects: Vec<Defect>,
    /// Chunks looked at.
    pub chunks: u64,
    /// Bytes of payload looked at.
    pub bytes: u64,
    /// Events that can be read.
    pub events: u64,
    /// The same by kind.
    pub kinds: Vec<u64>,
    /// Whose they are; in no order, and perhaps more than once.
    pub whose: Vec<Identity>,
    /// Events that the headers promise and that cannot be had: on which lane, how
    /// many, and whether they were overwritten meanwhile.
    pub lost: Vec<(u32, u64, bool)>,
}

impl Round {
    fn count(&mut self, chunk: &Surveyed) {
        self.kinds.resize(self.kinds.len().max(chunk.kinds.len()), 0);
        self.kinds.iter_mut().zip(&chunk.kinds).for_each(|(sum, n)| *sum = sum.saturating_add(*n));
        self.whose.extend_from_slice(&chunk.whose);
    }
}

/// The chunks of both rings, in the order in which they begin.
#[derive(Debug)]
pub struct Survey<'a> {
    recording: &'a Recording,
    chunks: Vec<(ChunkRef, Class)>,
    /// Of each lane, steps that a later round may come before.
    waiting: BTreeMap<u32, Vec<Step>>,
    /// Of each lane and ring: records and ticks up to where the last chunk ended.
    ended: BTreeMap<(u32, u8), (u64, u64)>,
    wanted: Wanted,
}

impl<'a> Survey<'a> {
    /// Of a whole recording.
    pub fn new(recording: &'a Recording) -> Survey<'a> {
        let of = |class| move |chunk: &ChunkRef| (*chunk, class);
        let events = recording.events.chunks().map(of(Class::Event));
        let mut chunks: Vec<_> = events.chain(recording.infos.chunks().map(of(Class::Info))).collect();
        chunks.sort_by_key(|(chunk, class)| {
            (chunk.header.base_tick, chunk.header.lane, chunk.header.seq, *class as u8, chunk.index)
        });
        let wanted = Wanted { steps: Steps::All, hash: RandomState::default() };
        Survey { recording, chunks, waiting: BTreeMap::new(), ended: BTreeMap::new(), wanted }
    }

    /// Of those chunks only that meet the window, and of all facts about processes. What
    /// was before the first of them is not known.
    pub fn of_window(recording: &'a Recording, window: Window) -> Survey<'a> {
        let mut survey = Survey::new(recording);
        let (from, to) = super::window::ticks(recording, window);
        let mut ends = HashMap::new();
        for chunks in recording.events.lanes.values() {
            let behind = chunks.iter().skip(1).map(|next| next.header.base_tick).chain([u64::MAX]);
            ends.extend(chunks.iter().map(|chunk| chunk.index).zip(behind));
        }
        survey.chunks.retain(|(chunk, class)| {
            let end = ends.get(&chunk.index).copied().unwrap_or(u64::MAX);
            *class != Class::Event || (chunk.header.base_tick < to && end >= from)
        });
        survey
    }

    /// Of a whole recording, for the sake of the counts: rounds have only the steps that tell
    /// whether the clocks of threads agree.
    pub fn counting(recording: &'a Recording) -> Survey<'a> {
        let mut survey = Survey::new(recording);
        survey.wanted.steps = Steps::Clocks;
        survey
    }

    /// Hands each round to `take`, in order, while the next one is read.
    pub fn run(mut self, mut take: impl FnMut(&Recording, &Survey<'_>, Round)) {
        let helpers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_THREADS).saturating_sub(1);
        let (read_from, wanted) = ((&self.recording.source, &self.recording.schema), self.wanted.clone());
        let chunks = self.chunks.clone();
        let mut read: Option<(usize, Vec<Surveyed>)> = None;
        let mut from = 0;
        loop {
            let until = round_end(&chunks, from);
            let round = chunks.get(from..until).unwrap_or_default();
            let mut next: Vec<Surveyed> = round.iter().map(|_| Surveyed::default()).collect();
            let first = u32::try_from(from).unwrap_or(u32::MAX);
            let work = Mutex::new(round.iter().zip(first..).zip(&mut next));
            let help = || {
                let mut payload = Vec::new();
                while let Some((((chunk, class), number), surveyed)) = next_of(&work) {
                    *surveyed = survey(chunk, *class, number, &wanted, read_from, &mut payload);
                }
            };
            thread::scope(|scope| {
                (0..helpers).for_each(|_| drop(scope.spawn(help)));
                if let Some((first, surveyed)) = read.take() {
                    let round = self.gather(first, surveyed, from);
                    take(self.recording, &self, round);
                }
                help();
            });
            if next.is_empty() {
                return;
            }
            read = Some((from, next));
            from = until;
        }
    }

    /// Where a step stands.
    pub fn place(&self, step: &Step) -> Place {
        match self.chunks.get(step.chunk as usize) {
            Some((chunk, class)) => place(chunk, *class, Some(step.at), Some(self.recording.clock.ns(step.tick))),
            None => Place::default(),
        }
    }

    /// Bytes to look at.
    pub fn bytes(&self) -> u64 {
        self.chunks.iter().fold(0, |sum: u64, (chunk, _)| sum.saturating_add(u64::from(chunk.header.bytes)))
    }

    fn gather(&mut self, first: usize, surveyed: Vec<Surveyed>, next: usize) -> Round {
        let mut round = Round::default();
        let chunks = self.chunks.get(first..next).unwrap_or_default().to_vec();
        for ((chunk, class), surveyed) in chunks.iter().zip(surveyed) {
            round.chunks = round.chunks.saturating_add(1);
            round.bytes = round.bytes.saturating_add(u64::from(chunk.header.bytes));
            if *class == Class::Event {
                round.events = round.events.saturating_add(surveyed.events);
                round.count(&surveyed);
                let lost = u64::from(chunk.header.records).saturating_sub(surveyed.events);
                if lost > 0 {
                    round.lost.push((chunk.header.lane, lost, surveyed.overwritten));
                }
            }
            self.follow(chunk, *class, &surveyed, &mut round);
            let waiting = self.waiting.entry(chunk.header.lane).or_default();
            if waiting.is_empty() {
                *waiting = surveyed.steps;
            } else {
                waiting.extend(surveyed.steps);
            }
            let at = |offset| place(chunk, *class, offset, Some(self.recording.clock.ns(chunk.header.base_tick)));
            let records = thousands(chunk.header.records.into());
            let missing = u64::from(chunk.header.records).saturating_sub(surveyed.events);
            let cost = match class {
                Class::Event if chunk.is_cut() => format!("{} of its {records} events", thousands(missing)),
                Class::Event => format!("its {records} events"),
                _ => "facts about processes: some may go without a name".to_owned(),
            };
            if let Some((offset, what)) = surveyed.damage {
                round.defects.push(Defect::damage(at(offset), what, cost));
            } else if surveyed.overwritten {
                round.defects.push(Defect::warning(at(None), "it was overwritten while it was being read", cost));
            }
        }
        let horizon = self.chunks.get(next).map(|(chunk, _)| chunk.header.base_tick);
        round.steps = self.ready(horizon);
        round
    }

    /// The steps before the horizon, of all there are, in the order of time, and of lanes where
    /// ticks are equal.
    fn ready(&mut self, horizon: Option<u64>) -> Vec<Step> {
        let mut steps = Vec::new();
        for waiting in self.waiting.values_mut() {
            if !waiting.is_sorted_by_key(|step| step.tick) {
                waiting.sort_by_key(|step| step.tick);
            }
            let ready = horizon.map_or(waiting.len(), |tick| waiting.partition_point(|step| step.tick < tick));
            steps.extend(waiting.drain(..ready));
        }
        // Few stretches that are in order, one of each lane: that is what this sort is quick with.
        steps.sort_by_key(|step| step.tick);
        steps
    }

    /// The chunks of a lane follow each other, in records and in time.
    fn follow(&mut self, chunk: &ChunkRef, class: Class, surveyed: &Surveyed, round: &mut Round) {
        let (header, lane) = (&chunk.header, chunk.header.lane);
        let known = self.ended.insert((lane, class as u8), (chunk.end_record(), surveyed.last_tick));
        let (records, tick) = known.unwrap_or((0, 0));
        let lost = surveyed.damage.is_some() || surveyed.overwritten || chunk.is_cut();
        if class == Class::Event {
            let mut hole = |from: u64, until: u64| {
                let (whose, at) = (Identity::Nobody, 0);
                let hole = Step { tick: from, whose, deed: Deed::Hole(until), lane, chunk: u32::MAX, at };
                self.waiting.entry(lane).or_default().push(hole);
            };
            let dropped = self.recording.lane(lane).is_some_and(|lane| super::ledger::dropped_between(lane) > 0);
            if header.first_record > records || dropped {
                hole(tick, header.base_tick);
            }
            if lost {
                let chunks = self.recording.events.lanes.get(&lane);
                let next = chunks.and_then(|chunks| chunks.iter().find(|next| next.header.seq > header.seq));
                hole(header.base_tick, next.map_or(u64::MAX, |next| next.header.base_tick));
            }
        }
        let live = self.recording.state.is_live();
        if known.is_none() || live {
            return;
        }
        let mut wrong = |what: String| {
            let at = place(chunk, class, None, Some(self.recording.clock.ns(header.base_tick)));
            round.defects.push(Defect::damage(at, what, "the order of events, and what is counted as stored"));
        };
        if header.first_record < records {
            wrong(format!(
                "it begins with record {} of its lane, the chunk before it ended with {records}",
                header.first_record
            ));
        }
        if header.base_tick < tick {
            wrong(format!("it begins {} ticks before the end of the chunk before it", tick.abs_diff(header.base_tick)));
        }
    }
}

fn place(chunk: &ChunkRef, class: Class, offset: Option<u32>, time_ns: Option<u64>) -> Place {
    let start = chunk.payload.saturating_sub(ChunkHeader::BYTES as u64);
    Place {
        ring: Some(if class == Class::Event { "events" } else { "info" }),
        chunk: Some(chunk.index),
        number: Some(chunk.header.seq),
        byte: Some(offset.map_or(start, |offset| chunk.payload.saturating_add(u64::from(offset)))),
        lane: Some(chunk.header.lane),
        time_ns,
        process: None,
        part: None,
    }
}

fn round_end(chunks: &[(ChunkRef, Class)], from: usize) -> usize {
    let mut bytes = 0_u64;
    let rest = chunks.get(from..).unwrap_or_default();
    let taken = rest.iter().take_while(|(chunk, _)| {
        let room = bytes < ROUND_BYTES;
        bytes = bytes.saturating_add(u64::from(chunk.header.bytes)).saturating_add(1);
        room
    });
    from.saturating_add(taken.count())
}
