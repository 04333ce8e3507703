//! Memory that the control group of this process may still take. A file on tmpfs is
//! memory: who takes more of it than that is killed, and gets no error.

use std::path::{Path, PathBuf};

/// What the VM itself may want next.
const SPARE: u64 = 16 << 20;

/// How the files of a version are named. What the page cache holds of files on disks is
/// given back when memory is wanted; files on tmpfs are not among it.
struct Version {
    most: &'static str,
    used: &'static str,
    cached: [&'static str; 2],
}

const V1: Version = Version {
    most: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: ["total_active_file", "total_inactive_file"],
};
const V2: Version = Version { most: "memory.max", used: "memory.current", cached: ["active_file", "inactive_file"] };

/// Bytes that this process may still take; `None` when nothing limits it.
pub(crate) fn memory_left() -> Option<u64> {
    let read = |name| std::fs::read_to_string(name).unwrap_or_default();
    left(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
}

fn left(mounts: &str, groups: &str) -> Option<u64> {
    mounts.lines().filter_map(|line| left_in(line, groups)).min()
}

/// The same of the hierarchy that is mounted there, if it is one of memory.
fn left_in(mount: &str, groups: &str) -> Option<u64> {
    let (place, kind) = mount.split_once(" - ")?;
    let mut place = place.split(' ').skip(3);
    let (root, top) = (place.next()?, Path::new(place.next()?));
    let mut kind = kind.split(' ');
    let (version, controller) = match (kind.next()?, kind.nth(1)?) {
        ("cgroup2", _) => (V2, ""),
        ("cgroup", options) if options.split(',').any(|option| option == "memory") => (V1, "memory"),
        _ => return None,
    };
    let group = groups.lines().find_map(|line| {
        let (controllers, group) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(group)
    });
    // Of a group above what is mounted nothing can be seen but what is mounted.
    let below = Path::new(group?).strip_prefix(root).map_or(PathBuf::new(), Path::to_owned);
    let group = top.join(below);
    group.ancestors().take_while(|at| at.starts_with(top)).filter_map(|at| version.left(at)).min()
}

impl Version {
    fn left(&self, group: &Path) -> Option<u64> {
        let read = |name| std::fs::read_to_string(group.join(name)).ok();
        let number = |name| read(name)?.trim().parse::<u64>().ok();
        // `max` is no number, and no limit.
        let (most, used) = (number(self.most)?, number(self.used)?);
        let stat = read("memory.stat").unwrap_or_default();
        let of_cache = |line: &str| {
            let (name, bytes) = line.split_once(' ')?;
            self.cached.contains(&name).then(|| bytes.parse::<u64>().ok())?
        };
        let cached: u64 = stat.lines().filter_map(of_cache).sum();
        Some(most.saturating_sub(used.saturating_sub(cached)).saturating_sub(SPARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn group(at: &Path, files: &[(&str, String)]) {
        std::fs::create_dir_all(at).expect("a directory");
        files.iter().for_each(|(name, text)| std::fs::write(at.join(name), text).expect("a file"));
    }

    #[test]
    fn the_narrowest_group_counts_and_the_page_cache_does_not() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let top = scratch.path();
        let stat = format!("anon 5\nactive_file {}\ninactive_file {}\n", 10 * MIB, 20 * MIB);
        let numbers = |most: u64, used: u64| {
            [
                ("memory.max", format!("{most}\n")),
                ("memory.current", format!("{used}\n")),
                ("memory.stat", stat.clone()),
            ]
        };
        group(&top.join("pod"), &numbers(200 * MIB, 100 * MIB));
        group(&top.join("pod/one"), &[("memory.max", "max\n".into()), ("memory.current", "7\n".into())]);
        let mounts =
            format!("1 2 0:3 / / rw - ext4 /dev/x rw\n9 8 0:7 / {} rw shared:4 - cgroup2 none rw\n", top.display());
        assert_eq!(left(&mounts, "0::/pod/one\n"), Some((200 - 100 + 30) * MIB - SPARE));
        assert_eq!(left(&mounts, "0::/\n"), None, "nothing limits the root");
        group(&top.join("pod/one"), &numbers(50 * MIB, 60 * MIB));
        assert_eq!(left(&mounts, "0::/pod/one\n"), Some(20 * MIB - SPARE));
    }

    #[test]
    fn of_the_first_version_only_memory_is_asked() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let top = scratch.path();
        let stat = format!("active_file 1\ntotal_active_file {MIB}\n");
        let (most, used) = (("memory.limit_in_bytes", (64 * MIB).to_string()), (40 * MIB).to_string());
        group(top, &[most, ("memory.usage_in_bytes", used), ("memory.stat", stat)]);
        let mount = |options| format!("9 8 0:7 /docker/x {} rw - cgroup cgroup {options}\n", top.display());
        let groups = "5:cpu:/other\n4:memory,hugetlb:/docker/x\n0::/\n";
        assert_eq!(left(&mount("rw,memory"), groups), Some(25 * MIB - SPARE));
        assert_eq!(left(&mount("rw,memory"), "4:memory:/elsewhere\n"), Some(25 * MIB - SPARE));
        assert_eq!(left(&mount("rw,cpu"), groups), None);
        assert_eq!(left("", ""), None);
    }
}
