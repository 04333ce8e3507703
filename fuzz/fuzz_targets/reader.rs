//! The reader on whatever recording: no panic, no endless loop, no more memory than
//! `watch` allows.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spoor_fuzz::reader::run(data));
