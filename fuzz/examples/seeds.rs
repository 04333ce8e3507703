//! Writes a few sound inputs for each target, for the fuzzer to begin with:
//! `seeds DIRECTORY` fills `DIRECTORY/TARGET/`.

use std::path::Path;

use spoor_format::build::ChunkBuilder;
use spoor_format::chunk::Identity;
use spoor_format::record::write;
use spoor_format::term::RawTerm;
use spoor_format::text;
use spoor_fuzz::{kind, recording};

fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).expect("usage: seeds DIRECTORY");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let target = Path::new(&directory).join(target);
        std::fs::create_dir_all(&target)?;
        std::fs::write(target.join(format!("seed-{name}")), bytes)
    };
    for (name, payload) in [("calls", calls()), ("life", life()), ("terms", terms()), ("later", later())] {
        put("payload", name, &payload)?;
        let parts = parts(&payload);
        for group in 0..4_u8 {
            let mut parts = parts.clone();
            parts[0] |= group << 6;
            put("analyze", &format!("parts-{name}-{group}"), &parts)?;
        }
        let file = recording(&parts).expect("parts always make a file");
        put("front", name, &file)?;
        put("analyze", &format!("raw-{name}"), &[&[kind::RAW], &file[..]].concat())?;
        let text = text::to_text(&file).expect("a good header");
        put("text", name, text.as_bytes())?;
        put("analyze", &format!("text-{name}"), &[&[kind::TEXT], text.as_bytes()].concat())?;
    }
    Ok(())
}

/// The input of kind PARTS that has the payload in a chunk of either ring.
fn parts(payload: &[u8]) -> Vec<u8> {
    let status = [3, 0, 0, 0];
    let clocks = [1, 2, 0, 4, 0, 2, 0, 2, 0, 8, 0, 4, 0, 4];
    let lanes = [0, 0, 0, 0, 2, 1, 0, 1, 5, 0, 0];
    let chunk = |place: u8, lane: u8| {
        let length = (payload.len() as u16).to_le_bytes();
        [&[place, 0, lane, place & 0x7f, 10, 0, 0, length[0], length[1]], payload].concat()
    };
    [&[kind::PARTS][..], &status, &clocks, &lanes, &chunk(0, 1), &chunk(1, 2), &chunk(0x80, 0)].concat()
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
