//! Where the time went: stacks as a tree, with the time spent on top of each.
//!
//! Loops of tail calls would make towers without end: a function that calls a
//! function already below it stands on that one's place again, unless the same
//! call was ever seen to return. See "Folding" in `docs/SEMANTICS.md`.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::model::calls::step_of;
use crate::model::filter::Filter;
use crate::model::label;
use crate::model::stack::{Clip, Ended, Observer, Stacks};
use crate::read::{Event, FunctionId, Names};

/// Towers are cut here; what is above counts for the frame at the cut.
const MAX_DEPTH: u32 = 300;

/// Which calls were seen to return to their caller: pairs that are no tail calls.
#[derive(Debug, Default)]
pub struct Returning {
    stacks: Stacks,
    known: HashSet<(FunctionId, FunctionId)>,
}

impl Returning {
    /// Takes an event.
    pub fn event(&mut self, event: &Event<'_>) {
        if let Some(step) = step_of(event) {
            self.stacks.step(step, &mut Nobody);
        }
    }

    /// A recording ends; the next may begin.
    pub fn end_of_recording(&mut self) {
        self.known.extend(self.stacks.returning_calls());
        self.stacks = Stacks::default();
    }
}

/// Only the stacks are of interest.
struct Nobody;

impl Observer for Nobody {
    fn called(&mut self, _: u32, _: u32, _: FunctionId) -> u32 {
        0
    }
    fn ended(&mut self, _: &Ended) {}
    fn total(&mut self, _: FunctionId, _: u64) {}
    fn clipped(&mut self, _: Option<FunctionId>, _: Clip) {}
    fn spent(&mut self, _: u32, _: u64, _: bool) {}
}

/// The tree, over one recording after the other.
#[derive(Debug)]
pub struct Flame {
    stacks: Stacks,
    tree: Tree,
}

#[derive(Debug)]
struct Tree {
    returning: HashSet<(FunctionId, FunctionId)>,
    /// Node 0 is the root.
    nodes: Vec<Node>,
    /// (node, what is above it) to node.
    children: HashMap<(u32, Above), u32>,
    /// The base of each process, when they stand apart.
    bases: Option<Vec<u32>>,
    groups: Vec<String>,
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
    pub fn new(returning: Returning, per_process: bool) -> Flame {
        let root = Node { what: None, parent: 0, depth: 0, calls: 0, wall: 0, on: 0 };
        let tree = Tree {
            returning: returning.known,
            nodes: vec![root],
            children: HashMap::new(),
            bases: per_process.then(Vec::new),
            groups: Vec::new(),
        };
        Flame { stacks: Stacks::default(), tree }
    }

    /// Takes an event; `group` names its process's group, asked once a process.
    pub fn event(&mut self, event: &Event<'_>, group: impl FnOnce() -> String) {
        let Some(step) = step_of(event) else { return };
        self.tree.know_process(step.process, group);
        self.stacks.step(step, &mut self.tree);
    }

    /// A recording ends; the next may begin.
    pub fn end_of_recording(&mut self) {
        self.stacks.end(&mut self.tree);
        self.stacks = Stacks::default();
        if let Some(bases) = &mut self.tree.bases {
            bases.clear();
        }
    }

    /// The finished tree: time on a scheduler, or wall time. With a filter on
    /// functions, only stacks that hold one of them.
    pub fn report(&self, names: &Names, filter: &Filter, on_scheduler: bool) -> Frame {
        let mut by_parent: Vec<Vec<u32>> = vec![Vec::new(); self.tree.nodes.len()];
        for (number, node) in self.tree.nodes.iter().enumerate().skip(1) {
            by_parent[node.parent as usize].push(number as u32);
        }
        let mut takes: HashMap<FunctionId, bool> = HashMap::new();
        let all = filter.takes_all_functions();
        let mut build = Build { flame: self, names, by_parent: &by_parent, on_scheduler };
        build.frame(0, all, &mut |id| *takes.entry(id).or_insert_with(|| filter.takes_function(names, id))).unwrap_or(
            Frame { name: "all".into(), module: String::new(), calls: 0, own_ns: 0, total_ns: 0, children: Vec::new() },
        )
    }
}

struct Build<'a> {
    flame: &'a Flame,
    names: &'a Names,
    by_parent: &'a [Vec<u32>],
    on_scheduler: bool,
}

impl Build<'_> {
    /// The frame of a node; `None` when nothing of it is asked for. Recursion is
    /// bounded by [`MAX_DEPTH`].
    fn frame(&mut self, number: u32, taken: bool, takes: &mut dyn FnMut(FunctionId) -> bool) -> Option<Frame> {
        let node = &self.flame.tree.nodes[number as usize];
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
        if !taken && children.is_empty() {
            return None;
        }
        let (name, module) = match node.what {
            None => ("all".to_owned(), String::new()),
            Some(Above::Group(group)) => (self.flame.tree.groups[group as usize].clone(), String::new()),
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
    fn know_process(&mut self, process: u32, group: impl FnOnce() -> String) {
        let Some(bases) = &mut self.bases else { return };
        let at = process as usize;
        if bases.len() <= at {
            bases.resize(at + 1, 0);
        }
        if bases[at] != 0 {
            return;
        }
        let group = group();
        let number = self.groups.iter().position(|known| *known == group).unwrap_or_else(|| {
            self.groups.push(group);
            self.groups.len() - 1
        });
        let base = self.above(0, Above::Group(number as u32));
        if let Some(bases) = &mut self.bases {
            bases[at] = base;
        }
    }

    fn above(&mut self, below: u32, what: Above) -> u32 {
        let next = self.nodes.len() as u32;
        let node = *self.children.entry((below, what)).or_insert(next);
        if node == next {
            let depth = self.nodes[below as usize].depth + 1;
            self.nodes.push(Node { what: Some(what), parent: below, depth, calls: 0, wall: 0, on: 0 });
        }
        node
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

impl Observer for Tree {
    fn called(&mut self, process: u32, parent: u32, function: FunctionId) -> u32 {
        let base = self.bases.as_ref().and_then(|bases| bases.get(process as usize)).copied().unwrap_or(0);
        let place = self.place(if parent == 0 { base } else { parent }, function);
        self.nodes[place as usize].calls += 1;
        place
    }

    fn ended(&mut self, _ended: &Ended) {}

    fn total(&mut self, _function: FunctionId, _ns: u64) {}

    fn clipped(&mut self, _function: Option<FunctionId>, _why: Clip) {}

    fn spent(&mut self, frame: u32, ns: u64, on_scheduler: bool) {
        let node = &mut self.nodes[frame as usize];
        node.wall = node.wall.saturating_add(ns);
        if on_scheduler {
            node.on = node.on.saturating_add(ns);
        }
    }
}
