//! Frequent records in one go, from words.
//!
//! The bytes are those of the writers in [`crate::record::write`], which the tests
//! hold them to. Those take terms that were encoded before: a second space, and
//! a copy of what was stored byte by byte a moment ago, which has to wait for the
//! processor's store buffer. And each of those is code of its own, where one piece for
//! all ([`event`]) stays in the processor's cache.

mod sizes;

use crate::codec::{Full, MAX_VARINT, Put, Sink, groups};
use crate::hint::likely;
use crate::record::{Ref, id_of};
use crate::term::tag;

pub use sizes::{SIZES, SIZES_ROOM, sizes};

const MESSAGE: u64 = id_of("message") as u64;
const MESSAGE_OF: u64 = id_of("message_of") as u64;
const REPLY_TO_ALIAS: u64 = id_of("reply_to_alias") as u64;
const PROCESS: u8 = id_of("process");
const PROCESS_INFO: u8 = id_of("process_info");

/// Bytes of the space that an event is written into.
pub const ROOM: usize = 96;

/// What precedes a frequent event: a short record or none, its bytes from the lowest on,
/// how many there are in the highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head(u64);

/// References below take three bytes at most.
const MAX_REFERENCE: Ref = 1 << 21;

impl Head {
    /// No record.
    pub const NONE: Head = Head(0);

    /// The record `message`: a place in [`crate::record::MESSAGE_SHAPES`], and no reference.
    #[inline(always)]
    pub fn message(shape: u64) -> Head {
        Head(3 << 56 | (tag::NONE as u64) << 16 | (shape & 0x7f) << 8 | MESSAGE)
    }

    /// The record `message_of`, with one of the chunk's references; `None` for those
    /// that it has no room for.
    #[inline(always)]
    pub fn message_of(shape: u64, reference: Ref) -> Option<Head> {
        let (bytes, count) = short(reference)?;
        Some(Head(2_u64.wrapping_add(count) << 56 | bytes << 16 | (shape & 0x7f) << 8 | MESSAGE_OF))
    }

    /// The record `reply_to_alias`; `None` as above.
    #[inline(always)]
    pub fn reply_to_alias(reference: Ref) -> Option<Head> {
        let (bytes, count) = short(reference)?;
        Some(Head(1_u64.wrapping_add(count) << 56 | bytes << 8 | REPLY_TO_ALIAS))
    }
}

/// A varint of at most three bytes, and how many they are.
#[inline(always)]
fn short(value: Ref) -> Option<(u64, u64)> {
    if value < 0x80 {
        Some((value, 1))
    } else if value < 0x4000 {
        Some((value & 0x7f | 0x80 | (value & 0x3f80) << 1, 2))
    } else if value < MAX_REFERENCE {
        Some((value & 0x7f | 0x8080 | (value & 0x3f80) << 1 | (value & 0x1f_c000) << 2, 3))
    } else {
        None
    }
}

/// A frequent event: its id, the tag of a term if it has one, and which numbers follow.
#[derive(Debug, Clone, Copy)]
pub struct Kind(u32);

const HAS_TAG: u32 = 1 << 16;
const HAS_WORD: u32 = 1 << 17;
const HAS_LAST: u32 = 1 << 18;

const fn kind(name: &str, tag: u8, has: u32) -> Kind {
    Kind(id_of(name) as u32 | (tag as u32) << 8 | has)
}

impl Kind {
    /// `last` is the function.
    pub const CALL: Kind = kind("call", 0, HAS_LAST);
    /// `last` is the function.
    pub const RETURN_TO: Kind = kind("return_to", 0, HAS_LAST);
    /// `last` is the function.
    pub const IN: Kind = kind("in", 0, HAS_LAST);
    /// `last` is the function.
    pub const OUT: Kind = kind("out", 0, HAS_LAST);
    /// Nothing follows.
    pub const RECEIVE: Kind = kind("receive", 0, 0);
    /// To a local process, the `word`.
    pub const SEND: Kind = kind("send", tag::PID, HAS_TAG | HAS_WORD);
    /// To whom its [`Head::reply_to_alias`] says.
    pub const SEND_REPLY: Kind = kind("send", tag::NONE, HAS_TAG);
    /// Of a local process, the `word`; `last` is the function.
    pub const SPAWN: Kind = kind("spawn", tag::PID, HAS_TAG | HAS_WORD | HAS_LAST);
    /// By a local process, the `word`; `last` is the function.
    pub const SPAWNED: Kind = kind("spawned", tag::PID, HAS_TAG | HAS_WORD | HAS_LAST);
    /// To a local process, the `word`.
    pub const LINK: Kind = kind("link", tag::PID, HAS_TAG | HAS_WORD);
    /// To a local process, the `word`.
    pub const UNLINK: Kind = kind("unlink", tag::PID, HAS_TAG | HAS_WORD);
    /// By a local process, the `word`.
    pub const GETTING_LINKED: Kind = kind("getting_linked", tag::PID, HAS_TAG | HAS_WORD);
    /// By a local process, the `word`.
    pub const GETTING_UNLINKED: Kind = kind("getting_unlinked", tag::PID, HAS_TAG | HAS_WORD);
    /// With [`sizes`].
    pub const GC_MINOR_START: Kind = kind("gc_minor_start", 0, 0);
    /// With [`sizes`].
    pub const GC_MINOR_END: Kind = kind("gc_minor_end", 0, 0);
    /// For a reason that is an atom, `last`.
    pub const EXIT: Kind = kind("exit", tag::ATOM, HAS_TAG | HAS_LAST);

