//! The text form loses nothing: bytes -> text -> bytes is the identity for good
//! files, damaged files and cut files, and so is text -> bytes -> text.

use proptest::prelude::*;
use spoor_format::build::{ChunkBuilder, FileBuilder, RingKind};
use spoor_format::chunk::Identity;
use spoor_format::header::Header;
use spoor_format::lane::{Lane, LaneKind};
use spoor_format::record::write;
use spoor_format::status::{Phase, Status};
use spoor_format::text::{parse, to_text};

/// There and back; answers the text.
fn round_trip(file: &[u8]) -> String {
    let text = to_text(file).expect("a header that can be read");
    let image = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(image.to_bytes() == file, "other bytes come back from\n{text}");
    assert_eq!(to_text(&image.to_bytes()).as_ref(), Ok(&text));
    text
}

fn small_file() -> FileBuilder {
    let header = Header::with_rings(2, 3, (512, 2), (512, 3));
    let mut file = FileBuilder::new(header, Status { phase: Phase::Recording, stop_tick: 0, reason: String::new() });
    file.meta.entries = vec![("node".into(), "\"näme\"\n\u{1b}@host".into())];
    let dropped = [0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (kind, dropping, sampled) = (LaneKind::Scheduler, [50, 60], [0; 2]);
    let (sealed_events, sealed_infos, outside) = (2, 0, 0);
    let lane = Lane { kind, index: 1, os_tid: 7, sealed_events, sealed_infos, dropping, outside, sampled, dropped };
    let (kind, dropping) = (LaneKind::Recorder, [0, 0]);
    let sampled = [3, 4];
    file.lanes =
        vec![Lane { kind, index: 0, os_tid: 6, sealed_events: 0, dropping, outside: 7, sampled, ..lane }, lane];
    let mut chunk = ChunkBuilder::new(1, 1, 100, 0);
    let map = chunk.function("lists", "map", 2);
    chunk.event(105, Identity::Process(7), |to, delta| write::call(to, delta, map));
    chunk.event(109, Identity::Process(7), |to, delta| write::gc_minor_start(to, delta, &[1, 2, 300]));
    file.push(RingKind::Events, chunk);
    file
}

#[test]
fn a_recording_reads_as_documented() {
    let text = round_trip(&small_file().build());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "spoor-text 1",
            "header lanes=2 clock_slots=3 info=512x2 events=512x3",
            r#"status phase=recording stop_tick=0 reason="""#,
            r#"meta "records" own"#,
            r#"meta "node" "\"näme\"\n\u{1b}@host""#,
            "lane 0 kind=recorder index=0 os_tid=6 sealed_events=0 sealed_infos=0 dropped=[0,3] outside=7 sampled=[3,4]",
            "lane 1 kind=scheduler index=1 os_tid=7 sealed_events=2 sealed_infos=0 dropped=[0,3] dropping=[50,60]",
            "chunk events 0 lane=1 seq=1 base_tick=100 first_record=0 sealed=yes",
            r#"  define_atom text="lists""#,
            r#"  define_atom text="map""#,
            "  define_function module=1 name=2 arity=2",
            "  process pid=7",
            "  call +5 function=1",
            "  gc_minor_start +4 sizes=[1,2,300]",
            "backup",
        ]
    );
}

#[test]
fn the_example_of_the_documentation_is_a_recording() {
    let documentation = include_str!("../../src/text.rs");
    let example = documentation.lines().skip_while(|line| *line != "//! ```text").skip(1);
    let example = example.take_while(|line| *line != "//! ```");
    let mut text = String::new();
    for line in example {
        let line = line.trim_start_matches("//! ").split(" #").next().unwrap_or_default();
        text.push_str(&format!("{line}\n"));
    }
    let file = parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).to_bytes();
    assert_eq!(file.len(), 50000);
    assert!(round_trip(&file).contains("content value=[-3,@1,<<16:0x6162>>]"));
}

