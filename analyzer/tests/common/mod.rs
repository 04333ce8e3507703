//! A small recording of a shop that was killed, and what can be done with it.

#![allow(dead_code, unreachable_pub, reason = "each test is a crate of its own and uses its part")]

use spoor_analyzer::model::calls::{Calls, Sort};
use spoor_analyzer::model::cut::Cut;
use spoor_analyzer::model::filter::Filter;
use spoor_analyzer::model::processes::Processes;
use spoor_analyzer::model::sched::Sched;
use spoor_analyzer::read::{Finding, Ledger, Names, Recording, Severity, Source, Tracees, Window};
use spoor_analyzer::view;
use spoor_format::build::{ChunkBuilder, FileBuilder};
use spoor_format::chunk::Identity;
use spoor_format::clock::ClockPair;
use spoor_format::header::{Header, RingKind};
use spoor_format::lane::{Lane, LaneKind};
use spoor_format::record::write;
use spoor_format::status::{Phase, Status};
use spoor_format::term::RawTerm;

/// Ticks a nanosecond.
pub const RATE: u64 = 2;
/// The tick of the first clock pair.
pub const START: u64 = 1_000_000;
const MONOTONIC: u64 = 50_000_000_000;
/// 2026-01-01T00:00:00Z.
const WALL: u64 = 1_767_225_600_000_000_000;

/// `<0.N.0>` of OTP 27 with its default process limit.
pub fn pid(n: u64) -> Identity {
    Identity::Process(pid_word(n))
}

pub fn pid_word(n: u64) -> u64 {
    // The inverse of the reader's formula, for numbers below 2^17.
    n << 3
}

/// The tick of a microsecond after the start.
pub fn at(us: u64) -> u64 {
    START + us * 1_000 * RATE
}

pub fn clock(seq: u64, us: u64) -> ClockPair {
    let ns = us * 1_000;
    ClockPair { seq, tick: at(us), monotonic_ns: MONOTONIC + ns, wall_ns: WALL + ns, spread_ns: 60 }
}

pub fn lane(kind: LaneKind, index: u32, sealed_events: u64, dropped: &[u64]) -> Lane {
    let mut all = [0; 16];
    all[..dropped.len()].copy_from_slice(dropped);
    let (os_tid, sealed_infos, dropping, outside) = (100 + u64::from(index), 0, [0; 2], 0);
    Lane { kind, index, os_tid, sealed_events, sealed_infos, dropping, outside, sampled: [0; 2], dropped: all }
}

/// A recording with three lanes and room for a few chunks.
pub fn file(phase: Phase, reason: &str) -> FileBuilder {
    let header = Header::with_rings(4, 4, (4096, 2), (4096, 5));
    let stop_tick = if phase == Phase::Stopped { at(2_500) } else { 0 };
    let mut file = FileBuilder::new(header, Status { phase, stop_tick, reason: reason.into() });
    let meta = [
        ("node", "shop@localhost"),
        ("otp_release", "27"),
        ("otp_version", "27.3.4"),
        ("process_limit", "1048576"),
        ("port_limit", "65536"),
        ("tick_hz", "2000000000"),
        ("os_pid", "4242"),
        ("boot_id", "of another boot"),
        // Nothing beyond this version: keeps the file small.
        ("records", ""),
        ("preset", "calls"),
        ("what", "shop_pricing:_/_, 'Elixir.Shop.Orders':_/_"),
    ];
    file.meta.entries = meta.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    file.clocks = vec![clock(1, 0), clock(2, 1_000), clock(3, 2_000)];
    file
}

fn infos() -> ChunkBuilder {
    let mut chunk = ChunkBuilder::new(3, 1, at(1), 0);
    let (name, what) = (chunk.atom("shop_pricing"), chunk.atom("started"));
    let init = chunk.function("shop_pricing", "init", 1);
    let parent = [4, 1];
    chunk.event(at(1), Identity::Nobody, |to, d| {
        write::process_info(to, d, pid_word(100), RawTerm::trusted(&parent), name, RawTerm::NONE, init)
    });
    chunk.event(at(2), Identity::Nobody, |to, d| write::note(to, d, what, RawTerm::trusted(&[1, 2])));
    chunk
}

/// The server and one client, on the first scheduler.
fn scheduler_1() -> ChunkBuilder {
    let mut chunk = ChunkBuilder::new(0, 1, at(10), 0);
    let loops = chunk.function("gen_server", "loop", 7);
    let handle = chunk.function("shop_pricing", "handle_call", 3);
    let price = chunk.function("shop_pricing", "price_of", 2);
    let fun = chunk.function("shop_pricing", "-price_of/2-fun-0-", 1);
    let try_handle = chunk.function("gen_server", "try_handle_call", 4);
    let server = pid(100);
    for (round, slow) in [(0, 3), (1, 5), (2, 400)] {
        let us = 10 + round * 500;
        chunk.event(at(us), server, |to, d| write::in_(to, d, loops));
        chunk.event(at(us + 1), server, |to, d| write::call(to, d, handle));
        chunk.event(at(us + 2), server, |to, d| write::call(to, d, price));
        chunk.event(at(us + 3), server, |to, d| write::call(to, d, fun));
        chunk.event(at(us + 3 + slow), server, |to, d| write::return_to(to, d, price));
        chunk.event(at(us + 4 + slow), server, |to, d| write::return_to(to, d, handle));
        chunk.event(at(us + 5 + slow), server, |to, d| write::return_to(to, d, try_handle));
        chunk.event(at(us + 6 + slow), server, |to, d| write::out(to, d, loops));
    }
    chunk
}

