//! Recordings that have no text form, or none that tells what is wrong with them.

use spoor_format::build::{ChunkBuilder, FileBuilder, RingKind};
use spoor_format::chunk::ChunkHeader;
use spoor_format::header::Header;
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::segment::{CHUNKS_OFFSET, FRAMES_OFFSET, Frame, HEAD, Packing, SegmentHeader};
use spoor_format::status::Phase;
use spoor_format::term::RawTerm;

use crate::common::{at, clock, file, lane, pid};

/// The files of a directory, by name.
pub(crate) type Files = Vec<(String, Vec<u8>)>;

const STREAM: u64 = 7;
const CHUNK: u64 = 1024;
const PLACES: u64 = 2;

/// Streams of which a header, right by its checksum, says what cannot be.
pub(crate) fn streams() -> Vec<(&'static str, Files)> {
    let packed = |number, chunk_bytes, chunks, frames: &[u8]| {
        let mut bytes = SegmentHeader::new(STREAM, number, chunk_bytes, chunks, Packing::Lz4).encode();
        bytes.resize(FRAMES_OFFSET as usize, 0);
        bytes.extend_from_slice(frames);
        (Packing::Lz4.file_name(number), bytes)
    };
    let plain = |number, chunks| {
        let mut bytes = SegmentHeader::new(STREAM, number, CHUNK, chunks, Packing::None).encode();
        bytes.resize((CHUNKS_OFFSET + CHUNK * PLACES) as usize, 0);
        let (header, payload) = calls(number).finish();
        let chunk = [&header.encode()[..], &payload].concat();
        bytes[CHUNKS_OFFSET as usize..][..chunk.len()].copy_from_slice(&chunk);
        (Packing::None.file_name(number), bytes)
    };
    let good = whole_frame(0, 1);
    let largest = u64::from(u32::MAX);
    vec![
        ("a whole stream", vec![head(CHUNK, 3), packed(1, CHUNK, PLACES, &good), plain(2, PLACES)]),
        ("more lanes than bytes", vec![head(CHUNK, 1 << 16), packed(1, CHUNK, PLACES, &good)]),
        ("the largest chunks", vec![head(largest, 3), packed(1, largest, PLACES, &good)]),
        ("endlessly many chunks", vec![head(CHUNK, 3), packed(1, CHUNK, 1 << 52, &good), plain(2, 1 << 52)]),
        ("an endless table", vec![head(CHUNK, 1 << 33), packed(1, CHUNK, PLACES, &good)]),
        ("the last of all numbers", vec![head(CHUNK, 3), plain(1, PLACES), plain(u64::MAX, PLACES)]),
        ("frames that go on behind the end", vec![head(CHUNK, 3), packed(1, CHUNK, PLACES, &endless_frames())]),
    ]
}

/// Frames at the beginning of a segment that is a hole from there on: one that says it
/// is as long, and one that is none.
pub(crate) fn frames_of_large_segments() -> Vec<(&'static str, Vec<u8>)> {
    let long = Frame { place: 0, packed_bytes: 300 << 20, chunk: calls(1).finish().0.encode() }.encode().to_vec();
    vec![("a long frame", long), ("no frame", b"SpFr, or not".to_vec())]
}

/// A stream of a packed segment with these frames.
pub(crate) fn stream_with(frames: &[u8]) -> Files {
    let mut bytes = SegmentHeader::new(STREAM, 1, CHUNK, PLACES, Packing::Lz4).encode();
    bytes.resize(FRAMES_OFFSET as usize, 0);
    bytes.extend_from_slice(frames);
    vec![head(CHUNK, 3), (Packing::Lz4.file_name(1), bytes)]
}

/// A lane calls a function at the end of a chunk that the end of the file cuts, behind
/// the chunk in which it returns.
pub(crate) fn hole_behind_a_cut_chunk() -> Vec<u8> {
    let mut file = recording(Header::with_rings(2, 4, (1024, 1), (CHUNK, 2)));
    let (mut first, mut second) = (ChunkBuilder::new(1, 1, at(1), 0), ChunkBuilder::new(1, 2, at(50), 12));
    let f = first.function("m", "f", 0);
    first.event(at(2), pid(8), |to, d| write::call(to, d, f));
    first.event(at(3), pid(9), |to, d| write::call(to, d, f));
    for n in 0..10 {
        first.event(at(10 + n), pid(8), |to, d| write::out(to, d, f));
    }
    second.event(at(60), pid(8), |to, d| write::return_to(to, d, 0));
    second.event(at(61), pid(9), |to, d| write::return_to(to, d, 0));
    file.push(RingKind::Events, second);
    let (header, payload) = first.finish();
    let cut = file.header.events.chunk_offset(1) as usize + ChunkHeader::BYTES + payload.len() - 7;
    file.chunks.push((RingKind::Events, 1, header, payload));
    file.lanes.push(lane(LaneKind::Scheduler, 1, 14, &[]));
    let mut bytes = file.build();
    bytes.truncate(cut);
    bytes
}

