//! The VM's words, and the few of its functions that callbacks use.
//!
//! Immediates (atoms, local pids and ports, small integers, `[]`) are words with
//! a tag in their low bits and can be kept; tuples and list cells are read in
//! place, which costs a load where the function call costs ten. The layout is
//! the same in OTP 25 to 29 on 64-bit machines and is verified against the VM's
//! own functions when the library is loaded.

mod maps;
mod names;
mod references;

use std::ffi::{c_int, c_void};
use std::sync::atomic::Ordering;

use rustler::sys::{ErlNifEnv, ErlNifTerm};
use spoor_format::lane::LaneKind;

use crate::bits;
use crate::learned::{self, LEARNED};

pub(crate) use maps::{each_pair, map_size, map_value, only_value};
pub(crate) use names::{VmNames, make_atom, printed};
pub(crate) use references::{Reference, has_reference_header, names_process, printed_reference, reference};

/// A term as the VM holds it.
pub(crate) type Word = u64;
/// The environment of a call.
pub(crate) type Env = *mut ErlNifEnv;

/// `[]`.
pub(crate) const NIL: Word = 0x3b;

/// The pid of nobody: all data bits set.
pub(crate) const INVALID_PID: Word = !0xf | 0x3;

// Declared here and not taken from rustler: these take plain words, and none of
// them allocates, locks, or needs a process (see each caller).
unsafe extern "C" {
    fn enif_get_tuple(env: Env, tuple: Word, arity: *mut c_int, elements: *mut *const Word) -> c_int;
    fn enif_get_list_cell(env: Env, list: Word, head: *mut Word, tail: *mut Word) -> c_int;
    fn enif_get_long(env: Env, term: Word, value: *mut i64) -> c_int;
    fn enif_get_double(env: Env, term: Word, value: *mut f64) -> c_int;
    fn enif_term_type(env: Env, term: Word) -> c_int;
    fn enif_thread_type() -> c_int;
    fn enif_make_tuple_from_array(env: Env, elements: *const Word, count: u32) -> Word;
    fn enif_make_list_cell(env: Env, head: Word, tail: Word) -> Word;
    fn enif_make_int(env: Env, value: c_int) -> Word;
}

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

/// One word of a boxed term, its header being the first. By itself: what the VM
/// has just stored word by word is not there yet for a wider load.
#[inline(always)]
pub(crate) fn boxed_word(word: Word, place: usize) -> Word {
    let at = (word.wrapping_sub(BOXED) as *const Word).wrapping_add(place);
    // SAFETY: the caller found a boxed word of a kind that has so many words.
    unsafe { at.read_volatile() }
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

/// The term of a word that is alive in the environment.
pub(crate) fn term_of<'a>(env: rustler::Env<'a>, word: Word) -> rustler::Term<'a> {
    // SAFETY: ErlNifTerm is a transparent word of the same size.
    let raw = unsafe { std::mem::transmute::<usize, ErlNifTerm>(word as usize) };
    // SAFETY: as the caller says.
    unsafe { rustler::Term::new(env, raw) }
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
    references::learn_references(env);
    maps::learn_flat_maps(env);
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
