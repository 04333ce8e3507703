//! Recordings out of a fuzzer's numbers, by the format's own builder: tables and
//! chunks with the right checksums, then bytes changed here and there.

use spoor_format::build::{FileBuilder, RingKind};
use spoor_format::chunk::ChunkHeader;
use spoor_format::clock::ClockPair;
use spoor_format::header::{Header, Meta};
use spoor_format::lane::{Lane, LaneKind};
use spoor_format::segment::{CHUNKS_OFFSET, FRAMES_OFFSET, Frame, HEAD, Packing, SegmentHeader};
use spoor_format::status::{Phase, Status};

use crate::repair::{events, repair};
use crate::{Input, LATER};

const LANES: u64 = 3;
const INFO: (u64, u64) = (1024, 2);
const EVENTS: (u64, u64) = (2048, 4);
/// The number of the stream, and the places of each of its segments.
const STREAM: u64 = 7;
const PLACES: u64 = 2;

/// A file.
pub fn file(input: &mut Input<'_>) -> Vec<u8> {
    let (repairs, mut file) = (input.byte(), builder(input, EVENTS));
    while file.chunks.len() < 6 && !input.0.is_empty() {
        let chunk = chunk(input);
        file.chunks.push(chunk);
    }
    let mut bytes = file.build();
    layout(&mut bytes, input, EVENTS);
    while !input.0.is_empty() {
        change(&mut bytes, input);
    }
    repair(&mut bytes, repairs);
    bytes
}

/// Lets the header say that tables and rings are larger than what there is, if a
/// number other than 0 says so.
fn layout(bytes: &mut [u8], input: &mut Input<'_>, events: (u64, u64)) {
    if input.byte() == 0 {
        return;
    }
    let mut larger = |number: u64| {
        let by = u32::from(input.byte());
        if by < 64 { number.checked_shl(by).unwrap_or(number) } else { number }
    };
    let (lanes, clocks) = (larger(LANES), larger(4));
    let (info, events) = ((larger(INFO.0), larger(INFO.1)), (larger(events.0), larger(events.1)));
    let header = Header::with_rings(lanes, clocks, info, events).encode();
    bytes.iter_mut().zip(&header).for_each(|(old, new)| *old = *new);
}

/// The files of a stream.
pub fn stream(input: &mut Input<'_>) -> Vec<(String, Vec<u8>)> {
    let (repairs, mut head) = (input.byte(), builder(input, (EVENTS.0, 0)));
    head.meta.entries.push(("mode".to_owned(), "stream".to_owned()));
    head.meta.entries.push(("stream".to_owned(), STREAM.to_string()));
    let mut segments: Vec<(String, Vec<u8>)> = Vec::new();
    let count = 1 + input.byte() % 4;
    for _ in 0..count {
        let (number, how) = (1 + u64::from(input.byte() % 8), input.byte());
        let packing = if how & 1 == 0 { Packing::Lz4 } else { Packing::None };
        let mut chunks = Vec::new();
        for place in 0..u64::from(how >> 1) % (PLACES + 1) {
            let (ring, _, mut header, payload) = chunk(input);
            if ring == RingKind::Info && head.chunks.is_empty() {
                head.chunks.push((ring, 0, header, payload));
                continue;
            }
            if how & 8 == 0 {
                header.seq = (number - 1) * PLACES + place + 1;
            }
            chunks.push((place, header, payload));
        }
        let name = packing.file_name(number);
        if segments.iter().all(|(known, _)| *known != name) {
            segments.push((name, segment(number, packing, &chunks)));
        }
    }
    let mut bytes = head.build();
    layout(&mut bytes, input, (EVENTS.0, 0));
    while !input.0.is_empty() {
        let file = usize::from(input.byte()) % (segments.len() + 1);
        change(segments.get_mut(file).map_or(&mut bytes, |(_, bytes)| bytes), input);
    }
    repair(&mut bytes, repairs);
    segments.push((HEAD.to_owned(), bytes));
    segments
}

