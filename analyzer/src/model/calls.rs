//! How often each function was called, and how long its calls took.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::filter::Filter;
use crate::model::histogram::{Durations, Percentiles};
use crate::model::label;
use crate::model::replay::{Feeder, Replay, Tally};
use crate::model::stack::{Below, Clip, Ended, Observer, Step};
use crate::read::{Event, FunctionId, Names, kind};
use spoor_format::record::Body;

/// Call times of one recording after the other.
#[derive(Debug)]
pub struct Calls {
    replay: Replay<Table>,
}

/// The number of calls that are asked for; others have 0.
const ASKED_FOR: u32 = 1;

/// What was counted and timed.
#[derive(Debug, Default)]
pub struct Table {
    functions: Vec<Stats>,
    /// The number of calls that begin now, and of the one that ends.
    begins: u32,
    ends: u32,
    /// Returns of calls of which nothing is known.
    unknown: u64,
    /// There were events that say who runs when.
    running: bool,
}

#[derive(Debug, Default, Clone)]
struct Stats {
    calls: u64,
    raised: u64,
    own: u64,
    own_on: u64,
    total: u64,
    /// What of `total` calls took that are asked for, where not all are.
    outermost: u64,
    /// Not all calls are asked for.
    elsewhere: bool,
    durations: Durations,
    clipped: [u64; Clip::ALL.len()],
}

/// What a column is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "each is a column of the table")]
pub enum Sort {
    #[default]
    Own,
    Total,
    Calls,
    Mean,
    P50,
    P90,
    P99,
    P999,
    Max,
    Untimed,
    Raised,
    Entered,
    Share,
    Name,
}

/// A function's row.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// As users write it.
    pub function: String,
    /// Its module, as users write it.
    pub module: String,
    /// Module, name and arity as the VM has them.
    pub mfa: (String, String, u64),
    /// Calls, timed or not.
    pub calls: u64,
    /// Calls of which both ends are known.
    pub timed: u64,
    /// Timed calls that ended by an exception, where such events were recorded.
    pub raised: u64,
    /// Time in the function itself, waiting included (wall time).
    pub own_ns: u64,
    /// The same on a scheduler only; null without in and out events.
    pub own_on_scheduler_ns: Option<u64>,
    /// Its part of all functions' own time, 0 to 1.
    pub share: f64,
    /// Time in the function and in what it called; calls inside of a timed call
    /// of the same function are not counted again.
    pub total_ns: u64,
    /// Mean of the timed calls.
    pub mean_ns: u64,
    /// The distribution of the timed calls; null when there are none.
    #[serde(flatten)]
    pub percentiles: Option<Percentiles>,
    /// Calls that have no duration, by reason.
    pub untimed: Untimed,
}

/// Calls without a duration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Untimed {
    /// Began before the recording, the window, or a hole in it.
    pub begin: u64,
    /// Still open at the end.
    pub end: u64,
    /// Events are missing while they were open.
    pub hole: u64,
    /// Their process exited.
    pub exit: u64,
    /// The events leave open when they ended.
    pub unsure: u64,
    /// Too deep in the stack to be kept.
    pub deep: u64,
}

impl Untimed {
    pub(crate) fn of(counts: &[u64; Clip::ALL.len()]) -> Untimed {
        let [begin, end, hole, exit, unsure, deep] = *counts;
        Untimed { begin, end, hole, exit, unsure, deep }
    }

    /// All of them.
    pub fn sum(&self) -> u64 {
        self.begin + self.end + self.hole + self.exit + self.unsure + self.deep
    }
}

/// The table.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Functions in the order asked for.
    pub functions: Vec<Row>,
    /// Functions that fit the filter, shown or not.
    pub functions_found: usize,
    /// Calls of all functions that fit the filter.
    pub calls: u64,
    /// Own time of all functions, whether they fit the filter or not; on a scheduler only where
    /// `own_is_on_scheduler` says so: then the sum of `own_on_scheduler_ns`, not of `own_ns`.
    pub own_ns: u64,
    /// Calls without a duration of the functions that fit the filter.
    pub untimed: Untimed,
    /// Returns of calls of which nothing is known.
    pub unknown_returns: u64,
    /// Own time and share are of time on a scheduler.
    pub own_is_on_scheduler: bool,
}

impl Calls {
    /// Computed by this many threads, with the same result as by any other number.
    pub fn new(threads: usize) -> Calls {
        Calls { replay: Replay::new(threads) }
    }

    /// What recordings are dealt out to.
    pub fn replay(&mut self) -> &mut Replay<Table> {
        &mut self.replay
    }

