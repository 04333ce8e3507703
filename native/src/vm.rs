//! The VM's words, and the few of its functions that callbacks use.
//!
//! Immediates (atoms, local pids and ports, small integers, `[]`) are words with
//! a tag in their low bits and can be kept; tuples and list cells are read in
//! place, which costs a load where the function call costs ten. The layout is
//! the same in OTP 25 to 29 on 64-bit machines and is verified against the VM's
//! own functions when the library is loaded.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use rustler::sys::{ErlNifEnv, ErlNifTerm};
use spoor_core::stream::{MAX_ATOM_BYTES, Names};
use spoor_format::lane::LaneKind;
use spoor_format::reference::{Halves, Reference as Told};

use crate::bits;
use crate::learned::{self, LEARNED, NO_HEADER};

/// A term as the VM holds it.
pub(crate) type Word = u64;
/// The environment of a call.
pub(crate) type Env = *mut ErlNifEnv;

/// `[]`.
pub(crate) const NIL: Word = 0x3b;

/// The pid of nobody: all data bits set.
pub(crate) const INVALID_PID: Word = !0xf | 0x3;

const LATIN1: c_int = 1;
const UTF8: c_int = 2; // OTP 26 and later; 25 answers "no"

// Declared here and not taken from rustler: these take plain words, and none of
// them allocates, locks, or needs a process (see each caller).
unsafe extern "C" {
    fn enif_make_atom(env: Env, name: *const c_char) -> Word;
    fn enif_get_atom(env: Env, atom: Word, buffer: *mut c_char, size: u32, encoding: c_int) -> c_int;
    fn enif_get_tuple(env: Env, tuple: Word, arity: *mut c_int, elements: *mut *const Word) -> c_int;
    fn enif_get_list_cell(env: Env, list: Word, head: *mut Word, tail: *mut Word) -> c_int;
    fn enif_get_map_size(env: Env, map: Word, size: *mut usize) -> c_int;
    fn enif_get_map_value(env: Env, map: Word, key: Word, value: *mut Word) -> c_int;
    fn enif_get_long(env: Env, term: Word, value: *mut i64) -> c_int;
    fn enif_get_double(env: Env, term: Word, value: *mut f64) -> c_int;
    fn enif_map_iterator_create(env: Env, map: Word, iterator: *mut MapIterator, entry: c_int) -> c_int;
    fn enif_map_iterator_destroy(env: Env, iterator: *mut MapIterator);
    fn enif_map_iterator_next(env: Env, iterator: *mut MapIterator) -> c_int;
    fn enif_map_iterator_get_pair(env: Env, iterator: *mut MapIterator, key: *mut Word, value: *mut Word) -> c_int;
    fn enif_term_type(env: Env, term: Word) -> c_int;
    fn enif_snprintf(buffer: *mut c_char, size: usize, format: *const c_char, ...) -> c_int;
    fn enif_thread_type() -> c_int;
    fn enif_make_tuple_from_array(env: Env, elements: *const Word, count: u32) -> Word;
    fn enif_make_map_from_arrays(env: Env, keys: *const Word, values: *const Word, n: usize, map: *mut Word) -> c_int;
    fn enif_make_list_cell(env: Env, head: Word, tail: Word) -> Word;
    fn enif_make_int(env: Env, value: c_int) -> Word;
    fn enif_make_ref(env: Env) -> Word;
}

/// `ErlNifMapIterator`, with room to spare.
#[repr(C, align(16))]
struct MapIterator([u64; 16]);

/// What kind of term a word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Atom,
    SmallInteger,
    Pid,
    Port,
    Nil,
    List,
    /// Boxed; [`boxed_kind`] knows what.
    Boxed,
    Other,
}

/// What a boxed word is, as `enif_term_type` numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BoxedKind {
    Bitstring,
    Float,
    Fun,
    Integer,
    Map,
    /// A pid of another node.
    Pid,
    /// A port of another node.
    Port,
    Reference,
    Tuple,
    Other,
}

