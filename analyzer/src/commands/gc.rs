//! `spoor gc`.

use anyhow::Result;

use super::summed::Summed;
use super::{Health, Next, Sought, feed};
use crate::cli::{self, Picks};
use crate::model::gc::Gc;
use crate::model::group::Groups;
use crate::view;

/// The longest pauses listed.
const LONGEST: usize = 10;

pub(super) fn run(args: &cli::Sums) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Processes);
    filter.names_first = true;
    let mut gc = Gc::new(Groups::new(filter.grouping), LONGEST);
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        let (outcome, processes) = feed(recording, names, window, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for) => {
                    if asked_for {
                        gc.event(event, known.processes);
                    }
                }
                Next::Leave(gone) => gc.leave(gone, known),
            }
            Ok(true)
        })?;
        gc.end_of_recording(recording, window.within(recording).length_ns(), |tracee| {
            processes.full_name(tracee, outcome.tracees.identity(tracee), recording, &outcome.names)
        });
        Ok(outcome)
    })?;
    let report = gc.report(args.rows.most(args.table.json));
    if report.groups_found == 0 {
        summed.nothing(Sought::Collections, &filter)?;
    }
    summed.print(&args.table, &report, |style, out| view::gc::text(&report, style, out))
}
