//! Where the bytes come from: a file, or memory in tests.
//!
//! Reads at offsets, never maps: a VM may be writing the file, and a file that
//! shrinks under a mapping kills its reader.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The bytes of a recording.
#[derive(Debug)]
pub struct Source {
    inner: Inner,
    len: u64,
}

#[derive(Debug)]
enum Inner {
    File(File),
    Memory(Vec<u8>),
}

impl Source {
    /// A file, as long as it is now.
    pub fn open(path: &Path) -> io::Result<Source> {
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
