//! Rates: windows of fixed length, one atomic word for each rate: the number of the
//! window and how much of it is used. All threads count in the same word, so a rate
//! holds for the VM as a whole, exactly.

use crate::sync::{AtomicU64, Ordering};

/// Windows by which an event may come late.
const MOST_AHEAD: u32 = 1 << 16;

/// Windows of a fixed length, and what each may hold.
#[derive(Debug)]
pub(crate) struct Windows {
    most: u32,
    ticks: u64,
}

impl Windows {
    /// So many, at least one, in each so many ticks.
    pub(crate) fn new(most: u32, ticks: u64) -> Windows {
        Windows { most: most.max(1), ticks }
    }

    /// Number of the window of a moment, `since` ticks after the start.
    #[inline]
    pub(crate) fn number(&self, since: u64) -> u32 {
        (since / self.ticks) as u32
    }

    /// Ticks from the moment to the end of its window.
    #[inline]
    pub(crate) fn left(&self, since: u64) -> u64 {
        self.ticks - since % self.ticks
    }

    /// Takes one of what the window may still hold. An event that comes late for
    /// its window counts in the one that has begun.
    pub(crate) fn take(&self, word: &AtomicU64, window: u32) -> bool {
        let mut seen = word.load(Ordering::Relaxed);
        loop {
            let (of, used) = Self::split(seen, window);
            if used >= self.most {
                return false;
            }
            let next = u64::from(of) << 32 | u64::from(used + 1);
            // Relaxed: the word guards nothing but itself.
            match word.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Is there nothing left to take?
    pub(crate) fn is_used_up(&self, word: &AtomicU64, window: u32) -> bool {
        Self::split(word.load(Ordering::Relaxed), window).1 >= self.most
    }

    /// May there be nothing left in the window that began last? Needs no clock.
    #[inline]
    pub(crate) fn may_be_used_up(&self, word: &AtomicU64) -> bool {
        word.load(Ordering::Relaxed) as u32 >= self.most
    }

    /// The window that counts, and what of it is used.
    fn split(word: u64, window: u32) -> (u32, u32) {
        let of = (word >> 32) as u32;
        let ahead = of.wrapping_sub(window);
        // Numbers come round again, after 49 days at 1 ms: a word long unused is not ahead.
        let newer = word == 0 || ahead > MOST_AHEAD;
        if newer { (window, 0) } else { (of, word as u32) }
    }
}
