//! The file that a copy is written into, past the page cache where that is possible.
//!
//! What goes through the page cache takes a new page for each 4 KiB. To get one is most of
//! the time that who copies is on a processor, and it may stand still there, and with it
//! the scheduler whose processor it took: where the host of a virtual machine takes free
//! memory back, for 100 to 300 us. So parts of chunks are handed to the disk as they lie in
//! a buffer of our own, always the same: the thread sleeps while the disk works. File
//! systems that have no disk (tmpfs), or say nothing about it, get their bytes as usual.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use memmap2::MmapMut;

use crate::pace::{BYTES_OF_STEP, Pace};

/// Bytes handed to the disk at once: its driver takes 20 us for them.
const PART_BYTES: usize = 64 * 1024;
/// What is written past the page cache begins and ends at multiples of this.
const PAGE: usize = 4096;
/// Who is in a hurry waits for a disk that takes a part in this time: through the page
/// cache it would not be done sooner.
const QUICK: Duration = Duration::from_micros(400);

/// A file that is written once.
#[derive(Debug)]
pub(crate) struct CopyFile<'a> {
    file: &'a File,
    direct: Option<Direct>,
}

/// The same file without the page cache.
#[derive(Debug)]
struct Direct {
    file: File,
    part: MmapMut,
    /// How long the disk took for the last part.
    took: Duration,
}

impl CopyFile<'_> {
    /// The file, which is open and has this name.
    pub(crate) fn new<'a>(file: &'a File, path: &Path) -> CopyFile<'a> {
        CopyFile { file, direct: Direct::open(file, path) }
    }

    /// Writes a chunk to where a page begins; what follows in its last page is 0. Who is in
    /// a hurry does not wait for a slow disk.
    pub(crate) fn write_chunk(&mut self, bytes: &[u8], offset: u64, pace: &mut Pace) -> io::Result<()> {
        match &mut self.direct {
            Some(direct) if !pace.hurries() || direct.took < QUICK => match direct.write(bytes, offset, pace) {
                // It cannot be done this way after all.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.direct = None,
                done => return done,
            },
            _ => {}
        }
        self.write(bytes, offset, pace)
    }

    /// Writes what must be there to the byte.
    pub(crate) fn write(&self, bytes: &[u8], offset: u64, pace: &mut Pace) -> io::Result<()> {
        for (part, bytes) in bytes.chunks(BYTES_OF_STEP).enumerate() {
            self.file.write_all_at(bytes, offset + (part * BYTES_OF_STEP) as u64)?;
            pace.step();
        }
        Ok(())
    }

    /// Gives the file its size.
    pub(crate) fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}

impl Direct {
    fn open(file: &File, path: &Path) -> Option<Direct> {
        let align = direct_alignment(file)?;
        if align == 0 || !PAGE.is_multiple_of(align) {
            return None;
        }
        let file = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).ok()?;
        Some(Direct { file, part: MmapMut::map_anon(PART_BYTES).ok()?, took: Duration::ZERO })
    }

    fn write(&mut self, bytes: &[u8], offset: u64, pace: &mut Pace) -> io::Result<()> {
        for (part, bytes) in bytes.chunks(PART_BYTES).enumerate() {
            for (to, from) in self.part.chunks_mut(BYTES_OF_STEP).zip(bytes.chunks(BYTES_OF_STEP)) {
                to[..from.len()].copy_from_slice(from);
                pace.step();
            }
            let whole = bytes.len().next_multiple_of(PAGE);
            self.part[bytes.len()..whole].fill(0);
            pace.rest();
            let begun = Instant::now();
            self.file.write_all_at(&self.part[..whole], offset + (part * PART_BYTES) as u64)?;
            self.took = begun.elapsed();
        }
        Ok(())
    }
}

/// What memory and places in the file must be multiples of to be written past the page
/// cache; `None` when the file system does not say (Linux before 6.1), or has no disk.
fn direct_alignment(file: &File) -> Option<usize> {
    // SAFETY: statx is plain data, for which all zeroes are a value.
    let mut stat: libc::statx = unsafe { std::mem::zeroed() };
    let (name, flags, want) = (c"".as_ptr(), libc::AT_EMPTY_PATH, libc::STATX_DIOALIGN);
    // SAFETY: a descriptor that we own, an empty name, and a statx of our own.
    let asked = unsafe { libc::statx(file.as_raw_fd(), name, flags, want, &mut stat) };
    let known = asked == 0 && stat.stx_mask & want != 0;
    known.then(|| stat.stx_dio_mem_align.max(stat.stx_dio_offset_align) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_there_whatever_the_file_system() {
        let bytes: Vec<u8> = (0..3 * PART_BYTES + 5).map(|n| (n % 251) as u8).collect();
        for directory in [std::env::temp_dir(), "/dev/shm".into(), std::env::current_dir().expect("somewhere")] {
            let Ok(scratch) = tempfile::tempdir_in(&directory) else { continue };
            let path = scratch.path().join("x.part");
            let file = crate::create_private(&path).expect("a new file");
            let mut copy = CopyFile::new(&file, &path);
            let mut pace = Pace::begin();
            copy.write_chunk(&bytes, 8 * PAGE as u64, &mut pace).expect("room");
            pace.hurry(true);
            copy.write_chunk(&bytes, 100 * PAGE as u64, &mut pace).expect("room");
            copy.write(&bytes[..77], 0, &mut pace).expect("room");
            copy.set_len(200 * PAGE as u64).expect("room");
            let mut expected = vec![0; 200 * PAGE];
            for (offset, bytes) in [(0, &bytes[..77]), (8 * PAGE, &bytes), (100 * PAGE, &bytes)] {
                expected[offset..offset + bytes.len()].copy_from_slice(bytes);
            }
            assert!(std::fs::read(&path).expect("it is there") == expected, "{directory:?}");
        }
    }

    #[test]
    fn a_file_without_a_disk_is_written_as_usual() {
        let Ok(scratch) = tempfile::tempdir_in("/dev/shm") else { return };
        let path = scratch.path().join("x.part");
        let file = crate::create_private(&path).expect("a new file");
        assert!(CopyFile::new(&file, &path).direct.is_none());
    }
}
