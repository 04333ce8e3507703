//! All that an event says: its record, decoded again, and what was annotated to it.

use spoor_format::Cursor;
use spoor_format::record::{Body, Class, Field, FieldType, REPLY_SHAPE, RawWords, Record, Schema, Spec, spec, types};
use spoor_format::term::{RawTerm, Term};

use super::batch::{Batch, kind_name};
use super::identity::PidFormat;
use super::names::{AtomId, FunctionId, Names};
use super::terms;

/// To whom a message is sent: where nobody stands, to the alias that it names.
fn receiver<'a>(to: RawTerm<'a>, alias: Option<RawTerm<'a>>) -> RawTerm<'a> {
    alias.filter(|_| to.is_none()).unwrap_or(to)
}

/// All that an event says.
#[derive(Debug, Clone, Copy)]
pub struct Detail<'a> {
    batch: &'a Batch,
    payload: &'a [u8],
    schema: &'a Schema,
}

/// A field's value, names resolved.
#[derive(Debug, Clone, Copy)]
pub enum FieldValue<'a> {
    /// A number.
    Uint(u64),
    /// An atom, or none.
    Atom(Option<AtomId>),
    /// A function, or none.
    Function(Option<FunctionId>),
    /// Text.
    Text(&'a str),
    /// A term, or none: see [`Detail::term_text`].
    Term(RawTerm<'a>),
    /// Numbers.
    Words(RawWords<'a>),
}

impl<'a> Detail<'a> {
    /// Of a chunk, what begins at its front.
    pub(super) fn new(batch: &'a Batch, payload: &'a [u8], schema: &'a Schema) -> Detail<'a> {
        Detail { batch, payload, schema }
    }

    /// The record, with references to resolve by [`Detail::atom`] and the like.
    pub fn body(&self) -> Option<Body<'a>> {
        let mut alias = None;
        for record in self.records() {
            match record.body {
                Body::ReplyToAlias { reference } => alias = self.batch.reference(reference),
                body if !body.class().timed() => {}
                Body::Send { to } => return Some(Body::Send { to: receiver(to, alias) }),
                Body::SendToNonExisting { to } => return Some(Body::SendToNonExisting { to: receiver(to, alias) }),
                body => return Some(body),
            }
        }
        None
    }

    /// Does its first record say all there is?
    pub(super) fn is_bare(&self) -> bool {
        self.records().next().is_some_and(|record| record.body.class().timed())
    }

    fn records(&self) -> impl Iterator<Item = Record<'a>> {
        self.records_with_bytes().map(|(record, _)| record)
    }

    fn records_with_bytes(&self) -> impl Iterator<Item = (Record<'a>, &'a [u8])> {
        let (payload, schema) = (self.payload, self.schema);
        let mut cursor = Cursor::new(payload);
        std::iter::from_fn(move || {
            let start = cursor.offset();
            let record = if cursor.is_empty() { None } else { Record::decode(&mut cursor, schema).ok() }?;
            Some((record, payload.get(start..cursor.offset()).unwrap_or_default()))
        })
    }

    /// What was passed with the event, when it was asked for.
    pub fn content(&self) -> Option<RawTerm<'a>> {
        let annotations = self.records().take_while(|record| !record.body.class().timed());
        annotations.filter_map(|r| if let Body::Content { value } = r.body { Some(value) } else { None }).last()
    }

    /// Shape of a message and the reference it carries.
    pub fn message(&self) -> Option<(u64, RawTerm<'a>)> {
        let until_event = self.records().map(|record| record.body).take_while(|body| !body.class().timed());
        until_event.filter_map(|body| self.message_of(&body)).last()
    }

    /// What an annotation says of a message, wherever its reference stands.
    fn message_of(&self, body: &Body<'a>) -> Option<(u64, RawTerm<'a>)> {
        match *body {
            Body::Message { shape, reference } => Some((shape, reference)),
            Body::MessageOf { shape, reference } => Some((shape, self.batch.reference(reference)?)),
            Body::ReplyToAlias { reference } => Some((REPLY_SHAPE, self.batch.reference(reference)?)),
            _ => None,
        }
    }

    /// The atom behind a reference.
    pub fn atom(&self, reference: u64) -> Option<AtomId> {
        self.batch.atom(reference)
    }

    /// The function behind a reference.
    pub fn function(&self, reference: u64) -> Option<FunctionId> {
        self.batch.function(reference)
    }

    /// A term as text; nothing for no term.
    pub fn term_text(&self, term: RawTerm<'_>, names: &Names, pids: &PidFormat) -> Option<String> {
        let mut text = String::new();
        self.push_term(term, names, pids, &mut text).then_some(text)
    }

    /// A term that is a name: a list of characters is text.
    pub fn name_text(&self, term: RawTerm<'_>, names: &Names, pids: &PidFormat) -> Option<String> {
        match term.decode() {
            Ok(Term::List(terms)) if !term.is_none() => match terms::characters(&terms) {
                Some(text) => Some(format!("{text:?}")),
                None => self.term_text(term, names, pids),
            },
            _ => self.term_text(term, names, pids),
        }
    }

    /// Adds a term as text; answers false, and adds nothing, where there is no term.
    pub fn push_term(&self, term: RawTerm<'_>, names: &Names, pids: &PidFormat, text: &mut String) -> bool {
        if term.is_none() {
            return false;
        }
        let atom = |reference| self.atom(reference).map(|id| names.atom_text(id));
        match term.decode() {
            Ok(term) => terms::push(&term, pids, &atom, text),
            Err(error) => text.push_str(&format!("({error})")),
        }
        true
    }

    /// The term as an atom's number, when it is one.
    pub fn term_atom(&self, term: RawTerm<'_>) -> Option<AtomId> {
        match term.decode() {
            Ok(Term::Atom(reference)) => self.atom(reference),
            _ => None,
        }
    }

    /// Hands out the event's fields in order, then what was annotated to it.
    pub fn each_field(&self, mut take: impl FnMut(&str, FieldValue<'a>)) {
        let (mut alias, mut annotations) = (None, 0_usize);
        for (record, bytes) in self.records_with_bytes() {
            if let Body::ReplyToAlias { reference } = record.body {
                alias = self.batch.reference(reference).or(alias);
            }
            if record.body.class().timed() {
                self.fields_of(record.body.id(), true, bytes, |name, value| match value {
                    FieldValue::Term(to) if name == "to" => take(name, FieldValue::Term(receiver(to, alias))),
                    value => take(name, value),
                });
                break;
            }
            annotations = annotations.saturating_add(1);
        }
        for (record, bytes) in self.records_with_bytes().take(annotations) {
            if let Some((shape, reference)) = self.message_of(&record.body) {
                take("message_shape", FieldValue::Uint(shape));
                take("message_reference", FieldValue::Term(reference));
            } else if record.body.class() == Class::Annotate {
                self.annotation(record.body.id(), bytes, &mut take);
            }
        }
    }

    /// Its only field has the record's name, each of several the record's in front of its own.
    fn annotation(&self, id: u8, bytes: &'a [u8], take: &mut impl FnMut(&str, FieldValue<'a>)) {
        let (name, mut fields) = (kind_name(id, self.schema), 0_usize);
        self.fields_of(id, false, bytes, |_, _| fields = fields.saturating_add(1));
        self.fields_of(id, false, bytes, |field, value| match fields {
            1 => take(&name, value),
            _ => take(&format!("{name}_{field}"), value),
        });
    }

    /// The fields of a record, of this version's table or of the file's.
    fn fields_of(&self, id: u8, timed: bool, bytes: &'a [u8], mut take: impl FnMut(&str, FieldValue<'a>)) {
        let mut cursor = Cursor::new(bytes.get(1..).unwrap_or_default());
        if timed && cursor.varint().is_err() {
            return;
        }
        let mut each = |name: &str, kind| {
            take(name, self.field(kind, &mut cursor)?);
            Some(())
        };
        match (spec(id), self.schema.foreign(id)) {
            (Some(Spec { fields, .. }), _) => fields.iter().map_while(|(name, kind)| each(name, *kind)).for_each(drop),
            (None, Some(row)) => row.fields.iter().map_while(|(name, kind)| each(name, *kind)).for_each(drop),
            (None, None) => {}
        }
    }

    fn field(&self, kind: FieldType, cursor: &mut Cursor<'a>) -> Option<FieldValue<'a>> {
        Some(match kind {
            FieldType::Uint => FieldValue::Uint(cursor.varint().ok()?),
            FieldType::Atom => FieldValue::Atom(self.atom(cursor.varint().ok()?)),
            FieldType::Function => FieldValue::Function(self.function(cursor.varint().ok()?)),
            FieldType::Text => FieldValue::Text(<types::Text as Field>::decode(cursor).ok()?),
            FieldType::Term => FieldValue::Term(<types::Term as Field>::decode(cursor).ok()?),
            FieldType::Words => FieldValue::Words(<types::Words as Field>::decode(cursor).ok()?),
        })
    }
}
