//! Copies of a recording that goes on, made by a thread of their own.
//!
//! No thread that records is waited for, and none waits: the chunk that is being copied is
//! passed over by who needs one, its holder goes on writing behind what is copied. One that
//! was overwritten before is left out and counted. The copy ends at the tick at which it was asked for: what came later
//! is cut off, so that all threads end at one moment. Of a stream, the files are read.
//!
//! Nor does anybody wait for the processor that the copying takes: it is done in
//! pieces (`pace`), the closer to each other the nearer the writers are.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TryRecvError, select, unbounded};
use spoor_format::chunk::{ChunkHeader, Reader};
use spoor_format::clock::{self, ClockPair};
use spoor_format::header::{FRONT_BYTES, Header, META_OFFSET};
use spoor_format::lane::{self, OUTSIDE_OFFSET, SEALED_EVENTS_OFFSET};
use spoor_format::record::Schema;
use spoor_format::status::{Phase, Status};

use crate::background::Background;
use crate::chunk_words::read_stable;
use crate::copy_file::CopyFile;
use crate::covered::Covered;
use crate::pace::{BYTES_OF_STEP, Pace};
use crate::segment_chunks::{At, SegmentChunks};
use crate::store::{Store, Which};

/// What a copy holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copied {
    /// Size of the file; of it, only what holds something takes room on the disk.
    pub bytes: u64,
    /// Events in the copy.
    pub events: u64,
    /// Chunks of events in the copy.
    pub chunks: u64,
    /// Chunks left out because they end before the window begins.
    pub earlier: u64,
    /// Chunks left out because they were overwritten while they were copied.
    pub overtaken: u64,
    /// Milliseconds of the window, up to its end, of which all that was stored is in the copy.
    pub covered_ms: u64,
}

/// Why there is no copy.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failed {
    /// The recording ended first; its file has it all.
    Ended,
    /// The copy cannot be written.
    Io(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Failed::Io(error)
    }
}

type Answer = Box<dyn FnOnce(Result<Copied, Failed>) + Send>;

struct Job {
    path: PathBuf,
    file: File,
    last: Option<Duration>,
    answer: Answer,
}

/// The thread that copies, one copy after the other.
#[derive(Debug)]
pub(crate) struct Copier {
    jobs: Sender<Job>,
    _thread: Background,
}

impl Copier {
    /// Starts the thread for a recording whose clock ticks so often a second. When
    /// this is dropped, copies not yet made are answered by [`Failed::Ended`].
    pub(crate) fn start(store: Arc<Store>, tick_hz: u64) -> io::Result<Copier> {
        let (jobs, asked) = unbounded::<Job>();
        let thread = Background::start("spoor_copy", move |stopped| {
            // One for all copies: to give so much memory back takes the system long.
            let mut buffer = Vec::with_capacity(store.header().events.chunk_bytes as usize);
            while let Some(job) = next(&asked, &stopped) {
                job.run(&store, tick_hz, &stopped, &mut buffer);
            }
            drop(store);
            asked.try_iter().for_each(|job| job.answer(Err(Failed::Ended)));
        })?;
        Ok(Copier { jobs, _thread: thread })
    }

    /// Makes a copy in a file that must not exist. The answer is given on the
    /// copying thread, once, unless this fails.
    pub(crate) fn copy(&self, path: &Path, last: Option<Duration>, answer: Answer) -> io::Result<()> {
        let file = crate::create_private(path)?;
        // The receiver lives as long as the thread, which this owns.
        let _ = self.jobs.send(Job { path: path.to_owned(), file, last, answer });
        Ok(())
    }
}

fn next(asked: &Receiver<Job>, stopped: &Receiver<()>) -> Option<Job> {
    select! {
        recv(asked) -> job => job.ok(),
        recv(stopped) -> _ => None,
    }
}

