//! The topmost activation of each function on one stack: looked up for every
//! call and return, so a small table of its own with linear probing.

/// Where the topmost activation of each function stands; 0 is nowhere.
///
/// A function that was ever on the stack keeps its slot, so nothing is ever
/// removed and probing needs no marks. It also keeps whether it was called: a
/// function that was is traced.
#[derive(Debug, Default)]
pub(super) struct Active {
    /// (1 + function, twice the place and [`CALLED`]); (0, 0) is free. Empty or a power of two, never full.
    slots: Vec<(u32, u32)>,
    used: usize,
}

const FIRST_SLOTS: usize = 16;
const CALLED: u32 = 1;

impl Active {
    /// The place of the function's topmost activation, 0 for none.
    #[inline]
    pub(super) fn get(&self, function: u32) -> u32 {
        match self.slots.is_empty() {
            true => 0,
            false => self.slots[self.find(function)].1 >> 1,
        }
    }

    /// Was it ever put there by a call?
    #[inline]
    pub(super) fn was_called(&self, function: u32) -> bool {
        !self.slots.is_empty() && self.slots[self.find(function)].1 & CALLED != 0
    }

    /// Puts a place there and answers the one before; `called` if by a call.
    #[inline]
    pub(super) fn set(&mut self, function: u32, place: u32, called: bool) -> u32 {
        if 2 * self.used >= self.slots.len() {
            self.grow();
        }
        let at = self.find(function);
        let slot = &mut self.slots[at];
        self.used += usize::from(slot.0 == 0);
        slot.0 = function.wrapping_add(1);
        let before = slot.1;
        slot.1 = place << 1 | before & CALLED | u32::from(called);
        before >> 1
    }

    /// No function is on the stack.
    pub(super) fn clear(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.1 &= CALLED);
    }

    #[inline]
    fn find(&self, function: u32) -> usize {
        let (key, mask) = (function.wrapping_add(1), self.slots.len() - 1);
        let mut at = (key.wrapping_mul(0x9e37_79b1) >> 8) as usize & mask;
        while self.slots[at].0 != key && self.slots[at].0 != 0 {
            at = (at + 1) & mask;
        }
        at
    }

    #[cold]
    fn grow(&mut self) {
        let wanted = (2 * self.slots.len()).max(FIRST_SLOTS);
        let old = std::mem::replace(&mut self.slots, vec![(0, 0); wanted]);
        self.used = 0;
        for (key, place) in old.into_iter().filter(|(_, place)| *place != 0) {
            let at = self.find(key - 1);
            self.slots[at] = (key, place);
            self.used += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{HashMap, HashSet};

    #[test]
    fn it_is_a_map() {
        let (mut active, mut map, mut called) = (Active::default(), HashMap::new(), HashSet::new());
        let mut random = 1_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (function, place) = (random >> 20 & 0x3ff, random >> 10 & 3);
            assert_eq!(active.get(function), map.get(&function).copied().unwrap_or(0));
            assert_eq!(active.was_called(function), called.contains(&function));
            if place == 1 {
                called.insert(function);
            }
            assert_eq!(active.set(function, place, place == 1), map.insert(function, place).unwrap_or(0));
        }
        active.clear();
        assert!((0..0x400).all(|function| active.get(function) == 0));
        assert!((0..0x400).all(|function| active.was_called(function) == called.contains(&function)));
    }
}
