//! The segments of a stream: files that one after the other take the chunks of
//! the event ring.
//!
//! A thread of its own makes the next file before it is needed, reserved and
//! faulted in, and shows it in the window; closes the oldest when it is full and
//! its chunks are back; packs closed ones; deletes the oldest at the cap. Writers
//! know nothing of all this: for them a ring of chunks goes on for ever, or for once
//! has no chunk, and then they drop.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use spoor_format::chunk::ChunkHeader;
use spoor_format::header::Header;
use spoor_format::lane::Cause;
use spoor_format::segment::{CHUNKS_OFFSET, FRAME_BYTES, FRAMES_OFFSET, Frame, HEAD, Packing, SegmentHeader};

use crate::background::{Background, Unsynced, go_on};
use crate::governor::remark;
use crate::limits::Limits;
use crate::mapping::create_reserved;
use crate::pace::Pace;
use crate::registry::{self, State, wait_until_nobody_is_inside};
use crate::store::{Store, Which};
use crate::{OpenError, clock};

/// Segments in memory at a time: one that is filled, the next, and the last, whose
/// chunks come back one by one.
const SLOTS: u64 = 3;
/// How often the thread looks. A scheduler may not wake it: that is a system call.
const LOOK: Duration = Duration::from_millis(10);
/// How long an idle thread may keep a chunk of a full segment.
const GRACE: Duration = Duration::from_millis(500);
/// How long the disk is left alone when it is full.
const FULL_PAUSE: Duration = Duration::from_millis(200);
/// Chunks packed between two looks at what is urgent.
const PACK_STEP: u64 = 16;

/// How a stream is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of all files together.
    pub total_bytes: u64,
    /// When these are used up, the recording ends; else the oldest segment goes.
    pub keep_first: bool,
    /// Closed segments are packed.
    pub packs: bool,
}

impl Stream {
    /// Can its segments be shared by the threads of so many lanes?
    pub(crate) fn check_segments(&self, least: u64, lanes: u64) -> Result<(), OpenError> {
        if self.segment_bytes >= least {
            return Ok(());
        }
        let smallest = Stream { segment_bytes: least, ..*self };
        let (header, _, file_bytes) = smallest.layout(lanes);
        let stream = smallest.least_bytes(&header, file_bytes);
        Err(OpenError::SegmentTooSmall { segment: self.segment_bytes, least, stream })
    }

    /// The head's header, chunks of a segment, bytes of its file.
    fn layout(&self, lanes: u64) -> (Header, u64, u64) {
        let header = Header::for_stream(self.segment_bytes, lanes);
        let chunks = self.segment_bytes.div_ceil(header.events.chunk_bytes).max(lanes + 1);
        let file_bytes = CHUNKS_OFFSET + chunks * header.events.chunk_bytes;
        (header, chunks, file_bytes)
    }

    /// Bytes of the head and of the segments that are there at a time at least.
    fn least_bytes(&self, header: &Header, file_bytes: u64) -> u64 {
        header.file_bytes + (SLOTS + 1 + u64::from(self.packs)) * file_bytes
    }
}

/// A segment in the window.
#[derive(Debug)]
struct Shown {
    number: u64,
    full_since: Option<Instant>,
}

/// A segment that nobody writes.
#[derive(Debug)]
struct Closed {
    number: u64,
    bytes: u64,
    records: u64,
    packing: Packing,
    /// It is to be packed, and that has not failed.
    to_pack: bool,
}

/// The stream's store, and what becomes its thread.
pub(crate) fn create(directory: &Path, stream: Stream, lanes: u64) -> Result<(Store, Segments), OpenError> {
    let (header, chunks, file_bytes) = stream.layout(lanes);
    let least = stream.least_bytes(&header, file_bytes);
    if stream.total_bytes < least {
        return Err(OpenError::StreamTooSmall { stream: stream.total_bytes, least, segment: stream.segment_bytes });
    }
    let store = Store::create_head(&directory.join(HEAD), header, SLOTS, chunks);
    let store = store.map_err(|error| error.renamed(&directory.join(HEAD), directory))?;
    let segments = Segments {
        directory: directory.to_owned(),
        stream,
        id: clock::pair(1).wall_ns,
        chunk_bytes: header.events.chunk_bytes,
        chunks,
        used_bytes: header.file_bytes,
        file_bytes,
        next: 1,
        shown: VecDeque::new(),
        closed: VecDeque::new(),
        full_until: None,
        told: 0,
    };
    Ok((store, segments))
}

