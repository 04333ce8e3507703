//! A lane's writing into one ring: the open chunk and its records; `names` is what these refer to.
//!
//! Records are written behind the commit word and then committed by one release
//! store; what is not committed does not exist. A record that does not fit is
//! taken back and written again, whole, into the next chunk, which begins
//! without any names.

mod names;

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use spoor_format::brief::{self, Head, Kind, Line};
use spoor_format::chunk::{ChunkHeader, Identity};
use spoor_format::hint::unlikely;
use spoor_format::lane::Cause;
use spoor_format::record::Ref;
use spoor_format::{Full, Put, Sink};

use crate::cache::Cache;
use crate::chunk_words;
use crate::recall::Signal;
use crate::references::References;
use crate::ring::Taken;
use crate::spellings::Spellings;
use crate::store::{Store, Which};

use names::by_words;
pub use names::{FunctionWords, MAX_ATOM_BYTES, Names};

/// How far ahead of what is written memory is asked for, in bytes: four lines.
pub(crate) const FETCH_AHEAD: usize = 256;

/// So many bytes before the end of a chunk the next one is thought of: some hundred events.
const LATE: usize = 1024;

/// Memory at this address is about to be written.
#[inline(always)]
pub(crate) fn hint_written(place: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_ET0, _mm_prefetch};
        // SAFETY: a hint, which may name any address.
        unsafe { _mm_prefetch::<_MM_HINT_ET0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// The chunk being written.
#[derive(Debug)]
struct Open {
    index: u64,
    seq: u64,
}

/// One lane's writing into one ring. What each event needs comes first, in few lines.
#[derive(Debug)]
#[repr(C)]
pub struct Stream {
    /// The open chunk's memory behind its header; dangling without one. It belongs to
    /// this stream alone, from `Ring::take` to `Ring::release`.
    payload: NonNull<u8>,
    /// Bytes written, bytes committed, bytes that may be written.
    /// Invariant: `committed <= at <= end <= bytes`, and all are 0 without an open chunk.
    at: usize,
    committed: usize,
    end: usize,
    last_tick: u64,
    /// The VM's word of whom `whose` is; 0 when that is not known.
    whose_word: u64,
    functions: Cache<FunctionWords>,
    /// Records committed in the open chunk, and in all chunks before it.
    records: u32,
    /// Bytes of the payload. The last of them may be written once the next chunk is at hand.
    bytes: usize,
    /// The last function that was asked for on the long way.
    lately: FunctionWords,
    lane: u32,
    references: References,
    atoms: Cache<u64>,
    spellings: Spellings,
    before: u64,
    whose: Identity,
    which: Which,
    open: Option<Open>,
    store: Arc<Store>,
    /// Says which chunk of events is held, so that it can be recalled.
    signal: Arc<Signal>,
}

impl Sink for Stream {
    #[inline(always)]
    fn space(&mut self, max: usize) -> Result<Put<'_>, Full> {
        if self.end - self.at < max {
            return Err(Full);
        }
        // SAFETY: `at <= end`, the size of the payload, or both are 0.
        let place = unsafe { self.payload.add(self.at) };
        // SAFETY: `max` bytes from `at` on lie within the payload, which this
        // stream alone may touch behind the commit word while the chunk is open. Without
        // an open chunk `max` is 0.
        let space = unsafe { std::slice::from_raw_parts_mut(place.as_ptr(), max) };
        Ok(Put::new(space))
    }

    #[inline(always)]
    fn keep(&mut self, _max: usize, used: usize) {
        self.at += used;
    }
}

impl Stream {
    /// A stream of `lane` that has written nothing. It remembers about
    /// `2^(name_bits + 2)` names in a chunk.
    pub(crate) fn new(store: Arc<Store>, which: Which, lane: u32, name_bits: u32, signal: Arc<Signal>) -> Self {
        Stream {
            store,
            which,
            lane,
            signal,
            open: None,
            payload: NonNull::dangling(),
            at: 0,
            committed: 0,
            end: 0,
            bytes: 0,
            lately: (0, 0, 0),
            records: 0,
            before: 0,
            last_tick: 0,
            whose: Identity::Nobody,
            whose_word: 0,
            atoms: Cache::new(name_bits),
            spellings: Spellings::new(name_bits),
            functions: Cache::new(name_bits),
            references: References::new(),
        }
    }

    /// Stores one timed record. `write` writes it, with what it refers to, and
    /// may be called more than once.
    #[inline(always)]
    pub(crate) fn record(
        &mut self,
        tick: u64,
        mut write: impl FnMut(&mut Stream, u64) -> Result<(), Full>,
    ) -> Result<(), Cause> {
        if self.try_record(tick, &mut write) { Ok(()) } else { self.record_at_end(tick, &mut write) }
    }

    /// Stores one timed record in the open chunk, if it fits.
    #[inline(always)]
    fn try_record(&mut self, tick: u64, write: impl FnOnce(&mut Stream, u64) -> Result<(), Full>) -> bool {
        let has_room = self.is_clean() && self.end - self.at >= brief::ROOM;
        let written = has_room && write(self, tick.saturating_sub(self.last_tick)).is_ok();
        if written {
            self.commit(tick);
        }
        written
    }

