//! What becomes of recordings whose VMs died, and of everything else that lies
//! beside them.

mod common;

use std::fs::{File, create_dir, read, write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};

use common::options;
use spoor_core::Storage;
use spoor_core::adopt::{Adopted, Keep, adopt};
use spoor_core::recording;
use spoor_core::registry::{self, State};
use spoor_core::{Host, Limit, Summary};
use spoor_format::build::FileBuilder;
use spoor_format::clock::ClockPair;
use spoor_format::header::Header;
use spoor_format::status::{Found, Phase, Status};

const ALL: Keep = Keep { files: u64::MAX, bytes: u64::MAX };
/// An id above those that Linux gives out.
const NOBODY: &str = "4194305";

fn line(path: &str) -> String {
    std::fs::read_to_string(path).expect("Linux tells it").trim_end().to_owned()
}

/// A recording of a process of this host that is not there.
fn dead(started_ns: u64) -> FileBuilder {
    let status = Status { phase: Phase::Recording, stop_tick: 0, reason: String::new() };
    let mut file = FileBuilder::new(Header::with_rings(2, 8, (4096, 1), (4096, 2)), status);
    let meta = [
        ("os_pid", NOBODY.to_owned()),
        ("os_start", "1".to_owned()),
        ("boot_id", line("/proc/sys/kernel/random/boot_id")),
        ("host", line("/proc/sys/kernel/hostname")),
    ];
    file.meta.entries.extend(meta.map(|(key, value)| (key.to_owned(), value)));
    file.clocks.push(ClockPair { seq: 1, tick: 1, monotonic_ns: 1, wall_ns: started_ns, spread_ns: 1 });
    file
}

fn names(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Vec<String> {
    let name = |path: &Path| path.file_name().expect("has one").to_str().expect("is text").to_owned();
    paths.into_iter().map(|path| name(path.as_ref())).collect()
}

fn found(adopted: &Adopted) -> Vec<String> {
    assert!(adopted.failed.is_empty(), "{:?}", adopted.failed);
    names(adopted.found.iter().map(|left| &left.path))
}

#[test]
fn a_dead_recording_is_marked_once_and_says_so_in_both_places() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let path = scratch.path().join("spoor-a.spoor");
    let mut file = dead(5);
    file.status.phase = Phase::Stopping;
    file.status.reason = "time".into();
    write(&path, file.build()).expect("room");
    let adopted = adopt(scratch.path(), ALL).expect("a look");
    assert_eq!(found(&adopted), ["spoor-a.spoor"]);
    assert_eq!((adopted.found[0].started_ns, adopted.found[0].bytes), (5, file.header.file_bytes));
    let marked = read(&path).expect("still there");
    for page in [&marked[..], &marked[file.header.backup_offset() as usize..]] {
        let Found { wall_ns, by, phase } = Found::decode(page).expect("it was found");
        assert!(wall_ns > 1 << 60);
        assert_eq!((by, phase), (std::process::id(), Phase::Stopping));
        assert_eq!(Status::decode(page), Status { phase: Phase::Crashed, stop_tick: 0, reason: "time".into() });
    }
    let again = adopt(scratch.path(), ALL).expect("a look");
    assert_eq!((found(&again), again.kept.len()), (vec![], 1));
    assert_eq!(read(&path).expect("still there"), marked);
}

