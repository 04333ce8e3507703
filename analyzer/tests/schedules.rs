//! Processes whose true states are known: what `procs`, `sched` and `gc` say of any window is true,
//! agrees, and adds up.
//!
//! Processes are scheduled at random on two schedulers and a dirty one: they wait, also hibernating, are
//! sent messages, also to aliases, give way, are suspended by a busy port, collect garbage, call dirty NIFs,
//! spawn and exit. The VM's events of that, in some runs without those of messages that are no requests, are
//! read as a recording would be, in random windows, with more and with less of what lies around them.

#[path = "common/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use random::Random;
use spoor_analyzer::model::cut::Cut;
use spoor_analyzer::model::gc::Gc;
use spoor_analyzer::model::group::{Grouping, Groups};
use spoor_analyzer::model::pressure::{self, Pressure};
use spoor_analyzer::model::processes::{Known, Processes};
use spoor_analyzer::model::procs::{Procs, Row};
use spoor_analyzer::model::sched::{self, Sched};
use spoor_analyzer::model::split::Split;
use spoor_analyzer::read::{Names, Recording, Source, Tracees, Window};

const LANES: usize = 3;
const DIRTY: usize = 2;
/// Ticks before the first event, and behind the last.
const AWAY: u64 = 1_000;
const FRONT: &str = r#"spoor-text 1
header lanes=4 clock_slots=4 info=512x2 events=16384x200
meta "otp_release" "27"
meta "process_limit" "1048576"
meta "port_limit" "65536"
meta "flags" "call garbage_collection procs receive running send"
clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1
clock 2 tick=10001000 monotonic_ns=10001000 wall_ns=10007000 spread_ns=1
lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[]
"#;

/// What a process truly does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Does {
    Waits,
    IsReady {
        dirty: bool,
    },
    /// By a busy port.
    IsSuspended,
    Runs(usize),
    Collects(usize),
}

struct Process {
    does: Does,
    since: u64,
    /// It takes its turn after a message.
    woken: Option<Message>,
    /// The function in which it went off.
    left: usize,
    /// The lane that it was on last.
    was_on: Option<usize>,
}

/// What woke a process.
#[derive(Debug, Clone, Copy)]
enum Message {
    /// Its events are not recorded.
    Plain,
    ToPid,
    /// With this reference.
    ToAlias(u64),
}

impl Message {
    /// What comes before its events.
    fn shape(self) -> String {
        match self {
            Message::ToAlias(number) => format!("message shape=2 reference=ref(1,2,{number})\n  "),
            _ => String::new(),
        }
    }
}

/// Functions: one as any other, and two that are known.
const ANY: usize = 1;
const HIBERNATE: usize = 2;
const PORT_COMMAND: usize = 3;

