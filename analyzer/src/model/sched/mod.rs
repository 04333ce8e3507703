//! What each scheduler thread did: slices, busy share, migrations, timeline.
//!
//! With `in` and `out` events a slice is what lies between the two. Without, the
//! threads' own activity is all there is: every event says which thread it came
//! from, and a thread whose events follow each other closely was running the
//! process they are of. That is an estimate, and reports say so: untraced code
//! leaves no events, so that idle and untraced look alike.

mod activity;
mod moves;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::cut::Cut;
use crate::model::filter::{EventFilter, Filter};
use crate::model::processes::{Known, Processes};
use crate::model::{group, label};
use crate::read::{Event, LaneLedger, Names, Recording, TraceeId, Tracees, kind};
use activity::{Activity, Columns, Groups, Lane};
use moves::Moves;

/// Without `in` and `out`: events of one thread and process closer together than
/// this belong to one slice. Above the cost of traced calls by far, and below
/// most waits.
pub const CLOSE_NS: u64 = 100_000;
/// Rectangles that a timeline may have, for all lanes together.
const RECTANGLES: usize = 5_000;
/// Columns of a timeline.
const COLUMNS: std::ops::RangeInclusive<usize> = 100..=1_200;
/// One recording's schedulers.
#[derive(Debug)]
pub struct Sched {
    cut: Cut,
    keep: usize,
    epoch: Option<u32>,
    /// All events are read from here on, and what was before the first of a recording nobody knows.
    begins: Option<u64>,
    /// Processes that come in and leave are recorded.
    runs: bool,
    last_complete: u64,
    ended_incomplete: bool,
    running: bool,
    exact: Activity,
    estimate: Activity,
    groups: group::Groups,
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
    /// How often a process went on on another lane than before, as far as both are known.
    pub migrations: u64,
    /// How often one came in, not newly spawned, of which the lane before is not known: it may have been on another.
    pub migrations_unknown: u64,
    /// The same from lane to lane.
    pub migrations_matrix: Vec<Migration>,
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
    /// Processes that came, not newly spawned, from a lane that is not known, perhaps this one.
    pub migrations_in_unknown: u64,
}

/// Processes that went on on another lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Migration {
    /// The lane before.
    pub from: String,
    /// The lane after.
    pub to: String,
    /// How often.
    pub processes: u64,
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
    /// groups; none where more ran than are told apart), and which part of the column's time somebody ran.
    pub columns: Vec<Option<(Option<usize>, f64)>>,
}

impl Sched {
    /// For a window, keeping the `keep` longest slices. Events from before and after it may be
    /// handed in, so that slices across its edges are known.
    pub fn new(recording: &Recording, cut: Cut, keep: usize) -> Sched {
        let Cut { from, to, .. } = cut;
        let count = (RECTANGLES / recording.ledger.len().max(1)).clamp(*COLUMNS.start(), *COLUMNS.end());
        let width = to.saturating_sub(from).div_ceil(count as u64).max(1);
        let activity = || Activity {
            lanes: BTreeMap::new(),
            longest: BinaryHeap::new(),
            keep,
            columns: Columns { cut, width, count },
            shown: EventFilter::default(),
            since: None,
            moves: Moves::default(),
            gone: HashMap::new(),
        };
        let runs = recording.traces("running");
        Sched {
            cut,
            keep,
            epoch: None,
            begins: None,
            runs,
            last_complete: from,
            ended_incomplete: false,
            running: runs,
            exact: activity(),
            estimate: activity(),
            groups: group::Groups::default(),
        }
    }

    /// Tells only of the lanes that are asked for, in the groups that are; the events of others are to be handed
    /// in, too.
    pub fn on(mut self, recording: &Recording, filter: &Filter) -> Sched {
        self.groups = group::Groups::new(filter.grouping);
        for activity in [&mut self.exact, &mut self.estimate] {
            activity.shown = EventFilter::new(filter, recording);
        }
        self
    }

    /// These have no more events; those whose slices are open are taken out.
    pub fn leave(&mut self, gone: &mut Vec<TraceeId>, known: &Known<'_>) {
        let lanes = || self.exact.lanes.values().chain(self.estimate.lanes.values());
        let open: HashSet<TraceeId> = lanes().filter_map(|lane| Some(lane.open?.tracee)).collect();
        gone.retain(|tracee| !open.contains(tracee));
        let these: HashSet<TraceeId> = gone.iter().copied().collect();
        for activity in [&mut self.exact, &mut self.estimate] {
            activity.forget(&these, &mut self.groups, known);
        }
        gone.iter().for_each(|tracee| self.groups.forget(*tracee));
    }

