//! Looking ahead: is a recursion plain?
//!
//! A return to a function that is open more than once can be read in several ways, until its
//! lowest activation goes on again. If that takes as many returns as there were calls above it,
//! each of them ended exactly one call: every return ends one at least. So the steps of a
//! process are held from such a return on, till that is known, or known to fail.

use super::frames::{Frame, Reading};
use super::{Observer, Stacks, Step};
use crate::read::{FunctionId, kind};

/// Steps that are held at most, of a process and of all of a share together: 1.3 MB.
const HELD: usize = 1 << 15;
/// How much deeper than where it began the stack may get: what only grows is a loop of tail calls.
const DEEPER: usize = 64;
/// What is kept to be used again, of a share: so many, of at most so many steps. Shares go from thread to
/// thread, and threads that give back each other's memory wait for each other.
const SPARE: usize = 16;
const SPARE_STEPS: usize = 512;

/// What is held of a process, and its stack if each return has ended one call.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// With whether a call that it begins is asked for.
    steps: Vec<(Step, bool)>,
    /// The place of the lowest activation.
    lowest: usize,
    /// Frames that are left, and calls that were made on top of them.
    left: usize,
    above: Vec<FunctionId>,
    deepest: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    NotYet,
    Plain,
    Unclear,
}

impl Held {
    /// Nothing is held as yet, on top of so many frames.
    fn begin(&mut self, lowest: usize, frames: usize) {
        (self.lowest, self.left, self.deepest) = (lowest, frames, frames + DEEPER);
        self.above.clear();
    }

    fn look(&mut self, step: &Step, frames: &[Frame]) -> Found {
        match (step.kind, step.function) {
            (kind::CALL, Some(function)) => {
                self.above.push(function);
                if self.left + self.above.len() > self.deepest { Found::Unclear } else { Found::NotYet }
            }
            (kind::RETURN_TO, Some(target)) => {
                if self.above.pop().is_none() {
                    self.left -= 1;
                }
                let under = self.above.last().copied();
                let under = under.or_else(|| frames[self.left - 1].open().map(|frame| frame.function));
                match under == Some(target) {
                    true if self.above.is_empty() && self.left == self.lowest + 1 => Found::Plain,
                    true => Found::NotYet,
                    false => Found::Unclear,
                }
            }
            (kind::RETURN_TO | kind::RETURN_FROM | kind::EXCEPTION_FROM | kind::EXIT, _) => Found::Unclear,
            _ => Found::NotYet,
        }
    }
}

impl Frame {
    /// Itself, if it is a call that is open for certain.
    fn open(&self) -> Option<&Frame> {
        (!self.marker && !self.unsure).then_some(self)
    }
}

impl Stacks {
    /// Begins to hold steps with this return, if it can be read in several ways and what comes may tell which is right.
    #[cold]
    #[inline(never)]
    pub(super) fn looks_ahead(&mut self, at: usize, step: Step, observer: &mut impl Observer) -> bool {
        let Some(lowest) = self.several_readings(at, &step) else { return false };
        let stack = &mut self.stacks[at];
        let mut held = self.spare.pop().unwrap_or_default();
        held.begin(lowest, stack.frames.len());
        stack.held = Some(held);
        self.hold(at, step, self.asked_for, observer);
        true
    }

    /// Holds the step, and what is held no longer if it says enough.
    #[cold]
    #[inline(never)]
    pub(super) fn hold(&mut self, at: usize, step: Step, asked_for: bool, observer: &mut impl Observer) {
        let stack = &mut self.stacks[at];
        let Some(held) = &mut stack.held else { return };
        let is_whole = step.complete && !step.missing && step.epoch == stack.epoch;
        let found = if is_whole { held.look(&step, &stack.frames) } else { Found::Unclear };
        held.steps.push((step, asked_for));
        self.holding += 1;
        match found {
            Found::NotYet if self.holding < HELD => {}
            found => self.let_go(at, found == Found::Plain, observer),
        }
    }

