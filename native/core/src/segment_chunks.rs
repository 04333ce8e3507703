//! The chunks of a stream as they lie in its files, read while segments are written,
//! packed and deleted by others.
//!
//! A place of a segment is written once, so what is committed there stays; the kernel
//! shows what is written through a mapping to who reads the file. Few files are open at a
//! time, since the service may want descriptors: the oldest, which are deleted first, and a
//! file once opened stays, whatever becomes of its name. One that is gone before was deleted
//! for room; one that has been packed meanwhile is looked through again.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use spoor_format::chunk::ChunkHeader;
use spoor_format::segment::{CHUNKS_OFFSET, FRAME_BYTES, FRAMES_OFFSET, Frame, HEADER_BYTES, Packing, SegmentHeader};

use crate::pace::{BYTES_OF_STEP, Pace};

/// Segments that are open at a time.
const MOST_OPEN: usize = 4;

/// Where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct At {
    /// Number of the segment.
    pub(crate) segment: u64,
    /// Where the chunk begins in the file, or its packed payload.
    offset: u64,
    /// In a packed segment, bytes of the packed payload.
    packed_bytes: Option<u32>,
}

/// The segments of a stream that are open.
#[derive(Debug)]
pub(crate) struct SegmentChunks {
    directory: PathBuf,
    open: BTreeMap<u64, (File, SegmentHeader)>,
    /// Where the chunks of the one that was opened again lie, by their numbers, when it was
    /// packed meanwhile.
    moved: BTreeMap<u64, At>,
    packed: Vec<u8>,
}

impl SegmentChunks {
    /// Those of the stream in this directory; none is open yet.
    pub(crate) fn of(directory: PathBuf) -> SegmentChunks {
        SegmentChunks { directory, open: BTreeMap::new(), moved: BTreeMap::new(), packed: Vec::new() }
    }