    /// Takes an event; one that is not asked for says only who has left its thread.
    pub fn event(&mut self, event: &Event<'_>, asked_for: bool) {
        if self.epoch.replace(event.epoch).is_some_and(|epoch| epoch != event.epoch) {
            self.exact.clip_all();
            self.estimate.clip_all();
        }
        self.ended_incomplete = !event.complete;
        if !event.complete {
            return;
        }
        let begins = matches!(event.kind, kind::IN | kind::IN_EXITING | kind::PORT_IN);
        let ends = matches!(event.kind, kind::OUT | kind::OUT_EXITING | kind::OUT_EXITED | kind::PORT_OUT);
        if event.time < self.cut.since {
            match asked_for {
                true => self.exact.was_last(event, begins, ends),
                false if kind::says_who_is_on(event.kind) => self.exact.other_switches(event),
                false => {}
            }
            return;
        }
        self.last_complete = event.time;
        if !asked_for {
            return self.beside(event, begins || ends);
        }
        if event.kind == kind::SPAWNED {
            self.exact.moves.is_born(event.tracee);
            self.estimate.moves.is_born(event.tracee);
        }
        let first = *self.begins.get_or_insert(self.cut.known_from(event.time));
        self.exact.since.get_or_insert_with(|| first.max(event.whole_since_ns()));
        self.runs |= matches!(event.kind, kind::IN | kind::OUT);
        match event.kind {
            // The port runs inside of the process that called it.
            kind::PORT_IN | kind::PORT_OUT if self.exact.process_runs_on(event.lane) => {
                self.running = true;
                self.exact.port_of_process(event);
            }
            _ if begins => {
                self.running = true;
                self.exact.begin(event);
            }
            _ if ends => {
                self.running = true;
                self.exact.end(event);
            }
            kind::EXIT => self.exact.exited(event),
            _ => self.exact.went_on(event, self.runs),
        }
        self.estimate.follow(event);
    }

    fn beside(&mut self, event: &Event<'_>, switches: bool) {
        let of_port = matches!(event.kind, kind::PORT_IN | kind::PORT_OUT);
        if switches && !(of_port && self.exact.process_runs_on(event.lane)) {
            self.exact.other_switches(event);
        }
        self.running |= switches;
        self.estimate.other_is_on(event);
    }

    /// Was there no event?
    pub fn is_empty(&self) -> bool {
        let shown = |(lane, _): &(&u32, &Lane)| self.exact.shown.takes_lane(**lane);
        self.exact.lanes.iter().chain(&self.estimate.lanes).filter(shown).all(|(_, lane)| lane.is_idle())
    }

    /// The report.
    pub fn report(mut self, recording: &Recording, processes: &Processes, tracees: &Tracees, names: &Names) -> Report {
        let Cut { from, mut to, .. } = self.cut;
        if self.ended_incomplete {
            to = to.min(self.last_complete);
        }
        self.exact.end_all((!self.ended_incomplete).then_some(self.last_complete.max(to)));
        self.estimate.end_all(None);
        let mut activity = if self.running { self.exact } else { self.estimate };
        activity.show_only_asked_for();
        let groups = Groups::new(&activity, &mut self.groups, processes, tracees, names);
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
        let name = |lane: u32| recording.lane_name(lane);
        let moved = |from, to, processes| Migration { from: name(from), to: name(to), processes };
        let window = to.saturating_sub(from);
        let shown = |lane: &&LaneLedger| {
            let has_some = activity.lanes.get(&lane.lane).is_some_and(|lane| !lane.is_idle());
            has_some || lane.kind == "scheduler" && activity.shown.takes_lane(lane.lane)
        };
        let lanes: Vec<&LaneLedger> = recording.ledger.iter().filter(shown).collect();
        let idle = Lane::default();
        let lane_of = |lane: &LaneLedger| activity.lanes.get(&lane.lane).unwrap_or(&idle);
        Report {
            from_in_out_events: self.running,
            estimate_bound_ns: (!self.running).then_some(CLOSE_NS),
            from_ns: from.saturating_sub(recording.start_ns),
            to_ns: to.saturating_sub(recording.start_ns),
            from_wall_ns: recording.clock.known_wall_ns(from),
            lanes: lanes.iter().map(|lane| lane_of(lane).row(lane, &activity.moves, window)).collect(),
            migrations: activity.moves.known.values().sum(),
            migrations_unknown: activity.moves.all_unknown(),
            migrations_matrix: activity.moves.known.iter().map(|((from, to), n)| moved(*from, *to, *n)).collect(),
            longest: longest.collect(),
            timeline: lanes.iter().map(|lane| lane_of(lane).timeline(lane, &groups, activity.columns)).collect(),
            groups: groups.rows,
        }
    }
}
