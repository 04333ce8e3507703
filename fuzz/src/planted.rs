//! Faults planted on purpose, to see that each is told: `fuzz/run --self-test`.

use std::hint::black_box;
use std::thread;

/// The run in which the fault happens: not the first, and with a corpus behind it.
const RUN: u64 = 500;

/// Commits the fault that the environment's `SPOOR_PLANTED` names, when its run has come.
pub fn fault(run: u64) {
    if run != RUN {
        return;
    }
    match std::env::var("SPOOR_PLANTED").unwrap_or_default().as_str() {
        "" => {}
        "panic" => panic!("planted"),
        "panic-of-thread" => {
            let _ = thread::spawn(|| panic!("planted")).join();
        }
        "overflow" => {
            black_box(black_box(u64::MAX) + black_box(1));
        }
        "index" => {
            black_box(black_box(&[1_u8][..])[black_box(7)]);
        }
        "hang" => while black_box(true) {},
        "hang-of-thread" => {
            let _ = thread::spawn(|| while black_box(true) {}).join();
        }
        "memory" => {
            black_box(Vec::<u8>::with_capacity(4 << 30));
        }
        "stack" => {
            black_box(deep(0));
        }
        other => unreachable!("no fault is called {other}"),
    }
}

#[allow(unconditional_recursion, reason = "the fault is that it never ends")]
fn deep(level: u64) -> u64 {
    let page = black_box([level; 512]);
    deep(level.wrapping_add(1)).wrapping_add(page[(level % 512) as usize])
}
