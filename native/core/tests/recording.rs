//! Recordings made by threads that stand for the VM's schedulers, read back
//! from the file with the format crate alone.

mod common;
#[path = "common/host.rs"]
mod host;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use host::{TestHost, Told, close, open};
use spoor_core::recording;
use spoor_core::registry::{self, State};
use spoor_core::stream::{MAX_ATOM_BYTES, Names};
use spoor_core::{Limit, OpenError, clock};
use spoor_core::{Options, Storage};
use spoor_format::chunk::{ChunkHeader, Identity, Reader};
use spoor_format::header::{Header, META_OFFSET, Meta, RingLayout};
use spoor_format::lane::{Cause, ENTRY_BYTES, Lane};
use spoor_format::record::{Body, Schema, write};
use spoor_format::status::{Phase, Status};

/// Atom word 4 is spelled "a4".
struct Spelled;

impl Names for Spelled {
    fn atom_text<'a>(&self, atom: u64, space: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
        let text = format!("a{atom}");
        space[..text.len()].copy_from_slice(text.as_bytes());
        std::str::from_utf8(&space[..text.len()]).expect("ASCII")
    }
}

struct Scratch {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

fn scratch() -> Scratch {
    let directory = tempfile::tempdir().expect("a temporary directory");
    Scratch { path: directory.path().join("test.spoor"), _directory: directory }
}

fn options(path: &Path) -> Options {
    common::options(path, Storage::Ring(1 << 20))
}

/// A call of function `arity` by process `pid`.
fn call(state: State, pid: u64, arity: u64) {
    let tick = clock::now();
    registry::enter(state, |lane| {
        lane.event(tick, |stream, delta| {
            stream.whose(Identity::Process(pid))?;
            let function = stream.function((4, 5, arity), &Spelled)?;
            write::call(stream, delta, function)
        });
    });
}

struct FileRead {
    header: Header,
    status: Status,
    meta: Meta,
    lanes: Vec<Lane>,
    /// Arity (the test's payload) of each call, by process, in order of time.
    calls: BTreeMap<u64, Vec<u64>>,
}

fn read(path: &Path) -> FileRead {
    let bytes = std::fs::read(path).expect("the file is there");
    let header = Header::decode(&bytes).expect("a header");
    let entry = |n: u64| &bytes[(header.lane_offset + n * ENTRY_BYTES as u64) as usize..];
    let mut events = Vec::new();
    for (chunk, payload) in chunks(&bytes, &header.events) {
        let schema = Schema::default();
        let mut reader = Reader::new(payload, chunk.base_tick, &schema);
        let mut count = 0;
        while let Some(event) = reader.next_event().expect("a good chunk") {
            count += 1;
            let (Identity::Process(pid), Body::Call { function }) = (event.whose, event.body) else {
                panic!("{event:?}")
            };
            let def = reader.function(function).expect("defined").expect("a function");
            assert_eq!((reader.atom(def.module), reader.atom(def.name)), (Ok(Some("a4")), Ok(Some("a5"))));
            events.push((event.tick, pid, def.arity));
        }
        assert_eq!(count, chunk.records);
    }
    events.sort_by_key(|(tick, ..)| *tick);
    let mut calls = BTreeMap::<u64, Vec<u64>>::new();
    for (_, pid, arity) in events {
        calls.entry(pid).or_default().push(arity);
    }
    FileRead {
        header,
        status: Status::decode(&bytes),
        meta: Meta::decode(&bytes[META_OFFSET as usize..]).expect("meta"),
        lanes: (0..header.lane_slots).filter_map(|n| Lane::decode(entry(n))).map(|l| l.expect("good")).collect(),
        calls,
    }
}

fn chunks<'a>(bytes: &'a [u8], ring: &RingLayout) -> Vec<(ChunkHeader, &'a [u8])> {
    let chunk = |index| {
        let bytes = &bytes[ring.chunk_offset(index) as usize..][..ring.chunk_bytes as usize];
        let header = ChunkHeader::decode(bytes, ring.chunk_bytes - 64).expect("a good header")?;
        let payload = &bytes[64..64 + header.bytes as usize];
        if let Some(crc) = header.crc {
            assert_eq!(crc, crc32fast::hash(payload));
        }
        Some((header, payload))
    };
    (0..ring.chunks).filter_map(chunk).collect()
}

