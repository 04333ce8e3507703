//! One process's stack: its open calls, the marks left by returns to untraced
//! code, and who gets the time.

use std::hash::Hasher;

use super::active::Active;
use super::ahead::Held;
use super::covered::Covered;
use super::knowledge::Knowledge;
use super::{Clip, Observer, Step};
use crate::read::FunctionId;

#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) function: FunctionId,
    /// Execution is known to have resumed here; not a call of its own.
    pub(super) marker: bool,
    /// Nothing was missing when it began.
    pub(super) timed: bool,
    /// It may have ended without a sign.
    pub(super) unsure: bool,
    /// It was unsure already when it may have ended at a later return, too.
    pub(super) again: bool,
    /// Its function is known to recur.
    pub(super) recurs: bool,
    /// It may have ended where a call below it, of a function that is open more than once, went on.
    pub(super) tangled: bool,
    /// It is unsure, and an iteration of a loop whose last one is known to have ended.
    pub(super) looped: bool,
    /// The observer's number.
    pub(super) number: u32,
    pub(super) start: u64,
    pub(super) own: u64,
    pub(super) own_on: u64,
    /// Time on top while it was unsure, and of that on a scheduler: its own once
    /// it is sure again.
    pub(super) doubtful: u64,
    pub(super) doubtful_on: u64,
    /// 1 + the place of the next activation of the function below; 0 for none.
    pub(super) below: u32,
    /// The place of the lowest, itself if there is no other.
    pub(super) lowest: u32,
    /// 1 + the place from which on to here more doubts change nothing, as far as was seen; 0 for not seen.
    pub(super) settled: u32,
    /// It was in doubt, or what it stands on was when it began: what is timed above it is kept as spans.
    pub(super) doubted: bool,
    /// What timed activations above it took that are not kept as spans: its own, should it not be timed.
    pub(super) inner_total: u64,
    /// When it was doubted first.
    pub(super) unsure_at: u64,
}

/// Numbers are dense: no need for a strong hash.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Multiply(u64);

impl Hasher for Multiply {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }
    fn write_u32(&mut self, n: u32) {
        self.0 = (self.0.rotate_left(5) ^ u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// How a return is read that may go on in any of several activations.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// It is looked ahead for what it ends.
    #[default]
    Ahead,
    /// That was found: it ends one call.
    Plain,
    /// That was looked for, and not found.
    Unclear,
}

#[derive(Debug, Default)]
pub(super) struct Stack {
    pub(super) frames: Vec<Frame>,
    /// Time up to here was given to somebody.
    pub(super) since: u64,
    /// Whom time is given to.
    pub(super) owner: Option<usize>,
    pub(super) off_scheduler: bool,
    pub(super) epoch: u32,
    /// All open calls are here: the process was spawned in the recording, and none was cut.
    pub(super) settled: bool,
    /// A call was taken to have ended, as its function does not recur.
    pub(super) assumed: bool,
    /// There are events that end calls by name.
    pub(super) ends_told: bool,
    /// Calls that were too deep to be kept, and of which no return has come out of nowhere yet.
    pub(super) cut_off: u64,
    /// The last event ended a call by name: a `return_to` may tell the same return.
    pub(super) after_return: bool,
    /// Steps that are not taken yet.
    pub(super) held: Option<Box<Held>>,
    /// How its returns are read.
    pub(super) reading: Reading,
    /// When activations were timed that stand on some that are, or were, in doubt.
    pub(super) covered: Covered,
    /// 1 + the place of the topmost activation, by function.
    pub(super) active: Active,
    /// What its returns have told; `None` for nothing.
    pub(super) knowledge: Option<Box<Knowledge>>,
    /// Whose knowledge that is, among all processes' that ever were.
    pub(super) learner: u32,
}

impl Frame {
    pub(super) fn new(function: FunctionId, marker: bool, start: u64) -> Frame {
        Frame {
            function,
            marker,
            timed: false,
            unsure: false,
            again: false,
            recurs: false,
            tangled: false,
            looped: false,
            number: 0,
            start,
            own: 0,
            own_on: 0,
            doubtful: 0,
            doubtful_on: 0,
            below: 0,
            lowest: 0,
            settled: 0,
            doubted: false,
            inner_total: 0,
            unsure_at: 0,
        }
    }
}

/// What these stand on leaves: told of the lowest call, and of all that may stand on the same.
pub(super) fn orphaned<'a>(above: impl Iterator<Item = &'a Frame>, gone: bool, observer: &mut impl Observer) {
    for frame in above.filter(|frame| !frame.marker) {
        observer.orphaned(frame.number, gone);
        if !frame.looped {
            break;
        }
    }
}

