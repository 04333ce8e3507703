//! Which process this is, so that a file can name it for ever, and whether the
//! process that a file names still lives.
//!
//! A death is only told when it is sure. What a process id means depends on the
//! pid namespace it is looked up in: two containers have the same ids for different
//! processes. What is sure there is the lock, where both run on one kernel.

use std::io;

use spoor_format::header::Meta;

/// The meta key and value of a file that is locked while it is recorded into.
pub(crate) const LOCK: (&str, &str) = ("lock", "flock");

/// A process, as recordings name it; what could not be had is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id within its pid namespace.
    os_pid: String,
    /// When it started, in the kernel's units: with the pid and the boot it names
    /// one process for ever.
    os_start: String,
    /// The pid namespace. Numbers of those that are gone are used again.
    pid_ns: String,
    /// Which run of which kernel.
    boot_id: String,
    /// The name of the host, or of the container.
    host: String,
}

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Lives,
    Dead,
    /// Cannot be told from here.
    Unsure,
}

impl Process {
    /// The calling one.
    pub(crate) fn this() -> Process {
        let pid_ns = std::fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned());
        Process {
            os_pid: std::process::id().to_string(),
            os_start: start_of(&read_line("/proc/self/stat")).to_owned(),
            pid_ns: pid_ns.unwrap_or_default(),
            boot_id: read_line("/proc/sys/kernel/random/boot_id"),
            host: read_line("/proc/sys/kernel/hostname"),
        }
    }

    /// The one that recorded.
    pub(crate) fn of(meta: &Meta) -> Process {
        let get = |key| meta.get(key).unwrap_or_default().to_owned();
        Process {
            os_pid: get("os_pid"),
            os_start: get("os_start"),
            pid_ns: get("pid_ns"),
            boot_id: get("boot_id"),
            host: get("host"),
        }
    }

    /// Keys and values of the meta section.
    pub(crate) fn entries(self) -> [(&'static str, String); 5] {
        [
            ("os_pid", self.os_pid),
            ("os_start", self.os_start),
            ("pid_ns", self.pid_ns),
            ("boot_id", self.boot_id),
            ("host", self.host),
        ]
    }

    /// What became of this process, seen from `here`, which has got the lock of its
    /// file. `tells_lock`: its recorder had the lock too; `local`: the file lies on a
    /// file system that no other kernel writes, and whose locks this kernel knows.
    pub(crate) fn fate(&self, here: &Process, tells_lock: bool, local: bool) -> Fate {
        if self.boot_id.is_empty() || here.boot_id.is_empty() {
            return Fate::Unsure;
        }
        if self.boot_id != here.boot_id {
            // The same host after a restart; or a volume that goes from host to host,
            // with a container that keeps its name.
            let restarted = !here.host.is_empty() && self.host == here.host && local;
            return if restarted { Fate::Dead } else { Fate::Unsure };
        }
        // Recorders before this key was told ran where their host's name says.
        let (there, own) = if self.pid_ns.is_empty() { (&self.host, &here.host) } else { (&self.pid_ns, &here.pid_ns) };
        if there == own && !own.is_empty() && here.sees_processes() {
            return if self.is_alive() { Fate::Lives } else { Fate::Dead };
        }
        if tells_lock && local { Fate::Dead } else { Fate::Unsure }
    }

    /// Does /proc show the processes of the caller's own pid namespace?
    fn sees_processes(&self) -> bool {
        std::fs::read_link("/proc/self").is_ok_and(|link| link.as_os_str() == self.os_pid.as_str())
    }

    /// Whatever is not known to be dead lives.
    fn is_alive(&self) -> bool {
        let Ok(pid) = self.os_pid.parse::<u32>() else { return true };
        match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Ok(stat) => !is_dead(&stat) && (self.os_start.is_empty() || start_of(&stat) == self.os_start),
            // ESRCH: it died between the opening and the reading.
            Err(error) => error.kind() != io::ErrorKind::NotFound && error.raw_os_error() != Some(libc::ESRCH),
        }
    }
}

/// A zombie records no more.
fn is_dead(stat: &str) -> bool {
    matches!(behind_name(stat).next(), Some("Z" | "X"))
}

/// Field 22 of `stat`.
fn start_of(stat: &str) -> &str {
    behind_name(stat).nth(19).unwrap_or_default()
}

/// The fields from the third on: the second, a name in brackets, may hold anything.
fn behind_name(stat: &str) -> std::str::SplitAsciiWhitespace<'_> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_ascii_whitespace()
}

/// A line that the kernel tells; empty when it does not.
pub(crate) fn read_line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids above what Linux gives out.
    const NOBODY: &str = "4194305";

    fn one(change: impl FnOnce(&mut Process)) -> Process {
        let mut process = Process::this();
        change(&mut process);
        process
    }

    fn fate(of: &Process) -> [Fate; 4] {
        let here = Process::this();
        [(false, false), (false, true), (true, false), (true, true)].map(|(lock, local)| of.fate(&here, lock, local))
    }

    #[test]
    fn in_the_same_pid_namespace_the_process_table_decides() {
        assert_eq!(fate(&Process::this()), [Fate::Lives; 4]);
        assert_eq!(fate(&one(|p| p.os_pid = NOBODY.into())), [Fate::Dead; 4]);
        assert_eq!(fate(&one(|p| p.os_start = "1".into())), [Fate::Dead; 4]);
        assert_eq!(fate(&one(|p| p.os_pid = "all".into())), [Fate::Lives; 4]);
    }

    #[test]
    fn in_another_pid_namespace_only_the_lock_of_a_local_file_decides() {
        let elsewhere = [Fate::Unsure, Fate::Unsure, Fate::Unsure, Fate::Dead];
        assert_eq!(fate(&one(|p| p.pid_ns = "pid:[1]".into())), elsewhere);
        let other = |p: &mut Process| (p.pid_ns, p.os_pid, p.host) = ("pid:[1]".into(), NOBODY.into(), "other".into());
        assert_eq!(fate(&one(other)), elsewhere);
    }

    #[test]
    fn of_an_older_recorder_the_host_tells_the_namespace() {
        assert_eq!(fate(&one(|p| p.pid_ns.clear())), [Fate::Lives; 4]);
        assert_eq!(fate(&one(|p| (p.pid_ns, p.os_pid) = (String::new(), NOBODY.into()))), [Fate::Dead; 4]);
        let other = one(|p| (p.pid_ns, p.os_pid, p.host) = (String::new(), NOBODY.into(), "other".into()));
        assert_eq!(fate(&other)[..2], [Fate::Unsure; 2]);
    }

    #[test]
    fn after_another_boot_only_the_same_host_with_the_file_on_its_own_disk_is_sure() {
        let restarted = one(|p| p.boot_id = "before".into());
        assert_eq!(fate(&restarted), [Fate::Unsure, Fate::Dead, Fate::Unsure, Fate::Dead]);
        assert_eq!(fate(&one(|p| (p.boot_id, p.host) = ("other".into(), "other".into()))), [Fate::Unsure; 4]);
        assert_eq!(fate(&one(|p| p.boot_id.clear())), [Fate::Unsure; 4]);
    }

    #[test]
    fn a_process_that_is_dead_but_not_collected_is_dead() {
        let stat = "12 (beam) x) Z 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 0";
        assert!(is_dead(stat));
        assert!(!is_dead(&stat.replace(" Z ", " S ")));
        assert_eq!(start_of(stat), "777");
    }
}
