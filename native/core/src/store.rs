//! The file of one recording: its mapping, its layout, its two rings. The event
//! ring of a stream lies in segments, of which a window shows those in use.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

use spoor_format::chunk::{COMMIT_OFFSET, ChunkHeader, SEAL_OFFSET, SEQ_OFFSET};
use spoor_format::clock::{self, ClockPair};
use spoor_format::header::{FRONT_BYTES, Header, META_BYTES, META_OFFSET, Meta, RingLayout};
use spoor_format::lane::{
    self, CAUSES, Cause, DROPPED_OFFSET, Lane as LaneEntry, LaneKind, SAMPLED_OFFSET, SEALED_EVENTS_OFFSET,
    SEALED_INFOS_OFFSET,
};
use spoor_format::status::{Phase, Status};

use crate::OpenError;
use crate::chunk_words::{ChunkWords, copying, promised, read_stable};
use crate::mapping::{Mapping, Memory, Window};
use crate::ring::{Copying, ENDLESS, Ring, Taken};
use crate::stream::{FETCH_AHEAD, hint_written};

/// Which of the two rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Events,
    Infos,
}

/// The mapped file and who holds which chunk of it.
#[derive(Debug)]
pub(crate) struct Store {
    mapping: Mapping,
    header: Header,
    events: Ring,
    infos: Ring,
    /// Where the chunks of the event ring are, when not in the file itself.
    window: Option<Window>,
    /// How they lie there.
    events_layout: RingLayout,
    /// No chunk of the event ring will be free any more.
    pub(crate) complete: AtomicBool,
    /// Events that were stored and cannot be read any more: of chunks that were taken
    /// again, of segments that were deleted.
    gone: AtomicU64,
}

impl Store {
    /// Makes the file and writes what never changes, but for the meta section.
    /// `once` keeps the first chunks of events instead of the last.
    pub(crate) fn create(path: &Path, header: Header, once: bool) -> Result<Store, OpenError> {
        let events = Ring::new(header.events.chunks, if once { header.events.chunks } else { ENDLESS });
        let store = Store::with_events(path, header, events, header.events, None)?;
        store.complete.store(once, Ordering::Relaxed);
        Ok(store)
    }

    /// Makes the head of a stream with room in memory for `slots` segments of
    /// `chunks` chunks each; none of them can be taken yet.
    pub(crate) fn create_head(path: &Path, header: Header, slots: u64, chunks: u64) -> Result<Store, OpenError> {
        let layout = RingLayout { offset: 0, chunk_bytes: header.events.chunk_bytes, chunks: slots * chunks };
        let failed = |error| OpenError::File { path: path.to_owned(), error };
        let window = Window::reserve(slots, chunks * layout.chunk_bytes).map_err(failed)?;
        Store::with_events(path, header, Ring::new(layout.chunks, 0), layout, Some(window))
    }

    fn with_events(
        path: &Path,
        header: Header,
        events: Ring,
        events_layout: RingLayout,
        window: Option<Window>,
    ) -> Result<Store, OpenError> {
        let mapping = Mapping::create(path, header.file_bytes)?;
        mapping.write(0, &header.encode());
        let infos = Ring::new(header.info.chunks, ENDLESS);
        let (complete, gone) = (AtomicBool::new(false), AtomicU64::new(0));
        Ok(Store { mapping, header, events, infos, window, events_layout, complete, gone })
    }

    pub(crate) fn path(&self) -> &Path {
        self.mapping.path()
    }

    /// Is the file locked while it is recorded into?
    pub(crate) fn is_locked(&self) -> bool {
        self.mapping.is_locked()
    }

    /// Where segments are shown, in a stream.
    pub(crate) fn window(&self) -> Option<&Window> {
        self.window.as_ref()
    }

    /// Has somebody cut the file, or a segment?
    pub(crate) fn is_lost(&self) -> bool {
        self.mapping.is_lost() || self.window.as_ref().is_some_and(|window| window.is_lost())
    }

    /// Places of the event ring.
    pub(crate) fn event_chunks(&self) -> u64 {
        self.events_layout.chunks
    }

    /// Waits until all that was written is on the disk.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.mapping.sync()?;
        self.window.as_ref().map_or(Ok(()), |window| window.sync())
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    pub(crate) fn ring(&self, which: Which) -> &Ring {
        match which {
            Which::Events => &self.events,
            Which::Infos => &self.infos,
        }
    }

    fn layout(&self, which: Which) -> &RingLayout {
        match which {
            Which::Events => &self.events_layout,
            Which::Infos => &self.header.info,
        }
    }

