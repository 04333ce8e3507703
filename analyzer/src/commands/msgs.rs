//! `spoor msgs`.

use anyhow::Result;

use super::summed::Summed;
use super::{Health, Next, Sought, feed};
use crate::cli::{self, Picks};
use crate::model::filter::EventFilter;
use crate::model::group::Groups;
use crate::model::msgs::Msgs;
use crate::model::processes::Known;
use crate::view;

pub(super) fn run(args: &cli::Sums) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Processes);
    (filter.everyone, filter.names_first) = (true, true);
    let mut msgs = Msgs::new(Groups::new(filter.grouping));
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        msgs.begin(EventFilter::new(&filter, recording));
        let (outcome, processes) = feed(recording, names, window, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for, takes) => msgs.event(event, known.processes, asked_for, takes),
                Next::Leave(gone) => msgs.leave(gone, known),
            }
            Ok(true)
        })?;
        let known = Known { recording, processes: &processes, tracees: &outcome.tracees, names: &outcome.names };
        msgs.end_of_recording(&known);
        Ok(outcome)
    })?;
    let report = msgs.report(args.rows.most(args.table.json));
    if report.pairs_found + report.queues_found == 0 {
        summed.nothing(Sought::Messages, &filter)?;
    }
    let (recordings, of_threads) = (summed.about.len(), !filter.schedulers.is_empty());
    summed.print(&args.table, &report, |style, out| view::msgs::text(&report, recordings, of_threads, style, out))
}
