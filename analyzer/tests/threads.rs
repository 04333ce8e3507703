//! The answer is the same for any number of threads.

mod common;

use common::{RATE, at, clock, file, lane, pid};
use std::collections::HashMap;

use spoor_analyzer::model::calls::{Calls, Report, Sort};
use spoor_analyzer::model::clocks::Clocks;
use spoor_analyzer::model::edges::{self, Edges, Side};
use spoor_analyzer::model::filter::Filter;
use spoor_analyzer::model::flame::{self, Flame, Returning};
use spoor_analyzer::model::keyed::{self, Keyed, Rows};
use spoor_analyzer::model::processes::Processes;
use spoor_analyzer::model::shares::{Player, Shares, Table};
use spoor_analyzer::model::slow::{Node, Slow, SlowCall};
use spoor_analyzer::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use spoor_analyzer::model::told::Told;
use spoor_analyzer::read::{
    Asked, Deal, Event, Finding, FunctionId, Names, Recording, Source, TraceeId, Tracees, Window, kind,
};
use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::Identity;
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;
use spoor_format::term::RawTerm;

const LANES: u64 = 3;
const PROCESSES: u64 = 50;
const EVENTS: u64 = 8_000;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Processes that call, return to traced and untraced functions, are scheduled on
/// any lane, and exit; whether that makes sense is not the point.
fn busy(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut file = file(Phase::Stopped, "stopped");
    file.header = Header::with_rings(4, 4, (4096, 2), (1 << 17, LANES));
    file.clocks = vec![clock(1, 0), clock(2, 20_000)];
    file.lanes.clear();
    for number in 0..LANES {
        let mut chunk = ChunkBuilder::new(number as u32, number + 1, at(1), 0);
        let names = ["a", "b", "c", "d", "e", "outside", "elsewhere"];
        let functions = names.map(|name| chunk.function("m", name, 0));
        for n in 0..EVENTS {
            let (whose, function) = (pid(random.below(PROCESSES)), functions[random.below(5) as usize]);
            let target = functions[random.below(7) as usize];
            let kind = random.below(16);
            chunk.event(at(2 + n) + random.below(1_000), whose, |to, d| match kind {
                0..=6 => write::call(to, d, function),
                7..=11 => write::return_to(to, d, target),
                12 => write::return_from(to, d, function),
                13 => write::out(to, d, function),
                14 => write::in_(to, d, function),
                _ => write::return_to(to, d, 0),
            });
        }
        file.push(RingKind::Events, chunk);
        file.lanes.push(lane(LaneKind::Scheduler, number as u32 + 1, EVENTS, &[]));
    }
    file.build()
}

/// Many small chunks on lanes that end and begin at any time; some chunks are gone,
/// some damaged or cut off, and some events say that others are missing.
fn holed(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut file = file(Phase::Stopped, "stopped");
    let chunks = 24;
    file.header = Header::with_rings(4, 4, (4096, 2), (4096, LANES * chunks));
    file.clocks = vec![clock(1, 0), clock(2, 20_000)];
    file.lanes.clear();
    let mut stored = vec![0; LANES as usize];
    let mut built = Vec::new();
    for number in 0..LANES {
        let mut now = 1 + random.below(500);
        for n in 0..chunks {
            let first = stored[number as usize];
            let mut chunk = ChunkBuilder::new(number as u32, n * LANES + number + 1, at(now), first);
            let functions = ["a", "b", "c", "outside"].map(|name| chunk.function("m", name, 0));
            let events = 1 + random.below(120);
            for _ in 0..events {
                now += random.below(20);
                let (whose, function) = (pid(random.below(12)), functions[random.below(4) as usize]);
                let kind = random.below(12);
                let (mut note, since) = (Vec::new(), RATE * random.below(90));
                let noted = match random.below(200) {
                    0..=2 => write::missing(&mut note, 0, 0),
                    3 => write::missing(&mut note, 0, 1),
                    4 => write::dropped(&mut note, 0, since, 3 * RATE, 5),
                    _ => Ok(()),
                };
                noted.expect("a Vec is never full");
                chunk.raw(&note);
                chunk.event(at(now), whose, |to, d| match kind {
                    0..=4 => write::call(to, d, functions[random.below(3) as usize]),
                    5..=8 => write::return_to(to, d, function),
                    9 => write::out(to, d, function),
                    10 => write::spawned(to, d, RawTerm::NONE, function),
                    _ => write::return_to(to, d, 0),
                });
            }
            stored[number as usize] += events;
            if random.below(12) > 0 {
                built.push(chunk);
            }
            now += if random.below(4) == 0 { random.below(3_000) } else { 1 };
        }
    }
    for number in 0..LANES {
        file.lanes.push(lane(LaneKind::Scheduler, number as u32 + 1, stored[number as usize], &[]));
    }
    // Where chunks lie says nothing of their order: what is cut off is of any time.
    let last = built.len() as u64 - 1;
    while !built.is_empty() {
        let chunk = built.swap_remove(random.below(built.len() as u64) as usize);
        file.push(RingKind::Events, chunk);
    }
    let mut bytes = file.build();
    for _ in 0..random.below(3) {
        let ring = file.header.events;
        let byte = ring.offset + random.below(ring.bytes() - 200);
        bytes[byte as usize + 100] ^= 0x55;
    }
    let ring = file.header.events;
    match random.below(4) {
        0 => bytes.truncate((ring.offset + random.below(ring.bytes())) as usize),
        // Within the last one that is there.
        1 => bytes.truncate((ring.chunk_offset(last) + random.below(1_500)) as usize),
        _ => {}
    }
    bytes
}