    /// Takes the events of a recording, which `read` hands over.
    pub fn recording<R>(&mut self, read: impl FnOnce(&mut Feeder<'_, Table>) -> R) -> R {
        self.replay.recording(read)
    }

    /// The table.
    pub fn report(&self, names: &Names, filter: &Filter, sort: Sort, limit: usize) -> Report {
        let table = self.replay.tally();
        let own_of = |stats: &Stats| if table.running { stats.own_on } else { stats.own };
        let all_own = table.functions.iter().map(own_of).fold(0, u64::saturating_add);
        let mut rows: Vec<Row> = Vec::new();
        let (mut calls, mut clipped) = (0, [0; Clip::ALL.len()]);
        for (number, stats) in table.functions.iter().enumerate() {
            let id = FunctionId(number as u32);
            if stats.calls + stats.clipped.iter().sum::<u64>() == 0 || !filter.takes_function(names, id) {
                continue;
            }
            calls += stats.calls;
            clipped.iter_mut().zip(&stats.clipped).for_each(|(sum, n)| *sum += n);
            rows.push(self.row(names, id, stats, all_own, !filter.schedulers.is_empty()));
        }
        let functions_found = rows.len();
        rows.sort_by(|a, b| sort.compare(a, b));
        rows.truncate(limit);
        Report {
            functions: rows,
            functions_found,
            calls,
            own_ns: all_own,
            untimed: Untimed::of(&clipped),
            unknown_returns: table.unknown,
            own_is_on_scheduler: table.running,
        }
    }

    /// The durations of all functions that fit the filter; which these are, and
    /// their calls without a duration.
    pub fn distribution(&self, names: &Names, filter: &Filter) -> (Durations, Vec<(String, u64)>, Untimed) {
        let (mut durations, mut functions, mut clipped) = (Durations::default(), Vec::new(), [0; Clip::ALL.len()]);
        for (number, stats) in self.replay.tally().functions.iter().enumerate() {
            let id = FunctionId(number as u32);
            if stats.calls > 0 && filter.takes_function(names, id) {
                durations.add(&stats.durations);
                functions.push((label::function(names, id), stats.calls));
                clipped.iter_mut().zip(&stats.clipped).for_each(|(sum, n)| *sum += n);
            }
        }
        functions.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        (durations, functions, Untimed::of(&clipped))
    }

    /// `of_lanes`: of calls that began on some lanes only.
    fn row(&self, names: &Names, id: FunctionId, stats: &Stats, all_own: u64, of_lanes: bool) -> Row {
        let (module, name, arity) = names.function_parts(id);
        let timed = stats.durations.count();
        let running = self.replay.tally().running;
        let own = if running { stats.own_on } else { stats.own };
        Row {
            function: label::function(names, id),
            module: label::module(names, id),
            mfa: (module.to_owned(), name.to_owned(), arity),
            calls: stats.calls,
            timed,
            raised: stats.raised,
            own_ns: stats.own,
            own_on_scheduler_ns: running.then_some(stats.own_on),
            share: if all_own == 0 { 0.0 } else { own as f64 / all_own as f64 },
            total_ns: if of_lanes && stats.elsewhere { stats.outermost } else { stats.total },
            mean_ns: stats.durations.sum_ns().checked_div(timed).unwrap_or(0),
            percentiles: stats.durations.percentiles(),
            untimed: Untimed::of(&stats.clipped),
        }
    }
}

/// What stacks need of an event; `None` when it is nothing to them.
#[inline]
pub(crate) fn step_of(event: &Event<'_>) -> Option<Step> {
    let of_stacks = matches!(event.kind, kind::CALL..=kind::OUT_EXITED | kind::SPAWNED | kind::EXIT);
    // What is missing before any event is missing from the stack.
    (of_stacks || event.missing).then(|| Step {
        time: event.time,
        process: event.tracee.0,
        kind: event.kind,
        function: event.function,
        normal_exit: event.kind == kind::EXIT && is_normal(event),
        epoch: event.epoch,
        complete: event.complete,
        missing: event.missing,
    })
}

#[cold]
fn is_normal(event: &Event<'_>) -> bool {
    let detail = event.detail();
    match detail.body() {
        Some(Body::Exit { reason }) => {
            detail.term_atom(reason).is_some_and(|atom| event.names().atom_text(atom) == "normal")
        }
        _ => false,
    }
}

impl Table {
    #[inline]
    fn stats(&mut self, function: FunctionId) -> &mut Stats {
        let at = function.0 as usize;
        if self.functions.len() <= at {
            self.functions.resize(at + 1, Stats::default());
        }
        &mut self.functions[at]
    }
}

impl Tally for Table {
    fn add(&mut self, other: Table) {
        self.unknown += other.unknown;
        self.running |= other.running;
        for (number, theirs) in other.functions.into_iter().enumerate() {
            self.stats(FunctionId(number as u32)).add(theirs);
        }
    }
}

impl Stats {
    fn add(&mut self, other: Stats) {
        self.calls += other.calls;
        self.raised += other.raised;
        self.own = self.own.saturating_add(other.own);
        self.own_on = self.own_on.saturating_add(other.own_on);
        self.total = self.total.saturating_add(other.total);
        self.outermost = self.outermost.saturating_add(other.outermost);
        self.elsewhere |= other.elsewhere;
        self.clipped.iter_mut().zip(other.clipped).for_each(|(sum, n)| *sum += n);
        match self.durations.count() {
            0 => self.durations = other.durations,
            _ => self.durations.add(&other.durations),
        }
    }
}

impl Observer for Table {
    #[inline]
    fn before(&mut self, step: &Step, asked_for: bool) {
        self.begins = if asked_for { ASKED_FOR } else { 0 };
        self.ends = self.begins;
        self.running |= matches!(step.kind, kind::IN | kind::OUT);
    }

