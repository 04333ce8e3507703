//! Models of the recorder's concurrent parts, checked by loom: the very files of
//! `native/core`, with every order of events that the memory model allows.
//!
//! `native/models/run` also breaks each of them in the ways listed in
//! `mutations`, and demands that some model then fails.
#![cfg(test)]

#[path = "../../core/src/chunk_words.rs"]
mod chunk_words;
#[path = "../../core/src/gate.rs"]
mod gate;
#[path = "../../core/src/ring.rs"]
mod ring;
mod sync;

mod models;
