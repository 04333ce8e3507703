//! Erlang terms as a recording keeps them: bounded, with what was left out said.
//!
//! A term is a tag byte and what belongs to it. The recorder writes no more
//! than its limit: what does not fit becomes [`Term::Elided`]; what must not be
//! kept without being asked for becomes [`Term::Hidden`] with its type and size.

mod writer;

use std::borrow::Cow;

use crate::DecodeError;
use crate::codec::{Cursor, unzigzag};

pub use writer::TermWriter;

/// Deepest nesting a reader follows; the recorder stops far before.
pub const MAX_DEPTH: usize = 64;

/// The tag bytes.
pub mod tag {
    #![allow(missing_docs, reason = "each is named after its variant of `Term`")]
    pub const NONE: u8 = 0;
    pub const ATOM: u8 = 1;
    pub const INTEGER: u8 = 2;
    pub const FLOAT: u8 = 3;
    pub const PID: u8 = 4;
    pub const PORT: u8 = 5;
    pub const REFERENCE: u8 = 6;
    pub const NIL: u8 = 7;
    pub const TUPLE: u8 = 8;
    pub const LIST: u8 = 9;
    pub const IMPROPER: u8 = 10;
    pub const BINARY: u8 = 11;
    pub const MAP: u8 = 12;
    pub const PRINTED: u8 = 13;
    pub const ELIDED: u8 = 14;
    pub const HIDDEN: u8 = 15;
}

/// The type of a value whose content was not asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum HiddenType {
    /// An integer.
    Integer = 0,
    /// A float.
    Float = 1,
    /// A binary or bitstring; size in bytes.
    Binary = 2,
    /// A list; size unknown (0).
    List = 3,
    /// A map; size in pairs.
    Map = 4,
    /// A fun.
    Fun = 5,
    /// Anything else.
    Other = 6,
}

impl HiddenType {
    /// All types with their names as printed.
    pub const ALL: [(HiddenType, &'static str); 7] = [
        (HiddenType::Integer, "integer"),
        (HiddenType::Float, "float"),
        (HiddenType::Binary, "binary"),
        (HiddenType::List, "list"),
        (HiddenType::Map, "map"),
        (HiddenType::Fun, "fun"),
        (HiddenType::Other, "term"),
    ];

    fn from_number(number: u64) -> HiddenType {
        Self::ALL.iter().find(|(t, _)| *t as u64 == number).map_or(HiddenType::Other, |(t, _)| *t)
    }

    /// The name as printed.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(t, _)| *t == self).map_or("term", |(_, name)| name)
    }
}

/// A term's bytes, known to be well formed when they came from a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawTerm<'a>(&'a [u8]);

impl<'a> RawTerm<'a> {
    /// The term that says there is none.
    pub const NONE: RawTerm<'static> = RawTerm(&[tag::NONE]);

    /// Bytes that a [`TermWriter`] made or a decoder has stepped over.
    pub fn trusted(bytes: &'a [u8]) -> Self {
        RawTerm(bytes)
    }

    /// The encoding.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Is this [`RawTerm::NONE`]?
    pub fn is_none(self) -> bool {
        self.0.first().is_none_or(|first| *first == tag::NONE)
    }

    /// The pid word, when the term is a local pid.
    pub fn pid(self) -> Option<u64> {
        let mut cursor = Cursor::new(self.0);
        if cursor.byte().ok()? == tag::PID { cursor.varint().ok() } else { None }
    }

    /// The term as a tree.
    pub fn decode(self) -> Result<Term<'a>, DecodeError> {
        decode(&mut Cursor::new(self.0), 0)
    }
}

