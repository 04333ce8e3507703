//! Turns what `benches/run` measured into `RESULTS.md` and its plot.
//!
//! ```text
//! count      what a recording holds, by kind of event
//! measured   the lines a run leaves behind, as data
//! bars       what was promised, and what was measured
//! page       RESULTS.md
//! plot       RESULTS.svg
//! reading    what the analyzer takes
//! ```
//!
//! ```sh
//! bench-report count FILE...    # one line each, to be appended to the measurements
//! bench-report write DIR        # reads DIR/measured/*.tsv, writes DIR/RESULTS.{md,svg}
//! bench-report show FILE.tsv    # the section of one run, on stdout
//! ```

mod bars;
mod count;
mod long;
mod measured;
mod page;
mod plot;
mod reading;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use measured::Measured;

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-report: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Vec<String>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match args.split_first().map(|(command, rest)| (command.as_str(), rest)) {
        Some(("count", files)) => {
            for file in files {
                writeln!(out, "{}", count::line(Path::new(file)).with_context(|| file.clone())?)?;
            }
            Ok(())
        }
        Some(("long", [from, to, bytes])) => {
            long::write_laps(Path::new(from), Path::new(to), bytes.parse().context("BYTES is a number")?)
        }
        Some(("write", [dir])) => write(Path::new(dir)),
        Some(("show", [file])) => Ok(write!(out, "{}", page::section(&read(Path::new(file))?))?),
        _ => bail!("usage: bench-report count FILE... | long FROM TO BYTES | write DIR | show FILE.tsv"),
    }
}

fn read(path: &Path) -> Result<Measured> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Measured::parse(&text).with_context(|| path.display().to_string())
}

fn write(dir: &Path) -> Result<()> {
    let from = dir.join("measured");
    let entries = std::fs::read_dir(&from).with_context(|| from.display().to_string())?;
    let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "tsv"));
    paths.sort();
    let runs = paths.iter().map(|path| read(path)).collect::<Result<Vec<_>>>()?;
    let mut page = page::page(&runs);
    if let Ok(lines) = std::fs::read_to_string(from.join("analyzer/host.tsv")) {
        page = page + "\n" + &reading::section(&lines);
    }
    std::fs::write(dir.join("RESULTS.md"), page)?;
    plot::plot(&runs, &dir.join("RESULTS.svg"))
}