fn segment(number: u64, packing: Packing, chunks: &[(u64, ChunkHeader, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = SegmentHeader::new(STREAM, number, EVENTS.0, PLACES, packing).encode();
    match packing {
        Packing::None => {
            bytes.resize((CHUNKS_OFFSET + PLACES * EVENTS.0) as usize, 0);
            for (place, header, payload) in chunks {
                let at = (CHUNKS_OFFSET + place * EVENTS.0) as usize;
                let chunk = [&header.encode()[..], payload].concat();
                bytes[at..at + chunk.len()].copy_from_slice(&chunk);
            }
        }
        Packing::Lz4 => {
            bytes.resize(FRAMES_OFFSET as usize, 0);
            for (place, header, payload) in chunks {
                let packed = lz4_flex::block::compress(payload);
                let (place, packed_bytes) = (*place as u32, packed.len() as u32);
                bytes.extend_from_slice(&Frame { place, packed_bytes, chunk: header.encode() }.encode());
                bytes.extend_from_slice(&packed);
            }
        }
    }
    bytes
}

fn change(bytes: &mut [u8], input: &mut Input<'_>) {
    let at = (usize::from(input.word()) | usize::from(input.byte()) << 16) % bytes.len();
    bytes[at] ^= input.byte();
}

fn builder(input: &mut Input<'_>, events: (u64, u64)) -> FileBuilder {
    let phase = Phase::ALL[usize::from(input.byte()) % Phase::ALL.len()].0;
    let status = Status { phase, stop_tick: u64::from(input.word()), reason: "why".to_owned() };
    let mut file = FileBuilder::new(Header::with_rings(LANES, 4, INFO, events), status);
    let how = input.byte();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let release = if how & 1 == 0 { "27" } else { "25" };
    file.meta = Meta { entries: vec![pair("records", LATER), pair("otp_release", release)] };
    file.meta.entries.extend([pair("process_limit", "262144"), pair("port_limit", "65536")]);
    if how & 2 != 0 {
        file.meta.entries.push(pair("snapshot", "all"));
    }
    if how & 4 != 0 {
        file.meta.entries.push(pair("sample", "4"));
    }
    file.clocks = clocks(input);
    file.lanes = (0..LANES).map(|number| lane(number, input)).collect();
    file
}

fn clocks(input: &mut Input<'_>) -> Vec<ClockPair> {
    let start = match input.byte() {
        0 => ClockPair { seq: 1, tick: input.long(), monotonic_ns: input.long(), wall_ns: input.long(), spread_ns: 1 },
        _ => ClockPair { seq: 1, tick: 1000, monotonic_ns: 5000, wall_ns: 1 << 60, spread_ns: 30 },
    };
    let later = |seq, input: &mut Input<'_>| ClockPair {
        seq,
        tick: start.tick.saturating_add(u64::from(input.word())),
        monotonic_ns: start.monotonic_ns.saturating_add(u64::from(input.word())),
        wall_ns: start.wall_ns.saturating_add(u64::from(input.word())),
        spread_ns: 30,
    };
    let count = u64::from(input.byte() % 4);
    std::iter::once(start).chain((0..count).map(|n| later(n + 2, input))).collect()
}

fn lane(number: u64, input: &mut Input<'_>) -> Lane {
    let kind = if number == 0 { LaneKind::Recorder } else { LaneKind::ALL[usize::from(input.byte()) % 5].0 };
    let mut dropped = [0; 16];
    dropped[usize::from(input.byte()) % 16] = u64::from(input.byte());
    let sealed_events = u64::from(input.byte());
    let dropping = if dropped[6] > 0 { [u64::from(input.word()), u64::from(input.word())] } else { [0; 2] };
    Lane {
        kind,
        index: number as u32,
        os_tid: number,
        sealed_events,
        sealed_infos: 0,
        dropping,
        outside: u64::from(dropped[2] & 1),
        sampled: [u64::from(dropped[9] & 1), dropped[9]],
        dropped,
    }
}

fn chunk(input: &mut Input<'_>) -> (RingKind, u64, ChunkHeader, Vec<u8>) {
    let (place, how) = (input.byte(), input.byte());
    let ring = if place & 0x80 == 0 { RingKind::Events } else { RingKind::Info };
    let (size, chunks) = if ring == RingKind::Events { EVENTS } else { INFO };
    let (lane, seq) = (u32::from(input.byte() % 4), 1 + u64::from(input.byte()));
    let (base, first_record) = (u64::from(input.word()), u64::from(input.byte()));
    let wanted = usize::from(input.word());
    let payload = input.take(wanted.min(size as usize - ChunkHeader::BYTES)).to_vec();
    let base_tick = if how & 8 == 0 { 1000 + base } else { u64::MAX - base };
    let records = if how & 1 == 0 { events(&payload, base_tick) } else { u32::from(input.byte()) };
    let bytes = if how & 2 == 0 { payload.len() as u32 } else { u32::from(input.word()) };
    let crc = (how & 4 == 0).then(|| crc32fast::hash(&payload));
    let header = ChunkHeader { lane, seq, records, bytes, base_tick, first_record, crc };
    (ring, u64::from(place & 0x7f) % chunks, header, payload)
}
