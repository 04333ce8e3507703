//! The atomics of loom, in the place of `native/core/src/sync.rs`.

pub(crate) use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// The kernel's barrier is worth as much as a fence in each thread: loom knows
/// no fence that one thread makes for another.
pub(crate) fn light_barrier() {
    fence(Ordering::SeqCst);
}

pub(crate) fn barrier_on_all_threads() {
    fence(Ordering::SeqCst);
}

pub(crate) fn pause() {
    loom::thread::yield_now();
}
