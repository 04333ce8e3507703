//! Whole files out of few bytes, and checksums put right behind changes: without
//! them a reader would turn away nearly everything that a fuzzer thinks of.

use spoor_format::chunk::{COMMIT_OFFSET, ChunkHeader, Reader, SEAL_OFFSET};
use spoor_format::clock::ClockPair;
use spoor_format::header::{ENDIAN, FRONT_BYTES, Header, MAGIC, META_OFFSET, RingKind};
use spoor_format::record::Schema;
use spoor_format::{clock, lane};

use crate::{Input, LATER};

/// Bytes of the header, its checksum last.
const HEADER: usize = 108;
/// The longest file that an input may ask for.
const LONGEST: usize = 1 << 18;
/// So many zeroes in a row are left out of an input.
const GAP: usize = 8;

/// What is put right: bits of a byte.
pub mod part {
    #![allow(missing_docs)]
    pub const HEADER: u8 = 1;
    pub const META: u8 = 2;
    pub const CLOCKS: u8 = 4;
    pub const LANES: u8 = 8;
    pub const CHUNKS: u8 = 16;
    pub const COMMITS: u8 = 32;
    pub const SEALS: u8 = 64;
    pub const COPY: u8 = 128;
    pub const ALL: u8 = 255;
}

/// A file without its stretches of zeroes, and without the copy of its front: the
/// input of kind SPARSE for it.
pub fn squeeze(file: &[u8]) -> Vec<u8> {
    let mut out = (file.len() as u32).to_le_bytes()[..3].to_vec();
    let copy = file.len().saturating_sub(FRONT_BYTES);
    let end = if file.get(copy..) == file.get(..FRONT_BYTES) { copy } else { file.len() };
    let (mut at, mut last) = (0, 0);
    while at < end {
        let Some(start) = file[at..end].iter().position(|byte| *byte != 0).map(|zeroes| at + zeroes) else { break };
        let stop = file[start..end].windows(GAP).position(|window| window == [0; GAP]);
        let stop = stop.map_or(end, |length| start + length).min(start + usize::from(u16::MAX));
        out.extend_from_slice(&((start - last) as u32).to_le_bytes()[..3]);
        out.extend_from_slice(&((stop - start) as u16).to_le_bytes());
        out.extend_from_slice(&file[start..stop]);
        (at, last) = (stop, stop);
    }
    out
}

/// The file that [`squeeze`] made the bytes of.
pub fn unsqueeze(input: &mut Input<'_>) -> Vec<u8> {
    let three = |input: &mut Input<'_>| usize::from(input.word()) | usize::from(input.byte()) << 16;
    let mut file = vec![0; three(input).min(LONGEST)];
    let mut at = 0;
    while !input.0.is_empty() {
        at += three(input);
        let length = usize::from(input.word());
        let bytes = input.take(length);
        let Some(space) = file.get_mut(at..) else { break };
        space.iter_mut().zip(bytes).for_each(|(old, new)| *old = *new);
        at += bytes.len();
    }
    file
}

/// Puts right what the bits of `parts` say.
pub fn repair(file: &mut [u8], parts: u8) {
    if parts & part::META != 0 {
        meta(file);
    }
    if parts & part::HEADER != 0 && file.len() >= HEADER {
        file[..8].copy_from_slice(&MAGIC);
        file[8..12].copy_from_slice(&ENDIAN.to_le_bytes());
        let crc = crc32fast::hash(&file[..HEADER - 4]);
        file[HEADER - 4..HEADER].copy_from_slice(&crc.to_le_bytes());
    }
    let Ok(header) = Header::decode(file) else { return };
    if parts & part::CLOCKS != 0 {
        each(file, header.clock_offset, clock::ENTRY_BYTES, header.clock_slots, |entry| {
            let word = |at: usize| u64::from_le_bytes(entry[at * 8..at * 8 + 8].try_into().expect("eight bytes"));
            let [seq, tick, monotonic_ns, wall_ns, spread_ns] = [0, 1, 2, 3, 4].map(word);
            entry.copy_from_slice(&ClockPair { seq, tick, monotonic_ns, wall_ns, spread_ns }.encode());
        });
    }
    if parts & part::LANES != 0 {
        each(file, header.lane_offset, lane::ENTRY_BYTES, header.lane_slots, |entry| {
            let check = crc32fast::hash(&entry[..24]);
            entry[24..28].copy_from_slice(&check.to_le_bytes());
        });
    }
    for kind in RingKind::ALL {
        let ring = header.ring(kind);
        let bytes = usize::try_from(ring.chunk_bytes).unwrap_or(usize::MAX);
        each(file, ring.offset, bytes, ring.chunks, |bytes| chunk(bytes, parts));
    }
    let copy = usize::try_from(header.backup_offset()).unwrap_or(usize::MAX);
    if parts & part::COPY != 0 && copy.checked_add(FRONT_BYTES).is_some_and(|end| end <= file.len()) {
        file.copy_within(..FRONT_BYTES, copy);
    }
}

