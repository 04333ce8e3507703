//! The one table of everything a chunk can say.
//!
//! Ids are only ever appended; a record never changes its fields. Writers call
//! the functions of [`mod@write`], readers match on [`Body`], tools walk [`SPECS`],
//! and a test holds `docs/FORMAT.md` to the same table. A recording carries the
//! table as text in its meta section, so that an older reader can step over
//! (and even print) records that came after it: see [`Schema`].

use crate::codec::{Cursor, Full, MAX_VARINT, Put, Sink};
use crate::term::RawTerm;
use crate::{DecodeError, term};

/// What a record is to the stream it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Gives the next number to an atom or a function; carries no time.
    Define,
    /// Says whose the following events are; carries no time.
    Context,
    /// Belongs to the next event; carries no time.
    Annotate,
    /// Something that happened; begins with the ticks since the last event.
    Event,
    /// A fact about the system, in the info ring; timed like an event.
    Info,
}

impl Class {
    /// Does the record begin with a time delta?
    pub const fn timed(self) -> bool {
        matches!(self, Class::Event | Class::Info)
    }
}

/// How a field is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldType {
    /// A varint.
    Uint,
    /// A varint: 0 for none, else 1 + the number of an atom of this chunk.
    Atom,
    /// A varint: 0 for none, else 1 + the number of a function of this chunk.
    Function,
    /// A varint length and that many bytes of UTF-8.
    Text,
    /// A term in the encoding of [`crate::term`].
    Term,
    /// A varint count and that many varints.
    Words,
}

impl FieldType {
    /// All types, with the names they have in the text of a [`Schema`].
    pub const ALL: [(FieldType, &'static str); 6] = [
        (FieldType::Uint, "uint"),
        (FieldType::Atom, "atom"),
        (FieldType::Function, "function"),
        (FieldType::Text, "text"),
        (FieldType::Term, "term"),
        (FieldType::Words, "words"),
    ];

    /// The name in the text of a [`Schema`].
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(t, _)| *t == self).map_or("?", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<FieldType> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(t, _)| *t)
    }

    fn skip(self, cursor: &mut Cursor<'_>) -> Result<(), DecodeError> {
        match self {
            FieldType::Uint | FieldType::Atom | FieldType::Function => cursor.varint().map(drop),
            FieldType::Text => <types::Text as Field>::decode(cursor).map(drop),
            FieldType::Term => term::skip(cursor),
            FieldType::Words => <types::Words as Field>::decode(cursor).map(drop),
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct Spec {
    /// First byte of the record.
    pub id: u8,
    /// What it is to the stream.
    pub class: Class,
    /// Name in the text form and in `docs/FORMAT.md`.
    pub name: &'static str,
    /// Names and types of the fields, in order.
    pub fields: &'static [(&'static str, FieldType)],
    /// What it means.
    pub doc: &'static str,
}

/// A reference to an atom or a function: 0 for none, else its number + 1.
pub type Ref = u64;

/// A list of numbers, already known to be well formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawWords<'a>(&'a [u8]);

impl<'a> RawWords<'a> {
    /// The numbers.
    pub fn iter(self) -> impl Iterator<Item = u64> + 'a {
        let mut cursor = Cursor::new(self.0);
        std::iter::from_fn(move || if cursor.is_empty() { None } else { cursor.varint().ok() })
    }
}

