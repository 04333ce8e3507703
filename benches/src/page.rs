//! RESULTS.md: how to read it, then a section for each OTP release.

use std::fmt::Write;

use crate::bars::{bars, missing, title};
use crate::measured::{Measured, Spread, Stalls};

const HEAD: &str = "\
# What tracing costs

Written by `make bench`; not edited by hand. The raw numbers are in `measured/`, one file for each OTP.

Three nodes (or what the command says), one after the other; in each all variants run in rounds: untraced, then each of the others, their order rotating. A ratio
is worked out within a round and given as the median of all rounds with its quartiles, because neighbours
in time see the same machine. Time is what the scheduler's thread spends on its processor, so that other
programs are not in it, but for the caches they take. The *empty tracer* is a NIF
that answers and does nothing: the price of the VM itself. *Cost* is the time over untraced. A process that
drops everything and the port work beside the tracee too: what they use on other processors is not shown.

![Cost of an event](RESULTS.svg)
";

/// The whole page.
pub(crate) fn page(runs: &[Measured]) -> String {
    runs.iter().map(section).fold(HEAD.to_owned(), |page, section| page + "\n" + &section)
}

/// One run.
pub(crate) fn section(run: &Measured) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_section(&mut text, run);
    text
}

fn write_section(text: &mut String, run: &Measured) -> std::fmt::Result {
    let fact = |key| run.fact(key);
    writeln!(text, "## OTP {}\n", fact("otp"))?;
    writeln!(text, "{}, {} ({}); {}", fact("date"), fact("cpu"), fact("cores"), fact("kernel"))?;
    writeln!(
        text,
        "erts {} ({}), {} schedulers; disk: {}",
        fact("erts"),
        fact("emulator"),
        fact("schedulers"),
        fact("disk")
    )?;
    writeln!(
        text,
        "load average {} before, {} after; commit {}",
        fact("load_before"),
        fact("load_after"),
        fact("commit")
    )?;
    writeln!(text, "command: `{}`\n", fact("command"))?;
    promises(text, run)?;
    times(text, run)?;
    files(text, run)?;
    tails(text, run)?;
    http(text, run)?;
    stalls(text, run)?;
    rest(text, run)
}

fn promises(text: &mut String, run: &Measured) -> std::fmt::Result {
    writeln!(text, "### Bars\n\n| what | bar | measured | |\n|---|---|---|---|")?;
    for bar in bars(run) {
        let digits = if bar.limit < 2.0 && bar.limit > 0.0 { 3 } else { 1 };
        let verdict = if bar.kept() { "kept" } else { "**missed**" };
        let got = spread(&bar.got, digits);
        writeln!(text, "| {} | ≤ {}{} | {got} | {verdict} |", bar.what, trimmed(bar.limit), bar.unit)?;
    }
    writeln!(text)
}

fn variants(run: &Measured) -> Vec<&str> {
    let order = ["untraced", "empty", "spoor", "spoor_disk", "spoor_once", "spoor_stream", "process", "dbg_file"];
    order.into_iter().filter(|v| run.workloads.iter().any(|w| w.samples.contains_key(*v))).collect()
}

fn times(text: &mut String, run: &Measured) -> std::fmt::Result {
    let variants = variants(run);
    writeln!(text, "### Nanoseconds an operation\n")?;
    write!(text, "| workload (operation) | events an operation |")?;
    variants.iter().try_for_each(|v| write!(text, " {} |", title(v)))?;
    writeln!(text, " rounds |\n|---|---|{}---|", "---|".repeat(variants.len()))?;
    for workload in &run.workloads {
        let rounds = workload.samples.get("untraced").map_or(0, Vec::len);
        write!(text, "| {} ({}) | {:.1} |", title(&workload.name), workload.op, workload.events / workload.ops)?;
        variants.iter().try_for_each(|v| write!(text, " {} |", spread(&workload.spread(v), 0)))?;
        writeln!(text, " {rounds} |")?;
    }
    writeln!(text, "\nCost over untraced, divided by the empty tracer's:\n")?;
    let others: Vec<&str> = variants.into_iter().filter(|v| !matches!(*v, "untraced" | "empty")).collect();
    write!(text, "| workload |")?;
    others.iter().try_for_each(|v| write!(text, " {} |", title(v)))?;
    writeln!(text, "\n|---|{}", "---|".repeat(others.len()))?;
    for workload in &run.workloads {
        write!(text, "| {} |", title(&workload.name))?;
        others.iter().try_for_each(|v| write!(text, " {} |", spread(&workload.cost_ratio(v), 2)))?;
        writeln!(text)?;
    }
    writeln!(text)
}

fn files(text: &mut String, run: &Measured) -> std::fmt::Result {
    writeln!(text, "### Events in the file\n")?;
    writeln!(text, "Known beforehand are the events whose number follows from the program.\n")?;
    writeln!(text, "| workload | known | of those in the file | all in the file | missing | bytes an event |")?;
    writeln!(text, "|---|---|---|---|---|---|")?;
    for workload in run.workloads.iter().filter(|w| w.file.stored > 0) {
        let file = &workload.file;
        let known: u64 = file.generated.values().sum();
        let found: u64 = file.generated.keys().filter_map(|kind| file.counted.get(kind)).sum();
        let all: u64 = file.counted.values().sum();
        let bytes = file.bytes / file.stored as f64;
        let name = title(&workload.name);
        writeln!(text, "| {name} | {known} | {found} | {all} | {} | {bytes:.2} |", missing(workload))?;
    }
    writeln!(text)
}