impl Job {
    fn run(self, store: &Store, tick_hz: u64, stopped: &Receiver<()>, buffer: &mut Vec<u8>) {
        let ticks =
            |last: Duration| u64::try_from(last.as_nanos() * u128::from(tick_hz) / 1_000_000_000).unwrap_or(u64::MAX);
        let until = crate::clock::now();
        let from = self.last.map_or(0, |last| until.saturating_sub(ticks(last)));
        let pace = RefCell::new(Pace::begin());
        let directory = store.window().and_then(|_| store.path().parent());
        let segments = directory.map(|directory| RefCell::new(SegmentChunks::of(directory.to_owned())));
        let file = RefCell::new(CopyFile::new(&self.file, &self.path));
        let copy = Copy { store, segments, file, from, until, tick_hz, last: self.last, stopped, pace };
        let made = copy.make(buffer);
        copy.pace.borrow_mut().rest();
        drop(copy);
        self.answer(made);
    }

    fn answer(self, made: Result<Copied, Failed>) {
        if made.is_err() {
            // What cannot be removed is an empty file, or half a copy under a name that says so.
            let _ = std::fs::remove_file(&self.path);
        }
        drop(self.file);
        (self.answer)(made);
    }
}

/// Where a chunk is copied from.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// This place of the ring.
    Ring(u64),
    Segment(At),
}

/// A chunk as it was when the ring was looked through.
#[derive(Debug, Clone, Copy)]
struct Seen {
    place: Place,
    seq: u64,
    lane: u32,
    base_tick: u64,
    /// Events that its lane had stored before.
    first_record: u64,
    /// Events in it; of an open chunk those so far.
    records: u64,
    /// When the lane's next chunk begins, if it has begun.
    next_tick: Option<u64>,
}

impl Seen {
    /// Is all of it from before that tick?
    fn ends_before(&self, tick: u64) -> bool {
        self.next_tick.is_some_and(|next| next < tick)
    }
}

struct Copy<'a> {
    store: &'a Store,
    /// Where the events of a stream are.
    segments: Option<RefCell<SegmentChunks>>,
    file: RefCell<CopyFile<'a>>,
    /// The window, in ticks, both ends included.
    from: u64,
    until: u64,
    tick_hz: u64,
    last: Option<Duration>,
    stopped: &'a Receiver<()>,
    pace: RefCell<Pace>,
}

