//! Files that become shorter while they are mapped: what a store behind the new
//! end would do to the VM is a SIGBUS, and what this makes of it is memory.
//!
//! A handler puts zeroed memory of nobody's in place of what the file no longer
//! has and remarks it; the store that came too late goes there, and the keeper
//! ends the recording. A SIGBUS of others goes where it went before this handler
//! was there: to the handler before it (another copy of this library, say), or to
//! the default action.
//!
//! In the handler are only atomics and the calls `mmap`, `sigaction`, `raise`: no
//! lock, no allocation, no panic. It takes little stack, of the thread's own
//! signal stack where the VM has given it one (`SA_ONSTACK`). A thread that blocks
//! SIGBUS is not helped: the kernel kills it.

use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};

/// Mappings that can be watched at once; others are as they would be without.
const RANGES: usize = 4 * crate::registry::SLOTS;

/// Addresses of one mapping.
struct Range {
    /// 0: nobody's. 1: being entered. Else the first address.
    start: AtomicUsize,
    end: AtomicUsize,
    /// Bytes of which, from the start on, each part is of one file.
    part: AtomicUsize,
    /// Has something of it been replaced?
    lost: AtomicBool,
}

const FREE: usize = 0;
const ENTERING: usize = 1;

static TABLE: [Range; RANGES] = [const {
    Range {
        start: AtomicUsize::new(FREE),
        end: AtomicUsize::new(0),
        part: AtomicUsize::new(0),
        lost: AtomicBool::new(false),
    }
}; RANGES];

static PAGE: AtomicUsize = AtomicUsize::new(4096);

/// The handler that was there before: its address or `SIG_DFL`, `SIG_IGN`.
static BEFORE: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);
static BEFORE_FLAGS: AtomicI32 = AtomicI32::new(0);

/// A mapping that is watched until this is dropped, which must be before it is
/// unmapped.
#[derive(Debug)]
pub(crate) struct Watch(Option<usize>);

impl Watch {
    /// Watches the addresses of a mapping of files, of which each takes
    /// `part_bytes`, a multiple of a page.
    pub(crate) fn over(start: *const u8, bytes: usize, part_bytes: usize) -> Watch {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(install);
        for (place, range) in TABLE.iter().enumerate() {
            if range.start.compare_exchange(FREE, ENTERING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                range.lost.store(false, Ordering::Relaxed);
                range.part.store(part_bytes.max(1), Ordering::Relaxed);
                range.end.store(start as usize + bytes, Ordering::Relaxed);
                range.start.store(start as usize, Ordering::Release); // pairs with Acquire in `find`
                return Watch(Some(place));
            }
        }
        Watch(None)
    }

    /// Has the file lost what was mapped? What is stored from there on is not in it.
    pub(crate) fn is_lost(&self) -> bool {
        self.0.is_some_and(|place| TABLE[place].lost.load(Ordering::Acquire))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(place) = self.0 {
            TABLE[place].start.store(FREE, Ordering::Release);
        }
    }
}

/// The watched mapping that has the address, and where that file's part ends.
fn find(address: usize) -> Option<(&'static Range, usize)> {
    TABLE.iter().find_map(|range| {
        let start = range.start.load(Ordering::Acquire); // pairs with Release in `over`
        let part = range.part.load(Ordering::Acquire);
        let end = range.end.load(Ordering::Acquire);
        // The same start twice: the other two belong to it.
        let settled = start > ENTERING && range.start.load(Ordering::Relaxed) == start;
        let inside = settled && start <= address && address < end;
        inside.then(|| (range, end.min(address - (address - start) % part + part)))
    })
}

fn install() {
    // SAFETY: takes a number, answers one.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    PAGE.store(usize::try_from(page).unwrap_or(4096), Ordering::Relaxed);
    // SAFETY: sigaction is plain data, for which all zeroes are a value.
    let mut before: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: asks what is there, into a struct of our own.
    unsafe { libc::sigaction(libc::SIGBUS, std::ptr::null(), &mut before) };
    BEFORE.store(before.sa_sigaction, Ordering::Relaxed);
    BEFORE_FLAGS.store(before.sa_flags, Ordering::Relaxed);
    // SAFETY: as above.
    let mut ours: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_fault;
    ours.sa_sigaction = handler as usize;
    ours.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
    // SAFETY: the set is our own.
    unsafe { libc::sigemptyset(&mut ours.sa_mask) };
    // SAFETY: the handler keeps to what a handler may do, and is there for ever:
    // the library is never unloaded (`vm::pin_library`).
    unsafe { libc::sigaction(libc::SIGBUS, &ours, std::ptr::null_mut()) };
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: errno of this thread, which the interrupted code may be about to read.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let kept = unsafe { *errno };
    // SAFETY: SA_SIGINFO: the kernel passes what happened.
    let what = unsafe { &*info };
    let is_fault = what.si_code > 0;
    // SAFETY: a SIGBUS that the kernel itself raised has an address.
    let address = unsafe { what.si_addr() } as usize;
    if !is_fault || !replace(address) {
        pass_on(signal, info, context, is_fault);
    }
    // SAFETY: as above.
    unsafe { *errno = kept };
}

/// Memory in place of the page and all behind it of the same file: where the page
/// is gone, so is the rest. (One page at a time, a large ring could take more
/// mappings than a process may have.)
fn replace(address: usize) -> bool {
    let Some((range, end)) = find(address) else { return false };
    let from = address & !(PAGE.load(Ordering::Relaxed) - 1);
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
    // SAFETY: within a mapping of ours that is in use (a thread just touched it);
    // only what the file no longer has is replaced.
    let at = unsafe { libc::mmap(from as *mut c_void, end - from, access, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return false;
    }
    range.lost.store(true, Ordering::Release);
    true
}

/// What would have happened without this handler.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, is_fault: bool) {
    let before = BEFORE.load(Ordering::Relaxed);
    match before {
        // Ignored, and not a fault: it stays ignored. A fault cannot be.
        libc::SIG_IGN if !is_fault => {}
        libc::SIG_DFL | libc::SIG_IGN => {
            // SAFETY: sigaction is plain data; all zeroes are SIG_DFL.
            let default: libc::sigaction = unsafe { std::mem::zeroed() };
            // SAFETY: a struct of our own.
            unsafe { libc::sigaction(signal, &default, std::ptr::null_mut()) };
            if !is_fault {
                // SAFETY: takes a number; delivered when this handler returns.
                unsafe { libc::raise(signal) };
            }
            // A fault happens again as soon as this returns.
        }
        handler if BEFORE_FLAGS.load(Ordering::Relaxed) & libc::SA_SIGINFO != 0 => {
            // SAFETY: whoever installed it said that it takes these.
            let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = unsafe { std::mem::transmute(handler) };
            handler(signal, info, context);
        }
        handler => {
            // SAFETY: as above.
            let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            handler(signal);
        }
    }
}