/// The entries of a table that are in the file and not empty.
fn each(file: &mut [u8], offset: u64, bytes: usize, count: u64, mut change: impl FnMut(&mut [u8])) {
    let table = usize::try_from(offset).ok().and_then(|at| file.get_mut(at..)).unwrap_or_default();
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    let entries = table.chunks_exact_mut(bytes.max(1)).take(count);
    entries.filter(|entry| entry.iter().take(32).any(|byte| *byte != 0)).for_each(&mut change);
}

fn meta(file: &mut [u8]) {
    let Some(section) = file.get_mut(META_OFFSET as usize..FRONT_BYTES) else { return };
    let length = u32::from_le_bytes(section[..4].try_into().expect("four bytes")) as usize;
    let length = length.min(section.len() - 8);
    let crc = crc32fast::hash(&section[8..8 + length]);
    section[..4].copy_from_slice(&(length as u32).to_le_bytes());
    section[4..8].copy_from_slice(&crc.to_le_bytes());
}

/// A chunk, header and payload.
pub fn chunk(bytes: &mut [u8], parts: u8) {
    let Some((header, payload)) = bytes.split_at_mut_checked(ChunkHeader::BYTES) else { return };
    let word = |at: usize, header: &[u8]| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if parts & part::CHUNKS != 0 {
        header[..4].copy_from_slice(b"SpCh");
        let checked: Vec<u8> = [&header[..16], &header[24..40]].concat();
        header[48..52].copy_from_slice(&crc32fast::hash(&checked).to_le_bytes());
    }
    if parts & part::COMMITS != 0 {
        let length = (word(COMMIT_OFFSET, header) as u32 as usize).min(payload.len());
        let records = events(&payload[..length], word(24, header));
        header[COMMIT_OFFSET..COMMIT_OFFSET + 8]
            .copy_from_slice(&ChunkHeader::commit_word(records, length as u32).to_le_bytes());
    }
    if parts & part::SEALS != 0 && word(SEAL_OFFSET, header) != 0 {
        let length = word(COMMIT_OFFSET, header) as u32 as usize;
        let crc = crc32fast::hash(&payload[..length.min(payload.len())]);
        let seal = u64::from(crc) << 32 | length as u64;
        header[SEAL_OFFSET..SEAL_OFFSET + 8].copy_from_slice(&seal.to_le_bytes());
    }
}

/// The events of a payload, as far as it can be read.
pub fn events(payload: &[u8], base_tick: u64) -> u32 {
    let schema = Schema::parse(LATER);
    let mut reader = Reader::new(payload, base_tick, &schema);
    let mut events = 0;
    while let Ok(Some(_)) = reader.next_event() {
        events += 1;
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_comes_back_and_needs_no_repair() {
        let file = crate::seeds::calls_file();
        let mut again = unsqueeze(&mut Input(&squeeze(&file)));
        repair(&mut again, part::ALL);
        assert!(again == file);
    }

    #[test]
    fn a_broken_file_is_put_right() {
        let file = crate::seeds::calls_file();
        let mut broken = file.clone();
        let header = Header::decode(&file).expect("a good header");
        // Checksums of each part, and the copy of the front.
        let places = [header.clock_offset + 44, header.lane_offset + 25, header.events.offset + 50, 4100];
        for at in places.into_iter().chain([104, header.backup_offset() + 104]) {
            broken[at as usize] ^= 1;
        }
        repair(&mut broken, part::ALL);
        assert!(broken == file);
    }
}
