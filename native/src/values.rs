//! Terms of the VM into the recording's own encoding: bounded in size and depth,
//! without allocation, and without content unless it was asked for.

use spoor_core::stream::Stream;
use spoor_format::Full;
use spoor_format::term::{HiddenType, RawTerm, TermWriter};

use crate::bits;
use crate::vm::{self, BoxedKind, Env, Kind, VmNames, Word};

/// Most bytes a term may take in a recording, whatever is asked for.
pub(crate) const MAX_TERM_BYTES: usize = 4096;
/// Bytes for terms that say who or why: destinations, reasons, names.
const SHAPE_BYTES: usize = 256;
/// Elements of a list or tuple that are looked at.
const MAX_ELEMENTS: usize = 64;
/// Levels of nesting that are looked at.
const MAX_DEPTH: usize = 8;

/// Words of the largest integer that is printed: some 115 digits, what
/// `Encoder::printed` has room for. The VM prints in the square of the size: an
/// integer of a million bits would keep the thread for seconds.
const MAX_PRINTED_WORDS: u64 = 6;

/// How much of a term is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Atoms, pids, ports, references and structure; types and sizes of the rest.
    Shape,
    /// Everything that fits.
    Full,
}

/// Encodes the shape of a term, with the atoms it needs, and hands it to `write`.
pub(crate) fn shape(
    stream: &mut Stream,
    env: Env,
    term: Word,
    write: impl FnOnce(&mut Stream, RawTerm<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    // Most of what is asked for, and short.
    let mut space = [0; 96];
    let mut to = TermWriter::new(&mut space);
    if vm::kind(term) == Kind::Pid && term != vm::INVALID_PID {
        to.pid(vm::identity_word(term));
    } else if vm::kind(term) == Kind::Boxed
        && let Some(reference) = vm::reference(term)
    {
        to.reference(reference.told().numbers());
    }
    let used = to.len();
    if used > 0 {
        return write(stream, RawTerm::trusted(&space[..used]));
    }
    any_shape(stream, env, term, write)
}

#[inline(never)]
fn any_shape(
    stream: &mut Stream,
    env: Env,
    term: Word,
    write: impl FnOnce(&mut Stream, RawTerm<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    let mut space = [0; SHAPE_BYTES];
    let used = encode(stream, env, term, Detail::Shape, &mut space)?;
    write(stream, RawTerm::trusted(&space[..used]))
}

/// Encodes as much of a term as fits into `limit` bytes, and hands it to `write`.
pub(crate) fn full(
    stream: &mut Stream,
    env: Env,
    term: Word,
    limit: usize,
    write: impl FnOnce(&mut Stream, RawTerm<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    let mut space = [0; MAX_TERM_BYTES];
    let limit = limit.clamp(64, MAX_TERM_BYTES);
    let used = encode(stream, env, term, Detail::Full, &mut space[..limit])?;
    write(stream, RawTerm::trusted(&space[..used]))
}

fn encode(stream: &mut Stream, env: Env, term: Word, detail: Detail, space: &mut [u8]) -> Result<usize, Full> {
    let mut encoder = Encoder { stream, env, detail, to: TermWriter::new(space) };
    encoder.term(term, 0)?;
    Ok(encoder.to.len())
}

struct Encoder<'a> {
    /// Where atoms are defined.
    stream: &'a mut Stream,
    env: Env,
    detail: Detail,
    to: TermWriter<'a>,
}

impl Encoder<'_> {
    fn term(&mut self, term: Word, depth: usize) -> Result<(), Full> {
        match vm::kind(term) {
            Kind::Atom => {
                let reference = self.stream.atom(term, &VmNames(self.env))?;
                self.to.atom(reference);
            }
            // A port's message may have no receiver that the VM could name.
            Kind::Pid if term == vm::INVALID_PID => self.to.none(),
            Kind::Pid => self.to.pid(vm::identity_word(term)),
            Kind::Port => self.to.port(vm::identity_word(term)),
            Kind::Nil => self.to.nil(),
            Kind::SmallInteger => self.integer(term),
            Kind::Other => self.to.elided(),
            Kind::List | Kind::Boxed if depth >= MAX_DEPTH => self.to.elided(),
            Kind::List => self.list(term, depth)?,
            Kind::Boxed => self.boxed(term, depth)?,
        }
        Ok(())
    }

    fn integer(&mut self, term: Word) {
        match (self.detail, vm::integer(self.env, term)) {
            (Detail::Shape, _) => self.to.hidden(HiddenType::Integer, 0),
            (Detail::Full, Some(value)) => self.to.integer(value),
            (Detail::Full, None) if vm::boxed_words(term) <= MAX_PRINTED_WORDS => self.printed(term),
            (Detail::Full, None) => self.to.elided(),
        }
    }

    fn printed(&mut self, term: Word) {
        let mut space = [0; 128];
        self.to.printed(vm::printed(term, &mut space));
    }

    fn boxed(&mut self, term: Word, depth: usize) -> Result<(), Full> {
        match (vm::boxed_kind(self.env, term), self.detail) {
            (BoxedKind::Tuple, _) => self.tuple(term, depth)?,
            (BoxedKind::Reference, _) => match vm::reference(term) {
                Some(reference) => self.to.reference(reference.told().numbers()),
                None => self.to.printed(vm::printed_reference(term, &mut [0; 128])),
            },
            (BoxedKind::Pid | BoxedKind::Port, _) => self.printed(term),
            (BoxedKind::Integer, _) => self.integer(term),
            (BoxedKind::Float, Detail::Full) => self.to.float(vm::float(self.env, term).unwrap_or(f64::NAN)),
            (BoxedKind::Float, Detail::Shape) => self.to.hidden(HiddenType::Float, 0),
            (BoxedKind::Bitstring, _) => self.bitstring(term),
            (BoxedKind::Map, _) => self.map(term, depth)?,
            (BoxedKind::Fun, Detail::Full) => self.printed(term),
            (BoxedKind::Fun, Detail::Shape) => self.to.hidden(HiddenType::Fun, 0),
            (BoxedKind::Other, _) => self.to.hidden(HiddenType::Other, 0),
        }
        Ok(())
    }

    fn bitstring(&mut self, term: Word) {
        let span = bits::span(term);
        // The bytes of one that begins or ends within a byte are not kept: the VM
        // would copy all of it for them. Of an unknown layout that is the price.
        let can_look = self.detail == Detail::Full && span.is_none_or(|span| span.whole_bytes);
        match can_look.then(|| bits::bytes(self.env, term)).flatten() {
            Some(bytes) => self.to.binary(8 * bytes.len() as u64, bytes),
            None => self.to.hidden(HiddenType::Binary, span.map_or(0, |span| span.bits.div_ceil(8))),
        }
    }

    fn element(&mut self, term: Word, depth: usize) -> Result<(), Full> {
        self.to.element();
        self.term(term, depth + 1)
    }

    fn tuple(&mut self, term: Word, depth: usize) -> Result<(), Full> {
        let elements = vm::tuple(term).unwrap_or_default();
        if elements.len() > MAX_ELEMENTS {
            self.to.elided();
            return Ok(());
        }
        if self.to.tuple(elements.len()) {
            for element in elements {
                self.element(*element, depth)?;
            }
        }
        Ok(())
    }

    fn list(&mut self, list: Word, depth: usize) -> Result<(), Full> {
        // A list of integers may be text, which is content.
        let text = vm::cell(list).is_some_and(|(head, _)| vm::kind(head) == Kind::SmallInteger);
        if text && self.detail == Detail::Shape {
            self.to.hidden(HiddenType::List, 0);
            return Ok(());
        }
        // Where not all can be shown, its beginning is.
        let (count, end) = measure(list, MAX_ELEMENTS.min(self.to.room().saturating_sub(1)));
        let announced = match end {
            End::Nil => self.to.list(count),
            End::More => self.to.list(count + 1),
            End::Improper(_) => self.to.improper(count),
        };
        if !announced {
            return Ok(());
        }
        let mut rest = list;
        for _ in 0..count {
            let Some((head, tail)) = vm::cell(rest) else { break };
            self.element(head, depth)?;
            rest = tail;
        }
        match end {
            End::Nil => {}
            End::More => {
                self.to.element();
                self.to.elided();
            }
            End::Improper(tail) => self.element(tail, depth)?,
        }
        Ok(())
    }

    fn map(&mut self, map: Word, depth: usize) -> Result<(), Full> {
        let pairs = vm::map_size(self.env, map);
        if self.detail == Detail::Shape || pairs > 32 {
            self.to.hidden(HiddenType::Map, pairs as u64);
            return Ok(());
        }
        if self.to.map(pairs) {
            let env = self.env;
            vm::each_pair(env, map, |key, value| {
                self.element(key, depth)?;
                self.element(value, depth)
            })?;
        }
        Ok(())
    }
}

/// How a list goes on behind the elements that are looked at.
enum End {
    Nil,
    More,
    Improper(Word),
}

/// How many elements to look at, `most` or fewer, and what follows them.
fn measure(list: Word, most: usize) -> (usize, End) {
    let (mut count, mut rest) = (0, list);
    while let Some((_, tail)) = vm::cell(rest) {
        if count == most {
            return (count, End::More);
        }
        (count, rest) = (count + 1, tail);
    }
    (count, if rest == vm::NIL { End::Nil } else { End::Improper(rest) })
}

/// Encodes the whole of a short term into `space`; `none` when it is `absent`.
pub(crate) fn encode_unless<'a>(
    stream: &mut Stream,
    env: Env,
    term: Word,
    absent: Word,
    space: &'a mut [u8],
) -> Result<RawTerm<'a>, Full> {
    if term == absent {
        return Ok(RawTerm::NONE);
    }
    let used = encode(stream, env, term, Detail::Full, space)?;
    Ok(RawTerm::trusted(&space[..used]))
}
