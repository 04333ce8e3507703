//! The long way of an event: any kind, with whatever is to be said of it.

use spoor_core::governor::{About, Flow, function_key};
use spoor_core::lane::Lane;
use spoor_core::stream::Stream;
use spoor_format::Full;
use spoor_format::chunk::Identity;
use spoor_format::record::{GC_SIZES, write};
use spoor_format::term::RawTerm;

use crate::atoms::{self, Atom};
use crate::collections::gc_sizes;
use crate::initial::initial_function;
use crate::tracer::{Arguments, function_of, identity, tracee_number};
use crate::values;
use crate::vm::{self, Env, Kind, VmNames, Word};
use crate::wire;

/// Stores an event.
#[inline(never)]
pub(crate) fn store(lane: &mut Lane, env: Env, tick: u64, arguments: Arguments) {
    let (tag, tracee, term) = (arguments.tag(), arguments.tracee(), arguments.term());
    Offered { env, tick, tag, tracee, term, options: arguments.options() }.store(lane);
}

/// An event as the VM offers it.
#[derive(Clone, Copy)]
struct Offered {
    env: Env,
    tick: u64,
    tag: Word,
    tracee: Word,
    term: Word,
    options: Word,
}

/// Bytes of the label of a sequential trace that are kept.
const LABEL_BYTES: usize = 128;

/// What is written for an event; `content` is what it passes, `extra` the VM's
/// second term.
type Writer = fn(&Offered, &mut Stream, u64) -> Result<(), Full>;

/// Where what an event passes is found.
#[derive(Debug, Clone, Copy)]
enum Passes {
    Nothing,
    Term,
    Extra,
    ExceptionValue,
    SequentialMessage,
}

/// How the events are written that are not in the way of every call; frequent
/// ones first.
static RARE: [(&Atom, Writer, Passes); 28] = [
    (&atoms::RECEIVE, Offered::receive, Passes::Term),
    (&atoms::SEND, |o, s, d| o.with_term(s, o.extra(), |s, to| write::send(s, d, to)), Passes::Term),
    (&atoms::RETURN_FROM, |o, s, d| o.with_function(s, |s, f| write::return_from(s, d, f)), Passes::Extra),
    (
        &atoms::GC_MINOR_START,
        |o, s, d| write::gc_minor_start(s, d, &gc_sizes(o.term)[..GC_SIZES.len()]),
        Passes::Nothing,
    ),
    (&atoms::GC_MINOR_END, |o, s, d| write::gc_minor_end(s, d, &gc_sizes(o.term)[..GC_SIZES.len()]), Passes::Nothing),
    (
        &atoms::GC_MAJOR_START,
        |o, s, d| write::gc_major_start(s, d, &gc_sizes(o.term)[..GC_SIZES.len()]),
        Passes::Nothing,
    ),
    (&atoms::GC_MAJOR_END, |o, s, d| write::gc_major_end(s, d, &gc_sizes(o.term)[..GC_SIZES.len()]), Passes::Nothing),
    (
        &atoms::GC_MAX_HEAP_SIZE,
        |o, s, d| write::gc_max_heap_size(s, d, &gc_sizes(o.term)[..GC_SIZES.len()]),
        Passes::Nothing,
    ),
    (&atoms::IN, |o, s, d| o.with_atom(s, |s, op| write::port_in(s, d, op)), Passes::Nothing),
    (&atoms::OUT, |o, s, d| o.with_atom(s, |s, op| write::port_out(s, d, op)), Passes::Nothing),
    (&atoms::SPAWN, |o, s, d| o.with_other_and_function(s, |s, c, f| write::spawn(s, d, c, f)), Passes::Nothing),
    (&atoms::SPAWNED, |o, s, d| o.with_other_and_function(s, |s, p, f| write::spawned(s, d, p, f)), Passes::Nothing),
    (&atoms::EXIT, |o, s, d| o.with_term(s, o.term, |s, why| write::exit(s, d, why)), Passes::Nothing),
    (&atoms::LINK, |o, s, d| o.with_term(s, o.term, |s, to| write::link(s, d, to)), Passes::Nothing),
    (&atoms::UNLINK, |o, s, d| o.with_term(s, o.term, |s, to| write::unlink(s, d, to)), Passes::Nothing),
    (
        &atoms::GETTING_LINKED,
        |o, s, d| o.with_term(s, o.term, |s, to| write::getting_linked(s, d, to)),
        Passes::Nothing,
    ),
    (
        &atoms::GETTING_UNLINKED,
        |o, s, d| o.with_term(s, o.term, |s, to| write::getting_unlinked(s, d, to)),
        Passes::Nothing,
    ),
    (&atoms::REGISTER, |o, s, d| o.with_atom(s, |s, name| write::register(s, d, name)), Passes::Nothing),
    (&atoms::UNREGISTER, |o, s, d| o.with_atom(s, |s, name| write::unregister(s, d, name)), Passes::Nothing),
    (&atoms::EXCEPTION_FROM, Offered::exception_from, Passes::ExceptionValue),
    (&atoms::IN_EXITING, |o, s, d| o.with_function(s, |s, f| write::in_exiting(s, d, f)), Passes::Nothing),
    (&atoms::OUT_EXITING, |o, s, d| o.with_function(s, |s, f| write::out_exiting(s, d, f)), Passes::Nothing),
    (&atoms::OUT_EXITED, |o, s, d| o.with_function(s, |s, f| write::out_exited(s, d, f)), Passes::Nothing),
    (
        &atoms::SEND_TO_NON_EXISTING,
        |o, s, d| o.with_term(s, o.extra(), |s, to| write::send_to_non_existing_process(s, d, to)),
        Passes::Term,
    ),
    (&atoms::OPEN, Offered::open, Passes::Nothing),
    (&atoms::CLOSED, |o, s, d| o.with_term(s, o.term, |s, why| write::closed(s, d, why)), Passes::Nothing),
    (&atoms::TIMEOUT, |_, s, d| write::timeout(s, d), Passes::Nothing),
    (&atoms::SEQ_TRACE, Offered::seq_trace, Passes::SequentialMessage),
];

