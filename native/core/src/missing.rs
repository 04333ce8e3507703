//! Whose calls were left out, and whether that can be seen on the stack.
//!
//! A call that is left out still returns: the VM has been told to trace it
//! before its function is known. A call left out together with its return, and
//! with nothing of the stack in between, is as if the function were not traced.
//! Anything else is told with the process's next event: its calls that are open
//! are then no longer known.
//!
//! The events of one process come one after the other, on whatever thread; so its
//! entry has one writer at a time, and the VM's lock on the process orders them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::governor::{Flow, spread};

/// Processes with a call left out that has not been told.
const PENDING: usize = 1 << 13;
/// Places looked at for a process.
const WAYS: usize = 16;
/// Processes whose function is remembered, more or less.
const RECENT: usize = 1 << 13;

/// A process that has had calls left out since its last event in the file.
#[derive(Debug)]
struct Pending {
    /// Tracee + 1; 0 for free.
    whose: AtomicU64,
    /// Where it was before, as [`MissingCalls::place_of`] says; 0 unknown.
    before: AtomicU64,
    /// A bit for each of the functions left out.
    functions: AtomicU64,
}

/// The calls that were left out.
#[derive(Debug)]
pub(crate) struct MissingCalls {
    pending: Box<[Pending]>,
    /// By process: half of its number's hash, half of the function's it is in.
    recent: Box<[AtomicU64]>,
    /// More processes were pending than there are places: nobody is certain.
    overflow: AtomicBool,
}

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It is stored as it is.
    Nothing,
    /// It is stored, and says that calls of its process were left out.
    Own,
    /// It is stored, and says that calls of any process may have been left out.
    Any,
    /// It is a return of what was left out, and is left out too.
    LeftOut,
}

fn bit(function: u64) -> u64 {
    1 << (spread(function) >> 58)
}

impl MissingCalls {
    pub(crate) fn new() -> MissingCalls {
        let free = || Pending { whose: AtomicU64::new(0), before: AtomicU64::new(0), functions: AtomicU64::new(0) };
        MissingCalls {
            pending: (0..PENDING).map(|_| free()).collect(),
            recent: (0..RECENT).map(|_| AtomicU64::new(0)).collect(),
            overflow: AtomicBool::new(false),
        }
    }

    fn places(&self, tracee: u64) -> impl Iterator<Item = &Pending> {
        let first = spread(tracee) as usize;
        (0..WAYS).map(move |step| &self.pending[first.wrapping_add(step) % PENDING])
    }

    fn find(&self, tracee: u64) -> Option<&Pending> {
        self.places(tracee).find(|place| place.whose.load(Ordering::Relaxed) == tracee.wrapping_add(1))
    }

    fn recent(&self, tracee: u64) -> &AtomicU64 {
        &self.recent[(spread(tracee) >> 32) as usize % RECENT]
    }

    /// That the process is in the function, as one word.
    fn place_of(tracee: u64, function: u64) -> u64 {
        spread(tracee) << 32 | (spread(function) >> 32)
    }

