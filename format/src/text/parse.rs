//! Lines to bytes.

use super::image::Image;
use super::scan::{Scanned, Scanner};
use super::value::{parse_field, push_varint};
use super::{INTRODUCTION, TextError};
use crate::chunk::ChunkHeader;
use crate::clock::{self, ClockPair};
use crate::header::{FRONT_BYTES, Header, META_OFFSET, Meta, RingKind, RingLayout};
use crate::lane::{self, Lane, LaneKind};
use crate::record::{FieldType, Schema, spec};
use crate::status::{self, Phase, Status};

/// Reads a text form; the image is the file it describes.
pub fn parse(text: &str) -> Result<Image, TextError> {
    let mut builder = Builder::default();
    let mut number = 0_usize;
    for line in text.lines() {
        number = number.saturating_add(1);
        builder.line(line).map_err(|why| TextError { line: number, why })?;
    }
    builder.finish().map_err(|why| TextError { line: number, why })
}

/// The layout as the sizes alone would have it.
pub(super) fn usual_header(lanes: u64, clock_slots: u64, info: RingLayout, events: RingLayout) -> Header {
    let size = |ring: RingLayout| (ring.chunk_bytes, ring.chunks);
    Header::with_rings(lanes, clock_slots, size(info), size(events))
}

/// A row of the table, this version's or the file's.
pub(super) struct Row<'a> {
    id: u8,
    pub(super) timed: bool,
    pub(super) name: &'a str,
    pub(super) fields: Vec<(&'a str, FieldType)>,
}

