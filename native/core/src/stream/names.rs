//! What a chunk's records refer to: whose they are, and the names it has defined.
//!
//! A chunk explains itself: it defines each name before the first record that refers to it.

use spoor_format::Full;
use spoor_format::brief;
use spoor_format::chunk::Identity;
use spoor_format::record::{Ref, write};
use spoor_format::reference::{Halves, define_halves};

use super::Stream;

/// Longest text of an atom: 255 characters of four bytes.
pub const MAX_ATOM_BYTES: usize = 1020;

/// Says what an atom's word spells. The VM's side of the recorder knows.
pub trait Names {
    /// The atom's text in UTF-8, in (or from) `space`.
    fn atom_text<'a>(&self, atom: u64, space: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str;
}

/// A function as the VM names it: words of two atoms, and the arity.
pub type FunctionWords = (u64, u64, u64);

/// The tag of the VM's small integers, and its bits.
const SMALL: u64 = 0xf;
const SMALL_BITS: u32 = 4;

/// The arity as a word, too.
#[inline(always)]
pub(super) fn by_words((module, name, arity): FunctionWords) -> FunctionWords {
    (module, name, arity << SMALL_BITS | SMALL)
}

impl Stream {
    pub(super) fn forget_names(&mut self) {
        self.whose = Identity::Nobody;
        self.whose_word = 0;
        self.atoms.clear();
        self.functions.clear();
        self.references.clear();
    }

    /// The following events are of the one that the VM's word names: `identity`
    /// says who that is. The word of the last one costs a comparison.
    #[inline(always)]
    pub fn whose_word(&mut self, word: u64, identity: impl FnOnce(u64) -> Identity) -> Result<(), Full> {
        if self.whose_word == word {
            return Ok(());
        }
        self.whose(identity(word))?;
        self.whose_word = word;
        Ok(())
    }

    /// The following events are `whose`.
    #[inline(never)]
    pub fn whose(&mut self, whose: Identity) -> Result<(), Full> {
        self.whose_word = 0;
        if self.whose == whose {
            return Ok(());
        }
        match whose {
            Identity::Process(word) => brief::process(self, word)?,
            Identity::Port(word) => write::port(self, 0, word)?,
            Identity::Nobody => write::nobody(self, 0)?,
        }
        self.whose = whose;
        Ok(())
    }

    /// The chunk's reference of an atom; defines it when the chunk has not yet.
    #[inline]
    pub fn atom(&mut self, atom: u64, names: &impl Names) -> Result<Ref, Full> {
        match self.atoms.get(atom) {
            Some(reference) => Ok(reference),
            None => self.define_atom(atom, names),
        }
    }

    #[cold]
    fn define_atom(&mut self, atom: u64, names: &impl Names) -> Result<Ref, Full> {
        match self.spellings.get(atom) {
            Some(known) => write::define_atom(self, 0, known.text())?,
            None => self.define_by_text(atom, names)?,
        }
        Ok(self.atoms.define(atom))
    }

    /// By itself for the room it needs.
    #[cold]
    #[inline(never)]
    fn define_by_text(&mut self, atom: u64, names: &impl Names) -> Result<(), Full> {
        let mut space = [0; MAX_ATOM_BYTES];
        let text = names.atom_text(atom, &mut space);
        self.spellings.keep(atom, text);
        write::define_atom(self, 0, text)
    }

    /// The chunk's reference of a function, if it has defined one; by words alone, that of the
    /// arity being the VM's small integer.
    #[inline(always)]
    pub fn known_function(&mut self, words: FunctionWords) -> Option<Ref> {
        self.functions.get(words)
    }

    /// The chunk's reference of a function; defines it when the chunk has not yet.
    #[inline(always)]
    pub fn function(&mut self, function: FunctionWords, names: &impl Names) -> Result<Ref, Full> {
        let words = by_words(function);
        self.lately = function;
        match self.known_function(words) {
            Some(reference) => Ok(reference),
            None => self.define_function(function, words, names),
        }
    }

    #[cold]
    fn define_function(
        &mut self,
        (module, name, arity): FunctionWords,
        words: FunctionWords,
        names: &impl Names,
    ) -> Result<Ref, Full> {
        let (module, name) = (self.atom(module, names)?, self.atom(name, names)?);
        write::define_function(self, 0, module, name, arity)?;
        Ok(self.functions.define(words))
    }

    /// The chunk's number of a reference; defines it when the chunk has not yet.
    #[inline(always)]
    pub fn reference(&mut self, reference: Halves) -> Result<Ref, Full> {
        let Halves { words: [low, high, process], five } = reference;
        match self.references.get([low, high, process]) {
            Some(reference) => Ok(reference),
            None => self.define_reference(low, high, process, five),
        }
    }

    /// By itself: an event that defines one is more seldom than one that does not. Takes it by
    /// parts: put together in memory it would have to wait for the processor's store buffer.
    #[inline(never)]
    fn define_reference(&mut self, low: u64, high: u64, process: u64, five: bool) -> Result<Ref, Full> {
        let (new, before) = (Halves { words: [low, high, process], five }, *self.references.last());
        self.at += define_halves(self.space_of().ok_or(Full)?, &new, &before);
        Ok(self.references.define(new))
    }
}
