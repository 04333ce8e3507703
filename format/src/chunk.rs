//! Chunks: the unit in which threads write, the ring overwrites, readers read.
//!
//! A chunk belongs to one lane and stands for itself: every atom and function
//! its records refer to is defined in it, before its first use. The commit word
//! is stored last, with release: what lies behind it was never promised.

mod header;

use crate::DecodeError;
use crate::codec::{Cursor, two_varints};
use crate::record::{Body, Class, FieldType, REPLY_SHAPE, RawWords, Record, Ref, SPECS, Schema};
use crate::reference::Reference;
use crate::term::RawTerm;
use crate::usual::{self, MANY, MANY_BYTES, MANY_TICKS, Sums, Usual};
pub use header::{COMMIT_OFFSET, ChunkHeader, MAGIC, SEAL_OFFSET, SEQ_OFFSET};

/// Whose event it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// A local process, by its word.
    Process(u64),
    /// A local port, by its word.
    Port(u64),
    /// Nobody's.
    Nobody,
}

/// A function as its chunk defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FunctionDef {
    /// Reference to the module's name.
    pub module: Ref,
    /// Reference to the function's name.
    pub name: Ref,
    /// Its arity.
    pub arity: u64,
}

/// Events that a lane dropped between two that it stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dropped {
    /// When the first was dropped: a tick.
    pub from: u64,
    /// When the last was dropped, at the latest: a tick.
    pub until: u64,
    /// How many.
    pub events: u64,
}

/// Whose events were dropped since the process's event before, wherever it ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Missing {
    /// None that anybody knows of.
    #[default]
    None,
    /// Its own.
    Own,
    /// Perhaps those of others too.
    Any,
}

/// The reference that a message carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried<'a> {
    /// As it stands there; [`RawTerm::NONE`] for none.
    Term(RawTerm<'a>),
    /// One of the chunk's, by its reference.
    Defined(Ref),
    /// One of the chunk's, which the message is sent to.
    Receiver(Ref),
}

/// How much a chunk has defined before a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defined {
    /// Atoms.
    pub atoms: u64,
    /// Functions.
    pub functions: u64,
}

/// A timed record with its time and its circumstances.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// When, on the recorder's clock.
    pub tick: u64,
    /// Whose.
    pub whose: Identity,
    /// What the match specification said, or [`RawTerm::NONE`].
    pub match_result: RawTerm<'a>,
    /// Arguments, message or value, or [`RawTerm::NONE`].
    pub content: RawTerm<'a>,
    /// Shape of the message and the reference that it carries.
    pub message: Option<(u64, Carried<'a>)>,
    /// What was dropped on the lane before it.
    pub dropped: Option<Dropped>,
    /// What the process lacks before it.
    pub missing: Missing,
    /// What happened.
    pub body: Body<'a>,
}

/// A short event that says a function and nothing else, without names or circumstances of
/// its own: nearly all are. See [`Reader::each_plain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plain {
    /// When, on the recorder's clock.
    pub tick: u64,
    /// Id of its record.
    pub id: u8,
    /// The function, by its reference in the chunk; 0 for none.
    pub function: Ref,
}

/// Calls and returns that follow each other; see [`Reader::each_plain_or_many`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Many {
    /// When the first was, on the recorder's clock.
    pub first: u64,
    /// When the last was.
    pub last: u64,
    /// How many `call` there are.
    pub calls: u32,
    /// How many `return_to`.
    pub returns_to: u32,
    /// How many `return_from`.
    pub returns_from: u32,
    /// Calls less `return_from`, at the lowest: zero or less.
    pub lowest: i32,
    /// The greatest reference to a function.
    pub most: Ref,
}

/// One event, or many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlainOrMany {
    /// One.
    Plain(Plain),
    /// Many.
    Many(Many),
}

/// Where many plain events do not follow each other, so many are looked at one by one
/// before it is tried again.
const ONE_BY_ONE: usize = 8;

