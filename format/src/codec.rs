//! Bytes and numbers: the cursor every decoder reads from, the sink every
//! encoder writes to, and LEB128 varints.

use crate::DecodeError;

/// Longest varint: 64 bits in groups of 7.
pub(crate) const MAX_VARINT: usize = 10;

/// The sink has no room for the record; nothing of it was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Where encoded records go: a chunk in a mapped file, or a `Vec` in a test. In two
/// steps and not by a closure, which would not always be made part of its caller.
pub trait Sink {
    /// A space of `max` bytes, or [`Full`].
    fn space(&mut self, max: usize) -> Result<Put<'_>, Full>;

    /// Keeps the first `used` bytes of the space of `max` that was given last.
    fn keep(&mut self, max: usize, used: usize);
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "a Vec makes room for what is written")]
impl Sink for Vec<u8> {
    fn space(&mut self, max: usize) -> Result<Put<'_>, Full> {
        let kept = self.len();
        self.resize(kept + max, 0);
        Ok(Put::new(&mut self[kept..]))
    }

    fn keep(&mut self, max: usize, used: usize) {
        self.truncate(self.len() - max + used);
    }
}

/// A space being filled from its start. Writing past its end panics: the size
/// given to [`Sink::space`] is the writer's own promise.
#[derive(Debug)]
pub struct Put<'a> {
    space: &'a mut [u8],
    used: usize,
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "see above: the writer's promise")]
impl<'a> Put<'a> {
    /// An empty space.
    #[inline(always)]
    pub fn new(space: &'a mut [u8]) -> Self {
        Put { space, used: 0 }
    }

    /// Bytes written so far.
    #[inline(always)]
    pub fn used(&self) -> usize {
        self.used
    }

    /// One byte.
    #[inline(always)]
    pub fn byte(&mut self, byte: u8) {
        self.space[self.used] = byte;
        self.used += 1;
    }

    /// An unsigned LEB128 varint, probably of one or two bytes. The space must have room
    /// for [`MAX_VARINT`] bytes, however short it is.
    #[inline(always)]
    pub fn varint(&mut self, value: u64) {
        if value < 0x80 {
            self.byte(value as u8);
        } else if value < 0x4000 {
            let both = value & 0x7f | 0x80 | (value & 0x3f80) << 1;
            self.space[self.used..self.used + 2].copy_from_slice(&(both as u16).to_le_bytes());
            self.used += 2;
        } else {
            self.groups(value, groups_of_rare(value));
        }
    }

    /// A varint that is probably long: without a branch for each of its bytes. Room as
    /// for [`Put::varint`].
    #[inline(always)]
    pub fn long_varint(&mut self, value: u64) {
        self.groups(value, groups(value));
    }

    /// A varint of which the first bytes are at hand.
    #[inline(always)]
    fn groups(&mut self, value: u64, (bytes, count): (u64, usize)) {
        self.space[self.used..self.used + 8].copy_from_slice(&bytes.to_le_bytes());
        self.used += count;
        if value >> 56 != 0 {
            let more = value >> 63;
            self.byte((value >> 56 & 0x7f | more << 7) as u8);
            if more != 0 {
                self.byte(1);
            }
        }
    }

    /// Bytes as they are.
    #[inline(always)]
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.space[self.used..self.used + bytes.len()].copy_from_slice(bytes);
        self.used += bytes.len();
    }
}

/// The first eight bytes of a varint, and how many of them there are.
#[inline(always)]
#[allow(clippy::arithmetic_side_effects, reason = "no more than 64 bits are counted and shifted")]
pub(crate) fn groups(value: u64) -> (u64, usize) {
    // Groups of 28 bits, of 14, of 7, each to its place.
    let spread = value & 0x0fff_ffff | (value & 0x00ff_ffff_f000_0000) << 4;
    let spread = spread & 0x0000_3fff_0000_3fff | (spread & 0x0fff_c000_0fff_c000) << 2;
    let spread = spread & 0x007f_007f_007f_007f | (spread & 0x3f80_3f80_3f80_3f80) << 1;
    if value >> 56 != 0 {
        return (spread | HIGH_BITS, 8);
    }
    let count = (63 - (value | 1).leading_zeros() as usize) / 7 + 1;
    (spread | HIGH_BITS & ((1 << (8 * (count - 1))) - 1), count)
}

/// As [`groups`]; away from where short numbers are written.
#[cold]
#[inline(never)]
fn groups_of_rare(value: u64) -> (u64, usize) {
    groups(value)
}

