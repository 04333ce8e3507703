//! `--scheduler`: what is told of one thread after the other adds up to what is told of all.

#[path = "common/random.rs"]
mod random;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use random::Random;
use serde_json::Value;

const LANES: usize = 3;
const PROCESSES: usize = 6;
const FRONT: &str = r#"spoor-text 1
header lanes=4 clock_slots=4 info=512x2 events=131072x3
status phase=stopped stop_tick=900000 reason="test"
meta "otp_release" "27"
meta "process_limit" "1048576"
meta "port_limit" "65536"
meta "flags" "call garbage_collection procs receive return_to running send"
clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1
clock 2 tick=10001000 monotonic_ns=10001000 wall_ns=10007000 spread_ns=1
lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[]
"#;
const NAMES: &str = r#"  define_atom text="m"
  define_atom text="f"
  define_atom text="g"
  define_atom text="h"
  define_function module=1 name=2 arity=0
  define_function module=1 name=3 arity=0
  define_function module=1 name=4 arity=0
"#;

/// What a message says, and whose it is.
#[derive(Clone)]
struct Message {
    note: String,
    asked_by: Option<(usize, u64)>,
}

#[derive(Default)]
struct Process {
    stack: Vec<usize>,
    on: Option<usize>,
    inbox: Vec<Message>,
    to_answer: Option<(usize, u64)>,
}

fn pid(who: usize) -> usize {
    80 + 8 * who
}

/// Processes that run now here, now there: call, return, send, ask, answer, collect garbage.
fn recording(random: &mut Random, steps: u64) -> String {
    let mut processes: Vec<Process> = (0..PROCESSES).map(|_| Process::default()).collect();
    let mut on: [Option<usize>; LANES] = [None; LANES];
    let mut lines: [Vec<(u64, usize, String)>; LANES] = Default::default();
    let (mut now, mut asked) = (1_000, 0);
    let mut requests: BTreeMap<u64, usize> = BTreeMap::new();
    for _ in 0..steps {
        now += 1 + random.below(40);
        let lane = random.below(LANES as u64) as usize;
        let mut tell = |who: usize, text: String| lines[lane].push((now, who, text));
        let Some(who) = on[lane] else {
            let who = random.below(PROCESSES as u64) as usize;
            if processes[who].on.is_none() {
                (processes[who].on, on[lane]) = (Some(lane), Some(who));
                tell(who, "in +DELTA function=1".to_owned());
            }
            continue;
        };
        let process = &mut processes[who];
        match random.below(12) {
            0..=2 => {
                let function = 1 + random.below(3) as usize;
                process.stack.push(function);
                tell(who, format!("call +DELTA function={function}"));
            }
            3..=5 if process.stack.len() > 1 => {
                process.stack.pop();
                let to = process.stack.last().copied().unwrap_or(0);
                tell(who, format!("return_to +DELTA function={to}"));
            }
            6 => {
                let whom = random.below(PROCESSES as u64) as usize;
                let ask = random.below(2) == 0 && whom != who;
                asked += u64::from(ask);
                let note = if ask { format!("message shape=0 reference=ref(1,2,{asked})\n  ") } else { String::new() };
                if ask {
                    requests.insert(asked, who);
                }
                tell(who, format!("{note}send +DELTA to=pid({})", pid(whom)));
                processes[whom].inbox.push(Message { note, asked_by: ask.then_some((who, asked)) });
            }
            7 => {
                if let Some((client, number)) = process.to_answer.take() {
                    let note = format!("message shape=2 reference=ref(1,2,{number})\n  ");
                    tell(who, format!("{note}send +DELTA to=ref(1,2,{number})"));
                    processes[client].inbox.push(Message { note, asked_by: None });
                }
            }
            8 if !process.inbox.is_empty() => {
                let message = process.inbox.remove(0);
                tell(who, format!("{}receive +DELTA", message.note));
                process.to_answer = process.to_answer.or(message.asked_by);
            }
            9 => {
                tell(who, "gc_minor_start +DELTA sizes=[]".to_owned());
                now += 1 + random.below(9);
                lines[lane].push((now, who, "gc_minor_end +DELTA sizes=[]".to_owned()));
            }
            10..=11 => {
                (process.on, on[lane]) = (None, None);
                tell(who, "out +DELTA function=1".to_owned());
            }
            _ => {}
        }
    }
    let mut text = FRONT.to_owned();
    for (lane, lines) in lines.iter().enumerate() {
        let (number, kind) = (lane + 1, if lane == 2 { "dirty_cpu" } else { "scheduler" });
        let index = if lane == 2 { 1 } else { number };
        let stored = lines.len();
        writeln!(
            text,
            "lane {number} kind={kind} index={index} os_tid=7 sealed_events={stored} sealed_infos=0 dropped=[]"
        )
        .expect("a String takes all");
    }
    for (lane, lines) in lines.iter().enumerate() {
        let number = lane + 1;
        writeln!(text, "chunk events {lane} lane={number} seq={number} base_tick=1000 first_record=0")
            .expect("a String takes all");
        text.push_str(NAMES);
        let mut before = 1_000;
        for (time, who, what) in lines {
            let what = what.replace("DELTA", &(time - before).to_string());
            writeln!(text, "  process pid={}\n  {what}", pid(*who)).expect("a String takes all");
            before = *time;
        }
    }
    text
}