#[test]
fn what_is_not_known_to_be_dead_is_left_as_it_is() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| scratch.path().join(name);
    let with = |change: fn(&mut FileBuilder)| {
        let mut file = dead(5);
        change(&mut file);
        file.build()
    };
    let set = |file: &mut FileBuilder, key: &str, value: &str| {
        file.meta.entries.retain(|(k, _)| k != key);
        file.meta.entries.push((key.into(), value.into()));
    };
    let mut elsewhere = dead(5);
    set(&mut elsewhere, "host", "elsewhere");
    set(&mut elsewhere, "boot_id", "of another host");
    let mut own = dead(5);
    set(&mut own, "os_pid", &std::process::id().to_string());
    set(&mut own, "os_start", "");
    let files: Vec<(&str, Vec<u8>)> = vec![
        ("spoor-stopped.spoor", with(|file| file.status.phase = Phase::Stopped)),
        ("spoor-copy.spoor", with(|file| file.meta.entries.push(("snapshot".into(), "all".into())))),
        ("spoor-a-snap-1.spoor", dead(5).build()),
        ("spoor-elsewhere.spoor", elsewhere.build()),
        ("spoor-own.spoor", own.build()),
        ("spoor-garbage.spoor", b"SPOOR\r\n\0 and nothing that makes sense".repeat(500)),
        ("spoor-cut.spoor", dead(5).build()[..2000].to_vec()),
        ("spoor-empty.spoor", vec![]),
        ("mine.spoor", dead(5).build()),
        ("spoor-a.text", dead(5).build()),
    ];
    for (name, bytes) in &files {
        write(at(name), bytes).expect("room");
    }
    let outside = tempfile::tempdir().expect("a temporary directory");
    let target = outside.path().join("spoor-target.spoor");
    write(&target, dead(5).build()).expect("room");
    symlink(&target, at("spoor-link.spoor")).expect("a link");
    create_dir(outside.path().join("stream")).expect("a directory");
    write(outside.path().join("stream/head.spoor"), dead(5).build()).expect("room");
    symlink(outside.path().join("stream"), at("spoor-stream-link.spoor")).expect("a link");
    let made = std::process::Command::new("mkfifo").arg(at("spoor-fifo.spoor")).status();
    assert!(made.expect("coreutils").success());
    create_dir(at("spoor-no-stream.spoor")).expect("a directory");
    write(at("spoor-locked.spoor"), dead(5).build()).expect("room");
    let held = File::open(at("spoor-locked.spoor")).expect("it is there");
    held.lock().expect("nobody has it");

    let adopted = adopt(scratch.path(), Keep { files: 0, bytes: 0 }).expect("a look");
    assert_eq!((found(&adopted), adopted.kept, adopted.deleted), (vec![], vec![], vec![]));
    assert_eq!(names(&adopted.unsure), ["spoor-elsewhere.spoor"]);
    for (name, bytes) in &files {
        assert_eq!(&read(at(name)).expect("still there"), bytes, "{name}");
    }
    let untouched = dead(5).build();
    assert_eq!(read(&target).expect("still there"), untouched);
    assert_eq!(read(outside.path().join("stream/head.spoor")).expect("still there"), untouched);
    drop(held);
    assert_eq!(found(&adopt(scratch.path(), ALL).expect("a look")), ["spoor-locked.spoor"]);
}

#[test]
fn of_what_is_marked_the_newest_are_kept_by_their_own_clocks() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let at = |n: u64| scratch.path().join(format!("spoor-{n}.spoor"));
    // Neither the order of names nor that of writing.
    let began = [30, 10, 50, 20, 40];
    (0..).zip(began).for_each(|(n, ns)| write(at(n), dead(ns).build()).expect("room"));
    let keep = Keep { files: 3, ..ALL };
    let adopted = adopt(scratch.path(), keep).expect("a look");
    assert_eq!(found(&adopted).len(), 5);
    let started = |lefts: &[spoor_core::adopt::Left]| lefts.iter().map(|left| left.started_ns).collect::<Vec<_>>();
    assert_eq!((started(&adopted.kept), started(&adopted.deleted)), (vec![50, 40, 30], vec![20, 10]));
    assert_eq!((0..5).map(|n| at(n).exists()).collect::<Vec<_>>(), [true, false, true, false, true]);
    let size = adopted.kept[0].bytes;
    let fewer = adopt(scratch.path(), Keep { bytes: 2 * size, ..keep }).expect("a look");
    assert_eq!((found(&fewer), started(&fewer.kept), started(&fewer.deleted)), (vec![], vec![50, 40], vec![30]));
}

