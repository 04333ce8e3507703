//! One chunk, decoded by whoever has time: its events as far as stacks are
//! concerned, whose they are, and its names as it numbers them itself.

use spoor_format::DecodeError;
use spoor_format::chunk::{FunctionDef, Identity, Missing, Plain, Reader};
use spoor_format::record::{Body, Schema};
use spoor_format::term::Term;

use super::SHARES;
use crate::read::batch::{Loss, function_of, read_payload};
use crate::read::index::ChunkRef;
use crate::read::kind;
use crate::read::names::{AtomId, FunctionId, FunctionKey, Names, TraceeId};
use crate::read::source::Source;

/// An event. Its function is 0 for none, else 1 + a number of its chunk's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Brief {
    pub(super) tick: u64,
    pub(super) function: u32,
    pub(super) kind: u8,
    flags: u8,
}

const MISSING: u8 = 1;
const NORMAL: u8 = 2;
/// Stands for an event that is nothing to stacks, but for what is missing before it.
const NOTHING: u8 = 0;

impl Brief {
    #[inline(always)]
    pub(super) fn is_missing(&self) -> bool {
        self.flags & MISSING != 0
    }

    #[inline(always)]
    pub(super) fn is_normal(&self) -> bool {
        self.flags & NORMAL != 0
    }
}

/// Events of one tracee in a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) tracee: TraceeId,
    pub(super) asked_for: bool,
    pub(super) from: u32,
    pub(super) until: u32,
}

/// Which kinds are kept: those that stacks are made of, if they are asked for.
pub(super) type Kept = [bool; 256];

/// A chunk. Reused for one after the other.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) loss: Option<Loss>,
    pub(super) events: Vec<Brief>,
    /// All events that it holds, kept or not, and the tick of the last one.
    pub(super) count: u64,
    pub(super) last_tick: u64,
    /// Stretches in which the lane dropped events.
    pub(super) dropped: Vec<(u64, u64)>,
    /// Before which events those of anybody may be missing: (tick, place).
    pub(super) missing: Vec<(u64, u32)>,
    /// Whose the events are: from which place on.
    whose: Vec<(Identity, u32)>,
    /// At these places its process exits, or is spawned.
    lives: Vec<(u32, bool)>,
    /// Tracees that are held for it, each as often as it is in here.
    pub(super) held: Vec<TraceeId>,
    /// The texts of its atoms, one behind the other, and where each ends.
    texts: String,
    ends: Vec<usize>,
    defined: Vec<FunctionDef>,
    /// Its functions by the recording's numbers, and its runs by share: once linked.
    pub(super) functions: Vec<FunctionId>,
    pub(super) runs: [Vec<Run>; SHARES],
}

impl Part {
    /// Reads a chunk. For one that the end of the file runs through, what stands
    /// before the cut is kept.
    pub(super) fn load(
        &mut self,
        chunk: &ChunkRef,
        source: &Source,
        schema: &Schema,
        kept: &Kept,
        payload: &mut Vec<u8>,
    ) {
        self.clear();
        let read = read_payload(chunk, source, payload);
        self.loss = read.and_then(|()| self.decode(chunk, payload, schema, kept)).err();
        if self.loss.is_some() {
            self.clear();
        }
    }

    fn clear(&mut self) {
        self.events.clear();
        (self.count, self.last_tick) = (0, 0);
        self.dropped.clear();
        self.missing.clear();
        self.whose.clear();
        self.lives.clear();
        self.texts.clear();
        self.ends.clear();
        self.defined.clear();
        self.functions.clear();
        self.runs.iter_mut().for_each(Vec::clear);
    }

    fn decode(&mut self, chunk: &ChunkRef, payload: &[u8], schema: &Schema, kept: &Kept) -> Result<(), Loss> {
        // The size is not more than what the payload can hold.
        self.events.reserve((chunk.header.records as usize).min(payload.len()));
        let mut reader = Reader::new(payload, chunk.header.base_tick, schema);
        self.last_tick = chunk.header.base_tick;
        let decoded = self.decode_events(&mut reader, kept);
        for text in reader.atoms() {
            self.texts.push_str(text);
            self.ends.push(self.texts.len());
        }
        self.defined.extend_from_slice(reader.functions());
        let nameless = self.defined.iter().any(|def| def.module == 0 || def.name == 0);
        match decoded {
            Ok(()) if nameless => Err(Loss::Damaged(DecodeError::Dangling { what: "atom", number: 0 }.to_string())),
            Err(DecodeError::Truncated { .. }) if chunk.is_cut() => Ok(()),
            Err(error) => Err(Loss::Damaged(error.to_string())),
            Ok(()) if chunk.is_cut() || self.count == u64::from(chunk.header.records) => Ok(()),
            Ok(()) => {
                let (want, got) = (chunk.header.records, self.count);
                Err(Loss::Damaged(format!("it should hold {want} events, there are {got}")))
            }
        }
    }

