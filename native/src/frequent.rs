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
use spoor_format::brief::{self, To};
use spoor_format::record::write;

use crate::atoms;
use crate::tracer::{Arguments, Initial, function_of, gc_sizes, identity, initial_call};
use crate::vm::{self, Env, Kind, VmNames, Word};
use crate::wire::{self, Message};

/// Stores an event if it is so; false when it was not stored.
#[inline(always)]
pub(crate) fn is_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let tag = arguments.tag();
    if tag == atoms::CALL.word() {
        return lane.content_bytes() == 0
            && vm::map_size(env, arguments.options()) == 0
            && is_function_stored(lane, env, tick, arguments, Of::Call);
    }
    if tag == atoms::RETURN_TO.word() {
        return is_function_stored(lane, env, tick, arguments, Of::ReturnTo);
    }
    is_other_stored(lane, env, tick, arguments)
}

/// Events that say a function and no more.
#[derive(Clone, Copy)]
enum Of {
    Call,
    ReturnTo,
    In,
    Out,
}

#[inline(always)]
fn is_function_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments, of: Of) -> bool {
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let Ok(function) = function_of(env, stream, arguments.term()) else { return false };
    let written = match of {
        Of::Call => write::call(stream, delta, function),
        Of::ReturnTo => write::return_to(stream, delta, function),
        Of::In => write::in_(stream, delta, function),
        Of::Out => write::out(stream, delta, function),
    };
    is_written(lane, tick, written)
}

/// Where the tracee's event is written, and its time delta.
#[inline(always)]
fn begin(lane: &mut Lane, tick: u64, arguments: Arguments) -> Option<(&mut Stream, u64)> {
    let (stream, delta) = lane.simple_event(tick)?;
    stream.whose_word(arguments.tracee(), identity).ok()?;
    Some((stream, delta))
}

#[inline(always)]
fn is_written(lane: &mut Lane, tick: u64, written: Result<(), Full>) -> bool {
    if written.is_ok() {
        lane.stored(tick);
    }
    written.is_ok()
}

/// Neither a call nor a return, but what comes with each message or process.
#[inline(never)]
fn is_other_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    if vm::kind(arguments.tracee()) != Kind::Pid {
        return false;
    }
    match arguments.tag() {
        tag if tag == atoms::IN.word() => is_function_stored(lane, env, tick, arguments, Of::In),
        tag if tag == atoms::OUT.word() => is_function_stored(lane, env, tick, arguments, Of::Out),
        tag if tag == atoms::RECEIVE.word() => is_receive_stored(lane, env, tick, arguments),
        tag if tag == atoms::SEND.word() => is_send_stored(lane, env, tick, arguments),
        tag if tag == atoms::SPAWN.word() => is_spawn_stored(lane, env, tick, arguments),
        tag if tag == atoms::SPAWNED.word() => is_spawned_stored(lane, env, tick, arguments),
        tag if tag == atoms::EXIT.word() => is_exit_stored(lane, env, tick, arguments),
        tag if tag == atoms::GC_MINOR_START.word() => is_gc_stored(lane, tick, arguments, write::gc_minor_start),
        tag if tag == atoms::GC_MINOR_END.word() => is_gc_stored(lane, tick, arguments, write::gc_minor_end),
        _ => false,
    }
}

#[inline(always)]
fn is_receive_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let term = arguments.term();
    let is_simple = lane.content_bytes() == 0 && vm::map_size(env, arguments.options()) == 0;
    if !is_simple || term == atoms::TIMEOUT.word() {
        return false;
    }
    let Some(message) = wire::read(env, term) else { return false };
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let Ok(about) = message.about(stream) else { return false };
    let written = brief::receive(stream, delta, about);
    is_written(lane, tick, written)
}

#[inline(always)]
fn is_send_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    if lane.content_bytes() > 0 {
        return false;
    }
    let Some(to) = vm::only_value(arguments.options(), atoms::EXTRA.word()) else { return false };
    let Some(message) = wire::read(env, arguments.term()) else { return false };
    if vm::kind(to) == Kind::Boxed {
        return is_send_to_alias_stored(lane, tick, arguments, message, to);
    }
    if vm::kind(to) != Kind::Pid || to == vm::INVALID_PID {
        return false;
    }
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let Ok(about) = message.about(stream) else { return false };
    let written = brief::send(stream, delta, about, To::Pid(vm::identity_word(to)));
    is_written(lane, tick, written)
}

/// Nearly always the reply that the alias was made for.
#[inline(always)]
fn is_send_to_alias_stored(lane: &mut Lane, tick: u64, arguments: Arguments, message: Message, to: Word) -> bool {
    let Some(alias) = vm::reference(to) else { return false };
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let written = if message.replies_to(&alias) {
        let Ok(reference) = wire::define(stream, &alias) else { return false };
        brief::reply_to_alias(stream, delta, reference)
    } else {
        let Ok(about) = message.about(stream) else { return false };
        brief::send(stream, delta, about, To::Alias(alias.told().numbers()))
    };
    is_written(lane, tick, written)
}

/// By itself for the room it needs.
#[inline(never)]
fn is_gc_stored(
    lane: &mut Lane,
    tick: u64,
    arguments: Arguments,
    write: impl FnOnce(&mut Stream, u64, &[u64]) -> Result<(), Full>,
) -> bool {
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let written = write(stream, delta, &gc_sizes(arguments.term()));
    is_written(lane, tick, written)
}

#[inline(always)]
fn is_exit_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let reason = arguments.term();
    if !vm::is_atom(reason) {
        return false;
    }
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let Ok(atom) = stream.atom(reason, &VmNames(env)) else { return false };
    let written = brief::exit(stream, delta, atom);
    is_written(lane, tick, written)
}

#[inline(always)]
fn is_spawn_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let child = arguments.term();
    let Some(function) = vm::only_value(arguments.options(), atoms::EXTRA.word()) else { return false };
    if vm::kind(child) != Kind::Pid {
        return false;
    }
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let Ok(function) = function_of(env, stream, function) else { return false };
    let written = brief::spawn(stream, delta, vm::identity_word(child), function);
    is_written(lane, tick, written)
}

/// The event, and what the process is called: that outlives it in the info ring.
#[inline(always)]
fn is_spawned_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    let parent = arguments.term();
    let Some(spawned) = vm::only_value(arguments.options(), atoms::EXTRA.word()) else { return false };
    if vm::kind(parent) != Kind::Pid {
        return false;
    }
    let parent = vm::identity_word(parent);
    let Some((stream, delta)) = begin(lane, tick, arguments) else { return false };
    let Ok(function) = function_of(env, stream, spawned) else { return false };
    let written = brief::spawned(stream, delta, parent, function);
    if !is_written(lane, tick, written) {
        return false;
    }
    lane.info(tick, |stream, delta| {
        let function = initial_function(env, stream, spawned)?;
        brief::process_info(stream, delta, vm::identity_word(arguments.tracee()), parent, function)
    });
    true
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