impl Offered {
    #[inline(always)]
    fn is(&self, tag: &Atom) -> bool {
        self.tag == tag.word()
    }

    fn store(&self, lane: &mut Lane) {
        if self.is(&atoms::CALL) {
            self.store_call(lane);
        } else if self.is(&atoms::RETURN_TO) {
            self.store_function(lane, write::return_to);
        } else if self.is(&atoms::IN) && vm::kind(self.tracee) == Kind::Pid {
            self.store_function(lane, write::in_);
        } else if self.is(&atoms::OUT) && vm::kind(self.tracee) == Kind::Pid {
            self.store_function(lane, write::out);
        } else {
            self.store_rare(lane);
        }
    }

    fn store_call(&self, lane: &mut Lane) {
        let content = lane.content_bytes();
        lane.event_about(
            self.tick,
            || self.about(),
            |stream, delta| {
                self.whose(stream)?;
                if content > 0
                    && let Some(arguments) = vm::arguments(self.term)
                {
                    self.content(stream, arguments, content)?;
                }
                self.match_result(stream)?;
                let function = self.function(stream, self.term)?;
                write::call(stream, delta, function)
            },
        );
    }

    fn store_function(&self, lane: &mut Lane, write: impl Fn(&mut Stream, u64, u64) -> Result<(), Full> + Copy) {
        lane.event_about(
            self.tick,
            || self.about(),
            |stream, delta| {
                self.whose(stream)?;
                let function = self.function(stream, self.term)?;
                write(stream, delta, function)
            },
        );
    }

