//! A second implementation of the rules in `docs/SEMANTICS.md`, written to be read:
//! lists that are searched from end to end, nothing remembered that can be looked up.
//! It must agree with the analyzer on random events, sensible or not, with holes.
//!
//! `SPOOR_STREAMS=10000` sets the number of streams.

#[path = "common/random.rs"]
mod random;

use spoor_analyzer::model::stack::{Below, Clip, DEEP, Ended, Observer, Stacks, Step};
use spoor_analyzer::read::{FunctionId, kind};

use random::Random;

/// Functions that are traced, and others after them.
const TRACED: u64 = 4;
const FUNCTIONS: u64 = 6;
const PROCESSES: u64 = 3;

/// What comes of events, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    /// With the number of the call that it stands on, from 1.
    Called {
        function: u32,
        parent: u32,
    },
    Timed {
        function: u32,
        start: u64,
        duration: u64,
        own: u64,
        own_on: u64,
        raised: bool,
    },
    Clipped(Option<u32>, Clip),
}

#[derive(Default, PartialEq, Debug)]
struct Result {
    outcomes: Vec<Outcome>,
    calls: u32,
    totals: [u64; FUNCTIONS as usize],
    /// What was said to be spent on top of all calls.
    spent: u64,
}

impl Observer for Result {
    fn called(&mut self, _: u32, below: &Below<'_>, function: FunctionId) -> u32 {
        self.calls += 1;
        let parent = below.nearest();
        self.outcomes.push(Outcome::Called { function: function.0, parent });
        self.calls
    }
    fn ended(&mut self, e: &Ended) {
        let Ended { start, duration, own, own_on, raised, .. } = *e;
        self.outcomes.push(Outcome::Timed { function: e.function.0, start, duration, own, own_on, raised });
    }
    fn total(&mut self, function: FunctionId, ns: u64) {
        self.totals[function.0 as usize] += ns;
    }
    fn clipped(&mut self, function: Option<FunctionId>, why: Clip) {
        self.outcomes.push(Outcome::Clipped(function.map(|f| f.0), why));
    }
    fn spent(&mut self, _: u32, ns: u64, _: bool) {
        self.spent += ns;
    }
}

/// A place on a stack: a call, or a function that execution is known to be in again.
#[derive(Clone, Debug)]
struct Place {
    function: u32,
    /// Its call; `None` where that was not seen: a mark.
    call: Option<usize>,
    unsure: bool,
    /// The returns that may have ended it.
    ends: Vec<u64>,
    iteration: bool,
    tangled: bool,
}

impl Place {
    fn new(function: u32, call: Option<usize>) -> Place {
        Place { function, call, unsure: false, ends: Vec::new(), iteration: false, tangled: false }
    }
}

#[derive(Debug)]
struct Call {
    process: usize,
    function: u32,
    start: u64,
    known_start: bool,
    own: u64,
    own_on: u64,
    doubt: u64,
    doubt_on: u64,
    end: Option<u64>,
}

type Pair = (u32, u32);

#[derive(Default)]
struct Process {
    places: Vec<Place>,
    last: u64,
    off: bool,
    told: bool,
    epoch: u32,
    /// It was spawned in the recording, and nothing was missing since.
    all_known: bool,
    // What it has shown; each process is read by itself.
    called: Vec<u32>,
    seen: Vec<Pair>,
    recurs: Vec<u32>,
    assumed: bool,
    misled: bool,
    ends_told: bool,
    /// Calls that were too deep, and have not returned yet.
    cut_off: u64,
    /// Each return is known to end one call.
    plain: bool,
    /// What one function did after it called another: went on (true), or ended with it.
    after: Vec<(Pair, bool)>,
}

