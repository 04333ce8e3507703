//! How a recording ended, or whether it still goes on.

use std::fmt;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;
use spoor_format::header::Meta;
use spoor_format::status::{Phase, Status};

/// The state of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Being set up.
    Preparing,
    /// The VM that records is running.
    Recording {
        /// Its process id.
        os_pid: String,
    },
    /// A limit was reached and tracing is being ended, by a VM that is running.
    Stopping {
        /// The limit.
        reason: String,
    },
    /// Ended in order.
    Stopped {
        /// Why.
        reason: String,
    },
    /// The VM died, or was killed, while it recorded.
    Died,
    /// A copy of a recording, made while it went on.
    Snapshot,
    /// Not stopped, and whether the VM still runs cannot be told from here.
    Unfinished,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            State::Preparing => write!(f, "being set up"),
            State::Recording { os_pid } => write!(f, "recording now (process {os_pid})"),
            State::Stopping { reason } => write!(f, "stopping now ({reason})"),
            State::Stopped { reason } if matches!(reason.as_str(), "" | "stopped") => write!(f, "stopped"),
            State::Stopped { reason } => write!(f, "stopped: {reason}"),
            State::Died => write!(f, "the VM died while recording"),
            State::Snapshot => write!(f, "a snapshot of a recording"),
            State::Unfinished => {
                write!(f, "not stopped; whether its VM still runs cannot be told from here")
            }
        }
    }
}

impl State {
    pub(crate) fn of(status: &Status, meta: &Meta, path: &str) -> State {
        if meta.get("snapshot").is_some() {
            return State::Snapshot;
        }
        if status.phase == Phase::Stopped {
            return State::Stopped { reason: status.reason.clone() };
        }
        if status.phase == Phase::Crashed {
            return State::Died;
        }
        if snapshot_of(Path::new(path)).is_some() {
            return State::Snapshot;
        }
        match (running(meta), status.phase) {
            (Some(true), Phase::Preparing) => State::Preparing,
            (Some(true), Phase::Stopping) => State::Stopping { reason: status.reason.clone() },
            (Some(true), _) => State::Recording { os_pid: meta.get("os_pid").unwrap_or("?").to_owned() },
            (Some(false), _) => State::Died,
            (None, _) => State::Unfinished,
        }
    }

    /// Was the file being written when it was read, or copied?
    pub fn is_live(&self) -> bool {
        matches!(self, State::Recording { .. } | State::Stopping { .. } | State::Preparing | State::Snapshot)
    }
}

/// The recording that a file is a snapshot of, by its name: `NAME-snap-N.spoor`.
/// The note in it does not tell: the recording has the same.
pub fn snapshot_of(path: &Path) -> Option<PathBuf> {
    let (name, number) = path.file_stem()?.to_str()?.rsplit_once("-snap-")?;
    let counted = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let extension = path.extension()?.to_str()?;
    counted.then(|| path.with_file_name(format!("{name}.{extension}")))
}

/// Is the process that recorded still there? `None` when it ran on another host.
fn running(meta: &Meta) -> Option<bool> {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned());
    let differs = |key: &str, path: &str| match (meta.get(key), read(path)) {
        (Some(there), Some(here)) => !there.is_empty() && there != here,
        _ => false,
    };
    if differs("host", "/proc/sys/kernel/hostname") {
        return None;
    }
    if differs("boot_id", "/proc/sys/kernel/random/boot_id") {
        return Some(false);
    }
    // In another container the same number is another process.
    let space = std::fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned());
    if meta.get("pid_ns").is_some_and(|there| !there.is_empty() && space.is_ok_and(|here| here != there)) {
        return None;
    }
    let pid: u32 = meta.get("os_pid")?.parse().ok()?;
    let Some(stat) = read(&format!("/proc/{pid}/stat")) else { return Some(false) };
    Some(is_same_process(&stat, meta.get("os_start").unwrap_or_default()))
}

/// A zombie has died; a later process with the same id started at another time.
fn is_same_process(stat: &str, start: &str) -> bool {
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = behind_name.split_ascii_whitespace().collect();
    let dead = matches!(fields.first(), Some(&"Z" | &"X"));
    let other = !start.is_empty() && fields.get(19).is_some_and(|there| *there != start);
    !dead && !other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_itself_by_start_time_and_life() {
        let stat = "12 (beam) x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 0";
        assert!(is_same_process(stat, "777"));
        assert!(is_same_process(stat, ""));
        assert!(!is_same_process(stat, "778"));
        assert!(!is_same_process(&stat.replace(" S ", " Z "), "777"));
    }

    #[test]
    fn a_recording_of_this_very_process_is_live() {
        let pair = |k: &str, v: String| (k.to_owned(), v);
        let mut meta = Meta { entries: vec![pair("os_pid", std::process::id().to_string())] };
        let status = Status { phase: Phase::Recording, stop_tick: 0, reason: String::new() };
        assert!(State::of(&status, &meta, "a.spoor").is_live());
        meta.entries.push(pair("os_start", "1".into()));
        assert_eq!(State::of(&status, &meta, "a.spoor"), State::Died);
        meta.entries.push(pair("pid_ns", "pid:[1]".into()));
        assert_eq!(State::of(&status, &meta, "a.spoor"), State::Unfinished);
        meta.entries.pop();
        meta.entries.push(pair("host", "elsewhere".into()));
        assert_eq!(State::of(&status, &meta, "a.spoor"), State::Unfinished);
    }
}
