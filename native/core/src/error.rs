//! Why a recording could not be opened.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a recording could not be opened.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The file system has too little room.
    NoSpace {
        /// Bytes the file takes.
        need: u64,
        /// Bytes that are free.
        have: u64,
    },
    /// The directory cannot be made or written.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file cannot be made, reserved or mapped.
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Blocks of this file system cannot be reserved for being written again.
    CopyOnWrite {
        /// The directory.
        path: PathBuf,
    },
    /// The event ring is too small for the VM's threads.
    RingTooSmall {
        /// Smallest size in bytes.
        least: u64,
    },
    /// The segments of a stream are too small for the VM's threads.
    SegmentTooSmall {
        /// Size of each in bytes.
        segment: u64,
        /// Smallest size.
        least: u64,
        /// Bytes of the smallest stream of such segments.
        stream: u64,
    },
    /// A stream is too small for its segments.
    StreamTooSmall {
        /// Its size in bytes.
        stream: u64,
        /// Smallest size.
        least: u64,
        /// Size of each segment.
        segment: u64,
    },
    /// As many recordings as there can be at once.
    TooMany,
}

impl OpenError {
    /// The same of a file that goes by the name of another.
    pub(crate) fn renamed(self, from: &Path, to: &Path) -> OpenError {
        match self {
            Self::File { path, error } if path == from => Self::File { path: to.to_owned(), error },
            other => other,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace { need, have } => write!(f, "{need} bytes needed, {have} free"),
            Self::Directory { path, error } => write!(f, "directory {}: {error}", path.display()),
            Self::File { path, error } => write!(f, "file {}: {error}", path.display()),
            Self::CopyOnWrite { path } => write!(
                f,
                "{} is on a copy-on-write file system (btrfs, bcachefs), where a full disk would kill the VM: \
                 say a dir on ext4, XFS or tmpfs",
                path.display()
            ),
            Self::RingTooSmall { least } => write!(f, "the ring needs at least {least} bytes"),
            Self::SegmentTooSmall { segment, least, stream } => {
                write!(f, "segments of {segment} bytes need at least {least}, and a stream of {stream}")
            }
            Self::StreamTooSmall { stream, least, segment } => {
                write!(f, "a stream of {stream} bytes in segments of {segment} needs at least {least}")
            }
            Self::TooMany => write!(f, "{} recordings are open", crate::registry::SLOTS),
        }
    }
}

impl std::error::Error for OpenError {}
