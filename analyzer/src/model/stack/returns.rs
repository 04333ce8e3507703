//! What a return tells: which calls it ends, which may have ended, and what is
//! learned from it about who calls whom.

use super::frames::Frame;
use super::{Clip, Observer, REACH, Stacks, Step};
use crate::read::FunctionId;

impl Stacks {
    pub(super) fn return_to(&mut self, at: usize, step: Step, observer: &mut impl Observer) {
        self.stacks[at].spend(step, observer);
        let told = std::mem::take(&mut self.stacks[at].after_return);
        let Some(target) = step.function else {
            // Below the process's first function there is nothing.
            if !told && self.stacks[at].frames.iter().all(|frame| frame.marker) {
                self.return_unseen(at, observer);
            }
            return self.pop_to(at, 0, step, observer);
        };
        if !told && (self.return_to_caller(at, target, step, observer) || self.looks_ahead(at, step, observer)) {
            return;
        }
        let stack = &self.stacks[at];
        let Some(top) = stack.frames.iter().rposition(|frame| !frame.marker) else {
            return self.return_from_nowhere(at, target, told, observer);
        };
        // At least the topmost call has ended, unless its end was told already.
        let below = if told { stack.frames.len() } else { top };
        if let Some(found) = stack.topmost(target, below, |_| true) {
            return self.resume(at, found, top, told, step, observer);
        }
        if self.stacks[at].is_traced(target) {
            // Its call would be here, had it come after any of these, and had all been understood.
            let stack = &mut self.stacks[at];
            if stack.assumed || stack.settled {
                (0..stack.frames.len()).rev().for_each(|place| stack.doubt(place, step.time, observer));
            }
            stack.contradicted();
            self.pop_to(at, 0, step, observer);
        } else {
            self.return_to_untraced(at, target, 0, told, step, observer);
        }
        self.mark(at, target, step);
    }

    /// The topmost call returns to the one below it, and nothing is in doubt: what
    /// [`Stacks::resume`] does with nearly all returns, without its questions.
    #[inline]
    fn return_to_caller(&mut self, at: usize, target: FunctionId, step: Step, observer: &mut impl Observer) -> bool {
        let stack = &mut self.stacks[at];
        let [.., under, top] = stack.frames.as_slice() else { return false };
        let sure = |frame: &Frame| !frame.marker && !frame.unsure && frame.doubtful == 0;
        if under.function != target || !sure(under) || !sure(top) || !stack.is_certain(stack.frames.len() - 2) {
            return false;
        }
        let (called, resumed) = (top.function, stack.frames.len() - 2);
        self.learn(at, target, called);
        self.pop(at, step.time, Some(false), step.complete, observer);
        self.stacks[at].owner = Some(resumed);
        true
    }

    /// A call ended that began before anything we know of.
    fn return_from_nowhere(&mut self, at: usize, target: FunctionId, told: bool, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let found = stack.topmost(target, stack.frames.len(), |_| true);
        if !told {
            self.stacks[at].contradicted();
            self.return_unseen(at, observer);
        }
        while self.stacks[at].frames.len() > found.map_or(0, |found| found + 1) {
            self.drop_marker(at, observer);
        }
        if found.is_none() {
            let since = self.stacks[at].since;
            self.push_marker(at, target, since);
        }
    }

    /// It was the traced function that execution was in, if one is known to be.
    fn return_unseen(&mut self, at: usize, observer: &mut impl Observer) {
        if !self.stacks[at].is_from_before() {
            return;
        }
        let stack = &self.stacks[at];
        let whose = stack.frames.last().map(|marker| marker.function);
        observer.clipped(whose.filter(|function| stack.is_traced(*function)), Clip::Begin);
    }

    /// Execution resumes in a frame that is on the stack.
    fn resume(&mut self, at: usize, found: usize, top: usize, told: bool, step: Step, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let target = stack.frames[found].function;
        let real = |frame: &&Frame| !frame.marker;
        let above = stack.frames[found + 1..].iter().filter(real).take(2).count();
        let marker = stack.frames[found].marker;
        let certain = !marker && (told || stack.is_certain(found));
        if above == 1 && !told && (certain || marker && (!stack.is_unsure(top) || stack.frames[found].below == 0)) {
            let called = stack.frames[top].function;
            self.learn(at, target, called);
            // Nothing else could have ended now: it was open all the time.
            self.stacks[at].make_sure(top, observer);
        } else if certain && !told {
            self.stacks[at].learn_tail_calls(found);
        }
        if above == 0 && !told {
            self.stacks[at].contradicted();
        }
        let known = if told { above == 0 } else { above < 2 || self.is_chain(at, found, target, top) };
        if marker && !known {
            self.return_to_untraced(at, target, found + 1, told, step, observer);
            return self.mark(at, target, step);
        }
        self.pop_to(at, found + 1, step, observer);
        if certain {
            self.stacks[at].make_sure(found, observer);
        } else if !marker {
            self.stacks[at].doubt_activations(found, step.time, observer);
        }
        self.stacks[at].find_owner();
    }

