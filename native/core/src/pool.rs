//! The events that a recording may still store, handed out to its lanes.
//!
//! While plenty are left a lane takes many at once, and counts them down for itself.
//! When the end is near, each is taken one by one, and what lanes still hold of
//! greater portions is settled: a lane gives it back when it looks, and from one that
//! is idle it is taken away, once no thread is inside a callback. So all are used up.
//! Lane and taker agree on who gives back by one swap.

use crate::sync::{AtomicU64, Ordering};

/// Events that a lane may store before it asks again, while plenty are left; or, where that is
/// more, this part of what all lanes could have: asking is seldom, so what it takes is not in
/// the processor's cache.
const GRANT: u64 = 1024;
const PART: u64 = 1024;
/// The last so many are taken one by one: what threads lose by fighting for them is
/// bounded by that.
pub(crate) const EXACT: u64 = 100_000;

/// Portions are handed out.
const PLENTY: u64 = 0;
/// The end is near: what lanes hold is to be settled.
const NEAR: u64 = 1;
/// Nobody holds a portion.
const SETTLED: u64 = 2;

/// What a lane has of the pool. Lanes do not share cache lines.
#[derive(Debug)]
#[repr(align(64))]
struct Share {
    /// Events ever granted to the lane. Stored by the lane; by the taker after the swap.
    granted: AtomicU64,
    /// 1 when what it held was given back or taken away.
    settled: AtomicU64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Pool {
    left: AtomicU64,
    phase: AtomicU64,
    shares: Box<[Share]>,
    /// The last so many are taken one by one.
    exact: u64,
}

/// What a lane gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grant {
    /// So many events may be stored.
    Some(u64),
    /// Nothing is left but what is about to be taken from idle lanes.
    Later,
    /// All are used up.
    None,
}

impl Pool {
    pub(crate) fn new(events: Option<u64>, lanes: usize, exact: u64) -> Pool {
        let share = |_| Share { granted: AtomicU64::new(0), settled: AtomicU64::new(0) };
        let left = events.unwrap_or(u64::MAX);
        let phase = if left <= exact { SETTLED } else { PLENTY };
        Pool {
            left: AtomicU64::new(left),
            phase: AtomicU64::new(phase),
            shares: (0..lanes).map(share).collect(),
            exact,
        }
    }

    /// Some of the events left, for the lane itself.
    pub(crate) fn grant(&self, lane: u32) -> Grant {
        let mut left = self.left.load(Ordering::Relaxed);
        loop {
            if left == 0 {
                // Acquire: what was taken from lanes was put back before they were settled.
                let settled = self.phase.load(Ordering::Acquire) == SETTLED;
                left = self.left.load(Ordering::Relaxed);
                match settled {
                    _ if left > 0 => continue,
                    true => return Grant::None,
                    false => return Grant::Later,
                }
            }
            let some = self.portion(left);
            match self.left.compare_exchange_weak(left, left - some, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    if let Some(share) = self.shares.get(lane as usize) {
                        // One writer at a time.
                        share.granted.store(share.granted.load(Ordering::Relaxed) + some, Ordering::Relaxed);
                    }
                    if left - some <= self.exact {
                        self.come_near();
                    }
                    return Grant::Some(some);
                }
                Err(now) => left = now,
            }
        }
    }

    /// No portion reaches into the events that are taken one by one.
    fn portion(&self, left: u64) -> u64 {
        let lanes = self.shares.len().max(1) as u64;
        let most = GRANT.max(left / (PART * lanes));
        (left / (2 * lanes)).min(most).min(left.saturating_sub(self.exact)).max(1)
    }

    fn come_near(&self) {
        if self.phase.load(Ordering::Relaxed) == PLENTY {
            let _ = self.phase.compare_exchange(PLENTY, NEAR, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Is the end near? Lanes that hold portions are then to be asked to look.
    pub(crate) fn is_near(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == NEAR
    }

    /// Has a lane that looks to settle what it holds?
    pub(crate) fn is_to_settle(&self) -> bool {
        self.phase.load(Ordering::Relaxed) != PLENTY
    }

    /// Events left before they are taken one by one; `None` when they are.
    pub(crate) fn plenty(&self) -> Option<u64> {
        let left = self.left.load(Ordering::Relaxed);
        (self.phase.load(Ordering::Relaxed) == PLENTY).then(|| left.saturating_sub(self.exact))
    }

    /// The lane gives back what it holds, unless that was taken away. Once for each lane.
    pub(crate) fn settle(&self, lane: u32, held: u64) {
        let Some(share) = self.shares.get(lane as usize) else { return };
        if share.settled.swap(1, Ordering::AcqRel) == 0 {
            self.give_back(lane, held);
        }
    }

    /// The lane gives back what it was granted and did not use.
    pub(crate) fn give_back(&self, lane: u32, held: u64) {
        let Some(share) = self.shares.get(lane as usize) else { return };
        if held > 0 {
            share.granted.store(share.granted.load(Ordering::Relaxed).saturating_sub(held), Ordering::Relaxed);
            self.left.fetch_add(held, Ordering::Relaxed);
        }
    }

    /// Takes away what idle lanes hold; `stored` says how many events a lane has stored.
    /// Only after each lane was asked to look, and each thread that was inside a callback
    /// then has come out of it: from then on a lane settles before it stores.
    pub(crate) fn take_away(&self, stored: impl Fn(u32) -> u64) {
        for (lane, share) in self.shares.iter().enumerate() {
            if share.settled.swap(1, Ordering::AcqRel) == 0 {
                let stored = stored(lane as u32);
                let held = share.granted.load(Ordering::Relaxed).saturating_sub(stored);
                share.granted.store(stored, Ordering::Relaxed);
                self.left.fetch_add(held, Ordering::Relaxed);
            }
        }
        self.phase.store(SETTLED, Ordering::Release);
    }
}
