//! What can be wrong with bytes that should be a recording.

use std::fmt;

/// Why some bytes are not what the format says. Offsets are relative to the
/// structure being decoded (a chunk's payload, a table entry).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end inside a value.
    Truncated {
        /// Where the value began.
        offset: usize,
    },
    /// A varint of more than 64 bits.
    Overlong {
        /// Where the number began.
        offset: usize,
    },
    /// A record id that neither this version nor the file's own table knows.
    UnknownRecord {
        /// Where the record began.
        offset: usize,
        /// The id found there.
        id: u8,
    },
    /// A term tag that does not exist, or terms nested too deeply.
    BadTerm {
        /// Where the term began.
        offset: usize,
        /// The tag found there.
        tag: u8,
    },
    /// A reference to an atom or function that the chunk never defined.
    Dangling {
        /// `"atom"` or `"function"`.
        what: &'static str,
        /// The number referred to.
        number: u64,
    },
    /// Text that is not UTF-8.
    NotUtf8 {
        /// Where the text began.
        offset: usize,
    },
    /// Not a recording at all, or one of a machine with the other byte order.
    NotASpoorFile,
    /// A recording of a later major version.
    Version {
        /// Major version found.
        major: u16,
        /// Minor version found.
        minor: u16,
    },
    /// A checksum does not match.
    Checksum {
        /// Which structure.
        what: &'static str,
        /// The checksum stored in the file.
        want: u32,
        /// The checksum of the bytes found.
        got: u32,
    },
    /// Sizes in the header that contradict each other or the file.
    Layout {
        /// What contradicts what.
        why: &'static str,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { offset } => write!(f, "the value at byte {offset} is cut off"),
            Self::Overlong { offset } => write!(f, "the number at byte {offset} has more than 64 bits"),
            Self::UnknownRecord { offset, id } => write!(f, "unknown record id {id} at byte {offset}"),
            Self::BadTerm { offset, tag } => write!(f, "bad term tag {tag} at byte {offset}"),
            Self::Dangling { what, number } => write!(f, "{what} {number} was never defined in its chunk"),
            Self::NotUtf8 { offset } => write!(f, "the text at byte {offset} is not UTF-8"),
            Self::NotASpoorFile => write!(f, "not a Spoor recording (magic and byte order do not match)"),
            Self::Version { major, minor } => {
                write!(
                    f,
                    "recorded in format {major}.{minor}, this reader knows {}.x: use a newer spoor",
                    crate::header::MAJOR
                )
            }
            Self::Checksum { what, want, got } => {
                write!(f, "checksum of the {what} is {got:#010x}, the file says {want:#010x}")
            }
            Self::Layout { why } => write!(f, "impossible file layout: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}
