//! What one event costs without the VM, piece by piece. Threads stand for
//! schedulers; two of them answer whether they are in each other's way.
//!
//! ```sh
//! cargo bench -p spoor-benches --bench hot_path
//! ```

use std::path::Path;
use std::sync::LazyLock;

use spoor_core::recording;
use spoor_core::registry::{self, State};
use spoor_core::stream::{MAX_ATOM_BYTES, Names};
use spoor_core::{Host, Limit, Summary, clock};
use spoor_core::{Options, Storage};
use spoor_format::Full;
use spoor_format::chunk::Identity;
use spoor_format::lane::LaneKind;
use spoor_format::record::write;

fn main() {
    LazyLock::force(&STATE);
    divan::main();
}

/// Nobody to be told.
struct Nobody;

impl Host for Nobody {
    fn owner_alive(&self) -> bool {
        true
    }
    fn limit(&self, _: State, _: Limit) {}
    fn closed(&self, _: State, _: &Summary) {}
}

/// A recording on tmpfs where there is one; its name is gone at once, its pages
/// when the process ends.
static STATE: LazyLock<State> = LazyLock::new(|| {
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
    let path = folder.join(format!("spoor-bench-{}.spoor", std::process::id()));
    registry::prepare();
    let options = Options {
        path: path.clone(),
        storage: Storage::Ring(16 * 1024 * 1024),
        sync: None,
        places: 1 << 10,
        threads: 8,
        time: None,
        max_events: None,
        thinning: spoor_core::governor::Thinning::default(),
        content_bytes: 0,
        meta: Vec::new(),
        thread_kind: || LaneKind::Scheduler,
    };
    let state = recording::open(options, Nobody).expect("there is room for a small recording");
    std::fs::remove_file(&path).expect("just made");
    state
});

struct Spelled;

impl Names for Spelled {
    fn atom_text<'a>(&self, _: u64, _: &'a mut [u8; MAX_ATOM_BYTES]) -> &'a str {
        "an_atom_of_usual_length"
    }
}

/// The word of an atom, as the VM tags it.
fn atom(number: u64) -> u64 {
    number << 6 | 0x0b
}

fn store_call(process: u64, function: u64) {
    registry::enter(*STATE, |lane| {
        lane.event(clock::now(), |stream, delta| {
            stream.whose(Identity::Process(process))?;
            let function = stream.function((atom(1), atom(function), 2), &Spelled)?;
            write::call(stream, delta, function)
        });
    });
}

#[divan::bench(threads = [1, 2])]
fn what_does_the_clock_cost() -> u64 {
    clock::now()
}

#[divan::bench(threads = [1, 2])]
fn what_does_entering_a_recording_cost() {
    registry::enter(*STATE, |lane| {
        divan::black_box(lane);
    });
}

#[divan::bench(threads = [1, 2])]
fn what_does_a_call_cost_in_all() {
    store_call(divan::black_box(7), divan::black_box(2));
}

#[divan::bench(threads = [1, 2])]
fn what_does_a_call_cost_when_1000_functions_take_turns(bencher: divan::Bencher<'_, '_>) {
    let next = std::sync::atomic::AtomicU64::new(0);
    bencher.bench(|| {
        for _ in 0..1000 {
            // Two threads may well see the same number: only variety matters.
            let function = next.load(std::sync::atomic::Ordering::Relaxed);
            next.store(function + 1, std::sync::atomic::Ordering::Relaxed);
            store_call(7, function % 1000);
        }
    });
}

#[divan::bench(threads = [1, 2])]
fn what_does_a_change_of_process_cost(bencher: divan::Bencher<'_, '_>) {
    bencher.bench(|| {
        store_call(divan::black_box(7), 2);
        store_call(divan::black_box(8), 2);
    });
}

#[divan::bench(threads = [1, 2])]
fn what_does_the_next_chunk_cost() {
    registry::enter(*STATE, |lane| {
        // The first try finds the chunk full, whatever is in it.
        let mut tries = 0;
        lane.event(clock::now(), |stream, delta| {
            tries += 1;
            if tries == 1 { Err(Full) } else { write::receive(stream, delta) }
        });
    });
}
