//! To whom messages go. Replies to aliases are on their way: whose an alias is, is known when its reply comes.

use std::collections::{HashMap, VecDeque};

use spoor_format::chunk::Identity;
use spoor_format::record::Body;

use crate::model::processes::Processes;
use crate::model::requests::key::Key;
use crate::read::{Detail, Event, TraceeId};

/// So many may be on their way.
const KEPT: usize = 1 << 16;
/// The shape of a reply.
const REPLY: u64 = 2;

/// Replies to aliases that have not come, by reference, and what is known of each.
#[derive(Debug)]
pub(super) struct Replies<T> {
    open: HashMap<Key, T>,
    order: VecDeque<Key>,
}

impl<T> Default for Replies<T> {
    fn default() -> Self {
        Replies { open: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Replies<T> {
    /// One is on its way; answers those that are let go of, not having come for so long: they may never.
    pub(super) fn sent(&mut self, key: Key, reply: T) -> Vec<(Key, T)> {
        let mut oldest = Vec::new();
        if self.open.len() >= KEPT || self.order.len() >= 2 * KEPT {
            let Replies { open, order } = self;
            order.retain(|key| open.contains_key(key));
            let most = if open.len() < KEPT { 0 } else { order.len() / 2 };
            oldest.extend(order.drain(..most).filter_map(|key| Some((key, open.remove(&key)?))));
        }
        self.open.insert(key, reply);
        self.order.push_back(key);
        oldest
    }

    /// Is one with this reference on its way? Of several, the first that comes is the first that was sent.
    pub(super) fn holds(&self, key: &Key) -> bool {
        self.open.contains_key(key)
    }

    /// The one that comes with an event, if any.
    pub(super) fn that_comes(&mut self, event: &Event<'_>) -> Option<T> {
        if self.open.is_empty() {
            return None;
        }
        self.open.remove(&reply_key(&event.detail())?)
    }

    /// Those that have not come, in the order sent.
    pub(super) fn take_all(&mut self) -> Vec<(Key, T)> {
        let Replies { mut open, order } = std::mem::take(self);
        order.into_iter().filter_map(|key| Some((key, open.remove(&key)?))).collect()
    }
}

/// The reference of a reply that is sent to an alias.
pub(super) fn reply_to_alias(event: &Event<'_>) -> Option<Key> {
    let detail = event.detail();
    let Some(Body::Send { to }) = detail.body() else { return None };
    let alias = Key::of(to, &detail)?;
    reply_key(&detail).filter(|key| *key == alias)
}

fn reply_key(detail: &Detail<'_>) -> Option<Key> {
    let (_, reference) = detail.message().filter(|(shape, _)| *shape == REPLY)?;
    Key::of(reference, detail)
}

/// To whom a message is sent, as far as is known.
pub(super) fn receiver(event: &Event<'_>, processes: &Processes) -> Option<TraceeId> {
    let detail = event.detail();
    let (Body::Send { to } | Body::SendToNonExisting { to }) = detail.body()? else { return None };
    match to.pid() {
        Some(word) => event.tracees().find(Identity::Process(word)),
        None => processes.named(detail.term_atom(to)?),
    }
}
