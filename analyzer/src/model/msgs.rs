//! Messages: who sends what to whom, and where they pile up.
//!
//! A message is *on its way* from its `send` to the `receive` event of the process
//! that it is for: the VM writes that when the process takes it into the queue that
//! `receive` looks at. A process that is busy does not, and so messages pile up.
//! Delays pair the first message sent with the first that came: right for one
//! sender, and for the sum over several.

use std::collections::{BTreeMap, HashMap, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::chunk::Identity;
use spoor_format::record::Body;
use spoor_format::term::Term;

use crate::model::group::Groups;
use crate::model::histogram::{Durations, Percentiles};
use crate::model::processes::{Known, Processes};
use crate::model::slots::Exited;
use crate::model::states::receiver;
use crate::read::{Event, Recording, TraceeId, kind};

/// Messages on their way to one process whose times are kept.
const KEPT: usize = 1 << 16;
/// Queues of processes that are listed: of more, the longest.
pub const MOST_ROWS: usize = 1 << 13;

/// Messages, over one recording after the other.
#[derive(Debug, Default)]
pub struct Msgs {
    groups: Groups,
    pairs: BTreeMap<(u32, To), Pair>,
    others: Vec<String>,
    other_numbers: HashMap<String, u32>,
    /// Sent by a process that is not asked for, to one that may be.
    to_others: HashMap<TraceeId, HashMap<u32, Pair>>,
    queues: HashMap<TraceeId, Queue>,
    exited: Exited,
    rows: Vec<QueueRow>,
    rows_found: usize,
    received: u64,
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
    missing: bool,
    asked_for: bool,
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

    /// Takes an event; one that is not asked for counts for queues only.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) {
        match event.kind {
            kind::SEND | kind::SEND_TO_NON_EXISTING => self.send(event, processes, asked_for),
            kind::RECEIVE => {
                self.received += u64::from(asked_for);
                let queue = self.queues.entry(event.tracee).or_default();
                queue.asked_for |= asked_for;
                queue.came(event);
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
            && let Some(queue) = self.queues.remove(&tracee).filter(|queue| queue.asked_for)
        {
            let (recording, identity) = (event.recording(), event.tracees().identity(tracee));
            self.add_row(queue.row(processes.full_name(tracee, identity, recording, event.names()), recording));
        }
    }

    /// These have no more events.
    pub fn leave(&mut self, gone: &[TraceeId], known: &Known<'_>) {
        for tracee in gone {
            self.was_asked_for(*tracee);
            if let Some(queue) = self.queues.remove(tracee).filter(|queue| queue.asked_for) {
                self.add_row(queue.row(known.full_name(*tracee), known.recording));
            }
            self.groups.forget(*tracee);
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

    fn send(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) {
        let to = receiver(event, processes);
        let from = self.groups.of(event.tracee, processes, event.tracees(), event.names());
        let nobody = event.kind == kind::SEND_TO_NON_EXISTING;
        if let Some(to) = to.filter(|to| !nobody && matches!(event.tracees().identity(*to), Identity::Process(_))) {
            let queue = self.queues.entry(to).or_default();
            queue.sent(event.time);
        }
        let pair = match to {
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
        pair.messages += 1;
        pair.lost += u64::from(nobody);
        if let Some(content) = event.detail().content() {
            pair.sized += 1;
            pair.bytes += content.bytes().len() as u64;
        }
    }

    #[cold]
    fn other(&mut self, event: &Event<'_>) -> u32 {
        let detail = event.detail();
        let text = match detail.body() {
            // An alias, to which servers reply.
            Some(Body::Send { to } | Body::SendToNonExisting { to })
                if matches!(to.decode(), Ok(Term::Reference(_))) =>
            {
                Some("aliases".to_owned())
            }
            Some(Body::Send { to } | Body::SendToNonExisting { to }) if to.pid().is_none() => {
                detail.term_text(to, event.names(), &event.recording().pids)
            }
            _ => None,
        };
        let text = text.unwrap_or_else(|| "processes without events".to_owned());
        let next = self.others.len() as u32;
        *self.other_numbers.entry(text).or_insert_with_key(|text| {
            self.others.push(text.clone());
            next
        })
    }

    /// A recording ends; the next may begin.
    pub fn end_of_recording(&mut self, recording: &Recording, who: impl Fn(TraceeId) -> String) {
        let others: Vec<TraceeId> = self.to_others.keys().copied().collect();
        others.into_iter().for_each(|to| self.was_asked_for(to));
        let mut queues: Vec<(TraceeId, Queue)> = self.queues.drain().filter(|(_, queue)| queue.asked_for).collect();
        queues.sort_by_key(|(tracee, _)| *tracee);
        queues.into_iter().for_each(|(tracee, queue)| self.add_row(queue.row(who(tracee), recording)));
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

    fn sent(&mut self, time: u64) {
        self.sent += 1;
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

    fn came(&mut self, event: &Event<'_>) {
        self.received += 1;
        if self.waiting == 0 {
            self.unsent += 1;
            return;
        }
        self.waiting -= 1;
        if let Some(time) = self.times.pop_front() {
            self.delays.record(event.time.saturating_sub(time));
        }
        if self.waiting == 0 {
            self.missing = false;
        }
    }
}
