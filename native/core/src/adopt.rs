//! Recordings that VMs before this one left by dying: found, marked as crashed, and
//! the oldest deleted when there are more than are to be kept.
//!
//! Only what the recorder made: regular files of its names that belong to the own
//! user, opened without following links, and streams, directories with such a head.
//! A file is marked while its lock is held and only when its process is known to be
//! dead ([`crate::process`]); deleted is only what is marked, and the copies of it that
//! were not finished. Nothing is mapped: a file that somebody cuts meanwhile is an error
//! and no signal.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use spoor_format::clock::{self, ClockPair};
use spoor_format::header::{FRONT_BYTES, Header, META_OFFSET, Meta};
use spoor_format::segment::{HEAD, Packing};
use spoor_format::status::{FOUND_WALL_OFFSET, Found, PHASE_OFFSET, Phase, Status};

use crate::process::{Fate, LOCK, Process};

/// Recordings that are looked at in one directory: some seconds at most.
const MOST: usize = 10_000;

/// How much of what was found stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many recordings, the newest.
    pub files: u64,
    /// Of these, as many as have so many bytes together.
    pub bytes: u64,
}

/// A recording whose VM died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The file, or the directory of a stream.
    pub path: PathBuf,
    /// Size, of all files of a stream.
    pub bytes: u64,
    /// When the recording began, in nanoseconds since 1970; 0 if that is lost.
    pub started_ns: u64,
}

/// What came of a look through a directory; recordings are listed newest first.
#[derive(Debug, Default)]
pub struct Adopted {
    /// Found now, deleted ones among them too.
    pub found: Vec<Left>,
    /// All that are marked and still there.
    pub kept: Vec<Left>,
    /// Deleted now.
    pub deleted: Vec<Left>,
    /// Not ended, and whether their VMs live cannot be told from here.
    pub unsure: Vec<PathBuf>,
    /// What could not be read, marked or deleted, and why.
    pub failed: Vec<(PathBuf, io::Error)>,
    /// There were more recordings than are looked at.
    pub is_cut_short: bool,
}

/// What a file turned out to be.
enum Seen {
    /// Nobody's business: in use, complete, somebody else's, or no recording.
    Other,
    Unsure,
    /// Marked before, and its size.
    Marked(Left),
    /// Marked now.
    Found(Left),
}

/// Looks through a directory of recordings. One that is not there has none.
pub fn adopt(directory: &Path, keep: Keep) -> io::Result<Adopted> {
    let (handle, names, is_cut_short) = match names(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Adopted::default()),
        other => other?,
    };
    let here = Process::this();
    let mut adopted = Adopted { is_cut_short, ..Adopted::default() };
    for name in names {
        let path = directory.join(&name);
        match look_at(&handle, &name, &path, &here) {
            Ok(Seen::Other) => {}
            Ok(Seen::Unsure) => adopted.unsure.push(path),
            Ok(Seen::Marked(left)) => adopted.kept.push(left),
            Ok(Seen::Found(left)) => {
                adopted.found.push(left.clone());
                adopted.kept.push(left);
            }
            Err(error) => adopted.failed.push((path, error)),
        }
    }
    let newest_first = |left: &Left| (std::cmp::Reverse(left.started_ns), left.path.clone());
    adopted.found.sort_by_key(newest_first);
    adopted.kept.sort_by_key(newest_first);
    adopted.unsure.sort();
    delete_unfinished_copies(directory, &handle, &mut adopted)?;
    delete_beyond(keep, &handle, &mut adopted);
    Ok(adopted)
}

/// The directory, opened, and the names in it that a recorder gives.
fn names(directory: &Path) -> io::Result<(File, Vec<String>, bool)> {
    let handle = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(directory)?;
    let mut names = Vec::new();
    for entry in std::fs::read_dir(within(&handle, OsStr::new(".")))? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if is_of_a_recording(&name) {
            if names.len() == MOST {
                return Ok((handle, names, true));
            }
            names.push(name);
        }
    }
    Ok((handle, names, false))
}

/// `spoor-….spoor`, but for copies: these are complete.
fn is_of_a_recording(name: &str) -> bool {
    let Some(stem) = name.strip_prefix("spoor-").and_then(|rest| rest.strip_suffix(".spoor")) else { return false };
    copied(stem).is_none()
}

/// What a copy is of, both without their endings.
fn copied(copy: &str) -> Option<&str> {
    let (of, number) = copy.rsplit_once("-snap-")?;
    (!number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).then_some(of)
}