impl Process {
    fn top(&self) -> Option<usize> {
        self.places.iter().rposition(|place| place.call.is_some())
    }
    fn calls_above(&self, place: usize) -> Vec<usize> {
        (place + 1..self.places.len()).filter(|i| self.places[*i].call.is_some()).collect()
    }
    fn goes_on_always(&self, caller: u32, called: u32) -> bool {
        let after = || self.after.iter().filter(|(pair, _)| *pair == (caller, called));
        after().count() >= 4 && after().all(|(_, went_on)| *went_on)
    }
    /// The topmost activation, to which something returns, goes on for certain.
    fn is_certain(&self, place: usize) -> bool {
        let Place { function, call, unsure, .. } = self.places[place];
        let alone = !self.places[..place].iter().any(|below| below.function == function);
        let next = self.calls_above(place).first().map(|next| self.places[*next].function);
        call.is_some()
            && (alone || !unsure && (self.plain || next.is_some_and(|next| self.goes_on_always(function, next))))
    }
    fn called_by_others(&self, called: u32, caller: u32) -> bool {
        self.seen.iter().any(|(_, c)| *c == called) && !self.seen.contains(&(caller, called))
    }
}

struct Oracle {
    processes: Vec<Process>,
    calls: Vec<Call>,
    result: Result,
    deep: usize,
}

impl Oracle {
    fn run(steps: &[Step], deep: usize) -> Result {
        let processes = (0..PROCESSES).map(|_| Process::default()).collect();
        let mut oracle = Oracle { processes, calls: Vec::new(), result: Result::default(), deep };
        // Up to which step all was looked through for whether a recursion is plain, and if it is.
        let (mut looked, mut plain) = (0, false);
        for (number, step) in steps.iter().enumerate() {
            if number >= looked {
                (looked, plain) = oracle.looks_ahead(&steps[number..]).map_or((0, false), |(n, is)| (number + n, is));
            }
            oracle.processes[step.process as usize].plain = plain;
            oracle.step(step);
        }
        for at in 0..oracle.processes.len() {
            oracle.end_all(at, Clip::End);
        }
        oracle.add_totals();
        oracle.result
    }

    /// A moment counts once for a function, however many timed calls of it a process has then.
    fn add_totals(&mut self) {
        let timed = self.calls.iter().filter_map(|call| Some((call.process, call.function, call.start, call.end?)));
        let mut spans: Vec<_> = timed.collect();
        spans.sort_unstable();
        let mut last = (0, 0, 0);
        for (process, function, start, end) in spans {
            let since = if (process, function) == (last.0, last.1) { start.max(last.2) } else { start };
            self.result.totals[function as usize] += end.saturating_sub(since);
            last = (process, function, end.max(since));
        }
    }

    /// Where a return may go on in any of several activations: how many of the steps, all of one process, must
    /// be seen to know whether each return up to the lowest one's ends one call; and whether it does.
    fn looks_ahead(&self, steps: &[Step]) -> Option<(usize, bool)> {
        let process = &self.processes[steps[0].process as usize];
        let mut open = process.places.clone();
        let [.., under, top] = open.as_slice() else { return None };
        let is_sure = |place: &Place| place.call.is_some() && !place.unsure;
        let target = under.function;
        let lowest = open.iter().position(|place| place.function == target).expect("at least that one");
        let first = steps[0].kind == kind::RETURN_TO && steps[0].function.is_some_and(|f| f.0 == target);
        let known = is_sure(under) && is_sure(top) && is_sure(&open[lowest]);
        let has_ended = process.after.contains(&((target, top.function), false));
        if !first || process.told || !known || has_ended || process.is_certain(open.len() - 2) {
            return None;
        }
        let deepest = open.len() + 64;
        for (number, step) in steps.iter().enumerate() {
            let whole = step.complete && !step.missing && step.epoch == process.epoch;
            let end = match (step.kind, step.function) {
                _ if !whole => Some(false),
                (kind::CALL, Some(function)) => {
                    open.push(Place::new(function.0, Some(0)));
                    (open.len() > deepest).then_some(false)
                }
                (kind::RETURN_TO, Some(function)) => {
                    open.pop();
                    match open.last().filter(|under| is_sure(under) && under.function == function.0) {
                        None => Some(false),
                        Some(_) => (open.len() == lowest + 1).then_some(true),
                    }
                }
                (kind::RETURN_TO | kind::RETURN_FROM | kind::EXCEPTION_FROM | kind::EXIT, _) => Some(false),
                _ => None,
            };
            if let Some(plain) = end {
                return Some((number + 1, plain));
            }
        }
        Some((steps.len(), false))
    }