    fn decode_events(&mut self, reader: &mut Reader<'_>, kept: &Kept) -> Result<(), DecodeError> {
        let mut whose = Identity::Nobody;
        self.whose.push((whose, 0));
        loop {
            let defined = reader.functions().len() as u64;
            let (mut count, mut most, mut last) = (0_u64, 0, self.last_tick);
            let events = &mut self.events;
            reader.each_plain(|Plain { tick, id, function }, _| {
                (count, last, most) = (count.wrapping_add(1), tick, function.max(most));
                if kept.get(usize::from(id)) == Some(&true) {
                    events.push(Brief { tick, function: function as u32, kind: id, flags: 0 });
                }
            });
            (self.count, self.last_tick) = (self.count.wrapping_add(count), last);
            if most > defined {
                return Err(DecodeError::Dangling { what: "function", number: most.saturating_sub(1) });
            }
            let Some(event) = reader.next_event()? else { return Ok(()) };
            if event.tick < self.last_tick {
                return Err(DecodeError::Layout { why: "time runs backwards" });
            }
            self.last_tick = event.tick;
            self.count = self.count.wrapping_add(1);
            let place = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
            if event.whose != whose {
                whose = event.whose;
                self.whose.push((whose, place));
            }
            let function = function_of(&event.body).unwrap_or(0);
            let defined = reader.functions().len() as u64;
            if function > defined {
                return Err(DecodeError::Dangling { what: "function", number: function.saturating_sub(1) });
            }
            self.dropped.extend(event.dropped.map(|dropped| (dropped.from, dropped.until)));
            if event.missing == Missing::Any {
                self.missing.push((event.tick, place));
            }
            let missing = if event.missing == Missing::None { 0 } else { MISSING };
            let (tick, function) = (event.tick, u32::try_from(function).unwrap_or(0));
            let id = event.body.id();
            if kept.get(usize::from(id)) == Some(&true) {
                let normal = if is_normal(&event.body, reader) { NORMAL } else { 0 };
                if matches!(id, kind::EXIT | kind::SPAWNED) {
                    self.lives.push((place, id == kind::EXIT));
                }
                self.events.push(Brief { tick, function, kind: id, flags: missing | normal });
            } else if missing != 0 {
                self.events.push(Brief { tick, function: 0, kind: NOTHING, flags: missing });
            }
        }
    }

    /// Gives its names and tracees the recording's numbers. `whose` answers for a
    /// tracee, and the tick of its first event, its number, and whether its events are wanted, and asked for.
    pub(super) fn link(
        &mut self,
        names: &mut Names,
        from_tick: u64,
        mut whose: impl FnMut(Identity, u64, &Names) -> Option<(TraceeId, bool)>,
    ) {
        let mut atoms: Vec<AtomId> = Vec::with_capacity(self.ends.len());
        let mut start = 0;
        for end in &self.ends {
            atoms.push(names.atom(self.texts.get(start..*end).unwrap_or_default()));
            start = *end;
        }
        let atom = |reference: u64| {
            let number = reference.checked_sub(1).and_then(|number| usize::try_from(number).ok());
            // Decoding has seen to it that there is one.
            number.and_then(|number| atoms.get(number)).copied().unwrap_or(AtomId(u32::MAX))
        };
        for def in &self.defined {
            let key = FunctionKey { module: atom(def.module), name: atom(def.name), arity: def.arity };
            self.functions.push(names.function(key));
        }
        let first = self.events.partition_point(|event| event.tick < from_tick);
        let first = u32::try_from(first).unwrap_or(u32::MAX);
        let end = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
        let ends = self.whose.iter().skip(1).map(|(_, from)| *from).chain([end]);
        for ((identity, from), until) in self.whose.iter().zip(ends) {
            let from = (*from).max(first);
            if from >= until {
                continue;
            }
            let tick = self.events.get(from as usize).map_or(0, |event| event.tick);
            let Some((tracee, asked_for)) = whose(*identity, tick, names) else { continue };
            let share = usize::try_from(tracee.0).unwrap_or(0) % SHARES;
            if let Some(runs) = self.runs.get_mut(share) {
                runs.push(Run { tracee, asked_for, from, until });
            }
        }
        self.missing.retain(|(_, place)| *place >= first);
        self.lives.retain(|(place, _)| *place >= first);
    }

    /// Who exits in it (true), or is spawned, when, in this order.
    pub(super) fn lives(&self) -> impl Iterator<Item = (Identity, u64, bool)> {
        self.lives.iter().filter_map(|(place, exits)| {
            let after = self.whose.partition_point(|(_, from)| from <= place);
            let tick = self.events.get(*place as usize)?.tick;
            Some((self.whose.get(after.checked_sub(1)?)?.0, tick, *exits))
        })
    }

    /// The event's function by the recording's numbers.
    #[inline(always)]
    pub(super) fn function(&self, event: &Brief) -> Option<FunctionId> {
        self.functions.get((event.function as usize).checked_sub(1)?).copied()
    }
}

/// Does it say that the process ended in order?
#[cold]
fn is_normal(body: &Body<'_>, reader: &Reader<'_>) -> bool {
    let Body::Exit { reason } = body else { return false };
    matches!(reason.decode(), Ok(Term::Atom(atom)) if reader.atom(atom) == Ok(Some("normal")))
}

/// Those that stacks are made of.
pub(super) fn of_stacks(id: u8) -> bool {
    matches!(id, kind::CALL..=kind::OUT_EXITED | kind::SPAWNED | kind::EXIT)
}

/// A place in the order of all events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) tick: u64,
    pub(super) lane: u32,
    /// Number of the part in its lane, and of the event in it.
    pub(super) part: u64,
    pub(super) place: u32,
}

impl Moment {
    /// Before all events.
    pub(super) const FIRST: Moment = Moment { tick: 0, lane: 0, part: 0, place: 0 };
}
