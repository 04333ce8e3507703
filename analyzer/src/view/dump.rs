//! Events, one a line.

use std::io::{self, Write};

use serde_json::{Map, Value, json};
use spoor_format::chunk::Identity;
use spoor_format::record::{GC_SIZES, MESSAGE_SHAPES};

use crate::model::label;
use crate::model::processes::{Process, Processes};
use crate::read::{Detail, Event, FieldValue, FunctionId, push_number, quoted};
use crate::view::units::{push_seconds, wall};

/// One line of text: seconds since the start, lane, process, what, its fields.
pub fn text(event: &Event<'_>, processes: &Processes, out: &mut dyn Write) -> io::Result<()> {
    Lines::default().text(event, processes, out)
}

/// Processes whose names are remembered.
const REMEMBERED: usize = 64;

/// Lines of text of one recording: what is in many of them is put into words once.
#[derive(Debug, Default)]
pub struct Lines {
    lanes: Vec<Option<String>>,
    kinds: Vec<Option<String>>,
    functions: Vec<Option<String>>,
    /// Of each process the name, as long as nothing else becomes known of it.
    processes: Vec<Option<(Identity, Option<Process>, String)>>,
    line: String,
}

impl Lines {
    /// A line, as [`text`] writes it.
    pub fn text(&mut self, event: &Event<'_>, processes: &Processes, out: &mut dyn Write) -> io::Result<()> {
        let recording = event.recording();
        self.line.clear();
        push_seconds(event.time.saturating_sub(recording.start_ns), &mut self.line);
        let lane = || format!(" {:<4} ", recording.lane_name(event.lane));
        self.line.push_str(known(&mut self.lanes, event.lane as usize, lane));
        self.push_process(event, processes);
        let kind = || recording.kind_name(event.kind);
        self.line.push_str(known(&mut self.kinds, usize::from(event.kind), kind));
        match event.function.filter(|_| event.says_function_only()) {
            Some(id) => self.push_function(event, id),
            None => self.push_fields(event),
        }
        self.line.push('\n');
        out.write_all(self.line.as_bytes())
    }

    fn push_function(&mut self, event: &Event<'_>, id: FunctionId) {
        let function = || format!(" {}", label::function(event.names(), id));
        self.line.push_str(known(&mut self.functions, id.0 as usize, function));
    }

    fn push_fields(&mut self, event: &Event<'_>) {
        let detail = event.detail();
        detail.each_field(|name, value| match (name, value) {
            // The name says nothing that the kind did not.
            ("function" | "name", FieldValue::Function(Some(id))) => self.push_function(event, id),
            ("sizes", FieldValue::Words(words)) => {
                for (place, words) in words.iter().enumerate() {
                    self.push_name(GC_SIZES.get(place).unwrap_or(&"size"));
                    push_number(words, &mut self.line);
                }
            }
            _ => {
                match name {
                    "function" | "name" => self.line.push(' '),
                    name => self.push_name(name),
                }
                let from = self.line.len();
                push_value(event, &detail, name, value, &mut self.line);
                if self.line[from..].contains('\n') {
                    let text = self.line[from..].replace('\n', "\\n");
                    self.line.replace_range(from.., &text);
                }
            }
        });
    }

    fn push_name(&mut self, name: &str) {
        self.line.push(' ');
        self.line.push_str(name);
        self.line.push('=');
    }

    fn push_process(&mut self, event: &Event<'_>, processes: &Processes) {
        self.processes.resize(REMEMBERED, None);
        let (identity, process) = (event.identity(), processes.get(event.tracee));
        let place = &mut self.processes[event.tracee.0 as usize % REMEMBERED];
        let known = place.as_ref().is_some_and(|(whose, what, _)| *whose == identity && what.as_ref() == process);
        if !known {
            let name = processes.full_name(event.tracee, identity, event.recording(), event.names());
            *place = Some((identity, process.cloned(), format!("{name:<32} ")));
        }
        self.line.push_str(place.as_ref().map_or("", |(_, _, name)| name));
    }
}