/// Many processes that call, wait, collect garbage and ask a server for as long as a time
/// can be, and of sizes that no process has: none of it can be added up in 64 bits.
pub(crate) fn long_times() -> Vec<u8> {
    const PROCESSES: u64 = 600;
    let mut file = recording(Header::with_rings(2, 4, (1024, 1), (1 << 18, 1)));
    let mut chunk = ChunkBuilder::new(1, 1, at(1), 0);
    let (f, g) = (chunk.function("m", "f", 0), chunk.function("m", "g", 0));
    let server = pid(7);
    let to = |n: u64| [4, (n << 3) as u8 & 0x7f | 0x80, (n >> 4) as u8];
    let sizes = [u64::MAX; 12];
    for n in 16..16 + PROCESSES {
        let reference = [6, 1, 0x80 | n as u8, (n >> 7) as u8];
        let (who, reference) = (pid(n), RawTerm::trusted(&reference));
        let message = |to: &mut Vec<u8>, shape| write::message(to, 0, shape, reference);
        chunk.event(at(2), who, |to, d| write::in_(to, d, f));
        chunk.event(at(2), who, |to, d| write::call(to, d, f));
        chunk.event(at(2), who, |to, d| write::call(to, d, g));
        chunk.event(at(2), who, |out, d| {
            message(out, 0)?;
            write::send(out, d, RawTerm::trusted(&to(7)))
        });
        chunk.event(at(2), server, |to, d| {
            message(to, 0)?;
            write::receive(to, d)
        });
        match n % 3 {
            0 => chunk.event(at(2), who, |to, d| write::out(to, d, g)),
            1 => chunk.event(at(2), who, |to, d| write::gc_major_start(to, d, &[0; 12])),
            _ => chunk.event(at(2), who, |to, d| write::spawned(to, d, RawTerm::NONE, f)),
        }
    }
    // Later than any clock tells.
    let end = 1 << 58;
    for n in 16..16 + PROCESSES {
        let reference = [6, 1, 0x80 | n as u8, (n >> 7) as u8];
        let (who, reference) = (pid(n), RawTerm::trusted(&reference));
        chunk.event(end, server, |out, d| {
            write::message(out, 0, 2, reference)?;
            write::send(out, d, RawTerm::trusted(&to(n)))
        });
        match n % 3 {
            1 => chunk.event(end, who, |to, d| write::gc_major_end(to, d, &sizes)),
            _ => chunk.event(end, who, |to, d| write::in_(to, d, g)),
        }
        chunk.event(end, who, |to, d| {
            write::message(to, 0, 2, reference)?;
            write::receive(to, d)
        });
        chunk.event(end, who, |to, d| write::return_to(to, d, f));
        chunk.event(end, who, |to, d| write::return_to(to, d, 0));
        chunk.event(end, who, |to, d| write::gc_minor_start(to, d, &[1; 12]));
        chunk.event(end, who, |to, d| write::gc_minor_end(to, d, &sizes));
        chunk.event(end, who, |to, d| write::out(to, d, g));
    }
    file.push(RingKind::Events, chunk);
    file.lanes.push(lane(LaneKind::Scheduler, 1, PROCESSES * 14, &[]));
    file.build()
}

/// A recording of two microseconds without lanes and chunks.
fn recording(header: Header) -> FileBuilder {
    let mut file = file(Phase::Stopped, "stopped");
    file.header = header;
    file.clocks = vec![clock(1, 0), clock(2, 2_000)];
    file.lanes = vec![lane(LaneKind::Recorder, 0, 0, &[])];
    file
}

/// The head of a stream; of tables that its header makes large, what fits a page.
fn head(chunk_bytes: u64, lanes: u64) -> (String, Vec<u8>) {
    let mut file = recording(Header::with_rings(3, 4, (1024, 1), (chunk_bytes, 0)));
    file.meta.entries.push(("mode".to_owned(), "stream".to_owned()));
    file.meta.entries.push(("stream".to_owned(), STREAM.to_string()));
    file.lanes.push(lane(LaneKind::Scheduler, 1, 4, &[]));
    let mut bytes = file.build();
    let said = Header::with_rings(lanes, 4, (1024, 1), (chunk_bytes, 0)).encode();
    bytes[..said.len()].copy_from_slice(&said);
    (HEAD.to_owned(), bytes)
}

/// The first chunk of a segment: a call.
fn calls(segment: u64) -> ChunkBuilder {
    let start = at(100 * segment.min(9));
    let mut chunk = ChunkBuilder::new(1, segment.saturating_sub(1).wrapping_mul(PLACES) | 1, start, 0);
    let f = chunk.function("m", "f", 0);
    chunk.event(start, pid(8), |to, d| write::call(to, d, f));
    chunk.event(start + 10, pid(8), |to, d| write::return_to(to, d, 0));
    chunk
}

fn whole_frame(place: u32, segment: u64) -> Vec<u8> {
    let (header, payload) = calls(segment).finish();
    let packed = lz4_flex::block::compress(&payload);
    let frame = Frame { place, packed_bytes: packed.len() as u32, chunk: header.encode() };
    [&frame.encode()[..], &packed].concat()
}

/// Each is right but for its length, so that the next is looked for behind each.
fn endless_frames() -> Vec<u8> {
    let frame = Frame { place: 1, packed_bytes: u32::MAX, chunk: calls(1).finish().0.encode() };
    frame.encode().repeat(40_000)
}