    fn step(&mut self, step: &Step) {
        let at = step.process as usize;
        if self.processes[at].epoch != step.epoch || step.missing {
            self.end_all(at, Clip::Hole);
            self.processes[at].epoch = step.epoch;
            (self.processes[at].off, self.processes[at].all_known) = (false, false);
        }
        if step.kind == kind::SPAWNED {
            self.processes[at].all_known = true;
            return;
        }
        self.give_time(at, step);
        let function = step.function.map(|f| f.0);
        match step.kind {
            kind::CALL => self.call(at, step),
            kind::IN => self.processes[at].off = false,
            kind::OUT => self.processes[at].off = true,
            kind::RETURN_TO => self.return_to(at, function, step),
            kind::RETURN_FROM | kind::EXCEPTION_FROM => self.return_from(at, function.expect("it names one"), step),
            _ => self.exit(at, step),
        }
    }

    fn give_time(&mut self, at: usize, step: &Step) {
        let process = &mut self.processes[at];
        let ns = step.time - process.last;
        let on = if process.off { 0 } else { ns };
        if let Some(place) = process.places.iter().rev().find(|place| place.call.is_some()) {
            let call = &mut self.calls[place.call.expect("it is one")];
            if place.unsure {
                (call.doubt, call.doubt_on) = (call.doubt + ns, call.doubt_on + on);
            } else {
                (call.own, call.own_on) = (call.own + ns, call.own_on + on);
                self.result.spent += if step.complete { ns } else { 0 };
            }
        }
        (process.last, process.off) = (step.time, false);
    }

    fn call(&mut self, at: usize, step: &Step) {
        let function = step.function.expect("it names one").0;
        self.called_again(at, function);
        let process = &mut self.processes[at];
        process.told = false;
        process.called.push(function);
        let under = process.places.iter().rev().find(|place| place.call.is_some() && !place.iteration);
        let parent = under.map_or(0, |place| place.call.expect("it is one") as u32 + 1);
        self.result.calls += 1;
        self.result.outcomes.push(Outcome::Called { function, parent });
        process.places.push(Place::new(function, Some(self.calls.len())));
        let (start, known_start) = (step.time, step.complete);
        let (own, own_on, doubt, doubt_on) = (0, 0, 0, 0);
        let (process, end) = (at, None);
        self.calls.push(Call { process, function, start, known_start, own, own_on, doubt, doubt_on, end });
        let process = &mut self.processes[at];
        if process.places.len() > self.deep {
            let half = process.places.len() / 2;
            process.all_known = false;
            for lost in process.places.drain(..half).filter(|place| place.call.is_some()) {
                self.result.outcomes.push(Outcome::Clipped(Some(lost.function), Clip::Deep));
                process.cut_off += 1;
            }
        }
    }

    /// One that may have ended has, unless its function is known to recur.
    fn called_again(&mut self, at: usize, function: u32) {
        let process = &mut self.processes[at];
        let Some(below) = process.places.iter().rposition(|place| place.function == function) else { return };
        if process.places[below].call.is_none() {
            return;
        }
        if !process.places[below].unsure {
            process.recurs.push(function);
        } else if !process.places[below].tangled
            && !process.ends_told
            && !process.misled
            && !process.recurs.contains(&function)
        {
            process.assumed = true;
            let above = process.places.split_off(below + 1);
            self.unsure_ends(at);
            self.processes[at].places.extend(above);
        }
    }