    /// What a recording that is thinned wants to know.
    #[inline(never)]
    fn about(&self) -> About {
        let key = |term| vm::function(term).map_or(0, function_key);
        let flow = match self.tag {
            tag if tag == atoms::CALL.word() => Flow::Call(key(self.term)),
            tag if tag == atoms::RETURN_TO.word() => Flow::Resume(key(self.term)),
            tag if tag == atoms::RETURN_FROM.word() || tag == atoms::EXCEPTION_FROM.word() => {
                Flow::Leave(key(self.term))
            }
            tag if tag == atoms::EXIT.word() => Flow::Exit,
            _ => Flow::Other,
        };
        // A sequential trace has its label there, which may be anything.
        let tracee = if self.is(&atoms::SEQ_TRACE) { None } else { tracee_number(self.tracee) };
        About { tracee, flow }
    }

    /// The following record is the tracee's.
    fn whose(&self, stream: &mut Stream) -> Result<(), Full> {
        stream.whose_word(self.tracee, identity)
    }

    fn function(&self, stream: &mut Stream, term: Word) -> Result<u64, Full> {
        function_of(self.env, stream, term)
    }

    /// The reference of an atom; 0 for anything else.
    fn atom(&self, stream: &mut Stream, term: Word) -> Result<u64, Full> {
        if vm::is_atom(term) { stream.atom(term, &VmNames(self.env)) } else { Ok(0) }
    }

    fn option(&self, key: &Atom) -> Option<Word> {
        vm::map_value(self.env, self.options, key.word())
    }

    fn extra(&self) -> Word {
        self.option(&atoms::EXTRA).unwrap_or(vm::NIL)
    }

    /// What the match specification said, if it said anything.
    fn match_result(&self, stream: &mut Stream) -> Result<(), Full> {
        if vm::map_size(self.env, self.options) == 0 {
            return Ok(());
        }
        match self.option(&atoms::MATCH_SPEC_RESULT) {
            Some(value) if value != atoms::TRUE.word() => store_match_result(self.env, stream, value),
            _ => Ok(()),
        }
    }

    /// By itself for the room it needs.
    #[inline(never)]
    fn content(&self, stream: &mut Stream, value: Word, limit: usize) -> Result<(), Full> {
        values::full(stream, self.env, value, limit, |s, value| write::content(s, 0, value))
    }

    /// Events that are not in the way of every call.
    #[inline(never)]
    fn store_rare(&self, lane: &mut Lane) {
        let (writer, passes) = self.writer();
        let limit = lane.content_bytes();
        let content = if limit > 0 { self.passed(passes).map(|value| (value, limit)) } else { None };
        lane.event_about(
            self.tick,
            || self.about(),
            |stream, delta| {
                // A sequential trace has its label where others have the tracee.
                if self.is(&atoms::SEQ_TRACE) {
                    stream.whose(Identity::Nobody)?
                } else {
                    self.whose(stream)?
                }
                if let Some((value, limit)) = content {
                    self.content(stream, value, limit)?;
                }
                self.match_result(stream)?;
                if matches!(passes, Passes::Term) {
                    wire::annotate(stream, self.env, self.term)?;
                }
                writer(self, stream, delta)
            },
        );
        self.store_facts(lane);
    }

    /// How the event is written, and where what it passes is found.
    #[inline(always)]
    fn writer(&self) -> (Writer, Passes) {
        let found = RARE.iter().find(|(tag, ..)| self.is(tag));
        found.map_or((Self::unknown as Writer, Passes::Nothing), |(_, writer, passes)| (*writer, *passes))
    }

    fn passed(&self, passes: Passes) -> Option<Word> {
        match passes {
            Passes::Nothing => None,
            Passes::Term => Some(self.term),
            Passes::Extra => Some(self.extra()),
            Passes::ExceptionValue => self.exception_value(),
            Passes::SequentialMessage => self.sequential_message(),
        }
    }

    fn with_function(
        &self,
        s: &mut Stream,
        write: impl FnOnce(&mut Stream, u64) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let function = self.function(s, self.term)?;
        write(s, function)
    }

    fn with_atom(&self, s: &mut Stream, write: impl FnOnce(&mut Stream, u64) -> Result<(), Full>) -> Result<(), Full> {
        let atom = self.atom(s, self.term)?;
        write(s, atom)
    }

