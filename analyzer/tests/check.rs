//! `spoor check`: what is whole is fine, what is not is named with its place, and
//! bad bytes cost one chunk.

mod common;

use std::process::Command;

use common::{at, file, killed_shop, lane, pid, pid_word};
use spoor_analyzer::model::check::{Check, Report};
use spoor_analyzer::read::{Names, Recording, Severity, Source, Survey, Tracees, Window};
use spoor_format::build::{ChunkBuilder, FileBuilder};
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;
use spoor_format::term::RawTerm;

fn check(bytes: Vec<u8>) -> Report {
    let recording = Recording::open(Source::from_bytes(bytes), "shop.spoor").expect("a recording");
    let mut check = Check::new(&recording);
    Survey::new(&recording).run(|recording, survey, round| check.round(recording, survey, round));
    check.report(&recording)
}

/// One chunk of one lane, with what `fill` writes of process 7.
fn one_chunk(fill: impl FnOnce(&mut ChunkBuilder)) -> FileBuilder {
    let mut file = file(Phase::Stopped, "test");
    let mut chunk = ChunkBuilder::new(0, 1, at(10), 0);
    fill(&mut chunk);
    file.push(RingKind::Events, chunk);
    let records = u64::from(file.chunks[0].2.records);
    file.lanes = vec![lane(LaneKind::Scheduler, 1, records, &[])];
    file
}

fn said(report: &Report) -> Vec<String> {
    let damage = report.defects.iter().filter(|defect| defect.severity == Severity::Damage);
    damage.map(|defect| defect.what.clone()).collect()
}

#[test]
fn a_whole_recording_is_fine() {
    let report = check(killed_shop().build());
    assert_eq!((report.fine, said(&report)), (true, Vec::new()));
    assert_eq!((report.chunks, report.events, report.ledger.present), (4, 39, 39));
}

#[test]
fn what_a_process_cannot_do_is_damage_with_its_place() {
    type Fill = fn(&mut ChunkBuilder);
    let parent = [4_u8, 1];
    let cases: [(&str, Fill); 7] = [
        ("it is scheduled in, but was not scheduled out since", |chunk| {
            chunk.event(at(20), pid(7), |to, d| write::in_(to, d, 0));
            chunk.event(at(30), pid(7), |to, d| write::in_(to, d, 0));
        }),
        ("it is scheduled out, but was not scheduled in since", |chunk| {
            chunk.event(at(20), pid(7), |to, d| write::out(to, d, 0));
            chunk.event(at(30), pid(7), |to, d| write::out(to, d, 0));
        }),
        ("a collection begins within another", |chunk| {
            chunk.event(at(20), pid(7), |to, d| write::gc_minor_start(to, d, &[]));
            chunk.event(at(30), pid(7), |to, d| write::gc_major_start(to, d, &[]));
        }),
        ("a collection ends as another kind than it began", |chunk| {
            chunk.event(at(20), pid(7), |to, d| write::gc_minor_start(to, d, &[]));
            chunk.event(at(30), pid(7), |to, d| write::gc_major_end(to, d, &[]));
        }),
        ("it calls or returns after its exit", |chunk| {
            let f = chunk.function("m", "f", 0);
            chunk.event(at(20), pid(7), |to, d| write::exit(to, d, RawTerm::trusted(&[7])));
            chunk.event(at(30), pid(7), |to, d| write::call(to, d, f));
        }),
        ("1 returns without a call, since it was spawned", |chunk| {
            let f = chunk.function("m", "f", 0);
            chunk.event(at(15), pid(7), |to, d| write::spawned(to, d, RawTerm::trusted(&[4, 1]), f));
            chunk.event(at(20), pid(7), |to, d| write::call(to, d, f));
            chunk.event(at(30), pid(7), |to, d| write::return_from(to, d, f));
            chunk.event(at(40), pid(7), |to, d| write::return_from(to, d, f));
        }),
        ("it was spawned after events of its own", |chunk| {
            let f = chunk.function("m", "f", 0);
            chunk.event(at(20), pid(7), |to, d| write::call(to, d, f));
            chunk.event(at(30), pid(7), |to, d| write::spawned(to, d, RawTerm::trusted(&[4, 1]), f));
        }),
    ];
    assert_eq!(RawTerm::trusted(&parent).pid(), Some(1));
    for (what, fill) in cases {
        let report = check(one_chunk(fill).build());
        assert_eq!(said(&report), [what]);
        let place = &report.defects[0].place;
        assert_eq!((place.chunk, place.number, place.lane), (Some(0), Some(1), Some(0)), "{what}");
        assert_eq!(place.process.as_deref(), Some("<0.7.0>"), "{what}");
        assert!(place.byte.is_some() && place.time_ns.is_some(), "{what}");
    }
}

