//! Binaries and bitstrings: how large they are, and where their bytes lie.
//!
//! `enif_inspect_binary` copies a binary that begins within a byte, however large
//! it is, into memory that it allocates: not in a callback. Size and beginning
//! stand in the term itself, in one of two layouts, which is learned from
//! binaries made when the library is loaded.

use std::ffi::{c_int, c_uchar, c_void};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::vm::{Env, Word, boxed_header, boxed_words_of};

unsafe extern "C" {
    fn enif_inspect_binary(env: Env, term: Word, binary: *mut Binary) -> c_int;
    fn enif_make_new_binary(env: Env, size: usize, term: *mut Word) -> *mut c_uchar;
    fn enif_make_sub_binary(env: Env, binary: Word, position: usize, size: usize) -> Word;
}

/// `ErlNifBinary`.
#[repr(C)]
struct Binary {
    size: usize,
    data: *const u8,
    reference: *mut c_void,
    spare: [*mut c_void; 2],
}

/// A bitstring, as far as it could be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// How many bits it has.
    pub(crate) bits: u64,
    /// Do its bytes lie in memory as they are?
    pub(crate) whole_bytes: bool,
}

/// The layouts that are known. Bits 0 to 5 of a header tell what follows it.
mod layout {
    pub(super) const UNKNOWN: u64 = 0;
    /// To OTP 26: `[header, bytes, …]`, parts of others
    /// `[header, bytes, offset, bits more | bit offset << 8, whole]`.
    pub(super) const BYTES: u64 = 1;
    /// From OTP 27: short ones `[header, bits, …]`, all others
    /// `[header, whole, first bit, last bit, …]`.
    pub(super) const BITS: u64 = 2;
}

/// The layout, and the tag of headers of parts: `layout | tag << 8`.
static LEARNED: AtomicU64 = AtomicU64::new(layout::UNKNOWN);

const TAG: u64 = 0x3f;
/// Binaries up to this size lie in the heap.
const SHORT: usize = 10;
const LONG: usize = 200;
const PART: (usize, usize) = (3, 100);

/// Size and beginning of a boxed bitstring; `None` when the layout is not known.
pub(crate) fn span(word: Word) -> Option<Span> {
    let learned = LEARNED.load(Ordering::Relaxed);
    let is_part = boxed_header(word) & TAG == learned >> 8;
    Some(match (learned & 0xff, is_part) {
        (layout::BYTES, false) => Span { bits: 8 * boxed_words_of::<2>(word)[1], whole_bytes: true },
        (layout::BYTES, true) => {
            let [_, bytes, _, more] = boxed_words_of(word);
            let (bits, offset) = (more & 0xff, more >> 8 & 0xff);
            Span { bits: 8 * bytes + bits, whole_bytes: bits == 0 && offset == 0 }
        }
        (layout::BITS, false) => {
            let [_, bits] = boxed_words_of(word);
            Span { bits, whole_bytes: bits % 8 == 0 }
        }
        (layout::BITS, true) => {
            let [_, _, first, last] = boxed_words_of(word);
            Span { bits: last.wrapping_sub(first), whole_bytes: first % 8 == 0 && last % 8 == 0 }
        }
        _ => return None,
    })
}

/// The bytes of a binary of which [`span`] says that they lie in memory as they
/// are: others would be copied.
pub(crate) fn bytes<'a>(env: Env, word: Word) -> Option<&'a [u8]> {
    let mut binary =
        Binary { size: 0, data: std::ptr::null(), reference: std::ptr::null_mut(), spare: [std::ptr::null_mut(); 2] };
    // SAFETY: a live term; the struct is laid out as the VM's own.
    if unsafe { enif_inspect_binary(env, word, &mut binary) } == 0 || binary.data.is_null() {
        return None;
    }
    // SAFETY: the VM says so, for as long as the term lives.
    Some(unsafe { std::slice::from_raw_parts(binary.data, binary.size) })
}

/// Learns the layout from binaries of known size.
pub(crate) fn learn(env: Env) {
    let (mut short, mut long) = (0, 0);
    // SAFETY: makes a term in the environment of the running load callback.
    unsafe { enif_make_new_binary(env, SHORT, &mut short) };
    // SAFETY: as above.
    unsafe { enif_make_new_binary(env, LONG, &mut long) };
    // SAFETY: as above; the part lies within the binary.
    let part = unsafe { enif_make_sub_binary(env, long, PART.0, PART.1) };
    let part_tag = (boxed_header(part) & TAG) << 8;
    let whole = |bytes: usize| Some(Span { bits: 8 * bytes as u64, whole_bytes: true });
    for layout in [layout::BYTES, layout::BITS] {
        LEARNED.store(layout | part_tag, Ordering::Relaxed);
        if [short, long, part].map(span) == [SHORT, LONG, PART.1].map(whole) && begins_as_made(layout, part) {
            return;
        }
    }
    LEARNED.store(layout::UNKNOWN, Ordering::Relaxed);
}

/// Does the beginning of the part stand where this layout has it?
fn begins_as_made(layout: u64, part: Word) -> bool {
    let [_, _, place, ..] = boxed_words_of::<4>(part);
    place == if layout == layout::BYTES { PART.0 as u64 } else { 8 * PART.0 as u64 }
}
