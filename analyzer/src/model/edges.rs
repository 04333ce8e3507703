//! Who called a function, and whom it called: counts, own and accumulated time of
//! each pair of caller and called.
//!
//! A call may be made while what it seems to be made from may have ended already. Whose it is
//! is known when that is: until then it is kept aside, with the call that may be its caller.

use std::collections::{BTreeMap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::label;
use crate::model::open_calls::OpenCalls;
use crate::model::shares::{self, Shares};
use crate::model::stack::{Below, Caller, Clip, Ended, Observer, Stacks, Step};
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
    /// Is a function asked for? All are where nobody says.
    asked: Option<Heard<bool>>,
    counted: bool,
    running: bool,
    open: OpenCalls<Open>,
    /// Calls so far.
    born: u64,
    /// How many calls of a pair are open.
    depth: HashMap<(u32, Pair), u32>,
    pairs: BTreeMap<Pair, Stats>,
    ending: Option<(Open, Whose)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Pair {
    /// `None` for untraced code.
    caller: Option<FunctionId>,
    called: FunctionId,
    /// Nobody knows whether the caller had ended.
    perhaps: bool,
}

/// An open call.
#[derive(Debug)]
struct Open {
    process: u32,
    function: FunctionId,
    born: u64,
    /// It is counted, and no other call of its pair is open below.
    taken: bool,
    outermost: bool,
    /// Its pair, as far as is known, under which it stands in `depth`.
    pair: Pair,
    /// The pair is certain, or will never be; else that depends on this call, which may have
    /// ended before it.
    settled: bool,
    parent: u32,
    parent_born: u64,
    /// How often the parent had been doubted.
    parent_doubts: u32,
    /// How often it may have ended, and how often until it was last known to be open.
    doubts: u32,
    sure_until: u32,
    waiting: Option<Box<Waiting>>,
}

/// Calls that were made while their caller may have ended.
#[derive(Debug, Default)]
struct Waiting {
    /// Since it was doubted last: if it had ended then, they are those of what it stands on.
    since: BTreeMap<FunctionId, Stats>,
    /// Before: if it had ended, nobody knows when.
    before: BTreeMap<FunctionId, Stats>,
}

/// Where a call counts.
#[derive(Debug, Clone, Copy)]
enum Whose {
    Of(Pair),
    /// Waits with this call.
    Since(u32),
    Before(u32),
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
    /// Or what that stands on: the events leave open whether it had ended.
    pub perhaps: bool,
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
        let table = || Table { side, asked: Some(Heard::new(&asked)), ..Table::default() };
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
            caller: pair.caller.map(|caller| label::function(names, caller)),
            perhaps: pair.perhaps,
            called: label::function(names, pair.called),
            calls: stats.calls,
            timed: stats.timed,
            own_ns: if running { stats.own_on } else { stats.own },
            acc_ns: stats.acc,
            untimed: stats.untimed,
        };
        let mut rows: Vec<Row> = pairs.iter().map(row).collect();
        rows.sort_by(|a, b| {
            let names = || (&a.called, &a.caller, a.perhaps).cmp(&(&b.called, &b.caller, b.perhaps));
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

    fn ended(ended: &Ended, outermost: bool) -> Stats {
        let acc = if outermost { ended.duration } else { 0 };
        Stats { calls: 0, timed: 1, own: ended.own, own_on: ended.own_on, acc, untimed: 0 }
    }
}

impl Open {
    /// It may have ended.
    fn is_doubted(&self) -> bool {
        self.doubts > self.sure_until
    }
}

impl Default for Table {
    /// Of all calls.
    fn default() -> Table {
        Table {
            side: Side::Callers,
            asked: None,
            counted: true,
            running: false,
            open: OpenCalls::default(),
            born: 0,
            depth: HashMap::new(),
            pairs: BTreeMap::new(),
            ending: None,
        }
    }
}

/// Who is known to call whom.
#[derive(Debug, Default)]
pub struct Known(HashSet<(FunctionId, FunctionId)>);

impl Known {
    /// What these tables tell.
    pub fn of<'a>(tables: impl Iterator<Item = &'a Table>) -> Known {
        let certain = tables.flat_map(|table| table.certain());
        Known(certain.filter_map(|(caller, called, _)| Some((caller?, called))).collect())
    }

    /// These pairs of caller and called.
    pub fn seen(pairs: HashSet<(FunctionId, FunctionId)>) -> Known {
        Known(pairs)
    }

    /// The call that another stands on: the nearest that is open, or that may be and is known
    /// to make such calls.
    pub fn parent(&self, below: &Below<'_>, called: FunctionId) -> Option<Caller> {
        let stands = |caller: &Caller| caller.sure || self.0.contains(&(caller.function, called));
        below.callers().find(stands)
    }
}

impl Table {
    /// Pairs that are certain: caller, `None` for untraced code; called; and how many calls.
    pub fn certain(&self) -> impl Iterator<Item = (Option<FunctionId>, FunctionId, u64)> {
        self.pairs.iter().filter(|(pair, _)| !pair.perhaps).map(|(pair, stats)| (pair.caller, pair.called, stats.calls))
    }

    fn asks_for(&mut self, function: Option<FunctionId>) -> bool {
        function.is_some_and(|function| self.asked.as_mut().is_none_or(|asked| asked.of(function.0)))
    }

    /// Whose a call is, as far as is known now.
    fn whose(&self, call: &Open) -> Whose {
        if call.settled {
            return Whose::Of(call.pair);
        }
        match self.open.get(call.parent).filter(|parent| parent.born == call.parent_born) {
            Some(parent) if call.parent_doubts <= parent.sure_until => Whose::Of(call.pair),
            Some(parent) if call.parent_doubts == parent.doubts => Whose::Since(call.parent),
            Some(_) => Whose::Before(call.parent),
            None => Whose::Of(Pair { perhaps: true, ..call.pair }),
        }
    }

    fn count(&mut self, whose: Whose, called: FunctionId, stats: &Stats) {
        match whose {
            Whose::Of(pair) if self.side == Side::Callers || self.asks_for(pair.caller) => {
                self.pairs.entry(pair).or_default().add(stats);
            }
            Whose::Of(_) => {}
            Whose::Since(parent) | Whose::Before(parent) => {
                let Some(parent) = self.open.get_mut(parent) else { return };
                let waiting = parent.waiting.get_or_insert_default();
                let calls = if matches!(whose, Whose::Since(_)) { &mut waiting.since } else { &mut waiting.before };
                calls.entry(called).or_default().add(stats);
            }
        }
    }

    /// Calls that waited are of this caller.
    fn settle(&mut self, calls: BTreeMap<FunctionId, Stats>, caller: Option<FunctionId>, perhaps: bool) {
        for (called, stats) in calls {
            self.count(Whose::Of(Pair { caller, called, perhaps }), called, &stats);
        }
    }

    /// Whose a call is that was made while this one may have ended, when that has.
    fn instead(&self, frame: u32, called: FunctionId) -> Option<Whose> {
        let call = self.open.get(frame)?;
        let pair = Pair { called, ..call.pair };
        if pair.caller.is_none() || pair.perhaps {
            return Some(Whose::Of(pair));
        }
        Some(match self.open.get(call.parent).filter(|parent| parent.born == call.parent_born) {
            Some(parent) if parent.is_doubted() => Whose::Since(call.parent),
            Some(_) => Whose::Of(pair),
            None => Whose::Of(Pair { perhaps: true, ..pair }),
        })
    }

    fn enters(&mut self, process: u32, pair: Pair) -> bool {
        let depth = self.depth.entry((process, pair)).or_default();
        *depth += 1;
        *depth == 1
    }

    fn exits(&mut self, process: u32, pair: Pair) {
        if let Some(depth) = self.depth.get_mut(&(process, pair)) {
            *depth -= 1;
            if *depth == 0 {
                self.depth.remove(&(process, pair));
            }
        }
    }
}

impl shares::Table for Table {
    fn end_of_recording(&mut self, _: &Stacks) {
        self.depth.clear();
    }
}

impl Observer for Table {
    #[inline]
    fn before(&mut self, step: &Step, asked_for: bool) {
        self.running |= matches!(step.kind, kind::IN | kind::OUT);
        (self.counted, self.ending) = (asked_for, None);
    }

    fn called(&mut self, process: u32, below: &Below<'_>, function: FunctionId) -> u32 {
        let parent = below.nearest();
        let under = self.open.get(parent).map(|open| (open.function, open.born, open.doubts, open.is_doubted()));
        let (caller, parent_born, parent_doubts, doubted) = match under {
            Some((caller, born, doubts, doubted)) => (Some(caller), born, doubts, doubted),
            None => (None, 0, 0, false),
        };
        let pair = Pair { caller, called: function, perhaps: false };
        let taken = self.counted
            && match self.side {
                Side::Callers => self.asks_for(Some(function)),
                // Of whom it is may be known later.
                Side::Callees => doubted || self.asks_for(caller),
            };
        let outermost = taken && self.enters(process, pair);
        self.born += 1;
        let call = Open {
            process,
            function,
            born: self.born,
            taken,
            outermost,
            pair,
            settled: !doubted,
            parent,
            parent_born,
            parent_doubts,
            doubts: 0,
            sure_until: 0,
            waiting: None,
        };
        if taken {
            let whose = self.whose(&call);
            self.count(whose, function, &Stats { calls: 1, ..Stats::default() });
        }
        self.open.insert(call)
    }

    fn doubted(&mut self, frame: u32, _again: bool) {
        let Some(call) = self.open.get_mut(frame) else { return };
        call.doubts += 1;
        if let Some(waiting) = &mut call.waiting {
            for (called, stats) in std::mem::take(&mut waiting.since) {
                waiting.before.entry(called).or_default().add(&stats);
            }
        }
    }

    fn sure(&mut self, frame: u32) {
        let Some(call) = self.open.get_mut(frame) else { return };
        call.sure_until = call.doubts;
        let caller = Some(call.function);
        if let Some(waiting) = call.waiting.take() {
            self.settle(waiting.since, caller, false);
            self.settle(waiting.before, caller, false);
        }
    }

    fn gone(&mut self, frame: u32) {
        let Some(call) = self.open.get_mut(frame) else { return };
        let Some(waiting) = &mut call.waiting else { return };
        let (calls, process) = (std::mem::take(&mut waiting.since), call.process);
        for (called, mut stats) in calls {
            let Some(whose) = self.instead(frame, called) else { continue };
            if let Whose::Of(pair) = whose
                && self.depth.contains_key(&(process, pair))
            {
                stats.acc = 0;
            }
            self.count(whose, called, &stats);
        }
    }

    fn orphaned(&mut self, frame: u32, gone: bool) {
        let Some(call) = self.open.get(frame) else { return };
        let (was, process, taken, parent) = (call.pair, call.process, call.taken, call.parent);
        let (pair, follows) = match self.whose(call) {
            Whose::Of(pair) => (pair, None),
            Whose::Since(_) if gone => match self.instead(parent, was.called) {
                Some(Whose::Of(pair)) => (pair, None),
                Some(Whose::Since(follows) | Whose::Before(follows)) => {
                    let caller = self.open.get(follows).map(|open| open.function);
                    (Pair { caller, ..was }, Some(follows))
                }
                None => (Pair { perhaps: true, ..was }, None),
            },
            Whose::Since(_) | Whose::Before(_) => (Pair { perhaps: true, ..was }, None),
        };
        let outermost = taken && {
            self.exits(process, was);
            self.enters(process, pair)
        };
        let parent = follows.and_then(|follows| self.open.get(follows)).map(|open| (open.born, open.doubts));
        let Some(call) = self.open.get_mut(frame) else { return };
        (call.pair, call.outermost, call.settled) = (pair, outermost, follows.is_none());
        if let (Some(follows), Some((born, doubts))) = (follows, parent) {
            (call.parent, call.parent_born, call.parent_doubts) = (follows, born, doubts);
        }
    }

    fn leaves(&mut self, frame: u32) {
        let Some(mut call) = self.open.remove(frame) else { return };
        if let Some(waiting) = call.waiting.take() {
            self.settle(waiting.since, Some(call.function), true);
            self.settle(waiting.before, Some(call.function), true);
        }
        if call.taken {
            self.exits(call.process, call.pair);
            let whose = self.whose(&call);
            self.ending = Some((call, whose));
        }
    }

    fn known_own(&mut self, _function: FunctionId, ns: u64, on_ns: u64) {
        if let Some((call, whose)) = &self.ending {
            let (whose, called) = (*whose, call.function);
            self.count(whose, called, &Stats { own: ns, own_on: on_ns, ..Stats::default() });
        }
    }

    fn ended(&mut self, ended: &Ended) {
        let Some((call, whose)) = self.ending.take() else { return };
        self.count(whose, call.function, &Stats::ended(ended, call.outermost));
    }

    fn total(&mut self, _function: FunctionId, _ns: u64) {}

    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {
        if let Some((call, whose)) = self.ending.take() {
            self.count(whose, call.function, &Stats { untimed: 1, ..Stats::default() });
        }
    }

    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}