    /// The topmost place, an unsure call, ends when it may have.
    fn unsure_ends(&mut self, at: usize) {
        let place = self.processes[at].places.last_mut().expect("there is one");
        let call = place.call.expect("it is one");
        if place.ends.len() == 1 {
            (place.unsure, self.calls[call].doubt, self.calls[call].doubt_on) = (false, 0, 0);
        }
        let ended = place.ends[0];
        self.pop(at, ended, true, false);
    }

    fn contradicted(&mut self, at: usize) {
        let process = &mut self.processes[at];
        process.misled |= process.assumed;
    }

    fn pop(&mut self, at: usize, time: u64, complete: bool, raised: bool) {
        let place = self.processes[at].places.pop().expect("there is one");
        let Some(number) = place.call else { return };
        let Call { function, start, own, own_on, doubt, doubt_on, .. } = self.calls[number];
        self.result.outcomes.push(if place.unsure {
            Outcome::Clipped(Some(function), Clip::Unsure)
        } else if self.calls[number].known_start && complete {
            self.calls[number].end = Some(time);
            Outcome::Timed { function, start, duration: time - start, own, own_on, raised }
        } else {
            Outcome::Clipped(Some(function), Clip::Hole)
        });
        // Which of two calls of one function was on top is the same to all others.
        let below = self.processes[at].places.iter().rev().find_map(|place| place.call);
        if let Some(under) = below.filter(|under| self.calls[*under].function == function) {
            self.calls[under].doubt += doubt;
            self.calls[under].doubt_on += doubt_on;
        }
    }

    fn keep(&mut self, at: usize, places: usize, step: &Step) {
        while self.processes[at].places.len() > places {
            self.pop(at, step.time, step.complete, false);
        }
    }

    /// It was open all the time, and so was what called it, as far as that is known.
    fn make_sure(&mut self, at: usize, place: usize) {
        let places = &mut self.processes[at].places;
        let mut i = place;
        loop {
            let was_unsure = std::mem::take(&mut places[i].unsure);
            places[i].ends.clear();
            places[i].iteration &= !was_unsure;
            if was_unsure || i == place {
                let call = &mut self.calls[places[i].call.expect("it is one")];
                self.result.spent += call.doubt;
                call.own += std::mem::take(&mut call.doubt);
                call.own_on += std::mem::take(&mut call.doubt_on);
            }
            if !was_unsure || i == 0 || places[i - 1].call.is_none() {
                return;
            }
            // What was in doubt when this was called may have ended before.
            let began = self.calls[places[i].call.expect("it is one")].start;
            if places[i - 1].ends.first().is_some_and(|doubted| *doubted <= began) {
                return;
            }
            i -= 1;
        }
    }

    fn end_all(&mut self, at: usize, why: Clip) {
        while let Some(place) = self.processes[at].places.pop() {
            if place.call.is_some() {
                let why = if place.unsure { Clip::Unsure } else { why };
                self.result.outcomes.push(Outcome::Clipped(Some(place.function), why));
            }
        }
        (self.processes[at].told, self.processes[at].assumed) = (false, false);
    }

    fn exit(&mut self, at: usize, step: &Step) {
        let all_unsure = self.processes[at].places.iter().all(|place| place.call.is_none() || place.unsure);
        if step.normal_exit && step.complete && all_unsure {
            while let Some(place) = self.processes[at].places.last() {
                match place.call {
                    Some(_) => self.unsure_ends(at),
                    None => drop(self.processes[at].places.pop()),
                }
            }
        }
        self.end_all(at, Clip::Exit);
        let (last, epoch) = (step.time, step.epoch);
        self.processes[at] = Process { last, epoch, ..Process::default() };
    }