    /// A call is left out.
    pub(crate) fn leave_out(&self, tracee: u64, function: u64) {
        if let Some(place) = self.find(tracee) {
            place.functions.fetch_or(bit(function), Ordering::Relaxed);
            return;
        }
        let whose = tracee.wrapping_add(1);
        let claim = |place: &&Pending| {
            place.whose.load(Ordering::Relaxed) == 0
                && place.whose.compare_exchange(0, whose, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        match self.places(tracee).find(claim) {
            Some(place) => {
                let recent = self.recent(tracee).load(Ordering::Relaxed);
                let known = recent >> 32 == spread(tracee) & 0xffff_ffff;
                place.before.store(if known { recent } else { 0 }, Ordering::Relaxed);
                place.functions.store(bit(function), Ordering::Relaxed);
            }
            None => self.overflow.store(true, Ordering::Relaxed),
        }
    }

    /// What an event that could be stored says of calls that were left out.
    pub(crate) fn look(&self, tracee: u64, flow: Flow) -> Told {
        if self.overflow.load(Ordering::Relaxed) {
            return Told::Any;
        }
        let Some(place) = self.find(tracee) else { return Told::Nothing };
        let is_left_out = |function| place.functions.load(Ordering::Relaxed) & bit(function) != 0;
        match flow {
            Flow::Other => Told::Nothing,
            Flow::Resume(function) | Flow::Leave(function) if is_left_out(function) => Told::LeftOut,
            Flow::Resume(function) if place.before.load(Ordering::Relaxed) == Self::place_of(tracee, function) => {
                // As before the calls: nothing of them is left to be told.
                place.whose.store(0, Ordering::Release);
                Told::LeftOut
            }
            Flow::Call(_) | Flow::Resume(_) | Flow::Leave(_) | Flow::Exit => Told::Own,
        }
    }

    /// An event of the process is stored, with what [`MissingCalls::look`] said.
    pub(crate) fn stored(&self, tracee: u64, flow: Flow, told: Told) {
        if told == Told::Own
            && let Some(place) = self.find(tracee)
        {
            place.whose.store(0, Ordering::Release);
        }
        match flow {
            Flow::Call(function) | Flow::Resume(function) => {
                self.recent(tracee).store(Self::place_of(tracee, function), Ordering::Relaxed);
            }
            // Where the process is now is not known.
            Flow::Leave(_) | Flow::Exit => self.recent(tracee).store(0, Ordering::Relaxed),
            Flow::Other => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Flow::{Call, Exit, Other, Resume};

    const F: u64 = 1 << 63 | 1;
    const G: u64 = 1 << 63 | 2;
    const H: u64 = 1 << 63 | 3;

    fn event(calls: &MissingCalls, tracee: u64, flow: Flow) -> Told {
        let told = calls.look(tracee, flow);
        if told != Told::LeftOut {
            calls.stored(tracee, flow, told);
        }
        told
    }

    #[test]
    fn a_call_that_is_left_out_with_its_return_leaves_no_trace() {
        let calls = MissingCalls::new();
        assert_eq!(event(&calls, 7, Call(F)), Told::Nothing);
        for _ in 0..3 {
            calls.leave_out(7, G);
            assert_eq!(event(&calls, 7, Other), Told::Nothing);
            assert_eq!(event(&calls, 7, Resume(F)), Told::LeftOut);
        }
        assert_eq!(event(&calls, 7, Call(H)), Told::Nothing);
        assert_eq!(event(&calls, 7, Resume(F)), Told::Nothing);
    }

    #[test]
    fn what_is_called_by_a_call_left_out_says_so() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        calls.leave_out(7, G);
        calls.leave_out(7, G);
        assert_eq!(event(&calls, 7, Resume(G)), Told::LeftOut);
        assert_eq!(event(&calls, 8, Call(H)), Told::Nothing, "it is another's");
        assert_eq!(event(&calls, 7, Call(H)), Told::Own);
        assert_eq!(event(&calls, 7, Resume(G)), Told::Nothing);
    }

    #[test]
    fn a_return_to_elsewhere_says_so() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        calls.leave_out(7, G);
        assert_eq!(event(&calls, 7, Resume(H)), Told::Own, "it was a tail call: F has ended");
        calls.leave_out(9, G);
        assert_eq!(event(&calls, 9, Resume(F)), Told::Own, "where it was is not known");
        calls.leave_out(9, F);
        assert_eq!(event(&calls, 9, Exit), Told::Own);
    }

    #[test]
    fn a_function_that_was_left_out_itself_is_not_where_the_process_was() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        calls.leave_out(7, F);
        assert_eq!(event(&calls, 7, Resume(F)), Told::LeftOut);
        assert_eq!(event(&calls, 7, Resume(H)), Told::Own, "nobody knows which F it came back to");
    }

    #[test]
    fn when_there_are_too_many_nobody_is_certain() {
        let calls = MissingCalls::new();
        (0..4 * PENDING as u64).for_each(|tracee| calls.leave_out(tracee, G));
        assert_eq!(event(&calls, 1 << 40, Call(F)), Told::Any);
    }
}
