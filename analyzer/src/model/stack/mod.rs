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

mod active;
mod frames;
mod returns;

use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use crate::read::{FunctionId, kind};
use frames::{Frame, Multiply, Stack};

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

type Pairs = HashSet<(FunctionId, FunctionId), BuildHasherDefault<Multiply>>;

/// The stacks of all processes of one recording.
#[derive(Debug, Default)]
pub struct Stacks {
    stacks: Vec<Stack>,
    frames: usize,
    /// Stands for every 2^n-th process only.
    share_bits: u32,
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
    /// For the processes of one share, of which there are two to the power of `bits`:
    /// those whose numbers have the same last bits.
    pub fn share(bits: u32) -> Stacks {
        Stacks { share_bits: bits, ..Stacks::default() }
    }

    /// Takes the next event.
    #[inline]
    pub fn step(&mut self, step: Step, observer: &mut impl Observer) {
        let at = (step.process >> self.share_bits) as usize;
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
        if self.frames > self.limit.max(MAX_FRAMES >> self.share_bits) {
            self.trim(observer);
        }
    }

    fn schedule(&mut self, at: usize, step: Step, out: bool, observer: &mut impl Observer) {
        let stack = &mut self.stacks[at];
        stack.spend(step, observer);
        stack.off_scheduler = out;
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