impl Copy<'_> {
    fn make(&self, buffer: &mut Vec<u8>) -> Result<Copied, Failed> {
        let source = self.store.header();
        let mut lanes = self.region(source.lane_offset, source.lane_slots * lane::ENTRY_BYTES as u64);
        let (infos, seen) = (self.look_through(Which::Infos), self.look_for_events()?);
        let rings = (source.info.chunk_bytes, infos.len() as u64);
        let header = Header::with_rings(source.lane_slots, source.clock_slots, rings, (source.events.chunk_bytes, 0));
        let mut copied = Copied { bytes: 0, events: 0, chunks: 0, earlier: 0, overtaken: 0, covered_ms: 0 };
        let mut covered = Covered::default();
        // Events first, the oldest before all others: they are overwritten soonest.
        for chunk in seen.iter().filter(|chunk| chunk.base_tick <= self.until) {
            if chunk.ends_before(self.from) {
                copied.earlier += 1;
                count_outside(&mut lanes, chunk);
                covered.has(chunk.lane, chunk.base_tick, chunk.first_record, chunk.records);
                continue;
            }
            self.go_on()?;
            self.hurry(chunk.seq);
            let Some(mut is) = self.chunk(Which::Events, chunk, buffer)? else {
                copied.overtaken += 1;
                continue;
            };
            if chunk.next_tick.is_none_or(|next| next > self.until) {
                is = self.cut(is, buffer);
            }
            count_sealed(&mut lanes, &is);
            if is.records == 0 {
                continue;
            }
            self.write_chunk(is, buffer, header.events.chunk_offset(copied.chunks))?;
            covered.has(is.lane, is.base_tick, is.first_record, u64::from(is.records));
            copied.chunks += 1;
            copied.events += u64::from(is.records);
        }
        for (place, chunk) in infos.iter().enumerate() {
            self.go_on()?;
            // A place that stays empty is one not in use.
            if let Some(is) = self.chunk(Which::Infos, chunk, buffer)? {
                self.write_chunk(is, buffer, header.info.chunk_offset(place as u64))?;
            }
        }
        let header = header.with_events(header.events.chunk_bytes, copied.chunks);
        self.file.borrow().set_len(header.file_bytes)?;
        self.write(&self.clocks(), header.clock_offset)?;
        self.write(&lanes, header.lane_offset)?;
        let front = self.front(&header, &copied);
        self.write(&front, header.backup_offset())?;
        self.write(&front, 0)?;
        let ticks = covered.from().map_or(0, |tick| self.until.saturating_sub(tick.max(self.from)));
        let covered_ms = (u128::from(ticks) * 1000 / u128::from(self.tick_hz)) as u64;
        Ok(Copied { bytes: header.file_bytes, covered_ms, ..copied })
    }

    /// Is the recording still there to be copied?
    fn go_on(&self) -> Result<(), Failed> {
        match self.stopped.try_recv() {
            Err(TryRecvError::Empty) => Ok(()),
            _ => Err(Failed::Ended),
        }
    }

    /// The nearer the writers are to the chunk that is copied next, the less it waits.
    fn hurry(&self, seq: u64) {
        if self.segments.is_some() {
            return;
        }
        let (asked, places) = (self.store.ring(Which::Events).asked(), self.store.event_chunks());
        let lead = (seq + places).saturating_sub(asked);
        self.pace.borrow_mut().hurry(lead < places / 4);
    }

    fn step(&self) {
        self.pace.borrow_mut().step();
    }

    /// Copies a chunk into the buffer; `None` when it is not that chunk any more.
    fn chunk(&self, which: Which, chunk: &Seen, buffer: &mut Vec<u8>) -> io::Result<Option<ChunkHeader>> {
        match (chunk.place, &self.segments) {
            (Place::Ring(index), _) => Ok(self.chunk_of_ring(which, index, chunk.seq, buffer)),
            (Place::Segment(at), Some(segments)) => {
                segments.borrow_mut().read(at, chunk.seq, buffer, &mut self.pace.borrow_mut())
            }
            (Place::Segment(_), None) => Ok(None),
        }
    }

    fn chunk_of_ring(&self, which: Which, index: u64, seq: u64, buffer: &mut Vec<u8>) -> Option<ChunkHeader> {
        let chunk = self.store.copying(which, index, seq)?;
        let (header, payload) = chunk.committed();
        buffer.clear();
        buffer.extend_from_slice(&header);
        for part in payload.chunks(BYTES_OF_STEP) {
            buffer.extend_from_slice(part);
            self.step();
        }
        ChunkHeader::decode(buffer, payload.len() as u64).ok().flatten()
    }

    /// The same chunk without what came after the window.
    fn cut(&self, is: ChunkHeader, buffer: &[u8]) -> ChunkHeader {
        let schema = Schema::default();
        let mut reader = Reader::new(payload(buffer), is.base_tick, &schema);
        let (mut records, mut bytes) = (0, 0);
        while let Ok(Some(event)) = reader.next_event() {
            if event.tick > self.until {
                return ChunkHeader { records, bytes, crc: None, ..is };
            }
            (records, bytes) = (records + 1, reader.offset() as u32);
            if records % RECORDS_OF_STEP == 0 {
                self.step();
            }
        }
        is
    }

    /// The chunks in use, the oldest first.
    fn look_through(&self, which: Which) -> Vec<Seen> {
        let look = |index| {
            self.step();
            let words = self.store.chunk_as_words(which, index);
            let seq = words[SEQ].load(Ordering::Acquire);
            let word = |at: usize| words[at].load(Ordering::Relaxed);
            let read = || (word(0), word(3), word(4), word(COMMIT));
            let (first, base_tick, first_record, commit) = read_stable(seq, &words[SEQ], read)?;
            let (lane, records) = ((first >> 32) as u32, commit >> 32);
            Some(Seen { place: Place::Ring(index), seq, lane, base_tick, first_record, records, next_tick: None })
        };
        let mut seen: Vec<Seen> = (0..self.store.chunks(which)).filter_map(look).collect();
        // Places are taken in turn: this is nearly in order, from some place on.
        seen.sort_by_key(|chunk| chunk.seq);
        let mut next: BTreeMap<u32, u64> = BTreeMap::new();
        for chunk in seen.iter_mut().rev() {
            chunk.next_tick = next.insert(chunk.lane, chunk.base_tick);
            self.step();
        }
        seen
    }

    /// The chunks of events, the oldest first. Of segments only a few stay open that have
    /// something of the window, the oldest.
    fn look_for_events(&self) -> io::Result<Vec<Seen>> {
        let Some(segments) = &self.segments else { return Ok(self.look_through(Which::Events)) };
        let (mut segments, mut pace) = (segments.borrow_mut(), self.pace.borrow_mut());
        let (mut seen, mut next) = (Vec::new(), BTreeMap::new());
        for number in segments.numbers()? {
            let found = segments.look_through(number, &mut pace)?;
            let begun = seen.len();
            seen.extend(found.into_iter().rev().map(|(is, at)| {
                let next_tick = next.insert(is.lane, is.base_tick);
                let ChunkHeader { seq, lane, base_tick, first_record, records, .. } = is;
                let records = u64::from(records);
                Seen { place: Place::Segment(at), seq, lane, base_tick, first_record, records, next_tick }
            }));
            if seen[begun..].iter().all(|chunk| chunk.ends_before(self.from)) {
                segments.close(number);
            }
            segments.keep_few();
        }
        seen.reverse();
        Ok(seen)
    }

    /// Writes the chunk with its checksum. What is behind its payload stays a hole.
    fn write_chunk(&self, is: ChunkHeader, buffer: &mut Vec<u8>, offset: u64) -> io::Result<()> {
        buffer.truncate(ChunkHeader::BYTES + is.bytes as usize);
        // One that is there stays: what was damaged before is so in the copy.
        let crc = is.crc.unwrap_or_else(|| self.pace.borrow_mut().checksum(payload(buffer)));
        let header = ChunkHeader { crc: Some(crc), ..is };
        buffer[..ChunkHeader::BYTES].copy_from_slice(&header.encode());
        self.file.borrow_mut().write_chunk(buffer, offset, &mut self.pace.borrow_mut())
    }

    fn write(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.borrow().write(bytes, offset, &mut self.pace.borrow_mut())
    }

    fn region(&self, offset: u64, bytes: u64) -> Vec<u8> {
        let mut buffer = Vec::new();
        self.load(self.store.as_words(offset, bytes), &mut buffer);
        buffer
    }

    fn load(&self, words: &[AtomicU64], buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.reserve(8 * words.len());
        for part in words.chunks(BYTES_OF_STEP / 8) {
            part.iter().for_each(|word| buffer.extend_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes()));
            self.step();
        }
    }

    /// The clock table. An entry that is being written is looked at again.
    fn clocks(&self) -> Vec<u8> {
        let source = self.store.header();
        let bytes = clock::ENTRY_BYTES as u64;
        let entry = |slot| {
            self.step();
            let read = || self.region(source.clock_offset + slot * bytes, bytes);
            let good = |entry: &Vec<u8>| ClockPair::decode(entry).is_some() || entry.iter().all(|byte| *byte == 0);
            (0..8).map(|_| read()).find(good).unwrap_or_else(|| vec![0; clock::ENTRY_BYTES])
        };
        (0..source.clock_slots).flat_map(entry).collect()
    }

    /// The first page and the meta section.
    fn front(&self, header: &Header, copied: &Copied) -> Vec<u8> {
        let mut front = vec![0; FRONT_BYTES];
        let encoded = header.encode();
        front[..encoded.len()].copy_from_slice(&encoded);
        let reason = "a snapshot".to_owned();
        Status { phase: Phase::Stopped, stop_tick: self.until, reason }.encode_into(&mut front);
        let mut meta = self.store.read_meta();
        let own = [
            ("snapshot", self.last.map_or_else(|| "all".to_owned(), |last| format!("{} ms", last.as_millis()))),
            ("snapshot_earlier", copied.earlier.to_string()),
            ("snapshot_overtaken", copied.overtaken.to_string()),
        ];
        meta.entries.extend(own.map(|(key, value)| (key.to_owned(), value)));
        let meta = meta.encode();
        front[META_OFFSET as usize..META_OFFSET as usize + meta.len()].copy_from_slice(&meta);
        front
    }
}

