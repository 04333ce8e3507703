//! What a recording holds: read chunk by chunk with the format's own reader.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use spoor_format::chunk::{ChunkHeader, Reader};
use spoor_format::header::Header;
use spoor_format::record::{Schema, spec};

/// `counted NAME BYTES KIND=N ...`: bytes of payload in use, and the events.
pub(crate) fn line(path: &Path) -> Result<String> {
    let file = std::fs::read(path)?;
    let header = Header::decode(&file)?;
    let (mut bytes, mut kinds) = (0, BTreeMap::new());
    for index in 0..header.events.chunks {
        let start = header.events.chunk_offset(index) as usize;
        let chunk = file.get(start..start + header.events.chunk_bytes as usize).context("the file is cut")?;
        bytes += chunk_events(chunk, &mut kinds).with_context(|| format!("chunk {index}"))?;
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind}={count}")).collect();
    Ok(format!("counted\t{name}\t{bytes}\t{}", kinds.join(" ")))
}

fn chunk_events(chunk: &[u8], kinds: &mut BTreeMap<&'static str, u64>) -> Result<u64> {
    let payload = &chunk[ChunkHeader::BYTES..];
    let Some(header) = ChunkHeader::decode(chunk, payload.len() as u64)? else { return Ok(0) };
    let schema = Schema::default();
    let mut reader = Reader::new(&payload[..header.bytes as usize], header.base_tick, &schema);
    while let Some(event) = reader.next_event()? {
        *kinds.entry(spec(event.body.id()).map_or("unknown", |spec| spec.name)).or_default() += 1;
    }
    Ok(u64::from(header.bytes))
}