fn opened(bytes: &[u8]) -> Recording {
    Recording::open(Source::from_bytes(bytes.to_vec()), "busy.spoor").expect("a recording")
}

/// The table, and what is said of the clocks of threads.
type Answer = (Report, Vec<String>);

fn of_clocks(findings: &[Finding]) -> impl Iterator<Item = String> {
    findings.iter().filter(|finding| finding.is_of_clocks()).map(|finding| finding.what.clone())
}

/// Dealt out to so many threads.
fn report(bytes: &[u8], threads: usize, window: Window) -> Answer {
    let mut calls = Calls::new(threads);
    let (mut names, mut clocks) = (Names::default(), Vec::new());
    // Twice: tables go on from one recording to the next.
    for _ in 0..2 {
        let recording = opened(bytes);
        let deal = Deal::new(&recording, std::mem::take(&mut names), window, |_| true);
        let outcome = calls.replay().deal(deal, |asked| Some(asked.lane != 2), |_| ());
        clocks.extend(of_clocks(&outcome.findings));
        names = outcome.names;
    }
    (calls.report(&names, &Filter::default(), Sort::Own, usize::MAX), clocks)
}

/// Event by event.
fn one_by_one(bytes: &[u8], window: Window) -> Answer {
    let mut calls = Calls::new(1);
    let (mut names, mut told) = (Names::default(), Vec::new());
    for _ in 0..2 {
        let recording = opened(bytes);
        let mut stream = recording.stream(std::mem::take(&mut names), Tracees::default(), window);
        let mut clocks = Clocks::default();
        calls.recording(|calls| {
            while let Some(event) = stream.next() {
                clocks.event(&event);
                calls.event(&event, event.lane != 2);
            }
        });
        names = stream.finish().names;
        told.extend(of_clocks(clocks.finding(&recording).as_slice()));
    }
    (calls.report(&names, &Filter::default(), Sort::Own, usize::MAX), told)
}

#[test]
fn the_answer_is_the_same_for_any_number_of_threads() {
    for seed in 0..4 {
        let bytes = busy(seed);
        let alone = one_by_one(&bytes, Window::ALL);
        let (table, clocks) = &alone;
        assert!(clocks.len() == 2, "{clocks:?}");
        assert!(table.functions.iter().all(|row| row.timed > 100 && row.untimed.sum() > 100), "{table:?}");
        assert!(table.own_is_on_scheduler && table.unknown_returns > 0);
        for threads in [1, 2, 3, 4, 9] {
            assert_eq!(alone, report(&bytes, threads, Window::ALL), "seed {seed}, {threads} threads");
        }
    }
}

#[test]
fn it_is_that_of_event_by_event_whatever_is_missing() {
    for seed in 0..60 {
        let mut random = Random(seed);
        let bytes = holed(seed);
        let whole = opened(&bytes);
        let (start, end) = (whole.start_ns, whole.end_ns);
        let mut moment = || start + random.below(end - start);
        let windows =
            [Window::ALL, Window { from_ns: moment(), to_ns: u64::MAX }, Window { from_ns: 0, to_ns: moment() }];
        for window in windows {
            let alone = one_by_one(&bytes, window);
            for threads in [1, 2, 3] {
                assert_eq!(alone, report(&bytes, threads, window), "seed {seed}, {threads} threads, {window:?}");
            }
        }
    }
}

