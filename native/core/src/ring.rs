//! Whose chunk is whose.
//!
//! Chunks are taken in turn, so that taking one overwrites the oldest. A chunk
//! that some thread still writes, or that the keeper or who copies is reading, is
//! passed over: an idle thread keeps its open chunk for as long as it likes. Nothing
//! here waits; a ring with no chunk to give says so.
//!
//! A ring may be told how many chunks it may give out, counted from the first: one
//! that keeps the first is never told another number, and a stream is told a greater
//! one whenever there is a place for the next segment.

use crate::sync::{AtomicU64, Ordering};

/// Nobody's: may be taken or pinned.
const FREE: u64 = 0;
/// Being copied, whoever holds it: must not be taken.
const COPIED: u64 = 1;
/// Held by the keeper, which reads it: must not be taken.
const PINNED: u64 = 1 << 1;

/// Held by the thread that took it, the take of that number, which is not 0.
const fn open(seq: u64) -> u64 {
    seq << 2
}

/// What is said to a ring that gives out chunks for ever.
pub(crate) const ENDLESS: u64 = u64::MAX;

/// The shared part of a ring of chunks.
#[derive(Debug)]
pub(crate) struct Ring {
    /// FREE, or who holds it, and whether it is copied. From FREE by the taker and by
    /// the keeper, who clear theirs again; COPIED is set and cleared by who copies.
    states: Box<[AtomicU64]>,
    /// Chunks ever asked for. Only grows.
    next: AtomicU64,
    /// Chunks that may be asked for; [`ENDLESS`], or only grows.
    limit: AtomicU64,
}

/// A chunk that the caller may write until it releases it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) index: u64,
    /// 1, 2, …; greater than that of any chunk taken before.
    pub(crate) seq: u64,
}

impl Ring {
    /// A ring of so many places that gives out `limit` chunks before it is told more.
    pub(crate) fn new(chunks: u64, limit: u64) -> Self {
        Ring {
            states: (0..chunks).map(|_| AtomicU64::new(FREE)).collect(),
            next: AtomicU64::new(0),
            limit: AtomicU64::new(limit),
        }
    }

    /// So many chunks may be given out: the places of those that are new are nobody's.
    pub(crate) fn allow(&self, limit: u64) {
        // Release: what was done with the places happens before they are taken.
        self.limit.store(limit, Ordering::Release);
    }

    /// Chunks that it will give out before it is told more.
    pub(crate) fn left(&self) -> u64 {
        self.limit.load(Ordering::Relaxed).saturating_sub(self.next.load(Ordering::Relaxed))
    }

    /// The place that is probably taken next.
    pub(crate) fn next_place(&self) -> u64 {
        self.next.load(Ordering::Relaxed) % self.states.len() as u64
    }

    /// Where it stands who holds that place.
    pub(crate) fn state_of_next(&self) -> *const u8 {
        std::ptr::from_ref(&self.states[self.next_place() as usize]).cast()
    }

    /// Chunks asked for.
    pub(crate) fn asked(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// The oldest chunk that nobody holds, or the next where only so many are given out.
    pub(crate) fn take(&self) -> Option<Taken> {
        if self.limit.load(Ordering::Relaxed) != ENDLESS {
            return self.take_next();
        }
        for _ in 0..self.states.len() {
            // Relaxed: only the uniqueness of the number matters here.
            let ticket = self.next.fetch_add(1, Ordering::Relaxed);
            let index = ticket % self.states.len() as u64;
            if self.leave_free(index, open(ticket + 1)) {
                return Some(Taken { index, seq: ticket + 1 });
            }
        }
        None
    }

    fn take_next(&self) -> Option<Taken> {
        let mut ticket = self.next.load(Ordering::Relaxed);
        loop {
            // Acquire pairs with the Release in `allow`.
            if ticket >= self.limit.load(Ordering::Acquire) {
                return None;
            }
            match self.next.compare_exchange(ticket, ticket + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => ticket = now,
            }
        }
        let index = ticket % self.states.len() as u64;
        // Nobody else has the ticket, and nobody pins or copies a chunk that was not begun.
        self.states[index as usize].store(open(ticket + 1), Ordering::Relaxed);
        Some(Taken { index, seq: ticket + 1 })
    }

    /// Keeps a chunk from being taken while it is read; false when it is held.
    pub(crate) fn pin(&self, index: u64) -> bool {
        self.leave_free(index, PINNED)
    }

    /// Gives a chunk back after `take` or `pin`.
    pub(crate) fn release(&self, index: u64) {
        // Release: what was written in the chunk happens before the next holder's
        // Acquire in `leave_free`, and before that of who copies.
        self.states[index as usize].fetch_and(COPIED, Ordering::Release);
    }

    /// Keeps a chunk from being taken while it is copied, even if its holder gives it back
    /// meanwhile; `None` when a later take than `seq` holds it. By one thread at a time.
    pub(crate) fn copying(&self, index: u64, seq: u64) -> Option<Copying<'_>> {
        let state = &self.states[index as usize];
        // Acquire pairs with the Release in `release`: what its last holder wrote is there.
        let holder = state.fetch_or(COPIED, Ordering::Acquire);
        let copying = Copying { state };
        [FREE, PINNED, open(seq)].contains(&holder).then_some(copying)
    }

