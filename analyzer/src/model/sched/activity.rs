//! What each thread was busy with: slices, as they begin and end, and who was on it when.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use spoor_format::chunk::Identity;

use super::moves::Moves;
use super::{CLOSE_NS, GroupRow, LaneRow, LaneTimeline};
use crate::model::cut::Cut;
use crate::model::filter::EventFilter;
use crate::model::group;
use crate::model::histogram::Durations;
use crate::model::processes::{Known, Processes};
use crate::read::{Event, FunctionId, LaneLedger, Names, TraceeId, Tracees, kind};

/// Processes told apart in one column of one lane; more are `others`.
const APART: usize = 16;

#[derive(Debug)]
pub(super) struct Activity {
    pub(super) lanes: BTreeMap<u32, Lane>,
    pub(super) longest: BinaryHeap<Reverse<Slice>>,
    pub(super) keep: usize,
    pub(super) columns: Columns,
    /// What is told of is these lanes.
    pub(super) shown: EventFilter,
    /// No event is missing since then: who was on a thread before its first event, that says.
    pub(super) since: Option<u64>,
    pub(super) moves: Moves,
    /// Names of slices' processes that have no more events.
    pub(super) gone: HashMap<(TraceeId, u64), String>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Columns {
    pub(super) cut: Cut,
    pub(super) width: u64,
    pub(super) count: usize,
}

impl Columns {
    /// What of a slice lies in the window; `None` for one outside of it.
    fn part_of(&self, open: &Open) -> Option<u64> {
        self.cut.meets(open.start, open.last).then(|| self.cut.part(open.start, open.last))
    }
}

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) events: u64,
    pub(super) open: Option<Open>,
    /// Who is on it is known.
    pub(super) switched: bool,
    pub(super) busy: u64,
    pub(super) slices: Durations,
    pub(super) clipped: u64,
    /// The same by who was.
    pub(super) of: HashMap<Who, u64>,
    pub(super) columns: Vec<Column>,
}

/// Who was busy how long.
pub(super) type Column = Vec<(Who, u64)>;

/// Who was busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Who {
    /// More than are told apart.
    Others,
    Process(TraceeId),
    /// Processes that have no more events: the number of their group.
    Gone(u32),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Open {
    pub(super) tracee: TraceeId,
    pub(super) start: u64,
    /// That was its begin.
    pub(super) begun: bool,
    /// The last moment it is known to have gone on.
    pub(super) last: u64,
    pub(super) first_function: Option<FunctionId>,
    pub(super) last_function: Option<FunctionId>,
    pub(super) exited: bool,
    /// It collects garbage.
    pub(super) collecting: bool,
    /// It is a process, not a port.
    pub(super) of_process: bool,
}

impl Open {
    fn new(event: &Event<'_>, function: Option<FunctionId>) -> Open {
        Open {
            tracee: event.tracee,
            start: event.time,
            begun: true,
            last: event.time,
            first_function: function,
            last_function: function,
            exited: false,
            collecting: false,
            of_process: matches!(event.identity(), Identity::Process(_)),
        }
    }
}

/// A slice; ordered by length, then earliest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slice {
    pub(super) duration: u64,
    pub(super) start: Reverse<u64>,
    pub(super) lane: Reverse<u32>,
    pub(super) tracee: TraceeId,
    pub(super) from: Option<FunctionId>,
    pub(super) to: Option<FunctionId>,
}

impl Activity {
    pub(super) fn begin(&mut self, event: &Event<'_>) {
        self.leave(event.lane);
        self.enter(event, event.function);
    }

    pub(super) fn enter(&mut self, event: &Event<'_>, function: Option<FunctionId>) {
        if matches!(event.identity(), Identity::Process(_)) {
            self.moves.comes_in(event.tracee, event.lane, self.columns.cut.holds(event.time));
        }
        let lane = self.met(event);
        lane.switched = true;
        lane.open = Some(Open::new(event, function));
    }

    /// The thread of an event, which counts.
    fn met(&mut self, event: &Event<'_>) -> &mut Lane {
        let lane = self.lanes.entry(event.lane).or_default();
        lane.events += u64::from(self.columns.cut.holds(event.time));
        lane
    }

