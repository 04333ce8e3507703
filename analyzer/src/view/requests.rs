//! The table of requests.

use std::io::{self, Write};

use crate::model::histogram::Percentiles;
use crate::model::requests::{Line, Report};
use crate::view::table::{self, Style};
use crate::view::units::{count, duration};

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let times = [("SERVER", false), ("PART", false), ("P50", true), ("P90", true), ("P99", true), ("P99.9", true)];
    let columns = [&times[..], &[("MAX", true)]].concat();
    let rows = report.servers.iter().flat_map(parts).collect();
    table::fitted(&columns, rows, &["P90"], style, out)?;
    writeln!(out)?;
    for line in &report.servers {
        writeln!(out, "{}: {}", line.server, ends(line))?;
    }
    if report.replies_without_request > 0 {
        let replies = count(report.replies_without_request);
        writeln!(out, "{replies} replies, or what looks like one, to requests that were not recorded")?;
    }
    Ok(())
}

fn parts(line: &Line) -> Vec<Vec<String>> {
    let parts = [
        ("client wait", &line.client_wait),
        ("mailbox wait", &line.mailbox_wait),
        ("service", &line.service),
        ("delivery", &line.delivery),
    ];
    let known = parts.into_iter().filter_map(|(name, times)| times.as_ref().map(|times| (name, times)));
    let row = |(name, p): (&str, &Percentiles)| {
        let times = [p.p50_ns, p.p90_ns, p.p99_ns, p.p999_ns, p.max_ns].map(duration);
        [vec![line.server.clone(), name.to_owned()], times.to_vec()].concat()
    };
    known.map(row).collect()
}

fn ends(line: &Line) -> String {
    let counts = &line.counts;
    let named = [
        (counts.requests, "requests"),
        (counts.answered, "answered"),
        (counts.timed_out, "timed out"),
        (counts.late_replies, "late replies"),
        (counts.server_died, "server died"),
        (counts.unanswered, "unanswered"),
        (counts.client_unseen, "without the client's end"),
        (counts.replied_by_other, "replied by another process"),
        (counts.not_split, "not split"),
        (line.queue_max, "others served before, at most"),
    ];
    let said: Vec<String> =
        named.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", count(*n))).collect();
    said.join(", ")
}
