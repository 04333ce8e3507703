//! `spoor` and `test/second_reader.py`, which share no code, say the same of the
//! recordings in testdata.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use spoor_format::text;

/// Makes the recording of a text form; answers its path.
fn build(source: &Path, directory: &Path) -> PathBuf {
    let lines = fs::read_to_string(source).expect("text");
    let image = text::parse(&lines).unwrap_or_else(|error| panic!("{}: {error}", source.display()));
    let file = directory.join(source.file_name().expect("a name")).with_extension("spoor");
    fs::write(&file, image.to_bytes()).expect("the temporary directory can be written");
    file
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn a_reader_written_from_the_document_agrees() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut agrees = Command::new("python3");
    agrees.arg(root().join("test/second_reader_agrees")).args(["--spoor", env!("CARGO_BIN_EXE_spoor")]);
    let mut count = 0;
    for entry in fs::read_dir(root().join("testdata/recordings")).expect("testdata is there") {
        agrees.arg(build(&entry.expect("readable").path(), directory.path()));
        count += 1;
    }
    let said = agrees.output().expect("python3 is installed");
    let (out, complaints) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert_eq!(out, format!("== second reader: {count} passed, 0 failed\n"), "{complaints}");
}

#[test]
fn what_lies_before_the_window_of_a_copy_is_not_overwritten() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = build(&root().join("testdata/recordings/window.txt"), directory.path());
    let run = |args: &[&str]| {
        let said = Command::new(env!("CARGO_BIN_EXE_spoor")).args(args).arg(&file).output().expect("it starts");
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        String::from_utf8(said.stdout).expect("UTF-8")
    };
    let info: serde_json::Value = serde_json::from_str(&run(&["info", "--json"])).expect("JSON");
    let count = |key: &str| info["ledger"][key].as_u64();
    let parts = ["stored", "present", "overwritten", "damaged", "outside_window"].map(|key| count(key).unwrap_or(99));
    assert_eq!(parts, [9, 2, 3, 0, 4]);
    assert!(
        run(&["info"]).contains("9 events stored, 2 in the file, 3 overwritten, 4 outside the window, none dropped")
    );
    assert!(run(&["check"]).contains("4 outside the window"));
}

#[test]
fn a_hole_in_a_whole_ring_that_turned_was_overwritten() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = build(&root().join("testdata/recordings/outlived.txt"), directory.path());
    let said = Command::new(env!("CARGO_BIN_EXE_spoor")).args(["info", "--json"]).arg(&file).output();
    let said = said.expect("it starts");
    let info: serde_json::Value = serde_json::from_slice(&said.stdout).expect("JSON");
    let count = |key: &str| info["ledger"][key].as_u64();
    assert_eq!((count("stored"), count("overwritten"), count("damaged")), (Some(5), Some(2), Some(0)));
    // The hole is before the chunk of 2000 ns: what lies before is not all there.
    assert_eq!((info["covered_ns"].as_u64(), info["duration_ns"].as_u64()), (Some(3000), Some(4000)));
    assert_eq!(said.status.code(), Some(0));
}
