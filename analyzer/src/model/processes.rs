//! What is known of each process: name, label, initial call, parent.

use std::collections::HashMap;

use spoor_format::chunk::Identity;
use spoor_format::record::Body;

use crate::model::group::Grouping;
use crate::model::label;
use crate::read::{AtomId, Event, FunctionId, Info, Names, Recording, TraceeId, Tracees, kind};

/// A process (or port).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// Registered name; the last one, when it had several.
    pub name: Option<AtomId>,
    /// Label, as text.
    pub label: Option<String>,
    /// The function it began in.
    pub initial_call: Option<FunctionId>,
    /// Its parent's pid word.
    pub parent: Option<u64>,
    /// When the recorder last looked at it, beside the events.
    seen: u64,
    /// All that there is to know of it is known.
    settled: bool,
}

/// All processes of a recording, by the tracees' numbers.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    known: Vec<Process>,
    /// Initial calls tell who is a supervisor: recorders did not always write that.
    tells_supervisors: bool,
    by_name: HashMap<AtomId, TraceeId>,
}

impl Processes {
    /// With what the recorder found out beside the events.
    pub fn from_infos(infos: &[Info], names: &Names) -> Processes {
        let mut processes = Processes::default();
        processes.learn_infos(infos, names);
        processes
    }

    /// Learns what the recorder found out beside the events.
    pub fn learn_infos(&mut self, infos: &[Info], names: &Names) {
        for info in infos {
            if let Info::Process { time, tracee, parent, name, label, initial_call } = info {
                let process = self.entry(*tracee);
                if process.settled {
                    continue;
                }
                process.seen = *time;
                replace(&mut process.parent, *parent);
                replace(&mut process.name, *name);
                replace(&mut process.label, label.clone());
                replace_call(&mut process.initial_call, *initial_call, names);
                self.tells_supervisors |= initial_call.is_some_and(|call| is_of_supervisor(names, call));
                if let Some(name) = name {
                    self.by_name.insert(*name, *tracee);
                }
            }
        }
    }

    /// Of those that are known by now nothing more is learned: all events were looked at.
    pub fn settle(&mut self, tracees: &Tracees) {
        self.known.resize(tracees.len(), Process::default());
        for (number, process) in self.known.iter_mut().enumerate() {
            process.settled = !tracees.is_free(TraceeId(number as u32));
        }
    }

    /// A process has no more events: its number may be another's.
    pub fn forget(&mut self, tracee: TraceeId) {
        let Some(process) = self.known.get_mut(tracee.0 as usize) else { return };
        if std::mem::take(process).name.is_some() {
            self.by_name.retain(|_, named| *named != tracee);
        }
    }

