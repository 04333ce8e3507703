//! What is wrong, and what was lost: shown with every answer.

use std::io::{self, Write};

use crate::model::part::Part;
use crate::read::{Finding, Ledger, Severity};
use crate::view::units::{count, moment};

/// More findings than this are only counted.
const SHOWN: usize = 20;

/// Findings, one a line.
pub fn text(path: &str, findings: &[Finding], out: &mut dyn Write) -> io::Result<()> {
    for finding in findings.iter().take(SHOWN) {
        let kind = match finding.severity {
            Severity::Damage => "damaged",
            Severity::Warning => "warning",
        };
        writeln!(out, "spoor: {path}: {kind}: {}: {} (lost: {})", finding.place, finding.what, finding.cost)?;
    }
    if findings.len() > SHOWN {
        writeln!(out, "spoor: {path}: and {} more, see spoor info --json", findings.len() - SHOWN)?;
    }
    Ok(())
}

/// What of a recording was asked for, in one line.
pub fn part(part: &Part) -> String {
    let window = format!("{} to {}", moment(part.from_ns).trim_end_matches(" s"), moment(part.to_ns));
    [window].into_iter().chain(part.filters.iter().cloned()).collect::<Vec<_>>().join(", ")
}

/// The ledger in one line.
pub fn ledger(ledger: &Ledger) -> String {
    let mut text = format!("{} events stored, {} in the file", count(ledger.stored), count(ledger.present));
    let parts = [
        (ledger.overwritten, "overwritten"),
        (ledger.damaged, "damaged"),
        (ledger.outside_window, "outside the window"),
    ];
    for (n, what) in parts {
        if n > 0 {
            text.push_str(&format!(", {} {what}", count(n)));
        }
    }
    if ledger.dropped == 0 {
        text.push_str(", none dropped");
    } else {
        let causes: Vec<String> =
            ledger.dropped_by_cause.iter().map(|(cause, n)| format!("{cause} {}", count(*n))).collect();
        text.push_str(&format!(", {} dropped ({})", count(ledger.dropped), causes.join(", ")));
    }
    text
}
