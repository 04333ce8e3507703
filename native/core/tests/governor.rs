//! Limits hold exactly, whatever threads do, and what they left out is in the
//! file: how much, why, and when.

#[path = "common/host.rs"]
mod host;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use host::Told;
use spoor_core::governed::{Probe, Wanted};
use spoor_core::governor::{About, Flow, Rate, Thinning, function_key};
use spoor_core::registry::{self, State};
use spoor_core::stream::{MAX_ATOM_BYTES, Names};
use spoor_core::{Limit, Summary, clock};
use spoor_core::{Options, Storage};
use spoor_format::chunk::{ChunkHeader, Event, Identity, Missing, Reader};
use spoor_format::header::Header;
use spoor_format::lane::{Cause, ENTRY_BYTES, Lane, LaneKind};
use spoor_format::record::{Body, Schema, write};

struct Spelled;

impl Names for Spelled {
    fn atom_text<'a>(&self, _: u64, _: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
        "a"
    }
}

struct Test {
    _directory: tempfile::TempDir,
    path: PathBuf,
    state: State,
    told: Receiver<Told>,
}

impl Test {
    fn begin(max_events: Option<u64>, thinning: Thinning) -> Test {
        registry::prepare();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("test.spoor");
        let options = Options {
            path: path.clone(),
            storage: Storage::Ring(4 << 20),
            sync: None,
            places: 1 << 10,
            threads: 8,
            time: None,
            max_events,
            thinning,
            content_bytes: 0,
            meta: Vec::new(),
            thread_kind: || LaneKind::Scheduler,
        };
        let (state, told) = host::open(options);
        registry::with(state, |recording| recording.start_time()).expect("open");
        Test { _directory: directory, path, state, told }
    }

    fn end(self) -> (Summary, Vec<u8>) {
        let summary = host::close(self.state, "test", &self.told);
        (summary, std::fs::read(&self.path).expect("the file"))
    }
}

/// A process as the governor knows it.
fn process(pid: u64) -> Option<u64> {
    Some(2 * pid)
}

/// An event of process `pid`, as the VM would offer it.
fn offer(state: State, pid: u64, flow: Flow) {
    let tick = clock::now();
    registry::enter(state, |lane| {
        let about = || About { tracee: process(pid), flow };
        lane.event_about(tick, about, |stream, delta| {
            stream.whose(Identity::Process(pid))?;
            let arity = match flow {
                Flow::Call(key) | Flow::Resume(key) | Flow::Leave(key) => key & 0xff,
                Flow::Exit | Flow::Other => 255,
            };
            let function = stream.function((4, 5, arity), &Spelled)?;
            match flow {
                Flow::Resume(_) => write::return_to(stream, delta, function),
                _ => write::call(stream, delta, function),
            }
        });
    });
}

fn call(arity: u64) -> Flow {
    Flow::Call(function_key((4, 5, arity)))
}

fn resume(arity: u64) -> Flow {
    Flow::Resume(function_key((4, 5, arity)))
}

fn rate(events: u32, per: Duration) -> Option<Rate> {
    Some(Rate { events, per })
}

const AN_HOUR: Duration = Duration::from_secs(3600);

