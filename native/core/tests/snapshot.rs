//! Windows copied out of recordings that go on, read back with the format crate.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use common::options;
use spoor_core::Storage;
use spoor_core::recording;
use spoor_core::registry::{self, State};
use spoor_core::snapshot::{Copied, Failed};
use spoor_core::stream::{MAX_ATOM_BYTES, Names};
use spoor_core::{Host, Limit, Summary, clock, segments};
use spoor_format::chunk::{ChunkHeader, Identity, Reader};
use spoor_format::header::{Header, META_OFFSET, Meta};
use spoor_format::lane::{ENTRY_BYTES, Lane};
use spoor_format::record::{Body, Schema, write};
use spoor_format::status::{Phase, Status};

struct Spelled;

impl Names for Spelled {
    fn atom_text<'a>(&self, _: u64, space: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
        space[0] = b'a';
        std::str::from_utf8(&space[..1]).expect("ASCII")
    }
}

struct TestHost(Sender<()>);

impl Host for TestHost {
    fn owner_alive(&self) -> bool {
        true
    }
    fn limit(&self, _: State, _: Limit) {}
    fn closed(&self, _: State, _: &Summary) {
        self.0.send(()).expect("somebody waits");
    }
}

fn open(path: &Path, storage: Storage) -> (State, Receiver<()>) {
    let (sender, closed) = channel();
    (recording::open(options(path, storage), TestHost(sender)).expect("a recording"), closed)
}

fn close(state: State, closed: &Receiver<()>) {
    assert!(registry::with(state, |recording| recording.close("test")).is_some());
    closed.recv_timeout(Duration::from_secs(10)).expect("the keeper answers");
}

/// Call number `number` of process `pid`.
fn call(state: State, pid: u64, number: u64) {
    let tick = clock::now();
    registry::enter(state, |lane| {
        lane.event(tick, |stream, delta| {
            stream.whose(Identity::Process(pid))?;
            let function = stream.function((4, 5, number % 512), &Spelled)?;
            write::call(stream, delta, function)
        });
    });
}

fn snapshot(state: State, path: &Path, last: Option<Duration>) -> Result<Copied, Failed> {
    let (sender, answer) = channel();
    let asked = registry::with(state, |recording| {
        recording.snapshot(path, last, move |made| sender.send(made).expect("somebody waits"))
    });
    asked.expect("it is open").expect("it can be made");
    answer.recv_timeout(Duration::from_secs(60)).expect("an answer")
}

/// A file of which everything is sound, and each chunk has its checksum.
struct Sound {
    meta: Meta,
    stop_tick: u64,
    infos: u64,
    /// Events that lie before the window.
    outside: u64,
    /// Number of each call (modulo 512) and its tick, by process.
    calls: BTreeMap<u64, Vec<(u64, u64)>>,
    /// Holes in lanes of one process, as the headers of chunks tell them: before which of its
    /// calls how many are missing.
    holes: BTreeMap<u64, Vec<(usize, u64)>>,
}

fn read(path: &Path) -> Sound {
    let bytes = std::fs::read(path).expect("the file is there");
    let header = Header::decode(&bytes).expect("a header");
    assert_eq!(bytes.len() as u64, header.file_bytes);
    assert_eq!(bytes[..4096], bytes[header.backup_offset() as usize..][..4096]);
    let status = Status::decode(&bytes);
    assert_eq!(status.phase, Phase::Stopped);
    let mut sound = Sound {
        meta: Meta::decode(&bytes[META_OFFSET as usize..]).expect("a meta section"),
        stop_tick: status.stop_tick,
        infos: 0,
        outside: 0,
        calls: BTreeMap::new(),
        holes: BTreeMap::new(),
    };
    let chunk = |offset: u64, room: u64| {
        let header = ChunkHeader::decode(&bytes[offset as usize..], room).expect("a sound header")?;
        let payload = &bytes[offset as usize + ChunkHeader::BYTES..][..header.bytes as usize];
        assert_eq!(header.crc, Some(crc32fast::hash(payload)));
        Some((header, payload))
    };
    let room = |chunk_bytes: u64| chunk_bytes - ChunkHeader::BYTES as u64;
    let info =
        (0..header.info.chunks).filter_map(|n| chunk(header.info.chunk_offset(n), room(header.info.chunk_bytes)));
    sound.infos = info.map(|(header, _)| u64::from(header.records)).sum();
    let lane = |number: u64| Lane::decode(&bytes[header.lane_offset as usize + number as usize * ENTRY_BYTES..]);
    sound.outside = (0..header.lane_slots).filter_map(lane).map(|lane| lane.expect("a sound lane").outside).sum();
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    let places = 0..header.events.chunks;
    let mut chunks: Vec<_> = places
        .map(|n| chunk(header.events.chunk_offset(n), room(header.events.chunk_bytes)).expect("each place is used"))
        .collect();
    chunks.sort_by_key(|(header, _)| header.seq);
    for (is, payload) in chunks {
        let schema = Schema::default();
        let mut reader = Reader::new(payload, is.base_tick, &schema);
        let mut records = 0;
        let mut missing = ends.get(&is.lane).map_or(0, |end| is.first_record - end);
        while let Some(event) = reader.next_event().expect("a sound chunk") {
            records += 1;
            let (Identity::Process(pid), Body::Call { function }) = (event.whose, event.body) else { continue };
            let function = reader.function(function).expect("a known function").expect("a function");
            let calls = sound.calls.entry(pid).or_default();
            if missing > 0 {
                sound.holes.entry(pid).or_default().push((calls.len(), std::mem::take(&mut missing)));
            }
            calls.push((function.arity, event.tick));
        }
        assert_eq!(records, is.records);
        ends.insert(is.lane, is.first_record + u64::from(is.records));
    }
    for (number, end) in ends {
        assert_eq!(lane(u64::from(number)).expect("a lane").expect("a sound lane").sealed_events, end);
    }
    sound
}

