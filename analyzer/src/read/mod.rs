//! Bytes to events: opens a recording in whatever state it is and yields its
//! events in one order, with what was lost as values.
//!
//! Invariants: no input makes anything in here panic or loop; nothing is
//! printed; an event that is handed out stood whole in a chunk that decodes.
//! Memory is one chunk for each lane, whatever the size of the file.

// Tests may: what they index, they made.
#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod audit;
mod batch;
mod clock;
mod deal;
mod detail;
mod facts;
mod finding;
mod front;
mod gaps;
mod identity;
mod index;
pub mod kind;
mod ledger;
mod live;
mod names;
mod recording;
mod references;
mod segments;
mod source;
mod stream;
mod survey;
mod terms;
mod tracees;
mod untraced;
mod window;

pub use clock::Clock;
pub use deal::{Asked, Deal, Dealt, SHARE_BITS, SHARES};
pub use detail::{Detail, FieldValue};
pub use finding::{Defect, Finding, Place, Severity};
pub use front::OpenError;
pub use identity::PidFormat;
pub use ledger::{LaneLedger, Ledger};
pub use live::{State, snapshot_of};
pub use names::{AtomId, FunctionId, FunctionKey, Names, TraceeId};
pub use recording::{Info, Recording};
pub use segments::SegmentFacts;
pub use source::Source;
pub use stream::{Event, Outcome, Stream};
pub use survey::{Deed, Round, Step, Survey};
pub(crate) use terms::push_number;
pub use terms::{quoted, thousands};
pub use tracees::Tracees;
pub use window::Window;