/// Ids of events whose only field is a function, a bit each.
const PLAIN: u64 = {
    let (mut ids, mut row) = (0, 0);
    #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "computed when compiled")]
    while row < SPECS.len() {
        let spec = &SPECS[row];
        if matches!((spec.class, spec.fields), (Class::Event, [(_, FieldType::Function)])) && spec.id < 64 {
            ids |= 1 << spec.id;
        }
        row += 1;
    }
    ids
};

/// Reads the timed records of a payload, keeping the chunk's names.
#[derive(Debug)]
pub struct Reader<'a> {
    cursor: Cursor<'a>,
    schema: &'a Schema,
    tick: u64,
    whose: Identity,
    atoms: Vec<&'a str>,
    functions: Vec<FunctionDef>,
    references: Vec<Reference>,
}

impl<'a> Reader<'a> {
    /// Reads `payload`, the committed bytes behind the chunk header.
    pub fn new(payload: &'a [u8], base_tick: u64, schema: &'a Schema) -> Self {
        Reader {
            cursor: Cursor::new(payload),
            schema,
            tick: base_tick,
            whose: Identity::Nobody,
            atoms: Vec::new(),
            functions: Vec::new(),
            references: Vec::new(),
        }
    }

    /// Bytes of the payload read so far.
    pub fn offset(&self) -> usize {
        self.cursor.offset()
    }

    /// The atoms defined so far, in order of their numbers.
    pub fn atoms(&self) -> &[&'a str] {
        &self.atoms
    }

    /// The functions defined so far, in order of their numbers.
    pub fn functions(&self) -> &[FunctionDef] {
        &self.functions
    }

    /// The references defined so far, in order of their numbers.
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The reference behind a reference: one that was defined.
    pub fn reference(&self, reference: Ref) -> Result<&Reference, DecodeError> {
        let number = reference.wrapping_sub(1);
        let found = usize::try_from(number).ok().and_then(|n| self.references.get(n));
        found.ok_or(DecodeError::Dangling { what: "reference", number })
    }

    fn define_reference(&mut self, differences: RawWords<'a>) -> Result<(), DecodeError> {
        let before = self.references.last().copied().unwrap_or_default();
        self.references.push(before.next(differences)?);
        Ok(())
    }

