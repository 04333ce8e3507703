//! Processes: their lives, what their time went to, their messages and memory.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;
use spoor_format::record::Body;

use crate::model::cut::Cut;
use crate::model::filter::{EventFilter, Filter};
use crate::model::group::Groups;
use crate::model::processes::{Known, Processes};
use crate::model::slots::Slots;
use crate::model::split::Split;
use crate::model::states::States;
use crate::read::{Event, Recording, TraceeId, kind};

/// Bytes of a word: recordings are of 64-bit VMs.
const WORD: u64 = 8;

/// The processes of one recording.
#[derive(Debug)]
pub struct Procs {
    cut: Cut,
    lanes: EventFilter,
    states: States,
    seen: Slots<Seen>,
}

#[derive(Debug, Clone, Default)]
struct Seen {
    asked_for: bool,
    begun: bool,
    /// When it was spawned, if that was its first event; else it lived before.
    since: u64,
    last: u64,
    born: Option<u64>,
    died: Option<u64>,
    reason: Option<String>,
    slices: u64,
    sent: u64,
    received: u64,
    collections: u64,
    memory: Option<Memory>,
}

/// Heap of a process in bytes: what the VM has set aside for it, as seen at the end of its
/// garbage collections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Memory {
    /// After the first collection in the window.
    pub first_bytes: u64,
    /// After the last.
    pub last_bytes: u64,
    /// The most after any.
    pub peak_bytes: u64,
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Row {
    /// Its pid.
    pub process: String,
    /// Registered name, label or initial call.
    pub name: Option<String>,
    /// Its parent's pid.
    pub parent: Option<String>,
    /// When it was spawned, in nanoseconds since the start of the recording; null
    /// for before the window, or the recording.
    pub born_ns: Option<u64>,
    /// When it exited; null when it did not in the window.
    pub died_ns: Option<u64>,
    /// Its exit reason.
    pub reason: Option<String>,
    /// As much of the window as it lived; where some threads are asked for, its time on these.
    pub life_ns: u64,
    /// What it spent this on: adds up to it.
    pub split: Split,
    /// How often it was scheduled in.
    pub slices: u64,
    /// Messages that it sent.
    pub sent: u64,
    /// Messages that came to it.
    pub received: u64,
    /// Garbage collections.
    pub collections: u64,
    /// Its heap; null without garbage collections.
    pub memory: Option<Memory>,
}

/// A group of processes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GroupRow {
    /// What its processes have in common.
    pub group: String,
    /// How many lived in the window, and had events in it or around it.
    pub processes: u64,
    /// Of these, spawned in the window.
    pub born: u64,
    /// Of these, exited in the window.
    pub died: u64,
    /// The sum of their lives.
    pub life_ns: u64,
    /// What they spent this on: adds up to it.
    pub split: Split,
    /// How often they were scheduled in.
    pub slices: u64,
    /// Messages that they sent.
    pub sent: u64,
    /// Messages that came to them.
    pub received: u64,
    /// Garbage collections.
    pub collections: u64,
    /// Heap of all, each as last seen.
    pub last_bytes: u64,
    /// The largest that one of them was.
    pub peak_bytes: u64,
    /// The sum over processes of last less first, where it grew.
    pub grown_bytes: u64,
}

impl Procs {
    /// Of a recording.
    pub fn new(recording: &Recording) -> Procs {
        Procs::within(recording, Cut::all(recording))
    }

    /// Of a part of a recording: events around it are to be handed in, too.
    pub fn within(recording: &Recording, cut: Cut) -> Procs {
        let (states, lanes) = (States::within(recording, cut), EventFilter::default());
        Procs { cut, lanes, states, seen: Slots::default() }
    }

    /// Of some threads: what processes did there. What they were off for is on none.
    pub fn on(self, recording: &Recording, filter: &Filter) -> Procs {
        let lanes = || EventFilter::new(filter, recording);
        Procs { lanes: lanes(), states: self.states.on(lanes()), ..self }
    }

