//! Recordings that limits have thinned never pretend to be whole.

mod common;

use common::{at, clock, everything, file, is_damaged, lane, pid, pid_word};
use spoor_analyzer::model::calls::{Calls, Report, Sort};
use spoor_analyzer::model::filter::Filter;
use spoor_analyzer::read::{Names, Recording, Source, Tracees, Window};
use spoor_format::build::{ChunkBuilder, FileBuilder};
use spoor_format::chunk::Identity;
use spoor_format::header::RingKind;
use spoor_format::lane::{Cause, LaneKind};
use spoor_format::record::write;
use spoor_format::status::Phase;

const US: u64 = 1_000 * common::RATE;

fn calls(bytes: Vec<u8>) -> Report {
    let recording = Recording::open(Source::from_bytes(bytes), "thin.spoor").expect("a recording");
    let mut calls = Calls::new(2);
    let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
    calls.recording(|calls| {
        while let Some(event) = stream.next() {
            calls.event(&event, true);
        }
    });
    let outcome = stream.finish();
    calls.report(&outcome.names, &Filter::default(), Sort::Name, usize::MAX)
}

/// A function's calls, timed calls and longest.
fn row(report: &Report, name: &str) -> (u64, u64, u64) {
    let row = report.functions.iter().find(|row| row.mfa.1 == name).expect("it was called");
    (row.calls, row.timed, row.percentiles.map_or(0, |points| points.max_ns))
}

fn file_of(chunks: Vec<ChunkBuilder>, dropped: [(Cause, u64); 2], dropping: [u64; 2]) -> FileBuilder {
    let mut file = file(Phase::Stopped, "stopped");
    chunks.into_iter().for_each(|chunk| file.push(RingKind::Events, chunk));
    let mut counts = [0; 16];
    dropped.iter().for_each(|(cause, n)| counts[*cause as usize] = *n);
    let mut first = lane(LaneKind::Scheduler, 1, 0, &counts);
    first.dropping = dropping;
    file.lanes = vec![first, lane(LaneKind::Scheduler, 2, 0, &[])];
    file.clocks = vec![clock(1, 0), clock(2, 10_000)];
    file
}

/// A call of the function from one moment to the other, in µs.
fn timed(chunk: &mut ChunkBuilder, whose: u64, name: &str, from: u64, to: u64) {
    let (function, back) = (chunk.function("m", name, 0), chunk.function("m", "outside", 0));
    chunk.event(at(from), pid(whose), |to, d| write::call(to, d, function));
    chunk.event(at(to), pid(whose), |to, d| write::return_to(to, d, back));
}

#[test]
fn no_call_is_timed_across_a_stretch_in_which_a_lane_dropped_events() {
    let mut one = ChunkBuilder::new(0, 1, at(1), 0);
    timed(&mut one, 1, "before", 10, 20);
    // Dropped from 100 to 200 µs; the next event says so at 500.
    let function = one.function("m", "across", 0);
    one.event(at(90), pid(1), |to, d| write::call(to, d, function));
    one.event(at(500), pid(1), |to, d| {
        write::dropped(to, 0, 400 * US, 100 * US, 7)?;
        write::return_to(to, d, 0)
    });
    timed(&mut one, 1, "after", 510, 530);
    let mut two = ChunkBuilder::new(1, 2, at(1), 0);
    timed(&mut two, 2, "elsewhere", 50, 150);
    timed(&mut two, 2, "between", 250, 290);
    let file = file_of(vec![one, two], [(Cause::Rate, 7), (Cause::Sample, 0)], [0, 0]);
    let report = calls(file.build());
    assert_eq!(row(&report, "before"), (1, 1, 10_000));
    assert_eq!(row(&report, "across"), (1, 0, 0));
    assert_eq!(row(&report, "after"), (1, 1, 20_000));
    assert_eq!(row(&report, "elsewhere"), (1, 0, 0), "its process may have run on the other lane");
    assert_eq!(row(&report, "between"), (1, 1, 40_000), "nothing was dropped any more");
}

