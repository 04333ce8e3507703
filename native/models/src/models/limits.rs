//! The events that may still be stored, near their end.

use loom::sync::Arc;
use loom::thread;

use crate::gate::Epoch;
use crate::pool::{Grant, Pool};
use crate::recall::Signals;
use crate::sync::{AtomicU64, Ordering, barrier_on_all_threads};

/// All events there are: the first two are a portion, the others are taken one by one.
const ALL: u64 = 9;
const ONE_BY_ONE: u64 = 7;

struct Recording {
    pool: Pool,
    signals: Signals,
    epoch: Epoch,
    /// What the lane has stored.
    stored: AtomicU64,
}

/// A lane, as `lane` is one.
struct Lane {
    recording: Arc<Recording>,
    credit: u64,
    settled: bool,
}

impl Lane {
    fn event(&mut self) {
        let recording = self.recording.clone();
        let signal = recording.signals.of(0).expect("there are two lanes");
        assert!(recording.epoch.enter());
        if signal.wants_look(1) {
            signal.look(|| 1);
            if !self.settled && recording.pool.is_to_settle() {
                self.settled = true;
                recording.pool.settle(0, std::mem::take(&mut self.credit));
            }
        }
        if self.credit == 0 {
            self.credit = match recording.pool.grant(0) {
                Grant::Some(credit) => credit,
                Grant::Later | Grant::None => 0,
            };
        }
        if self.credit > 0 {
            recording.stored.store(recording.stored.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            self.credit -= 1;
        }
        recording.epoch.leave();
    }
}

/// The end of a limit comes near while a lane holds a portion and uses it, or does not:
/// what it holds is given back or taken away, once, and so all events are used.
#[test]
fn a_limit_is_used_up_to_the_last_event() {
    // All orders in which a thread is interrupted at most three times.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let recording = Arc::new(Recording {
            pool: Pool::new(Some(ALL), 2, ONE_BY_ONE),
            signals: Signals::new(2),
            epoch: Epoch::new(),
            stored: AtomicU64::new(0),
        });
        let mut lane = Lane { recording: recording.clone(), credit: 0, settled: false };
        lane.event();
        assert!(lane.credit == 1 && recording.pool.is_near());
        let keeper = {
            let recording = recording.clone();
            thread::spawn(move || {
                recording.signals.ask();
                barrier_on_all_threads();
                recording.epoch.wait_until_out();
                recording.pool.take_away(|lane| match lane {
                    0 => recording.stored.load(Ordering::Relaxed),
                    _ => 0,
                });
            })
        };
        lane.event();
        keeper.join().expect("no panic");
        while recording.pool.grant(1) != Grant::None {
            recording.stored.store(recording.stored.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        // What the lane thinks to have left is its own only if it looked.
        let left = if lane.settled { lane.credit } else { 0 };
        assert_eq!(recording.stored.load(Ordering::Relaxed) + left, ALL);
    });
}
