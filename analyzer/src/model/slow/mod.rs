//! The slowest single calls: when, who, where, what their time went to, and what
//! they called.
//!
//! Read in two passes. The first finds the calls ([`Slow`]), by any number of threads, with
//! the same answer. The second looks only at the stretches of time in which these were open,
//! with what is known around them, and takes up what their time went to and what they called
//! ([`Trees`]). So memory does not depend on how many calls there are, and what the second
//! pass costs not on the length of the recording, but on that of the calls.

mod find;
mod trees;

pub use find::{Finder, Slow};
pub use trees::Trees;

use std::cmp::Reverse;

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;

use crate::model::split::Split;
use crate::read::FunctionId;

/// A slow call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SlowCall {
    /// What was called.
    pub function: String,
    /// The recording it is in.
    pub recording: String,
    /// When it began, in nanoseconds since the start of the recording.
    pub at_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// In the function itself, waiting included.
    pub own_ns: u64,
    /// It ended by an exception.
    pub raised: bool,
    /// The process, with its name.
    pub process: String,
    /// The lane on which it began, and the one on which it ended.
    pub lanes: (String, String),
    /// What its time went to: adds up to the duration.
    pub split: Split,
    /// What it called, with the call itself at the root.
    pub tree: Node,
}

/// Calls of a function from the same place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Node {
    /// The function.
    pub function: String,
    /// How often it was called from here.
    pub calls: u64,
    /// Time of these calls, those without a known end left out.
    pub total_ns: u64,
    /// Of that, in the function itself.
    pub own_ns: u64,
    /// What it called, longest first.
    pub children: Vec<Node>,
    /// What it called that has no place in the tree, which has 50 levels and 1,000 places.
    pub beyond: Option<Beyond>,
}

/// Calls that have no place in a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Beyond {
    /// Those from here, without those that they made.
    pub calls: u64,
    /// Time of these, those without a known end left out.
    pub total_ns: u64,
    /// How many levels deep it went from here.
    pub levels: u64,
}

/// A timed call, as the first pass finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    function: FunctionId,
    /// Which of the recordings, counted from 0.
    recording: usize,
    whose: Identity,
    /// In monotonic nanoseconds.
    start: u64,
    duration: u64,
    own: u64,
    raised: bool,
    /// So many calls of the function began in the process at this very moment before it.
    nth: u32,
    /// Calls that are asked for and began before it in its share of the processes.
    born: u64,
}

impl Found {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.duration)
    }

    /// The slowest is the greatest; of equal ones that which began first.
    fn rank(&self) -> impl Ord + use<> {
        (self.duration, Reverse((self.recording, self.start, self.whose, self.born)))
    }
}
