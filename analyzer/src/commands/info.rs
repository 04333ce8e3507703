//! `spoor info`.

use std::io::Write;

use anyhow::Result;

use super::{Health, each, feed, stdout, style, tell};
use crate::cli;
use crate::model::filter::Filter;
use crate::model::info::Counts;
use crate::read::{Names, Tracees, Window};
use crate::view;

pub(super) fn run(args: &cli::Info) -> Result<Health> {
    let (mut out, mut first) = (stdout(), true);
    let health = each(&args.input.paths, |recording| {
        let mut counts = Counts::default();
        let infos = recording.stream(Names::default(), Tracees::default(), Window::ALL).infos().to_vec();
        let (outcome, _) = feed(recording, Names::default(), Window::ALL, &Filter::default(), |event, _, _| {
            counts.event(event);
            Ok(true)
        })?;
        let report = counts.report(recording, &infos, &outcome);
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