    fn memory(&self, which: Which) -> &Memory {
        match (&self.window, which) {
            (Some(window), Which::Events) => window,
            _ => &self.mapping,
        }
    }

    /// A word of a chunk's header.
    pub(crate) fn chunk_word(&self, which: Which, index: u64, offset: usize) -> &AtomicU64 {
        self.memory(which).word(self.layout(which).chunk_offset(index) + offset as u64)
    }

    /// Where the chunk begins and how many bytes it has, header included.
    pub(crate) fn chunk(&self, which: Which, index: u64) -> (*mut u8, usize) {
        let layout = self.layout(which);
        (self.memory(which).pointer(layout.chunk_offset(index), layout.chunk_bytes), layout.chunk_bytes as usize)
    }

    /// Places of a ring.
    pub(crate) fn chunks(&self, which: Which) -> u64 {
        self.layout(which).chunks
    }

    /// All words of a chunk, which threads may be writing.
    pub(crate) fn chunk_as_words(&self, which: Which, index: u64) -> &[AtomicU64] {
        let layout = self.layout(which);
        self.memory(which).words(layout.chunk_offset(index), layout.chunk_bytes)
    }

    /// A part of the file outside of its events, likewise.
    pub(crate) fn as_words(&self, offset: u64, bytes: u64) -> &[AtomicU64] {
        self.mapping.words(offset, bytes)
    }

    /// The word that says how much of the chunk may be read.
    pub(crate) fn commit_word(&self, which: Which, index: u64) -> &AtomicU64 {
        self.chunk_word(which, index, COMMIT_OFFSET)
    }

    /// Asks for the memory here that a lane touches when it begins its next chunk.
    pub(crate) fn fetch_next_chunk(&self, which: Which, lane: u32) {
        let ring = self.ring(which);
        let (start, _) = self.chunk(which, ring.next_place());
        for line in 0..=(ChunkHeader::BYTES + FETCH_AHEAD) / 64 {
            hint_written(start.wrapping_add(64 * line));
        }
        hint_written(ring.state_of_next());
        hint_written(std::ptr::from_ref(&self.gone).cast());
        hint_written(std::ptr::from_ref(self.lane_word(lane, SEALED_EVENTS_OFFSET)).cast());
    }

    /// Why the ring has no chunk to give.
    #[cold]
    pub(crate) fn why_no_chunk(&self, which: Which) -> Cause {
        match which {
            Which::Events if self.complete.load(Ordering::Acquire) => Cause::AfterLimit,
            Which::Events if self.window.is_some() => Cause::NoSegment,
            _ => Cause::NoChunk,
        }
    }

    /// Writes the header of a chunk just taken; what it held is gone.
    pub(crate) fn begin_chunk(&self, which: Which, taken: &Taken, lane: u32, base_tick: u64, first_record: u64) {
        let word = |offset| self.chunk_word(which, taken.index, offset);
        // The commit word of a place never taken is 0.
        if which == Which::Events {
            self.count_gone(self.records(which, taken.index));
        }
        let words = ChunkWords { seq: word(SEQ_OFFSET), commit: word(COMMIT_OFFSET), seal: word(SEAL_OFFSET) };
        let header = ChunkHeader::fixed_words(lane, taken.seq, base_tick, first_record);
        words.begin(taken.seq, header.into_iter().map(|(offset, value)| (word(offset), value)));
    }

    /// Adds the checksum to a chunk that its writer has given back. Answers the
    /// take number of the chunk when it is sealed now, `None` when it is held.
    pub(crate) fn seal_chunk(&self, which: Which, index: u64) -> Option<u64> {
        let ring = self.ring(which);
        if !ring.pin(index) {
            return None;
        }
        let seq = self.seal(which, index);
        ring.release(index);
        Some(seq)
    }

    /// The same of a chunk that nobody else can get at; answers its take number.
    pub(crate) fn seal(&self, which: Which, index: u64) -> u64 {
        let seq = self.chunk_word(which, index, SEQ_OFFSET).load(Ordering::Relaxed);
        let seal = self.chunk_word(which, index, SEAL_OFFSET);
        if seq != 0 && seal.load(Ordering::Relaxed) == 0 {
            seal.store(self.seal_word(which, index), Ordering::Release);
        }
        seq
    }

    /// Records that are committed in a chunk.
    pub(crate) fn records(&self, which: Which, index: u64) -> u64 {
        promised(self.commit_word(which, index)) >> 32
    }

    /// Events can be read no more.
    pub(crate) fn count_gone(&self, events: u64) {
        // Release: who sees them gone sees that they were stored (`count_events`).
        self.gone.fetch_add(events, Ordering::Release);
    }

