//! The answer is the same for any number of threads.

mod common;

use common::{at, clock, file, lane, pid};
use spoor_analyzer::model::calls::{Calls, Report, Sort};
use spoor_analyzer::model::filter::Filter;
use spoor_analyzer::read::{Names, Recording, Source, Tracees, Window};
use spoor_format::build::ChunkBuilder;
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;

const LANES: u64 = 3;
const PROCESSES: u64 = 50;
const EVENTS: u64 = 8_000;

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// Processes that call, return to traced and untraced functions, are scheduled on
/// any lane, and exit; whether that makes sense is not the point.
fn busy(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut file = file(Phase::Stopped, "stopped");
    file.header = Header::with_rings(4, 4, (4096, 2), (1 << 17, LANES));
    file.clocks = vec![clock(1, 0), clock(2, 20_000)];
    file.lanes.clear();
    for number in 0..LANES {
        let mut chunk = ChunkBuilder::new(number as u32, number + 1, at(1), 0);
        let names = ["a", "b", "c", "d", "e", "outside", "elsewhere"];
        let functions = names.map(|name| chunk.function("m", name, 0));
        for n in 0..EVENTS {
            let (whose, function) = (pid(random.below(PROCESSES)), functions[random.below(5) as usize]);
            let target = functions[random.below(7) as usize];
            let kind = random.below(16);
            chunk.event(at(2 + n) + random.below(1_000), whose, |to, d| match kind {
                0..=6 => write::call(to, d, function),
                7..=11 => write::return_to(to, d, target),
                12 => write::return_from(to, d, function),
                13 => write::out(to, d, function),
                14 => write::in_(to, d, function),
                _ => write::return_to(to, d, 0),
            });
        }
        file.push(RingKind::Events, chunk);
        file.lanes.push(lane(LaneKind::Scheduler, number as u32 + 1, EVENTS, &[]));
    }
    file.build()
}

fn report(bytes: &[u8], threads: usize) -> Report {
    let mut calls = Calls::new(threads);
    let mut names = Names::default();
    // Twice: tables go on from one recording to the next.
    for _ in 0..2 {
        let recording = Recording::open(Source::from_bytes(bytes.to_vec()), "busy.spoor").expect("a recording");
        let mut stream = recording.stream(std::mem::take(&mut names), Tracees::default(), Window::ALL);
        calls.recording(|calls| {
            while let Some(event) = stream.next() {
                calls.event(&event, event.lane != 2);
            }
        });
        names = stream.finish().names;
    }
    calls.report(&names, &Filter::default(), Sort::Own, usize::MAX)
}

#[test]
fn the_answer_is_the_same_for_any_number_of_threads() {
    for seed in 0..4 {
        let bytes = busy(seed);
        let alone = report(&bytes, 1);
        assert!(alone.functions.iter().all(|row| row.timed > 100 && row.clipped.sum() > 100), "{alone:?}");
        assert!(alone.own_is_on_scheduler && alone.unknown_returns > 0);
        for threads in [2, 3, 4, 9] {
            assert_eq!(alone, report(&bytes, threads), "seed {seed}, {threads} threads");
        }
    }
}
