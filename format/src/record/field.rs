//! The types that fields of records have: how each is written, read, stepped over.

use crate::codec::{Cursor, MAX_VARINT, Put};
use crate::record::Ref;
use crate::term::RawTerm;
use crate::{DecodeError, term};

/// How a field is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A varint.
    Uint,
    /// A varint: 0 for none, else 1 + the number of an atom of this chunk.
    Atom,
    /// A varint: 0 for none, else 1 + the number of a function of this chunk.
    Function,
    /// A varint length and that many bytes of UTF-8.
    Text,
    /// A term in the encoding of [`crate::term`].
    Term,
    /// A varint count and that many varints.
    Words,
}

impl FieldType {
    /// All types, with the names they have in the text of a [`Schema`].
    pub const ALL: [(FieldType, &'static str); 6] = [
        (FieldType::Uint, "uint"),
        (FieldType::Atom, "atom"),
        (FieldType::Function, "function"),
        (FieldType::Text, "text"),
        (FieldType::Term, "term"),
        (FieldType::Words, "words"),
    ];

    /// The name in the text of a [`Schema`].
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(t, _)| *t == self).map_or("?", |(_, name)| name)
    }

    pub(super) fn parse(name: &str) -> Option<FieldType> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(t, _)| *t)
    }

    pub(super) fn skip(self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        match self {
            FieldType::Uint | FieldType::Atom | FieldType::Function => cursor.varint().map(drop),
            FieldType::Text => <types::Text as Field>::decode(cursor).map(drop),
            FieldType::Term => term::skip(cursor),
            FieldType::Words => <types::Words as Field>::decode(cursor).map(drop),
        }
    }
}

/// A list of numbers, already known to be well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawWords<'a>(&'a [u8]);

impl<'a> RawWords<'a> {
    /// The numbers.
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        let mut cursor = Cursor::new(self.0);
        std::iter::from_fn(move || if cursor.is_empty() { None } else { cursor.varint().ok() })
    }
}

/// Encoding and decoding of one field.
pub trait Field {
    /// What a reader gets.
    type Value<'a>;
    /// What a writer gives.
    type Arg<'a>: Copy;
    /// Most bytes that `arg` can take.
    fn max_len(arg: Self::Arg<'_>) -> usize;
    /// Writes it.
    fn encode(arg: Self::Arg<'_>, put: &mut Put<'_>);
    /// Reads it.
    fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<Self::Value<'a>, DecodeError>;
    /// Tells of what it refers to.
    #[inline(always)]
    fn refers<'a>(_: Self::Value<'a>, _: &mut impl FnMut(Refers<'a>)) {}
}

/// What a field refers to.
#[derive(Debug, Clone, Copy)]
pub enum Refers<'a> {
    /// An atom, or none.
    Atom(Ref),
    /// A function, or none.
    Function(Ref),
    /// Whatever atoms are in a term.
    Term(RawTerm<'a>),
}

/// The field types as the table names them.
pub mod types {
    use super::*;

    macro_rules! number {
        ($($name:ident $($refers:expr)?),*) => { $(
            #[doc = concat!("See [`FieldType::", stringify!($name), "`].")]
            #[derive(Debug)]
            pub struct $name;
            impl Field for $name {
                type Value<'a> = u64;
                type Arg<'a> = u64;
                #[inline(always)]
                fn max_len(_: u64) -> usize { MAX_VARINT }
                #[inline(always)]
                fn encode(arg: u64, put: &mut Put<'_>) { put.varint(arg) }
                #[inline(always)]
                fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<u64, DecodeError> { cursor.varint() }
                $(
                    #[inline(always)]
                    fn refers<'a>(reference: u64, look: &mut impl FnMut(Refers<'a>)) { look($refers(reference)) }
                )?
            }
        )* };
    }
    number!(Uint, Atom Refers::Atom, Function Refers::Function);

    /// See [`FieldType::Text`].
    #[derive(Debug)]
    pub struct Text;
    impl Field for Text {
        type Value<'a> = &'a str;
        type Arg<'a> = &'a str;
        fn max_len(arg: &str) -> usize {
            MAX_VARINT.saturating_add(arg.len())
        }
        fn encode(arg: &str, put: &mut Put<'_>) {
            put.varint(arg.len() as u64);
            put.bytes(arg.as_bytes());
        }
        fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
            let offset = cursor.offset();
            let len = cursor.varint()?;
            std::str::from_utf8(cursor.take(len)?).map_err(|_| DecodeError::NotUtf8 { offset })
        }
    }

    /// See [`FieldType::Term`].
    #[derive(Debug)]
    pub struct Term;
    impl Field for Term {
        type Value<'a> = RawTerm<'a>;
        type Arg<'a> = RawTerm<'a>;
        fn max_len(arg: RawTerm<'_>) -> usize {
            arg.bytes().len()
        }
        fn encode(arg: RawTerm<'_>, put: &mut Put<'_>) {
            put.bytes(arg.bytes());
        }
        fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<RawTerm<'a>, DecodeError> {
            let start = cursor.offset();
            term::skip(cursor)?;
            Ok(RawTerm::trusted(cursor.since(start)))
        }
        #[inline(always)]
        fn refers<'a>(term: RawTerm<'a>, look: &mut impl FnMut(Refers<'a>)) {
            look(Refers::Term(term));
        }
    }

    /// See [`FieldType::Words`].
    #[derive(Debug)]
    pub struct Words;
    impl Field for Words {
        type Value<'a> = RawWords<'a>;
        type Arg<'a> = &'a [u64];
        fn max_len(arg: &[u64]) -> usize {
            MAX_VARINT.saturating_mul(arg.len().saturating_add(1))
        }
        fn encode(arg: &[u64], put: &mut Put<'_>) {
            put.varint(arg.len() as u64);
            for word in arg {
                put.varint(*word);
            }
        }
        fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<RawWords<'a>, DecodeError> {
            let count = cursor.varint()?;
            let start = cursor.offset();
            cursor.skip_varints(count)?;
            Ok(RawWords(cursor.since(start)))
        }
    }
}