fn spoor(dir: &Path, args: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_spoor")).args(args).current_dir(dir).output().expect("the binary runs");
    assert_eq!(run.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).expect("text")
}

/// A command, where its rows are, by what they are told apart, and what adds up.
type Case = (&'static [&'static str], &'static str, &'static [&'static str], &'static [&'static str]);

const CASES: [Case; 14] = [
    (&["calls"], "functions", &["function"], &["calls", "timed", "own_ns", "own_on_scheduler_ns", "untimed"]),
    (&["calls", "--by", "module"], "rows", &["name"], &["calls", "own_ns", "own_on_scheduler_ns"]),
    (&["hist", "m"], "functions", &["function"], &["calls"]),
    (&["hist", "m"], "", &[], &["timed", "total_ns", "untimed"]),
    (&["callers", "m:f/0"], "rows", &["caller", "called", "perhaps"], &["calls", "timed", "own_ns", "untimed"]),
    (&["callees", "m:f/0"], "rows", &["caller", "called", "perhaps"], &["calls", "timed", "own_ns", "untimed"]),
    (
        &["procs", "--each"],
        "processes",
        &["process"],
        &["running_ns", "dirty_ns", "gc_ns", "port_ns", "slices", "sent", "received", "collections"],
    ),
    (&["gc"], "groups", &["group", "kind"], &["collections", "total_ns", "untimed"]),
    (&["msgs"], "", &[], &["sent", "received"]),
    (&["msgs"], "pairs", &["from", "to"], &["messages"]),
    (&["msgs"], "queues", &["process"], &["sent", "received", "from_elsewhere"]),
    (&["requests"], "groups", &["group"], &["requests", "answered", "unanswered", "client_unseen", "not_split"]),
    (&["sched"], "lanes", &["lane"], &["events", "busy_ns", "slices", "slices_clipped", "migrations_in"]),
    (&["sched"], "", &[], &["migrations", "waits"]),
];

fn number(row: &Value, field: &str) -> u64 {
    match &row[field] {
        Value::Object(parts) => parts.values().filter_map(Value::as_u64).sum(),
        Value::Null if row["split"].is_object() => row["split"][field].as_u64().unwrap_or(0),
        Value::Null if row["run_queue"].is_object() => row["run_queue"][field].as_u64().unwrap_or(0),
        number => number.as_u64().unwrap_or(0),
    }
}

fn numbers(answer: &Value, (_, rows, keys, fields): &Case) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    let whole = [answer.clone()];
    let rows = if rows.is_empty() { &whole[..] } else { answer[rows].as_array().expect("rows") };
    for row in rows {
        let key = keys.iter().map(|key| row[key].to_string()).collect::<Vec<_>>().join(" ");
        for field in *fields {
            *sums.entry(format!("{key} {field}")).or_default() += number(row, field);
        }
    }
    sums.retain(|_, n| *n > 0);
    sums
}

fn folded(text: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| line.rsplit_once(' ').map(|(stack, ns)| (stack.to_owned(), ns.parse().expect("ns")));
    text.lines().filter_map(line).collect()
}

fn add(sums: &mut BTreeMap<String, u64>, part: BTreeMap<String, u64>) {
    part.into_iter().for_each(|(key, n)| *sums.entry(key).or_default() += n);
}

#[test]
fn threads_add_up_to_the_whole() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    for seed in 0..6 {
        let text = recording(&mut Random(seed), 2_500);
        let image = spoor_format::text::parse(&text).unwrap_or_else(|error| panic!("{error}"));
        fs::write(path.join("r.spoor"), image.to_bytes()).expect("written");
        let asked: [&[&str]; 4] = [&[], &["--scheduler", "s1"], &["--scheduler", "s2"], &["--scheduler", "d*"]];
        for case in &CASES {
            let mut of = asked.iter().map(|lane| {
                let args = [case.0, &["r.spoor", "--json"], lane].concat();
                numbers(&serde_json::from_str(&spoor(path, &args)).expect("JSON"), case)
            });
            let (whole, mut sums) = (of.next().expect("the whole"), BTreeMap::new());
            of.for_each(|part| add(&mut sums, part));
            assert_eq!(sums, whole, "{seed}: {case:?}");
            assert!(!whole.is_empty(), "{seed}: {case:?}");
        }
        for time in ["on", "wall"] {
            let mut of = asked
                .iter()
                .map(|lane| folded(&spoor(path, &[&["flame", "r.spoor", "--folded", "--time", time], *lane].concat())));
            let (whole, mut sums) = (of.next().expect("the whole"), BTreeMap::new());
            of.for_each(|part| add(&mut sums, part));
            assert_eq!(sums, whole, "{seed}: flame of time {time}");
        }
    }
}
