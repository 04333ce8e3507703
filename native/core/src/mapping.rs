//! The recording's file in memory: made private, reserved, faulted in, mapped.
//!
//! Blocks are reserved before the file is mapped, so that a full disk is an
//! error here and never a SIGBUS in a scheduler; every page is faulted in, so
//! that no event pays for it. The segments of a stream come and go in a window
//! of addresses that stay.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

use crate::OpenError;
use crate::faults::Watch;
use crate::file_size::without_signal;

/// Memory that several threads write.
#[derive(Debug)]
pub(crate) struct Memory {
    /// Goes before the mapping does: fields are dropped in this order.
    watch: Watch,
    map: MmapRaw,
}

impl Memory {
    /// Parts of so many bytes each are of one file.
    fn new(map: MmapRaw, part_bytes: usize) -> Memory {
        Memory { watch: Watch::over(map.as_mut_ptr(), map.len(), part_bytes), map }
    }

    /// Has somebody cut a file?
    pub(crate) fn is_lost(&self) -> bool {
        self.watch.is_lost()
    }

    fn len(&self) -> usize {
        self.map.len()
    }

    /// The u64 at `offset`, which must be within the file and aligned.
    pub(crate) fn word(&self, offset: u64) -> &AtomicU64 {
        let offset = offset as usize;
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.len());
        // SAFETY: within the mapping by the assertion above.
        let place = unsafe { self.map.as_mut_ptr().add(offset) };
        // SAFETY: aligned (the mapping begins on a page, the offset is a multiple
        // of 8) and alive as long as `self`. Words reached through this function
        // are only ever accessed as atomics while the recording is shared.
        unsafe { AtomicU64::from_ptr(place.cast()) }
    }

    /// The words from `offset` on, as [`Memory::word`].
    pub(crate) fn words(&self, offset: u64, bytes: u64) -> &[AtomicU64] {
        assert!(offset.is_multiple_of(8) && bytes.is_multiple_of(8));
        let start = self.pointer(offset, bytes);
        // SAFETY: within the mapping (checked in `pointer`), aligned (it begins on a
        // page), alive as long as `self`, and an atomic may be written by others.
        unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), bytes as usize / 8) }
    }

    /// Where the byte at `offset` is; whoever uses it answers for the access.
    pub(crate) fn pointer(&self, offset: u64, bytes: u64) -> *mut u8 {
        assert!(offset + bytes <= self.len() as u64);
        // SAFETY: within the mapping by the assertion above.
        unsafe { self.map.as_mut_ptr().add(offset as usize) }
    }

    /// Waits until what was written is on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.map.flush()
    }
}

/// Address space for the segments of a stream: slots of equal size, each showing
/// the chunks of a file or, until there is one, zeroes.
#[derive(Debug)]
pub(crate) struct Window {
    memory: Memory,
    slot_bytes: usize,
}

impl Deref for Window {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

impl Window {
    /// Slots that show nothing yet. `slot_bytes` must be a multiple of a page.
    pub(crate) fn reserve(slots: u64, slot_bytes: u64) -> io::Result<Window> {
        let bytes = usize::try_from(slots * slot_bytes).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let map = MmapOptions::new().len(bytes).no_reserve_swap().map_anon()?;
        Ok(Window { memory: Memory::new(MmapRaw::from(map), slot_bytes as usize), slot_bytes: slot_bytes as usize })
    }

    /// Shows what lies in the file from `offset` on, every page faulted in. Nobody
    /// may be using the slot.
    pub(crate) fn show(&self, slot: u64, file: &File, offset: u64) -> io::Result<()> {
        let place = self.pointer(slot * self.slot_bytes as u64, self.slot_bytes as u64);
        let flags = libc::MAP_SHARED | libc::MAP_FIXED;
        self.map_at(place, flags, file.as_raw_fd(), offset)?;
        let faulted = prefault(place, self.slot_bytes);
        if faulted.is_err() {
            self.hide(slot);
        }
        faulted
    }

    /// Shows zeroes again. Nobody may be using the slot but to read words of it.
    pub(crate) fn hide(&self, slot: u64) {
        let place = self.pointer(slot * self.slot_bytes as u64, self.slot_bytes as u64);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        // Should there be no memory for it, the file is shown a while longer.
        let _ = self.map_at(place, flags, -1, 0);
    }

