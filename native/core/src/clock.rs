//! The tick that stamps events, and what it says beside the system's clocks.
//!
//! The tick is the CPU's constant counter where it has one (16 ns to read), else
//! the monotonic clock (30 ns and more). Nothing is converted while recording:
//! the reader does it from the clock pairs.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spoor_format::clock::ClockPair;

const UNKNOWN: u8 = 0;
const COUNTER: u8 = 1;
const MONOTONIC: u8 = 2;

/// Which clock stamps events; decided once, before the first recording. Alone in its line of the
/// processor's cache, as every event reads it: 4 ns an event were seen where others stored beside.
static KIND: Alone = Alone(AtomicU8::new(UNKNOWN));

#[repr(align(64))]
struct Alone(AtomicU8);

/// Decides which clock stamps events, and names it.
pub fn select() -> &'static str {
    match decide(&KIND.0, has_constant_counter) {
        COUNTER => counter_name(),
        _ => "monotonic",
    }
}

/// What was decided first stays: a recording that is open goes on with its
/// clock, whatever a later look at the machine says (or fails to read).
fn decide(kind: &AtomicU8, is_constant: impl FnOnce() -> bool) -> u8 {
    let known = kind.load(Ordering::Relaxed);
    if known != UNKNOWN {
        return known;
    }
    let found = if is_constant() { COUNTER } else { MONOTONIC };
    match kind.compare_exchange(UNKNOWN, found, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => found,
        Err(first) => first,
    }
}

/// The tick now.
#[inline(always)]
pub fn now() -> u64 {
    if KIND.0.load(Ordering::Relaxed) == COUNTER { counter() } else { monotonic_ns() }
}

#[cfg(target_arch = "x86_64")]
mod arch {
    use core::arch::x86_64::{__cpuid, _rdtsc};

    pub(super) const NAME: &str = "tsc";

    #[inline(always)]
    pub(super) fn counter() -> u64 {
        // SAFETY: rdtsc exists on every x86-64 processor.
        unsafe { _rdtsc() }
    }

    /// The processor says that its counter runs at one rate in every state, and
    /// the kernel found no reason to distrust it between processors.
    pub(super) fn is_constant() -> bool {
        let invariant = __cpuid(0x8000_0000).eax >= 0x8000_0007 && __cpuid(0x8000_0007).edx & (1 << 8) != 0;
        let sources = "/sys/devices/system/clocksource/clocksource0/available_clocksource";
        // Where the kernel gave up on the counter, it is no longer offered. A
        // guest on a paravirtual clock does not list it but relies on it too.
        let offered = std::fs::read_to_string(sources).is_ok_and(|s| s.contains("tsc") || s.contains("kvm-clock"));
        invariant && offered
    }
}

#[cfg(target_arch = "aarch64")]
mod arch {
    pub(super) const NAME: &str = "cntvct";

    #[inline(always)]
    pub(super) fn counter() -> u64 {
        let count: u64;
        // SAFETY: reading the virtual counter has no effect but its result, and
        // Linux lets user space read it.
        unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack)) }
        count
    }

    /// The architecture promises one rate and one count for all processors.
    pub(super) fn is_constant() -> bool {
        true
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod arch {
    pub(super) const NAME: &str = "monotonic";

    pub(super) fn counter() -> u64 {
        super::monotonic_ns()
    }

    pub(super) fn is_constant() -> bool {
        false
    }
}

#[inline(always)]
fn counter() -> u64 {
    arch::counter()
}

fn counter_name() -> &'static str {
    arch::NAME
}

fn has_constant_counter() -> bool {
    arch::is_constant()
}

/// Nanoseconds of the system's monotonic clock. Out of the way of the counter.
#[cold]
#[inline(never)]
pub fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec of our own; the call only writes it.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// All three clocks at one moment: of a few tries the one least disturbed.
pub fn pair(seq: u64) -> ClockPair {
    let mut best = sample(seq);
    for _ in 0..4 {
        let next = sample(seq);
        if next.spread_ns < best.spread_ns {
            best = next;
        }
    }
    best
}

fn sample(seq: u64) -> ClockPair {
    let before = monotonic_ns();
    let first = now();
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let last = now();
    let after = monotonic_ns();
    ClockPair {
        seq,
        tick: first + last.saturating_sub(first) / 2,
        monotonic_ns: before + after.saturating_sub(before) / 2,
        wall_ns: wall.as_nanos() as u64,
        spread_ns: after.saturating_sub(before),
    }
}

/// Ticks a second, from two pairs at least a few milliseconds apart.
pub fn rate(from: &ClockPair, to: &ClockPair) -> u64 {
    let ns = to.monotonic_ns.saturating_sub(from.monotonic_ns).max(1);
    let ticks = to.tick.saturating_sub(from.tick);
    (u128::from(ticks) * 1_000_000_000 / u128::from(ns)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_decided_once() {
        let kind = AtomicU8::new(UNKNOWN);
        assert_eq!(decide(&kind, || true), COUNTER);
        assert_eq!(decide(&kind, || false), COUNTER, "an open recording counts on it");
        assert_eq!(kind.into_inner(), COUNTER);
    }

    #[test]
    fn the_tick_advances_at_its_rate() {
        select();
        let from = pair(1);
        std::thread::sleep(Duration::from_millis(20));
        let to = pair(2);
        assert!(to.tick > from.tick);
        assert!(rate(&from, &to) > 1_000_000, "{from:?} {to:?}");
    }
}