/// Deals a recording out, or takes it event by event, with 0 threads; `decide` is told of
/// who comes next, and of all names by then.
fn play<T: Table>(
    bytes: &[u8],
    threads: usize,
    window: Window,
    shares: &mut Shares<T>,
    decide: impl Fn(TraceeId, Identity, &Names),
) -> Names {
    let recording = opened(bytes);
    if threads > 0 {
        let deal = Deal::new(&recording, Names::default(), window, |_| true);
        let asked = |asked: &Asked<'_>| {
            decide(asked.tracee, asked.tracees.identity(asked.tracee), asked.names);
            Some(asked.lane != 2)
        };
        return shares.deal(deal, &mut { asked }, &mut |_| ()).names;
    }
    let mut stream = recording.stream(Names::default(), Tracees::default(), window);
    while let Some(event) = stream.next() {
        decide(event.tracee, event.identity(), event.names());
        shares.event(&event, event.lane != 2);
    }
    shares.end_of_recording();
    stream.finish().names
}

fn is_asked_for(names: &Names, id: u32) -> bool {
    names.function_parts(FunctionId(id)).1 < "d"
}

fn pairs(bytes: &[u8], threads: usize, window: Window, side: Side) -> Vec<edges::Row> {
    let mut edges = Edges::new(side, threads);
    let (shares, asked) = edges.shares();
    let decide = |_, _, names: &Names| asked.tell_until(names.function_count(), |id| is_asked_for(names, id));
    let names = play(bytes, threads, window, shares, decide);
    edges.report(&names).0
}

fn by_key(bytes: &[u8], threads: usize, window: Window, by_process: bool) -> Vec<keyed::Row> {
    let rows = match by_process {
        true => Rows::Processes(Told::default(), Told::default()),
        false => Rows::Functions(Told::default()),
    };
    let mut keyed = Keyed::new(rows, threads);
    let (shares, rows) = keyed.shares();
    // Functions have other numbers when chunks are read in another order.
    let row = |names: &Names, id: u32| match is_asked_for(names, id) {
        true => 1 + u32::from(names.function_parts(FunctionId(id)).1.as_bytes()[0] % 2),
        false => 0,
    };
    let decide = |tracee: TraceeId, identity, names: &Names| match rows {
        Rows::Functions(rows) => rows.tell_until(names.function_count(), |id| row(names, id)),
        Rows::Processes(rows, asked) => {
            asked.tell_until(names.function_count(), |id| is_asked_for(names, id));
            // Tracees have other numbers then, too.
            let Identity::Process(word) = identity else { return };
            rows.tell(tracee.0, 1 + (word >> 3) as u32 % 3);
        }
    };
    play(bytes, threads, window, shares, decide);
    keyed.report(&["one", "two", "three"].map(str::to_owned), Sort::Calls).0
}

fn picture(bytes: &[u8], threads: usize, window: Window) -> flame::Report {
    let mut returning = Returning::new(threads);
    play(bytes, threads, window, returning.shares(), |_, _, _| ());
    let mut flame = Flame::new(returning, threads, false);
    let names = play(bytes, threads, window, flame.shares().0, |_, _, _| ());
    flame.report(&names, &[], &Filter::default(), true)
}

/// Of all threads, and event by event.
fn the_same<T: PartialEq + std::fmt::Debug>(what: &str, of: impl Fn(usize) -> T) -> T {
    let alone = of(0);
    for threads in [1, 2, 3, 9] {
        assert!(alone == of(threads), "{what}, {threads} threads");
    }
    alone
}

