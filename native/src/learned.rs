//! What differs between VMs, learned when the library is loaded or a term is first seen.

use std::ffi::{CStr, c_char, c_int};
use std::sync::atomic::{AtomicU64, Ordering};

unsafe extern "C" {
    fn enif_system_info(info: *mut SystemInfo, size: usize);
}

/// No header of a boxed term: a tag of an immediate.
pub(crate) const NO_HEADER: u64 = u64::MAX;

/// Read for each event: in one line of the processor's cache.
#[repr(align(64))]
pub(crate) struct Learned {
    /// Of flat maps; [`NO_HEADER`] while their layout is not known.
    pub(crate) flat_map_header: AtomicU64,
    /// Bits of the words of pids and ports that tell one from others.
    pub(crate) identity_bits: AtomicU64,
    /// Of ordinary references; [`NO_HEADER`] until understood.
    pub(crate) reference_header: AtomicU64,
    /// Of aliases, likewise.
    pub(crate) alias_header: AtomicU64,
    /// Of aliases whose text names their process, from OTP 26 on; likewise.
    pub(crate) long_alias_header: AtomicU64,
}

pub(crate) static LEARNED: Learned = Learned {
    flat_map_header: AtomicU64::new(NO_HEADER),
    identity_bits: AtomicU64::new(u64::MAX),
    reference_header: AtomicU64::new(NO_HEADER),
    alias_header: AtomicU64::new(NO_HEADER),
    long_alias_header: AtomicU64::new(NO_HEADER),
};

/// To OTP 25 the low 28 bits tell, and those above have the place in the VM's table, for speed.
pub(crate) fn identities() {
    // SAFETY: plain data, for which all zeroes are a value.
    let mut info: SystemInfo = unsafe { std::mem::zeroed() };
    // SAFETY: a struct of our own, of which the VM fills as much as its size says.
    unsafe { enif_system_info(&mut info, size_of::<SystemInfo>()) };
    if info.otp_release.is_null() {
        return;
    }
    // SAFETY: the VM's own text, which ends with 0 and lives as long.
    let release = unsafe { CStr::from_ptr(info.otp_release) };
    if release.to_str().ok().and_then(|release| release.parse().ok()).is_some_and(|release: u32| release <= 25) {
        LEARNED.identity_bits.store((1 << 28) - 1, Ordering::Relaxed);
    }
}

/// The beginning of `ErlNifSysInfo`, as all releases have it.
#[repr(C)]
struct SystemInfo {
    driver_version: [c_int; 2],
    erts_version: *const c_char,
    otp_release: *const c_char,
    threads: [c_int; 4],
}
