//! What atoms spell, as far as a lane has asked before. Each chunk says it anew, most of them soon
//! after they are begun; to ask the VM for it each time takes some microseconds then, of code and
//! memory that nobody used since the chunk before.
//!
//! A direct-mapped table: an atom never changes, and one that is forgotten is asked for again.

use crate::cache::Key;

/// Bytes of the longest text that is remembered.
const MOST: usize = 55;

/// One line of the processor's cache.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(crate) struct Spelling {
    /// The VM's word; 0, which is no atom's, for none.
    atom: u64,
    length: u8,
    text: [u8; MOST],
}

impl Spelling {
    const NONE: Spelling = Spelling { atom: 0, length: 0, text: [0; MOST] };

    /// The atom's text.
    pub(crate) fn text(&self) -> &str {
        let text = self.text.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(text).unwrap_or("?")
    }
}

#[derive(Debug)]
pub(crate) struct Spellings {
    places: Box<[Spelling]>,
    /// The highest bits of a hash are the place; those below are left out by this.
    shift: u32,
}

impl Spellings {
    /// Of `2^bits` places, two or more.
    pub(crate) fn new(bits: u32) -> Self {
        Spellings { places: vec![Spelling::NONE; 1 << bits].into_boxed_slice(), shift: u64::BITS - bits }
    }

    fn number(&self, atom: u64) -> usize {
        (atom.hash() >> (self.shift % u64::BITS)) as usize
    }

    /// Where it is looked for.
    pub(crate) fn place(&self, atom: u64) -> *const u8 {
        std::ptr::from_ref(&self.places[self.number(atom)]).cast()
    }

    /// What the atom spells, if that is remembered.
    pub(crate) fn get(&self, atom: u64) -> Option<Spelling> {
        let found = &self.places[self.number(atom)];
        (found.atom == atom).then_some(*found)
    }

    /// Remembers it, if it is short.
    pub(crate) fn keep(&mut self, atom: u64, text: &str) {
        let number = self.number(atom);
        let place = &mut self.places[number];
        if let Some(space) = place.text.get_mut(..text.len()) {
            space.copy_from_slice(text.as_bytes());
            (place.atom, place.length) = (atom, text.len() as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_was_told() {
        let mut spellings = Spellings::new(3);
        let text = |atom: u64| "ä".repeat(atom as usize % 40);
        for atom in (1..1000).map(|number| number << 6 | 0xb) {
            assert!(spellings.get(atom).is_none());
            spellings.keep(atom, &text(atom));
            let known = spellings.get(atom);
            let known = known.as_ref().map(Spelling::text);
            assert_eq!(known, Some(&*text(atom)).filter(|text| text.len() <= MOST));
        }
    }
}