    /// Enters into the lane table what the lane has stored in the chunks of a ring that
    /// are not its any more.
    pub(crate) fn count_closed(&self, which: Which, lane: u32, stored: u64) {
        let offset = match which {
            Which::Events => SEALED_EVENTS_OFFSET,
            Which::Infos => SEALED_INFOS_OFFSET,
        };
        // The greatest: who takes a chunk away from a lane that wakes up may come late.
        // Release: the count is in the file before the chunk can be overwritten.
        self.lane_word(lane, offset).fetch_max(stored, Ordering::Release);
    }

    /// The same of the chunk of events of that number, which is taken away from it.
    pub(crate) fn count_taken(&self, lane: u32, seq: u64) {
        if let Some(stored) = self.stored_with(seq) {
            self.count_closed(Which::Events, lane, stored);
        }
    }

    /// Events that a lane had stored when it last wrote the chunk of that number; `None`
    /// when that is not begun, or another by now.
    fn stored_with(&self, seq: u64) -> Option<u64> {
        let index = seq.checked_sub(1)? % self.events_layout.chunks;
        let word = |offset| self.chunk_word(Which::Events, index, offset);
        read_stable(seq, word(SEQ_OFFSET), || load(word(FIRST_RECORD_OFFSET)) + self.records(Which::Events, index))
    }

    /// Events that a lane has stored which holds the chunk of that number, 0 for none.
    /// Exact while it is idle and keeps the chunk.
    pub(crate) fn stored_by(&self, lane: u32, held: u64) -> u64 {
        let open = self.stored_with(held).unwrap_or(0);
        // Read last: what it held and is another by now was entered before.
        open.max(load(self.lane_word(lane, SEALED_EVENTS_OFFSET)))
    }

