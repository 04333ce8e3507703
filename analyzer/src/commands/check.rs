//! `spoor check`.

use std::io::{self, Write};

use anyhow::Result;

use super::{Health, each, progress, stdout};
use crate::cli;
use crate::model::check::Check;
use crate::read::Survey;
use crate::view;

pub(super) fn run(args: &cli::Check) -> Result<Health> {
    let (mut out, mut first) = (stdout(), true);
    each(&args.input.paths, |recording| {
        let (mut check, progress) = (Check::new(recording), progress(recording));
        Survey::new(recording).run(|recording, survey, round| {
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