/// Raises a flag when it goes, by a failed assertion too.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_copy_under_full_load_is_sound_and_has_what_was_recorded_before() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (state, closed) = open(&scratch.path().join("x.spoor"), Storage::Ring(4 << 20));
    let done: [AtomicU64; 2] = Default::default();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (pid, done) in (1..).zip(&done) {
            let over = &over;
            scope.spawn(move || {
                let mut number = 0;
                while !over.load(Ordering::Relaxed) {
                    call(state, pid, number);
                    number += 1;
                    done.store(number, Ordering::Release);
                }
            });
        }
        let _end = Raised(&over);
        for round in 0..15 {
            while done.iter().any(|done| done.load(Ordering::Acquire) == 0) {
                std::thread::yield_now();
            }
            let path = scratch.path().join(format!("{round}.part"));
            let before: Vec<u64> = done.iter().map(|done| done.load(Ordering::Acquire)).collect();
            let copied = snapshot(state, &path, None).expect("a copy");
            let after: Vec<u64> = done.iter().map(|done| done.load(Ordering::Acquire)).collect();
            let sound = read(&path);
            assert_eq!(copied.events, sound.calls.values().map(|calls| calls.len() as u64).sum::<u64>());
            for (pid, calls) in &sound.calls {
                let (before, after) = (before[*pid as usize - 1], after[*pid as usize - 1]);
                assert!(calls.iter().all(|(_, tick)| *tick <= sound.stop_tick));
                // All that came before the copy was asked for, to the last call: a call's
                // number is known modulo 512. One may be recorded and not yet counted.
                let (last, _) = calls.last().expect("a call");
                let ahead = (last + 1 + 512 - before % 512) % 512;
                assert!(
                    copied.overtaken > 0 || after - before >= 511 || ahead <= after - before + 1,
                    "{round}: {ahead}"
                );
                // There may be holes though none was overtaken by the copy: a chunk that is pinned,
                // copied, or whose taker stands still when its turn comes outlives those behind it.
                // But what is missing is told, to the last call.
                let mut holes = sound.holes.get(pid).into_iter().flatten().peekable();
                for (at, pair) in calls.windows(2).enumerate() {
                    let missing = holes.next_if(|(before, _)| *before == at + 1).map_or(0, |(_, missing)| *missing);
                    assert_eq!((pair[0].0 + 1 + missing) % 512, pair[1].0, "{round}: {missing} told, {copied:?}");
                }
            }
            std::fs::remove_file(&path).expect("it is there");
        }
    });
    close(state, &closed);
}

#[test]
fn a_window_holds_what_is_in_it_and_says_what_is_not() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (state, closed) = open(&scratch.path().join("x.spoor"), Storage::Ring(4 << 20));
    registry::with(state, |recording| recording.info(write::receive));
    (0..200_000).for_each(|number| call(state, 1, number));
    std::thread::sleep(Duration::from_millis(300));
    let second = Instant::now();
    (0..20_000).for_each(|number| call(state, 2, number));
    let (all, window) = (scratch.path().join("all.part"), scratch.path().join("window.part"));
    let last = Duration::from_millis(second.elapsed().as_millis() as u64 + 100);
    let copied = snapshot(state, &window, Some(last)).expect("a copy");
    let everything = snapshot(state, &all, None).expect("a copy");
    let (sound, whole) = (read(&window), read(&all));
    assert_eq!((everything.earlier, everything.overtaken, everything.events), (0, 0, 220_000));
    assert_eq!(whole.calls.values().map(Vec::len).collect::<Vec<_>>(), [200_000, 20_000]);
    // The chunk of the moment when the window begins is in it as a whole.
    assert!(copied.earlier > 0 && copied.earlier + copied.chunks >= everything.chunks, "{copied:?}");
    assert_eq!((copied.overtaken, sound.calls[&2].len()), (0, 20_000));
    assert_eq!((sound.outside + copied.events, whole.outside), (220_000, 0));
    assert!(copied.events < 220_000 && copied.bytes < everything.bytes);
    assert_eq!(sound.infos, 1);
    let asked = format!("{} ms", last.as_millis());
    assert_eq!((sound.meta.get("node"), sound.meta.get("snapshot")), (Some("test@here"), Some(asked.as_str())));
    assert_eq!(sound.meta.get("snapshot_earlier"), Some(copied.earlier.to_string().as_str()));
    assert_eq!(whole.meta.get("snapshot"), Some("all"));
    close(state, &closed);
}

