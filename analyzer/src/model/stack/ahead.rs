//! Looking ahead: is a recursion plain?
//!
//! A return to a function that is open more than once can be read in several ways, until its
//! lowest activation goes on again. If that takes as many returns as there were calls above it,
//! each of them ended exactly one call: every return ends one at least. So the steps of a
//! process are held from such a return on, till that is known, or known to fail.

use super::frames::{Frame, Reading};
use super::{Observer, Stacks, Step};
use crate::read::{FunctionId, kind};

/// Steps of a process that are held at most.
const HELD: usize = 1 << 15;
/// How much deeper than where it began the stack may get: what only grows is a loop of tail calls.
const DEEPER: usize = 64;

/// What is held of a process, and its stack if each return has ended one call.
#[derive(Debug)]
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
    fn new(lowest: usize, frames: usize) -> Held {
        Held { steps: Vec::new(), lowest, left: frames, above: Vec::new(), deepest: frames + DEEPER }
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
        stack.held = Some(Box::new(Held::new(lowest, stack.frames.len())));
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
        match found {
            Found::NotYet if held.steps.len() < HELD => {}
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
        let Some(held) = self.stacks[at].held.take() else { return };
        for (step, asked_for) in held.steps {
            self.stacks[at].reading = if plain { Reading::Plain } else { Reading::Unclear };
            self.take(at, step, asked_for, observer);
        }
        self.stacks[at].reading = Reading::Ahead;
    }
}