impl Stack {
    /// Nothing is open, and nothing known.
    pub(super) fn of(learner: u32) -> Stack {
        Stack { learner, ..Stack::default() }
    }

    // Inlined: frames are written and read field by field, not copied.
    #[inline(always)]
    pub(super) fn push(&mut self, mut frame: Frame) {
        let place = self.frames.len() as u32 + 1;
        frame.below = self.active.set(frame.function.0, place, !frame.marker);
        frame.lowest = self.lowest_of(place - 1, frame.below);
        (frame.settled, frame.doubted) = (0, frame.doubted || self.is_doubted(frame.below));
        self.frames.push(frame);
    }

    #[inline(always)]
    fn lowest_of(&self, place: u32, below: u32) -> u32 {
        let below = (below as usize).checked_sub(1).and_then(|below| self.frames.get(below));
        below.map_or(place, |below| below.lowest)
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop()?;
        self.active.set(frame.function.0, frame.below, false);
        Some(frame)
    }

    /// Where the topmost activation of the function is.
    #[inline]
    pub(super) fn activation(&self, function: FunctionId) -> Option<usize> {
        (self.active.get(function.0) as usize).checked_sub(1)
    }

    /// Something has returned that was taken to have ended.
    pub(super) fn contradicted(&mut self) {
        if self.assumed {
            self.knowledge().misled = true;
        }
    }

    /// The process has called it.
    pub(super) fn is_traced(&self, function: FunctionId) -> bool {
        self.active.was_called(function.0)
    }

    pub(super) fn knowledge(&mut self) -> &mut Knowledge {
        self.knowledge.get_or_insert_default()
    }

    pub(super) fn knows(&self, what: impl Fn(&Knowledge) -> bool) -> bool {
        self.knowledge.as_deref().is_some_and(what)
    }

    pub(super) fn is_called_by_others(&self, called: FunctionId, caller: FunctionId) -> bool {
        self.knows(|known| known.is_called_by_others(called, caller))
    }

    /// Nothing is open, and nothing known: the process is no more.
    pub(super) fn clear(&mut self, learner: u32) {
        *self = Stack { since: self.since, epoch: self.epoch, learner, ..Stack::default() };
    }

    /// The topmost frame of the function among the first `below`.
    pub(super) fn topmost(&self, function: FunctionId, below: usize, fits: impl Fn(&Frame) -> bool) -> Option<usize> {
        let mut place = self.active.get(function.0) as usize;
        while let Some(at) = place.checked_sub(1) {
            let frame = self.frames.get(at)?;
            if at < below && fits(frame) {
                return Some(at);
            }
            place = frame.below as usize;
        }
        None
    }

    /// Gives the time since the last event to the frame on top.
    #[inline]
    pub(super) fn spend(&mut self, step: Step, observer: &mut impl Observer) {
        let ns = step.time.saturating_sub(self.since);
        self.since = self.since.max(step.time);
        let on = if self.off_scheduler { 0 } else { ns };
        if let Some(frame) = self.owner.and_then(|owner| self.frames.get_mut(owner)) {
            frame.own += ns;
            frame.own_on += on;
            if step.complete {
                observer.spent(frame.number, ns, !self.off_scheduler);
            }
        } else if let Some(frame) = self.frames.iter_mut().rfind(|frame| !frame.marker) {
            frame.doubtful += ns;
            frame.doubtful_on += on;
        }
        // Whoever has an event is on a scheduler.
        self.off_scheduler = false;
    }

    /// A call returns that is not on the stack: it began before all that is known, unless it was cut
    /// off, and counted then.
    pub(super) fn is_from_before(&mut self) -> bool {
        let cut = self.cut_off > 0;
        self.cut_off -= u64::from(cut);
        !cut
    }

