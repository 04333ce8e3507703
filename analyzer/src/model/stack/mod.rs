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
//! * Each process is read by its own events alone: the stacks of some processes come
//!   out the same whether those of others are kept beside them or elsewhere.

mod active;
mod ahead;
mod covered;
mod doubts;
mod frames;
mod knowledge;
mod returns;

use crate::read::{FunctionId, kind};
use ahead::Held;
use frames::{Frame, Reading, Stack};
use knowledge::Pairs;

/// A stack that gets deeper loses its lower half: room for most recursions, and
/// 8 MB for a server whose loop never returns.
pub const DEEP: usize = 1 << 16;
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
    /// A call of the same function was open below it.
    pub inside: bool,
}

/// What a call stands on: calls that are open, and above them some that may be.
#[derive(Debug)]
pub struct Below<'a>(&'a [Frame]);

/// A call that another may have been made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The observer's number for it.
    pub frame: u32,
    /// What was called.
    pub function: FunctionId,
    /// It is open; else it may have ended.
    pub sure: bool,
}

impl Below<'_> {
    /// Those that the call may have been made from, nearest first; the last is sure. But for
    /// loops that have ended.
    pub fn callers(&self) -> impl Iterator<Item = Caller> {
        let mut done = false;
        let open = self.0.iter().rev().filter(|frame| !frame.marker && !frame.looped);
        open.map(|frame| Caller { frame: frame.number, function: frame.function, sure: !frame.unsure })
            .take_while(move |caller| !std::mem::replace(&mut done, caller.sure))
    }

    /// The number of the nearest of them, 0 for none.
    pub fn nearest(&self) -> u32 {
        self.callers().next().map_or(0, |caller| caller.frame)
    }
}

/// What comes of the events.
pub trait Observer {
    /// The next step is taken; with `asked_for` false, a call that it begins is not asked for. Told again of a return that
    /// was held after all.
    fn before(&mut self, _step: &Step, _asked_for: bool) {}
    /// There are no more steps of a process: what is open ends.
    fn before_end(&mut self) {}
    /// A call; answers a number of the observer's own for the frame.
    fn called(&mut self, process: u32, below: &Below<'_>, function: FunctionId) -> u32;
    /// The call with this number may have ended now: should that prove true, now is its end.
    /// If it may have ended before (`again`), it is not known when.
    fn doubted(&mut self, _frame: u32, _again: bool) {}
    /// A call that may have ended had not: it is open.
    fn sure(&mut self, _frame: u32) {}
    /// A call that may have ended had, when it was doubted last. It leaves next.
    fn gone(&mut self, _frame: u32) {}
    /// What this call stands on, or may, leaves before it; `gone` as above, or nobody knows.
    fn orphaned(&mut self, _frame: u32, _gone: bool) {}
    /// The call with this number ends, in one of the two ways below.
    fn leaves(&mut self, _frame: u32) {}
    /// A call ended.
    fn ended(&mut self, ended: &Ended);
    /// Timed calls of the function took this long together, those inside of
    /// others not counted again: the sum over all calls of this is its total.
    fn total(&mut self, function: FunctionId, ns: u64);
    /// A call that has no duration; `None` where not even its function is known.
    fn clipped(&mut self, function: Option<FunctionId>, why: Clip);
    /// A call that is not timed, as nobody knows when it ended, was on top for so long at least; and
    /// of that on a scheduler.
    fn known_own(&mut self, _function: FunctionId, _ns: u64, _on_ns: u64) {}
    /// Time passed while the frame with this number was on top.
    fn spent(&mut self, frame: u32, ns: u64, on_scheduler: bool);
}

/// The stacks of processes of one recording: of all, or of any part of them; in cache
/// lines of its own, as other parts may be written by other threads.
#[derive(Debug)]
#[repr(align(128))]
pub struct Stacks {
    stacks: Vec<Stack>,
    /// Stands for every 2^n-th process only.
    share_bits: u32,
    deep: usize,
    /// Of the last step that was not held.
    asked_for: bool,
    /// Steps that are held, of all processes.
    holding: usize,
    /// To hold steps in.
    #[allow(clippy::vec_box, reason = "stacks hold them in boxes: they come and go as they are")]
    spare: Vec<Box<Held>>,
    /// (caller, called) that any process has learned; told, not used.
    returning: Pairs,
    /// By called function, what was learned last, and by whom: most calls of a
    /// function tell what the one before told.
    learned_last: Vec<(u32, FunctionId)>,
    learners: u32,
}

impl Default for Stacks {
    fn default() -> Self {
        Stacks::cut_at(DEEP)
    }
}

impl Stacks {
    /// For the processes of one share, of which there are two to the power of `bits`:
    /// those whose numbers have the same last bits.
    pub fn share(bits: u32) -> Stacks {
        Stacks { share_bits: bits, ..Stacks::default() }
    }

