//! The sizes that the VM tells of a garbage collection, read in place.

use spoor_format::brief::SIZES;

use crate::atoms;
use crate::vm::{self, Word};

/// The sizes of a garbage collection, in the order of the format; what lies behind them
/// counts for nothing.
pub(crate) fn gc_sizes(list: Word) -> [u64; SIZES] {
    let (mut sizes, mut rest) = ([0; SIZES], list);
    for order in atoms::gc_order() {
        let Some((pair, tail)) = vm::cell(rest) else { break };
        rest = tail;
        if !vm::is_boxed(pair) || vm::boxed_word(pair, 0) != vm::PAIR {
            continue;
        }
        let (key, value) = (vm::boxed_word(pair, 1), vm::boxed_word(pair, 2));
        if let Some(size) = vm::small(value) {
            // Of words of 8 bytes, so no size comes near 2^56.
            sizes[order.place(key)] = size as u64 & !(0xff << 56);
        }
    }
    sizes
}
