//! Calls summed up by module or by process group.
//!
//! A call *enters* its row when no other call of the row is open below it in its
//! process: a module is entered from outside, a process group by its outermost
//! calls. Where only calls that may have ended are below it, nobody knows: so often
//! a row was entered at least, and at most. The total is of timed calls that are inside of no other
//! timed call of the row, so that no moment counts twice; as functions have it.

use std::collections::{BTreeSet, HashMap, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::calls::{Columns, Sort, Untimed};
use crate::model::histogram::{Durations, Percentiles};
use crate::model::open_calls::OpenCalls;
use crate::model::shares::{self, Shares};
use crate::model::spans::Spans;
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
    /// Of each process and row, the calls that are open or may be.
    stacks: HashMap<(u32, u32), Stack>,
    /// Processes and rows of which calls may be open that are not on the stacks any more.
    lost: BTreeSet<(u32, u32)>,
    /// Empty ones, to be used again.
    spare: Vec<Stack>,
    ending: Option<Open>,
    /// The call of the row that the ending one was inside of.
    under: u32,
    /// It was the last of them.
    emptied: bool,
    now: u64,
}

/// The calls of a row in a process, the lowest first.
#[derive(Debug, Default)]
struct Stack {
    calls: VecDeque<u32>,
    /// So many of them are open for certain.
    sure: u32,
    /// So many are or were in doubt, or began when one was that they stand on; and when calls were timed
    /// inside of these, or were one.
    doubted: u32,
    spans: Spans,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    process: u32,
    row: u32,
    /// No other call was open below it, nor may have been.
    enters: bool,
    start: u64,
    /// It may have ended; at first then.
    unsure: bool,
    unsure_at: u64,
    doubted: bool,
    /// What timed calls of the row inside of it took that are not kept as spans.
    inner: u64,
}

/// Empty stacks that are kept.
const SPARE: usize = 64;

#[derive(Debug, Default, Clone)]
struct Stats {
    calls: u64,
    entered: u64,
    entered_at_most: u64,
    raised: u64,
    own: u64,
    own_on: u64,
    total: u64,
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
    /// Calls with no other of the row open below them: at least.
    pub entered: u64,
    /// At most: with those below which one may have been open.
    pub entered_at_most: u64,
    /// Timed calls that ended by an exception, where such events were recorded.
    pub raised: u64,
    /// Time in the functions themselves, waiting included (wall time).
    pub own_ns: u64,
    /// The same on a scheduler only; null without in and out events.
    pub own_on_scheduler_ns: Option<u64>,
    /// Its part of all rows' own time, 0 to 1.
    pub share: f64,
    /// Time in timed calls with all that they called, those inside of others not counted again.
    pub total_ns: u64,
    /// Mean of the timed calls that entered for certain.
    pub mean_ns: u64,
    /// The distribution of the timed calls that entered for certain; null when there are none.
    #[serde(flatten)]
    pub percentiles: Option<Percentiles>,
    /// Calls that have no duration, by reason.
    pub untimed: Untimed,
}

impl Keyed {
    /// By at most so many threads: the answer is the same.
    pub fn new(rows: Rows, threads: usize) -> Keyed {
        Keyed { shares: Shares::new(threads, || Table::new(&rows)), rows }
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
            entered_at_most: stats.entered_at_most,
            raised: stats.raised,
            own_ns: stats.own,
            own_on_scheduler_ns: running.then_some(stats.own_on),
            share: if all == 0 { 0.0 } else { own(stats) as f64 / all as f64 },
            total_ns: stats.total,
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
            entered: self.entered,
        }
    }
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        self.calls += other.calls;
        self.entered += other.entered;
        self.entered_at_most += other.entered_at_most;
        self.total = self.total.saturating_add(other.total);
        self.raised += other.raised;
        self.own = self.own.saturating_add(other.own);
        self.own_on = self.own_on.saturating_add(other.own_on);
        self.visits.add(&other.visits);
        self.clipped.iter_mut().zip(&other.clipped).for_each(|(sum, n)| *sum += n);
    }
}

impl shares::Table for Table {
    fn leave(&mut self, process: u32) {
        while let Some(place) = self.lost.range((process, 0)..=(process, u32::MAX)).next().copied() {
            self.lost.remove(&place);
        }
        if let HeardRows::Processes { last, .. } = &mut self.row_of {
            *last = None;
        }
    }