    pub(super) fn end(&mut self, event: &Event<'_>) {
        let (columns, since) = (self.columns, self.since);
        let lane = self.met(event);
        let first = !std::mem::replace(&mut lane.switched, true);
        let open = lane.open.take();
        match open {
            Some(open) if open.tracee == event.tracee => {
                let to = event.function.or(open.last_function);
                return self.close(event.lane, Open { last: event.time, last_function: to, ..open });
            }
            Some(open) => {
                // The end of that one was not recorded, nor the begin of this.
                lane.clipped += u64::from(columns.cut.holds(event.time));
                lane.clip(open, columns);
            }
            // It was there before the first event that is looked at.
            None if first && since.is_some() => {
                let open = Open::new(event, None);
                lane.clip(Open { start: since.unwrap_or(event.time), ..open }, columns);
            }
            None => lane.clipped += u64::from(columns.cut.holds(event.time)),
        }
        self.moves.is_on(event.tracee, event.lane);
    }

    /// The last event of a thread before all are read.
    pub(super) fn was_last(&mut self, event: &Event<'_>, begins: bool, ends: bool) {
        if begins {
            return self.begin(event);
        }
        if !kind::says_who_is_on(event.kind) {
            return;
        }
        let goes_on = !ends && kind::is_of_running(event.kind);
        let lane = self.lanes.entry(event.lane).or_default();
        lane.open = goes_on.then(|| Open { begun: false, ..Open::new(event, None) });
        lane.switched = goes_on || ends;
        // Who left may have been on other lanes since.
        if goes_on {
            self.moves.is_on(event.tracee, event.lane);
        }
    }

    pub(super) fn exited(&mut self, event: &Event<'_>) {
        self.went_on(event, false);
        if let Some(open) = self.lanes.get_mut(&event.lane).and_then(|lane| lane.open.as_mut()) {
            open.exited |= open.tracee == event.tracee;
        }
    }

    /// Is a process known to be on the thread?
    pub(super) fn process_runs_on(&self, lane: u32) -> bool {
        let open = self.lanes.get(&lane).and_then(|lane| lane.open.as_ref());
        open.is_some_and(|open| open.of_process && !open.exited)
    }

    pub(super) fn port_of_process(&mut self, event: &Event<'_>) {
        let lane = self.met(event);
        if let Some(open) = lane.open.as_mut() {
            open.last = open.last.max(event.time);
        }
    }

    /// Without an event of who came in, `runs` says that who has others was on the thread before.
    pub(super) fn went_on(&mut self, event: &Event<'_>, runs: bool) {
        let since = self.since;
        let lane = self.met(event);
        match (lane.open.as_mut(), since) {
            (Some(open), _) if open.tracee == event.tracee => open.last = event.time,
            (None, Some(since)) if runs && !lane.switched && kind::is_of_running(event.kind) => {
                lane.switched = true;
                lane.open = Some(Open { start: since.min(event.time), begun: false, ..Open::new(event, None) });
                self.moves.is_on(event.tracee, event.lane);
            }
            _ => {}
        }
    }

