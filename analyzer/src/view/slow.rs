//! The slowest single calls.

use std::io::{self, Write};

use crate::model::calls::Untimed;
use crate::model::slow::{Beyond, Node, SlowCall};
use crate::view::calls;
use crate::view::table::Style;
use crate::view::units::{count, duration, moment, percent};

/// Calls below this part of the slow call are summed up.
const SMALL: f64 = 0.01;
/// Levels of a tree that are shown.
const LEVELS: usize = 8;

/// As text: each call with what its time went to, and what it called.
pub fn text(calls: &[SlowCall], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let bold = if style.colour { anstyle::Style::new().bold() } else { anstyle::Style::new() };
    for (number, call) in calls.iter().enumerate() {
        let (first, last) = (&call.lanes.0, &call.lanes.1);
        let lanes = if first == last { first.clone() } else { format!("{first} to {last}") };
        let raised = if call.raised { ", raised" } else { "" };
        writeln!(
            out,
            "{bold}{:>3}. {} {}{bold:#} at {}, {}, on {lanes}{raised}",
            number + 1,
            duration(call.duration_ns),
            call.function,
            moment(call.at_ns),
            call.process,
        )?;
        let parts = call.split.parts().into_iter().filter(|(_, ns)| *ns > 0);
        let parts = parts.map(|(what, ns)| format!("{what} {} ({})", duration(ns), share(ns, call.duration_ns)));
        writeln!(out, "     {}", parts.collect::<Vec<_>>().join(", "))?;
        children(&call.tree, call.duration_ns, 1, out)?;
    }
    Ok(())
}

/// There are calls, and all of them are like this.
pub fn untimed(untimed: &Untimed, out: &mut dyn Write) -> io::Result<()> {
    let calls = untimed.sum();
    let noun = if calls == 1 { "call" } else { "calls" };
    writeln!(out, "spoor: {} {noun}, none timed: {}", count(calls), calls::reasons(untimed))
}

fn share(ns: u64, of: u64) -> String {
    percent(if of == 0 { 0.0 } else { ns as f64 / of as f64 })
}

fn children(node: &Node, whole: u64, level: usize, out: &mut dyn Write) -> io::Result<()> {
    let indent = "  ".repeat(level);
    if level > LEVELS {
        let deeper = match levels(node) {
            0 => return Ok(()),
            1 => "1 level".to_owned(),
            more => format!("{} levels", count(more)),
        };
        return writeln!(out, "     {indent}… {deeper} deeper");
    }
    let small = (whole as f64 * SMALL) as u64;
    let (mut rest, mut rest_calls) = (0_u64, 0);
    for child in &node.children {
        if child.total_ns < small {
            rest = rest.saturating_add(child.total_ns);
            rest_calls += child.calls;
            continue;
        }
        let times = if child.calls == 1 { String::new() } else { format!(" in {} calls", count(child.calls)) };
        let (time, part) = (duration(child.total_ns), share(child.total_ns, whole));
        writeln!(out, "     {indent}{time} ({part}) {}{times}", child.function)?;
        children(child, whole, level + 1, out)?;
    }
    if rest_calls > 0 {
        writeln!(out, "     {indent}{} in {} other calls", duration(rest), count(rest_calls))?;
    }
    if let Some(Beyond { calls, total_ns, levels }) = node.beyond {
        let (time, calls, levels) = (duration(total_ns), count(calls), count(levels));
        writeln!(out, "     {indent}{time} in {calls} calls, up to {levels} levels: not told apart")?;
    }
    Ok(())
}

/// How many levels of calls there are above the node, those without a place included.
fn levels(node: &Node) -> u64 {
    let beyond = node.beyond.map_or(0, |beyond| beyond.levels);
    node.children.iter().map(|child| 1 + levels(child)).fold(beyond, u64::max)
}
