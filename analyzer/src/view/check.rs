//! What a check found, as text.

use std::io::{self, Write};

use super::findings;
use super::units::{count, moment};
use crate::model::check::Report;
use crate::read::{Defect, Place, Severity};

/// The report: a few lines, then one for each defect.
pub fn text(report: &Report, lane_name: &dyn Fn(u32) -> String, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} ({})", report.path, report.state_text)?;
    writeln!(out, "{}", findings::ledger(&report.ledger))?;
    if let Some(part) = &report.part {
        writeln!(out, "of a part, and of nothing else: {}", findings::part(part))?;
    }
    writeln!(
        out,
        "checked {} chunks, {} bytes, {} events",
        count(report.chunks),
        count(report.bytes),
        count(report.events)
    )?;
    for defect in &report.defects {
        line(defect, lane_name, out)?;
    }
    let listed = report.defects.len() as u64;
    let found = report.damaged.saturating_add(report.warnings);
    if found > listed {
        writeln!(out, "and {} more", count(found - listed))?;
    }
    match report.damaged {
        0 if report.part.is_some() => writeln!(out, "fine: nothing of this part is damaged"),
        0 => writeln!(out, "fine: nothing is damaged"),
        n => writeln!(out, "damaged: {}", count(n)),
    }
}

fn line(defect: &Defect, lane_name: &dyn Fn(u32) -> String, out: &mut dyn Write) -> io::Result<()> {
    let kind = match defect.severity {
        Severity::Damage => "damaged",
        Severity::Warning => "warning",
    };
    writeln!(out, "{kind}: {}: {} (lost: {})", place(&defect.place, lane_name), defect.what, defect.cost)
}

fn place(place: &Place, lane_name: &dyn Fn(u32) -> String) -> String {
    let mut parts: Vec<String> = place.part.iter().cloned().collect();
    if let (Some(ring), Some(chunk)) = (place.ring, place.chunk) {
        let number = place.number.map(|number| format!(" (number {number})")).unwrap_or_default();
        parts.push(format!("{ring} chunk {chunk}{number}"));
    }
    parts.extend(place.byte.map(|byte| format!("byte {byte}")));
    parts.extend(place.lane.map(|lane| format!("lane {}", lane_name(lane))));
    parts.extend(place.time_ns.map(moment));
    parts.extend(place.process.clone());
    parts.join(", ")
}
