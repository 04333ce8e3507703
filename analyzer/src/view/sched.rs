//! What the schedulers did: tables and a timeline.

use std::collections::BTreeSet;
use std::io::{self, Write};

use crate::model::sched::{LaneRow, LaneTimeline, Migration, Report, SliceRow};
use crate::view::svg::{coordinate, escape, fit};
use crate::view::table::{self, Style};
use crate::view::units::{count, duration, moment, percent, seconds, wall};

/// As text.
pub fn text(report: &Report, style: Style, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", basis(report))?;
    writeln!(out)?;
    let busy = if report.from_in_out_events { "BUSY" } else { "ACTIVE" };
    let columns = [
        ("LANE", false),
        ("THREAD", false),
        (busy, true),
        ("TIME", true),
        ("SLICES", true),
        ("P50", true),
        ("P99", true),
        ("MAX", true),
        ("UNTIMED", true),
        ("ARRIVALS", true),
        ("EVENTS", true),
    ];
    table::fitted(&columns, report.lanes.iter().map(lane).collect(), &["EVENTS"], style, out)?;
    writeln!(out)?;
    writeln!(out, "{}", migrations(report))?;
    if !report.migrations_matrix.is_empty() {
        matrix(&report.migrations_matrix, style, out)?;
    }
    if report.longest.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    writeln!(out, "Longest slices")?;
    let columns = [("TIME", true), ("AT", true), ("LANE", false), ("PROCESS", false), ("FUNCTION", false)];
    table::fitted(&columns, report.longest.iter().map(slice).collect(), &[], style, out)
}

fn migrations(report: &Report) -> String {
    let known = count(report.migrations);
    match report.migrations_unknown {
        0 => format!("{known} migrations between lanes"),
        more => format!(
            "{known} migrations between lanes, up to {} more: of so many that came in the lane before is not known",
            count(more)
        ),
    }
}

/// More lanes than this are listed, not put into a square.
const SQUARE: usize = 10;

fn matrix(rows: &[Migration], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let lanes: BTreeSet<&str> = rows.iter().flat_map(|row| [row.from.as_str(), row.to.as_str()]).collect();
    if lanes.len() > SQUARE {
        let list = rows.iter().map(|row| vec![row.from.clone(), row.to.clone(), count(row.processes)]).collect();
        return table::write(&[("FROM", false), ("TO", false), ("PROCESSES", true)], list, style, out);
    }
    let cell = |from: &str, to: &str| {
        let found = rows.iter().find(|row| row.from == from && row.to == to);
        found.map_or_else(String::new, |row| count(row.processes))
    };
    let mut head = vec!["FROM".to_owned()];
    head.extend(lanes.iter().map(|lane| format!("TO {lane}")));
    let line = |from: &&str| {
        let mut cells = vec![(*from).to_owned()];
        cells.extend(lanes.iter().map(|to| cell(from, to)));
        cells
    };
    let columns: Vec<(&str, bool)> = head.iter().enumerate().map(|(at, head)| (head.as_str(), at > 0)).collect();
    table::write(&columns, lanes.iter().map(line).collect(), style, out)
}

/// What the numbers come from.
pub fn basis(report: &Report) -> String {
    match report.estimate_bound_ns {
        None => "slices: from in and out events".to_owned(),
        Some(bound) => format!(
            "slices: ESTIMATED (no in and out events): runs of a process's events on one thread, less than {} apart; \
             untraced code looks idle",
            duration(bound)
        ),
    }
}

fn lane(row: &LaneRow) -> Vec<String> {
    let time = |ns| if row.slices == 0 { "-".to_owned() } else { duration(ns) };
    vec![
        row.lane.clone(),
        row.kind.to_owned(),
        percent(row.busy_share),
        duration(row.busy_ns),
        count(row.slices),
        time(row.slice_p50_ns),
        time(row.slice_p99_ns),
        time(row.slice_max_ns),
        if row.slices_clipped == 0 { String::new() } else { count(row.slices_clipped) },
        count(row.migrations_in),
        count(row.events),
    ]
}

