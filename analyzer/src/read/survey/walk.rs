//! One chunk on its own: whether it is what the format says, how many events of which kind it
//! has, and which of them are steps.

use std::hash::{BuildHasher, Hash, Hasher};

use foldhash::fast::RandomState;
use spoor_format::DecodeError;
use spoor_format::chunk::{Carried, Identity, Many, Missing, Plain, PlainOrMany, Reader};
use spoor_format::record::{Body, Class, Schema};
use spoor_format::term::Term;

use super::{Deed, Step};
use crate::read::batch::{Loss, read_payload};
use crate::read::index::ChunkRef;
use crate::read::kind;
use crate::read::references::refers;
use crate::read::source::Source;

/// One chunk, surveyed.
#[derive(Debug, Default)]
pub(super) struct Surveyed {
    pub(super) steps: Vec<Step>,
    /// Where it is damaged, and how; where in the payload, when that is known.
    pub(super) damage: Option<(Option<u32>, String)>,
    pub(super) overwritten: bool,
    pub(super) events: u64,
    pub(super) kinds: Vec<u64>,
    pub(super) whose: Vec<Identity>,
    pub(super) last_tick: u64,
}

/// What is wanted of the events, and how references are made numbers.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) steps: Steps,
    pub(super) hash: RandomState,
}

/// Which events are of interest one by one; how many there are is counted of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steps {
    All,
    /// Those that tell whether the clocks of threads agree.
    Clocks,
}

impl Steps {
    fn takes(self, deed: Deed) -> bool {
        self == Steps::All || deed.is_of_clocks()
    }
}

/// Surveys a chunk, `number` of all.
pub(super) fn survey(
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
