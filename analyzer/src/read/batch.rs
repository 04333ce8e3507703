//! A chunk, decoded: compact events, and its names as the recording's numbers.
//!
//! A chunk is taken as a whole or not at all (but for one that the end of a cut
//! file runs through), so that no event is handed out from bytes that turn out
//! to be damaged further on.

use std::borrow::Cow;

use spoor_format::DecodeError;
use spoor_format::chunk::{ChunkHeader, Identity, Missing, Plain, Reader};
use spoor_format::record::{Body, Schema, spec};
use spoor_format::reference::Reference;
use spoor_format::term::{RawTerm, TermWriter};

use super::detail::Detail;
use super::index::ChunkRef;
use super::kind;
use super::names::{AtomId, FunctionId, FunctionKey, Names, TraceeId};
use super::source::Source;
use super::tracees::Tracees;

/// No function, in [`Packed`].
const NO_FUNCTION: u32 = u32::MAX;

/// An event as a batch keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packed {
    pub(crate) tick: u64,
    pub(crate) tracee: TraceeId,
    function: u32,
    /// Where its records begin in the payload.
    at: u32,
    pub(crate) kind: u8,
    /// Whose events were dropped before it, see [`Missing`].
    pub(crate) missing: Missing,
}

impl Packed {
    pub(crate) fn function(&self) -> Option<FunctionId> {
        (self.function != NO_FUNCTION).then_some(FunctionId(self.function))
    }
}

/// A decoded chunk. Reused for one chunk after the other.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) events: Vec<Packed>,
    /// Stretches, in ticks, in which the lane dropped events.
    pub(crate) dropped: Vec<(u64, u64)>,
    payload: Vec<u8>,
    atoms: Vec<AtomId>,
    functions: Vec<FunctionId>,
    references: References,
    /// Tracees that are held for it, each as often as it is in here.
    held: Vec<TraceeId>,
    /// Who exits in it (true), or is spawned, and when.
    lives: Vec<(u64, Identity, bool)>,
}

/// The references that a chunk defines, as terms.
#[derive(Debug, Default)]
struct References {
    /// One behind the other.
    terms: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<u32>,
}

impl References {
    fn clear(&mut self) {
        self.terms.clear();
        self.ends.clear();
    }

    fn push(&mut self, reference: &Reference) {
        let mut space = [0; 96];
        let mut term = TermWriter::new(&mut space);
        term.reference(reference.numbers());
        let used = term.len();
        self.terms.extend_from_slice(space.get(..used).unwrap_or_default());
        self.ends.push(u32::try_from(self.terms.len()).unwrap_or(u32::MAX));
    }

    fn get(&self, reference: u64) -> Option<RawTerm<'_>> {
        let place = usize::try_from(reference.checked_sub(1)?).ok()?;
        let start = if place == 0 { 0 } else { *self.ends.get(place.saturating_sub(1))? };
        let end = *self.ends.get(place)?;
        self.terms.get(start as usize..end as usize).map(RawTerm::trusted)
    }
}

/// Why a chunk could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The VM has used it for something else in the meantime.
    Overwritten,
    /// Its bytes are not what was written.
    Damaged(String),
}

/// What names are resolved with, and to.
pub(crate) struct Context<'a> {
    pub(crate) source: &'a Source,
    pub(crate) schema: &'a Schema,
    pub(crate) names: &'a mut Names,
    pub(crate) tracees: &'a mut Tracees,
}

impl Batch {
    /// Reads a chunk. For one that the end of the file runs through, what stands
    /// before the cut is kept; see [`ChunkRef::is_cut`].
    pub(crate) fn load(&mut self, chunk: &ChunkRef, context: &mut Context<'_>) -> Result<(), Loss> {
        self.let_go(context.tracees);
        let result = self.read(chunk, context.source).and_then(|()| self.decode(chunk, context));
        if result.is_err() {
            self.lives.clear();
            self.let_go(context.tracees);
            self.clear();
        }
        result
    }

