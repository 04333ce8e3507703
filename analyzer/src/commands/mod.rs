//! One file for each command: opens recordings, feeds a model, renders a view.

mod calls;
mod check;
mod dump;
mod edges;
mod empty;
mod flame;
mod gc;
mod hist;
mod info;
mod msgs;
mod output;
mod procs;
mod requests;
mod sched;
mod schema;
mod slow;
mod summed;

pub use schema::schemas;

use empty::{Sought, given, nothing};
use output::{is_no_recording, write_to};

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::segment;

use crate::cli::{Cli, Command, Moment, WindowArgs};
use crate::model::clocks::Clocks;
use crate::model::edges::Side;
use crate::model::filter::{EventFilter, Filter, FunctionFilter, ProcessFilter, glob};
use crate::model::group::Groups;
use crate::model::part::Part;
use crate::model::processes::{Known, Processes};
use crate::model::shares::Player;
use crate::model::verdicts::Verdicts;
use crate::read::{
    Asked, Deal, Event, Finding, Ledger, Names, Outcome, Recording, Severity, Source, Stream, TraceeId, Tracees,
    Window, snapshot_of,
};
use crate::view::findings;
use crate::view::table::Style;
use crate::view::units::moment;

/// The recordings' file names end in this.
const EXTENSION: &str = "spoor";
/// Events between two looks at the progress bar.
const PROGRESS_STEP: u64 = 1 << 16;

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

/// The recordings that the paths name: files, and the recordings in directories.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() || is_stream(path) {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|ext| ext == EXTENSION))
            .filter(|path| path.is_file() || is_stream(path))
            .collect();
        if found.is_empty() {
            bail!("{}: no recording (*.{EXTENSION}) in this directory", path.display());
        }
        found.sort();
        let all = found.clone();
        found.retain(|path| !snapshot_of(path).is_some_and(|whole| all.contains(&whole)));
        if found.len() < all.len() {
            let (left, place) = (all.len() - found.len(), path.display());
            let what = if left == 1 {
                "1 snapshot left out: its recording is here".to_owned()
            } else {
                format!("{left} snapshots left out: their recordings are here")
            };
            writeln!(io::stderr(), "spoor: {place}: {what}")?;
        }
        files.append(&mut found);
    }
    Ok(files)
}

/// Is it the directory of one recording, in segments?
fn is_stream(path: &Path) -> bool {
    path.join(segment::HEAD).is_file()
}

fn open(path: &Path) -> Result<Recording> {
    let name = path.display().to_string();
    let source = Source::open(path).with_context(|| name.clone())?;
    Recording::open(source, &name).with_context(|| name)
}

/// The stretch of time asked for holds nothing of a recording: a mistake when it
/// is the only one, and a reason to leave it out when there are others.
#[derive(Debug)]
struct NothingInWindow(String);

impl std::fmt::Display for NothingInWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NothingInWindow {}

/// Opens one recording after the other. One that cannot be opened, or has nothing
/// in the window, does not keep the others from being read; only when there is no
/// other it is an error.
fn each(paths: &[PathBuf], work: impl FnMut(&Recording) -> Result<Health>) -> Result<Health> {
    each_of(&files(paths)?, true, work)
}

