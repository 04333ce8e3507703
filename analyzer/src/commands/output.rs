//! Files that are written: never over a recording.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use spoor_format::header;
use spoor_format::segment::{self, Packing};

use super::inputs::EXTENSION;

/// Writes what `write` does into a file, which is none of `inputs`.
pub(super) fn write_to(
    path: &Path,
    inputs: &[PathBuf],
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    is_no_recording(path, inputs)?;
    let mut file = BufWriter::new(File::create(path).with_context(|| path.display().to_string())?);
    write(&mut file).and_then(|()| file.flush()).with_context(|| path.display().to_string())
}

/// Refuses to write over one of the files that are read, under whatever name, and over any
/// other recording.
pub(super) fn is_no_recording(path: &Path, inputs: &[PathBuf]) -> Result<()> {
    let Some(place) = identity(path) else { return Ok(()) };
    let name = path.display();
    if inputs.iter().any(|input| is_read_from(input, place)) {
        bail!("{name} is a recording that is read: nothing was written; name another file for the output");
    }
    if begins_as_one(path) {
        bail!("{name} is a recording: nothing was written; name another file for the output, or remove it first");
    }
    Ok(())
}

/// Device and inode of a file that is there.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|found| (found.dev(), found.ino()))
}

/// Is the file the input, or in the directory that is: a recording or one of its segments?
fn is_read_from(input: &Path, place: (u64, u64)) -> bool {
    let of_stream = input.file_name().is_some_and(|name| name == segment::HEAD);
    let directory = match input.parent() {
        Some(parent) if of_stream && parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) if of_stream => parent,
        _ => input,
    };
    let Ok(entries) = fs::read_dir(directory) else { return identity(input) == Some(place) };
    entries.flatten().map(|entry| entry.path()).any(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_part = Packing::of_file_name(name).is_some() || name == segment::HEAD;
        let is_recording = path.extension().is_some_and(|extension| extension == EXTENSION);
        match path.is_dir() {
            true => path != directory && path.join(segment::HEAD).is_file() && is_read_from(&path, place),
            false => (is_part || is_recording) && identity(&path) == Some(place),
        }
    })
}

/// Does it begin as a recording or a segment does?
fn begins_as_one(path: &Path) -> bool {
    let mut magic = [0; header::MAGIC.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
    read.is_ok() && [header::MAGIC, segment::MAGIC].contains(&magic)
}
