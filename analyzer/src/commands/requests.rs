//! `spoor requests`.

use anyhow::Result;

use super::summed::Summed;
use super::{Health, Next, Sought, feed};
use crate::cli::{self, Picks};
use crate::model::group::Groups;
use crate::model::processes::Known;
use crate::model::requests::{By, Requests};
use crate::view;

pub(super) fn run(args: &cli::Requests) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Processes);
    // A request has two ends: whoever is asked for, the other's events are wanted too.
    filter.everyone = true;
    let by = if args.by == "client" { By::Client } else { By::Server };
    let paths = &args.table.input.paths;
    let several = paths.len() > 1 || paths.iter().any(|path| path.is_dir());
    let mut requests = Requests::new(by, Groups::new(filter.grouping), args.slowest, several);
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        let (outcome, processes) = feed(recording, names, window, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for, _) => requests.event(event, known.processes, asked_for),
                Next::Leave(gone) => requests.leave(gone, known),
            }
            Ok(true)
        })?;
        let (tracees, names) = (&outcome.tracees, &outcome.names);
        requests.end_of_recording(&Known { recording, processes: &processes, tracees, names });
        Ok(outcome)
    })?;
    let report = requests.report(cli::most(args.limit, args.table.json));
    if report.groups.is_empty() {
        summed.nothing(Sought::Requests, &filter)?;
    }
    summed.print(&args.table, &report, |style, out| view::requests::text(&report, style, out))
}
