//! One recording: how it begins, who writes in it, how it ends.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use spoor_format::Full;
use spoor_format::header::Meta;
use spoor_format::lane::{CAUSES, Cause, DROPPED_OFFSET, LaneKind, SAMPLED_OFFSET};
use spoor_format::record::Schema;
use spoor_format::status::Phase;

use crate::background::{Background, Syncer};
use crate::governor::{Sampled, Thinned, remark};
use crate::keeper::{self, Command, Host};
use crate::lane::Lane;
use crate::limits::Limits;
use crate::options::Options;
use crate::process::{self, Process, read_line};
use crate::processes::Processes;
use crate::registry::{self, State};
use crate::segments::{self, Segments};
use crate::snapshot::{Copied, Copier, Failed};
use crate::store::{Store, Which};
use crate::stream::Stream;
use crate::{OpenError, clock};

/// Lanes for threads that none of the VM's counts announced.
const SPARE_LANES: u64 = 4;
/// The two clock pairs that tell the rate are at least this far apart.
const RATE_WINDOW: Duration = Duration::from_millis(5);

/// What works for a recording beside the VM's threads.
type Threads = (Option<Syncer>, Option<Background>, Sender<Command>);

/// What a recording has taken so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The file.
    pub path: PathBuf,
    /// Does it take events?
    pub recording: bool,
    /// Events stored.
    pub events: u64,
    /// Of those, events overwritten by later ones.
    pub overwritten: u64,
    /// Events offered and not stored, by cause, in the order of [`CAUSES`].
    pub dropped: [u64; CAUSES.len()],
    /// Why, when and how much less was taken than offered.
    pub thinned: Vec<Thinned>,
    /// Whom it met, where it takes a sample of processes.
    pub sampled: Option<Sampled>,
    /// Threads that recorded.
    pub lanes: u64,
    /// Bytes for events; in a stream those of all its files.
    pub room_bytes: u64,
    /// How long it has been recording.
    pub elapsed: Duration,
    /// Why it ended; empty while it is open.
    pub stop_reason: String,
}

/// An open recording. Lives from [`open`] until its keeper ends it.
#[derive(Debug)]
pub struct Recording {
    pub(crate) state: State,
    pub(crate) store: Arc<Store>,
    pub(crate) limits: Arc<Limits>,
    path: PathBuf,
    room_bytes: u64,
    started: Instant,
    thread_kind: fn() -> LaneKind,
    /// Lanes 1 and up; lane 0 is the recorder's own.
    lanes: Box<[AtomicPtr<Lane>]>,
    /// Places in `lanes` ever asked for; may exceed their number.
    taken: AtomicUsize,
    recorder: Mutex<Lane>,
    /// What was told of processes, by hashes of it.
    told: Processes,
    keeper: Sender<Command>,
    /// What makes the segments of a stream; goes before the syncer it feeds.
    segments: Option<Background>,
    syncer: Option<Syncer>,
    /// Who copies it, once that was asked for.
    copier: Mutex<Option<Copier>>,
    tick_hz: u64,
}

/// Opens a recording: from the answer on, its state may be given to the VM.
pub fn open(options: Options, host: impl Host + 'static) -> Result<State, OpenError> {
    let lanes = options.threads + SPARE_LANES;
    options.storage.check(lanes + 1)?;
    let clock_kind = clock::select();
    let state = registry::reserve(!options.thinning.is_none())?;
    match Recording::make(state, clock_kind, lanes as usize, options, host) {
        Ok(recording) => {
            registry::publish(state, recording);
            Ok(state)
        }
        Err(error) => {
            registry::unreserve(state);
            Err(error)
        }
    }
}