/// A process did this from then to then.
type Stretch = (usize, u64, u64, Does);
/// A lane, when, whose, what, its fields.
type Line = (usize, u64, usize, &'static str, String);

#[derive(Default)]
struct Run {
    truth: Vec<Stretch>,
    lines: Vec<Line>,
    processes: Vec<Process>,
    /// Messages that are no requests are not recorded.
    requests: bool,
    messages: u64,
    on: [Option<usize>; LANES],
    born: BTreeMap<usize, u64>,
    died: BTreeMap<usize, u64>,
    /// Who came in when, on which lane, after which.
    came: Vec<(usize, u64, usize, Option<usize>)>,
}

impl Run {
    fn turns(&mut self, who: usize, now: u64, does: Does) {
        let process = &mut self.processes[who];
        self.truth.push((who, process.since, now, process.does));
        (process.does, process.since) = (does, now);
    }

    fn tells(&mut self, lane: usize, now: u64, who: usize, what: &'static str, fields: impl Into<String>) {
        self.lines.push((lane, now, who, what, fields.into()));
    }

    fn comes_in(&mut self, lane: usize, now: u64, random: &mut Random) {
        let wanted = Does::IsReady { dirty: lane == DIRTY };
        let ready: Vec<usize> = (0..self.processes.len()).filter(|who| self.processes[*who].does == wanted).collect();
        if ready.is_empty() {
            return;
        }
        let who = ready[random.below(ready.len() as u64) as usize];
        self.turns(who, now, Does::Runs(lane));
        self.on[lane] = Some(who);
        let before = self.processes[who].was_on.replace(lane);
        self.came.push((who, now, lane, before));
        let left = std::mem::replace(&mut self.processes[who].left, ANY);
        self.tells(lane, now, who, "in", format!("function={left}"));
        let message = self.processes[who].woken.take().filter(|message| !matches!(message, Message::Plain));
        if if message.is_some() { left == HIBERNATE } else { random.below(4) > 0 } {
            self.tells(lane, now, who, "call", "function=1");
        }
        if let Some(message) = message {
            self.lines.push((lane, now, who, "receive", message.shape()));
        }
    }

    /// The port of one that is suspended is not busy any more.
    fn resumes(&mut self, now: u64) {
        if let Some(who) = self.processes.iter().position(|process| process.does == Does::IsSuspended) {
            self.turns(who, now, Does::IsReady { dirty: false });
        }
    }

    fn sends(&mut self, lane: usize, who: usize, now: u64, random: &mut Random) {
        let whom = random.below(self.processes.len() as u64) as usize;
        if self.processes[whom].does != Does::Waits || self.died.contains_key(&whom) {
            return;
        }
        self.turns(whom, now, Does::IsReady { dirty: false });
        self.messages += 1;
        let message = match random.below(3) {
            // Whose an alias is comes to light too late for one that hibernated: it goes on with a call.
            _ if self.processes[whom].left == HIBERNATE => Message::ToPid,
            0 if self.requests => Message::Plain,
            1 => Message::ToAlias(self.messages),
            _ => Message::ToPid,
        };
        self.processes[whom].woken = Some(message);
        match message {
            Message::Plain => {}
            Message::ToPid => self.tells(lane, now, who, "send", format!("to=pid({})", pid(whom))),
            Message::ToAlias(number) => {
                self.lines.push((lane, now, who, "send", format!("{}to=ref(1,2,{number})", message.shape())));
            }
        }
    }

    fn goes_on(&mut self, lane: usize, who: usize, now: u64, random: &mut Random) {
        if self.processes[who].does == Does::Collects(lane) {
            self.turns(who, now, Does::Runs(lane));
            return self.tells(lane, now, who, "gc_minor_end", "sizes=[]");
        }
        let leaves = |run: &mut Run, does, function| {
            run.turns(who, now, does);
            run.on[lane] = None;
            run.processes[who].left = function;
            run.tells(lane, now, who, "out", format!("function={function}"));
        };
        match random.below(16) {
            0..=1 => self.tells(lane, now, who, "call", "function=1"),
            2..=5 => self.sends(lane, who, now, random),
            6..=7 => {
                self.turns(who, now, Does::Collects(lane));
                self.tells(lane, now, who, "gc_minor_start", "sizes=[]");
            }
            // From a dirty scheduler it goes back first.
            _ if lane == DIRTY => leaves(self, Does::IsReady { dirty: false }, ANY),
            8 => leaves(self, Does::Waits, ANY),
            9 => leaves(self, Does::Waits, HIBERNATE),
            10 => leaves(self, Does::IsReady { dirty: false }, ANY),
            11 => leaves(self, Does::IsReady { dirty: true }, ANY),
            14..=15 => leaves(self, Does::IsSuspended, PORT_COMMAND),
            12 if self.processes.len() < 9 => {
                let child = self.processes.len();
                let does = Does::IsReady { dirty: false };
                self.processes.push(Process { does, since: now, woken: None, left: ANY, was_on: None });
                self.born.insert(child, now);
                self.tells(lane, now, child, "spawned", format!("parent=pid({}) function=1", pid(who)));
            }
            13 if random.below(4) == 0 => {
                self.turns(who, now, Does::Waits);
                self.on[lane] = None;
                self.died.insert(who, now);
                // Alone, the exit would not say that it ran: who is killed while it waits has one, too.
                self.tells(lane, now, who, "call", "function=1");
                self.tells(lane, now, who, "exit", "reason=@2");
            }
            _ => {}
        }
    }
}

fn pid(who: usize) -> usize {
    8 + 8 * who
}

/// Somebody runs on each scheduler already when the recording begins, the others wait.
fn run(random: &mut Random, steps: u64) -> Run {
    let mut run = Run { requests: random.below(4) == 0, ..Run::default() };
    for who in 0..5 {
        let does = if who < 2 { Does::Runs(who) } else { Does::Waits };
        run.processes.push(Process { does, since: 0, woken: None, left: ANY, was_on: (who < 2).then_some(who) });
    }
    run.on = [Some(0), Some(1), None];
    let mut now = AWAY + AWAY;
    for _ in 0..steps {
        now += 1 + random.below(12);
        let lane = random.below(LANES as u64) as usize;
        if random.below(8) == 0 {
            run.resumes(now);
        }
        match run.on[lane] {
            None => run.comes_in(lane, now, random),
            Some(who) => run.goes_on(lane, who, now, random),
        }
    }
    for who in 0..run.processes.len() {
        run.turns(who, u64::MAX, Does::Waits);
    }
    run
}

/// Chunks of up to so many events.
fn recording(run: &Run, chunk: usize) -> Recording {
    let preset = if run.requests { "requests scheduling" } else { "messages scheduling" };
    let mut text = FRONT.replace("meta \"flags\"", &format!("meta \"preset\" \"{preset}\"\nmeta \"flags\""));
    let stop = run.lines.last().map_or(AWAY, |line| line.1) + AWAY;
    writeln!(text, "status phase=stopped stop_tick={stop} reason=\"test\"").expect("a String takes all");
    let mut chunks: Vec<(u64, usize, usize, Vec<&Line>)> = Vec::new();
    for lane in 0..LANES {
        let lines: Vec<&Line> = run.lines.iter().filter(|line| line.0 == lane).collect();
        let kind = if lane == DIRTY { "dirty_cpu" } else { "scheduler" };
        let (number, stored) = (lane + 1, lines.len());
        writeln!(
            text,
            "lane {number} kind={kind} index={number} os_tid=7 sealed_events={stored} sealed_infos=0 dropped=[]"
        )
        .expect("a String takes all");
        let each = lines.chunks(chunk).enumerate();
        chunks.extend(each.map(|(n, lines)| (lines[0].1, lane, n * chunk, lines.to_vec())));
    }
    chunks.sort_by_key(|(base, lane, ..)| (*base, *lane));
    for (place, (base, lane, first, lines)) in chunks.iter().enumerate() {
        let (number, seq) = (lane + 1, place + 1);
        writeln!(text, "chunk events {place} lane={number} seq={seq} base_tick={base} first_record={first}")
            .expect("a String takes all");
        text.push_str(
            "  define_atom text=\"m\"\n  define_atom text=\"f\"\n  define_function module=1 name=2 arity=0\n  \
             define_atom text=\"erlang\"\n  define_atom text=\"hibernate\"\n  define_function module=3 name=4 arity=3\n  \
             define_atom text=\"erts_internal\"\n  define_atom text=\"port_command\"\n  \
             define_function module=5 name=6 arity=3\n",
        );
        let mut tick = *base;
        for (_, time, who, what, fields) in lines {
            // Records before the event, which say more of it.
            let (before, fields) = fields.split_at(fields.rfind('\n').map_or(0, |end| end + 3));
            writeln!(text, "  process pid={}\n  {before}{what} +{} {fields}", pid(*who), time - tick)
                .expect("a String takes all");
            tick = *time;
        }
    }
    let bytes = spoor_format::text::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}")).to_bytes();
    Recording::open(Source::from_bytes(bytes), "test.spoor").expect("a recording")
}

