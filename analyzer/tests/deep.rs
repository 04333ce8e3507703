//! Trees of calls that are cut say what is cut, and its time adds up.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{at, file, lane, pid};
use serde_json::Value;
use spoor_format::build::ChunkBuilder;
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;
use tempfile::TempDir;

/// Calls of a microsecond each: up and down again.
fn recording(events: u64, fill: impl FnOnce(&mut ChunkBuilder)) -> TempDir {
    let mut file = file(Phase::Stopped, "stopped");
    file.header = Header::with_rings(4, 4, (4096, 2), (1 << 17, 1));
    let mut chunk = ChunkBuilder::new(0, 1, at(1), 0);
    fill(&mut chunk);
    file.push(RingKind::Events, chunk);
    file.lanes = vec![lane(LaneKind::Scheduler, 1, events, &[])];
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("deep.spoor"), file.build()).expect("written");
    dir
}

/// `f` calls itself, so many times deep, and in each of so many processes.
fn recursion(depth: u64, processes: u64) -> TempDir {
    recording(2 * depth * processes, |chunk| {
        let (f, outside) = (chunk.function("m", "f", 1), chunk.function("m", "outside", 0));
        for process in 0..processes {
            let (who, begin) = (pid(100 + process), 1 + process * 2 * depth);
            (0..depth).for_each(|n| chunk.event(at(begin + n), who, |to, d| write::call(to, d, f)));
            for n in 1..=depth {
                let target = if n < depth { f } else { outside };
                chunk.event(at(begin + depth + n - 1), who, |to, d| write::return_to(to, d, target));
            }
        }
    })
}

fn spoor(dir: &Path, args: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_spoor")).args(args).current_dir(dir).env("NO_COLOR", "1").output();
    let done = done.expect("the binary runs");
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text") + &String::from_utf8_lossy(&done.stderr)
}

fn json(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&spoor(dir, args)).expect("JSON")
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// 312 calls, of which the outermost takes 623 µs and all others have 1 µs on top on each way.
#[test]
fn flame_tells_what_is_above_its_levels() {
    let dir = recursion(312, 2);
    let answer = json(dir.path(), &["flame", "deep.spoor", "--json"]);
    assert_eq!(number(&answer["total_ns"]), 2 * 623_000);
    assert_eq!([&answer["deeper"]["levels"], &answer["deeper"]["calls"]].map(number), [12, 2 * 12]);
    assert_eq!(number(&answer["deeper"]["own_ns"]), 2 * 23_000);
    let stacks = answer["stacks"].as_array().expect("stacks");
    let last = stacks.last().expect("one");
    assert_eq!(last["frames"].as_array().map(Vec::len), Some(301));
    assert_eq!((&last["frames"][300], number(&last["levels"])), (&Value::from("…"), 12));
    assert!(
        stacks.iter().rev().skip(1).all(|stack| number(&stack["own_ns"]) == 4_000 && number(&stack["levels"]) == 0)
    );
    let sum: u64 = stacks.iter().map(|stack| number(&stack["own_ns"])).sum();
    assert_eq!(sum, 2 * 623_000);
    for threads in ["1", "3"] {
        let folded = spoor(dir.path(), &["flame", "deep.spoor", "--folded", "--threads", threads]);
        assert!(folded.contains(";m:f/1;… 12 levels deeper, not told apart 46000\n"), "{folded}");
        assert!(
            folded.contains("; above 300 levels 24 calls (46.0 µs) in up to 12 more are not told apart"),
            "{folded}"
        );
        let svg = spoor(dir.path(), &["flame", "deep.spoor", "--threads", threads]);
        let frame = "<title>… 12 levels deeper, not told apart&#10;46.0 µs (3.7 %), itself 46.0 µs (3.7 %), 24 calls<";
        assert!(svg.contains(frame) && svg.contains("above 300 levels 24 calls"), "{svg}");
    }
}

