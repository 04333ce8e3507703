//! Calls of programs that are known: each call that is timed is timed right.
//!
//! Programs are made at random: functions, traced and not, that call each other, some as
//! tail calls. They are run, which tells when each call truly ended, and what the VM would
//! say of it (`call` and `return_to` of traced functions) is read as a recording would be.

#[path = "common/random.rs"]
mod random;

use std::collections::HashMap;

use spoor_analyzer::model::edges::Table;
use spoor_analyzer::model::keyed;
use spoor_analyzer::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use spoor_analyzer::model::told::Told;
use spoor_analyzer::read::{FunctionId, kind};

use random::Random;

const FUNCTIONS: usize = 10;
/// Events of a run.
const LENGTH: usize = 3_000;

/// What a function does: calls, each with how often it is made, in tenths; the last that is
/// made may be a tail call.
struct Function {
    calls: Vec<(usize, u64)>,
    last_is_tail: bool,
}

fn program(random: &mut Random, recurs: bool) -> Vec<Function> {
    (0..FUNCTIONS)
        .map(|own| {
            let calls = (0..1 + random.below(3)).map(|_| {
                // Mostly in one direction, so that runs come to their ends.
                let callee = if recurs && random.below(12) == 0 {
                    random.below(FUNCTIONS as u64) as usize
                } else {
                    own + 1 + random.below(FUNCTIONS as u64 / 2) as usize
                };
                let often = if callee > own { 4 + random.below(7) } else { 1 + random.below(3) };
                (callee, often)
            });
            Function {
                calls: calls.filter(|(callee, _)| *callee < FUNCTIONS).collect(),
                last_is_tail: random.below(3) == 0,
            }
        })
        .collect()
}

/// Does `return_from` tell the end of the function's calls?
type Named = fn(usize) -> bool;

/// A run: its events, and when each call of a traced function, by its begin, ended.
struct Run {
    steps: Vec<Step>,
    ends: HashMap<u64, u64>,
    /// How often who called whom: the nearest traced call that is open, `None` for none.
    callers: HashMap<(Option<usize>, usize), u64>,
}

struct Open {
    function: usize,
    /// Calls still to be made.
    left: Vec<usize>,
    last_is_tail: bool,
    /// Traced calls that end with it, and when they began.
    begun: Vec<(usize, u64)>,
    told: bool,
}

/// Functions are named by their numbers in another order, so that traced ones call untraced
/// ones and the other way round.
fn is_traced(function: usize) -> bool {
    function % 5 < 3
}

fn run(random: &mut Random, functions: &[Function], named: Named, deepest: usize) -> Run {
    let (mut time, mut steps, mut ends, mut callers) = (0, Vec::new(), HashMap::new(), HashMap::new());
    let mut stack: Vec<Open> = Vec::new();
    let step = |time, kind, function: Option<usize>| Step {
        time,
        process: 0,
        kind,
        function: function.map(|f| FunctionId(f as u32)),
        normal_exit: false,
        epoch: 0,
        complete: true,
        missing: false,
    };
    // A loop that nobody traces, and that calls one function after the other.
    let (server, entry) = (FUNCTIONS, random.below(FUNCTIONS as u64) as usize);
    while steps.len() < LENGTH && time < 100 * LENGTH as u64 {
        time += 1 + random.below(9);
        let deep = stack.len() > deepest;
        let next = match stack.last_mut() {
            None => Some(entry),
            Some(_) if deep => None,
            Some(open) => open.left.pop(),
        };
        if let Some(function) = next {
            let left = functions[function].calls.iter().filter(|(_, often)| random.below(10) < *often);
            let left: Vec<usize> = left.map(|(callee, _)| *callee).collect();
            let mut open =
                Open { function, left, last_is_tail: functions[function].last_is_tail, begun: vec![], told: false };
            if stack.last().is_some_and(|under| under.left.is_empty() && under.last_is_tail) {
                let gone = stack.pop().expect("it was there");
                (open.begun, open.told) = (gone.begun, gone.told);
            }
            if is_traced(function) {
                steps.push(step(time, kind::CALL, Some(function)));
                let caller = open.begun.last().or_else(|| stack.iter().rev().find_map(|under| under.begun.last()));
                *callers.entry((caller.map(|(caller, _)| *caller), function)).or_default() += 1;
                open.begun.push((function, time));
                open.told = true;
            }
            stack.push(open);
            continue;
        }
        let gone = stack.pop().expect("somebody had no more calls");
        for (function, begin) in gone.begun.into_iter().rev() {
            ends.insert(begin, time);
            if named(function) {
                steps.push(step(time, kind::RETURN_FROM, Some(function)));
            }
        }
        if gone.told {
            let to = stack.last().map_or(server, |open| open.function);
            steps.push(step(time, kind::RETURN_TO, Some(to)));
        }
    }
    Run { steps, ends, callers }
}

