//! The callbacks of the tracer module: `enabled/3` and `trace/5`, and no others.
//!
//! Exporting `trace_call/5` or `trace_send/5` would let the VM (25 to 29) call
//! them with three arguments on an array of three. The specialised callbacks
//! save nothing anyway.
//!
//! The hot path is `trace` for what `frequent` knows: it reads the
//! clock and a few words in place, and stores some bytes. Never here: raising,
//! `enif_self`, `enif_whereis_*`, `enif_send`, allocation, locks, system calls.

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use rustler::codegen_runtime::inventory;
use rustler::sys::{ErlNifEnv, ErlNifTerm};
use spoor_core::clock;
use spoor_core::governed::{Probe, Wanted};
use spoor_core::registry::{self, State};
use spoor_core::stream::Stream;
use spoor_format::Full;
use spoor_format::chunk::Identity;
use spoor_format::lane::Cause;

use crate::atoms;
use crate::frequent;
use crate::offered;
use crate::vm::{self, Env, Kind, VmNames, Word};

inventory::submit! { rustler::Nif { name: c"enabled".as_ptr(), arity: 3, flags: 0, raw_func: enabled } }
inventory::submit! { rustler::Nif { name: c"trace".as_ptr(), arity: 5, flags: 0, raw_func: trace } }
inventory::submit! {
    rustler::Nif { name: c"enabled_garbage_collection".as_ptr(), arity: 3, flags: 0, raw_func: enabled_gc }
}

/// `enabled(Tag, State, Tracee)`: one comparison decides.
unsafe extern "C" fn enabled(_env: *mut ErlNifEnv, _argc: c_int, argv: *const ErlNifTerm) -> ErlNifTerm {
    // SAFETY: the VM found the function by its arity, 3.
    let state = State::from_word(unsafe { vm::argument(argv, 1) });
    if state.is_simply_recording() {
        return vm::answer(atoms::TRACE.word());
    }
    // SAFETY: as above.
    let tag = unsafe { vm::argument(argv, 0) };
    // SAFETY: as above.
    let tracee = unsafe { vm::argument(argv, 2) };
    not_simply_enabled(tag, state, tracee)
}

/// `enabled_garbage_collection(Tag, State, Tracee)`: as `enabled`, unless another may be
/// told of this one.
unsafe extern "C" fn enabled_gc(env: *mut ErlNifEnv, argc: c_int, argv: *const ErlNifTerm) -> ErlNifTerm {
    // SAFETY: the VM found the function by its arity, 3.
    let state = State::from_word(unsafe { vm::argument(argv, 1) });
    if state.is_gc_guarded() && state.is_recording() {
        registry::enter(state, |lane| lane.drop_event(Cause::GcGuard));
        return vm::answer(atoms::DISCARD.word());
    }
    // SAFETY: as this was called.
    unsafe { enabled(env, argc, argv) }
}

/// A recording that has ended answers `remove` where the VM understands it, else
/// `discard`.
#[cold]
#[inline(never)]
extern "C" fn not_simply_enabled(tag: Word, state: State, tracee: Word) -> ErlNifTerm {
    if state.is_recording() {
        // Asked before each event, and when a process is scheduled: only of a sample is there
        // anything to say of a process.
        if tag == atoms::TRACE_STATUS.word() && !state.is_sample() {
            return vm::answer(atoms::TRACE.word());
        }
        return governed_enabled(tag, state, tracee);
    }
    // Somebody is about to begin to trace, and is asked before that.
    if state.guarded().is_some_and(State::guard_gc) {
        return vm::answer(atoms::DISCARD.word());
    }
    let answer = if tag == atoms::TRACE_STATUS.word() { &atoms::REMOVE } else { &atoms::DISCARD };
    vm::answer(answer.word())
}

