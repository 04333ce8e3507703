//! What is said of requests: how they ended, what their time went to, the slowest.

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::histogram::{Durations, Percentiles};

/// Requests with one server or client, or group of them.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub(super) client_wait: Durations,
    pub(super) mailbox_wait: Durations,
    pub(super) service: Durations,
    pub(super) delivery: Durations,
    pub(super) on_the_way: Durations,
    pub(super) split: Split,
    pub(super) queue_max: u64,
    pub(super) counts: Counts,
}

/// How requests ended. Each is one of answered, timed out, server died, no server, client unseen
/// and unanswered; the other counts say more of some of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Counts {
    /// Requests seen, from either end.
    pub requests: u64,
    /// The client received the reply.
    pub answered: u64,
    /// The client's `receive` ran into its `after`, and no reply was received.
    pub timed_out: u64,
    /// The client was told that the server is gone.
    pub server_died: u64,
    /// Sent to a process that was not there.
    pub no_server: u64,
    /// Replied, but the client's end was not recorded: remote, not traced, or lost.
    pub client_unseen: u64,
    /// Neither reply nor end.
    pub unanswered: u64,
    /// Replies sent to clients that had given up.
    pub late_replies: u64,
    /// The server's end was not recorded: remote, not traced, or lost.
    pub server_unseen: u64,
    /// Client and server are on two nodes, as far as the recordings tell.
    pub remote: u64,
    /// Seen in two recordings, of the client's node and of the server's.
    pub joined: u64,
    /// Events may have been lost between the first and the last that were seen of it.
    pub across_losses: u64,
    /// Replied by another process than the one that received it.
    pub replied_by_other: u64,
    /// Answered and seen from both ends, but mailbox wait and service could not be told apart.
    pub not_split: u64,
    /// Left alone before their end, as too many were open.
    pub not_followed: u64,
    /// Sent, or seen first, before the window; with their whole times.
    pub began_before: u64,
    /// Ended after the window; with their whole times.
    pub ended_after: u64,
    /// Service began when told or later, as `handle_call` is not traced: it took so long at most, and
    /// the wait in the mailbox at least.
    pub service_at_most: u64,
}

/// The requests whose time is known in all its parts. The parts add up to the clients'
/// wait, to the nanosecond.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Split {
    /// How many.
    pub requests: u64,
    /// From send to receive of the reply.
    pub client_wait_ns: u64,
    /// From send to the beginning of service.
    pub mailbox_wait_ns: u64,
    /// From there to the reply.
    pub service_ns: u64,
    /// From the reply to its receive.
    pub delivery_ns: u64,
}

/// One line of the answer. Durations in nanoseconds; null where there are none.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Line {
    /// The servers or the clients, by what processes are grouped by; or the
    /// destination as the client wrote it.
    pub group: String,
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
    /// Of those seen in two recordings: the client's wait by its clock, less the time
    /// from receive to reply by the server's.
    pub on_the_way: Option<Percentiles>,
    /// Sums over the requests whose time is known in all its parts.
    pub split: Split,
    /// Most requests that were answered by the server while one waited.
    pub queue_max: u64,
}

/// What the time of one request went to: adds up to the client's wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Parts {
    /// From send to the beginning of service.
    pub mailbox_wait_ns: u64,
    /// From there to the reply.
    pub service_ns: u64,
    /// From the reply to its receive.
    pub delivery_ns: u64,
}

/// One of the slowest requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SlowRequest {
    /// The recording it is in.
    pub recording: String,
    /// When it was sent, or, where that was not recorded, received by the server; in
    /// nanoseconds since the start of the recording.
    pub at_ns: u64,
    /// From send to receive of the reply; null where the client's end was not recorded.
    pub client_wait_ns: Option<u64>,
    /// How it ended: `answered`, `timed_out`, `server_died`, `no_server`, `client_unseen`, `unanswered`.
    pub end: &'static str,
    /// Of one that was not answered: until the client gave up or was told, else to the last
    /// event that was read.
    pub waited_ns: Option<u64>,
    /// From its receive by the server to the reply; null where that was not recorded.
    pub at_server_ns: Option<u64>,
    /// From the beginning of service to the reply, where that is known.
    pub service_ns: Option<u64>,
    /// Of one that is seen in two recordings: the client's wait less the time at the server.
    pub on_the_way_ns: Option<u64>,
    /// The client, with its name.
    pub client: String,
    /// The server, with its name, or the destination as the client wrote it.
    pub server: String,
    /// What the client's wait went to, where that is known.
    pub parts: Option<Parts>,
    /// Requests that the server answered while this one waited.
    pub served_before: Option<u64>,
    /// It began before the window.
    pub began_before: bool,
    /// It ended after the window.
    pub ended_after: bool,
}