    fn return_from(&mut self, at: usize, function: u32, step: &Step) {
        (self.processes[at].told, self.processes[at].ends_told) = (true, true);
        let places = &self.processes[at].places;
        match places.iter().rposition(|place| place.call.is_some() && place.function == function) {
            Some(found) => {
                self.keep(at, found + 1, step);
                self.make_sure(at, found);
                self.pop(at, step.time, step.complete, step.kind == kind::EXCEPTION_FROM);
            }
            None => self.began_before(at, Some(function)),
        }
    }

    fn return_to(&mut self, at: usize, target: Option<u32>, step: &Step) {
        let told = std::mem::take(&mut self.processes[at].told);
        let process = &mut self.processes[at];
        let Some(top) = process.top() else { return self.return_of_an_older_call(at, target, told) };
        let Some(target) = target else { return self.keep(at, 0, step) };
        // At least the topmost call has ended, unless that was told already.
        let below = if told { process.places.len() } else { top };
        if let Some(found) = process.places[..below].iter().rposition(|place| place.function == target) {
            return self.goes_on(at, found, target, told, step);
        }
        if process.called.contains(&target) {
            if process.assumed || process.all_known {
                self.doubt(at, 0, step);
            }
            self.contradicted(at);
            self.keep(at, 0, step);
        } else {
            self.returns_outside(at, target, 0, told, step);
        }
        self.processes[at].places.push(Place::new(target, None));
    }

    /// Unless it was cut off, and told then.
    fn began_before(&mut self, at: usize, function: Option<u32>) {
        match self.processes[at].cut_off {
            0 => self.result.outcomes.push(Outcome::Clipped(function, Clip::Begin)),
            _ => self.processes[at].cut_off -= 1,
        }
    }

    /// There are marks only.
    fn return_of_an_older_call(&mut self, at: usize, target: Option<u32>, told: bool) {
        if !told && target.is_some() {
            self.contradicted(at);
        }
        let process = &mut self.processes[at];
        if !told {
            let whose = process.places.last().map(|place| place.function);
            let whose = whose.filter(|function| process.called.contains(function));
            self.began_before(at, whose);
        }
        let process = &mut self.processes[at];
        let Some(target) = target else { return process.places.clear() };
        let Some(found) = process.places.iter().rposition(|place| place.function == target) else {
            process.places = vec![Place::new(target, None)];
            return;
        };
        process.places.truncate(found + 1);
    }

    fn goes_on(&mut self, at: usize, found: usize, target: u32, told: bool, step: &Step) {
        let process = &mut self.processes[at];
        let above = process.calls_above(found);
        if above.is_empty() && !told {
            process.misled |= process.assumed;
        }
        let is_mark = process.places[found].call.is_none();
        let certain = !is_mark && (told || process.is_certain(found));
        let function = |i: usize| process.places[i].function;
        if let ([alone], false) = (above.as_slice(), told) {
            let other_mark = process.places[..found].iter().any(|place| place.function == target);
            if certain || is_mark && (!process.places[*alone].unsure || !other_mark) {
                let called = function(*alone);
                self.saw_return(at, target, called);
                self.make_sure(at, *alone);
            }
        } else if certain && !told {
            let mut calls = vec![(target, true)];
            calls.extend(above.iter().map(|i| (function(*i), !process.places[*i].unsure)));
            for (at, pair) in calls.windows(2).enumerate() {
                let ((caller, caller_sure), (called, called_sure)) = (pair[0], pair[1]);
                if caller_sure && called_sure {
                    process.after.push(((caller, called), at == 0));
                }
            }
        }
        if let ([first, others @ ..], true) = (above.as_slice(), is_mark)
            && (told || !others.is_empty())
        {
            let process = &self.processes[at];
            let seen = |i: &usize| process.seen.contains(&(target, process.places[*i].function));
            if told || !seen(first) || others.iter().any(seen) {
                self.returns_outside(at, target, found + 1, told, step);
                return self.processes[at].places.push(Place::new(target, None));
            }
        }
        self.keep(at, found + 1, step);
        if certain {
            self.make_sure(at, found);
        } else if !is_mark {
            let places = &mut self.processes[at].places;
            let lowest = places.iter().position(|place| place.function == target).expect("it is one itself");
            let between = places[lowest + 1..=found].iter_mut().rev().filter(|place| place.call.is_some());
            for place in between.filter(|place| place.ends.len() < 2) {
                (place.unsure, place.tangled) = (true, true);
                place.ends.push(step.time);
            }
        }
    }

