//! Whose calls were left out, and whether that can be seen on the stack.
//!
//! A call that is left out still returns: the VM has been told to trace it
//! before its function is known. So the calls left out are kept here for as long
//! as they are open, and their returns are left out too; what is then in the file
//! is as if their functions were not traced. Where something that is in the file
//! comes in between, that cannot be said any more: the process's next event tells
//! that its open calls are not known.
//!
//! Who finds no place is not known any more, until an event stored later has told
//! that nobody's open calls are known. What was kept before that event is of no use
//! any more, as it is told: so its places are for others, whatever became of their
//! processes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::governor::{Flow, spread};
use crate::pending::{Held, Pending};

/// Processes with a call left out that is open; a power of two.
const PENDING: usize = 1 << 13;
/// Places looked at for a process.
const WAYS: usize = 16;
/// Processes whose function is remembered, more or less.
const RECENT: usize = 1 << 13;

/// The calls that were left out.
#[derive(Debug)]
pub(crate) struct MissingCalls {
    pending: Box<[Pending]>,
    /// By process: half of its number's hash, half of the function's it is in.
    recent: Box<[AtomicU64]>,
    /// Tick of the latest call left out for which there was no place; 0 for none.
    overflow: AtomicU64,
    /// Tick of the latest event in the file with [`Told::Any`]; 0 for none.
    told: AtomicU64,
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
        MissingCalls::with_places(PENDING)
    }

    fn with_places(places: usize) -> MissingCalls {
        MissingCalls {
            pending: (0..places).map(|_| Pending::new()).collect(),
            recent: (0..RECENT).map(|_| AtomicU64::new(0)).collect(),
            overflow: AtomicU64::new(0),
            told: AtomicU64::new(0),
        }
    }

    fn places(&self, tracee: u64) -> impl Iterator<Item = &Pending> {
        let first = spread(tracee) as usize;
        (0..WAYS).map(move |step| &self.pending[first.wrapping_add(step) & (self.pending.len() - 1)])
    }

    /// The entry of the process whose event this is; it may have been taken over.
    fn find(&self, tracee: u64) -> Option<Held<'_>> {
        let is_its = |place: &Pending| place.whose.load(Ordering::Acquire) == tracee.wrapping_add(1);
        self.places(tracee).find_map(|place| place.hold(is_its))
    }

    fn recent(&self, tracee: u64) -> &AtomicU64 {
        &self.recent[(spread(tracee) >> 32) as usize % RECENT]
    }

    /// That the process is in the function, as one word.
    fn place_of(tracee: u64, function: u64) -> u64 {
        spread(tracee) << 32 | (spread(function) >> 32)
    }

    /// A call is left out.
    pub(crate) fn leave_out(&self, tracee: u64, function: u64, tick: u64) {
        if let Some(place) = self.find(tracee) {
            return place.push(function, tick);
        }
        let told = self.told.load(Ordering::Acquire); // pairs with Release in `stored`
        let is_of_no_use =
            |place: &Pending| place.whose.load(Ordering::Relaxed) == 0 || place.latest.load(Ordering::Relaxed) < told;
        match self.places(tracee).find_map(|place| place.hold(is_of_no_use)) {
            Some(place) => {
                place.give(tracee.wrapping_add(1));
                let recent = self.recent(tracee).load(Ordering::Relaxed);
                let known = recent >> 32 == spread(tracee) & 0xffff_ffff;
                place.before.store(if known { recent } else { 0 }, Ordering::Relaxed);
                place.push(function, tick);
            }
            None => {
                self.overflow.fetch_max(tick, Ordering::Relaxed);
            }
        }
    }

    /// Is there nothing in the file yet, after the last call without a place and before
    /// this tick, that says so?
    fn is_to_tell(&self, tick: u64) -> bool {
        let told = self.told.load(Ordering::Acquire); // pairs with Release in `stored`
        let overflow = self.overflow.load(Ordering::Relaxed);
        overflow > 0 && overflow >= told || told >= tick
    }

    /// What an event that could be stored says of calls that were left out.
    pub(crate) fn look(&self, tracee: u64, flow: Flow, tick: u64) -> Told {
        let place = if flow == Flow::Other { None } else { self.find(tracee) };
        // After the look for the place: if another process has it now, what allowed that is seen.
        if self.is_to_tell(tick) {
            return Told::Any;
        }
        let Some(place) = place else { return Told::Nothing };
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
    pub(crate) fn stored(&self, tracee: u64, flow: Flow, tick: u64, told: Told) {
        if told == Told::Any {
            self.told.fetch_max(tick, Ordering::Release); // pairs with Acquire in `is_to_tell`
        }
        if matches!(told, Told::Own | Told::Any)
            && flow != Flow::Other
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
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::pending::DEPTH;
    use Flow::{Call, Exit, Leave, Other, Resume};

    const F: u64 = 1 << 63 | 1;
    const G: u64 = 1 << 63 | 2;
    const H: u64 = 1 << 63 | 3;

    fn event_at(calls: &MissingCalls, tracee: u64, flow: Flow, tick: u64) -> Told {
        let told = calls.look(tracee, flow, tick);
        if told != Told::LeftOut {
            calls.stored(tracee, flow, tick, told);
        }
        told
    }

    /// All at one time: it matters only to who finds no place.
    fn event(calls: &MissingCalls, tracee: u64, flow: Flow) -> Told {
        event_at(calls, tracee, flow, 1)
    }

    #[test]
    fn a_call_that_is_left_out_with_its_return_leaves_no_trace() {
        let calls = MissingCalls::new();
        assert_eq!(event(&calls, 7, Call(F)), Told::Nothing);
        for _ in 0..3 {
            calls.leave_out(7, G, 1);
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
        calls.leave_out(7, G, 1);
        calls.leave_out(7, G, 1);
        assert_eq!(event(&calls, 7, Resume(G)), Told::LeftOut);
        calls.leave_out(7, G, 1);
        assert_eq!(event(&calls, 8, Call(H)), Told::Nothing, "it is another's");
        assert_eq!(event(&calls, 7, Call(H)), Told::Own);
        assert_eq!(event(&calls, 7, Resume(G)), Told::Nothing);
    }

    #[test]
    fn a_tail_call_that_is_left_out_ends_with_its_caller() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        calls.leave_out(7, G, 1);
        assert_eq!(event(&calls, 7, Resume(H)), Told::Nothing);
        calls.leave_out(9, G, 1);
        assert_eq!(event(&calls, 9, Resume(F)), Told::Own, "where it was is not known");
        calls.leave_out(9, F, 1);
        assert_eq!(event(&calls, 9, Exit), Told::Own);
    }

    #[test]
    fn returns_by_name_are_left_out_with_their_calls() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        calls.leave_out(7, G, 1);
        calls.leave_out(7, H, 1);
        for flow in [Leave(H), Resume(G), Leave(G), Resume(F)] {
            assert_eq!(event(&calls, 7, flow), Told::LeftOut, "{flow:?}");
        }
        calls.leave_out(7, G, 1);
        assert_eq!(event(&calls, 7, Leave(G)), Told::LeftOut);
        assert_eq!(event(&calls, 7, Call(H)), Told::Nothing, "the other kind of return is not traced");
    }

    #[test]
    fn calls_too_deep_to_be_kept_are_told() {
        let calls = MissingCalls::new();
        event(&calls, 7, Call(F));
        (0..1000).for_each(|_| calls.leave_out(7, G, 1));
        (0..999).for_each(|_| assert_eq!(event(&calls, 7, Resume(G)), Told::LeftOut));
        assert_eq!(event(&calls, 7, Resume(F)), Told::LeftOut);
        (0..=DEPTH as u64).for_each(|n| calls.leave_out(7, 1 << 63 | n << 8, 1));
        assert_eq!(event(&calls, 7, Resume(F)), Told::Own);
    }

    #[test]
    fn when_there_are_too_many_nobody_is_certain_until_that_is_told() {
        let calls = MissingCalls::new();
        let mut tick = 0;
        for round in 0..4 {
            let tracees = |n: u64| round << 32 | n;
            for n in 0..4 * PENDING as u64 {
                tick += 1;
                calls.leave_out(tracees(n), G, tick);
            }
            assert_eq!(event_at(&calls, 1 << 40, Call(F), tick), Told::Any);
            assert_eq!(event_at(&calls, 1 << 40, Call(F), tick), Told::Any, "at the same time: before or after it");
            assert_eq!(event_at(&calls, 1 << 40, Call(F), tick + 1), Told::Any, "it is told after the last of them");
            assert_eq!(event_at(&calls, 1 << 40, Call(F), tick + 1), Told::Any, "another event may be before it");
            tick += 2;
            assert_eq!(event_at(&calls, 1 << 40, Call(F), tick), Told::Nothing);
            let told = (0..4 * PENDING as u64).map(|n| event_at(&calls, tracees(n), Call(F), tick + 1));
            assert!(told.into_iter().all(|told| told == Told::Nothing || told == Told::Own));
            // None of these has come to an end; and who comes now finds a place again.
            for n in 0..PENDING as u64 / 4 {
                tick += 4;
                assert_eq!(event_at(&calls, tracees(n << 20), Call(F), tick), Told::Nothing);
                calls.leave_out(tracees(n << 20), G, tick + 1);
                assert_eq!(event_at(&calls, tracees(n << 20), Resume(F), tick + 2), Told::LeftOut);
            }
        }
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

    /// An event: when, whose, what, and what is said with it.
    type Seen = (u64, u64, Flow, Told);

    /// Calls with begin and end, as a reader sees them that knows no more than
    /// that a return ends what lies above the function it names.
    fn timed(events: &[Seen]) -> BTreeSet<(u64, u64, u64, u64)> {
        let (mut stacks, mut timed) = (BTreeMap::<u64, Vec<(u64, u64)>>::new(), BTreeSet::new());
        for &(at, tracee, flow, told) in events {
            if told == Told::Any {
                stacks.clear();
            }
            let stack = stacks.entry(tracee).or_default();
            if told == Told::Own {
                stack.clear();
            }
            match flow {
                Call(function) => stack.push((function, at)),
                Resume(function) => {
                    let below = stack.len().saturating_sub(1);
                    let keep = stack[..below].iter().rposition(|(known, _)| *known == function);
                    for (ended, from) in stack.drain(keep.map_or(0, |keep| keep + 1)..) {
                        timed.insert((tracee, ended, from, at));
                    }
                }
                _ => {}
            }
        }
        timed
    }

    /// What a process does.
    fn program(dice: &mut Dice) -> Vec<Flow> {
        let mut events = Vec::new();
        for _ in 0..5 {
            events.push(Call(1 << 63 | 7));
            execute(dice, 1 << 63 | 7, 5, &mut events);
            events.push(Resume(1 << 63 | 8));
        }
        events
    }

    /// Processes on a thread, many of which are killed; answers all that happened, and what
    /// is in the file of it.
    fn thread(calls: &MissingCalls, clock: &AtomicU64, number: u64) -> (Vec<Seen>, Vec<Seen>) {
        let mut dice = Dice(SEED.wrapping_mul(number));
        let (mut full, mut thin, mut born) = (Vec::new(), Vec::new(), 0);
        let mut alive: Vec<(u64, std::vec::IntoIter<Flow>)> = Vec::new();
        for _ in 0..20_000 {
            while alive.len() < 6 {
                born += 1;
                alive.push((number << 32 | born, program(&mut dice).into_iter()));
            }
            let at = dice.roll(6) as usize;
            let (tracee, flow) = (alive[at].0, alive[at].1.next());
            let Some(flow) = flow.filter(|_| dice.roll(200) > 0) else {
                alive.remove(at);
                continue;
            };
            let tick = clock.fetch_add(1, Ordering::SeqCst);
            if dice.roll(8) == 0 {
                std::thread::yield_now();
            }
            full.push((tick, tracee, flow, Told::Nothing));
            match flow {
                Call(function) if function & 1 == 1 && dice.roll(2) > 0 => calls.leave_out(tracee, function, tick),
                flow => match event_at(calls, tracee, flow, tick) {
                    Told::LeftOut => {}
                    told => thin.push((tick, tracee, flow, told)),
                },
            }
        }
        (full, thin)
    }

    #[test]
    fn no_call_is_timed_other_when_places_are_taken_over_at_the_same_time() {
        for places in [2, 16, 32] {
            let (calls, clock) = (MissingCalls::with_places(places), AtomicU64::new(1));
            let (mut full, mut thin) = (Vec::new(), Vec::new());
            std::thread::scope(|scope| {
                let threads: Vec<_> = (1..5)
                    .map(|number| {
                        scope.spawn({
                            let (calls, clock) = (&calls, &clock);
                            move || thread(calls, clock, number)
                        })
                    })
                    .collect();
                for (all, stored) in threads.into_iter().map(|thread| thread.join().expect("it does not panic")) {
                    full.extend(all);
                    thin.extend(stored);
                }
            });
            full.sort_unstable_by_key(|(at, ..)| *at);
            thin.sort_unstable_by_key(|(at, ..)| *at);
            let any = thin.iter().filter(|(.., told)| *told == Told::Any).count();
            let (full, thin) = (timed(&full), timed(&thin));
            assert!(thin.is_subset(&full), "{places}: {:?}", thin.difference(&full).take(9).collect::<Vec<_>>());
            assert!(any > 0 && thin.len() > 100, "{places}: {any} told, {} of {} timed", thin.len(), full.len());
        }
    }

    #[test]
    fn no_call_is_timed_other_than_if_all_had_been_recorded() {
        let (mut kept, mut all) = (0, 0);
        for seed in 1..3000 {
            let mut dice = Dice(SEED.wrapping_mul(seed));
            let (events, calls) = (program(&mut dice), MissingCalls::new());
            let limited = dice.roll(64);
            let seen = |(at, flow): (usize, &Flow)| (at as u64, 7, *flow, Told::Nothing);
            let full: Vec<_> = events.iter().enumerate().map(seen).collect();
            let mut thin = Vec::new();
            for (at, flow) in events.into_iter().enumerate() {
                match flow {
                    Call(function) if limited >> (function & 7) & 1 == 1 && dice.roll(3) > 0 => {
                        calls.leave_out(7, function, 1);
                    }
                    flow => match event(&calls, 7, flow) {
                        Told::LeftOut => {}
                        told => thin.push((at as u64, 7, flow, told)),
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
