//! Requests: a call and its reply, joined on the reference that both carry.
//!
//! `receive` says when a message was fetched from the outer queue, not when it was
//! served: calls that arrive together are received together. Service begins at the
//! `handle_call` when it is traced, else with the later of the own receive and the
//! server's reply before. Whatever breaks that order is counted, not split.

use std::collections::{HashMap, VecDeque};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::record::Body;

use crate::model::histogram::{Durations, Percentiles};
use crate::model::processes::Processes;
use crate::read::{Event, TraceeId, kind};

/// Shapes of `spoor_format::record::MESSAGE_SHAPES` that ask for a reply.
const ASKING: [u64; 3] = [0, 4, 6];
const REPLY: u64 = 2;
const DOWN: u64 = 3;
/// Replies of a server that are remembered, to tell how long its queue was.
const REMEMBERED: usize = 1 << 16;

#[derive(Debug, Default)]
struct Request {
    client: Option<TraceeId>,
    sent: Option<u64>,
    to: String,
    received: Option<(TraceeId, u64, u32)>,
    replied: Option<u64>,
    timed_out: bool,
    /// Others were served out of order.
    overtaken: bool,
    /// Mailbox wait, service, requests that were served while it waited.
    split: Option<(u64, u64, Option<u64>)>,
    by_other: bool,
}

#[derive(Debug, Default)]
struct Server {
    waiting: VecDeque<Key>,
    replies: VecDeque<u64>,
    handling: Option<u64>,
}

/// A reference as text: its first sighting is printed, later ones are numbers.
type Key = String;

/// Collects requests.
#[derive(Debug, Default)]
pub struct Requests {
    open: HashMap<Key, Request>,
    servers: HashMap<TraceeId, Server>,
    /// The one open request of a client; none when there are several.
    clients: HashMap<TraceeId, Vec<Key>>,
    rows: HashMap<String, Row>,
    replies_to_nothing: u64,
}

/// Requests of one server, or group of them.
#[derive(Debug, Default)]
struct Row {
    client_wait: Durations,
    mailbox_wait: Durations,
    service: Durations,
    delivery: Durations,
    queue_max: u64,
    counts: Counts,
}

/// How requests ended.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Requests seen, from either end.
    pub requests: u64,
    /// The client received the reply.
    pub answered: u64,
    /// The client's `receive` ran into its `after`, and no reply was received.
    pub timed_out: u64,
    /// Replies sent to clients that had given up.
    pub late_replies: u64,
    /// The client was told that the server is gone.
    pub server_died: u64,
    /// Replied, but the client's end was not recorded: remote, not traced, or lost.
    pub client_unseen: u64,
    /// Neither reply nor end.
    pub unanswered: u64,
    /// Replied by another process than the one that received it.
    pub replied_by_other: u64,
    /// Answered, but mailbox wait and service could not be told apart.
    pub not_split: u64,
}

/// One line of the answer. Durations in nanoseconds; none without requests.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Line {
    /// Name of the server or its destination as the client wrote it.
    pub server: String,
    /// How they ended.
    #[serde(flatten)]
    pub counts: Counts,
    /// From send to receive of the reply, at the client.
    pub client_wait: Option<Percentiles>,
    /// From send to the beginning of service.
    pub mailbox_wait: Option<Percentiles>,
    /// From there to the reply.
    pub service: Option<Percentiles>,
    /// From the reply to its receive.
    pub delivery: Option<Percentiles>,
    /// Most requests that were served while one waited.
    pub queue_max: u64,
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// Most requests first.
    pub servers: Vec<Line>,
    /// Replies whose request was not recorded, and messages that look like replies.
    pub replies_without_request: u64,
}