/// Reads values off the front of a byte slice; never panics, never allocates.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { bytes, at: 0 }
    }

    /// Bytes read so far.
    #[inline(always)]
    pub fn offset(&self) -> usize {
        self.at
    }

    /// Nothing left to read.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    /// One byte.
    #[inline(always)]
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        match self.bytes.get(self.at) {
            Some(&byte) => {
                self.at = self.at.wrapping_add(1);
                Ok(byte)
            }
            None => Err(DecodeError::Truncated { offset: self.at }),
        }
    }

    /// An unsigned LEB128 varint.
    #[inline(always)]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        self.long_varint(first)
    }

    /// A varint of which the first byte was read.
    fn long_varint(&mut self, first: u8) -> Result<u64, DecodeError> {
        let word = self.bytes.get(self.at.wrapping_sub(1)..).and_then(<[u8]>::first_chunk);
        let word = word.map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        let stops = !word & HIGH_BITS;
        if stops == 0 {
            return self.longest_varint(first);
        }
        self.at = self.at.wrapping_add((stops.trailing_zeros() >> 3) as usize);
        Ok(gather(word & (stops ^ stops.wrapping_sub(1))))
    }

    /// Steps over so many varints.
    pub(crate) fn skip_varints(&mut self, mut count: u64) -> Result<(), DecodeError> {
        while count > 0 {
            let mut stops = self.peek_word().map_or(0, |word| !word & HIGH_BITS);
            if stops == 0 {
                self.varint()?;
                count = count.wrapping_sub(1);
                continue;
            }
            // The first of them end in this word.
            let mut end = 0;
            while stops != 0 && count > 0 {
                end = stops.trailing_zeros().wrapping_add(1) >> 3;
                (stops, count) = (stops & stops.wrapping_sub(1), count.wrapping_sub(1));
            }
            self.step(end);
        }
        Ok(())
    }

    /// A varint byte by byte.
    #[cold]
    fn longest_varint(&mut self, first: u8) -> Result<u64, DecodeError> {
        let start = self.at.saturating_sub(1);
        let mut value = u64::from(first & 0x7f);
        let mut shift = 7_u32;
        loop {
            let byte = self.byte().map_err(|_| DecodeError::Truncated { offset: start })?;
            let bits = u64::from(byte & 0x7f);
            if shift > 63 || (shift == 63 && bits > 1) {
                return Err(DecodeError::Overlong { offset: start });
            }
            value |= bits.wrapping_shl(shift);
            if byte < 0x80 {
                return Ok(value);
            }
            shift = shift.saturating_add(7);
        }
    }

    /// The next `n` bytes.
    #[inline(always)]
    pub fn take(&mut self, n: u64) -> Result<&'a [u8], DecodeError> {
        let truncated = DecodeError::Truncated { offset: self.at };
        let Ok(n) = usize::try_from(n) else { return Err(truncated) };
        let Some(end) = self.at.checked_add(n) else { return Err(truncated) };
        let taken = self.bytes.get(self.at..end).ok_or(truncated)?;
        self.at = end;
        Ok(taken)
    }

    /// The next eight bytes as one word, when there are as many.
    #[inline(always)]
    pub(crate) fn peek_word(&self) -> Option<u64> {
        self.bytes.get(self.at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The next bytes, when there are as many.
    #[inline(always)]
    pub(crate) fn peek<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.bytes.get(self.at..)?.first_chunk()
    }

    /// Steps over bytes that [`Cursor::peek_word`] or [`Cursor::peek`] answered.
    #[inline(always)]
    pub(crate) fn step(&mut self, n: u32) {
        self.at = self.at.wrapping_add(n as usize);
    }

    /// What was read since `start`, an earlier [`Cursor::offset`].
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.at).unwrap_or_default()
    }
}

/// The bits that say that another byte of a varint follows.
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

/// Two varints that a word holds from its second byte on, and the byte behind them.
/// Where the second one ends is found without knowing the first: readers wait for
/// that, and for nothing else, before they can look at what follows.
#[inline(always)]
pub(crate) fn two_varints(word: u64) -> Option<(u64, u64, u32)> {
    let stops = !word & 0x8080_8080_8080_8000;
    let rest = stops & stops.wrapping_sub(1);
    if rest == 0 {
        return None;
    }
    let first = stops ^ stops.wrapping_sub(1);
    let second = (rest ^ rest.wrapping_sub(1)) & !first;
    let behind_first = stops.trailing_zeros().wrapping_add(1);
    let end = rest.trailing_zeros().wrapping_add(1) >> 3;
    Some((gather((word & first) >> 8), gather((word & second).wrapping_shr(behind_first)), end))
}