impl Recording {
    fn make(
        state: State,
        clock_kind: &str,
        lanes: usize,
        options: Options,
        host: impl Host + 'static,
    ) -> Result<Box<Recording>, OpenError> {
        let (begun, first) = (Instant::now(), clock::pair(1));
        let (store, segments) = options.storage.create(&options.path, lanes as u64 + 1)?;
        let store = Arc::new(store);
        let stream = segments.as_ref().map(|segments| segments.id);
        std::thread::sleep(RATE_WINDOW.saturating_sub(begun.elapsed()));
        let second = clock::pair(2);
        let tick_hz = clock::rate(&first, &second);
        store.write_meta(&meta(&options, clock_kind, tick_hz, stream, store.is_locked()));
        store.write_clock(&first);
        store.write_clock(&second);
        store.write_lane(0, LaneKind::Recorder, 0, 0);
        let limits = Arc::new(Limits::new(state, &options, tick_hz, lanes + 1));
        store.write_status(Phase::Recording, 0, "");
        let threads = Self::start_threads(state, &store, &limits, segments, options.sync, host);
        let (syncer, segments, keeper) = threads.map_err(|error| {
            discard(&options.path);
            error.renamed(store.path(), &options.path)
        })?;
        Ok(Box::new(Recording {
            state,
            recorder: Mutex::new(Lane::new(0, Arc::clone(&store), Arc::clone(&limits))),
            told: Processes::new(options.places),
            store,
            limits,
            started: Instant::now(),
            thread_kind: options.thread_kind,
            lanes: (0..lanes).map(|_| AtomicPtr::new(std::ptr::null_mut())).collect(),
            taken: AtomicUsize::new(0),
            keeper,
            path: options.path,
            room_bytes: options.storage.bytes(),
            segments,
            syncer,
            copier: Mutex::new(None),
            tick_hz,
        }))
    }

    fn start_threads(
        state: State,
        store: &Arc<Store>,
        limits: &Arc<Limits>,
        segments: Option<Segments>,
        sync: Option<Duration>,
        host: impl Host + 'static,
    ) -> Result<Threads, OpenError> {
        let failed = |error| OpenError::File { path: store.path().to_owned(), error };
        let syncer = sync.map(|every| Syncer::start(Arc::clone(store), every)).transpose().map_err(failed)?;
        let files = syncer.as_ref().map(|syncer| Arc::clone(&syncer.closed));
        let start = |segments| segments::start(segments, state, Arc::clone(store), Arc::clone(limits), files);
        let segments = segments.map(start).transpose()?;
        let keeper = keeper::start(state, Arc::clone(store), Arc::clone(limits), host).map_err(failed)?;
        Ok((syncer, segments, keeper))
    }

    /// A lane for the calling thread; `None` when all are taken.
    pub(crate) fn add_lane(&self) -> Option<*mut Lane> {
        let place = self.taken.fetch_add(1, Ordering::Relaxed);
        let entry = self.lanes.get(place)?;
        let number = place as u32 + 1;
        self.store.write_lane(number, (self.thread_kind)(), thread_index(), thread_id());
        let lane = Box::new(Lane::new(number, Arc::clone(&self.store), Arc::clone(&self.limits)));
        let lane = Box::into_raw(lane);
        entry.store(lane, Ordering::Release); // pairs with Acquire in `end`
        Some(lane)
    }

    /// Writes facts into the info ring, from any thread but a tracer callback.
    pub fn info(&self, mut write: impl FnMut(&mut Stream, u64) -> Result<(), Full>) {
        let mut recorder = self.recorder.lock().unwrap_or_else(PoisonError::into_inner);
        recorder.info(clock::now(), &mut write);
    }

    /// Were facts of the process, by its number, told to [`Recording::is_news`]?
    pub fn is_known(&self, process: u64) -> bool {
        self.told.is_known(process)
    }

    /// Are facts of the process to be written: are they other than those told last, by a hash of
    /// 27 bits, or told so often that what was written may be overwritten by now?
    pub fn is_news(&self, process: u64, hash: u64) -> bool {
        self.told.is_news(process, hash)
    }

    /// From now on the time limit counts: tracing is on.
    pub fn start_time(&self) {
        self.limits.start_time();
    }

    /// From now on the stretches of rates and shares are counted: what must be done before
    /// tracing begins is done.
    pub fn start_stretches(&self) {
        self.limits.start_stretches();
    }

    /// Asks the keeper to end the recording.
    pub fn close(&self, reason: &str) {
        // The channel is only gone when the keeper is, and then so is the recording.
        let _ = self.keeper.try_send(Command::Close(reason.to_owned()));
    }

    /// Copies the last of it, or all, into a file that must not exist, by a thread
    /// that nobody waits for; it calls `answer`, once, unless this fails. The copy of
    /// a stream is a file, too.
    pub fn snapshot(
        &self,
        path: &Path,
        last: Option<Duration>,
        answer: impl FnOnce(Result<Copied, Failed>) + Send + 'static,
    ) -> std::io::Result<()> {
        let mut copier = self.copier.lock().unwrap_or_else(PoisonError::into_inner);
        let copier = match &mut *copier {
            Some(copier) => copier,
            none => none.insert(Copier::start(Arc::clone(&self.store), self.tick_hz)?),
        };
        copier.copy(path, last, Box::new(answer))
    }

