//! The slowest single calls: when, who, where, what their time went to, and what
//! they called.
//!
//! Read in two passes. The first finds the calls; the second, over the same events,
//! takes up what lies above them. So memory does not depend on how many calls there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::calls::step_of;
use crate::model::edges;
use crate::model::label;
use crate::model::open_calls::OpenCalls;
use crate::model::processes::{Known, Processes};
use crate::model::stack::{Below, Clip, Ended, Observer, Stacks};
use crate::model::states::{Split, States};
use crate::read::{Event, FunctionId, Names, Recording, TraceeId};

/// Nodes that the tree of one call may have; what is beyond counts for its caller.
const NODES: usize = 1_000;
/// And their depth.
const DEPTH: usize = 50;

/// A slow call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SlowCall {
    /// What was called.
    pub function: String,
    /// The recording it is in.
    pub recording: String,
    /// When it began, in nanoseconds since the start of the recording.
    pub at_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// In the function itself, waiting included.
    pub own_ns: u64,
    /// It ended by an exception.
    pub raised: bool,
    /// The process, with its name.
    pub process: String,
    /// The lane on which it began, and the one on which it ended.
    pub lanes: (String, String),
    /// What its time went to: adds up to the duration.
    pub split: Split,
    /// What it called, with the call itself at the root.
    pub tree: Node,
}

/// Calls of a function from the same place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Node {
    /// The function.
    pub function: String,
    /// How often it was called from here.
    pub calls: u64,
    /// Time of these calls, those without a known end left out.
    pub total_ns: u64,
    /// Of that, in the function itself.
    pub own_ns: u64,
    /// What it called, longest first.
    pub children: Vec<Node>,
}

/// A slow call as the first pass finds it; ordered by duration, earliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Found {
    duration: u64,
    ordinal: Reverse<u64>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    ordinal: u64,
    process: u32,
    lane: u32,
    split: Split,
    /// When it may have ended, if it is not certain that it did not.
    doubted: Option<Now>,
}

/// Where a process is, and what its time so far went to.
#[derive(Debug, Clone, Copy, Default)]
struct Now {
    time: u64,
    lane: u32,
    split: Split,
}

/// The first pass.
#[derive(Debug)]
pub struct Slow {
    keep: usize,
    stacks: Stacks,
    states: Option<States>,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    keep: usize,
    ordinal: u64,
    /// The call that begins now is asked for.
    begins: bool,
    /// Those that are asked for, by their numbers among all.
    open: HashMap<u32, Open>,
    edges: edges::Table,
    ending: Option<Open>,
    found: BinaryHeap<Reverse<Found>>,
    facts: HashMap<u64, (Ended, Open, u32, Split)>,
    names: HashMap<u64, (String, String, (String, String), u64)>,
}

impl Slow {
    /// Keeps the slowest `keep`.
    pub fn new(keep: usize) -> Slow {
        let seen = Seen { keep, ..Seen::default() };
        Slow { keep, stacks: Stacks::default(), states: None, seen }
    }

    /// Takes an event; `asked` says whether a call of the function is asked for.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes, asked: impl FnOnce(FunctionId) -> bool) {
        let states = self.states.get_or_insert_with(|| States::new(event.recording()));
        states.event(event, processes);
        states.let_go();
        let Some(step) = step_of(event) else { return };
        self.seen.begins = begins(event).is_some_and(asked);
        let whose = Some((&*states, event.tracee));
        self.stacks.step(step, &mut During { seen: &mut self.seen, time: event.time, lane: event.lane, whose });
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId], known: &Known<'_>) {
        for tracee in gone {
            self.stacks.leave(tracee.0, &mut During::end(&mut self.seen));
            self.states.iter_mut().for_each(|states| states.remove(*tracee));
        }
        let these: HashSet<u32> = gone.iter().map(|tracee| tracee.0).collect();
        self.seen.name(known.recording, |process| these.contains(&process), |id| known.full_name(TraceeId(id)));
    }

    /// A recording ends: names are given to what was found in it.
    pub fn end_of_recording(&mut self, recording: &Recording, who: impl Fn(u32) -> String) {
        self.stacks.end(&mut During::end(&mut self.seen));
        (self.stacks, self.states) = (Stacks::default(), None);
        self.seen.name(recording, |_| true, who);
    }

    /// The second pass.
    pub fn trees(self) -> Trees {
        let facts = self.seen.facts.iter();
        let wanted = facts.map(|(ordinal, (ended, ..))| (*ordinal, ended.start + ended.duration)).collect();
        let known = edges::Known::of(std::iter::once(&self.seen.edges));
        let above = Above { wanted, known, ..Above::default() };
        Trees { slow: self, stacks: Stacks::default(), above }
    }
}