    fn saw_return(&mut self, at: usize, caller: u32, called: u32) {
        self.processes[at].seen.push((caller, called));
        if !self.processes[at].plain {
            self.processes[at].after.push(((caller, called), true));
        }
    }

    /// Those from `lowest` on may have ended.
    fn returns_outside(&mut self, at: usize, target: u32, lowest: usize, told: bool, step: &Step) {
        let process = &self.processes[at];
        let top = process.top().expect("a call is open");
        let calls: Vec<usize> = (0..=top).rev().filter(|i| process.places[*i].call.is_some()).collect();
        if calls.len() == 1 && !told {
            return self.last_call_ends(at, target, top, step);
        }
        let function = |i: usize| process.places[i].function;
        let strange = |i: &usize| process.called_by_others(function(*i), target);
        let known = |i: &usize| process.seen.contains(&(target, function(*i)));
        // From the topmost call down to one that is none of the chain.
        let above: Vec<usize> = calls.iter().copied().filter(|i| *i >= lowest).collect();
        let end = above.iter().position(|i| *i < top && strange(i)).unwrap_or(above.len());
        let recursive = |head: &usize| process.places[..*head].iter().any(|place| place.function == target);
        let head = above[..end].iter().copied().find(known).filter(|head| !recursive(head)).unwrap_or(top);
        let head = if told { process.places.len() } else { head };
        let last = function(top);
        let recurs = process.seen.contains(&(last, last));
        self.keep(at, head, step);
        self.doubt(at, lowest, step);
        let rest = &mut self.processes[at].places[lowest..];
        let same = rest.iter_mut().rev().take_while(|place| place.call.is_some() && place.function == last);
        same.for_each(|place| place.iteration |= !recurs && !told);
    }

    /// Those from `lowest` on may have ended now.
    fn doubt(&mut self, at: usize, lowest: usize, step: &Step) {
        for place in self.processes[at].places[lowest..].iter_mut().filter(|place| place.call.is_some()) {
            place.unsure = true;
            place.ends.push(step.time);
        }
    }

    /// The only call that is known to be open ends.
    fn last_call_ends(&mut self, at: usize, target: u32, top: usize, step: &Step) {
        let process = &mut self.processes[at];
        let called = process.places[top].function;
        let unsure = process.places[top].unsure;
        let all_known = process.all_known;
        if if unsure { all_known } else { top > 0 } {
            self.saw_return(at, target, called);
        }
        if unsure && all_known {
            self.make_sure(at, top);
        }
        self.keep(at, top, step);
    }
}

/// Events of any kind in any order.
fn nonsense(random: &mut Random) -> (u8, Option<u64>) {
    match random.below(20) {
        0..=7 => (kind::CALL, Some(random.below(TRACED))),
        8..=13 => (kind::RETURN_TO, Some(random.below(FUNCTIONS))),
        14 => (kind::RETURN_TO, None),
        15 => (kind::RETURN_FROM, Some(random.below(TRACED))),
        16 => (kind::EXCEPTION_FROM, Some(random.below(TRACED))),
        17 => (kind::OUT, None),
        18 => (kind::IN, None),
        _ => (if random.below(3) == 0 { kind::EXIT } else { kind::IN }, None),
    }
}

