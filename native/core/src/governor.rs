//! How much of what the VM offers a recording takes: the limits that thin it,
//! shared by its lanes. What a lane needs for itself is in [`crate::governed`].
//!
//! Rates are counted in [`crate::windows`] from the start of tracing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use spoor_format::Full;
use spoor_format::lane::Cause;
use spoor_format::record::write;
use spoor_format::term::{RawTerm, TermWriter};

use crate::clock;
use crate::functions::Functions;
use crate::limits::Limit;
use crate::missing::MissingCalls;
use crate::processes::Processes;
use crate::stream::{MAX_ATOM_BYTES, Names, Stream};
use crate::windows::Windows;

/// Time in which a share of a thread's time is counted.
const COST_WINDOW: Duration = Duration::from_millis(10);
/// What refusing an event takes beside reading the clock: two callbacks, as `perf` saw them.
const REFUSAL_BESIDE_CLOCK: Duration = Duration::from_nanos(20);
/// Spreads a word over the high bits (Fibonacci hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// So many in each stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events, at most 2^32 - 1; at least 1.
    pub events: u32,
    /// The stretch.
    pub per: Duration,
}

/// What thins a recording; by default nothing does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Thinning {
    /// Events of all kinds.
    pub rate: Option<Rate>,
    /// Calls of each function.
    pub function_rate: Option<Rate>,
    /// Records one process in so many; 0 and 1 for all.
    pub sample: u32,
    /// Processes that are left out may be taken off tracing for good.
    pub sample_removes: bool,
    /// Parts in a million of a thread's time that the recorder may take; 0 for all.
    pub max_cost_ppm: u32,
    /// More than `rate`, `function_rate` or `max_cost` allow ends the recording.
    pub overload_stops: bool,
}

impl Thinning {
    /// Does it thin anything?
    pub fn is_none(&self) -> bool {
        self.rate.is_none() && self.function_rate.is_none() && self.sample < 2 && self.max_cost_ppm == 0
    }
}

/// Whose event it is and what it does to a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The process or port: twice its number for a process, any odd number that is its own for a
    /// port; `None` for nobody.
    pub tracee: Option<u64>,
    /// What it does.
    pub flow: Flow,
}

/// What an event does to the stack of its process. Functions are numbers of
/// [`function_key`], 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// The function is called.
    Call(u64),
    /// The process goes on in the function.
    Resume(u64),
    /// The function is left.
    Leave(u64),
    /// The process ends.
    Exit,
    /// Nothing.
    Other,
}

/// A number for a function: its own, as long as the VM has less than 2^27 atoms.
#[inline]
pub fn function_key((module, name, arity): (u64, u64, u64)) -> u64 {
    // The words of atoms have six bits of tag.
    1 << 63 | (module >> 6) << 36 | ((name >> 6) & 0xfff_ffff) << 8 | (arity & 0xff)
}

/// Spreads a number over 64 bits.
#[inline]
pub(crate) fn spread(word: u64) -> u64 {
    let word = (word ^ word >> 32).wrapping_mul(SPREAD);
    word ^ word >> 29
}

/// A time as ticks, at least one.
fn ticks(time: Duration, tick_hz: u64) -> u64 {
    let ticks = time.as_nanos() * u128::from(tick_hz) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
}

/// How long a cause has been dropping events.
#[derive(Debug, Default)]
struct Span {
    /// Tick of the first, 0 for none.
    first: AtomicU64,
    /// Tick of the last, to within a millisecond.
    last: AtomicU64,
}

/// The limits of a recording that thin it.
#[derive(Debug)]
pub(crate) struct Governor {
    thinning: Thinning,
    tick_hz: u64,
    /// Windows are counted from this tick.
    start: AtomicU64,
    rate: Option<(Windows, AtomicU64)>,
    function_rate: Option<(Windows, Functions)>,
    /// Which calls were left out of whom.
    pub(crate) missing: Option<MissingCalls>,
    /// Which processes are in the sample differs from recording to recording.
    seed: u64,
    /// Those that were counted in or out of it.
    counted: Option<Processes>,
    pub(crate) cost: Option<Cost>,
    spans: [Span; CAUSES.len()],
}

/// What a thread may spend.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) window_ticks: u64,
    pub(crate) most_ticks: u64,
    /// What reading the clock takes: an estimate of what is not measured.
    pub(crate) clock_ticks: u64,
    /// What it takes to refuse an event, the question before it included: an estimate.
    pub(crate) refusal_ticks: u64,
}

