//! The lines a run leaves behind, as data.
//!
//! Fields are separated by tabs; the first names the kind of line. Kinds that
//! are not known are left out, so an older report reads a newer run.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// One run of all workloads on one OTP release.
#[derive(Debug, Default)]
pub(crate) struct Measured {
    /// Machine, OTP, date, command.
    pub(crate) facts: BTreeMap<String, String>,
    /// In the order they ran.
    pub(crate) workloads: Vec<Workload>,
    pub(crate) tails: Vec<Tail>,
    /// Private memory in KiB, one for each second of a long run, by variant.
    pub(crate) private: BTreeMap<String, Vec<f64>>,
    pub(crate) syscalls: Vec<Syscalls>,
    pub(crate) http: Vec<Http>,
    pub(crate) stalls: Vec<Stalls>,
}

/// What was run with every variant.
#[derive(Debug, Default)]
pub(crate) struct Workload {
    pub(crate) name: String,
    /// What one operation is.
    pub(crate) op: String,
    /// Operations of one run.
    pub(crate) ops: f64,
    /// By variant: nanoseconds an operation, one for each round.
    pub(crate) samples: BTreeMap<String, Vec<f64>>,
    /// Events of one run, as the recorder counted them.
    pub(crate) events: f64,
    /// The recording of it, counted.
    pub(crate) file: File,
}

/// What a recording should hold and what it does hold.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// Events whose number is known beforehand.
    pub(crate) generated: BTreeMap<String, u64>,
    pub(crate) counted: BTreeMap<String, u64>,
    /// Events that the recorder says it stored, and did not keep.
    pub(crate) stored: u64,
    pub(crate) lost: u64,
    pub(crate) bytes: f64,
}

/// Quantiles of single calls, in nanoseconds: p50, p99, p99.9, p99.99.
#[derive(Debug)]
pub(crate) struct Tail {
    pub(crate) condition: String,
    pub(crate) variant: String,
    pub(crate) calls: u64,
    pub(crate) quantiles: [f64; 4],
    /// p99.9 and p99.99 of each period of the run.
    pub(crate) periods: [Vec<f64>; 2],
}

/// System calls of the scheduler's thread between two marks.
#[derive(Debug)]
pub(crate) struct Syscalls {
    pub(crate) variant: String,
    pub(crate) events: u64,
    pub(crate) calls: u64,
    pub(crate) names: String,
}

/// The demo's service under load.
#[derive(Debug)]
pub(crate) struct Http {
    pub(crate) mode: String,
    pub(crate) requests_per_s: Vec<f64>,
    pub(crate) p50_us: Vec<f64>,
    pub(crate) p99_us: Vec<f64>,
    pub(crate) events: u64,
}

/// What busy schedulers saw in a phase, each number a second of a scheduler.
#[derive(Debug)]
pub(crate) struct Stalls {
    /// Schedulers that were busy.
    pub(crate) busy: String,
    /// Untraced, recorded, or recorded while snapshots were taken.
    pub(crate) phase: String,
    /// By the names of `bench_stalls`.
    pub(crate) seen: BTreeMap<String, f64>,
}

impl Measured {
    pub(crate) fn parse(text: &str) -> Result<Measured> {
        let mut measured = Measured::default();
        for (number, line) in text.lines().enumerate() {
            let fields: Vec<&str> = line.split('\t').collect();
            measured.line(&fields).with_context(|| format!("line {}", number + 1))?;
        }
        Ok(measured)
    }

