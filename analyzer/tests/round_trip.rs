//! What is written in any order, over any lanes and chunks, is read in the order
//! of time, all of it.

mod common;

use common::{at, file, lane, pid};
use proptest::prelude::*;
use spoor_analyzer::read::{Ledger, Names, Recording, Source, Tracees, Window, kind};
use spoor_format::build::ChunkBuilder;
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::LaneKind;
use spoor_format::record::write;
use spoor_format::status::Phase;

#[derive(Debug, Clone)]
struct Made {
    after_us: u64,
    lane: u32,
    process: u64,
    what: u8,
    function: u8,
    new_chunk: bool,
}

fn made() -> impl Strategy<Value = Made> {
    (0_u64..50, 0_u32..3, 1_u64..5, 0_u8..4, 0_u8..6, prop::bool::weighted(0.1)).prop_map(
        |(after_us, lane, process, what, function, new_chunk)| Made {
            after_us,
            lane,
            process,
            what,
            function,
            new_chunk,
        },
    )
}

/// What of an event can be compared.
type Line = (u64, u32, String, u8, Option<String>);

fn write_all(events: &[Made]) -> (Vec<u8>, Vec<Line>) {
    let mut file = file(Phase::Stopped, "test");
    let mut open: Vec<Option<ChunkBuilder>> = vec![None, None, None];
    let (mut stored, mut seq, mut us, mut chunks) = ([0_u64; 3], 0, 1_000, Vec::new());
    let mut lines = Vec::new();
    for event in events {
        us += event.after_us;
        let number = event.lane as usize;
        if event.new_chunk || open[number].is_none() {
            seq += 1;
            let fresh = ChunkBuilder::new(event.lane, seq, at(us), stored[number]);
            chunks.extend(open[number].replace(fresh));
        }
        let chunk = open[number].as_mut().expect("just made");
        let f = chunk.function("m", &format!("f{}", event.function), 1);
        let what = [kind::CALL, kind::RETURN_TO, kind::IN, kind::OUT][usize::from(event.what)];
        chunk.event(at(us), pid(event.process), |to, d| match what {
            kind::CALL => write::call(to, d, f),
            kind::RETURN_TO => write::return_to(to, d, f),
            kind::IN => write::in_(to, d, f),
            _ => write::out(to, d, f),
        });
        stored[number] += 1;
        let who = format!("<0.{}.0>", event.process);
        lines.push((us * 1_000, event.lane, who, what, Some(format!("f{}", event.function))));
    }
    chunks.extend(open.into_iter().flatten());
    // Ties go by lane; within a lane by the order written.
    lines.sort_by_key(|(time, lane, ..)| (*time, *lane));
    file.header = Header::with_rings(4, 4, (4096, 2), (8192, chunks.len().max(1) as u64));
    chunks.into_iter().for_each(|chunk| file.push(RingKind::Events, chunk));
    file.lanes = stored.iter().zip(1..).map(|(n, index)| lane(LaneKind::Scheduler, index, *n, &[])).collect();
    (file.build(), lines)
}

fn read_all(bytes: Vec<u8>, window: impl Fn(&Recording) -> Window) -> (Vec<Line>, Ledger, usize) {
    let recording = Recording::open(Source::from_bytes(bytes), "x").expect("a recording");
    let start = recording.clock.ns(at(0));
    let window = window(&recording);
    let mut stream = recording.stream(Names::default(), Tracees::default(), window);
    let mut lines = Vec::new();
    while let Some(event) = stream.next() {
        assert!(event.complete);
        let function = event.function.map(|f| event.names().function_parts(f).1.to_owned());
        lines.push((event.time - start, event.lane, recording.pids.text(event.identity()), event.kind, function));
    }
    let outcome = stream.finish();
    (lines, Ledger::sum(&outcome.ledger), outcome.findings.len())
}

proptest! {
    #[test]
    fn all_is_read_in_the_order_of_time(events in prop::collection::vec(made(), 1..200)) {
        let (bytes, want) = write_all(&events);
        let (got, ledger, findings) = read_all(bytes, |_| Window::ALL);
        prop_assert_eq!(got, want);
        prop_assert_eq!((ledger.stored, ledger.present, findings), (events.len() as u64, events.len() as u64, 0));
    }

    #[test]
    fn a_window_holds_what_lies_in_it(events in prop::collection::vec(made(), 1..200), from in 0_u64..6_000, long in 0_u64..3_000) {
        let (bytes, all) = write_all(&events);
        let (from, to) = (from * 1_000, (from + long) * 1_000);
        let (got, ..) = read_all(bytes, |recording| {
            let start = recording.clock.ns(at(0));
            Window { from_ns: start + from, to_ns: start + to }
        });
        let want: Vec<Line> = all.into_iter().filter(|(time, ..)| (from..to).contains(time)).collect();
        prop_assert_eq!(got, want);
    }
}
