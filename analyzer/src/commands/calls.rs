//! `spoor calls`.

use std::collections::HashMap;

use anyhow::{Result, bail};
use schemars::JsonSchema;
use serde::Serialize;

use super::summed::Summed;
use super::{Health, Sought, deal};
use crate::cli::{self, Picks};
use crate::model::calls::{Calls, Sort};
use crate::model::group::Groups;
use crate::model::keyed::{self, Keyed, Rows};
use crate::model::label;
use crate::model::told::Told;
use crate::read::{Asked, FunctionId, Names};
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct KeyedReport<'a> {
    by: &'a str,
    rows: &'a [keyed::Row],
    rows_found: usize,
    own_is_on_scheduler: bool,
}

pub(super) fn run(args: &cli::Calls) -> Result<Health> {
    if args.by != "function" {
        return run_keyed(args);
    }
    if args.sort == Sort::Entered {
        bail!("functions have no column entered: say --by module or --by group");
    }
    let filter = args.table.filter(Picks::Functions);
    let mut calls = Calls::new(args.threads.count());
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        deal(recording, names, window, &filter, calls.replay(), None, |_, _| ())
    })?;
    let report = calls.report(&summed.names, &filter, args.sort, args.rows.most(args.table.json));
    if report.functions_found == 0 {
        summed.nothing(Sought::Calls, &filter)?;
    }
    summed.print(&args.table, &report, |style, out| view::calls::text(&report, style, out))
}

fn run_keyed(args: &cli::Calls) -> Result<Health> {
    let mut filter = args.table.filter(Picks::Functions);
    let by_group = args.by == "group";
    // Groups have their names from the begin on.
    filter.names_first = by_group;
    let rows =
        if by_group { Rows::Processes(Told::default(), Told::default()) } else { Rows::Functions(Told::default()) };
    let mut keyed = Keyed::new(rows, args.threads.count());
    let (mut groups, mut modules) = (Groups::new(filter.grouping), Modules::default());
    let summed = Summed::read(&args.table.input, &args.table.select.window, |recording, window, names| {
        let (shares, rows) = keyed.shares();
        let decide = |next: &Asked<'_>, group| {
            let (names, until) = (next.names, next.names.function_count());
            let takes = |id| filter.takes_function(names, FunctionId(id));
            match rows {
                Rows::Functions(rows) => rows.tell_until(until, |id| match takes(id) {
                    true => 1 + modules.of(FunctionId(id), names),
                    false => 0,
                }),
                Rows::Processes(rows, asked) => {
                    asked.tell_until(until, takes);
                    rows.tell(next.tracee.0, 1 + group);
                }
            }
        };
        let apart = by_group.then_some(&mut groups);
        let outcome = deal(recording, names, window, &filter, shares, apart, decide)?;
        if let Rows::Processes(rows, _) = rows {
            rows.clear();
        }
        groups.end_of_recording();
        Ok(outcome)
    })?;
    let titles = if by_group { groups.titles_of(|group| keyed.has(group)) } else { modules.titles };
    let (mut rows, own_is_on_scheduler) = keyed.report(&titles, args.sort);
    let rows_found = rows.len();
    rows.truncate(args.rows.most(args.table.json));
    if rows.is_empty() {
        summed.nothing(Sought::Calls, &filter)?;
    }
    let report = KeyedReport { by: &args.by, rows: &rows, rows_found, own_is_on_scheduler };
    let head = if by_group { "GROUP" } else { "MODULE" };
    summed.print(&args.table, &report, |style, out| view::calls::keyed(&rows, rows_found, head, style, out))
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