/// What is said of a window.
struct Said {
    procs: BTreeMap<String, Row>,
    sched: sched::Report,
    pressure: pressure::Report,
    gc_ns: u64,
}

fn said(recording: &Recording, window: Window, read: Window) -> Said {
    let cut = Cut::new(recording, window, read);
    let mut procs = Procs::within(recording, cut);
    let mut sched = Sched::new(recording, cut, 5);
    let mut pressure = Pressure::new(recording, cut);
    let mut gc = Gc::new(Groups::new(Grouping::Title), 5);
    gc.begin(cut);
    let mut stream = recording.stream_with_last(Names::default(), Tracees::default(), read);
    let mut processes = Processes::from_infos(stream.infos(), stream.names());
    while let Some(event) = stream.next() {
        processes.learn(&event);
        procs.event(&event, &processes, true);
        sched.event(&event, true);
        pressure.event(&event, &processes, true);
        gc.event(&event, &processes);
    }
    let outcome = stream.finish();
    assert!(outcome.findings.is_empty(), "{:?}", outcome.findings);
    let known = Known { recording, processes: &processes, tracees: &outcome.tracees, names: &outcome.names };
    gc.end_of_recording(cut.to - cut.from, &known);
    Said {
        procs: procs.rows(&known).into_iter().map(|(_, row)| (row.process.clone(), row)).collect(),
        sched: sched.report(recording, &processes, &outcome.tracees, &outcome.names),
        pressure: pressure.report(recording, true),
        gc_ns: gc.report(5).all[0].total_ns,
    }
}

