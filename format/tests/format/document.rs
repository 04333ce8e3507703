//! Holds `docs/FORMAT.md` to the code: every table between `<!-- table: NAME -->`
//! and `<!-- end -->`. Rows that follow from the code alone are written by
//! `BLESS=1 cargo test -p spoor-format document`.

use std::fmt::Write;

use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::{self, ChunkHeader, Identity};
use spoor_format::clock::ClockPair;
use spoor_format::header::{self, FRONT_BYTES, Header, Meta, RingKind, RingLayout};
use spoor_format::lane::{self, CAUSES, Lane, LaneKind};
use spoor_format::record::{FieldType, GC_SIZES, MESSAGE_SHAPES, SPECS, Schema, write};
use spoor_format::status::{self, Found, Phase, Status};
use spoor_format::term::{HiddenType, MAX_DEPTH, tag};
use spoor_format::text;

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/FORMAT.md");

fn document() -> String {
    std::fs::read_to_string(PATH).expect("docs/FORMAT.md can be read")
}

/// What stands between the marks of a table.
fn marked<'a>(document: &'a str, name: &str) -> &'a str {
    let mark = format!("<!-- table: {name} -->\n");
    let (_, rest) = document.split_once(&mark).unwrap_or_else(|| panic!("no table {name}"));
    rest.split_once("<!-- end -->").expect("a table has an end").0
}

/// The cells of a table's rows, without its head.
fn rows(name: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
    marked(&document(), name).lines().skip(2).map(cells).collect()
}

/// A table that is generated: must be what the code says, or is made so.
fn generated(name: &str, content: &str) {
    let document = document();
    if marked(&document, name) == content {
        return;
    }
    if std::env::var_os("BLESS").is_none() {
        panic!("table {name} of docs/FORMAT.md should be\n{content}");
    }
    let mark = format!("<!-- table: {name} -->\n");
    let old = format!("{mark}{}", marked(&document, name));
    std::fs::write(PATH, document.replace(&old, &format!("{mark}{content}"))).expect("docs/FORMAT.md can be written");
}

/// Each row's number at its offset, or its text, in an encoded structure.
fn assert_offsets(name: &str, bytes: &[u8], values: &[(&str, u64)]) {
    let mut names = Vec::new();
    for row in rows(name) {
        let at: usize = row[0].parse().expect("an offset");
        let size = match row[1].as_str() {
            "u16" => 2,
            "u32" => 4,
            "u64" | "16 × u64" => 8,
            "4 bytes" | "8 bytes" | "text" => 0,
            other => panic!("type {other} of {name}"),
        };
        if size > 0 {
            let mut word = [0; 8];
            word[..size].copy_from_slice(&bytes[at..at + size]);
            names.push(row[2].clone());
            let want =
                values.iter().find(|(field, _)| *field == row[2]).unwrap_or_else(|| panic!("{name}: {}", row[2]));
            assert_eq!(u64::from_le_bytes(word), want.1, "{name}: {}", row[2]);
        }
    }
    assert_eq!(names, values.iter().map(|(field, _)| *field).collect::<Vec<_>>(), "{name}");
}

#[test]
fn the_header_is_where_the_document_says() {
    let ring = |offset, chunk_bytes, chunks| RingLayout { offset, chunk_bytes, chunks };
    let mut header = Header::with_rings(5, 7, (4096, 3), (8192, 4));
    header = Header { info: ring(header.info.offset, 4096, 3), ..header };
    let bytes = header.encode();
    assert_eq!(bytes[..8], *b"SPOOR\r\n\0");
    let values = [
        ("endian", 0x0a0b_0c0d),
        ("major", 1),
        ("minor", 1),
        ("file_bytes", header.file_bytes),
        ("clock_offset", header.clock_offset),
        ("clock_slots", 7),
        ("lane_offset", header.lane_offset),
        ("lane_slots", 5),
        ("info.offset", header.info.offset),
        ("info.chunk_bytes", 4096),
        ("info.chunks", 3),
        ("events.offset", header.events.offset),
        ("events.chunk_bytes", 8192),
        ("events.chunks", 4),
        ("crc", u64::from(crc32fast::hash(&bytes[..104]))),
    ];
    assert_offsets("header", &bytes, &values);
    assert_eq!(header.backup_offset(), header.file_bytes - 32768);
    assert_eq!((header::META_OFFSET, header::META_BYTES, FRONT_BYTES), (4096, 28672, 32768));
}

