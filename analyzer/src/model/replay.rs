//! Replays the stacks of all processes, on one thread or on several.
//!
//! Processes are dealt out to a fixed number of shares: whatever the number of threads,
//! each share sees the same events in the same order. Tallies only add up, so that
//! their sums are the same too, whoever adds.

use std::mem;

use crate::model::calls::step_of;
use crate::model::clocks::Clocks;
use crate::model::shares::{Player, step_of_dealt};
use crate::model::stack::{Observer, Stacks};
use crate::read::{Asked, Deal, Dealt, Event, Outcome, SHARE_BITS, SHARES, TraceeId};

/// What is added up while stacks are replayed.
pub trait Tally: Observer + Default + Send {
    /// Adds what another has added up.
    fn add(&mut self, other: Self);
}

/// The stacks of one recording after the other, and what is added up.
#[derive(Debug)]
pub struct Replay<T> {
    shares: [Share; SHARES],
    /// One for each thread; the first has what the others had before.
    tallies: Vec<Apart<T>>,
}

/// A share of the processes.
#[derive(Debug)]
struct Share {
    stacks: Stacks,
    clocks: Clocks,
}

impl Share {
    fn new() -> Share {
        Share { stacks: Stacks::share(SHARE_BITS), clocks: Clocks::default() }
    }
}

/// In cache lines of its own: each thread writes into its tally for every event.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T: Tally> Replay<T> {
    /// By at most this many threads.
    pub fn new(threads: usize) -> Replay<T> {
        let tallies = (0..threads.clamp(1, SHARES)).map(|_| Apart::default()).collect();
        Replay { shares: std::array::from_fn(|_| Share::new()), tallies }
    }

    /// What was added up.
    pub fn tally(&self) -> &T {
        &self.tallies[0].0
    }

    /// Replays a recording, or the window of it that is dealt out, and looks whether clocks
    /// agree. `asked` and `progress` are those of [`Deal::run`].
    pub fn deal(
        &mut self,
        deal: Deal<'_>,
        asked: impl FnMut(&Asked<'_>) -> Option<bool>,
        progress: impl FnMut(u64),
    ) -> Outcome {
        let recording = deal.recording();
        let take = |Share { stacks, clocks }: &mut Share, Apart(tally): &mut Apart<T>, dealt: Dealt| {
            clocks.dealt(&dealt);
            stacks.step(step_of_dealt(&dealt), dealt.asked_for, tally);
        };
        let leave = |Share { stacks, clocks }: &mut Share, Apart(tally): &mut Apart<T>, tracee: TraceeId| {
            clocks.leave_share(tracee);
            stacks.leave(tracee.0, tally);
        };
        let mut outcome = deal.run(&mut self.shares, &mut self.tallies, take, leave, asked, progress);
        outcome.findings.extend(Clocks::of_shares(self.shares.iter().map(|share| &share.clocks)).finding(recording));
        self.end();
        outcome
    }

    /// Replays a recording event by event, on this thread: `read` hands them over.
    pub fn recording<R>(&mut self, read: impl FnOnce(&mut Feeder<'_, T>) -> R) -> R {
        let result = read(&mut Feeder { shares: &mut self.shares, tally: &mut self.tallies[0].0 });
        self.end();
        result
    }

    fn end(&mut self) {
        let others: Vec<T> = self.tallies[1..].iter_mut().map(|Apart(other)| mem::take(other)).collect();
        let Apart(sum) = &mut self.tallies[0];
        others.into_iter().for_each(|other| sum.add(other));
        for share in &mut self.shares {
            share.stacks.end(sum);
            *share = Share::new();
        }
    }
}

/// Takes the events of a recording.
pub struct Feeder<'a, T> {
    shares: &'a mut [Share; SHARES],
    tally: &'a mut T,
}

impl<T: Tally> Feeder<'_, T> {
    /// Takes an event; with `asked_for` false, a call that it begins is not asked for.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>, asked_for: bool) {
        let Some(step) = step_of(event) else { return };
        self.shares[step.process as usize % SHARES].stacks.step(step, asked_for, self.tally);
    }
}

impl<T: Tally> Player for Replay<T> {
    fn deal(
        &mut self,
        deal: Deal<'_>,
        asked: &mut dyn FnMut(&Asked<'_>) -> Option<bool>,
        progress: &mut dyn FnMut(u64),
    ) -> Outcome {
        Replay::deal(self, deal, asked, progress)
    }
}
