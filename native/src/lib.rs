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

/// What the VM keeps for the Erlang module: what a library from another place, that takes over
/// from this one, can ask of it. Whatever becomes of this, the first two words stay.
#[repr(C)]
struct Handover {
    magic: u64,
    /// Ends this library's recordings.
    end: extern "C" fn(),
}

/// "SpHandov".
const HANDOVER: u64 = u64::from_le_bytes(*b"SpHandov");

static THIS: Handover = Handover { magic: HANDOVER, end: end_as_upgraded };

extern "C" fn end_as_upgraded() {
    // A panic must not leave a function that another library calls.
    let _ = std::panic::catch_unwind(|| spoor_core::registry::close_all("Spoor was upgraded"));
}

/// Tells the VM what to keep. It is never written, nor freed.
///
/// # Safety
/// `private` is what the VM gave to `load` or `upgrade`.
unsafe fn hand_over(private: *mut *mut c_void) {
    let this: *const Handover = &THIS;
    // SAFETY: a place of the VM's own, as the caller says.
    unsafe { *private = this.cast_mut().cast() };
}

unsafe extern "C" fn load(env: *mut ErlNifEnv, private: *mut *mut c_void, _info: ErlNifTerm) -> c_int {
    // SAFETY: as the VM gave it.
    unsafe { hand_over(private) };
    prepare(env)
}

unsafe extern "C" fn upgrade(
    env: *mut ErlNifEnv,
    private: *mut *mut c_void,
    old_private: *mut *mut c_void,
    _info: ErlNifTerm,
) -> c_int {
    let prepared = prepare(env);
    // Recordings live in this library, not in a version of the Erlang module: they
    // go on when the module is loaded again from the same place. A library from
    // another place is a second one, which knows nothing of them: the VM asks this
    // one about their events from now on. They end, and say why.
    // SAFETY: a place of the VM's own.
    let old: *const Handover = unsafe { *old_private }.cast_const().cast();
    if prepared == 0 && !std::ptr::eq(old, &THIS) {
        // SAFETY: null, or what `hand_over` of another library stored: that is never unloaded.
        // Those before there was such a thing stored nothing.
        if let Some(old) = unsafe { old.as_ref() }.filter(|old| old.magic == HANDOVER) {
            (old.end)();
        }
    }
    // SAFETY: as the VM gave it.
    unsafe { hand_over(private) };
    prepared
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
