//! Every chunk by itself: is it what the format says, and which of its events
//! change what a process may do next.
//!
//! Chunks stand for themselves, so they are read on several threads, a round of
//! them at a time; what comes of a round is handed on in the order of the chunks.
//! Memory is that of two rounds, whatever the size of the file.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, Hash, Hasher};
use std::num::NonZero;
use std::sync::Mutex;
use std::thread;

use foldhash::fast::RandomState;
use spoor_format::DecodeError;
use spoor_format::chunk::{Carried, ChunkHeader, Identity, Many, Missing, Plain, PlainOrMany, Reader};
use spoor_format::record::{Body, Class, Schema};
use spoor_format::term::Term;

use super::batch::{Loss, read_payload};
use super::deal::next_of;
use super::finding::{Defect, Place};
use super::index::ChunkRef;
use super::kind;
use super::recording::Recording;
use super::references::refers;
use super::source::Source;

/// Bytes of payload in a round.
const ROUND_BYTES: u64 = 8 << 20;
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

/// One chunk, surveyed.
#[derive(Debug, Default)]
struct Surveyed {
    steps: Vec<Step>,
    /// Where it is damaged, and how; where in the payload, when that is known.
    damage: Option<(Option<u32>, String)>,
    overwritten: bool,
    events: u64,
    kinds: Vec<u64>,
    whose: Vec<Identity>,
    last_tick: u64,
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

/// What is wanted of the events, and how references are made numbers.
#[derive(Debug, Clone)]
struct Wanted {
    steps: Steps,
    hash: RandomState,
}

/// Which events are of interest one by one; how many there are is counted of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    All,
    /// Those that tell whether the clocks of threads agree.
    Clocks,
}

