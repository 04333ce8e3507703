//! A file that somebody cuts while it is recorded into: the recording ends, the
//! process does not. A SIGBUS of others is what it was.

mod common;
#[path = "common/host.rs"]
mod host;

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use common::options;
use host::{Told, close};
use memmap2::MmapOptions;
use spoor_core::registry::{self, State};
use spoor_core::segments::Stream;
use spoor_core::{Limit, clock};
use spoor_core::{Options, Storage};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;

const RING_BYTES: u64 = 1 << 20;
const REASON: &str = "the file was cut short while it was recorded into";

fn open(path: PathBuf) -> (State, Receiver<Told>) {
    open_storage(path, Storage::Ring(RING_BYTES))
}

fn open_storage(path: PathBuf, storage: Storage) -> (State, Receiver<Told>) {
    host::open(Options { thread_kind: || LaneKind::Other, ..options(&path, storage) })
}

/// Takes enough events to come round the ring.
fn record_round(state: State) {
    for _ in 0..RING_BYTES {
        registry::enter(state, |lane| lane.event(clock::now(), write::receive));
    }
}

fn next(told: &Receiver<Told>) -> Told {
    told.recv_timeout(Duration::from_secs(10)).expect("the keeper says something")
}

fn cut(path: &Path, bytes: u64) {
    let file = OpenOptions::new().write(true).open(path).expect("the file is there");
    file.set_len(bytes).expect("it can be cut");
}

#[test]
fn a_file_that_is_cut_ends_its_recording_and_nothing_else() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    for (name, bytes) in [("all", 0), ("half", RING_BYTES / 2), ("odd", 70_001)] {
        let path = scratch.path().join(name);
        let (state, told) = open(path.clone());
        let (other, other_told) = open(scratch.path().join(format!("{name}.other")));
        record_round(state);
        cut(&path, bytes);
        record_round(state);
        assert!(matches!(next(&told), Told::Limit(Limit::FileCut)), "{name}: the owner is told");
        record_round(state);
        record_round(other);
        registry::with(state, |recording| recording.close("the owner's reason")).expect("still there");
        let Told::Closed(summary) = next(&told) else { panic!("{name}: it was told once") };
        assert_eq!(summary.stop_reason, REASON, "{name}");
        assert_eq!(path.metadata().expect("still there").len(), bytes, "{name}: nothing grows again");
        registry::with(other, |recording| recording.close("done")).expect("still there");
        let Told::Closed(summary) = next(&other_told) else { panic!("{name}: the other is not concerned") };
        assert_eq!((summary.stop_reason.as_str(), summary.events), ("done", RING_BYTES), "{name}");
    }
}

#[test]
fn a_file_that_is_cut_a_moment_before_the_end_says_so() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let path = scratch.path().join("x.spoor");
    let (state, told) = open(path.clone());
    cut(&path, 0);
    assert_eq!(close(state, "the owner's reason", &told).stop_reason, REASON);
}

#[test]
fn a_segment_that_is_cut_ends_the_stream() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let directory = scratch.path().join("stream");
    let stream = Stream { segment_bytes: RING_BYTES / 2, total_bytes: 4 * RING_BYTES, keep_first: false, packs: false };
    let (state, told) = open_storage(directory.clone(), Storage::Stream(stream));
    // Segments come and go meanwhile: what was cut may be one that is complete.
    let limit = (0..1000).find_map(|_| {
        for entry in directory.read_dir().expect("a directory") {
            let path = entry.expect("an entry").path();
            let file = OpenOptions::new().write(true).open(&path);
            if let (Ok(file), false) = (file, path.ends_with("head.spoor")) {
                file.set_len(0).expect("it can be cut");
            }
        }
        record_round(state);
        told.recv_timeout(Duration::from_millis(10)).ok()
    });
    assert!(matches!(limit, Some(Told::Limit(Limit::FileCut))));
    assert_eq!(close(state, "the owner's reason", &told).stop_reason, REASON);
}

/// Not a test of its own: touches a mapping of nobody's behind the end of its
/// file, in a process that records.
#[test]
fn dies_when_told_to() {
    let Ok(how) = std::env::var("SPOOR_TEST_SIGBUS") else { return };
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // What Rust itself has put there passes faults on: `chained` finds that.
    match how.as_str() {
        "handled" => {
            let handler: extern "C" fn(libc::c_int) = leave;
            handle(handler as usize);
        }
        "fault" | "raised" => handle(libc::SIG_DFL),
        _ => {}
    }
    let (_state, _told) = open(scratch.path().join("x.spoor"));
    let file: File = tempfile::tempfile().expect("a temporary file");
    file.set_len(4096).expect("a page");
    let map = MmapOptions::new().map_raw(&file).expect("mapped");
    file.set_len(0).expect("cut");
    // The directory is not removed by a process that dies.
    drop(scratch);
    match how.as_str() {
        // SAFETY: takes a number.
        "raised" => drop(unsafe { libc::raise(libc::SIGBUS) }),
        // SAFETY: mapped; the file behind it is gone, which is what is tried here.
        _ => unsafe { map.as_mut_ptr().write_volatile(1) },
    }
    unreachable!("a SIGBUS of others was taken");
}

fn handle(handler: usize) {
    // SAFETY: sigaction is plain data, for which all zeroes are a value.
    let mut theirs: libc::sigaction = unsafe { std::mem::zeroed() };
    theirs.sa_sigaction = handler;
    // SAFETY: a struct of our own, and a handler that only ends the process.
    unsafe { libc::sigaction(libc::SIGBUS, &theirs, std::ptr::null_mut()) };
}

extern "C" fn leave(_signal: libc::c_int) {
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(42) }
}

#[test]
fn a_fault_of_others_goes_where_it_went() {
    let killed = (Some(libc::SIGBUS), None);
    for (how, (signal, code)) in
        [("fault", killed), ("raised", killed), ("chained", killed), ("handled", (None, Some(42)))]
    {
        let this = std::env::current_exe().expect("this test");
        let status = Command::new(this)
            .args(["--exact", "dies_when_told_to", "--nocapture"])
            .env("SPOOR_TEST_SIGBUS", how)
            .output()
            .expect("runs")
            .status;
        assert_eq!((status.signal(), status.code()), (signal, code), "{how}");
    }
}
