//! `spoor procs`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;

use super::{About, Health, each, feed, limit, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::group::{Grouping, Groups};
use crate::model::processes::Processes;
use crate::model::procs::{GroupRow, Procs, Row, Sums, on_cpu_ns};
use crate::read::{Names, Tracees};
use crate::view;
use crate::view::units::count;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
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

pub(super) fn run(args: &cli::Procs) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Processes);
    filter.everyone = true;
    let (mut names, mut about) = (Names::default(), Vec::new());
    let mut rows = Rows { keep: limit(args.limit, args.json), ..Rows::default() };
    let (mut groups, mut sums) = (Groups::new(filter.grouping), Sums::default());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let mut procs = Procs::new(recording);
        let (sums, groups, rows) = (&mut sums, &mut groups, &mut rows);
        let mut take = |tracee, row: Row, processes: &Processes, tracees: &Tracees, names: &Names| {
            sums.add(groups.of(tracee, processes, tracees, names), &row);
            if args.each {
                rows.add(tracees.identity(tracee), row);
            }
        };
        let (outcome, processes) =
            feed(recording, std::mem::take(&mut names), window, &filter, |event, processes, asked_for| {
                procs.event(event, processes, asked_for);
                if let Some((tracee, row)) = procs.let_go(event, processes) {
                    take(tracee, row, processes, event.tracees(), event.names());
                }
                Ok(true)
            })?;
        for (tracee, row) in procs.rows(recording, window, &processes, &outcome.tracees, &outcome.names) {
            take(tracee, row, &processes, &outcome.tracees, &outcome.names);
        }
        rows.end_of_recording();
        groups.end_of_recording();
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let mut groups = sums.report(&groups);
    let (mut rows, found) = rows.sorted();
    let rows_found = if args.each { found } else { groups.len() };
    if rows_found == 0 {
        nothing_matches(&filter, &names)?;
    }
    rows.truncate(limit(args.limit, args.json));
    groups.truncate(limit(args.limit, args.json));
    let mut out = stdout();
    if args.json {
        let grouped_by = Grouping::ALL.iter().find(|(by, _)| *by == filter.grouping).map_or("", |(_, name)| name);
        let (groups, processes) =
            if args.each { (None, Some(rows.as_slice())) } else { (Some(groups.as_slice()), None) };
        let answer = Answer { recordings: &about, groups, processes, rows_found, grouped_by };
        serde_json::to_writer_pretty(&mut out, &answer)?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        let shown = if args.each {
            view::procs::each(&rows, style(args.wide), &mut out)?;
            rows.len()
        } else {
            view::procs::groups(&groups, style(args.wide), &mut out)?;
            groups.len()
        };
        if rows_found > shown {
            writeln!(out, "({} more rows: --limit 0)", count((rows_found - shown) as u64))?;
        }
        writeln!(out)?;
        view::procs::legend(&mut out)?;
    }
    out.flush()?;
    Ok(health)
}
