//! Calls summed up by module or by process group.
//!
//! A call *enters* its row when no other call of the row is open below it in its
//! process: a module is entered from outside, a process group by its outermost
//! calls. Total and percentiles are of these, so that no moment counts twice.

use std::collections::HashMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::calls::{Columns, Sort, Untimed};
use crate::model::histogram::{Durations, Percentiles};
use crate::model::open_calls::OpenCalls;
use crate::model::shares::{self, Shares};
use crate::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use crate::model::told::{Heard, Told};
use crate::read::{FunctionId, kind};

/// Call times by a key, over one recording after the other.
#[derive(Debug)]
pub struct Keyed {
    shares: Shares<Table>,
    rows: Rows,
}

/// In which row a call belongs: what must be told before its first event. A row is
/// 1 + its number, 0 is none.
#[derive(Debug, Clone)]
pub enum Rows {
    /// That of its function.
    Functions(Told<u32>),
    /// That of its process, if its function is asked for.
    Processes(Told<u32>, Told<bool>),
}

#[derive(Debug)]
enum HeardRows {
    Functions(Heard<u32>),
    Processes { rows: Told<u32>, asked: Heard<bool>, last: Option<(u32, u32)> },
}

/// The rows of one share of the processes.
#[derive(Debug)]
pub struct Table {
    row_of: HeardRows,
    running: bool,
    counted: bool,
    rows: Vec<Stats>,
    open: OpenCalls<Open>,
    depth: HashMap<(u32, u32), u32>,
    ending: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    process: u32,
    row: u32,
    enters: bool,
}

#[derive(Debug, Default, Clone)]
struct Stats {
    calls: u64,
    entered: u64,
    raised: u64,
    own: u64,
    own_on: u64,
    visits: Durations,
    clipped: [u64; Clip::ALL.len()],
}

/// A row.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// The module, or the process group.
    pub name: String,
    /// Calls, timed or not.
    pub calls: u64,
    /// Calls with no other of the row open below them.
    pub entered: u64,
    /// Timed calls that ended by an exception, where such events were recorded.
    pub raised: u64,
    /// Time in the functions themselves.
    pub own_ns: u64,
    /// The same on a scheduler only; null without in and out events.
    pub own_on_scheduler_ns: Option<u64>,
    /// Its part of all rows' own time, 0 to 1.
    pub share: f64,
    /// Time in calls that entered, with all that they called.
    pub total_ns: u64,
    /// Mean of the timed calls that entered.
    pub mean_ns: u64,
    /// The distribution of the timed calls that entered; null when there are none.
    #[serde(flatten)]
    pub percentiles: Option<Percentiles>,
    /// Calls that have no duration, by reason.
    pub untimed: Untimed,
}

impl Keyed {
    /// By at most so many threads: the answer is the same.
    pub fn new(rows: Rows, threads: usize) -> Keyed {
        let row_of = || match &rows {
            Rows::Functions(rows) => HeardRows::Functions(Heard::new(rows)),
            Rows::Processes(rows, asked) => {
                HeardRows::Processes { rows: rows.clone(), asked: Heard::new(asked), last: None }
            }
        };
        let table = || Table {
            row_of: row_of(),
            running: false,
            counted: true,
            rows: Vec::new(),
            open: OpenCalls::default(),
            depth: HashMap::new(),
            ending: None,
        };
        Keyed { shares: Shares::new(threads, table), rows }
    }

    /// What recordings are dealt out to, and what must be told. A call of a lane that
    /// is not asked for is left out.
    pub fn shares(&mut self) -> (&mut Shares<Table>, &Rows) {
        (&mut self.shares, &self.rows)
    }

    /// Is there anything in the row?
    pub fn has(&self, row: usize) -> bool {
        self.shares.tables().any(|table| table.rows.get(row).is_some_and(|stats| stats.calls > 0))
    }

