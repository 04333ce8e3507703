//! The order in which the events of one process can come, held against a recording.
//!
//! Only what is certain is called wrong: whatever events may be missing between, by
//! loss, by a limit or because a kind was not traced, says nothing. Ticks of
//! different processors differ a little, so order between two threads is not looked
//! at within [`SKEW_TICKS`].

use std::collections::HashMap;

use spoor_format::chunk::Identity;

use crate::read::{Deed, Step, kind};

/// Events of one process on two threads this near to each other have no sure order.
const SKEW_TICKS: u64 = 10_000;
/// Processes that exited are forgotten when there are twice as many as before.
const FEWEST_KEPT: usize = 4096;

/// What is known of a process.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    /// Its `spawned` was seen, and nothing is missing since.
    from_birth: bool,
    /// Whether it is on a scheduler, once that is known.
    running: Option<bool>,
    /// The kind of the collection that is open.
    collecting: Option<u8>,
    /// Whether it has exited.
    exited: bool,
    /// Calls less returns from calls.
    calls: i64,
    /// When, and on which lane, it had its last event.
    tick: u64,
    lane: u32,
}

/// Holds the events of all processes against the protocol.
#[derive(Debug, Default)]
pub struct Protocol {
    lives: HashMap<Identity, Life>,
    /// Events may be missing up to this tick.
    hole_until: u64,
    swept: usize,
}

impl Protocol {
    /// What is wrong with this event, after those before it.
    pub fn step(&mut self, step: &Step) -> Option<String> {
        if let Deed::Hole(until) = step.deed {
            self.hole_until = self.hole_until.max(until);
            self.lives.clear();
            return None;
        }
        if step.tick < self.hole_until || !matches!(step.whose, Identity::Process(_)) {
            return None;
        }
        if self.lives.len() > self.swept.saturating_mul(2).max(FEWEST_KEPT) {
            self.lives.retain(|_, life| !life.exited || life.tick.saturating_add(SKEW_TICKS) > step.tick);
            self.swept = self.lives.len();
        }
        let known = self.lives.contains_key(&step.whose);
        let life = self.lives.entry(step.whose).or_default();
        let unsure = life.lane != step.lane && step.tick.saturating_sub(life.tick) < SKEW_TICKS;
        let before = *life;
        let wrong = match step.deed {
            Deed::Missing => {
                *life = Life::default();
                None
            }
            Deed::Calls { behind, sum } => life.calls(behind, sum),
            Deed::Event(kind) => life.event(kind, known),
            Deed::Hole(_) => None,
        };
        (life.tick, life.lane) = (step.tick, step.lane);
        wrong.filter(|_| !(unsure && known && before.tick > 0))
    }
}

impl Life {
    fn calls(&mut self, behind: u32, sum: i32) -> Option<String> {
        let missing = i64::from(behind).saturating_sub(self.calls);
        self.calls = self.calls.saturating_add(i64::from(sum)).max(0);
        if self.exited {
            return Some("it calls or returns after its exit".to_owned());
        }
        let wrong = self.from_birth && missing > 0;
        wrong.then(|| format!("{missing} returns without a call, since it was spawned"))
    }

    fn event(&mut self, event: u8, known: bool) -> Option<String> {
        let late = self.exited && !may_follow_exit(event);
        let wrong = match event {
            kind::SPAWNED => {
                let wrong = (known && !self.exited).then(|| "it was spawned after events of its own".to_owned());
                *self = Life { from_birth: true, ..Life::default() };
                return wrong;
            }
            kind::IN | kind::IN_EXITING => self.runs(true, "it is scheduled in, but was not scheduled out since"),
            kind::OUT | kind::OUT_EXITING => self.runs(false, "it is scheduled out, but was not scheduled in since"),
            kind::OUT_EXITED => {
                let wrong = self.runs(false, "it is scheduled out for good, but was not scheduled in since");
                self.exited = true;
                wrong
            }
            kind::GC_MINOR_START | kind::GC_MAJOR_START => {
                let open = self.collecting.replace(event);
                open.map(|_| "a collection begins within another".to_owned())
            }
            kind::GC_MINOR_END => self.collected(kind::GC_MINOR_START),
            kind::GC_MAJOR_END => self.collected(kind::GC_MAJOR_START),
            kind::EXIT => {
                let again = self.exited.then(|| "it exits a second time".to_owned());
                // What it was in the middle of ends with it.
                (self.exited, self.collecting) = (true, None);
                return again;
            }
            _ => None,
        };
        let late = late.then(|| "it goes on after its exit".to_owned());
        wrong.or(late)
    }

    /// A process that exits is not always told to leave its scheduler.
    fn runs(&mut self, runs: bool, otherwise: &str) -> Option<String> {
        let was = self.running.replace(runs);
        (was == Some(runs) && !self.exited).then(|| otherwise.to_owned())
    }

    fn collected(&mut self, start: u8) -> Option<String> {
        match self.collecting.take() {
            Some(open) if open != start => Some("a collection ends as another kind than it began".to_owned()),
            None if self.from_birth => Some("a collection ends that did not begin".to_owned()),
            _ => None,
        }
    }
}

/// Code of a process does not run after its exit; what others do to it goes on.
fn may_follow_exit(event: u8) -> bool {
    !matches!(event, kind::IN | kind::OUT | kind::SPAWN | kind::TIMEOUT | kind::GC_MINOR_START | kind::GC_MAJOR_START)
}