    /// The place of the function's lowest activation, where a return to it leaves open which of
    /// them goes on, none of these is in doubt, and the function is not known to end with such a call.
    fn several_readings(&self, at: usize, step: &Step) -> Option<usize> {
        let stack = &self.stacks[at];
        let [.., under, top] = stack.frames.as_slice() else { return None };
        let is_asked = stack.reading == Reading::Ahead && step.complete && Some(under.function) == step.function;
        if !is_asked || under.below == 0 {
            return None;
        }
        let lowest = under.lowest as usize;
        let known = [top, under, &stack.frames[lowest]].into_iter().all(|frame| frame.open().is_some());
        (known && stack.went_on(stack.frames.len() - 2).is_none()).then_some(lowest)
    }

    /// Takes the steps of the process that are held, each return as one that ends one call if the recursion is plain.
    #[cold]
    pub(super) fn let_go(&mut self, at: usize, plain: bool, observer: &mut impl Observer) {
        let Some(mut held) = self.stacks[at].held.take() else { return };
        self.holding -= held.steps.len();
        for (step, asked_for) in held.steps.drain(..) {
            self.stacks[at].reading = if plain { Reading::Plain } else { Reading::Unclear };
            self.take(at, step, asked_for, observer);
        }
        self.stacks[at].reading = Reading::Ahead;
        if self.spare.len() < SPARE && held.steps.capacity() <= SPARE_STEPS {
            self.spare.push(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::{Below, Clip, Ended};

    #[derive(Default)]
    struct Counted {
        timed: usize,
        untimed: usize,
    }

    impl Observer for Counted {
        fn called(&mut self, _: u32, _: &Below<'_>, _: FunctionId) -> u32 {
            0
        }
        fn ended(&mut self, _: &Ended) {
            self.timed += 1;
        }
        fn total(&mut self, _: FunctionId, _: u64) {}
        fn clipped(&mut self, _: Option<FunctionId>, _: Clip) {
            self.untimed += 1;
        }
        fn spent(&mut self, _: u32, _: u64, _: bool) {}
    }

    fn step(process: u32, time: usize, kind: u8, function: u32) -> Step {
        let function = Some(FunctionId(function));
        let time = time as u64;
        Step { time, process, kind, function, normal_exit: false, epoch: 0, complete: true, missing: false }
    }

    #[test]
    fn a_first_recursion_is_timed_up_to_what_may_be_held() {
        for (deep, untimed) in [(2, 0), (1000, 0), (HELD - 1, 0), (HELD + 1, HELD - 1)] {
            let (mut stacks, mut counted) = (Stacks::default(), Counted::default());
            let calls = (0..=deep).map(|time| step(0, time, kind::CALL, 1));
            let returns = (0..=deep).map(|time| step(0, deep + 1 + time, kind::RETURN_TO, u32::from(time < deep)));
            calls.chain(returns).for_each(|step| stacks.step(step, true, &mut counted));
            stacks.end(&mut counted);
            assert_eq!((counted.timed, counted.untimed), (deep + 1 - untimed, untimed), "{deep} deep");
            assert_eq!(stacks.holding, 0);
        }
    }

    /// Trees of calls that go on and on, in many processes at a time.
    #[test]
    fn what_is_held_is_bounded_whoever_it_is_of() {
        let (mut stacks, mut counted) = (Stacks::default(), Counted::default());
        for time in 0..2000 {
            for process in 0..100 {
                let kind = if time < 3 || time % 2 == 0 { kind::CALL } else { kind::RETURN_TO };
                stacks.step(step(process, time, kind, 1), true, &mut counted);
            }
            let held: usize = stacks.stacks.iter().flat_map(|stack| &stack.held).map(|held| held.steps.len()).sum();
            assert!(stacks.holding < HELD && stacks.holding == held);
        }
        stacks.end(&mut counted);
        assert_eq!(stacks.holding, 0);
    }
}
