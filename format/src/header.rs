//! The first page, the layout it announces, and the meta section.

use bincode::{Decode, Encode};

use crate::chunk::ChunkHeader;
use crate::{DecodeError, lane};

/// First bytes of every recording; the line ends catch files mangled by text tools.
pub const MAGIC: [u8; 8] = *b"SPOOR\r\n\0";
/// A writer on a big-endian machine would store these bytes reversed.
pub const ENDIAN: u32 = 0x0a0b_0c0d;
/// Readers refuse later major versions.
pub const MAJOR: u16 = 1;
/// Later minor versions add records, meta keys, causes: a reader goes on.
pub const MINOR: u16 = 1;

/// All regions begin at a multiple of this.
pub const PAGE: u64 = 4096;
/// Bytes of page 0 that the encoded header may take.
pub const HEADER_BYTES: usize = 512;
/// Where the meta section begins.
pub const META_OFFSET: u64 = PAGE;
/// Size of the meta section.
pub const META_BYTES: usize = 28 * 1024;
/// Size of page 0 and meta together, and of the backup at the end of the file.
pub const FRONT_BYTES: usize = PAGE as usize + META_BYTES;

/// Smallest and largest chunk of the event ring.
const EVENT_CHUNK_RANGE: (u64, u64) = (16 * 1024, 256 * 1024);
/// The event ring is cut into about this many chunks where the range allows.
const EVENT_CHUNKS_WANTED: u64 = 128;
/// Size of a chunk of the info ring.
const INFO_CHUNK_BYTES: u64 = 16 * 1024;
/// The info ring is this much smaller than the event ring.
const INFO_SHARE: u64 = 8;
/// Chunks beyond one for each lane, so that a ring can turn at all.
const SPARE_CHUNKS: u64 = 4;

/// Values of this length and less are never cut.
const KEPT_META_VALUE: usize = 64;

pub(crate) fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding()
}

/// Which of the two rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RingKind {
    /// Process facts and notes.
    Info,
    /// Events.
    Events,
}

impl RingKind {
    /// Both.
    pub const ALL: [RingKind; 2] = [RingKind::Info, RingKind::Events];

    /// The name in the text form and in messages.
    pub fn name(self) -> &'static str {
        match self {
            RingKind::Info => "info",
            RingKind::Events => "events",
        }
    }
}

/// A ring of chunks of equal size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct RingLayout {
    /// Where its first chunk begins.
    pub offset: u64,
    /// Size of a chunk, header included.
    pub chunk_bytes: u64,
    /// Number of chunks.
    pub chunks: u64,
}

impl RingLayout {
    /// Bytes of the whole ring.
    pub fn bytes(&self) -> u64 {
        self.chunk_bytes.saturating_mul(self.chunks)
    }

    /// Where the ring ends.
    fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes())
    }

    /// Where chunk `index` begins.
    pub fn chunk_offset(&self, index: u64) -> u64 {
        self.offset.saturating_add(index.saturating_mul(self.chunk_bytes))
    }
}

/// What stands at the start of the file, encoded with bincode 2 in its fixed
/// little-endian form: the fields in this order, no padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 8],
    /// [`ENDIAN`].
    pub endian: u32,
    /// [`MAJOR`].
    pub major: u16,
    /// [`MINOR`].
    pub minor: u16,
    /// Size of the file.
    pub file_bytes: u64,
    /// Where the clock table begins.
    pub clock_offset: u64,
    /// Entries of the clock table.
    pub clock_slots: u64,
    /// Where the lane table begins.
    pub lane_offset: u64,
    /// Entries of the lane table.
    pub lane_slots: u64,
    /// The ring of process facts and notes.
    pub info: RingLayout,
    /// The ring of events.
    pub events: RingLayout,
    /// CRC-32 of the encoding up to here.
    pub crc: u32,
}

/// No file has larger chunks,
pub const LARGEST_CHUNK: u64 = 64 << 20;
/// more lanes,
pub const MOST_LANES: u64 = 1 << 16;
/// or a longer clock table: sizes that are made up shall cost a reader nothing.
pub const MOST_CLOCKS: u64 = 1 << 20;