/// How often the calling thread gave its processor away by itself.
fn rests() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|rests| rests.trim().parse().ok()).expect("a number")
}

#[test]
fn who_copies_much_gives_the_processor_away_many_times() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (state, closed) = open(&scratch.path().join("x.spoor"), Storage::Ring(16 << 20));
    (0..2_000_000).for_each(|number| call(state, 1, number));
    let copy = |name: &str, last| {
        let (sender, answer) = channel();
        // The answer is given on the thread that copies.
        let answered = move |made: Result<Copied, Failed>| sender.send((made, rests())).expect("somebody waits");
        let asked = registry::with(state, |recording| recording.snapshot(&scratch.path().join(name), last, answered));
        asked.expect("it is open").expect("it can be made");
        let (made, rests) = answer.recv_timeout(Duration::from_secs(60)).expect("an answer");
        (made.expect("a copy"), rests)
    };
    let (few, before) = copy("few.part", Some(Duration::from_nanos(1)));
    let (copied, after) = copy("all.part", None);
    assert!(few.chunks <= 1 && copied.chunks > 30, "{few:?}, {copied:?}");
    // A chunk of 128 KiB is more than one piece of work on any machine.
    assert!(after - before > copied.chunks, "{copied:?}");
    close(state, &closed);
}

#[test]
fn copies_end_with_their_recording_and_never_overwrite() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (state, closed) = open(&scratch.path().join("x.spoor"), Storage::Ring(4 << 20));
    (0..200_000).for_each(|number| call(state, 1, number));
    let (sender, answers) = channel();
    for copy in 0..20 {
        let (path, sender) = (scratch.path().join(format!("{copy}.part")), sender.clone());
        let ask = |recording: &recording::Recording| {
            recording.snapshot(&path, None, move |made| sender.send((copy, made)).expect("somebody waits"))
        };
        registry::with(state, ask).expect("it is open").expect("a new file");
    }
    let again = registry::with(state, |recording| {
        recording.snapshot(&scratch.path().join("19.part"), None, |_| unreachable!("it is refused"))
    });
    let refused = again.expect("it is open").expect_err("it is there");
    assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
    close(state, &closed);
    drop(sender);
    // Each was answered before the end was told, and only whole copies are there.
    let answers: Vec<(u64, Result<Copied, Failed>)> = answers.try_iter().collect();
    assert_eq!(answers.len(), 20);
    for (copy, made) in answers {
        let path = scratch.path().join(format!("{copy}.part"));
        match made {
            Ok(_) => assert_eq!(read(&path).calls[&1].len(), 200_000),
            Err(Failed::Ended) => assert!(!path.exists()),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_window_of_a_stream_is_a_file_with_what_is_in_its_segments() {
    for packs in [false, true] {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let stream = segments::Stream { segment_bytes: 1 << 20, total_bytes: 64 << 20, keep_first: false, packs };
        let (state, closed) = open(&scratch.path().join("x.spoor"), Storage::Stream(stream));
        // No faster than segments are made: none is dropped.
        let ready = || registry::with(state, |recording| recording.chunks_ready()).expect("it is open");
        let calls = |pid, count: u64| {
            for number in 0..count {
                call(state, pid, number);
                while number % 1_000 == 0 && ready() < 8 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        };
        calls(1, 1_500_000);
        std::thread::sleep(Duration::from_millis(300));
        let second = Instant::now();
        calls(2, 20_000);
        let (all, window) = (scratch.path().join("all.part"), scratch.path().join("window.part"));
        let copied = snapshot(state, &window, Some(second.elapsed() + Duration::from_millis(100))).expect("a copy");
        let everything = snapshot(state, &all, None).expect("a copy");
        let summary = registry::with(state, |recording| recording.summary()).expect("it is open");
        assert_eq!((summary.dropped.iter().sum::<u64>(), summary.events), (0, 1_520_000));
        let names = std::fs::read_dir(scratch.path().join("x.spoor")).expect("a directory");
        let packed =
            names.filter(|name| name.as_ref().is_ok_and(|name| name.path().extension() == Some("lz4".as_ref())));
        assert_eq!(packed.count() > 0, packs);
        let (sound, whole) = (read(&window), read(&all));
        assert_eq!((everything.earlier, everything.overtaken, everything.events), (0, 0, 1_520_000));
        for (pid, count) in [(1, 1_500_000), (2, 20_000)] {
            let numbers: Vec<u64> = whole.calls[&pid].iter().map(|(number, _)| *number).collect();
            assert_eq!(numbers, (0..count).map(|number| number % 512).collect::<Vec<_>>());
        }
        assert!(copied.earlier > 0, "{copied:?}");
        assert_eq!((copied.overtaken, sound.calls[&2].len()), (0, 20_000));
        assert_eq!((sound.outside + copied.events, whole.outside), (1_520_000, 0));
        close(state, &closed);
    }
}
