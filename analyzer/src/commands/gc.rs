//! `spoor gc`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, each, feed, limit, not_recorded, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::gc::{Gc, Report};
use crate::model::group::Groups;
use crate::read::{Names, kind};
use crate::view;

/// The longest pauses listed.
const LONGEST: usize = 10;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &cli::Gc) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Processes);
    filter.names_first = true;
    let (mut gc, mut names, mut about) = (Gc::new(Groups::new(filter.grouping), LONGEST), Names::default(), Vec::new());
    let mut seen = false;
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (outcome, processes) =
            feed(recording, std::mem::take(&mut names), window, &filter, |event, processes, asked_for| {
                seen |= matches!(event.kind, kind::GC_MINOR_START..=kind::GC_MAJOR_END);
                if asked_for {
                    gc.event(event, processes);
                }
                Ok(true)
            })?;
        let one = About::new(recording, window, &outcome);
        gc.end_of_recording(recording, one.window_ns(), |tracee| {
            processes.full_name(tracee, outcome.tracees.identity(tracee), recording, &outcome.names)
        });
        tell(recording, &outcome.findings)?;
        about.push(one);
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let report = gc.report(limit(args.limit, args.json));
    if report.groups_found == 0 {
        if !seen {
            not_recorded("garbage collections", "gc")?;
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
        view::gc::text(&report, style(args.wide), &mut out)?;
    }
    out.flush()?;
    Ok(health)
}