/// Runs of programs that recur, or do not, of which ends are told in one way or another.
fn kinds() -> impl Iterator<Item = (bool, &'static str, impl Iterator<Item = Run>)> {
    let ways: [(&str, Named); 3] =
        [("return_to", |_| false), ("and return_from", |_| true), ("for some", |function| function % 2 == 0)];
    let kinds = [false, true].into_iter().flat_map(move |recurs| ways.map(|way| (recurs, way)));
    kinds.map(|(recurs, (way, named))| {
        let runs = (0..300).map(move |seed| {
            let mut random = Random(seed);
            let functions = program(&mut random, recurs);
            run(&mut random, &functions, named, 40)
        });
        (recurs, way, runs)
    })
}

/// Functions that walk over trees of up to `levels`, left and then right as their last act, out of one
/// that waits for them or ends with them: hundreds of calls of which any may have ended, and below them one that has not.
fn walks(seed: u64) -> Run {
    let mut random = Random(seed);
    let never = |_| Function { calls: vec![], last_is_tail: false };
    let mut functions: Vec<Function> = (0..FUNCTIONS).map(never).collect();
    let [walk, run_walk, other, untraced] = [0, 1, 2, 3];
    functions[walk] = Function { calls: vec![(walk, 10), (walk, 9 + random.below(2))], last_is_tail: true };
    functions[run_walk] = Function { calls: vec![(walk, 10)], last_is_tail: random.below(3) > 0 };
    let calls = [(other, 7), (run_walk, 10), (other, 10), (other, 7)];
    functions[untraced].calls = calls[random.below(3) as usize..].to_vec();
    for function in &mut functions[untraced + 1..] {
        function.calls = vec![(untraced, 10)];
    }
    let levels = 3 + random.below(10) as usize;
    let mut run = run(&mut random, &functions, |_| false, levels);
    // It ends when all has returned, if it ever has.
    let outside = |step: &Step| step.kind == kind::RETURN_TO && step.function == Some(FunctionId(FUNCTIONS as u32));
    if let Some(last) = run.steps.iter().rposition(outside) {
        run.steps.truncate(last + 1);
        let time = run.steps[last].time + 1_000_000;
        let step = |kind| Step { time, kind, function: None, normal_exit: true, ..run.steps[last] };
        let end = [step(kind::RETURN_TO), step(kind::EXIT)];
        run.steps.extend(&end[random.below(2) as usize..]);
    }
    run
}

#[derive(Default)]
struct Seen {
    timed: Vec<Ended>,
    clipped: usize,
    totals: [u64; FUNCTIONS + 1],
}