    fn map_at(&self, place: *mut u8, flags: i32, file: i32, offset: u64) -> io::Result<()> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: replaces a slot of our own mapping, at once and as a whole; words
        // that somebody reads there are words before and after. Who writes chunks
        // there has been waited for (`Segments::close_oldest`).
        let at = unsafe { libc::mmap(place.cast(), self.slot_bytes, access, flags, file, offset as libc::off_t) };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

/// A file of fixed size, mapped shared and writable.
#[derive(Debug)]
pub(crate) struct Mapping {
    memory: Memory,
    path: PathBuf,
    /// Open as long as it is mapped: with it goes the lock.
    _file: File,
    locked: bool,
}

impl Deref for Mapping {
    type Target = Memory;

    fn deref(&self) -> &Memory {
        &self.memory
    }
}

impl Mapping {
    /// Makes the file, which must not exist, with all its blocks.
    pub(crate) fn create(path: &Path, bytes: u64) -> Result<Mapping, OpenError> {
        make_directory(path)?;
        let file = create_reserved(path, bytes)?;
        let mapped = map(file, path);
        if mapped.is_err() {
            let _ = std::fs::remove_file(path);
        }
        mapped
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Does whoever tries to lock the file learn that it is in use?
    pub(crate) fn is_locked(&self) -> bool {
        self.locked
    }

    /// Copies `bytes` to `offset`. Only for regions that one thread writes.
    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        let place = self.pointer(offset, bytes.len() as u64);
        // SAFETY: `place` has room for `bytes` (checked in `pointer`), and no Rust
        // reference to the mapping's bytes exists that could overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len()) }
    }
}

/// Makes a file, which must not exist, with all its blocks; none if that fails.
pub(crate) fn create_reserved(path: &Path, bytes: u64) -> Result<File, OpenError> {
    let file = make_file(path)?;
    match without_signal(|| reserve(&file, path, bytes)) {
        Ok(()) => Ok(file),
        Err(error) => {
            // The file is of no use to anybody; the error says why.
            let _ = std::fs::remove_file(path);
            Err(error)
        }
    }
}

fn make_directory(path: &Path) -> Result<(), OpenError> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let unusable = |error| OpenError::Directory { path: directory.to_owned(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable)
}

/// Makes an empty file that must not exist, for its owner alone from the start.
pub fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

fn make_file(path: &Path) -> Result<File, OpenError> {
    create_private(path).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            OpenError::Directory { path: path.parent().unwrap_or(path).to_owned(), error }
        }
        _ => OpenError::File { path: path.to_owned(), error },
    })
}

/// Gives the file its size with every block allocated. What cannot fit is not
/// tried: some file systems would fill up before they say no, and everybody
/// else on the disk would notice.
fn reserve(file: &File, path: &Path, bytes: u64) -> Result<(), OpenError> {
    if copies_on_write(file) {
        return Err(OpenError::CopyOnWrite { path: path.parent().unwrap_or(path).to_owned() });
    }
    let free = free_space(path);
    let have = if is_memory(file) { crate::cgroup::memory_left().map_or(free, |left| left.min(free)) } else { free };
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => OpenError::NoSpace { need: bytes, have },
        _ => OpenError::File { path: path.to_owned(), error },
    };
    if have < bytes {
        return Err(OpenError::NoSpace { need: bytes, have });
    }
    let size = libc::off_t::try_from(bytes).map_err(|_| failed(io::Error::from_raw_os_error(libc::EFBIG)))?;
    loop {
        // SAFETY: a call on a descriptor that we own; no memory is involved.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, size) } {
            0 => return Ok(()),
            libc::EINTR => {}
            // A file system that cannot reserve gets real zeroes instead.
            libc::EOPNOTSUPP | libc::EINVAL => return fill(file, bytes).map_err(failed),
            errno => return Err(failed(io::Error::from_raw_os_error(errno))),
        }
    }
}

/// Does the file system take new blocks for what is written again? A block that
/// was reserved is no promise there, and a full disk a SIGBUS.
fn copies_on_write(file: &File) -> bool {
    const BTRFS: u64 = 0x9123_683e;
    const BCACHEFS: u64 = 0xca45_1a4e;
    file_system(file).is_some_and(|kind| [BTRFS, BCACHEFS].contains(&kind))
}

/// Is the file memory that counts as the process's own (tmpfs, ramfs)?
fn is_memory(file: &File) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    file_system(file).is_some_and(|kind| [TMPFS, RAMFS].contains(&kind))
}

