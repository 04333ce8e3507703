//! Recursions over trees that are known: body-recursive functions of which some end with calls of
//! themselves, at times. Each call that is timed is timed right, wherever a recording begins,
//! ends, or has a hole; but for few, where a function does both.

#[path = "common/random.rs"]
mod random;

use std::collections::HashMap;

use random::Random;
use spoor_analyzer::model::stack::{Below, Clip, DEEP, Ended, Observer, Stacks, Step};
use spoor_analyzer::read::{FunctionId, kind};

const PROGRAMS: u64 = 400;
/// Recursions of a program, one after the other.
const ROUNDS: usize = 12;

/// A run: its events, and when the call that began at a time ended.
struct Run {
    steps: Vec<Step>,
    ends: HashMap<u64, u64>,
}

struct Open {
    function: u64,
    left: u64,
    depth: u64,
    /// When the calls began that end with it.
    begun: Vec<u64>,
}

fn step(time: u64, kind: u8, function: Option<u64>) -> Step {
    let function = function.map(|function| FunctionId(function as u32));
    Step { time, process: 0, kind, function, normal_exit: false, epoch: 0, complete: true, missing: false }
}

/// Of so many functions; those that may do so make their last call a tail call so many times in ten.
fn run(random: &mut Random, functions: u64, tails: u64) -> Run {
    let (mut steps, mut ends, mut time) = (Vec::new(), HashMap::new(), 0);
    let tails: Vec<u64> = (0..functions).map(|_| tails * random.below(2)).collect();
    let most: Vec<u64> = (0..functions).map(|_| 1 + random.below(3)).collect();
    for _ in 0..ROUNDS {
        let (deepest, mut stack) = (2 + random.below(7), Vec::<Open>::new());
        let mut next = Some((random.below(functions), 0, Vec::new()));
        while next.is_some() || !stack.is_empty() {
            time += 1 + random.below(9);
            if let Some((function, depth, mut begun)) = next.take() {
                steps.push(step(time, kind::CALL, Some(function)));
                begun.push(time);
                let left = if depth < deepest { random.below(most[function as usize] + 1) } else { 0 };
                stack.push(Open { function, left, depth, begun });
                continue;
            }
            let top = stack.last_mut().expect("it is not empty");
            if top.left == 0 {
                let begun = stack.pop().map_or(Vec::new(), |gone| gone.begun);
                ends.extend(begun.into_iter().map(|begin| (begin, time)));
                steps.push(step(time, kind::RETURN_TO, Some(stack.last().map_or(functions, |open| open.function))));
                continue;
            }
            top.left -= 1;
            let same = random.below(3) > 0;
            let (function, depth) = (if same { top.function } else { random.below(functions) }, top.depth + 1);
            let is_tail = top.left == 0 && random.below(10) < tails[top.function as usize];
            let begun = if is_tail { stack.pop().map(|gone| gone.begun) } else { None };
            next = Some((function, depth, begun.unwrap_or_default()));
        }
    }
    Run { steps, ends }
}

#[derive(Default)]
struct Seen {
    calls: usize,
    timed: Vec<Ended>,
    untimed: usize,
}

impl Observer for Seen {
    fn called(&mut self, _: u32, _: &Below<'_>, _: FunctionId) -> u32 {
        self.calls += 1;
        1
    }
    fn ended(&mut self, ended: &Ended) {
        self.timed.push(*ended);
    }
    fn total(&mut self, _: FunctionId, _: u64) {}
    fn clipped(&mut self, _: Option<FunctionId>, why: Clip) {
        self.untimed += usize::from(why != Clip::Begin);
    }
    fn spent(&mut self, _: u32, _: u64, _: bool) {}
}

/// Of which stacks are cut.
const TOO_DEEP: &str = "too deep";

/// What a recording has of the events.
type Recorded = fn(Vec<Step>, &mut Random) -> Vec<Step>;

/// Stretches that are recorded, and a few events between them that are not.
fn stretches(steps: &[Step], random: &mut Random, lost: u64) -> Vec<Vec<Step>> {
    let (mut stretches, mut at) = (Vec::new(), 0);
    while at < steps.len() {
        let until = (at + 10 + random.below(60) as usize).min(steps.len());
        stretches.push(steps[at..until].to_vec());
        at = until + random.below(lost + 1) as usize;
    }
    stretches
}

