//! Maps: small ones are read in place, where their layout is as the VM's functions say.

use std::ffi::c_int;
use std::sync::atomic::Ordering;

use super::{Env, Kind, Word, boxed_word, is_boxed, kind, make_atom, tuple};
use crate::learned::{LEARNED, NO_HEADER};

unsafe extern "C" {
    fn enif_get_map_size(env: Env, map: Word, size: *mut usize) -> c_int;
    fn enif_get_map_value(env: Env, map: Word, key: Word, value: *mut Word) -> c_int;
    fn enif_map_iterator_create(env: Env, map: Word, iterator: *mut MapIterator, entry: c_int) -> c_int;
    fn enif_map_iterator_destroy(env: Env, iterator: *mut MapIterator);
    fn enif_map_iterator_next(env: Env, iterator: *mut MapIterator) -> c_int;
    fn enif_map_iterator_get_pair(env: Env, iterator: *mut MapIterator, key: *mut Word, value: *mut Word) -> c_int;
    fn enif_make_map_from_arrays(env: Env, keys: *const Word, values: *const Word, n: usize, map: *mut Word) -> c_int;
}

/// `ErlNifMapIterator`, with room to spare.
#[repr(C, align(16))]
struct MapIterator([u64; 16]);

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

/// Is it a small map? The VM keeps those flat: behind the header their size, the tuple of
/// their keys, the values.
#[inline(always)]
fn is_flat_map(word: Word) -> bool {
    is_boxed(word) && boxed_word(word, 0) == LEARNED.flat_map_header.load(Ordering::Relaxed)
}

/// Learns the header of flat maps, if what is read in place is what the VM's
/// functions say; otherwise those are asked.
pub(super) fn learn_flat_maps(env: Env) {
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
