//! Who called whom: each process's stack, rebuilt from its events.
//!
//! The rules, with an example for each, stand in `docs/SEMANTICS.md`. In short:
//!
//! * A call puts a frame on the stack. Nothing says whether it is a tail call.
//! * `return_to X` ends the calls above X, all at this moment: the VM emits one
//!   such event for a whole chain of tail calls.
//! * Where X is not traced it leaves a marker on the stack, so that the next
//!   return to the same activation of X is exact.
//! * Where more than one reading is possible, frames are *unsure*: they are
//!   never timed, unless a later event proves which reading was right.
//! * `return_from` and `exception_from` name the call that ends.
//! * A begin or an end that is not in the recording never becomes a duration.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use crate::read::{FunctionId, kind};

/// Frames of all stacks together; what is deeper loses its lower part.
const MAX_FRAMES: usize = 1 << 20;
/// Stacks deeper than this are cut to half of it when there are too many frames.
const DEEP: usize = 512;
/// How far below the topmost call the beginning of a chain of tail calls is looked
/// for: longer chains are loops, and those return to nobody.
const REACH: usize = 256;

/// One event, as far as stacks are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// Monotonic nanoseconds.
    pub time: u64,
    /// Dense number of the process.
    pub process: u32,
    /// See [`kind`].
    pub kind: u8,
    /// The function that the event names.
    pub function: Option<FunctionId>,
    /// For `exit`: is the reason `normal`?
    pub normal_exit: bool,
    /// Changes where events may be missing.
    pub epoch: u32,
    /// False where events may be missing.
    pub complete: bool,
    /// Events of the process were left out before it.
    pub missing: bool,
}

/// Why a call has no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Clip {
    /// It began before the recording, the window, or a hole.
    Begin,
    /// It was still open at the end.
    End,
    /// Events are missing while it was open.
    Hole,
    /// Its process exited.
    Exit,
    /// The events leave open when it ended.
    Unsure,
    /// The stack was too deep to be kept.
    Deep,
}

impl Clip {
    /// All, in the order in which they are counted.
    pub const ALL: [Clip; 6] = [Clip::Begin, Clip::End, Clip::Hole, Clip::Exit, Clip::Unsure, Clip::Deep];
}

/// A call that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The observer's number for it.
    pub frame: u32,
    /// What was called.
    pub function: FunctionId,
    /// When it began.
    pub start: u64,
    /// How long it took.
    pub duration: u64,
    /// Of this, how long nothing that it called was on top of it.
    pub own: u64,
    /// Of that, how long the process was on a scheduler.
    pub own_on: u64,
    /// It ended by an exception.
    pub raised: bool,
}

/// What comes of the events.
pub trait Observer {
    /// A call; answers a number of the observer's own for the frame. `parent`
    /// is that of the frame below, 0 for none.
    fn called(&mut self, process: u32, parent: u32, function: FunctionId) -> u32;
    /// The call with this number ends, in one of the two ways below.
    fn leaves(&mut self, _frame: u32) {}
    /// A call ended.
    fn ended(&mut self, ended: &Ended);
    /// Timed calls of the function took this long together, those inside of
    /// others not counted again: the sum over all calls of this is its total.
    fn total(&mut self, function: FunctionId, ns: u64);
    /// A call that has no duration; `None` where not even its function is known.
    fn clipped(&mut self, function: Option<FunctionId>, why: Clip);
    /// Time passed while the frame with this number was on top.
    fn spent(&mut self, frame: u32, ns: u64, on_scheduler: bool);
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    function: FunctionId,
    /// Execution is known to have resumed here; not a call of its own.
    marker: bool,
    /// Nothing was missing when it began.
    timed: bool,
    /// It may have ended without a sign.
    unsure: bool,
    /// More than one frame above it was taken for one chain of tail calls.
    chained: bool,
    /// It is unsure, and an iteration of a loop whose last one is known to have ended.
    looped: bool,
    /// The observer's number.
    number: u32,
    start: u64,
    own: u64,
    own_on: u64,
    /// Time on top while it was unsure, and of that on a scheduler: its own once
    /// it is sure again.
    doubtful: u64,
    doubtful_on: u64,
    /// 1 + the place of the next activation of the function below; 0 for none.
    below: u32,
    /// What timed activations above it took: its own, should it not be timed.
    inner_total: u64,
}