/// Every event in the file, lane by lane.
fn each(file: &[u8], mut work: impl FnMut(&Event<'_>, u64)) {
    let header = Header::decode(file).expect("a header");
    let ring = header.events;
    for index in 0..ring.chunks {
        let bytes = &file[ring.chunk_offset(index) as usize..][..ring.chunk_bytes as usize];
        let Some(chunk) = ChunkHeader::decode(bytes, ring.chunk_bytes - 64).expect("good") else { continue };
        let schema = Schema::default();
        let mut reader = Reader::new(&bytes[64..64 + chunk.bytes as usize], chunk.base_tick, &schema);
        while let Some(event) = reader.next_event().expect("good") {
            let (Body::Call { function } | Body::ReturnTo { function }) = event.body else { panic!("{event:?}") };
            work(&event, reader.function(function).expect("defined").map_or(0, |def| def.arity));
        }
    }
}

fn lanes(file: &[u8]) -> Vec<Lane> {
    let header = Header::decode(file).expect("a header");
    let entry = |n: u64| Lane::decode(&file[(header.lane_offset + n * ENTRY_BYTES as u64) as usize..]);
    (0..header.lane_slots).filter_map(|n| entry(n).map(|lane| lane.expect("good"))).collect()
}

fn dropped(summary: &Summary, cause: Cause) -> u64 {
    summary.dropped[cause as usize]
}

#[test]
fn threads_together_store_exactly_max_events() {
    for max in [1, 7, 500, 7000] {
        let test = Test::begin(Some(max), Thinning::default());
        std::thread::scope(|scope| {
            for pid in 0..4 {
                let state = test.state;
                scope.spawn(move || (0..2000).for_each(|_| offer(state, pid, call(1))));
            }
        });
        let (summary, _) = test.end();
        assert_eq!(summary.events, max);
        assert_eq!(dropped(&summary, Cause::AfterLimit), 8000 - max);
    }
}

#[test]
fn a_large_max_events_is_used_up_to_the_last_one() {
    let test = Test::begin(Some(150_000), Thinning::default());
    let state = test.state;
    std::thread::scope(|scope| {
        for pid in 1..4 {
            // They take a portion, use little of it, and fall idle.
            scope.spawn(move || (0..10).for_each(|_| offer(state, pid, call(1))));
        }
        // What the idle ones hold is taken from them while events still come.
        scope.spawn(move || {
            while state.is_recording() {
                offer(state, 0, call(1));
            }
        });
    });
    let (summary, _) = test.end();
    assert_eq!(summary.events, 150_000);
}

#[test]
fn threads_together_store_exactly_the_rate() {
    let test = Test::begin(None, Thinning { rate: rate(777, AN_HOUR), ..Thinning::default() });
    std::thread::scope(|scope| {
        for pid in 0..4 {
            let state = test.state;
            scope.spawn(move || {
                (0..10_000).for_each(|n| offer(state, pid, if n % 2 == 0 { call(1) } else { resume(2) }))
            });
        }
    });
    let (summary, file) = test.end();
    assert_eq!((summary.events, dropped(&summary, Cause::Rate)), (777, 39_223));
    let [thinned] = summary.thinned[..] else { panic!("{:?}", summary.thinned) };
    assert_eq!((thinned.cause, thinned.events), (Cause::Rate, 39_223));
    assert!(thinned.first <= thinned.last && thinned.last < AN_HOUR);
    // Whoever dropped anything says so in its entry, for the rest of the window.
    for lane in lanes(&file).iter().filter(|lane| lane.dropped_events() > 0) {
        assert!(lane.dropping[0] > 0 && lane.dropping[1] > lane.dropping[0], "{lane:?}");
    }
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("39223 events dropped, the first after"), "a remark at the end");
    assert!(text.contains("events are dropped from here on"), "and one when it began");
}

#[test]
fn every_event_dropped_is_told_by_an_event_or_by_its_lane() {
    let test = Test::begin(None, Thinning { rate: rate(50, Duration::from_micros(100)), ..Thinning::default() });
    std::thread::scope(|scope| {
        for pid in 0..3 {
            let state = test.state;
            scope.spawn(move || (0..60_000).for_each(|_| offer(state, pid, call(1))));
        }
    });
    let (summary, file) = test.end();
    let (mut told, mut stretches) = (0, Vec::new());
    each(&file, |event, _| {
        if let Some(dropped) = event.dropped {
            assert!(dropped.from <= dropped.until && dropped.until <= event.tick);
            told += dropped.events;
            stretches.push((dropped.from, dropped.until));
        }
    });
    assert_eq!(summary.events + dropped(&summary, Cause::Rate), 180_000);
    assert!(told > 0 && told <= dropped(&summary, Cause::Rate));
    assert!(!stretches.is_empty());
    let open = lanes(&file).iter().filter(|lane| lane.dropping != [0, 0]).count();
    assert!(told == dropped(&summary, Cause::Rate) || open > 0, "the rest is told by the lanes");
}

#[test]
fn a_function_rate_holds_for_each_function_on_all_threads_together() {
    let test = Test::begin(None, Thinning { function_rate: rate(100, AN_HOUR), ..Thinning::default() });
    std::thread::scope(|scope| {
        for pid in 1..5 {
            let state = test.state;
            scope.spawn(move || {
                for n in 0..10_000 {
                    // A server that calls one of ten functions, and one of its own, always.
                    offer(state, pid, call(100 + n % 250 % 10));
                    offer(state, pid, resume(99));
                }
            });
        }
    });
    let (summary, file) = test.end();
    let (mut calls, mut returns, mut missing) = ([0; 10], 0, 0);
    each(&file, |event, arity| {
        match event.body {
            Body::Call { .. } => calls[arity as usize - 100] += 1,
            _ => returns += 1,
        }
        missing += u64::from(event.missing != Missing::None);
    });
    assert_eq!(calls, [100; 10]);
    assert_eq!(summary.events + dropped(&summary, Cause::FunctionRate), 80_000);
    assert!((1000..1010).contains(&returns), "a call that is left out is left out with its return: {returns}");
    assert!(missing <= 4, "where a process was before its first event is not known: {missing}");
}

