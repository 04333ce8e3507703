//! Text of the VM's: what atoms spell, and terms as it prints them.

use std::ffi::{CStr, c_char, c_int};

use spoor_core::stream::{MAX_ATOM_BYTES, Names};

use super::{Env, Word};

const LATIN1: c_int = 1;
const UTF8: c_int = 2; // OTP 26 and later; 25 answers "no"

unsafe extern "C" {
    fn enif_make_atom(env: Env, name: *const c_char) -> Word;
    fn enif_get_atom(env: Env, atom: Word, buffer: *mut c_char, size: u32, encoding: c_int) -> c_int;
    fn enif_snprintf(buffer: *mut c_char, size: usize, format: *const c_char, ...) -> c_int;
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
