//! What a stream adds to the ring: places that are allowed and recalled.

use loom::sync::Arc;
use loom::thread;

use crate::gate::{Epoch, wait_until_all_are_out};
use crate::models::Chunks;
use crate::recall::{Signal, Signals};
use crate::ring::Ring;
use crate::sync::{AtomicU64, Ordering};

/// Segments of one chunk each, with two places for them.
struct Stream {
    ring: Ring,
    places: Chunks,
    signals: Signals,
    epoch: Epoch,
    /// What the lane has stored in chunks that are not its any more.
    sealed: AtomicU64,
    /// Chunks that were given back or taken away.
    closed: AtomicU64,
}

impl Stream {
    fn new(allowed: u64) -> Arc<Stream> {
        let (ring, epoch) = (Ring::new(2, 0), Epoch::new());
        ring.allow(allowed);
        let (sealed, closed) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Stream { ring, places: Chunks::new(2), signals: Signals::new(1), epoch, sealed, closed })
    }

    fn signal(&self) -> &Signal {
        self.signals.of(0).expect("one lane")
    }

    /// As many events as chunks: each lane stores as it likes.
    fn count_stored(&self, seq: u64) {
        self.sealed.fetch_max(seq, Ordering::Release);
    }

    fn stored(&self) -> u64 {
        self.sealed.load(Ordering::Acquire)
    }

    /// Each chunk that was taken was counted, and closed by exactly one.
    fn assert_closed(&self) {
        let closed = self.closed.load(Ordering::Relaxed);
        assert_eq!((closed, self.stored(), self.signal().held()), (self.ring.asked(), self.ring.asked(), 0));
    }

    /// What the thread of the segments does with the first: recalls its chunk, takes
    /// it away from a lane that is idle, and puts the third in its place.
    fn close_first(&self) {
        self.signals.recall(1);
        wait_until_all_are_out(|show| show(&self.epoch));
        self.signals.take_away(|_, seq| {
            self.count_stored(seq);
            self.closed.fetch_add(1, Ordering::Relaxed);
        });
        // Sealed and unmapped: a lane that is there now, or comes later, is a race.
        self.places.write(0, 0);
        self.ring.allow(3);
    }
}

/// A lane, as `lane` and `stream` are one.
struct Lane {
    stream: Arc<Stream>,
    open: Option<(u64, u64)>,
}

impl Lane {
    fn event(&mut self, tick: u64) -> bool {
        let stream = self.stream.clone();
        assert!(stream.epoch.enter());
        if stream.signal().wants_look(tick) {
            let mut recalled = 0;
            stream.signal().look(|| {
                recalled = stream.signals.recalled();
                tick
            });
            if self.open.is_some_and(|(_, seq)| seq <= recalled) {
                self.close();
            }
        }
        if self.open.is_none()
            && let Some(taken) = stream.signal().take(&stream.ring, |_| ())
        {
            self.open = Some((taken.index, taken.seq));
        }
        if let Some((index, seq)) = self.open {
            stream.places.write(index, seq);
        }
        stream.epoch.leave();
        self.open.is_some()
    }

    fn close(&mut self) {
        let Some((index, seq)) = self.open.take() else { return };
        let is_back = self.stream.signal().leave(&self.stream.ring, index, seq, || self.stream.count_stored(seq));
        self.stream.closed.fetch_add(u64::from(is_back), Ordering::Relaxed);
    }
}

/// Who finds that a lane holds no chunk any more finds all counted that it stored.
#[test]
fn what_a_lane_left_is_counted() {
    loom::model(|| {
        let stream = Stream::new(1);
        let mut lane = Lane { stream: stream.clone(), open: None };
        assert!(lane.event(1));
        let leaves = thread::spawn(move || lane.close());
        let found = (stream.signal().held(), stream.stored());
        leaves.join().expect("no panic");
        assert!(found.0 == 1 || found.1 == 1, "{found:?}");
        assert_eq!((stream.signal().held(), stream.stored()), (0, 1));
    });
}

/// The first segment is closed under a lane that writes it or has fallen idle in
/// it: from then on nobody writes there, and its chunk is closed once.
#[test]
fn a_segment_that_is_closed_is_left_by_all() {
    // All orders in which a thread is interrupted at most three times.
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let stream = Stream::new(2);
        let mut lane = Lane { stream: stream.clone(), open: None };
        assert!(lane.event(1));
        let segments = {
            let stream = stream.clone();
            thread::spawn(move || stream.close_first())
        };
        // The first of these looks at its limits, asked or not.
        assert!(lane.event(2) && lane.event(2));
        segments.join().expect("no panic");
        // The recording ends.
        lane.close();
        stream.assert_closed();
    });
}

/// A lane uses segments up while the next are allowed: it gets those in turn, or for
/// once none, and writes a place only when what was there before is gone.
#[test]
fn a_place_is_taken_when_it_is_allowed() {
    loom::model(|| {
        let stream = Stream::new(1);
        let other = {
            let stream = stream.clone();
            thread::spawn(move || {
                stream.places.write(1, 7);
                stream.ring.allow(2);
            })
        };
        let mut lane = Lane { stream: stream.clone(), open: None };
        assert!(lane.event(1));
        lane.close();
        let second = lane.event(1);
        assert_eq!(second, lane.open.is_some_and(|(index, seq)| (index, seq) == (1, 2)));
        other.join().expect("no panic");
        lane.close();
        stream.assert_closed();
    });
}

/// Two lanes want the last chunk that is allowed: one gets it.
#[test]
fn no_chunk_is_given_out_beyond_what_is_allowed() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(2, 0));
        ring.allow(1);
        let other = {
            let ring = ring.clone();
            thread::spawn(move || ring.take().is_some())
        };
        let mine = ring.take().is_some();
        assert!(mine != other.join().expect("no panic"));
        assert_eq!((ring.asked(), ring.left()), (1, 0));
    });
}
