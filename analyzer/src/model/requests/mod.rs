//! Requests: a call and its reply, joined on the reference that both carry.
//!
//! `receive` says when a message was fetched from the outer queue, not when it was
//! served: calls that arrive together are received together. Service begins at the
//! `handle_call` when it is traced, else with the later of the own receive and the
//! server's reply before. Whatever breaks that order is counted, not split.
//!
//! A request is followed from its first event to its last, and then only its numbers
//! are kept: memory does not grow with the file.

mod account;
pub(crate) mod key;
mod report;
mod server;

use std::collections::{HashMap, HashSet, VecDeque};

use spoor_format::record::Body;
use spoor_format::term::tag;

pub use account::By;
pub use report::{Counts, Line, Parts, Report, SlowRequest, Split};

use crate::model::cut::Cut;
use crate::model::filter::EventFilter;
use crate::model::group::Groups;
use crate::model::processes::{Known, Processes};
use crate::model::replies::receiver;
use crate::read::{Event, FunctionId, Names, TraceeId, kind};
use account::{Accounts, End, Settled, Who};
use key::Key;
use server::{Received, Server, Start};

/// Shapes of `spoor_format::record::MESSAGE_SHAPES` that ask for a reply.
const ASKING: [u64; 3] = [0, 4, 6];
const REPLY: u64 = 2;
const DOWN: u64 = 3;
/// Requests that are followed at a time; of more, the oldest are left alone.
const MOST_OPEN: usize = 1 << 17;
/// Requests that have ended and still stand among those by age, beyond as many as are open.
const ENDED: usize = 1 << 12;

#[derive(Debug)]
struct Request {
    id: u64,
    key: Key,
    client: Option<TraceeId>,
    sent: Option<u64>,
    to: Who,
    to_other_node: bool,
    received: Option<Received>,
    replied: Option<u64>,
    start: Option<Start>,
    /// Replies of the server when this one was sent, or else received; while it waited.
    replies_before: Option<u64>,
    served_before: Option<u64>,
    /// When its client gave up.
    timed_out: Option<u64>,
    /// It is among those that its client waits for.
    listed: bool,
    by_other: bool,
    /// Nobody was there to receive it.
    to_nobody: bool,
    /// Events may be missing between its own; `epoch` is that of the first.
    across_losses: bool,
    epoch: u32,
    asked_for: bool,
    /// Its first event lies on a thread that is asked for; when that and its last event were.
    here: bool,
    first: u64,
    last: u64,
}

/// The open requests of a client: how many, and all their places in one number, which
/// is the place of the only one.
#[derive(Debug, Default)]
struct Client {
    open: u64,
    places: u32,
}

/// Collects requests, over one recording after the other.
#[derive(Debug)]
pub struct Requests {
    open: HashMap<Key, u32>,
    requests: Vec<Option<Request>>,
    free: Vec<u32>,
    /// By age, those that have ended in between.
    order: VecDeque<(u64, u32)>,
    next_id: u64,
    servers: HashMap<TraceeId, Server>,
    clients: HashMap<TraceeId, Client>,
    /// Is the function a `handle_call/3`? By its number.
    handlers: Vec<Option<bool>>,
    accounts: Accounts,
    messages: u64,
    replies_to_nothing: u64,
    to_spoor: u64,
    /// When the last event was.
    now: u64,
    cut: Cut,
    lanes: EventFilter,
}

impl Requests {
    /// Rows are `groups`, of servers or clients; `slowest` single requests are kept. In
    /// several recordings, the two ends of a request are looked for.
    pub fn new(by: By, groups: Groups, slowest: usize, several: bool) -> Requests {
        Requests {
            open: HashMap::new(),
            requests: Vec::new(),
            free: Vec::new(),
            order: VecDeque::new(),
            next_id: 0,
            servers: HashMap::new(),
            clients: HashMap::new(),
            handlers: Vec::new(),
            accounts: Accounts::new(by, groups, slowest, several),
            messages: 0,
            replies_to_nothing: 0,
            to_spoor: 0,
            now: 0,
            cut: Cut { from: 0, to: u64::MAX, before: u64::MAX, since: 0 },
            lanes: EventFilter::default(),
        }
    }

    /// A recording begins, or a part of it: events from around it may be handed in, too. A request belongs
    /// to the thread of its first event.
    pub fn begin(&mut self, cut: Cut, lanes: EventFilter) {
        (self.cut, self.lanes) = (cut, lanes);
    }

    /// Takes the next event. A request is asked for when the process of one of its events is.
    pub fn event(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) {
        // Of what was before all that is read there are single events only.
        if event.time < self.cut.since {
            return;
        }
        self.now = event.time;
        match event.kind {
            kind::SEND | kind::SEND_TO_NON_EXISTING | kind::RECEIVE => self.message(event, processes, asked_for),
            kind::TIMEOUT => self.timeout(event),
            kind::CALL if !self.servers.is_empty() => self.call(event),
            _ => {}
        }
    }

