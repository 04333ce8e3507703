//! A recording at a glance.

use std::io::{self, Write};

use crate::model::info::{LaneRow, Report};
use crate::model::part::ProcessRow;
use crate::read::{Finding, Severity};
use crate::view::findings;
use crate::view::table::{self, Style};
use crate::view::units::{bytes, count, duration, wall};

/// Meta keys that get a line under a name of their own.
const TOLD: [(&str, &str); 7] = [
    ("label", "label"),
    ("preset", "preset"),
    ("what", "traced"),
    ("flags", "flags"),
    ("procs", "of processes"),
    ("limits", "limits"),
    ("spoor_version", "recorded by"),
];
/// Meta keys that other lines are made of, or that say nothing to people.
const ELSEWHERE: [&str; 21] = [
    "mode",
    "stream",
    "sample",
    "node",
    "host",
    "os_pid",
    "arch",
    "otp_release",
    "otp_version",
    "erts_version",
    "elixir_version",
    "schedulers",
    "dirty_cpu_schedulers",
    "dirty_io_schedulers",
    "kernel",
    "drop_causes",
    "records",
    "os_start",
    "pid_ns",
    "boot_id",
    "lock",
];

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |name: &str, value: String| {
        if value.is_empty() { Ok(()) } else { writeln!(out, "{name:<13} {}", value.replace('\n', " ")) }
    };
    line("recording", report.path.clone())?;
    line("state", report.state_text.clone())?;
    line("found", found(report))?;
    line("node", origin(report))?;
    line("runtime", runtime(report))?;
    line("time", time(report))?;
    line("covered", covered(report))?;
    line("storage", storage(report))?;
    for (key, name) in TOLD {
        line(name, meta(report, key).to_owned())?;
    }
    for limit in report.findings.iter().filter(|finding| finding.is_of_omissions()) {
        line("not all", format!("{}; lost: {}", limit.what, limit.cost))?;
    }
    line("events", findings::ledger(&report.ledger))?;
    if let Some(part) = &report.part {
        let events = report.events_by_kind.iter().map(|(_, n)| n).sum();
        line("asked for", format!("{} events: {}", count(events), findings::part(part)))?;
    }
    for clocks in report.findings.iter().filter(|finding| finding.is_of_clocks()) {
        line("clocks", format!("disagree: {}", clocks.what))?;
    }
    let kinds: Vec<String> = report.events_by_kind.iter().map(|(kind, n)| format!("{kind} {}", count(*n))).collect();
    line("", kinds.join(", "))?;
    line("processes", format!("{} with events", count(report.tracees as u64)))?;
    line("size", size(report))?;
    for (key, value) in &report.meta {
        if !ELSEWHERE.contains(&key.as_str()) && !TOLD.iter().any(|(told, _)| told == key) {
            line(key, value.clone())?;
        }
    }
    for note in &report.notes {
        line("note", format!("after {}: {} {}", duration(note.at_ns), note.what, note.detail))?;
    }
    writeln!(out)?;
    lanes(&report.lanes, style, out)?;
    writeln!(out)?;
    if report.part.is_some() {
        processes(report, style, out)?;
    }
    next(report, out)
}

/// Which later VM found it.
fn found(report: &Report) -> String {
    report.found.map_or_else(String::new, |(ns, pid)| format!("at {} by the VM of process {pid}", wall(ns)))
}

fn meta<'a>(report: &'a Report, key: &str) -> &'a str {
    report.meta.iter().find(|(k, _)| k == key).map_or("", |(_, value)| value.as_str())
}

/// `words`, those that are there, with what stands before them.
fn words(report: &Report, keys: &[(&str, &str)]) -> String {
    let told: Vec<String> = keys
        .iter()
        .map(|(before, key)| (before, meta(report, key)))
        .filter(|(_, value)| !value.is_empty())
        .map(|(before, value)| format!("{before}{value}"))
        .collect();
    told.join(", ")
}

fn origin(report: &Report) -> String {
    words(report, &[("", "node"), ("process ", "os_pid"), ("on ", "host"), ("Linux ", "kernel"), ("", "arch")])
}

fn runtime(report: &Report) -> String {
    let release =
        if meta(report, "otp_version").is_empty() { ("OTP ", "otp_release") } else { ("OTP ", "otp_version") };
    words(
        report,
        &[
            release,
            ("erts ", "erts_version"),
            ("Elixir ", "elixir_version"),
            ("schedulers ", "schedulers"),
            ("dirty CPU ", "dirty_cpu_schedulers"),
            ("dirty I/O ", "dirty_io_schedulers"),
        ],
    )
}

fn time(report: &Report) -> String {
    let (Some(start), Some(end)) = (report.start_wall_ns.map(wall), report.end_wall_ns.map(wall)) else {
        return format!("unknown ({})", duration(report.duration_ns));
    };
    format!("{start} to {end} ({})", duration(report.duration_ns))
}

