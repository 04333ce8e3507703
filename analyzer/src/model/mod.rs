//! Events to tables. Knows neither bytes nor arguments: it is fed with events
//! in order and asked for reports.

pub mod calls;
mod calm;
pub mod check;
pub mod clocks;
pub mod cut;
pub mod edges;
pub mod filter;
pub mod flame;
pub mod gc;
pub mod group;
pub mod histogram;
pub mod info;
pub mod keyed;
pub mod label;
pub mod msgs;
mod off;
pub mod open_calls;
pub mod part;
pub mod pids;
pub mod pressure;
pub mod processes;
pub mod procs;
pub mod protocol;
pub mod replay;
mod replies;
pub mod requests;
pub mod sched;
pub mod shares;
pub mod slots;
pub mod slow;
mod spans;
pub mod split;
pub mod stack;
pub mod states;
pub mod told;
pub mod verdicts;
