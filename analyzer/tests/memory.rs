//! What a command keeps depends on who is alive, not on who ever was: three times as many
//! processes that come and go take no more memory.
//!
//! Counted are the bytes that a command has allocated at most: by this test's own binary, run
//! again for each command, as there the allocator can count.

#![allow(unsafe_code)]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;
use common::{at, clock, file, lane};
use spoor_analyzer::cli::Cli;
use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::Identity;
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;
use spoor_format::term::{RawTerm, TermWriter};

/// Says to this binary that it is a command.
const ARGUMENTS: &str = "SPOOR_MEMORY_ARGUMENTS";
const IN_A_CHUNK: u64 = 1_000;
/// More than the analyzer remembers of those that are gone.
const FEW: u64 = 90_000;
/// Places in the table of processes.
const TABLE: u64 = 1 << 15;

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all is done by the system's allocator; counting beside it touches no memory of its own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let now = NOW.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(now, Ordering::Relaxed);
        // SAFETY: the caller keeps what `alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller keeps what `dealloc` asks for.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Does nothing, unless it is run by the test below.
#[test]
fn command() {
    if let Ok(arguments) = env::var(ARGUMENTS) {
        let cli = Cli::parse_from(arguments.split('|'));
        let before = NOW.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        let _ = spoor_analyzer::commands::run(&cli);
        eprintln!("most {}", MOST.load(Ordering::Relaxed) - before);
    }
}

/// What is annotated to a message of this shape that carries a reference of its own.
fn message(shape: u64, number: u64) -> Vec<u8> {
    let (mut space, mut record) = ([0; 64], Vec::new());
    let mut term = TermWriter::new(&mut space);
    term.reference(&[number, 7, 8]);
    let used = term.len();
    write::message(&mut record, 0, shape, RawTerm::trusted(&space[..used])).expect("a Vec takes all");
    record
}

/// So many processes, one after the other; without `exits`, nothing says when they begin and end.
fn write_storm(path: &Path, processes: u64, exits: bool) {
    let mut file = file(Phase::Stopped, "stopped");
    file.meta.entries.iter_mut().filter(|(key, _)| key == "process_limit").for_each(|(_, n)| *n = TABLE.to_string());
    let chunks = processes / IN_A_CHUNK;
    file.header = Header::with_rings(4, 4, (1 << 16, chunks), (1 << 18, chunks));
    // Chunks are read in rounds of some megabytes: there must be several of them.
    let bytes = [&[11, 0x90, 0x0d][..], &[b'x'; 150]].concat();
    let mut content = Vec::new();
    write::content(&mut content, 0, RawTerm::trusted(&bytes)).expect("a Vec takes all");
    file.clocks = vec![clock(1, 0), clock(2, 100 * processes)];
    file.status.stop_tick = at(20 * processes);
    let (mut stored, mut now) = ([0; 2], 1);
    for number in 0..chunks {
        let on = number % 2;
        let mut chunk = ChunkBuilder::new(on as u32, number + 1, at(now), stored[on as usize]);
        let mut facts = ChunkBuilder::new(2, number + 1, at(now), number * IN_A_CHUNK);
        let [start, work] = ["start", "work"].map(|name| chunk.function("worker", name, 1));
        let fact = facts.function("worker", "start", 1);
        for n in 0..IN_A_CHUNK {
            let word = 100 + number * IN_A_CHUNK + n;
            let who = Identity::Process(word);
            let mut tick = || {
                now += 1;
                at(now)
            };
            if exits {
                chunk.event(tick(), who, |to, d| write::spawned(to, d, RawTerm::trusted(&[4, 1]), start));
            }
            let fact_at = tick();
            facts.event(fact_at, Identity::Nobody, |to, d| {
                write::process_info(to, d, word, RawTerm::trusted(&[4, 1]), 0, RawTerm::NONE, fact)
            });
            chunk.event(tick(), who, |to, d| write::call(to, d, work));
            chunk.raw(&content);
            // A request, and its reply.
            chunk.raw(&message(0, word));
            chunk.event(tick(), who, |to, d| write::send(to, d, RawTerm::trusted(&[4, 7])));
            chunk.raw(&message(2, word));
            chunk.event(tick(), who, write::receive);
            chunk.event(tick(), who, |to, d| write::gc_minor_start(to, d, &[0, 233, 233]));
            if exits {
                chunk.event(tick(), who, |to, d| write::exit(to, d, RawTerm::trusted(&[11, 24, 3, b'b', b'y', b'e'])));
            }
        }
        stored[on as usize] += IN_A_CHUNK * if exits { 6 } else { 4 };
        file.push(RingKind::Events, chunk);
        file.push(RingKind::Info, facts);
    }
    let lanes = (1..).zip(stored).map(|(index, stored)| lane(LaneKind::Scheduler, index, stored, &[]));
    file.lanes = lanes.chain([lane(LaneKind::Recorder, 0, 0, &[])]).collect();
    fs::write(path, file.build()).expect("written");
}

fn most_bytes(command: &str, path: &Path) -> u64 {
    let arguments = format!("spoor|{command}|{}", path.display());
    let mut run = Command::new(env::current_exe().expect("it runs"));
    let output = run.args(["--exact", "command", "--nocapture"]).env(ARGUMENTS, arguments).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command}: {told}");
    let most = told.lines().find_map(|line| line.strip_prefix("most ")?.parse().ok());
    most.unwrap_or_else(|| panic!("{command}: {told}"))
}

const COMMANDS: [&str; 19] = [
    "info",
    "check",
    "calls|--threads|1",
    "calls|--threads|2",
    "calls|--by|module|--threads|1",
    "calls|--by|group|--threads|1",
    "hist|worker:work|--threads|1",
    "callers|worker:work|--threads|1",
    "flame|--folded|--threads|1",
    "flame|--folded|--per-process|--threads|1",
    "slow|worker:work|--threads|1",
    "procs",
    "procs|--each",
    "gc",
    "msgs",
    "requests",
    "sched",
    "calls|-p|worker*|--threads|1",
    "dump|--kind|exit|--limit|1000000",
];

fn does_not_grow(exits: bool) {
    let dir = tempfile::tempdir().expect("a directory");
    let [few, many] = [1, 3].map(|times| {
        let path = dir.path().join(format!("{times}.spoor"));
        write_storm(&path, times * FEW, exits);
        path
    });
    for command in COMMANDS {
        let (a, b) = (most_bytes(command, &few), most_bytes(command, &many));
        // A chunk has its place in a table, and there are three times as many of them.
        assert!(b < a + a / 4 + (1 << 20), "{command}: {a} bytes of {FEW} processes, {b} of three times as many");
    }
}

#[test]
fn processes_that_exited_are_let_go_of() {
    does_not_grow(true);
}

#[test]
fn processes_without_exits_are_let_go_of() {
    does_not_grow(false);
}
