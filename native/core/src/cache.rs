//! What a chunk has defined so far: VM words to references.
//!
//! A small set-associative table. Forgetting an entry costs a second definition
//! in the chunk, never a wrong name; a new chunk forgets everything at once by
//! counting up the generation.

use spoor_format::hint::likely;
use spoor_format::record::Ref;

/// Entries that share a place; all are looked at.
const WAYS: usize = 4;

#[derive(Debug, Clone, Copy)]
struct Entry<K> {
    key: K,
    generation: u32,
    reference: u32,
}

/// Key to reference, for the chunk being written.
#[derive(Debug)]
pub(crate) struct Cache<K> {
    sets: Box<[[Entry<K>; WAYS]]>,
    /// The highest bits of a hash are the place of its set; those below are left out by this.
    shift: u32,
    generation: u32,
    defined: u32,
}

/// Keys know how to spread themselves over 64 bits.
pub(crate) trait Key: Copy + Eq + Default {
    fn hash(self) -> u64;
}

/// Spreads a word over the high bits (Fibonacci hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Key for u64 {
    #[inline(always)]
    fn hash(self) -> u64 {
        self.wrapping_mul(SPREAD)
    }
}

/// Module, name and arity, as VM words.
impl Key for (u64, u64, u64) {
    #[inline(always)]
    fn hash(self) -> u64 {
        // Of atoms that were made one after the other the words differ by 64: the second factor
        // is Fibonacci's for these. Both are short, for that takes one instruction.
        let atoms = self.0.wrapping_mul(0x5bd1_e995).wrapping_add(self.1.wrapping_mul(0x4f1b_bcdd));
        atoms.wrapping_add(self.2 << 33) << 27
    }
}

impl<K: Key> Cache<K> {
    /// Of `2^bits` sets, one or more.
    pub(crate) fn new(bits: u32) -> Self {
        let unused = Entry { key: K::default(), generation: 0, reference: 0 };
        let sets = vec![[unused; WAYS]; 1 << bits].into_boxed_slice();
        Cache { sets, shift: u64::BITS - bits, generation: 0, defined: 0 }
    }

    /// Forgets everything: a new chunk begins.
    pub(crate) fn clear(&mut self) {
        self.defined = 0;
        self.generation = self.generation.wrapping_add(1);
        if self.generation == 0 {
            // Once in four billion chunks; entries of generation 0 would come back.
            self.sets.iter_mut().flatten().for_each(|entry| entry.generation = 0);
            self.generation = 1;
        }
    }

    #[inline(always)]
    fn set_of(&self, key: K) -> usize {
        (key.hash() >> (self.shift % u64::BITS)) as usize
    }

    #[inline(always)]
    fn set(&mut self, key: K) -> &mut [Entry<K>; WAYS] {
        let set = self.set_of(key);
        &mut self.sets[set]
    }

    /// Where the key is looked for.
    pub(crate) fn place(&self, key: K) -> *const u8 {
        self.sets[self.set_of(key)].as_ptr().cast()
    }

    #[inline(always)]
    pub(crate) fn get(&mut self, key: K) -> Option<Ref> {
        let generation = self.generation;
        let is_it = |entry: &&Entry<K>| entry.key == key && entry.generation == generation;
        let [first, others @ ..] = self.set(key);
        let found = if likely(is_it(&&*first)) { Some(&*first) } else { others.iter().find(is_it) };
        found.map(|entry| Ref::from(entry.reference))
    }

    /// Notes that the chunk now defines `key` as its next name.
    pub(crate) fn define(&mut self, key: K) -> Ref {
        self.defined += 1;
        let entry = Entry { key, generation: self.generation, reference: self.defined };
        let (generation, victim) = (self.generation, self.defined as usize % WAYS);
        let set = self.set(key);
        let place = set.iter().position(|old| old.generation != generation).unwrap_or(victim);
        set[place] = entry;
        Ref::from(entry.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_until_the_next_chunk() {
        let mut cache = Cache::<u64>::new(4);
        cache.clear();
        assert_eq!(cache.get(0), None);
        assert_eq!(cache.define(0), 1);
        assert_eq!(cache.define(0x4b), 2);
        assert_eq!((cache.get(0), cache.get(0x4b)), (Some(1), Some(2)));
        cache.clear();
        assert_eq!(cache.get(0), None);
        assert_eq!(cache.define(0x4b), 1);
    }

    #[test]
    fn overflow_forgets_but_never_confuses() {
        let mut cache = Cache::<(u64, u64, u64)>::new(2);
        cache.clear();
        let mut defined = std::collections::HashMap::new();
        for round in 0..10_000_u64 {
            let key = (round % 97, round % 31, round % 3);
            match cache.get(key) {
                Some(reference) => assert_eq!(defined.get(&key), Some(&reference)),
                None => {
                    defined.insert(key, cache.define(key));
                }
            }
        }
    }
}
