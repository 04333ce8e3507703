//! Messages: who sends what to whom, and where they pile up.
//!
//! A message is *on its way* from its `send` to the `receive` event of the process
//! that it is for: the VM writes that when the process takes it into the queue that
//! `receive` looks at. A process that is busy does not, and so messages pile up.
//! Delays pair the first message sent with the first that came: right for one
//! sender, and for the sum over several. A reply to an alias names no process: its
//! reference tells whose it was, once it comes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;
use spoor_format::record::Body;

use crate::model::filter::EventFilter;
use crate::model::group::Groups;
use crate::model::histogram::{Durations, Percentiles};
use crate::model::processes::{Known, Processes};
use crate::model::requests::key::Key;
use crate::model::slots::{Exited, Slots};
use crate::model::states::receiver;
use crate::read::{Detail, Event, Recording, TraceeId, kind};

/// Messages on their way to one process whose times are kept.
const KEPT: usize = 1 << 16;
/// The shape of a reply.
const REPLY: u64 = 2;
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
    replies: Replies,
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

/// Replies to aliases that have not come: sent by whom and when, by reference.
#[derive(Debug, Default)]
struct Replies {
    open: HashMap<Key, Reply>,
    order: VecDeque<Key>,
}

#[derive(Debug, Clone, Copy)]
struct Reply {
    from: u32,
    time: u64,
    pair: Pair,
    asked_for: bool,
    /// It was sent on a thread that is asked for.
    here: bool,
}

#[derive(Debug, Default)]
struct Queue {
    sent: u64,
    received: u64,
    unsent: u64,
    waiting: u64,
    peak: u64,
    peak_at: u64,
    times: VecDeque<u64>,
    delays: Durations,
    /// When replies to aliases came that may have been on their way together with the next.
    taken: VecDeque<u64>,
    missing: bool,
    asked_for: bool,
    /// Its name was looked at.
    decided: bool,
    exited_at: Option<u64>,
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

/// Messages on their way to one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct QueueRow {
    /// The recording it is in.
    pub recording: String,
    /// The process.
    pub process: String,
    /// Sent to it by processes whose `send` events are recorded.
    pub sent: u64,
    /// Came to it.
    pub received: u64,
    /// Of these, from elsewhere: timers, ports, monitors, processes not traced.
    pub from_elsewhere: u64,
    /// The most that were on their way at a time.
    pub peak: u64,
    /// When that was first so, in nanoseconds since the start of the recording.
    pub peak_at_ns: u64,
    /// On their way at the end.
    pub left: u64,
    /// How long they were on their way; null when none came.
    #[serde(flatten)]
    pub delays: Option<Percentiles>,
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
        let would_tell = || (self.knows_receives || says_receives(recording)) && is_traced();
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
        // Of several with one reference, the first that comes is the first that was sent.
        if to.is_none()
            && !nobody
            && let Some(key) = reply_to_alias(event).filter(|key| !self.replies.open.contains_key(key))
        {
            return self.replies(key, Reply { from, time: event.time, pair: this, asked_for, here });
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
        if self.replies.open.is_empty() {
            return None;
        }
        let reply = self.replies.open.remove(&reply_key(&event.detail())?)?;
        if reply.here && (asked_for || reply.asked_for) {
            let to = self.groups.of(event.tracee, processes, event.tracees(), event.names());
            self.pairs.entry((reply.from, To::Group(to))).or_default().add(&reply.pair);
        }
        Some((reply.time, reply.here))
    }

    /// A reply to an alias is on its way. One that is not asked for may be to one that is.
    fn replies(&mut self, key: Key, reply: Reply) {
        if self.replies.open.len() >= KEPT || self.replies.order.len() >= 2 * KEPT {
            let Replies { open, order } = &mut self.replies;
            order.retain(|key| open.contains_key(key));
            // Those that are not fetched for so long may never be.
            let most = if open.len() < KEPT { 0 } else { order.len() / 2 };
            let oldest: Vec<Key> = order.drain(..most).collect();
            oldest.into_iter().for_each(|key| self.not_joined(key));
        }
        self.replies.open.insert(key, reply);
        self.replies.order.push_back(key);
    }

    /// Whose the alias is, nobody tells.
    fn not_joined(&mut self, key: Key) {
        let Some(reply) = self.replies.open.remove(&key).filter(|reply| reply.asked_for) else { return };
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
        std::mem::take(&mut self.replies.order).into_iter().for_each(|key| self.not_joined(key));
        self.replies = Replies::default();
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

/// Were `receive` events asked for?
fn says_receives(recording: &Recording) -> bool {
    recording.meta.get("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "receive"))
}

/// Are all processes traced but the recorder's own?
fn traces_all(recording: &Recording) -> bool {
    recording.meta.get("procs") == Some("all") && recording.meta.get("sample").is_none()
}

/// The reference of a reply that is sent to an alias.
fn reply_to_alias(event: &Event<'_>) -> Option<Key> {
    let detail = event.detail();
    let Some(Body::Send { to }) = detail.body() else { return None };
    let alias = Key::of(to, &detail)?;
    reply_key(&detail).filter(|key| *key == alias)
}

fn reply_key(detail: &Detail<'_>) -> Option<Key> {
    let (_, reference) = detail.message().filter(|(shape, _)| *shape == REPLY)?;
    Key::of(reference, detail)
}

impl Pair {
    fn add(&mut self, other: &Pair) {
        self.messages += other.messages;
        self.lost += other.lost;
        self.sized += other.sized;
        self.bytes += other.bytes;
    }
}

impl Queue {
    fn row(&self, process: String, recording: &Recording) -> QueueRow {
        QueueRow {
            recording: recording.path.clone(),
            process,
            sent: self.sent,
            received: self.received,
            from_elsewhere: self.unsent,
            peak: self.peak,
            peak_at_ns: self.peak_at.saturating_sub(recording.start_ns),
            left: self.waiting,
            delays: self.delays.percentiles(),
        }
    }

    fn sent(&mut self, time: u64, here: bool) {
        self.sent += u64::from(here);
        self.waiting += 1;
        if self.waiting > self.peak {
            (self.peak, self.peak_at) = (self.waiting, time);
        }
        if self.times.len() < KEPT && !self.missing {
            self.times.push_back(time);
        } else {
            self.missing = true;
        }
    }

    /// A reply to an alias, which is in no other order than that of its sending.
    fn reply_came(&mut self, sent: u64, time: u64, sent_here: bool, here: bool) {
        self.sent += u64::from(sent_here);
        self.received += u64::from(here);
        if here {
            self.delays.record(time.saturating_sub(sent));
        }
        while self.taken.front().is_some_and(|taken| *taken < sent) || self.taken.len() >= KEPT {
            self.taken.pop_front();
        }
        self.taken.push_back(time);
        if self.taken.len() as u64 > self.peak {
            (self.peak, self.peak_at) = (self.taken.len() as u64, sent);
        }
    }

    fn came(&mut self, event: &Event<'_>, here: bool) {
        self.received += u64::from(here);
        if self.waiting == 0 {
            self.unsent += u64::from(here);
            return;
        }
        self.waiting -= 1;
        if let Some(time) = self.times.pop_front().filter(|_| here) {
            self.delays.record(event.time.saturating_sub(time));
        }
        if self.waiting == 0 {
            self.missing = false;
        }
    }
}
