//! What `sched` takes for a slice.

mod common;

use common::{at, clock, file, lane, pid};
use spoor_analyzer::model::cut::Cut;
use spoor_analyzer::model::processes::Processes;
use spoor_analyzer::model::sched::{Report, Sched};
use spoor_analyzer::read::{Names, Recording, Source, Tracees, Window};
use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::Identity;
use spoor_format::header::RingKind;
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;

/// Of events on one thread.
fn report(events: impl FnOnce(&mut ChunkBuilder) -> u64) -> Report {
    report_of(Cut::all, events)
}

fn report_of(window: impl FnOnce(&Recording) -> Cut, events: impl FnOnce(&mut ChunkBuilder) -> u64) -> Report {
    report_for(|_| true, window, events)
}

fn report_for(
    asked_for: impl Fn(Identity) -> bool,
    window: impl FnOnce(&Recording) -> Cut,
    events: impl FnOnce(&mut ChunkBuilder) -> u64,
) -> Report {
    let mut file = file(Phase::Stopped, "stopped");
    file.clocks = vec![clock(1, 0), clock(2, 100_000)];
    let mut chunk = ChunkBuilder::new(0, 1, at(0), 0);
    let stored = events(&mut chunk);
    file.push(RingKind::Events, chunk);
    file.lanes = vec![lane(LaneKind::Scheduler, 1, stored, &[])];
    let recording = Recording::open(Source::from_bytes(file.build()), "slices.spoor").expect("a recording");
    let mut sched = Sched::new(&recording, window(&recording), 5);
    let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
    while let Some(event) = stream.next() {
        sched.event(&event, asked_for(event.identity()));
    }
    let outcome = stream.finish();
    sched.report(&recording, &Processes::default(), &outcome.tracees, &outcome.names)
}

#[test]
fn a_port_that_a_process_calls_is_in_its_slice() {
    let report = report(|chunk| {
        let function = chunk.function("m", "f", 1);
        let (process, port) = (pid(1), Identity::Port(7));
        chunk.event(at(10), process, |to, d| write::in_(to, d, function));
        chunk.event(at(20), port, |to, d| write::port_in(to, d, 1));
        chunk.event(at(25), port, |to, d| write::port_out(to, d, 1));
        chunk.event(at(40), process, |to, d| write::out(to, d, function));
        // On its own.
        chunk.event(at(50), port, |to, d| write::port_in(to, d, 1));
        chunk.event(at(57), port, |to, d| write::port_out(to, d, 1));
        6
    });
    let row = &report.lanes[0];
    assert!(report.from_in_out_events);
    assert_eq!((row.slices, row.slices_clipped, row.busy_ns, row.slice_max_ns), (2, 0, 37_000, 30_000));
}

#[test]
fn whoever_collects_garbage_is_on_the_thread() {
    let report = report(|chunk| {
        chunk.event(at(100), pid(1), |to, d| write::gc_major_start(to, d, &[0, 233, 233]));
        chunk.event(at(5_100), pid(1), |to, d| write::gc_major_end(to, d, &[0, 233, 233]));
        // Nobody knows what it did in between.
        chunk.event(at(9_000), pid(1), |to, d| write::gc_minor_start(to, d, &[0, 233, 233]));
        chunk.event(at(9_500), pid(1), |to, d| write::gc_minor_end(to, d, &[0, 233, 233]));
        4
    });
    assert!(!report.from_in_out_events);
    assert_eq!(report.lanes[0].busy_ns, 5_500_000);
}

