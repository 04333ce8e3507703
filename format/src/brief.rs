//! Frequent records in one go, from words.
//!
//! The bytes are those of the writers in [`crate::record::write`], which the tests
//! hold them to. Those take terms that were encoded before: a second space, and
//! a copy of what was stored byte by byte a moment ago, which has to wait for the
//! processor's store buffer.

use crate::codec::{Full, MAX_VARINT, Put, Sink};
use crate::record::{Ref, id_of};
use crate::reference::REFERENCE_NUMBERS;
use crate::term::tag;

/// Most bytes of a reference: what is written is up to 8 bytes at a time.
const MAX_REFERENCE: usize = 2 + REFERENCE_NUMBERS * MAX_VARINT;
const MAX_MESSAGE: usize = 1 + 2 * MAX_VARINT;
const MAX_TIMED: usize = 1 + MAX_VARINT;

const MESSAGE: u8 = id_of("message");
const MESSAGE_OF: u8 = id_of("message_of");
const REPLY_TO_ALIAS: u8 = id_of("reply_to_alias");
const PROCESS: u8 = id_of("process");
const SEND: u8 = id_of("send");
const RECEIVE: u8 = id_of("receive");
const SPAWN: u8 = id_of("spawn");
const SPAWNED: u8 = id_of("spawned");
const EXIT: u8 = id_of("exit");
const PROCESS_INFO: u8 = id_of("process_info");

/// What a message is: a place in [`crate::record::MESSAGE_SHAPES`], and which of the
/// chunk's references it carries, 0 for none.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// The shape.
    pub shape: u64,
    /// The reference.
    pub reference: Ref,
}

/// To whom a message is sent.
#[derive(Debug, Clone, Copy)]
pub enum To<'a> {
    /// A local process's word.
    Pid(u64),
    /// An alias: its numbers, at most [`REFERENCE_NUMBERS`].
    Alias(&'a [u64]),
}

/// The record `message` or `message_of`, if there is something to say, and `send`.
#[inline(always)]
pub fn send<S: Sink>(sink: &mut S, delta: u64, about: Option<About>, to: To<'_>) -> Result<(), Full> {
    const MAX: usize = MAX_MESSAGE + MAX_TIMED + MAX_REFERENCE;
    let mut put = sink.space(MAX)?;
    message(&mut put, about);
    timed(&mut put, SEND, delta);
    match to {
        To::Pid(word) => pid(&mut put, word),
        To::Alias(numbers) => reference(&mut put, numbers),
    }
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
}

/// The record `reply_to_alias`, and its `send`.
#[inline(always)]
pub fn reply_to_alias<S: Sink>(sink: &mut S, delta: u64, reference: Ref) -> Result<(), Full> {
    const MAX: usize = MAX_MESSAGE + MAX_TIMED + 1;
    let mut put = sink.space(MAX)?;
    put.byte(REPLY_TO_ALIAS);
    put.varint(reference);
    timed(&mut put, SEND, delta);
    put.byte(tag::NONE);
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
}

