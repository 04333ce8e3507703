//! The files that the event ring of a stream is made of: a header, then chunks
//! side by side, or packed one by one.

use bincode::{Decode, Encode};

use crate::DecodeError;
use crate::chunk::ChunkHeader;
use crate::header::{ENDIAN, LARGEST_CHUNK, MAJOR, MINOR, PAGE, config, crc_of, decode_front};

/// First bytes of every segment.
pub const MAGIC: [u8; 8] = *b"SPSEG\r\n\0";
/// Bytes of the header, encoded.
pub const HEADER_BYTES: usize = 56;
/// Where the chunks of a segment begin that is not packed.
pub const CHUNKS_OFFSET: u64 = PAGE;
/// Where the frames of a packed segment begin.
pub const FRAMES_OFFSET: u64 = 64;
/// No segment has more chunks.
pub const MOST_CHUNKS: u64 = 1 << 20;
/// First bytes of every frame.
pub const FRAME_MAGIC: [u8; 4] = *b"SpFr";
/// Bytes of a frame before the packed payload: its own header, and the chunk's.
pub const FRAME_BYTES: usize = 16 + ChunkHeader::BYTES;
/// The file of the stream that is no segment.
pub const HEAD: &str = "head.spoor";

/// How the chunks lie in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Packing {
    /// Side by side, each of full size.
    None = 0,
    /// In frames, each payload an LZ4 block.
    Lz4 = 1,
}

impl Packing {
    /// All, with their names.
    pub const ALL: [(Packing, &'static str); 2] = [(Packing::None, "none"), (Packing::Lz4, "lz4")];

    /// The name of the file of a segment.
    pub fn file_name(self, number: u64) -> String {
        match self {
            Packing::None => format!("{number:08}.segment"),
            Packing::Lz4 => format!("{number:08}.segment.lz4"),
        }
    }

    /// What the name of a file says: the segment's number, and how it is packed.
    pub fn of_file_name(name: &str) -> Option<(u64, Packing)> {
        let (number, rest) = name.split_once('.')?;
        let packing = match rest {
            "segment" => Packing::None,
            "segment.lz4" => Packing::Lz4,
            _ => return None,
        };
        let counted = number.len() >= 8 && number.bytes().all(|byte| byte.is_ascii_digit());
        counted.then(|| number.parse().ok()).flatten().filter(|number| *number > 0).map(|number| (number, packing))
    }
}

/// What stands at the start of a segment, encoded with bincode 2 in its fixed
/// little-endian form: the fields in this order, no padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct SegmentHeader {
    magic: [u8; 8],
    endian: u32,
    major: u16,
    minor: u16,
    /// The stream it belongs to: the same as in the meta key `stream`.
    pub stream: u64,
    /// Its number, from 1.
    pub number: u64,
    /// Size of each chunk, header included.
    pub chunk_bytes: u64,
    /// Number of chunks of each segment of the stream.
    pub chunks: u64,
    packing: u32,
    crc: u32,
}

impl SegmentHeader {
    /// The header of a segment.
    pub fn new(stream: u64, number: u64, chunk_bytes: u64, chunks: u64, packing: Packing) -> SegmentHeader {
        let header = SegmentHeader {
            magic: MAGIC,
            endian: ENDIAN,
            major: MAJOR,
            minor: MINOR,
            stream,
            number,
            chunk_bytes,
            chunks,
            packing: packing as u32,
            crc: 0,
        };
        SegmentHeader { crc: crc_of(&header.encode()), ..header }
    }

    /// How its chunks lie.
    pub fn packing(&self) -> Packing {
        let known = Packing::ALL.iter().find(|(packing, _)| *packing as u32 == self.packing);
        known.map_or(Packing::None, |(packing, _)| *packing)
    }

    /// The bytes of the header.
    pub fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, config()).unwrap_or_default()
    }

    /// Reads and checks a header; `bytes` may go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<SegmentHeader, DecodeError> {
        let parts = |header: &SegmentHeader| (header.endian, header.major, header.minor, header.crc);
        let header: SegmentHeader = decode_front(bytes, &MAGIC, "segment header", parts)?;
        let (bytes, least) = (header.chunk_bytes, ChunkHeader::BYTES as u64);
        if bytes <= least || bytes > LARGEST_CHUNK || header.chunks > MOST_CHUNKS || header.number == 0 {
            return Err(DecodeError::Layout { why: "a segment of an impossible size or number" });
        }
        if !Packing::ALL.iter().any(|(packing, _)| *packing as u32 == header.packing) {
            return Err(DecodeError::Layout { why: "a segment packed in a way that this version does not know" });
        }
        Ok(header)
    }
}

/// What stands before a packed payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Place of the chunk in its segment.
    pub place: u32,
    /// Bytes of the packed payload.
    pub packed_bytes: u32,
    /// The header of the chunk, as it was.
    pub chunk: [u8; ChunkHeader::BYTES],
}

impl Frame {
    /// The longest payload that is packed of a chunk: what LZ4 makes of bytes that it
    /// cannot pack.
    pub fn most_packed(chunk_bytes: u64) -> u64 {
        chunk_bytes.saturating_add(chunk_bytes / 255).saturating_add(16)
    }

    /// The bytes before the packed payload.
    #[allow(clippy::indexing_slicing, reason = "all offsets lie within the frame")]
    pub fn encode(&self) -> [u8; FRAME_BYTES] {
        let mut bytes = [0; FRAME_BYTES];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.place.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.packed_bytes.to_le_bytes());
        bytes[16..].copy_from_slice(&self.chunk);
        let check = Self::check(&bytes);
        bytes[12..16].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads and checks what stands at the start of `bytes`.
    pub fn decode(bytes: &[u8]) -> Option<Frame> {
        let bytes: &[u8; FRAME_BYTES] = bytes.first_chunk()?;
        let word = |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b));
        let good = bytes.first_chunk() == Some(&FRAME_MAGIC) && word(12) == Self::check(bytes);
        let frame = Frame { place: word(4), packed_bytes: word(8), chunk: *bytes.last_chunk()? };
        good.then_some(frame)
    }

    fn check(bytes: &[u8; FRAME_BYTES]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(bytes.get(..12).unwrap_or_default());
        hasher.update(bytes.get(16..).unwrap_or_default());
        hasher.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_every_flipped_bit_is_noticed() {
        let header = SegmentHeader::new(77, 3, 16384, 40, Packing::Lz4);
        let bytes = header.encode();
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(SegmentHeader::decode(&bytes), Ok(header));
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(SegmentHeader::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_frame_reads_back_and_every_flipped_bit_is_noticed() {
        let frame = Frame { place: 3, packed_bytes: 99, chunk: [7; ChunkHeader::BYTES] };
        assert_eq!(Frame::decode(&frame.encode()), Some(frame));
        for bit in 0..FRAME_BYTES * 8 {
            let mut damaged = frame.encode();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&damaged), None, "bit {bit}");
        }
    }

    #[test]
    fn names_of_files_say_number_and_packing() {
        for (packing, _) in Packing::ALL {
            for number in [1, 99_999_999, 100_000_000] {
                assert_eq!(Packing::of_file_name(&packing.file_name(number)), Some((number, packing)));
            }
        }
        for name in ["head.spoor", "1.segment", "00000000.segment", "00000001.segment.part", "0000000x.segment"] {
            assert_eq!(Packing::of_file_name(name), None, "{name}");
        }
    }
}
