//! Which processes, modules, functions and kinds of events are asked for.

use crate::model::group::Grouping;
use crate::model::label;
use crate::model::processes::{Known, Processes};
use crate::model::verdicts::Verdicts;
use crate::read::{Event, FunctionId, Names, Recording, TraceeId, quoted};

/// Nothing given is everything.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Pids, or globs on names, labels and initial calls.
    pub processes: Vec<String>,
    /// Globs on registered names.
    pub names: Vec<String>,
    /// Globs on the names of process groups.
    pub groups: Vec<String>,
    /// What processes are grouped by.
    pub grouping: Grouping,
    /// Globs on modules.
    pub modules: Vec<String>,
    /// Globs on functions as printed.
    pub functions: Vec<String>,
    /// Functions and modules pick out processes: those that have events of them.
    pub pick_processes: bool,
    /// Names are wanted before the first event, whatever is filtered.
    pub names_first: bool,
    /// Events of other processes are handed out too, as not asked for: what they do
    /// tells of those that are.
    pub everyone: bool,
    /// Globs on the short names of lanes: `s1`, `dc*`.
    pub schedulers: Vec<String>,
    /// Names of kinds of events.
    pub kinds: Vec<String>,
}

impl Filter {
    /// Must names be known before the first event? Not for pids.
    pub fn needs_names(&self) -> bool {
        self.processes.iter().any(|pattern| !is_pid(pattern))
            || !self.names.is_empty()
            || !self.groups.is_empty()
            || self.picks_processes()
            || self.names_first
    }

    /// Is the function asked for?
    pub fn takes_function(&self, names: &Names, id: FunctionId) -> bool {
        let (module, name, arity) = names.function_parts(id);
        let module_fits = |pattern: &String| atom_fits(pattern, module);
        if !self.modules.is_empty() && !self.modules.iter().any(module_fits) {
            return false;
        }
        if self.functions.is_empty() {
            return true;
        }
        let (printed, raw) = (label::mfa(module, name, arity), format!("{module}:{name}/{arity}"));
        let bare = |pattern: &str, full: &str| glob(pattern, full) || glob(&format!("{pattern}/*"), full);
        self.functions.iter().any(|pattern| bare(pattern, &printed) || bare(pattern, &raw) || module_fits(pattern))
    }

    /// Is every process asked for?
    pub fn takes_all_processes(&self) -> bool {
        self.processes.is_empty() && self.names.is_empty() && self.groups.is_empty() && !self.picks_processes()
    }

    /// Is the process asked for, as far as it is known? Which functions it has events of is not looked at.
    pub fn takes_process(&self, tracee: TraceeId, known: &Known<'_>) -> bool {
        let Known { recording, processes, tracees, names } = *known;
        let pid = recording.pids.text(tracees.identity(tracee));
        let title = processes.title(tracee, names);
        let name = processes.get(tracee).and_then(|process| process.name).map(|name| names.atom_text(name));
        let named = |pattern: &String| name.is_some_and(|name| atom_fits(pattern, name));
        let fits = |pattern: &String| {
            same_pid(pattern, &pid) || title.as_deref().is_some_and(|title| glob(pattern, title)) || named(pattern)
        };
        let by_name = matches!(self.grouping, Grouping::Title | Grouping::Name);
        let in_group = |pattern: &String| {
            glob(pattern, &processes.group(self.grouping, tracee, tracees, names)) || (by_name && named(pattern))
        };
        (self.processes.is_empty() || self.processes.iter().any(fits))
            && (self.names.is_empty() || self.names.iter().any(named))
            && (self.groups.is_empty() || self.groups.iter().any(in_group))
    }

    /// Must be known which processes have events of the functions?
    pub fn picks_processes(&self) -> bool {
        self.pick_processes && !self.takes_all_functions()
    }

    /// Is every function asked for?
    pub fn takes_all_functions(&self) -> bool {
        self.modules.is_empty() && self.functions.is_empty()
    }
}

/// Remembers for each function whether it is asked for. Names must not be of another table.
#[derive(Debug)]
pub struct FunctionFilter<'a> {
    filter: &'a Filter,
    all: bool,
    known: Vec<Option<bool>>,
}

impl<'a> FunctionFilter<'a> {
    /// Nothing is known yet.
    pub fn new(filter: &'a Filter) -> Self {
        FunctionFilter { filter, all: filter.takes_all_functions(), known: Vec::new() }
    }

    /// Is it an event of a function that is asked for? Any is, where all functions are.
    #[inline]
    pub fn takes_event(&mut self, event: &Event<'_>) -> bool {
        self.all || event.function.is_some_and(|function| self.takes(event.names(), function))
    }

    /// Is the function asked for?
    #[inline]
    pub fn takes(&mut self, names: &Names, id: FunctionId) -> bool {
        match self.known.get(id.0 as usize) {
            Some(Some(known)) => *known,
            _ => self.decide(names, id),
        }
    }

    #[cold]
    fn decide(&mut self, names: &Names, id: FunctionId) -> bool {
        let (at, takes) = (id.0 as usize, self.filter.takes_function(names, id));
        self.known.resize(self.known.len().max(at + 1), None);
        self.known[at] = Some(takes);
        takes
    }
}

/// Remembers for each process of a recording whether it is asked for.
#[derive(Debug)]
pub struct ProcessFilter<'a> {
    filter: &'a Filter,
    all: bool,
    /// What was decided of all processes, when their names were to be known first: 0 for those
    /// that are not asked for.
    verdicts: Option<Verdicts>,
    known: Vec<Option<bool>>,
}

