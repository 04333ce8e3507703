//! Garbage collections: how long, of whom, of which kind.
//!
//! A pause is the time from the begin of a collection to its end in one process;
//! no other process waits for it. Of one across an edge of the window, its part in the window counts;
//! its length is that of the whole.

use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::record::Body;

use crate::model::cut::Cut;
use crate::model::group::Groups;
use crate::model::histogram::{Durations, Percentiles};
use crate::model::processes::{Known, Processes};
use crate::read::{Event, TraceeId, kind};

const WORD: u64 = 8;

/// Garbage collections, over one recording after the other.
#[derive(Debug)]
pub struct Gc {
    keep: usize,
    cut: Option<Cut>,
    epoch: u32,
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
    /// As much of them as lies in the window, and of those without an end.
    total_ns: u64,
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
    /// Collections with both ends, in the window as a whole or in part.
    pub collections: u64,
    /// Collections of which the begin or the end is not known.
    pub untimed: u64,
    /// The sum of the pauses, as far as they lie in the window.
    pub total_ns: u64,
    /// The same as a part of the window, 0 to 1; more, when several ran at once.
    pub share: f64,
    /// The distribution of the pauses, each as a whole; null when there are none.
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
            cut: None,
            epoch: 0,
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

    /// A recording begins, of which this is asked for: events around it are to be handed in, too.
    pub fn begin(&mut self, cut: Cut) {
        self.cut = Some(cut);
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
        let cut = *self.cut.get_or_insert_with(|| Cut::all(event.recording()));
        self.epoch = event.epoch;
        let (ends_inside, before) = (cut.holds(event.time), self.open.remove(&event.tracee));
        if begins {
            self.open.insert(event.tracee, (kind, event.time, event.epoch));
        }
        // Who has nothing to do with the window has no row.
        let from = before.map_or(event.time, |(_, from, _)| from);
        let meets = cut.meets(from, event.time);
        if !ends_inside && (begins || !meets) {
            return;
        }
        let group = self.groups.of(event.tracee, processes, event.tracees(), event.names());
        let stats = self.rows.entry((group, kind)).or_default();
        if begins {
            stats.untimed += u64::from(before.is_some());
            return;
        }
        if ends_inside {
            stats.reclaimed = stats.reclaimed.saturating_add(reclaimed(event).saturating_mul(WORD));
        }
        if !meets {
            return;
        }
        match before {
            Some((began, at, epoch)) if began == kind && epoch == event.epoch && event.complete => {
                let ns = event.time.saturating_sub(at);
                stats.pauses.record(ns);
                stats.total_ns = stats.total_ns.saturating_add(cut.part(at, event.time));
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
            if let Some((kind, from, _)) = self.open.remove(tracee) {
                let group = self.groups.of(*tracee, known.processes, known.tracees, known.names);
                self.never_ends(group, kind, from, from);
            }
            self.groups.forget(*tracee);
        }
    }

    fn never_ends(&mut self, group: u32, kind: Kind, from: u64, until: u64) {
        let Some(cut) = self.cut.filter(|cut| cut.meets(from, until)) else { return };
        let stats = self.rows.entry((group, kind)).or_default();
        stats.untimed += 1;
        stats.total_ns = stats.total_ns.saturating_add(cut.part(from, until));
    }

    /// A recording ends, of which so much was asked for.
    pub fn end_of_recording(&mut self, window_ns: u64, known: &Known<'_>) {
        let recording = known.recording;
        self.window_ns = self.window_ns.saturating_add(window_ns);
        // They go on, if no event is missing since they began.
        for (tracee, (kind, from, epoch)) in std::mem::take(&mut self.open) {
            let group = self.groups.of(tracee, known.processes, known.tracees, known.names);
            self.never_ends(group, kind, from, if epoch == self.epoch { u64::MAX } else { from });
        }
        self.cut = None;
        let mut gone = std::mem::take(&mut self.gone);
        self.named.extend(self.longest.drain().map(|std::cmp::Reverse(pause)| PauseRow {
            recording: recording.path.clone(),
            at_ns: pause.at.0.saturating_sub(recording.start_ns),
            duration_ns: pause.ns,
            kind: pause.kind,
            process: gone.remove(&pause.ordinal).unwrap_or_else(|| known.full_name(pause.tracee)),
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
                sum.total_ns = sum.total_ns.saturating_add(stats.total_ns);
            }
        }
        let window = self.window_ns;
        let row = |(key, stats): (&(Option<&str>, Option<Kind>), &Stats)| Row {
            group: key.0.map(str::to_owned),
            kind: key.1,
            collections: stats.pauses.count(),
            untimed: stats.untimed,
            total_ns: stats.total_ns,
            share: if window == 0 { 0.0 } else { stats.total_ns as f64 / window as f64 },
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