#[test]
fn the_status_is_where_the_document_says() {
    let mut page = vec![0; 4096];
    Status { phase: Phase::Stopping, stop_tick: 77, reason: "why".into() }.encode_into(&mut page);
    let found = Found { wall_ns: 9, by: 8, phase: Phase::Recording };
    page[status::FOUND_WALL_OFFSET..][..16].copy_from_slice(&found.encode());
    let values =
        [("phase", 2), ("stop_tick", 77), ("found_wall_ns", 9), ("found_by", 8), ("died_in", 1), ("reason_bytes", 3)];
    assert_offsets("status", &page, &values);
    assert_eq!((&page[1092..1095], status::MAX_REASON), (&b"why"[..], 1024));
    let phases: Vec<_> = Phase::ALL.iter().map(|(p, name)| ((*p as u32).to_string(), name.to_string())).collect();
    assert_eq!(rows("phases").iter().map(|r| (r[0].clone(), r[1].clone())).collect::<Vec<_>>(), phases);
}

#[test]
fn the_meta_section_is_as_the_document_says() {
    let section = Meta { entries: vec![("ab".into(), "c".into())] }.encode();
    let body = [&1_u64.to_le_bytes()[..], &2_u64.to_le_bytes(), b"ab", &1_u64.to_le_bytes(), b"c"].concat();
    assert_eq!(section[..4], (body.len() as u32).to_le_bytes());
    assert_eq!(section[4..8], crc32fast::hash(&body).to_le_bytes());
    assert_eq!(section[8..], body);
}

#[test]
fn clock_pairs_are_as_the_document_says() {
    let pair = ClockPair { seq: 1, tick: 2, monotonic_ns: 3, wall_ns: 4, spread_ns: 5 };
    let start = 0x5350_4f4f_525f_434c_u64;
    let check = (1..=5).fold(start, |sum, word| sum.rotate_left(7) ^ word);
    let values = [("seq", 1), ("tick", 2), ("monotonic_ns", 3), ("wall_ns", 4), ("spread_ns", 5), ("check", check)];
    assert_offsets("clock", &pair.encode(), &values);
}

#[test]
fn lanes_are_where_the_document_says() {
    let (kind, mut dropped) = (LaneKind::DirtyIo, [0; 16]);
    dropped[0] = 11;
    let (sealed_events, sealed_infos, dropping, outside, sampled) = (9, 10, [12, 13], 14, [15, 16]);
    let lane = Lane { kind, index: 7, os_tid: 8, sealed_events, sealed_infos, dropping, outside, sampled, dropped };
    let bytes = lane.encode();
    let check = u64::from(crc32fast::hash(&bytes[..24]));
    let values = [
        ("kind", 3),
        ("index", 7),
        ("os_tid", 8),
        ("check", check),
        ("sealed_events", 9),
        ("sealed_infos", 10),
        ("dropping_since", 12),
        ("dropping_until", 13),
        ("outside", 14),
        ("sampled_in", 15),
        ("sampled_out", 16),
        ("dropped", 11),
    ];
    assert_offsets("lane", &bytes, &values);
    assert_eq!((&bytes[..4], lane::ENTRY_BYTES), (&b"LANE"[..], 256));
    let kinds: Vec<_> = LaneKind::ALL.iter().map(|(k, name)| ((*k as u32).to_string(), name.to_string())).collect();
    assert_eq!(rows("lane kinds").iter().map(|r| (r[0].clone(), r[1].clone())).collect::<Vec<_>>(), kinds);
    let causes: Vec<_> =
        (0..).zip(CAUSES).map(|(place, cause): (u32, _)| (place.to_string(), cause.to_owned())).collect();
    assert_eq!(rows("causes").iter().map(|r| (r[0].clone(), r[1].clone())).collect::<Vec<_>>(), causes);
}

#[test]
fn chunk_headers_are_as_the_document_says() {
    let header =
        ChunkHeader { lane: 1, seq: 2, records: 3, bytes: 4, base_tick: 5, first_record: 6, crc: Some(0x0807_0605) };
    let bytes = header.encode();
    let checked = [&bytes[..8], &bytes[8..16], &bytes[24..32], &bytes[32..40]].concat();
    let check = u64::from(crc32fast::hash(&checked));
    let values = [
        ("lane", 1),
        ("seq", 2),
        ("bytes", 4),
        ("records", 3),
        ("base_tick", 5),
        ("first_record", 6),
        ("seal_bytes", 4),
        ("seal_crc", 0x0807_0605),
        ("check", check),
    ];
    assert_offsets("chunk", &bytes, &values);
    assert_eq!((chunk::SEQ_OFFSET, chunk::COMMIT_OFFSET, chunk::SEAL_OFFSET), (8, 16, 40));
    assert_eq!(bytes[..4], *b"SpCh");
}

