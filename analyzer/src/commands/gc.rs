//! `spoor gc`.

use anyhow::Result;

use super::summed::Summed;
use super::{Health, Next, feed, not_recorded, nothing_matches};
use crate::cli::{self, Picks};
use crate::model::gc::Gc;
use crate::model::group::Groups;
use crate::read::kind;
use crate::view;

/// The longest pauses listed.
const LONGEST: usize = 10;

pub(super) fn run(args: &cli::Sums) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Processes);
    filter.names_first = true;
    let (mut gc, mut seen) = (Gc::new(Groups::new(filter.grouping), LONGEST), false);
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        let (outcome, processes) = feed(recording, names, window, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for) => {
                    seen |= matches!(event.kind, kind::GC_MINOR_START..=kind::GC_MAJOR_END);
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
    if !seen {
        not_recorded("garbage collections", "gc")?;
    } else if report.groups_found == 0 {
        nothing_matches(&filter, &summed.names)?;
    }
    summed.print(&args.table, &report, |style, out| view::gc::text(&report, style, out))
}
