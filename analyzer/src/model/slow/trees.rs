//! The second pass: what the time of the slowest calls went to, and what they called.
//!
//! A call that was found is known to be open from its begin to its end: whatever its process
//! calls in between stands in its tree, on the nearest call that is known to be open, or may be
//! and is known to make such calls, and on the slow call itself when there is no such between.

use std::collections::{BTreeMap, HashMap, VecDeque};

use spoor_format::chunk::Identity;

use super::{Beyond, Found, Node, SlowCall};
use crate::model::calls::step_of;
use crate::model::cut::Cut;
use crate::model::edges;
use crate::model::label;
use crate::model::open_calls::OpenCalls;
use crate::model::processes::{Known, Processes};
use crate::model::split::Split;
use crate::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use crate::model::states::States;
use crate::read::{Event, FunctionId, Names, Recording, TraceeId, Window, kind};

/// Nodes that the tree of one call may have; what is beyond is counted by its caller.
const NODES: usize = 1_000;
/// And their depth.
const DEPTH: usize = 50;

/// The second pass, over the stretches in which calls were found.
#[derive(Debug)]
pub struct Trees {
    above: Above,
    /// There are `in` and `out` events.
    runs: bool,
    recording: usize,
    stacks: Stacks,
    states: Option<States>,
    /// When the stretch begins: of what comes before, only the last of each thread is known.
    since: u64,
    /// Those of the stretch, by whose they are; and whether these tracees are among them.
    wanted: HashMap<Identity, Vec<usize>>,
    is_wanted: Vec<Option<bool>>,
}

#[derive(Debug)]
struct Above {
    /// The slowest first.
    found: Vec<Found>,
    told: Vec<Account>,
    known: edges::Known,
    /// Those that begin now.
    begins: Vec<usize>,
    /// By process.
    turns: HashMap<u32, Turns>,
    /// Those that are open: the process, and which.
    active: Vec<(u32, usize)>,
    /// Of each open call, where it stands, in one tree or in several.
    open: OpenCalls<Vec<Place>>,
    ending: Vec<Place>,
}

/// Where a call stands: in the tree of which slow call, at which node; or so many levels beyond it.
#[derive(Debug, Clone, Copy)]
struct Place {
    tree: usize,
    node: usize,
    beyond: u64,
}

/// Calls of a process: given to the stacks, and taken, which may be later.
#[derive(Debug, Default)]
struct Turns {
    given: u64,
    taken: u64,
    /// Calls that begin, and in which turn.
    begins: VecDeque<(u64, usize)>,
}

/// What is told of a slow call.
#[derive(Debug, Default)]
struct Account {
    recording: String,
    at: u64,
    /// By its name, or its pid alone as long as it is not known.
    process: String,
    tracee: Option<TraceeId>,
    /// Calls of the function that began in its process when it did, so far.
    before: u32,
    lanes: Option<(String, String)>,
    begun: Split,
    split: Split,
    tree: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    function: FunctionId,
    depth: usize,
    calls: u64,
    total: u64,
    own: u64,
    children: BTreeMap<FunctionId, usize>,
    beyond: Beyond,
}

impl Part {
    fn new(function: FunctionId, depth: usize) -> Part {
        let (children, beyond) = Default::default();
        Part { function, depth, calls: 1, total: 0, own: 0, children, beyond }
    }

    fn root(call: &Found) -> Part {
        Part { total: call.duration, own: call.own, ..Part::new(call.function, 0) }
    }
}

impl Trees {
    pub(super) fn new(found: Vec<Found>, known: edges::Known, runs: bool) -> Trees {
        let told = found.iter().map(|call| Account { tree: vec![Part::root(call)], ..Account::default() }).collect();
        let (begins, turns, active, open, ending) = Default::default();
        let above = Above { found, told, known, begins, turns, active, open, ending };
        let (wanted, is_wanted) = Default::default();
        Trees { above, runs, recording: 0, stacks: Stacks::default(), states: None, since: 0, wanted, is_wanted }
    }

    /// When the calls that were found in the next recording were open, the first first.
    pub fn windows(&self) -> Vec<Window> {
        let of_this = self.above.found.iter().filter(|call| call.recording == self.recording);
        let mut windows: Vec<Window> =
            of_this.map(|call| Window { from_ns: call.start, to_ns: call.end().saturating_add(1) }).collect();
        windows.sort_by_key(|window| (window.from_ns, window.to_ns));
        windows
    }

