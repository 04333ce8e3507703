//! The files of a stream as the bytes of one recording: the head, in which the
//! event ring is made up of the segments that are there.
//!
//! Segments are looked for once. One that the recorder deletes, or packs, while
//! they are read is found under its other name, or reads as zeroes: its chunks
//! count as overwritten then.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use spoor_format::chunk::ChunkHeader;
use spoor_format::header::{FRONT_BYTES, Header, META_OFFSET, Meta};
use spoor_format::segment::{
    CHUNKS_OFFSET, FRAME_BYTES, FRAME_MAGIC, FRAMES_OFFSET, Frame, HEAD, Packing, SegmentHeader,
};

use super::finding::Finding;

/// At most so many places are kept for segments that are missing in a row.
const LONGEST_HOLE: u64 = 16;
/// A head of which more is missing is read without its segments: sizes that are made up
/// take no time.
const MOST_MISSING: u64 = 64 << 20;
/// LZ4 makes no more of a byte.
const MOST_UNPACKED: u64 = 256;
/// So much of a segment is looked at at once for its next good frame.
const PIECE_BYTES: usize = 64 << 10;

/// Which segments a stream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct SegmentFacts {
    /// Number of the oldest.
    pub first: u64,
    /// Number of the newest.
    pub last: u64,
    /// How many there are.
    pub count: u64,
    /// How many of them are packed.
    pub packed: u64,
}

/// A stream's files.
#[derive(Debug)]
pub(crate) struct Segments {
    directory: PathBuf,
    head: File,
    /// Bytes that the head has; a cut one has fewer than it says.
    head_len: u64,
    /// The head's own layout, and the one of all together.
    of_head: Header,
    header: Header,
    /// Does the header stand at the front, and in the copy?
    patched: [bool; 2],
    /// Places of a segment.
    chunks: u64,
    /// In the order of their numbers; `None` for one that is missing.
    segments: Vec<Option<Segment>>,
    problems: Vec<Finding>,
    cache: Mutex<Cache>,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    packing: Packing,
    /// Bytes of the file.
    len: u64,
    /// Of a packed one: where the frames are, by place.
    frames: Frames,
    /// Of a packed one: all places that were in use have a frame.
    whole: bool,
}

/// The file and the chunk read last.
#[derive(Debug, Default)]
struct Cache {
    file: Option<(usize, Arc<File>)>,
    chunk: Option<(usize, u64)>,
    bytes: Vec<u8>,
}

/// The directory of the stream that a path names, when it names one.
pub(crate) fn directory_of(path: &Path) -> Option<PathBuf> {
    if path.is_dir() {
        return path.join(HEAD).is_file().then(|| path.to_owned());
    }
    (path.file_name()? == HEAD).then(|| path.parent().map(Path::to_owned)).flatten()
}

impl Segments {
    /// Opens what is there; `None` when the head is no recording's.
    pub(crate) fn open(directory: &Path) -> io::Result<Option<Segments>> {
        let head = File::open(directory.join(HEAD))?;
        let len = head.metadata()?.len();
        let front = read_at(&head, 0, FRONT_BYTES)?;
        let copy = read_at(&head, len.saturating_sub(FRONT_BYTES as u64), FRONT_BYTES)?;
        let decoded = [Header::decode(&front), Header::decode(&copy)];
        let patched = [decoded[0].is_ok(), decoded[1].is_ok()];
        let Some(of_head) = decoded.into_iter().find_map(Result::ok) else { return Ok(None) };
        if of_head.events.offset > len.saturating_add(MOST_MISSING) {
            return Ok(None);
        }
        let mut problems = Vec::new();
        if len < of_head.file_bytes {
            let what = format!("it has {len} bytes, {} were written", of_head.file_bytes);
            problems.push(Finding::damage("head", what, "what stood in the part that is missing"));
        }
        let stream = Meta::decode(front.get(META_OFFSET as usize..).unwrap_or_default()).ok();
        let stream = stream.and_then(|meta| meta.get("stream")?.parse::<u64>().ok());
        let (found, chunks) = find(directory, stream, of_head.events.chunk_bytes, &mut problems)?;
        let segments = in_row(found, chunks, &mut problems);
        let places = chunks.saturating_mul(segments.len() as u64);
        let header = of_head.with_events(of_head.events.chunk_bytes, places);
        let (directory, cache) = (directory.to_owned(), Mutex::default());
        Ok(Some(Segments {
            directory,
            head,
            head_len: len,
            of_head,
            header,
            patched,
            chunks,
            segments,
            problems,
            cache,
        }))
    }