/// The function that is called, if the event is a call.
fn begins(event: &Event<'_>) -> Option<FunctionId> {
    event.function.filter(|_| event.kind == crate::read::kind::CALL)
}

impl Seen {
    /// Gives names to the calls of these processes.
    fn name(&mut self, recording: &Recording, these: impl Fn(u32) -> bool, who: impl Fn(u32) -> String) {
        for (ordinal, (ended, open, lane, _)) in self.facts.iter().filter(|(_, (_, open, ..))| these(open.process)) {
            self.names.entry(*ordinal).or_insert_with(|| {
                let lanes = (recording.lane_name(open.lane), recording.lane_name(*lane));
                (recording.path.clone(), who(open.process), lanes, ended.start.saturating_sub(recording.start_ns))
            });
        }
    }
}

/// An event is looked at. What the time went to is asked only for calls that are asked for.
struct During<'a> {
    seen: &'a mut Seen,
    time: u64,
    lane: u32,
    whose: Option<(&'a States, TraceeId)>,
}

impl<'a> During<'a> {
    /// There are no more events.
    fn end(seen: &'a mut Seen) -> During<'a> {
        During { seen, time: 0, lane: 0, whose: None }
    }

    fn now(&self) -> Now {
        let split = self.whose.map(|(states, tracee)| states.split(tracee, None)).unwrap_or_default();
        Now { time: self.time, lane: self.lane, split }
    }
}

impl Observer for During<'_> {
    fn called(&mut self, process: u32, below: &Below<'_>, function: FunctionId) -> u32 {
        let number = self.seen.edges.called(process, below, function);
        if self.seen.begins {
            let Now { lane, split, .. } = self.now();
            self.seen.ordinal += 1;
            self.seen.open.insert(number, Open { ordinal: self.seen.ordinal, process, lane, split, doubted: None });
        }
        number
    }

    fn doubted(&mut self, frame: u32, again: bool) {
        self.seen.edges.doubted(frame, again);
        if !again && self.seen.open.contains_key(&frame) {
            let now = self.now();
            self.seen.open.entry(frame).and_modify(|open| open.doubted = Some(now));
        }
    }

    fn sure(&mut self, frame: u32) {
        self.seen.edges.sure(frame);
    }

    fn gone(&mut self, frame: u32) {
        self.seen.edges.gone(frame);
    }

    fn orphaned(&mut self, frame: u32, gone: bool) {
        self.seen.edges.orphaned(frame, gone);
    }

    fn leaves(&mut self, frame: u32) {
        self.seen.edges.leaves(frame);
        self.seen.ending = self.seen.open.remove(&frame);
    }

    fn ended(&mut self, ended: &Ended) {
        // A recursion is one slow call, not one for each of its levels.
        let Some(open) = self.seen.ending.take().filter(|_| !ended.inside) else { return };
        let now = self.now();
        self.seen.ended(ended, open, now);
    }

    fn total(&mut self, _function: FunctionId, _ns: u64) {}
    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {}
    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}

impl Seen {
    fn ended(&mut self, ended: &Ended, open: Open, now: Now) {
        let found = Found { duration: ended.duration, ordinal: Reverse(open.ordinal) };
        if self.found.len() >= self.keep {
            match self.found.peek() {
                Some(Reverse(least)) if *least < found => {
                    let ordinal = least.ordinal.0;
                    self.found.pop();
                    self.facts.remove(&ordinal);
                    self.names.remove(&ordinal);
                }
                _ => return,
            }
        }
        self.found.push(Reverse(found));
        let end = open.doubted.filter(|doubted| doubted.time == ended.start + ended.duration).unwrap_or(now);
        self.facts.insert(open.ordinal, (*ended, open, end.lane, end.split.since(&open.split)));
    }
}

/// The second pass.
#[derive(Debug)]
pub struct Trees {
    slow: Slow,
    stacks: Stacks,
    above: Above,
}

#[derive(Debug, Default)]
struct Above {
    /// When each of the calls ended, by its ordinal.
    wanted: HashMap<u64, u64>,
    known: edges::Known,
    ordinal: u64,
    time: u64,
    begins: bool,
    /// Of each open call, the trees it stands in: (root's ordinal, node).
    open: OpenCalls<Vec<(u64, usize)>>,
    ending: Vec<(u64, usize)>,
    trees: BTreeMap<u64, Vec<Part>>,
}

