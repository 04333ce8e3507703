//! `spoor sched`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    About, Health, Next, Sought, around, each, feed_around, is_no_recording, stdout, style, tell, window, write_to,
};
use crate::cli::{self, Picks};
use crate::model::cut::Cut;
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
            view::pressure::text(&pressure, &mut out)?;
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

fn one(args: &cli::Sched, recording: &Recording) -> Result<(Report, pressure::Report, About, Health)> {
    let mut filter = args.table.filter(Picks::Processes);
    // Who is sent a message is told by others: they are all looked at.
    filter.everyone = true;
    let asked = window(&args.table.select.window, recording)?;
    let from = asked.from_ns.max(recording.complete_from_ns);
    let window = Window { from_ns: from, to_ns: asked.to_ns };
    let read = around(recording, window);
    let cut = Cut::new(recording, window, read);
    let mut sched = Sched::new(recording, cut, args.limit).on(recording, &filter);
    let mut pressure = Pressure::new(recording, cut);
    let (outcome, processes) = feed_around(recording, Names::default(), window, read, &filter, |next, known| {
        match next {
            Next::Event(event, asked_for, takes) => {
                sched.event(event, takes(event.tracee));
                pressure.event(event, known.processes, asked_for);
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
