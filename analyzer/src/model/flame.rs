//! Where the time went: stacks as a tree, with the time spent on top of each.
//!
//! Loops of tail calls would make towers without end: a function that calls a
//! function already below it stands on that one's place again, unless the same
//! call was ever seen to return. See "Folding" in `docs/SEMANTICS.md`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::edges;
use crate::model::filter::Filter;
use crate::model::label;
use crate::model::shares::{Shares, Table};
use crate::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use crate::model::told::Told;
use crate::read::{FunctionId, Names, kind};

/// Towers are cut here; what is above stands in one frame, [`DEEPER`].
pub const MAX_DEPTH: u32 = 300;
/// What stands for all that is above the cut.
const DEEPER: &str = "…";
/// Stacks told apart in one share of the processes; of further ones the time counts
/// for what they stand on, and their calls are counted.
const MOST_NODES: u32 = 1 << 15;
/// Levels above the cut that can be counted: with its node, a call's is in one number.
const MOST_LEVELS: u32 = u32::MAX / MOST_NODES;

/// Which calls were seen to return to their caller, pairs that are no tail calls; and who is
/// known to call whom.
#[derive(Debug)]
pub struct Returning {
    shares: Shares<Seen>,
}

impl Returning {
    /// By at most so many threads: the answer is the same.
    pub fn new(threads: usize) -> Returning {
        Returning { shares: Shares::new(threads, Seen::default) }
    }

    /// What recordings are dealt out to.
    pub fn shares(&mut self) -> &mut Shares<Seen> {
        &mut self.shares
    }

    /// Were there events that say who runs when?
    pub fn running(&self) -> bool {
        self.shares.tables().any(|seen| seen.running)
    }
}

/// What one share of the processes has shown.
#[derive(Debug, Default)]
pub struct Seen {
    returning: HashSet<(FunctionId, FunctionId)>,
    edges: edges::Table,
    running: bool,
}

impl Table for Seen {
    fn end_of_recording(&mut self, stacks: &Stacks) {
        self.returning.extend(stacks.returning_calls());
        self.edges.end_of_recording(stacks);
    }
}

/// Only the stacks are of interest.
impl Observer for Seen {
    #[inline]
    fn before(&mut self, step: &Step, _: bool) {
        self.running |= matches!(step.kind, kind::IN | kind::OUT);
        self.edges.before(step, true);
    }

    fn called(&mut self, process: u32, below: &Below<'_>, function: FunctionId) -> u32 {
        self.edges.called(process, below, function)
    }
    fn doubted(&mut self, frame: u32, again: bool) {
        self.edges.doubted(frame, again);
    }
    fn sure(&mut self, frame: u32) {
        self.edges.sure(frame);
    }
    fn gone(&mut self, frame: u32) {
        self.edges.gone(frame);
    }
    fn orphaned(&mut self, frame: u32, gone: bool) {
        self.edges.orphaned(frame, gone);
    }
    fn leaves(&mut self, frame: u32) {
        self.edges.leaves(frame);
    }
    fn ended(&mut self, _: &Ended) {}
    fn total(&mut self, _: FunctionId, _: u64) {}
    fn clipped(&mut self, _: Option<FunctionId>, _: Clip) {}
    fn spent(&mut self, _: u32, _: u64, _: bool) {}
}

/// The tree, over one recording after the other.
#[derive(Debug)]
pub struct Flame {
    shares: Shares<Tree>,
    groups: Option<Told<u32>>,
}

/// That of one share of the processes.
#[derive(Debug)]
pub struct Tree {
    returning: Arc<HashSet<(FunctionId, FunctionId)>>,
    known: Arc<edges::Known>,
    /// Node 0 is the root.
    nodes: Vec<Node>,
    /// (node, what is above it) to node.
    children: HashMap<(u32, Above), u32>,
    /// The group of each process, when they stand apart.
    groups: Option<Told<u32>>,
    /// Calls of which the stack is one too many.
    beyond: u64,
    /// The event that is looked at is asked for: a call that it begins counts, and the time
    /// since the process's event before.
    counts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Above {
    Function(FunctionId),
    Group(u32),
    /// All that is above the cut.
    Deeper,
}

#[derive(Debug)]
struct Node {
    what: Option<Above>,
    parent: u32,
    depth: u32,
    /// Of what is above the cut: how many levels that was.
    levels: u32,
    calls: u64,
    wall: u64,
    on: u64,
}

/// A node of the finished tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The function, or the process group.
    pub name: String,
    /// Its module; empty for a process group.
    pub module: String,
    /// It stands for so many levels of functions above [`MAX_DEPTH`]; 0 for all others.
    pub levels: u32,
    /// How often it was called from here.
    pub calls: u64,
    /// Time on top.
    pub own_ns: u64,
    /// Time on top and above.
    pub total_ns: u64,
    /// What it called, by name.
    pub children: Vec<Frame>,
}

