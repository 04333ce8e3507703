//! What can be said on the command line.

mod select;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread;

use clap::{Args, Parser, Subcommand};

use crate::model::calls::Sort;
use crate::model::filter::Filter;

pub use select::{Moment, Picks, SelectArgs, WindowArgs, filter};

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
  spoor slow 'shop:*' FILE -n 5          the slowest single calls, and why
  spoor procs FILE                       processes by group: time, messages, memory
  spoor flame FILE -o flame.svg          where the time went, as a picture
  spoor sched FILE -o sched.svg          what each scheduler thread did
  spoor dump FILE --process my_server    every event of a process";

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what a recording is: how it ended, what was traced, what was lost.
    Info(Info),
    /// Look at every byte of a recording: is it whole, can its events be?
    Check(Check),
    /// Print events, one a line, in the order of time.
    Dump(Dump),
    /// Table of functions: how often called, how long they took (p50 to max).
    Calls(Calls),
    /// The distribution of a function's call times: bars, percentiles, HDR files.
    Hist(Hist),
    /// Who called a function, how often, and what it cost.
    Callers(Edges),
    /// Whom a function called, how often, and what it cost.
    Callees(Edges),
    /// The slowest single calls: when, who, what their time went to.
    Slow(Slow),
    /// Processes, by group or one by one: life, time, messages, memory.
    Procs(Procs),
    /// Garbage collections: pauses by process group and kind.
    Gc(Sums),
    /// Messages: who sends what to whom, and where they pile up.
    Msgs(Sums),
    /// Where the time went: flamegraph as SVG, or folded stacks.
    Flame(Flame),
    /// What each scheduler thread did: busy share, slices, migrations, timeline.
    Sched(Sched),
    /// Requests to servers: how long clients waited, in the mailbox, for service, for the reply.
    Requests(Requests),
}

/// Which recordings.
#[derive(Debug, Args)]
pub struct Input {
    /// Recordings, or directories with recordings in them.
    #[arg(required = true, value_name = "FILE")]
    pub paths: Vec<PathBuf>,
}

/// What every command that prints a table takes.
#[derive(Debug, Args)]
pub struct Table {
    /// Which recordings.
    #[command(flatten)]
    pub input: Input,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// All columns and whole names, however wide.
    #[arg(long)]
    pub wide: bool,
    /// Which events.
    #[command(flatten)]
    pub select: SelectArgs,
}

impl Table {
    /// What of the recordings is asked for.
    pub fn filter(&self, picks: Picks) -> Filter {
        filter(&self.select, picks)
    }
}

/// What every command on one function takes.
#[derive(Debug, Args)]
pub struct OfFunction {
    /// The function, as for --function: Mod.fun/2 or mod:fun/2, with or without
    /// arity, or a whole module (* and ? allowed).
    #[arg(value_name = "FUNCTION")]
    pub function: String,
    /// Which recordings and events, and how to print.
    #[command(flatten)]
    pub table: Table,
}

impl OfFunction {
    /// What of the recordings is asked for.
    pub fn filter(&self) -> Filter {
        let mut filter = self.table.filter(Picks::Functions);
        filter.functions.push(self.function.clone());
        filter
    }
}

/// How long a table may be.
#[derive(Debug, Args)]
pub struct Rows {
    /// At most this many rows of a table; 0 for all. With --json all unless given.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
}

impl Rows {
    /// How many: all, when it is not for people.
    pub fn most(&self, json: bool) -> usize {
        most(self.limit, json)
    }
}

/// Rows of a table of text, unless told otherwise.
const MOST_ROWS: usize = 30;

/// How many rows, when so many are asked for: all, when it is not for people.
pub fn most(given: Option<usize>, json: bool) -> usize {
    match given {
        Some(0) => usize::MAX,
        Some(limit) => limit,
        None if json => usize::MAX,
        None => MOST_ROWS,
    }
}

