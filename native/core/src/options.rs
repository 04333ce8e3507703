//! What a recording is asked to be: where its events go, how many, for how long.

use std::path::{Path, PathBuf};
use std::time::Duration;

use spoor_format::header::Header;
use spoor_format::lane::LaneKind;

use crate::OpenError;
use crate::governor::Thinning;
use crate::segments::{self, Segments};
use crate::store::Store;

/// What to record into, and how much.
#[derive(Debug, Clone)]
pub struct Options {
    /// The file, or the directory of a stream; must not exist.
    pub path: PathBuf,
    /// Where events go, and which of them stay.
    pub storage: Storage,
    /// Writes everything to the disk this often; else the kernel does when it likes.
    pub sync: Option<Duration>,
    /// Places of the VM's table of processes, a power of two.
    pub places: u64,
    /// Threads that the VM runs callbacks on.
    pub threads: u64,
    /// Ends the recording this long after [`Recording::start_time`](crate::recording::Recording::start_time).
    pub time: Option<Duration>,
    /// Ends the recording after so many events.
    pub max_events: Option<u64>,
    /// Takes less than all that is offered.
    pub thinning: Thinning,
    /// Bytes of each argument list, message or value that are kept; 0 for none.
    pub content_bytes: usize,
    /// What an analyst needs years later, beside what this crate knows itself.
    pub meta: Vec<(String, String)>,
    /// Says what kind of thread the caller is.
    pub thread_kind: fn() -> LaneKind,
}

/// Where events go, and which of them stay when the room is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// A file with an event ring of so many bytes: the newest stay.
    Ring(u64),
    /// The same, and the first stay: when it is full, the recording ends.
    Once(u64),
    /// A directory of segments.
    Stream(segments::Stream),
}

impl Storage {
    /// Bytes for events.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Storage::Ring(bytes) | Storage::Once(bytes) => *bytes,
            Storage::Stream(stream) => stream.total_bytes,
        }
    }

    /// Has each thread of so many lanes room for its own part?
    pub(crate) fn check(&self, lanes: u64) -> Result<(), OpenError> {
        let least = Header::min_ring_bytes(lanes);
        match self {
            Storage::Ring(bytes) | Storage::Once(bytes) if *bytes < least => Err(OpenError::RingTooSmall { least }),
            Storage::Ring(_) | Storage::Once(_) => Ok(()),
            Storage::Stream(stream) => stream.check_segments(least, lanes),
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Storage::Ring(_) => "ring",
            Storage::Once(_) => "once",
            Storage::Stream(_) => "stream",
        }
    }

    /// The store, and what makes its segments; nothing is left if that fails.
    pub(crate) fn create(&self, path: &Path, lanes: u64) -> Result<(Store, Option<Segments>), OpenError> {
        let created = match self {
            Storage::Ring(bytes) => Store::create(path, Header::new(*bytes, lanes), false).map(|store| (store, None)),
            Storage::Once(bytes) => Store::create(path, Header::new(*bytes, lanes), true).map(|store| (store, None)),
            Storage::Stream(stream) => {
                segments::create(path, *stream, lanes).map(|(store, segments)| (store, Some(segments)))
            }
        };
        if created.is_err() {
            // Only what is empty: it may be of another recording.
            let _ = std::fs::remove_dir(path);
        }
        created
    }
}