/// Numbers are dense: no need for a strong hash.
#[derive(Debug, Default, Clone, Copy)]
pub struct Multiply(u64);

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

type Fast<K, V> = HashMap<K, V, BuildHasherDefault<Multiply>>;
type Pairs = HashSet<(FunctionId, FunctionId), BuildHasherDefault<Multiply>>;

#[derive(Debug, Default)]
struct Stack {
    frames: Vec<Frame>,
    /// Time up to here was given to somebody.
    since: u64,
    /// Whom time is given to.
    owner: Option<usize>,
    off_scheduler: bool,
    epoch: u32,
    /// All open calls are known: the process was spawned in the recording.
    settled: bool,
    /// The last chain that was ended on weak evidence: (caller, called).
    guessed: Option<(FunctionId, FunctionId)>,
    /// The last event ended a call by name: a `return_to` may tell the same return.
    after_return: bool,
    /// 1 + the place of the topmost activation, by function.
    active: Fast<u32, u32>,
}

/// The stacks of all processes of one recording.
#[derive(Debug, Default)]
pub struct Stacks {
    stacks: Vec<Stack>,
    frames: usize,
    /// Stacks are cut when there are more frames than this; 0 for [`MAX_FRAMES`].
    limit: usize,
    /// Functions that were called, and so are traced.
    traced: Vec<bool>,
    /// (caller, called): seen for certain, not as a tail call.
    calls_seen: Pairs,
    /// (caller, called): taken for the beginning of a chain of tail calls.
    chains_seen: Pairs,
    /// Pairs that were taken for that and turned out not to be.
    refuted: Pairs,
    /// The caller last put into `calls_seen`, by called function.
    last_caller: Vec<Option<FunctionId>>,
}

impl Stacks {
    /// Takes the next event.
    #[inline]
    pub fn step(&mut self, step: Step, observer: &mut impl Observer) {
        let at = step.process as usize;
        if self.stacks.len() <= at {
            self.stacks.resize_with(at + 1, || Stack { epoch: step.epoch, ..Stack::default() });
        }
        if self.stacks[at].epoch != step.epoch || step.missing {
            self.forget(at, Clip::Hole, observer);
            self.stacks[at].epoch = step.epoch;
            self.stacks[at].off_scheduler = false;
            self.stacks[at].settled = false;
        }
        match step.kind {
            kind::CALL => self.call(at, step, observer),
            kind::RETURN_TO => self.return_to(at, step, observer),
            kind::RETURN_FROM => self.return_from(at, step, false, observer),
            kind::EXCEPTION_FROM => self.return_from(at, step, true, observer),
            kind::IN | kind::IN_EXITING => self.schedule(at, step, false, observer),
            kind::OUT | kind::OUT_EXITING | kind::OUT_EXITED => self.schedule(at, step, true, observer),
            kind::SPAWNED => self.stacks[at].settled = true,
            kind::EXIT => self.exit(at, step, observer),
            _ => {}
        }
    }

    /// There are no more events.
    pub fn end(&mut self, observer: &mut impl Observer) {
        for at in 0..self.stacks.len() {
            self.forget(at, Clip::End, observer);
        }
    }

    /// (caller, called) of which calls were seen to return to their caller.
    pub fn returning_calls(&self) -> impl Iterator<Item = (FunctionId, FunctionId)> {
        self.calls_seen.iter().copied()
    }