/// What a VM says of a program that calls, tail calls and returns; the stack holds
/// functions and whether each was called as a tail call.
fn program(random: &mut Random, stack: &mut Vec<(u64, bool)>) -> Option<(u8, Option<u64>)> {
    let more = if stack.len() < 6 { 5 } else { 2 };
    match random.below(10) {
        9 => Some((if random.below(2) == 0 { kind::OUT } else { kind::IN }, None)),
        8 if random.below(12) == 0 => {
            stack.clear();
            Some((kind::EXIT, None))
        }
        n if n < more => {
            let function = random.below(FUNCTIONS);
            stack.push((function, !stack.is_empty() && random.below(3) == 0));
            (function < TRACED).then_some((kind::CALL, Some(function)))
        }
        _ => {
            let mut told = false;
            while let Some((function, tail)) = stack.pop() {
                told |= function < TRACED;
                if !tail {
                    break;
                }
            }
            told.then_some((kind::RETURN_TO, stack.last().map(|(function, _)| *function)))
        }
    }
}

/// Walks over trees, left and then right as the last act, out of a function that may wait for them: what
/// returns may have been any of hundreds of calls. Then others are called, and the process ends.
fn walks(random: &mut Random) -> Vec<(u8, Option<u64>)> {
    let [walk, run, other, _, untraced, elsewhere] = [0, 1, 2, 3, 4, 5].map(Some);
    let mut events = Vec::new();
    for _ in 0..1 + random.below(2) {
        if random.below(4) > 0 {
            events.push((kind::CALL, run));
        }
        let mut left = vec![1 + random.below(9)];
        while let Some(levels) = left.pop() {
            events.push((kind::CALL, walk));
            if levels > 0 && random.below(16) > 0 {
                // Left is called, right is called as the last act when that has returned.
                left.extend([levels - 1, levels - 1]);
            } else if !left.is_empty() {
                events.push((kind::RETURN_TO, walk));
            }
        }
        let to = if random.below(2) == 0 { &[run, untraced][..] } else { &[untraced] };
        events.extend(to.iter().map(|to| (kind::RETURN_TO, *to)));
    }
    for _ in 0..random.below(4) {
        let (function, to) = if random.below(2) == 0 { (other, untraced) } else { (run, elsewhere) };
        events.extend([(kind::CALL, function), (kind::RETURN_TO, to)]);
    }
    let end = [(kind::RETURN_TO, None), (kind::EXIT, None)];
    events.extend(&end[random.below(2) as usize..]);
    events
}

fn stream(seed: u64) -> Vec<Step> {
    let (mut random, mut time, mut epoch, mut complete) = (Random(seed), 0, 0, true);
    let mut stacks: Vec<Vec<(u64, bool)>> = vec![Vec::new(); PROCESSES as usize];
    let holes = random.below(2) == 0;
    let mut walks = if seed % 20 < 2 { walks(&mut random) } else { Vec::new() }.into_iter();
    let length = if walks.len() > 0 { 4 * walks.len() as u64 } else { 8 + random.below(200) };
    let mut steps = Vec::new();
    for n in 0..length {
        time += random.below(20);
        if holes && random.below(50) == 0 {
            epoch += 1;
            complete = random.below(3) > 0;
        }
        let process = random.below(PROCESSES) as u32;
        let walks = if process == 0 { walks.next() } else { None };
        let next = match (seed % 2, random.below(30)) {
            (_, 0) if n < 20 => Some((kind::SPAWNED, None)),
            _ if walks.is_some() => walks,
            (0, _) => Some(nonsense(&mut random)),
            _ => program(&mut random, &mut stacks[process as usize]),
        };
        let Some((kind, function)) = next else { continue };
        steps.push(Step {
            time,
            process,
            kind,
            function: function.map(|f| FunctionId(f as u32)),
            normal_exit: random.below(2) == 0,
            epoch,
            complete,
            missing: holes && random.below(80) == 0,
        });
    }
    steps
}

/// Each process is read by its own events alone, and later where one must look ahead.
fn of_each_process(steps: &[Step]) -> Vec<Vec<Step>> {
    let of = |process: u32| steps.iter().filter(move |step| step.process == process).copied().collect();
    (0..PROCESSES as u32).map(of).collect()
}