#[test]
fn the_table_of_records_is_the_codes() {
    let mut table = String::from("| Id | Class | Record | Fields | Meaning |\n|---|---|---|---|---|\n");
    for spec in SPECS {
        let fields: Vec<String> = spec.fields.iter().map(|(name, kind)| format!("`{name}`: {}", kind.name())).collect();
        let class = format!("{:?}", spec.class).to_lowercase();
        let (id, name, doc) = (spec.id, spec.name, spec.doc.trim());
        writeln!(table, "| {id} | {class} | `{name}` | {} | {doc} |", fields.join(", ")).expect("text");
    }
    generated("records", &table);
    let types: Vec<_> = FieldType::ALL.iter().map(|(_, name)| name.to_string()).collect();
    assert_eq!(rows("field types").into_iter().map(|mut row| row.remove(0)).collect::<Vec<_>>(), types);
    let first = Schema::own_text().lines().next().map(str::to_owned);
    assert_eq!(first.as_deref(), Some("1 define define_atom text:text"), "ID CLASS NAME FIELD:TYPE");
}

#[test]
fn the_smaller_tables_are_the_codes() {
    let mut sizes = String::from("| Place | Size |\n|---|---|\n");
    (0..).zip(GC_SIZES).for_each(|(place, name): (u32, _)| writeln!(sizes, "| {place} | `{name}` |").expect("text"));
    generated("gc sizes", &sizes);

    let mut shapes = String::from("| Shape | Name | Message, and its reference |\n|---|---|---|\n");
    (0..).zip(MESSAGE_SHAPES).for_each(|(number, (name, text)): (u32, _)| {
        let text = text.replace('|', "\\|");
        writeln!(shapes, "| {number} | `{name}` | {text} |").expect("text");
    });
    generated("message shapes", &shapes);

    let mut hidden = String::from("| Type | Name | Size |\n|---|---|---|\n");
    for (kind, name) in HiddenType::ALL {
        let size = match kind {
            HiddenType::Binary => "bytes",
            HiddenType::Map => "pairs",
            _ => "0",
        };
        writeln!(hidden, "| {} | {name} | {size} |", kind as u8).expect("text");
    }
    generated("hidden types", &hidden);

    let tags = [
        ("none", tag::NONE),
        ("atom", tag::ATOM),
        ("integer", tag::INTEGER),
        ("float", tag::FLOAT),
        ("pid", tag::PID),
        ("port", tag::PORT),
        ("reference", tag::REFERENCE),
        ("nil", tag::NIL),
        ("tuple", tag::TUPLE),
        ("list", tag::LIST),
        ("improper", tag::IMPROPER),
        ("binary", tag::BINARY),
        ("map", tag::MAP),
        ("printed", tag::PRINTED),
        ("elided", tag::ELIDED),
        ("hidden", tag::HIDDEN),
    ];
    let wanted: Vec<_> = tags.iter().map(|(name, tag)| (tag.to_string(), name.to_string())).collect();
    assert_eq!(rows("terms").iter().map(|r| (r[0].clone(), r[1].clone())).collect::<Vec<_>>(), wanted);
    assert_eq!(MAX_DEPTH, 64);
}

/// The chunk of the worked example.
fn example() -> Vec<u8> {
    let mut chunk = ChunkBuilder::new(1, 1, 1000, 0);
    let map = chunk.function("lists", "map", 2);
    let whose = Identity::Process(0x88);
    chunk.event(1005, whose, |to, delta| write::call(to, delta, map));
    chunk.event(1605, whose, |to, delta| write::return_to(to, delta, 0));
    let (header, payload) = chunk.finish();
    [&header.encode()[..], &payload].concat()
}

/// The bytes of the example never change: they are what readers were written for.
#[test]
fn the_example_is_what_the_code_writes() {
    let bytes = example();
    let mut lines = Vec::new();
    text::write_chunk(&mut lines, RingKind::Events, 0, 0, &bytes, &Schema::default()).expect("a Vec takes all");
    let lines = String::from_utf8(lines).expect("text");
    generated("example text", &format!("```text\n{lines}```\n"));

    let parts = [
        (8, "magic, lane 1"),
        (8, "seq 1"),
        (8, "26 bytes, 2 records"),
        (8, "base_tick 1000"),
        (8, "first_record 0"),
        (8, "seal_bytes 26, seal_crc"),
        (16, "check"),
        (7, "define_atom text=\"lists\": atom 0, reference 1"),
        (5, "define_atom text=\"map\": atom 1, reference 2"),
        (4, "define_function module=1 name=2 arity=2: reference 1"),
        (3, "process pid=0x88"),
        (3, "call, 5 ticks after base_tick, function=1"),
        (4, "return_to, 600 ticks later, function=0"),
    ];
    let (mut dump, mut at) = (String::from("```text\n"), 0);
    for (size, meaning) in parts {
        let hex: Vec<String> = bytes[at..at + size].iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(dump, "{at:04x}  {:<47}  {meaning}", hex.join(" ")).expect("text");
        at += size;
    }
    assert_eq!(at, bytes.len());
    generated("example", &format!("{dump}```\n"));
}