/// Encoding and decoding of one field.
pub trait Field {
    /// What a reader gets.
    type Value<'a>;
    /// What a writer gives.
    type Arg<'a>: Copy;
    /// Most bytes that `arg` can take.
    fn max_len(arg: Self::Arg<'_>) -> usize;
    /// Writes it.
    fn encode(arg: Self::Arg<'_>, put: &mut Put<'_>);
    /// Reads it.
    fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<Self::Value<'a>, DecodeError>;
    /// Tells of what it refers to.
    #[inline(always)]
    fn refers<'a>(_: Self::Value<'a>, _: &mut impl FnMut(Refers<'a>)) {}
}

/// What a field refers to.
#[derive(Debug, Clone, Copy)]
pub enum Refers<'a> {
    /// An atom, or none.
    Atom(Ref),
    /// A function, or none.
    Function(Ref),
    /// Whatever atoms are in a term.
    Term(RawTerm<'a>),
}

/// The field types as the table names them.
pub mod types {
    use super::*;

    macro_rules! number {
        ($($name:ident $($refers:expr)?),*) => { $(
            #[doc = concat!("See [`FieldType::", stringify!($name), "`].")]
            #[derive(Debug)]
            pub struct $name;
            impl Field for $name {
                type Value<'a> = u64;
                type Arg<'a> = u64;
                #[inline(always)]
                fn max_len(_: u64) -> usize { MAX_VARINT }
                #[inline(always)]
                fn encode(arg: u64, put: &mut Put<'_>) { put.varint(arg) }
                #[inline(always)]
                fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<u64, DecodeError> { cursor.varint() }
                $(
                    #[inline(always)]
                    fn refers<'a>(reference: u64, look: &mut impl FnMut(Refers<'a>)) { look($refers(reference)) }
                )?
            }
        )* };
    }
    number!(Uint, Atom Refers::Atom, Function Refers::Function);

    /// See [`FieldType::Text`].
    #[derive(Debug)]
    pub struct Text;
    impl Field for Text {
        type Value<'a> = &'a str;
        type Arg<'a> = &'a str;
        fn max_len(arg: &str) -> usize {
            MAX_VARINT.saturating_add(arg.len())
        }
        fn encode(arg: &str, put: &mut Put<'_>) {
            put.varint(arg.len() as u64);
            put.bytes(arg.as_bytes());
        }
        fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, DecodeError> {
            let offset = cursor.offset();
            let len = cursor.varint()?;
            std::str::from_utf8(cursor.take(len)?).map_err(|_| DecodeError::NotUtf8 { offset })
        }
    }

    /// See [`FieldType::Term`].
    #[derive(Debug)]
    pub struct Term;
    impl Field for Term {
        type Value<'a> = RawTerm<'a>;
        type Arg<'a> = RawTerm<'a>;
        fn max_len(arg: RawTerm<'_>) -> usize {
            arg.bytes().len()
        }
        fn encode(arg: RawTerm<'_>, put: &mut Put<'_>) {
            put.bytes(arg.bytes());
        }
        fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<RawTerm<'a>, DecodeError> {
            let start = cursor.offset();
            term::skip(cursor)?;
            Ok(RawTerm::trusted(cursor.since(start)))
        }
        #[inline(always)]
        fn refers<'a>(term: RawTerm<'a>, look: &mut impl FnMut(Refers<'a>)) {
            look(Refers::Term(term));
        }
    }

    /// See [`FieldType::Words`].
    #[derive(Debug)]
    pub struct Words;
    impl Field for Words {
        type Value<'a> = RawWords<'a>;
        type Arg<'a> = &'a [u64];
        fn max_len(arg: &[u64]) -> usize {
            MAX_VARINT.saturating_mul(arg.len().saturating_add(1))
        }
        fn encode(arg: &[u64], put: &mut Put<'_>) {
            put.varint(arg.len() as u64);
            for word in arg {
                put.varint(*word);
            }
        }
        fn decode<'a>(cursor: &mut Cursor<'a>) -> Result<RawWords<'a>, DecodeError> {
            let count = cursor.varint()?;
            let start = cursor.offset();
            cursor.skip_varints(count)?;
            Ok(RawWords(cursor.since(start)))
        }
    }
}

/// One record: its time, for timed classes, and what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Ticks since the last timed record of the chunk, or since its base; 0 for
    /// records without time.
    pub delta: u64,
    /// What it says.
    pub body: Body<'a>,
}

