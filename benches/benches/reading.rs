//! How fast a chunk is read, and how fast records are encoded into memory.
//!
//! ```sh
//! cargo bench -p spoor-benches --bench reading
//! ```

use divan::counter::{BytesCount, ItemsCount};
use spoor_format::chunk::Reader;
use spoor_format::record::{Schema, write};
use spoor_format::term::RawTerm;

fn main() {
    divan::main();
}

const EVENTS: usize = 20_000;

/// Names first, as a chunk has them.
fn names(payload: &mut Vec<u8>, functions: u64) {
    write::define_atom(payload, 0, "a_module").expect("a Vec is never full");
    for number in 0..functions {
        write::define_atom(payload, 0, &format!("function_{number}")).expect("a Vec is never full");
        write::define_function(payload, 0, 1, number + 2, 2).expect("a Vec is never full");
    }
}

/// Calls and their returns, of a hundred functions.
fn calls() -> Vec<u8> {
    let mut payload = Vec::new();
    names(&mut payload, 100);
    write::process(&mut payload, 0, 0x1234).expect("a Vec is never full");
    for number in 0..EVENTS as u64 / 2 {
        write::call(&mut payload, 600 + number % 90, number % 100 + 1).expect("a Vec is never full");
        write::return_to(&mut payload, 300 + number % 90, (number + 7) % 100 + 1).expect("a Vec is never full");
    }
    payload
}

/// What a scheduler sees of many processes that talk to each other.
fn messages() -> Vec<u8> {
    let mut payload = Vec::new();
    names(&mut payload, 100);
    // A local pid in the encoding of terms.
    let to = RawTerm::NONE;
    for number in 0..EVENTS as u64 / 5 {
        write::process(&mut payload, 0, 0x1000 + number % 50).expect("a Vec is never full");
        write::in_(&mut payload, 900, number % 100 + 1).expect("a Vec is never full");
        write::receive(&mut payload, 400).expect("a Vec is never full");
        write::call(&mut payload, 500, number % 100 + 1).expect("a Vec is never full");
        write::send(&mut payload, 700, to).expect("a Vec is never full");
        write::out(&mut payload, 300, number % 100 + 1).expect("a Vec is never full");
    }
    payload
}

fn read(payload: &[u8]) -> u64 {
    let schema = Schema::default();
    let mut reader = Reader::new(payload, 0, &schema);
    let mut last = 0;
    while let Some(event) = reader.next_event().expect("written above") {
        last = event.tick;
    }
    last
}

fn how_fast(bencher: divan::Bencher<'_, '_>, payload: &[u8]) {
    let bencher = bencher.counter(ItemsCount::new(EVENTS)).counter(BytesCount::new(payload.len()));
    bencher.bench(|| read(divan::black_box(payload)));
}

#[divan::bench]
fn how_fast_are_calls_read(bencher: divan::Bencher<'_, '_>) {
    how_fast(bencher, &calls());
}

#[divan::bench]
fn how_fast_are_messages_read(bencher: divan::Bencher<'_, '_>) {
    how_fast(bencher, &messages());
}

#[divan::bench]
fn how_fast_are_calls_encoded_into_memory(bencher: divan::Bencher<'_, '_>) {
    bencher.counter(ItemsCount::new(EVENTS)).bench(calls);
}
