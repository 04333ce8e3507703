//! The recorder of Spoor, without the VM.
//!
//! Nothing here names rustler or Erlang: the NIF crate around it turns terms
//! into the words and calls of this one, and plain tests run it without a VM.
//!
//! ```text
//! registry   which recording a tracer state names
//! own_word   a word for each thread, near at hand (unsafe island)
//! gate       who is inside a callback, and the end under them (modelled)
//! recording  one recording: begin, lanes, end
//! options    what it is asked to be: storage, limits
//! limits     when it takes no more, and what its lanes share of that
//! lane       one VM thread's place to write; its part of the loss ledger
//! governor   what thins a recording: rates, samples, shares of time
//! pool       events that may still be stored, handed out to lanes
//! windows    the word of a rate: how much of a window is used (modelled)
//! governed   a lane's part of it: what it judges, and owes the file
//! processes  which processes were met, and what was told of them last (modelled)
//! missing    which calls were left out of which process
//! spellings  what atoms spell, as far as a lane has asked
//! stream     a lane's open chunk in one ring, with the names it has defined
//! ring       whose chunk is whose: take, seal, pin (modelled)
//! chunk_words  in which order a chunk's header is stored (modelled)
//! recall     what a lane is asked: to look at the limits, to give a chunk back (modelled)
//! sync       what the modelled parts are made of: atomics, barriers
//! store      the file: mapping, layout, rings
//! mapping    mmap, reservation, prefault (unsafe island)
//! faults     what becomes of a SIGBUS in a mapping (unsafe island)
//! file_size  what becomes of the signal for a file that is too large (unsafe island)
//! cgroup     memory that the process may still take, for files that are memory
//! keeper     the recorder's own thread: clock pairs, checksums, the end
//! exit       recordings that are open when the process ends in order
//! segments   the files of a stream: made ahead, closed, packed, deleted
//! snapshot   copies of a window of time, while recording goes on
//! adopt      recordings that VMs before this one left by dying
//! process    which process this is, and whether another one lives
//! background threads beside the keeper; writing to the disk at intervals
//! clock      the tick, and what it is worth
//! ```
//!
//! Laws of the hot path (`registry::enter` to `Lane::event`): no allocation, no
//! lock, no system call, no panic that leaves it; drop and count, never wait.
//! The first event of a thread is the exception: it makes the lane.

pub mod adopt;
mod background;
mod cache;
mod cgroup;
mod chunk_words;
pub mod clock;
mod copy_file;
mod covered;
mod error;
pub mod exit;
mod faults;
mod file_size;
mod functions;
mod gate;
pub mod governed;
pub mod governor;
mod keeper;
pub mod lane;
mod limits;
mod mapping;
mod missing;
mod options;
mod own_word;
mod pace;
mod pending;
mod pool;
mod process;
mod processes;
mod recall;
pub mod recording;
mod references;
pub mod registry;
mod ring;
mod segment_chunks;
pub mod segments;
pub mod snapshot;
mod spellings;
mod store;
pub mod stream;
mod sync;
mod windows;

pub use error::OpenError;
pub use keeper::Host;
pub use limits::Limit;
pub use mapping::create_private;
pub use options::{Options, Storage};
pub use recording::Summary;