    /// Somebody else comes: an exited process has left at its last event.
    pub(super) fn leave(&mut self, number: u32) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        match lane.open.take() {
            Some(open) if open.exited => self.close(number, open),
            Some(open) => lane.clip(open, self.columns),
            None => {}
        }
    }

    /// One of whom nothing is told comes, or leaves: whoever is told of was gone by then.
    pub(super) fn other_switches(&mut self, event: &Event<'_>) {
        self.leave(event.lane);
        self.lanes.entry(event.lane).or_default().switched = true;
    }

    /// The same without in and out: it has an event there.
    pub(super) fn other_is_on(&mut self, event: &Event<'_>) {
        if event.kind != kind::SPAWNED
            && let Some(open) = self.lanes.get_mut(&event.lane).and_then(|lane| lane.open.take())
        {
            self.close(event.lane, open);
        }
    }

    /// Without in and out: slices are runs of events.
    pub(super) fn follow(&mut self, event: &Event<'_>) {
        // Its parent runs there.
        if event.kind == kind::SPAWNED {
            self.met(event);
            return;
        }
        let lane = self.lanes.entry(event.lane).or_default();
        if let Some(open) = lane.open.as_mut() {
            // Whoever collects garbage is on the thread all the time.
            let collected = open.collecting && kind::ends_gc(event.kind);
            let close = collected || event.time.saturating_sub(open.last) < CLOSE_NS;
            if open.tracee == event.tracee && close {
                lane.events += u64::from(self.columns.cut.holds(event.time));
                open.collecting = kind::begins_gc(event.kind);
                open.last = event.time;
                open.last_function = event.function.or(open.last_function);
                return;
            }
            let open = *open;
            lane.open = None;
            self.close(event.lane, open);
        }
        self.enter(event, event.function);
        if let Some(open) = self.lanes.get_mut(&event.lane).and_then(|lane| lane.open.as_mut()) {
            open.collecting = kind::begins_gc(event.kind);
        }
    }

    pub(super) fn close(&mut self, number: u32, open: Open) {
        let columns = self.columns;
        let (Some(lane), Some(part)) = (self.lanes.get_mut(&number), columns.part_of(&open)) else { return };
        if !open.begun {
            return lane.clip(open, columns);
        }
        let duration = open.last.saturating_sub(open.start);
        lane.slices.record(duration);
        lane.was_busy(&open, part, columns);
        if !self.shown.takes_lane(number) {
            return;
        }
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

    pub(super) fn forget(&mut self, gone: &HashSet<TraceeId>, groups: &mut group::Groups, known: &Known<'_>) {
        let Known { processes, tracees, names, .. } = *known;
        for Reverse(slice) in self.longest.iter().filter(|slice| gone.contains(&slice.0.tracee)) {
            self.gone.entry((slice.tracee, slice.start.0)).or_insert_with(|| known.full_name(slice.tracee));
        }
        if self.gone.len() > 2 * self.keep {
            let kept: HashSet<(TraceeId, u64)> =
                self.longest.iter().map(|Reverse(slice)| (slice.tracee, slice.start.0)).collect();
            self.gone.retain(|place, _| kept.contains(place));
        }
        let mut group = |tracee| Who::Gone(groups.of(tracee, processes, tracees, names));
        for lane in self.lanes.values_mut() {
            for tracee in gone {
                if let Some(ns) = lane.of.remove(&Who::Process(*tracee)) {
                    let sum = lane.of.entry(group(*tracee)).or_default();
                    *sum = sum.saturating_add(ns);
                }
            }
            for (who, _) in lane.columns.iter_mut().flatten() {
                if let Who::Process(tracee) = who
                    && gone.contains(tracee)
                {
                    *who = group(*tracee);
                }
            }
        }
        gone.iter().for_each(|tracee| self.moves.forget(*tracee));
    }

    /// Events are missing: whoever was running may have left.
    pub(super) fn clip_all(&mut self) {
        for lane in self.lanes.values_mut() {
            if let Some(open) = lane.open.take() {
                lane.clip(open, self.columns);
            }
            lane.switched = false;
        }
        self.moves.forget_all();
        self.since = None;
    }

    /// Only these lanes are told of.
    pub(super) fn show_only_asked_for(&mut self) {
        let Activity { lanes, moves, shown, .. } = self;
        lanes.retain(|lane, _| shown.takes_lane(*lane));
        moves.show_only(shown);
    }

    /// The last event was read; who is on a thread stays there `until` then.
    pub(super) fn end_all(&mut self, until: Option<u64>) {
        let exited: Vec<(u32, Open)> = self
            .lanes
            .iter_mut()
            .filter(|(_, lane)| lane.open.is_some_and(|open| open.exited))
            .filter_map(|(number, lane)| Some((*number, lane.open.take()?)))
            .collect();
        exited.into_iter().for_each(|(number, open)| self.close(number, open));
        for open in self.lanes.values_mut().filter_map(|lane| lane.open.as_mut()) {
            open.last = open.last.max(until.unwrap_or(0));
        }
        self.clip_all();
    }
}

impl Lane {
    /// Nothing is known of it.
    pub(super) fn is_idle(&self) -> bool {
        self.events == 0 && self.busy == 0 && self.open.is_none()
    }

    /// A slice without a known end: busy as far as is known, but not timed.
    pub(super) fn clip(&mut self, open: Open, columns: Columns) {
        let Some(part) = columns.part_of(&open) else { return };
        self.clipped += 1;
        self.was_busy(&open, part, columns);
    }

