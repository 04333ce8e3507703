//! `spoor flame`.

use std::io::{IsTerminal, Write};

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::summed::Summed;
use super::{About, Health, Sought, deal, is_no_recording, stdout, write_to};
use crate::cli::{self, Picks};
use crate::model::flame::{self, Deeper, Flame, Frame, MAX_DEPTH, Returning};
use crate::model::group::Groups;
use crate::read::{Asked, Finding};
use crate::view;
use crate::view::units::{count, duration};

/// Where the time went.
#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    /// Which time: `on` a scheduler only, or `wall`.
    time: &'static str,
    /// The sum of all stacks.
    total_ns: u64,
    /// Calls that stand on what called them, as there were too many stacks.
    calls_beyond: u64,
    /// What is above 300 levels, of all stacks that are asked for, and others.
    deeper: Deeper,
    /// The stacks that had time on top.
    stacks: Vec<Stack<'a>>,
}

/// A stack.
#[derive(Serialize, JsonSchema)]
struct Stack<'a> {
    /// Its functions, the outermost first; with `--per-process` the process group before them.
    frames: Vec<&'a str>,
    /// How many levels the last of them stands for, which then is `…`: those above 300; 0 for all others.
    levels: u32,
    /// Time in which the last of them was on top.
    own_ns: u64,
    /// How often the last of them was called from the others.
    calls: u64,
}

fn stacks(root: &Frame) -> Vec<Stack<'_>> {
    fn walk<'a>(frame: &'a Frame, below: &[&'a str], stacks: &mut Vec<Stack<'a>>) {
        let frames = [below, &[frame.name.as_str()]].concat();
        if frame.own_ns > 0 {
            let Frame { levels, own_ns, calls, .. } = *frame;
            stacks.push(Stack { frames: frames.clone(), levels, own_ns, calls });
        }
        frame.children.iter().for_each(|child| walk(child, &frames, stacks));
    }
    let mut stacks = Vec::new();
    root.children.iter().for_each(|child| walk(child, &[], &mut stacks));
    stacks
}

pub(super) fn run(args: &cli::Flame) -> Result<Health> {
    if args.output.is_none() && !args.folded && !args.json && std::io::stdout().is_terminal() {
        bail!("a picture is nothing for a terminal: say where to write it, -o flame.svg");
    }
    args.output.iter().try_for_each(|path| is_no_recording(path, &args.input.paths))?;
    let mut filter = cli::filter(&args.select, Picks::Functions);
    // Groups have their names from the begin on.
    filter.names_first = args.per_process;
    let threads = args.threads.count();
    let mut returning = Returning::new(threads);
    let mut summed = Summed::read(&args.input, &args.select.window, |recording, window, names| {
        deal(recording, names, window, &filter, returning.shares(), None, |_, _| ())
    })?;
    let running = returning.running();
    let mut flame = Flame::new(returning, threads, args.per_process);
    let mut groups = Groups::new(filter.grouping);
    summed.again(|recording, window, names| {
        let (shares, group_of) = flame.shares();
        let decide = |next: &Asked<'_>, group| {
            if let Some(group_of) = group_of {
                group_of.tell(next.tracee.0, group);
            }
        };
        let apart = args.per_process.then_some(&mut groups);
        let outcome = deal(recording, names, window, &filter, shares, apart, decide)?;
        group_of.into_iter().for_each(|told| told.clear());
        groups.end_of_recording();
        Ok(outcome)
    })?;
    let on_scheduler = args.time.as_deref().map_or(running, |time| time == "on");
    let flame::Report { root, beyond, deeper } = flame.report(&summed.names, &groups.titles(), &filter, on_scheduler);
    if root.children.is_empty() {
        summed.nothing(Sought::Calls, &filter)?;
    }
    let mut heading = heading(&summed.about, on_scheduler, running, root.total_ns);
    heading.subtitle.push_str(&cut(beyond, &deeper));
    let draw = |out: &mut dyn Write| match (args.json, args.folded) {
        (true, _) => {
            let time = if on_scheduler { "on" } else { "wall" };
            let report = Report { time, total_ns: root.total_ns, calls_beyond: beyond, deeper, stacks: stacks(&root) };
            summed.json(&report, out)
        }
        (false, true) => view::flame::folded(&root, out),
        (false, false) => view::flame::svg(&root, &heading, out),
    };
    let mut out = stdout();
    match &args.output {
        None => {
            draw(&mut out)?;
            if args.folded {
                writeln!(std::io::stderr(), "spoor: {}: {}", heading.title, heading.subtitle)?;
            }
        }
        Some(path) => {
            write_to(path, &args.input.paths, draw)?;
            if !args.json {
                writeln!(out, "{}: {}", path.display(), heading.subtitle)?;
            }
        }
    }
    out.flush()?;
    Ok(summed.health())
}

/// What is not told apart.
fn cut(beyond: u64, deeper: &Deeper) -> String {
    let mut said = String::new();
    if deeper.calls > 0 || deeper.own_ns > 0 {
        let Deeper { levels, calls, own_ns } = *deeper;
        let (calls, time, levels) = (count(calls), duration(own_ns), count(u64::from(levels)));
        said = format!("; above {MAX_DEPTH} levels {calls} calls ({time}) in up to {levels} more are not told apart");
    }
    if beyond > 0 {
        said.push_str(&format!("; too many stacks: {} calls stand on what called them", count(beyond)));
    }
    said
}

fn heading(about: &[About], on_scheduler: bool, running: bool, total_ns: u64) -> view::flame::Heading {
    let title = match about {
        [one] => format!("{} ({})", one.path, one.state),
        many => format!("{} recordings", many.len()),
    };
    let time = match (on_scheduler, running) {
        (true, true) => "time on a scheduler",
        (true, false) => "wall time (without in/out events)",
        (false, _) => "wall time",
    };
    // Counters of damaged files may say anything.
    let parts = about.iter().flat_map(|one| [one.ledger.dropped, one.ledger.damaged, one.ledger.overwritten]);
    let lost = parts.fold(0, u64::saturating_add);
    let events = match about {
        [one] => one.account(),
        many => {
            let present = many.iter().map(|one| one.ledger.present).fold(0, u64::saturating_add);
            let thinned = many.iter().any(|one| one.findings.iter().any(Finding::is_of_omissions));
            let not_all = if thinned { "; not all: events were left out" } else { "" };
            format!("{} events, {} lost{not_all}", count(present), count(lost))
        }
    };
    view::flame::Heading { title, subtitle: format!("{} of {time}; {events}", duration(total_ns)) }
}
