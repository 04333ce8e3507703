//! What each scheduler thread did: slices, busy share, migrations, timeline.
//!
//! With `in` and `out` events a slice is what lies between the two. Without, the
//! threads' own activity is all there is: every event says which thread it came
//! from, and a thread whose events follow each other closely was running the
//! process they are of. That is an estimate, and reports say so: untraced code
//! leaves no events, so that idle and untraced look alike.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;

use crate::model::group::Grouping;
use crate::model::histogram::Durations;
use crate::model::label;
use crate::model::processes::{Known, Processes};
use crate::read::{Event, FunctionId, LaneLedger, Names, Recording, TraceeId, Tracees, kind};

/// Without `in` and `out`: events of one thread and process closer together than
/// this belong to one slice. Above the cost of traced calls by far, and below
/// most waits.
pub const CLOSE_NS: u64 = 100_000;
/// Rectangles that a timeline may have, for all lanes together.
const RECTANGLES: usize = 5_000;
/// Columns of a timeline.
const COLUMNS: std::ops::RangeInclusive<usize> = 100..=1_200;
/// Processes told apart in one column of one lane; more are `others`.
const APART: usize = 16;

/// One recording's schedulers.
#[derive(Debug)]
pub struct Sched {
    from: u64,
    to: u64,
    keep: usize,
    epoch: Option<u32>,
    last_complete: u64,
    ended_incomplete: bool,
    running: bool,
    exact: Activity,
    estimate: Activity,
    titles: Titles,
}

/// Names of groups of processes that have no more events.
#[derive(Debug, Default)]
struct Titles {
    titles: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Titles {
    fn number(&mut self, title: String) -> u32 {
        let next = self.titles.len() as u32;
        *self.numbers.entry(title).or_insert_with_key(|title| {
            self.titles.push(title.clone());
            next
        })
    }
}

#[derive(Debug)]
struct Activity {
    lanes: BTreeMap<u32, Lane>,
    longest: BinaryHeap<Reverse<Slice>>,
    keep: usize,
    columns: Columns,
    /// The lane that a process was last on.
    last_lane: HashMap<TraceeId, u32>,
    /// Names of slices' processes that have no more events.
    gone: HashMap<(TraceeId, u64), String>,
}

#[derive(Debug, Clone, Copy)]
struct Columns {
    from: u64,
    width: u64,
    count: usize,
}

#[derive(Debug, Default)]
struct Lane {
    events: u64,
    open: Option<Open>,
    busy: u64,
    slices: Durations,
    clipped: u64,
    arrivals: u64,
    columns: Vec<Column>,
}

/// Who was busy how long.
type Column = Vec<(Who, u64)>;

/// Who was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Who {
    /// More than are told apart.
    Others,
    Process(TraceeId),
    /// A process that has no more events: the number of its group's name.
    Gone(u32),
}

#[derive(Debug, Clone, Copy)]
struct Open {
    tracee: TraceeId,
    start: u64,
    /// The last moment it is known to have gone on.
    last: u64,
    first_function: Option<FunctionId>,
    last_function: Option<FunctionId>,
    exited: bool,
}

/// A slice; ordered by length, then earliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Slice {
    duration: u64,
    start: Reverse<u64>,
    lane: Reverse<u32>,
    tracee: TraceeId,
    from: Option<FunctionId>,
    to: Option<FunctionId>,
}

