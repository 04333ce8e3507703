//! `spoor check`.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;

use super::{Health, Sought, each, known_before, nothing, part, progress, stdout, window};
use crate::cli::{self, Picks};
use crate::model::check::Check;
use crate::model::filter::{EventFilter, Filter};
use crate::model::part::Wanted;
use crate::read::{Names, Recording, Survey, Window};
use crate::view;

pub(super) fn run(args: &cli::Check) -> Result<Health> {
    let (mut out, mut first) = (stdout(), true);
    let mut filter = cli::filter(&args.select, Picks::Processes);
    // Which processes are asked for is decided of each once.
    filter.names_first = !filter.takes_all_processes();
    each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (mut check, survey) = match part(recording, window, &filter) {
            None => (Check::new(recording), Survey::new(recording)),
            Some(part) => {
                let wanted = wanted(recording, window, &filter)?;
                if !wanted.takes_any(recording) {
                    nothing(Sought::Events, &[PathBuf::from(&recording.path)], &filter, &args.select.window)?;
                }
                (Check::of_part(recording, part, wanted), Survey::of_window(recording, window))
            }
        };
        let progress = progress(recording);
        survey.run(|recording, survey, round| {
            progress.inc(round.bytes);
            check.round(recording, survey, round);
        });
        progress.finish_and_clear();
        let report = check.report(recording);
        if args.json {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        } else {
            if !std::mem::take(&mut first) {
                writeln!(out)?;
            }
            view::check::text(&report, &|lane| recording.lane_name(lane), &mut out)?;
        }
        out.flush()?;
        if !report.fine {
            writeln!(io::stderr(), "spoor: {}: {} damaged parts", report.path, report.damaged)?;
        }
        Ok(if report.fine { Health::Fine } else { Health::Damaged })
    })
}

/// What of what is wrong is asked for.
fn wanted(recording: &Recording, window: Window, filter: &Filter) -> Result<Wanted> {
    let processes = known_before(recording, Names::default(), (window, window), filter, None)?.verdicts;
    Ok(Wanted { window, events: EventFilter::new(filter, recording), processes })
}
