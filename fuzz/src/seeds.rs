//! A few sound inputs of each kind, for a fuzzer to begin with.

use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::Identity;
use spoor_format::record::write;
use spoor_format::term::RawTerm;
use spoor_format::text;

use crate::repair::{part, squeeze};
use crate::{Input, Recording, commands, kind, parts, recording};

/// An input: which target it is for, its name, its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// Payloads of chunks, by name: what recordings of each preset hold.
pub fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("calls", calls()),
        ("life", life()),
        ("terms", terms()),
        ("later", later()),
        ("talk", talk()),
        ("thinned", thinned()),
    ]
}

/// All seeds.
pub fn all() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, payload) in payloads() {
        seeds.push(("payload", name.to_owned(), payload.clone()));
        let mut kinds = vec![parts_of(kind::PARTS, 0, &payload)];
        // A snapshot of a ring, a file of a VM that was killed, a stream.
        kinds.push(parts_of(kind::PARTS, 2, &payload));
        kinds.push(parts_of(kind::PARTS, 4, &payload));
        kinds.push(parts_of(kind::STREAM, 0, &payload));
        // Tables and rings that go on behind the end of the file.
        for layout in
            [[1, 200, 200, 200, 200, 200, 20], [1, 40, 200, 200, 200, 200, 200], [1, 200, 40, 200, 200, 200, 200]]
        {
            kinds.extend(
                kinds
                    .clone()
                    .iter()
                    .take(4)
                    .filter(|input| input[0] != kind::TEXT)
                    .step_by(3)
                    .map(|input| [&input[..], &layout].concat()),
            );
        }
        let Some(Recording::File(file)) = recording(&kinds[0]) else { unreachable!("parts always make a file") };
        seeds.push(("front", name.to_owned(), file.clone()));
        let text = text::to_text(&file).expect("a good header");
        seeds.push(("text", name.to_owned(), text.clone().into_bytes()));
        kinds.push([&[kind::TEXT, 0], text.as_bytes()].concat());
        kinds.push([&[kind::SPARSE, 0, part::ALL][..], &squeeze(&file)].concat());
        kinds.push([&[kind::SPARSE, 0, 0][..], &squeeze(&file)].concat());
        for (number, input) in kinds.iter().enumerate() {
            seeds.push(("reader", format!("{name}-{number}"), input.clone()));
            for command in 0..commands::count() {
                let mut input = input.clone();
                input[1] = command as u8;
                seeds.push(("commands", format!("{name}-{number}-{command}"), input));
            }
        }
    }
    seeds
}

/// A file of calls, whole.
pub fn calls_file() -> Vec<u8> {
    parts::file(&mut Input(&parts_of(kind::PARTS, 0, &calls())[2..]))
}

/// The input that has the payload in a chunk of either ring, or in two segments.
fn parts_of(kind: u8, how: u8, payload: &[u8]) -> Vec<u8> {
    let phase = if how & 4 == 0 { 3 } else { 1 };
    let status = [part::ALL, phase, 0, 0, how];
    let clocks = [1, 2, 0, 4, 0, 2, 0, 2, 0, 8, 0, 4, 0, 4];
    let lanes = [0, 0, 0, 0, 2, 1, 0, 1, 5, 0, 0];
    let chunk = |place: u8, lane: u8| {
        let length = (payload.len() as u16).to_le_bytes();
        [&[place, 0, lane, place & 0x7f, 10, 0, 0, length[0], length[1]], payload].concat()
    };
    let mut input = [&[kind, 0], &status[..], &clocks, &lanes].concat();
    if kind == kind::STREAM {
        // Two segments, the first packed, each with two chunks.
        input.push(1);
        input.extend_from_slice(&[0, 4]);
        input.extend_from_slice(&[chunk(0x80, 0), chunk(1, 1)].concat());
        input.extend_from_slice(&[1, 5]);
        input.extend_from_slice(&[chunk(0, 2), chunk(1, 1)].concat());
    } else {
        input.extend_from_slice(&[chunk(0, 1), chunk(1, 2), chunk(0x80, 0)].concat());
    }
    input
}

fn calls() -> Vec<u8> {
    let mut chunk = ChunkBuilder::new(0, 1, 0, 0);
    let (a, b) = (chunk.function("Elixir.Shop", "order", 2), chunk.function("lists", "-map/2-fun-0-", 1));
    let error = chunk.atom("error");
    let p = Identity::Process(0x88);
    chunk.event(1, p, |to, d| write::in_(to, d, 0));
    for turn in 0..4 {
        chunk.event(10 + turn * 9, p, |to, d| write::call(to, d, a));
        chunk.event(11 + turn * 9, p, |to, d| write::call(to, d, b));
        chunk.event(12 + turn * 9, Identity::Process(0x90), |to, d| write::call(to, d, b));
        chunk.event(13 + turn * 9, p, |to, d| write::return_to(to, d, a));
        chunk.event(14 + turn * 9, p, |to, d| write::return_from(to, d, a));
        chunk.event(15 + turn * 9, p, |to, d| write::return_to(to, d, 0));
    }
    chunk.event(90, p, |to, d| write::exception_from(to, d, b, error));
    chunk.event(91, p, |to, d| write::out(to, d, a));
    chunk.finish().1
}