    /// Is all above the marker one chain of tail calls? It is when its first is known to be
    /// called there, and none of the others.
    fn is_chain(&self, at: usize, marker: usize, target: FunctionId, top: usize) -> bool {
        let stack = &self.stacks[at];
        let seen = |i: usize| stack.knows(|known| known.is_seen(target, stack.frames[i].function));
        let mut calls = (marker + 1..=top).filter(|i| !stack.frames[*i].marker);
        calls.next().is_some_and(&seen) && !calls.any(&seen)
    }

    /// Execution resumes in a function that is not traced, and that was not marked since the
    /// frame before `least` began: the topmost call has ended, and a chain that ends with it,
    /// if its first is known to be called there.
    fn return_to_untraced(
        &mut self,
        at: usize,
        target: FunctionId,
        least: usize,
        told: bool,
        step: Step,
        observer: &mut impl Observer,
    ) {
        let stack = &self.stacks[at];
        let frames = &stack.frames;
        let Some(top) = frames.iter().rposition(|frame| !frame.marker) else { return };
        if !told && frames[..top].iter().rev().take(REACH).all(|frame| frame.marker) {
            return self.last_call_ends(at, target, top, step, observer);
        }
        let of_others = |i: usize| stack.is_called_by_others(frames[i].function, target);
        let calls = (least..=top).rev().take(REACH).filter(|i| !frames[*i].marker);
        let mut chain = calls.take_while(|i| *i == top || !of_others(*i));
        let head = chain.find(|i| stack.knows(|known| known.is_seen(target, frames[*i].function)));
        // Another activation of the target may have called it, if there is one.
        let head = head.filter(|head| stack.topmost(target, *head, |_| true).is_none());
        // Who was told to end was the last of a chain, or of none: nobody knows.
        let head = if told { frames.len() } else { head.unwrap_or(top) };
        self.doubt(at, head, top, least, step, observer);
    }

    /// The only call that is known to be open ends.
    fn last_call_ends(&mut self, at: usize, target: FunctionId, top: usize, step: Step, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let called = stack.frames[top].function;
        if top > 0 && !stack.is_unsure(top) {
            // With a marker below, nothing older can be part of the chain.
            self.learn(at, target, called);
        } else if stack.is_unsure(top) && stack.settled {
            // What else could have ended now? It was open all the time.
            self.learn(at, target, called);
            self.stacks[at].make_sure(top, observer);
        }
        self.pop_to(at, top, step, observer);
    }

    /// What lies above the first `head` frames has ended; those below it, but for the first
    /// `least`, may have.
    fn doubt(&mut self, at: usize, head: usize, top: usize, least: usize, step: Step, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let last = stack.frames[top].function;
        let returns = stack.knows(|known| known.is_seen(last, last));
        self.pop_to(at, head, step, observer);
        let stack = &mut self.stacks[at];
        stack.doubt_all(least, step.time, observer);
        // Folded as the iterations of a loop, they end like them: all together. Of a call whose
        // end was told before it is not known here.
        if head <= top && !returns {
            let iterations = stack.frames.iter_mut().skip(least).rev();
            for frame in iterations.take_while(|frame| !frame.marker && frame.function == last) {
                frame.looped = true;
            }
        }
        stack.find_owner();
    }

    pub(super) fn return_from(&mut self, at: usize, step: Step, raised: bool, observer: &mut impl Observer) {
        let Some(function) = step.function else { return };
        let stack = &mut self.stacks[at];
        stack.spend(step, observer);
        (stack.after_return, stack.ends_told) = (true, true);
        match stack.topmost(function, stack.frames.len(), |frame| !frame.marker) {
            Some(found) => {
                // It was there to return: it had not ended before.
                self.pop_to(at, found + 1, step, observer);
                self.stacks[at].make_sure(found, observer);
                self.pop(at, step.time, Some(raised), step.complete, observer);
                self.stacks[at].find_owner();
            }
            None if self.stacks[at].is_from_before() => observer.clipped(Some(function), Clip::Begin),
            None => {}
        }
    }
}
