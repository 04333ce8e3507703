//! What a process's own returns have told about who calls whom.
//!
//! Nothing is learned from other processes: what the events of a process mean does
//! not depend on which of them were read before, nor on what was read at all.

use std::collections::HashSet;
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
}

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

    pub(super) fn recurs(&self, function: FunctionId) -> bool {
        self.recurs.contains(&function)
    }
}
