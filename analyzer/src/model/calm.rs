//! Moments in which nobody can have been in a run queue.
//!
//! Whoever is ready stays so until it runs, and no scheduler is idle for long while somebody is
//! ready: another's run queue is looked at, and those who sleep are woken. So who comes in was not
//! ready before the last moment at which a scheduler had been idle for long.

use std::collections::VecDeque;

use crate::read::{Event, Recording, kind};

/// Idle for so long is long: schedulers spin for less before they sleep, and are woken in less.
const LONG_NS: u64 = 5_000_000;
/// So many entries that are not true any more may be kept.
const MANY: usize = 64;

/// The schedulers of a recording, as time goes by.
#[derive(Debug, Default)]
pub(super) struct Calm {
    /// Of each lane: since when nobody is on it, should it be a scheduler and that be known.
    idle: Vec<Idle>,
    /// Lanes and when they became idle, the first first; some are not any more.
    order: VecDeque<(usize, u64)>,
    epoch: u32,
    last: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Idle {
    NoScheduler,
    No,
    Since(u64),
}

impl Calm {
    /// Of a recording. Where not all processes are traced, a thread that looks idle may be busy.
    pub(super) fn new(recording: &Recording) -> Calm {
        let all = recording.meta.get("procs") == Some("all") && recording.meta.get("sample").is_none();
        let mut idle = Vec::new();
        for lane in recording.ledger.iter().filter(|lane| all && lane.kind == "scheduler") {
            let at = lane.lane as usize;
            idle.resize(idle.len().max(at + 1), Idle::NoScheduler);
            idle[at] = Idle::No;
        }
        Calm { idle, ..Calm::default() }
    }

    /// Takes an event; answers, when somebody comes in, the last moment before at which nobody was
    /// ready.
    #[inline]
    pub(super) fn event(&mut self, event: &Event<'_>) -> u64 {
        if !matches!(event.kind, kind::IN..=kind::OUT_EXITED | kind::EXIT) {
            return self.last;
        }
        self.turn(event)
    }

    fn turn(&mut self, event: &Event<'_>) -> u64 {
        let (lane, now) = (event.lane as usize, event.time);
        if self.epoch != event.epoch || !event.complete {
            self.epoch = event.epoch;
            self.order.clear();
            self.idle.iter_mut().filter(|idle| **idle != Idle::NoScheduler).for_each(|idle| *idle = Idle::No);
        }
        while let Some((lane, since)) = self.order.front().copied() {
            if self.idle[lane] != Idle::Since(since) {
                self.order.pop_front();
                continue;
            }
            if now.saturating_sub(since) >= LONG_NS {
                self.last = self.last.max(now);
            }
            break;
        }
        let mut left = false;
        if let Some(idle) = self.idle.get_mut(lane).filter(|idle| **idle != Idle::NoScheduler) {
            *idle = match event.kind {
                kind::IN | kind::IN_EXITING => Idle::No,
                _ => {
                    left = true;
                    Idle::Since(now)
                }
            };
        }
        if left {
            self.order.push_back((lane, now));
        }
        // Those behind one that is idle for ever.
        if self.order.len() > 2 * self.idle.len() + MANY {
            let Calm { idle, order, .. } = self;
            order.retain(|(lane, since)| idle[*lane] == Idle::Since(*since));
        }
        self.last
    }
}
