//! A second implementation of the rules in `docs/SEMANTICS.md`, written to be read:
//! lists that are searched from end to end, nothing remembered that can be looked up.
//! It must agree with the analyzer on random events, sensible or not, with holes.
//!
//! It knows every rule but those on returns to untraced functions (7 and 8), where the
//! analyzer draws conclusions: here all functions are traced, and so none is drawn.
//! `SPOOR_STREAMS=10000` sets the number of streams.

use spoor_analyzer::model::stack::{Clip, Ended, Observer, Stacks, Step};
use spoor_analyzer::read::{FunctionId, kind};

const FUNCTIONS: u64 = 4;
const PROCESSES: u64 = 3;

/// What comes of events, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Timed { function: u32, start: u64, duration: u64, own: u64, own_on: u64, raised: bool },
    Clipped(Option<u32>, Clip),
}

#[derive(Default, PartialEq, Debug)]
struct Result {
    outcomes: Vec<Outcome>,
    calls: [u64; FUNCTIONS as usize],
    totals: [u64; FUNCTIONS as usize],
}

impl Observer for Result {
    fn called(&mut self, _: u32, _: u32, function: FunctionId) -> u32 {
        self.calls[function.0 as usize] += 1;
        0
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
    fn spent(&mut self, _: u32, _: u64, _: bool) {}
}

/// A place on a stack: a call, or a function that execution is known to be in again.
#[derive(Clone, Debug)]
struct Place {
    function: u32,
    /// Its call; `None` where that was not seen.
    call: Option<usize>,
    several_left_at_once: bool,
}

#[derive(Debug)]
struct Call {
    function: u32,
    start: u64,
    known_start: bool,
    own: u64,
    own_on: u64,
    inside: Vec<usize>,
    timed: Option<u64>,
}

#[derive(Default)]
struct Process {
    places: Vec<Place>,
    last: u64,
    off: bool,
    told: bool,
    epoch: u32,
}

#[derive(Default)]
struct Oracle {
    processes: Vec<Process>,
    calls: Vec<Call>,
    seen: Vec<(u32, u32)>,
    result: Result,
}

impl Oracle {
    fn run(steps: &[Step]) -> Result {
        let mut oracle = Oracle::default();
        oracle.processes.resize_with(PROCESSES as usize, Process::default);
        for process in &mut oracle.processes {
            process.epoch = steps[0].epoch;
        }
        for step in steps {
            oracle.step(step);
        }
        for at in 0..oracle.processes.len() {
            oracle.end_all(at, Clip::End);
        }
        oracle.add_totals();
        oracle.result
    }

    /// Calls in no timed call of the same function make the function's total.
    fn add_totals(&mut self) {
        for call in &self.calls {
            let counted = call.inside.iter().any(|outer| self.calls[*outer].timed.is_some());
            self.result.totals[call.function as usize] += call.timed.filter(|_| !counted).unwrap_or(0);
        }
    }

    fn step(&mut self, step: &Step) {
        let at = step.process as usize;
        if self.processes[at].epoch != step.epoch || step.missing {
            self.end_all(at, Clip::Hole);
            self.processes[at].epoch = step.epoch;
            self.processes[at].off = false;
        }
        self.give_time(at, step.time);
        let function = step.function.map(|f| f.0);
        match step.kind {
            kind::CALL => self.call(at, step),
            kind::IN => self.processes[at].off = false,
            kind::OUT => self.processes[at].off = true,
            kind::RETURN_TO => self.return_to(at, function, step),
            kind::RETURN_FROM | kind::EXCEPTION_FROM => self.return_from(at, function.expect("it names one"), step),
            _ => self.end_all(at, Clip::Exit),
        }
    }

    fn give_time(&mut self, at: usize, now: u64) {
        let process = &mut self.processes[at];
        if let Some(call) = process.places.iter().rev().find_map(|place| place.call) {
            self.calls[call].own += now - process.last;
            self.calls[call].own_on += if process.off { 0 } else { now - process.last };
        }
        (process.last, process.off) = (now, false);
    }

    fn call(&mut self, at: usize, step: &Step) {
        let function = step.function.expect("it names one").0;
        self.result.calls[function as usize] += 1;
        let process = &mut self.processes[at];
        process.told = false;
        let open = process.places.iter().filter_map(|place| place.call);
        let inside = open.filter(|call| self.calls[*call].function == function).collect();
        let number = self.calls.len();
        process.places.push(Place { function, call: Some(number), several_left_at_once: false });
        let (start, known_start) = (step.time, step.complete);
        self.calls.push(Call { function, start, known_start, own: 0, own_on: 0, inside, timed: None });
    }

    fn pop(&mut self, at: usize, step: &Step, raised: bool) {
        let Some(number) = self.processes[at].places.pop().and_then(|place| place.call) else { return };
        let call = &mut self.calls[number];
        self.result.outcomes.push(if call.known_start && step.complete {
            let Call { function, start, own, own_on, .. } = *call;
            let duration = step.time - start;
            call.timed = Some(duration);
            Outcome::Timed { function, start, duration, own, own_on, raised }
        } else {
            Outcome::Clipped(Some(call.function), Clip::Hole)
        });
    }

    fn keep(&mut self, at: usize, places: usize, step: &Step) {
        while self.processes[at].places.len() > places {
            self.pop(at, step, false);
        }
    }