    /// What it has taken so far. Exact when no thread is storing an event.
    pub fn summary(&self) -> Summary {
        self.sum_up(&self.store, String::new())
    }

    /// Chunks of events that are ready to be taken: of a ring endlessly many, of a
    /// stream those of the segments made so far.
    pub fn chunks_ready(&self) -> u64 {
        self.store.ring(Which::Events).left()
    }

    fn sum_up(&self, store: &Store, stop_reason: String) -> Summary {
        let (events, overwritten) = store.count_events(|lane| self.limits.signals.of(lane).map_or(0, |s| s.held()));
        let dropped = store.count_dropped();
        Summary {
            path: self.path.clone(),
            recording: self.state.is_recording(),
            events,
            overwritten,
            thinned: self.limits.governor.as_ref().map_or_else(Vec::new, |governor| governor.thinned(&dropped)),
            sampled: self.sampled(),
            dropped,
            lanes: self.taken.load(Ordering::Acquire).min(self.lanes.len()) as u64,
            room_bytes: self.room_bytes,
            elapsed: self.started.elapsed(),
            stop_reason,
        }
    }

    pub(crate) fn is_sample(&self) -> bool {
        self.limits.governor.as_ref().is_some_and(|governor| governor.is_sample())
    }

    /// How many processes are in the sample, of those met so far; `None` where all are taken.
    fn sampled(&self) -> Option<Sampled> {
        if !self.is_sample() {
            return None;
        }
        let [recorded, left_out] = self.store.count_sampled();
        Some(Sampled { recorded, processes: recorded + left_out })
    }

