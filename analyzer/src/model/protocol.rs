//! The order in which the events of one process can come, held against a recording.
//!
//! Only what is certain is called wrong: whatever events may be missing between, by
//! loss, by a limit or because a kind was not traced, says nothing. Ticks of
//! different processors differ a little, so order between two threads is not looked
//! at within some microseconds (`SKEW_TICKS`).

use std::collections::hash_map::Entry;

use foldhash::HashMap;
use spoor_format::chunk::Identity;

use crate::model::pids::Places;
use crate::read::{Deed, Recording, Step, kind};

/// Events of one process on two threads this near to each other have no sure order.
const SKEW_TICKS: u64 = 10_000;
/// Children that were spawned and are not recorded: more are not kept.
const CHILDREN: usize = 1 << 16;
/// A child begins at once when it is spawned: whatever is later than this is of another
/// process with the same pid.
const AT_ONCE_TICKS: u64 = 10_000_000;
/// Processes that exited are forgotten when there are twice as many as before.
const FEWEST_KEPT: usize = 4096;

const ALREADY_OUT: &str = "it is scheduled out, but was not scheduled in since";
const TWICE_IN: &str = "it is scheduled in, but was not scheduled out since";

/// What is known of a process, or of a port.
#[derive(Debug, Clone, Copy, Default)]
struct Life {
    /// Its `spawned` was seen, and nothing is missing since.
    from_birth: bool,
    /// Whether it is on a scheduler, once that is known.
    running: Option<bool>,
    /// It came in on this lane before it was out of another: a matter of clocks, if it is out there next.
    early: Option<u32>,
    /// And was out of there again.
    gone: bool,
    /// The lane on which it came in.
    on: u32,
    /// The kind of the collection that is open.
    collecting: Option<u8>,
    /// Whether it has exited.
    exited: bool,
    /// Calls less returns from calls.
    calls: i64,
    /// When it was spawned, if that was seen.
    born: u64,
    /// When, and on which lane, it had its last event.
    tick: u64,
    lane: u32,
}

/// Holds the events of all processes against the protocol.
#[derive(Debug, Default)]
pub struct Protocol {
    lives: HashMap<Identity, Life>,
    /// Children that were spawned and have not begun: by whom, and when.
    children: HashMap<u64, (Identity, u64)>,
    /// Events may be missing up to this tick.
    hole_until: u64,
    swept: usize,
    places: Places,
}

impl Protocol {
    /// Of a recording.
    pub fn of(recording: &Recording) -> Protocol {
        Protocol { places: Places::of(recording), ..Protocol::default() }
    }

    /// What is wrong with this event, after those before it.
    pub fn step(&mut self, step: &Step) -> Option<String> {
        if let Deed::Hole(until) = step.deed {
            self.hole_until = self.hole_until.max(until);
            self.lives.clear();
            self.children.clear();
            return None;
        }
        if step.tick < self.hole_until || step.whose == Identity::Nobody {
            return None;
        }
        match step.deed {
            Deed::Spawned(child) => return self.spawned(step, child),
            Deed::SpawnedBy(parent) => return self.begins(step, parent),
            Deed::Sent(_) | Deed::Received(_) => return None,
            _ => {}
        }
        if self.lives.len() > self.swept.saturating_mul(2).max(FEWEST_KEPT) {
            self.lives.retain(|_, life| !life.exited || life.tick.saturating_add(SKEW_TICKS) > step.tick);
            self.swept = self.lives.len();
        }
        let mut replaced = None;
        let (known, life) = match self.lives.entry(step.whose) {
            Entry::Occupied(life) => (true, life.into_mut()),
            Entry::Vacant(place) => {
                replaced = self.places.replaced(step.whose);
                (false, place.insert(Life::default()))
            }
        };
        let unsure = life.lane != step.lane && step.tick.saturating_sub(life.tick) < SKEW_TICKS;
        let before = *life;
        let wrong = match step.deed {
            Deed::Missing => {
                *life = Life::default();
                None
            }
            Deed::Calls { behind, sum } => life.calls(behind, sum),
            Deed::Event(kind) if matches!(step.whose, Identity::Port(_)) => life.port(kind, step.lane),
            Deed::Event(kind) => life.event(kind, known, step.lane),
            _ => None,
        };
        if step.deed == Deed::Event(kind::SPAWNED) {
            life.born = step.tick;
        }
        (life.tick, life.lane) = (step.tick, step.lane);
        replaced.and_then(|gone| self.lives.remove(&gone));
        wrong.filter(|_| !(unsure && known && before.tick > 0))
    }