    /// A stretch of the recording comes, with all calls that were open in it alone.
    pub fn begin(&mut self, recording: &Recording, read: Window) {
        let cut = Cut { from: read.from_ns, to: u64::MAX, before: u64::MAX, ..Cut::new(recording, read, read) };
        (self.states, self.since) = (Some(States::within(recording, cut).knowing(self.runs)), read.from_ns);
        (self.stacks, self.wanted, self.is_wanted) = (Stacks::default(), HashMap::new(), Vec::new());
        self.above.turns.clear();
        let Above { found, told, .. } = &mut self.above;
        for (at, (call, told)) in found.iter().zip(told).enumerate() {
            let inside = call.start >= read.from_ns && call.end() < read.to_ns;
            if call.recording != self.recording || !inside || told.lanes.is_some() {
                continue;
            }
            told.recording.clone_from(&recording.path);
            told.process = recording.pids.text(call.whose);
            told.at = call.start.saturating_sub(recording.start_ns);
            self.wanted.entry(call.whose).or_default().push(at);
        }
    }

    /// Takes an event of the stretch; `asked_for` as in the first pass.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) {
        let Some(states) = &mut self.states else { return };
        let number = event.tracee.0 as usize;
        if self.is_wanted.len() <= number {
            self.is_wanted.resize(number + 1, None);
        }
        let wanted = *self.is_wanted[number].get_or_insert_with(|| self.wanted.contains_key(&event.identity()));
        if !wanted {
            return states.beside(event, processes);
        }
        states.event(event, processes);
        states.let_go();
        let Some(calls) = self.wanted.get(&event.identity()) else { return };
        self.above.look(event, states, calls, asked_for);
        if let Some(step) = step_of(event).filter(|step| step.time >= self.since) {
            self.above.gives(&step);
            self.stacks.step(step, asked_for, &mut self.above);
        }
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId], known: &Known<'_>) {
        for tracee in gone {
            self.states.iter_mut().for_each(|states| states.remove(*tracee));
            if self.is_wanted.get_mut(tracee.0 as usize).and_then(Option::take) == Some(true) {
                self.stacks.leave(tracee.0, &mut self.above);
                self.above.turns.remove(&tracee.0);
                self.above.name(|of| of == *tracee, |of| known.full_name(of));
            }
        }
    }

    /// The stretch ends: names are given to those who are there still.
    pub fn end(&mut self, who: impl Fn(TraceeId) -> String) {
        self.stacks.end(&mut self.above);
        self.states = None;
        self.above.active.clear();
        self.above.name(|_| true, who);
    }

    /// A recording ends; the next may come.
    pub fn end_of_recording(&mut self) {
        self.recording += 1;
    }

    /// The slowest first.
    pub fn report(self, names: &Names) -> Vec<SlowCall> {
        let calls = self.above.found.into_iter().zip(self.above.told);
        calls.map(|(found, told)| told.report(&found, names)).collect()
    }
}

impl Account {
    fn report(self, found: &Found, names: &Names) -> SlowCall {
        // Gone from the file in the meantime, which is being written.
        let unknown = || Split { unknown_ns: found.duration, ..Split::default() };
        let split = if self.lanes.is_some() { self.split } else { unknown() };
        SlowCall {
            function: label::function(names, found.function),
            recording: self.recording,
            at_ns: self.at,
            duration_ns: found.duration,
            own_ns: found.own,
            raised: found.raised,
            process: self.process,
            lanes: self.lanes.unwrap_or_else(|| ("?".to_owned(), "?".to_owned())),
            split,
            tree: node(&self.tree, 0, names),
        }
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
        beyond: (part.beyond.calls > 0).then_some(part.beyond),
    }
}

impl Above {
    /// Which of these calls of its process begin with the event, and which end?
    fn look(&mut self, event: &Event<'_>, states: &States, calls: &[usize], asked_for: bool) {
        self.begins.clear();
        let lane = || event.recording().lane_name(event.lane);
        for at in calls {
            let (call, told) = (&self.found[*at], &mut self.told[*at]);
            let begins = event.kind == kind::CALL && event.function == Some(call.function) && call.start == event.time;
            if begins && asked_for {
                told.before += 1;
                if told.before == call.nth + 1 {
                    (told.tracee, told.lanes) = (Some(event.tracee), Some((lane(), lane())));
                    told.begun = states.split(event.tracee, None);
                    self.begins.push(*at);
                }
            }
            if call.end() == event.time
                && let Some((_, last)) = &mut told.lanes
            {
                *last = lane();
                told.split = states.split(event.tracee, None).since(&told.begun);
            }
        }
    }