    /// Stores one timed record in the last bytes of the open chunk, or in the next. What the next takes is asked for as
    /// soon as the last bytes are written: until they are full, it comes.
    #[cold]
    #[inline(never)]
    fn record_at_end(
        &mut self,
        tick: u64,
        write: &mut impl FnMut(&mut Stream, u64) -> Result<(), Full>,
    ) -> Result<(), Cause> {
        if self.end < self.bytes {
            self.end = self.bytes;
            let stored = self.try_record(tick, &mut *write);
            self.fetch_next_chunk();
            if stored {
                return Ok(());
            }
        }
        self.record_in_next_chunk(tick, write)
    }

    /// Asks for the memory that is touched when the next chunk is begun: each piece that had to be waited for then would
    /// be a tenth of a microsecond, and more where others use the memory.
    fn fetch_next_chunk(&self) {
        self.store.fetch_next_chunk(self.which, self.lane);
        let (module, name, _) = self.lately;
        for atom in [module, name] {
            hint_written(self.atoms.place(atom));
            hint_written(self.spellings.place(atom));
        }
    }

    /// Can a record begin? What lies behind the commit word was left by one that never
    /// came to its end (a contained panic); its names are unreliable.
    #[inline(always)]
    pub(crate) fn is_clean(&self) -> bool {
        self.at == self.committed
    }

    /// Stores a frequent event, if there is room for the longest: of a local process, by the VM's
    /// word, whose identity is asked for where it is needed. What was written before and is not
    /// committed is taken back by the next record that goes by [`Stream::record`].
    #[inline(always)]
    pub(crate) fn brief(&mut self, tick: u64, whose: u64, identity: impl Fn(u64) -> u64, line: Line) -> bool {
        // Of a clock that went back it is too large.
        let delta = tick.wrapping_sub(self.last_tick);
        let is_same = self.whose_word == whose;
        let process = if is_same { 0 } else { identity(whose) };
        if unlikely(!line.is_short(process, delta)) {
            // By parts, which stay in registers.
            return self.brief_of_any(tick, whose, identity(whose), line.head, line.kind, line.word, line.last);
        }
        let process = (!is_same).then_some(process);
        let Some(space) = self.space_of() else { return false };
        let used = brief::short_event(space, process, line, delta);
        self.brief_is_stored(tick, whose, process, used);
        true
    }

    /// Stores a frequent event of a function, as [`Stream::brief`] does.
    #[inline(always)]
    pub(crate) fn brief_function(
        &mut self,
        tick: u64,
        whose: u64,
        identity: impl Fn(u64) -> u64,
        kind: Kind,
        function: Ref,
    ) -> bool {
        let delta = tick.wrapping_sub(self.last_tick);
        let is_same = self.whose_word == whose;
        let process = if is_same { 0 } else { identity(whose) };
        if unlikely(!Line::new(kind, function).is_short(process, delta)) {
            return self.brief_of_any(tick, whose, identity(whose), Head::NONE, kind, 0, function);
        }
        let process = (!is_same).then_some(process);
        let Some(space) = self.space_of() else { return false };
        let used = brief::short_function(space, process, kind, delta, function);
        self.brief_is_stored(tick, whose, process, used);
        true
    }

    #[cold]
    #[inline(never)]
    #[allow(clippy::too_many_arguments, reason = "see above")]
    fn brief_of_any(
        &mut self,
        tick: u64,
        whose: u64,
        process: u64,
        head: Head,
        kind: Kind,
        word: u64,
        last: Ref,
    ) -> bool {
        let tick = tick.max(self.last_tick);
        let (delta, process) = (tick - self.last_tick, (self.whose_word != whose).then_some(process));
        let Some(space) = self.space_of() else { return false };
        let used = brief::event(space, process, Line { head, kind, word, last }, delta);
        self.brief_is_stored(tick, whose, process, used);
        true
    }

    #[inline(always)]
    fn brief_is_stored(&mut self, tick: u64, whose: u64, process: Option<u64>, used: usize) {
        if let Some(process) = process {
            (self.whose_word, self.whose) = (whose, Identity::Process(process));
        }
        self.at += used;
        self.commit_at(tick);
    }

    /// Stores the record of a collection, as [`Stream::brief`] does; it tells of no time that does
    /// not fit, and of none that went back.
    #[inline(always)]
    pub(crate) fn collection(&mut self, tick: u64, kind: Kind, sizes: &[u64; brief::SIZES]) -> bool {
        let delta = tick.wrapping_sub(self.last_tick);
        if delta >> 56 != 0 {
            return false;
        }
        let Some(space) = self.space_of() else { return false };
        self.at += brief::sizes(space, kind, delta, sizes);
        self.commit_at(tick);
        true
    }

