//! The file format of Spoor recordings.
//!
//! The recorder (inside the VM) and the analyzer (outside of it) meet in this
//! crate and nowhere else: [`record`] holds the one table of everything a
//! recording can say, and writer, reader, text form and `docs/FORMAT.md` follow
//! from it. No I/O, no clock, no threads, no unsafe code: bytes in, values out.
//!
//! A recording is a file of fixed size:
//!
//! ```text
//! page 0      header, status           [`header`], [`status`]
//! meta        what was recorded where  [`header::Meta`]
//! clocks      (tick, monotonic, wall)  [`clock`]
//! lanes       one per VM thread        [`lane`]
//! info ring   chunks of process facts  [`chunk`]
//! event ring  chunks of events         [`chunk`]
//! backup      copy of header and meta
//! ```

#![forbid(unsafe_code)]
// No input may panic a decoder. Encoders, whose callers choose what they write,
// are exempt one by one; tests altogether.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

pub mod brief;
pub mod build;
pub mod chunk;
pub mod clock;
mod codec;
mod crc;
mod error;
pub mod header;
pub mod hint;
pub mod lane;
pub mod record;
pub mod reference;
pub mod segment;
pub mod status;
pub mod term;
pub mod text;
mod usual;

pub use codec::{Cursor, Full, Put, Sink};
pub use error::DecodeError;
