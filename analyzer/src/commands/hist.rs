//! `spoor hist`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::time::Duration;

use anyhow::{Context, Result};
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, deal, each, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::calls::{Calls, Clipped};
use crate::read::Names;
use crate::view;
use crate::view::hist::Distribution;
use crate::view::units::count;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
    functions: Vec<FunctionCount>,
    clipped: Clipped,
    #[serde(flatten)]
    distribution: &'a Distribution,
}

#[derive(Serialize, JsonSchema)]
struct FunctionCount {
    function: String,
    calls: u64,
}

pub(super) fn run(args: &cli::Hist) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Functions);
    filter.functions.push(args.function.clone());
    let (mut calls, mut names, mut about) = (Calls::new(args.threads.count()), Names::default(), Vec::new());
    // When the first window begins, and how long all are together.
    let (mut begins, mut length) = (None, 0_u64);
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let known = std::mem::take(&mut names);
        let outcome = deal(recording, known, window, &filter, calls.replay(), |_, _| ())?;
        tell(recording, &outcome.findings)?;
        let one = About::new(recording, window, &outcome);
        length = length.saturating_add(one.window_ns());
        begins = begins.or(recording.clock.known_wall_ns(window.from_ns.max(recording.start_ns)));
        about.push(one);
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let (durations, functions, clipped) = calls.distribution(&names, &filter);
    if functions.is_empty() {
        nothing_matches(&filter, &names)?;
    }
    let distribution = view::hist::distribution(&durations);
    let mut out = stdout();
    if args.json {
        let functions = functions.into_iter().map(|(function, calls)| FunctionCount { function, calls }).collect();
        let answer = Answer { recordings: &about, functions, clipped, distribution: &distribution };
        serde_json::to_writer_pretty(&mut out, &answer)?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        let named = functions.iter().take(NAMED).map(|(function, calls)| format!("{function} {}", count(*calls)));
        let more = if functions.len() > NAMED { ", …" } else { "" };
        writeln!(out, "calls: {}{more}\n", named.collect::<Vec<_>>().join(", "))?;
        view::hist::text(&distribution, style(args.wide), &mut out)?;
        if clipped.sum() > 0 {
            writeln!(out, "{} calls have no duration: spoor calls says why", count(clipped.sum()))?;
        }
    }
    if let Some(path) = &args.hgrm {
        let mut file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
        view::hist::hgrm(&durations, &mut file)?;
        file.flush()?;
    }
    if let Some(path) = &args.hlog {
        let mut file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
        let (from, length) = (Duration::from_nanos(begins.unwrap_or(0)), Duration::from_nanos(length));
        view::hist::hlog(&durations, from, length, &mut file)?;
        file.flush()?;
    }
    out.flush()?;
    Ok(health)
}

/// Functions named above a distribution.
const NAMED: usize = 5;