    fn line(&mut self, fields: &[&str]) -> Result<()> {
        match *fields {
            ["fact", key, value] => drop(self.facts.insert(key.into(), value.into())),
            ["workload", name, op, ops] => {
                // Each node of a run names all workloads again.
                if self.workload(name).is_some() {
                    return Ok(());
                }
                let (name, op) = (name.into(), op.into());
                self.workloads.push(Workload { name, op, ops: ops.parse()?, ..Workload::default() });
            }
            ["samples", name, variant, events, samples] => {
                let workload = self.find(name)?;
                workload.samples.entry(variant.into()).or_default().extend(numbers(samples)?);
                workload.events = workload.events.max(events.parse()?);
            }
            ["generated", name, stored, lost, kinds] => {
                let file = &mut self.find(name)?.file;
                (file.stored, file.lost, file.generated) = (stored.parse()?, lost.parse()?, counts(kinds)?);
            }
            ["counted", name, bytes, kinds] => {
                let file = &mut self.find(name)?.file;
                (file.bytes, file.counted) = (bytes.parse()?, counts(kinds)?);
            }
            ["tail", condition, variant, calls, p50, p99, p999, p9999] => self.tails.push(Tail {
                condition: condition.into(),
                variant: variant.into(),
                calls: calls.parse()?,
                quantiles: [p50.parse()?, p99.parse()?, p999.parse()?, p9999.parse()?],
                periods: Default::default(),
            }),
            ["tail_periods", condition, variant, p999, p9999] => {
                let tail = self.tails.iter_mut().find(|t| t.condition == condition && t.variant == variant);
                let tail = tail.context("periods of calls that were not counted")?;
                tail.periods = [numbers(p999)?, numbers(p9999)?];
            }
            ["private", variant, _second, kib] => {
                self.private.entry(variant.into()).or_default().push(kib.parse()?);
            }
            ["syscalls", variant, events, calls, names] => self.syscalls.push(Syscalls {
                variant: variant.into(),
                events: events.parse()?,
                calls: calls.parse()?,
                names: names.into(),
            }),
            ["http", mode, requests, p50, p99, events] => self.http.push(Http {
                mode: mode.into(),
                requests_per_s: numbers(requests)?,
                p50_us: numbers(p50)?,
                p99_us: numbers(p99)?,
                events: events.parse()?,
            }),
            ["stalls", busy, phase, key, value] => self.stall(busy, phase, key, value),
            _ => {}
        }
        Ok(())
    }

    fn stall(&mut self, busy: &str, phase: &str, key: &str, value: &str) {
        // Among them is the name of the phase.
        let Ok(value) = value.parse() else { return };
        match self.stalls.last_mut() {
            Some(last) if (last.busy.as_str(), last.phase.as_str()) == (busy, phase) => {
                last.seen.insert(key.into(), value);
            }
            _ => {
                let seen = BTreeMap::from([(key.into(), value)]);
                self.stalls.push(Stalls { busy: busy.into(), phase: phase.into(), seen });
            }
        }
    }

    pub(crate) fn tail(&self, condition: &str, variant: &str) -> Option<&Tail> {
        self.tails.iter().find(|t| t.condition == condition && t.variant == variant)
    }

    fn find(&mut self, name: &str) -> Result<&mut Workload> {
        self.workloads.iter_mut().find(|w| w.name == name).context("a workload that was not announced")
    }

    pub(crate) fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.iter().find(|w| w.name == name)
    }

    pub(crate) fn fact(&self, key: &str) -> &str {
        self.facts.get(key).map_or("?", String::as_str)
    }
}

impl Workload {
    /// One number for each round, from two variants' and the untraced time of
    /// that round: neighbours in time see the same machine.
    pub(crate) fn rounds(&self, a: &str, b: &str, each: impl Fn(f64, f64, f64) -> f64) -> Spread {
        let of = |variant: &str| self.samples.get(variant).map_or(&[][..], Vec::as_slice);
        let rounds = of(a).iter().zip(of(b)).zip(of("untraced"));
        Spread::of(rounds.map(|((a, b), untraced)| each(*a, *b, *untraced)).collect())
    }

    pub(crate) fn spread(&self, variant: &str) -> Spread {
        Spread::of(self.samples.get(variant).cloned().unwrap_or_default())
    }

    /// Cost over untraced, divided by the empty tracer's.
    pub(crate) fn cost_ratio(&self, variant: &str) -> Spread {
        self.rounds(variant, "empty", |it, empty, untraced| (it - untraced) / (empty - untraced))
    }

