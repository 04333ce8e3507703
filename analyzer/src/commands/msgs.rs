//! `spoor msgs`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, each, feed, limit, not_recorded, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::group::Groups;
use crate::model::msgs::{Msgs, Report};
use crate::read::{Names, kind};
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &cli::Msgs) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Processes);
    (filter.everyone, filter.names_first) = (true, true);
    let (mut msgs, mut names, mut about) = (Msgs::new(Groups::new(filter.grouping)), Names::default(), Vec::new());
    let mut seen = false;
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (outcome, processes) =
            feed(recording, std::mem::take(&mut names), window, &filter, |event, processes, asked_for| {
                seen |= matches!(event.kind, kind::SEND | kind::RECEIVE);
                msgs.event(event, processes, asked_for);
                Ok(true)
            })?;
        msgs.end_of_recording(recording, |tracee| {
            processes.full_name(tracee, outcome.tracees.identity(tracee), recording, &outcome.names)
        });
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let report = msgs.report(limit(args.limit, args.json));
    if report.pairs_found + report.queues_found == 0 {
        if !seen {
            not_recorded("messages", "messages (or requests, for those of servers only)")?;
        } else {
            nothing_matches(&filter, &names)?;
        }
    }
    let mut out = stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &Answer { recordings: &about, report: &report })?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        view::msgs::text(&report, style(args.wide), &mut out)?;
    }
    out.flush()?;
    Ok(health)
}
