//! The table of requests.

use std::io::{self, Write};

use crate::model::histogram::Percentiles;
use crate::model::requests::{Line, Report, SlowRequest};
use crate::view::table::{self, Style};
use crate::view::units::{count, duration, moment};

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    if report.groups.is_empty() {
        return beside(report, out);
    }
    let head = if report.by == "client" { "CLIENT" } else { "SERVER" };
    let times = [("P50", true), ("P90", true), ("P99", true), ("P99.9", true), ("MAX", true)];
    let columns = [&[(head, false), ("PART", false)], &times[..]].concat();
    let rows = report.groups.iter().flat_map(parts).collect();
    table::fitted(&columns, rows, &["P90"], style, out)?;
    table::more(report.groups_found, report.groups.len(), out)?;
    writeln!(out)?;
    for line in &report.groups {
        writeln!(out, "{}: {}", line.group, ends(line))?;
    }
    beside(report, out)?;
    if !report.slowest.is_empty() {
        writeln!(out, "\nThe slowest")?;
        slowest(&report.slowest, style, out)?;
    }
    writeln!(out, "\nSERVICE: from its beginning to the reply, whatever the server did in between")?;
    if report.groups.iter().any(|line| line.counts.service_at_most > 0) {
        writeln!(
            out,
            "AT MOST: handle_call is not traced, and the server taken to serve one request at a time; what it did"
        )?;
        writeln!(
            out,
            "between its reply before and this request, or for messages that are not recorded, is in SERVICE"
        )?;
    }
    if report.slowest.iter().any(|request| request.served_before.is_some_and(|n| n > 0)) {
        writeln!(out, "BEFORE: requests that the server answered while this one waited")?;
    }
    if report.slowest.iter().any(|request| at_server(request).is_some()) {
        writeln!(out, "AT SERVER: from its coming there to the reply; how much of it in the mailbox is not known")?;
    }
    if report.slowest.iter().any(|request| request.on_the_way_ns.is_some()) {
        writeln!(out, "ON THE WAY: between the nodes, there and back: the wait less the time at the server")?;
    }
    if report.slowest.iter().any(|request| request.waited_ns.is_some()) {
        writeln!(out, "WAIT without an answer: until the client gave up or was told, else to the last event read")?;
    }
    Ok(())
}

/// What stands in no row.
fn beside(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    match report.to_spoor {
        0 => {}
        1 => writeln!(out, "1 request to Spoor's own processes is left out")?,
        n => writeln!(out, "{} requests to Spoor's own processes are left out", count(n))?,
    }
    match report.replies_without_request {
        0 => Ok(()),
        n => writeln!(out, "{} replies, or what looks like one, to requests that were not recorded", count(n)),
    }
}

/// The time at the server says more only where its parts are not known.
fn at_server(request: &SlowRequest) -> Option<u64> {
    request.at_server_ns.filter(|_| request.parts.is_none())
}

fn parts(line: &Line) -> Vec<Vec<String>> {
    let bounds = line.counts.service_at_most > 0;
    let parts = [
        ("client wait", &line.client_wait),
        (if bounds { "mailbox wait, at least" } else { "mailbox wait" }, &line.mailbox_wait),
        (if bounds { "service, at most" } else { "service" }, &line.service),
        ("delivery", &line.delivery),
        ("on the way", &line.on_the_way),
    ];
    let known = parts.into_iter().filter_map(|(name, times)| times.as_ref().map(|times| (name, times)));
    let row = |(name, p): (&str, &Percentiles)| {
        let times = [p.p50_ns, p.p90_ns, p.p99_ns, p.p999_ns, p.max_ns].map(duration);
        [vec![line.group.clone(), name.to_owned()], times.to_vec()].concat()
    };
    known.map(row).collect()
}

fn slowest(requests: &[SlowRequest], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let columns = [
        ("CLIENT", false),
        ("SERVER", false),
        ("AT", true),
        ("WAIT", true),
        ("MAILBOX", true),
        ("SERVICE", true),
        ("DELIVERY", true),
        ("AT SERVER", true),
        ("ON THE WAY", true),
        ("BEFORE", true),
        ("END", false),
    ];
    let some = |ns: Option<u64>| ns.map_or_else(String::new, duration);
    let rows = requests.iter().map(|request| {
        let parts = request.parts;
        let mut cells = vec![request.client.clone(), request.server.clone(), moment(request.at_ns)];
        cells.push(some(request.client_wait_ns.or(request.waited_ns)));
        cells.extend([
            some(parts.map(|parts| parts.mailbox_wait_ns)),
            some(request.service_ns),
            some(parts.map(|parts| parts.delivery_ns)),
            some(at_server(request)),
            some(request.on_the_way_ns),
        ]);
        cells.push(request.served_before.filter(|n| *n > 0).map_or_else(String::new, count));
        let end = (request.end != "answered").then(|| request.end.replace('_', " "));
        let before = request.began_before.then(|| "began before".to_owned());
        let after = request.ended_after.then(|| "ended after".to_owned());
        cells.push([end, before, after].into_iter().flatten().collect::<Vec<_>>().join(", "));
        cells
    });
    table::fitted(&columns, rows.collect(), &["DELIVERY", "BEFORE", "AT SERVER"], style, out)
}

fn ends(line: &Line) -> String {
    let counts = &line.counts;
    let named = [
        (counts.requests, "request", "requests"),
        (counts.answered, "answered", "answered"),
        (counts.timed_out, "timed out", "timed out"),
        (counts.late_replies, "late reply", "late replies"),
        (counts.server_died, "lost its server", "lost their server"),
        (counts.no_server, "without a server", "without a server"),
        (counts.unanswered, "unanswered", "unanswered"),
        (counts.began_before, "began before the window", "began before the window"),
        (counts.ended_after, "ended after it", "ended after it"),
        (counts.client_unseen, "without the client's end", "without the client's end"),
        (counts.server_unseen, "without the server's end", "without the server's end"),
        (counts.remote, "between nodes", "between nodes"),
        (counts.joined, "put together from two recordings", "put together from two recordings"),
        (counts.across_losses, "with losses in between", "with losses in between"),
        (counts.replied_by_other, "replied by another process", "replied by another process"),
        (counts.not_split, "not split", "not split"),
        (counts.not_followed, "not followed to the end", "not followed to the end"),
        (line.queue_max, "other served before, at most", "others served before, at most"),
    ];
    let said = named.iter().filter(|(n, ..)| *n > 0);
    let said: Vec<String> =
        said.map(|(n, one, many)| format!("{} {}", count(*n), if *n == 1 { one } else { many })).collect();
    said.join(", ")
}