fn holes(steps: Vec<Step>, random: &mut Random) -> Vec<Step> {
    let stretches = stretches(&steps, random, 6).into_iter().zip(0..);
    stretches.flat_map(|(steps, epoch)| steps.into_iter().map(move |step| Step { epoch, ..step })).collect()
}

fn left_out(steps: Vec<Step>, random: &mut Random) -> Vec<Step> {
    let stretches = stretches(&steps, random, 6).into_iter();
    let first = |(at, step)| Step { missing: at == 0, ..step };
    stretches.flat_map(|steps| steps.into_iter().enumerate().map(first)).collect()
}

fn killed(steps: Vec<Step>, random: &mut Random) -> Vec<Step> {
    let exit = |steps: &[Step]| step(steps.last().map_or(0, |last| last.time), kind::EXIT, None);
    let stretches = stretches(&steps, random, 0).into_iter();
    stretches.flat_map(|steps| [steps.clone(), vec![exit(&steps)]].concat()).collect()
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn timed_calls_of_trees_are_timed_right() {
    // One timed call in so many may be wrong, where functions do both. What began before the recording, or
    // in a hole, may be a call of the same function.
    let recorded: [(&str, Recorded, usize); 7] = [
        ("whole", |steps, _| steps, 500),
        ("its begin", |steps, random| steps[..random.below(steps.len() as u64) as usize].to_vec(), 500),
        ("its end", |steps, random| steps[random.below(steps.len() as u64) as usize..].to_vec(), 50),
        ("with holes", holes, 20),
        ("with calls left out", left_out, 20),
        ("of processes that are killed", killed, 20),
        (TOO_DEEP, |steps, _| steps, 15),
    ];
    for (what, recorded, few) in recorded {
        for (functions, tails) in [(1, 0), (2, 0), (1, 3), (3, 3), (3, 10)] {
            let (mut timed, mut wrong, mut untimed) = (0, 0, 0);
            for seed in 0..PROGRAMS {
                let Run { steps, ends } = run(&mut Random(seed), functions, tails);
                let deep = if what == TOO_DEEP { 6 } else { DEEP };
                let (mut stacks, mut seen) = (Stacks::cut_at(deep), Seen::default());
                recorded(steps, &mut Random(!seed)).into_iter().for_each(|step| stacks.step(step, true, &mut seen));
                stacks.end(&mut seen);
                assert_eq!(seen.timed.len() + seen.untimed, seen.calls);
                let is_wrong = |ended: &&Ended| ends.get(&ended.start) != Some(&(ended.start + ended.duration));
                timed += seen.timed.len();
                wrong += seen.timed.iter().filter(is_wrong).count();
                untimed += seen.untimed;
            }
            println!("{what}, {functions} functions, tails {tails}: {timed} timed, {wrong} wrong, {untimed} not timed");
            assert!(wrong <= if tails > 0 { timed / few } else { 0 }, "{wrong} of {timed} are wrong");
            assert!(what != "whole" || tails > 0 || untimed == 0, "{untimed} are not timed");
        }
    }
}

/// What comes of a process does not depend on what others do meanwhile.
#[test]
fn trees_of_several_processes_are_read_apart() {
    for seed in 0..PROGRAMS {
        let runs: Vec<Run> = (0..4).map(|n| run(&mut Random(4 * seed + n), 2, 3)).collect();
        let of = |processes: &[usize]| {
            let (mut stacks, mut seen) = (Stacks::default(), Seen::default());
            let steps = processes.iter().flat_map(|process| runs[*process].steps.iter().map(|step| (*process, *step)));
            let mut steps: Vec<(usize, Step)> = steps.collect();
            steps.sort_by_key(|(_, step)| step.time);
            for (process, step) in steps {
                stacks.step(Step { process: process as u32, ..step }, true, &mut seen);
            }
            stacks.end(&mut seen);
            seen.timed
        };
        let sorted = |mut timed: Vec<Ended>| {
            timed.sort_by_key(|ended| (ended.start, ended.duration, ended.function, ended.own, ended.inside));
            timed
        };
        let apart = sorted((0..4).flat_map(|process| of(&[process])).collect());
        let together = sorted(of(&[0, 1, 2, 3]));
        let differs = together.iter().zip(&apart).find(|(one, other)| one != other);
        assert!(together.len() == apart.len() && differs.is_none(), "{differs:?}");
    }
}
