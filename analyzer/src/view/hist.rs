//! A distribution of durations: bars, percentiles, and files for HDR tools.

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;
use schemars::JsonSchema;
use serde::Serialize;

use crate::model::histogram::Durations;
use crate::view::table::{self, Style};
use crate::view::units::{count, duration};

/// Characters of the longest bar.
const BAR: usize = 40;
/// The percentiles of the table, in thousandths of a percent.
const POINTS: [u32; 10] = [0, 50_000, 75_000, 90_000, 95_000, 99_000, 99_900, 99_990, 99_999, 100_000];

/// How many durations lie from one bound to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Bar {
    /// From here on.
    pub from_ns: u64,
    /// Up to, and not including.
    pub to_ns: u64,
    /// How many.
    pub calls: u64,
}

/// A percentile.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Point {
    /// In percent.
    pub percentile: f64,
    /// So much, or less.
    pub value_ns: u64,
    /// How many took no longer.
    pub calls: u64,
}

/// A distribution.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Distribution {
    /// Timed calls.
    pub timed: u64,
    /// The sum of their durations.
    pub total_ns: u64,
    /// The shortest, to 3 digits.
    pub min_ns: u64,
    /// Their mean.
    pub mean_ns: u64,
    /// Their standard deviation.
    pub deviation_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// Percentiles.
    pub percentiles: Vec<Point>,
    /// The bars, at 1, 2 and 5 of each decimal place.
    pub bars: Vec<Bar>,
}

/// The distribution of some durations.
pub fn distribution(durations: &Durations) -> Distribution {
    let histogram = durations.histogram();
    let percentiles = POINTS.iter().map(|thousandths| {
        let value = histogram.value_at_quantile(f64::from(*thousandths) / 100_000.0);
        let calls = if histogram.is_empty() { 0 } else { histogram.count_between(0, value) };
        Point { percentile: f64::from(*thousandths) / 1_000.0, value_ns: value.min(durations.max_ns()), calls }
    });
    Distribution {
        timed: durations.count(),
        total_ns: durations.sum_ns(),
        min_ns: if histogram.is_empty() { 0 } else { histogram.min() },
        mean_ns: durations.sum_ns().checked_div(durations.count()).unwrap_or(0),
        deviation_ns: if histogram.is_empty() { 0 } else { histogram.stdev().round() as u64 },
        max_ns: durations.max_ns(),
        percentiles: percentiles.collect(),
        bars: bars(&histogram),
    }
}

fn bars(histogram: &Histogram<u64>) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for value in histogram.iter_recorded() {
        let at = value.value_iterated_to();
        let (from, to) = bounds(at);
        match bars.last_mut().filter(|bar| bar.from_ns == from) {
            Some(bar) => bar.calls += value.count_at_value(),
            None => {
                // Bars without calls are bars too.
                while let Some(last) = bars.last().filter(|last| last.to_ns < from).map(|last| last.to_ns) {
                    let (from_ns, to_ns) = bounds(last);
                    bars.push(Bar { from_ns, to_ns, calls: 0 });
                }
                bars.push(Bar { from_ns: from, to_ns: to, calls: value.count_at_value() });
            }
        }
    }
    bars
}

/// The bar that a duration stands in.
fn bounds(ns: u64) -> (u64, u64) {
    let decade = 10_u64.pow(ns.max(1).ilog10());
    match ns.max(1) / decade {
        1 => (decade, 2 * decade),
        2..=4 => (2 * decade, 5 * decade),
        _ => (5 * decade, 10 * decade),
    }
}