    fn call(&mut self, event: &Event<'_>) {
        if event.function.is_some_and(|function| self.is_handler(function, event.names()))
            && let Some(server) = self.servers.get_mut(&event.tracee)
        {
            server.look(event);
            server.handles(event.time);
        }
    }

    fn is_handler(&mut self, function: FunctionId, names: &Names) -> bool {
        let at = function.0 as usize;
        if self.handlers.len() <= at {
            self.handlers.resize(at + 1, None);
        }
        *self.handlers[at].get_or_insert_with(|| {
            let (_, name, arity) = names.function_parts(function);
            (name, arity) == ("handle_call", 3)
        })
    }

    fn message(&mut self, event: &Event<'_>, processes: &Processes, asked_for: bool) {
        let here = self.lanes.takes_lane(event.lane);
        self.messages += u64::from(here && self.cut.holds(event.time));
        let detail = event.detail();
        let sends = event.kind != kind::RECEIVE;
        let told = detail
            .message()
            .filter(|(shape, _)| ASKING.contains(shape) || *shape == REPLY || (*shape == DOWN && !sends));
        let Some((shape, key)) = told.and_then(|(shape, of)| Some((shape, Key::of(of, &detail)?))) else {
            if !sends {
                self.servers.entry(event.tracee).or_default().takes_other(event);
            }
            return;
        };
        let asks = ASKING.contains(&shape);
        if asks {
            let place = self.place(key, event, processes);
            if let Some(request) = self.at(place) {
                request.look(event, asked_for, here);
            }
            if sends {
                self.sent(place, event, processes)
            } else {
                self.received(place, event)
            }
            return;
        }
        let Some(place) = self.open.get(&key).copied() else {
            match (sends, shape) {
                (true, _) => self.replied_to_nothing(event, asked_for && here),
                (false, DOWN) => self.servers.entry(event.tracee).or_default().takes_other(event),
                (false, _) => {}
            }
            return;
        };
        if sends {
            self.replied(place, event, asked_for);
        } else {
            self.ended(place, event, processes, asked_for, shape == REPLY);
        }
    }

    fn at(&mut self, place: u32) -> Option<&mut Request> {
        self.requests.get_mut(place as usize)?.as_mut()
    }

