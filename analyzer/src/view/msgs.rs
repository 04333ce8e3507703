//! Messages.

use std::io::{self, Write};

use crate::model::msgs::{MOST_ROWS, PairRow, QueueRow, Report};
use crate::view::table::{self, Style};
use crate::view::units::{bytes, count, duration, moment};

/// As text, of so many recordings; `of_threads`: of those asked for.
pub fn text(report: &Report, recordings: usize, of_threads: bool, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} messages sent, {} received\n", count(report.sent), count(report.received))?;
    let columns = [("FROM", false), ("TO", false), ("MESSAGES", true), ("TO NOBODY", true), ("RECORDED BYTES", true)];
    table::fitted(&columns, report.pairs.iter().map(pair).collect(), &[], style, out)?;
    table::more(report.pairs_found, report.pairs.len(), out)?;
    writeln!(out, "\nOn their way, from send to the process's taking them into its queue")?;
    let columns = [
        ("PROCESS", false),
        ("SENT TO", true),
        ("CAME", true),
        ("NOT SEEN SENT", true),
        ("PEAK", true),
        ("PEAK AT", true),
        ("LEFT", true),
        ("P50", true),
        ("P99", true),
        ("MAX", true),
    ];
    table::fitted(&columns, report.queues.iter().map(queue).collect(), &[], style, out)?;
    match report.queues_found.saturating_sub(report.queues.len()) {
        more if more > 0 && report.queues.len() == MOST_ROWS => {
            writeln!(out, "({} more rows, of shorter queues, were not kept)", count(more as u64))?;
        }
        _ => table::more(report.queues_found, report.queues.len(), out)?,
    }
    if recordings > 1 {
        writeln!(
            out,
            "\nA message from one of these recordings to another is not joined: sent in the one, NOT SEEN SENT in the other"
        )?;
    }
    if of_threads {
        writeln!(out, "\nSENT TO and CAME: on these threads; PEAK and LEFT: of messages from all threads")?;
    }
    Ok(())
}

/// Zeros are left blank: they only hide the numbers.
fn some(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}

fn pair(row: &PairRow) -> Vec<String> {
    let sizes = row.recorded_bytes.map_or_else(String::new, bytes);
    vec![row.from.clone(), row.to.clone(), count(row.messages), some(row.to_nobody), sizes]
}

fn queue(row: &QueueRow) -> Vec<String> {
    let points = row.delays.unwrap_or_default();
    let time = |ns| if row.delays.is_none() { "-".to_owned() } else { duration(ns) };
    vec![
        row.process.clone(),
        count(row.sent),
        count(row.received),
        some(row.from_elsewhere),
        count(row.peak),
        if row.peak == 0 { "-".to_owned() } else { moment(row.peak_at_ns) },
        some(row.left),
        time(points.p50_ns),
        time(points.p99_ns),
        time(points.max_ns),
    ]
}
