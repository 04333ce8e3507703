//! The commands as users run them: output as in `testdata/`, exit codes, pipes.
//!
//! After a wanted change of output: `SPOOR_BLESS=1 cargo test -p spoor-analyzer
//! --test commands`, then read the diff.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{file, killed_shop};
use serde_json::Value;
use spoor_format::segment::Packing;
use spoor_format::status::Phase;
use spoor_format::text;
use tempfile::TempDir;

fn spoor(dir: &Path, args: &[&str]) -> Output {
    let run = Command::new(env!("CARGO_BIN_EXE_spoor")).args(args).current_dir(dir).env("NO_COLOR", "1").output();
    run.expect("the binary runs")
}

fn shop() -> TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("shop.spoor"), killed_shop().build()).expect("written");
    dir
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/output").join(name)
}

fn check(name: &str, got: &str) {
    let path = golden(name);
    if std::env::var_os("SPOOR_BLESS").is_some() {
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        fs::write(&path, got).expect("written");
    }
    let want = fs::read_to_string(&path).unwrap_or_default();
    assert!(want == got, "{name} differs; SPOOR_BLESS=1 takes this:\n{got}");
}

#[test]
fn outputs_are_as_blessed() {
    let dir = shop();
    let cases: [(&str, &[&str]); 37] = [
        ("info.txt", &["info", "shop.spoor"]),
        ("info.json", &["info", "shop.spoor", "--json"]),
        ("info-part.txt", &["info", "shop.spoor", "--from", "0.5ms", "--to", "1.5ms", "-m", "shop_*", "-k", "call"]),
        ("info-part.json", &["info", "shop.spoor", "--scheduler", "s2", "-p", "*Client*", "--json"]),
        ("check.txt", &["check", "shop.spoor"]),
        ("check-part.txt", &["check", "shop.spoor", "--last", "1ms", "-p", "shop_pricing"]),
        ("check.json", &["check", "shop.spoor", "--json"]),
        ("dump.txt", &["dump", "shop.spoor"]),
        ("dump.json", &["dump", "shop.spoor", "--json"]),
        ("dump-raw.txt", &["dump", "shop.spoor", "--raw"]),
        (
            "dump-filtered.txt",
            &["dump", "shop.spoor", "-p", "shop_pricing", "-k", "call", "-f", "shop_pricing:price_of"],
        ),
        ("calls.txt", &["calls", "shop.spoor"]),
        ("calls.json", &["calls", "shop.spoor", "--json"]),
        ("calls-module.txt", &["calls", "shop.spoor", "-m", "Shop.*", "--sort", "calls"]),
        ("calls-last.txt", &["calls", "shop.spoor", "--last", "1100us", "--limit", "2"]),
        ("calls-wide.txt", &["calls", "shop.spoor", "--wide", "--sort", "untimed"]),
        ("calls-scheduler.txt", &["calls", "shop.spoor", "--scheduler", "s2", "-k", "call"]),
        ("calls-by-module.txt", &["calls", "shop.spoor", "--by", "module"]),
        ("calls-by-group.json", &["calls", "shop.spoor", "--by", "group", "--json"]),
        ("hist.txt", &["hist", "shop_pricing:handle_call/3", "shop.spoor"]),
        ("hist.json", &["hist", "shop_pricing", "shop.spoor", "--json"]),
        ("callers.txt", &["callers", "shop_pricing:price_of/2", "shop.spoor"]),
        ("callees.json", &["callees", "shop_pricing:price_of/2", "shop.spoor", "--json"]),
        ("slow.txt", &["slow", "shop_pricing:handle_call", "shop.spoor", "-n", "2"]),
        ("slow.json", &["slow", "shop_pricing:handle_call", "shop.spoor", "-n", "1", "--json"]),
        ("procs.txt", &["procs", "shop.spoor"]),
        ("procs.json", &["procs", "shop.spoor", "--each", "--json"]),
        ("procs-by.txt", &["procs", "shop.spoor", "--group-by", "initial_call", "-f", "shop_pricing"]),
        ("gc.txt", &["gc", "shop.spoor"]),
        ("gc.json", &["gc", "shop.spoor", "--json"]),
        ("msgs.json", &["msgs", "shop.spoor", "--json"]),
        ("flame.svg", &["flame", "shop.spoor"]),
        ("flame.folded", &["flame", "shop.spoor", "--folded", "--time", "wall"]),
        ("flame.json", &["flame", "shop.spoor", "--json"]),
        ("flame-process.folded", &["flame", "shop.spoor", "--folded", "--per-process"]),
        ("sched.txt", &["sched", "shop.spoor"]),
        ("sched.json", &["sched", "shop.spoor", "--json"]),
    ];
    for (name, args) in cases {
        let output = spoor(dir.path(), args);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        check(name, &stdout(&output));
    }
    spoor(dir.path(), &["sched", "shop.spoor", "-o", "sched.svg"]);
    check("sched.svg", &fs::read_to_string(dir.path().join("sched.svg")).expect("written"));
}