    /// Bytes of all together.
    pub(crate) fn len(&self) -> u64 {
        self.header.file_bytes
    }

    /// Bytes of the files as they are.
    pub(crate) fn file_bytes(&self) -> u64 {
        let segments = self.segments.iter().flatten();
        segments.fold(self.of_head.file_bytes, |sum, segment| sum.saturating_add(segment.len))
    }

    /// What is wrong with the files.
    pub(crate) fn problems(&self) -> &[Finding] {
        &self.problems
    }

    /// Which segments there are.
    pub(crate) fn facts(&self) -> SegmentFacts {
        let there = || self.segments.iter().flatten();
        SegmentFacts {
            first: there().next().map_or(0, |segment| segment.number),
            last: there().next_back().map_or(0, |segment| segment.number),
            count: there().count() as u64,
            packed: there().filter(|segment| segment.packing != Packing::None).count() as u64,
        }
    }

    /// Is the chunk that begins at `offset` in a part that is lost?
    pub(crate) fn is_gone(&self, offset: u64) -> bool {
        let Some((at, place, _)) = self.chunk_at(offset) else { return self.is_cut_off(offset) };
        match self.segments.get(at).and_then(Option::as_ref) {
            None => true,
            Some(segment) if segment.packing == Packing::None => {
                self.raw_offset(place, ChunkHeader::BYTES as u64) > segment.len
            }
            Some(segment) => !segment.whole && !segment.frames.contains_key(&place),
        }
    }

    /// How many of `len` bytes at `offset`, all of one chunk, the files have.
    pub(crate) fn available(&self, offset: u64, len: u64) -> u64 {
        let Some((at, place, inside)) = self.chunk_at(offset) else {
            let there = if offset < self.header.events.offset { self.head_len } else { self.len() };
            return there.saturating_sub(offset).min(len);
        };
        match self.segments.get(at).and_then(Option::as_ref) {
            Some(segment) if segment.packing == Packing::None => {
                segment.len.saturating_sub(self.raw_offset(place, inside)).min(len)
            }
            Some(segment) => {
                let frame = segment.frames.get(&place).map(|(_, frame)| frame);
                frame.map_or(len, |frame| most_unpacked(frame).saturating_sub(inside).min(len))
            }
            None => len,
        }
    }

    /// Is it a byte of the head, behind the end of what is left of it?
    fn is_cut_off(&self, offset: u64) -> bool {
        offset < self.header.events.offset && offset >= self.head_len
    }

    /// Appends `len` bytes at `offset`; zeroes for what is missing of segments. Nothing
    /// follows where the head is cut.
    pub(crate) fn read(&self, mut offset: u64, len: u64, buffer: &mut Vec<u8>) -> io::Result<()> {
        let end = offset.saturating_add(len).min(self.len());
        while offset < end && !self.is_cut_off(offset) {
            let (start, until) = (buffer.len(), self.end_of_piece(offset).min(end));
            buffer.resize(start.saturating_add(usize::try_from(until.saturating_sub(offset)).unwrap_or(0)), 0);
            self.read_piece(offset, buffer.get_mut(start..).unwrap_or_default())?;
            offset = until;
        }
        Ok(())
    }

    /// Where the part ends that lies in one place.
    fn end_of_piece(&self, offset: u64) -> u64 {
        match self.chunk_at(offset) {
            Some((_, _, inside)) => offset.saturating_add(self.header.events.chunk_bytes.saturating_sub(inside)),
            None if offset < self.head_len.min(self.header.events.offset) => {
                self.head_len.min(self.header.events.offset)
            }
            None if offset < self.header.backup_offset() => self.header.backup_offset(),
            None => self.len(),
        }
    }