/// The number whose groups of seven bits stand in the bytes of a word.
#[inline(always)]
fn gather(word: u64) -> u64 {
    let pairs = word & 0x007f_007f_007f_007f | word >> 1 & 0x3f80_3f80_3f80_3f80;
    let fours = pairs & 0x0000_3fff_0000_3fff | pairs >> 2 & 0x0fff_c000_0fff_c000;
    fours & 0x0fff_ffff | fours >> 4 & 0x00ff_ffff_f000_0000
}

/// Signed to unsigned, small magnitudes staying small.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value.wrapping_shl(1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ ((value & 1) as i64).wrapping_neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn varint(value: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut put = bytes.space(MAX_VARINT).expect("a Vec is never full");
        put.varint(value);
        let used = put.used();
        bytes.keep(MAX_VARINT, used);
        bytes
    }

    #[test]
    fn varint_bytes_are_leb128() {
        assert_eq!(varint(0), [0]);
        assert_eq!(varint(127), [0x7f]);
        assert_eq!(varint(128), [0x80, 1]);
        assert_eq!(varint(16_384), [0x80, 0x80, 1]);
        assert_eq!(varint(u64::MAX).len(), MAX_VARINT);
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_refused() {
        let mut bytes = varint(u64::MAX);
        bytes[9] = 2;
        assert_eq!(Cursor::new(&bytes).varint(), Err(DecodeError::Overlong { offset: 0 }));
        assert_eq!(Cursor::new(&[0xff; 11]).varint(), Err(DecodeError::Overlong { offset: 0 }));
    }

    #[test]
    fn a_cut_number_is_truncated_where_it_began() {
        assert_eq!(Cursor::new(&[0x80, 0x80]).varint(), Err(DecodeError::Truncated { offset: 0 }));
        assert_eq!(Cursor::new(&[]).varint(), Err(DecodeError::Truncated { offset: 0 }));
    }

    proptest! {
        #[test]
        fn varints_are_stepped_over(
            values in prop::collection::vec((any::<u64>(), 0..64_u32).prop_map(|(n, shift)| n >> shift), 0..30),
            behind in 0..9_usize,
        ) {
            let mut bytes: Vec<u8> = values.iter().flat_map(|value| varint(*value)).collect();
            let length = bytes.len();
            bytes.resize(length + behind, 0x80);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.skip_varints(values.len() as u64), Ok(()));
            prop_assert_eq!(cursor.offset(), length);
            prop_assert!(cursor.skip_varints(1).is_err());
        }

        #[test]
        fn varints_are_the_same_by_either_way(value: u64, shift in 0..64_u32) {
            let value = value >> shift;
            let mut by_the_book = Vec::new();
            let mut rest = value;
            while rest >= 0x80 {
                by_the_book.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            by_the_book.push(rest as u8);
            prop_assert_eq!(varint(value), by_the_book.clone());
            let mut space = [0; MAX_VARINT];
            let mut put = Put::new(&mut space);
            put.long_varint(value);
            let used = put.used();
            prop_assert_eq!(&space[..used], &by_the_book);
        }

        #[test]
        fn two_varints_are_varints(first: u64, second: u64, behind: u64) {
            let (first, second) = (first >> (first % 64), second >> (second % 64));
            let mut bytes = vec![0x20];
            bytes.extend(varint(first));
            bytes.extend(varint(second));
            let length = bytes.len();
            bytes.extend_from_slice(&behind.to_le_bytes());
            let word = u64::from_le_bytes(*bytes.first_chunk().expect("eight bytes and more"));
            let want = (length <= 8).then_some((first, second, length as u32));
            prop_assert_eq!(two_varints(word), want);
        }

        #[test]
        fn varints_round_trip(value: u64) {
            let bytes = varint(value);
            let mut cursor = Cursor::new(&bytes);
            prop_assert_eq!(cursor.varint(), Ok(value));
            prop_assert!(cursor.is_empty());
            let mut more = bytes.clone();
            more.extend_from_slice(&[0xff; 10]);
            let mut cursor = Cursor::new(&more);
            prop_assert_eq!((cursor.varint(), cursor.offset()), (Ok(value), bytes.len()));
        }

        #[test]
        fn zigzag_round_trips(value: i64) {
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }
    }
}
