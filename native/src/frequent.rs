//! The way of nearly all events: the frequent kinds, with nothing special about
//! them, into a chunk with room for them. Whatever is not so goes the long way,
//! `offered`.
//!
//! Everything stays in registers or goes straight to its place: what is put
//! together in memory and read as a whole at once has to wait for the processor's
//! store buffer.

use spoor_core::lane::Lane;
use spoor_format::brief::{Head, Kind as Brief, Line};
use spoor_format::hint::{likely, unlikely};

use crate::atoms;
use crate::collections::gc_sizes;
use crate::initial::initial_function;
use crate::tracer::{Arguments, function_of, identity};
use crate::vm::{self, Env, Kind, VmNames, Word};
use crate::wire;

/// Stores an event if it is so; false when it was not stored.
#[inline(always)]
pub(crate) fn is_stored(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) -> bool {
    if unlikely(!lane.is_simple(tick) || vm::kind(arguments.tracee()) != Kind::Pid) {
        return false;
    }
    // What the kinds have in common is there once: the less code, the more of it, and of the
    // VM's, stays in the processor's cache.
    let tag = arguments.tag();
    let kind = if tag == atoms::CALL.word() {
        if unlikely(lane.content_bytes() > 0 || vm::map_size(env, arguments.options()) > 0) {
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
    if unlikely(lane.content_bytes() > 0) {
        return None;
    }
    let (options, term) = (arguments.options(), arguments.term());
    let to = if arguments.tag() == atoms::SEND.word() {
        Some(vm::only_value(options, atoms::EXTRA.word())?)
    } else if unlikely(vm::map_size(env, options) > 0 || term == atoms::TIMEOUT.word()) {
        return None;
    } else {
        None
    };
    let message = wire::read(env, term);
    if unlikely(message.is_printed()) {
        return None;
    }
    let Some(to) = to else {
        return Some(Line { head: message.head(lane.names())?, ..Line::new(Brief::RECEIVE, 0) });
    };
    if likely(vm::kind(to) == Kind::Pid && to != vm::INVALID_PID) {
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
    let kind = if tag == atoms::EXIT.word() {
        let reason = vm::is_atom(term).then(|| lane.names().atom(term, &VmNames(env)))?;
        return Some(Line::new(Brief::EXIT, reason.ok()?));
    } else if vm::kind(term) != Kind::Pid {
        return None;
    } else if tag == atoms::SPAWN.word() {
        Brief::SPAWN
    } else if tag == atoms::SPAWNED.word() {
        Brief::SPAWNED
    } else {
        return Some(Line { word: vm::identity_word(term), ..Line::new(of_link(tag)?, 0) });
    };
    let spawned = vm::only_value(arguments.options(), atoms::EXTRA.word())?;
    let function = vm::function(spawned)?;
    if tag == atoms::SPAWNED.word() {
        // What it is called outlives the event in the info ring.
        let (process, parent) = (vm::identity_word(arguments.tracee()), vm::identity_word(term));
        lane.spawned(tick, process, parent, initial_function(spawned)?, &VmNames(env));
    }
    let function = lane.names().function(function, &VmNames(env)).ok()?;
    Some(Line { word: vm::identity_word(term), ..Line::new(kind, function) })
}

fn of_link(tag: Word) -> Option<Brief> {
    let kinds = [
        (&atoms::LINK, Brief::LINK),
        (&atoms::GETTING_LINKED, Brief::GETTING_LINKED),
        (&atoms::UNLINK, Brief::UNLINK),
        (&atoms::GETTING_UNLINKED, Brief::GETTING_UNLINKED),
    ];
    kinds.into_iter().find(|(of, _)| of.word() == tag).map(|(_, kind)| kind)
}

/// By itself for the room it needs.
#[inline(never)]
fn is_gc_stored(lane: &mut Lane, tick: u64, arguments: Arguments, kind: Brief) -> bool {
    let sizes = gc_sizes(arguments.term());
    lane.names().whose_word(arguments.tracee(), identity).is_ok() && lane.collection(tick, kind, &sizes)
}
