//! What stays of the events in each storage mode, read back with the format
//! crate alone.

mod common;
#[path = "common/host.rs"]
mod host;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::channel;
use std::time::Duration;

use common::options;
use host::{TestHost, Told, close, open};
use spoor_core::recording;
use spoor_core::registry::{self, State};
use spoor_core::segments::Stream;
use spoor_core::{Limit, OpenError, clock};
use spoor_core::{Options, Storage};
use spoor_format::chunk::{ChunkHeader, Identity, Reader};
use spoor_format::header::Header;
use spoor_format::lane::{Cause, ENTRY_BYTES, Lane};
use spoor_format::record::{Body, Schema, write};
use spoor_format::segment::{CHUNKS_OFFSET, FRAME_BYTES, FRAMES_OFFSET, Frame, Packing, SegmentHeader};
use spoor_format::status::{Phase, Status};

const SEGMENT: u64 = 512 << 10;

fn stream(total_bytes: u64) -> Stream {
    Stream { segment_bytes: SEGMENT, total_bytes, keep_first: false, packs: false }
}

/// An event of `pid` that says `number`, and takes about 16 bytes.
fn event(state: State, pid: u64, number: u64) {
    let tick = clock::now();
    registry::enter(state, |lane| {
        lane.event(tick, |stream, delta| {
            stream.whose(Identity::Process(pid))?;
            write::gc_minor_start(stream, delta, &[number, u64::MAX])
        });
    });
}

/// Events that wait for the disk, as those of the VM never do.
fn events(state: State, pid: u64, numbers: std::ops::Range<u64>) {
    let ready = || registry::with(state, |recording| recording.chunks_ready() > 8).unwrap_or(true);
    for number in numbers {
        while number % 500 == 0 && state.is_recording() && !ready() {
            std::thread::sleep(Duration::from_millis(1));
        }
        event(state, pid, number);
    }
}

/// The numbers of each process, and of each segment whether it is packed.
struct Read {
    status: Status,
    lanes: Vec<Lane>,
    numbers: BTreeMap<u64, Vec<u64>>,
    segments: BTreeMap<u64, Packing>,
    bytes: u64,
}

fn read(path: &Path) -> Read {
    let head = if path.is_dir() { path.join("head.spoor") } else { path.to_owned() };
    let head = std::fs::read(head).expect("there is a head");
    let header = Header::decode(&head).expect("a header");
    let mut chunks = BTreeMap::new();
    let mut add = |header: &[u8], payload: &[u8]| {
        if let Some(chunk) = ChunkHeader::decode(header, payload.len() as u64).expect("a good header") {
            chunks.insert(chunk.seq, (chunk, payload[..chunk.bytes as usize].to_owned()));
        }
    };
    let ring = header.events;
    for place in 0..ring.chunks {
        let chunk = &head[ring.chunk_offset(place) as usize..][..ring.chunk_bytes as usize];
        add(chunk, &chunk[64..]);
    }
    let mut segments = BTreeMap::new();
    let mut bytes = head.len() as u64;
    for entry in path.is_dir().then(|| path.read_dir().expect("a directory")).into_iter().flatten() {
        let name = entry.expect("an entry").file_name().into_string().expect("a name");
        let Some((number, packing)) = Packing::of_file_name(&name) else {
            assert_eq!(name, "head.spoor");
            continue;
        };
        let file = std::fs::read(path.join(name)).expect("a segment");
        bytes += file.len() as u64;
        let segment = SegmentHeader::decode(&file).expect("a segment's header");
        assert_eq!((segment.number, segment.packing(), segment.chunk_bytes), (number, packing, ring.chunk_bytes));
        segments.insert(number, packing);
        match packing {
            Packing::None => file[CHUNKS_OFFSET as usize..]
                .chunks_exact(segment.chunk_bytes as usize)
                .for_each(|chunk| add(chunk, &chunk[64..])),
            Packing::Lz4 => {
                let mut rest = &file[FRAMES_OFFSET as usize..];
                while !rest.is_empty() {
                    let frame = Frame::decode(rest).expect("a frame");
                    let packed = &rest[FRAME_BYTES..][..frame.packed_bytes as usize];
                    let payload = lz4_flex::block::decompress(packed, segment.chunk_bytes as usize).expect("packed");
                    add(&frame.chunk, &payload);
                    rest = &rest[FRAME_BYTES + packed.len()..];
                }
            }
        }
    }
    let entry = |n: u64| &head[(header.lane_offset + n * ENTRY_BYTES as u64) as usize..];
    let mut numbers = BTreeMap::<u64, Vec<u64>>::new();
    let mut read = Vec::new();
    for (chunk, payload) in chunks.into_values() {
        let schema = Schema::default();
        let mut reader = Reader::new(&payload, chunk.base_tick, &schema);
        while let Some(event) = reader.next_event().expect("a good chunk") {
            let (Identity::Process(pid), Body::GcMinorStart { sizes }) = (event.whose, event.body) else {
                panic!("{event:?}")
            };
            read.push((event.tick, pid, sizes.iter().next().expect("a number")));
        }
    }
    read.sort_by_key(|(tick, ..)| *tick);
    read.into_iter().for_each(|(_, pid, number)| numbers.entry(pid).or_default().push(number));
    Read {
        status: Status::decode(&head),
        lanes: (0..header.lane_slots).filter_map(|n| Lane::decode(entry(n))).map(|l| l.expect("good")).collect(),
        numbers,
        segments,
        bytes,
    }
}