    /// The text behind a reference; `Ok(None)` for "none".
    pub fn atom(&self, reference: Ref) -> Result<Option<&'a str>, DecodeError> {
        let Some(number) = reference.checked_sub(1) else { return Ok(None) };
        let atom = usize::try_from(number).ok().and_then(|n| self.atoms.get(n));
        atom.map(|text| Some(*text)).ok_or(DecodeError::Dangling { what: "atom", number })
    }

    /// The function behind a reference; `Ok(None)` for "none".
    pub fn function(&self, reference: Ref) -> Result<Option<FunctionDef>, DecodeError> {
        let Some(number) = reference.checked_sub(1) else { return Ok(None) };
        let function = usize::try_from(number).ok().and_then(|n| self.functions.get(n));
        function.map(|def| Some(*def)).ok_or(DecodeError::Dangling { what: "function", number })
    }

    /// Hands all events up to the first that is not plain to `take`, each with the offset
    /// behind it: see [`Plain`]. Whose they are does not change.
    #[inline(always)]
    pub fn each_plain(&mut self, mut take: impl FnMut(Plain, usize)) {
        // On its own, where the next event begins need not be written to memory for each.
        let (mut cursor, mut tick) = (self.cursor.clone(), self.tick);
        loop {
            while let Some((records, _)) = next_many(&cursor, tick) {
                let mut behind = cursor.offset();
                for record in records {
                    tick = tick.wrapping_add(record.delta());
                    behind = behind.wrapping_add(4);
                    take(Plain { tick, id: record.id(), function: record.function() }, behind);
                }
                cursor.step(MANY_BYTES as u32);
            }
            let mut plains = std::iter::from_fn(|| Some((plain(&mut cursor, &mut tick)?, cursor.offset())));
            if plains.by_ref().take(ONE_BY_ONE).map(|(plain, behind)| take(plain, behind)).count() < ONE_BY_ONE {
                break;
            }
        }
        (self.cursor, self.tick) = (cursor, tick);
    }

    /// As [`Reader::each_plain`], calls and returns that follow each other in sums.
    #[inline(always)]
    pub fn each_plain_or_many(&mut self, mut take: impl FnMut(PlainOrMany, usize)) {
        let (mut cursor, mut tick) = (self.cursor.clone(), self.tick);
        loop {
            while let Some((records, first)) = next_many(&cursor, tick) {
                let sums = usual::sums(&records);
                let Sums { ticks, returns_to, returns_from, lowest, most } = sums;
                let calls = (usual::MANY as u32).wrapping_sub(returns_to).wrapping_sub(returns_from);
                cursor.step(MANY_BYTES as u32);
                let first = tick.wrapping_add(first);
                tick = tick.wrapping_add(ticks);
                let many = Many { first, last: tick, calls, returns_to, returns_from, lowest, most };
                take(PlainOrMany::Many(many), cursor.offset());
            }
            let mut plains = std::iter::from_fn(|| Some((plain(&mut cursor, &mut tick)?, cursor.offset())));
            let taken = plains.by_ref().take(ONE_BY_ONE).map(|(plain, behind)| take(PlainOrMany::Plain(plain), behind));
            if taken.count() < ONE_BY_ONE {
                break;
            }
        }
        (self.cursor, self.tick) = (cursor, tick);
    }

    /// The next timed record, `None` at the end. After an error nothing more of
    /// the chunk can be read: where the next record begins is unknown.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>, DecodeError> {
        self.next_event_seen(|_, _| {})
    }

    /// As [`Reader::next_event`]; shows each record, up to that of the event, to `look`.
    #[inline(always)]
    pub fn next_event_seen(
        &mut self,
        mut look: impl FnMut(&Body<'a>, Defined),
    ) -> Result<Option<Event<'a>>, DecodeError> {
        let (mut match_result, mut content) = (RawTerm::NONE, RawTerm::NONE);
        let (mut dropped_before, mut missing, mut message) = (None, Missing::None, None);
        while !self.cursor.is_empty() {
            let record = Record::decode(&mut self.cursor, self.schema)?;
            look(&record.body, Defined { atoms: self.atoms.len() as u64, functions: self.functions.len() as u64 });
            match record.body {
                Body::DefineAtom { text } => self.atoms.push(text),
                Body::DefineFunction { module, name, arity } => {
                    self.atom(module)?;
                    self.atom(name)?;
                    self.functions.push(FunctionDef { module, name, arity });
                }
                Body::DefineReference { numbers } => self.define_reference(numbers)?,
                Body::Process { pid } => self.whose = Identity::Process(pid),
                Body::Port { port } => self.whose = Identity::Port(port),
                Body::Nobody {} => self.whose = Identity::Nobody,
                Body::MatchResult { value } => match_result = value,
                Body::Content { value } => content = value,
                Body::Dropped { since, lasted, events } => dropped_before = Some((since, lasted, events)),
                Body::Missing { any } => missing = if any == 0 { Missing::Own } else { Missing::Any },
                Body::Message { shape, reference } => message = Some((shape, Carried::Term(reference))),
                Body::MessageOf { shape, reference } => {
                    self.reference(reference)?;
                    message = Some((shape, Carried::Defined(reference)));
                }
                Body::ReplyToAlias { reference } => {
                    self.reference(reference)?;
                    message = Some((REPLY_SHAPE, Carried::Receiver(reference)));
                }
                Body::Foreign { class: Class::Define | Class::Context | Class::Annotate, .. } => {}
                body => {
                    let beyond = DecodeError::Layout { why: "ticks of more than 64 bits" };
                    self.tick = self.tick.checked_add(record.delta).ok_or(beyond)?;
                    let (tick, whose) = (self.tick, self.whose);
                    let dropped = dropped_before.map(|(since, lasted, events)| {
                        let from = tick.saturating_sub(since);
                        Dropped { from, until: from.saturating_add(lasted).min(tick), events }
                    });
                    return Ok(Some(Event { tick, whose, match_result, content, message, dropped, missing, body }));
                }
            }
        }
        Ok(None)
    }
}

