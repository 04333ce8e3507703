//! Local references, read in place. Which of them can be is learned.

use std::sync::atomic::{AtomicU64, Ordering};

use spoor_format::reference::{Halves, Reference as Told};

use super::{Env, Kind, Word, boxed_word, boxed_words, kind, printed};
use crate::learned::LEARNED;

unsafe extern "C" {
    fn enif_make_ref(env: Env) -> Word;
}

/// The words behind the header of a local reference.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference(Halves);

impl Reference {
    /// By its words: those of a text that names a process have its word for the last.
    #[inline(always)]
    pub(crate) fn halves(&self) -> Halves {
        self.0
    }

    /// Word by word: to compare them as a whole, they would first go to memory.
    #[inline(always)]
    pub(crate) fn is(&self, other: &Reference) -> bool {
        let ([a, b, c], [x, y, z]) = (self.0.words, other.0.words);
        (a ^ x | b ^ y | c ^ z) == 0
    }

    /// As its words say.
    pub(crate) fn told(&self) -> Told {
        let [low, high, process] = self.0.words;
        let half = |word: u64| word & 0xffff_ffff;
        let numbers = [process >> 32, half(process), high >> 32, half(high), low >> 32];
        Told::of_last(if self.0.five { 5 } else { 3 }, numbers)
    }

    #[inline(always)]
    pub(crate) fn read(word: Word, names_process: bool) -> Reference {
        let process = if names_process { boxed_word(word, 3) } else { 0 };
        Reference(Halves { words: [boxed_word(word, 1), boxed_word(word, 2), process], five: names_process })
    }

    /// Is this the text that the VM prints?
    fn is_told_by(&self, text: &str) -> bool {
        let inside = text.strip_prefix("#Ref<0.").and_then(|text| text.strip_suffix('>'));
        let told = inside.map(|inside| inside.split('.').map(|number| number.parse().ok()));
        told.is_some_and(|told| told.eq(self.told().numbers().iter().map(|number| Some(*number))))
    }
}

/// A local reference, read in place; the rest (magic, external, unknown) is left to
/// [`printed_reference`].
#[inline(always)]
pub(crate) fn reference(word: Word) -> Option<Reference> {
    Some(Reference::read(word, names_process(word)?))
}

/// Of a boxed term that is a local reference to be read in place: does its text name a process?
#[inline(always)]
pub(crate) fn names_process(word: Word) -> Option<bool> {
    let header = boxed_word(word, 0);
    let long = is_known(&LEARNED.long_alias_header, header);
    let known = long || is_known(&LEARNED.reference_header, header) || is_known(&LEARNED.alias_header, header);
    (known && is_marked(word)).then_some(long)
}

/// Is a boxed term surely a local reference? Others may be, too.
#[inline(always)]
pub(crate) fn has_reference_header(word: Word) -> bool {
    let header = boxed_word(word, 0);
    is_known(&LEARNED.long_alias_header, header)
        || is_known(&LEARNED.reference_header, header)
        || is_known(&LEARNED.alias_header, header)
}

#[inline(always)]
fn is_known(known: &AtomicU64, header: u64) -> bool {
    known.load(Ordering::Relaxed) == header
}

/// Is what follows the header the mark of references that hold their numbers?
/// Others with the same header have a pointer there.
#[inline(always)]
fn is_marked(word: Word) -> bool {
    boxed_word(word, 1) as u32 == u32::MAX
}

/// A reference that [`reference`] did not understand, as the VM prints it. Those
/// with its header are understood from now on, if the text is what the words say:
/// so the layout of aliases is learned, which no function of the VM makes.
#[inline(never)]
pub(crate) fn printed_reference(word: Word, space: &mut [u8]) -> &str {
    let text = printed(word, space);
    let (header, words) = (boxed_word(word, 0), boxed_words(word));
    if words >= 3 && is_marked(word) {
        let layouts = [(&LEARNED.alias_header, false), (&LEARNED.long_alias_header, true)];
        if let Some((known, _)) = layouts.into_iter().find(|(_, long)| Reference::read(word, *long).is_told_by(text)) {
            known.store(header, Ordering::Relaxed);
        }
    }
    text
}

/// Learns the header of ordinary references, if their text can be told from
/// their words; otherwise references stay printed.
pub(super) fn learn_references(env: Env) {
    // SAFETY: makes a term in the environment of the running load callback.
    let made = unsafe { enif_make_ref(env) };
    if kind(made) != Kind::Boxed {
        return;
    }
    let mut space = [0; 64];
    if is_marked(made) && Reference::read(made, false).is_told_by(printed(made, &mut space)) {
        LEARNED.reference_header.store(boxed_word(made, 0), Ordering::Relaxed);
    }
}
