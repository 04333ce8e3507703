//! What the system says of the calling thread: did it run, and if not, why.

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt;

thread_local! {
    /// The schedstat files that this thread has asked for, by thread; its own is 0.
    static OPEN: RefCell<Vec<(i64, File)>> = const { RefCell::new(Vec::new()) };
}

/// Of the calling thread: nanoseconds that it was ready and waited for a processor; page
/// faults that needed no disk, and those that did; how often it gave its processor up
/// itself (to sleep, or for a lock), and how often that was taken. The last two:
/// nanoseconds that the first of the threads of this process named by `tids` ran, and
/// that all others ran together.
pub(crate) fn now(mut tids: impl Iterator<Item = i64>) -> [i64; 7] {
    let waited = schedstat(0).1;
    let first = tids.next().map_or(0, |tid| schedstat(tid).0);
    let others = tids.map(|tid| schedstat(tid).0).sum();
    // SAFETY: rusage is plain data, for which all zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: a rusage of our own.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    [waited, usage.ru_minflt, usage.ru_majflt, usage.ru_nvcsw, usage.ru_nivcsw, first, others]
}

/// Nanoseconds that a thread ran and waited; 0 for one that is gone.
fn schedstat(tid: i64) -> (i64, i64) {
    OPEN.with_borrow_mut(|open| {
        let place = open.iter().position(|(of, _)| *of == tid).or_else(|| {
            let path = if tid == 0 {
                "/proc/thread-self/schedstat".into()
            } else {
                format!("/proc/self/task/{tid}/schedstat")
            };
            open.push((tid, File::open(path).ok()?));
            Some(open.len() - 1)
        });
        let mut text = [0; 64];
        let read = place.and_then(|place| open.get(place)?.1.read_at(&mut text, 0).ok()).unwrap_or(0);
        let mut numbers = text[..read]
            .split(|c| *c == b' ')
            .map(|digits| digits.iter().fold(0, |number, digit| number * 10 + i64::from(digit.wrapping_sub(b'0'))));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
    })
}