#[test]
fn a_stretch_is_known_before_the_chunk_that_tells_of_it() {
    let mut first = ChunkBuilder::new(0, 1, at(1), 0);
    timed(&mut first, 1, "before", 10, 20);
    let mut later = ChunkBuilder::new(0, 3, at(900), 2);
    later.event(at(900), pid(1), |to, d| {
        write::dropped(to, 0, 850 * US, 300 * US, 7)?;
        write::receive(to, d)
    });
    let mut two = ChunkBuilder::new(1, 2, at(1), 0);
    timed(&mut two, 2, "elsewhere", 40, 60);
    timed(&mut two, 2, "after", 400, 450);
    let file = file_of(vec![first, two, later], [(Cause::MaxCost, 7), (Cause::Sample, 0)], [0, 0]);
    let report = calls(file.build());
    assert_eq!(row(&report, "elsewhere"), (1, 0, 0));
    assert_eq!(row(&report, "after"), (1, 1, 50_000));
}

#[test]
fn what_a_lane_dropped_last_is_known_from_its_entry() {
    let mut one = ChunkBuilder::new(0, 1, at(1), 0);
    timed(&mut one, 1, "before", 10, 20);
    let mut two = ChunkBuilder::new(1, 2, at(1), 0);
    timed(&mut two, 2, "elsewhere", 40, 60);
    timed(&mut two, 2, "after", 400, 450);
    let file = file_of(vec![one, two], [(Cause::Rate, 3), (Cause::Sample, 0)], [at(50), at(300)]);
    let report = calls(file.build());
    assert_eq!(row(&report, "before"), (1, 1, 10_000));
    assert_eq!(row(&report, "elsewhere"), (1, 0, 0));
    assert_eq!(row(&report, "after"), (1, 1, 50_000));
}

#[test]
fn a_process_that_misses_calls_is_alone_in_it() {
    let mut one = ChunkBuilder::new(0, 1, at(1), 0);
    let (f, g) = (one.function("m", "f", 0), one.function("m", "g", 0));
    one.event(at(10), pid(1), |to, d| write::call(to, d, f));
    one.event(at(20), pid(1), |to, d| {
        write::missing(to, 0, 0)?;
        write::call(to, d, g)
    });
    one.event(at(30), pid(1), |to, d| write::return_to(to, d, f));
    one.event(at(40), pid(1), |to, d| write::return_to(to, d, 0));
    let mut two = ChunkBuilder::new(1, 2, at(1), 0);
    timed(&mut two, 2, "elsewhere", 15, 60);
    let mut file = file_of(vec![one, two], [(Cause::FunctionRate, 9), (Cause::Sample, 4)], [0, 0]);
    let report = calls(file.build());
    assert_eq!((row(&report, "f"), row(&report, "g")), ((1, 0, 0), (1, 1, 10_000)));
    assert_eq!(row(&report, "elsewhere"), (1, 1, 45_000));

    let mut any = ChunkBuilder::new(0, 3, at(70), 4);
    any.event(at(70), pid(3), |to, d| {
        write::missing(to, 0, 1)?;
        write::receive(to, d)
    });
    let mut across = ChunkBuilder::new(1, 4, at(65), 2);
    timed(&mut across, 2, "across", 65, 80);
    file.push(RingKind::Events, any);
    file.push(RingKind::Events, across);
    assert_eq!(row(&calls(file.build()), "across"), (1, 0, 0), "it may be true of everybody");
}

#[test]
fn every_limit_that_left_something_out_is_a_finding_and_no_damage() {
    let mut one = ChunkBuilder::new(0, 1, at(1), 0);
    one.event(at(10), Identity::Process(pid_word(1)), write::receive);
    let mut file = file_of(vec![one], [(Cause::Rate, 3), (Cause::FunctionRate, 5)], [0, 0]);
    file.meta.entries.push(("sample".into(), "10".into()));
    let (_, findings, ledger) = everything(file.build()).expect("a recording");
    assert!(!is_damaged(&findings));
    let said: Vec<&str> = findings.iter().filter(|f| f.is_of_omissions()).map(|f| f.what.as_str()).collect();
    let sample = "a sample: one process in 10 is recorded";
    assert_eq!(said, ["3 events left out by rate", "5 events left out by function_rate", sample]);
    assert_eq!((ledger.dropped, ledger.present), (8, 1));
    // Two threads counted which processes they met are in it.
    (file.lanes[0].sampled, file.lanes[1].sampled) = ([1_000, 8_999], [1, 0]);
    let (_, findings, ledger) = everything(file.build()).expect("a recording");
    let said: Vec<&str> = findings.iter().filter(|f| f.is_of_omissions()).map(|f| f.what.as_str()).collect();
    assert_eq!(said[2], "a sample: one process in 10 is recorded, 1,001 of 10,000 processes");
    assert_eq!((ledger.dropped, ledger.present), (8, 1), "processes are no events");
}