#[test]
fn what_is_known_to_lie_elsewhere_is_not_told() {
    let twice_in = one_chunk(|chunk| {
        chunk.event(at(20), pid(7), |to, d| write::in_(to, d, 0));
        chunk.event(at(30), pid(7), |to, d| write::in_(to, d, 0));
        chunk.event(at(40), pid(8), |to, d| write::out(to, d, 0));
    });
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("shop.spoor");
    std::fs::write(&path, twice_in.build()).expect("written");
    let cases: [(&[&str], bool); 11] = [
        (&[], true),
        (&["--from", "25us"], true),
        (&["--from", "35us"], false),
        (&["--to", "25us"], false),
        (&["-p", "0.7.0"], true),
        (&["-p", "0.8.0"], false),
        (&["-k", "in"], true),
        (&["-k", "out"], false),
        (&["--scheduler", "s1"], true),
        (&["--scheduler", "s2"], false),
        (&["--from", "25us", "-p", "0.7.0", "-k", "i*", "--scheduler", "s*"], true),
    ];
    for (args, told) in cases {
        let done = Command::new(env!("CARGO_BIN_EXE_spoor")).arg("check").arg(&path).args(args).output();
        let done = done.expect("the binary runs");
        let text = String::from_utf8(done.stdout).expect("text");
        assert_eq!(done.status.code(), Some(i32::from(told)), "{args:?}: {text}");
        assert_eq!(text.contains("of a part"), !args.is_empty(), "{args:?}: {text}");
    }
}

#[test]
fn names_are_defined_before_they_are_used() {
    let report = check(one_chunk(|chunk| chunk.event(at(20), pid(7), |to, d| write::call(to, d, 3))).build());
    assert!(said(&report)[0].contains("function"), "{report:?}");
    let report = check(one_chunk(|chunk| chunk.event(at(20), pid(7), |to, d| write::register(to, d, 9))).build());
    assert!(said(&report)[0].contains("atom"), "{report:?}");
    let tuple = [8, 1, 1, 5];
    let fill =
        |chunk: &mut ChunkBuilder| chunk.event(at(20), pid(7), |to, d| write::exit(to, d, RawTerm::trusted(&tuple)));
    assert!(said(&check(one_chunk(fill).build()))[0].contains("atom"));
}

#[test]
fn a_chunk_holds_only_what_its_ring_does() {
    let fact = |chunk: &mut ChunkBuilder| {
        let none = RawTerm::NONE;
        chunk.event(at(20), pid(7), |to, d| write::process_info(to, d, pid_word(1), none, 0, none, 0));
    };
    assert!(said(&check(one_chunk(fact).build()))[0].contains("class"));
}

#[test]
fn chunks_of_a_lane_follow_each_other() {
    let call = |seq, us, first| {
        let mut chunk = ChunkBuilder::new(0, seq, at(us), first);
        let f = chunk.function("m", "f", 0);
        chunk.event(at(us + 50), pid(7), |to, d| write::call(to, d, f));
        chunk
    };
    let mut file = file(Phase::Stopped, "test");
    file.push(RingKind::Events, call(1, 100, 0));
    file.push(RingKind::Events, call(2, 120, 0));
    file.lanes = vec![lane(LaneKind::Scheduler, 1, 1, &[])];
    let report = check(file.build());
    let said = said(&report);
    assert!(said.iter().any(|what| what.contains("begins with record 0")), "{said:?}");
    assert!(said.iter().any(|what| what.contains("before the end of the chunk before it")), "{said:?}");
}