/// `telling`: what is wrong with the files was not told before.
fn each_of(files: &[PathBuf], telling: bool, mut work: impl FnMut(&Recording) -> Result<Health>) -> Result<Health> {
    let mut health = Health::Fine;
    let mut read = 0;
    let alone = files.len() == 1;
    for path in files {
        let recording = match open(path) {
            Ok(recording) => recording,
            Err(error) if alone => return Err(error),
            Err(error) => {
                if telling {
                    writeln!(io::stderr(), "spoor: {error:#}")?;
                }
                health = Health::Damaged;
                continue;
            }
        };
        match work(&recording) {
            Ok(Health::Damaged) => health = Health::Damaged,
            Ok(Health::Fine) => {}
            Err(error) if !alone && error.is::<NothingInWindow>() => {
                if telling {
                    writeln!(io::stderr(), "spoor: {error}; left out")?;
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        read += 1;
    }
    if read == 0 {
        bail!("none of the {} files could be read", files.len());
    }
    Ok(health)
}

/// The stretch of time asked for; one that is empty, or has nothing of the
/// recording, is a mistake.
fn window(args: &WindowArgs, recording: &Recording) -> Result<Window> {
    let window = window_of(args, recording);
    let nothing = |why: String| Err(NothingInWindow(format!("{}: {why}", recording.path)).into());
    if window.from_ns.max(recording.start_ns) >= window.to_ns || args.last == Some(0) {
        return nothing("the window is empty: it ends where it begins, or before".to_owned());
    }
    if window.from_ns > recording.end_ns {
        let end = moment(recording.end_ns - recording.start_ns);
        return nothing(format!("the window is empty: it begins after the end of the recording, at {end}"));
    }
    Ok(window)
}

fn window_of(args: &WindowArgs, recording: &Recording) -> Window {
    let at = |moment: Moment| match moment {
        Moment::AfterStart(ns) => recording.start_ns.saturating_add(ns),
        Moment::BeforeEnd(ns) => recording.end_ns.saturating_sub(ns),
    };
    let from = args.from.or(args.last.map(Moment::BeforeEnd));
    Window { from_ns: from.map_or(0, at), to_ns: args.to.map_or(u64::MAX, at) }
}

/// What is asked for, if that is not all of the recording.
fn part(recording: &Recording, window: Window, filter: &Filter) -> Option<Part> {
    let filters = given(filter);
    let inside = window.within(recording);
    let (from_ns, to_ns) = (inside.from_ns - recording.start_ns, inside.to_ns - recording.start_ns);
    (window != Window::ALL || !filters.is_empty()).then_some(Part { from_ns, to_ns, filters })
}

/// What is handed to a model.
enum Next<'a> {
    /// An event, and whether it is asked for: also those on lanes that are not are handed
    /// out, and, should the filter want them, those of all processes.
    Event(&'a Event<'a>, bool),
    /// These have no more events: what is kept by their numbers must be let go of, as they will
    /// be others'. Numbers that are taken out stay theirs, and are told again later.
    Leave(&'a mut Vec<TraceeId>),
}

/// Feeds the events that the filter's processes have in the window to `work`,
/// until it answers false.
fn feed(
    recording: &Recording,
    names: Names,
    window: Window,
    filter: &Filter,
    mut work: impl FnMut(Next<'_>, &Known<'_>) -> Result<bool>,
) -> Result<(Outcome, Processes)> {
    let Before { learned, names, tracees, verdicts, .. } = known_before(recording, names, window, filter, None)?;
    let mut stream = recording.stream(names, tracees, window);
    let mut processes = learned;
    let (mut takes, events_asked_for) = (ProcessFilter::new(filter, verdicts), EventFilter::new(filter, recording));
    let progress = progress(recording);
    let (mut events, mut clocks) = (0_u64, Clocks::default());
    loop {
        if events.is_multiple_of(PROGRESS_STEP) {
            progress.set_position(stream.done_bytes());
        }
        if stream.has_news() {
            let gone = |gone: &mut Vec<TraceeId>, known: &Known<'_>| {
                work(Next::Leave(gone), known)?;
                gone.iter().for_each(|tracee| {
                    takes.forget(*tracee);
                    clocks.leave(*tracee);
                });
                Ok(())
            };
            take_news(&mut stream, &mut processes, gone)?;
        }
        // By reference: it is too big to be copied for nothing.
        let next = stream.next();
        let Some(event) = &next else { break };
        events += 1;
        processes.learn(event);
        clocks.event(event);
        if !events_asked_for.takes_kind(event.kind) {
            continue;
        }
        let process = takes.takes(event, &processes);
        let asked_for = process && events_asked_for.takes_lane(event.lane);
        if (process || filter.everyone) && !work(Next::Event(event, asked_for), &Known::of(event, &processes))? {
            break;
        }
    }
    progress.finish_and_clear();
    let mut outcome = stream.finish();
    outcome.findings.extend(clocks.finding(recording));
    Ok((outcome, processes))
}

/// Learns the facts that have come up, and tells `leave` who is gone: of those that it leaves in,
/// nothing is kept.
fn take_news(
    stream: &mut Stream<'_>,
    processes: &mut Processes,
    leave: impl FnOnce(&mut Vec<TraceeId>, &Known<'_>) -> Result<()>,
) -> Result<()> {
    processes.learn_infos(stream.infos(), stream.names());
    stream.forget_infos();
    let all = stream.take_gone();
    if all.is_empty() {
        return Ok(());
    }
    let (recording, tracees, names) = (stream.recording(), stream.tracees(), stream.names());
    let mut gone = all.clone();
    leave(&mut gone, &Known { recording, processes, tracees, names })?;
    gone.iter().for_each(|tracee| processes.forget(*tracee));
    let kept = if gone.len() < all.len() {
        let left: HashSet<TraceeId> = gone.iter().copied().collect();
        all.into_iter().filter(|tracee| !left.contains(tracee)).collect()
    } else {
        Vec::new()
    };
    stream.free(gone, kept);
    Ok(())
}

/// As [`feed`], for what only stacks are of interest to: deals the events out to
/// `player`, which knows how many threads it has. Whose events come next, and which
/// functions have numbers by then, `decide` is told before them; and, where names are to be
/// known first, the process's group, of `groups`.
fn deal(
    recording: &Recording,
    names: Names,
    window: Window,
    filter: &Filter,
    player: &mut impl Player,
    groups: Option<&mut Groups>,
    mut decide: impl FnMut(&Asked<'_>, u32),
) -> Result<Outcome> {
    let Before { learned, names, verdicts, .. } = known_before(recording, names, window, filter, groups)?;
    let events_asked_for = EventFilter::new(filter, recording);
    let kinds = |kind| events_asked_for.takes_kind(kind);
    let deal = Deal::new(recording, names, window, kinds);
    let all = filter.takes_all_processes();
    let progress = progress(recording);
    let mut asked = |asked: &Asked<'_>| {
        let Asked { recording, tracee, tracees, names, .. } = *asked;
        let verdict = match &verdicts {
            Some(verdicts) => verdicts.of(tracees.identity(tracee)),
            None if all => 1,
            None => u32::from(filter.takes_process(tracee, &Known { recording, processes: &learned, tracees, names })),
        };
        let group = verdict.checked_sub(1)?;
        decide(asked, group);
        Some(events_asked_for.takes_lane(asked.lane))
    };
    let outcome = player.deal(deal, &mut asked, &mut |bytes| progress.set_position(bytes));
    progress.finish_and_clear();
    Ok(outcome)
}

/// What is known before the first event is handed out.
struct Before {
    /// Where the filter goes by their names: of each process 0 when it is not asked for, else
    /// 1 + its group, if groups are asked for.
    verdicts: Option<Verdicts>,
    /// And of those that are known at the end, all.
    learned: Processes,
    names: Names,
    tracees: Tracees,
}

fn known_before(
    recording: &Recording,
    names: Names,
    window: Window,
    filter: &Filter,
    mut groups: Option<&mut Groups>,
) -> Result<Before> {
    check_kinds(recording, filter)?;
    let (mut learned, tracees) = (Processes::default(), Tracees::default());
    if !filter.needs_names() {
        return Ok(Before { verdicts: None, learned, names, tracees });
    }
    let (mut verdicts, mut functions) = (Verdicts::new(recording.pids), FunctionFilter::new(filter));
    let mut picked = filter.picks_processes().then(Vec::new);
    let mut tell = |tracee: TraceeId, known: &Known<'_>, picked: &mut Option<Vec<bool>>| {
        let picks = picked.as_mut().is_none_or(|picked| picked.get_mut(tracee.0 as usize).is_some_and(std::mem::take));
        let takes = picks && (filter.takes_all_processes() || filter.takes_process(tracee, known));
        let group = |groups: &mut &mut Groups| {
            let group = groups.of(tracee, known.processes, known.tracees, known.names);
            groups.forget(tracee);
            group
        };
        let group = if takes { groups.as_mut().map_or(0, group).saturating_add(1) } else { 0 };
        verdicts.tell(known.tracees.identity(tracee), group);
    };
    let mut stream = recording.stream(names, tracees, window);
    loop {
        if stream.has_news() {
            take_news(&mut stream, &mut learned, |gone, known| {
                gone.iter().for_each(|tracee| tell(*tracee, known, &mut picked));
                Ok(())
            })?;
        }
        let next = stream.next();
        let Some(event) = &next else { break };
        learned.learn(event);
        if let Some(picked) = &mut picked {
            pick(event, window, &mut functions, picked);
        }
    }
    let Outcome { names, tracees, .. } = stream.finish();
    let known = Known { recording, processes: &learned, tracees: &tracees, names: &names };
    let numbers = (0..tracees.len() as u32).map(TraceeId);
    numbers.filter(|id| !tracees.is_free(*id)).for_each(|id| tell(id, &known, &mut picked));
    learned.settle(&tracees);
    Ok(Before { verdicts: Some(verdicts), learned, names, tracees })
}

/// Remembers the process of an event of a function that is asked for.
fn pick(event: &Event<'_>, window: Window, functions: &mut FunctionFilter<'_>, picked: &mut Vec<bool>) {
    let (at, inside) = (event.tracee.0 as usize, (window.from_ns..window.to_ns).contains(&event.time));
    if !inside || picked.get(at) == Some(&true) {
        return;
    }
    if event.function.is_some_and(|function| functions.takes(event.names(), function)) {
        picked.resize(picked.len().max(at + 1), false);
        picked[at] = true;
    }
}

fn check_kinds(recording: &Recording, filter: &Filter) -> Result<()> {
    let known = recording.kind_names();
    match filter.kinds.iter().find(|kind| !known.iter().any(|name| glob(kind, name))) {
        Some(unknown) => bail!("no kind of event is called {unknown}; there are {}", known.join(", ")),
        None => Ok(()),
    }
}

fn progress(recording: &Recording) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:40} {bytes} of {total_bytes}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(recording.payload_bytes()).with_style(style)
}

