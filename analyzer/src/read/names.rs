//! Atoms, functions and tracees of a whole recording, as small dense numbers.
//!
//! Chunks number their names for themselves; here every chunk's names get the
//! same number for the same thing, so that models can use arrays.

use std::collections::HashMap;

use spoor_format::chunk::Identity;

/// An atom's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AtomId(pub u32);

/// A function's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionId(pub u32);

/// The number of a process or port of one recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceeId(pub u32);

/// Module, name, arity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FunctionKey {
    /// The module.
    pub module: AtomId,
    /// The function's name.
    pub name: AtomId,
    /// The arity.
    pub arity: u64,
}

/// Atoms and functions; may be shared by several recordings.
#[derive(Debug, Clone, Default)]
pub struct Names {
    atoms: Vec<Box<str>>,
    atom_ids: HashMap<Box<str>, AtomId>,
    functions: Vec<FunctionKey>,
    function_ids: HashMap<FunctionKey, FunctionId>,
}

impl Names {
    /// The atom's number.
    pub fn atom(&mut self, text: &str) -> AtomId {
        if let Some(known) = self.atom_ids.get(text) {
            return *known;
        }
        let id = AtomId(u32::try_from(self.atoms.len()).unwrap_or(u32::MAX));
        self.atoms.push(text.into());
        self.atom_ids.insert(text.into(), id);
        id
    }

    /// The function's number.
    pub fn function(&mut self, key: FunctionKey) -> FunctionId {
        let next = FunctionId(u32::try_from(self.functions.len()).unwrap_or(u32::MAX));
        *self.function_ids.entry(key).or_insert_with(|| {
            self.functions.push(key);
            next
        })
    }

    /// What the atom spells.
    pub fn atom_text(&self, id: AtomId) -> &str {
        self.atoms.get(id.0 as usize).map_or("?", |text| text)
    }

    /// Module, name and arity of a function.
    pub fn function_parts(&self, id: FunctionId) -> (&str, &str, u64) {
        match self.functions.get(id.0 as usize) {
            Some(key) => (self.atom_text(key.module), self.atom_text(key.name), key.arity),
            None => ("?", "?", 0),
        }
    }

    /// How many functions there are: their numbers are below this.
    pub fn function_count(&self) -> usize {
        self.functions.len()
    }
}

/// The processes and ports of one recording.
#[derive(Debug, Clone, Default)]
pub struct Tracees {
    known: Vec<Tracee>,
    ids: HashMap<Identity, TraceeId>,
    /// Numbers that are nobody's any more.
    free: Vec<TraceeId>,
}

#[derive(Debug, Clone, Copy)]
struct Tracee {
    identity: Identity,
    /// So many parts of the recording are in memory in which it has events.
    held: u32,
    exited: bool,
}

impl Tracees {
    /// The tracee's number.
    pub fn id(&mut self, identity: Identity) -> TraceeId {
        if let Some(known) = self.ids.get(&identity) {
            return *known;
        }
        let tracee = Tracee { identity, held: 0, exited: false };
        let id = match self.free.pop() {
            Some(free) => free,
            None => {
                self.known.push(tracee);
                TraceeId(u32::try_from(self.known.len().saturating_sub(1)).unwrap_or(u32::MAX))
            }
        };
        if let Some(known) = self.known.get_mut(id.0 as usize) {
            *known = tracee;
        }
        self.ids.insert(identity, id);
        id
    }

    /// Who it is.
    pub fn identity(&self, id: TraceeId) -> Identity {
        self.known.get(id.0 as usize).map_or(Identity::Nobody, |tracee| tracee.identity)
    }

    /// The number of one that was met already.
    pub fn find(&self, identity: Identity) -> Option<TraceeId> {
        self.ids.get(&identity).copied()
    }

    /// How many there are: their numbers are below this.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Its number stays its own until it is let go as often as it was held.
    pub(super) fn hold(&mut self, id: TraceeId) {
        if let Some(tracee) = self.known.get_mut(id.0 as usize) {
            tracee.held = tracee.held.saturating_add(1);
        }
    }

    /// Of one that has exited, nothing is held any more: the number is free for the next.
    pub(super) fn let_go(&mut self, id: TraceeId) {
        let Some(tracee) = self.known.get_mut(id.0 as usize) else { return };
        tracee.held = tracee.held.saturating_sub(1);
        if tracee.held == 0 && tracee.exited {
            self.ids.remove(&tracee.identity);
            (tracee.identity, tracee.exited) = (Identity::Nobody, false);
            self.free.push(id);
        }
    }

    /// It has exited, or one with its pid was spawned since.
    pub(super) fn exits(&mut self, identity: Identity, exited: bool) {
        let id = self.ids.get(&identity);
        if let Some(tracee) = id.and_then(|id| self.known.get_mut(id.0 as usize)) {
            tracee.exited = exited;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_those_that_exited_are_used_again() {
        let mut tracees = Tracees::default();
        let [a, b, c] = [1, 2, 3].map(Identity::Process);
        let (one, two) = (tracees.id(a), tracees.id(b));
        [one, one, two].into_iter().for_each(|id| tracees.hold(id));
        tracees.exits(a, true);
        tracees.let_go(one);
        assert_eq!((tracees.find(a), tracees.id(c)), (Some(one), TraceeId(2)));
        tracees.let_go(one);
        tracees.let_go(two);
        assert_eq!((tracees.find(a), tracees.find(b)), (None, Some(two)));
        assert_eq!((tracees.id(a), tracees.identity(one), tracees.len()), (one, a, 3));
    }

    #[test]
    fn a_pid_that_is_spawned_again_is_not_free() {
        let mut tracees = Tracees::default();
        let one = tracees.id(Identity::Process(1));
        tracees.hold(one);
        tracees.exits(Identity::Process(1), true);
        tracees.exits(Identity::Process(1), false);
        tracees.let_go(one);
        assert_eq!(tracees.find(Identity::Process(1)), Some(one));
    }
}
