//! The processes and ports of one recording, as small dense numbers that are used again.
//!
//! A process is known to be gone when its `exit` is read, or when another is met that has
//! its place in the VM's table of processes: two that live at once have different places.
//! Its number stays its own while chunks in memory have events of it, and until some more
//! have gone after it, so that what others do to it late is known to be done to it. Then
//! the number is told as gone, for whoever keeps something by it; after that it is free.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use foldhash::{HashMap, HashMapExt};
use spoor_format::chunk::Identity;

use super::identity::PidFormat;
use super::names::TraceeId;

/// Numbers of those that are gone are told so many at a time, at least.
const AT_ONCE: usize = 1 << 12;

/// Who is who.
#[derive(Debug, Clone)]
pub struct Tracees {
    known: Vec<Tracee>,
    ids: HashMap<Identity, TraceeId>,
    /// Who was seen last at each place of the VM's table of processes.
    places: HashMap<u64, TraceeId>,
    /// Which bits of a pid's word are its place, where that is known.
    place_mask: Option<u64>,
    /// Those that are gone and remembered still, the first first.
    dead: VecDeque<(TraceeId, Identity)>,
    remembered: usize,
    /// Numbers to be told, once there are so many.
    gone: Vec<TraceeId>,
    tell_at: usize,
    /// Numbers that are nobody's any more.
    free: Vec<TraceeId>,
}

#[derive(Debug, Clone, Copy)]
struct Tracee {
    identity: Identity,
    /// It is known to have lived at this tick, and at none before.
    since: u64,
    /// The last tick at which it exited, or was spawned.
    turned: u64,
    /// So many parts of the recording are in memory in which it has events.
    held: u32,
    exited: bool,
    /// It stands among the dead.
    listed: bool,
    /// It is remembered no longer.
    due: bool,
    /// Its place was looked at.
    placed: bool,
}

impl Tracee {
    fn new(identity: Identity) -> Tracee {
        let (since, turned, held) = (u64::MAX, 0, 0);
        Tracee { identity, since, turned, held, exited: false, listed: false, due: false, placed: false }
    }
}

impl Default for Tracees {
    fn default() -> Tracees {
        Tracees {
            known: Vec::new(),
            ids: HashMap::new(),
            places: HashMap::new(),
            place_mask: None,
            dead: VecDeque::new(),
            remembered: 0,
            gone: Vec::new(),
            tell_at: AT_ONCE,
            free: Vec::new(),
        }
    }
}

impl Tracees {
    /// The tracee's number.
    pub fn id(&mut self, identity: Identity) -> TraceeId {
        if let Some(known) = self.ids.get(&identity) {
            return *known;
        }
        let id = match self.free.pop() {
            Some(free) => free,
            None => {
                self.known.push(Tracee::new(identity));
                TraceeId(u32::try_from(self.known.len().saturating_sub(1)).unwrap_or(u32::MAX))
            }
        };
        if let Some(known) = self.known.get_mut(id.0 as usize) {
            *known = Tracee::new(identity);
        }
        self.ids.insert(identity, id);
        id
    }

    /// Who it is.
    pub fn identity(&self, id: TraceeId) -> Identity {
        self.known.get(id.0 as usize).map_or(Identity::Nobody, |tracee| tracee.identity)
    }

    /// The number of one that was met already, and is not gone for long.
    pub fn find(&self, identity: Identity) -> Option<TraceeId> {
        self.ids.get(&identity).copied()
    }

    /// Is the number nobody's?
    pub fn is_free(&self, id: TraceeId) -> bool {
        let identity = self.identity(id);
        identity == Identity::Nobody && self.find(identity) != Some(id)
    }

    /// How many numbers there are: all are below this.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Of a recording whose pids are like this, `remembered` that are gone are kept. Whoever
    /// is known lives again.
    pub(super) fn begin(&mut self, pids: &PidFormat, remembered: usize) {
        self.places.clear();
        self.dead.clear();
        (self.place_mask, self.remembered) = (pids.place_mask(), remembered);
        for tracee in &mut self.known {
            *tracee = Tracee { since: tracee.since, ..Tracee::new(tracee.identity) };
        }
    }

    fn get_mut(&mut self, id: TraceeId) -> Option<&mut Tracee> {
        self.known.get_mut(id.0 as usize)
    }

    /// Something in memory is of it, from this tick on: its number stays its own until it is
    /// let go as often as it was held.
    pub(super) fn hold(&mut self, id: TraceeId, tick: u64) {
        if let Some(tracee) = self.get_mut(id) {
            tracee.held = tracee.held.saturating_add(1);
            tracee.since = tracee.since.min(tick);
        }
    }

    /// It is known to have lived at this tick, which is in the past.
    pub(super) fn lived(&mut self, id: TraceeId, tick: u64) {
        self.hold(id, tick);
        self.let_go(id);
    }

    /// All is done, in the order of time, up to the end of what it was held for.
    pub(super) fn let_go(&mut self, id: TraceeId) {
        let Some(tracee) = self.get_mut(id) else { return };
        tracee.held = tracee.held.saturating_sub(1);
        if !std::mem::replace(&mut tracee.placed, true) {
            self.takes_its_place(id);
        }
        self.forget_if_due(id);
    }

    /// At this tick it has exited, or one with its pid was spawned.
    pub(super) fn exits(&mut self, identity: Identity, tick: u64, exited: bool) {
        let Some(id) = self.find(identity) else { return };
        let Some(tracee) = self.get_mut(id).filter(|tracee| tracee.turned <= tick) else { return };
        tracee.turned = tick;
        match exited {
            true => self.dies(id),
            false => (tracee.exited, tracee.due) = (false, false),
        }
    }