#[inline(always)]
pub(crate) fn kind(word: Word) -> Kind {
    match word & 0xf {
        0x3 => Kind::Pid,
        0x7 => Kind::Port,
        0xf => Kind::SmallInteger,
        0xb if word & 0x3f == 0x0b => Kind::Atom,
        0xb if word == NIL => Kind::Nil,
        tag => match tag & 3 {
            1 => Kind::List,
            2 => Kind::Boxed,
            _ => Kind::Other,
        },
    }
}

pub(crate) fn boxed_kind(env: Env, word: Word) -> BoxedKind {
    // SAFETY: a term of the running callback; the function only looks at it.
    match unsafe { enif_term_type(env, word) } {
        2 => BoxedKind::Bitstring,
        3 => BoxedKind::Float,
        4 => BoxedKind::Fun,
        5 => BoxedKind::Integer,
        7 => BoxedKind::Map,
        8 => BoxedKind::Pid,
        9 => BoxedKind::Port,
        10 => BoxedKind::Reference,
        11 => BoxedKind::Tuple,
        _ => BoxedKind::Other,
    }
}

#[inline(always)]
pub(crate) fn is_atom(word: Word) -> bool {
    word & 0x3f == 0x0b
}

#[inline(always)]
pub(crate) fn is_boxed(word: Word) -> bool {
    word & 3 == BOXED
}

/// Tags of words that point to boxed terms and to list cells. What is known to be there is
/// taken off rather than masked: an instruction less for each word that is read.
const BOXED: u64 = 2;
const LIST: u64 = 1;

/// Headers of tuples of two and three.
pub(crate) const PAIR: u64 = 2 << 6;
pub(crate) const TRIPLE: u64 = 3 << 6;

/// The value of a small integer.
#[inline(always)]
pub(crate) fn small(word: Word) -> Option<i64> {
    (word & 0xf == 0xf).then_some(word as i64 >> 4)
}

/// What the format keeps of a local pid or port: the word without its tag, nor what can be
/// worked out from the rest.
#[inline(always)]
pub(crate) fn identity_word(word: Word) -> u64 {
    word >> 4 & LEARNED.identity_bits.load(Ordering::Relaxed)
}

/// The header of a boxed term.
pub(crate) fn boxed_header(word: Word) -> u64 {
    let [header] = boxed_words_of(word);
    header
}

/// How many words a boxed term has behind its header.
pub(crate) fn boxed_words(word: Word) -> u64 {
    boxed_header(word) >> 6
}

/// Header and first words of a boxed term, which must have as many.
pub(crate) fn boxed_words_of<const N: usize>(word: Word) -> [u64; N] {
    let object = (word & !3) as *const [u64; N];
    // SAFETY: the caller found a boxed word of a term that is so long; terms are
    // never changed, and live as long as the callback that was given them.
    unsafe { *object }
}

/// The elements of a tuple.
#[inline(always)]
pub(crate) fn tuple<'a>(word: Word) -> Option<&'a [Word]> {
    if !is_boxed(word) {
        return None;
    }
    let object = word.wrapping_sub(BOXED) as *const Word;
    // SAFETY: a boxed word points to the object's header, which lives as long as
    // the callback that was given the word.
    let header = unsafe { *object };
    if header & 0x3f != 0 {
        return None;
    }
    // SAFETY: the elements follow the header.
    let first = unsafe { object.add(1) };
    // SAFETY: a tuple's header holds their number; terms are never changed.
    Some(unsafe { std::slice::from_raw_parts(first, (header >> 6) as usize) })
}

/// Head and tail of a list cell.
#[inline(always)]
pub(crate) fn cell(word: Word) -> Option<(Word, Word)> {
    if word & 3 != LIST {
        return None;
    }
    let cell = word.wrapping_sub(LIST) as *const Word;
    // One by one, for the reason of `triple`.
    // SAFETY: a list word points to its cell, two words, alive as in `tuple`.
    let head = unsafe { cell.read_volatile() };
    // SAFETY: as above.
    let tail = unsafe { cell.wrapping_add(1).read_volatile() };
    Some((head, tail))
}

/// The words of a tuple of three.
#[inline(always)]
pub(crate) fn triple(word: Word) -> Option<[Word; 3]> {
    // One by one: the VM has just stored them so, and a wider load would have to
    // wait until the stores have left the processor's buffer.
    (is_boxed(word) && boxed_word(word, 0) == TRIPLE).then(|| [1, 2, 3].map(|place| boxed_word(word, place)))
}

