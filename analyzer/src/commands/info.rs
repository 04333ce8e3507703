//! `spoor info`.

use std::io::Write;

use anyhow::Result;

use super::{Health, each, progress, stdout, style, tell};
use crate::cli;
use crate::model::info::Counts;
use crate::read::Survey;
use crate::view;

pub(super) fn run(args: &cli::Info) -> Result<Health> {
    let (mut out, mut first) = (stdout(), true);
    let health = each(&args.input.paths, |recording| {
        let (mut counts, progress) = (Counts::new(recording), progress(recording));
        Survey::counting(recording).run(|_, _, round| {
            progress.inc(round.bytes);
            counts.round(round);
        });
        progress.finish_and_clear();
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
        Ok(Health::Fine.and(&report.findings))
    })?;
    Ok(health)
}