/// Entries of the clock table: the first pair, and one a second for half an hour.
pub const CLOCK_SLOTS: u64 = 2048;
/// The same of a stream: for four hours and a half.
pub const STREAM_CLOCK_SLOTS: u64 = 16_384;

fn page_up(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE).saturating_mul(PAGE)
}

impl Header {
    /// The smallest event ring for that many lanes.
    pub fn min_ring_bytes(lanes: u64) -> u64 {
        EVENT_CHUNK_RANGE.0.saturating_mul(lanes.saturating_add(SPARE_CHUNKS))
    }

    /// Lays out a file whose event ring has at least `ring_bytes`.
    pub fn new(ring_bytes: u64, lanes: u64) -> Header {
        let ring_bytes = ring_bytes.max(Self::min_ring_bytes(lanes));
        let (least, most) = EVENT_CHUNK_RANGE;
        let chunks_wanted = EVENT_CHUNKS_WANTED.max(lanes.saturating_mul(2));
        let chunk_bytes = ring_bytes.checked_div(chunks_wanted).unwrap_or(0).max(1);
        let chunk_bytes = (1 << chunk_bytes.ilog2()).clamp(least, most);
        let info_chunks = (ring_bytes / INFO_SHARE / INFO_CHUNK_BYTES).max(lanes.saturating_add(SPARE_CHUNKS));
        Self::with_rings(
            lanes,
            CLOCK_SLOTS,
            (INFO_CHUNK_BYTES, info_chunks),
            (chunk_bytes, ring_bytes.div_ceil(chunk_bytes)),
        )
    }

    /// Lays out the head of a stream, whose event ring lies in segments with
    /// chunks of at least `segment_bytes`: its chunks have a size here, and no place.
    pub fn for_stream(segment_bytes: u64, lanes: u64) -> Header {
        let ring = Self::new(segment_bytes, lanes).events;
        let info_chunks = (segment_bytes / (INFO_SHARE / 4) / INFO_CHUNK_BYTES).max(lanes.saturating_add(SPARE_CHUNKS));
        Self::with_rings(lanes, STREAM_CLOCK_SLOTS, (INFO_CHUNK_BYTES, info_chunks), (ring.chunk_bytes, 0))
    }

    /// The same file with an event ring of that many chunks.
    pub fn with_events(self, chunk_bytes: u64, chunks: u64) -> Header {
        let events = RingLayout { offset: self.events.offset, chunk_bytes, chunks };
        let file_bytes = page_up(events.end()).saturating_add(FRONT_BYTES as u64);
        Header { events, file_bytes, ..self }.with_crc()
    }

    /// Lays out a file with rings of exactly (chunk bytes, chunks).
    pub fn with_rings(lanes: u64, clock_slots: u64, info: (u64, u64), events: (u64, u64)) -> Header {
        let end = |start: u64, entries: u64, bytes: usize| start.saturating_add(entries.saturating_mul(bytes as u64));
        let clock_offset = FRONT_BYTES as u64;
        let lane_offset = end(clock_offset, clock_slots, crate::clock::ENTRY_BYTES);
        let ring = |offset, (chunk_bytes, chunks)| RingLayout { offset, chunk_bytes, chunks };
        let info = ring(page_up(end(lane_offset, lanes, lane::ENTRY_BYTES)), info);
        let events = ring(page_up(info.end()), events);
        let file_bytes = page_up(events.end()).saturating_add(FRONT_BYTES as u64);
        let header = Header {
            magic: MAGIC,
            endian: ENDIAN,
            major: MAJOR,
            minor: MINOR,
            file_bytes,
            clock_offset,
            clock_slots,
            lane_offset,
            lane_slots: lanes,
            info,
            events,
            crc: 0,
        };
        header.with_crc()
    }

    /// The header with the checksum that belongs to it.
    pub(crate) fn with_crc(self) -> Header {
        Header { crc: crc_of(&self.encode()), ..self }
    }

    /// The ring of that kind.
    pub fn ring(&self, kind: RingKind) -> RingLayout {
        match kind {
            RingKind::Info => self.info,
            RingKind::Events => self.events,
        }
    }

