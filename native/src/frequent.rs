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
use spoor_format::brief::{self, Head, Kind as Brief};

use crate::atoms;
use crate::tracer::{Arguments, Initial, function_of, gc_sizes, identity, initial_call};
use crate::vm::{self, Env, Kind, VmNames, Word};
use crate::wire::{self, Message};

/// Stores an event if it is so; false when it was not stored.
#[inline(always)]
pub(crate) fn is_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    if !lane.is_simple(tick) {
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
    } else if vm::kind(arguments.tracee()) != Kind::Pid {
        return false;
    } else if tag == atoms::IN.word() {
        Brief::IN
    } else if tag == atoms::OUT.word() {
        Brief::OUT
    } else {
        return is_other_stored(lane, env, tick, arguments);
    };
    let Some(stream) = names(lane, arguments) else { return false };
    let Ok(function) = function_of(env, stream, arguments.term()) else { return false };
    lane.brief(tick, Head::NONE, kind, 0, function)
}

/// Where names are defined for an event, which is the tracee's.
#[inline(always)]
fn names(lane: &mut Lane, arguments: Arguments) -> Option<&mut Stream> {
    let stream = lane.names();
    stream.whose_word(arguments.tracee(), identity).ok()?;
    Some(stream)
}

/// What comes with each message or process.
#[inline(never)]
fn is_other_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let tag = arguments.tag();
    if tag == atoms::RECEIVE.word() {
        is_receive_stored(lane, env, tick, arguments)
    } else if tag == atoms::SEND.word() {
        is_send_stored(lane, env, tick, arguments)
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
    let tag = arguments.tag();
    if tag == atoms::SPAWN.word() {
        is_spawn_stored(lane, env, tick, arguments, Brief::SPAWN)
    } else if tag == atoms::SPAWNED.word() {
        is_spawn_stored(lane, env, tick, arguments, Brief::SPAWNED) && {
            store_initial_call(lane, env, tick, arguments);
            true
        }
    } else {
        tag == atoms::EXIT.word() && is_exit_stored(lane, env, tick, arguments)
    }
}

#[inline(always)]
fn is_receive_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let term = arguments.term();
    let is_simple = lane.content_bytes() == 0 && vm::map_size(env, arguments.options()) == 0;
    if !is_simple || term == atoms::TIMEOUT.word() {
        return false;
    }
    let message = wire::read(env, term);
    if message.is_printed() {
        return false;
    }
    let Some(stream) = names(lane, arguments) else { return false };
    let Some(head) = head(stream, message) else { return false };
    lane.brief(tick, head, Brief::RECEIVE, 0, 0)
}

#[inline(always)]
fn is_send_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    if lane.content_bytes() > 0 {
        return false;
    }
    let Some(to) = vm::only_value(arguments.options(), atoms::EXTRA.word()) else { return false };
    let message = wire::read(env, arguments.term());
    if message.is_printed() {
        return false;
    }
    let is_reply = message.replies_to(to);
    if !is_reply && (vm::kind(to) != Kind::Pid || to == vm::INVALID_PID) {
        return false;
    }
    let Some(stream) = names(lane, arguments) else { return false };
    if is_reply {
        // Nearly always the reply that the alias was made for.
        let head = wire::define(stream, to).map(Head::reply_to_alias);
        let Ok(Some(head)) = head else { return false };
        return lane.brief(tick, head, Brief::SEND_REPLY, 0, 0);
    }
    let Some(head) = head(stream, message) else { return false };
    lane.brief(tick, head, Brief::SEND, vm::identity_word(to), 0)
}

/// What is said of a message before its event.
#[inline(never)]
fn head(stream: &mut Stream, message: Message) -> Option<Head> {
    match message.reference() {
        _ if message == Message::OTHER => Some(Head::NONE),
        None => Some(Head::message(message.shape())),
        Some(reference) => Head::message_of(message.shape(), wire::define(stream, reference).ok()?),
    }
}

/// By itself for the room it needs.
#[inline(never)]
fn is_gc_stored(lane: &mut Lane, tick: u64, arguments: Arguments, kind: Brief) -> bool {
    let sizes = gc_sizes(arguments.term());
    names(lane, arguments).is_some() && lane.collection(tick, kind, &sizes)
}

#[inline(always)]
fn is_exit_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let reason = arguments.term();
    if !vm::is_atom(reason) {
        return false;
    }
    let Some(stream) = names(lane, arguments) else { return false };
    let Ok(atom) = stream.atom(reason, &VmNames(env)) else { return false };
    lane.brief(tick, Head::NONE, Brief::EXIT, 0, atom)
}

#[inline(always)]
fn is_spawn_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments, kind: Brief) -> bool {
    let other = arguments.term();
    let Some(function) = vm::only_value(arguments.options(), atoms::EXTRA.word()) else { return false };
    if vm::kind(other) != Kind::Pid {
        return false;
    }
    let Some(stream) = names(lane, arguments) else { return false };
    let Ok(function) = function_of(env, stream, function) else { return false };
    lane.brief(tick, Head::NONE, kind, vm::identity_word(other), function)
}

/// What a process that was spawned is called outlives the event in the info ring.
#[inline(never)]
fn store_initial_call(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) {
    let Some(spawned) = vm::only_value(arguments.options(), atoms::EXTRA.word()) else { return };
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