    /// The place of a request, which may be a new one.
    fn place(&mut self, key: Key, event: &Event<'_>, processes: &Processes) -> u32 {
        if let Some(place) = self.open.get(&key) {
            return *place;
        }
        if self.open.len() >= MOST_OPEN {
            self.leave_the_oldest(event, processes);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.requests.push(None);
            (self.requests.len() - 1) as u32
        });
        let id = self.next_id;
        self.next_id += 1;
        self.requests[place as usize] = Some(Request::new(id, key, event.epoch));
        self.open.insert(key, place);
        if self.order.len() > 2 * self.open.len() + ENDED {
            let requests = &self.requests;
            self.order.retain(|entry| is_open(requests, entry));
        }
        self.order.push_back((id, place));
        place
    }

    fn leave_the_oldest(&mut self, event: &Event<'_>, processes: &Processes) {
        let oldest = self.order.iter().position(|entry| is_open(&self.requests, entry));
        if let Some((_, place)) = oldest.and_then(|at| self.order.drain(..=at).next_back()) {
            let view = Known::of(event, processes);
            self.settle(place, None, true, &view);
        }
    }

    fn sent(&mut self, place: u32, event: &Event<'_>, processes: &Processes) {
        let receiver = receiver(event, processes);
        let detail = event.detail();
        let to = match detail.body() {
            Some(Body::Send { to } | Body::SendToNonExisting { to }) => Some(to),
            _ => None,
        };
        // Whoever passes a request on is not its client.
        let passed_on = |r: &Request| r.sent.is_some() || r.received.is_some_and(|r| r.server == event.tracee);
        if self.at(place).is_none_or(|request| passed_on(request)) {
            return;
        }
        let who = receiver.map(Who::Process).or_else(|| {
            let text = detail.term_text(to?, event.names(), &event.recording().pids)?;
            Some(Who::Other(self.accounts.other(text)))
        });
        let replies = receiver.map(|server| self.servers.entry(server).or_default().replies());
        let Some(request) = self.at(place) else { return };
        (request.client, request.sent, request.listed) = (Some(event.tracee), Some(event.time), true);
        request.to = who.unwrap_or(Who::Unknown);
        request.replies_before = replies;
        request.to_nobody = event.kind == kind::SEND_TO_NON_EXISTING;
        // `{Name, Node}`, or a pid that is printed because it is not of this node.
        let first = to.and_then(|to| to.bytes().first().copied());
        request.to_other_node = matches!(first, Some(tag::TUPLE | tag::PRINTED));
        let client = self.clients.entry(event.tracee).or_default();
        client.open += 1;
        client.places ^= place;
    }

    fn received(&mut self, place: u32, event: &Event<'_>) {
        let server = self.servers.entry(event.tracee).or_default();
        server.look(event);
        let Some(request) = self.requests.get_mut(place as usize).and_then(Option::as_mut) else { return };
        if request.received.is_none() {
            request.received = Some(server.takes(event));
            request.replies_before.get_or_insert(server.replies());
        }
    }

    fn timeout(&mut self, event: &Event<'_>) {
        // With several open it is not known which was waited for.
        if let Some(Client { open: 1, places }) = self.clients.get(&event.tracee) {
            let place = *places;
            self.clients.remove(&event.tracee);
            if let Some(request) = self.at(place) {
                (request.timed_out, request.listed) = (Some(event.time), false);
                request.last = request.last.max(event.time);
            }
        }
    }

    /// Its request was there before the recording, or is lost: so may be others, which
    /// the server serves before those that are known.
    fn replied_to_nothing(&mut self, event: &Event<'_>, asked_for: bool) {
        self.replies_to_nothing += u64::from(asked_for && self.cut.holds(event.time));
        if let Some(server) = self.servers.get_mut(&event.tracee) {
            server.look(event);
            server.is_out_of_order();
            server.has_replied(event.time, None);
        }
    }

    fn replied(&mut self, place: u32, event: &Event<'_>, asked_for: bool) {
        let Some(request) = self.requests.get_mut(place as usize).and_then(Option::as_mut) else { return };
        request.look(event, asked_for, false);
        if request.replied.replace(event.time).is_some() {
            return;
        }
        let Some(received) = request.received else { return };
        let Some(server) = self.servers.get_mut(&received.server) else { return };
        request.by_other = received.server != event.tracee;
        if request.by_other {
            server.forget(&received);
            server.is_out_of_order();
            return;
        }
        server.look(event);
        request.start = server.start_of(&received, event);
        let before = request.replies_before.filter(|_| !request.across_losses);
        request.served_before = before.map(|before| server.replies().saturating_sub(before));
        server.has_served(&received);
        server.has_replied(event.time, Some(&received));
    }

    fn ended(&mut self, place: u32, event: &Event<'_>, processes: &Processes, asked_for: bool, answered: bool) {
        let Some(request) = self.at(place) else { return };
        // Whoever else gets a message with this reference is not the client.
        if request.client.is_some_and(|client| client != event.tracee) {
            return;
        }
        request.client = Some(event.tracee);
        request.look(event, asked_for, false);
        let end = if answered { End::Answered(event.time) } else { End::ServerDied };
        self.settle(place, Some(end), false, &Known::of(event, processes));
    }

    /// A request ends, as far as it can be followed; `end` is how, where the client was told.
    fn settle(&mut self, place: u32, end: Option<End>, not_followed: bool, view: &Known<'_>) {
        let Some(request) = self.requests.get_mut(place as usize).and_then(Option::take) else { return };
        self.free.push(place);
        self.open.remove(&request.key);
        if let Some(client) = request.client.filter(|_| request.listed)
            && let Some(known) = self.clients.get_mut(&client)
        {
            known.open -= 1;
            known.places ^= place;
            if known.open == 0 {
                self.clients.remove(&client);
            }
        }
        if let Some(received) = &request.received
            && let Some(server) = self.servers.get_mut(&received.server)
        {
            server.forget(received);
        }
        if !request.asked_for || !request.here || !request.meets(end, &self.cut) {
            return;
        }
        // Spoor's own processes are never traced, and the request that ends the recording has no answer in it.
        let is_of_spoor = |to| view.processes.is_of_spoor(to, view.tracees, view.names);
        if matches!(request.to, Who::Process(to) if is_of_spoor(to)) {
            self.to_spoor += 1;
        } else {
            self.accounts.add(&request.settled(end, not_followed, self.now, &self.cut), view);
        }
    }

    /// These have no more events; those that open requests are of are taken out.
    pub fn leave(&mut self, gone: &mut Vec<TraceeId>, known: &Known<'_>) {
        let mut of_requests: HashSet<TraceeId> = HashSet::new();
        for request in self.requests.iter().flatten() {
            of_requests.extend(request.client);
            of_requests.extend(request.received.map(|received| received.server));
            if let Who::Process(to) = request.to {
                of_requests.insert(to);
            }
        }
        gone.retain(|tracee| !of_requests.contains(tracee));
        for tracee in &*gone {
            self.servers.remove(tracee);
            self.clients.remove(tracee);
        }
        self.accounts.leave(gone, known);
    }

    /// A recording ends; the next may begin.
    pub fn end_of_recording(&mut self, known: &Known<'_>) {
        for (id, place) in std::mem::take(&mut self.order) {
            if self.at(place).is_some_and(|request| request.id == id) {
                self.settle(place, None, false, known);
            }
        }
        self.accounts.end_of_recording(known);
        self.servers.clear();
        self.clients.clear();
    }

    /// The answer, with at most so many groups.
    pub fn report(self, limit: usize) -> Report {
        let by = self.accounts.by;
        let (mut groups, slowest) = self.accounts.report();
        let groups_found = groups.len();
        groups.truncate(limit);
        Report {
            by: by.name(),
            groups,
            groups_found,
            slowest,
            replies_without_request: self.replies_to_nothing,
            to_spoor: self.to_spoor,
            messages: self.messages,
        }
    }
}

