//! The text form: any recording as lines, and back to the same bytes.
//!
//! For tests, for looking at damage, and for making recordings by hand. What the
//! lines cannot say (bytes behind a commit word, a damaged chunk, a flipped bit)
//! follows as `at` lines, so that bytes -> text -> bytes loses nothing:
//!
//! ```text
//! spoor-text 1                      # comments and empty lines are skipped
//! header lanes=2 clock_slots=8 info=4096x2 events=4096x4
//! length 50000                      # only when the file is cut or longer
//! status phase=recording stop_tick=0 reason=""
//! meta "node" "a@b"                 # `meta "records" own`: this version's table
//! clock 1 tick=100 monotonic_ns=5 wall_ns=9 spread_ns=1
//! lane 1 kind=scheduler index=1 os_tid=7 sealed_events=0 sealed_infos=0 dropped=[0,3]
//!                                   # and dropping=[since,until], unless both are 0,
//!                                   # outside=N, unless it is 0, and sampled=[in,out]
//! chunk events 0 lane=1 seq=1 base_tick=100 first_record=0 records=1 sealed=yes
//!   define_atom text="lists"
//!   define_function module=1 name=1 arity=2
//!   process pid=7
//!   content value=[-3,@1,<<16:0x6162>>]
//!   call +5 function=1
//!   raw 0xff01                      # bytes that are no record
//! at 36864 0x00ff                   # bytes at an offset of the file
//! backup                            # the copy of the front at the end of the file
//! ```
//!
//! * Record lines are indented; `+5` is the time delta of a timed record, then
//!   come the fields in the order of the table ([`crate::record::SPECS`], or the
//!   file's own for records of later versions). References are numbers.
//! * `records`, `bytes` and `sealed` (`yes`, `no`, or a wrong checksum) may be
//!   left out: they follow from the lines. So may offsets in `header` that are
//!   as [`Header::with_rings`] has them.
//! * Terms: `-` none, `@3` atom reference, `-7`, `1.5`, `pid(8)`, `port(8)`,
//!   `ref(1,2,3)`, `[]`, `[a,b]`, `[a|b]`, `{a,b}`, `#{k=>v}`, `<<16:0x6162>>`
//!   (size in bits, bytes kept), `printed("..")`, `...` elided, `hidden(binary,7)`,
//!   `list()` (a list of no elements), and `term(0x..)` for any other encoding.

mod image;
mod lines;
mod parse;
mod scan;
mod value;

use std::fmt;
use std::io::{self, Write};

use crate::DecodeError;
use crate::header::{FRONT_BYTES, Header, META_OFFSET, Meta, RingKind, RingLayout};
use crate::record::Schema;

pub use image::Image;
pub use lines::write_chunk;
pub use parse::parse;

/// First word of the first line, and the version behind it.
const INTRODUCTION: &str = "spoor-text 1";
/// Bytes of a `raw` or `at` line.
const LINE_BYTES: usize = 32;
/// Bytes between regions are looked at in pieces of this size.
const GAP_BYTES: u64 = 64 * 1024;

/// Where a text form cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub why: String,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for TextError {}

/// Why a file has no text form.
#[derive(Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// Reading the file or writing the text failed.
    Io(io::Error),
    /// Neither its header nor the copy of it is good.
    Header(DecodeError),
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::Io(error) => write!(f, "{error}"),
            WriteError::Header(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for WriteError {}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        WriteError::Io(error)
    }
}

/// The text form of a whole file in memory.
pub fn to_text(file: &[u8]) -> Result<String, DecodeError> {
    let mut text = Vec::new();
    let read = |offset: u64, len: usize| {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        Ok(file.get(start..start.saturating_add(len).min(file.len())).unwrap_or_default().to_vec())
    };
    match write_raw(&mut text, file.len() as u64, read) {
        Ok(()) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Err(WriteError::Header(error)) => Err(error),
        // Neither reading memory nor writing to a Vec fails.
        Err(WriteError::Io(_)) => Ok(String::new()),
    }
}

/// Writes the text form of a file of `len` bytes, holding one region of it at a
/// time. `read` answers the bytes at an offset, fewer where the file ends.
pub fn write_raw(
    out: &mut impl Write,
    len: u64,
    mut read: impl FnMut(u64, usize) -> io::Result<Vec<u8>>,
) -> Result<(), WriteError> {
    let front = read(0, FRONT_BYTES)?;
    let header = match Header::decode(&front) {
        Ok(header) => header,
        Err(why) => {
            let backup = read(len.saturating_sub(FRONT_BYTES as u64), FRONT_BYTES)?;
            Header::decode(&backup).map_err(|_| WriteError::Header(why))?
        }
    };
    lines::write_front(out, &header, len, &front)?;
    let meta = Meta::decode(front.get(META_OFFSET as usize..).unwrap_or_default());
    let schema = meta.ok().and_then(|meta| meta.get("records").map(Schema::parse)).unwrap_or_default();
    let mut done = FRONT_BYTES as u64;
    for (offset, bytes, region) in regions(&header) {
        write_gap(out, done..offset.min(len), &mut read)?;
        let wanted = usize::try_from(bytes.min(len.saturating_sub(offset))).unwrap_or(0);
        let content = read(offset, wanted)?;
        match region {
            Region::Clocks => lines::write_clocks(out, &header, &content)?,
            Region::Lanes => lines::write_lanes(out, &header, &content)?,
            Region::Chunk(kind, place) => write_chunk(out, kind, place, offset, &content, &schema)?,
            Region::Backup => lines::write_backup(out, &header, &front, &content)?,
        }
        done = offset.saturating_add(bytes);
        if done >= len {
            break;
        }
    }
    write_gap(out, done..len, &mut read)
}

#[derive(Debug, Clone, Copy)]
enum Region {
    Clocks,
    Lanes,
    Chunk(RingKind, u64),
    Backup,
}

/// All behind the front, in order: offset, size, what.
fn regions(header: &Header) -> impl Iterator<Item = (u64, u64, Region)> + use<> {
    let tables = [
        (header.clock_offset, header.lane_offset, Region::Clocks),
        (header.lane_offset, header.info.offset, Region::Lanes),
    ];
    let slots = [
        header.clock_slots.saturating_mul(crate::clock::ENTRY_BYTES as u64),
        header.lane_slots.saturating_mul(crate::lane::ENTRY_BYTES as u64),
    ];
    let tables = tables.into_iter().zip(slots).map(|((offset, _, region), bytes)| (offset, bytes, region));
    let chunks = |ring: RingLayout, kind| {
        (0..ring.chunks).map(move |place| (ring.chunk_offset(place), ring.chunk_bytes, Region::Chunk(kind, place)))
    };
    let backup = (header.backup_offset(), FRONT_BYTES as u64, Region::Backup);
    tables
        .chain(chunks(header.info, RingKind::Info))
        .chain(chunks(header.events, RingKind::Events))
        .chain(std::iter::once(backup))
}

fn write_gap(
    out: &mut impl Write,
    gap: std::ops::Range<u64>,
    read: &mut impl FnMut(u64, usize) -> io::Result<Vec<u8>>,
) -> Result<(), WriteError> {
    let mut at = gap.start;
    while at < gap.end {
        let bytes = gap.end.saturating_sub(at).min(GAP_BYTES);
        let content = read(at, usize::try_from(bytes).unwrap_or(0))?;
        lines::write_patches(out, at, &[], &content)?;
        at = at.saturating_add(bytes);
    }
    Ok(())
}