    fn read_piece(&self, offset: u64, space: &mut [u8]) -> io::Result<()> {
        if let Some((at, place, inside)) = self.chunk_at(offset) {
            return self.read_chunk(at, place, inside, space);
        }
        let (region, from) = match offset.checked_sub(self.header.backup_offset()) {
            None if offset < self.header.events.offset => (0, offset),
            None => return Ok(()),
            Some(inside) => (1, inside),
        };
        let behind = if region == 0 { 0 } else { self.of_head.backup_offset() };
        fill(&self.head, behind.saturating_add(from), space)?;
        // The header says how all lies together.
        let header = self.header.encode();
        let header = header.get(usize::try_from(from).unwrap_or(usize::MAX)..).unwrap_or_default();
        if self.patched.get(region) == Some(&true) {
            space.iter_mut().zip(header).for_each(|(old, new)| *old = *new);
        }
        Ok(())
    }

    /// Which segment, which place in it, and where in the chunk.
    fn chunk_at(&self, offset: u64) -> Option<(usize, u64, u64)> {
        let ring = self.header.events;
        let inside = offset.checked_sub(ring.offset).filter(|inside| *inside < ring.bytes())?;
        let place = inside.checked_div(ring.chunk_bytes)?;
        let segment = usize::try_from(place.checked_div(self.chunks)?).ok()?;
        Some((segment, place.checked_rem(self.chunks)?, inside.checked_rem(ring.chunk_bytes)?))
    }

    /// Where a byte of a chunk is in a segment that is not packed.
    fn raw_offset(&self, place: u64, inside: u64) -> u64 {
        let chunk = place.saturating_mul(self.header.events.chunk_bytes);
        CHUNKS_OFFSET.saturating_add(chunk).saturating_add(inside)
    }

    fn read_chunk(&self, at: usize, place: u64, inside: u64, space: &mut [u8]) -> io::Result<()> {
        let Some(segment) = self.segments.get(at).and_then(Option::as_ref) else { return Ok(()) };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match &cache.file {
            Some((of, file)) if *of == at => Arc::clone(file),
            _ => match File::open(self.directory.join(segment.packing.file_name(segment.number))) {
                Ok(file) => Arc::clone(&cache.file.insert((at, Arc::new(file))).1),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    drop(cache);
                    return self.read_packed_since(segment, place, inside, space);
                }
                Err(error) => return Err(error),
            },
        };
        if segment.packing == Packing::None {
            return fill(&file, self.raw_offset(place, inside), space);
        }
        let Some((offset, frame)) = segment.frames.get(&place) else { return Ok(()) };
        if cache.chunk != Some((at, place)) {
            cache.chunk = None;
            let whole = usize::try_from(self.header.events.chunk_bytes).unwrap_or(0);
            unpack(&file, *offset, frame, whole, &mut cache.bytes)?;
            cache.chunk = Some((at, place));
        }
        copy(&cache.bytes, inside, space);
        Ok(())
    }

    /// The segment has been packed since it was found, or deleted.
    fn read_packed_since(&self, segment: &Segment, place: u64, inside: u64, space: &mut [u8]) -> io::Result<()> {
        let path = self.directory.join(Packing::Lz4.file_name(segment.number));
        if segment.packing != Packing::None || !path.exists() {
            return Ok(());
        }
        let file = File::open(path)?;
        let (len, chunk_bytes) = (file.metadata()?.len(), self.header.events.chunk_bytes);
        let (frames, _) = read_frames(&file, Room { len, chunk_bytes, chunks: self.chunks })?;
        let mut bytes = Vec::new();
        if let Some((offset, frame)) = frames.get(&place) {
            unpack(&file, *offset, frame, usize::try_from(self.header.events.chunk_bytes).unwrap_or(0), &mut bytes)?;
            copy(&bytes, inside, space);
        }
        Ok(())
    }
}

