//! A long recording out of a short one: its chunks again and again, each lap later
//! than the one before, with clocks, numbers and counters that fit.
//!
//! Between two laps every process jumps from its last event back to its first. So
//! that this is no lie, the first event of each lap says that events are missing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use spoor_format::chunk::{ChunkHeader, Reader};
use spoor_format::clock::{self, ClockPair};
use spoor_format::header::{FRONT_BYTES, Header, META_OFFSET, Meta};
use spoor_format::lane::{self, Lane};
use spoor_format::record::{Schema, write};
use spoor_format::status::{Phase, Status};

/// Room in each chunk for what is added to the first ones of a lap.
const MORE_BYTES: u64 = 4096;

struct Chunk {
    header: ChunkHeader,
    payload: Vec<u8>,
}

/// Writes a recording of about `bytes` to `to`, made of laps of the one in `from`.
pub(crate) fn write_laps(from: &Path, to: &Path, bytes: u64) -> Result<()> {
    let file = std::fs::read(from)?;
    let header = Header::decode(&file)?;
    let status = Status::decode(&file);
    let meta = Meta::decode(&file[META_OFFSET as usize..])?;
    ensure!(status.phase == Phase::Stopped, "the recording did not end in order");
    let mut chunks = chunks(&file, &header)?;
    chunks.sort_by_key(|chunk| chunk.header.seq);
    let first = chunks.iter().map(|chunk| chunk.header.base_tick).min().context("it has no events")?;
    let schema = Schema::parse(meta.get("records").unwrap_or_default());
    let last = chunks.iter().map(|chunk| last_tick(chunk, &schema)).collect::<Result<Vec<u64>>>()?;
    let last = last.into_iter().max().unwrap_or(first);

    let chunk_bytes = header.events.chunk_bytes + MORE_BYTES;
    let laps = bytes.div_ceil(chunks.len() as u64 * chunk_bytes).max(1);
    let pairs = pairs(&file, &header);
    let (Some(start), Some(end)) = (pairs.first(), pairs.last()) else { anyhow::bail!("it has no clock") };
    ensure!(end.tick > start.tick, "it has one clock pair only");
    // A lap is as long as the recording; a little more, so that laps do not touch.
    let lap = last.max(end.tick) - first.min(start.tick) + 1_000_000;
    let rate = (end.monotonic_ns - start.monotonic_ns) as f64 / (end.tick - start.tick) as f64;

    let long = header.with_events(chunk_bytes, laps * chunks.len() as u64);
    let out = File::create(to).with_context(|| to.display().to_string())?;
    out.set_len(long.file_bytes)?;
    let mut front = file[..header.events.offset as usize].to_vec();
    let encoded = long.encode();
    front[..encoded.len()].copy_from_slice(&encoded);
    Status { stop_tick: last + (laps - 1) * lap, ..status }.encode_into(&mut front);
    clocks(&mut front, &long, *start, laps, lap, rate);
    lanes(&mut front, &long, laps)?;
    out.write_all_at(&front, 0)?;
    out.write_all_at(&front[..FRONT_BYTES], long.backup_offset())?;

    let mut stored = vec![0_u64; header.lane_slots as usize];
    let mut place = 0;
    for number in 0..laps {
        let (mut begun, mut records) = (vec![number == 0; stored.len()], vec![0_u64; stored.len()]);
        for Chunk { header, payload } in &chunks {
            let lane = header.lane as usize;
            let mut bytes = Vec::with_capacity(ChunkHeader::BYTES + payload.len() + 8);
            bytes.resize(ChunkHeader::BYTES, 0);
            if !std::mem::replace(&mut begun[lane], true) {
                write::missing(&mut bytes, 0, 1).map_err(|_| anyhow::anyhow!("a chunk is full"))?;
            }
            bytes.extend_from_slice(payload);
            let written = &bytes[ChunkHeader::BYTES..];
            let header = ChunkHeader {
                seq: place + 1,
                bytes: u32::try_from(written.len())?,
                base_tick: header.base_tick + number * lap,
                first_record: stored[lane] + records[lane],
                crc: Some(crc32fast::hash(written)),
                ..*header
            };
            records[lane] += u64::from(header.records);
            bytes[..ChunkHeader::BYTES].copy_from_slice(&header.encode());
            out.write_all_at(&bytes, long.events.chunk_offset(place))?;
            place += 1;
        }
        stored.iter_mut().zip(records).for_each(|(stored, records)| *stored += records);
    }
    Ok(())
}

fn chunks(file: &[u8], header: &Header) -> Result<Vec<Chunk>> {
    let mut chunks = Vec::new();
    for index in 0..header.events.chunks {
        let start = header.events.chunk_offset(index) as usize;
        let bytes = file.get(start..start + header.events.chunk_bytes as usize).context("the file is cut")?;
        let payload = &bytes[ChunkHeader::BYTES..];
        if let Some(header) = ChunkHeader::decode(bytes, payload.len() as u64)? {
            chunks.push(Chunk { header, payload: payload[..header.bytes as usize].to_vec() });
        }
    }
    let turned = chunks.iter().any(|chunk| chunk.header.seq > header.events.chunks);
    ensure!(!turned, "its ring has turned: what a lap begins with is missing");
    Ok(chunks)
}

fn last_tick(chunk: &Chunk, schema: &Schema) -> Result<u64> {
    let mut reader = Reader::new(&chunk.payload, chunk.header.base_tick, schema);
    let mut last = chunk.header.base_tick;
    while let Some(event) = reader.next_event()? {
        last = event.tick;
    }
    Ok(last)
}

fn pairs(file: &[u8], header: &Header) -> Vec<ClockPair> {
    let table = &file[header.clock_offset as usize..];
    let entries = table.chunks_exact(clock::ENTRY_BYTES).take(header.clock_slots as usize);
    let mut pairs: Vec<ClockPair> = entries.filter_map(ClockPair::decode).collect();
    pairs.sort_by_key(|pair| pair.seq);
    pairs
}

/// A pair for each lap, or for each so many laps as there is room for.
fn clocks(front: &mut [u8], header: &Header, start: ClockPair, laps: u64, lap: u64, rate: f64) {
    let at = |slot: u64| (header.clock_offset + slot * clock::ENTRY_BYTES as u64) as usize;
    front[at(0)..at(header.clock_slots)].fill(0);
    let step = laps.div_ceil(header.clock_slots - 2).max(1);
    for (seq, number) in (1..).zip((0..laps).step_by(step as usize).chain([laps])) {
        let (ticks, ns) = (number * lap, (number as f64 * lap as f64 * rate) as u64);
        let pair = ClockPair {
            seq,
            tick: start.tick + ticks,
            monotonic_ns: start.monotonic_ns + ns,
            wall_ns: start.wall_ns + ns,
            ..start
        };
        let slot = at(clock::slot(seq, header.clock_slots));
        front[slot..slot + clock::ENTRY_BYTES].copy_from_slice(&pair.encode());
    }
}

fn lanes(front: &mut [u8], header: &Header, laps: u64) -> Result<()> {
    for number in 0..header.lane_slots {
        let at = (header.lane_offset + number * lane::ENTRY_BYTES as u64) as usize;
        let entry = &mut front[at..at + lane::ENTRY_BYTES];
        let Some(lane) = Lane::decode(entry) else { continue };
        let mut lane = lane?;
        lane.sealed_events *= laps;
        lane.dropped.iter_mut().for_each(|n| *n *= laps);
        entry.copy_from_slice(&lane.encode());
    }
    Ok(())
}