#[test]
fn callers_callees_rows_and_pictures_are_the_same_for_any_number_of_threads() {
    for seed in 0..3 {
        let bytes = busy(seed);
        let callers = the_same("callers", |threads| pairs(&bytes, threads, Window::ALL, Side::Callers));
        let callees = the_same("callees", |threads| pairs(&bytes, threads, Window::ALL, Side::Callees));
        assert!(callers.len() > 10 && callees.len() > 10 && callers != callees);
        let modules = the_same("functions", |threads| by_key(&bytes, threads, Window::ALL, false));
        let groups = the_same("processes", |threads| by_key(&bytes, threads, Window::ALL, true));
        assert!(modules.len() == 2 && groups.len() == 3, "{modules:?} {groups:?}");
        let sum = |rows: &[keyed::Row]| rows.iter().map(|row| row.calls).sum::<u64>();
        assert!(sum(&modules) == sum(&groups) && sum(&groups) == callers.iter().map(|row| row.calls).sum::<u64>());
        let flame::Report { root: flame, beyond, .. } =
            the_same("flame", |threads| picture(&bytes, threads, Window::ALL));
        assert!(flame.total_ns > 0 && flame.children.len() == 5 && beyond == 0);
    }
}

#[test]
fn they_are_so_whatever_is_missing() {
    for seed in 0..30 {
        let bytes = holed(seed);
        let whole = opened(&bytes);
        let middle = whole.start_ns.midpoint(whole.end_ns);
        for window in [Window::ALL, Window { from_ns: middle, to_ns: u64::MAX }] {
            the_same("callers", |threads| pairs(&bytes, threads, window, Side::Callers));
            the_same("functions", |threads| by_key(&bytes, threads, window, false));
            the_same("flame", |threads| picture(&bytes, threads, window));
        }
    }
}

/// Calls of a function, the slowest first.
fn slowest(bytes: &[u8], threads: usize, window: Window, function: &str, keep: usize) -> Vec<SlowCall> {
    let mut slow = Slow::new(keep, threads);
    let (shares, asked, whose) = slow.shares();
    let decide = |tracee: TraceeId, identity, names: &Names| {
        asked.tell_until(names.function_count(), |id| names.function_parts(FunctionId(id)).1 == function);
        whose.tell(tracee.0, Some(identity));
    };
    let names = play(bytes, threads, window, shares, decide);
    let (mut trees, recording) = (slow.trees(), opened(bytes));
    let mut stream = recording.stream(names, Tracees::default(), window);
    trees.begin(&recording, window);
    while let Some(event) = stream.next() {
        trees.event(&event, &Processes::default(), event.lane != 2);
    }
    let outcome = stream.finish();
    trees.end(|who| recording.pids.text(outcome.tracees.identity(who)));
    trees.report(&outcome.names)
}

/// All timed calls of a function that are asked for: by process, when they began and ended.
struct Timed<'a> {
    function: &'a str,
    is_it: bool,
    process: u32,
    /// By number.
    whose: HashMap<u32, Identity>,
    calls: Vec<(Identity, u64, u64)>,
    recording: &'a Recording,
}

impl<'a> Timed<'a> {
    fn of(recording: &'a Recording, window: Window, function: &'a str) -> Vec<(Identity, u64, u64)> {
        let mut timed =
            Timed { function, is_it: false, process: 0, whose: HashMap::new(), calls: Vec::new(), recording };
        let mut stacks = Stacks::default();
        let mut stream = timed.recording.stream(Names::default(), Tracees::default(), window);
        while let Some(event) = stream.next() {
            let is_it = |id| event.names().function_parts(id).1 == timed.function;
            let is_it = event.lane != 2 && event.function.is_some_and(is_it);
            timed.whose.insert(event.tracee.0, event.identity());
            if let Some(step) = step(&event) {
                stacks.step(step, is_it, &mut timed);
            }
        }
        stacks.end(&mut timed);
        timed.calls
    }
}

fn step(event: &Event<'_>) -> Option<Step> {
    let of_stacks = matches!(event.kind, kind::CALL..=kind::OUT_EXITED | kind::SPAWNED | kind::EXIT);
    (of_stacks || event.missing).then_some(Step {
        time: event.time,
        process: event.tracee.0,
        kind: event.kind,
        function: event.function,
        normal_exit: false,
        epoch: event.epoch,
        complete: event.complete,
        missing: event.missing,
    })
}

impl Observer for Timed<'_> {
    fn before(&mut self, step: &Step, asked_for: bool) {
        (self.process, self.is_it) = (step.process, asked_for);
    }
    fn called(&mut self, _: u32, _: &Below<'_>, _: FunctionId) -> u32 {
        u32::from(self.is_it)
    }
    fn ended(&mut self, ended: &Ended) {
        if ended.frame == 1 {
            self.calls.push((self.whose[&self.process], ended.start, ended.start + ended.duration));
        }
    }
    fn total(&mut self, _: FunctionId, _: u64) {}
    fn clipped(&mut self, _: Option<FunctionId>, _: Clip) {}
    fn spent(&mut self, _: u32, _: u64, _: bool) {}
}

