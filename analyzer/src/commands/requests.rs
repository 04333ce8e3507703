//! `spoor requests`.

use anyhow::Result;

use super::summed::Summed;
use super::{Health, Next, Sought, around, feed_around};
use crate::cli::{self, Picks};
use crate::model::cut::Cut;
use crate::model::filter::EventFilter;
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
        // What began before the window may wait all through it.
        let read = around(recording, window);
        requests.begin(Cut::new(recording, window, read), EventFilter::new(&filter, recording));
        let (outcome, processes) = feed_around(recording, names, window, read, &filter, |next, known| {
            match next {
                Next::Event(event, _, takes) => requests.event(event, known.processes, takes(event.tracee)),
                Next::Leave(gone) => requests.leave(gone, known),
            }
            Ok(true)
        })?;
        let (tracees, names) = (&outcome.tracees, &outcome.names);
        requests.end_of_recording(&Known { recording, processes: &processes, tracees, names });
        Ok(outcome)
    })?;
    let report = requests.report(cli::most(args.limit, args.table.json));
    if report.groups.is_empty() && report.replies_without_request == 0 && report.to_spoor == 0 {
        summed.nothing(Sought::Requests, &filter)?;
    }
    summed.print(&args.table, &report, |style, out| view::requests::text(&report, style, out))
}