/// The causes for which events are dropped. What a sample leaves out is no event: the VM is told
/// to make none, and how many there would have been nobody knows. Its processes are counted.
pub(crate) const CAUSES: [Cause; 3] = [Cause::Rate, Cause::FunctionRate, Cause::MaxCost];

/// Whom a recording of a sample has met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Processes that it records.
    pub recorded: u64,
    /// All, those that it leaves out among them.
    pub processes: u64,
}

/// When and how much a recording was thinned for one cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thinned {
    /// Why.
    pub cause: Cause,
    /// Events offered and not stored.
    pub events: u64,
    /// From the start of tracing to the first of them.
    pub first: Duration,
    /// And to the last, to within a millisecond.
    pub last: Duration,
}

impl Governor {
    /// For a VM with so many places for processes.
    pub(crate) fn new(thinning: Thinning, tick_hz: u64, places: u64) -> Governor {
        let windows = |rate: Rate| Windows::new(rate.events, ticks(rate.per, tick_hz));
        let now = clock::now();
        Governor {
            tick_hz,
            start: AtomicU64::new(now),
            rate: thinning.rate.map(|rate| (windows(rate), AtomicU64::new(0))),
            function_rate: thinning.function_rate.map(|rate| (windows(rate), Functions::new())),
            missing: thinning.function_rate.map(|_| MissingCalls::new()),
            seed: spread(now),
            counted: (thinning.sample > 1).then(|| Processes::new(places)),
            cost: (thinning.max_cost_ppm > 0).then(|| Cost::new(thinning.max_cost_ppm, tick_hz)),
            spans: Default::default(),
            thinning,
        }
    }

    /// Tracing begins: windows are counted from now on.
    pub(crate) fn start_time(&self) {
        self.start.store(clock::now(), Ordering::Relaxed);
    }

    #[inline]
    fn since_start(&self, tick: u64) -> u64 {
        tick.saturating_sub(self.start.load(Ordering::Relaxed))
    }

    /// When it was dropped last is noted to within so many ticks.
    pub(crate) fn noted_each(&self) -> u64 {
        self.tick_hz / 1000
    }

    /// Is the process left out? Always the same answer for the same process.
    #[inline]
    pub(crate) fn leaves_out(&self, tracee: Option<u64>) -> bool {
        let Some(tracee) = tracee.filter(|_| self.thinning.sample > 1) else { return false };
        // The multiplication alone spreads pids, which are counted up, most evenly.
        let place = (tracee ^ self.seed).wrapping_mul(SPREAD);
        (u128::from(place) * u128::from(self.thinning.sample)) >> 64 != 0
    }

    /// Is it to be counted whether the process is in the sample? Once for each.
    #[inline]
    pub(crate) fn is_to_count(&self, tracee: Option<u64>) -> bool {
        let (Some(counted), Some(tracee)) = (&self.counted, tracee) else { return false };
        tracee % 2 == 0 && counted.is_first(tracee / 2)
    }

    /// Are processes counted in and out of a sample?
    pub(crate) fn is_sample(&self) -> bool {
        self.counted.is_some()
    }

    /// May processes that are left out be taken off tracing?
    pub(crate) fn removes(&self) -> bool {
        self.thinning.sample_removes
    }

    /// Takes one of what may still be recorded now.
    #[inline]
    pub(crate) fn take(&self, tick: u64) -> bool {
        let Some((windows, word)) = &self.rate else { return true };
        windows.take(word, windows.number(self.since_start(tick)))
    }

    /// Ticks for which nothing more may be recorded.
    #[inline]
    pub(crate) fn used_up(&self, tick: u64) -> Option<u64> {
        let (windows, word) = self.rate.as_ref()?;
        let since = self.since_start(tick);
        windows.is_used_up(word, windows.number(since)).then(|| windows.left(since))
    }

    /// May the rate be used up? Needs no clock.
    #[inline]
    pub(crate) fn may_be_used_up(&self) -> bool {
        self.rate.as_ref().is_some_and(|(windows, word)| windows.may_be_used_up(word))
    }