/// `enabled` in a recording that is thinned: an event that will be left out need
/// not be made, and a process that is left out need not be asked about again.
fn governed_enabled(tag: Word, state: State, tracee: Word) -> ErlNifTerm {
    let probe = match tag {
        tag if tag == atoms::TRACE_STATUS.word() => Probe::Process,
        // Asked any number of times, with another's pid.
        tag if tag == atoms::SEQ_TRACE.word() => Probe::Unclear,
        _ => Probe::Event,
    };
    let mut wanted = Wanted::Yes;
    let asked = catch_unwind(AssertUnwindSafe(|| {
        registry::enter(state, |lane| {
            // First, as it costs least: what is more than a limit allows may be most that there is.
            let refused = matches!(probe, Probe::Event) && lane.refuses(|| tracee_number(tracee));
            wanted = if refused { Wanted::No } else { lane.wants(probe, tracee_number(tracee)) };
        });
    }));
    if asked.is_err() && matches!(probe, Probe::Event) {
        // Counted, so not to be stored.
        registry::count_panic(state);
        wanted = Wanted::No;
    }
    let answer = match wanted {
        Wanted::Yes => &atoms::TRACE,
        Wanted::No => &atoms::DISCARD,
        Wanted::Never => &atoms::REMOVE,
    };
    vm::answer(answer.word())
}

/// A process or port by a number of its own, even for a process.
pub(crate) fn tracee_number(tracee: Word) -> Option<u64> {
    let word = vm::identity_word(tracee) << 1;
    match vm::kind(tracee) {
        Kind::Pid => Some(word),
        Kind::Port => Some(word | 1),
        _ => None,
    }
}

/// `trace(Tag, State, Tracee, Term, Opts)`: stores one event.
unsafe extern "C" fn trace(env: *mut ErlNifEnv, argc: c_int, argv: *const ErlNifTerm) -> ErlNifTerm {
    if argc == 5 {
        // SAFETY: the VM passes `argc` terms.
        let argument = |place| unsafe { vm::argument(argv, place) };
        let state = State::from_word(argument(1));
        let stored = catch_unwind(AssertUnwindSafe(|| {
            let tick = clock::now();
            registry::enter(state, |lane| {
                let arguments = Arguments(argv);
                if !frequent::is_stored(lane, env, tick, arguments) {
                    offered::store(lane, env, tick, arguments);
                }
            });
        }));
        if stored.is_err() {
            registry::count_panic(state);
        }
    }
    vm::answer(atoms::OK.word())
}

/// The arguments of `trace/5`. Read where they are needed: to carry them all
/// along would take more registers than there are.
#[derive(Clone, Copy)]
pub(crate) struct Arguments(*const ErlNifTerm);

impl Arguments {
    #[inline(always)]
    fn at(self, place: usize) -> Word {
        // SAFETY: made by `trace` alone, of its five arguments, for the time it runs.
        unsafe { vm::argument(self.0, place) }
    }

    #[inline(always)]
    pub(crate) fn tag(self) -> Word {
        self.at(0)
    }

    #[inline(always)]
    pub(crate) fn tracee(self) -> Word {
        self.at(2)
    }

    #[inline(always)]
    pub(crate) fn term(self) -> Word {
        self.at(3)
    }

    #[inline(always)]
    pub(crate) fn options(self) -> Word {
        self.at(4)
    }
}

/// Whose events those of a tracee are.
pub(crate) fn identity(tracee: Word) -> Identity {
    match vm::kind(tracee) {
        Kind::Pid => Identity::Process(vm::identity_word(tracee)),
        Kind::Port => Identity::Port(vm::identity_word(tracee)),
        _ => Identity::Nobody,
    }
}

/// The reference of `{M, F, Arity}` or `{M, F, Args}`; 0 for anything else.
#[inline(always)]
pub(crate) fn function_of(env: Env, stream: &mut Stream, term: Word) -> Result<u64, Full> {
    if let Some([module, name, third]) = vm::triple(term)
        && let Some(known) = stream.known_function((module, name, third))
    {
        return Ok(known);
    }
    function_not_known(env, stream, term)
}

/// Defines a function, or finds that there is none.
#[cold]
#[inline(never)]
fn function_not_known(env: Env, stream: &mut Stream, term: Word) -> Result<u64, Full> {
    match vm::function(term) {
        Some(function) => stream.function(function, &VmNames(env)),
        None => Ok(0),
    }
}
