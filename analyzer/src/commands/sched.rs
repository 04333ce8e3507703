//! `spoor sched`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, Next, Sought, each, feed, is_no_recording, stdout, style, tell, window, write_to};
use crate::cli::{self, Picks};
use crate::model::pressure::{self, Pressure};
use crate::model::sched::{Report, Sched};
use crate::read::{Names, Recording, Window};
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recording: &'a About,
    #[serde(flatten)]
    report: &'a Report,
    #[serde(flatten)]
    pressure: &'a pressure::Report,
}

pub(super) fn run(args: &cli::Sched) -> Result<Health> {
    let inputs = &args.table.input.paths;
    args.output.iter().try_for_each(|path| is_no_recording(path, inputs))?;
    let (mut out, mut number) = (stdout(), 0);
    each(inputs, |recording| {
        let (report, pressure, about, health) = one(args, recording)?;
        if args.table.json {
            serde_json::to_writer_pretty(
                &mut out,
                &Answer { recording: &about, report: &report, pressure: &pressure },
            )?;
            writeln!(out)?;
        } else {
            if number > 0 {
                writeln!(out)?;
            }
            about.heading(&mut out)?;
            view::sched::text(&report, style(args.table.wide), &mut out)?;
            view::pressure::text(&pressure, style(args.table.wide), &mut out)?;
        }
        if let Some(path) = &args.output {
            let path = numbered(path, number);
            let title = format!("{} ({})", about.path, about.state);
            write_to(&path, inputs, |file| view::sched::svg(&report, &title, &about.account(), file))?;
            if !args.table.json {
                writeln!(out, "\n{}: the same as a picture", path.display())?;
            }
        }
        out.flush()?;
        tell(recording, &about.findings)?;
        number += 1;
        Ok(health)
    })
}

/// So much before and after a window is read, for the slices that cross its edges.
const AROUND_NS: u64 = 500_000_000;

fn one(args: &cli::Sched, recording: &Recording) -> Result<(Report, pressure::Report, About, Health)> {
    let filter = args.table.filter(Picks::Processes);
    let asked = window(&args.table.select.window, recording)?;
    let from = asked.from_ns.max(recording.complete_from_ns);
    let to = asked.to_ns.min(recording.end_ns).max(from);
    let window = Window { from_ns: from, to_ns: asked.to_ns };
    let since = from.saturating_sub(AROUND_NS).max(recording.complete_from_ns);
    let around = Window { from_ns: since, to_ns: asked.to_ns.saturating_add(AROUND_NS) };
    // When it began, processes may have been on threads that were not traced yet.
    let known = Some(since).filter(|since| *since > recording.complete_from_ns);
    let mut sched = Sched::new(from, to, known, recording.ledger.len(), args.limit);
    let mut pressure = Pressure::new(recording, from, to);
    // Who is sent a message is told by others: they are all looked at.
    let (outcome, processes) = feed(recording, Names::default(), around, &filter, |next, known| {
        match next {
            Next::Event(event, asked_for) => {
                if asked_for {
                    sched.event(event);
                }
                let counts = asked_for && (from..=to).contains(&event.time);
                pressure.event(event, known.processes, counts);
            }
            Next::Leave(gone) => {
                sched.leave(gone, known);
                pressure.leave(gone);
            }
        }
        Ok(true)
    })?;
    let nothing = sched.is_empty();
    let report = sched.report(recording, &processes, &outcome.tracees, &outcome.names);
    let pressure = pressure.report(recording, report.from_in_out_events);
    if nothing {
        let files = [PathBuf::from(&recording.path)];
        super::nothing(Sought::Events, &files, &filter, &args.table.select.window)?;
    }
    let health = Health::Fine.and(&outcome.findings);
    Ok((report, pressure, About::new(recording, window, &outcome), health))
}

/// The pictures of several recordings get numbers: `x.svg`, `x-2.svg`, …
fn numbered(path: &Path, number: usize) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map_or(String::new(), |ext| format!(".{}", ext.to_string_lossy()));
    path.with_file_name(format!("{stem}-{}{extension}", number + 1))
}