/// What a recording says of its schedulers.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// Slices come from in and out events; else from how events follow each other.
    pub from_in_out_events: bool,
    /// For an estimate: events closer than this are one slice.
    pub estimate_bound_ns: Option<u64>,
    /// The window, in nanoseconds since the start of the recording.
    pub from_ns: u64,
    /// Its end.
    pub to_ns: u64,
    /// Its begin in nanoseconds since 1970; null when no clock is left.
    pub from_wall_ns: Option<u64>,
    /// Lane by lane.
    pub lanes: Vec<LaneRow>,
    /// How often a process went on on another lane than before.
    pub migrations: u64,
    /// The longest slices.
    pub longest: Vec<SliceRow>,
    /// Process groups by busy time.
    pub groups: Vec<GroupRow>,
    /// For the picture.
    #[serde(skip)]
    pub timeline: Vec<LaneTimeline>,
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LaneRow {
    /// Its short name.
    pub lane: String,
    /// What kind of thread it is.
    pub kind: &'static str,
    /// Its events in the window.
    pub events: u64,
    /// Time in which it ran something.
    pub busy_ns: u64,
    /// The same as a part of the window, 0 to 1.
    pub busy_share: f64,
    /// Slices with both ends.
    pub slices: u64,
    /// Slices with an end outside the window or lost: not timed.
    pub slices_clipped: u64,
    /// Half of the slices were shorter.
    pub slice_p50_ns: u64,
    /// 99 of 100 slices were shorter.
    pub slice_p99_ns: u64,
    /// The longest.
    pub slice_max_ns: u64,
    /// Processes that came from another lane.
    pub migrations_in: u64,
}

/// A slice.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct SliceRow {
    /// When it began, in nanoseconds since the start of the recording.
    pub at_ns: u64,
    /// How long it was.
    pub duration_ns: u64,
    /// Where it ran.
    pub lane: String,
    /// Who ran.
    pub process: String,
    /// The function at its begin.
    pub from_function: Option<String>,
    /// The function at its end.
    pub to_function: Option<String>,
}

/// A process group.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct GroupRow {
    /// Name, label or initial call.
    pub group: String,
    /// Time on all lanes.
    pub busy_ns: u64,
}

/// A lane's row of the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneTimeline {
    /// The lane.
    pub lane: String,
    /// One for each column: the group that ran most (by its place in the report's
    /// groups), and which part of the column's time somebody ran.
    pub columns: Vec<Option<(usize, f64)>>,
}

impl Sched {
    /// For a window in monotonic nanoseconds, keeping the `keep` longest slices.
    pub fn new(from: u64, to: u64, lanes: usize, keep: usize) -> Sched {
        let count = (RECTANGLES / lanes.max(1)).clamp(*COLUMNS.start(), *COLUMNS.end());
        let width = to.saturating_sub(from).div_ceil(count as u64).max(1);
        let activity = || Activity {
            lanes: BTreeMap::new(),
            longest: BinaryHeap::new(),
            keep,
            columns: Columns { from, width, count },
            last_lane: HashMap::new(),
            gone: HashMap::new(),
        };
        Sched {
            from,
            to,
            keep,
            epoch: None,
            last_complete: from,
            ended_incomplete: false,
            running: false,
            exact: activity(),
            estimate: activity(),
            titles: Titles::default(),
        }
    }

    /// These have no more events; those whose slices are open are taken out.
    pub fn leave(&mut self, gone: &mut Vec<TraceeId>, known: &Known<'_>) {
        let lanes = || self.exact.lanes.values().chain(self.estimate.lanes.values());
        let open: HashSet<TraceeId> = lanes().filter_map(|lane| Some(lane.open?.tracee)).collect();
        gone.retain(|tracee| !open.contains(tracee));
        let mut groups: HashMap<TraceeId, Option<u32>> = gone.iter().map(|tracee| (*tracee, None)).collect();
        for activity in [&mut self.exact, &mut self.estimate] {
            activity.forget(&mut groups, &mut self.titles, known);
        }
    }

    /// Takes an event.
    pub fn event(&mut self, event: &Event<'_>) {
        if self.epoch != Some(event.epoch) {
            self.epoch = Some(event.epoch);
            self.exact.clip_all();
            self.estimate.clip_all();
        }
        self.ended_incomplete = !event.complete;
        if !event.complete {
            return;
        }
        self.last_complete = event.time;
        match event.kind {
            kind::IN | kind::IN_EXITING | kind::PORT_IN => {
                self.running = true;
                self.exact.begin(event);
            }
            kind::OUT | kind::OUT_EXITING | kind::OUT_EXITED | kind::PORT_OUT => {
                self.running = true;
                self.exact.end(event);
            }
            kind::EXIT => self.exact.exited(event),
            _ => self.exact.went_on(event),
        }
        self.estimate.follow(event);
        if event.kind == kind::EXIT {
            self.exact.last_lane.remove(&event.tracee);
            self.estimate.last_lane.remove(&event.tracee);
        }
    }