/// The number of the kind of file system that the file is on.
pub(crate) fn file_system(file: &File) -> Option<u64> {
    // SAFETY: statfs is plain data, for which all zeroes are a value.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a descriptor that we own and a statfs of our own.
    let known = unsafe { libc::fstatfs(file.as_raw_fd(), &mut stat) } == 0;
    known.then_some(stat.f_type as u64 & 0xffff_ffff)
}

fn fill(file: &File, bytes: u64) -> io::Result<()> {
    let zeroes = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let part = (bytes - at).min(zeroes.len() as u64);
        file.write_all_at(&zeroes[..part as usize], at)?;
        at += part;
    }
    Ok(())
}

fn free_space(path: &Path) -> u64 {
    let parent = path.parent().unwrap_or(path);
    let Ok(directory) = std::ffi::CString::new(parent.as_os_str().as_bytes()) else { return u64::MAX };
    // SAFETY: statvfs is plain data, for which all zeroes are a value.
    let mut stat: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a statvfs of our own, both alive during the call.
    match unsafe { libc::statvfs(directory.as_ptr(), &mut stat) } {
        0 => stat.f_bavail.saturating_mul(stat.f_frsize),
        // Unknown: the reservation will say.
        _ => u64::MAX,
    }
}

fn map(file: File, path: &Path) -> Result<Mapping, OpenError> {
    let failed = |error| OpenError::File { path: path.to_owned(), error };
    let map = MmapOptions::new().map_raw(&file).map_err(failed)?;
    prefault(map.as_mut_ptr(), map.len()).map_err(failed)?;
    let bytes = map.len();
    // There are file systems without locks: then the file does not say that it has one.
    let locked = file.try_lock().is_ok();
    Ok(Mapping { memory: Memory::new(map, bytes), path: path.to_owned(), _file: file, locked })
}

/// Has every page present and writable before the first event.
fn prefault(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: the range lies in a mapping of ours; populating changes no byte.
    let populated = unsafe { libc::madvise(start.cast(), bytes, libc::MADV_POPULATE_WRITE) };
    if populated == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if let Some(libc::EFAULT | libc::ENOMEM | libc::EHWPOISON) = error.raw_os_error() {
        // There is a page that cannot be had: to touch it would be a SIGBUS.
        return Err(error);
    }
    // Before Linux 5.14, or in a sandbox: touch each page; the file is new, all bytes are 0.
    for page in (0..bytes).step_by(4096) {
        // SAFETY: `page` is below the length of the range.
        let place = unsafe { start.add(page) };
        // SAFETY: a valid byte of our own mapping, nobody else has it yet.
        unsafe { place.write_volatile(0) };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::Ordering;

    #[test]
    fn the_file_is_private_reserved_and_what_was_stored() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let path = scratch.path().join("made/for/us/x.spoor");
        let mapping = Mapping::create(&path, 1 << 20).expect("room for a megabyte");
        mapping.word(4096).store(7, Ordering::Relaxed);
        mapping.write(8192, b"spoor");
        let mode = |path: &Path| path.metadata().expect("exists").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().expect("has one"))), (0o600, 0o700));
        let bytes = std::fs::read(&path).expect("readable while mapped");
        assert_eq!((bytes.len(), bytes[4096], &bytes[8192..8197]), (1 << 20, 7, &b"spoor"[..]));
        assert!(matches!(Mapping::create(&path, 1 << 20), Err(OpenError::File { .. })), "never over an old file");
    }

    #[test]
    fn the_file_is_locked_for_as_long_as_it_is_mapped() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let path = scratch.path().join("x.spoor");
        let mapping = Mapping::create(&path, 1 << 16).expect("room for some pages");
        let other = File::open(&path).expect("it is there");
        assert!(mapping.is_locked());
        assert!(matches!(other.try_lock(), Err(std::fs::TryLockError::WouldBlock)));
        drop(mapping);
        other.try_lock().expect("nobody has it");
    }

    #[test]
    fn a_page_that_cannot_be_had_is_an_error_and_no_signal() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(4096).expect("room for a page");
        let map = MmapOptions::new().len(8192).map_raw(&file).expect("address space");
        let error = prefault(map.as_mut_ptr(), map.len()).expect_err("the second page lies behind the end");
        assert_eq!(error.raw_os_error(), Some(libc::EFAULT));
    }

    #[test]
    fn what_cannot_be_had_is_an_error_and_leaves_no_file() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let path = scratch.path().join("x.spoor");
        let error = Mapping::create(&path, 1 << 55).expect_err("nobody has that much");
        assert!(matches!(error, OpenError::NoSpace { .. } | OpenError::File { .. }), "{error:?}");
        assert!(!path.exists());
    }
}
