//! Requests that have ended, summed up; the slowest of them; and those seen from one
//! end in one recording and from the other in another.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, HashSet};

use super::report::{Line, Parts, Row, SlowRequest};
use crate::model::group::Groups;
use crate::model::processes::Known;
use crate::read::TraceeId;

/// Ends of requests that wait for their other ends, in the recordings to come.
const MOST_HALVES: usize = 1 << 17;

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Who is asked.
    #[default]
    Server,
    /// Who asks.
    Client,
}

impl By {
    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            By::Server => "server",
            By::Client => "client",
        }
    }
}

/// Who had a part in a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Process(TraceeId),
    /// A destination as the client wrote it.
    Other(u32),
    OtherNode,
    Unknown,
}

/// How a request ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Answered(u64),
    TimedOut,
    ServerDied,
    NoServer,
    ClientUnseen,
    Unanswered,
}

/// A request that has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settled {
    pub(super) tail: [u64; 3],
    pub(super) client: Who,
    pub(super) server: Who,
    pub(super) end: End,
    pub(super) at: Option<u64>,
    pub(super) client_wait: Option<u64>,
    /// Without an answer: until the client gave up or was told, else to the last event.
    pub(super) waited: Option<u64>,
    pub(super) at_server: Option<u64>,
    pub(super) mailbox_wait: Option<u64>,
    pub(super) service: Option<u64>,
    /// Service began then, or later.
    pub(super) start_at_least: bool,
    pub(super) delivery: Option<u64>,
    pub(super) served_before: Option<u64>,
    pub(super) client_seen: bool,
    pub(super) server_seen: bool,
    pub(super) remote: bool,
    pub(super) late_reply: bool,
    pub(super) by_other: bool,
    pub(super) across_losses: bool,
    pub(super) not_followed: bool,
    /// Of the window.
    pub(super) began_before: bool,
    pub(super) ended_after: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum RowKey {
    Group(u32),
    Other(u32),
}

/// A slow request whose names are still to be told.
#[derive(Debug)]
enum Slow {
    Found(Settled),
    Told(SlowRequest),
}

/// An end of a request that waits for the other.
#[derive(Debug)]
struct Half {
    key: RowKey,
    /// The row of the server, whatever rows are.
    server: RowKey,
    settled: Settled,
    /// Its number among all that are slow.
    ordinal: u64,
}

/// What the recording of the server's node tells of a slow request.
#[derive(Debug)]
struct OtherEnd {
    server: RowKey,
    ordinal: u64,
    at_server: Option<u64>,
    service: Option<u64>,
    served_before: Option<u64>,
    on_the_way: Option<u64>,
}

/// By reference, and whether it is the client's end.
type Halves = BTreeMap<([u64; 3], bool), Half>;

#[derive(Debug)]
pub(super) struct Accounts {
    pub(super) by: By,
    groups: Groups,
    others: Vec<String>,
    other_numbers: HashMap<String, u32>,
    rows: HashMap<RowKey, Row>,
    keep: usize,
    show: usize,
    ordinal: u64,
    /// The longest, and of equal ones the first: the least of those kept is on top.
    slowest: BinaryHeap<Reverse<(u64, Reverse<u64>)>>,
    slow: HashMap<u64, Slow>,
    /// Of slow requests seen in two recordings: the server's end, by the number of the client's.
    other_ends: HashMap<u64, OtherEnd>,
    /// None when there is but one recording.
    halves: Option<Halves>,
}

impl Accounts {
    pub(super) fn new(by: By, groups: Groups, keep: usize, several: bool) -> Accounts {
        Accounts {
            by,
            groups,
            others: Vec::new(),
            other_numbers: HashMap::new(),
            rows: HashMap::new(),
            // Two ends may turn out to be one request.
            keep: if several { 2 * keep } else { keep },
            show: keep,
            ordinal: 0,
            slowest: BinaryHeap::new(),
            slow: HashMap::new(),
            other_ends: HashMap::new(),
            halves: several.then(BTreeMap::new),
        }
    }

    /// The number of a text that stands for a process that is not known.
    pub(super) fn other(&mut self, text: String) -> u32 {
        let next = self.others.len() as u32;
        *self.other_numbers.entry(text).or_insert_with_key(|text| {
            self.others.push(text.clone());
            next
        })
    }

