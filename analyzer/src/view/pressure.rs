//! How hard the schedulers are pressed.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::model::pressure::{Migration, Report, RunQueue};
use crate::view::table::{self, Style};
use crate::view::units::{count, duration, moment, percent};

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if let Some(queue) = &report.run_queue {
        let RunQueue { mean_at_least: least, mean_at_most: most, .. } = *queue;
        let (least_text, most_text) = (format!("{least:.2}"), format!("{most:.2}"));
        if !queue.receives_recorded && least_text != most_text {
            writeln!(out, "\nRun queues: not known; at least {least_text} processes on average, at most {most_text}:")?;
            writeln!(
                out,
                "without receive events, who waits looks as who is ready (record requests or messages, too)"
            )?;
        } else if least_text == most_text {
            let (peak, at) = (queue.peak_length, moment(queue.peak_at_ns));
            writeln!(out, "\nRun queues (estimated): {least_text} processes on average, at most {peak:.2} (at {at})")?;
        } else {
            writeln!(
                out,
                "\nRun queues (estimated): at least {least_text} processes on average, at most {most_text}:"
            )?;
            writeln!(out, "of some that were off the events do not say whether they were ready")?;
        }
        if let Some(points) = queue.percentiles {
            let times = [points.p50_ns, points.p90_ns, points.p99_ns, points.max_ns].map(duration);
            let [p50, p90, p99, max] = times;
            writeln!(out, "{} waits in them: p50 {p50}, p90 {p90}, p99 {p99}, max {max}", count(queue.waits))?;
        }
    }
    if !report.migrations_matrix.is_empty() {
        writeln!(out, "\nMigrations")?;
        matrix(&report.migrations_matrix, style, out)?;
    }
    if !report.gc.is_empty() {
        let lanes =
            report.gc.iter().map(|row| format!("{} {} ({})", row.lane, percent(row.share), duration(row.gc_ns)));
        writeln!(out, "\nGarbage collection: {}", lanes.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}

/// More lanes than this are listed, not put into a square.
const SQUARE: usize = 10;

fn matrix(rows: &[Migration], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let lanes: BTreeSet<&str> = rows.iter().flat_map(|row| [row.from.as_str(), row.to.as_str()]).collect();
    if lanes.len() > SQUARE {
        let list = rows.iter().map(|row| vec![row.from.clone(), row.to.clone(), count(row.processes)]).collect();
        return table::write(&[("FROM", false), ("TO", false), ("PROCESSES", true)], list, style, out);
    }
    let cell = |from: &str, to: &str| {
        let found = rows.iter().find(|row| row.from == from && row.to == to);
        found.map_or_else(String::new, |row| count(row.processes))
    };
    let mut head = vec!["FROM".to_owned()];
    head.extend(lanes.iter().map(|lane| format!("TO {lane}")));
    let line = |from: &&str| {
        let mut cells = vec![(*from).to_owned()];
        cells.extend(lanes.iter().map(|to| cell(from, to)));
        cells
    };
    let columns: Vec<(&str, bool)> = head.iter().enumerate().map(|(at, head)| (head.as_str(), at > 0)).collect();
    table::write(&columns, lanes.iter().map(line).collect(), style, out)
}
