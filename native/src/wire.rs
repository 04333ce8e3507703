//! What kind of message it is, and the reference it carries: what joins a request
//! with its reply. Reads words in place; nothing else of a message is looked at.

use spoor_core::stream::Stream;
use spoor_format::Full;
use spoor_format::brief::About;
use spoor_format::record::{Ref, write};
use spoor_format::term::RawTerm;

use crate::atoms;
use crate::values;
use crate::vm::{self, BoxedKind, Env, Kind, Reference, Word};

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

/// A message of which all can be written that there is to say.
#[derive(Clone, Copy)]
pub(crate) enum Message {
    /// Nothing.
    Other,
    /// Its shape, in which there is no reference.
    Shape(u64),
    /// Its shape, and the reference that it carries.
    With(u64, Reference),
}

impl Message {
    /// What there is to say, in this chunk.
    #[inline(always)]
    pub(crate) fn about(&self, stream: &mut Stream) -> Result<Option<About>, Full> {
        Ok(match self {
            Message::Other => None,
            Message::Shape(shape) => Some(About { shape: *shape, reference: 0 }),
            Message::With(shape, reference) => Some(About { shape: *shape, reference: define(stream, reference)? }),
        })
    }

    /// Is it the reply with this reference?
    #[inline(always)]
    pub(crate) fn replies_to(&self, alias: &Reference) -> bool {
        matches!(self, Message::With(shape::REPLY, reference) if reference.is(alias))
    }
}

/// The chunk's number of a reference.
#[inline(always)]
pub(crate) fn define(stream: &mut Stream, reference: &Reference) -> Result<Ref, Full> {
    stream.reference(reference.words(), || reference.told())
}

/// Reads a message; `None` when [`annotate`] has to look at it.
#[inline(always)]
pub(crate) fn read(env: Env, message: Word) -> Option<Message> {
    let Some(elements) = vm::tuple(message) else { return Some(Message::Other) };
    match shape_of(env, elements) {
        None => Some(Message::Other),
        Some((shape, None)) => Some(Message::Shape(shape)),
        Some((shape, Some(tag))) => vm::reference(tag).map(|reference| Message::With(shape, reference)),
    }
}

/// Writes the annotation of a message, if it is of a known shape.
pub(crate) fn annotate(stream: &mut Stream, env: Env, message: Word) -> Result<(), Full> {
    match read(env, message) {
        Some(Message::Other) => Ok(()),
        Some(Message::Shape(shape)) => write::message(stream, 0, shape, RawTerm::NONE),
        Some(Message::With(shape, reference)) => {
            let reference = define(stream, &reference)?;
            write::message_of(stream, 0, shape, reference)
        }
        None => annotate_printed(stream, env, message),
    }
}

/// Of a message whose reference is none that is read in place.
fn annotate_printed(stream: &mut Stream, env: Env, message: Word) -> Result<(), Full> {
    let Some((shape, Some(reference))) = vm::tuple(message).and_then(|elements| shape_of(env, elements)) else {
        return Ok(());
    };
    values::shape(stream, env, reference, |s, reference| write::message(s, 0, shape, reference))
}

#[inline(always)]
fn shape_of(env: Env, message: &[Word]) -> Option<(u64, Option<Word>)> {
    match *message {
        [tag, _] if tag == atoms::GEN_CAST.word() => Some((shape::CAST, None)),
        [tag, _] if tag == atoms::NOTIFY.word() => Some((shape::NOTIFY, None)),
        [tag, _] => Some((shape::REPLY, Some(reference(env, tag)?))),
        [tag, from, _] if tag == atoms::GEN_CALL.word() => Some((shape::CALL, Some(tag_of(env, from)?))),
        [tag, from, _] if tag == atoms::SYSTEM.word() => Some((shape::SYSTEM, Some(tag_of(env, from)?))),
        [pid, from, _] if is_pid(env, pid) => Some((shape::EVENT_CALL, Some(tag_of(env, from)?))),
        [tag, down, _, _, _] if tag == atoms::DOWN.word() => Some((shape::DOWN, Some(reference(env, down)?))),
        _ => None,
    }
}

/// The reference of `{Pid, Tag}`.
#[inline(always)]
fn tag_of(env: Env, from: Word) -> Option<Word> {
    let &[_, tag] = vm::tuple(from)? else { return None };
    reference(env, tag)
}

/// What is one for each request: the reference of `Ref` or `[alias | Ref]`, the second of
/// `[[alias | Ref] | Ref]` (several requests share the first), and all of `{Ref, Node}`.
#[inline(always)]
fn reference(env: Env, tag: Word) -> Option<Word> {
    match vm::cell(tag) {
        Some((head, tail)) if head == atoms::ALIAS.word() => is_reference(env, tail).then_some(tail),
        None if is_reference(env, tag) => Some(tag),
        other => rare_reference(env, tag, other),
    }
}

/// As `multi_call` has them; `cell` is the tag's, if it is a list.
#[inline(never)]
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
#[inline(always)]
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