impl Requests {
    /// Takes the next event.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes) {
        match event.kind {
            kind::SEND | kind::SEND_TO_NON_EXISTING | kind::RECEIVE => self.message(event, processes),
            kind::TIMEOUT => self.timeout(event),
            kind::CALL => {
                let parts = event.function.map(|function| event.names().function_parts(function));
                if let (Some((_, "handle_call", 3)), Some(server)) = (parts, self.servers.get_mut(&event.tracee)) {
                    server.handling = Some(event.time);
                }
            }
            _ => {}
        }
    }

    fn message(&mut self, event: &Event<'_>, processes: &Processes) {
        let detail = event.detail();
        let Some((shape, reference)) = detail.message() else { return };
        let Some(text) = detail.term_text(reference, event.names(), &event.recording().pids) else { return };
        let key = || text.clone();
        let sends = event.kind != kind::RECEIVE;
        match (shape, sends) {
            (shape, true) if ASKING.contains(&shape) => {
                let to = match detail.body() {
                    Some(Body::Send { to } | Body::SendToNonExisting { to }) => {
                        detail.term_text(to, event.names(), &event.recording().pids).unwrap_or_default()
                    }
                    _ => String::new(),
                };
                let request = self.open.entry(key()).or_default();
                (request.client, request.sent, request.to) = (Some(event.tracee), Some(event.time), to);
                self.clients.entry(event.tracee).or_default().push(key());
            }
            (shape, false) if ASKING.contains(&shape) => {
                let request = self.open.entry(key()).or_default();
                request.received = Some((event.tracee, event.time, event.epoch));
                self.servers.entry(event.tracee).or_default().waiting.push_back(key());
            }
            (REPLY, true) => self.replied(event, &key()),
            (REPLY | DOWN, false) => self.ended(event, &key(), processes, shape == REPLY),
            _ => {}
        }
    }

    fn timeout(&mut self, event: &Event<'_>) {
        // With several open it is not known which was waited for.
        if let Some([key]) = self.clients.get(&event.tracee).map(Vec::as_slice)
            && let Some(request) = self.open.get_mut(key)
        {
            request.timed_out = true;
        }
    }

    fn replied(&mut self, event: &Event<'_>, key: &Key) {
        let Some(request) = self.open.get_mut(key) else {
            self.replies_to_nothing += 1;
            return;
        };
        request.replied = Some(event.time);
        let Some((server, received, epoch)) = request.received else { return };
        request.by_other = server != event.tracee;
        let known = self.servers.entry(server).or_default();
        let place = known.waiting.iter().position(|waiting| waiting == key);
        let (sent, overtaken) = (request.sent, request.overtaken);
        let in_order = place == Some(0) && !overtaken && epoch == event.epoch && !request.by_other;
        let handling = known.handling.filter(|start| *start >= received && *start <= event.time && !request.by_other);
        let start = handling.or(in_order.then(|| known.replies.back().map_or(received, |last| received.max(*last))));
        if let Some(start) = start {
            let wait = sent.and_then(|sent| start.checked_sub(sent));
            let ahead =
                sent.map(|sent| (known.replies.len() - known.replies.partition_point(|reply| *reply <= sent)) as u64);
            if let (Some(wait), Some(service)) = (wait, event.time.checked_sub(start)) {
                request.split = Some((wait, service, ahead));
            }
        }
        if !request.by_other {
            known.replies.push_back(event.time);
            if known.replies.len() > REMEMBERED {
                known.replies.pop_front();
            }
        }
        let passed: Vec<Key> = place.map(|place| known.waiting.drain(..=place).collect()).unwrap_or_default();
        for other in passed.iter().filter(|other| *other != key) {
            if let Some(other) = self.open.get_mut(other) {
                other.overtaken = true;
            }
        }
    }

    fn ended(&mut self, event: &Event<'_>, key: &Key, processes: &Processes, answered: bool) {
        // Whoever else gets a message with this reference is not the client.
        if self.open.get(key).is_none_or(|request| request.client.is_some_and(|client| client != event.tracee)) {
            return;
        }
        let Some(request) = self.open.remove(key) else { return };
        self.forget(event.tracee, key);
        let name = title(&request, event, processes);
        let row = self.rows.entry(name).or_default();
        row.add(&request);
        // Word of the server's death is no reply: nobody knows how long that would have taken.
        if !answered {
            row.counts.server_died += 1;
            return;
        }
        row.counts.answered += 1;
        if let Some(replied) = request.replied {
            let since = |start: Option<u64>| start.and_then(|start| event.time.checked_sub(start));
            since(request.sent).into_iter().for_each(|wait| row.client_wait.record(wait));
            since(Some(replied)).into_iter().for_each(|delivery| row.delivery.record(delivery));
            row.counts.not_split += u64::from(request.split.is_none());
        }
    }

    fn forget(&mut self, client: TraceeId, key: &Key) {
        if let Some(open) = self.clients.get_mut(&client) {
            open.retain(|known| known != key);
            if open.is_empty() {
                self.clients.remove(&client);
            }
        }
    }

    /// The answer. `name` gives the title of a server.
    pub fn report(mut self, name: impl Fn(TraceeId) -> String) -> Report {
        for (_, request) in std::mem::take(&mut self.open) {
            let server = request.received.map_or_else(|| request.to.clone(), |(server, ..)| name(server));
            let row = self.rows.entry(server).or_default();
            row.add(&request);
            let counts = &mut row.counts;
            match (request.timed_out, request.replied) {
                (true, replied) => {
                    counts.timed_out += 1;
                    counts.late_replies += u64::from(replied.is_some());
                }
                (false, Some(_)) => counts.client_unseen += 1,
                (false, None) => counts.unanswered += 1,
            }
        }
        let mut servers: Vec<Line> = self.rows.into_iter().map(|(server, row)| row.line(server)).collect();
        servers.sort_by(|a, b| (b.counts.requests, &a.server).cmp(&(a.counts.requests, &b.server)));
        Report { servers, replies_without_request: self.replies_to_nothing }
    }
}

fn title(request: &Request, event: &Event<'_>, processes: &Processes) -> String {
    match request.received {
        Some((server, ..)) => name_of(processes.title(server, event.names()), || request.to.clone()),
        None => request.to.clone(),
    }
}

fn name_of(title: Option<String>, otherwise: impl FnOnce() -> String) -> String {
    title.unwrap_or_else(otherwise)
}

impl Row {
    fn add(&mut self, request: &Request) {
        self.counts.requests += 1;
        self.counts.replied_by_other += u64::from(request.by_other);
        if let Some((wait, service, ahead)) = request.split {
            self.mailbox_wait.record(wait);
            self.service.record(service);
            self.queue_max = self.queue_max.max(ahead.unwrap_or(0));
        }
    }

    fn line(self, server: String) -> Line {
        Line {
            server,
            counts: self.counts,
            client_wait: self.client_wait.percentiles(),
            mailbox_wait: self.mailbox_wait.percentiles(),
            service: self.service.percentiles(),
            delivery: self.delivery.percentiles(),
            queue_max: self.queue_max,
        }
    }
}
