//! What each function has used of a rate of its own.

use crate::governor::spread;
use crate::sync::{AtomicU64, Ordering};

/// Functions that have a rate of their own; what comes later shares one.
pub(crate) const FUNCTIONS: usize = 1 << 14;
/// Places looked at for a function.
const PROBES: usize = 32;

/// One function's.
#[derive(Debug)]
struct FunctionWord {
    key: AtomicU64,
    used: AtomicU64,
}

/// A word for each function, in a table that never grows.
#[derive(Debug)]
pub(crate) struct Functions {
    table: Box<[FunctionWord]>,
    /// For the functions that found no place: together they get what one may.
    others: AtomicU64,
}

impl Functions {
    pub(crate) fn new() -> Functions {
        let unused = || FunctionWord { key: AtomicU64::new(0), used: AtomicU64::new(0) };
        Functions { table: (0..FUNCTIONS).map(|_| unused()).collect(), others: AtomicU64::new(0) }
    }

    /// Where the function with that key counts.
    pub(crate) fn word(&self, key: u64) -> &AtomicU64 {
        let first = spread(key) as usize;
        for place in (0..PROBES).map(|step| &self.table[first.wrapping_add(step) % FUNCTIONS]) {
            let mut found = place.key.load(Ordering::Relaxed);
            if found == 0 {
                // Relaxed: a key is never changed again, and says all there is to know.
                found = match place.key.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed) {
                    Ok(_) => key,
                    Err(other) => other,
                };
            }
            if found == key {
                return &place.used;
            }
        }
        &self.others
    }
}
