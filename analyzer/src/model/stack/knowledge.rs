//! What a process's own returns have told about who calls whom.
//!
//! Nothing is learned from other processes: what the events of a process mean does
//! not depend on which of them were read before, nor on what was read at all.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasherDefault;

use super::frames::Multiply;
use crate::read::FunctionId;

/// (caller, called).
pub(super) type Pairs = HashSet<(FunctionId, FunctionId), BuildHasherDefault<Multiply>>;

/// Stands for any caller.
const SOMEBODY: FunctionId = FunctionId(u32::MAX);

#[derive(Debug, Default)]
pub(super) struct Knowledge {
    /// Seen for certain, not as a tail call.
    seen: Pairs,
    /// A call of it was open when it was called.
    recurs: HashSet<FunctionId, BuildHasherDefault<Multiply>>,
    /// How often (caller, called) went on after it; [`NEVER`] if it ever ended with it.
    goes_on: HashMap<(FunctionId, FunctionId), u32, BuildHasherDefault<Multiply>>,
    /// A call was taken to have ended that had not.
    pub(super) misled: bool,
}

/// As often must a function have gone on after a call to be taken to do so always.
const ALWAYS: u32 = 4;
const NEVER: u32 = u32::MAX;

impl Knowledge {
    /// `caller` called `called`, and not as a tail call.
    pub(super) fn learn(&mut self, caller: FunctionId, called: FunctionId) {
        self.seen.insert((caller, called));
        self.seen.insert((SOMEBODY, called));
    }

    pub(super) fn is_seen(&self, caller: FunctionId, called: FunctionId) -> bool {
        self.seen.contains(&(caller, called))
    }

    /// It is known who calls it, and that is not `caller`.
    pub(super) fn is_called_by_others(&self, called: FunctionId, caller: FunctionId) -> bool {
        self.is_seen(SOMEBODY, called) && !self.is_seen(caller, called)
    }

    pub(super) fn learn_recursion(&mut self, function: FunctionId) {
        self.recurs.insert(function);
    }

    /// Does `caller` go on after it called `called`, as far as is known always? `None` if that is not known.
    pub(super) fn goes_on(&self, caller: FunctionId, called: FunctionId) -> Option<bool> {
        match *self.goes_on.get(&(caller, called))? {
            NEVER => Some(false),
            often => (often >= ALWAYS).then_some(true),
        }
    }

    /// It did once more; answers whether there is more to learn of the two.
    pub(super) fn went_on(&mut self, caller: FunctionId, called: FunctionId) -> bool {
        let often = self.goes_on.entry((caller, called)).or_default();
        if *often < ALWAYS {
            *often += 1;
        }
        *often < ALWAYS
    }

    /// It ended with it.
    pub(super) fn ended_with(&mut self, caller: FunctionId, called: FunctionId) {
        self.goes_on.insert((caller, called), NEVER);
    }

    pub(super) fn recurs(&self, function: FunctionId) -> bool {
        self.recurs.contains(&function)
    }
}