    /// Where the copy of page 0 and meta begins.
    pub fn backup_offset(&self) -> u64 {
        self.file_bytes.saturating_sub(FRONT_BYTES as u64)
    }

    /// The bytes of the header.
    pub fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, config()).unwrap_or_default()
    }

    /// Reads and checks a header; `bytes` may go on behind it.
    pub fn decode(bytes: &[u8]) -> Result<Header, DecodeError> {
        let parts = |header: &Header| (header.endian, header.major, header.minor, header.crc);
        let header: Header = decode_front(bytes, &MAGIC, "header", parts)?;
        header.check().map(|()| header)
    }

    /// Sizes that cannot be, so that no reader has to think of them again: the
    /// regions follow each other in the order of the fields and do not overlap.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let size = |entries: u64, bytes: u64| entries.checked_mul(bytes);
        let ring = |ring: &RingLayout| (ring.offset, size(ring.chunk_bytes, ring.chunks));
        let regions = [
            (0, Some(FRONT_BYTES as u64)),
            (self.clock_offset, size(self.clock_slots, crate::clock::ENTRY_BYTES as u64)),
            (self.lane_offset, size(self.lane_slots, lane::ENTRY_BYTES as u64)),
            ring(&self.info),
            ring(&self.events),
            (self.backup_offset(), Some(FRONT_BYTES as u64)),
        ];
        let end = regions.into_iter().try_fold(
            0,
            |end, (offset, bytes)| {
                if offset < end { None } else { offset.checked_add(bytes?) }
            },
        );
        if end != Some(self.file_bytes) {
            return Err(DecodeError::Layout { why: "regions overlap or lie outside of the file" });
        }
        let header = ChunkHeader::BYTES as u64;
        if [self.info, self.events].iter().any(|r| r.chunk_bytes <= header || r.chunk_bytes > LARGEST_CHUNK) {
            return Err(DecodeError::Layout { why: "chunks of an impossible size" });
        }
        if self.lane_slots > MOST_LANES || self.clock_slots > MOST_CLOCKS {
            return Err(DecodeError::Layout { why: "tables of an impossible size" });
        }
        Ok(())
    }
}

/// Reads what a file begins with, and checks what all such beginnings have: a magic
/// number, the byte order, the version, and the CRC, which is last.
pub(crate) fn decode_front<H: Decode<()>>(
    bytes: &[u8],
    magic: &[u8],
    what: &'static str,
    parts: impl FnOnce(&H) -> (u32, u16, u16, u32),
) -> Result<H, DecodeError> {
    if bytes.get(..magic.len()) != Some(magic) {
        return Err(DecodeError::NotASpoorFile);
    }
    let (header, len) =
        bincode::decode_from_slice(bytes, config()).map_err(|_| DecodeError::Truncated { offset: 0 })?;
    let (endian, major, minor, want) = parts(&header);
    if endian != ENDIAN {
        return Err(DecodeError::NotASpoorFile);
    }
    if major > MAJOR {
        return Err(DecodeError::Version { major, minor });
    }
    let got = crc_of(bytes.get(..len).unwrap_or_default());
    if got != want {
        return Err(DecodeError::Checksum { what, want, got });
    }
    Ok(header)
}

/// CRC of an encoded header without its last four bytes, the CRC itself.
pub(crate) fn crc_of(encoded: &[u8]) -> u32 {
    crc32fast::hash(encoded.get(..encoded.len().saturating_sub(4)).unwrap_or_default())
}

/// What was recorded, where, by whom, with which limits: names and values, as
/// text, so that a value can be added without a new version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Meta {
    /// In the order written.
    pub entries: Vec<(String, String)>,
}