#[test]
fn what_lies_in_the_window_of_slices_across_its_edges_is_busy() {
    let events = |chunk: &mut ChunkBuilder| {
        let function = chunk.function("m", "f", 1);
        chunk.event(at(10), pid(1), |to, d| write::out(to, d, function));
        chunk.event(at(20), pid(2), |to, d| write::in_(to, d, function));
        chunk.event(at(60), pid(2), |to, d| write::out(to, d, function));
        chunk.event(at(70), pid(1), |to, d| write::in_(to, d, function));
        chunk.event(at(95), pid(1), |to, d| write::gc_minor_start(to, d, &[0, 233, 233]));
        5
    };
    let told = |from: u64, to: u64, since: Option<u64>| {
        let window = |recording: &Recording| {
            let ns = |us: u64| recording.start_ns + us * 1_000;
            let from_ns = since.map_or(0, ns);
            Cut::new(recording, Window { from_ns: ns(from), to_ns: ns(to) }, Window { from_ns, to_ns: u64::MAX })
        };
        let row = report_of(window, events).lanes.remove(0);
        (row.busy_ns / 1_000, row.slices, row.slices_clipped, row.events)
    };
    assert_eq!(told(30, 50, None), (20, 1, 0, 0));
    assert_eq!(told(15, 30, None), (10, 1, 0, 1));
    assert_eq!(told(5, 30, Some(1)), (15, 1, 1, 2));
    // Nobody was traced before the first event of the recording.
    assert_eq!(told(5, 30, None), (10, 1, 1, 2));
    assert_eq!(told(75, 90, None), (15, 0, 1, 0));
    assert_eq!(told(62, 68, None), (0, 0, 0, 0));
    // What ends or begins where two windows meet is in one of them.
    assert_eq!((told(15, 60, None), told(60, 90, None)), ((40, 1, 0, 1), (20, 0, 1, 2)));
    assert_eq!((told(15, 20, None), told(20, 90, None)), ((0, 0, 0, 0), (60, 1, 1, 3)));
}

#[test]
fn groups_have_all_of_their_time_however_many_run_in_a_moment() {
    let report = report(|chunk| {
        let function = chunk.function("m", "f", 1);
        for n in 0..40 {
            chunk.event(at(100 + 2 * n), pid(1 + n), |to, d| write::in_(to, d, function));
            chunk.event(at(101 + 2 * n), pid(1 + n), |to, d| write::out(to, d, function));
        }
        // Long after, so that a column of the picture has many of them.
        chunk.event(at(90_000), pid(41), |to, d| write::in_(to, d, function));
        chunk.event(at(90_001), pid(41), |to, d| write::out(to, d, function));
        82
    });
    let groups: Vec<(&str, u64)> = report.groups.iter().map(|row| (row.group.as_str(), row.busy_ns)).collect();
    assert_eq!(groups, [("unnamed", 41_000)]);
}

#[test]
fn whoever_is_not_asked_for_is_on_the_thread_all_the_same() {
    let estimated = |chunk: &mut ChunkBuilder| {
        let function = chunk.function("m", "f", 1);
        for (who, us) in [(1, 10), (1, 12), (2, 20), (2, 24), (1, 30), (1, 33)] {
            chunk.event(at(us), pid(who), |to, d| write::call(to, d, function));
        }
        6
    };
    let told = |chunk: &mut ChunkBuilder| {
        let function = chunk.function("m", "f", 1);
        chunk.event(at(10), pid(1), |to, d| write::in_(to, d, function));
        chunk.event(at(15), pid(1), |to, d| write::call(to, d, function));
        // It is no longer traced.
        chunk.event(at(20), pid(2), |to, d| write::in_(to, d, function));
        chunk.event(at(30), pid(2), |to, d| write::out(to, d, function));
        4
    };
    let busy = |events: &dyn Fn(&mut ChunkBuilder) -> u64| {
        let of =
            |asked_for: &dyn Fn(Identity) -> bool| report_for(asked_for, Cut::all, events).lanes[0].busy_ns / 1_000;
        (of(&|_| true), of(&|who| who == pid(1)), of(&|who| who == pid(2)))
    };
    assert_eq!(busy(&estimated), (9, 5, 4));
    assert_eq!(busy(&told), (15, 5, 10));
}