    /// All its events are in the past: whose they are is not held for it any more.
    pub(crate) fn let_go(&mut self, tracees: &mut Tracees) {
        for (tick, identity, exits) in self.lives.drain(..) {
            tracees.exits(identity, tick, exits);
        }
        for tracee in self.held.drain(..) {
            tracees.let_go(tracee);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.dropped.clear();
        self.payload.clear();
        self.atoms.clear();
        self.functions.clear();
        self.references.clear();
    }

    fn read(&mut self, chunk: &ChunkRef, source: &Source) -> Result<(), Loss> {
        self.clear();
        read_payload(chunk, source, &mut self.payload)
    }

    fn decode(&mut self, chunk: &ChunkRef, context: &mut Context<'_>) -> Result<(), Loss> {
        let payload = std::mem::take(&mut self.payload);
        let decoded = self.decode_payload(&payload, chunk.header.base_tick, context);
        self.payload = payload;
        match decoded {
            Err(DecodeError::Truncated { .. }) if chunk.is_cut() => Ok(()),
            Err(error) => Err(Loss::Damaged(error.to_string())),
            Ok(()) if chunk.is_cut() || self.events.len() as u64 == u64::from(chunk.header.records) => Ok(()),
            Ok(()) => {
                let (want, got) = (chunk.header.records, self.events.len());
                Err(Loss::Damaged(format!("it should hold {want} events, there are {got}")))
            }
        }
    }

    fn decode_payload(&mut self, payload: &[u8], base: u64, context: &mut Context<'_>) -> Result<(), DecodeError> {
        let mut reader = Reader::new(payload, base, context.schema);
        let (mut last_tick, mut whose) = (base, Identity::Nobody);
        let mut tracee = context.tracees.id(whose);
        let place = |reader: &Reader<'_>| u32::try_from(reader.offset()).unwrap_or(u32::MAX);
        loop {
            let mut at = place(&reader);
            let (mut most, functions, events) = (0, &self.functions, &mut self.events);
            reader.each_plain(|Plain { tick, id: kind, function }, behind| {
                most = function.max(most);
                let function = (function as usize).checked_sub(1).and_then(|number| functions.get(number));
                let function = function.map_or(NO_FUNCTION, |id| id.0);
                events.push(Packed { tick, tracee, function, at, kind, missing: Missing::None });
                (last_tick, at) = (tick, behind as u32);
            });
            if most > 0 {
                self.function_number(most)?;
            }
            let Some(event) = reader.next_event()? else { return Ok(()) };
            if event.tick < last_tick {
                return Err(DecodeError::Layout { why: "time runs backwards" });
            }
            last_tick = event.tick;
            if event.whose != whose {
                whose = event.whose;
                tracee = context.tracees.id(whose);
                context.tracees.hold(tracee, event.tick);
                self.held.push(tracee);
            }
            self.learn_names(&reader, context.names)?;
            let function = match function_of(&event.body) {
                None | Some(0) => NO_FUNCTION,
                Some(reference) => self.function_number(reference)?,
            };
            self.dropped.extend(event.dropped.map(|dropped| (dropped.from, dropped.until)));
            let (tick, kind, missing) = (event.tick, event.body.id(), event.missing);
            if matches!(kind, kind::EXIT | kind::SPAWNED) {
                self.lives.push((tick, whose, kind == kind::EXIT));
            }
            self.events.push(Packed { tick, tracee, function, at, kind, missing });
        }
    }

    fn learn_names(&mut self, reader: &Reader<'_>, names: &mut Names) -> Result<(), DecodeError> {
        for text in reader.atoms().get(self.atoms.len()..).unwrap_or_default() {
            self.atoms.push(names.atom(text));
        }
        for def in reader.functions().get(self.functions.len()..).unwrap_or_default() {
            let part =
                |reference| self.atom(reference).ok_or(DecodeError::Dangling { what: "atom", number: reference });
            let key = FunctionKey { module: part(def.module)?, name: part(def.name)?, arity: def.arity };
            self.functions.push(names.function(key));
        }
        for reference in reader.references().get(self.references.ends.len()..).unwrap_or_default() {
            self.references.push(reference);
        }
        Ok(())
    }

    fn function_number(&self, reference: u64) -> Result<u32, DecodeError> {
        let known = self.function(reference).map(|id| id.0);
        known.ok_or(DecodeError::Dangling { what: "function", number: reference.saturating_sub(1) })
    }

    pub(super) fn atom(&self, reference: u64) -> Option<AtomId> {
        self.atoms.get(usize::try_from(reference.checked_sub(1)?).ok()?).copied()
    }

    pub(super) fn function(&self, reference: u64) -> Option<FunctionId> {
        self.functions.get(usize::try_from(reference.checked_sub(1)?).ok()?).copied()
    }

    /// A reference that the chunk defines.
    pub(super) fn reference(&self, reference: u64) -> Option<RawTerm<'_>> {
        self.references.get(reference)
    }

    /// All of an event, to be decoded again.
    pub(crate) fn detail<'a>(&'a self, event: &Packed, schema: &'a Schema) -> Detail<'a> {
        let payload = self.payload.get(event.at as usize..).unwrap_or_default();
        Detail::new(self, payload, schema)
    }
}

/// Reads what a chunk has committed, and checks it against the seal.
pub(crate) fn read_payload(chunk: &ChunkRef, source: &Source, payload: &mut Vec<u8>) -> Result<(), Loss> {
    let available = usize::try_from(chunk.available).unwrap_or(0);
    source.read(chunk.payload, available, payload).map_err(|error| Loss::Damaged(error.to_string()))?;
    let seq_now = seq_of(chunk, source).map_err(|error| Loss::Damaged(error.to_string()))?;
    if seq_now != chunk.header.seq {
        return Err(Loss::Overwritten);
    }
    if payload.len() < available {
        return Err(Loss::Damaged("the file became shorter while it was read".to_owned()));
    }
    match chunk.header.crc {
        Some(want) if !chunk.is_cut() => {
            let got = crc32fast::hash(payload);
            let error = DecodeError::Checksum { what: "chunk", want, got };
            if got == want { Ok(()) } else { Err(Loss::Damaged(error.to_string())) }
        }
        _ => Ok(()),
    }
}

fn seq_of(chunk: &ChunkRef, source: &Source) -> std::io::Result<u64> {
    let at = chunk.payload.saturating_sub(ChunkHeader::BYTES as u64);
    let mut word = Vec::new();
    source.read(at.saturating_add(spoor_format::chunk::SEQ_OFFSET as u64), 8, &mut word)?;
    Ok(word.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

pub(crate) fn function_of(body: &Body<'_>) -> Option<u64> {
    match body {
        Body::Call { function }
        | Body::ReturnTo { function }
        | Body::ReturnFrom { function }
        | Body::ExceptionFrom { function, .. }
        | Body::In { function }
        | Body::Out { function }
        | Body::InExiting { function }
        | Body::OutExiting { function }
        | Body::OutExited { function }
        | Body::Spawn { function, .. }
        | Body::Spawned { function, .. }
        | Body::ProcessInfo { initial_call: function, .. } => Some(*function),
        _ => None,
    }
}

/// Name of a kind of event as users write it: without the `_` that keeps some
/// names from being Rust's words.
pub(crate) fn kind_name(id: u8, schema: &Schema) -> Cow<'_, str> {
    let name = spec(id).map(|row| row.name).or_else(|| schema.foreign(id).map(|row| row.name.as_str()));
    name.map_or_else(|| format!("record_{id}").into(), Cow::Borrowed)
}