#[test]
fn help_is_as_blessed() {
    let dir = tempfile::tempdir().expect("a directory");
    check("help.txt", &stdout(&spoor(dir.path(), &["--help"])));
    let all = [
        "info", "check", "dump", "calls", "flame", "sched", "hist", "callers", "callees", "slow", "procs", "gc",
        "msgs", "requests",
    ];
    for command in all {
        let output = spoor(dir.path(), &[command, "--help"]);
        check(&format!("help-{command}.txt"), &stdout(&output));
    }
}

#[test]
fn exit_codes_are_fine_damaged_and_could_not_run() {
    let dir = shop();
    let whole = fs::read(dir.path().join("shop.spoor")).expect("there");
    fs::write(dir.path().join("cut.spoor"), &whole[..whole.len() - 1]).expect("written");
    fs::write(dir.path().join("no.spoor"), b"not a recording").expect("written");
    for command in [
        "info",
        "check",
        "dump",
        "calls",
        "flame",
        "sched",
        "slow *",
        "hist *",
        "callers *",
        "procs",
        "gc",
        "msgs",
        "requests",
    ] {
        for (file, code) in [("shop.spoor", 0), ("cut.spoor", 1), ("no.spoor", 2), ("missing.spoor", 2)] {
            let args: Vec<&str> = command.split(' ').chain([file]).collect();
            let output = spoor(dir.path(), &args);
            assert_eq!(output.status.code(), Some(code), "{command} {file}");
            assert_eq!(code == 2, output.stdout.is_empty(), "{command} {file}");
            let told = String::from_utf8_lossy(&output.stderr).contains(file);
            assert!(told || code == 0, "{command} {file} says nothing of it");
        }
    }
    assert_eq!(spoor(dir.path(), &["calls", "shop.spoor", "--sort", "colour"]).status.code(), Some(2));
}

#[test]
fn no_output_is_written_over_a_recording() {
    let dir = shop();
    let path = |name: &str| dir.path().join(name);
    let whole = fs::read(path("shop.spoor")).expect("there");
    fs::write(path("other.spoor"), &whole).expect("written");
    fs::hard_link(path("shop.spoor"), path("linked.svg")).expect("linked");
    fs::write(path("broken.spoor"), b"no recording any more").expect("written");
    fs::create_dir(path("seg")).expect("made");
    fs::copy(path("shop.spoor"), path("seg/head.spoor")).expect("copied");
    let segment = Packing::None.file_name(3);
    fs::write(path("seg").join(&segment), b"a segment that is damaged").expect("written");
    let segment = format!("seg/{segment}");
    let all: [(&[&str], &str); 10] = [
        (&["flame", "shop.spoor", "-o"], "shop.spoor"),
        (&["flame", "shop.spoor", "-o"], "linked.svg"),
        (&["flame", "shop.spoor", "-o"], "other.spoor"),
        (&["sched", "shop.spoor", "-o"], "./shop.spoor"),
        (&["sched", ".", "-o"], "broken.spoor"),
        (&["sched", ".", "-o"], &segment),
        (&["flame", "seg", "-o"], &segment),
        (&["flame", "seg/head.spoor", "-o"], &segment),
        (&["hist", "*", "shop.spoor", "--hgrm"], "shop.spoor"),
        (&["hist", "*", "shop.spoor", "--hlog"], "shop.spoor"),
    ];
    for (args, target) in all {
        let before = fs::read(path(target)).expect("there");
        let output = spoor(dir.path(), &[args, &[target]].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?} {target}: {told}");
        assert!(told.contains("nothing was written; name another file"), "{told}");
        assert!(fs::read(path(target)).expect("there") == before, "{args:?} wrote over {target}");
    }
    for _ in 0..2 {
        let output = spoor(dir.path(), &["flame", ".", "-o", "shop.svg"]);
        assert!(output.status.code() < Some(2) && path("shop.svg").is_file(), "a picture is written again");
    }
}

