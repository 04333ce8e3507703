//! The way of nearly all events: the frequent kinds, with nothing special about
//! them, into a chunk with room for them. Whatever is not so goes the long way,
//! `tracer::Offered`.
//!
//! Everything stays in registers or goes straight to its place: what is put
//! together in memory and read as a whole at once has to wait for the processor's
//! store buffer.

use spoor_core::lane::Lane;
use spoor_core::stream::Stream;
use spoor_format::Full;
use spoor_format::brief::{self, Head, Kind as Brief, Line};

use crate::atoms;
use crate::collections::gc_sizes;
use crate::initial::{Initial, initial_call};
use crate::tracer::{Arguments, function_of, identity};
use crate::vm::{self, Env, Kind, VmNames, Word};
use crate::wire;

/// Stores an event if it is so; false when it was not stored.
#[inline(always)]
pub(crate) fn is_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    if !lane.is_simple(tick) || vm::kind(arguments.tracee()) != Kind::Pid {
        return false;
    }
    // What the kinds have in common is there once: the less code, the more of it, and of the
    // VM's, stays in the processor's cache.
    let tag = arguments.tag();
    let kind = if tag == atoms::CALL.word() {
        if lane.content_bytes() > 0 || vm::map_size(env, arguments.options()) > 0 {
            return false;
        }
        Brief::CALL
    } else if tag == atoms::RETURN_TO.word() {
        Brief::RETURN_TO
    } else if tag == atoms::IN.word() {
        Brief::IN
    } else if tag == atoms::OUT.word() {
        Brief::OUT
    } else {
        return is_other_stored(lane, env, tick, arguments);
    };
    let Ok(function) = function_of(env, lane.names(), arguments.term()) else { return false };
    lane.brief_function(tick, arguments.tracee(), vm::identity_word, kind, function)
}

/// What comes with each message or process.
#[inline(always)]
fn is_other_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let tag = arguments.tag();
    if tag == atoms::RECEIVE.word() || tag == atoms::SEND.word() {
        let Some(line) = of_message(lane, env, arguments) else { return false };
        lane.brief(tick, arguments.tracee(), vm::identity_word, line)
    } else if tag == atoms::GC_MINOR_START.word() {
        is_gc_stored(lane, tick, arguments, Brief::GC_MINOR_START)
    } else if tag == atoms::GC_MINOR_END.word() {
        is_gc_stored(lane, tick, arguments, Brief::GC_MINOR_END)
    } else {
        is_of_process_stored(lane, env, tick, arguments)
    }
}

/// What a process begins and ends with.
#[inline(never)]
fn is_of_process_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let Some(line) = of_process(lane, env, tick, arguments) else { return false };
    lane.brief(tick, arguments.tracee(), vm::identity_word, line)
}

#[inline(always)]
fn of_message(lane: &mut Lane, env: Env, arguments: Arguments) -> Option<Line> {
    if lane.content_bytes() > 0 {
        return None;
    }
    let (options, term) = (arguments.options(), arguments.term());
    let to = if arguments.tag() == atoms::SEND.word() {
        Some(vm::only_value(options, atoms::EXTRA.word())?)
    } else if vm::map_size(env, options) > 0 || term == atoms::TIMEOUT.word() {
        return None;
    } else {
        None
    };
    let message = wire::read(env, term);
    if message.is_printed() {
        return None;
    }
    let Some(to) = to else {
        return Some(Line { head: message.head(lane.names())?, ..Line::new(Brief::RECEIVE, 0) });
    };
    if vm::kind(to) == Kind::Pid && to != vm::INVALID_PID {
        let head = message.head(lane.names())?;
        return Some(Line { head, word: vm::identity_word(to), ..Line::new(Brief::SEND, 0) });
    }
    // Nearly always the reply that the alias was made for.
    if !message.replies_to(to) {
        return None;
    }
    let head = Head::reply_to_alias(message.define(lane.names()).ok()?)?;
    Some(Line { head, ..Line::new(Brief::SEND_REPLY, 0) })
}

#[inline(always)]
fn of_process(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> Option<Line> {
    let (tag, term) = (arguments.tag(), arguments.term());
    let kind = if tag == atoms::SPAWN.word() {
        Brief::SPAWN
    } else if tag == atoms::SPAWNED.word() {
        Brief::SPAWNED
    } else if tag == atoms::EXIT.word() && vm::is_atom(term) {
        return Some(Line::new(Brief::EXIT, lane.names().atom(term, &VmNames(env)).ok()?));
    } else {
        return None;
    };
    let spawned = vm::only_value(arguments.options(), atoms::EXTRA.word())?;
    if vm::kind(term) != Kind::Pid {
        return None;
    }
    if tag == atoms::SPAWNED.word() {
        store_initial_call(lane, env, tick, arguments, spawned);
    }
    let function = function_of(env, lane.names(), spawned).ok()?;
    Some(Line { word: vm::identity_word(term), ..Line::new(kind, function) })
}

/// By itself for the room it needs.
#[inline(never)]
fn is_gc_stored(lane: &mut Lane, tick: u64, arguments: Arguments, kind: Brief) -> bool {
    let sizes = gc_sizes(arguments.term());
    lane.names().whose_word(arguments.tracee(), identity).is_ok() && lane.collection(tick, kind, &sizes)
}

/// What a process that was spawned is called outlives the event in the info ring.
#[inline(never)]
fn store_initial_call(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments, spawned: Word) {
    let (process, parent) = (vm::identity_word(arguments.tracee()), vm::identity_word(arguments.term()));
    lane.info(tick, |stream, delta| {
        let function = initial_function(env, stream, spawned)?;
        brief::process_info(stream, delta, process, parent, function)
    });
}

/// The reference of what a process really runs that was spawned as `{M, F, Args}`.
pub(crate) fn initial_function(env: Env, stream: &mut Stream, spawned: Word) -> Result<u64, Full> {
    let function = match initial_call(spawned) {
        Initial::Function(term) => return function_of(env, stream, term),
        Initial::Callback(module) => (module, atoms::INIT.word(), 1),
        Initial::Started(module, name, arguments) => match vm::list_length(env, arguments) {
            Some(arity) => (module, name, u64::from(arity)),
            None => return Ok(0),
        },
    };
    stream.function(function, &VmNames(env))
}
