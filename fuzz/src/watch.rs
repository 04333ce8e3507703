//! Watches single runs: how much memory each takes, and how much time of a processor.
//!
//! Memory is what is allocated, to the byte. Time is that of the processor: a run that
//! waits for its turn, or is stopped by somebody, is not a hang.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Once;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering::Relaxed};

/// More than this is a finding: what the analyzer may take for a file of any size.
pub const MOST_BYTES: usize = 256 << 20;
/// As is more time than this.
pub const MOST_SECONDS: u64 = 5;
/// What is allocated, or how often, guides the fuzzer up to here.
const WORTH: usize = 1 << 20;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

/// What libFuzzer counts as covered beside the edges taken: how much a command allocated,
/// and how often, roughly.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static FEATURES: [AtomicU8; 1 << 14] = [const { AtomicU8::new(0) }; 1 << 14];

fn count(bytes: usize) {
    ALLOCATIONS.fetch_add(1, Relaxed);
    let live = LIVE.fetch_add(bytes, Relaxed).wrapping_add(bytes);
    if live > PEAK.load(Relaxed) {
        PEAK.store(live, Relaxed);
        if live > MOST_BYTES {
            fail(b"spoor-fuzz: too much memory\n");
        }
    }
}

// SAFETY: all is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes);
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

/// Runs begun.
static RUNS: AtomicU64 = AtomicU64::new(0);
/// The run that the last ticks were in, and how many.
static TICKING: AtomicU64 = AtomicU64::new(0);
static TICKS: AtomicU64 = AtomicU64::new(0);
/// 1 while a run goes on.
static RUNNING: AtomicU64 = AtomicU64::new(0);
static SLOWEST_NS: AtomicU64 = AtomicU64::new(0);
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// Ends the process as a panic would: libFuzzer keeps the input. Allocates nothing,
/// and may be called by a signal's handler.
fn fail(why: &[u8]) -> ! {
    // SAFETY: the bytes live as long as the call.
    unsafe { libc::write(2, why.as_ptr().cast(), why.len()) };
    // SAFETY: may be called anywhere.
    unsafe { libc::abort() }
}

/// After each second of processor time.
extern "C" fn second(_: libc::c_int) {
    let run = RUNS.load(Relaxed);
    let same = RUNNING.load(Relaxed) == 1 && TICKING.swap(run, Relaxed) == run;
    let ticks = if same { TICKS.fetch_add(1, Relaxed) + 1 } else { TICKS.swap(0, Relaxed) };
    if same && ticks >= MOST_SECONDS {
        fail(b"spoor-fuzz: a run takes too long\n");
    }
}

fn start() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let each = libc::timeval { tv_sec: 1, tv_usec: 0 };
        let timer = libc::itimerval { it_interval: each, it_value: each };
        // SAFETY: all zeroes are a good value of it.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = second as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = libc::SA_RESTART;
        // SAFETY: the handler does what handlers may.
        unsafe { libc::sigaction(libc::SIGPROF, &action, std::ptr::null_mut()) };
        // SAFETY: the timer lives as long as the call.
        unsafe { libc::setitimer(libc::ITIMER_PROF, &timer, std::ptr::null_mut()) };
        stack_for_handlers();
    });
}

/// A stack that has overflown is a finding too: libFuzzer's handler, which keeps the
/// input, needs another one.
fn stack_for_handlers() {
    const BYTES: usize = 1 << 20;
    let space = Box::leak(vec![0_u8; BYTES].into_boxed_slice());
    let stack = libc::stack_t { ss_sp: space.as_mut_ptr().cast(), ss_flags: 0, ss_size: BYTES };
    // SAFETY: the space is never given back.
    unsafe { libc::sigaltstack(&stack, std::ptr::null_mut()) };
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: all zeroes are a good value of it.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        // SAFETY: the action lives as long as the call.
        unsafe { libc::sigaction(signal, std::ptr::null(), &mut action) };
        action.sa_flags |= libc::SA_ONSTACK;
        // SAFETY: the handler is the one that there was.
        unsafe { libc::sigaction(signal, &action, std::ptr::null_mut()) };
    }
}

fn processor_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the place lives as long as the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A run under watch. The slowest and the largest are told in the file that the
/// environment's `SPOOR_FUZZ_STATS` names.
///
/// `which` tells the kinds of runs apart, of which there may be 64.
pub fn run(which: usize, work: impl FnOnce()) {
    start();
    RUNS.fetch_add(1, Relaxed);
    let (live, allocations, began) = (LIVE.load(Relaxed), ALLOCATIONS.load(Relaxed), processor_ns());
    PEAK.store(live, Relaxed);
    RUNNING.store(1, Relaxed);
    #[cfg(feature = "planted")]
    crate::planted::fault(RUNS.load(Relaxed));
    work();
    RUNNING.store(0, Relaxed);
    let (took, bytes) = (processor_ns() - began, PEAK.load(Relaxed).saturating_sub(live));
    for (place, amount) in [bytes, ALLOCATIONS.load(Relaxed) - allocations].into_iter().enumerate() {
        let feature = which % 64 * 256 + place * 128 + rough(amount);
        FEATURES[feature].store(1, Relaxed);
    }
    let slower = SLOWEST_NS.fetch_max(took, Relaxed) < took;
    let larger = LARGEST.fetch_max(bytes, Relaxed) < bytes;
    if slower || larger {
        tell();
    }
}

/// A number below 128: which of the four quarters of which power of two. More than
/// [`WORTH`] is not told apart: inputs that are slow for nothing would be kept.
fn rough(amount: usize) -> usize {
    let amount = amount.clamp(4, WORTH);
    let power = amount.ilog2() as usize;
    power * 4 | (amount >> (power - 2) & 3)
}

fn tell() {
    let Ok(path) = std::env::var("SPOOR_FUZZ_STATS") else { return };
    let mut line = String::new();
    let (ns, bytes) = (SLOWEST_NS.load(Relaxed), LARGEST.load(Relaxed));
    let _ = writeln!(line, "slowest_run_us {} largest_run_kib {}", ns / 1000, bytes / 1024);
    let _ = std::fs::File::create(path).and_then(|mut file| file.write_all(line.as_bytes()));
}
