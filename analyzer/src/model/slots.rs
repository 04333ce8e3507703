//! Values of processes by their dense numbers, with room for those only that have one:
//! of a million that came and went, no more is kept than four bytes each.

use std::collections::VecDeque;

/// A table of values.
#[derive(Debug, Clone)]
pub struct Slots<T> {
    /// 1 + the place of each number's value; 0 for none.
    places: Vec<u32>,
    values: Vec<T>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { places: Vec::new(), values: Vec::new(), free: Vec::new() }
    }
}

impl<T: Default> Slots<T> {
    /// The value of a number; a new one, should it have none.
    #[inline]
    pub fn entry(&mut self, number: u32) -> &mut T {
        match self.place(number) {
            Some(place) => &mut self.values[place],
            None => self.insert(number),
        }
    }

    #[cold]
    fn insert(&mut self, number: u32) -> &mut T {
        let at = number as usize;
        if self.places.len() <= at {
            self.places.resize(at + 1, 0);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.values.push(T::default());
            (self.values.len() - 1) as u32
        });
        self.places[at] = place + 1;
        &mut self.values[place as usize]
    }

    /// The value of a number, if it has one.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.values.get(self.place(number)?)
    }

    /// The same, to be changed.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        let place = self.place(number)?;
        self.values.get_mut(place)
    }

    /// Takes the value of a number away.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let place = self.place(number)?;
        self.places[number as usize] = 0;
        self.free.push(place as u32);
        Some(std::mem::take(&mut self.values[place]))
    }

    /// The numbers that have values, in their order.
    pub fn numbers(&self) -> Vec<u32> {
        let there = self.places.iter().enumerate().filter(|(_, place)| **place > 0);
        there.map(|(number, _)| number as u32).collect()
    }

    #[inline]
    fn place(&self, number: u32) -> Option<usize> {
        (self.places.get(number as usize).copied()? as usize).checked_sub(1)
    }
}

/// Those that exited, and when: a process may have events behind its exit, its last ones,
/// so that it is let go of some time after it only.
#[derive(Debug, Default)]
pub struct Exited {
    queue: VecDeque<(u32, u64)>,
}

/// So many exit in between.
const LATER: usize = 1 << 10;

impl Exited {
    /// One has exited; answers who did so long enough ago, and when.
    pub fn push(&mut self, number: u32, time: u64) -> Option<(u32, u64)> {
        self.queue.push_back((number, time));
        if self.queue.len() > LATER { self.queue.pop_front() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let mut slots: Slots<u64> = Slots::default();
        (0..10).for_each(|number| *slots.entry(3 * number) = u64::from(number));
        assert_eq!((slots.get(6), slots.get(7)), (Some(&2), None));
        assert_eq!((slots.remove(6), slots.remove(6)), (Some(2), None));
        assert_eq!((*slots.entry(100), slots.values.len()), (0, 10));
        assert_eq!(slots.numbers(), [0, 3, 9, 12, 15, 18, 21, 24, 27, 100]);
    }

    #[test]
    fn who_exited_is_let_go_of_later() {
        let mut exited = Exited::default();
        let gone: Vec<(u32, u64)> = (0..LATER as u32 + 2).filter_map(|number| exited.push(number, 7)).collect();
        assert_eq!(gone, [(0, 7), (1, 7)]);
    }
}
