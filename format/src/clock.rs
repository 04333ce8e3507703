//! The clock table: what the recorder's tick, the system's monotonic clock and
//! the wall clock said at the same moment. Entry 0 is the start; the rest is a
//! ring, one entry a second.

/// Size of an entry: five little-endian u64 and a check word.
pub const ENTRY_BYTES: usize = 48;

/// One moment on three clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockPair {
    /// 1, 2, … in the order of writing; 0 is an entry never written.
    pub seq: u64,
    /// The clock that events are stamped with.
    pub tick: u64,
    /// Nanoseconds of the operating system's monotonic clock.
    pub monotonic_ns: u64,
    /// Nanoseconds since 1970, as the operating system has it.
    pub wall_ns: u64,
    /// Nanoseconds that reading the other three took, their uncertainty.
    pub spread_ns: u64,
}

/// Where entry `seq` stands in a table of `slots`: the first has a place of its own.
pub fn slot(seq: u64, slots: u64) -> u64 {
    let Some(later) = seq.checked_sub(2) else { return 0 };
    later.checked_rem(slots.saturating_sub(1)).map_or(0, |turn| turn.saturating_add(1))
}

impl ClockPair {
    fn check(words: &[u64; 5]) -> u64 {
        words.iter().fold(0x5350_4f4f_525f_434c, |sum, word| sum.rotate_left(7) ^ word)
    }

    /// The words of the entry, check word last.
    pub fn words(&self) -> [u64; 6] {
        let words = [self.seq, self.tick, self.monotonic_ns, self.wall_ns, self.spread_ns];
        let [a, b, c, d, e] = words;
        [a, b, c, d, e, Self::check(&words)]
    }

    /// The bytes of the entry.
    pub fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        for (place, word) in bytes.chunks_exact_mut(8).zip(self.words()) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The entry, or `None` when it was never written or not to its end.
    pub fn decode(bytes: &[u8]) -> Option<ClockPair> {
        let mut words = [0; 6];
        for (word, place) in words.iter_mut().zip(bytes.get(..ENTRY_BYTES)?.chunks_exact(8)) {
            *word = u64::from_le_bytes(place.try_into().ok()?);
        }
        let [seq, tick, monotonic_ns, wall_ns, spread_ns, check] = words;
        let good = seq != 0 && check == Self::check(&[seq, tick, monotonic_ns, wall_ns, spread_ns]);
        good.then_some(ClockPair { seq, tick, monotonic_ns, wall_ns, spread_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_never_overwritten() {
        assert_eq!(slot(1, 4), 0);
        assert_eq!((2..9).map(|seq| slot(seq, 4)).collect::<Vec<_>>(), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(slot(9, 1), 0);
    }

    #[test]
    fn a_torn_entry_is_no_entry() {
        let pair = ClockPair { seq: 3, tick: 1 << 40, monotonic_ns: 5, wall_ns: 1 << 60, spread_ns: 80 };
        let bytes = pair.encode();
        assert_eq!(ClockPair::decode(&bytes), Some(pair));
        for bit in 0..ENTRY_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(ClockPair::decode(&damaged), None, "bit {bit}");
        }
        assert_eq!(ClockPair::decode(&[0; ENTRY_BYTES]), None);
    }
}