    /// Takes an event; a process none of whose events is asked for is left out.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) {
        if !matches!(event.identity(), Identity::Process(_)) {
            return;
        }
        self.states.event(event, processes);
        if event.time < self.cut.since && !self.states.knows(event.tracee) {
            return;
        }
        let seen = self.seen.entry(event.tracee.0);
        seen.asked_for |= asked_for;
        if !std::mem::replace(&mut seen.begun, true) && event.kind == kind::SPAWNED {
            seen.since = event.time;
        }
        // Times of damaged chunks may go back.
        seen.last = seen.last.max(event.time);
        match event.kind {
            kind::SPAWNED => seen.born = Some(event.time),
            kind::EXIT => seen.died = Some(event.time),
            _ => {}
        }
        if !self.cut.holds(event.time) {
            return;
        }
        let here = self.lanes.takes_lane(event.lane);
        match event.kind {
            kind::EXIT => {
                if let Some(Body::Exit { reason }) = event.detail().body() {
                    seen.reason = event.detail().term_text(reason, event.names(), &event.recording().pids);
                }
            }
            _ if !here => {}
            kind::IN | kind::IN_EXITING => seen.slices += 1,
            kind::SEND | kind::SEND_TO_NON_EXISTING => seen.sent += 1,
            kind::RECEIVE => seen.received += 1,
            of if kind::ends_gc(of) => {
                seen.collections += 1;
                seen.remember(heap_bytes(event));
            }
            _ => {}
        }
    }

    /// A process that exited so long ago that it has no more events, if one has been found
    /// by the last event: of many that come and go, only those are kept that are there.
    pub fn let_go(&mut self, known: &Known<'_>) -> Option<(TraceeId, Row)> {
        let tracee = self.states.leaving()?;
        let seen = self.seen.remove(tracee.0);
        // Whoever has exited has no time behind its last event.
        let split = seen.as_ref().map(|seen| self.states.split(tracee, Some(seen.last))).unwrap_or_default();
        self.states.remove(tracee);
        let seen = seen.filter(|seen| seen.asked_for && seen.lived_in(&self.cut))?;
        Some((tracee, self.row_of(known, tracee, &seen, seen.last, split)))
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId], known: &Known<'_>) -> Vec<(TraceeId, Row)> {
        let rows = gone.iter().filter_map(|tracee| Some((*tracee, self.row(*tracee, known)?))).collect();
        for tracee in gone {
            self.seen.remove(tracee.0);
            self.states.remove(*tracee);
        }
        rows
    }

    fn row(&self, tracee: TraceeId, known: &Known<'_>) -> Option<Row> {
        let seen = self.seen.get(tracee.0).filter(|seen| seen.asked_for && seen.lived_in(&self.cut))?;
        let until = if seen.died.is_some() { seen.last } else { u64::MAX };
        Some(self.row_of(known, tracee, seen, until, self.states.split(tracee, Some(until))))
    }

    /// The processes that are left, by pid.
    pub fn rows(&self, known: &Known<'_>) -> Vec<(TraceeId, Row)> {
        let mut rows: Vec<(Identity, TraceeId, Row)> = Vec::new();
        for tracee in self.seen.numbers().into_iter().map(TraceeId) {
            let Some(row) = self.row(tracee, known) else { continue };
            rows.push((known.tracees.identity(tracee), tracee, row));
        }
        rows.sort_by_key(|(identity, _, _)| *identity);
        rows.into_iter().map(|(_, tracee, row)| (tracee, row)).collect()
    }

    fn row_of(&self, known: &Known<'_>, tracee: TraceeId, seen: &Seen, until: u64, split: Split) -> Row {
        let (recording, pids) = (known.recording, &known.recording.pids);
        let at = |time: u64| time.saturating_sub(recording.start_ns);
        let inside = |time: &u64| self.cut.holds(*time);
        let parent = known.processes.get(tracee).and_then(|process| process.parent);
        let (mut split, mut life_ns) = (split, self.cut.part(seen.since, until));
        if !self.lanes.takes_all_lanes() {
            split = split.on_threads();
            life_ns = split.sum_ns();
        }
        Row {
            process: pids.text(known.tracees.identity(tracee)),
            name: known.processes.title(tracee, known.names),
            parent: parent.map(|word| pids.text(Identity::Process(word))),
            born_ns: seen.born.filter(inside).map(at),
            died_ns: seen.died.filter(inside).map(at),
            reason: seen.reason.clone(),
            life_ns,
            split,
            slices: seen.slices,
            sent: seen.sent,
            received: seen.received,
            collections: seen.collections,
            memory: seen.memory,
        }
    }
}