    /// Was there no event?
    pub fn is_empty(&self) -> bool {
        self.epoch.is_none()
    }

    /// The report.
    pub fn report(mut self, recording: &Recording, processes: &Processes, tracees: &Tracees, names: &Names) -> Report {
        let (from, mut to) = (self.from, self.to);
        if self.ended_incomplete {
            to = self.last_complete;
        }
        self.exact.end_all();
        self.estimate.end_all();
        let mut activity = if self.running { self.exact } else { self.estimate };
        let groups = Groups::new(&activity, &self.titles.titles, processes, tracees, names);
        let who = |tracee| processes.full_name(tracee, tracees.identity(tracee), recording, names);
        let mut longest = activity.longest.drain().map(|Reverse(slice)| slice).collect::<Vec<_>>();
        longest.sort_by(|a, b| b.cmp(a));
        longest.truncate(self.keep);
        let mut gone = std::mem::take(&mut activity.gone);
        let longest = longest.into_iter().map(|slice| SliceRow {
            at_ns: slice.start.0.saturating_sub(recording.start_ns),
            duration_ns: slice.duration,
            lane: recording.lane_name(slice.lane.0),
            process: gone.remove(&(slice.tracee, slice.start.0)).unwrap_or_else(|| who(slice.tracee)),
            from_function: slice.from.map(|f| label::function(names, f)),
            to_function: slice.to.map(|f| label::function(names, f)),
        });
        let window = to.saturating_sub(from);
        let shown = |lane: &&LaneLedger| activity.lanes.contains_key(&lane.lane) || lane.kind == "scheduler";
        let lanes: Vec<&LaneLedger> = recording.ledger.iter().filter(shown).collect();
        let idle = Lane::default();
        let lane_of = |lane: &LaneLedger| activity.lanes.get(&lane.lane).unwrap_or(&idle);
        Report {
            from_in_out_events: self.running,
            estimate_bound_ns: (!self.running).then_some(CLOSE_NS),
            from_ns: from.saturating_sub(recording.start_ns),
            to_ns: to.saturating_sub(recording.start_ns),
            from_wall_ns: recording.clock.known_wall_ns(from),
            lanes: lanes.iter().map(|lane| lane_of(lane).row(lane, window)).collect(),
            migrations: activity.lanes.values().map(|lane| lane.arrivals).sum(),
            longest: longest.collect(),
            timeline: lanes.iter().map(|lane| lane_of(lane).timeline(lane, &groups, activity.columns)).collect(),
            groups: groups.rows,
        }
    }
}

impl Activity {
    fn begin(&mut self, event: &Event<'_>) {
        self.leave(event.lane);
        self.enter(event, event.function);
    }

    fn enter(&mut self, event: &Event<'_>, function: Option<FunctionId>) {
        let moved = match event.identity() {
            Identity::Process(_) => {
                self.last_lane.insert(event.tracee, event.lane).is_some_and(|last| last != event.lane)
            }
            _ => false,
        };
        let lane = self.lanes.entry(event.lane).or_default();
        lane.events += 1;
        lane.arrivals += u64::from(moved);
        lane.open = Some(Open {
            tracee: event.tracee,
            start: event.time,
            last: event.time,
            first_function: function,
            last_function: function,
            exited: false,
        });
    }

    fn end(&mut self, event: &Event<'_>) {
        let lane = self.lanes.entry(event.lane).or_default();
        lane.events += 1;
        match lane.open.take() {
            Some(open) if open.tracee == event.tracee => {
                let to = event.function.or(open.last_function);
                self.close(event.lane, Open { last: event.time, last_function: to, ..open });
            }
            Some(open) => {
                // The end of that one was not recorded, nor the begin of this.
                lane.clipped += 1;
                lane.clip(open, self.columns);
            }
            None => lane.clipped += 1,
        }
    }

    fn exited(&mut self, event: &Event<'_>) {
        self.went_on(event);
        if let Some(open) = self.lanes.get_mut(&event.lane).and_then(|lane| lane.open.as_mut()) {
            open.exited |= open.tracee == event.tracee;
        }
    }

