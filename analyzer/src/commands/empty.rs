//! Answers with nothing in them: what is missing, and what to do about it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::open;
use crate::cli::WindowArgs;
use crate::model::filter::{Filter, glob};
use crate::model::label;
use crate::read::{FunctionId, Names, Survey, Tracees, Window, kind};
use crate::view::units::{count, moment};

/// What a command looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sought {
    Calls,
    Messages,
    Requests,
    Collections,
    Events,
}

/// Names of one sort that are told.
const NAMED: usize = 20;
/// Events that are looked at for the names of functions.
const LOOKED_AT: u64 = 1 << 24;

impl Sought {
    fn is(self, event: u8) -> bool {
        match self {
            Sought::Calls => event == kind::CALL,
            Sought::Messages | Sought::Requests => {
                matches!(event, kind::SEND | kind::SEND_TO_NON_EXISTING | kind::RECEIVE)
            }
            Sought::Collections => matches!(event, kind::GC_MINOR_START..=kind::GC_MAJOR_END),
            Sought::Events => event < kind::NOTE,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Sought::Calls => "calls",
            Sought::Messages => "messages",
            Sought::Requests => "requests",
            Sought::Collections => "garbage collections",
            Sought::Events => "events",
        }
    }

    fn remedy(self) -> &'static str {
        match self {
            Sought::Calls => "name the modules to trace: spoor:start([my_module])",
            Sought::Messages => "record with preset messages (or requests, for those of servers only)",
            Sought::Requests => "record with preset requests",
            Sought::Collections => "record with preset gc",
            Sought::Events => "README.md says what can be recorded",
        }
    }
}

/// What there is in the files, whatever is asked for.
#[derive(Debug, Default)]
struct Found {
    /// How many there are of each kind, and whether it is sought.
    kinds: Vec<(String, u64, bool)>,
    sought: u64,
    lanes: BTreeSet<String>,
    modules: BTreeSet<String>,
    functions: BTreeSet<String>,
    more_functions: bool,
    longest_ns: u64,
}

/// Says why there is nothing in the answer.
pub(super) fn nothing(sought: Sought, files: &[PathBuf], filter: &Filter, window: &WindowArgs) -> io::Result<()> {
    let mut out = io::stderr().lock();
    let mut found = Found::default();
    files.iter().for_each(|file| found.survey(file, sought));
    let what = sought.name();
    if found.sought == 0 {
        let kinds = found.kinds.iter().map(|(name, n, _)| format!("{name} {}", count(*n)));
        let kinds = some(kinds, "nothing");
        return writeln!(out, "spoor: no {what} are recorded here (but {kinds}); {}", sought.remedy());
    }
    let in_window = window.from.is_some() || window.to.is_some() || window.last.is_some();
    let given = given(filter).join(" ");
    if given.is_empty() {
        return match sought {
            _ if in_window => {
                writeln!(out, "spoor: nothing in the window; recorded is until {}", moment(found.longest_ns))
            }
            Sought::Requests => writeln!(
                out,
                "spoor: no requests among {} messages: none has the form of a call of gen_server and the like, or \
                 it was recorded without its reference; {}",
                count(found.sought),
                sought.remedy()
            ),
            _ => writeln!(out, "spoor: no {what} to show"),
        };
    }
    let nothing = if in_window { "nothing in the window" } else { "nothing" };
    let takes = |patterns: &[String], name: &str| patterns.iter().any(|pattern| glob(pattern, name));
    if !filter.kinds.is_empty() && !found.kinds.iter().any(|(name, _, sought)| *sought && takes(&filter.kinds, name)) {
        let kinds = some(found.kinds.iter().map(|(name, ..)| name.clone()), "none");
        return writeln!(out, "spoor: {nothing} matches {given}: no {what}; kinds recorded: {kinds}");
    }
    if !filter.schedulers.is_empty() && !found.lanes.iter().any(|name| takes(&filter.schedulers, name)) {
        let lanes = some(found.lanes.iter().cloned(), "none");
        return writeln!(out, "spoor: {nothing} matches {given}; schedulers recorded: {lanes}");
    }
    if !filter.takes_all_functions() {
        files.iter().for_each(|file| found.look_for_functions(file, sought, filter));
        let (sort, names) = match found.functions.is_empty() {
            true => ("modules", &found.modules),
            false => ("functions", &found.functions),
        };
        let more = if found.more_functions { ", and perhaps others" } else { "" };
        let names = some(names.iter().cloned(), "none");
        return writeln!(out, "spoor: {nothing} matches {given}; {sort} recorded: {names}{more}");
    }
    if !(filter.processes.is_empty() && filter.names.is_empty() && filter.groups.is_empty()) {
        return writeln!(out, "spoor: {nothing} matches {given}; spoor procs FILE --each lists the processes");
    }
    let events = if sought == Sought::Events { "events".to_owned() } else { format!("events of {what}") };
    writeln!(out, "spoor: {nothing} matches {given}; recorded are {} {events}", count(found.sought))
}

