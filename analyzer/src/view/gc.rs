//! Garbage collections.

use std::io::{self, Write};

use crate::model::gc::{Kind, Report, Row};
use crate::view::table::{self, Style};
use crate::view::units::{bytes, count, duration, moment, percent};

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    table(&report.all, "PROCESSES", style, out)?;
    writeln!(out)?;
    table(&report.groups, "GROUP", style, out)?;
    table::more(report.groups_found, report.groups.len(), out)?;
    if report.longest.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nLongest pauses")?;
    let columns = [("TIME", true), ("AT", true), ("KIND", false), ("LANE", false), ("PROCESS", false)];
    let row = |row: &crate::model::gc::PauseRow| {
        let kind = kind(Some(row.kind)).to_owned();
        vec![duration(row.duration_ns), moment(row.at_ns), kind, row.lane.clone(), row.process.clone()]
    };
    table::fitted(&columns, report.longest.iter().map(row).collect(), &[], style, out)
}

fn kind(kind: Option<Kind>) -> &'static str {
    match kind {
        None => "both",
        Some(Kind::Minor) => "minor",
        Some(Kind::Major) => "major",
    }
}

fn table(rows: &[Row], head: &'static str, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let columns = [
        (head, false),
        ("KIND", false),
        ("PAUSES", true),
        ("TIME", true),
        ("SHARE", true),
        ("P50", true),
        ("P90", true),
        ("P99", true),
        ("P99.9", true),
        ("MAX", true),
        ("RECLAIMED", true),
        ("UNTIMED", true),
    ];
    let rows = rows.iter().map(|row| {
        let points = row.pauses.unwrap_or_default();
        let time = |ns| if row.pauses.is_none() { "-".to_owned() } else { duration(ns) };
        vec![
            row.group.clone().unwrap_or_else(|| "all".to_owned()),
            kind(row.kind).to_owned(),
            count(row.collections),
            duration(row.total_ns),
            percent(row.share),
            time(points.p50_ns),
            time(points.p90_ns),
            time(points.p99_ns),
            time(points.p999_ns),
            time(points.max_ns),
            bytes(row.reclaimed_bytes),
            if row.untimed == 0 { String::new() } else { count(row.untimed) },
        ]
    });
    table::fitted(&columns, rows.collect(), &["P90", "P99.9"], style, out)
}
