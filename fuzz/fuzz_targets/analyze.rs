//! Every command of `spoor` on whatever file: no panic, no endless loop.
//!
//! Run with `-close_fd_mask=3`: the commands say a lot.
#![no_main]

use clap::Parser;
use libfuzzer_sys::fuzz_target;
use spoor_analyzer::{cli::Cli, commands};

/// Four groups; one input runs the commands of one, or it would take too long.
const COMMANDS: [&[&[&str]]; 4] = [
    &[&["info"], &["dump", "--raw"], &["info", "--json"], &["check"], &["check", "--json"]],
    &[&["dump"], &["dump", "--json", "--from", "1us", "--kind", "*", "-p", "*"]],
    &[&["calls", "--sort", "p99"], &["calls", "--json", "--last", "1us", "-m", "*"], &["sched", "--json"]],
    &[&["flame"], &["flame", "--folded", "--time", "wall", "--per-process"], &["sched", "-n", "3", "-o", "/dev/null"]],
];

fuzz_target!(|data: &[u8]| {
    let Some(file) = spoor_fuzz::recording(data) else { return };
    let Some(group) = data.first().and_then(|first| COMMANDS.get(usize::from(first >> 6))) else { return };
    let path = std::env::temp_dir().join(format!("spoor-fuzz-{}.spoor", std::process::id()));
    std::fs::write(&path, file).expect("the temporary directory can be written");
    let path = path.to_str().expect("a path in ASCII");
    for command in *group {
        let arguments = ["spoor"].iter().chain(*command).chain([&path]);
        commands::run(&Cli::try_parse_from(arguments).expect("a command of spoor"));
    }
});