/// The filters as they were given.
pub(super) fn given(filter: &Filter) -> Vec<String> {
    let given = [
        ("--process", &filter.processes),
        ("--name", &filter.names),
        ("--group", &filter.groups),
        ("--module", &filter.modules),
        ("--function", &filter.functions),
        ("--scheduler", &filter.schedulers),
        ("--kind", &filter.kinds),
    ];
    let given = given.iter().flat_map(|(option, values)| values.iter().map(move |value| format!("{option} {value}")));
    given.collect()
}

/// The first of them, in one line.
fn some(names: impl Iterator<Item = String>, none: &str) -> String {
    let mut names: Vec<String> = names.take(NAMED + 1).collect();
    if let Some(last) = names.get_mut(NAMED) {
        "…".clone_into(last);
    }
    if names.is_empty() { none.to_owned() } else { names.join(", ") }
}

impl Found {
    /// Kinds of events and threads.
    fn survey(&mut self, file: &Path, sought: Sought) {
        let Ok(recording) = open(file) else { return };
        let mut kinds: Vec<u64> = Vec::new();
        Survey::counting(&recording).run(|_, _, round| {
            kinds.resize(kinds.len().max(round.kinds.len()), 0);
            kinds.iter_mut().zip(&round.kinds).for_each(|(sum, n)| *sum += n);
        });
        for (id, n) in (0..=u8::MAX).zip(kinds).filter(|(_, n)| *n > 0) {
            let name = recording.kind_name(id);
            match self.kinds.iter_mut().find(|(known, ..)| *known == name) {
                Some((_, sum, _)) => *sum += n,
                None => self.kinds.push((name, n, sought.is(id))),
            }
            self.sought += if sought.is(id) { n } else { 0 };
        }
        let used = recording.ledger.iter().filter(|lane| lane.ledger.present > 0);
        self.lanes.extend(used.map(|lane| lane.short()));
        self.longest_ns = self.longest_ns.max(recording.end_ns.saturating_sub(recording.start_ns));
    }

    /// Modules that have what is sought, and the functions of those that the filter names.
    fn look_for_functions(&mut self, file: &Path, sought: Sought, filter: &Filter) {
        let Ok(recording) = open(file) else { return };
        let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
        let (mut seen, mut events) = (Vec::<bool>::new(), 0);
        while let Some(event) = stream.next() {
            events += 1;
            if let Some(function) = event.function.filter(|_| sought != Sought::Calls || event.kind == kind::CALL) {
                let at = function.0 as usize;
                seen.resize(seen.len().max(at + 1), false);
                seen[at] = true;
            }
            if events == LOOKED_AT {
                self.more_functions = true;
                break;
            }
        }
        for function in (0_u32..).zip(seen).filter_map(|(id, seen)| seen.then_some(FunctionId(id))) {
            let names = stream.names();
            let (module, printed) = (label::module(names, function), label::function(names, function));
            if filter.functions.iter().any(|pattern| pattern.starts_with(&module)) {
                self.functions.insert(printed);
            }
            self.modules.insert(module);
        }
    }
}
