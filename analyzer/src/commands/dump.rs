//! `spoor dump`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use spoor_format::text::{WriteError, write_raw};

use super::{Health, Next, Sought, each, feed, stdout, tell, window};
use crate::cli::{self, Picks};
use crate::model::filter::FunctionFilter;
use crate::read::{Ledger, Names, Recording};
use crate::view;

pub(super) fn run(args: &cli::Dump) -> Result<Health> {
    let mut out = stdout();
    let filter = cli::filter(&args.select, Picks::Functions);
    each(&args.input.paths, |recording| {
        if args.raw {
            raw(recording, &mut out)?;
            out.flush()?;
            tell(recording, &recording.findings)?;
            return Ok(Health::Fine.and(&recording.findings));
        }
        let (mut left, mut taken) = (args.limit.unwrap_or(usize::MAX), false);
        let (mut lines, mut functions) = (view::dump::Lines::default(), FunctionFilter::new(&filter));
        let (outcome, _) =
            feed(recording, Names::default(), window(&args.select.window, recording)?, &filter, |next, known| {
                let Next::Event(event, asked_for, _) = next else { return Ok(true) };
                if left == 0 {
                    return Ok(false);
                }
                if asked_for && functions.takes_event(event) {
                    left -= 1;
                    taken = true;
                    match args.json {
                        true => view::dump::json(event, known.processes, &mut out)?,
                        false => lines.text(event, known.processes, &mut out)?,
                    }
                }
                Ok(true)
            })?;
        out.flush()?;
        tell(recording, &outcome.findings)?;
        if !taken && args.limit != Some(0) {
            let files = [PathBuf::from(&recording.path)];
            super::nothing(Sought::Events, &files, &filter, &args.select.window)?;
        }
        writeln!(
            std::io::stderr(),
            "spoor: {}: {}",
            recording.path,
            view::findings::ledger(&Ledger::sum(&outcome.ledger))
        )?;
        Ok(Health::Fine.and(&outcome.findings))
    })
}

fn raw(recording: &Recording, out: &mut impl Write) -> Result<()> {
    let source = recording.source();
    match write_raw(out, source.len(), |at, len| source.bytes(at, len)) {
        Ok(()) => Ok(()),
        Err(WriteError::Io(error)) => Err(error.into()),
        Err(error) => Err(error.into()),
    }
}
