//! The CRC-32 of a few words, by a table of one line of the processor's cache.
//!
//! Chunks are begun thousands of events apart. `crc32fast` would have its tables, of 16 lines for so few bytes, fetched
//! from memory each time: 3 us that the process waits whose event it is. For all that is longer it is the better one.

/// What each half of a byte comes to.
#[repr(align(64))]
struct Halves([u32; 16]);

static HALVES: Halves = Halves(halves());

/// The polynomial, reflected.
const POLYNOMIAL: u32 = 0xedb8_8320;

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "made when this is compiled")]
const fn halves() -> [u32; 16] {
    let mut table = [0; 16];
    let mut half = 0;
    while half < 16 {
        let (mut crc, mut bit) = (half as u32, 0);
        while bit < 4 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        table[half] = crc;
        half += 1;
    }
    table
}

/// Of these words, in little endian.
#[allow(clippy::indexing_slicing, reason = "a half of a byte is below 16")]
pub(crate) fn of_words(words: &[u64]) -> u32 {
    let mut crc = u32::MAX;
    for byte in words.iter().flat_map(|word| word.to_le_bytes()) {
        for half in [byte, byte >> 4] {
            crc = crc >> 4 ^ HALVES.0[(crc ^ u32::from(half)) as usize & 15];
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_same_as_of_the_bytes() {
        let mut word: u64 = 1;
        for count in 0..200 {
            let words: Vec<u64> = (0..count % 7)
                .map(|_| {
                    word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    word
                })
                .collect();
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(super::of_words(&words), crc32fast::hash(&bytes), "{words:x?}");
        }
    }
}
