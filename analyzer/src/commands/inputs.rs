//! The recordings that are asked for, one after the other, and what of each.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use spoor_format::segment;

use super::Health;
use super::empty::given;
use crate::cli::{Moment, WindowArgs};
use crate::model::filter::Filter;
use crate::model::part::Part;
use crate::read::{Recording, Source, Window, snapshot_of};
use crate::view::units::moment;

/// The recordings' file names end in this.
pub(super) const EXTENSION: &str = "spoor";

/// The recordings that the paths name: files, and the recordings in directories.
pub(super) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() || is_stream(path) {
            files.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path).with_context(|| path.display().to_string())?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|ext| ext == EXTENSION))
            .filter(|path| path.is_file() || is_stream(path))
            .collect();
        if found.is_empty() {
            bail!("{}: no recording (*.{EXTENSION}) in this directory", path.display());
        }
        found.sort();
        let all = found.clone();
        found.retain(|path| !snapshot_of(path).is_some_and(|whole| all.contains(&whole)));
        if found.len() < all.len() {
            let (left, place) = (all.len() - found.len(), path.display());
            let what = if left == 1 {
                "1 snapshot left out: its recording is here".to_owned()
            } else {
                format!("{left} snapshots left out: their recordings are here")
            };
            writeln!(io::stderr(), "spoor: {place}: {what}")?;
        }
        files.append(&mut found);
    }
    Ok(files)
}

/// Is it the directory of one recording, in segments?
fn is_stream(path: &Path) -> bool {
    path.join(segment::HEAD).is_file()
}

pub(super) fn open(path: &Path) -> Result<Recording> {
    let name = path.display().to_string();
    let source = Source::open(path).with_context(|| name.clone())?;
    Recording::open(source, &name).with_context(|| name)
}

/// The stretch of time asked for holds nothing of a recording: a mistake when it
/// is the only one, and a reason to leave it out when there are others.
#[derive(Debug)]
struct NothingInWindow(String);

impl std::fmt::Display for NothingInWindow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NothingInWindow {}

/// Opens one recording after the other. One that cannot be opened, or has nothing
/// in the window, does not keep the others from being read; only when there is no
/// other it is an error.
pub(super) fn each(paths: &[PathBuf], work: impl FnMut(&Recording) -> Result<Health>) -> Result<Health> {
    each_of(&files(paths)?, true, work)
}

/// `telling`: what is wrong with the files was not told before.
pub(super) fn each_of(
    files: &[PathBuf],
    telling: bool,
    mut work: impl FnMut(&Recording) -> Result<Health>,
) -> Result<Health> {
    let mut health = Health::Fine;
    let mut read = 0;
    let alone = files.len() == 1;
    for path in files {
        let recording = match open(path) {
            Ok(recording) => recording,
            Err(error) if alone => return Err(error),
            Err(error) => {
                if telling {
                    writeln!(io::stderr(), "spoor: {error:#}")?;
                }
                health = Health::Damaged;
                continue;
            }
        };
        match work(&recording) {
            Ok(Health::Damaged) => health = Health::Damaged,
            Ok(Health::Fine) => {}
            Err(error) if !alone && error.is::<NothingInWindow>() => {
                if telling {
                    writeln!(io::stderr(), "spoor: {error}; left out")?;
                }
                continue;
            }
            Err(error) => return Err(error),
        }
        read += 1;
    }
    if read == 0 {
        bail!("none of the {} files could be read", files.len());
    }
    Ok(health)
}

/// The stretch of time asked for; one that is empty, or has nothing of the
/// recording, is a mistake.
pub(super) fn window(args: &WindowArgs, recording: &Recording) -> Result<Window> {
    let window = window_of(args, recording);
    let nothing = |why: String| Err(NothingInWindow(format!("{}: {why}", recording.path)).into());
    if window.from_ns.max(recording.start_ns) >= window.to_ns || args.last == Some(0) {
        return nothing("the window is empty: it ends where it begins, or before".to_owned());
    }
    if window.from_ns > recording.end_ns {
        let end = moment(recording.end_ns - recording.start_ns);
        return nothing(format!("the window is empty: it begins after the end of the recording, at {end}"));
    }
    Ok(window)
}

fn window_of(args: &WindowArgs, recording: &Recording) -> Window {
    let at = |moment: Moment| match moment {
        Moment::AfterStart(ns) => recording.start_ns.saturating_add(ns),
        Moment::BeforeEnd(ns) => recording.end_ns.saturating_sub(ns),
    };
    let from = args.from.or(args.last.map(Moment::BeforeEnd));
    Window { from_ns: from.map_or(0, at), to_ns: args.to.map_or(u64::MAX, at) }
}

/// What is asked for, if that is not all of the recording.
pub(super) fn part(recording: &Recording, window: Window, filter: &Filter) -> Option<Part> {
    let filters = given(filter);
    let inside = window.within(recording);
    let (from_ns, to_ns) = (inside.from_ns - recording.start_ns, inside.to_ns - recording.start_ns);
    (window != Window::ALL || !filters.is_empty()).then_some(Part { from_ns, to_ns, filters })
}
