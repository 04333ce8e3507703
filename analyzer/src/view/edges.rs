//! Callers and callees of functions.

use std::io::{self, Write};

use crate::model::edges::Row;
use crate::view::table::{self, Style};
use crate::view::units::{count, duration};

fn caller(row: &Row) -> String {
    match (&row.caller, row.perhaps) {
        (Some(caller), false) => caller.clone(),
        (Some(caller), true) => format!("perhaps {caller}"),
        (None, _) => "(untraced code)".to_owned(),
    }
}

/// As text: these of all the rows.
pub fn text(
    rows: &[Row],
    rows_found: usize,
    own_is_on_scheduler: bool,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let shown = rows.len();
    let columns =
        [("CALLER", false), ("CALLED", false), ("CALLS", true), ("OWN", true), ("ACC", true), ("UNTIMED", true)];
    let unsure = rows.iter().any(|row| row.perhaps);
    let cells = rows.iter().map(|row| {
        vec![
            caller(row),
            row.called.clone(),
            count(row.calls),
            duration(row.own_ns),
            duration(row.acc_ns),
            if row.untimed == 0 { String::new() } else { count(row.untimed) },
        ]
    });
    table::fitted(&columns, cells.collect(), &[], style, out)?;
    table::more(rows_found, shown, out)?;
    let own = if own_is_on_scheduler { ", on a scheduler" } else { ", waiting included" };
    writeln!(out, "\nOWN: time in the called function itself{own}; ACC: with all that it called")?;
    if unsure {
        writeln!(out, "perhaps: or what called that; the events leave open whether it had returned")?;
    }
    Ok(())
}
