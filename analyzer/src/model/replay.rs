//! Replays the stacks of all processes, on one thread or on several.
//!
//! Processes are dealt out to a fixed number of shares, and a share is replayed by
//! one thread: whatever the number of threads, each share sees the same events in
//! the same order. Tallies only add up, so that their sums are the same too.

use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::model::calls::step_of;
use crate::model::stack::{Observer, Stacks, Step};
use crate::read::Event;

/// Two to the power of this are the shares.
const SHARE_BITS: u32 = 3;
const SHARES: usize = 1 << SHARE_BITS;
/// Who reads cannot keep more busy than these.
const MOST_WORKERS: usize = 4;
/// Steps are handed over in lots of this many, of which this many may wait.
const LOT: usize = 4096;
const WAITING: usize = 4;

/// What is added up while stacks are replayed.
pub trait Tally: Observer + Default + Send {
    /// The next step comes; with `asked_for` false, a call that it begins is not asked for.
    fn before(&mut self, step: &Step, asked_for: bool);
    /// There are no more steps: what is open ends.
    fn before_end(&mut self);
    /// Adds what another thread has added up.
    fn add(&mut self, other: Self);
}

/// The stacks of one recording after the other, and what is added up.
#[derive(Debug)]
pub struct Replay<T> {
    shares: Vec<Stacks>,
    tally: T,
    workers: usize,
}

impl<T: Tally> Replay<T> {
    /// By this many threads: one reads, the others replay; one alone does both.
    pub fn new(threads: usize) -> Replay<T> {
        let shares = (0..SHARES).map(|_| Stacks::share(SHARE_BITS)).collect();
        Replay { shares, tally: T::default(), workers: threads.saturating_sub(1).min(MOST_WORKERS) }
    }

    /// What was added up.
    pub fn tally(&self) -> &T {
        &self.tally
    }

    /// Replays a recording: `read` hands over its events.
    pub fn recording<R>(&mut self, read: impl FnOnce(&mut Feeder<'_, T>) -> R) -> R {
        let Replay { shares, tally, workers } = self;
        if *workers == 0 {
            let result = read(&mut Feeder(Way::Here(shares, tally)));
            end(shares.iter_mut(), tally);
            return result;
        }
        thread::scope(|scope| {
            let (mut lines, mut threads) = (Vec::new(), Vec::new());
            for mut mine in deal(shares, *workers) {
                let (line, lots, used) = Line::new();
                lines.push(line);
                threads.push(scope.spawn(move || {
                    let mut tally = T::default();
                    for lot in lots {
                        replay(&lot, &mut mine, &mut tally);
                        // The reader may not want it back.
                        let _ = used.try_send(lot);
                    }
                    end(mine.into_iter(), &mut tally);
                    tally
                }));
            }
            let mut feeder = Feeder(Way::There(lines));
            let result = read(&mut feeder);
            feeder.finish();
            for thread in threads {
                match thread.join() {
                    Ok(theirs) => tally.add(theirs),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            result
        })
    }
}

/// Share `n` goes to worker `n % workers`, as its share `n / workers`.
fn deal(shares: &mut [Stacks], workers: usize) -> Vec<Vec<&mut Stacks>> {
    let mut hands: Vec<Vec<&mut Stacks>> = (0..workers).map(|_| Vec::new()).collect();
    for (number, share) in shares.iter_mut().enumerate() {
        hands[number % workers].push(share);
    }
    hands
}

fn replay<T: Tally>(lot: &Lot, shares: &mut [&mut Stacks], tally: &mut T) {
    for handed in &lot.steps {
        tally.before(&handed.step, handed.asked_for);
        shares[usize::from(handed.share)].step(handed.step, tally);
    }
}

fn end<'a, T: Tally>(shares: impl Iterator<Item = &'a mut Stacks>, tally: &mut T) {
    tally.before_end();
    for share in shares {
        share.end(tally);
        *share = Stacks::share(SHARE_BITS);
    }
}

/// Takes the events of a recording.
pub struct Feeder<'a, T>(Way<'a, T>);

enum Way<'a, T> {
    Here(&'a mut [Stacks], &'a mut T),
    There(Vec<Line>),
}

struct Handed {
    step: Step,
    /// The worker's number of it.
    share: u8,
    asked_for: bool,
}

#[derive(Default)]
struct Lot {
    steps: Vec<Handed>,
}

/// To a worker, and back with what it has used.
struct Line {
    filling: Lot,
    lots: Sender<Lot>,
    used: Receiver<Lot>,
}

impl Line {
    fn new() -> (Line, Receiver<Lot>, Sender<Lot>) {
        let ((lots, to), (from, used)) = (bounded(WAITING), bounded(WAITING));
        (Line { filling: Lot::default(), lots, used }, to, from)
    }

    /// Fails only when the worker has panicked: joining it will tell.
    fn send(&mut self) {
        let mut next = self.used.try_recv().unwrap_or_default();
        next.steps.clear();
        next.steps.reserve(LOT);
        let _ = self.lots.send(std::mem::replace(&mut self.filling, next));
    }
}

impl<T: Tally> Feeder<'_, T> {
    /// Takes an event; with `asked_for` false, a call that it begins is not asked for.
    #[inline]
    pub fn event(&mut self, event: &Event<'_>, asked_for: bool) {
        let Some(step) = step_of(event) else { return };
        let share = step.process as usize % SHARES;
        match &mut self.0 {
            Way::Here(shares, tally) => {
                tally.before(&step, asked_for);
                shares[share].step(step, *tally);
            }
            Way::There(lines) => {
                let workers = lines.len();
                let line = &mut lines[share % workers];
                line.filling.steps.push(Handed { step, share: (share / workers) as u8, asked_for });
                if line.filling.steps.len() >= LOT {
                    line.send();
                }
            }
        }
    }

    fn finish(self) {
        if let Way::There(mut lines) = self.0 {
            lines.iter_mut().for_each(Line::send);
        }
    }
}
