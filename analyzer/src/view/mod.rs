//! Tables to output: text for people, JSON for programs, pictures. Opens no file.

pub mod calls;
pub mod check;
pub mod dump;
pub mod edges;
pub mod findings;
pub mod flame;
pub mod gc;
pub mod hist;
pub mod info;
pub mod msgs;
pub mod pressure;
pub mod procs;
pub mod requests;
pub mod sched;
pub mod slow;
pub mod svg;
pub mod table;
pub mod units;
