//! `spoor slow`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, each, each_again, feed, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::filter::FunctionFilter;
use crate::model::slow::{Slow, SlowCall};
use crate::read::{Names, TraceeId};
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
    function: &'a str,
    calls: &'a [SlowCall],
}

pub(super) fn run(args: &cli::Slow) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Functions);
    filter.functions.push(args.function.clone());
    // Who sends a message to a process that waits ends its wait.
    filter.everyone = true;
    let mut functions = FunctionFilter::new(&filter);
    let (mut slow, mut names, mut about) = (Slow::new(args.limit), Names::default(), Vec::new());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (outcome, processes) =
            feed(recording, std::mem::take(&mut names), window, &filter, |event, processes, asked_for| {
                slow.event(event, processes, |function| asked_for && functions.takes(event.names(), function));
                Ok(true)
            })?;
        slow.end_of_recording(recording, |process| {
            let tracee = TraceeId(process);
            processes.full_name(tracee, outcome.tracees.identity(tracee), recording, &outcome.names)
        });
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let mut trees = slow.trees();
    each_again(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (outcome, _) = feed(recording, std::mem::take(&mut names), window, &filter, |event, _, asked_for| {
            trees.event(event, |function| asked_for && functions.takes(event.names(), function));
            Ok(true)
        })?;
        trees.end_of_recording();
        names = outcome.names;
        Ok(Health::Fine)
    })?;
    let calls = trees.report(&names);
    if calls.is_empty() && args.limit > 0 {
        nothing_matches(&filter, &names)?;
    }
    let mut out = stdout();
    if args.json {
        let answer = Answer { recordings: &about, function: &args.function, calls: &calls };
        serde_json::to_writer_pretty(&mut out, &answer)?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        view::slow::text(&calls, style(args.wide), &mut out)?;
    }
    out.flush()?;
    Ok(health)
}