    fn end_all(&mut self, at: usize, why: Clip) {
        while let Some(place) = self.processes[at].places.pop() {
            if place.call.is_some() {
                self.result.outcomes.push(Outcome::Clipped(Some(place.function), why));
            }
        }
        self.processes[at].told = false;
    }

    fn return_from(&mut self, at: usize, function: u32, step: &Step) {
        self.processes[at].told = true;
        let places = &self.processes[at].places;
        match places.iter().rposition(|place| place.call.is_some() && place.function == function) {
            Some(found) => {
                self.keep(at, found + 1, step);
                self.pop(at, step, step.kind == kind::EXCEPTION_FROM);
            }
            None => self.result.outcomes.push(Outcome::Clipped(Some(function), Clip::Begin)),
        }
    }

    fn return_to(&mut self, at: usize, target: Option<u32>, step: &Step) {
        let told = std::mem::take(&mut self.processes[at].told);
        let places = self.processes[at].places.clone();
        let top = places.iter().rposition(|place| place.call.is_some());
        if top.is_none() && !told {
            let whose = places.last().map(|place| place.function);
            self.result.outcomes.push(Outcome::Clipped(whose, Clip::Begin));
        }
        let Some(target) = target else { return self.keep(at, 0, step) };
        // At least the topmost call has ended, unless that was told already.
        let below = if told { places.len() } else { top.unwrap_or(places.len()) };
        let found = places[..below].iter().rposition(|place| place.function == target);
        let marker = Place { function: target, call: None, several_left_at_once: false };
        let Some(found) = found else {
            let goes_on = top.filter(|top| places[*top].function == target && places[*top].several_left_at_once);
            if let Some(top) = goes_on.filter(|_| !told) {
                return self.keep(at, top + 1, step);
            }
            self.keep(at, 0, step);
            return self.processes[at].places.push(marker);
        };
        let above: Vec<usize> = (found + 1..places.len()).filter(|i| places[*i].call.is_some()).collect();
        if !told && above.len() == 1 {
            self.seen.push((target, places[above[0]].function));
        }
        if !told && above.len() > 1 && places[found].call.is_none() {
            let others =
                |called: u32| self.seen.iter().any(|(_, c)| *c == called) && !self.seen.contains(&(target, called));
            let (_, lower) = above.split_last().expect("more than one");
            if let Some(open) = lower.iter().rev().find(|i| others(places[**i].function)) {
                self.keep(at, open + 1, step);
                return self.processes[at].places.push(marker);
            }
            if let Some(under) = places[..found].iter().rposition(|place| place.call.is_some()) {
                self.processes[at].places[under].several_left_at_once = true;
            }
        }
        self.keep(at, found + 1, step);
    }
}

/// Numbers that look random and are the same on every run (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

fn stream(seed: u64) -> Vec<Step> {
    let (mut random, mut time, mut epoch, mut complete) = (Random(seed), 0, 0, true);
    let length = 8 + random.below(200);
    let mut steps = Vec::new();
    for n in 0..length {
        time += random.below(20);
        if n >= FUNCTIONS && random.below(50) == 0 {
            epoch += 1;
            complete = random.below(3) > 0;
        }
        // Each function is called once in the beginning: all are traced.
        let (kind, function) = match (n < FUNCTIONS, random.below(20)) {
            (true, _) => (kind::CALL, Some(n)),
            (_, 0..=7) => (kind::CALL, Some(random.below(FUNCTIONS))),
            (_, 8..=13) => (kind::RETURN_TO, Some(random.below(FUNCTIONS))),
            (_, 14) => (kind::RETURN_TO, None),
            (_, 15) => (kind::RETURN_FROM, Some(random.below(FUNCTIONS))),
            (_, 16) => (kind::EXCEPTION_FROM, Some(random.below(FUNCTIONS))),
            (_, 17) => (kind::OUT, None),
            (_, 18) => (kind::IN, None),
            _ => (if random.below(4) == 0 { kind::EXIT } else { kind::IN }, None),
        };
        steps.push(Step {
            time,
            process: if n < FUNCTIONS { 0 } else { random.below(PROCESSES) as u32 },
            kind,
            function: function.map(|f| FunctionId(f as u32)),
            normal_exit: random.below(2) == 0,
            epoch,
            complete,
            missing: n >= FUNCTIONS && random.below(80) == 0,
        });
    }
    steps
}

fn analyzed(steps: &[Step]) -> Result {
    let (mut stacks, mut result) = (Stacks::default(), Result::default());
    steps.iter().for_each(|step| stacks.step(*step, &mut result));
    stacks.end(&mut result);
    result
}

fn streams() -> u64 {
    std::env::var("SPOOR_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000)
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn an_obvious_implementation_agrees() {
    let (mut events, mut timed, mut clipped) = (0, 0, 0);
    for seed in 0..streams() {
        let steps = stream(seed);
        let (want, got) = (Oracle::run(&steps), analyzed(&steps));
        assert_eq!(want, got, "stream {seed}: {steps:#?}");
        events += steps.len();
        timed += got.outcomes.iter().filter(|o| matches!(o, Outcome::Timed { .. })).count();
        clipped += got.outcomes.iter().filter(|o| matches!(o, Outcome::Clipped(..))).count();
    }
    println!("{} streams, {events} events, {timed} timed, {clipped} clipped: 0 differences", streams());
    assert!(timed > 0 && clipped > 0);
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
            let mut steps = stream(seed);
            let want = Oracle::run(&steps);
            steps.iter_mut().for_each(change);
            want != analyzed(&steps)
        });
        assert!(seen, "change {number}");
    }
}