fn slice(row: &SliceRow) -> Vec<String> {
    let function = match (&row.from_function, &row.to_function) {
        (Some(from), Some(to)) if from == to => from.clone(),
        (Some(from), Some(to)) => format!("{from} to {to}"),
        (Some(one), None) | (None, Some(one)) => one.clone(),
        (None, None) => "-".to_owned(),
    };
    vec![duration(row.duration_ns), moment(row.at_ns), row.lane.clone(), row.process.clone(), function]
}

const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const INNER: f64 = 1200.0;
const TOP: f64 = 64.0;
const ROW: f64 = 40.0;
const BAR: f64 = 32.0;
const AXIS: f64 = 44.0;
const LEGEND_ROW: f64 = 18.0;
const LEGEND_COLUMNS: usize = 4;
const LEGEND: usize = 12;
/// Heights told apart: columns side by side with the same one become one.
const HEIGHTS: f64 = 8.0;

/// The timeline: one row a lane, a bar as high as the lane was busy, coloured by
/// the process group that ran most.
pub fn svg(report: &Report, title: &str, subtitle: &str, out: &mut dyn Write) -> io::Result<()> {
    let legend = report.groups.len().min(LEGEND).div_ceil(LEGEND_COLUMNS) as f64 * LEGEND_ROW;
    let axis_y = TOP + ROW * report.timeline.len() as f64;
    let (width, height) = (LEFT + INNER + RIGHT, axis_y + AXIS + legend + 10.0);
    let (w, h) = (coordinate(width), coordinate(height));
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="{w}" height="{h}" viewBox="0 0 {w} {h}" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="12">
<style>rect.s:hover{{stroke:#000}}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{middle}" y="20" text-anchor="middle" font-size="16">{title}</text>
<text x="{middle}" y="38" text-anchor="middle" fill="#555">{subtitle}</text>
<text x="{middle}" y="54" text-anchor="middle" fill="#555">{basis}</text>"##,
        middle = coordinate(width / 2.0),
        title = escape(title),
        subtitle = escape(subtitle),
        basis = escape(&fit(&basis(report), 170)),
    )?;
    for (number, lane) in report.timeline.iter().enumerate() {
        let row = report.lanes.get(number);
        draw_lane(report, lane, row, TOP + ROW * number as f64, out)?;
    }
    draw_axis(report, axis_y, out)?;
    draw_legend(report, axis_y + AXIS, out)?;
    writeln!(out, "</svg>")
}

fn draw_lane(
    report: &Report,
    lane: &LaneTimeline,
    row: Option<&LaneRow>,
    y: f64,
    out: &mut dyn Write,
) -> io::Result<()> {
    let busy = row.map_or(String::new(), |row| percent(row.busy_share));
    writeln!(
        out,
        r##"<rect x="{x}" y="{top}" width="{INNER}" height="{BAR}" fill="#f4f4f4"/><text x="{name}" y="{base}" text-anchor="end">{lane}</text><text x="{name}" y="{under}" text-anchor="end" fill="#777" font-size="10">{busy}</text>"##,
        x = LEFT,
        top = coordinate(y),
        name = LEFT - 6.0,
        base = coordinate(y + 15.0),
        under = coordinate(y + 28.0),
        lane = escape(&lane.lane),
    )?;
    let level =
        |column: &Option<(Option<usize>, f64)>| column.map(|(group, share)| (group, (share * HEIGHTS).ceil().max(1.0)));
    let width = INNER / lane.columns.len().max(1) as f64;
    let mut start = 0;
    for end in 1..=lane.columns.len() {
        let here = lane.columns.get(start).and_then(level);
        if lane.columns.get(end).map(level) == Some(here) {
            continue;
        }
        if let Some((group, level)) = here {
            let name = group.map_or("others", |group| report.groups.get(group).map_or("", |row| row.group.as_str()));
            let height = BAR * level / HEIGHTS;
            writeln!(
                out,
                r#"<rect class="s" x="{}" y="{}" width="{}" height="{}" fill="{}"><title>{}</title></rect>"#,
                coordinate(LEFT + start as f64 * width),
                coordinate(y + BAR - height),
                coordinate((end - start) as f64 * width),
                coordinate(height),
                group_colour(report, group),
                escape(&column_title(report, lane, start, end, name)),
            )?;
        }
        start = end;
    }
    Ok(())
}

fn column_title(report: &Report, lane: &LaneTimeline, start: usize, end: usize, group: &str) -> String {
    let window = report.to_ns.saturating_sub(report.from_ns) as f64;
    let at = |column: usize| report.from_ns + (window * column as f64 / lane.columns.len().max(1) as f64) as u64;
    let share = lane.columns[start..end].iter().flatten().map(|(_, share)| share).sum::<f64>() / (end - start) as f64;
    format!("{group}\n{} for {}, {} busy", moment(at(start)), duration(at(end) - at(start)), percent(share))
}

/// Groups that ran most have colours far apart, the rest is grey.
fn group_colour(report: &Report, rank: Option<usize>) -> &'static str {
    let row = rank.and_then(|rank| Some((rank, report.groups.get(rank)?)));
    match row.map(|(rank, row)| (rank, row.group.as_str())) {
        None => GREY,
        Some((_, "unnamed")) => DARK,
        Some((rank, _)) => PALETTE.get(rank).copied().unwrap_or(GREY),
    }
}