impl Meta {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// The section: u32 length, u32 CRC-32, and the entries in bincode's fixed
    /// little-endian form. Where they do not fit, the longest values are cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut meta = self.clone();
        loop {
            let body = bincode::encode_to_vec(&meta, config()).unwrap_or_default();
            if body.len() <= META_BYTES - 8 {
                let mut section = Vec::with_capacity(META_BYTES);
                section.extend_from_slice(&(body.len() as u32).to_le_bytes());
                section.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
                section.extend_from_slice(&body);
                return section;
            }
            meta.shorten(body.len().saturating_sub(META_BYTES - 8));
        }
    }

    /// Takes `excess` bytes or more, if it can, from the longest value. Entries
    /// that are many rather than long are left out, last first.
    fn shorten(&mut self, excess: usize) {
        const MARK: &str = "…";
        let own = |key: &str| key == "records";
        let longest = self.entries.iter_mut().filter(|(key, _)| !own(key)).max_by_key(|(_, value)| value.len());
        match longest {
            Some((_, value)) if value.len() > KEPT_META_VALUE => {
                let keep = value.len().saturating_sub(excess).saturating_sub(MARK.len()).max(KEPT_META_VALUE / 2);
                value.truncate(value.floor_char_boundary(keep));
                value.push_str(MARK);
            }
            _ => drop(self.entries.pop()),
        }
    }

    /// Reads a section.
    pub fn decode(bytes: &[u8]) -> Result<Meta, DecodeError> {
        let truncated = DecodeError::Truncated { offset: 0 };
        let word = |at: usize| -> Option<u32> {
            Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
        };
        let (Some(len), Some(want)) = (word(0), word(4)) else { return Err(truncated) };
        let end = (len as usize).saturating_add(8);
        let body = bytes.get(8..end).ok_or(truncated)?;
        let got = crc32fast::hash(body);
        if got != want {
            return Err(DecodeError::Checksum { what: "meta section", want, got });
        }
        let limited = config_limited();
        bincode::decode_from_slice(body, limited)
            .map(|(meta, _)| meta)
            .map_err(|_| DecodeError::Layout { why: "the meta section is not a list of pairs" })
    }
}

/// A damaged length must not allocate more than the section could hold.
fn config_limited() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<{ 4 * META_BYTES }>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_stands_byte_by_byte_as_documented() {
        let bytes = Header::with_rings(3, 8, (16384, 4), (32768, 5)).encode();
        assert_eq!(bytes[..8], *b"SPOOR\r\n\0");
        assert_eq!(bytes[8..12], [0x0d, 0x0c, 0x0b, 0x0a]);
        assert_eq!(bytes[12..16], [1, 0, 1, 0]);
        assert_eq!(bytes.len(), 8 + 4 + 4 + 8 * 5 + 2 * 24 + 4);
        assert!(bytes.len() <= HEADER_BYTES);
        assert_eq!(Header::decode(&bytes).map(|h| h.encode()), Ok(bytes));
    }

    #[test]
    fn every_flipped_bit_of_a_header_is_noticed() {
        let bytes = Header::new(1 << 20, 5).encode();
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&damaged).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn rings_leave_room_for_every_lane() {
        for (ring, lanes) in [(0, 1), (1 << 20, 14), (64 << 20, 14), (64 << 20, 300), (1 << 30, 42)] {
            let header = Header::new(ring, lanes);
            assert!(header.events.bytes() >= ring);
            assert!(header.events.chunks >= lanes + SPARE_CHUNKS, "{header:?}");
            assert!(header.info.chunks >= lanes + SPARE_CHUNKS);
            assert_eq!(header.check(), Ok(()));
        }
    }

    #[test]
    fn meta_reads_back_with_the_longest_values_cut() {
        let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
        let what = pair("what", &"é".repeat(META_BYTES));
        let meta = Meta { entries: vec![pair("node", "a@b"), what, pair("otp_release", "27")] };
        let section = meta.encode();
        assert!((META_BYTES - 2..=META_BYTES).contains(&section.len()), "{}", section.len());
        let read = Meta::decode(&section).expect("what was written");
        assert_eq!((read.get("node"), read.get("otp_release")), (Some("a@b"), Some("27")));
        assert!(read.get("what").is_some_and(|what| what.starts_with("éé") && what.ends_with("é…")));
    }

    #[test]
    fn too_many_entries_of_meta_are_left_out_from_the_end() {
        let entries = (0..1_500).map(|n| (format!("key{n}"), "value".to_owned())).collect();
        let read = Meta::decode(&Meta { entries }.encode()).expect("what was written");
        assert_eq!((read.get("key0"), read.get("key1499")), (Some("value"), None));
    }
}
