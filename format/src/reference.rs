//! References as a chunk defines them: numbers, as differences to those of the
//! reference defined before. A thread of the VM makes references by counting, so
//! most differences are of a byte.

use crate::DecodeError;
use crate::codec::{Full, MAX_VARINT, Sink, groups, unzigzag, zigzag};
use crate::record::{RawWords, id_of};

/// Most numbers of a reference.
pub const REFERENCE_NUMBERS: usize = 5;

const DEFINE_REFERENCE: u8 = id_of("define_reference");

/// The numbers of a local reference's text behind `#Ref<0.`: one to
/// [`REFERENCE_NUMBERS`], counted from the end; none before the first of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reference {
    /// Zeros, then the numbers.
    numbers: [u64; REFERENCE_NUMBERS],
    count: usize,
}

impl Reference {
    /// The last `count` numbers, those before being 0. More than there are count as all.
    #[inline(always)]
    pub fn of_last(count: usize, numbers: [u64; REFERENCE_NUMBERS]) -> Reference {
        Reference { numbers, count: if count < REFERENCE_NUMBERS { count } else { REFERENCE_NUMBERS } }
    }

    /// In the order of the text.
    #[inline(always)]
    pub fn numbers(&self) -> &[u64] {
        let first = REFERENCE_NUMBERS.saturating_sub(self.count);
        self.numbers.get(first..).unwrap_or_default()
    }

    /// The reference that `define_reference` says behind this one.
    pub(crate) fn next(&self, differences: RawWords<'_>) -> Result<Reference, DecodeError> {
        const WRONG: DecodeError = DecodeError::Layout { why: "a reference of no numbers, or of too many" };
        let count = differences.iter().take(REFERENCE_NUMBERS.saturating_add(1)).count();
        let first = REFERENCE_NUMBERS.checked_sub(count).filter(|_| count > 0).ok_or(WRONG)?;
        let mut next = Reference { numbers: [0; REFERENCE_NUMBERS], count };
        let places = next.numbers.iter_mut().zip(self.numbers).skip(first);
        for ((place, before), difference) in places.zip(differences.iter()) {
            *place = before.wrapping_add_signed(unzigzag(difference));
        }
        Ok(next)
    }
}

/// The record `define_reference` of `reference`, `before` being the one that the
/// chunk has defined last.
#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "no reference has more numbers than there are places")]
pub fn define<S: Sink>(sink: &mut S, reference: &Reference, before: &Reference) -> Result<(), Full> {
    const MAX: usize = 2 + REFERENCE_NUMBERS * MAX_VARINT;
    let mut put = sink.space(MAX)?;
    put.byte(DEFINE_REFERENCE);
    put.varint(reference.count as u64);
    let first = REFERENCE_NUMBERS.saturating_sub(reference.count);
    // By places: iterators of two arrays are not always made part of their caller.
    for place in first..REFERENCE_NUMBERS {
        put.varint(zigzag(reference.numbers[place].wrapping_sub(before.numbers[place]) as i64));
    }
    let used = put.used();
    sink.keep(MAX, used);
    Ok(())
}

/// A reference by its words: its numbers are their halves, from the last word's high half to
/// the first word's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Halves {
    /// The low half of the first says nothing.
    pub words: [u64; 3],
    /// Are there five numbers? Else three, and the last word is 0.
    pub five: bool,
}

/// Bytes of the space that [`define_halves`] writes into.
pub const HALVES_ROOM: usize = 40;

/// As [`define`], without tests of bounds; says how many bytes that took.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "masked; HALVES_ROOM is for the longest")]
pub fn define_halves(space: &mut [u8; HALVES_ROOM], new: &Halves, before: &Halves) -> usize {
    let ([low, high, process], [low_before, high_before, process_before]) = (new.words, before.words);
    space[0] = DEFINE_REFERENCE;
    space[1] = if new.five { 5 } else { 3 };
    let mut at = 2;
    if new.five {
        at = put_halves(space, at, process, process_before);
    }
    at = put_halves(space, at, high, high_before);
    put_difference(space, at, low >> 32, low_before >> 32)
}