fn copy(bytes: &[u8], inside: u64, space: &mut [u8]) {
    let bytes = bytes.get(usize::try_from(inside).unwrap_or(usize::MAX)..).unwrap_or_default();
    space.iter_mut().zip(bytes).for_each(|(old, new)| *old = *new);
}

/// The chunk of a frame has at most this many bytes, header included.
fn most_unpacked(frame: &Frame) -> u64 {
    let payload = u64::from(frame.packed_bytes).saturating_mul(MOST_UNPACKED);
    payload.saturating_add(ChunkHeader::BYTES as u64)
}

/// The chunk of a frame as it was. A payload that does not unpack is left zero,
/// which its checksum tells.
fn unpack(file: &File, offset: u64, frame: &Frame, whole: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let packed = read_at(file, offset.saturating_add(FRAME_BYTES as u64), frame.packed_bytes as usize)?;
    bytes.clear();
    bytes.resize(whole.min(usize::try_from(most_unpacked(frame)).unwrap_or(whole)), 0);
    let Some((header, payload)) = bytes.split_at_mut_checked(ChunkHeader::BYTES) else { return Ok(()) };
    header.copy_from_slice(&frame.chunk);
    if lz4_flex::block::decompress_into(&packed, payload).is_err() {
        payload.fill(0);
    }
    Ok(())
}

/// By place: where the frame begins, and what it says.
type Frames = BTreeMap<u64, (u64, Frame)>;

/// By number; `None` for one that cannot be used.
type Found = BTreeMap<u64, Option<Segment>>;

/// The segments in the directory, and how many places each has.
fn find(
    directory: &Path,
    stream: Option<u64>,
    chunk_bytes: u64,
    problems: &mut Vec<Finding>,
) -> io::Result<(Found, u64)> {
    let mut names: Vec<(u64, Packing)> =
        fs::read_dir(directory)?.filter_map(|entry| Packing::of_file_name(entry.ok()?.file_name().to_str()?)).collect();
    // Of a segment that is there twice the packed one is complete: it got its name last.
    names.sort_unstable_by_key(|(number, packing)| (*number, *packing == Packing::None));
    let (mut found, mut chunks) = (Found::new(), 0);
    for (number, packing) in names {
        if found.get(&number).is_some_and(Option::is_some) {
            continue;
        }
        let file = match File::open(directory.join(packing.file_name(number))) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let why = match SegmentHeader::decode(&read_at(&file, 0, FRAMES_OFFSET as usize)?) {
            Err(why) => why.to_string(),
            Ok(header) if stream.is_some_and(|stream| stream != header.stream) => "it is of another stream".to_owned(),
            Ok(header) if (header.number, header.packing()) != (number, packing) => {
                format!("it says it is segment {}", header.number)
            }
            Ok(header) if header.chunk_bytes != chunk_bytes || (chunks != 0 && header.chunks != chunks) => {
                "its chunks are not those of the others".to_owned()
            }
            Ok(header) => {
                chunks = header.chunks;
                let len = file.metadata()?.len();
                let room = Room { len, chunk_bytes, chunks };
                let (frames, whole) =
                    if packing == Packing::Lz4 { read_frames(&file, room)? } else { Default::default() };
                found.insert(number, Some(Segment { number, packing, len, frames, whole }));
                continue;
            }
        };
        problems.push(Finding::damage(format!("segment {number}"), why, "all that it held"));
        found.insert(number, None);
    }
    Ok((found, chunks))
}

/// All from the first to the last, with what is missing between them.
fn in_row(found: Found, chunks: u64, problems: &mut Vec<Finding>) -> Vec<Option<Segment>> {
    let mut row: Vec<Option<Segment>> = Vec::new();
    let last = found.keys().next_back().copied().unwrap_or(0);
    let mut expected = found.keys().next().copied().unwrap_or(0);
    for (number, segment) in found {
        let hole = number.saturating_sub(expected);
        if hole > 0 {
            let place = format!("segments {expected} to {}", number.saturating_sub(1));
            problems.push(Finding::damage(place, "they are not there", "all that they held"));
        }
        (0..hole.min(LONGEST_HOLE)).for_each(|_| row.push(None));
        expected = number.saturating_add(1);
        row.push(segment.map(|segment| checked(segment, chunks, number == last, problems)));
    }
    row
}

