//! Work in small pieces, with pauses between them.
//!
//! A thread of ours may need the processor that one of the VM's schedulers is on. The
//! scheduler then stands still for as long as the kernel lets us go on, milliseconds on
//! most machines, whatever our priority is: even one that is `SCHED_IDLE` keeps a
//! processor until the next tick of the kernel's clock. So who has much to do stops by
//! itself after much less than the 100 us that a scheduler may be kept waiting, and
//! sleeps: the processor is the scheduler's again at once.
//!
//! Where all processors are busy, schedulers still see gaps of more than 100 us that they do
//! not see without copies made back to back. Traced (`benches/stalls_who`, system calls and
//! page allocations beside it), two thirds were single pieces of ours; of those over 80 us
//! more than half stood still where the kernel takes a new page for the copy, on a machine
//! whose host takes free memory back; one in eight while it ran plain code of ours. So copies
//! go past the page cache where they can (`copy_file`).

use std::time::{Duration, Instant};

/// Work between two pauses. With pieces of 30 us a scheduler still saw 27 gaps of more than
/// 100 us a second that it did not see without: to change threads twice, with the caches
/// that this costs, takes as long as the piece.
const PIECE: Duration = Duration::from_micros(15);
/// How long to sleep when nothing is in a hurry: a fifth of one processor's time is taken.
const REST: Duration = Duration::from_micros(75);
/// The same in a hurry: half of it.
const SHORT_REST: Duration = Duration::from_micros(20);
/// Timers of the thread may be late by so much; the kernel's own choice is 50 us.
const SLACK_NS: libc::c_ulong = 5_000;

/// Bytes that are copied, written or summed up in one step, in 1 to 3 us.
pub(crate) const BYTES_OF_STEP: usize = 4 * 1024;

/// The pieces of one thread's work.
#[derive(Debug)]
pub(crate) struct Pace {
    began: Instant,
    rest: Duration,
}

impl Pace {
    /// The calling thread begins to work.
    pub(crate) fn begin() -> Pace {
        // SAFETY: concerns the timers of the calling thread; no memory is involved.
        unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) };
        Pace { began: Instant::now(), rest: REST }
    }

    /// Does what is left to do not wait?
    pub(crate) fn hurry(&mut self, hurries: bool) {
        self.rest = if hurries { SHORT_REST } else { REST };
    }

    /// Is it so now?
    pub(crate) fn hurries(&self) -> bool {
        self.rest == SHORT_REST
    }

    /// Called after each step: sleeps when a piece is done.
    pub(crate) fn step(&mut self) {
        if self.began.elapsed() >= PIECE {
            self.rest();
        }
    }

    /// Called before a step that takes long itself.
    pub(crate) fn rest(&mut self) {
        std::thread::sleep(self.rest);
        self.began = Instant::now();
    }

    /// The CRC-32 of much.
    pub(crate) fn checksum(&mut self, bytes: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        for part in bytes.chunks(BYTES_OF_STEP) {
            crc.update(part);
            self.step();
        }
        crc.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_that_is_done_is_followed_by_a_rest() {
        let mut pace = Pace::begin();
        let began = pace.began;
        while began.elapsed() < PIECE {}
        pace.step();
        assert!(pace.began >= began + PIECE + REST);
    }

    #[test]
    fn the_checksum_does_not_depend_on_its_parts() {
        let bytes: Vec<u8> = (0..3 * BYTES_OF_STEP + 5).map(|n| (n % 251) as u8).collect();
        assert_eq!(Pace::begin().checksum(&bytes), crc32fast::hash(&bytes));
        assert_eq!(Pace::begin().checksum(&[]), 0);
    }
}
