//! What the system allows a process: each test lowers a limit for all of it, so one at a time.

mod common;
#[path = "common/host.rs"]
mod host;

use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::options;
use host::{TestHost, Told, close, open};
use spoor_core::registry;
use spoor_core::stream::{MAX_ATOM_BYTES, Names};
use spoor_core::{OpenError, Storage, clock, recording, segments};
use spoor_format::chunk::Identity;
use spoor_format::record::write;

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

struct Spelled;

impl Names for Spelled {
    fn atom_text<'a>(&self, _: u64, space: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
        space[0] = b'a';
        std::str::from_utf8(&space[..1]).expect("ASCII")
    }
}

/// Does something while the process may have no more than `most` of a resource.
fn limited<R>(resource: libc::__rlimit_resource_t, most: u64, work: impl FnOnce() -> R) -> R {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of our own.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut old) }, 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(resource, &libc::rlimit { rlim_cur: most, ..old }) }, 0);
    let result = work();
    // SAFETY: as above.
    assert_eq!(unsafe { libc::setrlimit(resource, &old) }, 0);
    result
}

#[test]
fn a_file_larger_than_allowed_is_an_error_and_no_signal() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let path = scratch.path().join("x.spoor");
    let stream = segments::Stream { segment_bytes: 16 << 20, total_bytes: 1 << 30, keep_first: false, packs: false };
    for storage in [Storage::Ring(16 << 20), Storage::Stream(stream)] {
        let (sender, _told) = channel();
        let opened =
            limited(libc::RLIMIT_FSIZE, 8 << 20, || recording::open(options(&path, storage), TestHost(sender)));
        let Err(OpenError::File { error, .. }) = opened else { panic!("{opened:?}") };
        assert_eq!(error.raw_os_error(), Some(libc::EFBIG));
        // SAFETY: sigset_t is plain data; it is filled in below.
        let mut pending: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: a set of our own.
        assert_eq!(unsafe { libc::sigpending(&mut pending) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::sigismember(&pending, libc::SIGXFSZ) }, 0, "it has been taken");
    }
}

#[test]
fn a_copy_of_many_segments_takes_few_descriptors() {
    for packs in [false, true] {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let path = scratch.path().join("x.spoor");
        let stream = segments::Stream { segment_bytes: 1 << 18, total_bytes: 64 << 20, keep_first: false, packs };
        let (state, told) = open(options(&path, Storage::Stream(stream)));
        let ready = || registry::with(state, |recording| recording.chunks_ready()).expect("it is open");
        let segments = || std::fs::read_dir(&path).expect("a directory").count();
        let mut calls = 0;
        while segments() < 30 {
            for number in 0..1_000 {
                registry::enter(state, |lane| {
                    lane.event(clock::now(), |stream, delta| {
                        stream.whose(Identity::Process((calls + number) * 7919))?;
                        let function = stream.function((4, 5, number), &Spelled)?;
                        write::call(stream, delta, function)
                    });
                });
            }
            calls += 1_000;
            while ready() < 2 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // Ten more than there are: a limit is one of the numbers of descriptors.
        let is_free = |number: &u64| !Path::new("/proc/self/fd").join(number.to_string()).exists();
        let most = (0..).filter(is_free).nth(10).expect("there are more");
        let (sender, copied) = channel();
        let copy = scratch.path().join("copy.part");
        let copied = limited(libc::RLIMIT_NOFILE, most, || {
            let answer = move |copied| sender.send(copied).expect("somebody waits");
            let asked = registry::with(state, |recording| recording.snapshot(&copy, None, answer));
            asked.expect("it is open").expect("a file");
            copied.recv_timeout(Duration::from_secs(60)).expect("an answer")
        });
        let dropped = registry::with(state, |recording| recording.summary().dropped.iter().sum::<u64>());
        let copied = copied.expect("a copy");
        assert_eq!((copied.overtaken, copied.earlier, copied.events), (0, 0, calls - dropped.expect("it is open")));
        if let Ok(Told::Limit(limit)) = told.try_recv() {
            panic!("{limit:?}");
        }
        close(state, "test", &told);
    }
}
