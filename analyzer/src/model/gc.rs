//! Garbage collections: how long, of whom, of which kind.
//!
//! A pause is the time from the begin of a collection to its end in one process;
//! no other process waits for it.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::record::Body;

use crate::model::group::Groups;
use crate::model::histogram::{Durations, Percentiles};
use crate::model::processes::{Known, Processes};
use crate::read::{Event, Recording, TraceeId, kind};

const WORD: u64 = 8;

/// Garbage collections, over one recording after the other.
#[derive(Debug)]
pub struct Gc {
    keep: usize,
    groups: Groups,
    rows: BTreeMap<(u32, Kind), Stats>,
    open: HashMap<TraceeId, (Kind, u64, u32)>,
    longest: BinaryHeap<std::cmp::Reverse<Pause>>,
    ordinal: u64,
    gone: HashMap<u64, String>,
    named: Vec<PauseRow>,
    window_ns: u64,
}

/// The kind of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Of the young heap.
    Minor,
    /// Of all.
    Major,
}

#[derive(Debug, Default)]
struct Stats {
    pauses: Durations,
    reclaimed: u64,
    untimed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Pause {
    ns: u64,
    at: std::cmp::Reverse<u64>,
    tracee: TraceeId,
    lane: u32,
    kind: Kind,
    /// Among all that were kept: its name is told by this, once its process is gone.
    ordinal: u64,
}

/// Collections of a group of processes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// The group; null for all processes.
    pub group: Option<String>,
    /// The kind; null for both.
    pub kind: Option<Kind>,
    /// Collections with both ends.
    pub collections: u64,
    /// Collections with an end outside the window, or lost.
    pub untimed: u64,
    /// The sum of the pauses.
    pub total_ns: u64,
    /// The same as a part of the window, 0 to 1; more, when several ran at once.
    pub share: f64,
    /// The distribution of the pauses; null when there are none.
    #[serde(flatten)]
    pub pauses: Option<Percentiles>,
    /// Bytes that were reclaimed, as the VM says.
    pub reclaimed_bytes: u64,
}

/// One collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PauseRow {
    /// The recording it is in.
    pub recording: String,
    /// When it began, in nanoseconds since the start of the recording.
    pub at_ns: u64,
    /// How long it took.
    pub duration_ns: u64,
    /// Its kind.
    pub kind: Kind,
    /// Whose.
    pub process: String,
    /// Where it ended.
    pub lane: String,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// The sum of the windows.
    pub window_ns: u64,
    /// All processes: both kinds, then each.
    pub all: Vec<Row>,
    /// By group and kind, those with the longest sum first.
    pub groups: Vec<Row>,
    /// Rows of groups there are, shown or not.
    pub groups_found: usize,
    /// The longest pauses.
    pub longest: Vec<PauseRow>,
}

