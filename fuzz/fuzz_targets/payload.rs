//! A chunk's payload: reading never panics, and its text form leads back to it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spoor_format::chunk::{ChunkHeader, Reader};
use spoor_format::header::RingKind;
use spoor_format::record::{Body, Schema};
use spoor_format::text;
use spoor_fuzz::LATER;

fuzz_target!(|payload: &[u8]| {
    for schema in [Schema::default(), Schema::parse(LATER)] {
        read_all(payload, &schema);
        text_leads_back(payload, &schema);
    }
});

fn read_all(payload: &[u8], schema: &Schema) {
    let mut reader = Reader::new(payload, 0, schema);
    while let Ok(Some(event)) = reader.next_event() {
        // Well-formed terms decode; whatever refers to names may ask for them.
        assert!(event.content.decode().is_ok() && event.match_result.decode().is_ok());
        if let Body::Call { function } = event.body {
            let _ =
                reader.function(function).map(|def| def.map(|def| (reader.atom(def.module), reader.atom(def.name))));
        }
    }
    assert!(reader.offset() <= payload.len());
}

fn text_leads_back(payload: &[u8], schema: &Schema) {
    if payload.len() > 60_000 {
        return;
    }
    let header = ChunkHeader {
        lane: 0,
        seq: 1,
        records: 0,
        bytes: payload.len() as u32,
        base_tick: 0,
        first_record: 0,
        crc: None,
    };
    let chunk = [&header.encode()[..], payload].concat();
    let at = 32768 + 48 + 256_u64;
    let at = at.div_ceil(4096) * 4096;
    let mut lines = Vec::new();
    text::write_chunk(&mut lines, RingKind::Info, 0, at, &chunk, schema).expect("a Vec takes all");
    let lines = String::from_utf8(lines).expect("text");
    let table = if schema.foreign(200).is_some() { format!("meta \"records\" {LATER:?}\n") } else { String::new() };
    let text = format!("spoor-text 1\nheader lanes=1 clock_slots=1 info=65536x1 events=512x1\n{table}{lines}");
    let image = text::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}")).to_bytes();
    assert_eq!(&image[at as usize..at as usize + chunk.len()], chunk, "{text}");
}