#[test]
fn a_process_is_in_the_sample_from_first_to_last() {
    let test = Test::begin(None, Thinning { sample: 5, sample_removes: true, ..Thinning::default() });
    let ask = |probe, pid| {
        let mut wanted = Wanted::Yes;
        registry::enter(test.state, |lane| wanted = lane.wants(probe, pid));
        wanted
    };
    for _ in 0..3 {
        (0..1000).for_each(|pid| offer(test.state, pid, call(1)));
    }
    let asked: Vec<bool> = (0..1000).map(|pid| ask(Probe::Process, process(pid)) == Wanted::Never).collect();
    assert!((0..1000_u64).all(|pid| (ask(Probe::Event, process(pid)) == Wanted::No) == asked[pid as usize]));
    assert_eq!(ask(Probe::Event, None), Wanted::Yes);
    let (summary, file) = test.end();
    let mut seen = [0; 1000];
    each(&file, |event, _| {
        let Identity::Process(pid) = event.whose else { panic!("{event:?}") };
        seen[pid as usize] += 1;
    });
    assert!((0..1000).all(|pid| seen[pid] == if asked[pid] { 0 } else { 3 }));
    let taken = seen.iter().filter(|n| **n > 0).count();
    assert!((195..=205).contains(&taken), "{taken} of 1000");
    assert_eq!((summary.events, dropped(&summary, Cause::Sample)), (3 * taken as u64, 0));
}

#[test]
fn processes_are_counted_in_and_out_of_the_sample_once() {
    let test = Test::begin(None, Thinning { sample: 5, sample_removes: true, ..Thinning::default() });
    let recorded = AtomicU64::new(0);
    let ask = |probe, tracee| {
        let mut wanted = Wanted::Yes;
        registry::enter(test.state, |lane| wanted = lane.wants(probe, tracee));
        wanted
    };
    // More places than the table has are used one after the other.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for pid in 0..1000 {
                    let taken = ask(Probe::Process, process(pid)) != Wanted::Never;
                    assert_eq!(ask(Probe::Event, process(pid)) != Wanted::No, taken);
                    // Ports are not counted, nor is whoever a sequential trace names.
                    ask(Probe::Event, Some(2 * pid + 1));
                    ask(Probe::Unclear, process(5_000_000 + pid));
                    recorded.fetch_add(u64::from(taken), Ordering::Relaxed);
                }
            });
        }
    });
    let recorded = recorded.into_inner() / 4;
    registry::with(test.state, |recording| (0..1005).for_each(|pid| recording.meet(pid))).expect("open");
    let sampled = registry::with(test.state, |recording| recording.summary().sampled).expect("open");
    let sampled = sampled.expect("it is a sample");
    assert_eq!(sampled.processes, 1005);
    assert!((recorded..=recorded + 5).contains(&sampled.recorded), "{sampled:?}, {recorded}");
    let (summary, file) = test.end();
    assert_eq!(summary.sampled, Some(sampled));
    assert_eq!((summary.dropped.iter().sum::<u64>(), summary.thinned.len()), (0, 0), "processes are no events");
    let [taken, left_out] = lanes(&file).iter().fold([0, 0], |sum, lane| [0, 1].map(|n| sum[n] + lane.sampled[n]));
    assert_eq!((taken, taken + left_out), (sampled.recorded, 1005), "so says the file");
    let text = format!("{} of 1005 processes are in the sample", sampled.recorded);
    assert!(file.windows(text.len()).any(|bytes| bytes == text.as_bytes()));
}