    fn went_on(&mut self, event: &Event<'_>) {
        let lane = self.lanes.entry(event.lane).or_default();
        lane.events += 1;
        if let Some(open) = lane.open.as_mut().filter(|open| open.tracee == event.tracee) {
            open.last = event.time;
        }
    }

    /// Somebody else comes: an exited process has left at its last event.
    fn leave(&mut self, number: u32) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        match lane.open.take() {
            Some(open) if open.exited => self.close(number, open),
            Some(open) => lane.clip(open, self.columns),
            None => {}
        }
    }

    /// Without in and out: slices are runs of events.
    fn follow(&mut self, event: &Event<'_>) {
        let lane = self.lanes.entry(event.lane).or_default();
        if let Some(open) = lane.open.as_mut() {
            if open.tracee == event.tracee && event.time.saturating_sub(open.last) < CLOSE_NS {
                lane.events += 1;
                open.last = event.time;
                open.last_function = event.function.or(open.last_function);
                return;
            }
            let open = *open;
            lane.open = None;
            self.close(event.lane, open);
        }
        self.enter(event, event.function);
    }

    fn close(&mut self, number: u32, open: Open) {
        let columns = self.columns;
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let duration = open.last.saturating_sub(open.start);
        lane.slices.record(duration);
        lane.busy = lane.busy.saturating_add(duration);
        lane.paint(open.tracee, open.start, open.last, columns);
        self.longest.push(Reverse(Slice {
            duration,
            start: Reverse(open.start),
            lane: Reverse(number),
            tracee: open.tracee,
            from: open.first_function,
            to: open.last_function,
        }));
        if self.longest.len() > self.keep {
            self.longest.pop();
        }
    }

    fn forget(&mut self, gone: &mut HashMap<TraceeId, Option<u32>>, titles: &mut Titles, known: &Known<'_>) {
        let Known { processes, tracees, names, .. } = *known;
        for Reverse(slice) in self.longest.iter().filter(|slice| gone.contains_key(&slice.0.tracee)) {
            self.gone.entry((slice.tracee, slice.start.0)).or_insert_with(|| known.full_name(slice.tracee));
        }
        if self.gone.len() > 2 * self.keep {
            let kept: HashSet<(TraceeId, u64)> =
                self.longest.iter().map(|Reverse(slice)| (slice.tracee, slice.start.0)).collect();
            self.gone.retain(|place, _| kept.contains(place));
        }
        for (who, _) in self.lanes.values_mut().flat_map(|lane| lane.columns.iter_mut().flatten()) {
            if let Who::Process(tracee) = who
                && let Some(group) = gone.get_mut(tracee)
            {
                let title = || titles.number(processes.group(Grouping::Title, *tracee, tracees, names));
                *who = Who::Gone(*group.get_or_insert_with(title));
            }
        }
        for tracee in gone.keys() {
            self.last_lane.remove(tracee);
        }
    }

    /// Events are missing: whoever was running may have left.
    fn clip_all(&mut self) {
        for lane in self.lanes.values_mut() {
            if let Some(open) = lane.open.take() {
                lane.clip(open, self.columns);
            }
        }
        self.last_lane.clear();
    }

    fn end_all(&mut self) {
        let exited: Vec<(u32, Open)> = self
            .lanes
            .iter_mut()
            .filter(|(_, lane)| lane.open.is_some_and(|open| open.exited))
            .filter_map(|(number, lane)| Some((*number, lane.open.take()?)))
            .collect();
        exited.into_iter().for_each(|(number, open)| self.close(number, open));
        self.clip_all();
    }
}

impl Lane {
    /// A slice without a known end: busy as far as is known, but not timed.
    fn clip(&mut self, open: Open, columns: Columns) {
        self.clipped += 1;
        self.busy = self.busy.saturating_add(open.last.saturating_sub(open.start));
        self.paint(open.tracee, open.start, open.last, columns);
    }

