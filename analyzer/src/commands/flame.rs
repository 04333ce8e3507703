//! `spoor flame`.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};

use anyhow::{Context, Result, bail};

use super::{About, Health, each, each_again, feed, nothing_matches, stdout, tell, window};
use crate::cli::{self, Picks};
use crate::model::flame::{Flame, Returning};
use crate::read::{Finding, Names, kind};
use crate::view;
use crate::view::units::{count, duration};

pub(super) fn run(args: &cli::Flame) -> Result<Health> {
    if args.output.is_none() && !args.folded && std::io::stdout().is_terminal() {
        bail!("a picture is nothing for a terminal: say where to write it, -o flame.svg");
    }
    let filter = cli::filter(&args.select, Picks::Functions);
    let (mut returning, mut names, mut running) = (Returning::default(), Names::default(), false);
    each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (outcome, _) = feed(recording, std::mem::take(&mut names), window, &filter, |event, _, _| {
            running |= matches!(event.kind, kind::IN | kind::OUT);
            returning.event(event);
            Ok(true)
        })?;
        returning.end_of_recording();
        names = outcome.names;
        Ok(Health::Fine)
    })?;
    let (mut flame, mut about) = (Flame::new(returning, args.per_process), Vec::new());
    let health = each_again(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (outcome, _) = feed(recording, std::mem::take(&mut names), window, &filter, |event, processes, _| {
            flame.event(event, || processes.group(filter.grouping, event.tracee, event.tracees(), event.names()));
            Ok(true)
        })?;
        flame.end_of_recording();
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let on_scheduler = args.time.as_deref().map_or(running, |time| time == "on");
    let root = flame.report(&names, &filter, on_scheduler);
    if root.children.is_empty() {
        nothing_matches(&filter, &names)?;
    }
    let heading = heading(&about, on_scheduler, running, root.total_ns);
    let mut out: Box<dyn Write> = match &args.output {
        None => Box::new(stdout()),
        Some(path) => Box::new(BufWriter::new(File::create(path).with_context(|| path.display().to_string())?)),
    };
    if args.folded {
        view::flame::folded(&root, &mut out)?;
    } else {
        view::flame::svg(&root, &heading, &mut out)?;
    }
    out.flush()?;
    if let Some(path) = &args.output {
        let mut told = stdout();
        writeln!(told, "{}: {}", path.display(), heading.subtitle)?;
        told.flush()?;
    }
    Ok(health)
}

fn heading(about: &[About], on_scheduler: bool, running: bool, total_ns: u64) -> view::flame::Heading {
    let title = match about {
        [one] => format!("{} ({})", one.path, one.state),
        many => format!("{} recordings", many.len()),
    };
    let time = match (on_scheduler, running) {
        (true, true) => "time on a scheduler",
        (true, false) => "wall time (no in/out events recorded)",
        (false, _) => "wall time",
    };
    // Counters of damaged files may say anything.
    let parts = about.iter().flat_map(|one| [one.ledger.dropped, one.ledger.damaged, one.ledger.overwritten]);
    let lost = parts.fold(0, u64::saturating_add);
    let events = match about {
        [one] => one.account(),
        many => {
            let present = many.iter().map(|one| one.ledger.present).fold(0, u64::saturating_add);
            let thinned = many.iter().any(|one| one.findings.iter().any(Finding::is_of_limits));
            let not_all = if thinned { "; not all: limits left events out" } else { "" };
            format!("{} events, {} lost{not_all}", count(present), count(lost))
        }
    };
    view::flame::Heading { title, subtitle: format!("{} of {time}; {events}", duration(total_ns)) }
}
