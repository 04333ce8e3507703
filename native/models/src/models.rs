use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use crate::chunk_words::{ChunkWords, commit, copying, promised, read_stable};
use crate::gate::{self, Epoch};
use crate::processes::Processes;
use crate::ring::{ENDLESS, Ring};
use crate::sync::{AtomicU64, Ordering};

mod limits;
mod rates;
mod recalls;

/// The memory of chunks: loom sees whether two threads touch one at a time, or
/// one without seeing what the other did before.
pub(crate) struct Chunks(Vec<UnsafeCell<u64>>);

// SAFETY: loom checks each access.
unsafe impl Sync for Chunks {}

impl Chunks {
    pub(crate) fn new(number: usize) -> Self {
        Chunks((0..number).map(|_| UnsafeCell::new(0)).collect())
    }

    pub(crate) fn write(&self, index: u64, value: u64) {
        // SAFETY: loom fails the model when another access is possible meanwhile.
        self.0[index as usize].with_mut(|cell| unsafe { *cell = value });
    }

    fn read(&self, index: u64) -> u64 {
        // SAFETY: as above.
        self.0[index as usize].with(|cell| unsafe { *cell })
    }
}

fn take_write_release(ring: &Ring, chunks: &Chunks) -> Option<u64> {
    let taken = ring.take()?;
    chunks.write(taken.index, taken.seq);
    ring.release(taken.index);
    Some(taken.seq)
}

/// Two writers and few chunks: no chunk is ever held by two, each holder sees
/// what the one before wrote, and no number is given out twice.
#[test]
fn a_chunk_has_one_holder() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(2, ENDLESS));
        let chunks = Arc::new(Chunks::new(2));
        let other = {
            let (ring, chunks) = (ring.clone(), chunks.clone());
            thread::spawn(move || [take_write_release(&ring, &chunks), take_write_release(&ring, &chunks)])
        };
        let mine = take_write_release(&ring, &chunks);
        let theirs = other.join().expect("no panic");
        assert!(mine.is_none() || !theirs.contains(&mine));
    });
}

/// A chunk that is pinned is not recycled under the reader, who sees all that
/// was written before it was given back.
#[test]
fn a_pinned_chunk_is_not_recycled() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(2, ENDLESS));
        let chunks = Arc::new(Chunks::new(2));
        let writer = {
            let (ring, chunks) = (ring.clone(), chunks.clone());
            thread::spawn(move || {
                take_write_release(&ring, &chunks);
                take_write_release(&ring, &chunks);
                take_write_release(&ring, &chunks);
            })
        };
        if ring.pin(0) {
            let before = chunks.read(0);
            thread::yield_now();
            assert_eq!(chunks.read(0), before);
            ring.release(0);
        }
        writer.join().expect("no panic");
    });
}

/// What is promised of a chunk that is copied stays as it is, whoever gives the chunk back
/// and wants it meanwhile: it is no race to copy it byte by byte.
#[test]
fn a_chunk_that_is_copied_is_not_begun_anew() {
    loom::model(|| {
        let ring = Arc::new(Ring::new(1, ENDLESS));
        let (chunk, payload) = (Arc::new(Mapped::new()), Arc::new(Chunks::new(1)));
        let writer = {
            let (ring, chunk, payload) = (ring.clone(), chunk.clone(), payload.clone());
            thread::spawn(move || {
                for _ in 0..2 {
                    let Some(taken) = ring.take() else { continue };
                    chunk.words().begin(taken.seq, []);
                    payload.write(0, taken.seq);
                    commit(&chunk.commit, 1);
                    ring.release(0);
                }
            })
        };
        let seq = chunk.seq.load(Ordering::Acquire);
        let held = if seq == 0 { None } else { copying(&ring, 0, seq, &chunk.seq) };
        if held.is_some() && promised(&chunk.commit) == 1 {
            assert_eq!(payload.read(0), seq);
        }
        drop(held);
        if let Some(taken) = ring.take() {
            payload.write(0, taken.seq);
        }
        writer.join().expect("no panic");
    });
}

/// A chunk as words in a mapped file: header words and one word of payload.
struct Mapped {
    seq: AtomicU64,
    commit: AtomicU64,
    seal: AtomicU64,
    header: AtomicU64,
    payload: AtomicU64,
}

impl Mapped {
    fn new() -> Self {
        let word = || AtomicU64::new(0);
        Mapped { seq: word(), commit: word(), seal: word(), header: word(), payload: word() }
    }

    fn words(&self) -> ChunkWords<'_> {
        ChunkWords { seq: &self.seq, commit: &self.commit, seal: &self.seal }
    }

    /// What a writer does with it: the header, one record, the promise of it.
    fn fill(&self, seq: u64) {
        self.words().begin(seq, [(&self.header, 100 * seq)]);
        self.payload.store(10 * seq, Ordering::Relaxed);
        commit(&self.commit, seq);
    }

    /// What a reader of the live file does: number, copy, number again. The
    /// number of the chunk, its header and its record if one was committed.
    fn copy(&self) -> Option<(u64, u64, Option<u64>)> {
        // Relaxed: some know the number from elsewhere (`Store::count_taken`).
        let seq = self.seq.load(Ordering::Relaxed);
        read_stable(seq, &self.seq, || {
            let committed = promised(&self.commit);
            let (header, payload) = (self.header.load(Ordering::Relaxed), self.payload.load(Ordering::Relaxed));
            (seq, header, (committed != 0).then_some(payload))
        })
    }
}

/// Whoever copies a chunk while it is written, and recycled, and finds its
/// number unchanged, has a whole header and every record that was promised.
#[test]
fn what_is_committed_is_there() {
    loom::model(|| {
        let chunk = Arc::new(Mapped::new());
        let writer = {
            let chunk = chunk.clone();
            thread::spawn(move || {
                chunk.fill(1);
                chunk.fill(2);
            })
        };
        if let Some((seq, header, record)) = chunk.copy() {
            assert_eq!(header, 100 * seq);
            assert!(record.is_none_or(|record| record == 10 * seq), "{seq}: {record:?}");
        }
        writer.join().expect("no panic");
    });
}

/// A recording is given up under callbacks: none of them touches it afterwards.
#[test]
fn nobody_is_inside_a_recording_that_has_ended() {
    loom::model(|| {
        let open = Arc::new(AtomicU64::new(1));
        let epoch = Arc::new(Epoch::new());
        let recording = Arc::new(Chunks::new(1));
        let thread = {
            let (open, epoch, recording) = (open.clone(), epoch.clone(), recording.clone());
            thread::spawn(move || {
                for event in 1..=2 {
                    assert!(epoch.enter());
                    if open.load(Ordering::Acquire) == 1 {
                        assert!(!epoch.enter(), "inside twice");
                        recording.write(0, event);
                    }
                    epoch.leave();
                }
            })
        };
        gate::close(&open, 0, |show| show(&epoch));
        // Unmapped: any later access of the other thread is a race that loom sees.
        recording.write(0, u64::MAX);
        thread.join().expect("no panic");
        assert_eq!(recording.read(0), u64::MAX);
    });
}

/// Of two threads that meet a process, or another in its place, one is the first.
#[test]
fn a_process_is_met_once() {
    loom::model(|| {
        let processes = Arc::new(Processes::new(64));
        let other = {
            let processes = processes.clone();
            thread::spawn(move || processes.is_first(7))
        };
        let mine = processes.is_first(7);
        let theirs = other.join().expect("no panic");
        assert!(mine != theirs && !processes.is_first(7) && processes.is_first(7 + 64));
    });
}
