//! The front of a file (header, status, meta), or its copy at the end.

use std::fmt;
use std::io;

use spoor_format::DecodeError;
use spoor_format::header::{FRONT_BYTES, HEADER_BYTES, Header, META_OFFSET, Meta};
use spoor_format::status::{self, Found, Status};

use super::finding::Finding;
use super::source::Source;

/// Why nothing of a file can be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The operating system refuses.
    Io(io::Error),
    /// Neither the front nor its copy is a recording's.
    NotARecording {
        /// What the front looks like.
        why: DecodeError,
        /// Size of the file.
        file_bytes: u64,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Io(error) => write!(f, "{error}"),
            OpenError::NotARecording { file_bytes: 0, .. } => write!(f, "the file is empty"),
            OpenError::NotARecording { why, file_bytes } if *file_bytes < HEADER_BYTES as u64 => {
                write!(f, "{why} (the file has only {file_bytes} bytes)")
            }
            OpenError::NotARecording { why, .. } => write!(f, "{why}"),
        }
    }
}

impl std::error::Error for OpenError {}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        OpenError::Io(error)
    }
}

/// What the front says.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) header: Header,
    pub(crate) meta: Meta,
    pub(crate) status: Status,
    /// Who found that its VM had died.
    pub(crate) found: Option<Found>,
}

/// Reads the front; what had to be taken from the copy, or is lost, is found.
pub(crate) fn read(source: &Source, findings: &mut Vec<Finding>) -> Result<Front, OpenError> {
    let (mut front, mut backup) = (Vec::new(), Vec::new());
    source.read(0, FRONT_BYTES, &mut front)?;
    source.read(source.len().saturating_sub(FRONT_BYTES as u64), FRONT_BYTES, &mut backup)?;
    let header = header(source, &front, &backup, findings)?;
    let copy = if source.len() >= header.file_bytes { read_copy(source, &header)? } else { Vec::new() };
    let meta = meta(&front, &copy, findings);
    // The block changes while recording and has no checksum; the copy is older.
    let block = if front.len() >= status::END { &front } else { &copy };
    let (status, found) = (Status::decode(block), Found::decode(block));
    if front.len() < status::END {
        findings.push(Finding::damage("status", "the file ends before it", "how the recording ended"));
    }
    Ok(Front { header, meta, status, found })
}

fn read_copy(source: &Source, header: &Header) -> io::Result<Vec<u8>> {
    let mut copy = Vec::new();
    source.read(header.backup_offset(), FRONT_BYTES, &mut copy)?;
    Ok(copy)
}

fn header(source: &Source, front: &[u8], backup: &[u8], findings: &mut Vec<Finding>) -> Result<Header, OpenError> {
    let why = match Header::decode(front) {
        Ok(header) => return Ok(header),
        Err(why) => why,
    };
    match Header::decode(backup) {
        Ok(header) if header.file_bytes == source.len() => {
            findings.push(Finding::damage("header", why, "nothing: its copy at the end of the file is good"));
            Ok(header)
        }
        _ => Err(OpenError::NotARecording { why, file_bytes: source.len() }),
    }
}

fn meta(front: &[u8], copy: &[u8], findings: &mut Vec<Finding>) -> Meta {
    let section = |bytes: &[u8]| Meta::decode(bytes.get(META_OFFSET as usize..).unwrap_or_default());
    let why = match section(front) {
        Ok(meta) => return meta,
        Err(why) => why,
    };
    match section(copy) {
        Ok(meta) => {
            findings.push(Finding::damage("meta", why, "nothing: its copy at the end of the file is good"));
            meta
        }
        Err(_) => {
            findings.push(Finding::damage("meta", why, "what was recorded where, and how pids are written"));
            Meta::default()
        }
    }
}