/// What the thread knows.
#[derive(Debug)]
pub(crate) struct Segments {
    directory: PathBuf,
    stream: Stream,
    /// Stands in every file of the stream.
    pub(crate) id: u64,
    chunk_bytes: u64,
    /// Chunks of a segment.
    chunks: u64,
    /// Bytes of all files, and of a segment that is not packed.
    used_bytes: u64,
    file_bytes: u64,
    /// Number of the segment to make next.
    next: u64,
    /// Oldest first.
    shown: VecDeque<Shown>,
    closed: VecDeque<Closed>,
    /// The disk was full: until then it is left alone.
    full_until: Option<Instant>,
    /// Events dropped for want of a segment when it was said last.
    told: u64,
}

/// The thread with what it works on.
struct Worker {
    segments: Segments,
    state: State,
    store: Arc<Store>,
    limits: Arc<Limits>,
    /// Closed files that are to be written to the disk, if any are.
    unsynced: Option<Arc<Unsynced>>,
}

/// Makes the first segments, then leaves the rest to a thread. When that is
/// dropped, all segments are closed.
pub(crate) fn start(
    segments: Segments,
    state: State,
    store: Arc<Store>,
    limits: Arc<Limits>,
    unsynced: Option<Arc<Unsynced>>,
) -> Result<Background, OpenError> {
    let path = segments.directory.clone();
    let mut worker = Worker { segments, state, store, limits, unsynced };
    worker.make_next()?;
    worker.make_next()?;
    let started = Background::start("spoor_segments", move |stopped| worker.run(&stopped));
    started.map_err(|error| OpenError::File { path, error })
}

impl Worker {
    fn run(mut self, stopped: &Receiver<()>) {
        while go_on(stopped, LOOK) {
            self.keep_up();
            self.pack_one();
            self.tell();
        }
        // No segment is made any more.
        self.store.complete.store(true, Ordering::Release);
        while !self.segments.shown.is_empty() {
            self.close_oldest();
        }
        while self.pack_one() {}
    }

    /// What cannot wait: the next segment, and room for it.
    fn keep_up(&mut self) {
        while self.may_close() {
            self.close_oldest();
        }
        let wanted = self.store.ring(Which::Events).asked() / self.segments.chunks + 2;
        if self.segments.next > wanted || self.segments.shown.len() as u64 >= SLOTS {
            return;
        }
        if self.store.complete.load(Ordering::Relaxed) || self.segments.full_until.is_some_and(|at| at > Instant::now())
        {
            return;
        }
        match self.make_next() {
            Ok(()) => self.segments.full_until = None,
            Err(OpenError::NoSpace { .. }) if !self.segments.stream.keep_first && self.delete_oldest() => {}
            Err(_) => self.segments.full_until = Some(Instant::now() + FULL_PAUSE),
        }
    }

    /// The number of the last chunk of a segment.
    fn last_chunk(&self, number: u64) -> u64 {
        number * self.segments.chunks
    }

    fn slot(&self, number: u64) -> u64 {
        (number - 1) % SLOTS
    }

    /// Makes the next segment, shows it, and lets its chunks be taken.
    fn make_next(&mut self) -> Result<(), OpenError> {
        let bytes = self.segments.file_bytes;
        // While a segment is packed it is there twice.
        let spare = if self.segments.stream.packs { bytes } else { 0 };
        while self.segments.used_bytes + bytes + spare > self.segments.stream.total_bytes {
            if self.segments.stream.keep_first {
                self.store.complete.store(true, Ordering::Release);
                return Ok(());
            }
            if !self.delete_oldest() {
                return Err(OpenError::NoSpace { need: bytes, have: 0 });
            }
        }
        let number = self.segments.next;
        let path = self.path(number, Packing::None);
        let file = create_reserved(&path, bytes)?;
        let shown = self.begin(&file, number);
        if let Err(error) = shown {
            let _ = std::fs::remove_file(&path);
            return Err(OpenError::File { path, error });
        }
        self.segments.used_bytes += bytes;
        self.segments.next += 1;
        self.segments.shown.push_back(Shown { number, full_since: None });
        self.store.ring(Which::Events).allow(self.last_chunk(number));
        Ok(())
    }

