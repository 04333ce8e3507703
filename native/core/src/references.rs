//! Which references a chunk has defined, and as what: by the words of the VM's
//! own terms, which are compared and not taken apart.
//!
//! A direct-mapped table. References live for a short time and are made by
//! counting, so those in use lie side by side. A forgotten one is defined again.

use spoor_format::hint::likely;
use spoor_format::record::Ref;
use spoor_format::reference::Halves;

/// What tells a reference from all others of this VM.
type Words = [u64; 3];

/// Entries of the table: 4 KiB. A server of a hundred clients that all wait for it
/// at once defines each reference once.
const ENTRIES: usize = 128;

#[derive(Debug, Clone, Copy)]
#[repr(align(32))]
struct Entry {
    words: Words,
    generation: u32,
    reference: u32,
}

/// The references of the chunk being written.
#[derive(Debug)]
pub(crate) struct References {
    entries: Box<[Entry; ENTRIES]>,
    /// Of the chunk: entries of others count for nothing.
    generation: u32,
    defined: u32,
    last: Halves,
}

impl References {
    pub(crate) fn new() -> Self {
        let unused = Entry { words: [0; 3], generation: 0, reference: 0 };
        References { entries: Box::new([unused; ENTRIES]), generation: 0, defined: 0, last: Halves::default() }
    }

    /// Forgets everything: a new chunk begins.
    pub(crate) fn clear(&mut self) {
        self.defined = 0;
        self.last = Halves::default();
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Once in four billion chunks; entries of generation 0 would come back.
            self.entries.iter_mut().for_each(|entry| entry.generation = 0);
            self.generation = 1;
        }
    }

    /// The low half of the first word is the same in all, its high half counts. The
    /// second has the number of the thread that counts in its lowest bits.
    #[inline(always)]
    fn place(words: Words) -> usize {
        (words[0] >> 32 ^ words[1] << 4) as usize % ENTRIES
    }

    #[inline(always)]
    pub(crate) fn get(&self, words: Words) -> Option<Ref> {
        let entry = &self.entries[Self::place(words)];
        // Word by word: to compare them as a whole, they would first go to memory.
        let [a, b, c] = entry.words;
        let differs = a ^ words[0] | b ^ words[1] | c ^ words[2];
        likely(differs == 0 && entry.generation == self.generation).then_some(Ref::from(entry.reference))
    }

    /// The reference that the chunk defined last.
    pub(crate) fn last(&self) -> &Halves {
        &self.last
    }

    /// Notes that the chunk now defines the reference as its next.
    #[inline(always)]
    pub(crate) fn define(&mut self, reference: Halves) -> Ref {
        self.defined += 1;
        self.last = reference;
        let Halves { words, .. } = reference;
        self.entries[Self::place(words)] = Entry { words, generation: self.generation, reference: self.defined };
        Ref::from(self.defined)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(number: u64) -> Halves {
        Halves { words: [number << 32 | 0xffff_ffff, (7 << 32) + number % 3, number % 2 * 0x83], five: number % 2 == 1 }
    }

    #[test]
    fn a_reference_is_found_until_the_next_chunk() {
        let mut references = References::new();
        references.clear();
        assert_eq!(references.get([0; 3]), None);
        // All of one thread.
        let of = |number| reference(6 * number);
        for number in 0..50 {
            assert_eq!(references.define(of(number)), number + 1);
        }
        assert!((0..50).all(|number| references.get(of(number).words) == Some(number + 1)));
        assert_eq!(*references.last(), of(49));
        references.clear();
        assert_eq!((references.get(reference(1).words), *references.last()), (None, Halves::default()));
        assert_eq!(references.define(reference(1)), 1);
    }

    #[test]
    fn a_full_table_forgets_but_never_confuses() {
        let mut references = References::new();
        references.clear();
        let mut defined = std::collections::HashMap::new();
        for round in 0..10_000_u64 {
            let new = reference(round * 7 % 401);
            match references.get(new.words) {
                Some(known) => assert_eq!(defined.get(&new.words), Some(&known)),
                None => {
                    defined.insert(new.words, references.define(new));
                }
            }
        }
    }
}
