//! Models of the recorder's concurrent parts, checked by loom: the very files of
//! `native/core`, with every order of events that the memory model allows.
//!
//! `native/models/run` also breaks each of them in the ways listed in
//! `mutations`, and demands that some model then fails.
#![cfg(test)]
// Of a file, not all is modelled.
#![allow(dead_code)]

#[path = "../../core/src/chunk_words.rs"]
mod chunk_words;
#[path = "../../core/src/gate.rs"]
mod gate;
#[path = "../../core/src/pool.rs"]
mod pool;
#[path = "../../core/src/processes.rs"]
mod processes;
#[path = "../../core/src/recall.rs"]
mod recall;
#[path = "../../core/src/ring.rs"]
mod ring;
mod sync;
#[path = "../../core/src/windows.rs"]
mod windows;

mod models;