fn life() -> Vec<u8> {
    let mut chunk = ChunkBuilder::new(0, 1, 0, 0);
    let init = chunk.function("gen_server", "init_it", 6);
    let name = chunk.atom("my_server");
    let (p, q) = (Identity::Process(0x88), Identity::Process(0x90));
    let (to_p, to_q) = (RawTerm::trusted(&[4, 0x88, 1]), RawTerm::trusted(&[4, 0x90, 1]));
    chunk.event(1, p, |to, d| write::spawn(to, d, to_q, init));
    chunk.event(2, q, |to, d| write::spawned(to, d, to_p, init));
    chunk.event(3, q, |to, d| write::register(to, d, name));
    chunk.event(4, q, |to, d| write::link(to, d, to_p));
    chunk.event(5, p, |to, d| write::getting_linked(to, d, to_q));
    chunk.event(6, p, |to, d| write::send(to, d, to_q));
    chunk.event(7, q, |to, d| write::receive(to, d));
    chunk.event(8, q, |to, d| write::gc_minor_start(to, d, &[1, 2, 3, 4, 5, 6]));
    chunk.event(9, q, |to, d| write::gc_minor_end(to, d, &[1, 2, 3, 4, 5, 6]));
    chunk.event(10, q, |to, d| write::in_exiting(to, d, 0));
    chunk.event(11, q, |to, d| write::exit(to, d, RawTerm::trusted(&[1, name as u8])));
    chunk.event(12, q, |to, d| write::out_exited(to, d, 0));
    chunk.event(13, Identity::Port(9), |to, d| write::open(to, d, to_p, name));
    chunk.event(14, Identity::Port(9), |to, d| write::port_in(to, d, name));
    chunk.event(15, Identity::Port(9), |to, d| write::port_out(to, d, name));
    chunk.event(16, p, |to, d| write::process_info(to, d, 0x88, to_q, name, RawTerm::trusted(&[7]), init));
    chunk.event(17, Identity::Nobody, |to, d| write::note(to, d, name, RawTerm::NONE));
    chunk.finish().1
}

fn terms() -> Vec<u8> {
    let mut chunk = ChunkBuilder::new(0, 1, 0, 0);
    let ok = chunk.atom("ok") as u8;
    let tuple = [8, 3, 1, ok, 2, 5, 10, 1, 14, 7];
    let map = [12, 2, 1, ok, 11, 16, 2, b'a', b'b', 14, 14];
    let list = [9, 4, 13, 3, b'#', b'F', b'<', 15, 2, 9, 6, 3, 1, 2, 3, 3, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
    for term in [&tuple[..], &map, &list] {
        let term = RawTerm::trusted(term);
        chunk.event(5, Identity::Process(1), |to, d| {
            write::match_result(to, 0, term)?;
            write::content(to, 0, term)?;
            write::seq_trace(to, d, term, u64::from(ok), 1, 2, RawTerm::NONE, term)
        });
        chunk.event(5, Identity::Process(1), |to, d| write::unknown(to, d, u64::from(ok), term));
    }
    chunk.finish().1
}

fn later() -> Vec<u8> {
    let mut chunk = ChunkBuilder::new(0, 1, 0, 0);
    chunk.atom("x");
    chunk.raw(&[201, 2, b'h', b'i', 202, 7, 203, 2, 1, 2, 200, 5, 1, 1, 0, 204, 1, 7, 1, b'y']);
    chunk.finish().1
}

/// A request to a server and its reply, by the annotations of messages.
fn talk() -> Vec<u8> {
    let mut chunk = ChunkBuilder::new(0, 1, 0, 0);
    let (p, q) = (Identity::Process(0x88), Identity::Process(0x90));
    let (to_p, to_q) = (RawTerm::trusted(&[4, 0x88, 1]), RawTerm::trusted(&[4, 0x90, 1]));
    let handle = chunk.function("my_server", "handle_call", 3);
    for turn in 0..3_u8 {
        let reference = [6, 3, turn, 2, 3];
        let reference = RawTerm::trusted(&reference);
        let at = u64::from(turn) * 20;
        let mut message = |tick, whose, shape: u64, to: Option<RawTerm<'_>>| {
            chunk.event(at + tick, whose, |out, d| {
                write::message(out, 0, shape, reference)?;
                match to {
                    Some(to) => write::send(out, d, to),
                    None => write::receive(out, d),
                }
            });
        };
        message(1, p, 0, Some(to_q));
        message(2, q, 0, None);
        message(8, q, 2, Some(to_p));
        message(9, p, 2, None);
        message(10, p, 3, None);
        chunk.event(at + 11, q, |to, d| write::call(to, d, handle));
        chunk.event(at + 12, q, |to, d| write::out(to, d, handle));
        chunk.event(at + 13, q, |to, d| write::in_(to, d, handle));
        chunk.event(at + 14, q, |to, d| write::return_to(to, d, 0));
    }
    chunk.finish().1
}

/// Of a governed recording: events left out, on the lane and of a process.
fn thinned() -> Vec<u8> {
    let mut chunk = ChunkBuilder::new(0, 1, 0, 0);
    let (f, g) = (chunk.function("shop", "price", 1), chunk.function("shop", "tax", 1));
    let p = Identity::Process(0x88);
    chunk.event(1, p, |to, d| write::call(to, d, f));
    chunk.event(2, p, |to, d| write::call(to, d, g));
    chunk.event(50, p, |to, d| {
        write::dropped(to, 0, 40, 30, 17)?;
        write::return_to(to, d, f)
    });
    chunk.event(60, p, |to, d| {
        write::missing(to, 0, 0)?;
        write::call(to, d, g)
    });
    chunk.event(70, Identity::Process(0x90), |to, d| {
        write::missing(to, 0, 1)?;
        write::return_to(to, d, 0)
    });
    chunk.event(80, p, |to, d| write::return_to(to, d, 0));
    chunk.finish().1
}
