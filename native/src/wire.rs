//! What kind of message it is, and the reference it carries: what joins a request
//! with its reply. Reads words in place; nothing else of a message is looked at.

use spoor_core::stream::Stream;
use spoor_format::Full;
use spoor_format::brief::Head;
use spoor_format::record::{Ref, write};
use spoor_format::term::RawTerm;

use crate::atoms;
use crate::values;
use crate::vm::{self, BoxedKind, Env, Kind, Word};

/// Places in `spoor_format::record::MESSAGE_SHAPES`.
mod shape {
    pub(super) const CALL: u64 = 0;
    pub(super) const CAST: u64 = 1;
    pub(super) const REPLY: u64 = 2;
    pub(super) const DOWN: u64 = 3;
    pub(super) const EVENT_CALL: u64 = 4;
    pub(super) const NOTIFY: u64 = 5;
    pub(super) const SYSTEM: u64 = 6;
}

/// What there is to say of a message: its shape, and the reference that it carries. Two
/// words, which stay in registers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    /// With [`Message::PRINTED`] where only the VM can read the reference.
    shape: u64,
    /// 0 for none.
    reference: Word,
}

impl Message {
    /// Nothing.
    pub(crate) const OTHER: Message = Message { shape: 0x100, reference: 0 };
    /// Only the VM can read the reference.
    const PRINTED: u64 = 0x200;
    /// The reference names a process.
    const NAMES_PROCESS: u64 = 0x400;

    fn of(shape: u64) -> Message {
        Message { shape, reference: 0 }
    }

    /// With a reference that is read in place.
    #[inline(always)]
    fn with(shape: u64, reference: Word) -> Option<Message> {
        let names_process = vm::is_boxed(reference).then(|| vm::names_process(reference))??;
        Some(Message { shape: shape | if names_process { Message::NAMES_PROCESS } else { 0 }, reference })
    }

    /// Has [`annotate`] to look at it?
    #[inline(always)]
    pub(crate) fn is_printed(&self) -> bool {
        self.shape & Message::PRINTED != 0
    }

    /// A place in `spoor_format::record::MESSAGE_SHAPES`, if it is of a known shape.
    #[inline(always)]
    pub(crate) fn shape(&self) -> u64 {
        self.shape & 0xff
    }

    /// The reference that it carries.
    #[inline(always)]
    pub(crate) fn reference(&self) -> Option<Word> {
        (self.reference != 0).then_some(self.reference)
    }

    /// Is it the reply with this reference?
    #[inline(always)]
    pub(crate) fn replies_to(&self, alias: Word) -> bool {
        self.shape() == shape::REPLY
            && (self.reference == alias
                || vm::is_boxed(alias) && vm::reference(alias).is_some_and(|alias| self.is_about(&alias)))
    }

    #[inline(always)]
    fn is_about(&self, alias: &vm::Reference) -> bool {
        vm::reference(self.reference).is_some_and(|reference| reference.is(alias))
    }

    /// What precedes its event in the chunk; `None` for what is not said so shortly.
    #[inline(always)]
    pub(crate) fn head(&self, stream: &mut Stream) -> Option<Head> {
        if self.reference == 0 {
            return Some(if *self == Message::OTHER { Head::NONE } else { Head::message(self.shape()) });
        }
        Head::message_of(self.shape(), self.define(stream).ok()?)
    }

    /// The chunk's number of its reference, which is read in place.
    #[inline(always)]
    pub(crate) fn define(&self, stream: &mut Stream) -> Result<Ref, Full> {
        let names_process = self.shape & Message::NAMES_PROCESS != 0;
        stream.reference(vm::Reference::read(self.reference, names_process).halves())
    }
}

