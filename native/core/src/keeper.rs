//! The recorder's own thread: watches the owner, tells the time, seals chunks
//! with their checksums, and ends the recording.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use spoor_format::status::Phase;

use crate::background::with_signals_blocked;
use crate::clock;
use crate::limits::{Limit, Limits};
use crate::pace::Pace;
use crate::recording::Summary;
use crate::registry::{self, State};
use crate::store::{Store, Which};

/// How often the keeper looks around.
const LOOK: Duration = Duration::from_millis(50);
/// The same when a limit of events is about to come near.
const SHORT_LOOK: Duration = Duration::from_millis(1);
/// How often it writes a clock pair.
const CLOCK: Duration = Duration::from_secs(1);

/// Chunks of a ring that it looks at each time: all, in recordings of up to 128 MiB. In larger
/// ones a checksum comes a little later, and looking costs no more.
const MOST_CHUNKS: usize = 1024;

/// The one for whom the recording is made; called on the keeper's thread.
pub trait Host: Send {
    /// Is the owner still there?
    fn owner_alive(&self) -> bool;
    /// The recording takes no more events; said once.
    fn limit(&self, state: State, limit: Limit);
    /// The file is complete and no longer mapped; said once, at the very end.
    fn closed(&self, state: State, summary: &Summary);
}

/// What the keeper is asked to do.
#[derive(Debug)]
pub(crate) enum Command {
    /// End the recording, for this reason.
    Close(String),
}

/// Recordings that have a keeper.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How many recordings are not complete.
pub(crate) fn open() -> usize {
    OPEN.load(Ordering::Acquire) // pairs with Release in `run`
}

/// Starts the keeper of a recording that is about to be published.
pub(crate) fn start(
    state: State,
    store: Arc<Store>,
    limits: Arc<Limits>,
    host: impl Host + 'static,
) -> io::Result<Sender<Command>> {
    let (sender, receiver) = bounded(4);
    let keeper = Keeper {
        state,
        sealed: [vec![0; store.header().events.chunks as usize], vec![0; store.header().info.chunks as usize]],
        next: [0; 2],
        store,
        limits,
        host: Box::new(host),
        clocks: 2,
        last_clock: Instant::now(),
        limit_told: false,
        last_look: Instant::now(),
        left: u64::MAX,
        pace: u64::MAX,
    };
    let run = || {
        keeper.run(receiver);
        OPEN.fetch_sub(1, Ordering::Release);
    };
    OPEN.fetch_add(1, Ordering::Relaxed);
    let started = with_signals_blocked(|| std::thread::Builder::new().name("spoor_keeper".into()).spawn(run));
    if let Err(error) = started {
        OPEN.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    Ok(sender)
}

struct Keeper {
    state: State,
    store: Arc<Store>,
    limits: Arc<Limits>,
    host: Box<dyn Host>,
    /// Take number of each chunk when it was sealed, by ring.
    sealed: [Vec<u64>; 2],
    /// Where it goes on to look, by ring.
    next: [usize; 2],
    clocks: u64,
    last_clock: Instant,
    limit_told: bool,
    last_look: Instant,
    /// Events left when it looked last, and how many went between two looks; at first
    /// that is not known, and may be all.
    left: u64,
    pace: u64,
}

impl Keeper {
    fn run(mut self, commands: Receiver<Command>) {
        let reason = loop {
            match commands.recv_timeout(self.pause()) {
                Ok(Command::Close(reason)) => break reason,
                Err(RecvTimeoutError::Disconnected) => return,
                // Not yet published, there is nothing to look at, nor to end.
                Err(RecvTimeoutError::Timeout) if self.state.is_reserved() => continue,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.limits.settle(&self.store);
            if self.last_look.elapsed() < LOOK {
                continue;
            }
            self.last_look = Instant::now();
            if !self.host.owner_alive() {
                break "the owner died".to_owned();
            }
            self.look();
        };
        self.end(&reason);
    }

    /// Lanes hold portions of a limit that comes near: they are settled in time for the
    /// last events to be stored, so the keeper looks often then.
    fn pause(&self) -> Duration {
        match self.limits.pool.plenty() {
            Some(left) if left / 3 < self.pace => SHORT_LOOK,
            _ => LOOK,
        }
    }

    fn look(&mut self) {
        if self.last_clock.elapsed() >= CLOCK {
            self.write_clock();
        }
        let left = self.limits.pool.plenty().unwrap_or(0);
        self.pace = self.left.saturating_sub(left);
        self.left = left;
        self.seal(MOST_CHUNKS);
        self.limits.check_time();
        if self.store.is_lost() {
            self.limits.reach(Limit::FileCut);
        }
        if let (false, Some(limit)) = (self.limit_told, self.limits.reached()) {
            self.limit_told = true;
            self.store.write_status(Phase::Stopping, clock::now(), limit.name());
            self.host.limit(self.state, limit);
        }
    }

    fn write_clock(&mut self) {
        self.clocks += 1;
        self.last_clock = Instant::now();
        self.store.write_clock(&clock::pair(self.clocks));
    }

    /// Adds checksums to the chunks given back since the last time.
    fn seal(&mut self, most: usize) {
        let mut pace = Pace::begin();
        let rings = [Which::Events, Which::Infos].into_iter().zip(&mut self.sealed).zip(&mut self.next);
        for ((which, sealed), next) in rings {
            for _ in 0..most.min(sealed.len()) {
                let index = *next % sealed.len();
                *next = index + 1;
                let sealed = &mut sealed[index];
                if self.store.chunk_seq(which, index as u64) != *sealed {
                    *sealed = self.store.seal_chunk(which, index as u64).unwrap_or(*sealed);
                    // Not while it is pinned: a chunk whose turn comes then is passed over.
                    pace.step();
                }
            }
        }
    }

    fn end(mut self, reason: &str) {
        let Some(recording) = registry::withdraw(self.state) else { return };
        self.write_clock();
        // A limit that was reached a moment before somebody else said stop.
        let limit = self.limits.reached().map(Limit::name);
        let cut = |store: &Store| store.is_lost().then(|| Limit::FileCut.name());
        let mut summary = recording.end(cut(&self.store).or(limit).unwrap_or(reason));
        self.seal(usize::MAX);
        // It may be that only the last words found no place.
        if let Some(cut) = cut(&self.store) {
            summary.stop_reason = cut.to_owned();
        }
        // The last owner of the mapping goes before anybody is told.
        drop(self.store);
        self.host.closed(self.state, &summary);
    }
}