impl Observer for Seen {
    fn called(&mut self, _: u32, _: &Below<'_>, _: FunctionId) -> u32 {
        1
    }
    fn ended(&mut self, ended: &Ended) {
        self.timed.push(*ended);
    }
    fn total(&mut self, function: FunctionId, ns: u64) {
        self.totals[function.0 as usize] += ns;
    }
    fn clipped(&mut self, _: Option<FunctionId>, _: Clip) {
        self.clipped += 1;
    }
    fn spent(&mut self, _: u32, _: u64, _: bool) {}
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn timed_calls_are_timed_right() {
    for (recurs, way, runs) in kinds() {
        let (mut timed, mut wrong, mut untimed) = (0, 0, 0);
        for run in runs {
            let (mut stacks, mut seen) = (Stacks::default(), Seen::default());
            run.steps.iter().for_each(|step| stacks.step(*step, true, &mut seen));
            stacks.end(&mut seen);
            let is_wrong = |ended: &&Ended| run.ends.get(&ended.start) != Some(&(ended.start + ended.duration));
            timed += seen.timed.len();
            wrong += seen.timed.iter().filter(is_wrong).count();
            untimed += seen.clipped;
        }
        println!("recursion {recurs}, {way}: {timed} timed, {wrong} of them wrong, {untimed} not timed");
        // A return to a function that recurs and ends with tail calls can be read in two ways.
        let most = if recurs && way != "and return_from" { timed / 500 } else { 0 };
        assert!(wrong <= most, "{wrong} of {timed} are wrong");
        assert!(untimed < timed / 25, "{untimed} are not timed, {timed} are");
    }
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn who_is_said_to_call_did() {
    for (recurs, way, runs) in kinds() {
        let (mut certain, mut wrong, mut calls) = (0, 0, 0);
        for run in runs {
            let (mut stacks, mut table) = (Stacks::default(), Table::default());
            for step in &run.steps {
                stacks.step(*step, true, &mut table);
            }
            stacks.end(&mut table);
            calls += run.callers.values().sum::<u64>();
            for (caller, called, count) in table.certain() {
                let pair = (caller.map(|caller| caller.0 as usize), called.0 as usize);
                let truth = run.callers.get(&pair).copied().unwrap_or(0);
                certain += count;
                wrong += count.saturating_sub(truth);
            }
        }
        println!("recursion {recurs}, {way}: {calls} calls, of {certain} the caller is told, {wrong} of them wrong");
        // Where some functions tell their ends and others do not, one that is called both ways,
        // as a tail call and not, may be taken to be open still.
        let most = match way {
            "and return_from" => 0,
            _ if recurs => certain / 400,
            "for some" => certain / 1000,
            _ => 0,
        };
        assert!(wrong <= most, "{wrong} of {certain} are wrong");
        assert!(certain > calls * 9 / 10, "of {certain} of {calls} the caller is told");
    }
}

/// Functions of so many modules, by the last bits of their numbers.
const MODULES: usize = 2;

/// How often the module was entered: called when none of its calls was open.
fn visits(run: &Run, module: usize) -> u64 {
    let (mut open, mut visits) = (Vec::new(), 0);
    for step in run.steps.iter().filter(|step| step.kind == kind::CALL) {
        let function = step.function.map_or(0, |function| function.0 as usize);
        open.retain(|end| *end > step.time);
        if function % MODULES == module {
            visits += u64::from(open.is_empty());
            open.push(run.ends.get(&step.time).copied().unwrap_or(u64::MAX));
        }
    }
    visits
}

/// Time in which one of the calls was open, at least.
fn covered(timed: &[Ended], counts: impl Fn(usize) -> bool) -> u64 {
    let calls = timed.iter().filter(|ended| counts(ended.function.0 as usize));
    let mut spans: Vec<(u64, u64)> = calls.map(|ended| (ended.start, ended.start + ended.duration)).collect();
    spans.sort_unstable();
    let (mut sum, mut until) = (0, 0);
    for (start, end) in spans {
        sum += end.saturating_sub(start.max(until));
        until = until.max(end);
    }
    sum
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn modules_are_entered_as_often_and_as_long_as_is_said() {
    for (recurs, way, runs) in kinds() {
        let (mut least, mut most, mut truth, mut wrong) = (0, 0, 0, 0);
        for run in runs {
            let told = Told::default();
            (0..=FUNCTIONS).for_each(|function| told.tell(function as u32, 1 + (function % MODULES) as u32));
            let (mut table, mut seen) = (keyed::Table::new(&keyed::Rows::Functions(told)), Seen::default());
            let mut stacks = [Stacks::default(), Stacks::default()];
            for step in &run.steps {
                stacks[0].step(*step, true, &mut table);
                stacks[1].step(*step, true, &mut seen);
            }
            stacks[0].end(&mut table);
            stacks[1].end(&mut seen);
            for module in 0..MODULES {
                let (entered, at_most, total) = table.visits(module);
                let visits = visits(&run, module);
                (least, most, truth) = (least + entered, most + at_most, truth + visits);
                wrong += entered.saturating_sub(visits) + visits.saturating_sub(at_most);
                assert_eq!(
                    total,
                    covered(&seen.timed, |function| function % MODULES == module),
                    "recursion {recurs}, {way}"
                );
            }
        }
        println!("recursion {recurs}, {way}: {truth} visits, told {least} to {most}, {wrong} outside");
        let allowed = if recurs && way != "and return_from" { truth / 100 } else { 0 };
        assert!(wrong <= allowed, "{wrong} of {truth} are wrong");
        assert!(least > truth * 9 / 10, "{least} of {truth} are told");
    }
}

/// Whatever is told of walks is right, however many calls may have ended; and no moment counts twice.
#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn nothing_wrong_is_told_of_deep_walks() {
    let (mut timed, mut wrong, mut untimed, mut certain, mut wrong_callers, mut outside) = (0, 0, 0, 0, 0, 0);
    for seed in 0..300 {
        let run = walks(seed);
        let told = Told::default();
        (0..=FUNCTIONS).for_each(|function| told.tell(function as u32, 1 + (function % MODULES) as u32));
        let (mut table, mut seen) = (keyed::Table::new(&keyed::Rows::Functions(told)), Seen::default());
        let (mut stacks, mut edges) = ([Stacks::default(), Stacks::default(), Stacks::default()], Table::default());
        for step in &run.steps {
            stacks[0].step(*step, true, &mut table);
            stacks[1].step(*step, true, &mut seen);
            stacks[2].step(*step, true, &mut edges);
        }
        stacks[0].end(&mut table);
        stacks[1].end(&mut seen);
        stacks[2].end(&mut edges);
        let is_wrong = |ended: &&Ended| run.ends.get(&ended.start) != Some(&(ended.start + ended.duration));
        timed += seen.timed.len();
        untimed += seen.clipped;
        wrong += seen.timed.iter().filter(is_wrong).count();
        for (caller, called, count) in edges.certain() {
            let pair = (caller.map(|caller| caller.0 as usize), called.0 as usize);
            certain += count;
            wrong_callers += count.saturating_sub(run.callers.get(&pair).copied().unwrap_or(0));
        }
        for (function, total) in seen.totals.iter().enumerate() {
            assert_eq!(*total, covered(&seen.timed, |of| of == function), "{function} of walk {seed}");
        }
        for module in 0..MODULES {
            let ((least, most, total), visits) = (table.visits(module), visits(&run, module));
            outside += least.saturating_sub(visits) + visits.saturating_sub(most);
            assert_eq!(total, covered(&seen.timed, |of| of % MODULES == module), "module {module} of walk {seed}");
        }
    }
    println!(
        "{timed} timed, {wrong} of them wrong, {untimed} not; {certain} callers, {wrong_callers} wrong; {outside}"
    );
    assert_eq!((wrong, wrong_callers, outside), (0, 0, 0));
}

/// A recursion too deep to be kept: each of its calls is told of once, and what is hidden is not entered again.
#[test]
fn calls_that_are_too_deep_are_counted_once() {
    let step = |time: u64, kind, function: u32| Step {
        time,
        process: 0,
        kind,
        function: Some(FunctionId(function)),
        normal_exit: false,
        epoch: 0,
        complete: true,
        missing: false,
    };
    let outer = FUNCTIONS as u32;
    let depth = 50;
    let calls = (0..depth).map(|n| step(n, kind::CALL, 0));
    let returns = (0..depth - 1).map(|n| step(100 + n, kind::RETURN_TO, 0));
    let all =
        [calls.collect::<Vec<_>>(), returns.collect(), vec![step(200, kind::CALL, 2), step(210, kind::RETURN_TO, 0)]];
    for events in [vec![], vec![step(220, kind::RETURN_TO, outer)]] {
        let told = Told::default();
        (0..=FUNCTIONS).for_each(|function| told.tell(function as u32, 1 + (function % MODULES) as u32));
        let (mut table, mut seen) = (keyed::Table::new(&keyed::Rows::Functions(told)), Seen::default());
        let mut stacks = [Stacks::cut_at(10), Stacks::cut_at(10)];
        for step in all.iter().flatten().chain(&events) {
            stacks[0].step(*step, true, &mut table);
            stacks[1].step(*step, true, &mut seen);
        }
        stacks[1].end(&mut seen);
        assert_eq!(seen.timed.len() + seen.clipped, depth as usize + 1);
        let (entered, at_most, _) = table.visits(0);
        assert!(entered == 1 && at_most >= 1, "{entered} to {at_most}");
    }
}

/// A walk over a tree with hundreds of leaves, out of a function that ends with it; long after it had ended another
/// is called, and the process ends.
#[test]
fn what_lies_below_hundreds_of_unsure_calls_is_unsure() {
    let (walk, run, other, untraced) = (0, 1, 2, 9);
    let mut events = vec![(kind::CALL, Some(run))];
    let mut left = vec![9];
    while let Some(levels) = left.pop() {
        events.push((kind::CALL, Some(walk)));
        match levels {
            0 if left.is_empty() => {}
            0 => events.push((kind::RETURN_TO, Some(walk))),
            _ => left.extend([levels - 1, levels - 1]),
        }
    }
    events.push((kind::RETURN_TO, Some(untraced)));
    let ended = events.len() as u64;
    events.extend([(kind::CALL, Some(other)), (kind::RETURN_TO, None)]);
    let (mut stacks, mut seen) = (Stacks::default(), Seen::default());
    for (at, (kind, function)) in events.into_iter().enumerate() {
        let time = at as u64 + if at as u64 >= ended { 1_000_000 } else { 0 };
        let function = function.map(FunctionId);
        let (normal_exit, epoch, complete, missing) = (false, 0, true, false);
        stacks.step(Step { time, process: 0, kind, function, normal_exit, epoch, complete, missing }, true, &mut seen);
    }
    stacks.end(&mut seen);
    assert!(!seen.timed.is_empty() && seen.timed.iter().all(|call| call.duration <= ended), "{:?}", seen.timed.last());
}