    /// Takes one of the calls of a function that may still be recorded now.
    #[inline]
    pub(crate) fn take_call(&self, function: u64, tick: u64) -> bool {
        let Some((windows, functions)) = &self.function_rate else { return true };
        windows.take(functions.word(function), windows.number(self.since_start(tick)))
    }

    /// The limit that more than allowed reaches, if that ends the recording.
    pub(crate) fn ends_with(&self, cause: Cause) -> Option<Limit> {
        let limit = match cause {
            Cause::Rate => Limit::Rate,
            Cause::FunctionRate => Limit::FunctionRate,
            Cause::MaxCost => Limit::MaxCost,
            _ => return None,
        };
        self.thinning.overload_stops.then_some(limit)
    }

    /// Notes when a cause drops events; true for the first of them.
    #[inline]
    pub(crate) fn note(&self, cause: Cause, tick: u64) -> bool {
        let Some(span) = CAUSES.iter().position(|known| *known == cause).and_then(|at| self.spans.get(at)) else {
            return false;
        };
        // Stored at most once a millisecond, so that threads do not fight for it.
        if tick.saturating_sub(span.last.load(Ordering::Relaxed)) <= self.noted_each() {
            return false;
        }
        span.last.store(tick, Ordering::Relaxed);
        let first = span.first.load(Ordering::Relaxed) == 0;
        first && span.first.compare_exchange(0, tick, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Causes that have dropped events, with the first and last tick.
    pub(crate) fn dropping(&self) -> impl Iterator<Item = (Cause, u64, u64)> {
        let spans = CAUSES.into_iter().zip(&self.spans);
        spans
            .map(|(cause, span)| (cause, span.first.load(Ordering::Relaxed), span.last.load(Ordering::Relaxed)))
            .filter(|(_, first, _)| *first > 0)
    }

    /// What was thinned, and when; `dropped` counts events by cause.
    pub(crate) fn thinned(&self, dropped: &[u64]) -> Vec<Thinned> {
        let count = |cause: Cause| dropped.get(cause as usize).copied().unwrap_or(0);
        self.dropping()
            .map(|(cause, first, last)| Thinned {
                cause,
                events: count(cause),
                first: self.time(first),
                last: self.time(last),
            })
            .collect()
    }

    /// From the start of tracing to the tick.
    fn time(&self, tick: u64) -> Duration {
        let ns = u128::from(self.since_start(tick)) * 1_000_000_000 / u128::from(self.tick_hz.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

/// Writes a remark on what a cause leaves out.
pub(crate) fn remark(stream: &mut Stream, delta: u64, cause: Cause, text: &str) -> Result<(), Full> {
    let mut space = [0; 128];
    let mut detail = TermWriter::new(&mut space);
    detail.binary(8 * text.len() as u64, text.as_bytes());
    let used = detail.len();
    // No atom of the VM has such a word: their tags are not 0.
    let what = stream.atom((cause as u64) << 6, &CauseName(cause))?;
    write::note(stream, delta, what, RawTerm::trusted(&space[..used]))
}

impl Sampled {
    /// The remark at the end of a recording.
    pub(crate) fn text(self) -> String {
        format!("{} of {} processes are in the sample", self.recorded, self.processes)
    }
}

struct CauseName(Cause);

impl Names for CauseName {
    fn atom_text<'a>(&self, _: u64, _: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
        self.0.name()
    }
}

impl Thinned {
    /// The remark at the end of a recording.
    pub(crate) fn text(&self) -> String {
        let (first, last) = (self.first.as_secs_f64(), self.last.as_secs_f64());
        format!("{} events dropped, the first after {first:.3} s, the last after {last:.3} s", self.events)
    }
}

impl Cost {
    fn new(ppm: u32, tick_hz: u64) -> Cost {
        let window_ticks = ticks(COST_WINDOW, tick_hz);
        let most_ticks = u128::from(window_ticks) * u128::from(ppm) / 1_000_000;
        let read = || {
            let first = clock::now();
            clock::now().saturating_sub(first)
        };
        let clock_ticks = (0..32).map(|_| read()).min().unwrap_or(0).max(1);
        let refusal_ticks = clock_ticks + ticks(REFUSAL_BESIDE_CLOCK, tick_hz);
        Cost { window_ticks, most_ticks: most_ticks as u64, clock_ticks, refusal_ticks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::FUNCTIONS;

    const HZ: u64 = 1_000_000;

    fn governor(thinning: Thinning) -> Governor {
        clock::select();
        let governor = Governor::new(thinning, HZ, 1 << 10);
        governor.start.store(1000, Ordering::Relaxed);
        governor
    }

    fn rate(events: u32, ms: u64) -> Option<Rate> {
        Some(Rate { events, per: Duration::from_millis(ms) })
    }

    #[test]
    fn a_function_that_comes_late_has_its_rate_in_each_window() {
        // The numbers of windows of 1 ms come round again after 49.7 days.
        for (first, day) in
            [(None, 24), (None, 25), (None, 40), (None, 60), (Some(0), 30), (Some(3), 40), (Some(1), 90)]
        {
            let governor = governor(Thinning { function_rate: rate(2, 1), ..Thinning::default() });
            let at = |day: u64, ms: u64| 1000 + day * 86_400 * HZ + ms * 1000;
            let take = |tick| (0..5).filter(|_| governor.take_call(17, tick)).count();
            if let Some(first) = first {
                assert_eq!(take(at(first, 0)), 2);
            }
            let taken: Vec<usize> = (0..20).map(|ms| take(at(day, ms))).collect();
            assert_eq!(taken, [2; 20], "first called on day {first:?}, then on day {day}");
        }
    }

    #[test]
    fn each_window_holds_exactly_the_rate() {
        let governor = governor(Thinning { rate: rate(7, 10), ..Thinning::default() });
        let mut taken = std::collections::BTreeMap::<u64, u64>::new();
        for tick in (1000..101_000).step_by(13) {
            let used_up = governor.used_up(tick).is_some();
            let took = governor.take(tick);
            assert_eq!(took, !used_up);
            *taken.entry((tick - 1000) / 10_000).or_default() += u64::from(took);
        }
        assert_eq!(taken.into_values().collect::<Vec<_>>(), [7; 10]);
    }

    #[test]
    fn threads_together_take_exactly_the_rate() {
        let governor =
            governor(Thinning { rate: rate(10_000, 1000), function_rate: rate(99, 1000), ..Thinning::default() });
        let (total, calls) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..30_000_u64 {
                        total.fetch_add(u64::from(governor.take(1000 + n)), Ordering::Relaxed);
                        let function = function_key((64 * (n % 50), 64, 1));
                        calls.fetch_add(u64::from(governor.take_call(function, 1000 + n)), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!((total.into_inner(), calls.into_inner()), (10_000, 50 * 99));
    }

    #[test]
    fn functions_beyond_the_table_share_a_rate() {
        let governor = governor(Thinning { function_rate: rate(1, 1000), ..Thinning::default() });
        let taken = (0..200_000_u64).filter(|n| governor.take_call(function_key((64 * n, 64, 1)), 1000)).count();
        assert!((FUNCTIONS / 2..=FUNCTIONS + 1).contains(&taken), "{taken}");
        assert!((0..200_000_u64).all(|n| !governor.take_call(function_key((64 * n, 64, 1)), 1000)));
    }

    #[test]
    fn an_event_that_comes_late_for_its_window_counts_in_the_next() {
        let governor = governor(Thinning { rate: rate(2, 10), ..Thinning::default() });
        assert!(governor.take(11_500));
        assert!(governor.take(10_999), "it is late");
        assert!(!governor.take(11_600));
    }

    #[test]
    fn one_process_in_n_is_in_the_sample() {
        for sample in [2, 10, 100] {
            let governor = governor(Thinning { sample, ..Thinning::default() });
            for first in [0x88_u64, 1 << 40, 977] {
                let processes = 10_000 * u64::from(sample);
                let taken = (first..first + processes).filter(|pid| !governor.leaves_out(Some(*pid))).count();
                assert!((9_900..=10_100).contains(&taken), "1 in {sample}: {taken} of {processes}");
            }
            assert!(!governor.leaves_out(None));
        }
    }

    #[test]
    fn functions_have_numbers_of_their_own() {
        let atom = |index: u64| index << 6 | 0xb;
        let keys: std::collections::HashSet<u64> = (0..20_u64)
            .flat_map(|m| {
                (0..20).flat_map(move |n| [0, 1, 255].map(|arity| (atom(m << 20 | m), atom(n << 20 | n), arity)))
            })
            .map(function_key)
            .collect();
        assert_eq!(keys.len(), 20 * 20 * 3);
    }
}
