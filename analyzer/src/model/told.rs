//! What one thread decides for others: of each function, or of each process, a value
//! that is told before its first event is replayed.

use std::sync::{Arc, PoisonError, RwLock};

/// What is decided; whoever tells has this, and whoever listens a [`Heard`].
#[derive(Debug, Clone)]
pub struct Told<T>(Arc<RwLock<Vec<T>>>);

impl<T> Default for Told<T> {
    fn default() -> Self {
        Told(Arc::default())
    }
}

impl<T: Copy + Default> Told<T> {
    /// Tells of all numbers below `until` that were not told of before.
    pub fn tell_until(&self, until: usize, mut decide: impl FnMut(u32) -> T) {
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        while values.len() < until {
            let number = values.len() as u32;
            values.push(decide(number));
        }
    }

    /// Tells of one number; others below it have the default meanwhile.
    pub fn tell(&self, number: u32, value: T)
    where
        T: PartialEq,
    {
        if self.is_told(number, value) {
            return;
        }
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = number as usize;
        if values.len() <= at {
            values.resize(at + 1, T::default());
        }
        values[at] = value;
    }

    fn is_told(&self, number: u32, value: T) -> bool
    where
        T: PartialEq,
    {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        values.get(number as usize) == Some(&value)
    }

    /// What was told of a number; the default for nothing.
    pub fn of(&self, number: u32) -> T {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        values.get(number as usize).copied().unwrap_or_default()
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What was told of functions, as one listener remembers it: asking again takes no lock.
#[derive(Debug, Clone)]
pub struct Heard<T> {
    told: Told<T>,
    known: Vec<T>,
}

impl<T: Copy + Default> Heard<T> {
    /// Nothing yet.
    pub fn new(told: &Told<T>) -> Heard<T> {
        Heard { told: told.clone(), known: Vec::new() }
    }

    /// What was told of a number. It must have been told by [`Told::tell_until`].
    #[inline]
    pub fn of(&mut self, number: u32) -> T {
        match self.known.get(number as usize) {
            Some(known) => *known,
            None => self.hear(number),
        }
    }

    #[cold]
    fn hear(&mut self, number: u32) -> T {
        let values = self.told.0.read().unwrap_or_else(PoisonError::into_inner);
        let from = self.known.len();
        self.known.extend_from_slice(values.get(from..).unwrap_or_default());
        self.known.get(number as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_later_is_heard_later() {
        let told: Told<u32> = Told::default();
        let mut heard = Heard::new(&told);
        told.tell_until(2, |number| 10 + number);
        assert_eq!((heard.of(0), heard.of(1), heard.of(7)), (10, 11, 0));
        told.tell_until(3, |number| 10 * number);
        assert_eq!((heard.of(1), heard.of(2), told.of(2), told.of(9)), (11, 20, 20, 0));
    }
}
