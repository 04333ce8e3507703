//! `spoor info`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;

use super::{Health, Next, Sought, each, feed, nothing, part, progress, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::filter::{Filter, FunctionFilter};
use crate::model::info::Counts;
use crate::model::part::{Part, Tally};
use crate::model::processes::Known;
use crate::read::{Names, Recording, Survey, Window};
use crate::view;

pub(super) fn run(args: &cli::Info) -> Result<Health> {
    let (mut out, mut first) = (stdout(), true);
    let filter = cli::filter(&args.select, Picks::Functions);
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let counts = match part(recording, window, &filter) {
            None => of_all(recording),
            Some(part) => of_part(recording, part, window, &filter)?,
        };
        let report = counts.report(recording, &recording.notes());
        if args.json {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        } else {
            if !std::mem::take(&mut first) {
                writeln!(out)?;
            }
            view::info::text(&report, style(false), &mut out)?;
        }
        out.flush()?;
        tell(recording, &report.findings)?;
        if report.part.is_some() && report.tracees == 0 {
            nothing(Sought::Events, &[PathBuf::from(&recording.path)], &filter, &args.select.window)?;
        }
        Ok(Health::Fine.and(&report.findings))
    })?;
    Ok(health)
}

/// By the chunks, each by itself.
fn of_all(recording: &Recording) -> Counts {
    let (mut counts, progress) = (Counts::new(recording), progress(recording));
    Survey::counting(recording).run(|recording, _, round| {
        progress.inc(round.bytes);
        counts.round(recording, round);
    });
    progress.finish_and_clear();
    counts
}

/// By the events, one by one.
fn of_part(recording: &Recording, part: Part, window: Window, filter: &Filter) -> Result<Counts> {
    let (mut tally, mut functions) = (Tally::new(recording), FunctionFilter::new(filter));
    let (outcome, processes) = feed(recording, Names::default(), window, filter, |next, known| {
        match next {
            Next::Event(event, true, _) if functions.takes_event(event) => tally.event(event),
            Next::Event(..) => {}
            Next::Leave(gone) => gone.iter().for_each(|tracee| tally.leave(*tracee, known)),
        }
        Ok(true)
    })?;
    tally.end(&Known { recording, processes: &processes, tracees: &outcome.tracees, names: &outcome.names });
    Ok(Counts::of_part(part, tally, outcome, recording))
}
