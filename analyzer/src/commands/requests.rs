//! `spoor requests`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, each, feed, limit, not_recorded, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::group::Groups;
use crate::model::requests::{By, Report, Requests};
use crate::read::Names;
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &cli::Requests) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Processes);
    // A request has two ends: whoever is asked for, the other's events are wanted too.
    filter.everyone = true;
    let by = if args.by == "client" { By::Client } else { By::Server };
    let several = args.input.paths.len() > 1 || args.input.paths.iter().any(|path| path.is_dir());
    let mut requests = Requests::new(by, Groups::new(filter.grouping), args.slowest, several);
    let (mut names, mut about) = (Names::default(), Vec::new());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (outcome, processes) =
            feed(recording, std::mem::take(&mut names), window, &filter, |event, processes, asked_for| {
                requests.event(event, processes, asked_for);
                Ok(true)
            })?;
        requests.end_of_recording(recording, &processes, &outcome.tracees, &outcome.names);
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let report = requests.report(limit(args.limit, args.json));
    if report.messages == 0 {
        not_recorded("messages", "requests")?;
    } else if report.groups.is_empty() {
        nothing_matches(&filter, &names)?;
    }
    let mut out = stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &Answer { recordings: &about, report: &report })?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        view::requests::text(&report, style(args.wide), &mut out)?;
    }
    out.flush()?;
    Ok(health)
}
