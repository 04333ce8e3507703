//! `spoor`: reads what the flight recorder of the BEAM has recorded.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    spoor_analyzer::commands::run(&spoor_analyzer::cli::Cli::parse())
}