/// Some streams are cut at a depth that they reach.
fn deep(seed: u64) -> usize {
    if seed % 5 < 2 { 6 } else { DEEP }
}

fn analyzed(steps: &[Step], deep: usize) -> Result {
    let (mut stacks, mut result) = (Stacks::cut_at(deep), Result::default());
    steps.iter().for_each(|step| stacks.step(*step, true, &mut result));
    stacks.end(&mut result);
    result
}

/// The fewest steps that still tell the two apart, and what each makes of them.
fn shrunk(mut steps: Vec<Step>, deep: usize) -> String {
    while let Some(less) = (0..steps.len()).find_map(|out| {
        let rest: Vec<Step> = steps.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, step)| *step).collect();
        (Oracle::run(&rest, deep) != analyzed(&rest, deep)).then_some(rest)
    }) {
        steps = less;
    }
    format!("{steps:?}\n{:?}\n{:?}", Oracle::run(&steps, deep), analyzed(&steps, deep))
}

fn streams() -> u64 {
    std::env::var("SPOOR_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn an_obvious_implementation_agrees() {
    let (mut events, mut timed, mut reasons) = (0, 0, [0_u64; Clip::ALL.len()]);
    for seed in 0..streams() {
        let steps = stream(seed);
        events += steps.len();
        for steps in of_each_process(&steps) {
            let (want, got) = (Oracle::run(&steps, deep(seed)), analyzed(&steps, deep(seed)));
            assert!(want == got, "stream {seed}, in short: {}", shrunk(steps, deep(seed)));
            timed += got.outcomes.iter().filter(|o| matches!(o, Outcome::Timed { .. })).count();
            for outcome in &got.outcomes {
                if let Outcome::Clipped(_, why) = outcome {
                    reasons[*why as usize] += 1;
                }
            }
        }
    }
    println!(
        "{} streams, {events} events, {timed} timed, not timed {:?} {reasons:?}: 0 differences",
        streams(),
        Clip::ALL
    );
    assert!(timed > 0 && reasons.iter().all(|calls| *calls > 0));
}

/// What the analyzer gets is changed a little: the comparison must see it.
#[test]
fn a_difference_is_seen() {
    let changes: [fn(&mut Step); 5] = [
        |step| step.time += u64::from(step.kind == kind::RETURN_TO),
        |step| step.missing = false,
        |step| step.complete = true,
        |step| step.kind = if step.kind == kind::EXCEPTION_FROM { kind::RETURN_FROM } else { step.kind },
        |step| step.kind = if step.kind == kind::OUT { kind::IN } else { step.kind },
    ];
    for (number, change) in changes.iter().enumerate() {
        let seen = (0..200).any(|seed| {
            of_each_process(&stream(seed)).into_iter().any(|mut steps| {
                let want = Oracle::run(&steps, deep(seed));
                steps.iter_mut().for_each(change);
                want != analyzed(&steps, deep(seed))
            })
        });
        assert!(seen, "change {number}");
    }
}

/// Each process alone, and all together: the same calls, the same times.
#[test]
fn processes_tell_nothing_about_each_other() {
    for seed in 0..streams() {
        let steps = stream(seed);
        let mut alone = Result::default();
        for steps in of_each_process(&steps) {
            let result = analyzed(&steps, deep(seed));
            alone.outcomes.extend(result.outcomes);
            alone.calls += result.calls;
            alone.spent += result.spent;
            alone.totals.iter_mut().zip(result.totals).for_each(|(sum, ns)| *sum += ns);
        }
        let mut together = analyzed(&steps, deep(seed));
        // Calls are numbered otherwise.
        for result in [&mut alone, &mut together] {
            result.outcomes.retain(|outcome| !matches!(outcome, Outcome::Called { .. }));
            result.outcomes.sort_by_key(|outcome| format!("{outcome:?}"));
        }
        assert_eq!(alone, together, "stream {seed}");
    }
}
