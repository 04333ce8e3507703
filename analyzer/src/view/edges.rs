//! Callers and callees of functions.

use std::io::{self, Write};

use crate::model::edges::Row;
use crate::view::table::{self, Style};
use crate::view::units::{count, duration};

/// As text.
pub fn text(rows: &[Row], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let columns =
        [("CALLER", false), ("CALLED", false), ("CALLS", true), ("OWN", true), ("ACC", true), ("UNTIMED", true)];
    let rows = rows.iter().map(|row| {
        vec![
            row.caller.clone().unwrap_or_else(|| "(untraced code)".to_owned()),
            row.called.clone(),
            count(row.calls),
            duration(row.own_ns),
            duration(row.acc_ns),
            if row.untimed == 0 { String::new() } else { count(row.untimed) },
        ]
    });
    table::fitted(&columns, rows.collect(), &[], style, out)
}