/// Reads a message. Those that are calls and replies, by words alone.
#[inline(always)]
pub(crate) fn read(env: Env, message: Word) -> Message {
    if !vm::is_boxed(message) {
        return Message::OTHER;
    }
    let first = vm::boxed_word(message, 1);
    let (shape, tag) = match vm::boxed_word(message, 0) {
        vm::PAIR => (shape::REPLY, first),
        vm::TRIPLE if first == atoms::GEN_CALL.word() => {
            let from = vm::boxed_word(message, 2);
            if !vm::is_boxed(from) || vm::boxed_word(from, 0) != vm::PAIR {
                return Message::OTHER;
            }
            (shape::CALL, vm::boxed_word(from, 2))
        }
        _ => return read_rare(env, message),
    };
    let reference = match vm::cell(tag) {
        Some((head, tail)) if head == atoms::ALIAS.word() => tail,
        Some(_) => return read_rare(env, message),
        None => tag,
    };
    match Message::with(shape, reference) {
        Some(message) => message,
        None => read_rare(env, message),
    }
}

#[cold]
#[inline(never)]
fn read_rare(env: Env, message: Word) -> Message {
    let Some(elements) = vm::tuple(message) else { return Message::OTHER };
    let (shape, reference) = match *elements {
        [tag, _] if tag == atoms::GEN_CAST.word() => return Message::of(shape::CAST),
        [tag, _] if tag == atoms::NOTIFY.word() => return Message::of(shape::NOTIFY),
        [tag, _] => (shape::REPLY, reference(env, tag)),
        [tag, from, _] if tag == atoms::GEN_CALL.word() => (shape::CALL, tag_of(env, from)),
        [tag, from, _] if tag == atoms::SYSTEM.word() => (shape::SYSTEM, tag_of(env, from)),
        [pid, from, _] if is_pid(env, pid) => (shape::EVENT_CALL, tag_of(env, from)),
        [tag, down, _, _, _] if tag == atoms::DOWN.word() => (shape::DOWN, reference(env, down)),
        _ => return Message::OTHER,
    };
    match reference {
        Some(reference) => {
            Message::with(shape, reference).unwrap_or(Message { shape: shape | Message::PRINTED, reference })
        }
        None => Message::OTHER,
    }
}

/// Writes the annotation of a message, if it is of a known shape.
pub(crate) fn annotate(stream: &mut Stream, env: Env, message: Word) -> Result<(), Full> {
    let read = read(env, message);
    match read.reference() {
        _ if read == Message::OTHER => Ok(()),
        None => write::message(stream, 0, read.shape(), RawTerm::NONE),
        Some(reference) if read.is_printed() => {
            values::shape(stream, env, reference, |s, reference| write::message(s, 0, read.shape(), reference))
        }
        Some(_) => {
            let reference = read.define(stream)?;
            write::message_of(stream, 0, read.shape(), reference)
        }
    }
}

/// The reference of `{Pid, Tag}`.
fn tag_of(env: Env, from: Word) -> Option<Word> {
    let &[_, tag] = vm::tuple(from)? else { return None };
    reference(env, tag)
}

/// What is one for each request: the reference of `Ref` or `[alias | Ref]`, the second of
/// `[[alias | Ref] | Ref]` (several requests share the first), and all of `{Ref, Node}`.
fn reference(env: Env, tag: Word) -> Option<Word> {
    match vm::cell(tag) {
        Some((head, tail)) if head == atoms::ALIAS.word() => is_reference(env, tail).then_some(tail),
        None if is_reference(env, tag) => Some(tag),
        other => rare_reference(env, tag, other),
    }
}

/// As `multi_call` has them; `cell` is the tag's, if it is a list.
fn rare_reference(env: Env, tag: Word, cell: Option<(Word, Word)>) -> Option<Word> {
    let Some((head, tail)) = cell else {
        let &[shared, node] = vm::tuple(tag)? else { return None };
        return (is_reference(env, shared) && vm::kind(node) == Kind::Atom).then_some(tag);
    };
    let (mark, alias) = vm::cell(head)?;
    let own = if is_reference(env, tail) { tail } else { alias };
    (mark == atoms::ALIAS.word() && is_reference(env, own)).then_some(own)
}

/// Those whose layout is known are told without asking the VM.
fn is_reference(env: Env, word: Word) -> bool {
    vm::kind(word) == Kind::Boxed
        && (vm::has_reference_header(word) || vm::boxed_kind(env, word) == BoxedKind::Reference)
}

fn is_pid(env: Env, word: Word) -> bool {
    match vm::kind(word) {
        Kind::Pid => true,
        Kind::Boxed => vm::boxed_kind(env, word) == BoxedKind::Pid,
        _ => false,
    }
}