/// An argument of a callback. Read one by one, for the reason of [`triple`].
///
/// # Safety
/// The VM passed more than `place` arguments.
#[inline(always)]
pub(crate) unsafe fn argument(arguments: *const ErlNifTerm, place: usize) -> Word {
    let argument = arguments.cast::<Word>().wrapping_add(place);
    // SAFETY: as the caller says; an argument is one word.
    unsafe { argument.read_volatile() }
}

/// Module, name and arity of `{M, F, Arity}` or `{M, F, Args}`, as the format
/// wants them: words of atoms and a number.
pub(crate) fn function(word: Word) -> Option<(Word, Word, u64)> {
    let [module, name, third] = triple(word)?;
    let arity = match small(third) {
        Some(arity) => arity as u64,
        None => u64::from(list_length(third)?),
    };
    (is_atom(module) && is_atom(name)).then_some((module, name, arity))
}

/// Arguments of `{M, F, Args}`.
pub(crate) fn arguments(word: Word) -> Option<Word> {
    match *tuple(word)? {
        [_, _, args] if small(args).is_none() => Some(args),
        _ => None,
    }
}

/// Elements of a proper list.
pub(crate) fn list_length(list: Word) -> Option<u32> {
    let (mut length, mut rest) = (0_u32, list);
    while let Some((_, tail)) = cell(rest) {
        (length, rest) = (length.wrapping_add(1), tail);
    }
    (rest == NIL).then_some(length)
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

pub(crate) fn integer(env: Env, word: Word) -> Option<i64> {
    let mut value = 0;
    // SAFETY: a live term, and a number of our own.
    (unsafe { enif_get_long(env, word, &mut value) } != 0).then_some(value)
}

pub(crate) fn float(env: Env, word: Word) -> Option<f64> {
    let mut value = 0.0;
    // SAFETY: a live term, and a number of our own.
    (unsafe { enif_get_double(env, word, &mut value) } != 0).then_some(value)
}

/// Pairs of a map.
#[inline(always)]
pub(crate) fn map_size(env: Env, map: Word) -> usize {
    if is_flat_map(map) { boxed_word(map, 1) as usize } else { asked_map_size(env, map) }
}

#[cold]
#[inline(never)]
fn asked_map_size(env: Env, map: Word) -> usize {
    let mut size = 0;
    // SAFETY: a live term, and a number of our own; not a map leaves it 0.
    unsafe { enif_get_map_size(env, map, &mut size) };
    size
}

/// What an atom stands for in a map.
#[inline(always)]
pub(crate) fn map_value(env: Env, map: Word, key: Word) -> Option<Word> {
    if !is_flat_map(map) {
        return asked_map_value(env, map, key);
    }
    let (size, keys) = (boxed_word(map, 1) as usize, boxed_word(map, 2));
    let place = tuple(keys)?.iter().take(size).position(|known| *known == key)?;
    Some(boxed_word(map, 3 + place))
}

/// What an atom stands for in a map that holds nothing else.
#[inline(always)]
pub(crate) fn only_value(map: Word, key: Word) -> Option<Word> {
    // A flat map's keys are a tuple, of as many.
    let is_only = is_flat_map(map) && boxed_word(map, 1) == 1 && boxed_word(boxed_word(map, 2), 1) == key;
    is_only.then(|| boxed_word(map, 3))
}

#[cold]
#[inline(never)]
fn asked_map_value(env: Env, map: Word, key: Word) -> Option<Word> {
    let mut value = 0;
    // SAFETY: live terms, and a word of our own.
    (unsafe { enif_get_map_value(env, map, key, &mut value) } != 0).then_some(value)
}

/// One word of a boxed term, its header being the first. By itself: what the VM
/// has just stored word by word is not there yet for a wider load.
#[inline(always)]
pub(crate) fn boxed_word(word: Word, place: usize) -> Word {
    let at = (word.wrapping_sub(BOXED) as *const Word).wrapping_add(place);
    // SAFETY: the caller found a boxed word of a kind that has so many words.
    unsafe { at.read_volatile() }
}

/// Is it a small map? The VM keeps those flat: behind the header their size, the tuple of
/// their keys, the values.
#[inline(always)]
fn is_flat_map(word: Word) -> bool {
    is_boxed(word) && boxed_word(word, 0) == LEARNED.flat_map_header.load(Ordering::Relaxed)
}

/// Learns the header of flat maps, if what is read in place is what the VM's
/// functions say; otherwise those are asked.
fn learn_flat_maps(env: Env) {
    let keys = ["extra", "spoor_tracer", "timestamp"].map(|name| make_atom(env, name));
    for pairs in 0..=keys.len() {
        let mut made = 0;
        // SAFETY: as many live terms as said, twice, and a word of our own.
        let is_made = unsafe { enif_make_map_from_arrays(env, keys.as_ptr(), keys.as_ptr(), pairs, &mut made) } != 0;
        if !is_made || kind(made) != Kind::Boxed {
            return LEARNED.flat_map_header.store(NO_HEADER, Ordering::Relaxed);
        }
        // SAFETY: a boxed word points to its header.
        let header = unsafe { *((made & !3) as *const u64) };
        LEARNED.flat_map_header.store(header, Ordering::Relaxed);
        let found = keys.map(|key| map_value(env, made, key));
        let asked = keys.map(|key| asked_map_value(env, made, key));
        if map_size(env, made) != asked_map_size(env, made) || found != asked {
            return LEARNED.flat_map_header.store(NO_HEADER, Ordering::Relaxed);
        }
    }
}

/// Calls `each` with the pairs of a small map, in the VM's order. Only for maps
/// of at most 32 pairs: iterating larger ones allocates.
pub(crate) fn each_pair<E>(env: Env, map: Word, mut each: impl FnMut(Word, Word) -> Result<(), E>) -> Result<(), E> {
    let mut iterator = MapIterator([0; 16]);
    // SAFETY: a live term; the iterator has room for the VM's own (seven words).
    if unsafe { enif_map_iterator_create(env, map, &mut iterator, 1) } == 0 {
        return Ok(());
    }
    let (mut key, mut value, mut result) = (0, 0, Ok(()));
    // SAFETY: created above; two words of our own.
    while result.is_ok() && unsafe { enif_map_iterator_get_pair(env, &mut iterator, &mut key, &mut value) } != 0 {
        result = each(key, value);
        // SAFETY: created above.
        unsafe { enif_map_iterator_next(env, &mut iterator) };
    }
    // SAFETY: created above, not used afterwards.
    unsafe { enif_map_iterator_destroy(env, &mut iterator) };
    result
}

/// The term as the VM prints it, as much as fits. Some 300 ns.
pub(crate) fn printed(word: Word, space: &mut [u8]) -> &str {
    // SAFETY: a live term; the VM writes no more than the size and ends with 0.
    unsafe { enif_snprintf(space.as_mut_ptr().cast(), space.len(), c"%T".as_ptr(), word) };
    let text = CStr::from_bytes_until_nul(space).map_or(&[][..], CStr::to_bytes);
    match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&text[..error.valid_up_to()]).unwrap_or_default(),
    }
}