/// What stands at a place; the first time it is made.
fn known(texts: &mut Vec<Option<String>>, at: usize, make: impl FnOnce() -> String) -> &str {
    if texts.len() <= at {
        texts.resize(at + 1, None);
    }
    texts[at].get_or_insert_with(make)
}

fn push_value(event: &Event<'_>, detail: &Detail<'_>, name: &str, value: FieldValue<'_>, line: &mut String) {
    let names = event.names();
    match value {
        FieldValue::Uint(n) => match shape(name, n) {
            Some(shape) => line.push_str(shape),
            None => push_number(n, line),
        },
        FieldValue::Atom(atom) => line.push_str(&atom.map_or_else(|| "-".to_owned(), |id| quoted(names.atom_text(id)))),
        FieldValue::Function(id) => line.push_str(&id.map_or_else(|| "-".to_owned(), |id| label::function(names, id))),
        FieldValue::Text(text) => line.push_str(text),
        FieldValue::Term(term) => {
            if !detail.push_term(term, names, &event.recording().pids, line) {
                line.push('-');
            }
        }
        FieldValue::Words(words) => {
            for (place, word) in words.iter().enumerate() {
                if place > 0 {
                    line.push(',');
                }
                push_number(word, line);
            }
        }
    }
}

/// What a message is, as `docs/FORMAT.md` calls it.
fn shape(field: &str, number: u64) -> Option<&'static str> {
    let known = (field == "message_shape").then(|| usize::try_from(number).ok()).flatten()?;
    MESSAGE_SHAPES.get(known).map(|(name, _)| *name)
}

/// One line of JSON.
pub fn json(event: &Event<'_>, processes: &Processes, out: &mut dyn Write) -> io::Result<()> {
    let recording = event.recording();
    let mut line = Map::new();
    line.insert("at_ns".into(), json!(event.time.saturating_sub(recording.start_ns)));
    line.insert("time".into(), json!(recording.clock.known_wall_ns(event.time).map(wall)));
    line.insert("lane".into(), json!(recording.lane_name(event.lane)));
    line.insert("process".into(), json!(recording.pids.text(event.identity())));
    if let Some(title) = processes.title(event.tracee, event.names()) {
        line.insert("process_name".into(), json!(title));
    }
    line.insert("kind".into(), json!(recording.kind_name(event.kind)));
    if !event.complete {
        line.insert("incomplete".into(), json!(true));
    }
    let (mut fields, detail) = (Map::new(), event.detail());
    detail.each_field(|name, value| {
        let value = match value {
            FieldValue::Words(words) if name == "sizes" => sizes(words.iter()),
            value => field(event, &detail, name, value),
        };
        fields.insert(name.to_owned(), value);
    });
    line.insert("fields".into(), Value::Object(fields));
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

/// The sizes of a garbage collection, in words, by their names.
fn sizes(words: impl Iterator<Item = u64>) -> Value {
    let name = |at: usize| GC_SIZES.get(at).map_or_else(|| format!("size_{at}"), |name| (*name).to_owned());
    Value::Object(words.enumerate().map(|(at, n)| (name(at), json!(n))).collect())
}

fn field(event: &Event<'_>, detail: &Detail<'_>, name: &str, value: FieldValue<'_>) -> Value {
    let names = event.names();
    match value {
        FieldValue::Uint(n) => shape(name, n).map_or_else(|| json!(n), |shape| json!(shape)),
        FieldValue::Atom(atom) => json!(atom.map(|atom| names.atom_text(atom))),
        FieldValue::Function(f) => json!(f.map(|f| label::function(names, f))),
        FieldValue::Text(text) => json!(text),
        FieldValue::Term(term) => {
            json!(detail.term_text(term, names, &event.recording().pids).unwrap_or_else(|| "-".to_owned()))
        }
        FieldValue::Words(words) => json!(words.iter().collect::<Vec<_>>()),
    }
}