    fn begin(&self, file: &File, number: u64) -> io::Result<()> {
        let header = self.header(number, Packing::None);
        file.write_all_at(&header.encode(), 0)?;
        if self.unsynced.is_some() {
            file.sync_all()?;
            self.sync_directory()?;
        }
        let window = self.store.window().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
        window.show(self.slot(number), file, CHUNKS_OFFSET)
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.segments.directory)?.sync_all()
    }

    fn header(&self, number: u64, packing: Packing) -> SegmentHeader {
        let Segments { id, chunk_bytes, chunks, .. } = self.segments;
        SegmentHeader::new(id, number, chunk_bytes, chunks, packing)
    }

    fn path(&self, number: u64, packing: Packing) -> PathBuf {
        self.segments.directory.join(packing.file_name(number))
    }

    /// Is the oldest segment full, and are its chunks back or overdue?
    fn may_close(&mut self) -> bool {
        let asked = self.store.ring(Which::Events).asked();
        let Some(number) = self.segments.shown.front().map(|shown| shown.number) else { return false };
        let last = self.last_chunk(number);
        if asked < last {
            return false;
        }
        let now = Instant::now();
        let since = self.segments.shown.front_mut().map_or(now, |shown| *shown.full_since.get_or_insert(now));
        let wanted = asked >= last + self.segments.chunks / 4;
        wanted || now.duration_since(since) > GRACE || !self.limits.signals.is_held(last)
    }

    /// Closes the oldest segment. Lanes that hold a chunk of it are asked to leave
    /// it; those that are idle have it taken away.
    fn close_oldest(&mut self) {
        let Some(shown) = self.segments.shown.pop_front() else { return };
        let (last, chunks) = (self.last_chunk(shown.number), self.segments.chunks);
        self.limits.signals.recall(last);
        // From here on no thread writes into the segment: its chunks are all given
        // out, and who held one looks before it stores another event.
        wait_until_nobody_is_inside();
        let places = self.store.event_chunks();
        self.limits.taking(|| self.limits.signals.take_away(|lane, seq| self.store.count_taken(lane, seq)));
        let (mut records, mut in_use) = (0, false);
        let mut pace = Pace::begin();
        pace.hurry(true);
        for index in (last - chunks..last).map(|chunk| chunk % places) {
            pace.step();
            if self.store.seal(Which::Events, index) != 0 {
                in_use = true;
                records += self.store.records(Which::Events, index);
            }
        }
        let (number, bytes) = (shown.number, self.segments.file_bytes);
        // Before it is hidden: whoever syncs finds it here or there.
        if let (Some(unsynced), true) = (&self.unsynced, in_use) {
            unsynced.add(self.path(number, Packing::None));
        }
        if let Some(window) = self.store.window() {
            window.hide(self.slot(number));
        }
        if !in_use {
            self.remove(number, Packing::None, bytes);
            return;
        }
        self.segments.closed.push_back(Closed {
            number,
            bytes,
            records,
            packing: Packing::None,
            to_pack: self.segments.stream.packs,
        });
    }

    fn remove(&mut self, number: u64, packing: Packing, bytes: u64) {
        let path = self.path(number, packing);
        if let Some(unsynced) = &self.unsynced {
            unsynced.forget(&path);
        }
        // Already gone is as good.
        let _ = std::fs::remove_file(path);
        self.segments.used_bytes = self.segments.used_bytes.saturating_sub(bytes);
    }

    /// Deletes the oldest closed segment; false when there is none.
    fn delete_oldest(&mut self) -> bool {
        let Some(oldest) = self.segments.closed.pop_front() else { return false };
        self.store.count_gone(oldest.records);
        self.remove(oldest.number, oldest.packing, oldest.bytes);
        true
    }

    /// Packs the oldest closed segment that is to be; false when there is none.
    fn pack_one(&mut self) -> bool {
        let Some(oldest) = self.segments.closed.iter_mut().find(|closed| closed.to_pack) else { return false };
        // Tried once: a disk that is full will not be less so for it.
        oldest.to_pack = false;
        let number = oldest.number;
        let path = self.path(number, Packing::Lz4);
        let part = path.with_extension("lz4.part");
        let packed = self.pack(number, &part).and_then(|bytes| std::fs::rename(&part, &path).map(|()| bytes));
        if packed.is_ok() && self.unsynced.is_some() {
            // The name is on the disk before the original goes.
            let _ = self.sync_directory();
        }
        let old_bytes = self.segments.file_bytes;
        match (packed, self.segments.closed.iter_mut().find(|closed| closed.number == number)) {
            (Ok(bytes), Some(closed)) => {
                (closed.bytes, closed.packing) = (bytes, Packing::Lz4);
                self.segments.used_bytes += bytes;
                self.remove(number, Packing::None, old_bytes);
            }
            // It was deleted meanwhile, for room; or it stays as it is.
            (Ok(_), None) => drop(std::fs::remove_file(&path)),
            (Err(_), _) => drop(std::fs::remove_file(&part)),
        }
        true
    }

    /// Writes a packed copy of a closed segment; answers its size.
    fn pack(&mut self, number: u64, part: &Path) -> io::Result<u64> {
        let _ = std::fs::remove_file(part);
        let from = File::open(self.path(number, Packing::None))?;
        let to = create_reserved(part, 0).map_err(io::Error::other)?;
        to.write_all_at(&self.header(number, Packing::Lz4).encode(), 0)?;
        let mut at = FRAMES_OFFSET;
        let mut packer = Packer::new(self.segments.chunk_bytes as usize);
        for place in 0..self.segments.chunks {
            if place % PACK_STEP == PACK_STEP - 1 {
                self.keep_up();
            }
            let offset = CHUNKS_OFFSET + place * self.segments.chunk_bytes;
            if let Some(frame) = packer.frame(&from, offset, place as u32)? {
                to.write_all_at(frame, at)?;
                at += frame.len() as u64;
            }
        }
        if self.unsynced.is_some() {
            to.sync_all()?;
        }
        Ok(at)
    }

    /// Says in the file that there was no segment, and why.
    fn tell(&mut self) {
        let dropped = self.store.count_dropped()[Cause::NoSegment as usize];
        if dropped == self.segments.told {
            return;
        }
        self.segments.told = dropped;
        let why =
            if self.segments.full_until.is_some() { "no room for a segment" } else { "the disk does not keep up" };
        let text = format!("{why}: {dropped} events dropped so far");
        registry::with(self.state, |recording| {
            recording.info(|stream, delta| remark(stream, delta, Cause::NoSegment, &text));
        });
    }
}