    pub(super) fn add(&mut self, settled: &Settled, view: &Known<'_>) {
        let ordinal = self.remember_slow(settled);
        let key = match self.by {
            By::Server => self.key(settled.server, view),
            By::Client => self.key(settled.client, view),
        };
        let server = match self.by {
            By::Client if settled.server_seen => self.key(settled.server, view),
            _ => key,
        };
        let is_half = settled.client_seen != settled.server_seen;
        match &mut self.halves {
            Some(halves) if is_half && halves.len() < MOST_HALVES => {
                let this = Half { key, server, settled: *settled, ordinal };
                let Some(other) = halves.remove(&(settled.tail, !settled.client_seen)) else {
                    halves.insert((settled.tail, settled.client_seen), this);
                    return;
                };
                let (of_client, of_server) = if settled.client_seen { (this, other) } else { (other, this) };
                let key = if self.by == By::Client { of_client.key } else { of_server.key };
                let (client, server) = (&of_client.settled, &of_server.settled);
                let on_the_way = client.client_wait.zip(server.at_server).and_then(|(all, at)| all.checked_sub(at));
                let joined = Settled {
                    served_before: server.served_before,
                    service: server.service,
                    start_at_least: server.start_at_least,
                    server_seen: true,
                    remote: true,
                    late_reply: matches!(client.end, End::TimedOut) && matches!(server.end, End::ClientUnseen),
                    by_other: server.by_other,
                    across_losses: client.across_losses || server.across_losses,
                    not_followed: client.not_followed || server.not_followed,
                    began_before: client.began_before || server.began_before,
                    ended_after: client.ended_after || server.ended_after,
                    ..*client
                };
                let other_end = OtherEnd {
                    server: of_server.server,
                    ordinal: of_server.ordinal,
                    at_server: server.at_server,
                    service: server.service,
                    served_before: server.served_before,
                    on_the_way,
                };
                self.is_one(of_client.ordinal, other_end);
                self.count(key, &joined, Some(on_the_way));
            }
            _ => self.count(key, settled, None),
        }
    }

    fn key(&mut self, who: Who, view: &Known<'_>) -> RowKey {
        match who {
            Who::Process(tracee) => RowKey::Group(self.groups.of(tracee, view.processes, view.tracees, view.names)),
            Who::Other(other) => RowKey::Other(other),
            Who::OtherNode => RowKey::Other(self.other("on another node".to_owned())),
            Who::Unknown => RowKey::Other(self.other("not recorded".to_owned())),
        }
    }

    /// `joined` says that both ends were found in two recordings, and the time on the way.
    fn count(&mut self, key: RowKey, settled: &Settled, joined: Option<Option<u64>>) {
        let row = self.rows.entry(key).or_default();
        let counts = &mut row.counts;
        counts.requests += 1;
        let end = match settled.end {
            End::Answered(_) => &mut counts.answered,
            End::TimedOut => &mut counts.timed_out,
            End::ServerDied => &mut counts.server_died,
            End::NoServer => &mut counts.no_server,
            End::ClientUnseen => &mut counts.client_unseen,
            End::Unanswered => &mut counts.unanswered,
        };
        *end += 1;
        counts.late_replies += u64::from(settled.late_reply);
        counts.server_unseen += u64::from(!settled.server_seen);
        counts.remote += u64::from(settled.remote);
        counts.joined += u64::from(joined.is_some());
        counts.across_losses += u64::from(settled.across_losses);
        counts.replied_by_other += u64::from(settled.by_other);
        counts.not_followed += u64::from(settled.not_followed);
        counts.began_before += u64::from(settled.began_before);
        counts.ended_after += u64::from(settled.ended_after);
        counts.service_at_most += u64::from(settled.start_at_least && settled.service.is_some());
        let parts = settled.parts();
        let answered = matches!(settled.end, End::Answered(_));
        let both = settled.client_wait.is_some() && settled.server_seen;
        counts.not_split += u64::from(answered && both && joined.is_none() && parts.is_none());
        parts.iter().for_each(|parts| row.split.record(parts));
        let known = |durations: &mut crate::model::histogram::Durations, ns: Option<u64>| {
            ns.into_iter().for_each(|ns| durations.record(ns));
        };
        known(&mut row.client_wait, settled.client_wait);
        known(&mut row.mailbox_wait, settled.mailbox_wait);
        known(&mut row.service, settled.service);
        known(&mut row.delivery, settled.delivery);
        known(&mut row.on_the_way, joined.flatten());
        row.queue_max = row.queue_max.max(settled.served_before.unwrap_or(0));
    }

    /// Answers its number.
    fn remember_slow(&mut self, settled: &Settled) -> u64 {
        let number = self.ordinal;
        let Some(time) = settled.client_wait.or(settled.waited).or(settled.at_server) else { return u64::MAX };
        let place = (time, Reverse(number));
        self.ordinal += 1;
        if self.keep == 0 || (self.slowest.len() == self.keep && self.slowest.peek().is_some_and(|r| r.0 >= place)) {
            return number;
        }
        self.slowest.push(Reverse(place));
        self.slow.insert(number, Slow::Found(*settled));
        if self.slowest.len() > self.keep
            && let Some(Reverse((_, Reverse(ordinal)))) = self.slowest.pop()
        {
            self.slow.remove(&ordinal);
            self.other_ends.remove(&ordinal).into_iter().for_each(|end| drop(self.slow.remove(&end.ordinal)));
        }
        number
    }

    /// Two are the ends of one request: only the client's is listed, with what the server's tells,
    /// whether or not that was among the slowest itself.
    fn is_one(&mut self, client: u64, server: OtherEnd) {
        if self.slow.contains_key(&server.ordinal) {
            self.slowest.retain(|Reverse((_, Reverse(ordinal)))| *ordinal != server.ordinal);
        }
        if self.slow.contains_key(&client) {
            self.other_ends.insert(client, server);
        } else {
            self.slow.remove(&server.ordinal);
        }
    }