#[test]
fn a_damaged_copy_of_the_front_is_named() {
    let shop = killed_shop();
    let mut bytes = shop.build();
    bytes[shop.header.backup_offset() as usize + 20] ^= 1;
    let report = check(bytes);
    assert_eq!(report.defects[0].place.part.as_deref(), Some("copy of the front"));
    assert!(!report.fine);
}

#[test]
fn overwritten_pieces_are_no_damage() {
    let mut file = file(Phase::Stopped, "test");
    // The ring has five places; turn n is place (n - 1) mod 5.
    for seq in [6, 7, 3, 4, 5_u64] {
        let mut chunk = ChunkBuilder::new(0, seq, at(100 * seq), seq - 1);
        let f = chunk.function("m", "f", 0);
        // Its call was in a chunk that is overwritten.
        chunk.event(at(100 * seq + 1), pid(7), |to, d| write::return_from(to, d, f));
        file.push(RingKind::Events, chunk);
    }
    file.lanes = vec![lane(LaneKind::Scheduler, 1, 7, &[])];
    let report = check(file.build());
    assert_eq!((report.fine, report.ledger.overwritten), (true, 2), "{report:?}");
}

/// A recording of two lanes, taking turns, of 64 chunks.
fn many_chunks() -> FileBuilder {
    let header = Header::with_rings(4, 4, (4096, 2), (4096, 64));
    let mut file = FileBuilder { header, ..file(Phase::Stopped, "test") };
    let mut records = [0; 2];
    for seq in 1..=64_u64 {
        let lane = (seq % 2) as usize;
        let mut chunk = ChunkBuilder::new(lane as u32, seq, at(100 * seq), records[lane]);
        let f = chunk.function("m", "f", 0);
        for event in 0..800 {
            let tick = at(100 * seq) + event * 200;
            chunk.event(tick, pid(7 + lane as u64), |to, d| match event % 2 {
                0 => write::call(to, d, f),
                _ => write::return_from(to, d, f),
            });
        }
        records[lane] += 800;
        file.push(RingKind::Events, chunk);
    }
    file.lanes = vec![
        lane(LaneKind::Scheduler, 1, records[0], &[]),
        lane(LaneKind::Scheduler, 2, records[1], &[]),
        lane(LaneKind::Recorder, 0, 0, &[]),
    ];
    file
}

/// What can be read of it, as `info` counts.
fn present(bytes: Vec<u8>) -> u64 {
    let recording = Recording::open(Source::from_bytes(bytes), "shop.spoor").expect("a recording");
    let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
    let mut events = 0;
    while stream.next().is_some() {
        events += 1;
    }
    events
}

#[test]
fn sixty_four_bad_bytes_cost_at_most_one_chunk_and_are_named() {
    let (file, mut seed) = (many_chunks(), 0x5eed_u64);
    let (whole, ring) = (file.build(), file.header.events);
    assert!(check(whole.clone()).fine);
    let mut random = || {
        // xorshift64: as good as any for places.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..400 {
        let mut bytes = whole.clone();
        let from = (random() % (bytes.len() as u64 - 64)) as usize;
        bytes[from..from + 64].iter_mut().for_each(|byte| *byte = random() as u8);
        let report = check(bytes.clone());
        // The 64 bytes may lie across the border of two chunks.
        let chunks = |at: usize| (at as u64).checked_sub(ring.offset).map(|inside| inside / ring.chunk_bytes);
        let hit = 1 + u64::from(chunks(from) != chunks(from + 63));
        let lost = 64 * 800 - present(bytes);
        assert!(lost <= 800 * hit, "round {round}: {lost} events lost by 64 bytes at {from}");
        if lost > 0 {
            let named = report.defects.iter().any(|defect| {
                let said = format!("{:?}", defect.place);
                let place = chunks(from).into_iter().chain(chunks(from + 63));
                let mut place = place.filter(|place| *place < ring.chunks);
                place.any(|place| defect.place.chunk == Some(place) || said.contains(&format!("chunk {place} ")))
            });
            assert!(!report.fine && named, "round {round}: 64 bytes at {from}: {:?}", report.defects);
        }
    }
}
