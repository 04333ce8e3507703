//! What a lane and the recorder's own threads say to each other: look again at
//! the limits, and give back a chunk whose place is wanted.
//!
//! A lane asks one word for each event, the tick up to which it need not look.
//! Whoever wants it to look stores 0 there. A lane that is idle looks with its
//! next event, before it writes; so once no thread is inside a callback, what it
//! holds may be taken away from it. Lane and taker agree on who gives the chunk
//! back by one compare-and-swap.

use std::sync::Arc;

use crate::ring::{Ring, Taken};
use crate::sync::{AtomicU64, Ordering};

/// The words of one lane. Lanes do not share cache lines.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Signal {
    /// Up to this tick the lane need not look. Restored by the lane.
    until: AtomicU64,
    /// Number of the chunk of events that the lane writes, 0 for none. Stored by
    /// the lane; set to 0 by whoever gives the chunk back.
    held: AtomicU64,
}

impl Signal {
    /// The lane looks at its first event.
    pub(crate) fn new() -> Signal {
        Signal { until: AtomicU64::new(0), held: AtomicU64::new(0) }
    }

    /// Must the lane look before it stores an event of this tick?
    #[inline(always)]
    pub(crate) fn wants_look(&self, tick: u64) -> bool {
        // Relaxed: what there is to see is read after `look`.
        tick > self.until.load(Ordering::Relaxed)
    }

    /// Asks the lane to look; what it is to see was stored before.
    pub(crate) fn ask(&self) {
        // Release pairs with Acquire in `look`. A swap, so that it comes behind what the
        // lane stored before in every order that is tried.
        self.until.swap(0, Ordering::AcqRel);
    }

    /// The lane looks: what `see` answers is the tick up to which it need not again.
    pub(crate) fn look(&self, see: impl FnOnce() -> u64) {
        // Acquire: what was stored before the question is seen. A question that
        // comes after this leaves its 0.
        self.until.swap(u64::MAX, Ordering::AcqRel);
        let until = see();
        let _ = self.until.compare_exchange(u64::MAX, until, Ordering::Release, Ordering::Relaxed);
    }

    /// The lane takes a chunk, if the ring gives one, and begins it.
    pub(crate) fn take(&self, ring: &Ring, begin: impl FnOnce(&Taken)) -> Option<Taken> {
        let taken = ring.take()?;
        self.hold(taken.seq);
        begin(&taken);
        Some(taken)
    }

    /// The lane leaves a chunk; `count` enters what it stored. False when the chunk was taken
    /// away: its place is somebody else's to give back.
    pub(crate) fn leave(&self, ring: &Ring, index: u64, seq: u64, count: impl FnOnce()) -> bool {
        // First: who finds it holding nothing finds all counted.
        count();
        let is_its_own = self.let_go(seq);
        if is_its_own {
            ring.release(index);
        }
        is_its_own
    }

    /// The lane has taken a chunk.
    fn hold(&self, seq: u64) {
        self.held.store(seq, Ordering::Relaxed);
    }

    /// The chunk that the lane writes, 0 for none.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Ordering::Acquire) // pairs with Release in `let_go`
    }

    /// For the lane and for a taker: true for the one that is to give the chunk back.
    pub(crate) fn let_go(&self, seq: u64) -> bool {
        // Release: whoever finds nothing held finds the chunk as it was left.
        self.held.compare_exchange(seq, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The signals of all lanes, and which chunks are recalled from them.
#[derive(Debug)]
pub(crate) struct Signals {
    /// By lane.
    of: Box<[Arc<Signal>]>,
    /// Chunks of events up to this number are to be given back.
    recalled: AtomicU64,
}

impl Signals {
    pub(crate) fn new(lanes: usize) -> Signals {
        Signals { of: (0..lanes).map(|_| Arc::new(Signal::new())).collect(), recalled: AtomicU64::new(0) }
    }

    /// How the lane is asked; `None` for one that there is not.
    pub(crate) fn of(&self, lane: u32) -> Option<&Arc<Signal>> {
        self.of.get(lane as usize)
    }

    /// Asks all lanes to look.
    pub(crate) fn ask(&self) {
        self.of.iter().for_each(|signal| signal.ask());
    }

    /// Asks the lanes for their chunks of events up to this number.
    pub(crate) fn recall(&self, last: u64) {
        self.recalled.store(last, Ordering::Relaxed);
        self.ask(); // Release: with what was stored before
    }

    /// Chunks of events up to this number are to be given back. For a lane that looks.
    pub(crate) fn recalled(&self) -> u64 {
        self.recalled.load(Ordering::Relaxed)
    }

    /// Does any lane hold a chunk up to this number?
    pub(crate) fn is_held(&self, last: u64) -> bool {
        self.of.iter().any(|signal| (1..=last).contains(&signal.held()))
    }

    /// Takes the recalled chunks from the lanes that are idle; `taken` is told lane and
    /// number. Only after each thread that was inside a callback when they were recalled
    /// has come out of it: from then on the chunks are nobody's.
    pub(crate) fn take_away(&self, mut taken: impl FnMut(u32, u64)) {
        let last = self.recalled();
        for (lane, signal) in self.of.iter().enumerate() {
            let seq = signal.held();
            if (1..=last).contains(&seq) && signal.let_go(seq) {
                taken(lane as u32, seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_answered_once() {
        let signal = Signal::new();
        assert!(signal.wants_look(1));
        signal.look(|| 10);
        assert!(!signal.wants_look(10) && signal.wants_look(11));
        signal.ask();
        assert!(signal.wants_look(1));
    }

    #[test]
    fn a_question_asked_while_the_lane_looks_stays() {
        let signal = Signal::new();
        signal.look(|| {
            signal.ask();
            10
        });
        assert!(signal.wants_look(1));
    }

    #[test]
    fn one_of_two_gives_the_chunk_back() {
        let signal = Signal::new();
        signal.hold(7);
        assert!(!signal.let_go(6) && signal.let_go(7) && !signal.let_go(7));
    }
}
