//! A recording cut at any byte, and with any bit flipped: no panic, no hang, no
//! silence about what matters.

mod common;

use common::{at, everything, file, is_damaged, killed_shop, lane, pid, schedulers};
use spoor_analyzer::read::{Recording, Source};
use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::ChunkHeader;
use spoor_format::header::{FRONT_BYTES, Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;

/// Unused space is probed at this distance, used space at every byte.
const STRIDE: usize = 61;

/// Bytes worth every test: those that say something, and their neighbours.
fn places(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len())
        .filter(|at| {
            let near = bytes[at.saturating_sub(4)..(at + 4).min(bytes.len())].iter().any(|byte| *byte != 0);
            near || at % STRIDE == 0
        })
        .collect()
}

#[test]
fn the_whole_recording_is_fine() {
    let (_, findings, ledger) = everything(killed_shop().build()).expect("a recording");
    assert_eq!(findings, []);
    assert_eq!((ledger.stored, ledger.present, ledger.dropped), (39, 39, 2));
}

#[test]
fn cut_at_any_byte_it_opens_and_says_so() {
    let bytes = killed_shop().build();
    let header_bytes = killed_shop().header.encode().len();
    let mut last = 0;
    for cut in places(&bytes) {
        match everything(bytes[..cut].to_vec()) {
            None => assert!(cut < header_bytes, "cut at {cut}"),
            Some((_, findings, ledger)) => {
                assert!(cut >= header_bytes, "cut at {cut}");
                assert!(is_damaged(&findings), "cut at {cut}");
                assert!(ledger.present >= last, "cut at {cut}: {ledger:?}, {last} before");
                last = ledger.present;
            }
        }
    }
    assert_eq!(last, 39, "all events stand before the copy of the front");
}

#[test]
fn any_flipped_bit_costs_what_it_hits() {
    let file = killed_shop();
    let bytes = file.build();
    let (whole, _, whole_ledger) = everything(bytes.clone()).expect("a recording");
    let guarded = guarded(&file);
    for place in places(&bytes) {
        // One bit of most bytes is enough to be quick; all bits of what counts.
        let bits: &[u8] =
            if guarded.iter().any(|range| range.contains(&place)) { &[0, 1, 2, 3, 4, 5, 6, 7] } else { &[0, 3, 7] };
        for bit in bits {
            let mut damaged = bytes.clone();
            damaged[place] ^= 1 << bit;
            let (text, findings, ledger) = everything(damaged).expect("the copy of the header is good");
            if guarded.iter().any(|range| range.contains(&place)) {
                let silent = text == whole && ledger == whole_ledger;
                assert!(silent || is_damaged(&findings), "bit {bit} of byte {place} changed the answer silently");
            }
        }
    }
}

/// What checksums stand for: header, meta, clock pairs, chunk headers but their
/// commit and seal words, payloads of sealed chunks.
fn guarded(file: &spoor_format::build::FileBuilder) -> Vec<std::ops::Range<usize>> {
    let header = &file.header;
    let mut ranges = vec![0..512, 4096..FRONT_BYTES];
    let clocks = header.clock_offset as usize;
    ranges.push(clocks..clocks + 4 * 48);
    for (kind, place, chunk, payload) in &file.chunks {
        let start = header.ring(*kind).chunk_offset(*place) as usize;
        ranges.push(start..start + 16);
        ranges.push(start + 24..start + 40);
        if chunk.crc.is_some() {
            ranges.push(start + ChunkHeader::BYTES..start + ChunkHeader::BYTES + payload.len());
        }
    }
    ranges
}

/// Calls of 1 µs each, in the chunk with this number.
fn calls(lane: u32, seq: u64, first_record: u64, from_us: u64, n: u64) -> ChunkBuilder {
    let mut chunk = ChunkBuilder::new(lane, seq, at(from_us), first_record);
    let (f, g) = (chunk.function("m", "f", 0), chunk.function("m", "g", 0));
    for call in 0..n {
        chunk.event(at(from_us + 2 * call), pid(7), |to, d| write::call(to, d, if call == 0 { f } else { g }));
        chunk.event(at(from_us + 2 * call + 1), pid(7), |to, d| write::return_to(to, d, f));
    }
    chunk
}

