//! `spoor calls`.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::{About, Health, each, feed, nothing_matches, stdout, style, tell, window};
use crate::cli;
use crate::model::calls::{Calls, Report};
use crate::read::Names;
use crate::view;

/// Rows of a table of text, unless told otherwise.
const LIMIT: usize = 30;

#[derive(Serialize)]
struct Answer<'a> {
    recordings: &'a [About],
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &cli::Calls) -> Result<Health> {
    let filter = cli::filter(&args.process, Some(&args.function), &[]);
    let (mut calls, mut names, mut about) = (Calls::default(), Names::default(), Vec::new());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.window, recording)?;
        let (outcome, _) = feed(recording, std::mem::take(&mut names), window, &filter, |event, _| {
            calls.event(event);
            Ok(true)
        })?;
        calls.end_of_recording();
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let limit = match args.limit {
        Some(0) => usize::MAX,
        Some(limit) => limit,
        None if args.json => usize::MAX,
        None => LIMIT,
    };
    let report = calls.report(&names, &filter, args.sort, limit);
    if report.functions_found == 0 {
        nothing_matches(&filter, &names)?;
    }
    let mut out = stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &Answer { recordings: &about, report: &report })?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        view::calls::text(&report, style(args.wide), &mut out)?;
    }
    out.flush()?;
    Ok(health)
}
