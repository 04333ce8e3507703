//! Who is inside a callback, without a lock and without a fence.
//!
//! Each thread has an epoch, odd while it is inside, that it alone stores.
//! Whoever ends a recording closes it first, then forces a memory barrier on all
//! threads (`membarrier`), then waits for each thread that was inside to come
//! out. Either the barrier finds the epoch odd, or the thread finds the recording
//! closed.

use crate::sync::{AtomicU64, Ordering, barrier_on_all_threads, light_barrier, pause};

/// Closes what threads find open by this word, and answers when all who found it open are out:
/// from then on nobody touches what they found. `each_epoch` is to show each thread's epoch.
pub(crate) fn close(word: &AtomicU64, closed: u64, each_epoch: impl FnOnce(&mut dyn FnMut(&Epoch))) {
    word.store(closed, Ordering::SeqCst);
    wait_until_all_are_out(each_epoch);
}

/// Waits until each thread that is inside now has come out once.
pub(crate) fn wait_until_all_are_out(each_epoch: impl FnOnce(&mut dyn FnMut(&Epoch))) {
    barrier_on_all_threads();
    // Shown behind the barrier: who comes to be one of them later finds what was closed.
    each_epoch(&mut |epoch| epoch.wait_until_out());
}

/// Odd while its thread is inside.
#[derive(Debug)]
pub(crate) struct Epoch(AtomicU64);

impl Epoch {
    pub(crate) fn new() -> Self {
        Epoch(AtomicU64::new(0))
    }

    /// Goes in; false when the thread is inside already. Only for its own thread.
    #[inline(always)]
    pub(crate) fn enter(&self) -> bool {
        let epoch = self.0.load(Ordering::Relaxed);
        if epoch % 2 == 1 {
            return false;
        }
        // Release: a waiter that misses the even number before this one still sees
        // what was done inside the last time.
        self.0.store(epoch + 1, Ordering::Release);
        light_barrier();
        true
    }

    /// Comes out. Only for its own thread.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        let epoch = self.0.load(Ordering::Relaxed);
        // Release: everything done inside happens before the waiter's Acquire.
        self.0.store(epoch + 1, Ordering::Release);
    }

    /// Waits until the thread, if it is inside, has come out once. After
    /// `barrier_on_all_threads`.
    pub(crate) fn wait_until_out(&self) {
        let seen = self.0.load(Ordering::Acquire); // pairs with Release in `leave`
        while seen % 2 == 1 && self.0.load(Ordering::Acquire) == seen {
            pause();
        }
    }
}
