//! Events, one a line.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Map, Value, json};
use spoor_format::chunk::Identity;
use spoor_format::record::{GC_SIZES, MESSAGE_SHAPES};

use crate::model::label;
use crate::model::processes::{Process, Processes};
use crate::read::{Event, FieldValue, quoted};
use crate::view::units::wall;

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
        let at = event.time.saturating_sub(recording.start_ns);
        self.line.clear();
        // Writing into a String cannot fail.
        let _ = write!(self.line, "{}.{:09} ", at / 1_000_000_000, at % 1_000_000_000);
        let lane = || format!("{:<4} ", recording.lane_name(event.lane));
        self.line.push_str(known(&mut self.lanes, event.lane as usize, lane));
        self.push_process(event, processes);
        let kind = || recording.kind_name(event.kind);
        self.line.push_str(known(&mut self.kinds, usize::from(event.kind), kind));
        match event.function.filter(|_| event.says_function_only()) {
            Some(id) => {
                let function = || format!(" {}", label::function(event.names(), id));
                self.line.push_str(known(&mut self.functions, id.0 as usize, function));
                self.line.push('\n');
                out.write_all(self.line.as_bytes())
            }
            None => {
                out.write_all(self.line.as_bytes())?;
                fields(event, out)?;
                writeln!(out)
            }
        }
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

fn fields(event: &Event<'_>, out: &mut dyn Write) -> io::Result<()> {
    let recording = event.recording();
    for (name, value) in event.detail().fields(event.names(), &recording.pids) {
        match (name.as_str(), plain(event, &value)) {
            // The name says nothing that the kind did not.
            ("function" | "name", text) => write!(out, " {text}")?,
            ("sizes", _) => write!(out, " {}", sizes(&value))?,
            ("message_shape", text) => write!(out, " message_shape={}", shape(&value).unwrap_or(&text))?,
            (name, text) => write!(out, " {name}={text}")?,
        }
    }
    Ok(())
}

fn plain(event: &Event<'_>, value: &FieldValue) -> String {
    match value {
        FieldValue::Uint(n) => n.to_string(),
        FieldValue::Atom(atom) => atom.map_or_else(|| "-".to_owned(), |atom| quoted(event.names().atom_text(atom))),
        FieldValue::Function(f) => f.map_or_else(|| "-".to_owned(), |f| label::function(event.names(), f)),
        FieldValue::Text(text) => text.replace('\n', "\\n"),
        FieldValue::Words(words) => words.iter().map(u64::to_string).collect::<Vec<_>>().join(","),
    }
}

/// What a message is, as `docs/FORMAT.md` calls it.
fn shape(value: &FieldValue) -> Option<&'static str> {
    let FieldValue::Uint(shape) = value else { return None };
    MESSAGE_SHAPES.get(usize::try_from(*shape).ok()?).map(|(name, _)| *name)
}

/// The sizes of a garbage collection, in words, each with its name.
fn sizes(value: &FieldValue) -> String {
    let FieldValue::Words(words) = value else { return String::new() };
    let names = GC_SIZES.iter().copied().chain(std::iter::repeat("size"));
    words.iter().zip(names).map(|(n, name)| format!("{name}={n}")).collect::<Vec<_>>().join(" ")
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
    let fields = event.detail().fields(event.names(), &recording.pids);
    let fields = fields.into_iter().map(|(name, value)| {
        let value = if name == "sizes" { json_sizes(event, &value) } else { field(event, &value) };
        (name, value)
    });
    line.insert("fields".into(), Value::Object(fields.collect()));
    serde_json::to_writer(&mut *out, &line)?;
    writeln!(out)
}

/// The sizes of a garbage collection, in words, by their names.
fn json_sizes(event: &Event<'_>, value: &FieldValue) -> Value {
    let FieldValue::Words(words) = value else { return field(event, value) };
    let name = |at: usize| GC_SIZES.get(at).map_or_else(|| format!("size_{at}"), |name| (*name).to_owned());
    Value::Object(words.iter().enumerate().map(|(at, n)| (name(at), json!(n))).collect())
}

fn field(event: &Event<'_>, value: &FieldValue) -> Value {
    let names = event.names();
    match value {
        FieldValue::Uint(n) => json!(n),
        FieldValue::Atom(atom) => json!(atom.map(|atom| names.atom_text(atom))),
        FieldValue::Function(f) => json!(f.map(|f| label::function(names, f))),
        FieldValue::Text(text) => json!(text),
        FieldValue::Words(words) => json!(words),
    }
}