    /// Stores what a process is that was spawned, if all that it takes is at hand.
    #[inline(always)]
    pub(crate) fn spawned(&mut self, tick: u64, process: u64, parent: u64, function: FunctionWords) -> bool {
        let delta = tick.wrapping_sub(self.last_tick);
        let Some(function) = self.known_function(by_words(function)) else { return false };
        if !self.is_clean() || !brief::is_short_info(delta, process, parent, function) {
            return false;
        }
        let Some(space) = self.space_of() else { return false };
        self.at += brief::short_process_info(space, delta, process, parent, function);
        self.commit_at(tick);
        true
    }

    /// The next bytes, if so many are left.
    #[inline(always)]
    fn space_of<const ROOM: usize>(&mut self) -> Option<&mut [u8; ROOM]> {
        if unlikely(self.end - self.at < ROOM) {
            return None;
        }
        // SAFETY: `at` lies within the payload.
        let mut place = unsafe { self.payload.add(self.at) }.cast::<[u8; ROOM]>();
        // SAFETY: so many bytes from `at` on lie within the payload, which this stream alone
        // may touch behind the commit word while the chunk is open.
        Some(unsafe { place.as_mut() })
    }

    fn record_in_next_chunk(
        &mut self,
        tick: u64,
        write: &mut impl FnMut(&mut Stream, u64) -> Result<(), Full>,
    ) -> Result<(), Cause> {
        // What did not fit into an empty chunk would not fit into the next: older
        // events are not given up for it.
        if self.open.is_some() && self.committed == 0 {
            self.take_back();
        } else {
            self.turn(tick)?;
        }
        if write(self, tick.saturating_sub(self.last_tick)).is_err() {
            self.take_back();
            return Err(Cause::TooLarge);
        }
        self.commit(tick);
        self.end = self.at.max(self.bytes.saturating_sub(LATE));
        Ok(())
    }

    /// Commits what was written. Only with an open chunk.
    #[inline(always)]
    fn commit(&mut self, tick: u64) {
        // A counter may differ between processors by less than a thread takes to
        // move; time within a lane never runs backwards in the file.
        self.commit_at(self.last_tick.max(tick));
    }

    /// The same; the tick is not before the last record's.
    #[inline(always)]
    fn commit_at(&mut self, tick: u64) {
        self.records += 1;
        self.committed = self.at;
        self.last_tick = tick;
        let word = ChunkHeader::commit_word(self.records, self.committed as u32);
        chunk_words::commit(self.commit_word(), word);
        self.fetch_ahead();
    }

    /// Asks for the memory that is written next but a few: to wait for it is
    /// most of what writing costs.
    #[inline(always)]
    fn fetch_ahead(&self) {
        hint_written(self.payload.as_ptr().wrapping_add(self.at + FETCH_AHEAD));
    }

    #[inline(always)]
    fn commit_word(&self) -> &AtomicU64 {
        const BACK: usize = ChunkHeader::BYTES - spoor_format::chunk::COMMIT_OFFSET;
        // SAFETY: only an open chunk is committed to; its payload follows its header, so
        // the word lies in the chunk.
        let word = unsafe { self.payload.as_ptr().sub(BACK) };
        // SAFETY: aligned to 8 (chunks begin on pages), alive as long as the
        // store, and only ever accessed as an atomic while the chunk is open.
        unsafe { AtomicU64::from_ptr(word.cast()) }
    }

    /// Gives the open chunk back and takes the next.
    fn turn(&mut self, tick: u64) -> Result<(), Cause> {
        self.close();
        // Nor does time run backwards from one chunk of the lane to the next.
        let base_tick = self.last_tick.max(tick);
        let begin = |taken: &Taken| self.store.begin_chunk(self.which, taken, self.lane, base_tick, self.before);
        let taken = self.signal.take(self.store.ring(self.which), begin);
        let taken = taken.ok_or_else(|| self.store.why_no_chunk(self.which))?;
        self.last_tick = base_tick;
        let (start, bytes) = self.store.chunk(self.which, taken.index);
        // SAFETY: a chunk is longer than its header (`Header::check`, `Header::new`).
        let payload = unsafe { start.add(ChunkHeader::BYTES) };
        self.payload = NonNull::new(payload).expect("a chunk does not lie at 0");
        self.open = Some(Open { index: taken.index, seq: taken.seq });
        self.bytes = bytes - ChunkHeader::BYTES;
        self.end = self.bytes;
        self.forget_names();
        Ok(())
    }

    /// Gives the open chunk back, if there is one.
    pub(crate) fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.before += u64::from(self.records);
        self.payload = NonNull::dangling();
        (self.at, self.committed, self.end, self.bytes, self.records) = (0, 0, 0, 0, 0);
        let count = || self.store.count_closed(self.which, self.lane, self.before);
        self.signal.leave(self.store.ring(self.which), open.index, open.seq, count);
    }

    /// Gives the open chunk back if its number is at most `last`.
    pub(crate) fn give_back(&mut self, last: u64) {
        if self.open.as_ref().is_some_and(|open| open.seq <= last) {
            self.close();
        }
    }

    /// Makes a chunk without a committed record as good as new.
    fn take_back(&mut self) {
        self.at = 0;
        self.forget_names();
    }
}
