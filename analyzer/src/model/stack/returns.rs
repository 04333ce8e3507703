//! What a return tells: which calls it ends, which may have ended, and what is
//! learned from it about who calls whom.

use super::frames::{Frame, Stack};
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
        if !told && self.return_to_caller(at, target, step, observer) {
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
        if !told && stack.frames[top].function == target && stack.frames[top].chained {
            // Nothing above it is left: what was taken for a chain was not one.
            return self.pop_to(at, top + 1, step, observer);
        }
        if self.stacks[at].is_traced(target) {
            // Its call would be here, had it come after any of these.
            self.pop_to(at, 0, step, observer);
        } else if !told {
            self.return_to_untraced(at, target, top, step, observer);
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
        if under.function != target || !sure(under) || !sure(top) {
            return false;
        }
        let (called, resumed) = (top.function, stack.frames.len() - 2);
        stack.guessed = None;
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
            self.return_unseen(at, observer);
            if found.is_some() && !self.stacks[at].is_traced(target) {
                self.refute(at);
            }
        }
        while self.stacks[at].frames.len() > found.map_or(0, |found| found + 1) {
            self.drop_marker(at, observer);
        }
        if found.is_none() {
            let since = self.stacks[at].since;
            self.push_marker(at, target, since);
        }
    }

    /// All calls since execution was in the marked function are known, and one of
    /// them returns that should be open: it was ended too early, by a guess.
    fn refute(&mut self, at: usize) {
        if let Some(pair) = self.stacks[at].guessed.take() {
            self.stacks[at].knowledge().refute(pair);
        }
    }

    /// It was the traced function that execution was in, if one is known to be.
    fn return_unseen(&mut self, at: usize, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let whose = stack.frames.last().map(|marker| marker.function);
        observer.clipped(whose.filter(|function| stack.is_traced(*function)), Clip::Begin);
    }

    /// Execution resumes in a frame that is on the stack.
    fn resume(&mut self, at: usize, found: usize, top: usize, told: bool, step: Step, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let target = stack.frames[found].function;
        self.stacks[at].guessed = None;
        let stack = &self.stacks[at];
        let real = |frame: &&Frame| !frame.marker;
        let above = stack.frames[found + 1..].iter().filter(real).take(2).count();
        let marker = stack.frames[found].marker;
        if above == 1 && !told {
            let called = stack.frames[top].function;
            self.learn(at, target, called);
            // Nothing else could have ended now: it was open all the time.
            self.stacks[at].make_sure(top, observer);
        }
        if above > 1 && !told && marker {
            if let Some(keep) = self.stale_marker(at, found, top, target) {
                self.pop_to(at, keep, step, observer);
                return self.mark(at, target, step);
            }
            self.chain(at, found, target);
        }
        self.pop_to(at, found + 1, step, observer);
        if self.stacks[at].frames.get(found).is_some_and(|frame| !frame.marker) {
            self.stacks[at].make_sure(found, observer);
        }
    }

    /// All above the marker is taken for one chain of tail calls.
    fn chain(&mut self, at: usize, marker: usize, target: FunctionId) {
        let (below, above) = self.stacks[at].frames.split_at_mut(marker);
        if let Some(below) = below.iter_mut().rfind(|frame| !frame.marker) {
            below.chained = true;
        }
        if let Some(head) = above.iter().find(|frame| !frame.marker).map(|frame| frame.function) {
            self.stacks[at].knowledge().guess(target, head);
        }
    }

    /// A marker may be left from an activation that has returned unseen. It is,
    /// when a call above it is only ever made by others: then that call is open
    /// still, and what ends is what lies above it.
    fn stale_marker(&self, at: usize, found: usize, top: usize, target: FunctionId) -> Option<usize> {
        let stack = &self.stacks[at];
        let frames = &stack.frames;
        let mut calls = (found + 1..top).rev().take(REACH).filter(|i| !frames[*i].marker);
        calls.find(|i| stack.is_called_by_others(frames[*i].function, target)).map(|i| i + 1)
    }

    /// The frame, at or below `top`, that `target` is known to have called.
    fn head_called_by(&self, at: usize, target: FunctionId, top: usize) -> Option<usize> {
        let stack = &self.stacks[at];
        let frames = &stack.frames;
        let mut by_chain = None;
        for i in (0..=top).rev().take(REACH).filter(|i| !frames[*i].marker) {
            let function = frames[i].function;
            if stack.knows(|known| known.is_seen(target, function)) {
                return Some(i);
            }
            if i < top && stack.is_called_by_others(function, target) {
                // It is not part of the chain, and so nothing below it is.
                break;
            }
            if by_chain.is_none() && stack.knows(|known| known.is_guessed(target, function)) {
                by_chain = Some(i);
            }
        }
        by_chain
    }

    fn return_to_untraced(
        &mut self,
        at: usize,
        target: FunctionId,
        top: usize,
        step: Step,
        observer: &mut impl Observer,
    ) {
        let known = self.head_called_by(at, target, top);
        let stack = &self.stacks[at];
        let alone = stack.frames[..top].iter().rev().take(REACH).all(|frame| frame.marker);
        match known {
            Some(head) => {
                let called = stack.frames[head].function;
                if head < top && !stack.knows(|known| known.is_seen(target, called)) {
                    self.stacks[at].guessed = Some((target, called));
                }
                self.pop_to(at, head, step, observer);
            }
            None if alone => self.last_call_ends(at, target, top, step, observer),
            None => self.doubt(at, target, top, step, observer),
        }
    }

    /// The only call that is known to be open ends.
    fn last_call_ends(&mut self, at: usize, target: FunctionId, top: usize, step: Step, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let called = stack.frames[top].function;
        if stack.is_unsure(top) && stack.settled {
            // What else could have ended now? It was open all the time.
            self.learn(at, target, called);
            self.stacks[at].make_sure(top, observer);
        } else if stack.is_unsure(top) {
            // Or a call did that began before we know of: no evidence for a chain.
            let Stack { frames, knowledge, .. } = &mut self.stacks[at];
            let known = knowledge.get_or_insert_default();
            frames[top + 1..].iter().for_each(|marker| known.withdraw(marker.function, called));
        } else if top > 0 {
            // With a marker below, nothing older can be part of the chain.
            self.learn(at, target, called);
        } else {
            self.stacks[at].knowledge().guess(target, called);
        }
        self.pop_to(at, top, step, observer);
    }

    /// The topmost call has ended; those below it may have, as far down as to one
    /// that is known to be called by somebody else.
    fn doubt(&mut self, at: usize, target: FunctionId, top: usize, step: Step, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let frames = &stack.frames;
        let mut below = (0..top).rev().take(REACH).filter(|i| !frames[*i].marker);
        let sure = below.find(|i| stack.is_called_by_others(frames[*i].function, target)).map_or(0, |i| i + 1);
        let head = frames[sure..=top].iter().find(|frame| !frame.marker).map(|frame| frame.function);
        if let Some(head) = head {
            // Should it be wrong, then its return to its caller will tell.
            self.stacks[at].knowledge().guess(target, head);
        }
        let stack = &self.stacks[at];
        let last = stack.frames[top].function;
        let returns = stack.knows(|known| known.is_seen(last, last));
        self.pop_to(at, top, step, observer);
        let stack = &mut self.stacks[at];
        for frame in stack.frames.iter_mut().skip(sure).rev().take(REACH).filter(|frame| !frame.marker) {
            frame.again = frame.unsure;
            if !frame.unsure {
                (frame.unsure, frame.unsure_at, frame.inner_before) = (true, step.time, frame.inner_total);
                observer.doubted(frame.number);
            }
        }
        // Folded as the iterations of a loop, they end like them: all together.
        let iterations = stack.frames.iter_mut().skip(sure).rev();
        for frame in iterations.take_while(|frame| !returns && !frame.marker && frame.function == last) {
            frame.looped = true;
        }
        stack.find_owner();
    }

    pub(super) fn return_from(&mut self, at: usize, step: Step, raised: bool, observer: &mut impl Observer) {
        let Some(function) = step.function else { return };
        let stack = &mut self.stacks[at];
        stack.spend(step, observer);
        stack.after_return = true;
        match stack.topmost(function, stack.frames.len(), |frame| !frame.marker) {
            Some(found) => {
                // It was there to return: it had not ended before.
                self.pop_to(at, found + 1, step, observer);
                self.stacks[at].make_sure(found, observer);
                self.pop(at, step.time, Some(raised), step.complete, observer);
                self.stacks[at].find_owner();
            }
            None => observer.clipped(Some(function), Clip::Begin),
        }
    }
}
