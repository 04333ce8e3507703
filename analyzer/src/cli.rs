//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::model::calls::Sort;
use crate::model::filter::Filter;

/// Read what Spoor, the flight recorder of the BEAM, has recorded.
///
/// A recording is a file, NAME.spoor. It can be read at any time: while its VM
/// is writing it, after the VM was stopped, killed, or has crashed, and when
/// part of it is missing. What was lost is said with every answer.
///
/// Results go to stdout, all else to stderr. Exit code: 0 fine, 1 the recording
/// is damaged (what is good was used), 2 could not run.
#[derive(Debug, Parser)]
#[command(name = "spoor", version, max_term_width = 100, after_help = FIRST_STEPS)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const FIRST_STEPS: &str = "First steps with a recording:
  spoor info FILE                        what it is, and what is in it
  spoor calls FILE --sort p99            functions by their slowest calls
  spoor calls FILE --last 5s             the last five seconds only
  spoor flame FILE -o flame.svg          where the time went, as a picture
  spoor sched FILE -o sched.svg          what each scheduler thread did
  spoor dump FILE --process my_server    every event of a process";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a recording is: how it ended, what was traced, what was lost.
    Info(Info),
    /// Print events, one a line, in the order of time.
    Dump(Dump),
    /// Table of functions: how often called, how long they took (p50 to max).
    Calls(Calls),
    /// Where the time went: flamegraph as SVG, or folded stacks.
    Flame(Flame),
    /// What each scheduler thread did: busy share, slices, migrations, timeline.
    Sched(Sched),
}

/// Which recordings.
#[derive(Debug, Args)]
pub struct Input {
    /// Recordings, or directories with recordings in them.
    #[arg(required = true, value_name = "FILE")]
    pub paths: Vec<PathBuf>,
}

/// Which stretch of time.
#[derive(Debug, Args)]
#[command(next_help_heading = "Time window")]
pub struct WindowArgs {
    /// Begin here: after the start of the recording, or with `-` before its end.
    ///
    /// A number of seconds, or with a unit: 2.5s, 300ms, 50us, 1m.
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub from: Option<Moment>,
    /// End here; as for --from.
    #[arg(long, value_name = "TIME", value_parser = parse_moment, allow_hyphen_values = true)]
    pub to: Option<Moment>,
    /// The last seconds before the end: short for --from -TIME.
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "from")]
    pub last: Option<u64>,
}

/// Which processes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct ProcessArgs {
    /// Only these processes: a pid (<0.12.0> or 0.12.0), or a registered name,
    /// label or initial call, in which * and ? stand for any text and character.
    #[arg(short, long = "process", value_name = "PID|NAME")]
    pub processes: Vec<String>,
}

/// Which functions.
#[derive(Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct FunctionArgs {
    /// Only functions of these modules (* and ? allowed).
    #[arg(short, long = "module", value_name = "MODULE")]
    pub modules: Vec<String>,
    /// Only these functions: Mod.fun/2 or mod:fun/2, with or without arity (* and
    /// ? allowed).
    #[arg(short, long = "function", value_name = "FUNCTION")]
    pub functions: Vec<String>,
}

/// `spoor info`.
#[derive(Debug, Args)]
pub struct Info {
    /// Which recordings.
    #[command(flatten)]
    pub input: Input,
    /// Print JSON, one object for each recording.
    #[arg(long)]
    pub json: bool,
}

