//! What kind of message it is, and the reference it carries: what joins a request
//! with its reply. Reads words in place; nothing else of a message is looked at.

use spoor_core::stream::Stream;
use spoor_format::Full;
use spoor_format::brief::About;
use spoor_format::record::write;
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
pub(crate) struct Message {
    shape: Option<u64>,
    reference: Option<Reference>,
}

impl Message {
    /// What there is to say.
    #[inline(always)]
    pub(crate) fn about(&self) -> Option<About<'_>> {
        let reference = self.reference.as_ref().map_or(&[][..], Reference::numbers);
        self.shape.map(|shape| About { shape, reference })
    }
}

/// Reads a message; `None` when [`annotate`] has to look at it.
#[inline(always)]
pub(crate) fn read(env: Env, message: Word) -> Option<Message> {
    let nothing = Message { shape: None, reference: None };
    let Some(elements) = vm::tuple(message) else { return Some(nothing) };
    match shape_of(env, elements) {
        None => Some(nothing),
        Some((shape, None)) => Some(Message { shape: Some(shape), reference: None }),
        Some((shape, Some(tag))) => {
            let reference = vm::reference(tag)?;
            Some(Message { shape: Some(shape), reference: Some(reference) })
        }
    }
}

/// Writes the annotation of a message, if it is of a known shape.
pub(crate) fn annotate(stream: &mut Stream, env: Env, message: Word) -> Result<(), Full> {
    let Some(elements) = vm::tuple(message) else { return Ok(()) };
    match shape_of(env, elements) {
        Some((shape, Some(reference))) => {
            values::shape(stream, env, reference, |s, reference| write::message(s, 0, shape, reference))
        }
        Some((shape, None)) => write::message(stream, 0, shape, RawTerm::NONE),
        None => Ok(()),
    }
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
