//! The table of calls.

use std::io::{self, Write};

use crate::model::calls::{Report, Row, Untimed};
use crate::model::histogram::Percentiles;
use crate::model::keyed;
use crate::view::table::{self, Column, Style};
use crate::view::units::{count, duration, percent};

/// What a narrow table goes without: `--wide` and `--json` have it.
const OPTIONAL: [&str; 5] = ["MEAN", "SHARE", "P90", "P99.9", "RAISED"];

/// The columns that both tables end with.
const TIMES: [Column<'static>; 11] = [
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
    ("RAISED", true),
];

/// Rows of modules or process groups, these of all; `head` says which.
pub fn keyed(
    rows: &[keyed::Row],
    rows_found: usize,
    head: &'static str,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let columns = [&[(head, false), ("CALLS", true), ("ENTERED", true)], &TIMES[..]].concat();
    let cells = |row: &keyed::Row| {
        let own = row.own_on_scheduler_ns.unwrap_or(row.own_ns);
        let times =
            times(own, row.share, row.total_ns, row.mean_ns, row.percentiles.as_ref(), &row.untimed, row.raised);
        [vec![row.name.clone(), count(row.calls), entered(row)], times].concat()
    };
    table::fitted(&columns, rows.iter().map(cells).collect(), &OPTIONAL, style, out)?;
    table::more(rows_found, rows.len(), out)?;
    if rows.iter().any(|row| row.entered != row.entered_at_most) {
        writeln!(
            out,
            "\nENTERED: calls with no other of the row below them; below some there may have been one: at least, at most"
        )?;
        return writeln!(
            out,
            "TOTAL: timed calls, those inside of others not counted again; percentiles: of those that entered for certain"
        );
    }
    writeln!(out, "\nENTERED: calls with no other of the row below them; percentiles are of these")?;
    writeln!(out, "TOTAL: timed calls, those inside of others not counted again")
}

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let columns = [&[("FUNCTION", false), ("CALLS", true)], &TIMES[..]].concat();
    let cells = |row: &Row| {
        let own = row.own_on_scheduler_ns.unwrap_or(row.own_ns);
        let times =
            times(own, row.share, row.total_ns, row.mean_ns, row.percentiles.as_ref(), &row.untimed, row.raised);
        [vec![row.function.clone(), count(row.calls)], times].concat()
    };
    table::fitted(&columns, report.functions.iter().map(cells).collect(), &OPTIONAL, style, out)?;
    let shown = report.functions.len();
    writeln!(out)?;
    let more = report.functions_found - shown;
    let left_out =
        if more > 0 { format!(" ({} more functions: --limit 0)", count(more as u64)) } else { String::new() };
    writeln!(out, "{} functions, {} calls{left_out}", count(shown as u64), count(report.calls))?;
    if report.functions_found == 0 {
        return Ok(());
    }
    let own = if report.own_is_on_scheduler { "on a scheduler" } else { "waiting included (without in/out events)" };
    writeln!(out, "OWN: time in it and in untraced functions that it called, {own}; TOTAL: with all that it called")?;
    untimed(&report.untimed, report.unknown_returns, out)
}

/// Cells of [`TIMES`]; without percentiles no call was timed.
fn times(
    own: u64,
    share: f64,
    total: u64,
    mean: u64,
    percentiles: Option<&Percentiles>,
    untimed: &Untimed,
    raised: u64,
) -> Vec<String> {
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
    let point = |of: fn(&Percentiles) -> u64| time(percentiles.map(of));
    let untimed = untimed.sum();
    vec![
        duration(own),
        percent(share),
        duration(total),
        time(percentiles.map(|_| mean)),
        point(|p| p.p50_ns),
        point(|p| p.p90_ns),
        point(|p| p.p99_ns),
        point(|p| p.p999_ns),
        point(|p| p.max_ns),
        some(untimed),
        some(raised),
    ]
}

/// Where the events leave it open: at least so often, and at most.
fn entered(row: &keyed::Row) -> String {
    match row.entered == row.entered_at_most {
        true => count(row.entered),
        false => format!("{} to {}", count(row.entered), count(row.entered_at_most)),
    }
}

/// Zeros are left blank: a column without numbers is left out.
fn some(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

fn untimed(untimed: &Untimed, unknown: u64, out: &mut dyn Write) -> io::Result<()> {
    let reasons = reasons(&Untimed { begin: untimed.begin + unknown, ..*untimed });
    if reasons.is_empty() {
        return Ok(());
    }
    writeln!(out, "UNTIMED calls are counted but have no duration: {reasons}")?;
    writeln!(out, "docs/SEMANTICS.md says why, and what each column means")
}

/// Why calls have no duration, with how many of each.
pub(super) fn reasons(untimed: &Untimed) -> String {
    let reasons = [
        (untimed.begin, "began before the window"),
        (untimed.end, "were open at the end"),
        (untimed.exit, "ended with their process"),
        (untimed.hole, "lack events"),
        (untimed.unsure, "could have ended at several moments"),
        (untimed.deep, "were too deep in the stack"),
    ];
    let told = reasons.iter().filter(|(n, _)| *n > 0).map(|(n, why)| format!("{} {why}", count(*n)));
    told.collect::<Vec<_>>().join(", ")
}