impl<'a> ProcessFilter<'a> {
    /// For one recording.
    pub fn new(filter: &'a Filter, verdicts: Option<Verdicts>) -> Self {
        let all = filter.takes_all_processes();
        ProcessFilter { filter, all, verdicts, known: Vec::new() }
    }

    /// Is the event's process asked for?
    #[inline]
    pub fn takes(&mut self, event: &Event<'_>, processes: &Processes) -> bool {
        self.all || self.takes_tracee(event.tracee, &Known::of(event, processes))
    }

    /// Is the process asked for?
    pub fn takes_tracee(&mut self, tracee: TraceeId, known: &Known<'_>) -> bool {
        if self.all {
            return true;
        }
        match self.known.get(tracee.0 as usize) {
            Some(Some(known)) => *known,
            _ => self.decide(tracee, known),
        }
    }

    /// The process has no more events: its number may be another's.
    pub fn forget(&mut self, tracee: TraceeId) {
        if let Some(known) = self.known.get_mut(tracee.0 as usize) {
            *known = None;
        }
    }

    #[cold]
    fn decide(&mut self, tracee: TraceeId, known: &Known<'_>) -> bool {
        let takes = match &self.verdicts {
            Some(verdicts) => verdicts.of(known.tracees.identity(tracee)) > 0,
            None => self.filter.takes_process(tracee, known),
        };
        let at = tracee.0 as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, None);
        }
        self.known[at] = Some(takes);
        takes
    }
}

/// Remembers for each kind of event and each lane whether it is asked for. By default all are.
#[derive(Debug, Default)]
pub struct EventFilter {
    kinds: Vec<bool>,
    lanes: Vec<bool>,
}

impl EventFilter {
    /// For one recording.
    pub fn new(filter: &Filter, recording: &Recording) -> Self {
        let takes = |patterns: &[String], name: &str| patterns.iter().any(|pattern| glob(pattern, name));
        let kinds = match filter.kinds.is_empty() {
            true => Vec::new(),
            false => (0..=u8::MAX).map(|kind| takes(&filter.kinds, &recording.kind_name(kind))).collect(),
        };
        let mut lanes = Vec::new();
        for lane in recording.ledger.iter().filter(|_| !filter.schedulers.is_empty()) {
            let at = lane.lane as usize;
            lanes.resize(lanes.len().max(at + 1), false);
            lanes[at] = takes(&filter.schedulers, &lane.short());
        }
        if lanes.is_empty() && !filter.schedulers.is_empty() {
            lanes.push(false);
        }
        EventFilter { kinds, lanes }
    }

    /// Is the event's kind asked for?
    #[inline]
    pub fn takes_kind(&self, kind: u8) -> bool {
        self.kinds.get(usize::from(kind)).copied().unwrap_or(true)
    }

    /// Is every lane asked for?
    pub fn takes_all_lanes(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Is the lane asked for?
    #[inline]
    pub fn takes_lane(&self, lane: u32) -> bool {
        self.lanes.is_empty() || self.lanes.get(lane as usize) == Some(&true)
    }
}

fn is_pid(pattern: &str) -> bool {
    let inner = pattern.trim_start_matches("#Port").trim_start_matches('<').trim_end_matches('>');
    !inner.is_empty() && inner.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
}

/// `<0.12.0>` and `0.12.0` are the same.
fn same_pid(pattern: &str, pid: &str) -> bool {
    pattern == pid || (is_pid(pattern) && pid.strip_prefix('<').and_then(|p| p.strip_suffix('>')) == Some(pattern))
}

/// Atoms are found as they are and as printed: `odd-name` and `'odd-name'`, `Elixir.MyApp.Srv` and `MyApp.Srv`.
fn atom_fits(pattern: &str, atom: &str) -> bool {
    glob(pattern, atom) || glob(pattern, &quoted(atom))
}

/// `*` stands for any text, `?` for any character.
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((star_p, star_t)) = star else { return false };
                star = Some((star_p, star_t + 1));
                (p, t) = (star_p + 1, star_t + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::FunctionKey;

    #[test]
    fn globs() {
        for (pattern, text, want) in [
            ("shop_*", "shop_web", true),
            ("shop_*", "shops", false),
            ("*:handle_*/3", "shop:handle_call/3", true),
            ("a?c", "abc", true),
            ("a*b*c", "a1b2b3c", true),
            ("a*b*c", "a1b2b3", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(glob(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn functions_are_found_as_printed_raw_and_without_arity() {
        let mut names = Names::default();
        let (module, name) = (names.atom("Elixir.MyApp.Orders"), names.atom("create"));
        let id = names.function(FunctionKey { module, name, arity: 2 });
        let takes = |functions: &str, modules: &str| {
            let list = |text: &str| text.split(' ').filter(|t| !t.is_empty()).map(str::to_owned).collect();
            Filter { functions: list(functions), modules: list(modules), ..Filter::default() }
                .takes_function(&names, id)
        };
        assert!(takes("MyApp.Orders.create/2", ""));
        assert!(takes("Elixir.MyApp.Orders:create/2", ""));
        assert!(takes("MyApp.Orders.create", ""));
        assert!(takes("nothing:else/0 *.create/?", "MyApp.*"));
        assert!(takes("MyApp.Orders", "") && takes("MyApp.*", ""));
        assert!(!takes("MyApp.Orders.create/3", ""));
        assert!(!takes("", "Other"));
    }

    #[test]
    fn pids_are_told_from_names() {
        assert!(is_pid("<0.12.0>") && is_pid("0.12.0") && !is_pid("shop") && !is_pid("*"));
        assert!(same_pid("0.12.0", "<0.12.0>") && !same_pid("0.12.0", "<0.112.0>"));
    }
}