pub(crate) fn make_atom(env: Env, name: &str) -> Word {
    let mut text = [0_u8; 64];
    text[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: a text that ends with 0; called while the library is loaded.
    unsafe { enif_make_atom(env, text.as_ptr().cast()) }
}

/// Spells atoms with the functions of the VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VmNames(pub(crate) Env);

impl Names for VmNames {
    fn atom_text<'a>(&self, atom: Word, space: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
        let mut text = [0_u8; MAX_ATOM_BYTES + 1];
        for encoding in [LATIN1, UTF8] {
            // SAFETY: an atom; the VM writes no more than the size.
            let length = unsafe { enif_get_atom(self.0, atom, text.as_mut_ptr().cast(), text.len() as u32, encoding) };
            if length > 0 {
                return respell(&text[..length as usize - 1], encoding, space);
            }
        }
        // OTP 25 and an atom beyond Latin-1: only printing can spell it.
        unquoted(atom, space)
    }
}

/// A printed atom without the quotes that it may have, and what they ask for.
fn unquoted(atom: Word, space: &mut [u8; MAX_ATOM_BYTES]) -> &str {
    let length = printed(atom, space).len();
    let Some(inside) = space[..length].strip_prefix(b"'").and_then(|rest| rest.strip_suffix(b"'")) else {
        return std::str::from_utf8(&space[..length]).unwrap_or("?");
    };
    let (mut from, end, mut to) = (1, 1 + inside.len(), 0);
    while from < end {
        if space[from] == b'\\' && from + 1 < end {
            from += 1;
        }
        space[to] = space[from];
        (from, to) = (from + 1, to + 1);
    }
    std::str::from_utf8(&space[..to]).unwrap_or("?")
}