/// How many threads.
#[derive(Debug, Args)]
pub struct Threads {
    /// Threads to compute with: all processors unless given. The answer is the same.
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

impl Threads {
    /// How many.
    pub fn count(&self) -> usize {
        self.threads.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
    }
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
    /// Which events to count: all unless given.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// `spoor check`.
#[derive(Debug, Args)]
pub struct Check {
    /// Which recordings.
    #[command(flatten)]
    pub input: Input,
    /// Print JSON, one object for each recording.
    #[arg(long)]
    pub json: bool,
    /// What to look at: every byte unless given. What is known to lie elsewhere, in time,
    /// on a thread, or in a process, is not told.
    #[command(flatten)]
    pub select: SelectArgs,
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
    #[arg(long, conflicts_with_all = ["json", "limit", "processes", "names", "groups", "modules", "functions", "schedulers", "kinds", "from", "to", "last"])]
    pub raw: bool,
    /// Which events.
    #[command(flatten)]
    pub select: SelectArgs,
    /// At most this many events of each recording; 0 for none: how the file is, is said all the same.
    #[arg(short = 'n', long, value_name = "N")]
    pub limit: Option<usize>,
}

/// `spoor calls`.
#[derive(Debug, Args)]
pub struct Calls {
    /// A row for each: function, module (calls from outside of it), or group (of
    /// processes: their outermost calls).
    #[arg(long, value_name = "WHAT", default_value = "function", value_parser = ["function", "module", "group"])]
    pub by: String,
    /// Order of the table, largest first: own, share, total, calls, mean, p50, p90,
    /// p99, p99.9, max, untimed, raised, or name; with --by module or group also entered.
    #[arg(short, long, value_name = "COLUMN", default_value = "own", value_parser = parse_sort)]
    pub sort: Sort,
    /// How many rows.
    #[command(flatten)]
    pub rows: Rows,
    /// How many threads.
    #[command(flatten)]
    pub threads: Threads,
    /// Which recordings and events, and how to print.
    #[command(flatten)]
    pub table: Table,
}

/// `spoor hist`.
#[derive(Debug, Args)]
pub struct Hist {
    /// Also write the distribution here, as the percentile table that other
    /// HdrHistogram tools plot.
    #[arg(long, value_name = "PATH")]
    pub hgrm: Option<PathBuf>,
    /// Also write it here as an interval log of compressed V2 histograms, which
    /// other HdrHistogram tools read and add up.
    #[arg(long, value_name = "PATH")]
    pub hlog: Option<PathBuf>,
    /// How many threads.
    #[command(flatten)]
    pub threads: Threads,
    /// Of which function.
    #[command(flatten)]
    pub of: OfFunction,
}

/// `spoor callers` and `spoor callees`.
#[derive(Debug, Args)]
pub struct Edges {
    /// How many rows.
    #[command(flatten)]
    pub rows: Rows,
    /// How many threads.
    #[command(flatten)]
    pub threads: Threads,
    /// Of which function.
    #[command(flatten)]
    pub of: OfFunction,
}

/// `spoor slow`.
#[derive(Debug, Args)]
pub struct Slow {
    /// How many calls, 0 for none; those inside of a timed one of the same function are not listed apart.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub limit: usize,
    /// How many threads.
    #[command(flatten)]
    pub threads: Threads,
    /// Of which function.
    #[command(flatten)]
    pub of: OfFunction,
}

/// `spoor procs`.
#[derive(Debug, Args)]
pub struct Procs {
    /// A row for each process instead of each group.
    #[arg(long)]
    pub each: bool,
    /// How many rows.
    #[command(flatten)]
    pub rows: Rows,
    /// Which recordings and events, and how to print.
    #[command(flatten)]
    pub table: Table,
}

/// `spoor gc` and `spoor msgs`.
#[derive(Debug, Args)]
pub struct Sums {
    /// How many rows.
    #[command(flatten)]
    pub rows: Rows,
    /// Which recordings and events, and how to print.
    #[command(flatten)]
    pub table: Table,
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
    /// Print JSON: the same stacks, and what was lost.
    #[arg(long, conflicts_with = "folded")]
    pub json: bool,
    /// Which time: on a scheduler only, or wall time, waiting included. Default:
    /// on, when the recording says who runs when.
    #[arg(long, value_name = "on|wall", value_parser = ["on", "wall"])]
    pub time: Option<String>,
    /// One tower for each process group (name, label or initial call).
    #[arg(long)]
    pub per_process: bool,
    /// How many threads.
    #[command(flatten)]
    pub threads: Threads,
    /// Which events; with functions, only stacks that hold one of them.
    #[command(flatten)]
    pub select: SelectArgs,
}

/// `spoor sched`.
#[derive(Debug, Args)]
pub struct Sched {
    /// Also write the timeline as SVG here.
    #[arg(short, long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// How many of the longest slices to list.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub limit: usize,
    /// Which recordings and events, and how to print.
    #[command(flatten)]
    pub table: Table,
}

/// `spoor requests`.
#[derive(Debug, Args)]
pub struct Requests {
    /// A row for each group of servers, or of clients.
    #[arg(long, value_name = "WHAT", default_value = "server", value_parser = ["server", "client"])]
    pub by: String,
    /// How many of the slowest requests to list.
    #[arg(short = 'n', long = "slowest", value_name = "N", default_value_t = 10)]
    pub slowest: usize,
    /// At most this many rows of the table; 0 for all. With --json all unless given.
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Which recordings and events, and how to print.
    #[command(flatten)]
    pub table: Table,
}

fn parse_sort(text: &str) -> Result<Sort, String> {
    let known = Sort::ALL.iter().find(|(_, name)| *name == text).map(|(sort, _)| *sort);
    known.ok_or_else(|| format!("columns are {}", Sort::ALL.map(|(_, name)| name).join(", ")))
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
    fn all_commands_take_the_same_filters() {
        let filters = ["processes", "names", "groups", "group_by", "modules", "functions", "schedulers", "kinds"];
        for command in Cli::command().get_subcommands() {
            let takes = |name: &str| command.get_arguments().any(|argument| argument.get_id() == name);
            for filter in filters.into_iter().chain(["from", "to", "last"]) {
                assert!(takes(filter), "{} takes no {filter}", command.get_name());
            }
        }
    }
}