/// Records that are looked at in one step.
const RECORDS_OF_STEP: u32 = 64;

/// Places of the two words in a chunk's header.
const SEQ: usize = spoor_format::chunk::SEQ_OFFSET / 8;
const COMMIT: usize = spoor_format::chunk::COMMIT_OFFSET / 8;

/// Enters into the lane table of the copy what the lane has stored up to its end.
fn count_sealed(lanes: &mut [u8], is: &ChunkHeader) {
    let at = is.lane as usize * lane::ENTRY_BYTES + SEALED_EVENTS_OFFSET;
    if let Some(place) = lanes.get_mut(at..at + 8) {
        place.copy_from_slice(&(is.first_record + u64::from(is.records)).to_le_bytes());
    }
}

/// Enters into the lane table of the copy what was stored and lies before the window.
fn count_outside(lanes: &mut [u8], chunk: &Seen) {
    let at = chunk.lane as usize * lane::ENTRY_BYTES + OUTSIDE_OFFSET;
    if let Some(place) = lanes.get_mut(at..).and_then(|rest| rest.first_chunk_mut()) {
        *place = (u64::from_le_bytes(*place) + chunk.records).to_le_bytes();
    }
}

fn payload(chunk: &[u8]) -> &[u8] {
    chunk.get(ChunkHeader::BYTES..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recall::Signal;
    use crate::stream::Stream;
    use spoor_format::record::write;

    /// When a copy ends, and its chunks, the oldest first.
    fn read(path: &Path) -> (u64, Vec<ChunkHeader>) {
        let bytes = std::fs::read(path).expect("it is there");
        let header = Header::decode(&bytes).expect("a header");
        let chunk = |place| ChunkHeader::decode(&bytes[header.events.chunk_offset(place) as usize..], u64::MAX);
        let chunks = (0..header.events.chunks).filter_map(|place| chunk(place).expect("a sound chunk")).collect();
        (Status::decode(&bytes).stop_tick, chunks)
    }

    #[test]
    fn a_chunk_that_outlives_those_behind_it_is_copied_and_the_hole_is_told() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let header = Header::with_rings(1, 2, (4096, 1), (4096, 4));
        let store = Arc::new(Store::create(&scratch.path().join("x.spoor"), header, false).expect("room"));
        let mut stream = Stream::new(Arc::clone(&store), Which::Events, 0, 5, Arc::new(Signal::new()));
        let ring = store.ring(Which::Events);
        let mut tick = crate::clock::now() - 1_000_000;
        let mut fill_until = |asked| {
            while ring.asked() < asked {
                tick += 1;
                stream.record(tick, write::receive).expect("there is a chunk");
            }
        };
        fill_until(4);
        // As the keeper does that seals it, when its turn comes.
        assert!(ring.pin(0));
        fill_until(6);
        ring.release(0);
        fill_until(8);
        let copier = Copier::start(Arc::clone(&store), 1000).expect("a thread");
        let (path, (sender, answer)) = (scratch.path().join("copy.part"), unbounded());
        copier.copy(&path, None, Box::new(move |made| sender.send(made).expect("somebody waits"))).expect("a file");
        let copied = answer.recv().expect("an answer").expect("a copy");
        let (stop_tick, chunks) = read(&path);
        assert_eq!(chunks.iter().map(|chunk| chunk.seq).collect::<Vec<_>>(), [1, 6, 7, 8]);
        assert_eq!((copied.chunks, copied.overtaken), (4, 0));
        let missing = chunks[1].first_record - u64::from(chunks[0].records);
        assert!(missing > 0);
        assert_eq!(copied.events + missing, chunks[3].first_record + u64::from(chunks[3].records));
        // Only behind the hole is it complete.
        assert_eq!(copied.covered_ms, stop_tick - chunks[1].base_tick);
    }
}
