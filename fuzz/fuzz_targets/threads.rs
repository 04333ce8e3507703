//! A command of `spoor` on whatever recording, by two threads: no panic, no endless
//! loop, no more memory than `watch` allows.
//!
//! Run with `-close_fd_mask=3`: the commands say a lot.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spoor_fuzz::commands::run(data, 2));
