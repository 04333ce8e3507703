//! `spoor requests`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, each, feed, stdout, style, tell, window};
use crate::cli;
use crate::model::filter::{Filter, glob};
use crate::model::requests::{Report, Requests};
use crate::read::Names;
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recording: &'a About,
    #[serde(flatten)]
    report: &'a Report,
}

pub(super) fn run(args: &cli::Requests) -> Result<Health> {
    let mut out = stdout();
    each(&args.input.paths, |recording| {
        let window = window(&args.window, recording)?;
        let mut requests = Requests::default();
        let (outcome, processes) =
            feed(recording, Names::default(), window, &Filter::default(), |event, processes, _| {
                requests.event(event, processes);
                Ok(true)
            })?;
        let mut report = requests.report(|server| {
            let identity = outcome.tracees.identity(server);
            processes.title(server, &outcome.names).unwrap_or_else(|| recording.pids.text(identity))
        });
        if !args.servers.is_empty() {
            report.servers.retain(|line| args.servers.iter().any(|pattern| glob(pattern, &line.server)));
        }
        let about = About::new(recording, window, &outcome);
        if args.json {
            serde_json::to_writer_pretty(&mut out, &Answer { recording: &about, report: &report })?;
            writeln!(out)?;
        } else {
            about.heading(&mut out)?;
            view::requests::text(&report, style(false), &mut out)?;
        }
        out.flush()?;
        tell(recording, &about.findings)?;
        Ok(Health::Fine.and(&about.findings))
    })
}
