//! Tables of text: numbers to the right, no frames, so that they can be cut and
//! pasted into a ticket.

use std::io::{self, Write};

use crate::view::units::count;

/// How text may look.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Bold and colours are wanted: the output is a terminal.
    pub colour: bool,
    /// Characters that a line may have.
    pub width: usize,
}

/// Lines as wide as most terminals and tickets take, without colours.
impl Default for Style {
    fn default() -> Self {
        Style { colour: false, width: 100 }
    }
}

/// A column: its head, and whether it holds numbers.
pub type Column<'a> = (&'a str, bool);

/// Between two columns.
const GAP: &str = "  ";

/// A name is not shortened to less than this.
const SHORTEST_NAME: usize = 24;

/// Whoever sees so many has asked for all that there are.
const MANY: usize = 1 << 13;

/// Says how many rows were found beside those that are shown.
pub fn more(found: usize, shown: usize, out: &mut dyn Write) -> io::Result<()> {
    match found.saturating_sub(shown) {
        0 => Ok(()),
        more if shown < MANY => writeln!(out, "({} more rows: --limit 0)", count(more as u64)),
        more => writeln!(out, "({} more rows)", count(more as u64)),
    }
}

/// Prints rows under their columns' heads, in lines that fit: columns that hold
/// nothing are left out, then those of `optional`, in that order, until the rest
/// fits, and then the first column is shortened. What did not fit is said below.
pub fn fitted(
    columns: &[Column<'_>],
    mut rows: Vec<Vec<String>>,
    optional: &[&str],
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut columns = columns.to_vec();
    let leave_out = |at: usize, columns: &mut Vec<Column<'_>>, rows: &mut Vec<Vec<String>>| {
        columns.remove(at);
        rows.iter_mut().filter(|row| at < row.len()).for_each(|row| drop(row.remove(at)));
    };
    for at in (1..columns.len()).rev() {
        if !rows.is_empty() && rows.iter().all(|row| row.get(at).is_none_or(String::is_empty)) {
            leave_out(at, &mut columns, &mut rows);
        }
    }
    let mut left_out = Vec::new();
    for head in optional {
        if line_width(&columns, &rows) <= style.width {
            break;
        }
        if let Some(at) = columns.iter().position(|(name, _)| name == head) {
            leave_out(at, &mut columns, &mut rows);
            left_out.push(*head);
        }
    }
    let over = line_width(&columns, &rows).saturating_sub(style.width);
    if let Some(name) = columns.iter().position(|(_, number)| !number).filter(|_| over > 0) {
        let widest = rows.iter().filter_map(|row| row.get(name)).map(|cell| cell.chars().count()).max().unwrap_or(0);
        let room = widest.saturating_sub(over).max(SHORTEST_NAME);
        rows.iter_mut().filter_map(|row| row.get_mut(name)).for_each(|cell| *cell = shortened(cell, room));
    }
    write(&columns, rows, style, out)?;
    match left_out.is_empty() {
        true => Ok(()),
        false => writeln!(out, "(no room for {}: --wide)", left_out.join(", ")),
    }
}

/// Text cut in its middle: both ends of a function's name tell it from others.
fn shortened(text: &str, room: usize) -> String {
    let characters: Vec<char> = text.chars().collect();
    if characters.len() <= room {
        return text.to_owned();
    }
    let (head, tail) = (room.saturating_sub(1) / 3, room.saturating_sub(1) - room.saturating_sub(1) / 3);
    let end = characters.len() - tail;
    characters[..head].iter().chain(&['…']).chain(&characters[end..]).collect()
}

fn line_width(columns: &[Column<'_>], rows: &[Vec<String>]) -> usize {
    let widest = |at: usize, head: &str| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([head.chars().count()]).max().unwrap_or(0)
    };
    let cells: usize = columns.iter().enumerate().map(|(at, (head, _))| widest(at, head)).sum();
    cells + GAP.len() * columns.len().saturating_sub(1)
}

/// Prints rows under their columns' heads.
pub fn write(columns: &[Column<'_>], rows: Vec<Vec<String>>, style: Style, out: &mut dyn Write) -> io::Result<()> {
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
    fn a_line_that_is_too_long_loses_columns_and_then_the_middle_of_names() {
        let table = |width| {
            let mut out = Vec::new();
            let name = "module:a_function_with_a_long_name/3".to_owned();
            let rows = vec![vec![name, "100000".to_owned(), "5".to_owned(), String::new()]];
            let columns = [("FUNCTION", false), ("MEAN", true), ("MAX", true), ("UNTIMED", true)];
            fitted(&columns, rows, &["MEAN"], Style { colour: false, width }, &mut out).expect("a Vec takes all");
            String::from_utf8(out).expect("text").lines().nth(1).map(str::to_owned)
        };
        assert_eq!(table(60).as_deref(), Some("module:a_function_with_a_long_name/3  100000    5"));
        assert_eq!(table(41).as_deref(), Some("module:a_function_with_a_long_name/3    5"));
        assert_eq!(table(36).as_deref(), Some("module:a_f…n_with_a_long_name/3    5"));
        assert_eq!(table(10).as_deref(), Some("module:…th_a_long_name/3    5"));
    }

    #[test]
    fn numbers_stand_right_and_text_left() {
        let mut out = Vec::new();
        let rows = vec![vec!["é".to_owned(), "7".to_owned()], vec!["long".to_owned(), "12".to_owned()]];
        write(&[("A", false), ("N", true)], rows, Style::default(), &mut out).expect("a Vec takes all");
        assert_eq!(String::from_utf8(out).expect("text"), "A      N\né      7\nlong  12\n");
    }
}
