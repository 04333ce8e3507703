//! What is known of each process: name, label, initial call, parent.

use spoor_format::chunk::Identity;
use spoor_format::record::Body;

use crate::model::label;
use crate::read::{AtomId, Event, FunctionId, Info, Names, Recording, TraceeId, Tracees, Window, kind};

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
}

/// All processes of a recording, by the tracees' numbers.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    known: Vec<Process>,
}

impl Processes {
    /// With what the recorder found out beside the events.
    pub fn from_infos(infos: &[Info], names: &Names) -> Processes {
        let mut processes = Processes::default();
        for info in infos {
            if let Info::Process { time, tracee, parent, name, label, initial_call } = info {
                let process = processes.entry(*tracee);
                process.seen = *time;
                replace(&mut process.parent, *parent);
                replace(&mut process.name, *name);
                replace(&mut process.label, label.clone());
                replace_call(&mut process.initial_call, *initial_call, names);
            }
        }
        processes
    }

    /// With what all events of a recording say; also answers the numbers given.
    pub fn of_recording(recording: &Recording, names: Names) -> (Processes, Names, Tracees) {
        let mut stream = recording.stream(names, Tracees::default(), Window::ALL);
        let mut processes = Processes::from_infos(stream.infos(), stream.names());
        while let Some(event) = stream.next() {
            processes.learn(&event);
        }
        let outcome = stream.finish();
        (processes, outcome.names, outcome.tracees)
    }

    fn entry(&mut self, tracee: TraceeId) -> &mut Process {
        let at = tracee.0 as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, Process::default());
        }
        &mut self.known[at]
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
        match detail.body() {
            Some(Body::Spawned { parent, .. }) => {
                if process.seen < event.time {
                    // What is known is of another process, with the same pid.
                    *process = Process::default();
                }
                replace(&mut process.parent, parent.pid());
                if process.initial_call.is_none() {
                    replace_call(&mut process.initial_call, event.function, event.names());
                }
            }
            Some(Body::Register { name }) => replace(&mut process.name, detail.atom(name)),
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

    /// What processes are coloured and summed up by: their title, `port`, or
    /// `unnamed`.
    pub fn group(&self, tracee: TraceeId, identity: Identity, names: &Names) -> String {
        match identity {
            Identity::Port(_) => "ports".to_owned(),
            _ => self.title(tracee, names).unwrap_or_else(|| "unnamed".to_owned()),
        }
    }
}

fn initial_call_text(names: &Names, call: FunctionId) -> String {
    let (module, name, arity) = names.function_parts(call);
    match (module, arity) {
        // proc_lib's translation puts the callback module in the middle.
        ("supervisor", 1) if name != "init" => format!("supervisor {}", crate::read::quoted(name)),
        _ => label::mfa(module, name, arity),
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