impl Seen {
    fn lived_in(&self, cut: &Cut) -> bool {
        self.since < cut.before && (self.died.is_none() || self.last >= cut.from)
    }

    fn remember(&mut self, bytes: Option<u64>) {
        let Some(bytes) = bytes else { return };
        let memory = self.memory.get_or_insert(Memory { first_bytes: bytes, ..Memory::default() });
        memory.last_bytes = bytes;
        memory.peak_bytes = memory.peak_bytes.max(bytes);
    }
}

/// Both heaps' blocks.
fn heap_bytes(event: &Event<'_>) -> Option<u64> {
    let (Body::GcMinorEnd { sizes } | Body::GcMajorEnd { sizes }) = event.detail().body()? else { return None };
    let size = |name: &str| {
        let at = spoor_format::record::GC_SIZES.iter().position(|known| *known == name)?;
        sizes.iter().nth(at)
    };
    let words = size("heap_block_size")?.saturating_add(size("old_heap_block_size").unwrap_or(0));
    Some(words.saturating_mul(WORD))
}

/// Sums processes up by group, over several recordings.
#[derive(Debug, Default)]
pub struct Sums {
    rows: BTreeMap<u32, GroupRow>,
}

impl Sums {
    /// Adds a process.
    pub fn add(&mut self, group: u32, row: &Row) {
        let sum = self.rows.entry(group).or_default();
        sum.processes += 1;
        sum.born += u64::from(row.born_ns.is_some());
        sum.died += u64::from(row.died_ns.is_some());
        sum.life_ns = sum.life_ns.saturating_add(row.life_ns);
        sum.split.add(&row.split);
        sum.slices += row.slices;
        sum.sent += row.sent;
        sum.received += row.received;
        sum.collections += row.collections;
        let memory = row.memory.unwrap_or_default();
        sum.last_bytes = sum.last_bytes.saturating_add(memory.last_bytes);
        sum.peak_bytes = sum.peak_bytes.max(memory.peak_bytes);
        sum.grown_bytes = sum.grown_bytes.saturating_add(memory.last_bytes.saturating_sub(memory.first_bytes));
    }

    /// The groups, those with the most time on schedulers first.
    pub fn report(self, groups: &Groups) -> Vec<GroupRow> {
        let titles = groups.titles();
        let mut sums: BTreeMap<&str, GroupRow> = BTreeMap::new();
        for (number, row) in &self.rows {
            let Some(title) = titles.get(*number as usize) else { continue };
            let sum = sums.entry(title).or_default();
            sum.group.clone_from(title);
            sum.processes += row.processes;
            sum.born += row.born;
            sum.died += row.died;
            sum.life_ns = sum.life_ns.saturating_add(row.life_ns);
            sum.split.add(&row.split);
            sum.slices += row.slices;
            sum.sent += row.sent;
            sum.received += row.received;
            sum.collections += row.collections;
            sum.last_bytes = sum.last_bytes.saturating_add(row.last_bytes);
            sum.peak_bytes = sum.peak_bytes.max(row.peak_bytes);
            sum.grown_bytes = sum.grown_bytes.saturating_add(row.grown_bytes);
        }
        let mut rows: Vec<GroupRow> = sums.into_values().collect();
        let busy = |row: &GroupRow| on_cpu_ns(&row.split);
        rows.sort_by(|a, b| {
            busy(b).cmp(&busy(a)).then(b.processes.cmp(&a.processes)).then_with(|| a.group.cmp(&b.group))
        });
        rows
    }
}

/// Time on any scheduler, as far as the events say.
pub fn on_cpu_ns(split: &Split) -> u64 {
    split.running_ns + split.dirty_ns + split.gc_ns + split.port_ns
}
