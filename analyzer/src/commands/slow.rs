//! `spoor slow`.

use std::io;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::summed::Summed;
use super::{Health, Next, Sought, around, deal, feed_around};
use crate::cli;
use crate::model::filter::Filter;
use crate::model::slow::{Slow, SlowCall, Trees};
use crate::read::{Asked, FunctionId, Names, Outcome, Recording, Tracees, Window};
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    function: &'a str,
    calls: &'a [SlowCall],
}

/// More stretches of a recording than this are read as one.
const STRETCHES: usize = 32;

pub(super) fn run(args: &cli::Slow) -> Result<Health> {
    let table = &args.of.table;
    let filter = args.of.filter();
    let mut slow = Slow::new(args.limit, args.threads.count());
    let mut summed = Summed::read(&table.input, &table.select.window, |recording, window, names| {
        let (shares, asked, whose) = slow.shares();
        let outcome = deal(recording, names, window, &filter, shares, None, |next: &Asked<'_>, _| {
            let names = next.names;
            asked.tell_until(names.function_count(), |id| filter.takes_function(names, FunctionId(id)));
            whose.tell(next.tracee.0, Some(next.tracees.identity(next.tracee)));
        });
        whose.clear();
        outcome
    })?;
    let (timed, untimed) = slow.counts();
    let mut trees = slow.trees();
    // Whose calls they are is known; who sends a message to a process that waits ends its wait.
    let (schedulers, kinds) = (filter.schedulers.clone(), filter.kinds.clone());
    let everyone = Filter { everyone: true, schedulers, kinds, ..Filter::default() };
    summed.again(|recording, window, names| second_pass(recording, window, names, &everyone, &mut trees))?;
    let calls = trees.report(&summed.names);
    if timed == 0 && untimed.sum() > 0 {
        view::slow::untimed(&untimed, &mut io::stderr().lock())?;
    } else if calls.is_empty() && args.limit > 0 {
        summed.nothing(Sought::Calls, &filter)?;
    }
    let report = Report { function: &args.of.function, calls: &calls };
    summed.print(table, &report, |style, out| view::slow::text(&calls, style, out))
}

/// Reads the stretches in which the calls that were found were open.
fn second_pass(
    recording: &Recording,
    window: Window,
    mut names: Names,
    filter: &Filter,
    trees: &mut Trees,
) -> Result<Outcome> {
    for (asked, read) in stretches(recording, window, trees.windows()) {
        trees.begin(recording, read);
        let (outcome, processes) = feed_around(recording, names, asked, read, filter, |next, known| {
            match next {
                Next::Event(event, asked_for, _) => trees.event(event, known.processes, asked_for),
                Next::Leave(gone) => trees.leave(gone, known),
            }
            Ok(true)
        })?;
        trees.end(|who| processes.full_name(who, outcome.tracees.identity(who), recording, &outcome.names));
        names = outcome.names;
    }
    trees.end_of_recording();
    Ok(Outcome { names, tracees: Tracees::default(), ledger: Vec::new(), findings: Vec::new() })
}

/// What is read of a recording for these windows, which begin one after the other: with what lies around
/// them, as far as it is asked for, and what of it is asked for.
fn stretches(recording: &Recording, whole: Window, mut windows: Vec<Window>) -> Vec<(Window, Window)> {
    let join = |a: Window, b: Window| Window { from_ns: a.from_ns.min(b.from_ns), to_ns: a.to_ns.max(b.to_ns) };
    if windows.len() > STRETCHES {
        windows = windows.into_iter().reduce(join).into_iter().collect();
    }
    let mut stretches: Vec<(Window, Window)> = Vec::new();
    for window in windows {
        if let Some((asked, read)) = stretches.last_mut()
            && window.to_ns <= read.to_ns
        {
            *asked = join(*asked, window);
            continue;
        }
        let around = around(recording, window);
        let from_ns = around.from_ns.max(whole.from_ns).min(window.from_ns);
        let read = Window { from_ns, to_ns: around.to_ns.min(whole.to_ns).max(window.to_ns) };
        match stretches.last_mut() {
            Some((asked, before)) if read.from_ns <= before.to_ns => {
                (*asked, *before) = (join(*asked, window), join(*before, read));
            }
            _ => stretches.push((window, read)),
        }
    }
    stretches
}
