//! What a call's time went to adds up to the call, to the nanosecond, and a process's to
//! its life, whatever the events; and `docs/SEMANTICS.md` says what the parts are.

use std::fmt::Write as _;
use std::path::Path;

use spoor_analyzer::model::cut::Cut;
use spoor_analyzer::model::processes::{Known, Processes};
use spoor_analyzer::model::procs::{Procs, Row};
use spoor_analyzer::model::slow::{Slow, SlowCall};
use spoor_analyzer::model::split::Split;
use spoor_analyzer::read::{Names, Recording, Source, Tracees, Window};

const FUNCTIONS: [&str; 5] = ["f", "g", "h", "X", "Y"];
/// Built-in ones, behind those.
const BUILT_IN: [(&str, &str); 2] = [("erlang", "hibernate"), ("erts_internal", "port_command")];
/// Two schedulers and a dirty one, with that of the recorder before them.
const LANES: usize = 3;
const FRONT: &str = r#"spoor-text 1
header lanes=4 clock_slots=4 info=512x2 events=16384x6
status phase=stopped stop_tick=9000000 reason="test"
meta "otp_release" "27"
meta "process_limit" "1048576"
meta "port_limit" "65536"
meta "flags" "call return_to running send receive ports"
clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1
clock 2 tick=10001000 monotonic_ns=10001000 wall_ns=10007000 spread_ns=1
lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[]
lane 1 kind=scheduler index=1 os_tid=7 sealed_events=1000 sealed_infos=0 dropped=[]
lane 2 kind=scheduler index=2 os_tid=8 sealed_events=1000 sealed_infos=0 dropped=[]
lane 3 kind=dirty_cpu index=1 os_tid=9 sealed_events=1000 sealed_infos=0 dropped=[]
"#;

/// Goes to the alias that this is the reference of.
const REPLY: &str = "message shape=2 reference=ref(1,2,3)";

