//! `spoor msgs`.

use anyhow::Result;

use super::summed::Summed;
use super::{Health, Next, feed, not_recorded, nothing_matches};
use crate::cli::{self, Picks};
use crate::model::group::Groups;
use crate::model::msgs::Msgs;
use crate::read::kind;
use crate::view;

pub(super) fn run(args: &cli::Sums) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Processes);
    (filter.everyone, filter.names_first) = (true, true);
    let (mut msgs, mut seen) = (Msgs::new(Groups::new(filter.grouping)), false);
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        let (outcome, processes) = feed(recording, names, window, &filter, |next, known| {
            match next {
                Next::Event(event, asked_for) => {
                    seen |= matches!(event.kind, kind::SEND | kind::RECEIVE);
                    msgs.event(event, known.processes, asked_for);
                }
                Next::Leave(gone) => msgs.leave(gone, known),
            }
            Ok(true)
        })?;
        msgs.end_of_recording(recording, |tracee| {
            processes.full_name(tracee, outcome.tracees.identity(tracee), recording, &outcome.names)
        });
        Ok(outcome)
    })?;
    let report = msgs.report(args.rows.most(args.table.json));
    if report.pairs_found + report.queues_found == 0 {
        if !seen {
            not_recorded("messages", "messages (or requests, for those of servers only)")?;
        } else {
            nothing_matches(&filter, &summed.names)?;
        }
    }
    summed.print(&args.table, &report, |style, out| view::msgs::text(&report, style, out))
}