    fn leave_free(&self, index: u64, to: u64) -> bool {
        // Acquire pairs with the Release in `release`.
        self.states[index as usize].compare_exchange(FREE, to, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

/// A chunk that nobody takes while this lives.
#[derive(Debug)]
pub(crate) struct Copying<'a> {
    state: &'a AtomicU64,
}

impl Drop for Copying<'_> {
    fn drop(&mut self) {
        // Release: what was read was read before the next holder's Acquire in `leave_free`.
        self.state.fetch_and(!COPIED, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_taken_oldest_first() {
        let ring = Ring::new(3, ENDLESS);
        for round in 0..5 {
            let taken = ring.take().expect("free");
            assert_eq!(taken, Taken { index: round % 3, seq: round + 1 });
            ring.release(taken.index);
        }
    }

    #[test]
    fn a_held_chunk_is_passed_over_and_a_full_ring_says_so() {
        let ring = Ring::new(3, ENDLESS);
        let held = ring.take().expect("free");
        assert!(ring.pin(1));
        for _ in 0..4 {
            let taken = ring.take().expect("one is free");
            assert_eq!(taken.index, 2);
            assert_eq!(ring.take(), None);
            ring.release(taken.index);
        }
        assert!(!ring.pin(held.index));
        ring.release(1);
        ring.release(held.index);
        assert_eq!(ring.take().map(|taken| taken.index != 2), Some(true));
    }

    #[test]
    fn a_chunk_that_is_copied_is_passed_over_whoever_holds_it() {
        let ring = Ring::new(2, ENDLESS);
        let held = ring.take().expect("free");
        let copying = ring.copying(held.index, held.seq).expect("held by that take");
        ring.release(held.index);
        assert_eq!(ring.take().map(|taken| taken.index), Some(1));
        assert_eq!(ring.take(), None);
        assert!(!ring.pin(held.index));
        drop(copying);
        let next = ring.take().expect("free again");
        assert_eq!(next.index, held.index);
        assert!(ring.copying(held.index, held.seq).is_none(), "held by a later take");
        ring.release(next.index);
        assert!(ring.pin(held.index));
        assert!(ring.copying(held.index, next.seq).is_some(), "two may read");
        ring.release(held.index);
        assert!(ring.pin(held.index));
    }

    #[test]
    fn a_ring_that_keeps_the_first_gives_out_each_once() {
        let ring = Ring::new(2, 2);
        for seq in 1..=2 {
            let taken = ring.take().expect("allowed");
            assert_eq!(taken, Taken { index: seq - 1, seq });
            ring.release(taken.index);
        }
        assert_eq!(ring.take(), None);
        ring.allow(3);
        assert_eq!((ring.take().map(|taken| (taken.index, taken.seq)), ring.take()), (Some((0, 3)), None));
    }

    #[test]
    fn threads_never_hold_the_same_chunk() {
        let ring = Ring::new(4, ENDLESS);
        let holders: Vec<_> = (0..4).map(|_| AtomicU64::new(0)).collect();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some(taken) = ring.take() else { continue };
                        let holder = &holders[taken.index as usize];
                        assert_eq!(holder.fetch_add(1, Ordering::Relaxed), 0);
                        holder.fetch_sub(1, Ordering::Relaxed);
                        ring.release(taken.index);
                    }
                });
            }
        });
    }
}