/// The path of something in an open directory, wherever that has been moved to.
fn within(directory: &File, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

/// What a name in the directory stands for.
struct Place {
    /// The file that has the status.
    file: File,
    /// Of a stream, its directory.
    directory: Option<File>,
}

/// Opens what has the name, or the head of a stream; `None` when it is not one of ours.
fn open(directory: &File, name: &str) -> io::Result<Option<Place>> {
    let path = within(directory, OsStr::new(name));
    let kind = match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?.file_type(),
    };
    if kind.is_file() {
        return Ok(open_own(&path)?.map(|file| Place { file, directory: None }));
    }
    if !kind.is_dir() {
        return Ok(None);
    }
    let inner = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(&path)?;
    if !is_own(&inner.metadata()?) {
        return Ok(None);
    }
    // There is no head in a stream that is just being made, or deleted.
    Ok(open_own(&within(&inner, OsStr::new(HEAD)))?.map(|file| Place { file, directory: Some(inner) }))
}

/// A regular file of the own user. Never waits, whatever it is.
fn open_own(path: &Path) -> io::Result<Option<File>> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        // A link; somebody else's; gone: not ours in any case.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EACCES | libc::EPERM | libc::ENOENT)) => {
            return Ok(None);
        }
        other => other?,
    };
    let facts = file.metadata()?;
    Ok((facts.is_file() && is_own(&facts)).then_some(file))
}

fn is_own(facts: &Metadata) -> bool {
    // SAFETY: takes nothing, touches nothing, cannot fail.
    facts.uid() == unsafe { libc::geteuid() }
}

fn look_at(directory: &File, name: &str, path: &Path, here: &Process) -> io::Result<Seen> {
    let Some(place) = open(directory, name)? else { return Ok(Seen::Other) };
    let Some(front) = read_front(&place.file)? else { return Ok(Seen::Other) };
    if Status::decode(&front.page).phase == Phase::Stopped {
        return Ok(Seen::Other);
    }
    if Found::decode(&front.page).is_some() {
        return Ok(Seen::Marked(front.left(path, &place)?));
    }
    match lock(&place.file) {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Seen::Other),
        // Without locks two VMs could mark it at once.
        Err(TryLockError::Error(_)) => return Ok(Seen::Unsure),
    }
    // Somebody may have ended or marked it before the lock was free.
    let Some(front) = read_front(&place.file)? else { return Ok(Seen::Other) };
    let status = Status::decode(&front.page);
    if status.phase == Phase::Stopped {
        return Ok(Seen::Other);
    }
    if Found::decode(&front.page).is_some() {
        return Ok(Seen::Marked(front.left(path, &place)?));
    }
    let Ok(meta) = Meta::decode(front.page.get(META_OFFSET as usize..).unwrap_or_default()) else {
        // Who made it is not known.
        return Ok(Seen::Unsure);
    };
    if meta.get("snapshot").is_some() {
        return Ok(Seen::Other);
    }
    let tells_lock = meta.get(LOCK.0) == Some(LOCK.1);
    match Process::of(&meta).fate(here, tells_lock, is_local(&place.file)) {
        Fate::Lives => Ok(Seen::Other),
        Fate::Unsure => Ok(Seen::Unsure),
        Fate::Dead => {
            front.mark(&place.file, status.phase)?;
            Ok(Seen::Found(front.left(path, &place)?))
        }
    }
}

/// A VM that looks at the file too has the lock for a moment only.
fn lock(file: &File) -> Result<(), TryLockError> {
    const TRIES: u32 = 10;
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(2)),
            other => return other,
        }
    }
    file.try_lock()
}

/// The beginning of a recording.
struct Front {
    header: Header,
    /// Page 0 and the meta section, or what there is of them.
    page: Vec<u8>,
    file_bytes: u64,
}

/// `None` for what is no recording.
fn read_front(file: &File) -> io::Result<Option<Front>> {
    let file_bytes = file.metadata()?.len();
    let mut page = vec![0; file_bytes.min(FRONT_BYTES as u64) as usize];
    file.read_exact_at(&mut page, 0)?;
    let whole = page.len() >= META_OFFSET as usize;
    Ok(Header::decode(&page).ok().filter(|_| whole).map(|header| Front { header, page, file_bytes }))
}

impl Front {
    fn left(&self, path: &Path, place: &Place) -> io::Result<Left> {
        let mut entry = [0; clock::ENTRY_BYTES];
        let read = place.file.read_exact_at(&mut entry, self.header.clock_offset);
        let started = read.ok().and_then(|()| ClockPair::decode(&entry)).map_or(0, |pair| pair.wall_ns);
        let bytes = match &place.directory {
            None => self.file_bytes,
            Some(directory) => bytes_of(directory)?,
        };
        Ok(Left { path: path.to_owned(), bytes, started_ns: started })
    }

