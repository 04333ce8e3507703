//! Events to tables. Knows neither bytes nor arguments: it is fed with events
//! in order and asked for reports.

pub mod calls;
pub mod filter;
pub mod flame;

pub mod histogram;
pub mod info;
pub mod label;
pub mod processes;

pub mod sched;
pub mod stack;