    #[inline(always)]
    fn has(self, part: u32) -> bool {
        self.0 & part != 0
    }
}

/// A frequent event: its kind, what precedes it, and the numbers that follow.
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// What precedes it.
    pub head: Head,
    /// Its kind, which says which numbers it has.
    pub kind: Kind,
    /// The other process.
    pub word: u64,
    /// A reference.
    pub last: Ref,
}

impl Line {
    /// One that has a reference at most.
    #[inline(always)]
    pub fn new(kind: Kind, last: Ref) -> Line {
        Line { head: Head::NONE, kind, word: 0, last }
    }

    /// Are the numbers as short as they nearly always are, and the process said before it?
    #[inline(always)]
    pub fn is_short(&self, process: u64, delta: u64) -> bool {
        self.last >> 14 | (process | self.word | delta) >> 28 == 0
    }
}

/// Writes an event that [`Line::is_short`], of another process than the one before where there is a
/// `process`; says how many bytes that took.
///
/// Places are masked with what they cannot exceed, which takes the place of tests.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "masked; ROOM is for the longest of all")]
pub fn short_event(space: &mut [u8; ROOM], process: Option<u64>, line: Line, delta: u64) -> usize {
    let mut at = put_process(space, process);
    at = begin(space, at, line);
    at = put_delta(space, at, delta);
    if line.kind.has(HAS_TAG) {
        space[at & PLACE] = (line.kind.0 >> 8) as u8;
        at += 1;
        if line.kind.has(HAS_WORD) {
            at = put_word(space, at, line.word);
        }
    }
    if line.kind.has(HAS_LAST) {
        at = put_short(space, at, line.last);
    }
    at
}

/// As [`short_event`], of a kind that has a reference and nothing else.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
pub fn short_function(space: &mut [u8; ROOM], process: Option<u64>, kind: Kind, delta: u64, function: Ref) -> usize {
    let mut at = put_process(space, process);
    space[at & PLACE] = kind.0 as u8;
    at = put_delta(space, at + 1, delta);
    put_short(space, at, function)
}

/// The same with any numbers.
#[cold]
#[inline(never)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
pub fn event(space: &mut [u8; ROOM], process: Option<u64>, line: Line, delta: u64) -> usize {
    let mut at = 0;
    if let Some(word) = process {
        space[0] = PROCESS;
        at = put(space, 1, word);
    }
    at = begin(space, at, line);
    at = put(space, at, delta);
    if line.kind.has(HAS_TAG) {
        space[at & PLACE] = (line.kind.0 >> 8) as u8;
        at += 1;
    }
    if line.kind.has(HAS_WORD) {
        at = put(space, at, line.word);
    }
    if line.kind.has(HAS_LAST) {
        at = put(space, at, line.last);
    }
    at
}

/// Begins of what events write lie below: a process, 7 bytes of a head, an id, a tag, and two varints.
const PLACE: usize = 63;

#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
fn begin(space: &mut [u8; ROOM], at: usize, line: Line) -> usize {
    space[at & PLACE..][..8].copy_from_slice(&line.head.0.to_le_bytes());
    let at = at + ((line.head.0 >> 56) as usize & 7);
    space[at & PLACE] = line.kind.0 as u8;
    at + 1
}

/// The process whose events follow, if it is another.
#[inline(always)]
fn put_process(space: &mut [u8; ROOM], process: Option<u64>) -> usize {
    let Some(word) = process else { return 0 };
    space[0] = PROCESS;
    put_word(space, 1, word)
}

/// A varint below 2^28.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
fn put_word(space: &mut [u8; ROOM], at: usize, word: u64) -> usize {
    let word = word as u32;
    let groups = word & 0x7f | (word & 0x3f80) << 1 | (word & 0x1f_c000) << 2 | (word & 0xfe0_0000) << 3;
    // Eight for each byte but the last.
    let before = (groups | 1).ilog2() & 24;
    let more = 0x0080_8080 & !(u32::MAX << before);
    space[at & PLACE..][..4].copy_from_slice(&(groups | more).to_le_bytes());
    at + 1 + (before >> 3) as usize
}