/// `spoor dump`.
#[derive(Debug, Args)]
pub struct Dump {
    /// Which recordings.
    #[command(flatten)]
    pub input: Input,
    /// Print JSON, one object a line for each event.
    #[arg(long)]
    pub json: bool,
    /// Print the text form of the whole file instead: every byte of it, as tests
    /// and tools make recordings from (see docs/FORMAT.md).
    #[arg(long, conflicts_with_all = ["json", "processes", "modules", "functions", "kinds", "from", "to", "last", "limit"])]
    pub raw: bool,
    /// Which processes.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Which functions.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// Only events of these kinds: call, return_to, in, out, spawn, ... (* and ?
    /// allowed).
    #[arg(short, long = "kind", value_name = "KIND", help_heading = "Filters")]
    pub kinds: Vec<String>,
    /// Which stretch of time.
    #[command(flatten)]
    pub window: WindowArgs,
    /// At most this many events of each recording.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `spoor calls`.
#[derive(Debug, Args)]
pub struct Calls {
    /// Which recordings; several are summed up.
    #[command(flatten)]
    pub input: Input,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Order of the table, largest first: own, total, calls, mean, p50, p90, p99,
    /// p99.9, max, or name.
    #[arg(short, long, value_name = "COLUMN", default_value = "own", value_parser = parse_sort)]
    pub sort: Sort,
    /// All columns and whole names, however wide.
    #[arg(long)]
    pub wide: bool,
    /// At most this many functions; 0 for all. With --json all unless given.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
    /// Which processes.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Which functions.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// Which stretch of time.
    #[command(flatten)]
    pub window: WindowArgs,
}

/// `spoor flame`.
#[derive(Debug, Args)]
pub struct Flame {
    /// Which recordings; several are merged.
    #[command(flatten)]
    pub input: Input,
    /// Write here instead of to stdout.
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Write folded stacks (one a line, nanoseconds behind it) instead of SVG.
    #[arg(long)]
    pub folded: bool,
    /// Which time: on a scheduler only, or wall time, waiting included. Default:
    /// on, when the recording says who runs when.
    #[arg(long, value_name = "on|wall", value_parser = ["on", "wall"])]
    pub time: Option<String>,
    /// One tower for each process group (name, label or initial call).
    #[arg(long)]
    pub per_process: bool,
    /// Which processes.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Which functions: only stacks that hold one of them.
    #[command(flatten)]
    pub function: FunctionArgs,
    /// Which stretch of time.
    #[command(flatten)]
    pub window: WindowArgs,
}

/// `spoor sched`.
#[derive(Debug, Args)]
pub struct Sched {
    /// Which recordings.
    #[command(flatten)]
    pub input: Input,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Also write the timeline as SVG here.
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// How many of the longest slices to list.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub limit: usize,
    /// Which processes: slices of others count as idle.
    #[command(flatten)]
    pub process: ProcessArgs,
    /// Which stretch of time.
    #[command(flatten)]
    pub window: WindowArgs,
}

/// A moment of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nanoseconds after its start.
    AfterStart(u64),
    /// Nanoseconds before its end.
    BeforeEnd(u64),
}

/// The filter that the arguments describe.
pub fn filter(process: &ProcessArgs, function: Option<&FunctionArgs>, kinds: &[String]) -> Filter {
    Filter {
        processes: process.processes.clone(),
        modules: function.map(|f| f.modules.clone()).unwrap_or_default(),
        functions: function.map(|f| f.functions.clone()).unwrap_or_default(),
        kinds: kinds.to_vec(),
    }
}

fn parse_sort(text: &str) -> Result<Sort, String> {
    let known = Sort::ALL.iter().find(|(_, name)| *name == text).map(|(sort, _)| *sort);
    known.ok_or_else(|| format!("columns are {}", Sort::ALL.map(|(_, name)| name).join(", ")))
}

fn parse_moment(text: &str) -> Result<Moment, String> {
    match text.strip_prefix('-') {
        Some(before) => parse_duration(before).map(Moment::BeforeEnd),
        None => parse_duration(text).map(Moment::AfterStart),
    }
}

fn parse_duration(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, f64); 6] = [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9)];
    let unit = UNITS.iter().find_map(|(unit, ns)| text.strip_suffix(unit).map(|number| (number, *ns)));
    let (number, ns) = unit.unwrap_or((text, 1e9));
    match number.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok((value * ns).round() as u64),
        _ => Err("a time is a number of seconds, or has a unit: 2.5s, 300ms, 50us, 1m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_duration("2.5"), Ok(2_500_000_000));
        assert_eq!(parse_duration("300ms"), Ok(300_000_000));
        assert_eq!(parse_duration("1m"), Ok(60_000_000_000));
        assert_eq!(parse_moment("-5s"), Ok(Moment::BeforeEnd(5_000_000_000)));
        assert!(parse_duration("soon").is_err() && parse_duration("-1").is_err() && parse_duration("nan").is_err());
    }
}