/// A decoded term.
#[derive(Debug, Clone, PartialEq)]
pub enum Term<'a> {
    /// Nothing was said.
    None,
    /// Atom reference: 1 + its number in the chunk.
    Atom(u64),
    /// An integer of at most 64 bits.
    Integer(i64),
    /// A float.
    Float(f64),
    /// A local pid's word.
    Pid(u64),
    /// A local port's word.
    Port(u64),
    /// A reference's numbers in the order of its text, `#Ref<0.1st.2nd.3rd>`.
    Reference(Vec<u64>),
    /// `[]`.
    Nil,
    /// A tuple.
    Tuple(Vec<Term<'a>>),
    /// A proper list; the last element may be [`Term::Elided`].
    List(Vec<Term<'a>>),
    /// A list and the tail that is not `[]`.
    Improper(Vec<Term<'a>>, Box<Term<'a>>),
    /// A bitstring: its size in bits, and its first bytes.
    Binary {
        /// Whole size.
        bits: u64,
        /// What was kept.
        bytes: &'a [u8],
    },
    /// A map's pairs; a final pair of [`Term::Elided`] when there were more.
    Map(Vec<(Term<'a>, Term<'a>)>),
    /// As the VM prints it: funs, external pids, large integers.
    Printed(Cow<'a, str>),
    /// The limit was reached here.
    Elided,
    /// Not asked for: type and size.
    Hidden {
        /// What it was.
        what: HiddenType,
        /// Its size, in the unit of its type.
        size: u64,
    },
}

/// Steps over a term, checking that it is well formed.
pub(crate) fn skip(cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
    skip_at(cursor, 0)
}

fn skip_at(cursor: &mut Cursor<'_>, depth: usize) -> Result<(), DecodeError> {
    let offset = cursor.offset();
    let tag = cursor.byte()?;
    if depth > MAX_DEPTH {
        return Err(DecodeError::BadTerm { offset, tag });
    }
    let below = |count: u64, cursor: &mut Cursor<'_>| -> Result<(), DecodeError> {
        (0..count).try_for_each(|_| skip_at(cursor, depth.saturating_add(1)))
    };
    match tag {
        tag::NONE | tag::NIL | tag::ELIDED => Ok(()),
        tag::ATOM | tag::INTEGER | tag::PID | tag::PORT => cursor.varint().map(drop),
        tag::FLOAT => cursor.take(8).map(drop),
        tag::REFERENCE => {
            let words = cursor.varint()?;
            (0..words).try_for_each(|_| cursor.varint().map(drop))
        }
        tag::TUPLE | tag::LIST => {
            let count = cursor.varint()?;
            below(count, cursor)
        }
        tag::IMPROPER => {
            let count = cursor.varint()?;
            below(count, cursor)?;
            below(1, cursor)
        }
        tag::MAP => {
            let pairs = cursor.varint()?;
            (0..pairs).try_for_each(|_| below(2, cursor))
        }
        tag::BINARY => {
            cursor.varint()?;
            let shown = cursor.varint()?;
            cursor.take(shown).map(drop)
        }
        tag::PRINTED => {
            let at = cursor.offset();
            let len = cursor.varint()?;
            std::str::from_utf8(cursor.take(len)?).map(drop).map_err(|_| DecodeError::NotUtf8 { offset: at })
        }
        tag::HIDDEN => {
            cursor.varint()?;
            cursor.varint().map(drop)
        }
        _ => Err(DecodeError::BadTerm { offset, tag }),
    }
}

fn decode<'a>(cursor: &mut Cursor<'a>, depth: usize) -> Result<Term<'a>, DecodeError> {
    let offset = cursor.offset();
    let tag = cursor.byte()?;
    if depth > MAX_DEPTH {
        return Err(DecodeError::BadTerm { offset, tag });
    }
    let deeper = depth.saturating_add(1);
    Ok(match tag {
        tag::NONE => Term::None,
        tag::NIL => Term::Nil,
        tag::ELIDED => Term::Elided,
        tag::ATOM => Term::Atom(cursor.varint()?),
        tag::INTEGER => Term::Integer(unzigzag(cursor.varint()?)),
        tag::FLOAT => {
            let bytes = cursor.take(8)?;
            let bits = bytes.try_into().map_err(|_| DecodeError::Truncated { offset })?;
            Term::Float(f64::from_bits(u64::from_le_bytes(bits)))
        }
        tag::PID => Term::Pid(cursor.varint()?),
        tag::PORT => Term::Port(cursor.varint()?),
        tag::REFERENCE => {
            let words = cursor.varint()?;
            Term::Reference((0..words).map(|_| cursor.varint()).collect::<Result<_, _>>()?)
        }
        tag::TUPLE => Term::Tuple(decode_many(cursor, deeper)?),
        tag::LIST => Term::List(decode_many(cursor, deeper)?),
        tag::IMPROPER => {
            let elements = decode_many(cursor, deeper)?;
            Term::Improper(elements, Box::new(decode(cursor, deeper)?))
        }
        tag::MAP => {
            let pairs = cursor.varint()?;
            let pair = |_| Ok((decode(cursor, deeper)?, decode(cursor, deeper)?));
            Term::Map((0..pairs).map(pair).collect::<Result<_, _>>()?)
        }
        tag::BINARY => {
            let bits = cursor.varint()?;
            let shown = cursor.varint()?;
            Term::Binary { bits, bytes: cursor.take(shown)? }
        }
        tag::PRINTED => {
            let len = cursor.varint()?;
            let text = std::str::from_utf8(cursor.take(len)?).map_err(|_| DecodeError::NotUtf8 { offset })?;
            Term::Printed(Cow::Borrowed(text))
        }
        tag::HIDDEN => {
            let what = HiddenType::from_number(cursor.varint()?);
            Term::Hidden { what, size: cursor.varint()? }
        }
        _ => return Err(DecodeError::BadTerm { offset, tag }),
    })
}

fn decode_many<'a>(cursor: &mut Cursor<'a>, depth: usize) -> Result<Vec<Term<'a>>, DecodeError> {
    let count = cursor.varint()?;
    // No capacity from the count: it may be a lie of a damaged file.
    (0..count).map(|_| decode(cursor, depth)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn written(space: usize, write: impl FnOnce(&mut TermWriter<'_>)) -> Vec<u8> {
        let mut bytes = vec![0; space];
        let mut writer = TermWriter::new(&mut bytes);
        write(&mut writer);
        let used = writer.len();
        bytes.truncate(used);
        bytes
    }

    #[test]
    fn a_nested_term_reads_back() {
        let bytes = written(200, |w| {
            assert!(w.tuple(3));
            w.element();
            w.atom(4);
            w.element();
            w.integer(-3);
            w.element();
            assert!(w.improper(1));
            w.element();
            w.binary(16, b"ab");
            w.element();
            w.pid(77);
        });
        assert_eq!(
            RawTerm::trusted(&bytes).decode(),
            Ok(Term::Tuple(vec![
                Term::Atom(4),
                Term::Integer(-3),
                Term::Improper(vec![Term::Binary { bits: 16, bytes: b"ab" }], Box::new(Term::Pid(77))),
            ]))
        );
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(skip(&mut cursor), Ok(()));
        assert!(cursor.is_empty());
    }

    #[test]
    fn endless_nesting_is_refused() {
        let bytes: Vec<u8> = [tag::TUPLE, 1].repeat(100_000);
        assert!(matches!(skip(&mut Cursor::new(&bytes)), Err(DecodeError::BadTerm { .. })));
        assert!(matches!(RawTerm::trusted(&bytes).decode(), Err(DecodeError::BadTerm { .. })));
    }
}
