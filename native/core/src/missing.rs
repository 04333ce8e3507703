//! Whose calls were left out, and whether that can be seen on the stack.
//!
//! A call that is left out still returns: the VM has been told to trace it
//! before its function is known. So the calls left out are kept here for as long
//! as they are open, and their returns are left out too; what is then in the file
//! is as if their functions were not traced. Where something that is in the file
//! comes in between, that cannot be said any more: the process's next event tells
//! that its open calls are not known.
//!
//! The events of one process come one after the other, on whatever thread; so its
//! entry has one writer at a time, and the VM's lock on the process orders them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::governor::{Flow, spread};

/// Processes with a call left out that is open.
const PENDING: usize = 1 << 13;
/// Places looked at for a process.
const WAYS: usize = 16;
/// Processes whose function is remembered, more or less.
const RECENT: usize = 1 << 13;
/// Open calls left out that are kept, recursive ones counted once.
const DEPTH: usize = 8;

/// A process with open calls that were left out.
#[derive(Debug)]
struct Pending {
    /// Tracee + 1; 0 for free.
    whose: AtomicU64,
    /// Where it was before, as [`MissingCalls::place_of`] says; 0 unknown.
    before: AtomicU64,
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
    fn new() -> Pending {
        Pending {
            whose: AtomicU64::new(0),
            before: AtomicU64::new(0),
            calls: [const { AtomicU64::new(0) }; DEPTH],
            used: AtomicU64::new(0),
            left: AtomicBool::new(false),
        }
    }

    fn clear(&self) {
        self.used.store(0, Ordering::Relaxed);
        self.left.store(false, Ordering::Relaxed);
    }

    fn release(&self) {
        self.clear();
        self.whose.store(0, Ordering::Release);
    }