/// A client in Elixir, on the second scheduler: spawned, raises, exits.
fn scheduler_2() -> ChunkBuilder {
    let mut chunk = ChunkBuilder::new(1, 2, at(5), 0);
    let create = chunk.function("Elixir.Shop.Orders", "create", 2);
    let check = chunk.function("Elixir.Shop.Orders", "check!", 1);
    let run = chunk.function("Elixir.Shop.Client", "run", 0);
    let (error, driver) = (chunk.atom("error"), chunk.atom("tcp_inet"));
    let (client, parent) = (pid(101), [4, 1]);
    chunk.event(at(5), client, |to, d| write::spawned(to, d, RawTerm::trusted(&parent), run));
    chunk.event(at(6), client, |to, d| write::in_(to, d, run));
    chunk.event(at(7), client, |to, d| write::call(to, d, create));
    chunk.event(at(20), client, |to, d| write::call(to, d, check));
    chunk.event(at(30), client, |to, d| write::exception_from(to, d, check, error));
    chunk.event(at(31), client, |to, d| write::return_to(to, d, create));
    chunk.event(at(40), client, |to, d| write::gc_minor_start(to, d, &[0, 233, 233]));
    chunk.event(at(45), client, |to, d| write::gc_minor_end(to, d, &[120, 113, 233]));
    chunk.event(at(60), client, |to, d| write::return_to(to, d, run));
    chunk.event(at(62), client, |to, d| write::call(to, d, create));
    chunk.event(at(70), client, |to, d| write::exit(to, d, RawTerm::trusted(&[11, 24, 3, b'b', b'y', b'e'])));
    chunk.event(at(71), client, |to, d| write::out_exited(to, d, 0));
    chunk.event(at(90), Identity::Port(5), |to, d| write::open(to, d, RawTerm::trusted(&parent), driver));
    chunk.event(at(95), pid(100), |to, d| write::unknown(to, d, error, RawTerm::trusted(&[7])));
    chunk
}

/// The recording as the SIGKILL left it: two sealed chunks, one still open.
pub fn killed_shop() -> FileBuilder {
    let mut file = file(Phase::Recording, "");
    file.push(RingKind::Info, infos());
    file.push(RingKind::Events, scheduler_1());
    file.push(RingKind::Events, scheduler_2());
    let mut open = ChunkBuilder::new(0, 3, at(2_000), 24);
    let handle = open.function("shop_pricing", "handle_call", 3);
    open.event(at(2_000), pid(100), |to, d| write::call(to, d, handle));
    file.push(RingKind::Events, open);
    if let Some((_, _, header, _)) = file.chunks.last_mut() {
        header.crc = None;
    }
    file.lanes = vec![
        lane(LaneKind::Scheduler, 1, 24, &[]),
        lane(LaneKind::Scheduler, 2, 0, &[0, 0, 2]),
        lane(LaneKind::DirtyCpu, 1, 0, &[]),
        lane(LaneKind::Recorder, 0, 0, &[]),
    ];
    file
}

/// What `dump` and `calls` make of a recording, as one text; what was found, and
/// the ledger. `None` when it cannot be opened.
pub fn everything(bytes: Vec<u8>) -> Option<(String, Vec<Finding>, Ledger)> {
    let recording = Recording::open(Source::from_bytes(bytes), "shop.spoor").ok()?;
    let (mut out, mut calls) = (Vec::new(), Calls::new(1));
    let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
    let mut processes = Processes::from_infos(stream.infos(), stream.names());
    calls.recording(|calls| {
        while let Some(event) = stream.next() {
            processes.learn(&event);
            calls.event(&event, true);
            view::dump::text(&event, &processes, &mut out).expect("a Vec takes all");
        }
    });
    let outcome = stream.finish();
    let report = calls.report(&outcome.names, &Filter::default(), Sort::Own, usize::MAX);
    view::calls::text(&report, Default::default(), &mut out).expect("a Vec takes all");
    let ledger = Ledger::sum(&outcome.ledger);
    Some((String::from_utf8(out).expect("text"), outcome.findings, ledger))
}

/// The scheduler view, as text and picture.
pub fn schedulers(bytes: Vec<u8>) -> Option<String> {
    let recording = Recording::open(Source::from_bytes(bytes), "shop.spoor").ok()?;
    let cut = Cut { from: recording.complete_from_ns, ..Cut::all(&recording) };
    let mut sched = Sched::new(&recording, cut, 5);
    let mut stream = recording.stream(Names::default(), Tracees::default(), Window::ALL);
    let processes = Processes::from_infos(stream.infos(), stream.names());
    while let Some(event) = stream.next() {
        sched.event(&event, true);
    }
    let outcome = stream.finish();
    let report = sched.report(&recording, &processes, &outcome.tracees, &outcome.names);
    let mut out = Vec::new();
    view::sched::text(&report, Default::default(), &mut out).expect("a Vec takes all");
    view::sched::svg(&report, "t", "s", &mut out).expect("a Vec takes all");
    String::from_utf8(out).ok()
}

pub fn is_damaged(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.severity == Severity::Damage)
}