impl<'a> Row<'a> {
    pub(super) fn of_id(id: u8, schema: &'a Schema) -> Option<Row<'a>> {
        if let Some(spec) = spec(id) {
            return Some(Row { id, timed: spec.class.timed(), name: spec.name, fields: spec.fields.to_vec() });
        }
        let foreign = schema.foreign(id)?;
        let fields = foreign.fields.iter().map(|(name, kind)| (name.as_str(), *kind)).collect();
        Some(Row { id, timed: foreign.class.timed(), name: &foreign.name, fields })
    }

    fn of_name(name: &str, schema: &'a Schema) -> Option<Row<'a>> {
        let own = crate::record::SPECS.iter().find(|spec| spec.name == name).map(|spec| spec.id);
        let id = own.or_else(|| schema.rows().iter().find(|row| row.name == name).map(|row| row.id))?;
        Row::of_id(id, schema)
    }
}

/// The bytes of a record's line.
pub(super) fn parse_record(line: &str, schema: &Schema) -> Scanned<Vec<u8>> {
    let mut s = Scanner::new(line);
    let name = s.word();
    let row = Row::of_name(name, schema).ok_or_else(|| format!("there is no record `{name}`"))?;
    let mut bytes = vec![row.id];
    if row.timed {
        s.expect("+")?;
        push_varint(&mut bytes, s.number()?);
    }
    for (name, kind) in &row.fields {
        s.expect_field(name)?;
        parse_field(*kind, &mut s, &mut bytes)?;
    }
    s.end()?;
    Ok(bytes)
}

/// A chunk whose record lines are being read.
struct OpenChunk {
    /// Where in the file, and how much room its payload has.
    offset: u64,
    room: u64,
    header: ChunkHeader,
    /// What its line says where it does not follow from the records.
    records: Option<u32>,
    bytes: Option<u32>,
    seal: Seal,
    timed: u32,
    payload: Vec<u8>,
}

enum Seal {
    Good,
    None,
    Crc(u32),
}

#[derive(Default)]
struct Builder {
    introduced: bool,
    header: Option<Header>,
    length: Option<u64>,
    meta: Option<Meta>,
    schema: Schema,
    chunk: Option<OpenChunk>,
    image: Image,
}

impl Builder {
    fn line(&mut self, line: &str) -> Scanned<()> {
        let content = line.trim();
        if content.is_empty() || content.starts_with('#') {
            return Ok(());
        }
        if !self.introduced {
            self.introduced = true;
            return if content == INTRODUCTION { Ok(()) } else { Err(format!("`{INTRODUCTION}` expected")) };
        }
        if line.starts_with([' ', '\t']) {
            return self.record(content);
        }
        self.end_chunk()?;
        let mut s = Scanner::new(content);
        let keyword = s.word();
        if keyword != "meta" {
            self.end_meta()?;
        }
        match keyword {
            "header" => self.header(&mut s)?,
            "length" => self.length = Some(s.number()?),
            "status" => self.status(&mut s)?,
            "meta" => self.meta(&mut s)?,
            "clock" => self.clock(&mut s)?,
            "lane" => self.lane(&mut s)?,
            "chunk" => self.chunk(&mut s)?,
            "at" => {
                let offset = s.number()?;
                self.write(offset, &s.hex()?)?;
            }
            "backup" => {
                let front = self.image.read(0, FRONT_BYTES);
                self.write(self.layout()?.backup_offset(), &front)?;
            }
            _ => return Err(format!("`{keyword}` is not a kind of line")),
        }
        s.end()
    }

    fn finish(mut self) -> Scanned<Image> {
        self.end_chunk()?;
        self.end_meta()?;
        let header = self.layout()?;
        self.image.set_len(self.length.unwrap_or(header.file_bytes));
        Ok(self.image)
    }

    fn layout(&self) -> Scanned<Header> {
        self.header.ok_or_else(|| "a `header` line must come first".to_owned())
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Scanned<()> {
        let header = self.layout()?;
        self.image.set_len(self.length.unwrap_or(0).max(header.file_bytes));
        if self.image.write(offset, bytes) { Ok(()) } else { Err("it would stand outside of the file".to_owned()) }
    }

    fn header(&mut self, s: &mut Scanner<'_>) -> Scanned<()> {
        if self.header.is_some() {
            return Err("a second `header` line".to_owned());
        }
        s.expect_field("lanes")?;
        let lanes = s.number()?;
        s.expect_field("clock_slots")?;
        let clock_slots = s.number()?;
        s.expect_field("info")?;
        let info = ring_size(s)?;
        s.expect_field("events")?;
        let mut header = usual_header(lanes, clock_slots, info, ring_size(s)?);
        if s.field("version") {
            header.major = s.number()?.try_into().map_err(|_| "no such version")?;
            s.expect(".")?;
            header.minor = s.number()?.try_into().map_err(|_| "no such version")?;
        }
        for (name, place) in [
            ("clock_offset", &mut header.clock_offset),
            ("lane_offset", &mut header.lane_offset),
            ("info_offset", &mut header.info.offset),
            ("events_offset", &mut header.events.offset),
            ("file_bytes", &mut header.file_bytes),
        ] {
            if s.field(name) {
                *place = s.number()?;
            }
        }
        header.check().map_err(|error| error.to_string())?;
        self.header = Some(header);
        self.write(0, &header.with_crc().encode())
    }

    fn status(&mut self, s: &mut Scanner<'_>) -> Scanned<()> {
        s.expect_field("phase")?;
        let name = s.word();
        let phase = Phase::ALL.iter().find(|(_, known)| *known == name);
        let phase = phase.map(|(phase, _)| *phase).ok_or_else(|| format!("there is no phase `{name}`"))?;
        s.expect_field("stop_tick")?;
        let stop_tick = s.number()?;
        s.expect_field("reason")?;
        let reason = s.quoted()?;
        let mut page = vec![0; status::END];
        Status { phase, stop_tick, reason }.encode_into(&mut page);
        self.write(status::OFFSET as u64, page.get(status::OFFSET..).unwrap_or_default())
    }

    fn meta(&mut self, s: &mut Scanner<'_>) -> Scanned<()> {
        let meta = self.meta.get_or_insert_default();
        if !s.is_at_end() {
            let key = s.quoted()?;
            let value = if s.eat("own") { Schema::own_text() } else { s.quoted()? };
            meta.entries.push((key, value));
        }
        Ok(())
    }

    /// Writes the meta section once all of its lines are read.
    fn end_meta(&mut self) -> Scanned<()> {
        let Some(meta) = self.meta.take() else { return Ok(()) };
        self.schema = meta.get("records").map(Schema::parse).unwrap_or_default();
        let section = meta.encode();
        if Meta::decode(&section).as_ref() != Ok(&meta) {
            return Err("the meta section is too long".to_owned());
        }
        self.write(META_OFFSET, &section)
    }

    fn clock(&mut self, s: &mut Scanner<'_>) -> Scanned<()> {
        let header = self.layout()?;
        let seq = s.number()?;
        let mut values = [0; 4];
        for (name, value) in ["tick", "monotonic_ns", "wall_ns", "spread_ns"].into_iter().zip(&mut values) {
            s.expect_field(name)?;
            *value = s.number()?;
        }
        let [tick, monotonic_ns, wall_ns, spread_ns] = values;
        let slot = clock::slot(seq, header.clock_slots);
        if seq == 0 || slot >= header.clock_slots {
            return Err(format!("there is no place for clock pair {seq}"));
        }
        let at = header.clock_offset.saturating_add(slot.saturating_mul(clock::ENTRY_BYTES as u64));
        self.write(at, &ClockPair { seq, tick, monotonic_ns, wall_ns, spread_ns }.encode())
    }

    fn lane(&mut self, s: &mut Scanner<'_>) -> Scanned<()> {
        let header = self.layout()?;
        let number = s.number()?;
        s.expect_field("kind")?;
        let name = s.word();
        let kind = LaneKind::ALL.iter().find(|(_, known)| *known == name);
        let kind = kind.map(|(kind, _)| *kind).ok_or_else(|| format!("there is no kind of lane `{name}`"))?;
        s.expect_field("index")?;
        let index = s.number32()?;
        let mut values = [0; 3];
        for (name, value) in ["os_tid", "sealed_events", "sealed_infos"].into_iter().zip(&mut values) {
            s.expect_field(name)?;
            *value = s.number()?;
        }
        let [os_tid, sealed_events, sealed_infos] = values;
        s.expect_field("dropped")?;
        let counts = s.words()?;
        let since_until = if s.field("dropping") { s.words()? } else { Vec::new() };
        let outside = if s.field("outside") { s.number()? } else { 0 };
        let in_and_out = if s.field("sampled") { s.words()? } else { Vec::new() };
        let (mut dropped, mut dropping, mut sampled) = ([0; 16], [0; 2], [0; 2]);
        let pairs = since_until.len().max(in_and_out.len());
        let fits = counts.len() <= dropped.len() && pairs <= dropping.len();
        if !fits || number >= header.lane_slots {
            return Err("there is no place for this lane, or for all its counts".to_owned());
        }
        dropped.iter_mut().zip(counts).for_each(|(place, count)| *place = count);
        dropping.iter_mut().zip(since_until).for_each(|(place, tick)| *place = tick);
        sampled.iter_mut().zip(in_and_out).for_each(|(place, count)| *place = count);
        let at = header.lane_offset.saturating_add(number.saturating_mul(lane::ENTRY_BYTES as u64));
        let lane =
            Lane { kind, index, os_tid, sealed_events, sealed_infos, dropping, outside, sampled, dropped }.encode();
        self.write(at, &lane)
    }

    fn chunk(&mut self, s: &mut Scanner<'_>) -> Scanned<()> {
        let header = self.layout()?;
        let name = s.word();
        let kind = RingKind::ALL.into_iter().find(|kind| kind.name() == name);
        let ring = header.ring(kind.ok_or_else(|| format!("there is no ring `{name}`"))?);
        let place = s.number()?;
        if place >= ring.chunks {
            return Err(format!("the ring has only {} chunks", ring.chunks));
        }
        s.expect_field("lane")?;
        let lane = s.number32()?;
        let mut values = [0; 3];
        for (name, value) in ["seq", "base_tick", "first_record"].into_iter().zip(&mut values) {
            s.expect_field(name)?;
            *value = s.number()?;
        }
        let [seq, base_tick, first_record] = values;
        if seq == 0 {
            return Err("a chunk in use has a `seq` of 1 or more".to_owned());
        }
        let records = if s.field("records") { Some(s.number32()?) } else { None };
        let bytes = if s.field("bytes") { Some(s.number32()?) } else { None };
        self.chunk = Some(OpenChunk {
            offset: ring.chunk_offset(place),
            room: ring.chunk_bytes.saturating_sub(ChunkHeader::BYTES as u64),
            header: ChunkHeader { lane, seq, records: 0, bytes: 0, base_tick, first_record, crc: None },
            records,
            bytes,
            seal: seal(s)?,
            timed: 0,
            payload: Vec::new(),
        });
        Ok(())
    }

    fn record(&mut self, line: &str) -> Scanned<()> {
        let Some(chunk) = &mut self.chunk else { return Err("a record outside of a chunk".to_owned()) };
        let mut s = Scanner::new(line);
        if s.eat("raw ") {
            chunk.payload.extend_from_slice(&s.hex()?);
            s.end()?;
        } else {
            let bytes = parse_record(line, &self.schema)?;
            let timed = bytes.first().and_then(|id| Row::of_id(*id, &self.schema)).is_some_and(|row| row.timed);
            chunk.timed = chunk.timed.saturating_add(u32::from(timed));
            chunk.payload.extend_from_slice(&bytes);
        }
        if chunk.payload.len() as u64 > chunk.room {
            return Err(format!("the chunk has room for only {} bytes of records", chunk.room));
        }
        Ok(())
    }

    /// Writes the chunk once all of its records are read.
    fn end_chunk(&mut self) -> Scanned<()> {
        let Some(chunk) = self.chunk.take() else { return Ok(()) };
        let payload_bytes = u32::try_from(chunk.payload.len()).unwrap_or(u32::MAX);
        let header = ChunkHeader {
            records: chunk.records.unwrap_or(chunk.timed),
            bytes: chunk.bytes.unwrap_or(payload_bytes),
            crc: match chunk.seal {
                Seal::Good => Some(crc32fast::hash(&chunk.payload)),
                Seal::None => None,
                Seal::Crc(crc) => Some(crc),
            },
            ..chunk.header
        };
        self.write(chunk.offset, &header.encode())?;
        self.write(chunk.offset.saturating_add(ChunkHeader::BYTES as u64), &chunk.payload)
    }
}

/// `BYTESxCHUNKS`.
fn ring_size(s: &mut Scanner<'_>) -> Scanned<RingLayout> {
    let word = s.word();
    let size = word.split_once('x').and_then(|(bytes, chunks)| Some((bytes.parse().ok()?, chunks.parse().ok()?)));
    let (chunk_bytes, chunks) = size.ok_or_else(|| format!("chunk bytes `x` chunks expected, found `{word}`"))?;
    Ok(RingLayout { offset: 0, chunk_bytes, chunks })
}

fn seal(s: &mut Scanner<'_>) -> Scanned<Seal> {
    if !s.field("sealed") || s.eat("yes") {
        return Ok(Seal::Good);
    }
    if s.eat("no") {
        return Ok(Seal::None);
    }
    match s.hex()?.first_chunk() {
        Some(bytes) => Ok(Seal::Crc(u32::from_be_bytes(*bytes))),
        None => Err("`yes`, `no` or a checksum of four bytes expected".to_owned()),
    }
}
