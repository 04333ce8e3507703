//! Atoms, functions and tracees of a whole recording, as small dense numbers.
//!
//! Chunks number their names for themselves; here every chunk's names get the
//! same number for the same thing, so that models can use arrays.

use std::collections::HashMap;

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