#[test]
fn what_four_threads_recorded_is_in_the_file() {
    let scratch = scratch();
    let (state, told) = open(options(&scratch.path));
    std::thread::scope(|scope| {
        for pid in 1..=4 {
            scope.spawn(move || (0..10_000).for_each(|n| call(state, pid, n % 300)));
        }
    });
    let summary = close(state, "test", &told);
    assert_eq!((summary.events, summary.overwritten, summary.lanes), (40_000, 0, 4));
    assert!(summary.dropped.iter().all(|n| *n == 0));

    let file = read(&scratch.path);
    assert_eq!((file.status.phase, file.status.reason.as_str()), (Phase::Stopped, "test"));
    assert_eq!(file.meta.get("node"), Some("test@here"));
    let wanted: Vec<u64> = (0..10_000).map(|n| n % 300).collect();
    assert_eq!(file.calls.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
    assert!(file.calls.values().all(|calls| *calls == wanted));
    assert_eq!(
        file.lanes.iter().map(|lane| lane.sealed_events).collect::<Vec<_>>(),
        [0, 10_000, 10_000, 10_000, 10_000]
    );
    assert!(registry::with(state, |_| ()).is_none(), "the state names nothing any more");
    call(state, 1, 1);
}

#[test]
fn the_oldest_are_overwritten_and_the_ledger_adds_up() {
    let scratch = scratch();
    let (state, told) = open(options(&scratch.path));
    (0..1_000_000).for_each(|n| call(state, 7, n % 50));
    let live = registry::with(state, |recording| recording.summary()).expect("open");
    let summary = close(state, "test", &told);
    assert_eq!((live.events, live.overwritten), (summary.events, summary.overwritten));
    assert_eq!(summary.events, 1_000_000);
    assert!(summary.overwritten > 500_000);
    let file = read(&scratch.path);
    let kept = &file.calls[&7];
    assert_eq!(kept.len() as u64, summary.events - summary.overwritten);
    let newest: Vec<u64> = (0..1_000_000).map(|n| n % 50).skip(1_000_000 - kept.len()).collect();
    assert_eq!(*kept, newest);
    assert!(kept.len() as u64 * 8 > file.header.events.bytes() / 2, "most of the ring is events");
}

#[test]
fn what_is_counted_meanwhile_only_grows_and_adds_up() {
    let scratch = scratch();
    let (state, told) = open(options(&scratch.path));
    let ended = AtomicBool::new(false);
    let counted = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (1..=3).map(|pid| scope.spawn(move || (0..300_000).for_each(|n| call(state, pid, n % 50)))).collect();
        let ended = &ended;
        let counting = scope.spawn(move || {
            let (mut last, mut counted) = ((0, 0), 0);
            while !ended.load(Ordering::Relaxed) {
                let now = registry::with(state, |recording| recording.summary()).expect("open");
                assert!(now.events >= last.0 && now.overwritten >= last.1, "{last:?} {now:?}");
                assert!(now.overwritten <= now.events, "{now:?}");
                (last, counted) = ((now.events, now.overwritten), counted + 1);
            }
            counted
        });
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        ended.store(true, Ordering::Relaxed);
        counting.join().expect("it only grows")
    });
    let live = registry::with(state, |recording| recording.summary()).expect("open");
    let summary = close(state, "test", &told);
    assert_eq!((summary.events, live.events, live.overwritten), (900_000, 900_000, summary.overwritten));
    let kept: u64 = read(&scratch.path).calls.values().map(|calls| calls.len() as u64).sum();
    assert_eq!(kept, summary.events - summary.overwritten);
    assert!(counted > 0);
}

#[test]
fn a_panic_is_counted_once_and_one_over_a_fact_not_at_all() {
    let scratch = scratch();
    let (state, told) = open(options(&scratch.path));
    let dies = |stored: bool| {
        let died = std::panic::catch_unwind(|| {
            registry::enter(state, |lane| {
                lane.event(clock::now(), |stream, delta| {
                    assert!(stored, "planted in an event");
                    stream.whose(Identity::Process(7))?;
                    let function = stream.function((4, 5, 1), &Spelled)?;
                    write::call(stream, delta, function)
                });
                lane.info(clock::now(), |_, _| panic!("planted in a fact"));
            });
        });
        if died.is_err() {
            registry::count_panic(state);
        }
    };
    (0..3).for_each(|_| dies(true));
    dies(false);
    dies(true);
    let summary = close(state, "test", &told);
    assert_eq!((summary.events, summary.dropped[Cause::Panic as usize]), (4, 1));
    assert_eq!(summary.dropped.iter().sum::<u64>(), 1);
    assert_eq!(read(&scratch.path).calls[&7], [1; 4]);
}