#[test]
fn a_chunk_with_a_wrong_checksum_is_left_out_and_counted() {
    let mut file = file(Phase::Stopped, "test");
    for (seq, first) in [(1, 0), (2, 20), (3, 40)] {
        file.push(RingKind::Events, calls(0, seq, first, 100 * seq, 10));
    }
    file.lanes = vec![lane(LaneKind::Scheduler, 1, 60, &[])];
    file.chunks[1].3[30] ^= 1;
    let (text, findings, ledger) = everything(file.build()).expect("a recording");
    assert_eq!((ledger.stored, ledger.present, ledger.damaged, ledger.overwritten), (60, 40, 20, 0));
    assert!(findings[0].place.contains("number 2") && findings[0].cost.contains("20 events"), "{findings:?}");
    assert_eq!(text.lines().filter(|line| line.contains(" call m:")).count(), 20);
}

#[test]
fn what_the_ring_overwrote_is_not_damage() {
    let mut file = file(Phase::Stopped, "test");
    // The ring has five chunks; seven were taken.
    for seq in 3..=7_u64 {
        file.push(RingKind::Events, calls(0, seq, 20 * (seq - 1), 100 * seq, 10));
    }
    file.lanes = vec![lane(LaneKind::Scheduler, 1, 140, &[])];
    let (_, findings, ledger) = everything(file.build()).expect("a recording");
    assert_eq!(findings, []);
    assert_eq!((ledger.stored, ledger.present, ledger.overwritten, ledger.damaged), (140, 100, 40, 0));
}

#[test]
fn a_call_is_never_timed_across_a_hole() {
    let mut file = file(Phase::Stopped, "test");
    let (mut before, mut after) = (ChunkBuilder::new(0, 1, at(10), 0), ChunkBuilder::new(0, 3, at(900), 2));
    let f = before.function("m", "f", 0);
    before.event(at(10), pid(7), |to, d| write::call(to, d, f));
    let f = after.function("m", "f", 0);
    after.event(at(900), pid(7), |to, d| write::return_from(to, d, f));
    file.push(RingKind::Events, before);
    file.push(RingKind::Events, after);
    file.lanes = vec![lane(LaneKind::Scheduler, 1, 3, &[])];
    let (text, _, ledger) = everything(file.build()).expect("a recording");
    assert_eq!((ledger.stored, ledger.present, ledger.damaged), (3, 2, 1));
    let row = text.lines().find(|line| line.starts_with("m:f/0  ")).expect("a row");
    assert_eq!(
        row.split_whitespace().collect::<Vec<_>>(),
        ["m:f/0", "1", "0", "ns", "0.0", "%", "0", "ns", "-", "-", "-", "-", "-", "-", "2"]
    );
}

#[test]
fn the_scheduler_view_of_damage_does_not_panic() {
    let bytes = killed_shop().build();
    assert!(schedulers(bytes.clone()).is_some_and(|text| text.contains("from in and out events")));
    for place in places(&bytes).into_iter().step_by(37) {
        let mut damaged = bytes.clone();
        damaged[place] ^= 0x40;
        schedulers(damaged);
        schedulers(bytes[..place].to_vec());
    }
}

#[test]
fn files_that_are_no_recordings_are_told_apart() {
    assert!(everything(Vec::new()).is_none());
    assert!(everything(b"SPOOR\n\0\0 mangled by a text tool".to_vec()).is_none());
    assert!(everything(vec![0; 200_000]).is_none());
}

#[test]
fn a_table_said_to_be_endless_is_read_as_far_as_it_goes() {
    let mut bytes = killed_shop().build();
    let shop = killed_shop().header;
    let ring = |ring: spoor_format::header::RingLayout| (ring.chunk_bytes, ring.chunks);
    for (lanes, clocks) in [(1 << 16, shop.clock_slots), (shop.lane_slots, 1 << 20)] {
        let header = Header::with_rings(lanes, clocks, ring(shop.info), ring(shop.events)).encode();
        bytes[..header.len()].copy_from_slice(&header);
        let recording = Recording::open(Source::from_bytes(bytes.clone()), "shop.spoor").expect("a good header");
        // Not one defect for each lane that is not there.
        assert!(recording.audit().len() < 1000);
    }
    // More than any file has is refused.
    for (lanes, clocks) in [((1 << 16) + 1, shop.clock_slots), (shop.lane_slots, (1 << 20) + 1)] {
        let header = Header::with_rings(lanes, clocks, ring(shop.info), ring(shop.events)).encode();
        bytes[..header.len()].copy_from_slice(&header);
        let end = bytes.len() - FRONT_BYTES;
        bytes[end..][..header.len()].copy_from_slice(&header);
        assert!(Recording::open(Source::from_bytes(bytes.clone()), "shop.spoor").is_err());
    }
}
