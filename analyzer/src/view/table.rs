//! Tables of text: numbers to the right, no frames, so that they can be cut and
//! pasted into a ticket.

use std::io::{self, Write};

/// How text may look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Bold and colours are wanted: the output is a terminal.
    pub colour: bool,
}

/// A column: its head, and whether it holds numbers.
pub type Column = (&'static str, bool);

/// Between two columns.
const GAP: &str = "  ";

/// Prints rows under their columns' heads.
pub fn write(columns: &[Column], rows: Vec<Vec<String>>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = columns.iter().map(|(head, _)| width(head)).collect();
    for row in &rows {
        widths.iter_mut().zip(row).for_each(|(widest, cell)| *widest = (*widest).max(width(cell)));
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells
            .zip(columns.iter().zip(&widths))
            .map(
                |(cell, ((_, number), width))| {
                    if *number { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                },
            )
            .collect();
        cells.join(GAP).trim_end().to_owned()
    };
    let head = line(&mut columns.iter().map(|(head, _)| *head));
    let bold = if style.colour { anstyle::Style::new().bold() } else { anstyle::Style::new() };
    writeln!(out, "{bold}{head}{bold:#}")?;
    for row in &rows {
        writeln!(out, "{}", line(&mut row.iter().map(String::as_str)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_text_left() {
        let mut out = Vec::new();
        let rows = vec![vec!["é".to_owned(), "7".to_owned()], vec!["long".to_owned(), "12".to_owned()]];
        write(&[("A", false), ("N", true)], rows, Style::default(), &mut out).expect("a Vec takes all");
        assert_eq!(String::from_utf8(out).expect("text"), "A      N\né      7\nlong  12\n");
    }
}