/// The finished tree, and what it does not tell apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// All of it.
    pub root: Frame,
    /// Calls that stand on what called them, as there were too many stacks.
    pub beyond: u64,
    /// What is above the cut of all stacks, asked for or not.
    pub deeper: Deeper,
}

/// What is above 300 levels: one frame, `…`, on each stack that is cut.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Deeper {
    /// The most levels of one stack; of a loop whose turns are not known to return, one.
    pub levels: u32,
    /// Calls there.
    pub calls: u64,
    /// Time there.
    pub own_ns: u64,
}

impl Flame {
    /// `per_process`: process groups stand apart.
    pub fn new(returning: Returning, threads: usize, per_process: bool) -> Flame {
        let known = Arc::new(edges::Known::of(returning.shares.tables().map(|seen| &seen.edges)));
        let returning = Arc::new(returning.shares.into_tables().flat_map(|seen| seen.returning).collect());
        let groups = per_process.then(Told::default);
        let tree = || Tree {
            returning: Arc::clone(&returning),
            known: Arc::clone(&known),
            nodes: vec![Node { what: None, parent: 0, depth: 0, levels: 0, calls: 0, wall: 0, on: 0 }],
            children: HashMap::new(),
            groups: groups.clone(),
            beyond: 0,
            counts: true,
        };
        Flame { shares: Shares::new(threads, tree), groups }
    }

    /// What recordings are dealt out to, and, when groups stand apart, what must be told
    /// of each process before its first event: the number of its group.
    pub fn shares(&mut self) -> (&mut Shares<Tree>, Option<&Told<u32>>) {
        (&mut self.shares, self.groups.as_ref())
    }

    /// The finished tree: time on a scheduler, or wall time. With a filter on
    /// functions, only stacks that hold one of them. Groups have these titles.
    pub fn report(self, names: &Names, groups: &[String], filter: &Filter, on_scheduler: bool) -> Report {
        let mut takes: HashMap<FunctionId, bool> = HashMap::new();
        let all = filter.takes_all_functions();
        let (name, module, children) = ("all".to_owned(), String::new(), Vec::new());
        let mut root = Frame { name, module, levels: 0, calls: 0, own_ns: 0, total_ns: 0, children };
        let (mut beyond, mut deeper) = (0, Deeper::default());
        // One after the other, so that no more than one of them is there twice.
        for tree in self.shares.into_tables() {
            beyond += tree.beyond;
            tree.nodes.iter().for_each(|node| deeper.add(node, on_scheduler));
            let mut by_parent: Vec<Vec<u32>> = vec![Vec::new(); tree.nodes.len()];
            for (number, node) in tree.nodes.iter().enumerate().skip(1) {
                by_parent[node.parent as usize].push(number as u32);
            }
            let mut build = Build { tree: &tree, groups, names, by_parent: &by_parent, on_scheduler };
            let takes = &mut |id| *takes.entry(id).or_insert_with(|| filter.takes_function(names, id));
            if let Some(frame) = build.frame(0, all, takes) {
                merge(&mut root, frame);
            }
        }
        Report { root, beyond, deeper }
    }
}

impl Deeper {
    fn add(&mut self, node: &Node, on_scheduler: bool) {
        if node.what == Some(Above::Deeper) {
            self.levels = self.levels.max(node.levels);
            self.calls += node.calls;
            self.own_ns = self.own_ns.saturating_add(if on_scheduler { node.on } else { node.wall });
        }
    }
}

struct Build<'a> {
    tree: &'a Tree,
    groups: &'a [String],
    names: &'a Names,
    by_parent: &'a [Vec<u32>],
    on_scheduler: bool,
}

impl Build<'_> {
    /// The frame of a node; `None` when nothing of it is asked for. Recursion is
    /// bounded by [`MAX_DEPTH`].
    fn frame(&mut self, number: u32, taken: bool, takes: &mut dyn FnMut(FunctionId) -> bool) -> Option<Frame> {
        let node = &self.tree.nodes[number as usize];
        let taken = taken || matches!(node.what, Some(Above::Function(id)) if takes(id));
        // Several functions may read the same: they share a frame.
        let mut children: BTreeMap<String, Frame> = BTreeMap::new();
        for child in &self.by_parent[number as usize] {
            let Some(frame) = self.frame(*child, taken, takes) else { continue };
            match children.get_mut(&frame.name) {
                Some(same) => merge(same, frame),
                None => {
                    children.insert(frame.name.clone(), frame);
                }
            }
        }
        let nothing = number > 0 && node.calls == 0 && node.wall == 0;
        if (!taken || nothing) && children.is_empty() {
            return None;
        }
        let (name, module) = match node.what {
            None => ("all".to_owned(), String::new()),
            Some(Above::Group(group)) => {
                (self.groups.get(group as usize).cloned().unwrap_or_else(|| "?".to_owned()), String::new())
            }
            Some(Above::Function(id)) => (label::function(self.names, id), label::module(self.names, id)),
            Some(Above::Deeper) => (DEEPER.to_owned(), String::new()),
        };
        let children: Vec<Frame> = children.into_values().collect();
        let own_ns = if !taken {
            0
        } else if self.on_scheduler {
            node.on
        } else {
            node.wall
        };
        let total_ns = children.iter().fold(own_ns, |sum, child| sum + child.total_ns);
        Some(Frame { name, module, levels: node.levels, calls: node.calls, own_ns, total_ns, children })
    }
}