#[test]
fn what_is_not_cut_is_not_said_to_be() {
    let dir = recursion(300, 1);
    let answer = json(dir.path(), &["flame", "deep.spoor", "--json"]);
    assert_eq!([&answer["deeper"]["levels"], &answer["deeper"]["calls"]].map(number), [0, 0]);
    assert!(!spoor(dir.path(), &["flame", "deep.spoor"]).contains("not told apart"));
}

/// One that takes a tenth of a pixel's time.
#[test]
fn flame_tells_what_is_too_narrow_to_be_drawn() {
    let dir = recording(4, |chunk| {
        let [long, short] = ["long", "short"].map(|name| chunk.function("m", name, 0));
        let outside = chunk.function("m", "outside", 0);
        for (from, to, function) in [(1, 100_001, long), (100_002, 100_003, short)] {
            chunk.event(at(from), pid(100), |to, d| write::call(to, d, function));
            chunk.event(at(to), pid(100), |to, d| write::return_to(to, d, outside));
        }
    });
    let svg = spoor(dir.path(), &["flame", "deep.spoor"]);
    assert!(svg.contains(">1 frame too narrow to be drawn: 1.00 µs (0.0 %)<"), "{svg}");
    assert!(!svg.contains("m:short/0"), "{svg}");
}

/// A node, and all of its time: what it called, in the tree or beyond, and itself.
fn adds_up(node: &Value) -> u64 {
    let children = node["children"].as_array().expect("children");
    let beyond = node["beyond"]["total_ns"].as_u64().unwrap_or(0);
    let sum = children.iter().map(adds_up).sum::<u64>() + beyond + number(&node["own_ns"]);
    assert_eq!(sum, number(&node["total_ns"]), "{node:#}");
    sum
}

#[test]
fn slow_tells_what_is_too_deep_for_its_tree() {
    let dir = recursion(312, 1);
    let answer = json(dir.path(), &["slow", "m:f", "deep.spoor", "--json"]);
    let tree = &answer["calls"][0]["tree"];
    assert_eq!(adds_up(tree), 623_000);
    let deepest = (0..50).fold(tree, |node, _| &node["children"][0]);
    let beyond = &deepest["beyond"];
    // 311 - 50 levels: the outermost is the root.
    assert_eq!(["calls", "total_ns", "levels"].map(|key| number(&beyond[key])), [1, 521_000, 261]);
    let text = spoor(dir.path(), &["slow", "m:f", "deep.spoor"]);
    assert!(text.contains(" … 303 levels deeper\n"), "{text}");
}

/// One that calls 1,300 functions, each of which calls the next.
#[test]
fn slow_tells_what_has_no_room_in_its_tree() {
    let dir = recording(2 + 4 * 1_300, |chunk| {
        let [all, inner, outside] = ["all", "inner", "outside"].map(|name| chunk.function("m", name, 0));
        chunk.event(at(1), pid(100), |to, d| write::call(to, d, all));
        for n in 0..1_300 {
            let (function, begin) = (chunk.function("m", &format!("f{n}"), 0), 10 + 10 * n);
            chunk.event(at(begin), pid(100), |to, d| write::call(to, d, function));
            chunk.event(at(begin + 1), pid(100), |to, d| write::call(to, d, inner));
            chunk.event(at(begin + 3), pid(100), |to, d| write::return_to(to, d, function));
            chunk.event(at(begin + 4), pid(100), |to, d| write::return_to(to, d, all));
        }
        chunk.event(at(20_000), pid(100), |to, d| write::return_to(to, d, outside));
    });
    let answer = json(dir.path(), &["slow", "m:all", "deep.spoor", "--json"]);
    let tree = &answer["calls"][0]["tree"];
    assert_eq!(adds_up(tree), 19_999_000);
    // The root, 499 functions with `inner`, and one without.
    let beyond = |node: &Value| ["calls", "total_ns", "levels"].map(|key| number(&node["beyond"][key]));
    assert_eq!(beyond(tree), [800, 3_200_000, 2]);
    let text = spoor(dir.path(), &["slow", "m:all", "deep.spoor"]);
    assert!(text.contains("  3.20 ms in 800 calls, up to 2 levels: not told apart\n"), "{text}");
}