/// A varint of one or two bytes, probably one.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
fn put_short(space: &mut [u8; ROOM], at: usize, value: u64) -> usize {
    if likely(value < 0x80) {
        space[at & PLACE] = value as u8;
        return at + 1;
    }
    put_two(space, at, value)
}

/// A varint below 2^28, probably of two bytes.
///
/// More than two take pauses of some microseconds, as each look of the kernel's is one: all else is out of
/// the processor's cache then, and code of its own for them would be, too.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
fn put_delta(space: &mut [u8; ROOM], at: usize, value: u64) -> usize {
    if likely(value.wrapping_sub(0x80) < 0x4000 - 0x80) {
        return put_two(space, at, value);
    }
    put_word(space, at, value)
}

#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
fn put_two(space: &mut [u8; ROOM], at: usize, value: u64) -> usize {
    let both = value & 0x7f | 0x80 | (value & 0x3f80) << 1;
    space[at & PLACE..][..2].copy_from_slice(&(both as u16).to_le_bytes());
    at + 2
}

#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
fn put(space: &mut [u8; ROOM], at: usize, value: u64) -> usize {
    let (bytes, count) = groups(value);
    space[at & PLACE..][..8].copy_from_slice(&bytes.to_le_bytes());
    if value >> 56 == 0 {
        return at + count;
    }
    let more = value >> 63;
    space[(at & PLACE) + 8] = (value >> 56 & 0x7f | more << 7) as u8;
    space[(at & PLACE) + 9] = 1;
    at + 9 + more as usize
}

/// The record `process`.
#[inline(always)]
pub fn process<S: Sink>(sink: &mut S, word: u64) -> Result<(), Full> {
    const MAX: usize = 1 + MAX_VARINT;
    let mut put = sink.space(MAX)?;
    put.byte(PROCESS);
    put.long_varint(word);
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
}

/// The record `process_info` of a process that was spawned by a local one.
#[inline(always)]
pub fn process_info<S: Sink>(
    sink: &mut S,
    delta: u64,
    process: u64,
    parent: u64,
    initial_call: Ref,
) -> Result<(), Full> {
    const MAX: usize = 1 + MAX_VARINT + 4 + 3 * MAX_VARINT;
    let mut put = sink.space(MAX)?;
    put.byte(PROCESS_INFO);
    put.varint(delta);
    put.varint(process);
    pid(&mut put, parent);
    put.varint(0);
    put.byte(tag::NONE);
    put.varint(initial_call);
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
}

/// Are the numbers of a fact as short as they nearly always are?
#[inline(always)]
pub fn is_short_info(delta: u64, process: u64, parent: u64, initial_call: Ref) -> bool {
    initial_call >> 14 | (process | parent) >> 28 | delta >> 56 == 0
}

/// As [`process_info`], of what [`is_short_info`]; says how many bytes that took.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see short_event")]
pub fn short_process_info(space: &mut [u8; ROOM], delta: u64, process: u64, parent: u64, initial_call: Ref) -> usize {
    space[0] = PROCESS_INFO;
    let (bytes, count) = groups(delta);
    space[1..9].copy_from_slice(&bytes.to_le_bytes());
    let mut at = put_word(space, 1 + count, process);
    space[at & PLACE] = tag::PID;
    at = put_word(space, at + 1, parent);
    space[at & PLACE] = 0;
    space[(at & PLACE) + 1] = tag::NONE;
    put_short(space, at + 2, initial_call)
}