fn covered(report: &Report) -> String {
    let lost = report.findings.iter().any(|f| f.severity == Severity::Damage && !f.cost.starts_with("nothing"));
    let damaged = match report.ledger.damaged {
        0 if lost => ", and part of the file is lost".to_owned(),
        0 => String::new(),
        n => format!(", and {} events are lost to damage", count(n)),
    };
    let copied = window(report);
    match report.ring_turned {
        _ if copied.is_some() => {
            format!("the last {}{}{damaged}", duration(report.covered_ns), copied.unwrap_or_default())
        }
        false if !damaged.is_empty() => format!("not all of it: nothing is overwritten{damaged}"),
        false if report.findings.iter().any(Finding::is_of_omissions) => {
            "all of the time, but not all events; nothing is overwritten".to_owned()
        }
        false => match report.mode.as_str() {
            "ring" => "all of it: the ring has not begun to overwrite".to_owned(),
            "stream" => "all of it: no segment was deleted".to_owned(),
            _ => "all of it: the first events are kept".to_owned(),
        },
        true if report.segments.is_some() => {
            format!("the last {}: the segments before were deleted{damaged}", duration(report.covered_ns))
        }
        true => format!("the last {}: what was before is overwritten{damaged}", duration(report.covered_ns)),
    }
}

/// What a snapshot was asked to hold, and what it leaves out.
fn window(report: &Report) -> Option<String> {
    let asked = match meta(report, "snapshot") {
        "" => return None,
        "all" => "all of it".to_owned(),
        last => format!("the last {last}"),
    };
    let left = |key, why| match meta(report, key) {
        "" | "0" => String::new(),
        n => format!(", {n} chunks {why}"),
    };
    let earlier = left("snapshot_earlier", "of before left out");
    let overtaken = left("snapshot_overtaken", "lost that were overwritten while they were copied");
    Some(format!(": a snapshot of {asked}{earlier}{overtaken}"))
}

fn storage(report: &Report) -> String {
    let kept = match report.mode.as_str() {
        "ring" => "ring: the newest events stay",
        "once" => "once: the first events stay, and when it is full the recording ends",
        _ => report.mode.as_str(),
    };
    let Some(segments) = &report.segments else { return kept.to_owned() };
    let packed = if segments.packed == 0 { String::new() } else { format!(", {} of them packed", segments.packed) };
    format!("{kept}: segments {} to {}{packed}", segments.first, segments.last)
}

fn size(report: &Report) -> String {
    let (events, infos) = report.ring_bytes;
    format!(
        "{} (ring of events {}, of process facts {}), {:.1} bytes an event, format {}.{}",
        bytes(report.file_bytes),
        bytes(events),
        bytes(infos),
        report.bytes_per_event,
        report.format.0,
        report.format.1
    )
}

/// Where the column stands of what a copy of a window left out, if it left out anything.
const OUTSIDE: usize = 4;
/// Where the column stands of how many are asked for, if not all are.
const ASKED_FOR: usize = 2;

fn lanes(rows: &[LaneRow], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let windowed = rows.iter().any(|row| row.lane.ledger.outside_window > 0);
    let mut columns = vec![
        ("LANE", false),
        ("THREAD", false),
        ("STORED", true),
        ("IN FILE", true),
        ("OVERWRITTEN", true),
        ("DAMAGED", true),
        ("DROPPED", true),
        ("CAUSES", false),
    ];
    if windowed {
        columns.insert(OUTSIDE, ("OUTSIDE", true));
    }
    let part = rows.iter().any(|row| row.asked_for.is_some());
    if part {
        columns.insert(ASKED_FOR, ("ASKED FOR", true));
    }
    let row = |row: &LaneRow| {
        let (lane, ledger) = (&row.lane, &row.lane.ledger);
        let causes: Vec<String> = ledger.dropped_by_cause.iter().map(|(cause, n)| format!("{cause} {n}")).collect();
        let mut cells = vec![
            row.name.clone(),
            format!("{} {}", lane.kind, lane.os_tid),
            count(ledger.stored),
            count(ledger.present),
            count(ledger.overwritten),
            count(ledger.damaged),
            count(ledger.dropped),
            causes.join(", "),
        ];
        if windowed {
            cells.insert(OUTSIDE, count(ledger.outside_window));
        }
        if part {
            cells.insert(ASKED_FOR, count(row.asked_for.unwrap_or(0)));
        }
        cells
    };
    table::write(&columns, rows.iter().map(row).collect(), style, out)
}

/// The processes of a part.
fn processes(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let row = |row: &ProcessRow| vec![row.process.clone(), count(row.events)];
    let rows = report.processes.iter().map(row).collect();
    table::fitted(&[("PROCESS", false), ("EVENTS", true)], rows, &[], style, out)?;
    match report.tracees.saturating_sub(report.processes.len()) {
        0 => {}
        more => writeln!(out, "({} more: spoor procs --each)", count(more as u64))?,
    }
    writeln!(out)
}

fn next(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let path = &report.path;
    let has = |kind: &str| report.events_by_kind.iter().any(|(k, n)| k == kind && *n > 0);
    let mut commands = Vec::new();
    if has("call") {
        commands.push(format!("spoor calls {path}"));
        commands.push(format!("spoor flame {path} -o flame.svg"));
    }
    commands.push(format!("spoor sched {path} -o sched.svg"));
    commands.push(format!("spoor dump {path} --last 1s"));
    for (n, command) in commands.iter().enumerate() {
        writeln!(out, "{:<13} {command}", if n == 0 { "next" } else { "" })?;
    }
    Ok(())
}
