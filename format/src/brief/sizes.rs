//! The sizes of a garbage collection, in one go.

use super::Kind;
use crate::codec::groups;
use crate::record::GC_SIZES;

/// Sizes that the record of a garbage collection may have, [`GC_SIZES`] being there.
pub const SIZES: usize = 16;

/// Bytes of the space that [`sizes`] writes into.
pub const SIZES_ROOM: usize = 256;

/// Writes the record of a garbage collection with its sizes, those of [`GC_SIZES`]; the others
/// count for nothing. Delta and sizes are below 2^56. Says how many bytes that took.
#[inline(always)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "masked; SIZES_ROOM is for the longest")]
pub fn sizes(space: &mut [u8; SIZES_ROOM], kind: Kind, delta: u64, sizes: &[u64; SIZES]) -> usize {
    // Begins of what is written lie below: an id, a varint, a count, and 11 of 8 bytes.
    const PLACE: usize = 127;
    space[0] = kind.0 as u8;
    let (bytes, count) = groups(delta);
    space[1..9].copy_from_slice(&bytes.to_le_bytes());
    let mut at = 1 + count;
    space[at & PLACE] = GC_SIZES.len() as u8;
    at += 1;
    for size in &sizes[..GC_SIZES.len()] {
        if *size < 0x80 {
            space[at & PLACE] = *size as u8;
            at += 1;
        } else if *size < 0x4000 {
            let both = *size & 0x7f | 0x80 | (*size & 0x3f80) << 1;
            space[at & PLACE..][..2].copy_from_slice(&(both as u16).to_le_bytes());
            at += 2;
        } else {
            let (bytes, count) = groups(*size);
            space[at & PLACE..][..8].copy_from_slice(&bytes.to_le_bytes());
            at += count;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{bytes, number};
    use super::*;
    use crate::record::write;

    proptest! {
        #[test]
        fn collections_are_those_of_the_table(
            delta in number().prop_map(|delta| delta >> 8),
            numbers in prop::array::uniform16(number().prop_map(|size| size >> 8)),
        ) {
            let of = |kind| {
                let mut space = [0xee; SIZES_ROOM];
                let used = sizes(&mut space, kind, delta, &numbers);
                space[..used].to_vec()
            };
            let told = &numbers[..GC_SIZES.len()];
            prop_assert_eq!(of(Kind::GC_MINOR_START), bytes(|s| write::gc_minor_start(s, delta, told)));
            prop_assert_eq!(of(Kind::GC_MINOR_END), bytes(|s| write::gc_minor_end(s, delta, told)));
        }
    }
}