    fn call(&mut self, at: usize, step: Step, observer: &mut impl Observer) {
        let Some(function) = step.function else { return };
        let stack = &mut self.stacks[at];
        stack.spend(step, observer);
        // Also one that may have ended, more likely than none; but not a loop that did.
        let parent = stack.frames.iter().rfind(|frame| !frame.marker && !frame.looped).map_or(0, |frame| frame.number);
        let number = observer.called(step.process, parent, function);
        stack.after_return = false;
        stack.owner = Some(stack.frames.len());
        stack.push(Frame { number, timed: step.complete, ..Frame::new(function, false, step.time) });
        self.frames += 1;
        let known = function.0 as usize;
        if self.traced.len() <= known {
            self.traced.resize(known + 1, false);
            self.last_caller.resize(known + 1, None);
        }
        self.traced[known] = true;
        if self.frames > self.limit.max(MAX_FRAMES) {
            self.trim(observer);
        }
    }

    fn schedule(&mut self, at: usize, step: Step, out: bool, observer: &mut impl Observer) {
        let stack = &mut self.stacks[at];
        stack.spend(step, observer);
        stack.off_scheduler = out;
    }

    fn return_to(&mut self, at: usize, step: Step, observer: &mut impl Observer) {
        self.stacks[at].spend(step, observer);
        let told = std::mem::take(&mut self.stacks[at].after_return);
        let Some(target) = step.function else {
            // Below the process's first function there is nothing.
            if !told && self.stacks[at].frames.iter().all(|frame| frame.marker) {
                self.return_unseen(at, observer);
            }
            return self.pop_to(at, 0, step, observer);
        };
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
        if self.is_traced(target) {
            // Its call would be here, had it come after any of these.
            self.pop_to(at, 0, step, observer);
        } else if !told {
            self.return_to_untraced(at, target, top, step, observer);
        }
        self.mark(at, target, step);
    }

    /// A call ended that began before anything we know of.
    fn return_from_nowhere(&mut self, at: usize, target: FunctionId, told: bool, observer: &mut impl Observer) {
        let stack = &self.stacks[at];
        let found = stack.topmost(target, stack.frames.len(), |_| true);
        if !told {
            self.return_unseen(at, observer);
            if found.is_some() && !self.is_traced(target) {
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
            self.chains_seen.remove(&pair);
            self.refuted.insert(pair);
        }
    }

    fn guess(&mut self, caller: FunctionId, called: FunctionId) {
        if !self.refuted.contains(&(caller, called)) {
            self.chains_seen.insert((caller, called));
        }
    }

    /// It was the traced function that execution was in, if one is known to be.
    fn return_unseen(&mut self, at: usize, observer: &mut impl Observer) {
        let whose = self.stacks[at].frames.last().map(|marker| marker.function);
        observer.clipped(whose.filter(|function| self.is_traced(*function)), Clip::Begin);
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
            self.learn(target, called);
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
            self.guess(target, head);
        }
    }

    /// A marker may be left from an activation that has returned unseen. It is,
    /// when a call above it is only ever made by others: then that call is open
    /// still, and what ends is what lies above it.
    fn stale_marker(&self, at: usize, found: usize, top: usize, target: FunctionId) -> Option<usize> {
        let frames = &self.stacks[at].frames;
        let mut calls = (found + 1..top).rev().take(REACH).filter(|i| !frames[*i].marker);
        calls.find(|i| self.is_called_by_others(frames[*i].function, target)).map(|i| i + 1)
    }

    /// It is known who calls it, and that is not `caller`.
    fn is_called_by_others(&self, called: FunctionId, caller: FunctionId) -> bool {
        let known = self.last_caller.get(called.0 as usize).is_some_and(Option::is_some);
        known && !self.calls_seen.contains(&(caller, called))
    }