/// An event: lane, time, whose (`process pid=8`), what (`call`), its fields.
type Line = (usize, u64, String, &'static str, String);

/// A recording of them, in up to two chunks for each lane; before the second, at `cut`, so
/// many events are missing.
fn recording(lines: &[Line], cut: u64, lost: [u64; LANES], preset: &str) -> Recording {
    let mut text = FRONT.replace("meta \"flags\"", &format!("meta \"preset\" \"{preset}\"\nmeta \"flags\""));
    let mut records = [0; LANES];
    for part in 0..2 {
        for lane in 0..LANES {
            records[lane] += part * lost[lane];
            let (base, first) = (1_000 + part * cut, records[lane]);
            let (place, seq) = (part * LANES as u64 + lane as u64, part * LANES as u64 + lane as u64 + 1);
            writeln!(text, "chunk events {place} lane={} seq={seq} base_tick={base} first_record={first}", lane + 1)
                .expect("a String takes all");
            text.push_str("  define_atom text=\"m\"\n");
            for (number, name) in FUNCTIONS.iter().enumerate() {
                let atom = number + 2;
                writeln!(text, "  define_atom text=\"{name}\"\n  define_function module=1 name={atom} arity=0")
                    .expect("a String takes all");
            }
            text.push_str("  define_atom text=\"normal\"\n");
            for (number, (module, name)) in BUILT_IN.iter().enumerate() {
                let (module_atom, name_atom) = (8 + 2 * number, 9 + 2 * number);
                writeln!(text, "  define_atom text=\"{module}\"\n  define_atom text=\"{name}\"")
                    .expect("a String takes all");
                writeln!(text, "  define_function module={module_atom} name={name_atom} arity=3")
                    .expect("a String takes all");
            }
            let mut tick = base;
            for (_, time, whose, what, fields) in lines.iter().filter(|line| line.0 == lane) {
                if (*time >= cut) != (part == 1) {
                    continue;
                }
                let now = time + 1_000;
                writeln!(text, "  {whose}\n  {what} +{} {fields}", now - tick).expect("a String takes all");
                (tick, records[lane]) = (now, records[lane] + 1);
            }
        }
    }
    let bytes = spoor_format::text::parse(&text).unwrap_or_else(|error| panic!("{error}: {text}")).to_bytes();
    Recording::open(Source::from_bytes(bytes), "test.spoor").expect("a recording")
}

fn analyzed(recording: &Recording) -> (Vec<SlowCall>, Vec<Row>) {
    let (mut slow, mut procs) = (Slow::new(100_000, 1), Procs::new(recording));
    let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
    let mut processes = Processes::from_infos(stream.infos(), stream.names());
    let (shares, asked, whose) = slow.shares();
    while let Some(event) = stream.next() {
        processes.learn(&event);
        asked.tell_until(event.names().function_count(), |_| true);
        whose.tell(event.tracee.0, Some(event.identity()));
        shares.event(&event, true);
        procs.event(&event, &processes, true);
    }
    let outcome = stream.finish();
    let known = Known { recording, processes: &processes, tracees: &outcome.tracees, names: &outcome.names };
    let rows = procs.rows(&known);
    shares.end_of_recording();
    let mut trees = slow.trees();
    trees.begin(recording, Window::ALL);
    let mut stream = recording.stream(outcome.names, Tracees::default(), Window::ALL);
    while let Some(event) = stream.next() {
        trees.event(&event, &processes, true);
    }
    trees.end(|_| String::new());
    (trees.report(&stream.finish().names), rows.into_iter().map(|(_, row)| row).collect())
}

/// The last digits of a linear congruential generator are poor: the first are taken.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

const KINDS: [&str; 21] = [
    "call",
    "call",
    "call",
    "return_to",
    "return_to",
    "return_to",
    "return_from",
    "in",
    "in",
    "out",
    "out",
    "port_in",
    "port_out",
    "gc_minor_start",
    "gc_minor_end",
    "send",
    "receive",
    "timeout",
    "getting_linked",
    "spawned",
    "exit",
];

fn stream(seed: u64) -> Recording {
    let (mut random, mut time, mut lines) = (Random(seed), 0, Vec::<Line>::new());
    for _ in 0..8 + random.below(200) {
        time += random.below(20);
        let (lane, process) = (random.below(LANES as u64) as usize, 8 + 8 * random.below(3));
        let what = KINDS[random.below(KINDS.len() as u64) as usize];
        let function = 1 + random.below(FUNCTIONS.len() as u64);
        let fields = match what {
            "call" | "return_from" => format!("function={}", 1 + (function - 1) % 3),
            "return_to" => format!("function={function}"),
            "in" | "out" => format!("function={}", 1 + random.below((FUNCTIONS.len() + BUILT_IN.len()) as u64)),
            "port_in" | "port_out" => "operation=1".to_owned(),
            "gc_minor_start" | "gc_minor_end" => "sizes=[]".to_owned(),
            "send" | "getting_linked" => format!("to=pid({})", 8 + 8 * random.below(3)),
            "spawned" => "parent=pid(8) function=1".to_owned(),
            "exit" => format!("reason={}", if random.below(3) == 0 { "7" } else { "@7" }),
            _ => String::new(),
        };
        let whose = if what.starts_with("port_") { "port port=5".to_owned() } else { format!("process pid={process}") };
        let missing = seed.is_multiple_of(3) && random.below(30) == 0;
        let whose = if missing { format!("{whose}\n  missing any={}", random.below(2)) } else { whose };
        lines.push((lane, time, whose, what, fields));
    }
    let lost = match seed % 4 {
        0 => [random.below(2), 0, 3],
        _ => [0; LANES],
    };
    recording(&lines, time / 2, lost, if seed.is_multiple_of(5) { "calls requests" } else { "calls messages" })
}

#[test]
#[allow(clippy::print_stdout, reason = "how much was compared is a result")]
fn parts_add_up_for_every_call_and_process() {
    let streams = std::env::var("SPOOR_STREAMS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_u64);
    let (mut all, mut calls_seen) = (Split::default(), 0);
    for seed in 0..streams {
        let (calls, rows) = analyzed(&stream(seed));
        for call in &calls {
            assert_eq!(call.split.sum_ns(), call.duration_ns, "stream {seed}: {call:#?}");
            all.add(&call.split);
        }
        for row in &rows {
            assert_eq!(row.split.sum_ns(), row.life_ns, "stream {seed}: {row:#?}");
        }
        calls_seen += calls.len();
    }
    println!("{streams} streams, {calls_seen} calls: {:?}", all.parts());
    // Each part was there to be added.
    assert!(all.parts().iter().all(|(_, ns)| *ns > 0), "{all:?}");
}

/// It was off when events were missing, and is sent a message before its first event since.
#[test]
fn a_message_since_events_were_missing_is_known() {
    let of = |time, words: &[&str]| example_line(time, words);
    let lines = [of(0, &["in"]), of(10, &["out"]), of(60, &["is", "sent", "a", "message"]), of(80, &["in"])];
    let lines: Vec<Line> = lines.into_iter().chain([of(80, &["receive"])]).collect();
    let (_, rows) = analyzed(&recording(&lines, 40, [1, 0, 0], "messages"));
    let row = rows.iter().find(|row| row.process == "<0.2.0>").unwrap_or_else(|| panic!("{rows:#?}"));
    assert_eq!(row.split.queued_ns, 20, "{row:#?}");
}

/// The examples: events of one process on the first scheduler, or where `on` says.
#[test]
fn examples_are_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SEMANTICS.md");
    let text = std::fs::read_to_string(path).expect("docs are there");
    let examples: Vec<&str> = text.split("```split\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 2);
    for example in examples {
        let (mut lines, mut wanted, mut end, mut preset) = (Vec::new(), Vec::new(), 0, "calls messages");
        for line in example.lines() {
            if line == "only messages of requests are recorded" {
                preset = "calls requests";
                continue;
            }
            if let Some(want) = line.strip_prefix("= ") {
                wanted.push(want.to_owned());
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            let time = words[0].parse().unwrap_or_else(|_| panic!("{line:?}"));
            lines.push(example_line(time, &words[1..]));
            end = end.max(time);
        }
        let recording = recording(&lines, end + 1, [0; LANES], preset);
        let (calls, _) = analyzed(&recording);
        let got: Vec<String> = calls.iter().map(told).collect();
        assert_eq!(got, wanted, "{example}");
    }
}

/// The examples of windows: events of one process, and what its time in the window went to.
#[test]
fn windows_are_what_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/SEMANTICS.md");
    let text = std::fs::read_to_string(path).expect("docs are there");
    let examples: Vec<&str> = text.split("```procs\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(examples.len() > 2);
    for example in examples {
        let (mut lines, mut window, mut wanted) = (Vec::new(), Window::ALL, String::new());
        for line in example.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let ns = |word: &str| word.parse::<u64>().unwrap_or_else(|_| panic!("{line:?}"));
            match *words {
                ["=", ..] => wanted = line[2..].to_owned(),
                // The text's clock begins at 1000.
                ["from", from, "to", to] => window = Window { from_ns: ns(from) + 1_000, to_ns: ns(to) + 1_000 },
                [time, "somebody", "else", "runs"] => {
                    lines.push((1, ns(time), "process pid=24".to_owned(), "in", "function=1".to_owned()));
                }
                [time, "somebody", "else", "runs", "there"] => {
                    lines.push((0, ns(time), "process pid=24".to_owned(), "in", "function=1".to_owned()));
                }
                [time, ref words @ ..] => lines.push(example_line(ns(time), words)),
                [] => {}
            }
        }
        let recording = recording(&lines, 1_000, [0; LANES], "calls messages");
        let cut = Cut::new(&recording, window, Window::ALL);
        let mut procs = Procs::within(&recording, cut);
        let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
        let processes = Processes::from_infos(stream.infos(), stream.names());
        while let Some(event) = stream.next() {
            procs.event(&event, &processes, true);
        }
        let outcome = stream.finish();
        let known =
            Known { recording: &recording, processes: &processes, tracees: &outcome.tracees, names: &outcome.names };
        let rows = procs.rows(&known);
        let row = rows.iter().find(|(_, row)| row.process == "<0.2.0>").unwrap_or_else(|| panic!("{rows:#?}"));
        assert_eq!(parts(&row.1.split), wanted, "{example}");
    }
}

/// `f 90: running 20, waiting 70`.
fn told(call: &SlowCall) -> String {
    let function = call.function.trim_start_matches("m:").trim_end_matches("/0");
    format!("{function} {}: {}", call.duration_ns, parts(&call.split))
}

fn parts(split: &Split) -> String {
    let parts = split.parts().into_iter().filter(|(_, ns)| *ns > 0);
    parts.map(|(part, ns)| format!("{part} {ns}")).collect::<Vec<_>>().join(", ")
}

fn example_line(time: u64, words: &[&str]) -> Line {
    let all = || FUNCTIONS.into_iter().chain(BUILT_IN.iter().map(|(_, name)| *name));
    let function = |name: &str| 1 + all().position(|f| f == name).unwrap_or_else(|| panic!("{name}"));
    let (words, lane) = match words {
        [words @ .., "on", "dirty"] => (words, 2),
        [words @ .., "on", "s2"] => (words, 1),
        words => (words, 0),
    };
    let own = "process pid=16".to_owned();
    let whose = |what: &str| if what.starts_with("port_") { "port port=5".to_owned() } else { own.clone() };
    match *words {
        ["call", f] => (lane, time, own, "call", format!("function={}", function(f))),
        ["return_from", f] => (lane, time, own, "return_from", format!("function={}", function(f))),
        ["return_to", "-"] => (lane, time, own, "return_to", "function=0".to_owned()),
        [what @ ("in" | "out"), "in", f] => {
            (lane, time, own, if what == "in" { "in" } else { "out" }, format!("function={}", function(f)))
        }
        ["return_to", f] => (lane, time, own, "return_to", format!("function={}", function(f))),
        // Somebody else does, on another scheduler.
        ["is", "sent", "a", "message"] => (1, time, "process pid=24".to_owned(), "send", "to=pid(16)".to_owned()),
        ["is", "sent", "a", "reply"] => {
            (1, time, format!("process pid=24\n  {REPLY}"), "send", "to=ref(1,2,3)".to_owned())
        }
        ["receive", "it"] => (lane, time, format!("{own}\n  {REPLY}"), "receive", String::new()),
        ["exit", "normal"] => (lane, time, own, "exit", "reason=@7".to_owned()),
        [what] => {
            let all = ["in", "out", "port_in", "port_out", "gc_minor_start", "gc_minor_end", "receive", "timeout"];
            let known = all.into_iter().find(|known| *known == what).unwrap_or_else(|| panic!("{what}"));
            let fields = match what {
                "in" | "out" => "function=1",
                "port_in" | "port_out" => "operation=1",
                "gc_minor_start" | "gc_minor_end" => "sizes=[]",
                _ => "",
            };
            (lane, time, whose(what), known, fields.to_owned())
        }
        _ => panic!("{words:?}"),
    }
}