#[derive(Debug)]
struct Part {
    function: FunctionId,
    depth: usize,
    calls: u64,
    total: u64,
    own: u64,
    children: BTreeMap<FunctionId, usize>,
}

impl Part {
    fn new(function: FunctionId, depth: usize) -> Part {
        Part { function, depth, calls: 1, total: 0, own: 0, children: BTreeMap::new() }
    }
}

impl Trees {
    /// Takes an event, as in the first pass.
    pub fn event(&mut self, event: &Event<'_>, asked: impl FnOnce(FunctionId) -> bool) {
        let Some(step) = step_of(event) else { return };
        (self.above.begins, self.above.time) = (begins(event).is_some_and(asked), event.time);
        self.stacks.step(step, &mut self.above);
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId]) {
        gone.iter().for_each(|tracee| self.stacks.leave(tracee.0, &mut self.above));
    }

    /// A recording ends; the next may begin.
    pub fn end_of_recording(&mut self) {
        self.stacks.end(&mut self.above);
        self.stacks = Stacks::default();
    }

    /// The slowest first.
    pub fn report(self, names: &Names) -> Vec<SlowCall> {
        let Trees { slow, above, .. } = self;
        let mut found: Vec<Found> = slow.seen.found.into_iter().map(|Reverse(found)| found).collect();
        found.sort_by(|a, b| b.cmp(a));
        let call = |found: Found| {
            let ordinal = found.ordinal.0;
            let (ended, _, _, split) = slow.seen.facts.get(&ordinal)?;
            let (recording, process, lanes, at_ns) = slow.seen.names.get(&ordinal)?.clone();
            let parts = above.trees.get(&ordinal)?;
            Some(SlowCall {
                function: label::function(names, ended.function),
                recording,
                at_ns,
                duration_ns: ended.duration,
                own_ns: ended.own,
                raised: ended.raised,
                process,
                lanes,
                split: *split,
                tree: node(parts, 0, names),
            })
        };
        found.into_iter().filter_map(call).take(slow.keep).collect()
    }
}

/// Recursion is bounded by [`DEPTH`].
fn node(parts: &[Part], at: usize, names: &Names) -> Node {
    let part = &parts[at];
    let mut children: Vec<Node> = part.children.values().map(|child| node(parts, *child, names)).collect();
    children.sort_by(|a, b| b.total_ns.cmp(&a.total_ns).then_with(|| a.function.cmp(&b.function)));
    Node {
        function: label::function(names, part.function),
        calls: part.calls,
        total_ns: part.total,
        own_ns: part.own,
        children,
    }
}

impl Observer for Above {
    fn called(&mut self, _process: u32, below: &Below<'_>, function: FunctionId) -> u32 {
        let (mut places, parent) = (Vec::new(), self.known.parent(below, function));
        for (root, below) in self.open.get(parent).into_iter().flatten() {
            let Some(parts) = self.trees.get_mut(root) else { continue };
            if self.wanted.get(root).is_some_and(|end| *end <= self.time) {
                continue;
            }
            let (next, depth) = (parts.len(), parts[*below].depth + 1);
            match parts[*below].children.get(&function).copied() {
                Some(known) => {
                    parts[known].calls += 1;
                    places.push((*root, known));
                }
                None if next < NODES && depth <= DEPTH => {
                    parts.push(Part::new(function, depth));
                    parts[*below].children.insert(function, next);
                    places.push((*root, next));
                }
                None => {}
            }
        }
        if self.begins {
            self.ordinal += 1;
            if self.wanted.contains_key(&self.ordinal) {
                self.trees.insert(self.ordinal, vec![Part::new(function, 0)]);
                places.push((self.ordinal, 0));
            }
        }
        if places.is_empty() { 0 } else { self.open.insert(places) }
    }

    fn leaves(&mut self, frame: u32) {
        self.ending = self.open.remove(frame).unwrap_or_default();
    }

    fn ended(&mut self, ended: &Ended) {
        for (root, at) in &self.ending {
            if let Some(part) = self.trees.get_mut(root).and_then(|parts| parts.get_mut(*at)) {
                part.total = part.total.saturating_add(ended.duration);
                part.own = part.own.saturating_add(ended.own);
            }
        }
    }

    fn total(&mut self, _function: FunctionId, _ns: u64) {}
    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {}
    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}