    fn with_term(
        &self,
        s: &mut Stream,
        term: Word,
        write: impl FnOnce(&mut Stream, RawTerm<'_>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        values::shape(s, self.env, term, write)
    }

    fn with_other_and_function(
        &self,
        s: &mut Stream,
        write: impl FnOnce(&mut Stream, RawTerm<'_>, u64) -> Result<(), Full>,
    ) -> Result<(), Full> {
        let function = self.function(s, self.extra())?;
        self.with_term(s, self.term, |s, other| write(s, other, function))
    }

    fn receive(&self, s: &mut Stream, delta: u64) -> Result<(), Full> {
        // A receive that timed out comes as a message `timeout`; so does a real
        // message of that name, which the VM does not tell apart.
        if self.term == atoms::TIMEOUT.word() { write::timeout(s, delta) } else { write::receive(s, delta) }
    }

    fn exception_from(&self, s: &mut Stream, delta: u64) -> Result<(), Full> {
        let class = vm::tuple(self.extra()).and_then(|pair| pair.first().copied()).unwrap_or(vm::NIL);
        let class = self.atom(s, class)?;
        self.with_function(s, |s, function| write::exception_from(s, delta, function, class))
    }

    fn exception_value(&self) -> Option<Word> {
        vm::tuple(self.extra()).and_then(|pair| pair.get(1).copied())
    }

    fn open(&self, s: &mut Stream, delta: u64) -> Result<(), Full> {
        let driver = self.atom(s, self.extra())?;
        self.with_term(s, self.term, |s, caller| write::open(s, delta, caller, driver))
    }

    /// `{Kind, {Previous, Current}, From, To, Message}`.
    fn seq_trace(&self, s: &mut Stream, delta: u64) -> Result<(), Full> {
        let Some(&[kind, serial, from, to, _]) = vm::tuple(self.term) else { return self.unknown(s, delta) };
        let number = |place: usize| {
            let number = vm::tuple(serial).and_then(|pair| pair.get(place).copied()).and_then(vm::small);
            number.unwrap_or(0) as u64
        };
        let kind = self.atom(s, kind)?;
        // A label is what the user calls the trace by.
        values::full(s, self.env, self.tracee, LABEL_BYTES, |s, label| {
            values::shape(s, self.env, from, |s, from| {
                values::shape(s, self.env, to, |s, to| {
                    write::seq_trace(s, delta, label, kind, number(0), number(1), from, to)
                })
            })
        })
    }

    fn sequential_message(&self) -> Option<Word> {
        vm::tuple(self.term).and_then(|parts| parts.get(4).copied())
    }

    fn unknown(&self, s: &mut Stream, delta: u64) -> Result<(), Full> {
        let tag = self.atom(s, self.tag)?;
        self.with_term(s, self.term, |s, term| write::unknown(s, delta, tag, term))
    }

    /// What a process is called outlives the event that said so: it goes to the
    /// info ring too, which turns much more slowly.
    fn store_facts(&self, lane: &mut Lane) {
        if vm::kind(self.tracee) != Kind::Pid {
            return;
        }
        let pid = vm::identity_word(self.tracee);
        if self.is(&atoms::SPAWNED) {
            lane.info(self.tick, |s, delta| {
                let function = match initial_function(self.extra()) {
                    Some(function) => s.function(function, &VmNames(self.env))?,
                    None => 0,
                };
                self.with_term(s, self.term, |s, parent| {
                    write::process_info(s, delta, pid, parent, 0, RawTerm::NONE, function)
                })
            });
        } else if self.is(&atoms::REGISTER) {
            lane.info(self.tick, |s, delta| {
                self.with_atom(s, |s, name| write::process_info(s, delta, pid, RawTerm::NONE, name, RawTerm::NONE, 0))
            });
        }
    }
}

/// By itself for the room it needs.
#[inline(never)]
fn store_match_result(env: Env, stream: &mut Stream, value: Word) -> Result<(), Full> {
    // The user wrote this `message` action: it is asked for.
    let limit = values::MAX_TERM_BYTES / 4;
    values::full(stream, env, value, limit, |s, value| write::match_result(s, 0, value))
}
