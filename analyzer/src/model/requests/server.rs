//! What is known of a server: which of its requests wait, and when it served.

use std::collections::BTreeSet;

use crate::read::{Event, TraceeId};

/// A request was taken into the queue of a server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received {
    pub(super) server: TraceeId,
    pub(super) time: u64,
    epoch: u32,
    /// Its place in the order of arrival.
    turn: u64,
    /// Calls of `handle_call` before.
    handled: u64,
    /// Messages before that are no requests.
    others: u64,
    /// Of these there were some since the request before: the server handles them first.
    behind_others: bool,
}

/// A server.
#[derive(Debug, Default)]
pub(super) struct Server {
    next_turn: u64,
    waiting: BTreeSet<u64>,
    /// Of those that came before, the order is not known.
    in_order_from: u64,
    replies: u64,
    last_reply: Option<Replied>,
    /// Messages that came and are no requests; and of these, before the last request.
    others: u64,
    others_before: u64,
    handled: u64,
    last_handled: Option<u64>,
    /// The first call of `handle_call` since the last reply.
    handled_since: Option<u64>,
    epoch: Option<u32>,
}

/// The last reply of a server.
#[derive(Debug, Clone, Copy)]
struct Replied {
    time: u64,
    /// Since its request came, nothing came but requests: else it may have been sent while the
    /// server handled another message, long after it had served that request.
    in_turn: bool,
}

/// When service began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) time: u64,
    /// No earlier, as `handle_call` is not traced.
    pub(super) at_least: bool,
}

impl Server {
    /// Looks at an event of the server itself: where events are missing before it,
    /// nothing is known of what it was doing.
    pub(super) fn look(&mut self, event: &Event<'_>) {
        if self.epoch == Some(event.epoch) && !event.missing {
            return;
        }
        if self.epoch.is_some() {
            self.is_out_of_order();
            (self.last_reply, self.handled_since, self.last_handled) = (None, None, None);
            // What may be missing may be a message.
            self.others += 1;
        }
        self.epoch = Some(event.epoch);
    }

    /// A request comes.
    pub(super) fn takes(&mut self, event: &Event<'_>) -> Received {
        let turn = self.next_turn;
        self.next_turn += 1;
        self.waiting.insert(turn);
        let behind_others = std::mem::replace(&mut self.others_before, self.others) != self.others;
        Received {
            server: event.tracee,
            time: event.time,
            epoch: event.epoch,
            turn,
            handled: self.handled,
            others: self.others,
            behind_others,
        }
    }

    /// A message comes that is no request.
    pub(super) fn takes_other(&mut self, event: &Event<'_>) {
        self.look(event);
        self.others += 1;
    }

    /// Its `handle_call` is called.
    pub(super) fn handles(&mut self, time: u64) {
        self.handled += 1;
        self.last_handled = Some(time);
        self.handled_since.get_or_insert(time);
    }

    /// When the service of a request began to which it replies now, where that is certain.
    pub(super) fn start_of(&self, received: &Received, reply: &Event<'_>) -> Option<Start> {
        if received.epoch != reply.epoch || !reply.complete || received.turn < self.in_order_from {
            return None;
        }
        let handled = |time: Option<u64>| {
            let time = time.filter(|time| *time >= received.time)?;
            Some(Start { time, at_least: false })
        };
        if self.handled == received.handled + 1 {
            return handled(self.last_handled);
        }
        if self.waiting.range(self.in_order_from..).next() != Some(&received.turn) {
            return None;
        }
        if self.handled > 0 {
            return handled(self.handled_since);
        }
        let waited_for = self.last_reply.filter(|last| last.time > received.time);
        let knows = !received.behind_others && waited_for.is_none_or(|last| last.in_turn);
        knows.then(|| Start { time: waited_for.map_or(received.time, |last| last.time), at_least: true })
    }

    /// It has replied to a request itself: those that came before it are served out of turn.
    pub(super) fn has_served(&mut self, received: &Received) {
        self.forget(received);
        self.in_order_from = self.in_order_from.max(received.turn);
    }

    /// It has replied to a request that it received, or to one that is not known.
    pub(super) fn has_replied(&mut self, time: u64, received: Option<&Received>) {
        let in_turn = received.is_none_or(|received| received.others == self.others);
        self.replies += 1;
        (self.last_reply, self.handled_since) = (Some(Replied { time, in_turn }), None);
    }

    /// How often it replied.
    pub(super) fn replies(&self) -> u64 {
        self.replies
    }

    /// Of those that wait now, nobody knows which is served when.
    pub(super) fn is_out_of_order(&mut self) {
        self.in_order_from = self.next_turn;
    }

    /// A request waits no more.
    pub(super) fn forget(&mut self, received: &Received) {
        self.waiting.remove(&received.turn);
    }
}