    /// The step of the event is given to the stacks. If it is a call, it will be taken in its turn, once.
    fn gives(&mut self, step: &Step) {
        if step.kind != kind::CALL {
            return;
        }
        let turns = self.turns.entry(step.process).or_default();
        turns.given += 1;
        turns.begins.extend(self.begins.drain(..).map(|at| (turns.given, at)));
    }

    fn name(&mut self, these: impl Fn(TraceeId) -> bool, who: impl Fn(TraceeId) -> String) {
        for told in &mut self.told {
            if let Some(tracee) = told.tracee.take_if(|tracee| these(*tracee)) {
                told.process = who(tracee);
            }
        }
    }
}

impl Observer for Above {
    fn before(&mut self, step: &Step, _: bool) {
        let Above { found, turns, begins, active, .. } = self;
        active.retain(|(whose, at)| *whose != step.process || found[*at].end() > step.time);
        begins.clear();
        if step.kind == kind::CALL
            && let Some(turns) = turns.get_mut(&step.process)
        {
            turns.taken += 1;
            let now = turns.begins.partition_point(|(turn, _)| *turn <= turns.taken);
            begins.extend(turns.begins.drain(..now).map(|(_, at)| at));
        }
    }

    fn called(&mut self, process: u32, below: &Below<'_>, function: FunctionId) -> u32 {
        let mut places = Vec::new();
        if self.active.iter().any(|(whose, _)| *whose == process) {
            let parent = self.known.parent(below, function).map_or(0, |caller| caller.frame);
            let stands = self.open.get(parent).map_or(&[][..], Vec::as_slice);
            for (_, tree) in self.active.iter().filter(|(whose, _)| *whose == process) {
                let below = stands.iter().find(|place| place.tree == *tree);
                let below = below.copied().unwrap_or(Place::root(*tree));
                places.push(called_from(&mut self.told[*tree].tree, below, function));
            }
        }
        for tree in self.begins.drain(..) {
            self.active.push((process, tree));
            places.push(Place::root(tree));
        }
        if places.is_empty() { 0 } else { self.open.insert(places) }
    }

    fn leaves(&mut self, frame: u32) {
        self.ending = self.open.remove(frame).unwrap_or_default();
    }

    fn ended(&mut self, ended: &Ended) {
        let end = ended.start.saturating_add(ended.duration);
        for Place { tree, node, beyond } in &self.ending {
            let part = self.told[*tree].tree.get_mut(*node).filter(|_| end <= self.found[*tree].end());
            match (part, beyond) {
                (Some(part), 0) if *node > 0 => {
                    part.total = part.total.saturating_add(ended.duration);
                    part.own = part.own.saturating_add(ended.own);
                }
                (Some(part), 1) => part.beyond.total_ns = part.beyond.total_ns.saturating_add(ended.duration),
                _ => {}
            }
        }
    }

    fn total(&mut self, _function: FunctionId, _ns: u64) {}
    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {}
    fn spent(&mut self, _frame: u32, _ns: u64, _on_scheduler: bool) {}
}

impl Place {
    fn root(tree: usize) -> Place {
        Place { tree, node: 0, beyond: 0 }
    }
}

/// The place of a call from the one at `below`.
fn called_from(parts: &mut Vec<Part>, below: Place, function: FunctionId) -> Place {
    let (next, Place { node, beyond, .. }) = (parts.len(), below);
    let part = &mut parts[node];
    let depth = part.depth + 1;
    if beyond == 0
        && let Some(known) = part.children.get(&function).copied()
    {
        parts[known].calls += 1;
        return Place { node: known, ..below };
    }
    if beyond > 0 || next >= NODES || depth > DEPTH {
        part.beyond.calls += u64::from(beyond == 0);
        part.beyond.levels = part.beyond.levels.max(beyond + 1);
        return Place { beyond: beyond + 1, ..below };
    }
    part.children.insert(function, next);
    parts.push(Part::new(function, depth));
    Place { node: next, ..below }
}