    /// Whoever was seen at the same place before is no more.
    fn takes_its_place(&mut self, id: TraceeId) {
        let (Some(mask), Some(tracee)) = (self.place_mask, self.known.get(id.0 as usize)) else { return };
        let Identity::Process(word) = tracee.identity else { return };
        let place = word & mask;
        let other = match self.places.entry(place) {
            Entry::Vacant(nobody) => {
                nobody.insert(id);
                return;
            }
            Entry::Occupied(mut last) => {
                let other = self.known.get(last.get().0 as usize).filter(|other| {
                    // The number may be another's by now.
                    matches!(other.identity, Identity::Process(word) if word & mask == place)
                });
                match other {
                    Some(other) if other.identity == tracee.identity => return,
                    Some(other) if other.since > tracee.since => id,
                    Some(_) => last.insert(id),
                    None => {
                        last.insert(id);
                        return;
                    }
                }
            }
        };
        self.dies(other);
    }

    fn dies(&mut self, id: TraceeId) {
        let Some(tracee) = self.get_mut(id) else { return };
        tracee.exited = true;
        let identity = tracee.identity;
        if !std::mem::replace(&mut tracee.listed, true) {
            self.dead.push_back((id, identity));
        }
        while self.dead.len() > self.remembered {
            let Some((id, identity)) = self.dead.pop_front() else { return };
            if let Some(tracee) = self.get_mut(id).filter(|tracee| tracee.identity == identity) {
                (tracee.listed, tracee.due) = (false, tracee.exited);
                self.forget_if_due(id);
            }
        }
    }

    fn forget_if_due(&mut self, id: TraceeId) {
        let Some(tracee) = self.get_mut(id).filter(|tracee| tracee.due && tracee.exited && tracee.held == 0) else {
            return;
        };
        tracee.due = false;
        let identity = tracee.identity;
        if self.ids.remove(&identity).is_some() {
            self.gone.push(id);
        }
    }

    /// Is it time to tell which numbers are of nobody any more?
    pub(super) fn has_gone(&self) -> bool {
        self.gone.len() >= self.tell_at
    }

    /// Whose numbers will be others' soon: they are who they were until they are freed.
    pub(super) fn take_gone(&mut self) -> Vec<TraceeId> {
        std::mem::take(&mut self.gone)
    }

    /// Nothing is kept by these numbers any more; by those something is.
    pub(super) fn free(&mut self, numbers: Vec<TraceeId>, kept: Vec<TraceeId>) {
        for id in &numbers {
            if let Some(tracee) = self.get_mut(*id) {
                *tracee = Tracee::new(Identity::Nobody);
            }
        }
        self.free.extend(numbers);
        // Those are asked for again when there are some more.
        self.tell_at = kept.len().saturating_mul(2).saturating_add(AT_ONCE);
        self.gone.extend(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_all(tracees: &mut Tracees) -> Vec<TraceeId> {
        let gone = tracees.take_gone();
        tracees.free(gone.clone(), Vec::new());
        gone
    }

    #[test]
    fn numbers_of_those_that_exited_are_used_again() {
        let mut tracees = Tracees::default();
        let [a, b, c] = [1, 2, 3].map(Identity::Process);
        let (one, two) = (tracees.id(a), tracees.id(b));
        [one, one, two].into_iter().for_each(|id| tracees.hold(id, 5));
        tracees.exits(a, 7, true);
        tracees.let_go(one);
        assert_eq!((tracees.find(a), tracees.id(c)), (Some(one), TraceeId(2)));
        tracees.let_go(one);
        tracees.let_go(two);
        assert_eq!((tracees.find(a), tracees.find(b), tracees.identity(one)), (None, Some(two), a));
        assert_eq!(free_all(&mut tracees), [one]);
        assert_eq!((tracees.id(a), tracees.identity(one), tracees.len()), (one, a, 3));
    }

    #[test]
    fn a_pid_that_is_spawned_again_is_not_free() {
        let mut tracees = Tracees::default();
        let one = tracees.id(Identity::Process(1));
        tracees.hold(one, 1);
        // The chunk with the later event may be read first.
        tracees.exits(Identity::Process(1), 3, false);
        tracees.exits(Identity::Process(1), 2, true);
        tracees.let_go(one);
        assert_eq!(tracees.find(Identity::Process(1)), Some(one));
        tracees.exits(Identity::Process(1), 4, true);
        assert_eq!(tracees.find(Identity::Process(1)), None);
    }

    #[test]
    fn of_two_at_one_place_the_first_is_gone() {
        let mut tracees = Tracees { place_mask: Some(0xff), ..Tracees::default() };
        let [old, new, other] = [0x107, 0x207, 0x108].map(|word| tracees.id(Identity::Process(word)));
        // The later one is done with first.
        [(old, 3), (new, 9), (other, 2)].into_iter().for_each(|(id, tick)| tracees.hold(id, tick));
        [new, other].into_iter().for_each(|id| tracees.let_go(id));
        assert_eq!(free_all(&mut tracees), []);
        tracees.let_go(old);
        assert_eq!(free_all(&mut tracees), [old]);
        assert!(tracees.find(Identity::Process(0x207)).is_some());
    }

    #[test]
    fn some_that_are_gone_are_remembered() {
        let mut tracees = Tracees { remembered: 2, ..Tracees::default() };
        let dead = [1, 2, 3].map(|word| tracees.id(Identity::Process(word)));
        for (id, word) in dead.into_iter().zip(1..) {
            tracees.hold(id, word);
            tracees.exits(Identity::Process(word), word, true);
            tracees.let_go(id);
        }
        assert_eq!(free_all(&mut tracees), [dead[0]]);
        assert_eq!(tracees.find(Identity::Process(2)), Some(dead[1]));
    }
}
