//! Where the bytes come from: a file, the files of a stream, or memory in tests.
//!
//! Reads at offsets, never maps: a VM may be writing the file, and a file that
//! shrinks under a mapping kills its reader.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use spoor_format::segment::HEAD;

use super::finding::Finding;
use super::segments::{self, SegmentFacts, Segments};

/// The bytes of a recording.
#[derive(Debug)]
pub struct Source {
    inner: Inner,
    len: u64,
}

#[derive(Debug)]
enum Inner {
    File(File),
    Segments(Box<Segments>),
    Memory(Vec<u8>),
}

impl Source {
    /// A file, as long as it is now, or a stream, as many segments as it has now.
    pub fn open(path: &Path) -> io::Result<Source> {
        let Some(directory) = segments::directory_of(path) else { return Source::open_file(path) };
        match Segments::open(&directory)? {
            Some(segments) => Ok(Source { len: segments.len(), inner: Inner::Segments(Box::new(segments)) }),
            None => Source::open_file(&directory.join(HEAD)),
        }
    }

    fn open_file(path: &Path) -> io::Result<Source> {
        let file = File::open(path)?;
        let len = file.metadata()?.len();
        Ok(Source { inner: Inner::File(file), len })
    }

    /// Bytes in memory.
    pub fn from_bytes(bytes: Vec<u8>) -> Source {
        Source { len: bytes.len() as u64, inner: Inner::Memory(bytes) }
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    fn segments(&self) -> Option<&Segments> {
        match &self.inner {
            Inner::Segments(segments) => Some(segments),
            Inner::File(_) | Inner::Memory(_) => None,
        }
    }

    /// Bytes of the files that it is read from.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.segments().map_or(self.len, Segments::file_bytes)
    }

    /// Which segments there are, of a stream.
    pub fn segment_facts(&self) -> Option<SegmentFacts> {
        self.segments().map(Segments::facts)
    }

    /// What is wrong with the files of a stream.
    pub(crate) fn problems(&self) -> &[Finding] {
        self.segments().map_or(&[], Segments::problems)
    }

    /// Is the chunk that begins at `offset` in a part of a stream that is lost?
    pub(crate) fn is_gone(&self, offset: u64) -> bool {
        self.segments().is_some_and(|segments| segments.is_gone(offset))
    }

    /// How many of `len` bytes at `offset`, all of one chunk, there are.
    pub(crate) fn available(&self, offset: u64, len: u64) -> u64 {
        let there = self.len.saturating_sub(offset).min(len);
        self.segments().map_or(there, |segments| segments.available(offset, there))
    }

    /// Is there nothing at all?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Up to `len` bytes at `offset`; fewer where the file ends.
    pub fn bytes(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut buffer = Vec::new();
        self.read(offset, len, &mut buffer).map(|()| buffer)
    }

    /// Reads up to `len` bytes at `offset` into `buffer`, replacing what it held;
    /// fewer where the file ends.
    pub(crate) fn read(&self, offset: u64, len: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        buffer.clear();
        let there = self.len.saturating_sub(offset).min(len as u64);
        match &self.inner {
            Inner::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(usize::try_from(there).unwrap_or(0));
                buffer.extend_from_slice(bytes.get(start..end).unwrap_or_default());
                Ok(())
            }
            Inner::Segments(segments) => segments.read(offset, there, buffer),
            Inner::File(file) => {
                buffer.resize(usize::try_from(there).unwrap_or(0), 0);
                let mut done = 0_usize;
                while let Some(space) = buffer.get_mut(done..).filter(|space| !space.is_empty()) {
                    match file.read_at(space, offset.saturating_add(done as u64)) {
                        Ok(0) => break,
                        Ok(n) => done = done.saturating_add(n),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error),
                    }
                }
                buffer.truncate(done);
                Ok(())
            }
        }
    }
}