fn tails(text: &mut String, run: &Measured) -> std::fmt::Result {
    if run.tails.is_empty() {
        return Ok(());
    }
    writeln!(text, "### One traced call, ns\n")?;
    let periods = run.tails.iter().map(|tail| tail.periods[0].len()).max().unwrap_or(0);
    writeln!(
        text,
        "By the clock around each of many calls, so whatever else the machine does in a call's time is in it. The variants take \
         turns of 20,000 calls, their order rotating; 50 turns are a period of some seconds. A bar is the ratio within a period, \
         the median of {periods} with its quartiles; here is what all periods together say.\n"
    )?;
    if let Some(when) = run.facts.get("tail_run") {
        writeln!(text, "Measured by itself (`benches/run --tail`): {when}.\n")?;
    }
    writeln!(text, "| beside | variant | calls | p50 | p99 | p99.9 | p99.99 |\n|---|---|---|---|---|---|---|")?;
    for tail in &run.tails {
        let (beside, variant) = (title(&tail.condition), title(&tail.variant));
        write!(text, "| {beside} | {variant} | {} |", tail.calls)?;
        tail.quantiles.iter().try_for_each(|ns| write!(text, " {ns} |"))?;
        writeln!(text)?;
    }
    writeln!(text)
}

fn http(text: &mut String, run: &Measured) -> std::fmt::Result {
    if run.http.is_empty() {
        return Ok(());
    }
    writeln!(text, "### The demo's HTTP service, as fast as eight clients can ask\n")?;
    writeln!(text, "Wall time, so other programs are in it: compare the modes, and only when the spread is small.\n")?;
    writeln!(text, "| recording | requests/s | p50 µs | p99 µs | events |\n|---|---|---|---|---|")?;
    for http in &run.http {
        let cells = [&http.requests_per_s, &http.p50_us, &http.p99_us].map(|v| spread(&Spread::of(v.clone()), 0));
        writeln!(text, "| {} | {} | {} |", http.mode, cells.join(" | "), http.events)?;
    }
    writeln!(text)
}

/// What is shown of the gaps that busy schedulers saw, and its names there.
const STALLS: [(&str, &str, usize); 13] = [
    ("over_100", "gaps > 100 µs", 1),
    ("copying", "of these: waited, the copying thread ran > 100 µs", 2),
    ("ours", "waited, other threads of the VM and Spoor did", 2),
    ("others", "waited for others", 1),
    ("faults", "page faults", 2),
    ("slept", "slept, as for a lock", 2),
    ("on_processor", "none of these", 1),
    ("copying_longest", "longest that the copying thread ran in a gap, µs", 0),
    ("waited", "waited for a processor, %", 2),
    ("taken", "processor taken", 0),
    ("given", "processor given up", 1),
    ("minor", "page faults, minor", 1),
    ("major", "page faults, major", 1),
];

fn stalls(text: &mut String, run: &Measured) -> std::fmt::Result {
    if run.stalls.is_empty() {
        return Ok(());
    }
    writeln!(text, "### What schedulers see of snapshots\n")?;
    writeln!(
        text,
        "`benches/stalls --keep`, {}. Processes that do nothing but call a traced function and read the clock, each on \
         a scheduler of its own; snapshots are taken back to back by another. A second of one scheduler, the median of \
         the phases; the system was asked of each gap what it was. Before `snapshots` as much memory is used and freed as the copies will \
         take, before `cold` it is not: where a host takes free memory back from a virtual machine, the processor of whoever \
         writes to a new page may stand still for 100 to 300 µs.\n",
        run.fact("stalls_run")
    )?;
    let columns: Vec<String> = run.stalls.iter().map(|s| format!("{} busy, {}", s.busy, s.phase)).collect();
    writeln!(text, "| | {} |\n|---|{}", columns.join(" | "), "---|".repeat(columns.len()))?;
    for (key, name, digits) in STALLS {
        let value = |s: &Stalls| s.seen.get(key).map_or("–".to_owned(), |value| format!("{value:.digits$}"));
        let values: Vec<String> = run.stalls.iter().map(value).collect();
        writeln!(text, "| {name} | {} |", values.join(" | "))?;
    }
    writeln!(text)
}

fn rest(text: &mut String, run: &Measured) -> std::fmt::Result {
    for (variant, kib) in &run.private {
        let tenth = kib.len().div_ceil(10).max(1);
        let minutes: Vec<String> =
            kib.iter().skip(tenth - 1).step_by(tenth).map(|kib| format!("{:.1}", kib / 1024.0)).collect();
        writeln!(
            text,
            "- {}: private memory in MiB, every {tenth} s of {} s of ping-pong and spawn storms: {}{}",
            title(variant),
            kib.len(),
            minutes.join(", "),
            if variant == "empty" { format!(" ({})", run.fact("memory_run")) } else { String::new() }
        )?;
    }
    for calls in &run.syscalls {
        writeln!(
            text,
            "- {}: {} system calls of the scheduler's thread in {} events{}",
            title(&calls.variant),
            calls.calls,
            calls.events,
            named(&calls.names)
        )?;
    }
    Ok(())
}

fn named(names: &str) -> String {
    if names.is_empty() { String::new() } else { format!(" ({names})") }
}

/// A median, and the quartiles where there is more than one value.
fn spread(spread: &Spread, digits: usize) -> String {
    if spread.median.is_nan() {
        return "–".to_owned();
    }
    if spread.low == spread.high {
        return format!("{:.digits$}", spread.median);
    }
    format!("{:.digits$} [{:.digits$}–{:.digits$}]", spread.median, spread.low, spread.high)
}

fn trimmed(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
