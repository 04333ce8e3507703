//! `spoor calls`.

use std::collections::HashMap;
use std::io::Write;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, deal, each, limit, nothing_matches, stdout, style, tell, window};
use crate::cli::{self, Picks};
use crate::model::calls::{Calls, Report};
use crate::model::group::Groups;
use crate::model::keyed::{self, Keyed, Rows};
use crate::model::label;
use crate::model::told::Told;
use crate::read::{Asked, FunctionId, Names};
use crate::view;
use crate::view::units::count;

#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a> {
    recordings: &'a [About],
    #[serde(flatten)]
    report: &'a Report,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct KeyedAnswer<'a> {
    recordings: &'a [About],
    by: &'a str,
    rows: &'a [keyed::Row],
    rows_found: usize,
    own_is_on_scheduler: bool,
}

pub(super) fn run(args: &cli::Calls) -> Result<Health> {
    if args.by != "function" {
        return run_keyed(args);
    }
    let filter = cli::filter(&args.select, Picks::Functions);
    let (mut calls, mut names, mut about) = (Calls::new(args.threads.count()), Names::default(), Vec::new());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let known = std::mem::take(&mut names);
        let outcome = deal(recording, known, window, &filter, calls.replay(), |_, _| ())?;
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let report = calls.report(&names, &filter, args.sort, limit(args.limit, args.json));
    if report.functions_found == 0 {
        nothing_matches(&filter, &names)?;
    }
    let mut out = stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &Answer { recordings: &about, report: &report })?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        view::calls::text(&report, style(args.wide), &mut out)?;
    }
    out.flush()?;
    Ok(health)
}

fn run_keyed(args: &cli::Calls) -> Result<Health> {
    let mut filter = cli::filter(&args.select, Picks::Functions);
    let by_group = args.by == "group";
    // Groups have their names from the begin on.
    filter.names_first = by_group;
    let rows =
        if by_group { Rows::Processes(Told::default(), Told::default()) } else { Rows::Functions(Told::default()) };
    let (mut keyed, mut names, mut about) = (Keyed::new(rows, args.threads.count()), Names::default(), Vec::new());
    let (mut groups, mut modules) = (Groups::new(filter.grouping), Modules::default());
    let health = each(&args.input.paths, |recording| {
        let window = window(&args.select.window, recording)?;
        let (shares, rows) = keyed.shares();
        let decide = |next: &Asked<'_>, processes: &_| {
            let (names, until) = (next.names, next.names.function_count());
            let takes = |id| filter.takes_function(names, FunctionId(id));
            match rows {
                Rows::Functions(rows) => rows.tell_until(until, |id| match takes(id) {
                    true => 1 + modules.of(FunctionId(id), names),
                    false => 0,
                }),
                Rows::Processes(rows, asked) => {
                    asked.tell_until(until, takes);
                    if groups.known(next.tracee).is_none() {
                        rows.tell(next.tracee.0, 1 + groups.of(next.tracee, processes, next.tracees, names));
                    }
                }
            }
        };
        let outcome = deal(recording, std::mem::take(&mut names), window, &filter, shares, decide)?;
        if let Rows::Processes(rows, _) = rows {
            rows.clear();
        }
        groups.end_of_recording();
        tell(recording, &outcome.findings)?;
        about.push(About::new(recording, window, &outcome));
        names = outcome.names;
        Ok(Health::Fine.and(&outcome.findings))
    })?;
    let titles = if by_group { groups.titles_of(|group| keyed.has(group)) } else { modules.titles };
    let (mut rows, own_is_on_scheduler) = keyed.report(&titles, args.sort);
    let rows_found = rows.len();
    rows.truncate(limit(args.limit, args.json));
    if rows.is_empty() {
        nothing_matches(&filter, &names)?;
    }
    let mut out = stdout();
    if args.json {
        let (recordings, rows) = (about.as_slice(), rows.as_slice());
        let answer = KeyedAnswer { recordings, by: &args.by, rows, rows_found, own_is_on_scheduler };
        serde_json::to_writer_pretty(&mut out, &answer)?;
        writeln!(out)?;
    } else {
        about.iter().try_for_each(|recording| recording.heading(&mut out))?;
        writeln!(out)?;
        let head = if by_group { "GROUP" } else { "MODULE" };
        view::calls::keyed(&rows, head, style(args.wide), &mut out)?;
        let more = rows_found - rows.len();
        if more > 0 {
            writeln!(out, "({} more rows: --limit 0)", count(more as u64))?;
        }
        writeln!(out, "\nENTERED: calls with no other of the row below them; TOTAL and percentiles are of these")?;
    }
    out.flush()?;
    Ok(health)
}

/// Modules by dense numbers.
#[derive(Default)]
struct Modules {
    titles: Vec<String>,
    numbers: HashMap<String, u32>,
    of: Vec<Option<u32>>,
}

impl Modules {
    fn of(&mut self, function: FunctionId, names: &Names) -> u32 {
        let at = function.0 as usize;
        if let Some(Some(module)) = self.of.get(at) {
            return *module;
        }
        let next = self.titles.len() as u32;
        let module = *self.numbers.entry(label::module(names, function)).or_insert_with_key(|title| {
            self.titles.push(title.clone());
            next
        });
        self.of.resize(self.of.len().max(at + 1), None);
        self.of[at] = Some(module);
        module
    }
}