fn present(read: &Read) -> u64 {
    read.numbers.values().map(Vec::len).sum::<usize>() as u64
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn once_keeps_the_first_and_ends_when_full() {
    let scratch = scratch();
    let path = scratch.path().join("x.spoor");
    let (state, told) = open(options(&path, Storage::Once(512 << 10)));
    let mut offered = 0;
    while state.is_recording() {
        event(state, 7, offered);
        offered += 1;
        assert!(offered < 1_000_000);
    }
    (0..10).for_each(|_| event(state, 7, 0));
    assert!(matches!(told.recv_timeout(Duration::from_secs(5)), Ok(Told::Limit(Limit::Full))));
    let summary = close(state, "test", &told);
    assert_eq!((summary.events, summary.overwritten), (offered - 1, 0));
    assert_eq!(summary.dropped[Cause::AfterLimit as usize], 11);
    let file = read(&path);
    assert_eq!(file.status.phase, Phase::Stopped);
    assert_eq!(file.numbers[&7], (0..offered - 1).collect::<Vec<_>>());
    assert!(offered * 16 > (512 << 10) / 2, "most of it is used");
}

#[test]
fn a_stream_goes_on_from_segment_to_segment_and_loses_nothing() {
    let mut unpacked = 0;
    for packs in [false, true] {
        let scratch = scratch();
        let path = scratch.path().join("x.spoor");
        let (state, told) = open(options(&path, Storage::Stream(Stream { packs, ..stream(64 << 20) })));
        std::thread::scope(|scope| {
            for pid in 1..=3 {
                scope.spawn(move || events(state, pid, 0..100_000));
            }
        });
        let summary = close(state, "test", &told);
        assert_eq!((summary.events, summary.overwritten), (300_000, 0));
        assert!(summary.dropped.iter().all(|n| *n == 0), "{summary:?}");
        let file = read(&path);
        assert!(file.numbers.values().all(|numbers| *numbers == (0..100_000).collect::<Vec<_>>()));
        assert_eq!(file.numbers.len(), 3);
        let last = *file.segments.keys().last().expect("a segment");
        assert!(last > 6 && file.segments.keys().copied().eq(1..=last), "{:?}", file.segments);
        assert!(file.segments.values().all(|packing| (*packing == Packing::Lz4) == packs), "{:?}", file.segments);
        // Events take the more bytes, the slower the machine is.
        assert!(!packs || 2 * file.bytes < unpacked, "{} of {unpacked} bytes", file.bytes);
        unpacked = file.bytes;
    }
}

#[test]
fn at_the_cap_the_oldest_segment_goes() {
    for packs in [false, true] {
        let scratch = scratch();
        let path = scratch.path().join("x.spoor");
        let total = 8 << 20;
        let (state, told) = open(options(&path, Storage::Stream(Stream { packs, ..stream(total) })));
        events(state, 7, 0..1_500_000);
        let live = registry::with(state, |recording| recording.summary()).expect("open");
        assert_eq!(live.events, 1_500_000);
        let summary = close(state, "test", &told);
        assert_eq!(summary.events, 1_500_000, "{summary:?}");
        let file = read(&path);
        assert!(file.bytes <= total, "{} bytes", file.bytes);
        let kept = present(&file);
        assert_eq!(kept, summary.events - summary.overwritten);
        assert!(kept > 100_000 && summary.overwritten > 0, "{kept}");
        assert_eq!(file.numbers[&7], (1_500_000 - kept..1_500_000).collect::<Vec<_>>());
        assert!(*file.segments.keys().next().expect("a segment") > 1);
    }
}

#[test]
fn a_stream_that_keeps_the_first_ends_at_the_cap() {
    let scratch = scratch();
    let path = scratch.path().join("x.spoor");
    let (state, told) = open(options(&path, Storage::Stream(Stream { keep_first: true, ..stream(5 << 20) })));
    let mut offered = 0;
    while state.is_recording() {
        // At the end there is no segment more to wait for.
        (offered..offered + 500).for_each(|number| event(state, 7, number));
        offered += 500;
        std::thread::sleep(Duration::from_millis(1));
        assert!(offered < 10_000_000);
    }
    assert!(matches!(told.recv_timeout(Duration::from_secs(5)), Ok(Told::Limit(Limit::Full))));
    let summary = close(state, "test", &told);
    let late = summary.dropped[Cause::NoSegment as usize];
    assert_eq!(summary.events + late + summary.dropped[Cause::AfterLimit as usize], offered);
    let file = read(&path);
    assert_eq!((file.numbers[&7].len() as u64, file.numbers[&7][0]), (summary.events, 0));
    assert_eq!((file.segments.keys().next(), file.bytes <= 5 << 20), (Some(&1), true));
}

/// An idle thread's chunk is taken away from it, with all that it holds.
#[test]
fn an_idle_thread_holds_up_no_segment_and_loses_nothing() {
    let scratch = scratch();
    let path = scratch.path().join("x.spoor");
    let (state, told) = open(options(&path, Storage::Stream(stream(64 << 20))));
    let (idle, wake) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            events(state, 1, 0..10);
            wake.recv().expect("woken");
            events(state, 1, 10..20);
        });
        scope.spawn(move || {
            events(state, 2, 0..150_000);
            idle.send(()).expect("somebody sleeps");
        });
    });
    let summary = close(state, "test", &told);
    assert_eq!((summary.events, summary.overwritten), (150_020, 0));
    let file = read(&path);
    assert_eq!(file.numbers[&1], (0..20).collect::<Vec<_>>());
    assert_eq!(file.numbers[&2].len(), 150_000);
    assert_eq!(file.lanes.iter().map(|lane| lane.sealed_events).sum::<u64>(), 150_020);
}

