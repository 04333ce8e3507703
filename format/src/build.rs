//! Builds whole recordings in memory, for tests and for tools that make them.
//!
//! The recorder itself does not come by here: it writes into a mapped file. A
//! test that both ends up with the same reading lives in the analyzer.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "its caller chose the layout; what does not fit panics"
)]

use std::collections::HashMap;

use crate::chunk::{ChunkHeader, Identity};
use crate::clock::{self, ClockPair};
use crate::codec::Full;
use crate::header::{FRONT_BYTES, Header, META_OFFSET, Meta};
use crate::lane::{self, Lane};
use crate::record::{Ref, Schema, write};
use crate::reference::{self, REFERENCE_NUMBERS, Reference};
use crate::status::Status;

pub use crate::header::RingKind;

/// A recording being put together.
#[derive(Debug, Clone)]
pub struct FileBuilder {
    /// The layout; rings must have room for the chunks.
    pub header: Header,
    /// The meta section; the table of records is added when missing.
    pub meta: Meta,
    /// The status block.
    pub status: Status,
    /// Clock pairs, the start first.
    pub clocks: Vec<ClockPair>,
    /// Lanes, by number.
    pub lanes: Vec<Lane>,
    /// Chunks, each with the ring and the place in it.
    pub chunks: Vec<(RingKind, u64, ChunkHeader, Vec<u8>)>,
}

impl FileBuilder {
    /// A recording without chunks.
    pub fn new(header: Header, status: Status) -> Self {
        FileBuilder { header, meta: Meta::default(), status, clocks: Vec::new(), lanes: Vec::new(), chunks: Vec::new() }
    }

    /// Adds the chunk behind the others of its ring.
    pub fn push(&mut self, ring: RingKind, chunk: ChunkBuilder) {
        let place = self.chunks.iter().filter(|(kind, ..)| *kind == ring).count() as u64;
        let (header, payload) = chunk.finish();
        self.chunks.push((ring, place, header, payload));
    }

    /// The bytes of the file. Panics when something does not fit: a builder's
    /// caller chose the layout.
    pub fn build(&self) -> Vec<u8> {
        let mut file = vec![0; self.header.file_bytes as usize];
        self.front(&mut file);
        for pair in &self.clocks {
            let at =
                self.header.clock_offset + clock::slot(pair.seq, self.header.clock_slots) * clock::ENTRY_BYTES as u64;
            put(&mut file, at, &pair.encode());
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            put(&mut file, self.header.lane_offset + (number * lane::ENTRY_BYTES) as u64, &lane.encode());
        }
        for (kind, place, header, payload) in &self.chunks {
            let ring = self.header.ring(*kind);
            let at = ring.chunk_offset(*place);
            assert!(*place < ring.chunks && payload.len() as u64 <= ring.chunk_bytes - ChunkHeader::BYTES as u64);
            put(&mut file, at, &header.encode());
            put(&mut file, at + ChunkHeader::BYTES as u64, payload);
        }
        file
    }

    fn front(&self, file: &mut [u8]) {
        let mut meta = self.meta.clone();
        if meta.get("records").is_none() {
            meta.entries.insert(0, ("records".to_owned(), Schema::own_text()));
        }
        put(file, 0, &self.header.encode());
        put(file, META_OFFSET, &meta.encode());
        self.status.encode_into(file);
        let front = file[..FRONT_BYTES].to_vec();
        put(file, self.header.backup_offset(), &front);
    }
}

