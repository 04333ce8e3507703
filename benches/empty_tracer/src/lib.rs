//! A tracer module that does nothing: what the VM itself charges for an event.
//!
//! Its callbacks are registered exactly as the recorder's, so the difference
//! between the two is the recorder's own work and nothing else. Beside them what the
//! benches measure with: the time a thread has been on a processor (`thread_time`), and
//! what kept it from running (`usage`).

mod usage;

use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustler::codegen_runtime::inventory;
use rustler::sys::{ErlNifEntry, ErlNifEnv, ErlNifTerm};

inventory::submit! { rustler::Nif { name: c"enabled".as_ptr(), arity: 3, flags: 0, raw_func: enabled } }
inventory::submit! { rustler::Nif { name: c"trace".as_ptr(), arity: 5, flags: 0, raw_func: trace } }
inventory::submit! { rustler::Nif { name: c"thread_time".as_ptr(), arity: 0, flags: 0, raw_func: thread_time } }
inventory::submit! { rustler::Nif { name: c"thread_usage".as_ptr(), arity: 1, flags: 0, raw_func: thread_usage } }

/// The atoms `trace` and `ok`, made once when the library is loaded.
static TRACE: AtomicUsize = AtomicUsize::new(0);
static OK: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    fn enif_make_atom(env: *mut ErlNifEnv, name: *const c_char) -> usize;
    fn enif_make_long(env: *mut ErlNifEnv, value: i64) -> usize;
    fn enif_make_tuple_from_array(env: *mut ErlNifEnv, terms: *const usize, count: u32) -> usize;
    fn enif_get_list_cell(env: *mut ErlNifEnv, list: usize, head: *mut usize, tail: *mut usize) -> c_int;
    fn enif_get_long(env: *mut ErlNifEnv, term: usize, value: *mut i64) -> c_int;
}

#[unsafe(no_mangle)]
extern "C" fn nif_init() -> *const ErlNifEntry {
    let functions: Vec<_> = inventory::iter::<rustler::Nif>().map(rustler::Nif::get_def).collect();
    // The VM keeps both for as long as the library is loaded: for ever.
    let functions = Box::leak(functions.into_boxed_slice());
    Box::leak(Box::new(ErlNifEntry::new(c"bench_empty_tracer", functions, load)))
}

unsafe extern "C" fn load(env: *mut ErlNifEnv, _private: *mut *mut c_void, _info: ErlNifTerm) -> c_int {
    for (atom, name) in [(&TRACE, c"trace"), (&OK, c"ok")] {
        // SAFETY: the environment of the running load callback, a text that ends with 0.
        let word = unsafe { enif_make_atom(env, name.as_ptr()) };
        atom.store(word, Ordering::Relaxed);
    }
    0
}

unsafe extern "C" fn enabled(_env: *mut ErlNifEnv, _argc: c_int, _argv: *const ErlNifTerm) -> ErlNifTerm {
    answer(&TRACE)
}

unsafe extern "C" fn trace(_env: *mut ErlNifEnv, _argc: c_int, _argv: *const ErlNifTerm) -> ErlNifTerm {
    answer(&OK)
}

/// Nanoseconds that the calling scheduler's thread has spent on a processor.
unsafe extern "C" fn thread_time(env: *mut ErlNifEnv, _argc: c_int, _argv: *const ErlNifTerm) -> ErlNifTerm {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a timespec of our own; the call only writes it.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    // SAFETY: the environment of the running call.
    word(unsafe { enif_make_long(env, time.tv_sec * 1_000_000_000 + time.tv_nsec) })
}

/// `thread_usage(Tids)`: see `usage::now`, as a tuple.
unsafe extern "C" fn thread_usage(env: *mut ErlNifEnv, _argc: c_int, argv: *const ErlNifTerm) -> ErlNifTerm {
    // SAFETY: the VM passes one term; ErlNifTerm is a transparent word.
    let mut list = unsafe { argv.cast::<usize>().read() };
    let (mut head, mut tid) = (0, 0);
    let tids = std::iter::from_fn(|| {
        let rest: *mut usize = &raw mut list;
        // SAFETY: the environment of the running call, words of our own.
        let found = unsafe { enif_get_list_cell(env, list, &raw mut head, rest) } != 0;
        // SAFETY: as above.
        (found && unsafe { enif_get_long(env, head, &raw mut tid) } != 0).then_some(tid)
    });
    let numbers = usage::now(tids);
    // SAFETY: the environment of the running call.
    let terms = numbers.map(|number| unsafe { enif_make_long(env, number) });
    // SAFETY: as above, with so many terms.
    word(unsafe { enif_make_tuple_from_array(env, terms.as_ptr(), terms.len() as u32) })
}

#[inline(always)]
fn answer(atom: &AtomicUsize) -> ErlNifTerm {
    word(atom.load(Ordering::Relaxed))
}

#[inline(always)]
fn word(word: usize) -> ErlNifTerm {
    // SAFETY: ErlNifTerm is a transparent word of the same size.
    unsafe { std::mem::transmute::<usize, ErlNifTerm>(word) }
}