    /// Says in the file that its VM died. The phase is told last, as the recorder does.
    fn mark(&self, file: &File, phase: Phase) -> io::Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64);
        let found = Found { wall_ns: now, by: std::process::id(), phase };
        let has_copy = phase != Phase::Preparing && self.file_bytes >= self.header.file_bytes;
        for offset in has_copy.then(|| self.header.backup_offset()).into_iter().chain([0]) {
            file.write_all_at(&found.encode(), offset + FOUND_WALL_OFFSET as u64)?;
            file.write_all_at(&(Phase::Crashed as u32).to_le_bytes(), offset + PHASE_OFFSET as u64)?;
        }
        Ok(())
    }
}

fn bytes_of(directory: &File) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(within(directory, OsStr::new(".")))? {
        bytes += entry?.metadata()?.len();
    }
    Ok(bytes)
}

/// Is the file on a disk or in memory of this kernel alone? Of file systems that are
/// not known that is not sure.
fn is_local(file: &File) -> bool {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794c_7630;
    const F2FS: u64 = 0xf2f5_2010;
    const ZFS: u64 = 0x2fc1_2fc1;
    const RAMFS: u64 = 0x8584_58f6;
    let kind = crate::mapping::file_system(file);
    kind.is_some_and(|kind| [EXT, XFS, TMPFS, OVERLAY, F2FS, ZFS, RAMFS].contains(&kind))
}

/// Deletes the copies of what is marked that were being made: who made them is dead, too.
fn delete_unfinished_copies(directory: &Path, handle: &File, adopted: &mut Adopted) -> io::Result<()> {
    if adopted.kept.is_empty() {
        return Ok(());
    }
    let marked: HashSet<_> = adopted.kept.iter().filter_map(|left| left.path.file_stem()?.to_str()).collect();
    for entry in std::fs::read_dir(within(handle, OsStr::new(".")))? {
        let path = entry?.path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let of = name.strip_suffix(".spoor.part").and_then(copied);
        if !of.is_some_and(|of| marked.contains(of)) {
            continue;
        }
        let deleted = open_own(&path).and_then(|own| own.map_or(Ok(()), |_| std::fs::remove_file(&path)));
        match deleted {
            // Another VM does the same.
            Err(error) if error.kind() != io::ErrorKind::NotFound => adopted.failed.push((directory.join(name), error)),
            _ => {}
        }
    }
    Ok(())
}

/// Deletes the oldest of what is marked.
fn delete_beyond(keep: Keep, directory: &File, adopted: &mut Adopted) {
    let mut bytes = 0_u64;
    let mut files = 0_u64;
    let (kept, beyond): (Vec<_>, Vec<_>) = std::mem::take(&mut adopted.kept).into_iter().partition(|left| {
        files += 1;
        bytes = bytes.saturating_add(left.bytes);
        files <= keep.files && bytes <= keep.bytes
    });
    adopted.kept = kept;
    for left in beyond {
        let name = left.path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        match delete(directory, name) {
            Ok(true) => adopted.deleted.push(left),
            Ok(false) => {}
            // It stays for as long as that is there.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => adopted.kept.push(left),
            Err(error) => {
                adopted.failed.push((left.path.clone(), error));
                adopted.kept.push(left);
            }
        }
    }
}

/// Deletes a recording that is marked, and nothing else; `false` when it is not any more.
fn delete(directory: &File, name: &str) -> io::Result<bool> {
    let Some(place) = open(directory, name)? else { return Ok(false) };
    let marked = read_front(&place.file)?.is_some_and(|front| Found::decode(&front.page).is_some());
    if !marked {
        return Ok(false);
    }
    let path = within(directory, OsStr::new(name));
    let deleted = match &place.directory {
        None => std::fs::remove_file(path),
        // Somebody keeps something of his own beside it: the recording may be part of that.
        Some(stream) if !is_only_ours(stream)? => return Err(io::Error::from_raw_os_error(libc::ENOTEMPTY)),
        Some(stream) => delete_segments(stream).and_then(|()| std::fs::remove_dir(path)),
    };
    match deleted {
        Ok(()) => Ok(true),
        // Another VM does the same.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Is everything in the directory of a stream what the recorder put there?
fn is_only_ours(stream: &File) -> io::Result<bool> {
    for entry in std::fs::read_dir(within(stream, OsStr::new(".")))? {
        let name = entry?.file_name();
        if name != HEAD && !is_of_a_segment(&name) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A segment, or one that is being packed.
fn is_of_a_segment(name: &OsStr) -> bool {
    let text = name.to_str().unwrap_or_default();
    Packing::of_file_name(text.strip_suffix(".part").unwrap_or(text)).is_some()
}

/// Deletes what the recorder put into the directory of a stream; the head last, so that
/// what is left of it can be deleted another time.
fn delete_segments(stream: &File) -> io::Result<()> {
    for entry in std::fs::read_dir(within(stream, OsStr::new(".")))? {
        let name = entry?.file_name();
        if is_of_a_segment(&name) {
            std::fs::remove_file(within(stream, &name))?;
        }
    }
    std::fs::remove_file(within(stream, OsStr::new(HEAD)))
}
