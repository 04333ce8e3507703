//! Bytes to lines.

use std::io::{self, Write};

use super::parse::{Row, parse_record, usual_header};
use super::scan::{hex, quote};
use super::value::{numbers, read_field};
use super::{INTRODUCTION, LINE_BYTES};
use crate::chunk::ChunkHeader;
use crate::clock::{self, ClockPair};
use crate::codec::Cursor;
use crate::header::{FRONT_BYTES, Header, META_OFFSET, Meta, RingKind, RingLayout};
use crate::lane::{self, Lane};
use crate::record::{Record, Schema};
use crate::status::Status;

/// Introduction, header, length, status and meta.
pub(super) fn write_front(out: &mut impl Write, header: &Header, len: u64, front: &[u8]) -> io::Result<()> {
    writeln!(out, "{INTRODUCTION}")?;
    writeln!(out, "{}", header_line(header))?;
    if len != header.file_bytes {
        writeln!(out, "length {len}")?;
    }
    let mut expected = vec![0; FRONT_BYTES];
    overlay(&mut expected, 0, &header.encode());
    let status = Status::decode(front);
    writeln!(
        out,
        "status phase={} stop_tick={} reason={}",
        status.phase.name(),
        status.stop_tick,
        quote(&status.reason)
    )?;
    status.encode_into(&mut expected);
    if let Ok(meta) = Meta::decode(front.get(META_OFFSET as usize..).unwrap_or_default()) {
        write_meta(out, &meta)?;
        overlay(&mut expected, META_OFFSET as usize, &meta.encode());
    }
    write_patches(out, 0, &expected, front)
}

fn write_meta(out: &mut impl Write, meta: &Meta) -> io::Result<()> {
    if meta.entries.is_empty() {
        return writeln!(out, "meta");
    }
    for (key, value) in &meta.entries {
        if key == "records" && *value == Schema::own_text() {
            writeln!(out, "meta \"records\" own")?;
        } else {
            writeln!(out, "meta {} {}", quote(key), quote(value))?;
        }
    }
    Ok(())
}

fn header_line(header: &Header) -> String {
    let size = |ring: &RingLayout| format!("{}x{}", ring.chunk_bytes, ring.chunks);
    let mut line = format!(
        "header lanes={} clock_slots={} info={} events={}",
        header.lane_slots,
        header.clock_slots,
        size(&header.info),
        size(&header.events)
    );
    let usual = usual_header(header.lane_slots, header.clock_slots, header.info, header.events);
    if (header.major, header.minor) != (usual.major, usual.minor) {
        line.push_str(&format!(" version={}.{}", header.major, header.minor));
    }
    for (name, is, would_be) in [
        ("clock_offset", header.clock_offset, usual.clock_offset),
        ("lane_offset", header.lane_offset, usual.lane_offset),
        ("info_offset", header.info.offset, usual.info.offset),
        ("events_offset", header.events.offset, usual.events.offset),
        ("file_bytes", header.file_bytes, usual.file_bytes),
    ] {
        if is != would_be {
            line.push_str(&format!(" {name}={is}"));
        }
    }
    line
}

/// The clock table.
pub(super) fn write_clocks(out: &mut impl Write, header: &Header, table: &[u8]) -> io::Result<()> {
    for (place, entry) in (0_u64..).zip(table.chunks(clock::ENTRY_BYTES)) {
        let at = header.clock_offset.saturating_add(place.saturating_mul(clock::ENTRY_BYTES as u64));
        let pair = ClockPair::decode(entry).filter(|pair| clock::slot(pair.seq, header.clock_slots) == place);
        if let Some(ClockPair { seq, tick, monotonic_ns, wall_ns, spread_ns }) = pair {
            write!(out, "clock {seq} tick={tick} monotonic_ns={monotonic_ns} wall_ns={wall_ns}")?;
            writeln!(out, " spread_ns={spread_ns}")?;
        }
        let expected = pair.map(|pair| pair.encode());
        write_patches(out, at, expected.as_ref().map_or(&[], |bytes| bytes), entry)?;
    }
    Ok(())
}

/// The lane table.
pub(super) fn write_lanes(out: &mut impl Write, header: &Header, table: &[u8]) -> io::Result<()> {
    for (number, entry) in (0_u64..).zip(table.chunks(lane::ENTRY_BYTES)) {
        let at = header.lane_offset.saturating_add(number.saturating_mul(lane::ENTRY_BYTES as u64));
        let lane = Lane::decode(entry).and_then(Result::ok);
        if let Some(lane) = &lane {
            write!(out, "lane {number} kind={} index={} os_tid={}", lane.kind.name(), lane.index, lane.os_tid)?;
            write!(out, " sealed_events={} sealed_infos={}", lane.sealed_events, lane.sealed_infos)?;
            let counted = lane.dropped.iter().rposition(|n| *n > 0).map_or(0, |last| last.saturating_add(1));
            write!(out, " dropped={}", numbers(lane.dropped.iter().take(counted).copied()))?;
            if lane.dropping != [0; 2] {
                write!(out, " dropping={}", numbers(lane.dropping.iter().copied()))?;
            }
            if lane.outside > 0 {
                write!(out, " outside={}", lane.outside)?;
            }
            if lane.sampled != [0; 2] {
                write!(out, " sampled={}", numbers(lane.sampled.iter().copied()))?;
            }
            writeln!(out)?;
        }
        let expected = lane.map(|lane| lane.encode());
        write_patches(out, at, expected.as_ref().map_or(&[], |bytes| bytes), entry)?;
    }
    Ok(())
}