    /// The frame, at or below `top`, that `target` is known to have called.
    fn head_called_by(&self, at: usize, target: FunctionId, top: usize) -> Option<usize> {
        let frames = &self.stacks[at].frames;
        let mut by_chain = None;
        for i in (0..=top).rev().take(REACH).filter(|i| !frames[*i].marker) {
            let function = frames[i].function;
            if self.calls_seen.contains(&(target, function)) {
                return Some(i);
            }
            if i < top && self.is_called_by_others(function, target) {
                // It is not part of the chain, and so nothing below it is.
                break;
            }
            if by_chain.is_none() && self.chains_seen.contains(&(target, function)) {
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
                if head < top && !self.calls_seen.contains(&(target, called)) {
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
            self.learn(target, called);
            self.stacks[at].make_sure(top, observer);
        } else if stack.is_unsure(top) {
            // Or a call did that began before we know of: no evidence for a chain.
            for marker in &self.stacks[at].frames[top + 1..] {
                self.chains_seen.remove(&(marker.function, called));
            }
        } else if top > 0 {
            // With a marker below, nothing older can be part of the chain.
            self.learn(target, called);
        } else {
            self.guess(target, called);
        }
        self.pop_to(at, top, step, observer);
    }

    /// The topmost call has ended; those below it may have, as far down as to one
    /// that is known to be called by somebody else.
    fn doubt(&mut self, at: usize, target: FunctionId, top: usize, step: Step, observer: &mut impl Observer) {
        let frames = &self.stacks[at].frames;
        let mut below = (0..top).rev().take(REACH).filter(|i| !frames[*i].marker);
        let sure = below.find(|i| self.is_called_by_others(frames[*i].function, target)).map_or(0, |i| i + 1);
        let head = frames[sure..=top].iter().find(|frame| !frame.marker).map(|frame| frame.function);
        if let Some(head) = head {
            // Should it be wrong, then its return to its caller will tell.
            self.guess(target, head);
        }
        let last = self.stacks[at].frames[top].function;
        let returns = self.calls_seen.contains(&(last, last));
        self.pop_to(at, top, step, observer);
        let stack = &mut self.stacks[at];
        for frame in stack.frames.iter_mut().skip(sure).rev().take(REACH).filter(|frame| !frame.marker) {
            frame.unsure = true;
        }
        // Folded as the iterations of a loop, they end like them: all together.
        let iterations = stack.frames.iter_mut().skip(sure).rev();
        for frame in iterations.take_while(|frame| !returns && !frame.marker && frame.function == last) {
            frame.looped = true;
        }
        stack.find_owner();
    }

    fn return_from(&mut self, at: usize, step: Step, raised: bool, observer: &mut impl Observer) {
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

    fn exit(&mut self, at: usize, step: Step, observer: &mut impl Observer) {
        self.stacks[at].spend(step, observer);
        let stack = &self.stacks[at];
        let all_unsure = (0..stack.frames.len()).all(|i| stack.frames[i].marker || stack.is_unsure(i));
        if step.normal_exit && all_unsure && step.complete {
            self.unsure_ended(at, observer);
        }
        self.forget(at, Clip::Exit, observer);
    }

    /// A process that ends normally has returned from all its calls. Had those
    /// that are unsure been open after the last return, it would not have been
    /// the last: they ended when they became unsure.
    fn unsure_ended(&mut self, at: usize, observer: &mut impl Observer) {
        let mut ended_at = self.stacks[at].since;
        while let Some(frame) = self.stacks[at].frames.last().copied() {
            if frame.marker {
                ended_at = frame.start;
                self.drop_marker(at, observer);
            } else {
                if let Some(frame) = self.stacks[at].frames.last_mut() {
                    (frame.unsure, frame.doubtful, frame.doubtful_on) = (false, 0, 0);
                }
                self.pop(at, ended_at, Some(false), true, observer);
            }
        }
    }

    /// Ends what lies above the first `keep` frames.
    fn pop_to(&mut self, at: usize, keep: usize, step: Step, observer: &mut impl Observer) {
        while self.stacks[at].frames.len() > keep {
            if self.stacks[at].frames.last().is_some_and(|frame| frame.marker) {
                self.drop_marker(at, observer);
            } else {
                self.pop(at, step.time, Some(false), step.complete, observer);
            }
        }
        self.stacks[at].find_owner();
    }

    /// Takes the topmost frame, a call, off the stack: returned or raised, or
    /// (`None`) without an end.
    fn pop(
        &mut self,
        at: usize,
        time: u64,
        raised: Option<bool>,
        complete: bool,
        observer: &mut impl Observer,
    ) -> FunctionId {
        let stack = &mut self.stacks[at];
        let unsure = stack.is_unsure(stack.frames.len() - 1);
        let frame = stack.pop().expect("the caller saw a frame");
        self.frames -= 1;
        let duration = time.saturating_sub(frame.start);
        let mut total = frame.inner_total;
        observer.leaves(frame.number);
        match raised {
            None => {}
            Some(_) if unsure => observer.clipped(Some(frame.function), Clip::Unsure),
            Some(_) if !frame.timed || !complete => observer.clipped(Some(frame.function), Clip::Hole),
            Some(raised) => {
                total = duration;
                let (function, start, own, own_on) = (frame.function, frame.start, frame.own, frame.own_on);
                observer.ended(&Ended { frame: frame.number, function, start, duration, own, own_on, raised });
            }
        }
        if frame.doubtful > 0
            && let Some(under) = stack.frames.iter_mut().rfind(|frame| !frame.marker)
        {
            under.doubtful += frame.doubtful;
            under.doubtful_on += frame.doubtful_on;
        }
        stack.hand_down(&frame, total, observer);
        frame.function
    }

    fn drop_marker(&mut self, at: usize, observer: &mut impl Observer) {
        let stack = &mut self.stacks[at];
        if let Some(marker) = stack.pop() {
            self.frames -= 1;
            stack.hand_down(&marker, marker.inner_total, observer);
        }
    }

    /// Ends everything of a process without durations.
    fn forget(&mut self, at: usize, why: Clip, observer: &mut impl Observer) {
        while let Some(frame) = self.stacks[at].frames.last() {
            if frame.marker {
                self.drop_marker(at, observer);
            } else {
                let unsure = self.stacks[at].is_unsure(self.stacks[at].frames.len() - 1);
                let function = self.pop(at, 0, None, false, observer);
                observer.clipped(Some(function), if unsure { Clip::Unsure } else { why });
            }
        }
        let stack = &mut self.stacks[at];
        stack.after_return = false;
        stack.find_owner();
    }

    /// Cuts deep stacks: endless loops of tail calls look like deep recursion.
    #[cold]
    fn trim(&mut self, observer: &mut impl Observer) {
        for stack in self.stacks.iter_mut().filter(|stack| stack.frames.len() > DEEP) {
            let gone = stack.frames.len() - DEEP / 2;
            for frame in stack.frames.drain(..gone) {
                if !frame.marker {
                    observer.leaves(frame.number);
                    observer.clipped(Some(frame.function), Clip::Deep);
                }
                // What it would have given to a frame below it.
                observer.total(frame.function, frame.inner_total);
            }
            self.frames -= gone;
            stack.moved_down(gone as u32);
            stack.find_owner();
        }
        // Many shallow stacks cannot be cut: do not look again too soon.
        self.limit = 2 * self.frames;
    }

    /// Execution has resumed in `target`, which is not on the stack.
    fn mark(&mut self, at: usize, target: FunctionId, step: Step) {
        self.push_marker(at, target, step.time);
        self.stacks[at].find_owner();
    }

    fn push_marker(&mut self, at: usize, function: FunctionId, time: u64) {
        self.frames += 1;
        self.stacks[at].push(Frame::new(function, true, time));
    }

    fn is_traced(&self, function: FunctionId) -> bool {
        self.traced.get(function.0 as usize) == Some(&true)
    }

    /// `caller` called `called`, and not as a tail call.
    #[inline]
    fn learn(&mut self, caller: FunctionId, called: FunctionId) {
        let Some(last) = self.last_caller.get_mut(called.0 as usize) else { return };
        if *last != Some(caller) {
            *last = Some(caller);
            self.calls_seen.insert((caller, called));
        }
    }
}

impl Frame {
    fn new(function: FunctionId, marker: bool, start: u64) -> Frame {
        Frame {
            function,
            marker,
            timed: false,
            unsure: false,
            chained: false,
            looped: false,
            number: 0,
            start,
            own: 0,
            own_on: 0,
            doubtful: 0,
            doubtful_on: 0,
            below: 0,
            inner_total: 0,
        }
    }
}

impl Stack {
    fn push(&mut self, mut frame: Frame) {
        let place = self.frames.len() as u32 + 1;
        frame.below = self.active.insert(frame.function.0, place).unwrap_or(0);
        self.frames.push(frame);
    }

    fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop()?;
        if frame.below == 0 {
            self.active.remove(&frame.function.0);
        } else {
            self.active.insert(frame.function.0, frame.below);
        }
        Some(frame)
    }

    /// The topmost frame of the function among the first `below`.
    fn topmost(&self, function: FunctionId, below: usize, fits: impl Fn(&Frame) -> bool) -> Option<usize> {
        let mut place = self.active.get(&function.0).copied().unwrap_or(0) as usize;
        while let Some(at) = place.checked_sub(1) {
            let frame = self.frames.get(at)?;
            if at < below && fits(frame) {
                return Some(at);
            }
            place = frame.below as usize;
        }
        None
    }

    /// What timed calls of a function took goes to the activation below, which
    /// may turn out to be timed itself, or is the function's total.
    fn hand_down(&mut self, gone: &Frame, total: u64, observer: &mut impl Observer) {
        match (gone.below as usize).checked_sub(1).and_then(|below| self.frames.get_mut(below)) {
            Some(below) => below.inner_total += total,
            None if total > 0 => observer.total(gone.function, total),
            None => {}
        }
    }

    /// Gives the time since the last event to the frame on top.
    #[inline]
    fn spend(&mut self, step: Step, observer: &mut impl Observer) {
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

    /// All frames stand `by` lower than before.
    fn moved_down(&mut self, by: u32) {
        self.active.clear();
        for (place, frame) in self.frames.iter_mut().enumerate() {
            frame.below = frame.below.saturating_sub(by);
            self.active.insert(frame.function.0, place as u32 + 1);
        }
    }

    /// The frame is open still, and with it those that it was called from, down to
    /// a marker: whether that was in time is not known.
    fn make_sure(&mut self, frame: usize, observer: &mut impl Observer) {
        let open = self.frames.iter_mut().take(frame + 1).rev().take_while(|frame| !frame.marker && frame.unsure);
        open.for_each(|frame| (frame.unsure, frame.looped) = (false, false));
        let Some(frame) = self.frames.get_mut(frame) else { return };
        let (ns, on) = (std::mem::take(&mut frame.doubtful), std::mem::take(&mut frame.doubtful_on));
        frame.own += ns;
        frame.own_on += on;
        if ns > 0 {
            observer.spent(frame.number, on, true);
            observer.spent(frame.number, ns - on, false);
        }
        self.find_owner();
    }

    fn is_unsure(&self, frame: usize) -> bool {
        self.frames.get(frame).is_some_and(|frame| frame.unsure)
    }

    /// The topmost call gets the time, unless it may have ended.
    #[inline]
    fn find_owner(&mut self) {
        let top = self.frames.iter().rposition(|frame| !frame.marker);
        self.owner = top.filter(|top| !self.is_unsure(*top));
    }
}