    fn push(&self, function: u64) {
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
    fn is_lost(&self) -> bool {
        self.used.load(Ordering::Relaxed) > DEPTH as u64
    }

    fn is_empty(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    /// Execution resumes in the function: if that is one of these calls (not the
    /// latest, which has ended, unless that was said), those above it have ended.
    fn resume(&self, function: u64) -> bool {
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
    fn leave(&self, function: u64) -> bool {
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

impl MissingCalls {
    pub(crate) fn new() -> MissingCalls {
        MissingCalls {
            pending: (0..PENDING).map(|_| Pending::new()).collect(),
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
            return place.push(function);
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
                place.push(function);
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
        match flow {
            Flow::Other => Told::Nothing,
            Flow::Resume(_) | Flow::Leave(_) if place.is_lost() => Told::Own,
            Flow::Resume(function) if place.resume(function) => Told::LeftOut,
            Flow::Leave(function) if place.leave(function) => Told::LeftOut,
            Flow::Resume(function) => match place.before.load(Ordering::Relaxed) {
                0 => Told::Own,
                before => {
                    // None of the calls is open any more.
                    place.release();
                    // Back where it was before them, or that has ended with them.
                    if before == Self::place_of(tracee, function) { Told::LeftOut } else { Told::Nothing }
                }
            },
            // Of a process whose returns are told by name only.
            Flow::Call(_) if place.is_empty() => {
                place.release();
                Told::Nothing
            }
            Flow::Call(_) | Flow::Leave(_) | Flow::Exit => Told::Own,
        }
    }

    /// An event of the process is stored, with what [`MissingCalls::look`] said.
    pub(crate) fn stored(&self, tracee: u64, flow: Flow, told: Told) {
        if told == Told::Own
            && let Some(place) = self.find(tracee)
        {
            place.release();
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
    use Flow::{Call, Exit, Leave, Other, Resume};

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
        calls.leave_out(7, G);
        assert_eq!(event(&calls, 8, Call(H)), Told::Nothing, "it is another's");
        assert_eq!(event(&calls, 7, Call(H)), Told::Own);
        assert_eq!(event(&calls, 7, Resume(G)), Told::Nothing);
    }

    #[test]
    fn a_tail_call_that_is_left_out_ends_with_its_caller() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        calls.leave_out(7, G);
        assert_eq!(event(&calls, 7, Resume(H)), Told::Nothing);
        calls.leave_out(9, G);
        assert_eq!(event(&calls, 9, Resume(F)), Told::Own, "where it was is not known");
        calls.leave_out(9, F);
        assert_eq!(event(&calls, 9, Exit), Told::Own);
    }

    #[test]
    fn returns_by_name_are_left_out_with_their_calls() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        calls.leave_out(7, G);
        calls.leave_out(7, H);
        for flow in [Leave(H), Resume(G), Leave(G), Resume(F)] {
            assert_eq!(event(&calls, 7, flow), Told::LeftOut, "{flow:?}");
        }
        calls.leave_out(7, G);
        assert_eq!(event(&calls, 7, Leave(G)), Told::LeftOut);
        assert_eq!(event(&calls, 7, Call(H)), Told::Nothing, "the other kind of return is not traced");
    }

    #[test]
    fn calls_too_deep_to_be_kept_are_told() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        (0..1000).for_each(|_| calls.leave_out(7, G));
        (0..999).for_each(|_| assert_eq!(event(&calls, 7, Resume(G)), Told::LeftOut));
        assert_eq!(event(&calls, 7, Resume(F)), Told::LeftOut);
        (0..=DEPTH as u64).for_each(|n| calls.leave_out(7, 1 << 63 | n << 8));
        assert_eq!(event(&calls, 7, Resume(F)), Told::Own);
    }

    #[test]
    fn when_there_are_too_many_nobody_is_certain() {
        let calls = MissingCalls::new();
        (0..4 * PENDING as u64).for_each(|tracee| calls.leave_out(tracee, G));
        assert_eq!(event(&calls, 1 << 40, Call(F)), Told::Any);
    }

    /// A small generator of numbers (xorshift).
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % sides
        }
    }

    /// What a process does in its function: calls, some of them as its last act.
    /// Answers whether it returned to its caller itself.
    fn execute(dice: &mut Dice, function: u64, depth: u64, events: &mut Vec<Flow>) {
        for _ in 0..dice.roll(4) {
            if depth == 0 {
                return;
            }
            let called = 1 << 63 | dice.roll(6);
            events.push(Call(called));
            execute(dice, called, depth - 1, events);
            if dice.roll(5) == 0 {
                // It was the last act: the return goes to whoever called this one.
                return;
            }
            events.push(Resume(function));
        }
    }

    /// Calls with begin and end, as a reader sees them that knows no more than
    /// that a return ends what lies above the function it names.
    fn timed(events: &[(usize, Flow, Told)]) -> std::collections::BTreeSet<(u64, usize, usize)> {
        let (mut stack, mut timed) = (Vec::<(u64, usize)>::new(), std::collections::BTreeSet::new());
        for &(at, flow, told) in events {
            if told == Told::Own {
                stack.clear();
            }
            match flow {
                Call(function) => stack.push((function, at)),
                Resume(function) => {
                    let below = stack.len().saturating_sub(1);
                    let keep = stack[..below].iter().rposition(|(known, _)| *known == function);
                    for (ended, from) in stack.drain(keep.map_or(0, |keep| keep + 1)..) {
                        timed.insert((ended, from, at));
                    }
                }
                _ => {}
            }
        }
        timed
    }

    #[test]
    fn no_call_is_timed_other_than_if_all_had_been_recorded() {
        let (mut kept, mut all) = (0, 0);
        for seed in 1..3000 {
            let mut dice = Dice(SEED.wrapping_mul(seed));
            let (mut events, calls) = (Vec::new(), MissingCalls::new());
            for _ in 0..5 {
                events.push(Call(1 << 63 | 7));
                execute(&mut dice, 1 << 63 | 7, 5, &mut events);
                events.push(Resume(1 << 63 | 8));
            }
            let limited = dice.roll(64);
            let full: Vec<_> = events.iter().enumerate().map(|(at, flow)| (at, *flow, Told::Nothing)).collect();
            let mut thin = Vec::new();
            for (at, flow) in events.into_iter().enumerate() {
                match flow {
                    Call(function) if limited >> (function & 7) & 1 == 1 && dice.roll(3) > 0 => {
                        calls.leave_out(7, function);
                    }
                    flow => match event(&calls, 7, flow) {
                        Told::LeftOut => {}
                        told => thin.push((at, flow, told)),
                    },
                }
            }
            let (full, thin) = (timed(&full), timed(&thin));
            assert!(thin.is_subset(&full), "seed {seed}: {:?}", thin.difference(&full).collect::<Vec<_>>());
            kept += thin.len();
            all += full.len();
        }
        assert!(kept * 3 > all, "{kept} of {all}: and a good part of them is");
    }

    const SEED: u64 = 0x2545_f491_4f6c_dd1d;
}
