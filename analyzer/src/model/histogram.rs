//! Durations of calls: HdrHistogram with 3 significant digits, 1 ns to 1 day.
//!
//! Durations are gathered until there are enough of them to be worth a histogram,
//! and then entered into it together: most functions of a recording are called a
//! few times only, and the buckets of the others do not all fit into a cache. They are
//! counted in HdrHistogram's buckets, but only those octaves exist that have any.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

/// The longest duration told apart from longer ones.
pub const LONGEST_NS: u64 = 86_400_000_000_000;
const DIGITS: u8 = 3;
/// So many are gathered; a histogram takes as much memory, or more.
const FEW: usize = 256;

/// Durations.
#[derive(Debug, Clone, Default)]
pub struct Durations {
    /// Those that are not entered yet.
    recent: Vec<u64>,
    entered: Option<Box<Counts>>,
    /// Of those that were entered.
    sum: u64,
    max: u64,
}

/// The points of a distribution that tables show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
pub struct Percentiles {
    /// The median.
    pub p50_ns: u64,
    /// 90 of 100 took no longer.
    pub p90_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// 999 of 1000 took no longer.
    pub p999_ns: u64,
    /// The longest, exactly.
    pub max_ns: u64,
}

impl Durations {
    /// Adds one.
    #[inline]
    pub fn record(&mut self, ns: u64) {
        if self.recent.len() >= FEW {
            self.enter();
        }
        self.recent.push(ns);
    }

    #[inline(never)]
    fn enter(&mut self) {
        (self.sum, self.max) = (self.sum_ns(), self.max_ns());
        let entered = self.entered.get_or_insert_default();
        self.recent.drain(..).for_each(|ns| entered.record(ns));
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.entered.as_ref().map_or(0, |entered| entered.len) + self.recent.len() as u64
    }

    /// Their sum.
    pub fn sum_ns(&self) -> u64 {
        self.recent.iter().fold(self.sum, |sum, ns| sum.saturating_add(*ns))
    }

    /// The longest, exactly.
    pub fn max_ns(&self) -> u64 {
        self.recent.iter().fold(self.max, |max, ns| max.max(*ns))
    }

    /// As a histogram of 3 significant digits.
    pub fn histogram(&self) -> Histogram<u64> {
        let mut histogram = of(&self.recent);
        self.entered.iter().flat_map(|entered| entered.iter()).for_each(|(ns, n)| record(&mut histogram, ns, n));
        histogram
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Durations) {
        if let Some(theirs) = &other.entered {
            match &mut self.entered {
                None => self.entered = Some(theirs.clone()),
                Some(ours) => theirs.iter().for_each(|(ns, n)| ours.add(ns, n)),
            }
            self.sum = self.sum.saturating_add(other.sum);
            self.max = self.max.max(other.max);
        }
        other.recent.iter().for_each(|ns| self.record(*ns));
    }

    /// The distribution; `None` when there are no durations.
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.count() == 0 {
            return None;
        }
        let max_ns = self.max_ns();
        if self.entered.is_none() {
            return Some(few_percentiles(self.recent.clone(), max_ns));
        }
        let histogram = self.histogram();
        // The histogram answers the upper end of a bucket; nothing took longer
        // than the longest.
        let at = |quantile| histogram.value_at_quantile(quantile).min(max_ns);
        Some(Percentiles { p50_ns: at(0.5), p90_ns: at(0.9), p99_ns: at(0.99), p999_ns: at(0.999), max_ns })
    }
}

/// Buckets to an octave: half of those that HdrHistogram needs for 3 digits.
const SLOTS: usize = 1 << 10;
/// Durations below 1024 ns are the first octave.
const OCTAVES: usize = LONGEST_NS.ilog2() as usize - 8;

/// HdrHistogram's counts, without the octaves that have none.
#[derive(Debug, Clone)]
struct Counts {
    octaves: [Option<Box<[u32; SLOTS]>>; OCTAVES],
    /// Counts of which an octave has no more than the rest.
    carried: BTreeMap<(usize, usize), u64>,
    len: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Counts { octaves: [const { None }; OCTAVES], carried: BTreeMap::new(), len: 0 }
    }
}

impl Counts {
    #[inline]
    fn record(&mut self, ns: u64) {
        self.add(ns.clamp(1, LONGEST_NS), 1);
    }

    /// So many of the same.
    #[inline]
    fn add(&mut self, ns: u64, n: u64) {
        let octave = (ns | (SLOTS as u64 - 1)).ilog2() as usize - 9;
        let slot = (ns >> octave.saturating_sub(1)) as usize % SLOTS;
        self.len += n;
        let count = &mut self.octaves[octave].get_or_insert_with(|| Box::new([0; SLOTS]))[slot];
        match u32::try_from(u64::from(*count) + n) {
            Ok(sum) => *count = sum,
            Err(_) => {
                *self.carried.entry((octave, slot)).or_default() += u64::from(*count) + n;
                *count = 0;
            }
        }
    }