struct Truth {
    /// By process.
    splits: BTreeMap<String, Split>,
    busy: [u64; LANES],
}

fn truth(run: &Run, window: Window, name: impl Fn(usize) -> String) -> Truth {
    let mut truth = Truth { splits: BTreeMap::new(), busy: [0; LANES] };
    for (who, from, to, does) in &run.truth {
        let to = run.died.get(who).map_or(*to, |died| (*to).min(*died));
        let ns = to.min(window.to_ns).saturating_sub((*from).max(window.from_ns));
        let split = truth.splits.entry(name(*who)).or_default();
        let part = match does {
            Does::Waits => &mut split.waiting_ns,
            Does::IsReady { .. } => &mut split.queued_ns,
            Does::IsSuspended => &mut split.off_ns,
            Does::Runs(DIRTY) => &mut split.dirty_ns,
            Does::Runs(_) => &mut split.running_ns,
            Does::Collects(_) => &mut split.gc_ns,
        };
        *part += ns;
        if let Does::Runs(lane) | Does::Collects(lane) = does {
            truth.busy[*lane] += ns;
        }
    }
    truth
}

/// Who is on a thread, and who collects garbage, is known to the nanosecond, however little is read.
fn compare_threads(said: &Said, truth: &Truth, window: Window, what: &str) {
    let short = |lane: usize| ["s1", "s2", "dc3"][lane];
    for lane in 0..LANES {
        let row = said.sched.lanes.iter().find(|row| row.lane == short(lane));
        assert_eq!(
            row.map_or(0, |row| row.busy_ns),
            truth.busy[lane],
            "{what}: {} {:#?}",
            short(lane),
            said.sched.lanes
        );
    }
    let (mut on_cpu, mut gc) = (0, 0);
    for (process, truth) in &truth.splits {
        let split = said.procs.get(process).map(|row| row.split).unwrap_or_default();
        let of = |split: &Split| (split.running_ns, split.dirty_ns, split.gc_ns);
        assert_eq!(of(&split), of(truth), "{what}: {process} {split:#?} {truth:#?}");
        on_cpu += split.running_ns + split.dirty_ns + split.gc_ns;
        gc += split.gc_ns;
    }
    assert_eq!(on_cpu, truth.busy.iter().sum::<u64>(), "{what}");
    let by_lane: u64 = said.pressure.gc.iter().map(|row| row.gc_ns).sum();
    assert_eq!((gc, gc), (said.gc_ns, by_lane), "{what}");
    for row in said.procs.values() {
        assert_eq!(row.split.sum_ns(), row.life_ns, "{what}: {row:#?}");
        assert!(row.life_ns <= window.length_ns(), "{what}: {row:#?}");
    }
}

/// Who came from another lane is known as far back as is read; of the others it is said that it is not.
fn compare_migrations(said: &Said, run: &Run, window: Window, all_is_read: bool, what: &str) {
    let inside = |(_, at, ..): &&(usize, u64, usize, Option<usize>)| (window.from_ns..window.to_ns).contains(at);
    let came = || run.came.iter().filter(inside);
    let moved = came().filter(|(_, _, lane, before)| before.is_some_and(|before| before != *lane)).count() as u64;
    let from_nowhere =
        came().filter(|(who, _, _, before)| before.is_none() && !run.born.contains_key(who)).count() as u64;
    let sched::Report { migrations, migrations_unknown, .. } = said.sched;
    let said = format!("{what}: {migrations} and {migrations_unknown}, in truth {moved}");
    assert!(migrations <= moved && moved <= migrations + migrations_unknown, "{said}");
    if all_is_read {
        assert_eq!((migrations, migrations_unknown), (moved, from_nowhere), "{said}");
    }
}