/// The record `message` or `message_of`, if there is something to say, and `receive`.
#[inline(always)]
pub fn receive<S: Sink>(sink: &mut S, delta: u64, about: Option<About>) -> Result<(), Full> {
    const MAX: usize = MAX_MESSAGE + MAX_TIMED;
    let mut put = sink.space(MAX)?;
    message(&mut put, about);
    timed(&mut put, RECEIVE, delta);
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
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

/// The record `spawn` of a local process.
#[inline(always)]
pub fn spawn<S: Sink>(sink: &mut S, delta: u64, child: u64, function: Ref) -> Result<(), Full> {
    pid_and_function(sink, SPAWN, delta, child, function)
}

/// The record `spawned` by a local process.
#[inline(always)]
pub fn spawned<S: Sink>(sink: &mut S, delta: u64, parent: u64, function: Ref) -> Result<(), Full> {
    pid_and_function(sink, SPAWNED, delta, parent, function)
}

#[inline(always)]
fn pid_and_function<S: Sink>(sink: &mut S, id: u8, delta: u64, word: u64, function: Ref) -> Result<(), Full> {
    const MAX: usize = MAX_TIMED + 1 + 2 * MAX_VARINT;
    let mut put = sink.space(MAX)?;
    timed(&mut put, id, delta);
    pid(&mut put, word);
    put.varint(function);
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
}

/// The record `exit` for a reason that is an atom.
#[inline(always)]
pub fn exit<S: Sink>(sink: &mut S, delta: u64, atom: Ref) -> Result<(), Full> {
    const MAX: usize = MAX_TIMED + 1 + MAX_VARINT;
    let mut put = sink.space(MAX)?;
    timed(&mut put, EXIT, delta);
    put.byte(tag::ATOM);
    put.varint(atom);
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
    const MAX: usize = MAX_TIMED + 4 + 3 * MAX_VARINT;
    let mut put = sink.space(MAX)?;
    timed(&mut put, PROCESS_INFO, delta);
    put.varint(process);
    pid(&mut put, parent);
    put.varint(0);
    put.byte(tag::NONE);
    put.varint(initial_call);
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
}

#[inline(always)]
fn timed(put: &mut Put<'_>, id: u8, delta: u64) {
    put.byte(id);
    put.varint(delta);
}

#[inline(always)]
fn message(put: &mut Put<'_>, about: Option<About>) {
    let Some(About { shape, reference }) = about else { return };
    if reference == 0 {
        put.byte(MESSAGE);
        put.varint(shape);
        put.byte(tag::NONE);
    } else {
        put.byte(MESSAGE_OF);
        put.varint(shape);
        put.varint(reference);
    }
}

#[inline(always)]
fn pid(put: &mut Put<'_>, word: u64) {
    put.byte(tag::PID);
    put.long_varint(word);
}

#[inline(always)]
fn reference(put: &mut Put<'_>, numbers: &[u64]) {
    put.byte(tag::REFERENCE);
    put.varint(numbers.len() as u64);
    for number in numbers {
        put.long_varint(*number);
    }
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

    fn reference_term(numbers: &[u64]) -> Vec<u8> {
        term(|writer| writer.reference(numbers))
    }

    fn bytes(write: impl FnOnce(&mut Vec<u8>) -> Result<(), Full>) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes).expect("a Vec is never full");
        bytes
    }

    /// Numbers of every length.
    fn number() -> impl Strategy<Value = u64> {
        (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
    }

    proptest! {
        #[test]
        fn messages_are_those_of_the_table(
            delta in number(),
            shape in prop::option::of(number()),
            reference in prop_oneof![Just(0), number()],
            alias in prop::collection::vec(number(), 1..=REFERENCE_NUMBERS),
            word in number(),
        ) {
            let about = shape.map(|shape| About { shape, reference });
            let by_table = |event: &dyn Fn(&mut Vec<u8>) -> Result<(), Full>| bytes(|sink| {
                match shape {
                    Some(shape) if reference == 0 => write::message(sink, 0, shape, RawTerm::NONE)?,
                    Some(shape) => write::message_of(sink, 0, shape, reference)?,
                    None => {}
                }
                event(sink)
            });
            let pid = term(|writer| writer.pid(word));
            let to = reference_term(&alias);
            prop_assert_eq!(bytes(|sink| receive(sink, delta, about)), by_table(&|sink| write::receive(sink, delta)));
            prop_assert_eq!(
                bytes(|sink| send(sink, delta, about, To::Pid(word))),
                by_table(&|sink| write::send(sink, delta, RawTerm::trusted(&pid)))
            );
            prop_assert_eq!(
                bytes(|sink| send(sink, delta, about, To::Alias(&alias))),
                by_table(&|sink| write::send(sink, delta, RawTerm::trusted(&to)))
            );
        }

        #[test]
        fn replies_are_those_of_the_table(delta in number(), reference in number()) {
            let by_table = bytes(|sink| {
                write::reply_to_alias(sink, 0, reference)?;
                write::send(sink, delta, RawTerm::NONE)
            });
            prop_assert_eq!(bytes(|sink| reply_to_alias(sink, delta, reference)), by_table);
        }

        #[test]
        fn processes_are_those_of_the_table(delta in number(), word in number(), other in number(), of in number()) {
            let pid = term(|writer| writer.pid(word));
            let pid = RawTerm::trusted(&pid);
            let atom = term(|writer| writer.atom(of));
            prop_assert_eq!(bytes(|s| process(s, word)), bytes(|s| write::process(s, 0, word)));
            prop_assert_eq!(bytes(|s| spawn(s, delta, word, of)), bytes(|s| write::spawn(s, delta, pid, of)));
            prop_assert_eq!(bytes(|s| spawned(s, delta, word, of)), bytes(|s| write::spawned(s, delta, pid, of)));
            prop_assert_eq!(
                bytes(|s| exit(s, delta, of)),
                bytes(|s| write::exit(s, delta, RawTerm::trusted(&atom)))
            );
            prop_assert_eq!(
                bytes(|s| process_info(s, delta, other, word, of)),
                bytes(|s| write::process_info(s, delta, other, pid, 0, RawTerm::NONE, of))
            );
        }
    }
}
