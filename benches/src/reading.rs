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
    let times: Vec<&[&str]> = of("time", 6).collect();
    for row in &times {
        let (events, bytes, seconds) = (number(row[2]), number(row[3]), number(row[4]));
        let alone = row[1].strip_suffix(" 2").map(|command| format!("{command} 1"));
        let alone = times.iter().find(|other| other[0] == row[0] && Some(other[1]) == alone.as_deref());
        let bar = match (row[1], alone) {
            ("calls --threads 1", _) => "25 million events/s".to_owned(),
            ("calls --threads 2", Some(alone)) => format!("1.8 x one; {:.2} x", number(alone[4]) / seconds),
            (_, Some(alone)) => format!("{:.2} x one", number(alone[4]) / seconds),
            ("info" | "check", _) => "1 GB/s".to_owned(),
            _ => String::new(),
        };
        let (events, bytes) = (events / seconds / 1e6, bytes / seconds / 1e9);
        writeln!(text, "| {} | `{}` | {bar} | {events:.1} | {bytes:.2} | {seconds:.2} |", row[0], row[1])?;
    }
    writeln!(text, "\n| others | million events/s | GB/s | seconds |\n|---|---|---|---|")?;
    for row in of("other", 5) {
        let (events, bytes, seconds) = (number(row[1]), number(row[2]), number(row[3]));
        writeln!(text, "| {} | {:.1} | {:.2} | {seconds:.2} |", row[0], events / seconds / 1e6, bytes / seconds / 1e9)?;
    }
    writeln!(
        text,
        "\nEach of these reads data of its own kind: function entries and exits, lines of a log, lines of costs.\n"
    )?;
    writeln!(text, "| the work of one client, with | it took | its analysis |\n|---|---|---|")?;
    for row in of("profiler", 5) {
        let (traced, analysed) = (number(row[1]) / 1e6, number(row[2]) / 1e6);
        writeln!(text, "| {} | {traced:.2} s | {analysed:.2} s |", row[0])?;
    }
    writeln!(text, "\n| recording | GB | command | anonymous memory at most (bar: 256 MiB) | seconds |")?;
    writeln!(text, "|---|---|---|---|---|")?;
    for row in of("memory", 6).chain(of("every", 6)) {
        let (bytes, kib) = (number(row[2]) / 1e9, number(row[3]) / 1024.0);
        writeln!(text, "| {} | {bytes:.1} | `{}` | {kib:.0} MiB | {} |", row[0], row[1], row[4])?;
    }
    writeln!(text)?;
    for row in of("window", 3) {
        let (bytes, seconds) = (number(row[0]) / 1e9, number(row[1]));
        writeln!(text, "- `calls` of a window of 1 s out of {bytes:.1} GB: {seconds:.2} s (bar: 1 s)")?;
    }
    for row in of("damage", 5) {
        let bytes = number(row[0]) / 1e9;
        let (places, worst, named) = (row[1], row[2], row[3]);
        writeln!(
            text,
            "- 64 bad bytes at each of {places} places of {bytes:.1} GB: {worst} chunk lost at most (bar: 1), \
             named by `check` at {named} of them; at the others nothing was written"
        )?;
    }
    Ok(())
}

fn number(field: &str) -> f64 {
    field.parse().unwrap_or(f64::NAN)
}
