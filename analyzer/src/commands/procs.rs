//! `spoor procs`.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;

use super::summed::Summed;
use super::{Health, Next, Sought, around, feed_around};
use crate::cli::{self, Picks};
use crate::model::cut::Cut;
use crate::model::group::{Grouping, Groups};
use crate::model::processes::Known;
use crate::model::procs::{GroupRow, Procs, Row, Sums, on_cpu_ns};
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'a [GroupRow]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    processes: Option<&'a [Row]>,
    rows_found: usize,
    grouped_by: &'static str,
}

/// The rows of single processes: of many no more than twice those that are asked for.
#[derive(Default)]
struct Rows {
    keep: usize,
    found: usize,
    recordings: usize,
    rows: Vec<((usize, Identity), Row)>,
}

impl Rows {
    fn add(&mut self, identity: Identity, row: Row) {
        self.found += 1;
        self.rows.push(((self.recordings, identity), row));
        if self.rows.len() / 2 > self.keep.max(MANY) {
            self.sort();
            self.rows.truncate(self.keep.max(MANY));
        }
    }

    fn end_of_recording(&mut self) {
        self.recordings += 1;
    }

    /// Those of equal time stay in the order of their pids.
    fn sort(&mut self) {
        self.rows.sort_by_key(|(place, row)| (std::cmp::Reverse(on_cpu_ns(&row.split)), *place));
    }

    /// Also how many there were.
    fn sorted(mut self) -> (Vec<Row>, usize) {
        self.sort();
        (self.rows.into_iter().map(|(_, row)| row).collect(), self.found)
    }
}

/// So many are kept anyhow.
const MANY: usize = 1 << 10;
/// And no more single ones than this, whatever is asked for.
const MOST_SINGLE: usize = 100_000;

pub(super) fn run(args: &cli::Procs) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Processes);
    filter.everyone = true;
    let most = args.rows.most(args.table.json);
    let most = if args.each { most.min(MOST_SINGLE) } else { most };
    let mut rows = Rows { keep: most, ..Rows::default() };
    let (mut groups, mut sums) = (Groups::new(filter.grouping), Sums::default());
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        let read = around(recording, window);
        let mut procs = Procs::within(recording, Cut::new(recording, window, read)).on(recording, &filter);
        let mut take = |tracee, row: Row, known: &Known<'_>| {
            sums.add(groups.of(tracee, known.processes, known.tracees, known.names), &row);
            // It is asked for but once, and the number may be another's later.
            groups.forget(tracee);
            if args.each {
                rows.add(known.tracees.identity(tracee), row);
            }
        };
        let (outcome, processes) = feed_around(recording, names, window, read, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for, _) => {
                    procs.event(event, known.processes, asked_for);
                    if let Some((tracee, row)) = procs.let_go(known) {
                        take(tracee, row, known);
                    }
                }
                Next::Leave(gone) => {
                    procs.leave(gone, known).into_iter().for_each(|(tracee, row)| take(tracee, row, known));
                }
            }
            Ok(true)
        })?;
        let known = Known { recording, processes: &processes, tracees: &outcome.tracees, names: &outcome.names };
        for (tracee, row) in procs.rows(&known) {
            take(tracee, row, &known);
        }
        rows.end_of_recording();
        groups.end_of_recording();
        Ok(outcome)
    })?;
    let mut groups = sums.report(&groups);
    let (mut rows, found) = rows.sorted();
    let rows_found = if args.each { found } else { groups.len() };
    if rows_found == 0 {
        summed.nothing(Sought::Events, &filter)?;
    }
    rows.truncate(most);
    groups.truncate(most);
    let grouped_by = Grouping::ALL.iter().find(|(by, _)| *by == filter.grouping).map_or("", |(_, name)| name);
    let (groups, processes) = if args.each { (None, Some(rows.as_slice())) } else { (Some(groups.as_slice()), None) };
    let report = Report { groups, processes, rows_found, grouped_by };
    summed.print(&args.table, &report, |style, out| {
        let shown = match (groups, processes) {
            (Some(groups), _) => view::procs::groups(groups, style, out).map(|()| groups.len())?,
            (None, each) => view::procs::each(each.unwrap_or_default(), style, out).map(|()| rows.len())?,
        };
        view::procs::below(rows_found, shown, !filter.schedulers.is_empty(), out)
    })
}