    /// The process, by its number, is traced from now on: it is counted in or out of a sample,
    /// whether it ever does anything or not. From any thread but a tracer callback.
    pub fn meet(&self, process: u64) {
        let Some(governor) = &self.limits.governor else { return };
        let tracee = Some(process * 2);
        if governor.is_to_count(tracee) {
            let place = usize::from(governor.leaves_out(tracee));
            self.store.lane_word(0, SAMPLED_OFFSET + 8 * place).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts an event that was dropped where the thread's own lane is out of reach.
    pub(crate) fn drop_on_recorder(&self, cause: Cause) {
        self.store.lane_word(0, DROPPED_OFFSET + 8 * cause as usize).fetch_add(1, Ordering::Relaxed);
    }

    /// Puts into the file what was left out, why and when.
    fn tell_thinned(&self) {
        let Some(governor) = &self.limits.governor else { return };
        for thinned in governor.thinned(&self.store.count_dropped()) {
            let text = thinned.text();
            self.info(|stream, delta| remark(stream, delta, thinned.cause, &text));
        }
        if let Some(sampled) = self.sampled() {
            self.info(|stream, delta| remark(stream, delta, Cause::Sample, &sampled.text()));
        }
    }

    /// Closes all lanes and completes the file. The caller alone holds the
    /// recording: no thread is inside.
    pub(crate) fn end(mut self: Box<Self>, reason: &str) -> Summary {
        let stop_tick = clock::now();
        self.tell_thinned();
        for lane in &self.lanes {
            let lane = lane.swap(std::ptr::null_mut(), Ordering::Acquire);
            if !lane.is_null() {
                // SAFETY: made by `Box::into_raw` in `add_lane`, taken out once; its
                // thread is not inside and will find the slot closed.
                unsafe { Box::from_raw(lane) }.close();
            }
        }
        self.recorder.get_mut().unwrap_or_else(PoisonError::into_inner).close();
        self.segments = None;
        *self.copier.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
        self.store.write_status(Phase::Stopped, stop_tick, reason);
        self.syncer = None;
        self.sum_up(&self.store, reason.to_owned())
    }
}

impl Drop for Recording {
    /// Lanes that `end` did not see: a recording that never was published.
    fn drop(&mut self) {
        for lane in &self.lanes {
            let lane = lane.swap(std::ptr::null_mut(), Ordering::Acquire);
            if !lane.is_null() {
                // SAFETY: as in `end`; whoever drops the recording holds it alone.
                drop(unsafe { Box::from_raw(lane) });
            }
        }
    }
}

/// What this crate knows of the machine and adds to the caller's entries.
fn meta(options: &Options, clock_kind: &str, tick_hz: u64, stream: Option<u64>, locked: bool) -> Meta {
    let own = [
        ("records", Schema::own_text()),
        ("drop_causes", CAUSES.join(" ")),
        ("mode", options.storage.name().to_owned()),
        ("tick", clock_kind.to_owned()),
        ("tick_hz", tick_hz.to_string()),
        ("kernel", read_line("/proc/sys/kernel/osrelease")),
        ("arch", std::env::consts::ARCH.to_owned()),
    ];
    let own = own.into_iter().chain(Process::this().entries());
    let own = own.chain(locked.then(|| (process::LOCK.0, process::LOCK.1.to_owned())));
    let own = own.chain(stream.map(|id| ("stream", id.to_string())));
    Meta { entries: own.map(|(key, value)| (key.to_owned(), value)).chain(options.meta.iter().cloned()).collect() }
}

/// Removes the files of a recording that never began.
fn discard(path: &Path) {
    // Whatever cannot be removed is an empty recording.
    let _ = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
}

fn thread_id() -> u64 {
    // SAFETY: takes nothing, touches nothing.
    unsafe { libc::syscall(libc::SYS_gettid) as u64 }
}

/// The number in the name that the VM gave its thread: `erts_sched_2`, `2_scheduler`.
fn thread_index() -> u32 {
    let mut name = [0_u8; 17];
    // SAFETY: PR_GET_NAME writes at most 16 bytes.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    let digits: Vec<u8> =
        name.iter().copied().skip_while(|c| !c.is_ascii_digit()).take_while(u8::is_ascii_digit).collect();
    String::from_utf8(digits).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limit, Storage, governor::Thinning};
    use spoor_format::chunk::ChunkHeader;
    use std::sync::mpsc::{SyncSender, sync_channel};

    /// An owner that died before anything happened.
    struct Dead(SyncSender<()>);

    impl Host for Dead {
        fn owner_alive(&self) -> bool {
            false
        }
        fn limit(&self, _: State, _: Limit) {}
        fn closed(&self, _: State, _: &Summary) {
            self.0.send(()).expect("somebody waits");
        }
    }

    fn options(path: PathBuf) -> Options {
        registry::prepare();
        Options {
            path,
            storage: Storage::Ring(1 << 20),
            sync: None,
            places: 1 << 10,
            threads: 4,
            time: None,
            max_events: None,
            thinning: Thinning::default(),
            content_bytes: 0,
            meta: Vec::new(),
            thread_kind: || LaneKind::Other,
        }
    }

    #[test]
    fn a_recording_ends_whose_owner_died_before_it_was_published() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let (sender, closed) = sync_channel(1);
        let state = registry::reserve(false).expect("a free slot");
        let options = options(scratch.path().join("x.spoor"));
        let recording = Recording::make(state, clock::select(), 8, options, Dead(sender)).expect("a recording");
        std::thread::sleep(Duration::from_millis(150)); // longer than the keeper takes to look
        registry::publish(state, recording);
        closed.recv_timeout(Duration::from_secs(5)).expect("the keeper ends it");
    }

    #[test]
    fn time_never_runs_backwards_from_one_chunk_to_the_next() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let (sender, closed) = sync_channel(1);
        let state = registry::reserve(false).expect("a free slot");
        let options = options(scratch.path().join("x.spoor"));
        let recording = Recording::make(state, clock::select(), 8, options, Dead(sender)).expect("a recording");
        let mut lane = Lane::new(1, Arc::clone(&recording.store), Arc::clone(&recording.limits));
        let receive = |lane: &mut Lane, tick| lane.event(tick, spoor_format::record::write::receive);
        let events = recording.store.header().events;
        receive(&mut lane, 1_000);
        (0..events.chunk_bytes).for_each(|_| receive(&mut lane, 900));
        drop(lane);
        let file = std::fs::read(recording.store.path()).expect("the file is there");
        let base_tick = |index| {
            let chunk = &file[events.chunk_offset(index) as usize..];
            ChunkHeader::decode(chunk, events.chunk_bytes).expect("a good header").expect("a used chunk").base_tick
        };
        assert_eq!((base_tick(0), base_tick(1)), (1_000, 1_000));
        registry::publish(state, recording);
        closed.recv_timeout(Duration::from_secs(5)).expect("the keeper ends it");
    }
}
