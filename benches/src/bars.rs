//! What was promised, and what was measured: one row each.

use crate::measured::{Measured, Spread, Workload};

/// A promise.
#[derive(Debug)]
pub(crate) struct Bar {
    pub(crate) what: String,
    pub(crate) limit: f64,
    pub(crate) unit: &'static str,
    pub(crate) got: Spread,
}

impl Bar {
    fn new(what: impl Into<String>, limit: f64, unit: &'static str, got: Spread) -> Bar {
        Bar { what: what.into(), limit, unit, got }
    }

    /// Did the median keep the promise?
    pub(crate) fn kept(&self) -> bool {
        self.got.median <= self.limit
    }
}

/// Workloads whose events are counted in nanoseconds each.
const COUNTED: [&str; 6] = ["recursion_call", "recursion_return_to", "deep", "wide", "ping_pong", "spawn_storm"];

/// All rows that this run has the numbers for.
pub(crate) fn bars(run: &Measured) -> Vec<Bar> {
    let mut bars = Vec::new();
    cost(run, &mut bars);
    schedulers(run, &mut bars);
    files(run, &mut bars);
    for calls in run.syscalls.iter().filter(|calls| calls.variant == "spoor") {
        let empty = run.syscalls.iter().find(|calls| calls.variant == "empty").map_or(0, |calls| calls.calls);
        let more = calls.calls as f64 - empty as f64;
        // A scheduler polls by its own clock, so a few more or less say nothing.
        let what = "system calls of a scheduler an event, beyond the empty tracer's";
        bars.push(Bar::new(what, 0.001, "", one(more / calls.events as f64)));
    }
    memory(run, &mut bars);
    tails(run, &mut bars);
    bars
}

fn cost(run: &Measured, bars: &mut Vec<Bar>) {
    let ratios = [("recursion_call", 1.10), ("recursion_return_to", 1.15), ("ping_pong", 1.12)];
    for (name, limit) in ratios {
        if let Some(workload) = run.workload(name) {
            bars.push(Bar::new(
                format!("cost ÷ empty tracer's, {}", title(name)),
                limit,
                "",
                workload.cost_ratio("spoor"),
            ));
        }
    }
    let limit = if run.fact("otp").starts_with("29") { 40.0 } else { 25.0 };
    for workload in COUNTED.iter().filter_map(|name| run.workload(name)) {
        let what = format!("added to an event, {}", title(&workload.name));
        bars.push(Bar::new(what, limit, " ns", workload.added_ns("spoor")));
    }
}

fn schedulers(run: &Measured, bars: &mut Vec<Bar>) {
    for (one_name, two_name) in [("recursion_call", "two_call"), ("recursion_return_to", "two_return_to")] {
        let (Some(alone), Some(both)) = (run.workload(one_name), run.workload(two_name)) else { continue };
        // The best round of each: what else runs takes one of two processors away.
        let slow_down = |variant| both.spread(variant).least / alone.spread(variant).least;
        let got = one(slow_down("spoor") / slow_down("empty"));
        bars.push(Bar::new(format!("two schedulers, slow-down ÷ empty tracer's, {}", title(one_name)), 1.05, "", got));
    }
}

fn files(run: &Measured, bars: &mut Vec<Bar>) {
    for (name, limit) in [("recursion_return_to", 6.0), ("ping_pong", 9.0)] {
        if let Some(workload) = run.workload(name).filter(|w| w.file.stored > 0) {
            let got = one(workload.file.bytes / workload.file.stored as f64);
            bars.push(Bar::new(format!("bytes an event, {}", title(name)), limit, "", got));
        }
    }
    let lost: u64 = run.workloads.iter().map(missing).sum();
    bars.push(Bar::new("events lost below the limits", 0.0, "", one(lost as f64)));
}

/// Events that should be in the recording of a workload and are not.
pub(crate) fn missing(workload: &Workload) -> u64 {
    let file = &workload.file;
    let counted = |kind: &String| file.counted.get(kind).copied().unwrap_or(0);
    let kinds: u64 = file.generated.iter().map(|(kind, count)| count.saturating_sub(counted(kind))).sum();
    let stored = file.stored.saturating_sub(file.counted.values().sum());
    file.lost + kinds.max(stored)
}

/// Seconds of a long run until nothing new happens to memory, and seconds whose
/// median stands for the beginning and for the end.
const SETTLED: usize = 30;
const PERIOD: usize = 60;

fn memory(run: &Measured, bars: &mut Vec<Bar>) {
    let Some(empty) = run.private.get("empty").and_then(|kib| kib.get(SETTLED..)) else { return };
    let empty = Spread::of(empty.to_vec()).median;
    for variant in ["spoor_disk", "spoor_stream"] {
        let Some(settled) = run.private.get(variant).and_then(|kib| kib.get(SETTLED..)) else { continue };
        let most = settled.iter().copied().fold(0.0, f64::max);
        let what = format!("private memory at most, beyond the empty tracer's, {}", title(variant));
        bars.push(Bar::new(what, 8.0, " MiB", one((most - empty) / 1024.0)));
        let (Some(first), Some(last)) = (settled.first_chunk::<PERIOD>(), settled.last_chunk::<PERIOD>()) else {
            continue;
        };
        let grown = Spread::of(last.to_vec()).median - Spread::of(first.to_vec()).median;
        let what = format!("its growth in {} s, {}", settled.len() + SETTLED, title(variant));
        bars.push(Bar::new(what, 0.5, " MiB", one(grown / 1024.0)));
    }
}

fn tails(run: &Measured, bars: &mut Vec<Bar>) {
    for condition in ["quiet", "disk_writer"] {
        let (Some(spoor), Some(empty)) = (run.tail(condition, "spoor"), run.tail(condition, "empty")) else { continue };
        for (got, name) in spoor.ratios(empty).into_iter().zip(["p99.9", "p99.99"]) {
            let what = format!("one call {name} ÷ empty tracer's, {}", title(condition));
            bars.push(Bar::new(what, 1.5, "", got));
        }
    }
}

fn one(value: f64) -> Spread {
    Spread::of(vec![value])
}

/// How a name of the measurements is written for people.
pub(crate) fn title(name: &str) -> String {
    let known = [
        ("recursion_call", "recursion, `call`"),
        ("recursion_return_to", "recursion, `call, return_to`"),
        ("deep", "deep chains"),
        ("wide", "1000 functions in turn"),
        ("two_call", "two schedulers, `call`"),
        ("two_return_to", "two schedulers, `call, return_to`"),
        ("ping_pong", "ping-pong, everything on"),
        ("spawn_storm", "spawn storm"),
        ("empty", "empty tracer"),
        ("spoor", "Spoor, ring on tmpfs"),
        ("spoor_disk", "Spoor, ring on disk"),
        ("spoor_once", "Spoor, `once` on disk"),
        ("spoor_stream", "Spoor, `stream` on disk"),
        ("process", "process that drops"),
        ("dbg_file", "dbg file port"),
        ("disk_writer", "a disk writer beside"),
    ];
    known.iter().find(|(known, _)| *known == name).map_or(name, |(_, title)| title).to_owned()
}