/// Packs chunks one by one.
struct Packer {
    chunk: Vec<u8>,
    frame: Vec<u8>,
}

impl Packer {
    fn new(chunk_bytes: usize) -> Packer {
        let most = lz4_flex::block::get_maximum_output_size(chunk_bytes);
        Packer { chunk: vec![0; chunk_bytes], frame: vec![0; FRAME_BYTES + most] }
    }

    /// The frame of the chunk at `offset`; none when it is not in use.
    fn frame(&mut self, from: &File, offset: u64, place: u32) -> io::Result<Option<&[u8]>> {
        let (header, payload) = self.chunk.split_at_mut(ChunkHeader::BYTES);
        from.read_exact_at(header, offset)?;
        let Ok(Some(chunk)) = ChunkHeader::decode(header, payload.len() as u64) else { return Ok(None) };
        let payload = &mut payload[..chunk.bytes as usize];
        from.read_exact_at(payload, offset + ChunkHeader::BYTES as u64)?;
        let packed =
            lz4_flex::block::compress_into(payload, &mut self.frame[FRAME_BYTES..]).map_err(io::Error::other)?;
        let mut whole = [0; ChunkHeader::BYTES];
        whole.copy_from_slice(header);
        let frame = Frame { place, packed_bytes: packed as u32, chunk: whole };
        self.frame[..FRAME_BYTES].copy_from_slice(&frame.encode());
        Ok(Some(&self.frame[..FRAME_BYTES + packed]))
    }
}
