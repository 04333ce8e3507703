//! Makes recordings out of a fuzzer's bytes that get past the checksums, so that
//! what stands behind them is read too.

use spoor_format::build::{FileBuilder, RingKind};
use spoor_format::chunk::{ChunkHeader, Reader};
use spoor_format::clock::ClockPair;
use spoor_format::header::{Header, Meta};
use spoor_format::lane::{Lane, LaneKind};
use spoor_format::record::Schema;
use spoor_format::status::{Phase, Status};
use spoor_format::text;

/// A table with a record of every class and field type that only the file knows.
pub const LATER: &str = "200 event a x:uint y:atom z:function\n201 define b t:text\n202 context c e:term\n\
                         203 annotate d w:words\n204 info e e:term t:text\n";
/// What a text form begins with that does not bring its own beginning.
pub const FRONT: &str = "spoor-text 1\nheader lanes=3 clock_slots=4 info=2048x2 events=4096x4\n";

const LANES: u64 = 3;
const INFO: (u64, u64) = (2048, 2);
const EVENTS: (u64, u64) = (4096, 4);

/// How the lower six bits of the first byte say that the rest is to be taken.
pub mod kind {
    #![allow(missing_docs)]
    pub const RAW: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const PARTS: u8 = 2;
}

/// The recording that some bytes describe; `None` for those that describe none.
pub fn recording(data: &[u8]) -> Option<Vec<u8>> {
    let (kind, rest) = data.split_first()?;
    match kind & 0x3f {
        kind::RAW => Some(rest.to_vec()),
        kind::TEXT => from_text(rest),
        _ => Some(from_parts(rest)),
    }
}

/// The text, with a beginning when it has none.
pub fn with_front(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    Some(if text.starts_with("spoor-text") { text.to_owned() } else { format!("{FRONT}{text}") })
}

fn from_text(data: &[u8]) -> Option<Vec<u8>> {
    let image = text::parse(&with_front(data)?).ok()?;
    (image.len() <= 1 << 18).then(|| image.to_bytes())
}

/// Numbers off the front of the input; 0 when it is used up.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u16 {
        u16::from_le_bytes([self.byte(), self.byte()])
    }

    fn long(&mut self) -> u64 {
        (0..8).fold(0, |long, shift| long | u64::from(self.byte()) << (8 * shift))
    }

    fn take(&mut self, wanted: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(wanted.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Tables and chunks with the right checksums, then bytes changed here and there.
fn from_parts(data: &[u8]) -> Vec<u8> {
    let mut input = Input(data);
    let input = &mut input;
    let phase = Phase::ALL[usize::from(input.byte()) % 4].0;
    let status = Status { phase, stop_tick: u64::from(input.word()), reason: "why".to_owned() };
    let mut file = FileBuilder::new(Header::with_rings(LANES, 4, INFO, EVENTS), status);
    let release = if input.byte() % 2 == 0 { "27" } else { "25" };
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let limits = [pair("process_limit", "262144"), pair("port_limit", "65536")];
    let entries = [pair("records", &(Schema::own_text() + LATER)), pair("otp_release", release)];
    file.meta = Meta { entries: entries.into_iter().chain(limits).collect() };
    file.clocks = clocks(input);
    file.lanes = (0..LANES).map(|number| lane(number, input)).collect();
    while file.chunks.len() < 6 && !input.0.is_empty() {
        let chunk = chunk(input);
        file.chunks.push(chunk);
    }
    let mut bytes = file.build();
    while !input.0.is_empty() {
        let at = (usize::from(input.word()) | usize::from(input.byte()) << 16) % bytes.len();
        bytes[at] ^= input.byte();
    }
    bytes
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
    Lane { kind, index: number as u32, os_tid: number, sealed_events, sealed_infos: 0, dropping, outside: 0, dropped }
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
    let records = if how & 1 == 0 { count(&payload, base_tick) } else { u32::from(input.byte()) };
    let bytes = if how & 2 == 0 { payload.len() as u32 } else { u32::from(input.word()) };
    let crc = (how & 4 == 0).then(|| crc32fast::hash(&payload));
    let header = ChunkHeader { lane, seq, records, bytes, base_tick, first_record, crc };
    (ring, u64::from(place & 0x7f) % chunks, header, payload)
}

/// The events of a payload, as far as it can be read.
fn count(payload: &[u8], base_tick: u64) -> u32 {
    let schema = Schema::parse(LATER);
    let mut reader = Reader::new(payload, base_tick, &schema);
    let mut events = 0;
    while let Ok(Some(_)) = reader.next_event() {
        events += 1;
    }
    events
}