/// How long those took that are not inside of another, the longest first.
fn outermost(mut calls: Vec<(Identity, u64, u64)>) -> Vec<u64> {
    calls.sort_by_key(|(whose, from, to)| (*whose, *from, std::cmp::Reverse(*to)));
    let (mut last, mut took) = ((Identity::Nobody, 0), Vec::new());
    for (whose, from, to) in calls.into_iter().filter(|(_, from, to)| from < to) {
        if whose != last.0 || from >= last.1 {
            took.push(to - from);
            last = (whose, to);
        }
    }
    took.sort_by_key(|ns| std::cmp::Reverse(*ns));
    took
}

/// All calls: whose, and when since the recording began.
fn calls_made(recording: &Recording, window: Window) -> Vec<(String, u64)> {
    let mut stream = recording.stream(Names::default(), Tracees::default(), window);
    let mut made = Vec::new();
    while let Some(event) = stream.next() {
        if event.kind == kind::CALL {
            made.push((recording.pids.text(event.identity()), event.time - recording.start_ns));
        }
    }
    made
}

/// What its process called while it was open stands in its tree; what was called in the moments in which it began
/// and ended may.
fn assert_tree_has_all(slow: &SlowCall, made: &[(String, u64)]) {
    fn calls(node: &Node) -> u64 {
        node.children.iter().map(|child| child.calls + calls(child)).sum()
    }
    let (from, to) = (slow.at_ns, slow.at_ns + slow.duration_ns);
    let count = |fits: &dyn Fn(u64) -> bool| {
        made.iter().filter(|(whose, at)| slow.process.ends_with(whose.as_str()) && fits(*at)).count() as u64
    };
    let (least, most) = (count(&|at| at > from && at < to), count(&|at| at >= from && at <= to));
    assert!((least..=most).contains(&calls(&slow.tree)), "{least} to {most} calls: {slow:#?}");
}

/// What `slow` lists is all that is timed and not inside of another that is; so its first is MAX of `calls`.
fn the_slowest_are_those_of_calls(bytes: &[u8], window: Window) -> usize {
    let (table, _) = report(bytes, 1, window);
    let recording = opened(bytes);
    let made = calls_made(&recording, window);
    let mut listed = 0;
    for row in table.functions.iter().filter(|row| row.calls > 0) {
        let function = row.mfa.1.as_str();
        let of = |threads| slowest(bytes, threads, window, function, 100_000);
        let all = if function == "a" { the_same("slow", of) } else { of(2) };
        let took: Vec<u64> = all.iter().map(|call| call.duration_ns).filter(|ns| *ns > 0).collect();
        assert_eq!(took, outermost(Timed::of(&recording, window, function)), "{function}");
        assert!(all.iter().all(|call| call.split.sum_ns() == call.duration_ns && call.lanes.0 != "?"), "{all:#?}");
        assert!(all.iter().all(|call| call.tree.total_ns == call.duration_ns && call.process != "?"));
        all.iter().for_each(|call| assert_tree_has_all(call, &made));
        assert!(slowest(bytes, 2, window, function, 3) == all[..all.len().min(3)], "{function}");
        let most = row.percentiles.map_or(0, |points| points.max_ns);
        assert_eq!(all.first().map_or(0, |call| call.duration_ns), most, "{function}");
        listed += all.len();
    }
    listed
}

#[test]
fn the_slowest_calls_are_the_same_and_the_first_is_max_of_calls() {
    for seed in 0..3 {
        assert!(the_slowest_are_those_of_calls(&busy(seed), Window::ALL) > 500);
    }
    let mut listed = 0;
    for seed in 0..30 {
        let bytes = holed(seed);
        let whole = opened(&bytes);
        let middle = whole.start_ns.midpoint(whole.end_ns);
        for window in [Window::ALL, Window { from_ns: middle, to_ns: u64::MAX }, Window { from_ns: 0, to_ns: middle }] {
            listed += the_slowest_are_those_of_calls(&bytes, window);
        }
    }
    assert!(listed > 1_000, "{listed}");
}
