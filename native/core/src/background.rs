//! Threads of the recorder beside the keeper: what may take its time there keeps
//! nobody waiting. Each ends, and is waited for, before the recording's memory goes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use crate::store::Store;

/// A thread that runs until this is dropped.
#[derive(Debug)]
pub(crate) struct Background {
    /// Gone when the thread is to end.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts a thread. `work` is to return when its channel is disconnected.
    pub(crate) fn start(name: &str, work: impl FnOnce(Receiver<()>) + Send + 'static) -> io::Result<Background> {
        let (stop, stopped) = bounded(0);
        let spawn = || std::thread::Builder::new().name(name.into()).spawn(move || work(stopped));
        let thread = with_signals_blocked(spawn)?;
        Ok(Background { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // One that panicked has ended too.
            let _ = thread.join();
        }
    }
}

/// Has `pause` gone by, and is the thread to go on?
pub(crate) fn go_on(stopped: &Receiver<()>, pause: Duration) -> bool {
    stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout)
}

/// A new thread inherits the signal mask: the VM's signals are for its own threads.
/// What the thread brings about itself is not blocked (`faults`).
pub(crate) fn with_signals_blocked<R>(work: impl FnOnce() -> R) -> R {
    // SAFETY: sigset_t is plain data; it is filled in below.
    let mut all: libc::sigset_t = unsafe { std::mem::zeroed() };
    let mut old = all;
    // SAFETY: a set of our own.
    unsafe { libc::sigfillset(&mut all) };
    // SAFETY: as above.
    unsafe { libc::sigdelset(&mut all, libc::SIGBUS) };
    // SAFETY: two sets of our own; only this thread's mask changes.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut old) };
    let result = work();
    // SAFETY: as above, with the mask it had.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut()) };
    result
}

/// Files that are mapped no more and wait to be written to the disk. By name: an open
/// file keeps its room when it is deleted.
#[derive(Debug, Default)]
pub(crate) struct Unsynced(Mutex<Vec<PathBuf>>);

impl Unsynced {
    pub(crate) fn add(&self, path: PathBuf) {
        self.names().push(path);
    }

    /// The file goes, nobody waits for it any more.
    pub(crate) fn forget(&self, path: &Path) {
        self.names().retain(|waiting| waiting != path);
    }

    /// Writes those that are there.
    fn sync(&self) {
        let waiting = std::mem::take(&mut *self.names());
        for path in waiting {
            // One that was deleted meanwhile is not missed.
            let _ = File::open(path).and_then(|file| file.sync_all());
        }
    }

    fn names(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a recording to its disk again and again.
#[derive(Debug)]
pub(crate) struct Syncer {
    /// To be written too.
    pub(crate) closed: Arc<Unsynced>,
    _thread: Background,
}

impl Syncer {
    /// Begins; the last time is when this is dropped.
    pub(crate) fn start(store: Arc<Store>, every: Duration) -> io::Result<Syncer> {
        let closed = Arc::new(Unsynced::default());
        let files = Arc::clone(&closed);
        let write = move || {
            // A disk that fails is seen by everybody; the recording goes on in memory.
            let _ = store.sync();
            files.sync();
        };
        let thread = Background::start("spoor_sync", move |stopped| {
            let mut next = Instant::now() + every;
            while go_on(&stopped, next.saturating_duration_since(Instant::now())) {
                write();
                next = (next + every).max(Instant::now());
            }
            write();
        })?;
        Ok(Syncer { closed, _thread: thread })
    }
}
