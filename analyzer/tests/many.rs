//! A recording of a hundred thousand processes: every command reads as a page, counts all of
//! them, and keeps little of those that are gone.

mod common;

use std::fs;
use std::process::Command;

use common::{at, clock, file, lane, pid};
use spoor_analyzer::model::calls::{Calls, Report, Sort};
use spoor_analyzer::model::filter::Filter;
use spoor_analyzer::read::{Deal, Names, Recording, Source, Tracees, Window};
use spoor_format::build::ChunkBuilder;
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;
use spoor_format::term::RawTerm;

const PROCESSES: u64 = 100_000;
const IN_A_CHUNK: u64 = 1_000;
const CALLS: u64 = 4;
/// Lines of a page, at most.
const PAGE: usize = 50;

/// Each asks the server something, works, collects garbage and exits.
fn storm() -> Vec<u8> {
    let mut file = file(Phase::Stopped, "stopped");
    let chunks = PROCESSES / IN_A_CHUNK;
    file.header = Header::with_rings(4, 4, (4096, 2), (1 << 17, chunks));
    file.clocks = vec![clock(1, 0), clock(2, 100 * PROCESSES)];
    file.status.stop_tick = at(20 * PROCESSES);
    let (mut stored, mut now) = ([0; 2], 1);
    for number in 0..chunks {
        let on = number % 2;
        let mut chunk = ChunkBuilder::new(on as u32, number + 1, at(now), stored[on as usize]);
        let functions = ["start", "work", "step"].map(|name| chunk.function("worker", name, 1));
        let [start, work, step] = functions;
        let server = pid(7);
        // {'$gen_call', …} needs no more than a destination here.
        let (to_server, parent) = ([4, 7 << 3], [4, 1]);
        for n in 0..IN_A_CHUNK {
            let who = pid(100 + number * IN_A_CHUNK + n);
            let mut tick = || {
                now += 1;
                at(now)
            };
            chunk.event(tick(), who, |to, d| write::spawned(to, d, RawTerm::trusted(&parent), start));
            chunk.event(tick(), who, |to, d| write::in_(to, d, start));
            chunk.event(tick(), who, |to, d| write::call(to, d, work));
            for _ in 1..CALLS {
                chunk.event(tick(), who, |to, d| write::call(to, d, step));
                chunk.event(tick(), who, |to, d| write::return_to(to, d, work));
            }
            chunk.event(tick(), who, |to, d| write::gc_minor_start(to, d, &[0, 233, 233]));
            chunk.event(tick(), who, |to, d| write::gc_minor_end(to, d, &[120, 113, 233]));
            chunk.event(tick(), who, |to, d| write::send(to, d, RawTerm::trusted(&to_server)));
            chunk.event(tick(), server, write::receive);
            chunk.event(tick(), who, |to, d| write::return_to(to, d, start));
            chunk.event(tick(), who, |to, d| write::exit(to, d, RawTerm::trusted(&[11, 24, 3, b'b', b'y', b'e'])));
            chunk.event(tick(), who, |to, d| write::out_exited(to, d, 0));
            stored[on as usize] += 8 + 2 * CALLS;
        }
        file.push(RingKind::Events, chunk);
    }
    file.lanes = (1..).zip(stored).map(|(index, stored)| lane(LaneKind::Scheduler, index, stored, &[])).collect();
    file.build()
}

fn calls_of(report: impl FnOnce(&Recording, &mut Calls) -> Names, threads: usize, bytes: &[u8]) -> Report {
    let recording = Recording::open(Source::from_bytes(bytes.to_vec()), "storm.spoor").expect("a recording");
    let mut calls = Calls::new(threads);
    let names = report(&recording, &mut calls);
    calls.report(&names, &Filter::default(), Sort::Own, usize::MAX)
}

#[test]
fn numbers_of_processes_that_exited_are_used_again() {
    let bytes = storm();
    let alone = calls_of(
        |recording, calls| {
            let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
            calls.recording(|calls| {
                while let Some(event) = stream.next() {
                    calls.event(&event, true);
                }
            });
            stream.finish().names
        },
        1,
        &bytes,
    );
    assert_eq!((alone.calls, alone.untimed.sum()), (CALLS * PROCESSES, 0));
    for threads in [1, 2, 5] {
        let dealt = calls_of(
            |recording, calls| {
                let deal = Deal::new(recording, Names::default(), Window::ALL, |_| true);
                let outcome = calls.replay().deal(deal, |_| Some(true), |_| ());
                let met = outcome.tracees.len() as u64;
                assert!(met < PROCESSES * 3 / 4, "{met} numbers");
                outcome.names
            },
            threads,
            &bytes,
        );
        assert_eq!(alone, dealt, "{threads} threads");
    }
}

#[test]
fn every_command_reads_as_a_page() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("storm.spoor"), storm()).expect("written");
    let spoor = |args: &[&str]| {
        let mut run = Command::new(env!("CARGO_BIN_EXE_spoor"));
        let output = run.args(args).arg("storm.spoor").current_dir(dir.path()).output().expect("the binary runs");
        assert!(output.status.success(), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let commands: [&[&str]; 17] = [
        &["info"],
        &["check"],
        &["calls"],
        &["calls", "--by", "group"],
        &["hist", "worker:step"],
        &["callers", "worker:step"],
        &["callees", "worker:work"],
        &["procs"],
        &["procs", "--each"],
        &["procs", "--group-by", "name"],
        &["procs", "--group-by", "label"],
        &["procs", "--group-by", "initial_call"],
        &["procs", "--group-by", "supervisor"],
        &["gc"],
        &["msgs"],
        &["requests"],
        &["sched"],
    ];
    for command in commands {
        let page = spoor(command);
        assert!((3..=PAGE).contains(&page.lines().count()), "{command:?}: {} lines", page.lines().count());
    }
    // A group has all of them, whenever they exited.
    let row = |page: &str, group: &str| {
        let row = page.lines().find(|line| line.starts_with(group)).unwrap_or_else(|| panic!("{group}: {page}"));
        row.split_whitespace().map(str::to_owned).collect::<Vec<String>>()
    };
    assert_eq!(row(&spoor(&["procs"]), "worker:start/1")[1], "100,000");
    let wide = spoor(&["procs", "--wide"]);
    assert_eq!(row(&wide, "worker:start/1")[1..4], ["100,000", "100,000", "100,000"].map(str::to_owned), "{wide}");
    assert_eq!(row(&spoor(&["msgs"]), "worker:start/1")[2], "100,000");
    assert_eq!(row(&spoor(&["gc"]), "worker:start/1")[2], "100,000");
    let each = spoor(&["procs", "--each"]);
    assert!(each.contains("(99,971 more rows"), "{each}");
    let alone = spoor(&["callers", "worker:step", "--threads", "1"]);
    assert_eq!(alone, spoor(&["callers", "worker:step", "--threads", "3"]));
    assert_eq!(row(&alone, "worker:work/1")[2], "300,000");
}