    /// A row for each title in the order asked for; rows with the same title are one.
    /// Also answers whether own time is on schedulers.
    pub fn report(&self, titles: &[String], sort: Sort) -> (Vec<Row>, bool) {
        let mut sums: std::collections::BTreeMap<&str, Stats> = std::collections::BTreeMap::new();
        let running = self.shares.tables().any(|table| table.running);
        for table in self.shares.tables() {
            for (stats, title) in table.rows.iter().zip(titles).filter(|(stats, _)| stats.calls > 0) {
                sums.entry(title).or_default().add(stats);
            }
        }
        let own = |stats: &Stats| if running { stats.own_on } else { stats.own };
        let all = sums.values().map(own).fold(0, u64::saturating_add);
        let row = |(title, stats): (&&str, &Stats)| Row {
            name: (*title).to_owned(),
            calls: stats.calls,
            entered: stats.entered,
            raised: stats.raised,
            own_ns: stats.own,
            own_on_scheduler_ns: running.then_some(stats.own_on),
            share: if all == 0 { 0.0 } else { own(stats) as f64 / all as f64 },
            total_ns: stats.visits.sum_ns(),
            mean_ns: stats.visits.sum_ns().checked_div(stats.visits.count()).unwrap_or(0),
            percentiles: stats.visits.percentiles(),
            untimed: Untimed::of(&stats.clipped),
        };
        let mut rows: Vec<Row> = sums.iter().map(row).collect();
        rows.sort_by(|a, b| {
            let key = |row: &Row| sort.key(&row.columns());
            key(b).cmp(&key(a)).then_with(|| a.name.cmp(&b.name))
        });
        (rows, running)
    }
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
        }
    }
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        self.calls += other.calls;
        self.entered += other.entered;
        self.raised += other.raised;
        self.own = self.own.saturating_add(other.own);
        self.own_on = self.own_on.saturating_add(other.own_on);
        self.visits.add(&other.visits);
        self.clipped.iter_mut().zip(&other.clipped).for_each(|(sum, n)| *sum += n);
    }
}

impl shares::Table for Table {
    #[inline]
    fn before(&mut self, step: &Step, asked_for: bool) {
        self.running |= matches!(step.kind, kind::IN | kind::OUT);
        (self.counted, self.ending) = (asked_for, None);
    }

    fn leave(&mut self, _: u32) {
        if let HeardRows::Processes { last, .. } = &mut self.row_of {
            *last = None;
        }
    }

    fn end_of_recording(&mut self, _: &Stacks) {
        self.depth.clear();
        if let HeardRows::Processes { last, .. } = &mut self.row_of {
            *last = None;
        }
    }
}

impl HeardRows {
    fn of(&mut self, process: u32, function: FunctionId) -> Option<u32> {
        let row = match self {
            HeardRows::Functions(rows) => rows.of(function.0),
            HeardRows::Processes { rows, asked, last } => match last {
                _ if !asked.of(function.0) => 0,
                Some((last, row)) if *last == process => *row,
                _ => last.insert((process, rows.of(process))).1,
            },
        };
        row.checked_sub(1)
    }
}

impl Observer for Table {
    fn called(&mut self, process: u32, _below: &Below<'_>, function: FunctionId) -> u32 {
        let row = if self.counted { self.row_of.of(process, function) } else { None };
        let Some(row) = row else { return 0 };
        if self.rows.len() <= row as usize {
            self.rows.resize(row as usize + 1, Stats::default());
        }
        let depth = self.depth.entry((process, row)).or_default();
        let enters = *depth == 0;
        *depth += 1;
        let stats = &mut self.rows[row as usize];
        stats.calls += 1;
        stats.entered += u64::from(enters);
        self.open.insert(Open { process, row, enters })
    }

    fn leaves(&mut self, frame: u32) {
        self.ending = self.open.remove(frame);
        if let Some(Open { process, row, .. }) = self.ending
            && let Some(depth) = self.depth.get_mut(&(process, row))
        {
            *depth -= 1;
            if *depth == 0 {
                self.depth.remove(&(process, row));
            }
        }
    }

    fn known_own(&mut self, _function: FunctionId, ns: u64, on_ns: u64) {
        let Some(Open { row, .. }) = self.ending else { return };
        let stats = &mut self.rows[row as usize];
        stats.own = stats.own.saturating_add(ns);
        stats.own_on = stats.own_on.saturating_add(on_ns);
    }

    fn ended(&mut self, ended: &Ended) {
        let Some(Open { row, enters, .. }) = self.ending else { return };
        let stats = &mut self.rows[row as usize];
        stats.raised += u64::from(ended.raised);
        stats.own = stats.own.saturating_add(ended.own);
        stats.own_on = stats.own_on.saturating_add(ended.own_on);
        if enters {
            stats.visits.record(ended.duration);
        }
    }

    fn total(&mut self, _function: FunctionId, _ns: u64) {}

    fn clipped(&mut self, _function: Option<FunctionId>, why: Clip) {
        if let Some(Open { row, .. }) = self.ending {
            self.rows[row as usize].clipped[why as usize] += 1;
        }
    }

    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}