/// Text of the VM's as UTF-8.
fn respell<'a>(text: &[u8], encoding: c_int, space: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
    let mut length = 0;
    if encoding == UTF8 || text.is_ascii() {
        length = text.len().min(space.len());
        space[..length].copy_from_slice(&text[..length]);
    } else {
        for letter in text.iter().map(|byte| char::from(*byte)) {
            length += letter.encode_utf8(&mut space[length..]).len();
        }
    }
    std::str::from_utf8(&space[..length]).unwrap_or("?")
}

/// What kind of thread the caller is.
pub(crate) fn thread_kind() -> LaneKind {
    // SAFETY: takes nothing.
    match unsafe { enif_thread_type() } {
        1 => LaneKind::Scheduler,
        2 => LaneKind::DirtyCpu,
        3 => LaneKind::DirtyIo,
        _ => LaneKind::Other,
    }
}

/// A callback's answer.
#[inline(always)]
pub(crate) fn answer(word: Word) -> ErlNifTerm {
    // SAFETY: ErlNifTerm is a transparent word of the same size.
    unsafe { std::mem::transmute::<usize, ErlNifTerm>(word as usize) }
}

/// The word of a term that rustler holds.
pub(crate) fn word_of(term: rustler::Term<'_>) -> Word {
    // SAFETY: ErlNifTerm is a transparent word of the same size.
    unsafe { std::mem::transmute::<ErlNifTerm, usize>(term.as_c_arg()) as Word }
}

/// Keeps the library mapped for ever: threads of ours may be in it when the VM
/// would unload it.
pub(crate) fn pin_library() {
    // SAFETY: Dl_info is plain data, for which all zeroes are a value.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    let inside: *const c_void = (pin_library as *const fn()).cast();
    // SAFETY: any address may be asked for; the struct is our own.
    if unsafe { libc::dladdr(inside, &mut info) } != 0 {
        // SAFETY: the path of a library that is loaded; NOLOAD makes it a mere
        // change of flags. The handle is leaked on purpose.
        unsafe { libc::dlopen(info.dli_fname, libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE) };
    }
}

/// Compares what this module reads in place with what the VM's functions say.
pub(crate) fn words_are_as_expected(env: Env) -> bool {
    // SAFETY: makes terms in the environment of the running load callback.
    let number = unsafe { enif_make_int(env, -77) };
    let atom = make_atom(env, "spoor_tracer");
    let parts = [atom, number, NIL];
    // SAFETY: three live terms.
    let made = unsafe { enif_make_tuple_from_array(env, parts.as_ptr(), 3) };
    // SAFETY: live terms.
    let list = unsafe { enif_make_list_cell(env, made, NIL) };
    let (mut arity, mut elements, mut head, mut tail) = (0, std::ptr::null(), 0, 0);
    // SAFETY: live terms and places of our own.
    let is_tuple = unsafe { enif_get_tuple(env, made, &mut arity, &mut elements) } != 0;
    // SAFETY: live terms and places of our own.
    let is_cell = unsafe { enif_get_list_cell(env, list, &mut head, &mut tail) } != 0;
    learned::identities();
    learn_references(env);
    learn_flat_maps(env);
    bits::learn(env);
    is_tuple
        && is_cell
        && small(number) == Some(-77)
        && kind(atom) == Kind::Atom
        && kind(NIL) == Kind::Nil
        && tuple(made).is_some_and(|read| read.as_ptr() == elements && read == parts)
        && cell(list) == Some((head, tail))
        && tail == NIL
}

/// Learns the header of ordinary references, if their text can be told from
/// their words; otherwise references stay printed.
fn learn_references(env: Env) {
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