/// Has the request that stood at a place when it was entered not ended?
fn is_open(requests: &[Option<Request>], (id, place): &(u64, u32)) -> bool {
    requests.get(*place as usize).is_some_and(|known| known.as_ref().is_some_and(|request| request.id == *id))
}

impl Request {
    fn new(id: u64, key: Key, epoch: u32) -> Request {
        Request {
            id,
            key,
            client: None,
            sent: None,
            to: Who::Unknown,
            to_other_node: false,
            received: None,
            replied: None,
            start: None,
            replies_before: None,
            served_before: None,
            timed_out: None,
            listed: false,
            by_other: false,
            to_nobody: false,
            across_losses: false,
            epoch,
            asked_for: false,
            here: false,
            first: u64::MAX,
            last: 0,
        }
    }

    /// Looks at one of its events; `here`: should it be its first, it counts.
    fn look(&mut self, event: &Event<'_>, asked_for: bool, here: bool) {
        self.asked_for |= asked_for;
        self.here |= here && self.first == u64::MAX;
        (self.first, self.last) = (self.first.min(event.time), self.last.max(event.time));
        self.across_losses |= event.epoch != self.epoch || !event.complete || event.missing;
    }

    /// `told` is what the client was told.
    fn end(&self, told: Option<End>) -> End {
        match (told, self.timed_out, self.replied) {
            (Some(End::Answered(time)), ..) => End::Answered(time),
            (None, Some(_), _) => End::TimedOut,
            (None, None, Some(_)) => End::ClientUnseen,
            _ if self.to_nobody => End::NoServer,
            (told, ..) => told.unwrap_or(End::Unanswered),
        }
    }

    /// Was it there in the window, or a part of it?
    fn meets(&self, told: Option<End>, cut: &Cut) -> bool {
        let goes_on = matches!(self.end(told), End::Unanswered);
        cut.meets(self.first, if goes_on { u64::MAX } else { self.last })
    }

    fn settled(&self, told: Option<End>, not_followed: bool, now: u64, cut: &Cut) -> Settled {
        let end = self.end(told);
        let answered = if let End::Answered(time) = end { Some(time) } else { None };
        let since = |end: Option<u64>, start: Option<u64>| end?.checked_sub(start?);
        let received = self.received.map(|received| received.time);
        let start = self.start.map(|start| start.time);
        let given_up = match end {
            End::TimedOut => self.timed_out,
            End::ServerDied | End::NoServer | End::Unanswered => Some(now),
            End::Answered(_) | End::ClientUnseen => None,
        };
        let client = match self.client {
            Some(client) => Who::Process(client),
            None if self.key.is_remote() => Who::OtherNode,
            None => Who::Unknown,
        };
        Settled {
            tail: self.key.tail,
            client,
            server: self.received.map_or(self.to, |received| Who::Process(received.server)),
            end,
            at: self.sent.or(received).or(self.replied),
            client_wait: since(answered, self.sent),
            waited: since(given_up, self.sent.or(received)),
            at_server: since(self.replied, received),
            mailbox_wait: since(start, self.sent),
            service: since(self.replied, start),
            start_at_least: self.start.is_some_and(|start| start.at_least),
            delivery: since(answered, self.replied),
            served_before: self.served_before.filter(|_| self.start.is_some()),
            client_seen: self.client.is_some(),
            server_seen: self.received.is_some(),
            remote: self.key.is_remote() || (self.to_other_node && self.received.is_none()),
            late_reply: matches!(end, End::TimedOut) && self.replied.is_some(),
            by_other: self.by_other,
            across_losses: self.across_losses,
            not_followed,
            began_before: self.first < cut.from,
            ended_after: !matches!(end, End::Unanswered) && self.last > cut.to,
        }
    }
}
