//! `spoor hist`.

use std::time::Duration;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::summed::Summed;
use super::{Health, Sought, deal, is_no_recording, write_to};
use crate::cli;
use crate::model::calls::{Calls, Untimed};
use crate::view;
use crate::view::hist::Distribution;
use crate::view::units::count;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    functions: &'a [FunctionCount],
    untimed: Untimed,
    #[serde(flatten)]
    distribution: &'a Distribution,
}

#[derive(Serialize, JsonSchema)]
struct FunctionCount {
    function: String,
    calls: u64,
}

pub(super) fn run(args: &cli::Hist) -> Result<Health> {
    let table = &args.of.table;
    let inputs = &table.input.paths;
    args.hgrm.iter().chain(&args.hlog).try_for_each(|path| is_no_recording(path, inputs))?;
    let filter = args.of.filter();
    let mut calls = Calls::new(args.threads.count());
    // When the first window begins, and how long all are together.
    let (mut begins, mut length) = (None, 0_u64);
    let summed = Summed::read(&table.input, &table.select.window, |recording, window, names| {
        length = length.saturating_add(window.within(recording).length_ns());
        begins = begins.or(recording.clock.known_wall_ns(window.from_ns.max(recording.start_ns)));
        deal(recording, names, window, &filter, calls.replay(), None, |_, _| ())
    })?;
    let (durations, functions, untimed) = calls.distribution(&summed.names, &filter);
    if functions.is_empty() {
        summed.nothing(Sought::Calls, &filter)?;
    }
    let functions: Vec<FunctionCount> =
        functions.into_iter().map(|(function, calls)| FunctionCount { function, calls }).collect();
    let distribution = view::hist::distribution(&durations);
    let report = Report { functions: &functions, untimed, distribution: &distribution };
    let health = summed.print(table, &report, |style, out| {
        let named = functions.iter().take(NAMED).map(|of| format!("{} {}", of.function, count(of.calls)));
        let more = if functions.len() > NAMED { ", …" } else { "" };
        writeln!(out, "calls: {}{more}\n", named.collect::<Vec<_>>().join(", "))?;
        view::hist::text(&distribution, style, out)?;
        if untimed.sum() > 0 {
            writeln!(out, "{} calls have no duration: spoor calls says why", count(untimed.sum()))?;
        }
        Ok(())
    })?;
    if let Some(path) = &args.hgrm {
        write_to(path, inputs, |file| view::hist::hgrm(&durations, file))?;
    }
    if let Some(path) = &args.hlog {
        let (from, length) = (Duration::from_nanos(begins.unwrap_or(0)), Duration::from_nanos(length));
        write_to(path, inputs, |file| view::hist::hlog(&durations, from, length, file))?;
    }
    Ok(health)
}

/// Functions named above a distribution.
const NAMED: usize = 5;
