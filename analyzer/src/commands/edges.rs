//! `spoor callers` and `spoor callees`.

use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, deal, each, limit, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::edges::{Edges, Row, Side};
use crate::read::{Asked, FunctionId, Names};
use crate::view;
use crate::view::units::count;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
    function: &'a str,
    rows: &'a [Row],
    rows_found: usize,
    own_is_on_scheduler: bool,
}

pub(super) fn run(args: &cli::Edges, side: Side) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Functions);
    filter.functions.push(args.function.clone());
    let (mut edges, mut names, mut about) = (Edges::new(side, args.threads.count()), Names::default(), Vec::new());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (shares, asked) = edges.shares();
        let known = std::mem::take(&mut names);
        let decide = |next: &Asked<'_>, _: &_| {
            let names = next.names;
            asked.tell_until(names.function_count(), |id| filter.takes_function(names, FunctionId(id)));
        };
        let outcome = deal(recording, known, window, &filter, shares, decide)?;
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let (mut rows, own_is_on_scheduler) = edges.report(&names);
    let rows_found = rows.len();
    rows.truncate(limit(args.limit, args.json));
    if rows.is_empty() {
        nothing_matches(&filter, &names)?;
    }
    let mut out = stdout();
    if args.json {
        let (recordings, rows) = (about.as_slice(), rows.as_slice());
        let answer = Answer { recordings, function: &args.function, rows, rows_found, own_is_on_scheduler };
        serde_json::to_writer_pretty(&mut out, &answer)?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        view::edges::text(&rows, style(args.wide), &mut out)?;
        let more = rows_found - rows.len();
        if more > 0 {
            writeln!(out, "({} more rows: --limit 0)", count(more as u64))?;
        }
        let own = if own_is_on_scheduler { ", on a scheduler" } else { ", waiting included" };
        writeln!(out, "\nOWN: time in the called function itself{own}; ACC: with all that it called")?;
    }
    out.flush()?;
    Ok(health)
}