/// More than the disk (here: the thread that makes segments) can take: what is not
/// stored is counted, and nobody waits.
#[test]
fn what_no_segment_is_ready_for_is_counted() {
    let scratch = scratch();
    let path = scratch.path().join("x.spoor");
    let (state, told) = open(options(&path, Storage::Stream(stream(6 << 20))));
    let offered = 2_000_000;
    (0..offered).for_each(|number| event(state, 7, number));
    let summary = close(state, "test", &told);
    let dropped = summary.dropped[Cause::NoSegment as usize];
    assert_eq!(summary.events + dropped, offered);
    let file = read(&path);
    assert_eq!(present(&file), summary.events - summary.overwritten);
    assert!(file.numbers[&7].is_sorted());
}

#[test]
fn a_cap_too_small_for_the_segments_is_an_error_and_leaves_nothing() {
    let scratch = scratch();
    let path = scratch.path().join("x.spoor");
    let small = recording::open(options(&path, Storage::Stream(stream(1 << 20))), TestHost(channel().0));
    let Err(OpenError::StreamTooSmall { stream: 0x10_0000, least, segment }) = small else { panic!("{small:?}") };
    assert!(least > 4 * segment && least < 4 * segment + (2 << 20), "{least} for {segment}");
    let small = Stream { segment_bytes: 1 << 10, ..stream(1 << 30) };
    let small = recording::open(options(&path, Storage::Stream(small)), TestHost(channel().0));
    let Err(OpenError::SegmentTooSmall { segment: 1024, least: segment_bytes, stream: enough }) = small else {
        panic!("{small:?}")
    };
    // What it says is enough, and no less is.
    let with = |total_bytes| Stream { segment_bytes, total_bytes, ..stream(0) };
    let close = recording::open(options(&path, Storage::Stream(with(enough - 1))), TestHost(channel().0));
    assert!(matches!(close, Err(OpenError::StreamTooSmall { least, .. }) if least == enough), "{close:?}");
    let (state, told) = host::open(options(&path, Storage::Stream(with(enough))));
    host::close(state, "test", &told);
    std::fs::remove_dir_all(&path).expect("it was there");
    let huge = Stream { segment_bytes: 1 << 44, ..stream(1 << 50) };
    let huge = recording::open(options(&path, Storage::Stream(huge)), TestHost(channel().0));
    assert!(huge.is_err());
    assert!(!path.exists());
}

#[test]
fn a_stream_is_written_to_the_disk_at_intervals() {
    for storage in [Storage::Ring(1 << 20), Storage::Stream(stream(16 << 20))] {
        let scratch = scratch();
        let path = scratch.path().join("x.spoor");
        let sync = Some(Duration::from_millis(20));
        let (state, told) = open(Options { sync, ..options(&path, storage) });
        events(state, 7, 0..50_000);
        let summary = close(state, "test", &told);
        assert_eq!(summary.events, 50_000);
        assert_eq!(present(&read(&path)), summary.events - summary.overwritten);
    }
}

/// However long the disk is left alone, a deleted segment gives its room back, and what is
/// closed takes no descriptor.
#[test]
fn a_segment_that_waits_for_the_disk_is_not_kept_open() {
    for packs in [false, true] {
        let scratch = scratch();
        let path = scratch.path().join("x.spoor");
        let sync = Some(Duration::from_secs(3600));
        let stream = Stream { packs, ..stream(6 << 20) };
        let (state, told) = open(Options { sync, ..options(&path, Storage::Stream(stream)) });
        let before = open_files(&path).len();
        events(state, 7, 0..1_000_000);
        let summary = registry::with(state, |recording| recording.summary()).expect("it is open");
        assert!(summary.overwritten > 0, "segments were deleted");
        // One may be in the making, another be packed into a third.
        let open = open_files(&path);
        assert!(open.len() <= before + 3, "{before} files, now {open:?}");
        close(state, "test", &told);
    }
}

/// Files of a recording that this process has open.
fn open_files(path: &Path) -> Vec<std::path::PathBuf> {
    let open = std::fs::read_dir("/proc/self/fd").expect("of this process");
    let files = open.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    files.filter(|file| file.starts_with(path)).collect()
}
