//! Messages: who sends what to whom, and where they pile up.
//!
//! A message is *on its way* from its `send` to the `receive` event of the process
//! that it is for: the VM writes that when the process takes it into the queue that
//! `receive` looks at. A process that is busy does not, and so messages pile up.
//! Delays pair the first message sent with the first that came: right for one
//! sender, and for the sum over several. A reply to an alias names no process: its
//! reference tells whose it was, once it comes.

mod queue;

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;
use spoor_format::record::Body;

use crate::model::filter::EventFilter;
use crate::model::group::Groups;
use crate::model::processes::{Known, Processes};
use crate::model::replies::{Replies, receiver, reply_to_alias};
use crate::model::requests::key::Key;
use crate::model::slots::{Exited, Slots};
use crate::read::{Event, Recording, TraceeId, kind};
use queue::Queue;
pub use queue::QueueRow;

/// To whom replies go that are joined with no process.
const ALIASES: &str = "aliases";
const ALIASES_ELSEWHERE: &str = "aliases of other nodes";
/// Queues of processes that are listed: of more, the longest.
pub const MOST_ROWS: usize = 1 << 13;

/// Messages, over one recording after the other.
#[derive(Debug, Default)]
pub struct Msgs {
    groups: Groups,
    /// The threads that are asked for: what is sent and comes on others is not counted.
    lanes: EventFilter,
    pairs: BTreeMap<(u32, To), Pair>,
    others: Vec<String>,
    other_numbers: HashMap<String, u32>,
    /// Sent by a process that is not asked for, to one that may be.
    to_others: HashMap<TraceeId, HashMap<u32, Pair>>,
    replies: Replies<Reply>,
    queues: HashMap<TraceeId, Queue>,
    exited: Exited,
    rows: Vec<QueueRow>,
    rows_found: usize,
    received: u64,
    /// The recording says when a process takes a message.
    knows_receives: bool,
    /// Who had events.
    seen: Slots<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum To {
    Group(u32),
    /// Not a process of this VM that is known: a port, a name, another node.
    Other(u32),
}

#[derive(Debug, Default, Clone, Copy)]
struct Pair {
    messages: u64,
    lost: u64,
    sized: u64,
    bytes: u64,
}

/// A reply to an alias: sent by whom, and when.
#[derive(Debug, Clone, Copy)]
struct Reply {
    from: u32,
    time: u64,
    pair: Pair,
    asked_for: bool,
    /// It was sent on a thread that is asked for.
    here: bool,
}

/// Messages between two groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PairRow {
    /// Who sent.
    pub from: String,
    /// To whom.
    pub to: String,
    /// How many.
    pub messages: u64,
    /// Of these, sent to a process that did not exist.
    pub to_nobody: u64,
    /// Bytes of those that were recorded with their content, as far as it was kept;
    /// null when none was.
    pub recorded_bytes: Option<u64>,
}

/// The report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// `send` events.
    pub sent: u64,
    /// `receive` events.
    pub received: u64,
    /// Between groups, the most first.
    pub pairs: Vec<PairRow>,
    /// How many there are, shown or not.
    pub pairs_found: usize,
    /// Processes by their longest queue.
    pub queues: Vec<QueueRow>,
    /// How many there are, shown or not: no more than some thousands are.
    pub queues_found: usize,
}

impl Msgs {
    /// Processes stand in `groups`.
    pub fn new(groups: Groups) -> Msgs {
        Msgs { groups, ..Msgs::default() }
    }

    /// A recording begins: of these threads.
    pub fn begin(&mut self, lanes: EventFilter) {
        self.lanes = lanes;
    }

    /// Takes an event; one that is not asked for counts for queues only. `takes` says whether a
    /// process is asked for.
    pub fn event(
        &mut self,
        event: &Event<'_>,
        processes: &Processes,
        asked_for: bool,
        takes: &mut dyn FnMut(TraceeId) -> bool,
    ) {
        *self.seen.entry(event.tracee.0) = true;
        match event.kind {
            kind::SEND | kind::SEND_TO_NON_EXISTING => self.send(event, processes, asked_for, takes),
            kind::RECEIVE => {
                self.knows_receives = true;
                self.received += u64::from(asked_for);
                let here = self.lanes.takes_lane(event.lane);
                let reply = self.reply_that_comes(event, processes, takes(event.tracee));
                let queue = self.queues.entry(event.tracee).or_default();
                queue.asked_for |= asked_for;
                match reply {
                    Some((sent, sent_here)) => queue.reply_came(sent, event.time, sent_here, here),
                    None => queue.came(event, here),
                }
            }
            kind::EXIT => self.exits(event, processes),
            kind::SPAWNED => {
                self.queues.get_mut(&event.tracee).into_iter().for_each(|queue| queue.exited_at = None);
            }
            _ => {}
        }
    }

