//! Recordings on which a reader once failed: every command ends in order on them.
//! See testdata/crashers/README.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spoor_format::text;

const COMMANDS: [&[&str]; 9] = [
    &["info"],
    &["info", "--json"],
    &["dump"],
    &["dump", "--json"],
    &["dump", "--raw"],
    &["calls"],
    &["flame"],
    &["flame", "--folded", "--time", "wall", "--per-process"],
    &["sched", "-o", "/dev/null"],
];

fn recordings() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/crashers");
    let entries = fs::read_dir(directory).expect("testdata/crashers is there");
    let paths = entries.map(|entry| entry.expect("readable").path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "txt")).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

#[test]
fn every_command_ends_in_order_on_what_once_broke_a_reader() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for path in recordings() {
        let lines = fs::read_to_string(&path).expect("text");
        let image = text::parse(&lines).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = directory.path().join("crasher.spoor");
        fs::write(&file, image.to_bytes()).expect("the temporary directory can be written");
        for command in COMMANDS {
            let run = Command::new(env!("CARGO_BIN_EXE_spoor")).args(command).arg(&file).output().expect("it starts");
            let complaints = String::from_utf8_lossy(&run.stderr);
            assert!(
                matches!(run.status.code(), Some(0..=2)) && !complaints.contains("panicked"),
                "{} {command:?}: {:?} {complaints}",
                path.display(),
                run.status
            );
        }
    }
}
