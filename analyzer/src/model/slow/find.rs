//! The first pass: which calls were the slowest.
//!
//! A recursion is listed once, by its outermost call that is timed. Whether that one is timed
//! is known when it ends: until then those inside of it wait with it.

use std::cmp::Reverse;
use std::collections::HashSet;

use foldhash::HashMap;
use spoor_format::chunk::Identity;

use super::Found;
use super::trees::Trees;
use crate::model::calls::Untimed;
use crate::model::edges;
use crate::model::open_calls::OpenCalls;
use crate::model::shares::{Shares, Table};
use crate::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use crate::model::told::{Heard, Told};
use crate::read::{FunctionId, kind};

/// The slowest calls, over one recording after the other.
#[derive(Debug)]
pub struct Slow {
    keep: usize,
    shares: Shares<Finder>,
    asked: Told<bool>,
    whose: Told<Option<Identity>>,
}

/// Those of one share of the processes.
#[derive(Debug)]
pub struct Finder {
    keep: usize,
    asked: Heard<bool>,
    whose: Told<Option<Identity>>,
    /// Who that is, for the process asked about last.
    known: Option<(u32, Identity)>,
    recording: usize,
    time: u64,
    counted: bool,
    running: bool,
    open: OpenCalls<Open>,
    /// The innermost open call that is asked for, by process and function.
    innermost: HashMap<(u32, FunctionId), Place>,
    born: u64,
    /// The call that began last: process, function, when, and how many began so before it.
    last: (u32, FunctionId, u64, u32),
    ending: Option<Open>,
    best: Best,
    timed: u64,
    clipped: [u64; Clip::ALL.len()],
    returning: HashSet<(FunctionId, FunctionId)>,
}

/// An open call: its number, which may be another's later, and when it was born.
type Place = (u32, u64);

#[derive(Debug)]
struct Open {
    process: u32,
    function: FunctionId,
    nth: u32,
    born: u64,
    /// The nearest open call of its function below.
    outer: Option<Place>,
    /// It may have ended.
    doubted: bool,
    /// Timed calls of its function inside of it.
    inside: Best,
    /// Those that began when it may have ended.
    perhaps: Best,
}

/// The slowest of some calls: a few more than asked for, in any order.
#[derive(Debug, Default)]
struct Best {
    calls: Vec<Found>,
    /// What takes less is not among them.
    least: u64,
}

impl Best {
    fn takes(&self, duration: u64) -> bool {
        duration >= self.least
    }

    fn add(&mut self, call: Found, keep: usize) {
        if !self.takes(call.duration) {
            return;
        }
        self.calls.push(call);
        if self.calls.len() > keep + keep / 4 + 8 {
            self.cut(keep);
        }
    }

    fn cut(&mut self, keep: usize) {
        self.calls.sort_by_key(|call| Reverse(call.rank()));
        self.calls.truncate(keep);
        if self.calls.len() == keep {
            self.least = self.calls.last().map_or(u64::MAX, |call| call.duration);
        }
    }
}

impl Slow {
    /// Keeps the slowest `keep`; by at most so many threads: the answer is the same.
    pub fn new(keep: usize, threads: usize) -> Slow {
        let (asked, whose) = (Told::default(), Told::default());
        let finder = || Finder {
            keep,
            asked: Heard::new(&asked),
            whose: whose.clone(),
            known: None,
            recording: 0,
            time: 0,
            counted: true,
            running: false,
            open: OpenCalls::default(),
            innermost: HashMap::default(),
            born: 0,
            last: (u32::MAX, FunctionId(u32::MAX), 0, 0),
            ending: None,
            best: Best::default(),
            timed: 0,
            clipped: [0; Clip::ALL.len()],
            returning: HashSet::new(),
        };
        Slow { keep, shares: Shares::new(threads, finder), asked, whose }
    }

    /// What recordings are dealt out to, and what must be told before its first event of each
    /// function, whether it is asked for, and of each process, who it is. A call of a lane that is not asked for is left out.
    pub fn shares(&mut self) -> (&mut Shares<Finder>, &Told<bool>, &Told<Option<Identity>>) {
        (&mut self.shares, &self.asked, &self.whose)
    }

    /// How many calls were timed, and how many not.
    pub fn counts(&self) -> (u64, Untimed) {
        let (mut timed, mut clipped) = (0, [0; Clip::ALL.len()]);
        for finder in self.shares.tables() {
            timed += finder.timed;
            clipped.iter_mut().zip(&finder.clipped).for_each(|(sum, n)| *sum += n);
        }
        (timed, Untimed::of(&clipped))
    }

    /// The second pass.
    pub fn trees(self) -> Trees {
        let running = self.shares.tables().any(|finder| finder.running);
        let (mut best, mut known) = (Best::default(), HashSet::new());
        for finder in self.shares.into_tables() {
            best.calls.extend(finder.best.calls);
            known.extend(finder.returning);
        }
        best.cut(self.keep);
        Trees::new(best.calls, edges::Known::seen(known), running)
    }
}

