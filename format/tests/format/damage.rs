//! No bytes panic a decoder, and what stands before the damage is read.

use proptest::prelude::*;
use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::{ChunkHeader, Event, Identity, Reader};
use spoor_format::record::{Record, Schema, write};
use spoor_format::term::RawTerm;
use spoor_format::{Cursor, DecodeError};

/// A chunk with names, contexts, annotations and terms in it.
fn chunk() -> (ChunkHeader, Vec<u8>) {
    let mut chunk = ChunkBuilder::new(2, 9, 1 << 40, 77);
    let map = chunk.function("lists", "map", 2);
    let (ok, process) = (chunk.atom("ok"), Identity::Process(0x1234));
    chunk.event((1 << 40) + 5, process, |to, delta| {
        // {ok, -3, <<"ab">>}
        write::content(to, 0, RawTerm::trusted(&[8, 3, 1, ok as u8, 2, 5, 11, 16, 2, b'a', b'b']))?;
        write::call(to, delta, map)
    });
    chunk.event((1 << 40) + 900, process, |to, delta| write::return_to(to, delta, 0));
    chunk.event((1 << 40) + 900, Identity::Port(7), |to, delta| write::port_in(to, delta, ok));
    chunk.event((1 << 40) + 99_999, Identity::Nobody, |to, delta| write::gc_minor_start(to, delta, &[1, 300, 1 << 35]));
    chunk.finish()
}

fn read<'a>(payload: &'a [u8], schema: &'a Schema) -> (Vec<Event<'a>>, Option<DecodeError>) {
    let mut reader = Reader::new(payload, 1 << 40, schema);
    let mut events = Vec::new();
    loop {
        match reader.next_event() {
            Ok(Some(event)) => {
                assert!(event.content.decode().is_ok() && event.match_result.decode().is_ok());
                events.push(event);
            }
            Ok(None) => return (events, None),
            Err(error) => return (events, Some(error)),
        }
    }
}

#[test]
fn a_payload_cut_at_any_byte_gives_what_stands_before_the_cut() {
    let (_, payload) = chunk();
    let schema = Schema::default();
    let (all, none) = read(&payload, &schema);
    assert_eq!((all.len(), none), (4, None));
    let mut whole = 0;
    for cut in 0..payload.len() {
        let (events, error) = read(&payload[..cut], &schema);
        assert_eq!(events, all[..events.len()], "cut at {cut}");
        assert!(matches!(error, None | Some(DecodeError::Truncated { .. })), "cut at {cut}: {error:?}");
        assert!(events.len() >= whole, "cut at {cut}");
        whole = events.len();
    }
    assert_eq!(whole, 3);
}

#[test]
fn every_flipped_bit_of_a_chunk_is_noticed_or_harmless() {
    let (header, payload) = chunk();
    let bytes = [&header.encode()[..], &payload].concat();
    let schema = Schema::default();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(Some(found)) = ChunkHeader::decode(&damaged, payload.len() as u64) else { continue };
        let payload = &damaged[ChunkHeader::BYTES..][..found.bytes as usize];
        let _ = read(payload, &schema);
        let noticed = found.crc.is_none_or(|crc| crc != crc32fast::hash(payload)) || found.records != header.records;
        // The upper half of the check word is not used, nor are the words behind it.
        let unused = bit / 8 >= 52 && bit / 8 < ChunkHeader::BYTES;
        assert!(noticed || unused, "bit {bit}");
    }
}

#[test]
fn ticks_beyond_64_bits_are_refused() {
    let mut payload = Vec::new();
    write::receive(&mut payload, u64::MAX).expect("a Vec is never full");
    let schema = Schema::default();
    assert!(matches!(Reader::new(&payload, 1, &schema).next_event(), Err(DecodeError::Layout { .. })));
}

proptest! {
    #[test]
    fn any_record_is_read_whole((spec, bytes) in crate::arbitrary::record()) {
        let mut cursor = Cursor::new(&bytes);
        let record = Record::decode(&mut cursor, &Schema::default());
        let record = record.map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(cursor.is_empty());
        prop_assert_eq!(record.body.id(), spec.id);
        for cut in 0..bytes.len() {
            let cut = Record::decode(&mut Cursor::new(&bytes[..cut]), &Schema::default());
            prop_assert!(matches!(cut, Err(DecodeError::Truncated { .. })), "{:?}", cut);
        }
    }

    #[test]
    fn any_term_is_read_whole(bytes in crate::arbitrary::term()) {
        prop_assert!(RawTerm::trusted(&bytes).decode().is_ok());
    }

    #[test]
    fn no_payload_panics(payload: Vec<u8>) {
        let _ = read(&payload, &Schema::parse("200 event a x:uint t:term\n201 annotate b w:words\n"));
    }
}