fn put(file: &mut [u8], at: u64, bytes: &[u8]) {
    file[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
}

/// A chunk being filled, names looked after.
#[derive(Debug, Clone)]
pub struct ChunkBuilder {
    header: ChunkHeader,
    payload: Vec<u8>,
    tick: u64,
    whose: Identity,
    atoms: HashMap<String, Ref>,
    functions: HashMap<(String, String, u64), Ref>,
    references: Vec<Reference>,
}

impl ChunkBuilder {
    /// An empty chunk of the lane.
    pub fn new(lane: u32, seq: u64, base_tick: u64, first_record: u64) -> Self {
        ChunkBuilder {
            header: ChunkHeader { lane, seq, records: 0, bytes: 0, base_tick, first_record, crc: None },
            payload: Vec::new(),
            tick: base_tick,
            whose: Identity::Nobody,
            atoms: HashMap::new(),
            functions: HashMap::new(),
            references: Vec::new(),
        }
    }

    /// The reference of an atom, defined when new.
    pub fn atom(&mut self, text: &str) -> Ref {
        if let Some(known) = self.atoms.get(text) {
            return *known;
        }
        endless(write::define_atom(&mut self.payload, 0, text));
        let reference = self.atoms.len() as u64 + 1;
        self.atoms.insert(text.to_owned(), reference);
        reference
    }

    /// The reference of a function, defined when new.
    pub fn function(&mut self, module: &str, name: &str, arity: u64) -> Ref {
        let key = (module.to_owned(), name.to_owned(), arity);
        if let Some(known) = self.functions.get(&key) {
            return *known;
        }
        let (module, name) = (self.atom(module), self.atom(name));
        endless(write::define_function(&mut self.payload, 0, module, name, arity));
        let reference = self.functions.len() as u64 + 1;
        self.functions.insert(key, reference);
        reference
    }

    /// The reference of a reference with these numbers, defined when new.
    pub fn reference(&mut self, numbers: &[u64]) -> Ref {
        let known = self.references.iter().position(|known| known.numbers() == numbers);
        let place = known.unwrap_or_else(|| {
            let mut places = [0; REFERENCE_NUMBERS];
            places[REFERENCE_NUMBERS - numbers.len()..].copy_from_slice(numbers);
            let new = Reference::of_last(numbers.len(), places);
            let before = self.references.last().copied().unwrap_or_default();
            endless(reference::define(&mut self.payload, &new, &before));
            self.references.push(new);
            self.references.len() - 1
        });
        place as u64 + 1
    }

    /// A timed record at `tick` (not before the last) of `whose`; `write` gets
    /// the payload and the time delta.
    pub fn event(&mut self, tick: u64, whose: Identity, write: impl FnOnce(&mut Vec<u8>, u64) -> Result<(), Full>) {
        if whose != self.whose {
            endless(match whose {
                Identity::Process(word) => write::process(&mut self.payload, 0, word),
                Identity::Port(word) => write::port(&mut self.payload, 0, word),
                Identity::Nobody => write::nobody(&mut self.payload, 0),
            });
            self.whose = whose;
        }
        endless(write(&mut self.payload, tick - self.tick));
        self.tick = tick;
        self.header.records += 1;
    }

    /// Raw bytes of untimed records, or of damage that a test wants.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.payload.extend_from_slice(bytes);
    }

    /// Header (with checksum) and payload.
    pub fn finish(self) -> (ChunkHeader, Vec<u8>) {
        let (bytes, crc) = (self.payload.len() as u32, Some(crc32fast::hash(&self.payload)));
        (ChunkHeader { bytes, crc, ..self.header }, self.payload)
    }
}

fn endless(written: Result<(), Full>) {
    written.expect("a Vec is never full");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::Reader;
    use crate::status::Phase;

    #[test]
    fn a_built_file_reads_back() {
        let header = Header::with_rings(1, 4, (4096, 2), (4096, 2));
        let status = Status { phase: Phase::Stopped, stop_tick: 9, reason: "test".into() };
        let mut file = FileBuilder::new(header, status.clone());
        let mut chunk = ChunkBuilder::new(0, 1, 100, 0);
        let f = chunk.function("lists", "map", 2);
        chunk.event(105, Identity::Process(7), |to, delta| write::call(to, delta, f));
        file.push(RingKind::Events, chunk);
        let bytes = file.build();

        assert_eq!(Header::decode(&bytes), Ok(header));
        assert_eq!(Status::decode(&bytes), status);
        let at = header.events.offset as usize;
        let chunk = ChunkHeader::decode(&bytes[at..], 4096 - 64).expect("good").expect("in use");
        let payload = &bytes[at + 64..at + 64 + chunk.bytes as usize];
        assert_eq!(chunk.crc, Some(crc32fast::hash(payload)));
        let schema = Schema::default();
        let event = Reader::new(payload, chunk.base_tick, &schema).next_event().expect("good").expect("one");
        assert_eq!((event.tick, event.whose), (105, Identity::Process(7)));
    }
}