#[test]
fn records_that_only_the_file_knows_are_named_as_it_names_them() {
    let mut file = small_file();
    file.meta.entries = vec![("records".into(), "200 event later who:term n:uint\n32 event mine x:uint\n".into())];
    let mut chunk = ChunkBuilder::new(1, 2, 0, 0);
    chunk.raw(&[200, 7, 7, 9, 32, 1, 1, 201, 5]);
    file.push(RingKind::Events, chunk);
    let text = round_trip(&file.build());
    assert!(text.contains("  later +7 who=[] n=9\n  call +1 function=1\n  raw 0xc905\n"), "{text}");
}

#[test]
fn what_cannot_be_said_in_lines_is_kept_as_bytes() {
    let mut file = small_file();
    let mut chunk = ChunkBuilder::new(1, 2, 0, 0);
    // A number, a term and a count with needless bytes.
    chunk.raw(&[32, 0x80, 0, 1]);
    chunk.raw(&[50, 1, 1, 0x80, 0]);
    chunk.raw(&[43, 1, 0x81, 0, 5]);
    file.push(RingKind::Events, chunk);
    let text = round_trip(&file.build());
    assert!(text.contains("  raw 0x20800001\n  exit +1 reason=term(0x018000)\n  raw 0x2b01810005\n"), "{text}");
}

#[test]
fn a_flipped_bit_in_any_structure_survives() {
    let mut file = small_file();
    file.meta.entries.insert(0, ("records".into(), "200 event later who:term n:uint\n".into()));
    let file = file.build();
    for byte in 0..file.len() {
        // Far more zeros than anything else; some of them are enough.
        if file[byte] == 0 && byte % 97 != 0 {
            continue;
        }
        let mut damaged = file.clone();
        damaged[byte] ^= 1 << (byte % 8);
        round_trip(&damaged);
    }
}

#[test]
fn a_file_cut_anywhere_behind_its_header_survives() {
    let file = small_file().build();
    let header = Header::decode(&file).expect("good");
    let dense = header.events.offset as usize..header.events.offset as usize + 160;
    let cuts = (108..file.len()).filter(|cut| dense.contains(cut) || cut % 211 == 0);
    cuts.for_each(|cut| drop(round_trip(&file[..cut])));
    round_trip(&[&file[..], &[0; 100], b"more"].concat());
}

#[test]
fn mistakes_are_told_with_their_line() {
    let error = |text: &str| parse(text).expect_err("wrong").to_string();
    let front = "spoor-text 1\nheader lanes=1 clock_slots=1 info=512x1 events=512x1\n";
    assert_eq!(error(""), "line 0: a `header` line must come first");
    assert_eq!(error("nonsense"), "line 1: `spoor-text 1` expected");
    assert_eq!(error(&format!("{front}what")), "line 3: `what` is not a kind of line");
    assert_eq!(error(&format!("{front}  call +1 function=1")), "line 3: a record outside of a chunk");
    assert_eq!(error(&format!("{front}at 99999999 0x00")), "line 3: it would stand outside of the file");
    let chunk = "chunk events 0 lane=0 seq=1 base_tick=0 first_record=0\n";
    assert_eq!(error(&format!("{front}{chunk} call +1 module=1")), "line 4: `function=` expected, found `module=1`");
    assert_eq!(
        error(&format!("{front}{chunk} raw 0x123")),
        "line 4: `123` is not an even number of hexadecimal digits"
    );
    let tuples = "{".repeat(100);
    assert_eq!(error(&format!("{front}{chunk} exit +1 reason={tuples}")), "line 4: a term nested too deeply");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_file_survives(file in crate::arbitrary::file()) {
        round_trip(&file.build());
    }

    #[test]
    fn any_damaged_file_survives(file in crate::arbitrary::file(), flips in prop::collection::vec((any::<u32>(), 0..8_u32), 1..40)) {
        let mut bytes = file.build();
        for (at, bit) in flips {
            let len = bytes.len();
            // Not the header: its copy is taken when it is damaged, and one of the two must be good.
            bytes[108 + at as usize % (len - 108 - 32768)] ^= 1_u8 << bit;
        }
        round_trip(&bytes);
    }

    #[test]
    fn no_text_panics(text in "(spoor-text 1\n)?([a-z@ 0-9=x.{}<>\\[\\]|#,+\"()-]{0,40}\n){0,6}") {
        let _ = parse(&text);
    }
}