/// Many calls and returns, the ticks before the first of them, and no more than 64 bits of ticks.
#[inline(always)]
fn next_many(cursor: &Cursor<'_>, tick: u64) -> Option<([Usual; MANY], u64)> {
    let records = usual::many(cursor.peek()?)?;
    tick.checked_add(MANY_TICKS)?;
    Some((records, records.first().map_or(0, |record| record.delta())))
}

#[inline(always)]
fn plain(cursor: &mut Cursor<'_>, tick: &mut u64) -> Option<Plain> {
    let word = cursor.peek_word()?;
    let id = word as u8;
    if id >= 64 || PLAIN >> id & 1 == 0 {
        return None;
    }
    let (delta, function, bytes) = two_varints(word)?;
    *tick = tick.checked_add(delta)?;
    cursor.step(bytes);
    Some(Plain { tick: *tick, id, function })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::write;

    #[test]
    fn events_come_with_their_names_and_circumstances() {
        let mut payload = Vec::new();
        write::define_atom(&mut payload, 0, "lists").expect("fits");
        write::define_atom(&mut payload, 0, "map").expect("fits");
        write::define_function(&mut payload, 0, 1, 2, 2).expect("fits");
        write::process(&mut payload, 0, 0x123).expect("fits");
        write::content(&mut payload, 0, RawTerm::trusted(&[7])).expect("fits");
        write::call(&mut payload, 5, 1).expect("fits");
        write::return_to(&mut payload, 7, 0).expect("fits");

        let schema = Schema::default();
        let mut reader = Reader::new(&payload, 100, &schema);
        let call = reader.next_event().expect("good").expect("a call");
        assert_eq!((call.tick, call.whose, call.content.bytes()), (105, Identity::Process(0x123), &[7][..]));
        let Body::Call { function } = call.body else { panic!("{call:?}") };
        let def = reader.function(function).expect("defined").expect("not none");
        assert_eq!(
            (reader.atom(def.module), reader.atom(def.name), def.arity),
            (Ok(Some("lists")), Ok(Some("map")), 2)
        );
        let back = reader.next_event().expect("good").expect("a return");
        assert_eq!((back.tick, back.content.is_none()), (112, true));
        assert_eq!(reader.next_event(), Ok(None));
    }

    #[test]
    fn plain_events_are_those_that_the_table_describes() {
        let mut payload = Vec::new();
        write::call(&mut payload, 5, 1).expect("fits");
        write::return_to(&mut payload, 1 << 27, 300).expect("fits");
        write::exception_from(&mut payload, 1, 1, 0).expect("fits");
        payload.extend_from_slice(&[0; 8]);
        let schema = Schema::default();
        let mut reader = Reader::new(&payload, 100, &schema);
        let mut plain = Vec::new();
        reader.each_plain(|event, behind| plain.push((event, behind)));
        let call = Plain { tick: 105, id: 32, function: 1 };
        let back = Plain { tick: 105 + (1 << 27), id: 33, function: 300 };
        assert_eq!(plain, [(call, 3), (back, 10)]);
        assert!(matches!(reader.next_event(), Ok(Some(Event { body: Body::ExceptionFrom { .. }, .. }))));
    }

    #[test]
    fn a_reference_that_was_never_defined_is_dangling() {
        let mut payload = Vec::new();
        write::define_function(&mut payload, 0, 1, 0, 2).expect("fits");
        let schema = Schema::default();
        assert_eq!(
            Reader::new(&payload, 0, &schema).next_event(),
            Err(DecodeError::Dangling { what: "atom", number: 0 })
        );
    }
}
