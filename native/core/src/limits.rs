//! When a recording takes no more: what ends it, and what all its lanes share of that.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock;
use crate::governor::Governor;
use crate::options::Options;
use crate::pool::{EXACT, Pool};
use crate::recall::{Signal, Signals};
use crate::registry::{State, wait_until_nobody_is_inside};
use crate::store::Store;

/// What ends a recording by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Limit {
    /// [`Options::time`].
    Time = 1,
    /// [`Options::max_events`].
    MaxEvents = 2,
    /// [`Thinning::rate`], where that ends the recording.
    Rate = 3,
    /// [`Thinning::function_rate`], the same.
    FunctionRate = 4,
    /// [`Thinning::max_cost_ppm`], the same.
    MaxCost = 5,
    /// [`Thinning::max_cost_ppm`] again: to refuse what is more takes far more than that.
    Refusing = 8,
    /// The room is used up in a recording that keeps the first events.
    Full = 6,
    /// Somebody made the file shorter, or a page of it cannot be had any more.
    FileCut = 7,
}

impl Limit {
    const ALL: [Limit; 8] = [
        Limit::Time,
        Limit::MaxEvents,
        Limit::Rate,
        Limit::FunctionRate,
        Limit::MaxCost,
        Limit::Refusing,
        Limit::Full,
        Limit::FileCut,
    ];

    /// The name of the option that set it, or of what happened.
    pub fn name(self) -> &'static str {
        match self {
            Limit::Time => "time",
            Limit::MaxEvents => "max_events",
            Limit::Rate => "rate",
            Limit::FunctionRate => "function_rate",
            Limit::MaxCost => "max_cost",
            Limit::Refusing => "max_cost: refusing events alone takes far more",
            Limit::Full => "full",
            Limit::FileCut => "the file was cut short while it was recorded into",
        }
    }
}

/// The limits of a recording, shared by its lanes.
#[derive(Debug)]
pub(crate) struct Limits {
    state: State,
    /// Ticks of [`Options::time`], counted from [`Limits::start_time`].
    time_ticks: u64,
    /// Events later than this tick are not stored. Stored once, by `start_time`.
    deadline: AtomicU64,
    /// Events not yet granted to a lane.
    pub(crate) pool: Pool,
    /// See [`Options::content_bytes`].
    pub(crate) content_bytes: usize,
    /// What thins the recording, if anything does.
    pub(crate) governor: Option<Arc<Governor>>,
    /// The limit that was reached, or 0.
    reached: AtomicU32,
    /// How lanes are asked to look at all this, and for their chunks.
    pub(crate) signals: Signals,
    /// Held while something is taken from idle lanes: a chunk, or events to store.
    taking: Mutex<()>,
}

impl Limits {
    /// Those of a recording with so many lanes; time does not count yet.
    pub(crate) fn new(state: State, options: &Options, tick_hz: u64, lanes: usize) -> Limits {
        let thinning = &options.thinning;
        Limits {
            state,
            time_ticks: ticks(options.time, tick_hz),
            deadline: AtomicU64::new(u64::MAX),
            pool: Pool::new(options.max_events, lanes, EXACT),
            content_bytes: options.content_bytes,
            governor: (!thinning.is_none()).then(|| Arc::new(Governor::new(thinning.clone(), tick_hz, options.places))),
            reached: AtomicU32::new(0),
            signals: Signals::new(lanes),
            taking: Mutex::new(()),
        }
    }

    /// A limit was reached: from here on events are counted, not stored.
    pub(crate) fn reach(&self, limit: Limit) {
        if self.state.stop() {
            self.reached.store(limit as u32, Ordering::Release);
        }
    }

    /// Is the time of events with this tick over?
    #[inline(always)]
    pub(crate) fn is_over(&self, tick: u64) -> bool {
        // Relaxed: nothing is reached through the answer.
        tick > self.deadline.load(Ordering::Relaxed)
    }

    /// Events later than this are not stored.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline.load(Ordering::Relaxed)
    }

    /// How the lane is asked to look. There is none beyond the lane table.
    pub(crate) fn signal(&self, lane: u32) -> Arc<Signal> {
        self.signals.of(lane).map_or_else(|| Arc::new(Signal::new()), Arc::clone)
    }

    /// Runs `work` while nobody else takes from idle lanes. Never in a callback.
    pub(crate) fn taking<R>(&self, work: impl FnOnce() -> R) -> R {
        let _alone = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }

    /// Takes from idle lanes the events that they will not store, when the end of the
    /// limit is near.
    pub(crate) fn settle(&self, store: &Store) {
        if !self.pool.is_near() {
            return;
        }
        self.signals.ask();
        wait_until_nobody_is_inside();
        self.taking(|| self.pool.take_away(|lane| store.stored_by(lane, self.signal(lane).held())));
    }

    /// From now on the time counts.
    pub(crate) fn start_time(&self) {
        self.deadline.store(clock::now().saturating_add(self.time_ticks), Ordering::Relaxed);
        self.signals.ask();
    }

    /// From now on the stretches of limits are counted.
    pub(crate) fn start_stretches(&self) {
        if let Some(governor) = &self.governor {
            governor.start_time();
        }
    }

    /// Reaches the time limit even when no event comes to notice it.
    pub(crate) fn check_time(&self) {
        if self.is_over(clock::now()) {
            self.reach(Limit::Time);
        }
    }

    /// The limit that was reached.
    pub(crate) fn reached(&self) -> Option<Limit> {
        let reached = self.reached.load(Ordering::Acquire);
        Limit::ALL.into_iter().find(|limit| *limit as u32 == reached)
    }
}

/// A time limit in ticks.
fn ticks(time: Option<Duration>, tick_hz: u64) -> u64 {
    let Some(time) = time else { return u64::MAX };
    let ticks = time.as_nanos() * u128::from(tick_hz) / 1_000_000_000;
    u64::try_from(ticks).unwrap_or(u64::MAX)
}
