//! One file for each command: opens recordings, feeds a model, renders a view.

mod calls;
mod check;
mod dump;
mod edges;
mod empty;
mod feed;
mod flame;
mod gc;
mod hist;
mod info;
mod inputs;
mod msgs;
mod output;
mod procs;
mod requests;
mod sched;
mod schema;
mod slow;
mod summed;

pub use schema::schemas;

use empty::{Sought, nothing};
use feed::{Next, around, deal, feed, feed_around, known_before, progress};
use inputs::{each, each_of, files, open, part, window};
use output::{is_no_recording, write_to};

use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{Cli, Command};
use crate::model::edges::Side;
use crate::read::{Finding, Ledger, Outcome, Recording, Severity, State, Window};
use crate::view::findings;
use crate::view::table::Style;
use crate::view::units::moment;

/// Runs a command and says how it went: 0 fine, 1 damaged, 2 could not run.
pub fn run(cli: &Cli) -> ExitCode {
    let done = match &cli.command {
        Command::Info(args) => info::run(args),
        Command::Check(args) => check::run(args),
        Command::Dump(args) => dump::run(args),
        Command::Calls(args) => calls::run(args),
        Command::Hist(args) => hist::run(args),
        Command::Callers(args) => edges::run(args, Side::Callers),
        Command::Callees(args) => edges::run(args, Side::Callees),
        Command::Slow(args) => slow::run(args),
        Command::Procs(args) => procs::run(args),
        Command::Gc(args) => gc::run(args),
        Command::Msgs(args) => msgs::run(args),
        Command::Flame(args) => flame::run(args),
        Command::Sched(args) => sched::run(args),
        Command::Requests(args) => requests::run(args),
    };
    match done {
        Ok(Health::Fine) => ExitCode::SUCCESS,
        Ok(Health::Damaged) => ExitCode::from(1),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when even this fails.
            let _ = writeln!(io::stderr(), "spoor: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whoever read our output has seen enough: `spoor dump FILE | head`.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>();
        let json = cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
        io.map(io::Error::kind).or(json) == Some(io::ErrorKind::BrokenPipe)
    })
}

/// Were the recordings whole?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Fine,
    Damaged,
}

impl Health {
    fn and(self, findings: &[Finding]) -> Health {
        let damaged = findings.iter().any(|finding| finding.severity == Severity::Damage);
        if damaged { Health::Damaged } else { self }
    }
}

/// What every JSON answer says about a recording.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct About {
    path: String,
    #[serde(flatten)]
    state: State,
    state_text: String,
    from_ns: u64,
    to_ns: u64,
    ledger: Ledger,
    findings: Vec<Finding>,
}

impl About {
    fn new(recording: &Recording, window: Window, outcome: &Outcome) -> About {
        let window = window.within(recording);
        About {
            path: recording.path.clone(),
            state: recording.state.clone(),
            state_text: recording.state.to_string(),
            from_ns: window.from_ns - recording.start_ns,
            to_ns: window.to_ns - recording.start_ns,
            ledger: Ledger::sum(&outcome.ledger),
            findings: outcome.findings.clone(),
        }
    }

    /// Path, state, window, ledger: one line above every table.
    fn heading(&self, out: &mut dyn Write) -> io::Result<()> {
        let window = format!("{} to {}", moment(self.from_ns).trim_end_matches(" s"), moment(self.to_ns));
        writeln!(out, "{} ({}), {window}", self.path, self.state_text)?;
        writeln!(out, "{}", findings::ledger(&self.ledger))?;
        let limits = self.findings.iter().filter(|finding| finding.is_of_omissions());
        limits.into_iter().try_for_each(|limit| writeln!(out, "NOT ALL: {}; lost: {}", limit.what, limit.cost))?;
        let clocks = self.findings.iter().filter(|finding| finding.is_of_clocks());
        clocks.into_iter().try_for_each(|clocks| writeln!(out, "CLOCKS DISAGREE: {}", clocks.what))
    }

    /// The ledger, and which limits left something out: one line for a picture.
    fn account(&self) -> String {
        let limits = self.findings.iter().filter(|finding| finding.is_of_omissions());
        let not_all: String = limits.map(|limit| format!("; not all: {}", limit.what)).collect();
        let disagree = if self.findings.iter().any(Finding::is_of_clocks) { "; clocks disagree" } else { "" };
        findings::ledger(&self.ledger) + &not_all + disagree
    }
}

fn stdout() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Nobody can read a table in less.
const NARROWEST: usize = 40;

/// As wide as `COLUMNS` says, also where the output is piped, else as the terminal, and never
/// less than 100 by itself. Colours on terminals only, and not where `NO_COLOR` is set.
fn style(wide: bool) -> Style {
    let choice = anstream::AutoStream::choice(&io::stdout());
    let terminal = io::stdout().is_terminal();
    let told = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok()).map(|n: usize| n.max(NARROWEST));
    let size = console::Term::stdout().size_checked().filter(|_| terminal);
    let width = size.map_or(0, |(_, columns)| usize::from(columns)).max(Style::default().width);
    let width = if wide { usize::MAX } else { told.unwrap_or(width) };
    Style { colour: terminal && choice != anstream::ColorChoice::Never, width }
}

fn tell(recording: &Recording, findings: &[Finding]) -> io::Result<()> {
    findings::text(&recording.path, findings, &mut io::stderr().lock())
}
