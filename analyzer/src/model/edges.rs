//! Who called a function, and whom it called: counts, own and accumulated time of
//! each pair of caller and called.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::calls::step_of;
use crate::model::label;
use crate::model::open_calls::OpenCalls;
use crate::model::stack::{Clip, Ended, Observer, Stacks};
use crate::read::{Event, FunctionId, Names, kind};

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
    stacks: Stacks,
    table: Table,
    running: bool,
}

#[derive(Debug)]
struct Table {
    side: Side,
    asked: Vec<bool>,
    counted: bool,
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
    /// Of one side.
    pub fn new(side: Side) -> Edges {
        let table = Table {
            side,
            asked: Vec::new(),
            counted: true,
            open: OpenCalls::default(),
            depth: HashMap::new(),
            pairs: BTreeMap::new(),
            ending: None,
        };
        Edges { stacks: Stacks::default(), table, running: false }
    }

    /// Takes an event; `asked` answers for each function whether it is asked for,
    /// and with `counted` false a call that begins now is left out.
    pub fn event(&mut self, event: &Event<'_>, counted: bool, asked: impl Fn(FunctionId) -> bool) {
        let Some(step) = step_of(event) else { return };
        self.running |= matches!(event.kind, kind::IN | kind::OUT);
        if let Some(function) = event.function {
            while self.table.asked.len() <= function.0 as usize {
                self.table.asked.push(asked(FunctionId(self.table.asked.len() as u32)));
            }
        }
        self.table.counted = counted;
        self.table.ending = None;
        self.stacks.step(step, &mut self.table);
    }

    /// A recording ends; the next may begin.
    pub fn end_of_recording(&mut self) {
        self.stacks.end(&mut self.table);
        self.stacks = Stacks::default();
        self.table.depth.clear();
    }

    /// Pairs, those that took longest first; and whether own time is on schedulers.
    pub fn report(&self, names: &Names) -> (Vec<Row>, bool) {
        let row = |(pair, stats): (&Pair, &Stats)| Row {
            caller: pair.0.map(|caller| label::function(names, caller)),
            called: label::function(names, pair.1),
            calls: stats.calls,
            timed: stats.timed,
            own_ns: if self.running { stats.own_on } else { stats.own },
            acc_ns: stats.acc,
            untimed: stats.untimed,
        };
        let mut rows: Vec<Row> = self.table.pairs.iter().map(row).collect();
        rows.sort_by(|a, b| {
            let names = || (&a.called, &a.caller).cmp(&(&b.called, &b.caller));
            b.acc_ns.cmp(&a.acc_ns).then(b.calls.cmp(&a.calls)).then_with(names)
        });
        (rows, self.running)
    }
}

impl Observer for Table {
    fn called(&mut self, process: u32, parent: u32, function: FunctionId) -> u32 {
        let caller = self.open.get(parent).map(|open| open.pair.1);
        let asked = |function: FunctionId| self.asked.get(function.0 as usize) == Some(&true);
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
