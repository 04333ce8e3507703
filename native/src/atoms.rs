//! Atoms known by name: made once when the library is loaded, compared as words.

use std::sync::atomic::{AtomicU64, Ordering};

use rustler::sys::ErlNifEnv;
use spoor_format::brief::SIZES;

use crate::vm::{self, Word};

/// An atom: its place in [`TABLE`].
#[derive(Clone, Copy)]
pub(crate) struct Atom(usize);

/// Words of atoms, side by side in few lines of the processor's cache, those that each event is
/// compared with first. Stored once, by [`load`], before any callback runs.
#[repr(align(64))]
struct Table([AtomicU64; ATOMS]);

static TABLE: Table = Table([const { AtomicU64::new(0) }; ATOMS]);

impl Atom {
    #[inline(always)]
    pub(crate) fn word(&self) -> Word {
        TABLE.0[self.0].load(Ordering::Relaxed)
    }
}

macro_rules! atoms {
    ($($name:ident = $text:literal),* $(,)?) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms, reason = "places, named as their atoms")]
        enum Place { $( $name, )* }

        const NAMES: [&str; ATOMS] = [$( $text ),*];
        const ATOMS: usize = [$( $text ),*].len();

        $( pub(crate) const $name: Atom = Atom(Place::$name as usize); )*
    };
}

/// Makes all atoms. An atom has the same word for the life of the VM.
pub(crate) fn load(env: *mut ErlNifEnv) {
    for (place, name) in TABLE.0.iter().zip(NAMES) {
        place.store(vm::make_atom(env, name), Ordering::Relaxed);
    }
    for (place, name) in GC_SIZES.iter().zip(spoor_format::record::GC_SIZES) {
        place.store(vm::make_atom(env, name), Ordering::Relaxed);
    }
}

/// The keys of garbage collection info, in the order of the format.
static GC_SIZES: [AtomicU64; spoor_format::record::GC_SIZES.len()] =
    [const { AtomicU64::new(0) }; spoor_format::record::GC_SIZES.len()];

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
        let place = GC_SIZES.iter().position(|name| name.load(Ordering::Relaxed) == key).unwrap_or(SIZES - 1);
        self.0.store(key | (place as u64) << PLACE, Ordering::Relaxed);
        place
    }
}

atoms! {
    // Answers and tags of nearly all events, with what they are told apart by.
    TRACE = "trace", OK = "ok", CALL = "call", RETURN_TO = "return_to", IN = "in", OUT = "out", RECEIVE = "receive",
    SEND = "send", EXTRA = "extra", TIMEOUT = "timeout", GEN_CALL = "$gen_call", ALIAS = "alias",
    GC_MINOR_START = "gc_minor_start", GC_MINOR_END = "gc_minor_end", EXIT = "exit", SPAWN = "spawn", SPAWNED = "spawned",
    // Other answers.
    DISCARD = "discard", REMOVE = "remove", TRACE_STATUS = "trace_status",
    // Other tags.
    RETURN_FROM = "return_from", EXCEPTION_FROM = "exception_from",
    IN_EXITING = "in_exiting", OUT_EXITING = "out_exiting", OUT_EXITED = "out_exited",
    SEND_TO_NON_EXISTING = "send_to_non_existing_process", REGISTER = "register", UNREGISTER = "unregister",
    LINK = "link", UNLINK = "unlink", GETTING_LINKED = "getting_linked", GETTING_UNLINKED = "getting_unlinked",
    OPEN = "open", CLOSED = "closed", SEQ_TRACE = "seq_trace",
    GC_MAJOR_START = "gc_major_start", GC_MAJOR_END = "gc_major_end", GC_MAX_HEAP_SIZE = "gc_max_heap_size",
    // Keys and values.
    MATCH_SPEC_RESULT = "match_spec_result", TRUE = "true", UNDEFINED = "undefined",
    // Messages.
    GEN_CAST = "$gen_cast", NOTIFY = "notify", SYSTEM = "system", DOWN = "DOWN",
    // What proc_lib starts.
    PROC_LIB = "proc_lib", INIT_P = "init_p", GEN = "gen", INIT_IT = "init_it", INIT = "init",
    SUPERVISOR = "supervisor",
}
