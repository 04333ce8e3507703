//! Writing terms into a space that may be too small for them.

use super::{HiddenType, tag};
use crate::codec::{MAX_VARINT, Put, zigzag};

/// Most bytes of the head of any term: tag, two varints.
const MAX_HEAD: usize = 1 + 2 * MAX_VARINT;

/// Writes terms into a fixed space; what does not fit is elided.
///
/// Containers are written head first, so the writer keeps one byte in reserve
/// for each element still owed, enough for [`Term::Elided`].
#[derive(Debug)]
pub struct TermWriter<'a> {
    put: Put<'a>,
    limit: usize,
    owed: usize,
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "what is counted has been or will be written into the space"
)]
impl<'a> TermWriter<'a> {
    /// Writes into `space`, which must hold at least a few dozen bytes.
    pub fn new(space: &'a mut [u8]) -> Self {
        let limit = space.len().saturating_sub(1);
        TermWriter { put: Put::new(space), limit, owed: 0 }
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.put.used()
    }

    /// Nothing written yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Is there room for `bytes` more of this term, and for what is owed?
    pub fn fits(&self, bytes: usize) -> bool {
        self.put.used() + bytes + self.owed <= self.limit
    }

    /// Writes `tag` and `numbers` (at most two), or an elision; says whether it fitted.
    fn head(&mut self, tag: u8, numbers: &[u64], more: usize) -> bool {
        if !self.fits(MAX_HEAD.saturating_add(more)) {
            self.elided();
            return false;
        }
        self.put.byte(tag);
        for number in numbers {
            self.put.varint(*number);
        }
        true
    }

    /// The limit was reached, or depth.
    pub fn elided(&mut self) {
        self.put.byte(tag::ELIDED);
    }

    /// Nothing.
    pub fn none(&mut self) {
        self.put.byte(tag::NONE);
    }

    /// `[]`.
    pub fn nil(&mut self) {
        self.put.byte(tag::NIL);
    }

    /// An atom, by its reference in the chunk.
    pub fn atom(&mut self, reference: u64) {
        self.head(tag::ATOM, &[reference], 0);
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        self.head(tag::INTEGER, &[zigzag(value)], 0);
    }

    /// A float.
    pub fn float(&mut self, value: f64) {
        if self.head(tag::FLOAT, &[], 8) {
            self.put.bytes(&value.to_bits().to_le_bytes());
        }
    }

    /// A local pid, by its word.
    pub fn pid(&mut self, word: u64) {
        self.head(tag::PID, &[word], 0);
    }

    /// A local port, by its word.
    pub fn port(&mut self, word: u64) {
        self.head(tag::PORT, &[word], 0);
    }

    /// A reference, by its words.
    pub fn reference(&mut self, words: &[u64]) {
        if self.head(tag::REFERENCE, &[words.len() as u64], MAX_VARINT * words.len()) {
            for word in words {
                self.put.varint(*word);
            }
        }
    }

    /// The head of a container; its `elements` terms must follow, each by
    /// [`TermWriter::element`]. False (and nothing may follow) when elided.
    fn container(&mut self, tag: u8, count: u64, elements: usize) -> bool {
        let fitted = self.head(tag, &[count], elements);
        if fitted {
            self.owed += elements;
        }
        fitted
    }

    /// Announces the next element of a container; its term is written next.
    pub fn element(&mut self) {
        self.owed -= 1;
    }

    /// A tuple of `arity` elements.
    pub fn tuple(&mut self, arity: usize) -> bool {
        self.container(tag::TUPLE, arity as u64, arity)
    }

    /// How many elements a container could have here.
    pub fn room(&self) -> usize {
        self.limit.saturating_sub(self.put.used() + self.owed + MAX_HEAD)
    }

    /// A proper list of `count` elements.
    pub fn list(&mut self, count: usize) -> bool {
        self.container(tag::LIST, count as u64, count)
    }

    /// A list of `count` elements and an improper tail.
    pub fn improper(&mut self, count: usize) -> bool {
        self.container(tag::IMPROPER, count as u64, count + 1)
    }

    /// A map of `pairs` pairs: twice as many elements follow.
    pub fn map(&mut self, pairs: usize) -> bool {
        self.container(tag::MAP, pairs as u64, 2 * pairs)
    }

    /// A bitstring, as much of `bytes` as fits.
    pub fn binary(&mut self, bits: u64, bytes: &[u8]) {
        let room = self.limit.saturating_sub(self.put.used() + self.owed + MAX_HEAD);
        let shown = &bytes[..bytes.len().min(room)];
        if self.head(tag::BINARY, &[bits, shown.len() as u64], shown.len()) {
            self.put.bytes(shown);
        }
    }

    /// Text as the VM prints it; elided when it does not fit whole.
    pub fn printed(&mut self, text: &str) {
        if self.head(tag::PRINTED, &[text.len() as u64], text.len()) {
            self.put.bytes(text.as_bytes());
        }
    }

    /// A value whose content was not asked for.
    pub fn hidden(&mut self, what: HiddenType, size: u64) {
        self.head(tag::HIDDEN, &[what as u64, size], 0);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::written;
    use super::super::{RawTerm, skip};
    use crate::codec::Cursor;

    #[test]
    fn what_does_not_fit_is_elided_and_stays_well_formed() {
        for space in 32..120 {
            let bytes = written(space, |w| {
                if w.list(6) {
                    for n in 0..6 {
                        w.element();
                        match n % 3 {
                            0 => w.binary(800, &[7; 100]),
                            1 => w.reference(&[u64::MAX; 3]),
                            _ => w.integer(i64::MIN),
                        }
                    }
                }
            });
            assert!(bytes.len() <= space);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(skip(&mut cursor), Ok(()), "space {space}");
            assert!(cursor.is_empty(), "space {space}");
            assert!(RawTerm::trusted(&bytes).decode().is_ok());
        }
    }
}
