//! The one table of everything a chunk can say.
//!
//! Ids are only ever appended; a record never changes its fields. Writers call
//! the functions of [`mod@write`], readers match on [`Body`], tools walk [`SPECS`],
//! and a test holds `docs/FORMAT.md` to the same table. A recording carries the
//! table as text in its meta section, so that an older reader can step over
//! (and even print) records that came after it: see [`Schema`].

mod field;
mod schema;

use crate::DecodeError;
use crate::codec::{Cursor, Full, MAX_VARINT, Sink};

pub use field::{Field, FieldType, RawWords, Refers, types};
pub use schema::{ForeignSpec, Schema};

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::term::{self, RawTerm};

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
}