    fn was_busy(&mut self, open: &Open, part: u64, columns: Columns) {
        if part == 0 {
            return;
        }
        let sums = [&mut self.busy, self.of.entry(Who::Process(open.tracee)).or_default()];
        sums.into_iter().for_each(|sum| *sum = sum.saturating_add(part));
        self.paint(open.tracee, open.start, open.last, columns);
    }

    fn paint(&mut self, tracee: TraceeId, start: u64, end: u64, columns: Columns) {
        let (mut at, end) = (start.max(columns.cut.from), end.min(columns.cut.to));
        while at < end {
            let column = ((at - columns.cut.from) / columns.width) as usize;
            let until = end.min(columns.cut.from + columns.width * (column as u64 + 1));
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

    pub(super) fn row(&self, lane: &LaneLedger, moves: &Moves, window: u64) -> LaneRow {
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
            migrations_in: moves.known_to(lane.lane),
            migrations_in_unknown: moves.unknown_to(lane.lane),
        }
    }

    pub(super) fn timeline(&self, lane: &LaneLedger, groups: &Groups, columns: Columns) -> LaneTimeline {
        let column = |number: usize| {
            let busy = self.columns.get(number).filter(|busy| !busy.is_empty())?;
            let mut by_group: BTreeMap<Option<usize>, u64> = BTreeMap::new();
            for (who, ns) in busy {
                let sum = by_group.entry(groups.of(*who)).or_default();
                *sum = sum.saturating_add(*ns);
            }
            let sum = by_group.values().copied().fold(0, u64::saturating_add);
            let most = by_group.iter().max_by_key(|(group, ns)| (**ns, Reverse(**group))).and_then(|(group, _)| *group);
            Some((most, (sum as f64 / columns.width as f64).min(1.0)))
        };
        LaneTimeline { lane: lane.short(), columns: (0..columns.count).map(column).collect() }
    }
}

/// Process groups by busy time.
pub(super) struct Groups {
    pub(super) rows: Vec<GroupRow>,
    of: HashMap<Who, usize>,
}

impl Groups {
    pub(super) fn new(
        activity: &Activity,
        groups: &mut group::Groups,
        processes: &Processes,
        tracees: &Tracees,
        names: &Names,
    ) -> Groups {
        let mut busy: BTreeMap<Who, u64> = BTreeMap::new();
        for (who, ns) in activity.lanes.values().flat_map(|lane| &lane.of) {
            let sum = busy.entry(*who).or_default();
            *sum = sum.saturating_add(*ns);
        }
        let mut number = |who: &Who| match *who {
            Who::Process(tracee) => Some(groups.of(tracee, processes, tracees, names) as usize),
            Who::Gone(group) => Some(group as usize),
            Who::Others => None,
        };
        let numbered: Vec<(Who, usize, u64)> =
            busy.iter().filter_map(|(who, ns)| Some((*who, number(who)?, *ns))).collect();
        let shown: HashSet<usize> = numbered.iter().map(|(_, group, _)| *group).collect();
        let titles = groups.titles_of(|group| shown.contains(&group));
        let name = |group: usize| titles.get(group).map_or("", String::as_str);
        let named: Vec<(Who, &str, u64)> =
            numbered.into_iter().map(|(who, group, ns)| (who, name(group), ns)).collect();
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (_, group, ns) in &named {
            let sum = sums.entry(group).or_default();
            *sum = sum.saturating_add(*ns);
        }
        let mut rows: Vec<GroupRow> =
            sums.into_iter().map(|(group, busy_ns)| GroupRow { group: group.to_owned(), busy_ns }).collect();
        rows.sort_by(|a, b| b.busy_ns.cmp(&a.busy_ns).then_with(|| a.group.cmp(&b.group)));
        let place: HashMap<&str, usize> = rows.iter().enumerate().map(|(n, row)| (row.group.as_str(), n)).collect();
        let of = named.iter().filter_map(|(who, group, _)| Some((*who, *place.get(group)?))).collect();
        Groups { of, rows }
    }

    fn of(&self, who: Who) -> Option<usize> {
        self.of.get(&who).copied()
    }
}