#[inline(always)]
fn pid(put: &mut Put<'_>, word: u64) {
    put.byte(tag::PID);
    put.long_varint(word);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::write;
    use crate::term::{RawTerm, TermWriter};

    fn term(encode: impl FnOnce(&mut TermWriter<'_>)) -> Vec<u8> {
        let mut space = vec![0; 256];
        let mut writer = TermWriter::new(&mut space);
        encode(&mut writer);
        let used = writer.len();
        space.truncate(used);
        space
    }

    pub(super) fn bytes(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Full>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes).expect("a Vec is never full");
        bytes
    }

    fn brief(process: Option<u64>, line: Line, delta: u64) -> Vec<u8> {
        let mut space = [0xee; ROOM];
        let used = event(&mut space, process, line, delta);
        let bytes = space[..used].to_vec();
        if line.is_short(process.unwrap_or_default(), delta) {
            let used = short_event(&mut space, process, line, delta);
            assert_eq!(space[..used], bytes);
            if line.head == Head::NONE && line.kind.0 >> 8 == HAS_LAST >> 8 {
                let used = short_function(&mut space, process, line.kind, delta, line.last);
                assert_eq!(space[..used], bytes);
            }
        }
        bytes
    }

    /// Numbers of every length.
    pub(super) fn number() -> impl Strategy<Value = u64> {
        // Short ones more often than others, as they are.
        (any::<u64>(), prop_oneof![0..64_u32, 36..64_u32]).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn events_are_those_of_the_table(delta in number(), word in number(), last in number()) {
            let pid = term(|writer| writer.pid(word));
            let pid = RawTerm::trusted(&pid);
            let atom = term(|writer| writer.atom(last));
            let of = |kind| brief(None, Line { word, ..Line::new(kind, last) }, delta);
            prop_assert_eq!(of(Kind::CALL), bytes(|s| write::call(s, delta, last)));
            prop_assert_eq!(of(Kind::RETURN_TO), bytes(|s| write::return_to(s, delta, last)));
            prop_assert_eq!(of(Kind::IN), bytes(|s| write::in_(s, delta, last)));
            prop_assert_eq!(of(Kind::OUT), bytes(|s| write::out(s, delta, last)));
            prop_assert_eq!(of(Kind::RECEIVE), bytes(|s| write::receive(s, delta)));
            prop_assert_eq!(of(Kind::SEND), bytes(|s| write::send(s, delta, pid)));
            prop_assert_eq!(of(Kind::SEND_REPLY), bytes(|s| write::send(s, delta, RawTerm::NONE)));
            prop_assert_eq!(of(Kind::SPAWN), bytes(|s| write::spawn(s, delta, pid, last)));
            prop_assert_eq!(of(Kind::SPAWNED), bytes(|s| write::spawned(s, delta, pid, last)));
            prop_assert_eq!(of(Kind::LINK), bytes(|s| write::link(s, delta, pid)));
            prop_assert_eq!(of(Kind::UNLINK), bytes(|s| write::unlink(s, delta, pid)));
            prop_assert_eq!(of(Kind::GETTING_LINKED), bytes(|s| write::getting_linked(s, delta, pid)));
            prop_assert_eq!(of(Kind::GETTING_UNLINKED), bytes(|s| write::getting_unlinked(s, delta, pid)));
            prop_assert_eq!(of(Kind::EXIT), bytes(|s| write::exit(s, delta, RawTerm::trusted(&atom))));
        }

        #[test]
        fn what_precedes_an_event_is_of_the_table(
            delta in number(),
            shape in 0..0x80_u64,
            reference in number(),
            word in number(),
        ) {
            let event = bytes(|s| write::receive(s, delta));
            let after = |process, head| {
                let line = Line { head, word, ..Line::new(Kind::RECEIVE, word) };
                brief(process, line, delta).strip_suffix(&event[..]).map(<[u8]>::to_vec)
            };
            let before = |head| after(None, head);
            prop_assert_eq!(after(Some(word), Head::NONE), Some(bytes(|s| write::process(s, 0, word))));
            prop_assert_eq!(before(Head::message(shape)), Some(bytes(|s| write::message(s, 0, shape, RawTerm::NONE))));
            let fits = reference < MAX_REFERENCE;
            prop_assert_eq!(
                Head::message_of(shape, reference).map(before),
                fits.then(|| Some(bytes(|s| write::message_of(s, 0, shape, reference))))
            );
            prop_assert_eq!(
                Head::reply_to_alias(reference).map(before),
                fits.then(|| Some(bytes(|s| write::reply_to_alias(s, 0, reference))))
            );
        }

        #[test]
        fn the_longest_of_all_has_room(word in number()) {
            let head = Head::message_of(0x7f, MAX_REFERENCE - 1).expect("three bytes");
            let pid = term(|writer| writer.pid(word));
            let by_table = bytes(|s| {
                write::process(s, 0, u64::MAX)?;
                write::message_of(s, 0, 0x7f, MAX_REFERENCE - 1)?;
                write::spawn(s, u64::MAX, RawTerm::trusted(&pid), u64::MAX)
            });
            let line = Line { head, word, ..Line::new(Kind::SPAWN, u64::MAX) };
            prop_assert_eq!(brief(Some(u64::MAX), line, u64::MAX), by_table);
        }

        #[test]
        fn processes_are_those_of_the_table(delta in number(), word in number(), other in number(), of in number()) {
            let pid = term(|writer| writer.pid(word));
            let pid = RawTerm::trusted(&pid);
            prop_assert_eq!(bytes(|s| process(s, word)), bytes(|s| write::process(s, 0, word)));
            let parent = word;
            if is_short_info(delta, other, parent, of) {
                let mut space = [0xee; ROOM];
                let used = short_process_info(&mut space, delta, other, parent, of);
                prop_assert_eq!(&space[..used], &bytes(|s| process_info(s, delta, other, parent, of))[..]);
            }
            prop_assert_eq!(
                bytes(|s| process_info(s, delta, other, word, of)),
                bytes(|s| write::process_info(s, delta, other, pid, 0, RawTerm::NONE, of))
            );
        }
    }
}
