//! Calls and returns as nearly all of them are written: in four bytes, of which two are
//! the ticks since the one before. Where sixteen of them follow each other, they are
//! looked at together, without asking of each where it ends.

use crate::record::id_of;

/// So many of them are looked at together, in so many bytes.
pub(crate) const MANY: usize = 16;
pub(crate) const MANY_BYTES: usize = 4 * MANY;
/// Together they take less ticks than this.
pub(crate) const MANY_TICKS: u64 = (MANY as u64) << 14;

const CALL: u8 = id_of("call");
const RETURN_FROM: u8 = id_of("return_from");

// `call`, `return_to`, `return_from`: told apart by the last two bits, of which not both are set.
const _: () = assert!(CALL & 3 == 0 && id_of("return_to") == CALL | 1 && RETURN_FROM == CALL | 2);

/// A record of four bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usual(u32);

impl Usual {
    /// What differs from a record of the usual kind, in bits.
    #[inline(always)]
    fn unusual(self) -> u32 {
        let Usual(word) = self;
        // One byte of two for the ticks goes on, no other does; and both of the last bits of the id.
        ((word & 0x8080_80fc) ^ (0x8000 | CALL as u32)) | (word & word >> 1 & 1)
    }

    #[inline(always)]
    pub(crate) fn id(self) -> u8 {
        self.0 as u8
    }

    #[inline(always)]
    fn ticks(self) -> u32 {
        self.0 >> 8 & 0x7f | self.0 >> 9 & 0x3f80
    }

    #[inline(always)]
    pub(crate) fn delta(self) -> u64 {
        u64::from(self.ticks())
    }

    #[inline(always)]
    pub(crate) fn function(self) -> u64 {
        u64::from(self.0 >> 24)
    }

    /// By how much there are more calls, less returns from calls.
    fn depth(self) -> i32 {
        match self.id() {
            CALL => 1,
            RETURN_FROM => -1,
            _ => 0,
        }
    }
}

/// The records at the start of the bytes, if all of them are usual.
#[inline(always)]
pub(crate) fn many(bytes: &[u8; MANY_BYTES]) -> Option<[Usual; MANY]> {
    let mut records = [Usual(0); MANY];
    let (words, _) = bytes.as_chunks::<4>();
    records.iter_mut().zip(words).for_each(|(record, word)| *record = Usual(u32::from_le_bytes(*word)));
    let unusual = records.iter().fold(0, |unusual, record| unusual | record.unusual());
    (unusual == 0).then_some(records)
}

/// What they come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sums {
    pub(crate) ticks: u64,
    pub(crate) returns_to: u32,
    pub(crate) returns_from: u32,
    /// Returns from calls ahead of calls at most: zero or less.
    pub(crate) lowest: i32,
    /// The greatest of their functions.
    pub(crate) most: u64,
}

/// Adds them up.
#[inline(always)]
#[allow(clippy::arithmetic_side_effects, reason = "sixteen times 14 bits, and counts up to sixteen")]
pub(crate) fn sums(records: &[Usual; MANY]) -> Sums {
    // All in one number: ticks need 18 bits, each count 5.
    let packed = records.iter().fold(0, |sum, record| {
        let Usual(word) = *record;
        sum + (record.ticks() | (word & 1) << 20 | (word & 2) << 25)
    });
    let most = records.iter().fold(0, |most: u32, record| most.max(record.0)) >> 24;
    let returns_from = packed >> 26;
    let lowest = if returns_from == 0 { 0 } else { lowest(records) };
    Sums {
        ticks: u64::from(packed & 0xf_ffff),
        returns_to: packed >> 20 & 0x3f,
        returns_from,
        lowest,
        most: u64::from(most),
    }
}

#[allow(clippy::arithmetic_side_effects, reason = "of sixteen, each one more or less")]
fn lowest(records: &[Usual; MANY]) -> i32 {
    let (mut sum, mut lowest) = (0, 0);
    for record in records {
        sum += record.depth();
        lowest = lowest.min(sum);
    }
    lowest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::write;

    /// A record of four bytes, and perhaps one that is none.
    fn record() -> impl Strategy<Value = (u8, u64, u64)> {
        let usual = (32..35_u8, 128..16_384_u64, 0..128_u64);
        let any = (32..43_u8, any::<u64>().prop_map(|n| n >> (n % 64)), any::<u64>().prop_map(|n| n >> (n % 64)));
        prop_oneof![200 => usual, 1 => any]
    }

    proptest! {
        #[test]
        fn they_are_what_they_are_one_by_one(records in prop::collection::vec(record(), MANY)) {
            let mut bytes = Vec::new();
            for (id, delta, function) in &records {
                match id {
                    33 => write::return_to(&mut bytes, *delta, *function),
                    34 => write::return_from(&mut bytes, *delta, *function),
                    36.. => write::out(&mut bytes, *delta, *function),
                    35 => write::exception_from(&mut bytes, *delta, *function, 0),
                    _ => write::call(&mut bytes, *delta, *function),
                }
                .expect("a Vec is never full");
            }
            let all_usual = records.iter().all(|(id, delta, function)| {
                *id < 35 && (128..16_384).contains(delta) && *function < 128
            });
            bytes.resize(bytes.len().max(MANY_BYTES), 0);
            let found = many(bytes.first_chunk().expect("as many"));
            prop_assert_eq!(found.is_some(), all_usual);
            let Some(found) = found else { return Ok(()) };
            let read: Vec<_> = found.iter().map(|record| (record.id(), record.delta(), record.function())).collect();
            prop_assert_eq!(&read, &records);
            let count = |id| records.iter().filter(|record| record.0 == id).count() as u32;
            let (mut sum, mut lowest) = (0, 0);
            for (id, ..) in &records {
                sum += i32::from(*id == 32) - i32::from(*id == 34);
                lowest = lowest.min(sum);
            }
            let want = Sums {
                ticks: records.iter().map(|record| record.1).sum(),
                returns_to: count(33),
                returns_from: count(34),
                lowest,
                most: records.iter().map(|record| record.2).max().unwrap_or(0),
            };
            prop_assert_eq!(sums(&found), want);
        }
    }
}