fn merge(into: &mut Frame, from: Frame) {
    into.levels = into.levels.max(from.levels);
    into.calls += from.calls;
    into.own_ns = into.own_ns.saturating_add(from.own_ns);
    into.total_ns = into.total_ns.saturating_add(from.total_ns);
    for child in from.children {
        match into.children.binary_search_by(|known| known.name.cmp(&child.name)) {
            Ok(at) => merge(&mut into.children[at], child),
            Err(at) => into.children.insert(at, child),
        }
    }
}

impl Tree {
    fn above(&mut self, below: u32, what: Above) -> u32 {
        if let Some(node) = self.children.get(&(below, what)) {
            return *node;
        }
        if self.nodes.len() >= MOST_NODES as usize {
            self.beyond += u64::from(self.counts);
            return below;
        }
        let next = self.nodes.len() as u32;
        let depth = self.nodes[below as usize].depth + 1;
        self.nodes.push(Node { what: Some(what), parent: below, depth, levels: 0, calls: 0, wall: 0, on: 0 });
        self.children.insert((below, what), next);
        next
    }

    /// The node at which a call stands that `parent`'s function makes, or nobody's; and its level above the cut, times
    /// [`MOST_NODES`].
    fn place(&mut self, parent: u32, caller: Option<FunctionId>, function: FunctionId) -> u32 {
        let (node, level) = (parent % MOST_NODES, parent / MOST_NODES);
        let grows = caller.is_none_or(|caller| self.returning.contains(&(caller, function)));
        if !grows && let Some(same) = self.drawn(node, function) {
            return same;
        }
        match level {
            0 if self.nodes[node as usize].depth < MAX_DEPTH => self.above(node, Above::Function(function)),
            0 => match self.above(node, Above::Deeper) {
                full if full == node => node,
                deeper => deeper + MOST_NODES,
            },
            MOST_LEVELS => parent,
            // Not seen to return, it may be a turn of a loop, of which the functions are not known here.
            _ => parent + if grows { MOST_NODES } else { 0 },
        }
    }

    /// The nearest node of the function, from this one down.
    fn drawn(&self, node: u32, function: FunctionId) -> Option<u32> {
        let mut at = node;
        loop {
            match self.nodes[at as usize].what? {
                Above::Function(known) if known == function => return Some(at),
                Above::Group(_) => return None,
                Above::Function(_) | Above::Deeper => at = self.nodes[at as usize].parent,
            }
        }
    }

    /// The node of a call, of which something counts.
    fn node(&mut self, number: u32) -> &mut Node {
        let node = &mut self.nodes[(number % MOST_NODES) as usize];
        node.levels = node.levels.max(number / MOST_NODES);
        node
    }
}

impl Table for Tree {
    fn end_of_recording(&mut self, _: &Stacks) {}
}

impl Observer for Tree {
    #[inline]
    fn before(&mut self, _: &Step, asked_for: bool) {
        self.counts = asked_for;
    }

    fn called(&mut self, process: u32, below: &Below<'_>, function: FunctionId) -> u32 {
        let caller = self.known.parent(below, function);
        let parent = caller.map_or(0, |caller| caller.frame);
        let below = match &self.groups {
            Some(groups) if parent == 0 => {
                let group = groups.of(process);
                self.above(0, Above::Group(group))
            }
            _ => parent,
        };
        let place = self.place(below, caller.map(|caller| caller.function), function);
        if self.counts {
            self.node(place).calls += 1;
        }
        place
    }

    fn ended(&mut self, _ended: &Ended) {}

    fn total(&mut self, _function: FunctionId, _ns: u64) {}

    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {}

    fn spent(&mut self, frame: u32, ns: u64, on_scheduler: bool) {
        if !self.counts {
            return;
        }
        let node = self.node(frame);
        node.wall = node.wall.saturating_add(ns);
        if on_scheduler {
            node.on = node.on.saturating_add(ns);
        }
    }
}