#[test]
fn what_cannot_be_asked_for_is_a_usage_error() {
    let dir = shop();
    let all = [["calls", "--last", "0"], ["sched", "--to", "0"], ["dump", "--kind", "cal"], ["calls", "--from", "9"]];
    for args in all {
        let output = spoor(dir.path(), &[&args[..], &["shop.spoor"]].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains("window is empty") || told.contains("call, return_to"), "{told}");
    }
}

#[test]
fn names_are_found_as_they_are_and_as_printed() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/recordings/requests.txt");
    let source = fs::read_to_string(source).expect("there");
    for (atom, written) in [("odd-name", ["odd-name", "'odd-name'"]), ("Elixir.My.Srv", ["Elixir.My.Srv", "My.Srv"])] {
        let image = text::parse(&source.replace("shop_pricing", atom)).expect("a recording");
        fs::write(dir.path().join("x.spoor"), image.to_bytes()).expect("written");
        for option in ["-p", "--name", "-g"] {
            let told = written.map(|name| stdout(&spoor(dir.path(), &["procs", "x.spoor", "--each", option, name])));
            assert!(told[0].contains("<0.10.0>") && !told[0].contains("<0.11.0>"), "{option} {atom}: {}", told[0]);
            assert_eq!(told[0], told[1], "{option} {atom}");
        }
    }
}

#[test]
fn schedulers_tell_of_groups_as_they_are_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/recordings/requests.txt");
    let source = fs::read_to_string(source).expect("there").replace("shop_pricing", "w_1").replace("shop_stock", "w_2");
    let image = text::parse(&source.replace("pid=96 parent=- name=0", "pid=96 parent=- name=2")).expect("a recording");
    fs::write(dir.path().join("x.spoor"), image.to_bytes()).expect("written");
    let groups = |by: &str| {
        let told = stdout(&spoor(dir.path(), &["sched", "x.spoor", "--json", "--group-by", by]));
        let told: Value = serde_json::from_str(&told).expect("JSON");
        let names = told["groups"].as_array().expect("groups").iter().map(|row| row["group"].clone());
        names.collect::<Vec<Value>>()
    };
    assert_eq!(groups("title"), ["w_*"]);
    assert_eq!(groups("initial_call"), ["unknown initial call", "Shop.Client.run/1"]);
}

#[test]
fn towers_of_groups_whose_names_differ_in_digits_are_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let chunk = "define_atom text=\"shop\"\n  define_atom text=\"run_1\"\n  define_atom text=\"run_2\"\n  \
        define_function module=1 name=2 arity=0\n  define_function module=1 name=3 arity=0\n  \
        process pid=80\n  spawned +1 parent=pid(8) function=1\n  call +5 function=1\n  return_from +40 function=1\n  \
        process pid=88\n  spawned +1 parent=pid(8) function=2\n  call +5 function=1\n  return_from +40 function=1\n";
    fs::write(dir.path().join("x.spoor"), recorded(6, chunk)).expect("written");
    let told = stdout(&spoor(dir.path(), &["flame", "x.spoor", "--folded", "--per-process"]));
    assert_eq!(told, "shop:run_*/0;shop:run_1/0 80\n");
}