    /// The least duration of each bucket that has any, and how many.
    fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.octaves.iter().enumerate().flat_map(move |(octave, counts)| {
            let slots = counts.iter().flat_map(|counts| counts.iter().enumerate());
            slots.filter_map(move |(slot, n)| {
                let n = u64::from(*n) + self.carried.get(&(octave, slot)).copied().unwrap_or(0);
                let least = if octave == 0 { slot as u64 } else { ((slot + SLOTS) as u64) << (octave - 1) };
                (n > 0).then_some((least, n))
            })
        })
    }
}

/// What a histogram of them would answer, without making one: a hundred thousand rows
/// may have a few durations each.
fn few_percentiles(mut values: Vec<u64>, max_ns: u64) -> Percentiles {
    values.sort_unstable();
    let at = |quantile: f64| {
        let rank = ((quantile * values.len() as f64).ceil() as usize).clamp(1, values.len().max(1));
        values.get(rank - 1).map_or(0, |ns| last_alike(*ns)).min(max_ns)
    };
    Percentiles { p50_ns: at(0.5), p90_ns: at(0.9), p99_ns: at(0.99), p999_ns: at(0.999), max_ns }
}

/// The largest of the durations that a histogram does not tell from this one.
fn last_alike(ns: u64) -> u64 {
    let ns = ns.clamp(1, LONGEST_NS);
    let shift = ns.ilog2().saturating_sub(10);
    (((ns >> shift) + 1) << shift) - 1
}

fn of(values: &[u64]) -> Histogram<u64> {
    let mut histogram = Histogram::new(DIGITS).expect("3 digits are a valid precision");
    histogram.auto(true);
    values.iter().for_each(|ns| record(&mut histogram, *ns, 1));
    histogram
}

fn record(histogram: &mut Histogram<u64>, ns: u64, n: u64) {
    // It grows by itself, so that no value is out of its range.
    histogram.record_n(ns.clamp(1, LONGEST_NS), n).expect("a histogram that grows takes any value");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_three_digits() {
        let mut durations = Durations::default();
        assert_eq!(durations.percentiles(), None);
        for ns in 1..=100_000_u64 {
            durations.record(ns * 1_000);
        }
        let p = durations.percentiles().expect("there are some");
        for (got, want) in [(p.p50_ns, 50_000_000), (p.p90_ns, 90_000_000), (p.p99_ns, 99_000_000)] {
            assert!(got.abs_diff(want) * 1_000 <= want, "{got} {want}");
        }
        assert_eq!((p.max_ns, durations.count()), (100_000_000, 100_000));
    }

    #[test]
    fn few_and_many_agree() {
        let (mut few, mut all) = (Durations::default(), Vec::new());
        for n in 0..FEW as u64 {
            few.record(n * n * 977 + 3);
            all.push(n * n * 977 + 3);
        }
        let direct = of(&all);
        let p = few.percentiles().expect("there are some");
        assert_eq!(p.p99_ns, direct.value_at_quantile(0.99));
        for n in 1..=FEW {
            let (mut some, values) = (Durations::default(), &all[FEW - n..]);
            values.iter().for_each(|ns| some.record(*ns));
            let (got, want) = (some.percentiles().expect("there are some"), of(values));
            let points = [(0.5, got.p50_ns), (0.9, got.p90_ns), (0.99, got.p99_ns), (0.999, got.p999_ns)];
            points.iter().for_each(|(q, ns)| assert_eq!(*ns, want.value_at_quantile(*q).min(got.max_ns), "{n} {q}"));
        }
        few.record(5);
        assert_eq!(few.count(), FEW as u64 + 1);
        assert!(few.entered.is_some());
    }

    #[test]
    fn what_is_entered_is_in_the_buckets_of_hdr_histogram() {
        let (mut durations, mut all, mut random) = (Durations::default(), Vec::new(), 1_u64);
        for _ in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            all.push(random >> (17 + random % 47));
        }
        all.iter().for_each(|ns| durations.record(*ns));
        let mut twice = durations.clone();
        twice.add(&durations);
        let (got, want) = (durations.histogram(), of(&all));
        assert_eq!((got.len(), got.min(), got.max()), (want.len(), want.min(), want.max()));
        for (got, want) in got.iter_recorded().zip(want.iter_recorded()) {
            assert_eq!(got, want);
        }
        for (once, twice) in want.iter_recorded().zip(twice.histogram().iter_recorded()) {
            let (value, n) = (twice.value_iterated_to(), twice.count_at_value());
            assert_eq!((value, n), (once.value_iterated_to(), 2 * once.count_at_value()));
        }
    }

    #[test]
    fn a_bucket_counts_beyond_32_bits() {
        let mut counts = Counts::default();
        counts.add(5_000, u64::from(u32::MAX));
        counts.record(5_000);
        counts.record(5_001);
        assert_eq!((counts.len, counts.iter().collect::<Vec<_>>()), (1 << 32 | 1, vec![(5_000, 1 << 32 | 1)]));
    }

    #[test]
    fn a_week_counts_as_a_day() {
        let mut durations = Durations::default();
        (0..=FEW).for_each(|_| durations.record(7 * LONGEST_NS));
        let p = durations.percentiles().expect("there are some");
        assert!(p.p50_ns >= LONGEST_NS);
        assert_eq!(p.max_ns, 7 * LONGEST_NS);
    }
}
