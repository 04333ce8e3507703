//! Where the time went: stacks as a tree, with the time spent on top of each.
//!
//! Loops of tail calls would make towers without end: a function that calls a
//! function already below it stands on that one's place again, unless the same
//! call was ever seen to return. See "Folding" in `docs/SEMANTICS.md`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::model::edges;
use crate::model::filter::Filter;
use crate::model::label;
use crate::model::shares::{Shares, Table};
use crate::model::stack::{Below, Clip, Ended, Observer, Stacks, Step};
use crate::model::told::Told;
use crate::read::{FunctionId, Names, kind};

/// Towers are cut here; what is above counts for the frame at the cut.
const MAX_DEPTH: u32 = 300;
/// Stacks told apart in one share of the processes; of further ones the time counts
/// for what they stand on, and their calls are counted.
const MOST_NODES: usize = 1 << 15;

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
}

#[derive(Debug)]
struct Node {
    what: Option<Above>,
    parent: u32,
    depth: u32,
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
    /// How often it was called from here.
    pub calls: u64,
    /// Time on top.
    pub own_ns: u64,
    /// Time on top and above.
    pub total_ns: u64,
    /// What it called, by name.
    pub children: Vec<Frame>,
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
            nodes: vec![Node { what: None, parent: 0, depth: 0, calls: 0, wall: 0, on: 0 }],
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
    /// functions, only stacks that hold one of them. Groups have these titles. Also
    /// answers how many calls stand on what they were called from, as there were too
    /// many stacks.
    pub fn report(self, names: &Names, groups: &[String], filter: &Filter, on_scheduler: bool) -> (Frame, u64) {
        let mut takes: HashMap<FunctionId, bool> = HashMap::new();
        let all = filter.takes_all_functions();
        let name = "all".to_owned();
        let mut root = Frame { name, module: String::new(), calls: 0, own_ns: 0, total_ns: 0, children: Vec::new() };
        let mut beyond = 0;
        // One after the other, so that no more than one of them is there twice.
        for tree in self.shares.into_tables() {
            beyond += tree.beyond;
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
        (root, beyond)
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
        Some(Frame { name, module, calls: node.calls, own_ns, total_ns, children })
    }
}

fn merge(into: &mut Frame, from: Frame) {
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
        if self.nodes.len() >= MOST_NODES {
            self.beyond += u64::from(self.counts);
            return below;
        }
        let next = self.nodes.len() as u32;
        let depth = self.nodes[below as usize].depth + 1;
        self.nodes.push(Node { what: Some(what), parent: below, depth, calls: 0, wall: 0, on: 0 });
        self.children.insert((below, what), next);
        next
    }

    /// Where a call from `parent` stands.
    fn place(&mut self, parent: u32, function: FunctionId) -> u32 {
        let node = &self.nodes[parent as usize];
        if let Some(Above::Function(caller)) = node.what
            && !self.returning.contains(&(caller, function))
        {
            let mut below = parent;
            while let Some(Above::Function(known)) = self.nodes[below as usize].what {
                if known == function {
                    return below;
                }
                below = self.nodes[below as usize].parent;
            }
        }
        if self.nodes[parent as usize].depth >= MAX_DEPTH {
            return parent;
        }
        self.above(parent, Above::Function(function))
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
        let parent = self.known.parent(below, function);
        let below = match &self.groups {
            Some(groups) if parent == 0 => {
                let group = groups.of(process);
                self.above(0, Above::Group(group))
            }
            _ => parent,
        };
        let place = self.place(below, function);
        self.nodes[place as usize].calls += u64::from(self.counts);
        place
    }

    fn ended(&mut self, _ended: &Ended) {}

    fn total(&mut self, _function: FunctionId, _ns: u64) {}

    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {}

    fn spent(&mut self, frame: u32, ns: u64, on_scheduler: bool) {
        if !self.counts {
            return;
        }
        let node = &mut self.nodes[frame as usize];
        node.wall = node.wall.saturating_add(ns);
        if on_scheduler {
            node.on = node.on.saturating_add(ns);
        }
    }
}
