//! `spoor procs`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, each, feed, limit, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::group::{Grouping, Groups};
use crate::model::procs::{GroupRow, Procs, Row, Sums, on_cpu_ns};
use crate::read::Names;
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

pub(super) fn run(args: &cli::Procs) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Processes);
    filter.everyone = true;
    let (mut names, mut about, mut rows) = (Names::default(), Vec::new(), Vec::new());
    let (mut groups, mut sums) = (Groups::new(filter.grouping), Sums::default());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let mut procs = Procs::new(recording);
        let (outcome, processes) =
            feed(recording, std::mem::take(&mut names), window, &filter, |event, processes, asked_for| {
                procs.event(event, processes, asked_for);
                Ok(true)
            })?;
        for (tracee, row) in procs.rows(recording, window, &processes, &outcome.tracees, &outcome.names) {
            sums.add(groups.of(tracee, &processes, &outcome.tracees, &outcome.names), &row);
            if args.each {
                rows.push(row);
            }
        }
        groups.end_of_recording();
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let mut groups = sums.report(&groups);
    // Those of equal time stay in the order of their pids.
    rows.sort_by_key(|row| std::cmp::Reverse(on_cpu_ns(&row.split)));
    let rows_found = if args.each { rows.len() } else { groups.len() };
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
