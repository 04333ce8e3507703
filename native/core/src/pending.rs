//! The open calls of one process that were left out, as a stack of a few.
//!
//! The events of one process come one after the other, on whatever thread, and the
//! VM's lock on the process orders them. So its entry has one writer at a time, and
//! whoever takes it over for another process; `version` decides between the two.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::governor::spread;

/// Open calls left out that are kept, recursive ones counted once.
pub(crate) const DEPTH: usize = 8;

/// A process with open calls that were left out.
#[derive(Debug)]
pub(crate) struct Pending {
    /// Odd while somebody has it in hands, another number each time.
    version: AtomicU64,
    /// Tracee + 1; 0 for free.
    pub(crate) whose: AtomicU64,
    /// Tick of the latest call.
    pub(crate) latest: AtomicU64,
    /// Where it was before, as `MissingCalls::place_of` says; 0 unknown.
    pub(crate) before: AtomicU64,
    /// The calls, the latest last: half of the function's hash, and how often it
    /// was called in a row.
    calls: [AtomicU64; DEPTH],
    /// How many of `calls` there are; more than there is room for: nobody knows.
    used: AtomicU64,
    /// The last event said by name which call was left.
    left: AtomicBool,
}

/// The upper half of a function's hash.
fn short(function: u64) -> u64 {
    spread(function) >> 32
}

impl Pending {
    pub(crate) fn new() -> Pending {
        Pending {
            version: AtomicU64::new(0),
            whose: AtomicU64::new(0),
            latest: AtomicU64::new(0),
            before: AtomicU64::new(0),
            calls: [const { AtomicU64::new(0) }; DEPTH],
            used: AtomicU64::new(0),
            left: AtomicBool::new(false),
        }
    }

    /// Takes it in hands if it is wanted; `None` when somebody else does, too.
    pub(crate) fn hold(&self, is_wanted: impl Fn(&Pending) -> bool) -> Option<Held<'_>> {
        let version = self.version.load(Ordering::Acquire); // pairs with Release in `drop`
        if version % 2 == 1 || !is_wanted(self) {
            return None;
        }
        // Release: what was looked at was so before. Acquire, also when another was first:
        // then what allowed it is seen here.
        let taken =
            self.version.compare_exchange(version, version.wrapping_add(1), Ordering::AcqRel, Ordering::Acquire);
        taken.ok().map(|_| Held(self))
    }

    /// It is this process's from now on, or nobody's for 0.
    pub(crate) fn give(&self, whose: u64) {
        self.used.store(0, Ordering::Relaxed);
        self.left.store(false, Ordering::Relaxed);
        self.whose.store(whose, Ordering::Release); // pairs with Acquire in `MissingCalls::find`
    }

    pub(crate) fn release(&self) {
        self.give(0);
    }

    pub(crate) fn push(&self, function: u64, tick: u64) {
        self.latest.store(tick, Ordering::Relaxed);
        let used = self.used.load(Ordering::Relaxed) as usize;
        self.left.store(false, Ordering::Relaxed);
        if let Some(last) = used.checked_sub(1).and_then(|last| self.calls.get(last)) {
            let call = last.load(Ordering::Relaxed);
            if call >> 32 == short(function) {
                return last.store(call + 1, Ordering::Relaxed);
            }
        }
        match self.calls.get(used) {
            Some(place) => {
                place.store(short(function) << 32 | 1, Ordering::Relaxed);
                self.used.store(used as u64 + 1, Ordering::Relaxed);
            }
            None => self.used.store(DEPTH as u64 + 1, Ordering::Relaxed),
        }
    }

    /// Are there more calls than are kept?
    pub(crate) fn is_lost(&self) -> bool {
        self.used.load(Ordering::Relaxed) > DEPTH as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    /// Execution resumes in the function: if that is one of these calls (not the
    /// latest, which has ended, unless that was said), those above it have ended.
    pub(crate) fn resume(&self, function: u64) -> bool {
        let told = self.left.swap(false, Ordering::Relaxed);
        let used = self.used.load(Ordering::Relaxed) as usize;
        for at in (0..used.min(DEPTH)).rev() {
            let call = self.calls[at].load(Ordering::Relaxed);
            let latest = at + 1 == used && !told;
            if call >> 32 == short(function) && !(latest && call as u32 == 1) {
                let ended = u64::from(latest);
                self.calls[at].store(call - ended, Ordering::Relaxed);
                self.used.store(at as u64 + 1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    /// The function is left: if that is one of these calls, it has ended with
    /// those above it.
    pub(crate) fn leave(&self, function: u64) -> bool {
        let used = self.used.load(Ordering::Relaxed) as usize;
        for at in (0..used.min(DEPTH)).rev() {
            let call = self.calls[at].load(Ordering::Relaxed);
            if call >> 32 == short(function) {
                let rest = if call as u32 > 1 { at + 1 } else { at };
                self.calls[at].store(call - 1, Ordering::Relaxed);
                self.used.store(rest as u64, Ordering::Relaxed);
                self.left.store(true, Ordering::Relaxed);
                return true;
            }
        }
        false
    }
}

/// An entry that nobody else writes.
pub(crate) struct Held<'a>(&'a Pending);

impl Deref for Held<'_> {
    type Target = Pending;

    fn deref(&self) -> &Pending {
        self.0
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.version.fetch_add(1, Ordering::Release); // pairs with Acquire in `hold`
    }
}