/// Its VM died while it copied.
#[test]
fn an_unfinished_copy_goes_when_its_recording_is_found() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| scratch.path().join(name);
    write(at("spoor-a.spoor"), dead(5).build()).expect("room");
    let gone = ["spoor-a-snap-1.spoor.part", "spoor-a-snap-12.spoor.part"];
    let others =
        ["spoor-a-snap-1.spoor", "spoor-a-snap-x.spoor.part", "spoor-b-snap-1.spoor.part", "spoor-a.spoor.part"];
    for name in gone.iter().chain(&others) {
        write(at(name), "half of it").expect("room");
    }
    let linked = at("spoor-a-snap-2.spoor.part");
    symlink(at(others[0]), &linked).expect("a link");
    assert_eq!(found(&adopt(scratch.path(), ALL).expect("a look")), ["spoor-a.spoor"]);
    assert_eq!(gone.map(|name| at(name).exists()), [false; 2]);
    assert_eq!(others.map(|name| at(name).exists()), [true; 4]);
    assert!(linked.is_symlink());
}

/// A stream whose VM died: the head is marked, the whole of it deleted, but not where
/// somebody else put something there.
#[test]
fn a_stream_is_one_recording() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let make = |name: &str, extra: &str| -> PathBuf {
        let stream = scratch.path().join(name);
        create_dir(&stream).expect("a directory");
        write(stream.join("head.spoor"), dead(7).build()).expect("room");
        for segment in ["00000001.segment", "00000002.segment.lz4", "00000003.segment.lz4.part"] {
            write(stream.join(segment), [0; 1000]).expect("room");
        }
        if !extra.is_empty() {
            write(stream.join(extra), "mine").expect("room");
        }
        stream
    };
    let (plain, shared) = (make("spoor-plain.spoor", ""), make("spoor-shared.spoor", "notes.text"));
    let adopted = adopt(scratch.path(), ALL).expect("a look");
    assert_eq!(found(&adopted), ["spoor-plain.spoor", "spoor-shared.spoor"]);
    assert_eq!(adopted.found[0].bytes, dead(7).header.file_bytes + 3000);
    let none = adopt(scratch.path(), Keep { files: 0, ..ALL }).expect("a look");
    assert_eq!(names(none.deleted.iter().map(|left| &left.path)), ["spoor-plain.spoor"]);
    assert_eq!(
        (names(none.kept.iter().map(|left| &left.path)), none.failed.len()),
        (vec!["spoor-shared.spoor".into()], 0)
    );
    assert!(!plain.exists());
    assert_eq!(std::fs::read_dir(&shared).expect("there").count(), 5, "all of it stays");
    std::fs::remove_file(shared.join("notes.text")).expect("it is there");
    let none = adopt(scratch.path(), Keep { files: 0, ..ALL }).expect("a look");
    assert_eq!((none.deleted.len(), none.kept.len(), shared.exists()), (1, 0, false));
}

struct Told(Sender<()>);

impl Host for Told {
    fn owner_alive(&self) -> bool {
        true
    }
    fn limit(&self, _: State, _: Limit) {}
    fn closed(&self, _: State, _: &Summary) {
        let _ = self.0.send(());
    }
}

#[test]
fn a_recording_that_goes_on_is_nobodys_find() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let path = scratch.path().join("spoor-live.spoor");
    let (sender, closed) = channel();
    let state = recording::open(options(&path, Storage::Ring(1 << 20)), Told(sender)).expect("a recording");
    let none = Keep { files: 0, bytes: 0 };
    let adopted = adopt(scratch.path(), none).expect("a look");
    assert_eq!((found(&adopted), adopted.unsure.len()), (vec![], 0));
    assert!(registry::with(state, |recording| recording.close("test")).is_some());
    closed.recv().expect("the keeper answers");
    let adopted = adopt(scratch.path(), none).expect("a look");
    assert_eq!((found(&adopted), path.exists()), (vec![], true));
}

#[test]
fn many_who_look_at_once_find_each_recording_once() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    for n in 0..40 {
        write(scratch.path().join(format!("spoor-{n}.spoor")), dead(n + 1).build()).expect("room");
    }
    let look = || adopt(scratch.path(), Keep { files: 10, ..ALL }).expect("a look");
    let looks: Vec<Adopted> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(look)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    let mut all: Vec<String> = looks.iter().flat_map(found).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!((all.len(), looks.iter().map(|look| look.found.len()).sum::<usize>()), (40, 40));
    let last = look();
    let started: Vec<u64> = last.kept.iter().map(|left| left.started_ns).collect();
    assert_eq!(started, (31..=40).rev().collect::<Vec<_>>());
}