#[test]
fn folded_stacks_come_with_what_was_lost() {
    let dir = shop();
    let output = spoor(dir.path(), &["flame", "shop.spoor", "--folded"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("shop.spoor") && told.contains("2 dropped"), "{told}");
}

#[test]
fn modules_are_sorted_by_how_often_they_were_entered() {
    let dir = shop();
    let sorted = |by: &str| spoor(dir.path(), &["calls", "shop.spoor", "--by", by, "--sort", "entered", "--json"]);
    let told: Value = serde_json::from_slice(&sorted("module").stdout).expect("JSON");
    let rows = told["rows"].as_array().expect("rows");
    let entered: Vec<u64> = rows.iter().filter_map(|row| row["entered"].as_u64()).collect();
    assert!(entered.len() > 1 && entered.is_sorted_by(|a, b| a >= b), "{entered:?}");
    assert_eq!(sorted("function").status.code(), Some(2));
}

/// Numbers of an answer, added up over all objects `of` a name that have them.
fn sums(value: &Value, of: &str, fields: &[&str], sums: &mut BTreeMap<String, i64>) {
    match value {
        Value::Object(object) => {
            for (name, value) in object {
                let field = format!("{of}/{name}");
                match value.as_i64().filter(|_| fields.contains(&field.as_str())) {
                    Some(n) => *sums.entry(field).or_default() += n,
                    None => self::sums(value, name, fields, sums),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| self::sums(value, of, fields, sums)),
        _ => {}
    }
}

#[test]
fn windows_side_by_side_add_up_also_where_they_meet_at_an_event() {
    let dir = shop();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/recordings/requests.txt");
    let image = text::parse(&fs::read_to_string(source).expect("there")).expect("a recording");
    fs::write(dir.path().join("requests.spoor"), image.to_bytes()).expect("written");
    let commands: [(&[&str], &[&str]); 5] = [
        (&["info"], &["events_by_kind/call", "events_by_kind/in", "events_by_kind/exit", "events_by_kind/send"]),
        (&["sched"], &["lanes/events", "lanes/busy_ns"]),
        (&["procs"], &["groups/slices", "groups/sent", "groups/received", "groups/collections", "groups/life_ns"]),
        (&["gc"], &["all/reclaimed_bytes", "all/total_ns"]),
        (&["requests"], &["/messages", "groups/requests", "groups/began_before"]),
    ];
    for file in ["shop.spoor", "requests.spoor"] {
        let dump = stdout(&spoor(dir.path(), &["dump", "--json", file]));
        let at = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["at_ns"].as_u64();
        let mut edges: Vec<String> =
            dump.lines().filter_map(at).filter(|ns| *ns > 0).map(|ns| format!("{ns}ns")).collect();
        edges.dedup();
        let last = edges.len() - 1;
        for (command, fields) in commands {
            let told = |window: &[&str]| {
                let output = spoor(dir.path(), &[command, &["--json", file], window].concat());
                assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
                let mut sum = BTreeMap::new();
                sums(&serde_json::from_slice(&output.stdout).expect("JSON"), "", fields, &mut sum);
                // A request counts in each window that it meets, and is told to have begun before all but the first.
                let before = sum.remove("groups/began_before").unwrap_or(0);
                sum.entry("groups/requests".to_owned()).and_modify(|requests| *requests -= before);
                sum
            };
            let mut parts = told(&["--to", &edges[0]]);
            let between = edges.windows(2).map(|pair| told(&["--from", &pair[0], "--to", &pair[1]]));
            for (name, n) in between.chain([told(&["--from", &edges[last]])]).flatten() {
                *parts.entry(name).or_default() += n;
            }
            assert_eq!((!parts.is_empty(), &parts), (true, &told(&[])), "{command:?} {file}");
        }
    }
}

#[test]
fn a_filter_that_takes_nothing_says_so() {
    let dir = shop();
    for command in ["calls", "flame", "dump"] {
        let args = [command, "shop.spoor", "--module", "Mixpp"];
        let told = String::from_utf8(spoor(dir.path(), &args).stderr).expect("text");
        assert!(told.contains("nothing matches --module Mixpp; modules recorded: "), "{told}");
        assert!(told.contains("shop_pricing"), "{told}");
    }
    let told = String::from_utf8(spoor(dir.path(), &["sched", "shop.spoor", "--process", "nobody"]).stderr);
    assert!(told.expect("text").contains("nothing matches --process nobody"));
}

/// The bytes of a recording with events on one scheduler.
fn recorded(events: u32, chunk: &str) -> Vec<u8> {
    let text = format!(
        "spoor-text 1\nheader lanes=2 clock_slots=4 info=512x2 events=4096x2\n\
        status phase=stopped stop_tick=9000 reason=\"test\"\n\
        meta \"otp_release\" \"27\"\nmeta \"process_limit\" \"1048576\"\nmeta \"port_limit\" \"65536\"\n\
        clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1\n\
        clock 2 tick=10001000 monotonic_ns=10001000 wall_ns=10007000 spread_ns=1\n\
        lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[]\n\
        lane 1 kind=scheduler index=1 os_tid=7 sealed_events={events} sealed_infos=0 dropped=[]\n\
        chunk events 0 lane=1 seq=1 base_tick=1000 first_record=0 sealed=yes\n  {chunk}"
    );
    spoor_format::text::parse(&text).unwrap_or_else(|error| panic!("{error}")).to_bytes()
}

#[test]
fn calls_that_raised_have_a_column_where_there_are_any() {
    let dir = shop();
    let chunk = "define_atom text=\"shop\"\n  define_atom text=\"price\"\n  define_atom text=\"error\"\n  \
        define_function module=1 name=2 arity=1\n  process pid=80\n  call +5 function=1\n  \
        exception_from +40 function=1 class=3\n  call +5 function=1\n  return_from +40 function=1\n";
    fs::write(dir.path().join("raised.spoor"), recorded(4, chunk)).expect("written");
    for by in ["function", "module", "group"] {
        let text = stdout(&spoor(dir.path(), &["calls", "raised.spoor", "--sort", "raised", "--wide", "--by", by]));
        let mut lines = text.lines().skip_while(|line| !line.contains("CALLS"));
        let head: Vec<&str> = lines.next().unwrap_or_default().split("  ").filter(|cell| !cell.is_empty()).collect();
        assert_eq!(head.last().map(|cell| cell.trim()), Some("RAISED"), "{text}");
        assert!(lines.next().is_some_and(|row| row.ends_with(" 1")), "{text}");
    }
    let chunk = chunk.replace("exception_from +40 function=1 class=3", "return_from +40 function=1");
    fs::write(dir.path().join("returned.spoor"), recorded(4, &chunk)).expect("written");
    assert!(!stdout(&spoor(dir.path(), &["calls", "returned.spoor", "--wide"])).contains("RAISED"));
}

#[test]
fn an_empty_answer_says_what_there_is() {
    let dir = shop();
    let only = recorded(1, "process pid=80\n  gc_minor_start +1 sizes=[1,2,3]\n");
    fs::write(dir.path().join("gc.spoor"), only).expect("written");
    let chunk = "define_atom text=\"shop\"\n  define_atom text=\"price\"\n  define_function module=1 name=2 arity=1\n  \
        process pid=80\n  call +5 function=1\n  call +5 function=1\n";
    fs::write(dir.path().join("open.spoor"), recorded(2, chunk)).expect("written");
    let cases: [(&[&str], &[&str]); 14] = [
        (&["slow", "shop:price", "open.spoor"], &["spoor: 2 calls, none timed: 2 were open at the end"]),
        (&["calls", "gc.spoor"], &["no calls are recorded here (but gc_minor_start 1); name the modules to trace"]),
        (&["flame", "gc.spoor", "--folded"], &["no calls are recorded here"]),
        (&["slow", "*", "gc.spoor"], &["no calls are recorded here"]),
        (&["hist", "*", "gc.spoor"], &["no calls are recorded here"]),
        (&["callers", "*", "gc.spoor"], &["no calls are recorded here"]),
        (&["requests", "gc.spoor"], &["no requests are recorded here", "record with preset requests"]),
        (&["msgs", "gc.spoor"], &["no messages are recorded here", "record with preset messages"]),
        (
            &["calls", "shop.spoor", "--scheduler", "s9"],
            &["nothing matches --scheduler s9; schedulers recorded: s1, s2"],
        ),
        (&["calls", "shop.spoor", "-k", "in"], &["nothing matches --kind in: no calls; kinds recorded: ", "return_to"]),
        (&["calls", "shop.spoor", "-f", "shop_pricing:no"], &["functions recorded: ", "shop_pricing:handle_call/3"]),
        (
            &["calls", "shop.spoor", "-m", "shop_pricing", "--to", "6us"],
            &["nothing in the window matches --module shop_pricing; modules recorded: "],
        ),
        (
            &["dump", "shop.spoor", "--scheduler", "s2", "--from", "1ns", "--to", "2ns"],
            &["nothing in the window matches --scheduler s2; recorded are 39 events\n"],
        ),
        (&["calls", "shop.spoor", "-p", "nobody"], &["nothing matches --process nobody; spoor procs"]),
    ];
    for (args, wanted) in cases {
        let output = spoor(dir.path(), args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {told}");
        assert!(wanted.iter().all(|text| told.contains(text)), "{args:?}: {told}");
        assert!(!stdout(&output).contains("in/out events"), "{args:?} explains what is not there");
    }
}

#[test]
fn a_recording_with_nothing_in_the_window_does_not_keep_the_others_from_being_read() {
    let dir = shop();
    let mut other = file(Phase::Stopped, "asked to");
    other.lanes = killed_shop().lanes[..1].to_vec();
    other.lanes[0].sealed_events = 0;
    fs::write(dir.path().join("other.spoor"), other.build()).expect("written");
    let output = spoor(dir.path(), &["calls", ".", "--from", "2100us", "--to", "3ms"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(told.contains("shop.spoor: the window is empty: it begins after the end") && told.contains("left out"));
    assert!(stdout(&output).contains("other.spoor"));
    assert_eq!(spoor(dir.path(), &["calls", ".", "--from", "9"]).status.code(), Some(2));
}

#[test]
fn a_file_without_clocks_has_no_dates() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut shop = killed_shop();
    shop.clocks.clear();
    fs::write(dir.path().join("shop.spoor"), shop.build()).expect("written");
    spoor(dir.path(), &["sched", "shop.spoor", "-o", "sched.svg"]);
    let picture = fs::read_to_string(dir.path().join("sched.svg")).expect("written");
    assert!(!picture.contains("1970"), "{picture}");
}

#[test]
fn info_claims_nothing_that_a_cut_file_lacks() {
    let dir = shop();
    let whole = fs::read(dir.path().join("shop.spoor")).expect("there");
    let header = killed_shop().header;
    let cut = |at: u64| {
        fs::write(dir.path().join("cut.spoor"), &whole[..at as usize]).expect("written");
        stdout(&spoor(dir.path(), &["info", "cut.spoor"]))
    };
    let events = cut(header.events.offset + 4096);
    assert!(events.contains("not all of it") && !events.contains("covered       all of it"), "{events}");
    let front = cut(600);
    assert!(front.contains("time          unknown") && !front.contains("1970"), "{front}");
}

#[test]
fn a_directory_stands_for_its_recordings() {
    let dir = shop();
    let mut other = file(Phase::Stopped, "asked to");
    other.lanes = killed_shop().lanes[..1].to_vec();
    other.lanes[0].sealed_events = 0;
    fs::write(dir.path().join("other.spoor"), other.build()).expect("written");
    fs::write(dir.path().join("notes.txt"), "not looked at").expect("written");
    let output = spoor(dir.path(), &["calls", "."]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert!(text.contains("./other.spoor (stopped: asked to)") && text.contains("./shop.spoor (the VM died"), "{text}");
    assert!(text.contains("shop_pricing:handle_call/3"), "{text}");
    fs::write(dir.path().join("broken.spoor"), b"").expect("written");
    assert_eq!(spoor(dir.path(), &["info", "."]).status.code(), Some(1));
    let empty = tempfile::tempdir().expect("a directory");
    assert_eq!(spoor(empty.path(), &["info", "."]).status.code(), Some(2));
}

#[test]
fn snapshots_are_told_and_not_counted_twice() {
    let dir = shop();
    fs::copy(dir.path().join("shop.spoor"), dir.path().join("shop-snap-1.spoor")).expect("copied");
    let alone = stdout(&spoor(dir.path(), &["info", "shop-snap-1.spoor"]));
    assert!(alone.contains("a snapshot of a recording"), "{alone}");
    let both = spoor(dir.path(), &["calls", "."]);
    let (text, told) = (stdout(&both), String::from_utf8_lossy(&both.stderr).into_owned());
    assert!(
        !text.contains("shop-snap-1") && told.contains("1 snapshot left out: its recording is here"),
        "{text}{told}"
    );
    fs::remove_file(dir.path().join("shop.spoor")).expect("removed");
    assert!(stdout(&spoor(dir.path(), &["calls", "."])).contains("shop-snap-1"));
}

#[test]
fn a_closed_pipe_is_success() {
    let dir = shop();
    for args in [vec!["dump", "shop.spoor", "--json"], vec!["dump", "shop.spoor", "--raw"], vec!["flame", "shop.spoor"]]
    {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spoor"))
            .args(&args)
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary runs");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{args:?}");
    }
}

#[test]
fn the_raw_form_makes_the_same_file_again() {
    let dir = shop();
    let text = stdout(&spoor(dir.path(), &["dump", "shop.spoor", "--raw"]));
    let image = spoor_format::text::parse(&text).expect("well formed");
    assert_eq!(image.to_bytes(), fs::read(dir.path().join("shop.spoor")).expect("there"));
}

/// A supervisor is known by its initial call; by its name only where no initial call tells.
#[test]
fn processes_group_by_supervisors_whatever_they_are_called() {
    let dir = tempfile::tempdir().expect("a directory");
    // Of the supervisor `tree`: a worker called as if it were one, and its child.
    let text = |supervisor: &str| {
        format!(
            r#"spoor-text 1
header lanes=2 clock_slots=4 info=512x2 events=512x2
status phase=stopped stop_tick=9000 reason="test"
meta "otp_release" "27"
meta "process_limit" "1048576"
meta "port_limit" "65536"
clock 1 tick=1000 monotonic_ns=1000 wall_ns=7000 spread_ns=1
clock 2 tick=10001000 monotonic_ns=10001000 wall_ns=10007000 spread_ns=1
lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=3 dropped=[]
lane 1 kind=scheduler index=1 os_tid=7 sealed_events=3 sealed_infos=0 dropped=[]
chunk info 0 lane=0 seq=1 base_tick=1000 first_record=0 sealed=yes
  define_atom text="{supervisor}"
  define_atom text="Elixir.MyApp.Tree"
  define_atom text="init"
  define_atom text="work_sup"
  define_atom text="tree"
  define_function module=1 name=2 arity=1
  define_function module=4 name=3 arity=1
  process_info +0 pid=80 parent=- name=5 label=- initial_call=1
  process_info +0 pid=88 parent=pid(80) name=4 label=- initial_call=2
  process_info +0 pid=96 parent=pid(88) name=0 label=- initial_call=2
chunk events 0 lane=1 seq=1 base_tick=1000 first_record=0 sealed=yes
  process pid=80
  receive +1
  process pid=88
  receive +1
  process pid=96
  receive +1
"#
        )
    };
    for (supervisor, wanted) in
        [("supervisor", [("tree", 2), ("no supervisor", 1)]), ("m", [("work_sup", 1), ("no supervisor", 2)])]
    {
        let image = spoor_format::text::parse(&text(supervisor)).unwrap_or_else(|error| panic!("{error}"));
        fs::write(dir.path().join("s.spoor"), image.to_bytes()).expect("written");
        let output = spoor(dir.path(), &["procs", "s.spoor", "--group-by", "supervisor", "--json"]);
        let answer: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
        for (group, processes) in wanted {
            let row = answer["groups"].as_array().into_iter().flatten().find(|row| row["group"] == group);
            assert_eq!(row.map(|row| row["processes"].as_u64()), Some(Some(processes)), "{supervisor}: {answer:#}");
        }
        let output = spoor(dir.path(), &["procs", "s.spoor", "--group-by", "initial_call"]);
        assert_eq!(stdout(&output).contains("MyApp.Tree.init/1"), supervisor == "supervisor", "{}", stdout(&output));
    }
}
