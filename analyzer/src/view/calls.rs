//! The table of calls.

use std::io::{self, Write};

use crate::model::calls::{Clipped, Report, Row};
use crate::model::histogram::Percentiles;
use crate::model::keyed;
use crate::view::table::{self, Style};
use crate::view::units::{count, duration, percent};

/// What a narrow table goes without: `--wide` and `--json` have it.
const OPTIONAL: [&str; 4] = ["MEAN", "SHARE", "P90", "P99.9"];

/// Rows of modules or process groups, these of all; `head` says which.
pub fn keyed(
    rows: &[keyed::Row],
    rows_found: usize,
    head: &'static str,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let shown = rows.len();
    let columns = [
        (head, false),
        ("CALLS", true),
        ("ENTERED", true),
        ("OWN", true),
        ("SHARE", true),
        ("TOTAL", true),
        ("MEAN", true),
        ("P50", true),
        ("P90", true),
        ("P99", true),
        ("P99.9", true),
        ("MAX", true),
        ("UNTIMED", true),
    ];
    let rows = rows.iter().map(|row| {
        let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
        let point = |of: fn(&Percentiles) -> u64| time(row.percentiles.as_ref().map(of));
        let untimed = row.clipped.sum();
        vec![
            row.name.clone(),
            count(row.calls),
            count(row.entered),
            duration(row.own_on_scheduler_ns.unwrap_or(row.own_ns)),
            percent(row.share),
            duration(row.total_ns),
            time(row.percentiles.map(|_| row.mean_ns)),
            point(|p| p.p50_ns),
            point(|p| p.p90_ns),
            point(|p| p.p99_ns),
            point(|p| p.p999_ns),
            point(|p| p.max_ns),
            if untimed == 0 { String::new() } else { count(untimed) },
        ]
    });
    table::fitted(&columns, rows.collect(), &OPTIONAL, style, out)?;
    table::more(rows_found, shown, out)?;
    writeln!(out, "\nENTERED: calls with no other of the row below them; TOTAL and percentiles are of these")
}

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let columns = [
        ("FUNCTION", false),
        ("CALLS", true),
        ("OWN", true),
        ("SHARE", true),
        ("TOTAL", true),
        ("MEAN", true),
        ("P50", true),
        ("P90", true),
        ("P99", true),
        ("P99.9", true),
        ("MAX", true),
        ("UNTIMED", true),
    ];
    table::fitted(&columns, report.functions.iter().map(row).collect(), &OPTIONAL, style, out)?;
    let shown = report.functions.len();
    writeln!(out)?;
    let more = report.functions_found - shown;
    let left_out = if more > 0 { format!(" ({more} more functions: --limit 0)") } else { String::new() };
    writeln!(out, "{} functions, {} calls{left_out}", count(shown as u64), count(report.calls))?;
    let own =
        if report.own_is_on_scheduler { "on a scheduler" } else { "waiting included (no in/out events recorded)" };
    writeln!(out, "OWN: time in it and in untraced functions that it called, {own}; TOTAL: with all that it called")?;
    untimed(&report.clipped, report.unknown_returns, out)
}

fn row(row: &Row) -> Vec<String> {
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
    let point = |of: fn(&crate::model::histogram::Percentiles) -> u64| time(row.percentiles.as_ref().map(of));
    let untimed = row.clipped.sum();
    vec![
        row.function.clone(),
        count(row.calls),
        duration(row.own_on_scheduler_ns.unwrap_or(row.own_ns)),
        percent(row.share),
        duration(row.total_ns),
        time((row.timed > 0).then_some(row.mean_ns)),
        point(|p| p.p50_ns),
        point(|p| p.p90_ns),
        point(|p| p.p99_ns),
        point(|p| p.p999_ns),
        point(|p| p.max_ns),
        if untimed == 0 { String::new() } else { count(untimed) },
    ]
}

fn untimed(clipped: &Clipped, unknown: u64, out: &mut dyn Write) -> io::Result<()> {
    let reasons = [
        (clipped.begin + unknown, "began before the window"),
        (clipped.end, "were open at its end"),
        (clipped.exit, "ended with their process"),
        (clipped.hole, "lack events"),
        (clipped.unsure, "could have ended at several moments"),
        (clipped.deep, "were too deep in the stack"),
    ];
    let told: Vec<String> =
        reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", count(*n))).collect();
    if told.is_empty() {
        return Ok(());
    }
    writeln!(out, "UNTIMED calls are counted but have no duration: {}", told.join(", "))?;
    writeln!(out, "docs/SEMANTICS.md says why, and what each column means")
}