    fn paint(&mut self, tracee: TraceeId, start: u64, end: u64, columns: Columns) {
        let (mut at, end) = (start.max(columns.from), end.min(columns.from + columns.width * columns.count as u64));
        while at < end {
            let column = ((at - columns.from) / columns.width) as usize;
            let until = end.min(columns.from + columns.width * (column as u64 + 1));
            if self.columns.len() <= column {
                self.columns.resize(column + 1, Vec::new());
            }
            let busy = &mut self.columns[column];
            let place_of = |wanted| busy.iter().position(|(who, _)| *who == wanted);
            let known = place_of(Who::Process(tracee));
            match known.or_else(|| if busy.len() < APART { None } else { place_of(Who::Others) }) {
                Some(place) => busy[place].1 = busy[place].1.saturating_add(until - at),
                None if busy.len() + 1 < APART => busy.push((Who::Process(tracee), until - at)),
                None => busy.push((Who::Others, until - at)),
            }
            at = until;
        }
    }

    fn row(&self, lane: &LaneLedger, window: u64) -> LaneRow {
        let points = self.slices.percentiles().unwrap_or_default();
        LaneRow {
            lane: lane.short(),
            kind: lane.kind,
            events: self.events,
            busy_ns: self.busy,
            busy_share: if window == 0 { 0.0 } else { self.busy as f64 / window as f64 },
            slices: self.slices.count(),
            slices_clipped: self.clipped,
            slice_p50_ns: points.p50_ns,
            slice_p99_ns: points.p99_ns,
            slice_max_ns: points.max_ns,
            migrations_in: self.arrivals,
        }
    }

    fn timeline(&self, lane: &LaneLedger, groups: &Groups, columns: Columns) -> LaneTimeline {
        let column = |number: usize| {
            let busy = self.columns.get(number).filter(|busy| !busy.is_empty())?;
            let mut by_group: BTreeMap<usize, u64> = BTreeMap::new();
            for (who, ns) in busy {
                let sum = by_group.entry(groups.of(*who)).or_default();
                *sum = sum.saturating_add(*ns);
            }
            let sum = by_group.values().copied().fold(0, u64::saturating_add);
            let most =
                by_group.iter().max_by_key(|(group, ns)| (**ns, Reverse(**group))).map_or(0, |(group, _)| *group);
            Some((most, (sum as f64 / columns.width as f64).min(1.0)))
        };
        LaneTimeline { lane: lane.short(), columns: (0..columns.count).map(column).collect() }
    }
}

/// Process groups by busy time.
struct Groups {
    rows: Vec<GroupRow>,
    of: HashMap<Who, usize>,
}

impl Groups {
    fn new(activity: &Activity, titles: &[String], processes: &Processes, tracees: &Tracees, names: &Names) -> Groups {
        let mut busy: BTreeMap<Who, u64> = BTreeMap::new();
        for (who, ns) in activity.lanes.values().flat_map(|lane| lane.columns.iter().flatten()) {
            let sum = busy.entry(*who).or_default();
            *sum = sum.saturating_add(*ns);
        }
        let name = |who: &Who| match who {
            Who::Process(tracee) => processes.group(Grouping::Title, *tracee, tracees, names),
            Who::Gone(group) => titles.get(*group as usize).cloned().unwrap_or_default(),
            Who::Others => "others".to_owned(),
        };
        let named: Vec<(Who, String, u64)> = busy.iter().map(|(who, ns)| (*who, name(who), *ns)).collect();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, group, ns) in &named {
            let sum = sums.entry(group).or_default();
            *sum = sum.saturating_add(*ns);
        }
        let mut rows: Vec<GroupRow> =
            sums.into_iter().map(|(group, busy_ns)| GroupRow { group: group.to_owned(), busy_ns }).collect();
        rows.sort_by(|a, b| b.busy_ns.cmp(&a.busy_ns).then_with(|| a.group.cmp(&b.group)));
        let place: HashMap<&str, usize> = rows.iter().enumerate().map(|(n, row)| (row.group.as_str(), n)).collect();
        let of = named.iter().map(|(who, group, _)| (*who, place.get(group.as_str()).copied().unwrap_or(0))).collect();
        Groups { of, rows }
    }

    fn of(&self, who: Who) -> usize {
        self.of.get(&who).copied().unwrap_or(0)
    }
}
