//! The section on reading recordings, from what `benches/analyzer` measured.

use std::fmt::Write;

/// Lines are fields between tabs; the first names the kind. What is unknown is left out.
pub(crate) fn section(lines: &str) -> String {
    let rows: Vec<Vec<&str>> = lines.lines().map(|line| line.split('\t').collect()).collect();
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_section(&mut text, &rows);
    text
}

fn write_section(text: &mut String, rows: &[Vec<&str>]) -> std::fmt::Result {
    let fact =
        |key: &str| rows.iter().find(|row| row[0] == "fact" && row.get(1) == Some(&key)).map_or("?", |row| row[2]);
    let of = |kind: &'static str, fields: usize| {
        rows.iter().filter(move |row| row[0] == kind && row.len() == fields).map(|row| &row[1..])
    };
    writeln!(text, "## Reading recordings\n")?;
    writeln!(
        text,
        "{}, {}; recorded on OTP {}; commit {}; load average {}\ncommand: `benches/analyzer`\n",
        fact("date"),
        fact("cpu"),
        fact("otp"),
        fact("commit"),
        fact("load")
    )?;
    writeln!(text, "Laps of a recording of ordinary work (`calls`: calls and returns, `full`: everything), written")?;
    writeln!(text, "behind each other until there is 1 GB; the best of three by the clock, from the page cache.\n")?;
    writeln!(text, "| recording | command | bar | million events/s | GB/s | seconds |\n|---|---|---|---|---|---|")?;
    for row in of("time", 6) {
        let (events, bytes, seconds) = (number(row[2]), number(row[3]), number(row[4]));
        let bar = match row[1] {
            "calls --threads 1" => "25 million events/s",
            "calls --threads 2" | "hist --threads 2" => "1.8 times one thread",
            "info" | "check" => "1 GB/s",
            _ => "",
        };
        writeln!(
            text,
            "| {} | `{}` | {bar} | {:.1} | {:.2} | {seconds:.2} |",
            row[0],
            row[1],
            events / seconds / 1e6,
            bytes / seconds / 1e9
        )?;
    }
    writeln!(text, "\n| others | million events/s | GB/s | seconds |\n|---|---|---|---|")?;
    for row in of("other", 5) {
        let (events, bytes, seconds) = (number(row[1]), number(row[2]), number(row[3]));
        writeln!(text, "| {} | {:.1} | {:.2} | {seconds:.2} |", row[0], events / seconds / 1e6, bytes / seconds / 1e9)?;
    }
    writeln!(text, "\nEach of these reads data of its own kind: function entries and exits, lines of a log.\n")?;
    for row in of("profiler", 5) {
        let (traced, analysed) = (number(row[1]) / 1e6, number(row[2]) / 1e6);
        writeln!(text, "- {}: one client's work took {traced:.2} s with it, its analysis {analysed:.2} s", row[0])?;
    }
    let memory: Vec<String> = of("memory", 4)
        .map(|row| format!("{} {:.0} MiB ({:.1} GB)", row[0], number(row[2]) / 1024.0, number(row[1]) / 1e9))
        .collect();
    writeln!(text, "- anonymous memory at most (bar: 256 MiB): {}", memory.join(", "))?;
    for row in of("window", 3) {
        let (bytes, seconds) = (number(row[0]) / 1e9, number(row[1]));
        writeln!(text, "- `calls` of a window of 1 s out of {bytes:.1} GB: {seconds:.2} s (bar: 1 s)")?;
    }
    Ok(())
}

fn number(field: &str) -> f64 {
    field.parse().unwrap_or(f64::NAN)
}
