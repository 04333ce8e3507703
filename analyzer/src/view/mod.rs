//! Tables to output: text for people, JSON for programs, pictures. Opens no file.

pub mod calls;
pub mod dump;
pub mod findings;
pub mod flame;
pub mod info;
pub mod sched;
pub mod svg;
pub mod table;
pub mod units;