    fn before_end(&mut self) {
        self.ends = ASKED_FOR;
    }

    #[inline]
    fn called(&mut self, _process: u32, _below: &Below<'_>, function: FunctionId) -> u32 {
        let begins = self.begins;
        let stats = self.stats(function);
        stats.calls += u64::from(begins);
        stats.elsewhere |= begins != ASKED_FOR;
        begins
    }

    fn leaves(&mut self, frame: u32) {
        self.ends = frame;
    }

    #[inline]
    fn ended(&mut self, ended: &Ended) {
        if ended.frame != ASKED_FOR {
            return;
        }
        let stats = self.stats(ended.function);
        stats.raised += u64::from(ended.raised);
        stats.own = stats.own.saturating_add(ended.own);
        stats.own_on = stats.own_on.saturating_add(ended.own_on);
        stats.durations.record(ended.duration);
        stats.outermost = stats.outermost.saturating_add(if ended.inside { 0 } else { ended.duration });
    }

    fn known_own(&mut self, function: FunctionId, ns: u64, on_ns: u64) {
        if self.ends == ASKED_FOR {
            let stats = self.stats(function);
            stats.own = stats.own.saturating_add(ns);
            stats.own_on = stats.own_on.saturating_add(on_ns);
        }
    }

    fn total(&mut self, function: FunctionId, ns: u64) {
        let total = &mut self.stats(function).total;
        *total = total.saturating_add(ns);
    }

    fn clipped(&mut self, function: Option<FunctionId>, why: Clip) {
        match function {
            _ if self.ends != ASKED_FOR => {}
            Some(function) => self.stats(function).clipped[why as usize] += 1,
            None => self.unknown += 1,
        }
    }

    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}

impl Sort {
    /// All, with the names that the command line takes.
    pub const ALL: [(Sort, &'static str); 14] = [
        (Sort::Own, "own"),
        (Sort::Share, "share"),
        (Sort::Total, "total"),
        (Sort::Calls, "calls"),
        (Sort::Mean, "mean"),
        (Sort::P50, "p50"),
        (Sort::P90, "p90"),
        (Sort::P99, "p99"),
        (Sort::P999, "p99.9"),
        (Sort::Max, "max"),
        (Sort::Untimed, "untimed"),
        (Sort::Raised, "raised"),
        (Sort::Entered, "entered"),
        (Sort::Name, "name"),
    ];

    /// Largest first, names in their order; ties by name.
    fn compare(self, a: &Row, b: &Row) -> std::cmp::Ordering {
        let key = |row: &Row| self.key(&row.columns());
        key(b).cmp(&key(a)).then_with(|| a.function.cmp(&b.function)).then_with(|| a.mfa.cmp(&b.mfa))
    }

    /// What a row is ordered by.
    pub(crate) fn key(self, row: &Columns) -> u64 {
        match self {
            Sort::Own | Sort::Share => row.own,
            Sort::Total => row.total,
            Sort::Calls => row.calls,
            Sort::Mean => row.mean,
            Sort::P50 => row.points.p50_ns,
            Sort::P90 => row.points.p90_ns,
            Sort::P99 => row.points.p99_ns,
            Sort::P999 => row.points.p999_ns,
            Sort::Max => row.points.max_ns,
            Sort::Untimed => row.untimed,
            Sort::Raised => row.raised,
            Sort::Entered => row.entered,
            Sort::Name => 0,
        }
    }
}

/// What rows can be ordered by.
pub(crate) struct Columns {
    pub(crate) own: u64,
    pub(crate) total: u64,
    pub(crate) calls: u64,
    pub(crate) mean: u64,
    pub(crate) points: Percentiles,
    pub(crate) untimed: u64,
    pub(crate) raised: u64,
    /// Of modules and groups only.
    pub(crate) entered: u64,
}

impl Row {
    fn columns(&self) -> Columns {
        Columns {
            own: self.own_on_scheduler_ns.unwrap_or(self.own_ns),
            total: self.total_ns,
            calls: self.calls,
            mean: self.mean_ns,
            points: self.percentiles.unwrap_or_default(),
            untimed: self.untimed.sum(),
            raised: self.raised,
            entered: 0,
        }
    }
}
