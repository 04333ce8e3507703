//! Recordings on which a reader once failed: every command ends in order on them, with
//! little memory and soon. See testdata/crashers/README.md.

#[path = "../common/mod.rs"]
mod common;
mod made;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use spoor_format::text;

/// What is run; the fuzzer runs the same.
const COMMANDS: &str = include_str!("../../../testdata/crashers/commands.list");
/// Bytes that a command may map: the file, its program, stacks of threads, and what it
/// takes. None of these recordings needs half of it.
const MOST_KIB: u64 = 400 << 10;
/// Seconds of a processor that a command may take. All of them together take fewer.
const MOST_SECONDS: u64 = 60;

/// A command line of the list on a recording, within these limits.
fn run(line: &str, recording: &Path) -> Output {
    let words = line.split(' ').map(|word| match word {
        "FILE" => recording.to_str().expect("a path in UTF-8"),
        "N" => "2",
        word => word,
    });
    let limits = format!("ulimit -v {MOST_KIB}; ulimit -t {MOST_SECONDS}; exec \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &limits, "sh", env!("CARGO_BIN_EXE_spoor")]).args(words);
    command.env("MALLOC_ARENA_MAX", "1").output().expect("it starts")
}

/// The commands that do not end in order on it, and what they say.
fn failures(name: &str, recording: &Path) -> Vec<String> {
    let failure = |line| {
        let run = run(line, recording);
        let complaints = String::from_utf8_lossy(&run.stderr);
        let in_order = matches!(run.status.code(), Some(0..=2)) && !complaints.contains("panicked");
        (!in_order).then(|| format!("{name}, {line}: {:?} {complaints}", run.status))
    };
    COMMANDS.lines().filter_map(failure).collect()
}

fn texts() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/crashers");
    let entries = fs::read_dir(directory).expect("testdata/crashers is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

#[test]
fn every_command_is_run() {
    let help = Command::new(env!("CARGO_BIN_EXE_spoor")).arg("--help").output().expect("it starts");
    let help = String::from_utf8(help.stdout).expect("text");
    let names = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = names.filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 10, "{help}");
    for name in names.into_iter().filter(|name| *name != "help") {
        let lines: Vec<&str> = COMMANDS.lines().filter(|line| line.split(' ').next() == Some(name)).collect();
        assert!(lines.iter().any(|line| !line.contains("--json")), "{name} as text");
        assert!(name == "flame" || lines.iter().any(|line| line.contains("--json")), "{name} as JSON");
    }
}

#[test]
fn every_command_ends_in_order_on_what_once_broke_a_reader() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut failed = Vec::new();
    for path in texts() {
        let lines = fs::read_to_string(&path).expect("text");
        let image = text::parse(&lines).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = directory.path().join("crasher.spoor");
        fs::write(&file, image.to_bytes()).expect("the temporary directory can be written");
        failed.extend(failures(&path.display().to_string(), &file));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_command_ends_in_order_on_streams_that_once_broke_a_reader() {
    let mut failed = Vec::new();
    for (name, files) in made::streams() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (file, bytes) in files {
            fs::write(directory.path().join(file), bytes).expect("the temporary directory can be written");
        }
        failed.extend(failures(name, directory.path()));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_large_segment_with_a_bad_frame_takes_no_memory() {
    for (name, frame) in made::frames_of_large_segments() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (file, bytes) in made::stream_with(&frame) {
            fs::write(directory.path().join(&file), bytes).expect("the temporary directory can be written");
            if file.ends_with(".lz4") {
                let file = fs::OpenOptions::new().write(true).open(directory.path().join(file)).expect("it is there");
                // As large as all that a command may map; nearly all of it is a hole.
                file.set_len(MOST_KIB << 10).expect("the file system knows holes");
            }
        }
        for line in ["info --json FILE", "calls --threads N FILE"] {
            let run = run(line, directory.path());
            assert_eq!(run.status.code(), Some(1), "{name}, {line}: {}", String::from_utf8_lossy(&run.stderr));
        }
    }
}

#[test]
fn times_and_sizes_that_cannot_be_added_up_are_no_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("long.spoor");
    fs::write(&file, made::long_times()).expect("the temporary directory can be written");
    let failed = failures("long times", &file);
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Of two calls one is within what is gone: nobody knows how long they took.
#[test]
fn calls_across_a_hole_behind_a_cut_chunk_are_not_timed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("cut.spoor");
    fs::write(&file, made::hole_behind_a_cut_chunk()).expect("the temporary directory can be written");
    assert_eq!(failures("a hole behind a cut chunk", &file), [""; 0]);
    let answer = |line| {
        let answer: serde_json::Value = serde_json::from_slice(&run(line, &file).stdout).expect("JSON");
        answer
    };
    let calls = answer("calls --threads N --json FILE");
    assert_eq!((&calls["functions"][0]["calls"], &calls["functions"][0]["timed"]), (&2.into(), &0.into()), "{calls}");
    let slow = answer("slow * --json FILE");
    assert_eq!(slow["calls"].as_array().map(Vec::len), Some(0), "{slow}");
}