    /// The queues of those that exited long ago become rows.
    fn exits(&mut self, event: &Event<'_>, processes: &Processes) {
        if let Some(queue) = self.queues.get_mut(&event.tracee) {
            queue.exited_at = Some(event.time);
        }
        let Some((number, time)) = self.exited.push(event.tracee.0, event.time) else { return };
        let tracee = TraceeId(number);
        let gone = self.queues.get(&tracee).is_some_and(|queue| queue.exited_at == Some(time));
        // Who is asked for must be known to the end, where some are not.
        if gone
            && self.to_others.is_empty()
            && let Some(queue) = self.queues.remove(&tracee)
        {
            let known = Known::of(event, processes);
            if self.lists(tracee, &queue, &known) {
                self.add_row(queue.row(known.full_name(tracee), known.recording));
            }
        }
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId], known: &Known<'_>) {
        for tracee in gone {
            self.was_asked_for(*tracee);
            if let Some(queue) = self.queues.remove(tracee)
                && self.lists(*tracee, &queue, known)
            {
                self.add_row(queue.row(known.full_name(*tracee), known.recording));
            }
            self.groups.forget(*tracee);
            self.seen.remove(tracee.0);
        }
    }

    /// Who sent to it counts, if it was asked for.
    fn was_asked_for(&mut self, to: TraceeId) {
        let Some(pairs) = self.to_others.remove(&to) else { return };
        let asked_for = self.queues.get(&to).is_some_and(|queue| queue.asked_for);
        let Some(group) = self.groups.known(to).filter(|_| asked_for) else { return };
        for (from, pair) in pairs {
            self.pairs.entry((from, To::Group(group))).or_default().add(&pair);
        }
    }

    /// Is it worth a row? Of who took nothing, only where that would have been recorded.
    fn lists(&self, tracee: TraceeId, queue: &Queue, known: &Known<'_>) -> bool {
        let Known { recording, processes, .. } = known;
        let is_traced =
            || self.seen.get(tracee.0).is_some() || (traces_all(recording) && processes.is_described(tracee));
        let would_tell = || (self.knows_receives || recording.traces("receive")) && is_traced();
        queue.asked_for && (queue.received > 0 || would_tell())
    }

    fn add_row(&mut self, row: QueueRow) {
        self.rows_found += 1;
        self.rows.push(row);
        if self.rows.len() > 2 * MOST_ROWS {
            self.sort_rows();
            self.rows.truncate(MOST_ROWS);
        }
    }

    fn sort_rows(&mut self) {
        self.rows.sort_by(|a, b| {
            let numbers = (b.peak, b.left, b.received, b.sent).cmp(&(a.peak, a.left, a.received, a.sent));
            numbers.then_with(|| (&a.recording, &a.process).cmp(&(&b.recording, &b.process)))
        });
    }

    fn send(
        &mut self,
        event: &Event<'_>,
        processes: &Processes,
        asked_for: bool,
        takes: &mut dyn FnMut(TraceeId) -> bool,
    ) {
        let to = receiver(event, processes);
        let from = self.groups.of(event.tracee, processes, event.tracees(), event.names());
        let nobody = event.kind == kind::SEND_TO_NON_EXISTING;
        let here = self.lanes.takes_lane(event.lane);
        if let Some(to) = to.filter(|to| !nobody && matches!(event.tracees().identity(*to), Identity::Process(_))) {
            let queue = self.queues.entry(to).or_default();
            if here && !std::mem::replace(&mut queue.decided, true) {
                queue.asked_for |= takes(to);
            }
            queue.sent(event.time, here);
        }
        let mut this = Pair { messages: 1, lost: u64::from(nobody), ..Pair::default() };
        if let Some(content) = event.detail().content() {
            (this.sized, this.bytes) = (1, content.bytes().len() as u64);
        }
        if to.is_none()
            && !nobody
            && let Some(key) = reply_to_alias(event).filter(|key| !self.replies.holds(key))
        {
            let reply = Reply { from, time: event.time, pair: this, asked_for, here };
            return self.replies.sent(key, reply).into_iter().for_each(|(key, reply)| self.not_joined(key, reply));
        }
        let pair = match to {
            _ if !here => return,
            Some(to) => {
                let group = self.groups.of(to, processes, event.tracees(), event.names());
                match asked_for {
                    true => self.pairs.entry((from, To::Group(group))).or_default(),
                    false => self.to_others.entry(to).or_default().entry(from).or_default(),
                }
            }
            None if asked_for => {
                let other = self.other(event);
                self.pairs.entry((from, To::Other(other))).or_default()
            }
            None => return,
        };
        pair.add(&this);
    }

    /// When it was sent, and whether here, if it is a reply to an alias: whose that is, is known now.
    fn reply_that_comes(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) -> Option<(u64, bool)> {
        let reply = self.replies.that_comes(event)?;
        if reply.here && (asked_for || reply.asked_for) {
            let to = self.groups.of(event.tracee, processes, event.tracees(), event.names());
            self.pairs.entry((reply.from, To::Group(to))).or_default().add(&reply.pair);
        }
        Some((reply.time, reply.here))
    }

    /// Whose the alias is, nobody tells.
    fn not_joined(&mut self, key: Key, reply: Reply) {
        if !reply.asked_for {
            return;
        }
        let text = if key.is_remote() { ALIASES_ELSEWHERE } else { ALIASES };
        let other = self.other_called(text.to_owned());
        self.pairs.entry((reply.from, To::Other(other))).or_default().add(&reply.pair);
    }

    #[cold]
    fn other(&mut self, event: &Event<'_>) -> u32 {
        let detail = event.detail();
        let text = match detail.body() {
            Some(Body::Send { to } | Body::SendToNonExisting { to }) if to.pid().is_none() => {
                match Key::of(to, &detail) {
                    Some(alias) if alias.is_remote() => Some(ALIASES_ELSEWHERE.to_owned()),
                    Some(_) => Some(ALIASES.to_owned()),
                    None => detail.term_text(to, event.names(), &event.recording().pids),
                }
            }
            _ => None,
        };
        self.other_called(text.unwrap_or_else(|| "processes without events".to_owned()))
    }

    fn other_called(&mut self, text: String) -> u32 {
        let next = self.others.len() as u32;
        *self.other_numbers.entry(text).or_insert_with_key(|text| {
            self.others.push(text.clone());
            next
        })
    }

    /// A recording ends; the next may begin.
    pub fn end_of_recording(&mut self, known: &Known<'_>) {
        self.replies.take_all().into_iter().for_each(|(key, reply)| self.not_joined(key, reply));
        let others: Vec<TraceeId> = self.to_others.keys().copied().collect();
        others.into_iter().for_each(|to| self.was_asked_for(to));
        let mut queues: Vec<(TraceeId, Queue)> = self.queues.drain().collect();
        queues.retain(|(tracee, queue)| self.lists(*tracee, queue, known));
        (self.knows_receives, self.seen) = (false, Slots::default());
        queues.sort_by_key(|(tracee, _)| *tracee);
        queues
            .into_iter()
            .for_each(|(tracee, queue)| self.add_row(queue.row(known.full_name(tracee), known.recording)));
        self.exited = Exited::default();
        self.groups.end_of_recording();
    }

    /// The report, with at most so many rows of each table.
    pub fn report(mut self, limit: usize) -> Report {
        let titles = self.groups.titles();
        let title = |group: u32| titles.get(group as usize).map_or("?", |title| title.as_str());
        let mut sums: BTreeMap<(&str, &str), Pair> = BTreeMap::new();
        for ((from, to), pair) in &self.pairs {
            let to = match to {
                To::Group(group) => title(*group),
                To::Other(other) => self.others[*other as usize].as_str(),
            };
            let sum = sums.entry((title(*from), to)).or_default();
            sum.add(pair);
        }
        let mut pairs: Vec<PairRow> = sums
            .iter()
            .map(|((from, to), pair)| PairRow {
                from: (*from).to_owned(),
                to: (*to).to_owned(),
                messages: pair.messages,
                to_nobody: pair.lost,
                recorded_bytes: (pair.sized > 0).then_some(pair.bytes),
            })
            .collect();
        pairs.sort_by(|a, b| b.messages.cmp(&a.messages).then_with(|| (&a.from, &a.to).cmp(&(&b.from, &b.to))));
        self.sort_rows();
        self.rows.truncate(MOST_ROWS);
        let sent = pairs.iter().map(|pair| pair.messages).sum();
        let (pairs_found, queues_found) = (pairs.len(), self.rows_found);
        pairs.truncate(limit);
        self.rows.truncate(limit);
        Report { sent, received: self.received, pairs, pairs_found, queues: self.rows, queues_found }
    }
}

/// Are all processes traced but the recorder's own?
fn traces_all(recording: &Recording) -> bool {
    recording.meta.get("procs") == Some("all") && recording.meta.get("sample").is_none()
}

impl Pair {
    fn add(&mut self, other: &Pair) {
        self.messages += other.messages;
        self.lost += other.lost;
        self.sized += other.sized;
        self.bytes += other.bytes;
    }
}