    /// Its lower half is lost: endless loops of tail calls look like deep recursion.
    #[cold]
    pub(super) fn cut(&mut self, observer: &mut impl Observer) {
        let gone = self.frames.len() / 2;
        orphaned(self.frames[gone..].iter(), false, observer);
        for frame in self.frames.drain(..gone) {
            if !frame.marker {
                self.cut_off += 1;
                observer.leaves(frame.number);
                observer.clipped(Some(frame.function), Clip::Deep);
            }
            // What it would have given to a frame below it.
            observer.total(frame.function, frame.inner_total);
        }
        self.active.clear();
        self.settled = false;
        for place in 0..self.frames.len() {
            let Frame { function, below, .. } = self.frames[place];
            let below = below.saturating_sub(gone as u32);
            let lowest = self.lowest_of(place as u32, below);
            (self.frames[place].below, self.frames[place].lowest, self.frames[place].settled) = (below, lowest, 0);
            self.active.set(function.0, place as u32 + 1, false);
        }
        self.uncover(observer);
        self.find_owner();
    }

    /// The frame is open still, and with it those that it was called from, down to
    /// a marker: whether that was in time is not known. Nor is what was in doubt when the one
    /// above it was called.
    pub(super) fn make_sure(&mut self, frame: usize, observer: &mut impl Observer) {
        let mut above = u64::MAX;
        for (depth, frame) in self.frames.iter_mut().take(frame + 1).rev().enumerate() {
            if frame.marker || depth > 0 && (!frame.unsure || frame.unsure_at <= above) {
                break;
            }
            above = frame.start;
            let was_unsure = std::mem::take(&mut frame.unsure);
            frame.looped &= !was_unsure;
            if was_unsure {
                observer.sure(frame.number);
            }
            let (ns, on) = (std::mem::take(&mut frame.doubtful), std::mem::take(&mut frame.doubtful_on));
            frame.own += ns;
            frame.own_on += on;
            if ns > 0 {
                observer.spent(frame.number, on, true);
                observer.spent(frame.number, ns - on, false);
            }
            if !was_unsure {
                break;
            }
        }
        self.find_owner();
    }

    /// The topmost activation of a function, to which something returns: does it go on for
    /// certain? Where there is another below, it may have ended with a tail call.
    #[inline]
    pub(super) fn is_certain(&self, place: usize) -> bool {
        let frame = &self.frames[place];
        let goes_on = || self.reading == Reading::Plain || self.went_on(place) == Some(true);
        !frame.marker && (frame.below == 0 || !frame.unsure && goes_on())
    }

    /// Does the function go on after what it called there, as far as is known always? `None` if that is not known.
    #[cold]
    pub(super) fn went_on(&self, place: usize) -> Option<bool> {
        let above = self.frames[place + 1..].iter().find(|frame| !frame.marker)?;
        self.knowledge.as_deref()?.goes_on(self.frames[place].function, above.function)
    }

    /// Something returns to the frame there, for certain: its function goes on after what it
    /// called, and what that called, and so on, were tail calls.
    pub(super) fn learn_tail_calls(&mut self, found: usize) {
        let Stack { frames, knowledge, .. } = self;
        let calls = frames[found..].iter().filter(|frame| !frame.marker);
        let pairs = calls.clone().zip(calls.skip(1)).enumerate();
        for (at, (caller, called)) in
            pairs.filter(|(at, (caller, called))| !called.unsure && (*at == 0 || !caller.unsure))
        {
            let known = knowledge.get_or_insert_default();
            match at {
                0 => drop(known.went_on(caller.function, called.function)),
                _ => known.ended_with(caller.function, called.function),
            }
        }
    }

    pub(super) fn is_unsure(&self, frame: usize) -> bool {
        self.frames.get(frame).is_some_and(|frame| frame.unsure)
    }

    /// The topmost call gets the time, unless it may have ended.
    #[inline]
    pub(super) fn find_owner(&mut self) {
        let top = self.frames.iter().rposition(|frame| !frame.marker);
        self.owner = top.filter(|top| !self.is_unsure(*top));
    }
}
