//! The header of a chunk.

use crate::{DecodeError, crc};

/// First bytes of a chunk that was ever used.
pub const MAGIC: u32 = u32::from_le_bytes(*b"SpCh");

/// Offset of the take number: 0 while the chunk is being recycled.
pub const SEQ_OFFSET: usize = 8;
/// Offset of the commit word: records in the high, bytes in the low 32 bits.
pub const COMMIT_OFFSET: usize = 16;
/// Offset of the seal: CRC-32 of the payload in the high, its length in the low
/// 32 bits; 0 until someone had time to compute it.
pub const SEAL_OFFSET: usize = 40;

/// The first 64 bytes of a chunk. All numbers are little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The lane that wrote it.
    pub lane: u32,
    /// Rises with each chunk taken of this ring, with gaps where a place was passed over.
    pub seq: u64,
    /// Timed records committed.
    pub records: u32,
    /// Bytes of payload committed.
    pub bytes: u32,
    /// What the first time delta is relative to.
    pub base_tick: u64,
    /// Timed records that the lane had stored in this ring before.
    pub first_record: u64,
    /// CRC-32 of the payload, once sealed.
    pub crc: Option<u32>,
}

impl ChunkHeader {
    /// Size of the header.
    pub const BYTES: usize = 64;

    /// The words that do not change while the chunk is written: (offset, word).
    pub fn fixed_words(lane: u32, seq: u64, base_tick: u64, first_record: u64) -> [(usize, u64); 4] {
        let first = u64::from(MAGIC) | u64::from(lane) << 32;
        let check = crc::of_words(&[first, seq, base_tick, first_record]);
        [(0, first), (24, base_tick), (32, first_record), (48, u64::from(check))]
    }

    /// The commit word.
    pub fn commit_word(records: u32, bytes: u32) -> u64 {
        u64::from(records) << 32 | u64::from(bytes)
    }

    /// The bytes of a header.
    #[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "all offsets lie within the header")]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let seal = self.crc.map_or(0, |crc| u64::from(crc) << 32 | u64::from(self.bytes));
        let changing =
            [(SEQ_OFFSET, self.seq), (COMMIT_OFFSET, Self::commit_word(self.records, self.bytes)), (SEAL_OFFSET, seal)];
        let fixed = Self::fixed_words(self.lane, self.seq, self.base_tick, self.first_record);
        for (at, word) in fixed.into_iter().chain(changing) {
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The header: `None` for a chunk not (or not yet again) in use. A commit
    /// word beyond `payload_bytes`, or a damaged header, is an error.
    pub fn decode(bytes: &[u8], payload_bytes: u64) -> Result<Option<ChunkHeader>, DecodeError> {
        let truncated = DecodeError::Truncated { offset: 0 };
        let header: &[u8; Self::BYTES] = bytes.first_chunk().ok_or(truncated)?;
        let word = |at: usize| header.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
        let (first, seq, commit, seal) = (word(0), word(SEQ_OFFSET), word(COMMIT_OFFSET), word(SEAL_OFFSET));
        if seq == 0 {
            return Ok(None);
        }
        let (base_tick, first_record) = (word(24), word(32));
        let (got, want) = (crc::of_words(&[first, seq, base_tick, first_record]), word(48) as u32);
        if got != want || first as u32 != MAGIC {
            return Err(DecodeError::Checksum { what: "chunk header", want, got });
        }
        let committed = commit & 0xffff_ffff;
        if committed > payload_bytes {
            return Err(DecodeError::Layout { why: "a chunk says it holds more than fits into it" });
        }
        let sealed = seal != 0 && seal & 0xffff_ffff == committed;
        Ok(Some(ChunkHeader {
            lane: (first >> 32) as u32,
            seq,
            records: (commit >> 32) as u32,
            bytes: committed as u32,
            base_tick,
            first_record,
            crc: sealed.then_some((seal >> 32) as u32),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_reads_back() {
        let header = ChunkHeader {
            lane: 3,
            seq: 9,
            records: 2,
            bytes: 11,
            base_tick: 1 << 50,
            first_record: 1 << 33,
            crc: Some(0xdead_beef),
        };
        assert_eq!(ChunkHeader::decode(&header.encode(), 100), Ok(Some(header)));
        assert!(ChunkHeader::decode(&header.encode(), 10).is_err());
        assert_eq!(ChunkHeader::decode(&[0; 64], 100), Ok(None));
    }
}