    /// The numbers of the segments that are there, the newest first.
    pub(crate) fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            numbers.extend(entry?.file_name().to_str().and_then(Packing::of_file_name).map(|(number, _)| number));
        }
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        numbers.dedup();
        Ok(numbers)
    }

    /// Opens a segment and looks at the headers of its chunks, in the order of their
    /// places; there is none when it has been deleted.
    pub(crate) fn look_through(&mut self, number: u64, pace: &mut Pace) -> io::Result<Vec<(ChunkHeader, At)>> {
        let Some((file, segment)) = self.open_file(number)? else { return Ok(Vec::new()) };
        let found = match segment.packing() {
            Packing::None => side_by_side(&file, &segment, pace),
            Packing::Lz4 => in_frames(&file, &segment, pace),
        };
        self.open.insert(number, (file, segment));
        found
    }

    /// Nothing more is read from this segment.
    pub(crate) fn close(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Keeps the oldest open; the others are opened again when they are read.
    pub(crate) fn keep_few(&mut self) {
        while self.open.len() > MOST_OPEN {
            self.open.pop_last();
        }
    }

    /// Opens a segment that is not, and closes those before it, which have been read.
    fn turn_to(&mut self, at: At, pace: &mut Pace) -> io::Result<()> {
        if self.open.contains_key(&at.segment) {
            return Ok(());
        }
        self.open = self.open.split_off(&at.segment);
        self.moved.clear();
        let Some((file, segment)) = self.open_file(at.segment)? else { return Ok(()) };
        if segment.packing() == Packing::Lz4 && at.packed_bytes.is_none() {
            let found = in_frames(&file, &segment, pace)?;
            self.moved.extend(found.into_iter().map(|(header, at)| (header.seq, at)));
        }
        self.open.insert(at.segment, (file, segment));
        Ok(())
    }

    /// Reads the chunk of that number, header and committed payload; `None` when it cannot
    /// be had. Segments are read in their order.
    pub(crate) fn read(
        &mut self,
        at: At,
        seq: u64,
        buffer: &mut Vec<u8>,
        pace: &mut Pace,
    ) -> io::Result<Option<ChunkHeader>> {
        self.turn_to(at, pace)?;
        let Some((file, segment)) = self.open.get(&at.segment) else { return Ok(None) };
        let at = match (segment.packing(), at.packed_bytes) {
            (Packing::Lz4, None) => match self.moved.get(&seq) {
                Some(at) => *at,
                None => return Ok(None),
            },
            _ => at,
        };
        let room = segment.chunk_bytes - ChunkHeader::BYTES as u64;
        buffer.resize(ChunkHeader::BYTES, 0);
        let Some(packed_bytes) = at.packed_bytes else {
            let Some(header) = header_at(file, at.offset, room, buffer)? else { return Ok(None) };
            buffer.resize(ChunkHeader::BYTES + header.bytes as usize, 0);
            read_at(file, &mut buffer[ChunkHeader::BYTES..], at.offset + ChunkHeader::BYTES as u64, pace)?;
            return Ok(Some(header));
        };
        file.read_exact_at(buffer, at.offset - ChunkHeader::BYTES as u64)?;
        let Ok(Some(header)) = ChunkHeader::decode(buffer, room) else { return Ok(None) };
        self.packed.resize(packed_bytes as usize, 0);
        read_at(file, &mut self.packed, at.offset, pace)?;
        buffer.resize(ChunkHeader::BYTES + header.bytes as usize, 0);
        let unpacked = lz4_flex::block::decompress_into(&self.packed, &mut buffer[ChunkHeader::BYTES..]);
        pace.step();
        Ok(unpacked.is_ok_and(|bytes| bytes == header.bytes as usize).then_some(header))
    }

    /// A segment gets its packed name before it loses the other.
    fn open_file(&self, number: u64) -> io::Result<Option<(File, SegmentHeader)>> {
        for (packing, _) in Packing::ALL {
            let file = match File::open(self.directory.join(packing.file_name(number))) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let mut header = [0; HEADER_BYTES];
            // One that is being made has no header yet, and no chunk.
            return Ok(file.read_exact_at(&mut header, 0).ok().and_then(|()| {
                let header = SegmentHeader::decode(&header).ok()?;
                Some((file, header))
            }));
        }
        Ok(None)
    }
}

/// The header of a chunk that may be written meanwhile: its commit word changes at once,
/// but who copies it may do so byte by byte, so it is read until it stays.
fn header_at(file: &File, offset: u64, room: u64, bytes: &mut [u8]) -> io::Result<Option<ChunkHeader>> {
    let mut before = [0; ChunkHeader::BYTES];
    file.read_exact_at(&mut before, offset)?;
    for _ in 0..8 {
        file.read_exact_at(bytes, offset)?;
        if bytes == before {
            break;
        }
        before.copy_from_slice(bytes);
    }
    Ok(ChunkHeader::decode(bytes, room).ok().flatten())
}

fn side_by_side(file: &File, segment: &SegmentHeader, pace: &mut Pace) -> io::Result<Vec<(ChunkHeader, At)>> {
    let room = segment.chunk_bytes - ChunkHeader::BYTES as u64;
    let (mut found, mut bytes) = (Vec::new(), [0; ChunkHeader::BYTES]);
    for place in 0..segment.chunks {
        let offset = CHUNKS_OFFSET + place * segment.chunk_bytes;
        let at = At { segment: segment.number, offset, packed_bytes: None };
        found.extend(header_at(file, offset, room, &mut bytes)?.map(|header| (header, at)));
        pace.step();
    }
    Ok(found)
}

