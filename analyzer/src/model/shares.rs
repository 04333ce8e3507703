//! Replays the stacks of all processes by several threads, for what keeps something of
//! each open call: a table of its own for each share of the processes.
//!
//! As for [`super::replay`], shares do not depend on the number of threads, and what
//! comes of them is added up: so the answer does not depend on it either.

use crate::model::calls::step_of;
use crate::model::clocks::Clocks;
use crate::model::stack::{Observer, Stacks, Step};
use crate::read::{Asked, Deal, Dealt, Event, Outcome, SHARE_BITS, SHARES, TraceeId};

/// What a recording can be dealt out to: it knows how many threads it has.
pub trait Player {
    /// Replays a recording, or the window of it that is dealt out, and looks whether clocks
    /// agree. `asked` and `progress` are those of [`Deal::run`].
    fn deal(
        &mut self,
        deal: Deal<'_>,
        asked: &mut dyn FnMut(&Asked<'_>) -> Option<bool>,
        progress: &mut dyn FnMut(u64),
    ) -> Outcome;
}

/// What one share of the processes comes to.
pub trait Table: Observer + Send {
    /// A process has no more events, and its calls have ended: its number may be another's.
    fn leave(&mut self, _process: u32) {}
    /// A recording ends, and all its calls have; the next may begin, with other processes.
    fn end_of_recording(&mut self, stacks: &Stacks);
}

/// The shares, over one recording after the other.
#[derive(Debug)]
pub struct Shares<T> {
    shares: Box<[Share<T>; SHARES]>,
    threads: usize,
}

/// In cache lines of its own, as others' are written by other threads.
#[derive(Debug)]
#[repr(align(128))]
struct Share<T> {
    stacks: Stacks,
    clocks: Clocks,
    table: T,
}

impl<T: Table> Shares<T> {
    /// By at most this many threads; `table` makes the tables.
    pub fn new(threads: usize, mut table: impl FnMut() -> T) -> Shares<T> {
        let share = |_| Share { stacks: Stacks::share(SHARE_BITS), clocks: Clocks::default(), table: table() };
        Shares { shares: Box::new(std::array::from_fn(share)), threads: threads.clamp(1, SHARES) }
    }

    /// The tables.
    pub fn tables(&self) -> impl Iterator<Item = &T> {
        self.shares.iter().map(|share| &share.table)
    }

    /// The same, to keep them.
    pub fn into_tables(self) -> impl Iterator<Item = T> {
        (*self.shares).into_iter().map(|share| share.table)
    }

    /// Takes an event, on this thread.
    pub fn event(&mut self, event: &Event<'_>, asked_for: bool) {
        if let Some(step) = step_of(event) {
            self.shares[step.process as usize % SHARES].step(step, asked_for);
        }
    }

    /// A recording ends that was taken event by event; the next may begin.
    pub fn end_of_recording(&mut self) {
        for Share { stacks, clocks, table } in self.shares.iter_mut() {
            stacks.end(table);
            table.end_of_recording(stacks);
            (*stacks, *clocks) = (Stacks::share(SHARE_BITS), Clocks::default());
        }
    }
}

impl<T: Table> Player for Shares<T> {
    fn deal(
        &mut self,
        deal: Deal<'_>,
        asked: &mut dyn FnMut(&Asked<'_>) -> Option<bool>,
        progress: &mut dyn FnMut(u64),
    ) -> Outcome {
        let recording = deal.recording();
        let take = |share: &mut Share<T>, _: &mut (), dealt: Dealt| {
            share.clocks.dealt(&dealt);
            share.step(step_of_dealt(&dealt), dealt.asked_for);
        };
        let leave = |share: &mut Share<T>, _: &mut (), tracee: TraceeId| {
            let Share { stacks, clocks, table } = share;
            clocks.leave_share(tracee);
            stacks.leave(tracee.0, table);
            table.leave(tracee.0);
        };
        let mut workers = vec![(); self.threads];
        let mut outcome = deal.run(&mut self.shares, &mut workers, take, leave, asked, progress);
        outcome.findings.extend(Clocks::of_shares(self.shares.iter().map(|share| &share.clocks)).finding(recording));
        self.end_of_recording();
        outcome
    }
}

impl<T: Table> Share<T> {
    #[inline]
    fn step(&mut self, step: Step, asked_for: bool) {
        self.stacks.step(step, asked_for, &mut self.table);
    }
}

/// What stacks need of an event that was dealt out.
#[inline]
pub(crate) fn step_of_dealt(dealt: &Dealt) -> Step {
    Step {
        time: dealt.time,
        process: dealt.tracee.0,
        kind: dealt.kind,
        function: dealt.function,
        normal_exit: dealt.normal_exit,
        epoch: dealt.epoch,
        complete: dealt.complete,
        missing: dealt.missing,
    }
}