/// A writer's name as the table says it: `in` is a word of Rust's own.
const fn word(name: &'static str) -> &'static str {
    match name.as_bytes().split_last() {
        Some((b'_', rest)) => match std::str::from_utf8(rest) {
            Ok(word) => word,
            Err(_) => name,
        },
        _ => name,
    }
}

macro_rules! records {
    ($(
        $(#[doc = $doc:literal])+
        $id:literal $class:ident $variant:ident $name:ident { $($field:ident : $type:ident),* }
    )+) => {
        /// The table, ordered by id.
        pub const SPECS: &[Spec] = &[$(
            Spec {
                id: $id,
                class: Class::$class,
                name: word(stringify!($name)),
                fields: &[$((stringify!($field), FieldType::$type)),*],
                doc: concat!($($doc),+),
            },
        )+];

        /// What a record says. References are local to the chunk.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "the fields are described in the record's own line")]
        pub enum Body<'a> {
            $( $(#[doc = $doc])+ $variant { $($field: <types::$type as Field>::Value<'a>),* }, )+
            /// A record of a later minor version, stepped over with the file's own table.
            Foreign { id: u8, class: Class, bytes: &'a [u8] },
        }

        impl Body<'_> {
            /// The record's id.
            pub fn id(&self) -> u8 {
                match self {
                    $( Body::$variant { .. } => $id, )+
                    Body::Foreign { id, .. } => *id,
                }
            }

            /// What the record is to the stream.
            pub fn class(&self) -> Class {
                match self {
                    $( Body::$variant { .. } => Class::$class, )+
                    Body::Foreign { class, .. } => *class,
                }
            }

            /// Shows what its fields refer to, in their order; of a record of a later version
            /// nothing.
            #[inline]
            pub fn references<'a>(&'a self, mut look: impl FnMut(Refers<'a>)) {
                match *self {
                    $( Body::$variant { $($field),* } => { $( <types::$type as Field>::refers($field, &mut look); )* } )+
                    Body::Foreign { .. } => {}
                }
            }
        }

        /// Writers, one for each record: the time delta (ignored by classes
        /// without time), then the fields. A record is written whole or not at all.
        pub mod write {
            use super::*;
            $(
                $(#[doc = $doc])+
                #[inline(always)]
                #[allow(clippy::too_many_arguments, reason = "one for each field of the record")]
                pub fn $name<S: Sink>(
                    sink: &mut S, delta: u64 $(, $field: <types::$type as Field>::Arg<'_>)*
                ) -> Result<(), Full> {
                    let max = 1 + MAX_VARINT $(+ <types::$type as Field>::max_len($field))*;
                    let mut put = sink.space(max)?;
                    put.byte($id);
                    if Class::$class.timed() { put.varint(delta); }
                    $( <types::$type as Field>::encode($field, &mut put); )*
                    let used = put.used();
                    sink.keep(max, used);
                    Ok(())
                }
            )+
        }

        /// A record of that id through its writer, all fields taken from `sample`.
        #[cfg(test)]
        fn write_sample(id: u8, delta: u64, sample: tests::Sample<'_>) -> Vec<u8> {
            let mut bytes = Vec::new();
            let written = match id {
                $( $id => write::$name(&mut bytes, delta $(, <types::$type as tests::Sampled>::pick(sample, stringify!($field)))*), )+
                _ => Err(Full),
            };
            written.expect("an id of the table");
            bytes
        }

        impl<'a> Record<'a> {
            /// Reads the next record. `schema` knows ids that this version does not.
            #[inline]
            pub fn decode(cursor: &mut Cursor<'a>, schema: &Schema) -> Result<Self, DecodeError> {
                let offset = cursor.offset();
                let id = cursor.byte()?;
                match id {
                    $(
                        $id => {
                            let delta = if Class::$class.timed() { cursor.varint()? } else { 0 };
                            $( let $field = <types::$type as Field>::decode(cursor)?; )*
                            Ok(Record { delta, body: Body::$variant { $($field),* } })
                        }
                    )+
                    _ => schema.step_over(id, offset, cursor),
                }
            }
        }
    };
}

records! {
    /// The next atom number stands for this text.
    1 Define DefineAtom define_atom { text: Text }
    /// The next function number stands for this function.
    2 Define DefineFunction define_function { module: Atom, name: Atom, arity: Uint }
    /// The next reference number stands for this reference: its numbers as differences, see
    /// References.
    3 Define DefineReference define_reference { numbers: Words }

    /// Events from here on are of the process (pid word, see Identities).
    8 Context Process process { pid: Uint }
    /// Events from here on are of the port (port word).
    9 Context Port port { port: Uint }
    /// Events from here on are of no process (a sequential trace print).
    10 Context Nobody nobody { }

    /// What the match specification's `message` action said, when not `true`.
    16 Annotate MatchResult match_result { value: Term }
    /// What was passed: arguments (a list), message, return value, exception value.
    17 Annotate Content content { value: Term }
    /// Events were dropped on this lane: the first `since` ticks before this one,
    /// the last at most `lasted` ticks later, so many of them.
    18 Annotate Dropped dropped { since: Uint, lasted: Uint, events: Uint }
    /// Events of this process were dropped since its event before; of any, if `any` is not 0.
    19 Annotate Missing missing { any: Uint }
    /// The message sent or received is of a shape of Message shapes; the reference it
    /// carries, or `none`. Nothing else of it.
    20 Annotate Message message { shape: Uint, reference: Term }
    /// As `message`; `reference` is 1 + the number of a reference of this chunk.
    21 Annotate MessageOf message_of { shape: Uint, reference: Uint }
    /// As `message_of` with the shape `reply`; the message is sent to this very reference,
    /// an alias: that is what `to` is, where `none` stands.
    22 Annotate ReplyToAlias reply_to_alias { reference: Uint }

    /// A function was called.
    32 Event Call call { function: Function }
    /// Execution resumed in the function, after one or more calls; 0 when unknown.
    33 Event ReturnTo return_to { function: Function }
    /// The function returned (`return_trace`, `exception_trace`).
    34 Event ReturnFrom return_from { function: Function }
    /// The function was left by an exception of the class (`exception_trace`).
    35 Event ExceptionFrom exception_from { function: Function, class: Atom }
    /// The process was scheduled in, at the function; 0 when unknown.
    36 Event In in_ { function: Function }
    /// The process was scheduled out.
    37 Event Out out { function: Function }
    /// The exiting process was scheduled in.
    38 Event InExiting in_exiting { function: Function }
    /// The exiting process was scheduled out.
    39 Event OutExiting out_exiting { function: Function }
    /// The exiting process was scheduled out for good.
    40 Event OutExited out_exited { function: Function }
    /// The port was scheduled in for the operation; 0 when unknown.
    41 Event PortIn port_in { operation: Atom }
    /// The port was scheduled out.
    42 Event PortOut port_out { operation: Atom }
    /// A minor collection began; sizes in words, in the order of GC sizes.
    43 Event GcMinorStart gc_minor_start { sizes: Words }
    /// A minor collection ended; `wordsize` is what was reclaimed.
    44 Event GcMinorEnd gc_minor_end { sizes: Words }
    /// A major collection began.
    45 Event GcMajorStart gc_major_start { sizes: Words }
    /// A major collection ended.
    46 Event GcMajorEnd gc_major_end { sizes: Words }
    /// The process is about to exceed its maximum heap size.
    47 Event GcMaxHeapSize gc_max_heap_size { sizes: Words }
    /// The process spawned a process that begins in the function.
    48 Event Spawn spawn { child: Term, function: Function }
    /// The process was spawned by its parent and begins in the function.
    49 Event Spawned spawned { parent: Term, function: Function }
    /// The process exits.
    50 Event Exit exit { reason: Term }
    /// The process or port was registered under a name.
    51 Event Register register { name: Atom }
    /// The process or port lost its name.
    52 Event Unregister unregister { name: Atom }
    /// The process linked itself to another.
    53 Event Link link { to: Term }
    /// The process removed its link.
    54 Event Unlink unlink { to: Term }
    /// The process was linked to by another.
    55 Event GettingLinked getting_linked { to: Term }
    /// The process's link was removed by another.
    56 Event GettingUnlinked getting_unlinked { to: Term }
    /// The process sent a message.
    57 Event Send send { to: Term }
    /// The process sent a message to a process that does not exist.
    58 Event SendToNonExisting send_to_non_existing_process { to: Term }
    /// A message was moved to the queue that `receive` looks at.
    59 Event Receive receive { }
    /// A `receive` ran into its `after`, or a port's timer fired.
    60 Event Timeout timeout { }
    /// The port was opened by the caller, running the driver.
    61 Event Open open { caller: Term, driver: Atom }
    /// The port was closed.
    62 Event Closed closed { reason: Term }
    /// A sequential trace: kind is `send`, `receive` or `print`.
    63 Event SeqTrace seq_trace { label: Term, kind: Atom, previous: Uint, current: Uint, from: Term, to: Term }
    /// An event with a tag that this recorder does not know.
    64 Event Unknown unknown { tag: Atom, term: Term }

    /// What is known of a process: 0, `none` or 0 for what is not.
    96 Info ProcessInfo process_info { pid: Uint, parent: Term, name: Atom, label: Term, initial_call: Function }
    /// A remark of the recorder: what happened to the recording itself.
    97 Info Note note { what: Atom, detail: Term }
}

/// The order of the numbers in the `sizes` of garbage collection events: the
/// names that the VM gives them. New names are only appended.
pub const GC_SIZES: [&str; 12] = [
    "wordsize",
    "heap_size",
    "heap_block_size",
    "old_heap_size",
    "old_heap_block_size",
    "stack_size",
    "recent_size",
    "mbuf_size",
    "bin_vheap_size",
    "bin_vheap_block_size",
    "bin_old_vheap_size",
    "bin_old_vheap_block_size",
];

/// The shapes of messages that [`Body::Message`] numbers, and where the reference
/// stands in them. New shapes are only appended.
pub const MESSAGE_SHAPES: [(&str, &str); 7] = [
    (
        "call",
        "{'$gen_call', {_, Tag}, _}, Tag being Ref, [alias | Ref], [[alias | _] | Ref] or {Ref, Node}, of which it is all",
    ),
    ("cast", "{'$gen_cast', _}: none"),
    ("reply", "{Tag, _}"),
    ("down", "{'DOWN', Ref, _, _, _}"),
    ("event_call", "{Pid, {Pid, Tag}, _}, to a gen_event"),
    ("notify", "{notify, _}, to a gen_event: none"),
    ("system", "{system, {_, Tag}, _}"),
];

/// The shape of [`Body::ReplyToAlias`], a place in [`MESSAGE_SHAPES`].
pub const REPLY_SHAPE: u64 = 2;

/// The id of a record that is in the table.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
pub(crate) const fn id_of(name: &str) -> u8 {
    let mut row = 0;
    while row < SPECS.len() {
        if is_same(SPECS[row].name.as_bytes(), name.as_bytes()) {
            return SPECS[row].id;
        }
        row += 1;
    }
    panic!("no record has this name")
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// The row of an id.
pub fn spec(id: u8) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.id == id)
}

/// The table of a file, as far as it goes beyond [`SPECS`].
#[derive(Debug, Clone, Default)]
pub struct Schema {
    foreign: Vec<ForeignSpec>,
}

/// A row that only the file knows.
#[derive(Debug, Clone)]
pub struct ForeignSpec {
    /// First byte of the record.
    pub id: u8,
    /// What it is to the stream.
    pub class: Class,
    /// Its name.
    pub name: String,
    /// Its fields.
    pub fields: Vec<(String, FieldType)>,
}

impl Schema {
    /// The table as text, one record a line: `ID CLASS NAME FIELD:TYPE ...`.
    pub fn own_text() -> String {
        let mut text = String::new();
        for spec in SPECS {
            let fields: String = spec.fields.iter().map(|(n, t)| format!(" {n}:{}", t.name())).collect();
            let class = format!("{:?}", spec.class).to_lowercase();
            text.push_str(&format!("{} {class} {}{fields}\n", spec.id, spec.name));
        }
        text
    }

    /// Reads the table of a file; lines that cannot be understood are left out,
    /// their records will then be [`DecodeError::UnknownRecord`].
    pub fn parse(text: &str) -> Schema {
        let foreign = text.lines().filter_map(parse_line).filter(|row| spec(row.id).is_none()).collect();
        Schema { foreign }
    }

    /// The rows that only the file knows.
    pub(crate) fn rows(&self) -> &[ForeignSpec] {
        &self.foreign
    }

    /// The row of an id that only the file knows.
    pub fn foreign(&self, id: u8) -> Option<&ForeignSpec> {
        self.foreign.iter().find(|spec| spec.id == id)
    }

    #[cold]
    fn step_over<'a>(&self, id: u8, offset: usize, cursor: &mut Cursor<'a>) -> Result<Record<'a>, DecodeError> {
        let spec = self.foreign(id).ok_or(DecodeError::UnknownRecord { offset, id })?;
        let delta = if spec.class.timed() { cursor.varint()? } else { 0 };
        let start = cursor.offset();
        for (_, field) in &spec.fields {
            field.skip(cursor)?;
        }
        Ok(Record { delta, body: Body::Foreign { id, class: spec.class, bytes: cursor.since(start) } })
    }
}

fn parse_line(line: &str) -> Option<ForeignSpec> {
    let mut words = line.split_ascii_whitespace();
    let id = words.next()?.parse().ok()?;
    let class = match words.next()? {
        "define" => Class::Define,
        "context" => Class::Context,
        "annotate" => Class::Annotate,
        "event" => Class::Event,
        "info" => Class::Info,
        _ => return None,
    };
    let name = words.next()?.to_owned();
    let fields = words
        .map(|word| word.split_once(':').and_then(|(n, t)| Some((n.to_owned(), FieldType::parse(t)?))))
        .collect::<Option<Vec<_>>>()?;
    Some(ForeignSpec { id, class, name, fields })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A value of each type that a field can have.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::record) struct Sample<'a> {
        uint: u64,
        text: &'a str,
        term: RawTerm<'a>,
        words: &'a [u64],
    }

    /// Takes a field's value from a sample. Numbers depend on the field's name,
    /// so that two of them in one record are not mistaken for each other.
    pub(in crate::record) trait Sampled: Field {
        fn pick<'a>(sample: Sample<'a>, field: &str) -> Self::Arg<'a>;
    }

    fn number(sample: Sample<'_>, field: &str) -> u64 {
        sample.uint.rotate_left(u32::from(field.as_bytes()[0]))
    }

    macro_rules! sampled {
        ($($name:ident $pick:expr),*) => { $(
            impl Sampled for types::$name {
                fn pick<'a>(sample: Sample<'a>, field: &str) -> Self::Arg<'a> {
                    let pick: for<'b> fn(Sample<'b>, &str) -> <types::$name as Field>::Arg<'b> = $pick;
                    pick(sample, field)
                }
            }
        )* };
    }
    sampled!(Uint number, Atom number, Function number, Text |s, _| s.text, Term |s, _| s.term, Words |s, _| s.words);

    /// The same record, written from the table alone.
    fn by_the_table(spec: &Spec, delta: u64, sample: Sample<'_>) -> Vec<u8> {
        let mut bytes = vec![spec.id];
        let varint = |bytes: &mut Vec<u8>, n| {
            let mut put = bytes.space(MAX_VARINT).expect("a Vec is never full");
            put.varint(n);
            let used = put.used();
            bytes.keep(MAX_VARINT, used);
        };
        if spec.class.timed() {
            varint(&mut bytes, delta);
        }
        for (name, kind) in spec.fields {
            match kind {
                FieldType::Uint | FieldType::Atom | FieldType::Function => varint(&mut bytes, number(sample, name)),
                FieldType::Text => {
                    varint(&mut bytes, sample.text.len() as u64);
                    bytes.extend_from_slice(sample.text.as_bytes());
                }
                FieldType::Term => bytes.extend_from_slice(sample.term.bytes()),
                FieldType::Words => {
                    varint(&mut bytes, sample.words.len() as u64);
                    sample.words.iter().for_each(|word| varint(&mut bytes, *word));
                }
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn every_record_is_written_as_the_table_says_and_read_whole(
            delta: u64, uint: u64, text: String, words in prop::collection::vec(any::<u64>(), 0..20), integer: i64,
        ) {
            let mut space = [0; 64];
            let mut writer = term::TermWriter::new(&mut space);
            writer.integer(integer);
            let used = writer.len();
            let sample = Sample { uint, text: &text, term: RawTerm::trusted(&space[..used]), words: &words };
            for spec in SPECS {
                let bytes = write_sample(spec.id, delta, sample);
                prop_assert_eq!(&bytes, &by_the_table(spec, delta, sample), "{}", spec.name);
                let mut cursor = Cursor::new(&bytes);
                let record = Record::decode(&mut cursor, &Schema::default());
                let record = record.map_err(|error| TestCaseError::fail(format!("{}: {error}", spec.name)))?;
                prop_assert!(cursor.is_empty());
                prop_assert_eq!((record.body.id(), record.body.class()), (spec.id, spec.class));
                prop_assert_eq!(record.delta, if spec.class.timed() { delta } else { 0 });
            }
        }
    }

    #[test]
    fn ids_are_ordered_and_unique() {
        assert!(SPECS.windows(2).all(|pair| pair[0].id < pair[1].id));
        assert!(SPECS[0].id > 0, "id 0 stays free: it is what unwritten bytes look like");
    }

    #[test]
    fn a_call_takes_four_bytes_at_usual_distances() {
        let mut bytes = Vec::new();
        write::call(&mut bytes, 600, 5).expect("a Vec is never full");
        assert_eq!(bytes, [32, 0xd8, 0x04, 5]);
    }

    #[test]
    fn a_later_record_is_stepped_over_with_the_files_table() {
        let schema = Schema::parse("200 event later who:term n:uint\n201 nonsense x\n");
        let mut bytes = vec![200, 7, 7, 9];
        write::receive(&mut bytes, 1).expect("a Vec is never full");
        let mut cursor = Cursor::new(&bytes);
        let later = Record::decode(&mut cursor, &schema).expect("known from the file");
        assert_eq!(later, Record { delta: 7, body: Body::Foreign { id: 200, class: Class::Event, bytes: &[7, 9] } });
        let receive = Record::decode(&mut cursor, &schema).expect("a record of this version");
        assert_eq!(receive, Record { delta: 1, body: Body::Receive {} });
        assert_eq!(
            Record::decode(&mut Cursor::new(&[201]), &schema),
            Err(DecodeError::UnknownRecord { offset: 0, id: 201 })
        );
    }

    #[test]
    fn the_own_table_parses_as_nothing_foreign() {
        assert!(Schema::parse(&Schema::own_text()).foreign.is_empty());
        assert_eq!(Schema::own_text().lines().filter_map(parse_line).count(), SPECS.len());
    }
}