fn in_frames(file: &File, segment: &SegmentHeader, pace: &mut Pace) -> io::Result<Vec<(ChunkHeader, At)>> {
    let room = segment.chunk_bytes - ChunkHeader::BYTES as u64;
    let (mut found, mut at) = (Vec::new(), FRAMES_OFFSET);
    let mut bytes = [0; FRAME_BYTES];
    // The end of the file is the end of the frames.
    while file.read_exact_at(&mut bytes, at).is_ok() {
        let Some(frame) = Frame::decode(&bytes) else { break };
        let offset = at + FRAME_BYTES as u64;
        if let Ok(Some(header)) = ChunkHeader::decode(&frame.chunk, room) {
            let packed_bytes = Some(frame.packed_bytes);
            found.push((header, At { segment: segment.number, offset, packed_bytes }));
        }
        at = offset + u64::from(frame.packed_bytes);
        pace.step();
    }
    Ok(found)
}

fn read_at(file: &File, into: &mut [u8], offset: u64, pace: &mut Pace) -> io::Result<()> {
    for (part, bytes) in into.chunks_mut(BYTES_OF_STEP).enumerate() {
        file.read_exact_at(bytes, offset + (part * BYTES_OF_STEP) as u64)?;
        pace.step();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const CHUNK: u64 = 4096;

    fn chunk(seq: u64, payload: &[u8]) -> [u8; ChunkHeader::BYTES] {
        let (lane, base_tick, first_record, records) = (0, 1, 0, 1);
        ChunkHeader { seq, lane, base_tick, first_record, records, bytes: payload.len() as u32, crc: None }.encode()
    }

    fn payload(seq: u64) -> Vec<u8> {
        vec![seq as u8; 100 + seq as usize]
    }

    /// Two chunks, as a segment holds them.
    fn segment(directory: &Path, number: u64, packing: Packing) {
        let mut bytes = SegmentHeader::new(7, number, CHUNK, 2, packing).encode();
        for (place, seq) in [2 * number - 1, 2 * number].into_iter().enumerate() {
            let payload = payload(seq);
            let chunk = chunk(seq, &payload);
            if packing == Packing::None {
                bytes.resize((CHUNKS_OFFSET + place as u64 * CHUNK) as usize, 0);
                bytes.extend([&chunk[..], &payload].concat());
            } else {
                let packed = lz4_flex::block::compress(&payload);
                bytes.resize(bytes.len().max(FRAMES_OFFSET as usize), 0);
                bytes.extend(Frame { place: place as u32, packed_bytes: packed.len() as u32, chunk }.encode());
                bytes.extend(packed);
            }
        }
        bytes.resize(bytes.len().next_multiple_of(CHUNK as usize), 0);
        std::fs::write(directory.join(packing.file_name(number)), bytes).expect("room");
    }

    #[test]
    fn what_is_packed_or_deleted_meanwhile_is_found_again_or_told() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        (1..=8).for_each(|number| segment(scratch.path(), number, Packing::None));
        let mut pace = Pace::begin();
        let mut segments = SegmentChunks::of(scratch.path().to_owned());
        let mut seen = Vec::new();
        for number in segments.numbers().expect("a directory") {
            seen.extend(segments.look_through(number, &mut pace).expect("it is there").into_iter().rev());
            segments.keep_few();
            assert!(segments.open.len() <= MOST_OPEN);
        }
        assert_eq!(seen.len(), 16);
        // The first is open, and stays; of the others one is packed now and one is gone.
        segment(scratch.path(), 6, Packing::Lz4);
        for gone in [1, 6, 7] {
            std::fs::remove_file(scratch.path().join(Packing::None.file_name(gone))).expect("it is there");
        }
        let mut buffer = Vec::new();
        for (was, at) in seen.iter().rev() {
            let is = segments.read(*at, was.seq, &mut buffer, &mut pace).expect("readable");
            assert!(segments.open.len() <= MOST_OPEN);
            let expected = (at.segment != 7).then_some(was.seq);
            assert_eq!(is.map(|is| is.seq), expected);
            if expected.is_some() {
                assert_eq!(buffer[ChunkHeader::BYTES..], payload(was.seq), "segment {}", at.segment);
            }
        }
    }
}