    /// A parent's event comes first, its child's next, on the same thread.
    fn spawned(&mut self, step: &Step, child: u64) -> Option<String> {
        let known = self.lives.get(&Identity::Process(child));
        let begun = known.is_some_and(|life| life.from_birth && !life.exited && life.lane == step.lane);
        if self.children.len() >= CHILDREN {
            self.children.clear();
        }
        self.children.insert(child, (step.whose, step.tick));
        let just = known.is_some_and(|life| step.tick.saturating_sub(life.born) < AT_ONCE_TICKS);
        (begun && just).then(|| "it spawns a process that has begun already".to_owned())
    }

    /// A child has the parent that spawned it.
    fn begins(&mut self, step: &Step, parent: u64) -> Option<String> {
        let Identity::Process(word) = step.whose else { return None };
        let (by, when) = self.children.remove(&word)?;
        let other = by != Identity::Process(parent) && step.tick.saturating_sub(when) < AT_ONCE_TICKS;
        other.then(|| "it was spawned by another process than its parent".to_owned())
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

    fn port(&mut self, event: u8, lane: u32) -> Option<String> {
        match event {
            kind::PORT_IN => self.comes_in(lane, TWICE_IN),
            kind::PORT_OUT => self.leaves(lane, ALREADY_OUT),
            kind::OPEN | kind::CLOSED => {
                let again = self.exited && event == kind::CLOSED;
                // What it was in the middle of ends with it.
                *self = Life { exited: event == kind::CLOSED, ..Life::default() };
                again.then(|| "it is closed a second time".to_owned())
            }
            _ => None,
        }
    }

    fn event(&mut self, event: u8, known: bool, lane: u32) -> Option<String> {
        let late = self.exited && !may_follow_exit(event);
        let wrong = match event {
            kind::SPAWNED => {
                // From one thread to another it is a matter of their clocks.
                let wrong = known && !self.exited && self.lane == lane;
                *self = Life { from_birth: true, ..Life::default() };
                return wrong.then(|| "it was spawned after events of its own".to_owned());
            }
            kind::IN | kind::IN_EXITING => self.comes_in(lane, TWICE_IN),
            kind::OUT | kind::OUT_EXITING => self.leaves(lane, ALREADY_OUT),
            kind::OUT_EXITED => {
                let wrong = self.leaves(lane, "it is scheduled out for good, but was not scheduled in since");
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

    /// In on another thread before it is out of the one: that is wrong unless it is out there next.
    fn comes_in(&mut self, lane: u32, otherwise: &str) -> Option<String> {
        let was = self.running.replace(true);
        if was == Some(true) && self.on != lane && self.early.is_none() {
            (self.early, self.gone) = (Some(lane), false);
            return None;
        }
        self.on = lane;
        let twice = self.early.take().is_some() || was == Some(true);
        (twice && !self.exited).then(|| otherwise.to_owned())
    }

    /// A process that exits is not always told to leave its scheduler.
    fn leaves(&mut self, lane: u32, otherwise: &str) -> Option<String> {
        match self.early {
            Some(early) if lane == self.on => {
                (self.running, self.on, self.early) = (Some(!self.gone), early, None);
                return None;
            }
            Some(_) if !self.gone => {
                self.gone = true;
                return None;
            }
            _ => self.early = None,
        }
        let was = self.running.replace(false);
        (was == Some(false) && !self.exited).then(|| otherwise.to_owned())
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
