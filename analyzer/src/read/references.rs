//! Whether records name only atoms and functions that their chunk has defined before them.

use spoor_format::chunk::Defined;
use spoor_format::record::{Body, Field, FieldType, Refers, Schema, types};
use spoor_format::term::Term;
use spoor_format::{Cursor, DecodeError};

/// Is all that the record refers to defined?
#[inline]
pub(super) fn refers(body: &Body<'_>, defined: Defined, schema: &Schema) -> Result<(), DecodeError> {
    if let Body::Foreign { id, bytes, .. } = body {
        return foreign(*id, bytes, defined, schema);
    }
    let mut dangling = Ok(());
    body.references(|to| {
        if dangling.is_ok() {
            dangling = known(to, defined);
        }
    });
    dangling
}

#[inline]
fn known(to: Refers<'_>, Defined { atoms, functions }: Defined) -> Result<(), DecodeError> {
    let (what, reference, defined) = match to {
        Refers::Atom(reference) => ("atom", reference, atoms),
        Refers::Function(reference) => ("function", reference, functions),
        Refers::Term(term) if term.is_none() || term.pid().is_some() => return Ok(()),
        Refers::Term(term) => {
            let mut dangling = Ok(());
            atoms_of(&term.decode()?, &mut |reference| {
                if dangling.is_ok() && reference > atoms {
                    dangling = Err(DecodeError::Dangling { what: "atom", number: reference.saturating_sub(1) });
                }
            });
            return dangling;
        }
    };
    if reference > defined {
        return Err(DecodeError::Dangling { what, number: reference.saturating_sub(1) });
    }
    Ok(())
}

/// Of a record of a later version, whose fields the file's own table tells.
#[cold]
fn foreign(id: u8, bytes: &[u8], defined: Defined, schema: &Schema) -> Result<(), DecodeError> {
    let mut fields = Cursor::new(bytes);
    for (_, kind) in schema.foreign(id).iter().flat_map(|row| &row.fields) {
        match kind {
            FieldType::Uint => fields.varint().map(drop)?,
            FieldType::Atom => known(Refers::Atom(fields.varint()?), defined)?,
            FieldType::Function => known(Refers::Function(fields.varint()?), defined)?,
            FieldType::Text => <types::Text as Field>::decode(&mut fields).map(drop)?,
            FieldType::Words => <types::Words as Field>::decode(&mut fields).map(drop)?,
            FieldType::Term => known(Refers::Term(<types::Term as Field>::decode(&mut fields)?), defined)?,
        }
    }
    Ok(())
}

/// Not deeper than terms may be: their decoder sees to it.
fn atoms_of(term: &Term<'_>, found: &mut dyn FnMut(u64)) {
    match term {
        Term::Atom(reference) => found(*reference),
        Term::Tuple(terms) | Term::List(terms) => terms.iter().for_each(|term| atoms_of(term, found)),
        Term::Improper(terms, tail) => {
            terms.iter().for_each(|term| atoms_of(term, found));
            atoms_of(tail, found);
        }
        Term::Map(pairs) => pairs.iter().for_each(|(key, value)| {
            atoms_of(key, found);
            atoms_of(value, found);
        }),
        _ => {}
    }
}