#[test]
fn what_is_refused_is_counted_and_told_with_the_next_event() {
    let per = Duration::from_millis(30);
    let test = Test::begin(None, Thinning { rate: rate(1, per), ..Thinning::default() });
    let (mut offered, begun) = (0, std::time::Instant::now());
    // It ends in the middle of a stretch.
    while begun.elapsed() < 4 * per + per / 2 {
        let mut wanted = Wanted::Yes;
        registry::enter(test.state, |lane| {
            let refused = lane.refuses(|| process(1));
            wanted = if refused { Wanted::No } else { lane.wants(Probe::Event, process(1)) };
        });
        if wanted == Wanted::Yes {
            offer(test.state, 1, call(1));
        }
        offered += 1;
    }
    let (summary, file) = test.end();
    assert!((1..=6).contains(&summary.events), "{summary:?}");
    assert_eq!(summary.events + dropped(&summary, Cause::Rate), offered);
    let mut told = 0;
    each(&file, |event, _| told += event.dropped.map_or(0, |dropped| dropped.events));
    let last = lanes(&file).iter().map(|lane| lane.dropping[1] - lane.dropping[0]).max().unwrap_or(0);
    assert!(told > 0 && told <= dropped(&summary, Cause::Rate) && last > 0, "{told}");
    let thinned = summary.thinned.first().expect("it was thinned");
    assert!(thinned.last >= 3 * per, "it is told to the end: {thinned:?}");
}

#[test]
fn refusing_counts_towards_the_share_and_ends_it_when_it_is_far_too_dear() {
    // 1 µs of each 10 ms: some twenty times less than refusing takes.
    let test = Test::begin(None, Thinning { max_cost_ppm: 100, ..Thinning::default() });
    let begun = std::time::Instant::now();
    let mut offered = 0_u64;
    while test.state.is_recording() && begun.elapsed() < Duration::from_secs(20) {
        let mut wanted = Wanted::Yes;
        registry::enter(test.state, |lane| {
            let refused = lane.refuses(|| process(1));
            wanted = if refused { Wanted::No } else { lane.wants(Probe::Event, process(1)) };
            offered += 1;
        });
        if wanted == Wanted::Yes {
            offer(test.state, 1, call(1));
        }
    }
    assert!(!test.state.is_recording(), "for seconds nothing but refused");
    assert!(begun.elapsed() >= Duration::from_millis(900), "a moment of it is no reason: {:?}", begun.elapsed());
    let Told::Limit(limit) = test.told.recv_timeout(Duration::from_secs(5)).expect("the keeper tells") else {
        panic!("closed")
    };
    assert_eq!(limit, Limit::Refusing);
    let (summary, _) = test.end();
    assert_eq!(summary.stop_reason, Limit::Refusing.name());
    assert_eq!(summary.events + dropped(&summary, Cause::MaxCost) + dropped(&summary, Cause::AfterLimit), offered);
    assert!(summary.events < 200, "what is refused is paid for: {} stored", summary.events);
}

#[test]
fn the_recorder_stops_when_it_has_taken_its_share() {
    let test = Test::begin(None, Thinning { max_cost_ppm: 10, ..Thinning::default() });
    // 100 ns in each 10 ms: some two events.
    let begun = std::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(100) {
        offer(test.state, 1, call(1));
    }
    let windows = begun.elapsed().as_millis() as u64 / 10 + 2;
    let (summary, _) = test.end();
    assert!((1..=8 * windows).contains(&summary.events), "{} in {windows} windows", summary.events);
    assert!(dropped(&summary, Cause::MaxCost) > 1000);
}

#[test]
fn more_than_allowed_ends_a_recording_if_asked_to() {
    for (thinning, limit) in [
        (Thinning { rate: rate(10, AN_HOUR), ..Thinning::default() }, Limit::Rate),
        (Thinning { function_rate: rate(10, AN_HOUR), ..Thinning::default() }, Limit::FunctionRate),
        (Thinning { max_cost_ppm: 1, ..Thinning::default() }, Limit::MaxCost),
    ] {
        let test = Test::begin(None, Thinning { overload_stops: true, ..thinning });
        (0..10_000).for_each(|_| offer(test.state, 1, call(1)));
        assert!(!test.state.is_recording());
        let Told::Limit(told) = test.told.recv_timeout(Duration::from_secs(5)).expect("the keeper tells") else {
            panic!("closed")
        };
        assert_eq!(told, limit);
        let (summary, _) = test.end();
        assert!(summary.events <= 10, "{summary:?}");
        assert_eq!(summary.events + summary.dropped.iter().sum::<u64>(), 10_000);
    }
}

#[test]
fn nothing_is_said_of_what_was_not_thinned() {
    let test = Test::begin(None, Thinning { rate: rate(10_000, AN_HOUR), ..Thinning::default() });
    (0..1000).for_each(|n| offer(test.state, n % 7, call(n % 5)));
    let (summary, file) = test.end();
    assert_eq!((summary.events, summary.thinned.len()), (1000, 0));
    each(&file, |event, _| assert_eq!((event.dropped, event.missing), (None, Missing::None)));
    assert!(lanes(&file).iter().all(|lane| lane.dropping == [0, 0]));
}