    /// Nanoseconds an event costs more than with the empty tracer.
    pub(crate) fn added_ns(&self, variant: &str) -> Spread {
        let events_per_op = self.events / self.ops;
        self.rounds(variant, "empty", |it, empty, _| (it - empty) / events_per_op)
    }
}

impl Tail {
    /// What p99.9 and p99.99 are of another's, period by period: neighbours in time.
    pub(crate) fn ratios(&self, other: &Tail) -> [Spread; 2] {
        [0, 1].map(|place| {
            let periods = self.periods[place].iter().zip(&other.periods[place]);
            Spread::of(periods.map(|(it, other)| it / other).collect())
        })
    }
}

/// Median and the quartiles around it, and the least of all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    pub(crate) fn of(mut values: Vec<f64>) -> Spread {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (values.len().saturating_sub(1) as f64 * share).round() as usize;
            values.get(place).copied().unwrap_or(f64::NAN)
        };
        Spread { least: at(0.0), low: at(0.25), median: at(0.5), high: at(0.75) }
    }
}

fn numbers(text: &str) -> Result<Vec<f64>> {
    Ok(text.split(',').map(str::parse).collect::<Result<_, _>>()?)
}

fn counts(text: &str) -> Result<BTreeMap<String, u64>> {
    let pair = |pair: &str| {
        let (kind, count) = pair.split_once('=').context("KIND=N")?;
        Ok((kind.to_owned(), count.parse()?))
    };
    text.split_whitespace().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "fact\totp\t25\nworkload\tfib\tcall\t10\nsamples\tfib\tuntraced\t0\t1.0,1.0,1.0\n\
        samples\tfib\tempty\t0\t11.0,11.0,21.0\nsamples\tfib\tspoor\t20\t12.0,13.0,21.0\nlater\tkind\n\
        generated\tfib\t20\t0\tcall=20\ncounted\tfib\t100\tcall=20\n";

    #[test]
    fn rounds_are_compared_within_themselves() {
        let run = Measured::parse(RUN).expect("well formed");
        let fib = run.workload("fib").expect("there");
        assert_eq!(fib.cost_ratio("spoor").median, 1.1);
        assert_eq!(fib.added_ns("spoor").median, 0.5);
        assert_eq!((fib.file.generated.get("call"), fib.file.bytes), (Some(&20), 100.0));
    }

    #[test]
    fn single_calls_are_compared_within_periods() {
        let run = "tail\tquiet\tempty\t9\t1\t2\t3\t4\ntail_periods\tquiet\tempty\t1,2,4\t10,10,10\n\
            tail\tquiet\tspoor\t9\t1\t2\t3\t4\ntail_periods\tquiet\tspoor\t2,2,2\t20,5,11\n";
        let run = Measured::parse(run).expect("well formed");
        let [empty, spoor] = ["empty", "spoor"].map(|variant| run.tail("quiet", variant).expect("there"));
        assert_eq!(spoor.ratios(empty).map(|ratios| ratios.median), [1.0, 1.1]);
    }

    #[test]
    fn what_schedulers_saw_is_kept_by_phase() {
        let lines =
            [("1", "recorded", "name", "recorded"), ("1", "recorded", "ours", "0.50"), ("2", "recorded", "ours", "7")];
        let text: String =
            lines.map(|(busy, phase, key, value)| format!("stalls\t{busy}\t{phase}\t{key}\t{value}\n")).concat();
        let run = Measured::parse(&text).expect("well formed");
        let seen: Vec<_> = run.stalls.iter().map(|s| (s.busy.as_str(), s.seen["ours"], s.seen.len())).collect();
        assert_eq!(seen, [("1", 0.5, 1), ("2", 7.0, 1)]);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        let error = Measured::parse("fact\ta\tb\nsamples\tx\ty\t0\t1").expect_err("not announced");
        assert!(error.to_string().contains("line 2"));
    }
}