    fn end_of_recording(&mut self, _: &Stacks) {
        self.stacks.clear();
        self.lost.clear();
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

impl Table {
    /// Of one share of the processes.
    pub fn new(rows: &Rows) -> Table {
        let row_of = match rows {
            Rows::Functions(rows) => HeardRows::Functions(Heard::new(rows)),
            Rows::Processes(rows, asked) => {
                HeardRows::Processes { rows: rows.clone(), asked: Heard::new(asked), last: None }
            }
        };
        Table {
            row_of,
            running: false,
            counted: true,
            rows: Vec::new(),
            open: OpenCalls::default(),
            stacks: HashMap::new(),
            lost: BTreeSet::new(),
            spare: Vec::new(),
            ending: None,
            under: 0,
            emptied: false,
            now: 0,
        }
    }

    /// How often a row was entered at least, and at most; its total.
    pub fn visits(&self, row: usize) -> (u64, u64, u64) {
        self.rows.get(row).map_or((0, 0, 0), |stats| (stats.entered, stats.entered_at_most, stats.total))
    }

    /// What timed calls took goes to the call of the row that they are inside of, which may turn out to
    /// be timed itself, or is the row's. Where calls are in doubt, it is kept when that was.
    fn hand_down(&mut self, open: &Open, timed: Option<u64>) {
        let total = match open.doubted {
            false => timed.unwrap_or(open.inner),
            true => self.covered(open, timed.unwrap_or(0)),
        };
        match self.open.get_mut(self.under) {
            Some(under) => under.inner = under.inner.saturating_add(total),
            None => {
                let stats = &mut self.rows[open.row as usize];
                stats.total = stats.total.saturating_add(total);
            }
        }
        self.drop_empty((open.process, open.row));
    }

    /// The same of a call that was in doubt: nothing as long as others are.
    fn covered(&mut self, gone: &Open, timed: u64) -> u64 {
        let Some(stack) = self.stacks.get_mut(&(gone.process, gone.row)) else { return 0 };
        stack.doubted -= 1;
        stack.spans.add(gone.start, gone.start.saturating_add(gone.inner));
        stack.spans.add(gone.start, gone.start.saturating_add(timed));
        if stack.doubted == 0 {
            return stack.spans.take();
        }
        if stack.spans.is_full() {
            stack.tighten(&mut self.open);
        }
        0
    }

    fn drop_empty(&mut self, place: (u32, u32)) {
        if std::mem::take(&mut self.emptied)
            && let Some(stack) = self.stacks.remove(&place)
            && self.spare.len() < SPARE
        {
            self.spare.push(stack);
        }
    }
}

impl Stack {
    /// Tells no more moments apart than calls that are open begin or may have ended at.
    fn tighten(&mut self, open: &mut OpenCalls<Open>) {
        let mut moments = Vec::new();
        for call in &self.calls {
            let Some(open) = open.get_mut(*call) else { continue };
            if open.doubted {
                self.spans.add(open.start, open.start.saturating_add(std::mem::take(&mut open.inner)));
            }
            moments.push(open.start);
            moments.extend(open.unsure.then_some(open.unsure_at));
        }
        self.spans.tighten(moments);
        self.spans.has_room_for(self.calls.len());
    }
}

impl Observer for Table {
    #[inline]
    fn before(&mut self, step: &Step, asked_for: bool) {
        self.running |= matches!(step.kind, kind::IN | kind::OUT);
        (self.counted, self.ending, self.now) = (asked_for, None, step.time);
    }

    fn called(&mut self, process: u32, _below: &Below<'_>, function: FunctionId) -> u32 {
        let row = if self.counted { self.row_of.of(process, function) } else { None };
        let Some(row) = row else { return 0 };
        if self.rows.len() <= row as usize {
            self.rows.resize(row as usize + 1, Stats::default());
        }
        let stack = self.stacks.entry((process, row)).or_insert_with(|| self.spare.pop().unwrap_or_default());
        let is_lost = !self.lost.is_empty() && self.lost.contains(&(process, row));
        let enters = stack.calls.is_empty() && !is_lost;
        let stats = &mut self.rows[row as usize];
        stats.calls += 1;
        stats.entered += u64::from(enters);
        stats.entered_at_most += u64::from(stack.sure == 0);
        let number = self.open.insert(Open {
            process,
            row,
            enters,
            start: self.now,
            unsure: false,
            unsure_at: 0,
            doubted: stack.doubted > 0,
            inner: 0,
        });
        stack.doubted += u32::from(stack.doubted > 0);
        stack.calls.push_back(number);
        stack.sure += 1;
        number
    }

    fn doubted(&mut self, frame: u32, _again: bool) {
        let Some(open) = self.open.get_mut(frame) else { return };
        if open.unsure {
            return;
        }
        let was_doubted = open.doubted;
        (open.unsure, open.unsure_at, open.doubted) = (true, self.now, true);
        if let Some(stack) = self.stacks.get_mut(&(open.process, open.row)) {
            stack.sure -= 1;
            stack.doubted += u32::from(!was_doubted);
        }
    }

    fn sure(&mut self, frame: u32) {
        if let Some(open) = self.open.get_mut(frame).filter(|open| open.unsure) {
            open.unsure = false;
            if let Some(stack) = self.stacks.get_mut(&(open.process, open.row)) {
                stack.sure += 1;
            }
        }
    }

    fn leaves(&mut self, frame: u32) {
        self.ending = self.open.remove(frame);
        let Some(open) = self.ending else { return };
        let place = (open.process, open.row);
        let Some(stack) = self.stacks.get_mut(&place) else { return };
        stack.sure -= u32::from(!open.unsure);
        // Nearly always it is the topmost, and of a stack that is cut the lowest.
        let at = match stack.calls.front() == Some(&frame) {
            true => 0,
            false => stack.calls.iter().rposition(|call| *call == frame).unwrap_or(0),
        };
        stack.calls.remove(at);
        self.under = at.checked_sub(1).and_then(|under| stack.calls.get(under).copied()).unwrap_or(0);
        self.emptied = stack.calls.is_empty();
    }

    fn known_own(&mut self, _function: FunctionId, ns: u64, on_ns: u64) {
        let Some(Open { row, .. }) = self.ending else { return };
        let stats = &mut self.rows[row as usize];
        stats.own = stats.own.saturating_add(ns);
        stats.own_on = stats.own_on.saturating_add(on_ns);
    }

    fn ended(&mut self, ended: &Ended) {
        let Some(open) = self.ending.take() else { return };
        self.hand_down(&open, Some(ended.duration));
        let Open { row, enters, .. } = open;
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
        if let Some(open) = self.ending.take() {
            self.hand_down(&open, None);
            if matches!(why, Clip::Deep | Clip::Hole) {
                self.lost.insert((open.process, open.row));
            }
            self.rows[open.row as usize].clipped[why as usize] += 1;
        }
    }

    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}
