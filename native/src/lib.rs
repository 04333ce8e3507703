//! The recorder of Spoor as a tracer module for the Erlang VM.
//!
//! ```text
//! vm       the VM's words and functions (unsafe island)
//! learned  what differs between VMs
//! bits     binaries and bitstrings, without copying them
//! atoms    atoms known by name, as words
//! values   terms into the recording's own encoding, bounded
//! wire     the shapes of messages, and the references they carry
//! frequent the hot path: how frequent events are stored
//! collections  the sizes of garbage collections
//! initial  what a spawned process really runs
//! offered  the long way: how all others are stored
//! tracer   enabled/3 and trace/5
//! nif      open, close, status, describe, note, copy, adopt: terms in, terms out
//! ```
//!
//! What is decided, and everything that happens to the file, is in `spoor-core`.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64", target_endian = "little")))]
compile_error!("Spoor records on 64-bit little-endian Linux only");

mod atoms;
mod bits;
mod collections;
mod frequent;
mod initial;
mod learned;
mod nif;
mod offered;
mod tracer;
mod values;
mod vm;
mod wire;

use rustler::codegen_runtime::inventory;
use rustler::sys::{ErlNifEntry, ErlNifEnv, ErlNifTerm, c_int, c_void};

/// The library entry point: what `rustler::init!` would make, and an `upgrade`
/// callback. Without it the VM refuses to load a new version of the Erlang
/// module while the old one is still there, and a recording would end.
#[unsafe(no_mangle)]
extern "C" fn nif_init() -> *const ErlNifEntry {
    let functions: Vec<_> = inventory::iter::<rustler::Nif>().map(rustler::Nif::get_def).collect();
    // The VM keeps both for as long as the library is loaded: for ever.
    let functions = Box::leak(functions.into_boxed_slice());
    let mut entry = ErlNifEntry::new(c"spoor_tracer", functions, load);
    entry.upgrade = Some(upgrade);
    Box::leak(Box::new(entry))
}

unsafe extern "C" fn load(env: *mut ErlNifEnv, _private: *mut *mut c_void, _info: ErlNifTerm) -> c_int {
    prepare(env)
}

unsafe extern "C" fn upgrade(
    env: *mut ErlNifEnv,
    _private: *mut *mut c_void,
    _old_private: *mut *mut c_void,
    _info: ErlNifTerm,
) -> c_int {
    // Recordings live in this library, not in a version of the Erlang module: they
    // go on when the module is loaded again from the same place. A library from
    // another place is a second one, which knows nothing of them; their owners'
    // deaths end them.
    prepare(env)
}

/// 0 when the library can be used in this VM.
fn prepare(env: *mut ErlNifEnv) -> c_int {
    let prepared = std::panic::catch_unwind(|| {
        vm::pin_library();
        atoms::load(env);
        spoor_core::registry::prepare();
        spoor_core::exit::watch();
        vm::words_are_as_expected(env)
    });
    c_int::from(!prepared.unwrap_or(false))
}