impl Steps {
    fn takes(self, deed: Deed) -> bool {
        self == Steps::All || deed.is_of_clocks()
    }
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
            let missing = u64::from(chunk.header.records).saturating_sub(surveyed.events);
            let cost = match class {
                Class::Event if chunk.is_cut() => format!("{missing} of its {} events", chunk.header.records),
                Class::Event => format!("its {} events", chunk.header.records),
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

fn survey(
    chunk: &ChunkRef,
    class: Class,
    number: u32,
    Wanted { steps, hash }: &Wanted,
    (source, schema): (&Source, &Schema),
    payload: &mut Vec<u8>,
) -> Surveyed {
    let base = chunk.header.base_tick;
    let mut surveyed = Surveyed { last_tick: base, ..Surveyed::default() };
    match read_payload(chunk, source, payload) {
        Ok(()) => {}
        Err(Loss::Overwritten) => {
            surveyed.overwritten = true;
            return surveyed;
        }
        Err(Loss::Damaged(what)) => {
            surveyed.damage = Some((None, what));
            return surveyed;
        }
    }
    let mut walk = Walk {
        reader: Reader::new(payload, base, schema),
        schema,
        hash,
        class,
        whose: Identity::Nobody,
        run: Run::default(),
        template: Step {
            tick: base,
            whose: Identity::Nobody,
            deed: Deed::Missing,
            lane: chunk.header.lane,
            chunk: number,
            at: 0,
        },
        kinds: [0; 256],
        seen: false,
        steps: (class == Class::Event).then_some(*steps),
        out: &mut surveyed,
    };
    let walked = walk.all();
    let (at, kinds) = (u32::try_from(walk.reader.offset()).ok(), walk.kinds);
    surveyed.events = kinds.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
    surveyed.kinds = kinds.to_vec();
    surveyed.whose.sort_unstable();
    surveyed.whose.dedup();
    let (want, got) = (u64::from(chunk.header.records), surveyed.events);
    surveyed.damage = match walked {
        // What lies before the cut is good.
        Ok(()) | Err(DecodeError::Truncated { .. }) if chunk.is_cut() => {
            surveyed.steps.clear();
            surveyed.damage = Some((at, "the file ends in it".to_owned()));
            return surveyed;
        }
        Err(error) => Some((at, error.to_string())),
        Ok(()) if want != got => Some((None, format!("it should hold {want} events, there are {got}"))),
        Ok(()) => None,
    };
    if surveyed.damage.is_some() {
        // What it holds is not to be trusted.
        surveyed.steps.clear();
        surveyed.events = 0;
        surveyed.kinds.clear();
        surveyed.whose.clear();
        surveyed.last_tick = base;
    }
    surveyed
}

/// Calls and returns of one process, in a row.
#[derive(Debug, Default)]
struct Run {
    tick: u64,
    at: u32,
    any: bool,
    sum: i32,
    lowest: i32,
}

impl Run {
    #[inline(always)]
    fn take(&mut self, tick: u64, at: u32, by: i32) {
        if !self.any {
            *self = Run { tick, at, any: true, sum: 0, lowest: 0 };
        }
        self.sum = self.sum.saturating_add(by);
        self.lowest = self.lowest.min(self.sum);
    }

    #[inline(always)]
    fn take_many(&mut self, many: &Many, at: u32) {
        if !self.any {
            *self = Run { tick: many.first, at, any: true, sum: 0, lowest: 0 };
        }
        self.lowest = self.lowest.min(self.sum.saturating_add(many.lowest));
        let more = (many.calls as i32).wrapping_sub(many.returns_from as i32);
        self.sum = self.sum.saturating_add(more);
    }

    /// What it was, when and where it began; `None` where there was none.
    fn end(&mut self) -> Option<(Deed, u64, u32)> {
        let Run { tick, at, any, sum, lowest } = std::mem::take(self);
        any.then(|| (Deed::Calls { behind: lowest.unsigned_abs(), sum }, tick, at))
    }
}

const WRONG_CLASS: DecodeError = DecodeError::Layout { why: "a record of a class that the ring does not hold" };

/// On the way through a payload.
struct Walk<'a, 'b> {
    reader: Reader<'a>,
    schema: &'a Schema,
    hash: &'b RandomState,
    class: Class,
    whose: Identity,
    run: Run,
    template: Step,
    kinds: [u64; 256],
    /// Had this process an event since the context changed?
    seen: bool,
    /// Which steps are wanted?
    steps: Option<Steps>,
    out: &'b mut Surveyed,
}

impl Walk<'_, '_> {
    fn all(&mut self) -> Result<(), DecodeError> {
        let schema = self.schema;
        loop {
            self.plain(self.at(), self.reader.functions().len() as u64)?;
            let (at, mut dangling) = (self.at(), Ok(()));
            let next = self.reader.next_event_seen(|body, defined| {
                if dangling.is_ok() {
                    dangling = refers(body, defined, schema);
                }
            });
            // By reference: it is too big to be copied for nothing.
            let event = match &next {
                Ok(event) => event,
                Err(error) => return Err(error.clone()),
            };
            dangling?;
            let Some(event) = event else {
                self.end_run();
                return Ok(());
            };
            if event.whose != self.whose {
                self.end_run();
                (self.whose, self.seen) = (event.whose, false);
            }
            if let Some(dropped) = event.dropped {
                let until = dropped.until.max(dropped.from.saturating_add(1));
                self.push(Deed::Hole(until), dropped.from, at);
            }
            match event.missing {
                Missing::None => {}
                Missing::Own => self.step(Deed::Missing, event.tick, at),
                Missing::Any => self.step(Deed::Hole(event.tick), event.tick, at),
            }
            self.event(&event.body, event.tick, at)?;
            if let Some(deed) = self.joined(event) {
                self.push(deed, event.tick, at);
            }
        }
    }

    /// What else it must fit to.
    fn joined(&self, event: &spoor_format::chunk::Event<'_>) -> Option<Deed> {
        let number = |receiver: u64| {
            let (shape, reference) = event.message?;
            let mut hasher = self.hash.build_hasher();
            (shape, receiver).hash(&mut hasher);
            match reference {
                Carried::Term(term) => match term.decode().ok()? {
                    Term::Reference(numbers) => numbers.hash(&mut hasher),
                    _ => return None,
                },
                Carried::Defined(number) => self.reader.reference(number).ok()?.numbers().hash(&mut hasher),
                // It goes to no process by its pid.
                Carried::Receiver(_) => return None,
            }
            Some(hasher.finish())
        };
        match (event.body, self.whose) {
            (Body::Spawn { child, .. }, _) => Some(Deed::Spawned(child.pid()?)),
            (Body::Spawned { parent, .. }, _) => Some(Deed::SpawnedBy(parent.pid()?)),
            // What a process sends to itself it may have received before.
            (Body::Send { to }, whose) if event.message.is_some() => {
                let receiver = to.pid().filter(|word| whose != Identity::Process(*word))?;
                Some(Deed::Sent(number(receiver)?))
            }
            (Body::Receive {}, Identity::Process(word)) => Some(Deed::Received(number(word)?)),
            _ => None,
        }
    }

    /// All events up to the first that is not plain: nearly all are. Nothing here
    /// waits for more than where the next event begins.
    fn plain(&mut self, from: u32, functions: u64) -> Result<(), DecodeError> {
        let Walk { reader, kinds, steps, whose, template, out, .. } = self;
        let (mut run, mut most, mut at, mut last) = (std::mem::take(&mut self.run), 0, from, None);
        reader.each_plain_or_many(|events, behind| {
            let Plain { tick, id, function } = match events {
                PlainOrMany::Plain(plain) => plain,
                PlainOrMany::Many(many) => {
                    (most, last) = (many.most.max(most), Some(many.last));
                    count(kinds, kind::CALL, many.calls);
                    count(kinds, kind::RETURN_TO, many.returns_to);
                    count(kinds, kind::RETURN_FROM, many.returns_from);
                    run.take_many(&many, at);
                    at = behind as u32;
                    return;
                }
            };
            count(kinds, id, 1);
            (most, last) = (function.max(most), Some(tick));
            if matches!(id, kind::CALL..=kind::RETURN_FROM) {
                run.take(tick, at, i32::from(id == kind::CALL).wrapping_sub(i32::from(id == kind::RETURN_FROM)));
            } else {
                let mut push = |deed, tick, at| {
                    if steps.is_some_and(|steps| steps.takes(deed)) {
                        out.steps.push(Step { tick, whose: *whose, deed, at, ..*template });
                    }
                };
                if let Some((deed, tick, at)) = run.end() {
                    push(deed, tick, at);
                }
                push(Deed::Event(id), tick, at);
            }
            at = behind as u32;
        });
        self.run = run;
        let Some(last) = last else { return Ok(()) };
        if most > functions {
            return Err(DecodeError::Dangling { what: "function", number: most.saturating_sub(1) });
        }
        if self.class != Class::Event {
            return Err(WRONG_CLASS);
        }
        self.out.last_tick = last;
        self.see();
        Ok(())
    }

    /// The process has an event.
    #[inline(always)]
    fn see(&mut self) {
        if !self.seen {
            self.seen = true;
            self.out.whose.push(self.whose);
        }
    }

    fn at(&self) -> u32 {
        u32::try_from(self.reader.offset()).unwrap_or(u32::MAX)
    }

    #[inline(always)]
    fn event(&mut self, body: &Body<'_>, tick: u64, at: u32) -> Result<(), DecodeError> {
        let id = body.id();
        count(&mut self.kinds, id, 1);
        self.see();
        if tick < self.out.last_tick {
            return Err(DecodeError::Layout { why: "time runs backwards" });
        }
        self.out.last_tick = tick;
        match id {
            kind::CALL => self.run.take(tick, at, 1),
            kind::RETURN_FROM | kind::EXCEPTION_FROM => self.run.take(tick, at, -1),
            kind::RETURN_TO => self.run.take(tick, at, 0),
            _ if body.class() != self.class => return Err(WRONG_CLASS),
            _ => self.step(Deed::Event(id), tick, at),
        }
        Ok(())
    }

    fn step(&mut self, deed: Deed, tick: u64, at: u32) {
        self.end_run();
        self.push(deed, tick, at);
    }

    fn push(&mut self, deed: Deed, tick: u64, at: u32) {
        if self.steps.is_some_and(|steps| steps.takes(deed)) {
            self.out.steps.push(Step { tick, whose: self.whose, deed, at, ..self.template });
        }
    }

    fn end_run(&mut self) {
        if let Some((deed, tick, at)) = self.run.end() {
            self.push(deed, tick, at);
        }
    }
}

#[inline(always)]
fn count(kinds: &mut [u64; 256], id: u8, events: u32) {
    if let Some(n) = kinds.get_mut(usize::from(id)) {
        *n = n.wrapping_add(u64::from(events));
    }
}