    fn entry(&mut self, tracee: TraceeId) -> &mut Process {
        let at = tracee.0 as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, Process::default());
        }
        &mut self.known[at]
    }

    /// Was it met by the recorder, or spawned: is it one of those that are traced, where all are?
    pub fn is_described(&self, tracee: TraceeId) -> bool {
        self.get(tracee).is_some_and(|process| {
            process.seen > 0 || process.name.is_some() || process.initial_call.is_some() || process.parent.is_some()
        })
    }

    /// What is known of one.
    pub fn get(&self, tracee: TraceeId) -> Option<&Process> {
        self.known.get(tracee.0 as usize)
    }

    /// Learns from an event, if it says something of its process.
    #[inline]
    pub fn learn(&mut self, event: &Event<'_>) {
        if matches!(event.kind, kind::SPAWNED | kind::REGISTER) {
            self.learn_more(event);
        }
    }

    #[cold]
    fn learn_more(&mut self, event: &Event<'_>) {
        let detail = event.detail();
        let process = self.entry(event.tracee);
        if process.settled {
            return;
        }
        match detail.body() {
            Some(Body::Spawned { parent, .. }) => {
                if process.seen < event.time {
                    // What is known is of another process, with the same pid.
                    *process = Process::default();
                }
                replace(&mut process.parent, parent.pid());
                if process.initial_call.is_none() {
                    replace_call(&mut process.initial_call, event.function, event.names());
                    let tells = event.function.is_some_and(|call| is_of_supervisor(event.names(), call));
                    self.tells_supervisors |= tells;
                }
            }
            Some(Body::Register { name }) => {
                replace(&mut process.name, detail.atom(name));
                if let Some(name) = detail.atom(name) {
                    self.by_name.insert(name, event.tracee);
                }
            }
            _ => {}
        }
    }

    /// The first that exists of registered name, label and initial call.
    pub fn title(&self, tracee: TraceeId, names: &Names) -> Option<String> {
        let process = self.get(tracee)?;
        if let Some(name) = process.name {
            return Some(crate::read::quoted(names.atom_text(name)));
        }
        if let Some(label) = &process.label {
            return Some(label.clone());
        }
        process.initial_call.map(|call| initial_call_text(names, call))
    }

    /// Title and pid.
    pub fn full_name(&self, tracee: TraceeId, identity: Identity, recording: &Recording, names: &Names) -> String {
        let pid = recording.pids.text(identity);
        match self.title(tracee, names) {
            Some(title) => format!("{title} {pid}"),
            None => pid,
        }
    }

    /// What a process is summed up by: its name, label or initial call, its
    /// supervisor, `ports`, or `unnamed` and the like.
    pub fn group(&self, by: Grouping, tracee: TraceeId, tracees: &Tracees, names: &Names) -> String {
        if let Identity::Port(_) = tracees.identity(tracee) {
            return "ports".to_owned();
        }
        let process = self.get(tracee);
        let (found, otherwise) = match by {
            Grouping::Title => (self.title(tracee, names), "unnamed"),
            Grouping::Name => {
                let name = process.and_then(|process| process.name);
                (name.map(|name| crate::read::quoted(names.atom_text(name))), "no registered name")
            }
            Grouping::Label => (process.and_then(|process| process.label.clone()), "no label"),
            Grouping::InitialCall => (
                process.and_then(|p| p.initial_call).map(|call| initial_call_text(names, call)),
                "unknown initial call",
            ),
            Grouping::Supervisor => (self.supervisor(tracee, tracees, names), "no supervisor"),
        };
        found.unwrap_or_else(|| otherwise.to_owned())
    }

    /// The nearest ancestor that is a supervisor.
    fn supervisor(&self, tracee: TraceeId, tracees: &Tracees, names: &Names) -> Option<String> {
        let mut at = tracee;
        for _ in 0..ANCESTORS {
            at = tracees.find(Identity::Process(self.get(at)?.parent?))?;
            if self.is_supervisor(at, names)? {
                return self.title(at, names);
            }
        }
        None
    }

    /// By its initial call; by its name only where no initial call of the recording is a supervisor's.
    fn is_supervisor(&self, tracee: TraceeId, names: &Names) -> Option<bool> {
        let call = self.get(tracee)?.initial_call;
        let named =
            || self.title(tracee, names).is_some_and(|title| title.ends_with("_sup") || title.ends_with("Supervisor"));
        Some(call.is_some_and(|call| is_of_supervisor(names, call)) || !self.tells_supervisors && named())
    }

    /// Is it one of Spoor's own, by the names that these have on each node?
    pub fn is_of_spoor(&self, tracee: TraceeId, tracees: &Tracees, names: &Names) -> bool {
        let parent = self.get(tracee).and_then(|process| tracees.find(Identity::Process(process.parent?)));
        [Some(tracee), parent].into_iter().flatten().any(|of| {
            let name = self.get(of).and_then(|process| process.name);
            name.is_some_and(|name| SPOOR.contains(&names.atom_text(name)))
        })
    }

    /// The process that is registered under the name now, as far as is known.
    pub fn named(&self, name: AtomId) -> Option<TraceeId> {
        self.by_name.get(&name).copied()
    }
}

/// All that is known at a time, of processes that have numbers.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// What is read.
    pub recording: &'a Recording,
    /// What is known of processes.
    pub processes: &'a Processes,
    /// Who they are.
    pub tracees: &'a Tracees,
    /// The names of the recording.
    pub names: &'a Names,
}

impl<'a> Known<'a> {
    /// By an event.
    pub fn of(event: &Event<'a>, processes: &'a Processes) -> Known<'a> {
        Known { recording: event.recording(), processes, tracees: event.tracees(), names: event.names() }
    }

    /// Title and pid.
    pub fn full_name(&self, tracee: TraceeId) -> String {
        self.processes.full_name(tracee, self.tracees.identity(tracee), self.recording, self.names)
    }
}

/// Names of Spoor's own processes, and of those that others are children of.
const SPOOR: [&str; 3] = ["spoor_sup", "spoor_registry", "spoor_recording_sup"];
/// A chain of parents is not followed further.
const ANCESTORS: usize = 64;

fn initial_call_text(names: &Names, call: FunctionId) -> String {
    let (module, name, arity) = names.function_parts(call);
    match (module, arity) {
        ("supervisor", 1) if name != "init" => label::mfa(name, "init", 1),
        _ => label::mfa(module, name, arity),
    }
}

/// `proc_lib` says of a supervisor `supervisor:Callback/1`; before it says so, a dynamic one of Elixir
/// looks like a server.
fn is_of_supervisor(names: &Names, call: FunctionId) -> bool {
    let (module, name, arity) = names.function_parts(call);
    match module {
        "supervisor" => arity == 1,
        "supervisor_bridge" | "Elixir.DynamicSupervisor" => (name, arity) == ("init", 1),
        _ => false,
    }
}

fn replace<T>(old: &mut Option<T>, new: Option<T>) {
    if new.is_some() {
        *old = new;
    }
}

/// Nearly every process begins in `proc_lib:init_p`: that says nothing.
fn replace_call(old: &mut Option<FunctionId>, new: Option<FunctionId>, names: &Names) {
    let says_something = |call: &FunctionId| {
        let (module, name, _) = names.function_parts(*call);
        (module, name) != ("proc_lib", "init_p")
    };
    replace(old, new.filter(says_something));
}
