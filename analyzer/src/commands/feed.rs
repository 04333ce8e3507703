//! From a recording to a model: the events that are asked for, one by one or dealt out to threads.

use std::collections::HashSet;
use std::io::{self, IsTerminal};

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::model::clocks::Clocks;
use crate::model::filter::{EventFilter, Filter, FunctionFilter, ProcessFilter, glob};
use crate::model::group::Groups;
use crate::model::processes::{Known, Processes};
use crate::model::shares::Player;
use crate::model::verdicts::Verdicts;
use crate::read::{Asked, Deal, Event, Names, Outcome, Recording, Stream, TraceeId, Tracees, Window};

/// Events between two looks at the progress bar.
const PROGRESS_STEP: u64 = 1 << 16;

/// What is handed to a model.
pub(super) enum Next<'a> {
    /// An event, and whether it is asked for: also those on lanes that are not are handed
    /// out, and, should the filter want them, those of all processes. What else is asked for, the
    /// filter knows.
    Event(&'a Event<'a>, bool, &'a mut dyn FnMut(TraceeId) -> bool),
    /// These have no more events: what is kept by their numbers must be let go of, as they will
    /// be others'. Numbers that are taken out stay theirs, and are told again later.
    Leave(&'a mut Vec<TraceeId>),
}

/// So many bytes of events before a window and after it are read, for what goes on across its edges.
const AROUND_BYTES: u64 = 8 << 20;

/// What is read for a window, when what goes on across its edges is to be known.
pub(super) fn around(recording: &Recording, window: Window) -> Window {
    recording.around(window, AROUND_BYTES)
}

/// Feeds the events that the filter's processes have in the window to `work`,
/// until it answers false.
pub(super) fn feed(
    recording: &Recording,
    names: Names,
    window: Window,
    filter: &Filter,
    work: impl FnMut(Next<'_>, &Known<'_>) -> Result<bool>,
) -> Result<(Outcome, Processes)> {
    let before = known_before(recording, names, (window, window), filter, None)?;
    feed_known(recording, before, |names, tracees| recording.stream(names, tracees, window), filter, work)
}

/// The same with all events `around` the window, and the last that each thread had before these.
pub(super) fn feed_around(
    recording: &Recording,
    names: Names,
    window: Window,
    around: Window,
    filter: &Filter,
    work: impl FnMut(Next<'_>, &Known<'_>) -> Result<bool>,
) -> Result<(Outcome, Processes)> {
    let before = known_before(recording, names, (window, around), filter, None)?;
    feed_known(recording, before, |names, tracees| recording.stream_with_last(names, tracees, around), filter, work)
}

fn feed_known<'r>(
    recording: &'r Recording,
    before: Before,
    stream: impl FnOnce(Names, Tracees) -> Stream<'r>,
    filter: &Filter,
    mut work: impl FnMut(Next<'_>, &Known<'_>) -> Result<bool>,
) -> Result<(Outcome, Processes)> {
    let Before { learned, names, tracees, verdicts, .. } = before;
    let mut stream = stream(names, tracees);
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
        if !process && !filter.everyone {
            continue;
        }
        let known = Known::of(event, &processes);
        if !work(Next::Event(event, asked_for, &mut |tracee| takes.takes_tracee(tracee, &known)), &known)? {
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
pub(super) fn deal(
    recording: &Recording,
    names: Names,
    window: Window,
    filter: &Filter,
    player: &mut impl Player,
    groups: Option<&mut Groups>,
    mut decide: impl FnMut(&Asked<'_>, u32),
) -> Result<Outcome> {
    let Before { learned, names, verdicts, .. } = known_before(recording, names, (window, window), filter, groups)?;
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
pub(super) struct Before {
    /// Where the filter goes by their names: of each process 0 when it is not asked for, else
    /// 1 + its group, if groups are asked for.
    pub(super) verdicts: Option<Verdicts>,
    /// And of those that are known at the end, all.
    learned: Processes,
    names: Names,
    tracees: Tracees,
}

/// The window, in which functions pick out processes, is a part of what is read.
pub(super) fn known_before(
    recording: &Recording,
    names: Names,
    (window, read): (Window, Window),
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
    let mut stream = match read == window {
        true => recording.stream(names, tracees, window),
        false => recording.stream_with_last(names, tracees, read),
    };
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

pub(super) fn progress(recording: &Recording) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = "{bar:40} {bytes} of {total_bytes}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(recording.payload_bytes()).with_style(style)
}
