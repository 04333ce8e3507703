//! `spoor slow`.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::summed::Summed;
use super::{Health, Next, Sought, feed};
use crate::cli;
use crate::model::filter::FunctionFilter;
use crate::model::slow::{Slow, SlowCall};
use crate::read::TraceeId;
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    function: &'a str,
    calls: &'a [SlowCall],
}

pub(super) fn run(args: &cli::Slow) -> Result<Health> {
    let table = &args.of.table;
    let mut filter = args.of.filter();
    // Who sends a message to a process that waits ends its wait.
    filter.everyone = true;
    let mut functions = FunctionFilter::new(&filter);
    let mut slow = Slow::new(args.limit);
    let mut summed = Summed::read(&table.input, &table.select.window, |recording, window, names| {
        let (outcome, processes) = feed(recording, names, window, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for, _) => {
                    let asked = |function| asked_for && functions.takes(event.names(), function);
                    slow.event(event, known.processes, asked);
                }
                Next::Leave(gone) => slow.leave(gone, known),
            }
            Ok(true)
        })?;
        slow.end_of_recording(recording, |process| {
            let tracee = TraceeId(process);
            processes.full_name(tracee, outcome.tracees.identity(tracee), recording, &outcome.names)
        });
        Ok(outcome)
    })?;
    let mut trees = slow.trees();
    summed.again(|recording, window, names| {
        let (outcome, _) = feed(recording, names, window, &filter, |next, _| {
            match next {
                Next::Event(event, asked_for, _) => {
                    trees.event(event, |function| asked_for && functions.takes(event.names(), function));
                }
                Next::Leave(gone) => trees.leave(gone),
            }
            Ok(true)
        })?;
        trees.end_of_recording();
        Ok(outcome)
    })?;
    let calls = trees.report(&summed.names);
    if calls.is_empty() && args.limit > 0 {
        summed.nothing(Sought::Calls, &filter)?;
    }
    let report = Report { function: &args.of.function, calls: &calls };
    summed.print(table, &report, |style, out| view::slow::text(&calls, style, out))
}