/// A chunk of a ring, `place` in it and `offset` in the file: its records, one a
/// line, or its bytes where it is damaged. `bytes` may end before the chunk does;
/// what stands behind the committed payload is written when it is given.
pub fn write_chunk(
    out: &mut impl Write,
    kind: RingKind,
    place: u64,
    offset: u64,
    bytes: &[u8],
    schema: &Schema,
) -> io::Result<()> {
    let room = u64::from(u32::MAX);
    let Ok(Some(header)) = ChunkHeader::decode(bytes, room) else { return write_patches(out, offset, &[], bytes) };
    let rest = bytes.get(ChunkHeader::BYTES..).unwrap_or_default();
    let payload = rest.get(..header.bytes as usize).unwrap_or(rest);
    let mut lines = Vec::new();
    let records = write_payload(&mut lines, payload, schema)?;
    write!(out, "chunk {} {place} lane={} seq={}", kind.name(), header.lane, header.seq)?;
    write!(out, " base_tick={} first_record={}", header.base_tick, header.first_record)?;
    if header.records != records {
        write!(out, " records={}", header.records)?;
    }
    if header.bytes as usize != payload.len() {
        write!(out, " bytes={}", header.bytes)?;
    }
    match header.crc {
        None => writeln!(out, " sealed=no")?,
        Some(crc) if crc == crc32fast::hash(payload) => writeln!(out, " sealed=yes")?,
        Some(crc) => writeln!(out, " sealed={}", hex(&crc.to_be_bytes()))?,
    }
    out.write_all(&lines)?;
    let mut expected = header.encode().to_vec();
    expected.extend_from_slice(payload);
    write_patches(out, offset, &expected, bytes)
}

/// The records of a payload; answers how many have a time.
fn write_payload(out: &mut impl Write, payload: &[u8], schema: &Schema) -> io::Result<u32> {
    let mut cursor = Cursor::new(payload);
    let mut timed: u32 = 0;
    while !cursor.is_empty() {
        let start = cursor.offset();
        let Ok(record) = Record::decode(&mut cursor, schema) else {
            write_raw_lines(out, payload.get(start..).unwrap_or_default())?;
            break;
        };
        let bytes = payload.get(start..cursor.offset()).unwrap_or_default();
        match record_line(bytes, schema).filter(|line| parse_record(line, schema).as_deref() == Ok(bytes)) {
            Some(line) => {
                writeln!(out, "  {line}")?;
                timed = timed.saturating_add(u32::from(record.body.class().timed()));
            }
            None => write_raw_lines(out, bytes)?,
        }
    }
    Ok(timed)
}

fn write_raw_lines(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    bytes.chunks(LINE_BYTES).try_for_each(|bytes| writeln!(out, "  raw {}", hex(bytes)))
}

/// A whole record as a line; `None` when the table does not know it.
fn record_line(bytes: &[u8], schema: &Schema) -> Option<String> {
    let mut cursor = Cursor::new(bytes);
    let row = Row::of_id(cursor.byte().ok()?, schema)?;
    let mut line = row.name.to_owned();
    if row.timed {
        line.push_str(&format!(" +{}", cursor.varint().ok()?));
    }
    for (name, kind) in &row.fields {
        line.push_str(&format!(" {name}={}", read_field(*kind, &mut cursor).ok()?));
    }
    Some(line)
}

/// The copy of the front at the end of the file.
pub(super) fn write_backup(out: &mut impl Write, header: &Header, front: &[u8], backup: &[u8]) -> io::Result<()> {
    writeln!(out, "backup")?;
    write_patches(out, header.backup_offset(), front, backup)
}

/// `at` lines for what is not as `expected`; behind its end, zeros are.
pub(super) fn write_patches(out: &mut impl Write, offset: u64, expected: &[u8], bytes: &[u8]) -> io::Result<()> {
    let mut expected = expected.to_vec();
    expected.resize(bytes.len(), 0);
    let places = (offset..).step_by(LINE_BYTES);
    for ((at, window), would_be) in places.zip(bytes.chunks(LINE_BYTES)).zip(expected.chunks(LINE_BYTES)) {
        if window == would_be {
            continue;
        }
        let differs = |(is, would_be): (&u8, &u8)| is != would_be;
        let mut pairs = window.iter().zip(would_be);
        if let Some(first) = pairs.clone().position(differs) {
            let last = pairs.rposition(differs).unwrap_or(first);
            let bytes = window.get(first..=last).unwrap_or_default();
            writeln!(out, "at {} {}", at.saturating_add(first as u64), hex(bytes))?;
        }
    }
    Ok(())
}

fn overlay(onto: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in onto.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}