/// What is said of those that are off is true, and the rest is said not to be known.
fn compare_waits(said: &Said, truth: &Truth, window: Window, what: &str) {
    let (mut at_least, mut at_most, mut true_queue) = (0, 0, 0);
    for (process, truth) in &truth.splits {
        true_queue += truth.queued_ns;
        // Who had no event at all has no row.
        let Some(row) = said.procs.get(process) else { continue };
        let split = row.split;
        let off = split.off_ns + split.unknown_ns;
        for (said, truth) in [(split.queued_ns, truth.queued_ns), (split.waiting_ns, truth.waiting_ns)] {
            assert!(said <= truth && truth <= said + off, "{what}: {process} {split:#?} {truth:#?}");
        }
        at_least += split.queued_ns;
        at_most += split.queued_ns + off;
    }
    let queue = said.pressure.run_queue.as_ref().expect("in and out events");
    let ns = |length: f64| (length * window.length_ns() as f64).round() as u64;
    assert_eq!(ns(queue.mean_at_least), at_least, "{what}: {queue:?}");
    assert!(ns(queue.mean_at_most) <= at_most && at_least <= true_queue, "{what}: {queue:?}");
}

/// Of each thread only the chunk is looked at in which what is read begins: it may have begun just so.
fn tells_who_is_on(run: &Run, chunk: usize, since: u64) -> bool {
    (0..LANES).all(|lane| {
        let lines: Vec<&Line> = run.lines.iter().filter(|line| line.0 == lane).collect();
        let last = lines.chunks(chunk).rfind(|lines| lines[0].1 <= since);
        last.is_none_or(|lines| lines.iter().any(|line| line.1 < since && tells(line)))
    })
}

/// Is who has the event on the thread? Not where it comes to be, or to somebody else.
fn tells(line: &Line) -> bool {
    !["receive", "spawned"].contains(&line.3)
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn windows_say_what_was_and_add_up() {
    let runs = std::env::var("SPOOR_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(300_u64);
    let (mut all, mut windows) = (Split::default(), 0);
    for seed in 0..runs {
        let mut random = Random(seed);
        let steps = 20 + random.below(300);
        let run = run(&mut random, steps);
        let Some(first) = run.lines.first().map(|line| line.1) else { continue };
        // Whoever has events in the first chunks is known from the beginning.
        let chunk = 3 + random.below(40) as usize;
        let (whole_chunks, chunks) = (recording(&run, 1_000), recording(&run, chunk));
        let name = |who: usize| format!("<0.{}.0>", who + 1);
        // Nobody was traced before the first event.
        let end = chunks.end_ns;
        let middle = first + random.below(end - first - 1) + 1;
        let whole = Window { from_ns: first, to_ns: end };
        let parts = [Window { to_ns: middle, ..whole }, Window { from_ns: middle, ..whole }];
        // Who is on a thread that never has such an event is told by nothing.
        let busy = truth(&run, whole, name).busy;
        if (0..LANES).any(|lane| busy[lane] > 0 && !run.lines.iter().any(|line| line.0 == lane && tells(line))) {
            continue;
        }
        let mut sums: BTreeMap<String, Split> = BTreeMap::new();
        for (number, window) in [whole, parts[0], parts[1]].into_iter().enumerate() {
            let (what, truth) = (format!("run {seed}, {window:?}"), truth(&run, window, name));
            let said = said(&whole_chunks, window, whole_chunks.around(window, 1 << 20));
            compare_threads(&said, &truth, window, &what);
            compare_waits(&said, &truth, window, &what);
            compare_migrations(&said, &run, window, true, &what);
            for (process, row) in said.procs {
                // The parts of the window that are parts of the whole: taken away from it.
                let sum = sums.entry(process).or_default();
                *sum = if number == 0 { row.split } else { sum.since(&row.split) };
                all.add(&row.split);
            }
            windows += 1;
        }
        assert!(sums.values().all(|left| left.sum_ns() == 0), "run {seed}: {sums:#?}");
        // A window somewhere, with little around it.
        let from = middle + random.below(end - middle);
        let window = Window { from_ns: from, to_ns: from + 1 + random.below(end - from) };
        let read = Window { from_ns: from - random.below(from - first), to_ns: window.to_ns + random.below(60) };
        let (what, truth) = (format!("run {seed}, {window:?} of {read:?}"), truth(&run, window, name));
        let said = said(&chunks, window, read);
        compare_migrations(&said, &run, window, false, &what);
        if tells_who_is_on(&run, chunk, read.from_ns) {
            compare_threads(&said, &truth, window, &what);
            windows += 1;
        }
    }
    println!("{runs} runs, {windows} windows: {:?}", all.parts());
    let said = [all.running_ns, all.dirty_ns, all.gc_ns, all.queued_ns, all.waiting_ns, all.off_ns];
    assert!(said.iter().all(|ns| *ns > 0), "{all:?}");
}
