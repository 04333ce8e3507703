//! How hard the schedulers are pressed.

use std::io::{self, Write};

use crate::model::pressure::{Report, RunQueue};
use crate::view::units::{count, duration, moment, percent};

/// As text.
pub fn text(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if let Some(queue) = &report.run_queue {
        let RunQueue { mean_at_least: least, mean_at_most: most, .. } = *queue;
        let (least_text, most_text) = (format!("{least:.2}"), format!("{most:.2}"));
        if !queue.receives_recorded && least_text != most_text {
            writeln!(out, "\nRun queues: not known; at least {least_text} processes on average, at most {most_text}:")?;
            writeln!(out, "without all receive events, who waits looks as who is ready (record messages, too)")?;
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
    if !report.gc.is_empty() {
        let lanes =
            report.gc.iter().map(|row| format!("{} {} ({})", row.lane, percent(row.share), duration(row.gc_ns)));
        writeln!(out, "\nGarbage collection: {}", lanes.collect::<Vec<_>>().join(", "))?;
    }
    Ok(())
}