/// The answer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Report {
    /// A row for each group of servers, or of clients: `server` or `client`.
    pub by: &'static str,
    /// Most requests first.
    pub groups: Vec<Line>,
    /// How many there are, shown or not.
    pub groups_found: usize,
    /// The slowest single requests, by the client's wait, answered or not, or where it is not
    /// known, by the time at the server.
    pub slowest: Vec<SlowRequest>,
    /// Replies whose request was not recorded, and messages that look like replies.
    pub replies_without_request: u64,
    /// Requests to Spoor's own processes, such as that which ended the recording: they stand nowhere else.
    pub to_spoor: u64,
    /// `send` and `receive` events that were looked at: none when no messages were recorded.
    pub messages: u64,
}

impl Row {
    pub(super) fn line(self, group: String) -> Line {
        Line {
            group,
            counts: self.counts,
            client_wait: self.client_wait.percentiles(),
            mailbox_wait: self.mailbox_wait.percentiles(),
            service: self.service.percentiles(),
            delivery: self.delivery.percentiles(),
            on_the_way: self.on_the_way.percentiles(),
            split: self.split,
            queue_max: self.queue_max,
        }
    }

    /// Two groups turn out to be one.
    pub(super) fn add(&mut self, other: &Row) {
        let pairs = [
            (&mut self.client_wait, &other.client_wait),
            (&mut self.mailbox_wait, &other.mailbox_wait),
            (&mut self.service, &other.service),
            (&mut self.delivery, &other.delivery),
            (&mut self.on_the_way, &other.on_the_way),
        ];
        pairs.into_iter().for_each(|(mine, theirs)| mine.add(theirs));
        self.split.add(&other.split);
        self.counts.add(&other.counts);
        self.queue_max = self.queue_max.max(other.queue_max);
    }
}

impl Split {
    fn add(&mut self, other: &Split) {
        self.requests += other.requests;
        self.client_wait_ns = self.client_wait_ns.saturating_add(other.client_wait_ns);
        self.mailbox_wait_ns = self.mailbox_wait_ns.saturating_add(other.mailbox_wait_ns);
        self.service_ns = self.service_ns.saturating_add(other.service_ns);
        self.delivery_ns = self.delivery_ns.saturating_add(other.delivery_ns);
    }

    /// Adds a request.
    pub(super) fn record(&mut self, parts: &Parts) {
        let Parts { mailbox_wait_ns, service_ns, delivery_ns } = *parts;
        let client_wait_ns = mailbox_wait_ns + service_ns + delivery_ns;
        self.add(&Split { requests: 1, client_wait_ns, mailbox_wait_ns, service_ns, delivery_ns });
    }
}

impl Counts {
    pub(super) fn add(&mut self, other: &Counts) {
        self.requests += other.requests;
        self.answered += other.answered;
        self.timed_out += other.timed_out;
        self.server_died += other.server_died;
        self.no_server += other.no_server;
        self.client_unseen += other.client_unseen;
        self.unanswered += other.unanswered;
        self.late_replies += other.late_replies;
        self.server_unseen += other.server_unseen;
        self.remote += other.remote;
        self.joined += other.joined;
        self.across_losses += other.across_losses;
        self.replied_by_other += other.replied_by_other;
        self.not_split += other.not_split;
        self.not_followed += other.not_followed;
        self.began_before += other.began_before;
        self.ended_after += other.ended_after;
        self.service_at_most += other.service_at_most;
    }
}