    /// Holds the chunk of that number for a copy; `None` when it is another by now.
    pub(crate) fn copying(&self, which: Which, index: u64, seq: u64) -> Option<HeldChunk<'_>> {
        let copying = copying(self.ring(which), index, seq, self.chunk_word(which, index, SEQ_OFFSET))?;
        Some(HeldChunk { store: self, which, index, _copying: copying })
    }

    /// Committed bytes of a chunk, of that commit word.
    ///
    /// # Safety
    /// What the word promises must be seen by the caller, and the chunk must not be
    /// begun anew while the answer is used.
    unsafe fn committed(&self, which: Which, index: u64, commit: u64) -> &[u8] {
        let (start, chunk_bytes) = self.chunk(which, index);
        let length = ((commit & 0xffff_ffff) as usize).min(chunk_bytes - ChunkHeader::BYTES);
        // SAFETY: the header lies within the chunk.
        let payload = unsafe { start.add(ChunkHeader::BYTES) };
        // SAFETY: `length` bytes of payload lie within the chunk; who holds it writes
        // behind what is committed, and nobody begins it anew, as the caller promises.
        unsafe { std::slice::from_raw_parts(payload, length) }
    }

    /// The checksum of a pinned chunk's committed payload, and its length.
    fn seal_word(&self, which: Which, index: u64) -> u64 {
        let commit = self.commit_word(which, index).load(Ordering::Relaxed);
        // SAFETY: the chunk is pinned, so that no thread writes it (Acquire in `pin` saw
        // its last writer), or its memory is the caller's alone.
        let payload = unsafe { self.committed(which, index, commit) };
        u64::from(crc32fast::hash(payload)) << 32 | payload.len() as u64
    }

    /// The take number of a chunk, 0 when it is not in use.
    pub(crate) fn chunk_seq(&self, which: Which, index: u64) -> u64 {
        self.chunk_word(which, index, SEQ_OFFSET).load(Ordering::Acquire)
    }

    /// Events stored by all lanes, and those of them that can be read no more; `held`
    /// says which chunk a lane holds. Exact while nobody stores; else as of some moment
    /// during the call. The work is that of the lanes, however large the ring is.
    pub(crate) fn count_events(&self, held: impl Fn(u32) -> u64) -> (u64, u64) {
        // Read first, so that all that is gone is counted as stored.
        let gone = load(&self.gone);
        let lanes = self.header.lane_slots as u32;
        ((0..lanes).map(|lane| self.stored_by(lane, held(lane))).sum(), gone)
    }

    /// Events dropped on all lanes, by cause.
    pub(crate) fn count_dropped(&self) -> [u64; CAUSES.len()] {
        let of_lane = |cause, lane| load(self.lane_word(lane, DROPPED_OFFSET + 8 * cause));
        let lanes = self.header.lane_slots as u32;
        std::array::from_fn(|cause| (0..lanes).map(|lane| of_lane(cause, lane)).sum())
    }

    /// Processes counted in a sample and out of it, on all lanes.
    pub(crate) fn count_sampled(&self) -> [u64; 2] {
        let of_lane = |place, lane| load(self.lane_word(lane, SAMPLED_OFFSET + 8 * place));
        let lanes = self.header.lane_slots as u32;
        std::array::from_fn(|place| (0..lanes).map(|lane| of_lane(place, lane)).sum())
    }

    /// Writes the meta section. Once, before anything is recorded.
    pub(crate) fn write_meta(&self, meta: &Meta) {
        self.mapping.write(META_OFFSET, &meta.encode());
    }

    /// The meta section, as it was written.
    pub(crate) fn read_meta(&self) -> Meta {
        let words = self.as_words(META_OFFSET, META_BYTES as u64);
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        Meta::decode(&bytes).unwrap_or_default()
    }

    /// Writes a clock pair. Called by one thread at a time.
    pub(crate) fn write_clock(&self, pair: &ClockPair) {
        let slot = clock::slot(pair.seq, self.header.clock_slots);
        let offset = self.header.clock_offset + slot * clock::ENTRY_BYTES as u64;
        for (place, word) in pair.words().into_iter().enumerate() {
            self.mapping.word(offset + 8 * place as u64).store(word, Ordering::Release);
        }
    }

    /// Writes the status block and copies the front page to the end of the file.
    /// Called by one thread at a time.
    pub(crate) fn write_status(&self, phase: Phase, stop_tick: u64, reason: &str) {
        let mut page = vec![0; FRONT_BYTES];
        Status { phase, stop_tick, reason: reason.to_owned() }.encode_into(&mut page);
        // The phase stands first and is told last.
        let (head, rest) = page[spoor_format::status::OFFSET..spoor_format::status::END].split_at(8);
        let offset = spoor_format::status::OFFSET as u64;
        self.mapping.write(offset + 8, rest);
        fence(Ordering::Release);
        self.mapping.write(offset, head);
        self.back_up_front();
    }

    fn back_up_front(&self) {
        let from = self.mapping.pointer(0, FRONT_BYTES as u64);
        let to = self.mapping.pointer(self.header.backup_offset(), FRONT_BYTES as u64);
        // SAFETY: both ranges lie within the mapping and are FRONT_BYTES long; the
        // layout puts the rings between them, so they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(from, to, FRONT_BYTES) }
    }

    /// Enters a thread into the lane table.
    pub(crate) fn write_lane(&self, number: u32, kind: LaneKind, index: u32, os_tid: u64) {
        // As words: who copies may be reading the table.
        for (place, word) in LaneEntry::identity(kind, index, os_tid).as_chunks().0.iter().enumerate() {
            self.lane_word(number, 8 * place).store(u64::from_ne_bytes(*word), Ordering::Release);
        }
    }

    fn lane_offset(&self, number: u32) -> u64 {
        self.header.lane_offset + u64::from(number) * lane::ENTRY_BYTES as u64
    }

    /// A counter in a lane's entry. Only the lane's own thread stores it.
    pub(crate) fn lane_word(&self, number: u32, offset: usize) -> &AtomicU64 {
        self.mapping.word(self.lane_offset(number) + offset as u64)
    }
}

/// A chunk that is not begun anew while this lives, though its holder may add to it.
#[derive(Debug)]
pub(crate) struct HeldChunk<'a> {
    store: &'a Store,
    which: Which,
    index: u64,
    _copying: Copying<'a>,
}

impl HeldChunk<'_> {
    /// Its header as of now, and what that says is committed.
    pub(crate) fn committed(&self) -> ([u8; ChunkHeader::BYTES], &[u8]) {
        let words = self.store.chunk_as_words(self.which, self.index);
        let commit = promised(&words[COMMIT_OFFSET / 8]);
        let mut header = [0; ChunkHeader::BYTES];
        for (place, word) in header.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        // What was committed meanwhile is not looked at.
        header[COMMIT_OFFSET..COMMIT_OFFSET + 8].copy_from_slice(&commit.to_ne_bytes());
        // SAFETY: Acquire saw what the word promises; nobody takes the chunk (`Copying`).
        (header, unsafe { self.store.committed(self.which, self.index, commit) })
    }
}

/// Where a chunk says how many records its lane had stored before.
const FIRST_RECORD_OFFSET: usize = 32;

/// A word that another thread may be storing.
fn load(word: &AtomicU64) -> u64 {
    word.load(Ordering::Acquire)
}