#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see define_halves")]
fn put_halves(space: &mut [u8; HALVES_ROOM], at: usize, new: u64, before: u64) -> usize {
    if new == before {
        space[at & PLACE] = 0;
        space[(at & PLACE) + 1] = 0;
        return at + 2;
    }
    let at = put_difference(space, at, new >> 32, before >> 32);
    put_difference(space, at, new & 0xffff_ffff, before & 0xffff_ffff)
}

/// Begins of what is written lie below: two bytes and four numbers of five.
const PLACE: usize = 31;

/// The difference of two numbers below 2^32.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see define_halves")]
fn put_difference(space: &mut [u8; HALVES_ROOM], at: usize, new: u64, before: u64) -> usize {
    let difference = zigzag(new.wrapping_sub(before) as i64);
    if difference < 0x80 {
        space[at & PLACE] = difference as u8;
        return at + 1;
    }
    let (bytes, count) = groups(difference & !(0xff << 56));
    space[at & PLACE..][..8].copy_from_slice(&bytes.to_le_bytes());
    at + count
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunk::Reader;
    use crate::record::{Body, Schema, write};

    fn reference() -> impl Strategy<Value = Reference> {
        let number = (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift);
        (prop::array::uniform5(number), 1..=REFERENCE_NUMBERS).prop_map(|(mut numbers, count)| {
            numbers[..REFERENCE_NUMBERS - count].fill(0);
            Reference::of_last(count, numbers)
        })
    }

    fn halves() -> impl Strategy<Value = Halves> {
        let number = (any::<u32>(), 0..32_u32).prop_map(|(number, shift)| u64::from(number >> shift));
        (prop::array::uniform5(number), any::<bool>()).prop_map(|([a, b, c, d, e], five)| Halves {
            words: [e << 32 | 0xffff_ffff, c << 32 | d, if five { a << 32 | b } else { 0 }],
            five,
        })
    }

    fn by_numbers(Halves { words: [low, high, process], five }: Halves) -> Reference {
        let half = |word| word & 0xffff_ffff;
        let numbers = [process >> 32, half(process), high >> 32, half(high), low >> 32];
        Reference::of_last(if five { 5 } else { 3 }, numbers)
    }

    proptest! {
        #[test]
        fn halves_are_defined_as_numbers(new in halves(), before in halves(), same in 0..8) {
            let mut new = new;
            for place in 0..3 {
                if same >> place & 1 == 1 && (place < 2 || new.five) {
                    new.words[place] = before.words[place];
                }
            }
            let (mut space, mut payload) = ([0xee; HALVES_ROOM], Vec::new());
            let used = define_halves(&mut space, &new, &before);
            define(&mut payload, &by_numbers(new), &by_numbers(before)).expect("a Vec is never full");
            prop_assert_eq!(&space[..used], &payload[..]);
        }

        #[test]
        fn what_a_chunk_defines_is_read(references in prop::collection::vec(reference(), 1..20)) {
            let (mut payload, mut before) = (Vec::new(), Reference::default());
            for reference in &references {
                define(&mut payload, reference, &before).expect("a Vec is never full");
                before = *reference;
            }
            write::receive(&mut payload, 1).expect("a Vec is never full");
            let schema = Schema::default();
            let mut reader = Reader::new(&payload, 0, &schema);
            let event = reader.next_event().map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert_eq!(event.map(|event| event.body), Some(Body::Receive {}));
            prop_assert_eq!(reader.references(), &references);
        }
    }

    #[test]
    fn the_next_of_a_thread_takes_few_bytes() {
        let of = |number| Reference::of_last(3, [0, 0, 400_000_123, 2_800_123_456, number]);
        let mut bytes = Vec::new();
        define(&mut bytes, &of(77_001), &of(77_000)).expect("a Vec is never full");
        assert_eq!(bytes, [3, 3, 0, 0, 2]);
    }

    #[test]
    fn a_reference_of_no_or_too_many_numbers_is_damage() {
        for numbers in [&[][..], &[1, 2, 3, 4, 5, 6]] {
            let mut payload = Vec::new();
            write::define_reference(&mut payload, 0, numbers).expect("a Vec is never full");
            let read = Reader::new(&payload, 0, &Schema::default()).next_event().map(drop);
            assert!(matches!(read, Err(DecodeError::Layout { .. })), "{read:?}");
        }
    }
}
