//! Processes, by group or one by one.

use std::io::{self, Write};

use crate::model::procs::{GroupRow, Row, on_cpu_ns};
use crate::model::split::Split;
use crate::view::table::{self, Column, Style};
use crate::view::units::{bytes, count, duration, moment};

const SPLIT: [Column<'static>; 6] =
    [("ON CPU", true), ("GC", true), ("IN PORT", true), ("QUEUED", true), ("WAITING", true), ("UNKNOWN", true)];
const TRAFFIC: [Column<'static>; 3] = [("SLICES", true), ("SENT", true), ("RECEIVED", true)];
/// What a narrow table goes without.
const OPTIONAL: [&str; 8] = ["IN PORT", "SLICES", "PARENT", "EXITED", "COLLECTIONS", "BORN", "UNKNOWN", "GREW"];

/// Groups.
pub fn groups(rows: &[GroupRow], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut columns = vec![("GROUP", false), ("PROCESSES", true), ("BORN", true), ("EXITED", true)];
    columns.extend(SPLIT);
    columns.extend(TRAFFIC);
    columns.extend([("COLLECTIONS", true), ("HEAP", true), ("GREW", true)]);
    let rows = rows.iter().map(|row| {
        let mut cells = vec![row.group.clone(), count(row.processes), some(row.born), some(row.died)];
        cells.extend(split(&row.split));
        cells.extend([row.slices, row.sent, row.received].map(some));
        let heap = |n: u64| if row.collections == 0 { String::new() } else { bytes(n) };
        cells.extend([some(row.collections), heap(row.last_bytes), heap(row.grown_bytes)]);
        cells
    });
    table::fitted(&columns, rows.collect(), &OPTIONAL, style, out)
}

/// Processes.
pub fn each(rows: &[Row], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut columns = vec![("PROCESS", false), ("PARENT", false), ("FROM", true), ("LIFE", true)];
    columns.extend(SPLIT);
    columns.extend(TRAFFIC);
    columns.extend([("COLLECTIONS", true), ("HEAP", true), ("GREW", true), ("EXIT REASON", false)]);
    let rows = rows.iter().map(|row| {
        let name = row.name.as_ref().map_or_else(|| row.process.clone(), |name| format!("{name} {}", row.process));
        let born = row.born_ns.map_or_else(|| "before".to_owned(), moment);
        let mut cells = vec![name, row.parent.clone().unwrap_or_default(), born, duration(row.life_ns)];
        cells.extend(split(&row.split));
        cells.extend([row.slices, row.sent, row.received].map(some));
        cells.push(some(row.collections));
        cells.push(row.memory.map_or_else(String::new, |memory| bytes(memory.last_bytes)));
        let grown = row.memory.map(|memory| memory.last_bytes.saturating_sub(memory.first_bytes));
        cells.push(grown.filter(|n| *n > 0).map_or_else(String::new, bytes));
        cells.push(row.reason.clone().unwrap_or_default().replace('\n', " "));
        cells
    });
    table::fitted(&columns, rows.collect(), &OPTIONAL, style, out)
}

/// Below a table: how many rows more there are, and what the columns mean; `of_threads`: of those asked for.
pub fn below(rows_found: usize, shown: usize, of_threads: bool, out: &mut dyn Write) -> io::Result<()> {
    table::more(rows_found, shown, out)?;
    writeln!(out)?;
    if of_threads {
        return writeln!(
            out,
            "On these threads alone; ON CPU: GC and IN PORT included; HEAP: after the last collection there.\n\
             What a process was off for, it was off for on no thread: that is told without --scheduler."
        );
    }
    writeln!(out, "ON CPU: on a scheduler, GC and IN PORT included; QUEUED: ready to run; WAITING: in receive;")?;
    writeln!(out, "UNKNOWN: the events do not say; HEAP: after the last garbage collection")
}

fn split(split: &Split) -> [String; 6] {
    let time = |ns: u64| if ns == 0 { String::new() } else { duration(ns) };
    [on_cpu_ns(split), split.gc_ns, split.port_ns, split.queued_ns, split.waiting_ns, split.off_ns + split.unknown_ns]
        .map(time)
}

/// Zeros are left blank: they only hide the numbers.
fn some(n: u64) -> String {
    if n == 0 { String::new() } else { count(n) }
}