impl Gc {
    /// Keeps the longest `keep` pauses; processes stand in `groups`.
    pub fn new(groups: Groups, keep: usize) -> Gc {
        Gc {
            keep,
            groups,
            rows: BTreeMap::new(),
            open: HashMap::new(),
            longest: BinaryHeap::new(),
            ordinal: 0,
            gone: HashMap::new(),
            named: Vec::new(),
            window_ns: 0,
        }
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes) {
        let (kind, begins) = match event.kind {
            kind::GC_MINOR_START => (Kind::Minor, true),
            kind::GC_MINOR_END => (Kind::Minor, false),
            kind::GC_MAJOR_START => (Kind::Major, true),
            kind::GC_MAJOR_END => (Kind::Major, false),
            _ => return,
        };
        let group = self.groups.of(event.tracee, processes, event.tracees(), event.names());
        let stats = self.rows.entry((group, kind)).or_default();
        if begins {
            if self.open.insert(event.tracee, (kind, event.time, event.epoch)).is_some() {
                stats.untimed += 1;
            }
            return;
        }
        stats.reclaimed = stats.reclaimed.saturating_add(reclaimed(event).saturating_mul(WORD));
        match self.open.remove(&event.tracee) {
            Some((began, at, epoch)) if began == kind && epoch == event.epoch && event.complete => {
                let ns = event.time.saturating_sub(at);
                stats.pauses.record(ns);
                let (at, ordinal) = (std::cmp::Reverse(at), self.ordinal);
                self.ordinal += 1;
                let pause = Pause { ns, at, tracee: event.tracee, lane: event.lane, kind, ordinal };
                self.longest.push(std::cmp::Reverse(pause));
                if self.longest.len() > self.keep
                    && let Some(std::cmp::Reverse(shortest)) = self.longest.pop()
                {
                    self.gone.remove(&shortest.ordinal);
                }
            }
            _ => stats.untimed += 1,
        }
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId], known: &Known<'_>) {
        let these: HashSet<TraceeId> = gone.iter().copied().collect();
        for std::cmp::Reverse(pause) in self.longest.iter().filter(|pause| these.contains(&pause.0.tracee)) {
            self.gone.entry(pause.ordinal).or_insert_with(|| known.full_name(pause.tracee));
        }
        for tracee in gone {
            self.never_ends(*tracee);
            self.groups.forget(*tracee);
        }
    }

    fn never_ends(&mut self, tracee: TraceeId) {
        let Some((kind, _, _)) = self.open.remove(&tracee) else { return };
        // The group is known: the begin had one.
        if let Some(stats) = self.groups.known(tracee).and_then(|group| self.rows.get_mut(&(group, kind))) {
            stats.untimed += 1;
        }
    }

    /// A recording ends, of which so much was asked for.
    pub fn end_of_recording(&mut self, recording: &Recording, window_ns: u64, who: impl Fn(TraceeId) -> String) {
        self.window_ns = self.window_ns.saturating_add(window_ns);
        let open: Vec<TraceeId> = self.open.keys().copied().collect();
        open.into_iter().for_each(|tracee| self.never_ends(tracee));
        let mut gone = std::mem::take(&mut self.gone);
        self.named.extend(self.longest.drain().map(|std::cmp::Reverse(pause)| PauseRow {
            recording: recording.path.clone(),
            at_ns: pause.at.0.saturating_sub(recording.start_ns),
            duration_ns: pause.ns,
            kind: pause.kind,
            process: gone.remove(&pause.ordinal).unwrap_or_else(|| who(pause.tracee)),
            lane: recording.lane_name(pause.lane),
        }));
        self.named.sort_by(|a, b| {
            let place = |row: &PauseRow| (row.recording.clone(), row.at_ns, row.process.clone());
            b.duration_ns.cmp(&a.duration_ns).then_with(|| place(a).cmp(&place(b)))
        });
        self.named.truncate(self.keep);
        self.groups.end_of_recording();
    }

    /// The report, with at most so many rows of groups.
    pub fn report(self, limit: usize) -> Report {
        let titles = self.groups.titles();
        let mut sums: BTreeMap<(Option<&str>, Option<Kind>), Stats> = BTreeMap::new();
        sums.entry((None, None)).or_default();
        for ((group, kind), stats) in &self.rows {
            let title = titles.get(*group as usize).map_or("?", |title| title.as_str());
            for key in [(None, None), (None, Some(*kind)), (Some(title), Some(*kind))] {
                let sum = sums.entry(key).or_default();
                sum.pauses.add(&stats.pauses);
                sum.reclaimed = sum.reclaimed.saturating_add(stats.reclaimed);
                sum.untimed += stats.untimed;
            }
        }
        let window = self.window_ns;
        let row = |(key, stats): (&(Option<&str>, Option<Kind>), &Stats)| Row {
            group: key.0.map(str::to_owned),
            kind: key.1,
            collections: stats.pauses.count(),
            untimed: stats.untimed,
            total_ns: stats.pauses.sum_ns(),
            share: if window == 0 { 0.0 } else { stats.pauses.sum_ns() as f64 / window as f64 },
            pauses: stats.pauses.percentiles(),
            reclaimed_bytes: stats.reclaimed,
        };
        let (all, mut groups): (Vec<Row>, Vec<Row>) = sums.iter().map(row).partition(|row| row.group.is_none());
        groups.sort_by(|a, b| b.total_ns.cmp(&a.total_ns).then_with(|| (&a.group, a.kind).cmp(&(&b.group, b.kind))));
        let groups_found = groups.len();
        groups.truncate(limit);
        Report { window_ns: window, all, groups, groups_found, longest: self.named }
    }
}

fn reclaimed(event: &Event<'_>) -> u64 {
    match event.detail().body() {
        Some(Body::GcMinorEnd { sizes } | Body::GcMajorEnd { sizes }) => sizes.iter().next().unwrap_or(0),
        _ => 0,
    }
}
