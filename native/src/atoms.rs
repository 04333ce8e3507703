//! Atoms known by name: made once when the library is loaded, compared as words.

use std::sync::atomic::{AtomicU64, Ordering};

use rustler::sys::ErlNifEnv;
use spoor_format::brief::SIZES;

use crate::vm::{self, Word};

/// An atom's word. Stored once, by [`load`], before any callback runs.
pub(crate) struct Atom(AtomicU64);

impl Atom {
    #[inline(always)]
    pub(crate) fn word(&self) -> Word {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! atoms {
    ($($name:ident = $text:literal),* $(,)?) => {
        $( pub(crate) static $name: Atom = Atom(AtomicU64::new(0)); )*

        /// Makes all atoms. An atom has the same word for the life of the VM.
        pub(crate) fn load(env: *mut ErlNifEnv) {
            $( $name.0.store(vm::make_atom(env, $text), Ordering::Relaxed); )*
            for (place, name) in GC_SIZES.iter().zip(spoor_format::record::GC_SIZES) {
                place.0.store(vm::make_atom(env, name), Ordering::Relaxed);
            }
        }
    };
}

/// The keys of garbage collection info, in the order of the format.
pub(crate) static GC_SIZES: [Atom; spoor_format::record::GC_SIZES.len()] =
    [const { Atom(AtomicU64::new(0)) }; spoor_format::record::GC_SIZES.len()];

/// Which of [`GC_SIZES`] the VM tells at one place of its list, as far as is known: the key's
/// word with its place above [`PLACE`].
pub(crate) struct GcKey(AtomicU64);

static GC_ORDER: [GcKey; SIZES] = [const { GcKey(AtomicU64::new(0)) }; SIZES];

const PLACE: u32 = 56;

/// What the VM tells first, second, …
#[inline(always)]
pub(crate) fn gc_order() -> &'static [GcKey; SIZES] {
    &GC_ORDER
}

impl GcKey {
    /// The place among [`GC_SIZES`] of the key that the VM tells here; of a key that is none of
    /// them, one behind them.
    #[inline(always)]
    pub(crate) fn place(&self, key: Word) -> usize {
        let known = self.0.load(Ordering::Relaxed);
        // The key's place is all that is left, if it is the key.
        let place = (known ^ key).rotate_left(u64::BITS - PLACE);
        if place < SIZES as u64 { place as usize } else { self.learn(key) }
    }

    #[cold]
    #[inline(never)]
    fn learn(&self, key: Word) -> usize {
        let place = GC_SIZES.iter().position(|name| name.word() == key).unwrap_or(SIZES - 1);
        self.0.store(key | (place as u64) << PLACE, Ordering::Relaxed);
        place
    }
}

atoms! {
    // Answers.
    OK = "ok", TRACE = "trace", DISCARD = "discard", REMOVE = "remove", TRACE_STATUS = "trace_status",
    // Tags.
    CALL = "call", RETURN_TO = "return_to", RETURN_FROM = "return_from", EXCEPTION_FROM = "exception_from",
    IN = "in", OUT = "out", IN_EXITING = "in_exiting", OUT_EXITING = "out_exiting", OUT_EXITED = "out_exited",
    SEND = "send", SEND_TO_NON_EXISTING = "send_to_non_existing_process", RECEIVE = "receive", TIMEOUT = "timeout",
    SPAWN = "spawn", SPAWNED = "spawned", EXIT = "exit", REGISTER = "register", UNREGISTER = "unregister",
    LINK = "link", UNLINK = "unlink", GETTING_LINKED = "getting_linked", GETTING_UNLINKED = "getting_unlinked",
    OPEN = "open", CLOSED = "closed", SEQ_TRACE = "seq_trace",
    GC_MINOR_START = "gc_minor_start", GC_MINOR_END = "gc_minor_end",
    GC_MAJOR_START = "gc_major_start", GC_MAJOR_END = "gc_major_end", GC_MAX_HEAP_SIZE = "gc_max_heap_size",
    // Keys and values.
    EXTRA = "extra", MATCH_SPEC_RESULT = "match_spec_result", TRUE = "true", UNDEFINED = "undefined",
    // Messages.
    GEN_CALL = "$gen_call", GEN_CAST = "$gen_cast", NOTIFY = "notify", SYSTEM = "system", DOWN = "DOWN", ALIAS = "alias",
    // What proc_lib starts.
    PROC_LIB = "proc_lib", INIT_P = "init_p", GEN = "gen", INIT_IT = "init_it", INIT = "init",
    GEN_SERVER = "gen_server", SUPERVISOR = "supervisor",
}