/// A segment that is followed by another was full when it was closed.
fn checked(mut segment: Segment, chunks: u64, is_last: bool, problems: &mut Vec<Finding>) -> Segment {
    let there = segment.frames.len() as u64;
    let (lacks, what) = match segment.packing {
        Packing::None => (false, String::new()),
        Packing::Lz4 => {
            segment.whole = segment.whole && (is_last || there == chunks);
            (!segment.whole, format!("{there} of its {chunks} chunks are there"))
        }
    };
    if lacks {
        problems.push(Finding::damage(format!("segment {}", segment.number), what, "what the others held"));
    }
    segment
}

/// What a good frame says of itself besides its checksum.
#[derive(Clone, Copy)]
struct Room {
    /// Bytes of the segment.
    len: u64,
    chunk_bytes: u64,
    chunks: u64,
}

impl Room {
    /// Where the frame ends that begins at `at`, if there is room for it and its chunk.
    fn end_of(&self, frame: &Frame, at: u64) -> Option<u64> {
        let (packed, most_packed) = (u64::from(frame.packed_bytes), Frame::most_packed(self.chunk_bytes));
        let end = at.saturating_add(FRAME_BYTES as u64).saturating_add(packed);
        (end <= self.len && packed <= most_packed && u64::from(frame.place) < self.chunks).then_some(end)
    }
}

/// The frames of a packed segment, by place, and whether they are all good.
fn read_frames(file: &File, room: Room) -> io::Result<(Frames, bool)> {
    let (mut frames, mut whole, mut at) = (BTreeMap::new(), true, FRAMES_OFFSET);
    while at < room.len {
        let frame = Frame::decode(&read_at(file, at, FRAME_BYTES)?);
        match frame.and_then(|frame| Some((frame, room.end_of(&frame, at)?))) {
            Some((frame, end)) => {
                frames.insert(u64::from(frame.place), (at, frame));
                at = end;
            }
            None => {
                whole = false;
                at = find_frame(file, at.saturating_add(1), room)?;
            }
        }
    }
    Ok((frames, whole))
}

/// Where the next good frame begins, or the end.
fn find_frame(file: &File, mut from: u64, room: Room) -> io::Result<u64> {
    loop {
        let piece = read_at(file, from, PIECE_BYTES)?;
        let begins = |(inside, four): (usize, &[u8])| {
            let at = from.saturating_add(inside as u64);
            let frame = (four == FRAME_MAGIC).then(|| Frame::decode(piece.get(inside..)?)).flatten()?;
            room.end_of(&frame, at).map(|_| at)
        };
        if let Some(at) = piece.windows(FRAME_MAGIC.len()).enumerate().find_map(begins) {
            return Ok(at);
        }
        if piece.len() < PIECE_BYTES {
            return Ok(room.len);
        }
        // One may begin in this piece and end in the next.
        from = from.saturating_add(PIECE_BYTES as u64).saturating_sub(FRAME_BYTES as u64);
    }
}

/// Up to `len` bytes at `offset`; fewer where the file ends.
fn read_at(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let there = file.metadata()?.len().saturating_sub(offset).min(len as u64);
    let mut bytes = vec![0; usize::try_from(there).unwrap_or(0)];
    fill(file, offset, &mut bytes)?;
    Ok(bytes)
}

/// Fills `space` from the file, as far as that goes.
fn fill(file: &File, offset: u64, space: &mut [u8]) -> io::Result<()> {
    let mut done = 0_usize;
    while let Some(rest) = space.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(done as u64)) {
            Ok(0) => break,
            Ok(n) => done = done.saturating_add(n),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