/// As text.
pub fn text(distribution: &Distribution, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let most = distribution.bars.iter().map(|bar| bar.calls).max().unwrap_or(0).max(1);
    let bar = |bar: &Bar| {
        let eighths = (bar.calls as u128 * BAR as u128 * 8).div_ceil(u128::from(most)) as usize;
        let mut drawn = "█".repeat(eighths / 8);
        drawn.push_str(["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]);
        vec![duration(bar.from_ns), format!("to {}", duration(bar.to_ns)), count(bar.calls), drawn]
    };
    let rows = distribution.bars.iter().map(bar).collect();
    table::write(&[("FROM", true), ("", true), ("CALLS", true), ("", false)], rows, style, out)?;
    writeln!(out)?;
    let point = |point: &Point| vec![format!("{} %", point.percentile), duration(point.value_ns), count(point.calls)];
    let rows = distribution.percentiles.iter().map(point).collect();
    table::write(&[("PERCENTILE", true), ("TIME", true), ("CALLS UP TO IT", true)], rows, style, out)?;
    writeln!(
        out,
        "\n{} timed calls, {} in all, mean {}, standard deviation {}",
        count(distribution.timed),
        duration(distribution.total_ns),
        duration(distribution.mean_ns),
        duration(distribution.deviation_ns)
    )
}

/// The percentile table of HdrHistogram, in nanoseconds, five lines for each halving of
/// the distance to 100 %.
pub fn hgrm(durations: &Durations, out: &mut dyn Write) -> io::Result<()> {
    let histogram = durations.histogram();
    writeln!(out, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    for step in histogram.iter_quantiles(5) {
        let (value, quantile) = (step.value_iterated_to() as f64, step.quantile_iterated_to());
        let up_to = histogram.count_between(0, step.value_iterated_to());
        if quantile < 1.0 {
            writeln!(out, "{value:>12.3} {quantile:>2.12} {up_to:>10} {:>14.2}", 1.0 / (1.0 - quantile))?;
        } else {
            writeln!(out, "{value:>12.3} {quantile:>2.12} {up_to:>10}")?;
        }
    }
    writeln!(out, "#[Mean    = {:>12.3}, StdDeviation   = {:>12.3}]", histogram.mean(), histogram.stdev())?;
    writeln!(out, "#[Max     = {:>12.3}, Total count    = {:>12}]", histogram.max() as f64, histogram.len())?;
    writeln!(out, "#[Buckets = {:>12}, SubBuckets     = {:>12}]", histogram.buckets(), 2048)
}

/// An interval log with one histogram, compressed V2, in nanoseconds. `from` is since 1970.
pub fn hlog(durations: &Durations, from: Duration, length: Duration, out: &mut dyn Write) -> io::Result<()> {
    let other = |error: String| io::Error::other(error);
    let mut serializer = V2DeflateSerializer::new();
    // The writer wants a sized one.
    let mut log = Vec::new();
    let mut builder = IntervalLogWriterBuilder::new();
    builder.with_start_time(SystemTime::UNIX_EPOCH + from).with_base_time(SystemTime::UNIX_EPOCH + from);
    builder.with_max_value_divisor(1_000_000.0);
    let mut writer = builder.begin_log_with(&mut log, &mut serializer)?;
    writer
        .write_histogram(&durations.histogram(), Duration::ZERO, length, None)
        .map_err(|error| other(format!("{error:?}")))?;
    out.write_all(&log)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::{Deserializer, interval_log};

    fn some() -> Durations {
        let mut durations = Durations::default();
        (1..=10_000_u64).for_each(|n| durations.record(n * 1_000));
        durations
    }

    #[test]
    fn bars_stand_side_by_side_and_hold_all() {
        let distribution = distribution(&some());
        assert_eq!(distribution.bars.iter().map(|bar| bar.calls).sum::<u64>(), 10_000);
        assert!(distribution.bars.windows(2).all(|pair| pair[0].to_ns == pair[1].from_ns));
        assert_eq!(distribution.percentiles.last().map(|p| (p.value_ns, p.calls)), Some((10_000_000, 10_000)));
    }

    #[test]
    fn the_log_holds_the_same_histogram() {
        let mut log = Vec::new();
        let (from, length) = (Duration::from_secs(5), Duration::from_secs(2));
        hlog(&some(), from, length, &mut log).expect("a Vec takes all");
        let histograms: Vec<_> = interval_log::IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.expect("well formed") {
                interval_log::LogEntry::Interval(interval) => Some(interval.encoded_histogram().to_owned()),
                _ => None,
            })
            .collect();
        assert_eq!(histograms.len(), 1);
        let bytes = base64(&histograms[0]);
        let again: Histogram<u64> = Deserializer::new().deserialize(&mut bytes.as_slice()).expect("V2");
        assert_eq!(again, some().histogram());
    }

    fn base64(text: &str) -> Vec<u8> {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let digit = |byte: &u8| DIGITS.iter().position(|digit| digit == byte).map(|at| at as u32);
        let digits: Vec<u32> = text.as_bytes().iter().filter_map(digit).collect();
        let bytes = digits.chunks(4).flat_map(|four| {
            let word = four.iter().fold(0, |word, digit| word << 6 | digit) << (6 * (4 - four.len()));
            word.to_be_bytes()[1..four.len()].to_vec()
        });
        bytes.collect()
    }
}