const GREY: &str = "#c3cbd0";
const DARK: &str = "#6b757b";
/// Told apart by most eyes, also without red or green.
const PALETTE: [&str; 12] = [
    "#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#2f4b7c",
    "#8cd17d", "#d37295",
];

fn draw_axis(report: &Report, y: f64, out: &mut dyn Write) -> io::Result<()> {
    let window = report.to_ns.saturating_sub(report.from_ns);
    let step = tick_step(window);
    let mut at = report.from_ns.div_ceil(step) * step;
    writeln!(out, r##"<line x1="{LEFT}" x2="{}" y1="{y}" y2="{y}" stroke="#888"/>"##, LEFT + INNER)?;
    while at <= report.to_ns && window > 0 {
        let x = coordinate(LEFT + INNER * (at - report.from_ns) as f64 / window as f64);
        let text = format!("{} s", seconds(at).trim_end_matches('0').trim_end_matches('.'));
        writeln!(
            out,
            r##"<line x1="{x}" x2="{x}" y1="{y}" y2="{}" stroke="#888"/><text x="{x}" y="{}" text-anchor="middle" font-size="11">{text}</text>"##,
            coordinate(y + 4.0),
            coordinate(y + 17.0),
        )?;
        at += step;
    }
    let wall_y = coordinate(y + 34.0);
    let Some(from_wall) = report.from_wall_ns else { return Ok(()) };
    let (first, last) = (wall(from_wall), wall(from_wall + window));
    writeln!(
        out,
        r##"<text x="{LEFT}" y="{wall_y}" fill="#555">{first}</text><text x="{}" y="{wall_y}" text-anchor="end" fill="#555">{last}</text>"##,
        LEFT + INNER
    )
}

/// About ten ticks, at 1, 2 or 5 of a decimal place.
fn tick_step(window: u64) -> u64 {
    let rough = (window / 10).max(1);
    let decade = 10_u64.pow(rough.ilog10());
    [1, 2, 5].into_iter().map(|n| n * decade).find(|step| *step >= rough).unwrap_or(10 * decade)
}

fn draw_legend(report: &Report, y: f64, out: &mut dyn Write) -> io::Result<()> {
    let width = INNER / LEGEND_COLUMNS as f64;
    for (n, row) in report.groups.iter().take(LEGEND).enumerate() {
        let (x, y) = (LEFT + (n % LEGEND_COLUMNS) as f64 * width, y + (n / LEGEND_COLUMNS) as f64 * LEGEND_ROW);
        let text = format!("{} {}", fit(&row.group, 28), duration(row.busy_ns));
        writeln!(
            out,
            r#"<rect x="{}" y="{}" width="11" height="11" fill="{}"/><text x="{}" y="{}">{}</text>"#,
            coordinate(x),
            coordinate(y),
            group_colour(report, Some(n)),
            coordinate(x + 16.0),
            coordinate(y + 10.0),
            escape(&text),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::tick_step;

    #[test]
    fn ticks_are_round() {
        assert_eq!(
            [1, 100, 950, 3_000_000_000, 61_000_000_000].map(tick_step),
            [1, 10, 100, 500_000_000, 10_000_000_000]
        );
    }
}
