//! What the concurrent parts (`ring`, `gate`, `chunk_words`) are made of. They
//! take it all from here, so that `native/models` can check them with atomics
//! whose every order of events is tried.

use std::sync::atomic::{AtomicBool, compiler_fence};
use std::time::Duration;

pub(crate) use std::sync::atomic::{AtomicU64, Ordering, fence};

const MEMBARRIER_PRIVATE_EXPEDITED: i32 = 1 << 3;
const MEMBARRIER_REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;

/// Has the kernel promised barriers to this process?
static MEMBARRIER: AtomicBool = AtomicBool::new(false);

/// Asks the kernel for barriers on all threads. Once, before the first recording.
pub fn prepare() {
    MEMBARRIER.store(membarrier(MEMBARRIER_REGISTER_PRIVATE_EXPEDITED), Ordering::Relaxed);
}

/// The half of a barrier that costs nothing: the other half does it for both.
#[inline(always)]
pub(crate) fn light_barrier() {
    compiler_fence(Ordering::SeqCst);
}

/// As if every thread, this one included, passed a full fence now.
pub(crate) fn barrier_on_all_threads() {
    if MEMBARRIER.load(Ordering::Relaxed) && membarrier(MEMBARRIER_PRIVATE_EXPEDITED) {
        return;
    }
    // Without the call (a sandbox may forbid it): a store leaves its processor's
    // buffer in far less time than this, and a thread that is switched out has
    // passed a barrier.
    std::thread::sleep(Duration::from_millis(100));
}

fn membarrier(command: i32) -> bool {
    // SAFETY: membarrier takes two integers more and touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
}

/// Lets other threads run for a moment. Never in a callback.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_micros(50));
}