    /// Names are given to the slow requests of these processes, or of all.
    fn name(&mut self, known: &Known<'_>, these: Option<&HashSet<TraceeId>>) {
        let others = &self.others;
        let name = |who: Who| match who {
            Who::Process(tracee) => known.full_name(tracee),
            Who::Other(other) => others.get(other as usize).cloned().unwrap_or_default(),
            Who::OtherNode => "on another node".to_owned(),
            Who::Unknown => "not recorded".to_owned(),
        };
        let is_of_these = |who: Who| match (these, who) {
            (None, _) => true,
            (Some(these), Who::Process(tracee)) => these.contains(&tracee),
            _ => false,
        };
        for slow in self.slow.values_mut() {
            if let Slow::Found(found) = slow
                && (is_of_these(found.client) || is_of_these(found.server))
            {
                *slow = Slow::Told(SlowRequest {
                    recording: known.recording.path.clone(),
                    at_ns: found.at.unwrap_or(0).saturating_sub(known.recording.start_ns),
                    end: found.end.name(),
                    client_wait_ns: found.client_wait,
                    waited_ns: found.waited,
                    at_server_ns: found.at_server,
                    service_ns: found.service,
                    on_the_way_ns: None,
                    client: name(found.client),
                    server: name(found.server),
                    parts: found.parts(),
                    served_before: found.served_before,
                    began_before: found.began_before,
                    ended_after: found.ended_after,
                });
            }
        }
    }

    /// These have no more events, and no open requests.
    pub(super) fn leave(&mut self, gone: &[TraceeId], known: &Known<'_>) {
        let these: HashSet<TraceeId> = gone.iter().copied().collect();
        self.name(known, Some(&these));
        gone.iter().for_each(|tracee| self.groups.forget(*tracee));
    }

    pub(super) fn end_of_recording(&mut self, known: &Known<'_>) {
        self.name(known, None);
        self.groups.end_of_recording();
    }

    /// The groups, most requests first, and the slowest requests.
    pub(super) fn report(mut self) -> (Vec<Line>, Vec<SlowRequest>) {
        for (_, half) in self.halves.take().unwrap_or_default() {
            self.count(half.key, &half.settled, None);
        }
        let titles = self.groups.titles();
        let mut sums: BTreeMap<&str, Row> = BTreeMap::new();
        let mut rows: Vec<(RowKey, Row)> = self.rows.into_iter().collect();
        rows.sort_by_key(|(key, _)| *key);
        let others = &self.others;
        let title_of = |key| match key {
            RowKey::Group(group) => titles.get(group as usize).map_or("?", String::as_str),
            RowKey::Other(other) => others.get(other as usize).map_or("?", String::as_str),
        };
        for (key, row) in rows {
            let title = title_of(key);
            match sums.get_mut(title) {
                Some(sum) => sum.add(&row),
                None => drop(sums.insert(title, row)),
            }
        }
        let mut lines: Vec<Line> = sums.into_iter().map(|(title, row)| row.line(title.to_owned())).collect();
        lines.sort_by(|a, b| b.counts.requests.cmp(&a.counts.requests).then_with(|| a.group.cmp(&b.group)));
        let mut slowest: Vec<(u64, Reverse<u64>)> = self.slowest.into_iter().map(|Reverse(place)| place).collect();
        slowest.sort_by_key(|place| Reverse(*place));
        let told = slowest.into_iter().filter_map(|(_, Reverse(ordinal))| {
            let mut told = self::told(self.slow.remove(&ordinal)?)?;
            if let Some(end) = self.other_ends.remove(&ordinal) {
                let named = self.slow.remove(&end.ordinal).and_then(self::told).map(|other| other.server);
                told.server = named.unwrap_or_else(|| title_of(end.server).to_owned());
                (told.at_server_ns, told.service_ns) = (end.at_server, end.service);
                (told.on_the_way_ns, told.served_before) = (end.on_the_way, end.served_before);
            }
            Some(told)
        });
        (lines, told.take(self.show).collect())
    }
}

fn told(slow: Slow) -> Option<SlowRequest> {
    match slow {
        Slow::Told(told) => Some(told),
        Slow::Found(_) => None,
    }
}

impl End {
    fn name(self) -> &'static str {
        match self {
            End::Answered(_) => "answered",
            End::TimedOut => "timed_out",
            End::ServerDied => "server_died",
            End::NoServer => "no_server",
            End::ClientUnseen => "client_unseen",
            End::Unanswered => "unanswered",
        }
    }
}

impl Settled {
    /// What the client's wait went to: adds up to it.
    fn parts(&self) -> Option<Parts> {
        let (mailbox_wait_ns, service_ns, delivery_ns) = (self.mailbox_wait?, self.service?, self.delivery?);
        let all = mailbox_wait_ns + service_ns + delivery_ns;
        (self.client_wait == Some(all)).then_some(Parts { mailbox_wait_ns, service_ns, delivery_ns })
    }
}
