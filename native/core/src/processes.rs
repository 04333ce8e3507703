//! Which processes were met, and what was told of each last: a word for each place of the
//! VM's table of processes, for whoever is there now. It takes eight bytes for each process
//! that lives, in memory that the kernel gives as it is used, and is never searched.

use crate::sync::{AtomicU64, Ordering};

/// Places at most: with more, processes of two places share one, and count as met or told
/// more than once.
const MOST: u64 = 1 << 22;
/// What was told of a process is told again after so many times that it was the same: what is
/// in the file is overwritten in the end by what comes after.
const AGAIN: u64 = 30;
/// Says that there is somebody.
const THERE: u64 = 1 << 63;
/// Bits for how often it was the same, below those of what was told.
const TIMES_BITS: u32 = 5;

/// Processes by place: which was met there last, what was told of it, and how often.
#[derive(Debug)]
pub(crate) struct Processes {
    words: Box<[AtomicU64]>,
    bits: u32,
}

impl Processes {
    /// Nobody was met; the VM's table has so many places, a power of two.
    pub(crate) fn new(places: u64) -> Processes {
        let places = places.clamp(64, MOST).next_power_of_two();
        Processes { words: (0..places).map(|_| AtomicU64::new(0)).collect(), bits: places.ilog2() }
    }

    /// The word of the process's place, and who it is in its upper half.
    fn place(&self, process: u64) -> (Option<&AtomicU64>, u64) {
        // The VM gives places out eight apart: those in use are to lie together.
        let place = process & ((1 << self.bits) - 1);
        let near = place >> 3 | (place & 7) << (self.bits - 3);
        (self.words.get(near as usize), THERE | (process >> self.bits) << 32 & !THERE)
    }

    /// Is it the first time that this process is met? For any number of threads: exactly one
    /// of them is told so.
    #[inline]
    pub(crate) fn is_first(&self, process: u64) -> bool {
        let (Some(word), who) = self.place(process) else { return false };
        let seen = word.load(Ordering::Relaxed);
        // Relaxed: the word guards nothing but itself.
        seen >> 32 != who >> 32 && word.compare_exchange(seen, who, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Was anything told of this process?
    pub(crate) fn is_known(&self, process: u64) -> bool {
        let (word, who) = self.place(process);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> 32 == who >> 32)
    }

    /// Is what is to be told of the process, by a hash of it, other than what was told last,
    /// or is it time to tell it again? From then on it was told.
    pub(crate) fn is_news(&self, process: u64, hash: u64) -> bool {
        let (Some(word), who) = self.place(process) else { return true };
        let told = who | hash << TIMES_BITS & u64::from(u32::MAX);
        let seen = word.load(Ordering::Relaxed);
        let times = seen.wrapping_sub(told);
        let is_news = times >= AGAIN;
        word.store(if is_news { told } else { seen + 1 }, Ordering::Relaxed);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_process_is_met_once_and_one_that_takes_its_place_too() {
        let processes = Processes::new(1 << 10);
        let all = |range: std::ops::Range<u64>| range.filter(|process| processes.is_first(*process)).count();
        assert_eq!((all(0..1024), all(0..1024)), (1024, 0));
        assert_eq!((all(1024..1500), all(0..1500)), (476, 476 + 476), "who was there before is forgotten");
    }

    #[test]
    fn of_many_threads_one_meets_a_process_first() {
        let processes = Processes::new(1 << 12);
        let first = || (0..4096).filter(|process| processes.is_first(*process)).count();
        let met: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(first)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(met, 4096);
    }

    #[test]
    fn what_was_told_is_told_when_it_changes_and_now_and_then() {
        let processes = Processes::new(1 << 18);
        assert!(!processes.is_known(5));
        assert!(processes.is_news(5, 0) && processes.is_known(5));
        assert!(!processes.is_known(5 + (1 << 18)), "another that has its place");
        assert!((0..AGAIN).all(|_| !processes.is_news(5, 0)));
        assert!(processes.is_news(5, 0) && !processes.is_news(5, 0));
        assert!(processes.is_news(5, 1) && processes.is_news(5, 1 << 26) && processes.is_news(5, 0));
        assert!(processes.is_news(5 + (1 << 18), 0) && processes.is_news(5, 0));
    }

    #[test]
    fn processes_of_a_vm_lie_together() {
        let processes = Processes::new(1 << 20);
        // The numbers that OTP 26 and later give out one after the other.
        let pid = |n: u64| (n << 3 & 0xf_ffff) | n >> 17;
        (0..200_000).for_each(|n| assert!(processes.is_first(pid(n))));
        let used = |page: &[AtomicU64]| page.iter().any(|word| word.load(Ordering::Relaxed) != 0);
        assert!(processes.words.chunks(512).filter(|page| used(page)).count() <= 200_000 / 512 + 1);
    }
}