#[test]
fn events_too_large_for_a_chunk_are_counted_and_cost_no_others() {
    let scratch = scratch();
    let (state, told) = open(options(&scratch.path));
    (0..100).for_each(|n| call(state, 7, n));
    let large = vec![0; 64 << 10];
    for _ in 0..1_000 {
        let tick = clock::now();
        registry::enter(state, |lane| lane.event(tick, |stream, delta| write::gc_minor_start(stream, delta, &large)));
    }
    (100..200).for_each(|n| call(state, 7, n));
    let summary = close(state, "test", &told);
    assert_eq!((summary.events, summary.overwritten), (200, 0));
    assert_eq!(summary.dropped[Cause::TooLarge as usize], 1_000);
    assert_eq!(read(&scratch.path).calls[&7], (0..200).collect::<Vec<u64>>());
}

#[test]
fn max_events_is_never_exceeded_and_the_rest_is_counted() {
    let scratch = scratch();
    let (state, told) = open(Options { max_events: Some(5_000), ..options(&scratch.path) });
    std::thread::scope(|scope| {
        for pid in 1..=4 {
            scope.spawn(move || (0..10_000).for_each(|n| call(state, pid, n % 10)));
        }
    });
    let first = told.recv_timeout(Duration::from_secs(5));
    assert!(matches!(first, Ok(Told::Limit(Limit::MaxEvents))));
    assert!(!state.is_recording());
    let summary = close(state, "test", &told);
    assert_eq!(summary.events, 5_000);
    assert_eq!(summary.events + summary.dropped[Cause::AfterLimit as usize], 40_000);
    assert_eq!(read(&scratch.path).calls.values().map(Vec::len).sum::<usize>() as u64, summary.events);
}

/// Lanes take great portions of a great limit; some fall idle with what they hold.
#[test]
fn a_great_limit_is_used_up_to_the_last_event() {
    for (idle, most) in [(0, 130_000), (3, 130_000), (3, 250_007), (2, 100_001)] {
        let scratch = scratch();
        let (state, told) = open(Options { max_events: Some(most), ..options(&scratch.path) });
        let offered = std::sync::atomic::AtomicU64::new(0);
        std::thread::scope(|scope| {
            for pid in 1..=4 {
                let offered = &offered;
                scope.spawn(move || {
                    let mut events = 0;
                    while state.is_recording() && (pid > idle || events < 3_001) {
                        call(state, pid, events % 10);
                        events += 1;
                    }
                    offered.fetch_add(events, std::sync::atomic::Ordering::Relaxed);
                });
            }
        });
        let summary = close(state, "test", &told);
        assert_eq!((summary.events, summary.stop_reason.as_str()), (most, "max_events"), "{idle} idle");
        let offered = offered.into_inner();
        assert_eq!(summary.events + summary.dropped[Cause::AfterLimit as usize], offered);
    }
}

#[test]
fn the_time_limit_is_kept_without_events() {
    let scratch = scratch();
    let (state, told) = open(Options { time: Some(Duration::from_millis(30)), ..options(&scratch.path) });
    std::thread::sleep(Duration::from_millis(200));
    assert!(state.is_recording(), "the time is counted from when tracing begins");
    registry::with(state, |recording| recording.start_time()).expect("open");
    assert!(matches!(told.recv_timeout(Duration::from_secs(5)), Ok(Told::Limit(Limit::Time))));
    call(state, 1, 1);
    let summary = close(state, "test", &told);
    assert_eq!((summary.events, summary.dropped[Cause::AfterLimit as usize]), (0, 1));
}

#[test]
fn recordings_end_under_threads_that_do_not_stop() {
    let stop = std::sync::atomic::AtomicBool::new(false);
    let current = std::sync::atomic::AtomicI64::new(0);
    std::thread::scope(|scope| {
        for pid in 1..=3 {
            let (stop, current) = (&stop, &current);
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    call(State::from_integer(current.load(std::sync::atomic::Ordering::Relaxed)), pid, 1);
                }
            });
        }
        for _ in 0..30 {
            let scratch = scratch();
            let (state, told) = open(options(&scratch.path));
            current.store(state.integer(), std::sync::atomic::Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
            let summary = close(state, "test", &told);
            let file = read(&scratch.path);
            let present = file.calls.values().map(Vec::len).sum::<usize>() as u64;
            assert_eq!(present, summary.events - summary.overwritten);
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_ring_too_small_and_a_directory_that_is_none_are_errors() {
    let scratch = scratch();
    let small =
        recording::open(Options { storage: Storage::Ring(1000), ..options(&scratch.path) }, TestHost(channel().0));
    assert!(matches!(small, Err(OpenError::RingTooSmall { least }) if least > 100_000));
    let nowhere = Path::new("/proc/nowhere/x.spoor");
    let refused = recording::open(options(nowhere), TestHost(channel().0));
    assert!(matches!(refused, Err(OpenError::Directory { .. })), "{refused:?}");
}
