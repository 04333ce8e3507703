//! `spoor gc`.

use anyhow::Result;

use super::summed::Summed;
use super::{Health, Next, Sought, around, feed_around};
use crate::cli::{self, Picks};
use crate::model::cut::Cut;
use crate::model::gc::Gc;
use crate::model::group::Groups;
use crate::model::processes::Known;
use crate::view;

/// The longest pauses listed.
const LONGEST: usize = 10;

pub(super) fn run(args: &cli::Sums) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Processes);
    filter.names_first = true;
    let mut gc = Gc::new(Groups::new(filter.grouping), LONGEST);
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        let read = around(recording, window);
        gc.begin(Cut::new(recording, window, read));
        let (outcome, processes) = feed_around(recording, names, window, read, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for, _) => {
                    if asked_for {
                        gc.event(event, known.processes);
                    }
                }
                Next::Leave(gone) => gc.leave(gone, known),
            }
            Ok(true)
        })?;
        let known = Known { recording, processes: &processes, tracees: &outcome.tracees, names: &outcome.names };
        gc.end_of_recording(window.within(recording).length_ns(), &known);
        Ok(outcome)
    })?;
    let report = gc.report(args.rows.most(args.table.json));
    if report.groups_found == 0 {
        summed.nothing(Sought::Collections, &filter)?;
    }
    summed.print(&args.table, &report, |style, out| view::gc::text(&report, style, out))
}
