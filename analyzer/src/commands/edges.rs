//! `spoor callers` and `spoor callees`.

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::summed::Summed;
use super::{Health, Sought, deal};
use crate::cli;
use crate::model::edges::{Edges, Row, Side};
use crate::read::{Asked, FunctionId};
use crate::view;

#[derive(Serialize, JsonSchema)]
pub(super) struct Report<'a> {
    function: &'a str,
    rows: &'a [Row],
    rows_found: usize,
    own_is_on_scheduler: bool,
}

pub(super) fn run(args: &cli::Edges, side: Side) -> Result<Health> {
    let table = &args.of.table;
    let filter = args.of.filter();
    let mut edges = Edges::new(side, args.threads.count());
    let summed = Summed::read(&table.input, &table.select.window, |recording, window, names| {
        let (shares, asked) = edges.shares();
        deal(recording, names, window, &filter, shares, None, |next: &Asked<'_>, _| {
            let names = next.names;
            asked.tell_until(names.function_count(), |id| filter.takes_function(names, FunctionId(id)));
        })
    })?;
    let (mut rows, own_is_on_scheduler) = edges.report(&summed.names);
    let rows_found = rows.len();
    rows.truncate(args.rows.most(table.json));
    if rows.is_empty() {
        summed.nothing(Sought::Calls, &filter)?;
    }
    let report = Report { function: &args.of.function, rows: &rows, rows_found, own_is_on_scheduler };
    summed.print(table, &report, |style, out| view::edges::text(&rows, rows_found, own_is_on_scheduler, style, out))
}
