//! The words of a chunk that more than one thread looks at, and their order.
//!
//! A chunk's number is 0 while its header changes. The commit word is stored
//! last: a reader that sees it sees the records it promises.

use crate::ring::{Copying, Ring};
use crate::sync::{AtomicU64, Ordering, fence};

/// Where they lie.
pub(crate) struct ChunkWords<'a> {
    /// The number of the take, 0 when the chunk is not in use.
    pub(crate) seq: &'a AtomicU64,
    /// How much may be read.
    pub(crate) commit: &'a AtomicU64,
    /// The checksum, 0 until the chunk is sealed.
    pub(crate) seal: &'a AtomicU64,
}

impl ChunkWords<'_> {
    /// Begins a chunk just taken, with what else stands in its header. Until the
    /// last store a reader sees a chunk that is not in use.
    pub(crate) fn begin<'w>(&self, seq: u64, header: impl IntoIterator<Item = (&'w AtomicU64, u64)>) {
        self.seq.store(0, Ordering::Relaxed);
        fence(Ordering::Release); // no store below may be seen before the 0
        self.commit.store(0, Ordering::Relaxed);
        self.seal.store(0, Ordering::Relaxed);
        for (word, value) in header {
            word.store(value, Ordering::Relaxed);
        }
        self.seq.store(seq, Ordering::Release); // pairs with a reader's Acquire or copy
    }
}

/// Runs `read` on a chunk that writers may recycle meanwhile; `None` when it is not
/// the one of that number, or not any more when `read` is done. What was read counts
/// for nothing then.
pub(crate) fn read_stable<R>(seq: u64, word: &AtomicU64, read: impl FnOnce() -> R) -> Option<R> {
    // Acquire pairs with the last store of `begin`: the header belongs to the number.
    if seq == 0 || word.load(Ordering::Acquire) != seq {
        return None;
    }
    let found = read();
    // Pairs with the fence in `begin`: whoever read a word of the next take sees
    // here that the number has changed.
    fence(Ordering::Acquire);
    (word.load(Ordering::Relaxed) == seq).then_some(found)
}

/// Holds the chunk of that number for a copy; `None` when it is another by now.
pub(crate) fn copying<'r>(ring: &'r Ring, index: u64, seq: u64, word: &AtomicU64) -> Option<Copying<'r>> {
    let copying = ring.copying(index, seq)?;
    // No later take can begin it from here on; one may have before.
    (word.load(Ordering::Acquire) == seq).then_some(copying)
}

/// Commits what was written before.
#[inline(always)]
pub(crate) fn commit(commit: &AtomicU64, word: u64) {
    // Release: the record is in memory before the word that promises it.
    commit.store(word, Ordering::Release);
}

/// The commit word: what it promises is seen by who reads it here.
pub(crate) fn promised(commit: &AtomicU64) -> u64 {
    commit.load(Ordering::Acquire) // pairs with Release in `commit`
}