impl Table for Finder {
    fn leave(&mut self, _process: u32) {
        self.known = None;
    }

    fn end_of_recording(&mut self, stacks: &Stacks) {
        self.returning.extend(stacks.returning_calls());
        self.innermost.clear();
        self.known = None;
        self.recording += 1;
    }
}

impl Finder {
    fn begins(&mut self, process: u32, function: FunctionId) -> u32 {
        self.born += 1;
        let (born, key) = (self.born, (process, function));
        let (last_process, last_function, at, before) = self.last;
        let again = (last_process, last_function, at) == (process, function, self.time);
        let nth = if again { before + 1 } else { 0 };
        self.last = (process, function, self.time, nth);
        let outer = self.innermost.get(&key).copied();
        let (inside, perhaps) = Default::default();
        let open = Open { process, function, nth, born, outer, doubted: false, inside, perhaps };
        let number = self.open.insert(open);
        self.innermost.insert(key, (number, born));
        number
    }

    fn is_open(&self, (number, born): Place) -> bool {
        self.open.get(number).is_some_and(|open| open.born == born)
    }

    fn who(&mut self, process: u32) -> Identity {
        match self.known {
            Some((known, who)) if known == process => who,
            _ => {
                let who = self.whose.of(process).unwrap_or(Identity::Nobody);
                self.known = Some((process, who));
                who
            }
        }
    }

    /// A timed call waits with the one that it is inside of, if there is one.
    fn add(&mut self, outer: Option<Place>, call: Found) {
        // As slow as that are enough others, whatever becomes of the outer one.
        if !self.best.takes(call.duration) {
            return;
        }
        let outer = outer.filter(|outer| self.is_open(*outer)).and_then(|(number, _)| self.open.get_mut(number));
        match outer {
            Some(outer) if outer.doubted => outer.perhaps.add(call, self.keep),
            Some(outer) => outer.inside.add(call, self.keep),
            None => self.best.add(call, self.keep),
        }
    }
}

impl Open {
    fn is_known_to_be_open(&mut self, keep: usize) {
        let Best { calls, .. } = std::mem::take(&mut self.perhaps);
        calls.into_iter().for_each(|call| self.inside.add(call, keep));
    }

    fn waiting(self) -> impl Iterator<Item = Found> {
        self.inside.calls.into_iter().chain(self.perhaps.calls)
    }
}

impl Observer for Finder {
    #[inline]
    fn before(&mut self, step: &Step, asked_for: bool) {
        self.running |= matches!(step.kind, kind::IN | kind::OUT);
        (self.time, self.counted) = (step.time, asked_for);
    }

    #[inline]
    fn called(&mut self, process: u32, _below: &Below<'_>, function: FunctionId) -> u32 {
        match self.counted && self.asked.of(function.0) {
            true => self.begins(process, function),
            false => 0,
        }
    }

    fn doubted(&mut self, frame: u32, again: bool) {
        // When it may have ended before, it is not timed, unless it turns out to be open.
        if let Some(open) = self.open.get_mut(frame).filter(|_| !again) {
            open.is_known_to_be_open(self.keep);
            open.doubted = true;
        }
    }

    fn sure(&mut self, frame: u32) {
        if let Some(open) = self.open.get_mut(frame) {
            open.is_known_to_be_open(self.keep);
            open.doubted = false;
        }
    }

    #[inline]
    fn leaves(&mut self, frame: u32) {
        self.ending = if frame == 0 { None } else { self.open.remove(frame) };
        let Some(open) = &self.ending else { return };
        let key = (open.process, open.function);
        if self.innermost.get(&key) == Some(&(frame, open.born)) {
            match open.outer.filter(|outer| self.is_open(*outer)) {
                Some(outer) => self.innermost.insert(key, outer),
                None => self.innermost.remove(&key),
            };
        }
    }

    fn ended(&mut self, ended: &Ended) {
        let Some(open) = self.ending.take() else { return };
        self.timed += 1;
        let Open { process, nth, born, outer, .. } = open;
        let end = ended.start.saturating_add(ended.duration);
        // Those inside of it are a part of it. What came when it had ended, as is known now, is not.
        open.waiting().filter(|call| call.start >= end && call.duration > 0).for_each(|call| self.add(outer, call));
        if !self.best.takes(ended.duration) {
            return;
        }
        let Ended { function, start, duration, own, raised, .. } = *ended;
        let (recording, whose) = (self.recording, self.who(process));
        self.add(outer, Found { function, recording, whose, start, duration, own, raised, nth, born });
    }

    fn clipped(&mut self, _function: Option<FunctionId>, why: Clip) {
        let Some(open) = self.ending.take() else { return };
        self.clipped[why as usize] += 1;
        let outer = open.outer;
        open.waiting().for_each(|call| self.add(outer, call));
    }

    fn total(&mut self, _function: FunctionId, _ns: u64) {}
    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}
