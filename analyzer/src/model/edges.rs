//! Who called a function, and whom it called: counts, own and accumulated time of
//! each pair of caller and called.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::label;
use crate::model::open_calls::OpenCalls;
use crate::model::shares::{self, Shares};
use crate::model::stack::{Clip, Ended, Observer, Stacks, Step};
use crate::model::told::{Heard, Told};
use crate::read::{FunctionId, Names, kind};

/// Which end of a pair is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The functions asked for are called: by whom?
    Callers,
    /// The functions asked for call: whom?
    Callees,
}

/// Pairs of caller and called, over one recording after the other.
#[derive(Debug)]
pub struct Edges {
    shares: Shares<Table>,
    asked: Told<bool>,
}

/// The pairs of one share of the processes.
#[derive(Debug)]
pub struct Table {
    side: Side,
    /// Is a function asked for?
    asked: Heard<bool>,
    counted: bool,
    running: bool,
    open: OpenCalls<Open>,
    depth: HashMap<(u32, Pair), u32>,
    pairs: BTreeMap<Pair, Stats>,
    ending: Option<Open>,
}

/// Caller, if one is known, and called.
type Pair = (Option<FunctionId>, FunctionId);

#[derive(Debug, Clone, Copy)]
struct Open {
    process: u32,
    pair: Pair,
    /// The pair is asked for; and no other call of it is open below.
    taken: bool,
    outermost: bool,
}

#[derive(Debug, Default, Clone, Copy)]
struct Stats {
    calls: u64,
    timed: u64,
    own: u64,
    own_on: u64,
    acc: u64,
    untimed: u64,
}

/// A pair.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// The nearest traced function below on the stack; null for none.
    pub caller: Option<String>,
    /// What it called.
    pub called: String,
    /// How often.
    pub calls: u64,
    /// Calls of which both ends are known.
    pub timed: u64,
    /// Time in the called function itself, on a scheduler where that is recorded.
    pub own_ns: u64,
    /// Time in these calls with all that they called; calls inside of another of
    /// the same pair are not counted again.
    pub acc_ns: u64,
    /// Calls without a duration.
    pub untimed: u64,
}

impl Edges {
    /// Of one side, by at most so many threads: the answer is the same.
    pub fn new(side: Side, threads: usize) -> Edges {
        let asked = Told::default();
        let table = || Table {
            side,
            asked: Heard::new(&asked),
            counted: true,
            running: false,
            open: OpenCalls::default(),
            depth: HashMap::new(),
            pairs: BTreeMap::new(),
            ending: None,
        };
        Edges { shares: Shares::new(threads, table), asked }
    }

    /// What recordings are dealt out to, and what must be told of each function before
    /// its first event: is it asked for? A call of a lane that is not is left out.
    pub fn shares(&mut self) -> (&mut Shares<Table>, &Told<bool>) {
        (&mut self.shares, &self.asked)
    }

    /// Pairs, those that took longest first; and whether own time is on schedulers.
    pub fn report(&self, names: &Names) -> (Vec<Row>, bool) {
        let running = self.shares.tables().any(|table| table.running);
        let mut pairs: BTreeMap<Pair, Stats> = BTreeMap::new();
        for (pair, stats) in self.shares.tables().flat_map(|table| &table.pairs) {
            pairs.entry(*pair).or_default().add(stats);
        }
        let row = |(pair, stats): (&Pair, &Stats)| Row {
            caller: pair.0.map(|caller| label::function(names, caller)),
            called: label::function(names, pair.1),
            calls: stats.calls,
            timed: stats.timed,
            own_ns: if running { stats.own_on } else { stats.own },
            acc_ns: stats.acc,
            untimed: stats.untimed,
        };
        let mut rows: Vec<Row> = pairs.iter().map(row).collect();
        rows.sort_by(|a, b| {
            let names = || (&a.called, &a.caller).cmp(&(&b.called, &b.caller));
            b.acc_ns.cmp(&a.acc_ns).then(b.calls.cmp(&a.calls)).then_with(names)
        });
        (rows, running)
    }
}

impl Stats {
    fn add(&mut self, other: &Stats) {
        self.calls += other.calls;
        self.timed += other.timed;
        self.own = self.own.saturating_add(other.own);
        self.own_on = self.own_on.saturating_add(other.own_on);
        self.acc = self.acc.saturating_add(other.acc);
        self.untimed += other.untimed;
    }
}

impl shares::Table for Table {
    #[inline]
    fn before(&mut self, step: &Step, asked_for: bool) {
        self.running |= matches!(step.kind, kind::IN | kind::OUT);
        (self.counted, self.ending) = (asked_for, None);
    }

    fn end_of_recording(&mut self, _: &Stacks) {
        self.depth.clear();
    }
}

impl Observer for Table {
    fn called(&mut self, process: u32, parent: u32, function: FunctionId) -> u32 {
        let caller = self.open.get(parent).map(|open| open.pair.1);
        let mut asked = |function: FunctionId| self.asked.of(function.0);
        let taken = self.counted
            && match self.side {
                Side::Callers => asked(function),
                Side::Callees => caller.is_some_and(asked),
            };
        let pair = (caller, function);
        let mut outermost = false;
        if taken {
            self.pairs.entry(pair).or_default().calls += 1;
            let depth = self.depth.entry((process, pair)).or_default();
            outermost = *depth == 0;
            *depth += 1;
        }
        self.open.insert(Open { process, pair, taken, outermost })
    }

    fn leaves(&mut self, frame: u32) {
        self.ending = self.open.remove(frame).filter(|open| open.taken);
        if let Some(open) = self.ending
            && let Some(depth) = self.depth.get_mut(&(open.process, open.pair))
        {
            *depth -= 1;
            if *depth == 0 {
                self.depth.remove(&(open.process, open.pair));
            }
        }
    }

    fn ended(&mut self, ended: &Ended) {
        let Some(open) = self.ending else { return };
        let stats = self.pairs.entry(open.pair).or_default();
        stats.timed += 1;
        stats.own = stats.own.saturating_add(ended.own);
        stats.own_on = stats.own_on.saturating_add(ended.own_on);
        stats.acc = stats.acc.saturating_add(if open.outermost { ended.duration } else { 0 });
    }

    fn total(&mut self, _function: FunctionId, _ns: u64) {}

    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {
        if let Some(open) = self.ending {
            self.pairs.entry(open.pair).or_default().untimed += 1;
        }
    }

    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}