    /// Stacks of more than `deep` frames lose their lower half.
    pub fn cut_at(deep: usize) -> Stacks {
        let (stacks, spare, returning, learned_last) = Default::default();
        Stacks { stacks, share_bits: 0, deep, asked_for: true, holding: 0, spare, returning, learned_last, learners: 0 }
    }

    /// Takes the next event; with `asked_for` false, a call that it begins is not asked for. What comes
    /// of it the observer may be told later, with that of the process's next events.
    #[inline]
    pub fn step(&mut self, step: Step, asked_for: bool, observer: &mut impl Observer) {
        let at = (step.process >> self.share_bits) as usize;
        if self.stacks.len() <= at {
            let learners = &mut self.learners;
            self.stacks.resize_with(at + 1, || {
                *learners += 1;
                Stack::of(*learners)
            });
        }
        if self.stacks[at].held.is_some() {
            return self.hold(at, step, asked_for, observer);
        }
        self.asked_for = asked_for;
        self.take(at, step, asked_for, observer);
    }

    #[inline(always)]
    fn take(&mut self, at: usize, step: Step, asked_for: bool, observer: &mut impl Observer) {
        observer.before(&step, asked_for);
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

    /// There are no more events of the process: its number may be another's.
    pub fn leave(&mut self, process: u32, observer: &mut impl Observer) {
        let at = (process >> self.share_bits) as usize;
        if at < self.stacks.len() {
            self.let_go(at, false, observer);
            observer.before_end();
            self.forget(at, Clip::End, observer);
            self.learners += 1;
            self.stacks[at] = Stack::of(self.learners);
        }
    }

    /// There are no more events.
    pub fn end(&mut self, observer: &mut impl Observer) {
        for at in 0..self.stacks.len() {
            self.let_go(at, false, observer);
            observer.before_end();
            self.forget(at, Clip::End, observer);
        }
    }

    /// (caller, called) of which calls were seen to return to their caller.
    pub fn returning_calls(&self) -> impl Iterator<Item = (FunctionId, FunctionId)> {
        self.returning.iter().copied()
    }

    fn call(&mut self, at: usize, step: Step, observer: &mut impl Observer) {
        let Some(function) = step.function else { return };
        let stack = &mut self.stacks[at];
        stack.spend(step, observer);
        let below = stack.activation(function);
        let recurs = below.is_some_and(|below| self.called_again(at, below, function, observer));
        let stack = &mut self.stacks[at];
        let number = observer.called(step.process, &Below(&stack.frames), function);
        stack.after_return = false;
        stack.owner = Some(stack.frames.len());
        stack.push(Frame { number, timed: step.complete, recurs, ..Frame::new(function, false, step.time) });
        if stack.frames.len() > self.deep {
            stack.cut(observer);
        }
    }

    /// A function is called that is on the stack already: it recurs, if that call is open
    /// for certain. If it may have ended, and the function was never seen to recur, nor is tangled in what
    /// does, it has, unless this process has misled in this before; where ends are told, nothing has ended untold.
    fn called_again(&mut self, at: usize, below: usize, function: FunctionId, observer: &mut impl Observer) -> bool {
        let stack = &mut self.stacks[at];
        let Frame { marker, unsure, recurs, tangled, .. } = stack.frames[below];
        if unsure && !tangled && !stack.ends_told && !stack.knows(|known| known.misled || known.recurs(function)) {
            stack.assumed = true;
            let above: Vec<Frame> = (below + 1..stack.frames.len()).filter_map(|_| stack.pop()).collect();
            frames::orphaned(above.iter().rev(), true, observer);
            self.unsure_ends(at, observer);
            let stack = &mut self.stacks[at];
            above.into_iter().rev().for_each(|frame| stack.push(frame));
            return false;
        }
        if !marker && !unsure && !recurs {
            stack.knowledge().learn_recursion(function);
        }
        !(marker || unsure && tangled)
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
        self.learners += 1;
        self.stacks[at].clear(self.learners);
    }

    /// A process that ends normally has returned from all its calls. Where only
    /// one of its returns can have ended a call, that one has.
    fn unsure_ended(&mut self, at: usize, observer: &mut impl Observer) {
        while let Some(frame) = self.stacks[at].frames.last() {
            match frame.marker {
                true => self.drop_marker(at, observer),
                false => self.unsure_ends(at, observer),
            }
        }
    }

    /// The topmost frame, an unsure call, has ended when it may have.
    fn unsure_ends(&mut self, at: usize, observer: &mut impl Observer) {
        let Some(frame) = self.stacks[at].frames.last_mut() else { return };
        observer.gone(frame.number);
        if !frame.again {
            (frame.unsure, frame.doubtful, frame.doubtful_on) = (false, 0, 0);
        }
        let ended = frame.unsure_at;
        self.pop(at, ended, Some(false), true, observer);
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
        let duration = time.saturating_sub(frame.start);
        let mut timed = None;
        observer.leaves(frame.number);
        if unsure && frame.timed {
            observer.known_own(frame.function, frame.own, frame.own_on);
        }
        match raised {
            None => {}
            Some(_) if unsure => observer.clipped(Some(frame.function), Clip::Unsure),
            Some(_) if !frame.timed || !complete => observer.clipped(Some(frame.function), Clip::Hole),
            Some(raised) => {
                timed = Some(duration);
                let (function, start, own, own_on) = (frame.function, frame.start, frame.own, frame.own_on);
                let below = (frame.below as usize).checked_sub(1).and_then(|below| stack.frames.get(below));
                let inside = below.is_some_and(|below| !below.marker);
                observer.ended(&Ended { frame: frame.number, function, start, duration, own, own_on, raised, inside });
            }
        }
        // Of two calls of one function it does not matter to the function's own time which was on top.
        if frame.doubtful > 0
            && let Some(under) = stack.frames.iter_mut().rfind(|frame| !frame.marker)
            && under.function == frame.function
        {
            under.doubtful += frame.doubtful;
            under.doubtful_on += frame.doubtful_on;
        }
        stack.hand_down(&frame, timed, observer);
        frame.function
    }

    fn drop_marker(&mut self, at: usize, observer: &mut impl Observer) {
        let stack = &mut self.stacks[at];
        if let Some(marker) = stack.pop() {
            stack.hand_down(&marker, None, observer);
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
        (stack.after_return, stack.assumed) = (false, false);
        stack.find_owner();
    }

    /// Execution has resumed in `target`, which is not on the stack.
    fn mark(&mut self, at: usize, target: FunctionId, step: Step) {
        self.push_marker(at, target, step.time);
        self.stacks[at].find_owner();
    }

    fn push_marker(&mut self, at: usize, function: FunctionId, time: u64) {
        self.stacks[at].push(Frame::new(function, true, time));
    }

    /// `caller` called `called`, and not as a tail call.
    #[inline]
    fn learn(&mut self, at: usize, caller: FunctionId, called: FunctionId) {
        let known = called.0 as usize;
        if self.learned_last.len() <= known {
            // No learner has this number.
            self.learned_last.resize(known + 1, (0, called));
        }
        let stack = &mut self.stacks[at];
        if self.learned_last[known] != (stack.learner, caller) {
            let is_plain = stack.reading == Reading::Plain;
            let knowledge = stack.knowledge();
            if !knowledge.is_seen(caller, called) {
                knowledge.learn(caller, called);
                self.returning.insert((caller, called));
            }
            // How a recursion goes that is plain as a whole tells nothing of the next.
            if !is_plain && !knowledge.went_on(caller, called) {
                self.learned_last[known] = (stack.learner, caller);
            }
        }
    }
}