/// What every JSON answer says about a recording.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct About {
    path: String,
    state: String,
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
            state: recording.state.to_string(),
            from_ns: window.from_ns - recording.start_ns,
            to_ns: window.to_ns - recording.start_ns,
            ledger: Ledger::sum(&outcome.ledger),
            findings: outcome.findings.clone(),
        }
    }

    /// Path, state, window, ledger: one line above every table.
    fn heading(&self, out: &mut dyn Write) -> io::Result<()> {
        let window = format!("{} to {}", moment(self.from_ns).trim_end_matches(" s"), moment(self.to_ns));
        writeln!(out, "{} ({}), {window}", self.path, self.state)?;
        writeln!(out, "{}", findings::ledger(&self.ledger))?;
        let limits = self.findings.iter().filter(|finding| finding.is_of_limits());
        limits.into_iter().try_for_each(|limit| writeln!(out, "NOT ALL: {}; lost: {}", limit.what, limit.cost))?;
        let clocks = self.findings.iter().filter(|finding| finding.is_of_clocks());
        clocks.into_iter().try_for_each(|clocks| writeln!(out, "CLOCKS DISAGREE: {}", clocks.what))
    }

    /// The ledger, and which limits left something out: one line for a picture.
    fn account(&self) -> String {
        let limits = self.findings.iter().filter(|finding| finding.is_of_limits());
        let not_all: String = limits.map(|limit| format!("; not all: {}", limit.what)).collect();
        let disagree = if self.findings.iter().any(Finding::is_of_clocks) { "; clocks disagree" } else { "" };
        findings::ledger(&self.ledger) + &not_all + disagree
    }
}

fn stdout() -> BufWriter<io::StdoutLock<'static>> {
    BufWriter::with_capacity(1 << 16, io::stdout().lock())
}

/// Colours on terminals only, and not where `NO_COLOR` is set.
fn style(wide: bool) -> Style {
    let choice = anstream::AutoStream::choice(&io::stdout());
    let terminal = io::stdout().is_terminal();
    let size = console::Term::stdout().size_checked().filter(|_| terminal);
    let width = size.map_or(0, |(_, columns)| usize::from(columns));
    let width = if wide { usize::MAX } else { width.max(Style::default().width) };
    Style { colour: terminal && choice != anstream::ColorChoice::Never, width }
}

fn tell(recording: &Recording, findings: &[Finding]) -> io::Result<()> {
    findings::text(&recording.path, findings, &mut io::stderr().lock())
}
