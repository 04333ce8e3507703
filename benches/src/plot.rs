//! RESULTS.svg: what an event costs over untraced, a panel for each OTP release.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::measured::Measured;

const WORKLOADS: [(&str, &str); 6] = [
    ("recursion_call", "call"),
    ("recursion_return_to", "return_to"),
    ("deep", "deep"),
    ("wide", "wide"),
    ("ping_pong", "ping-pong"),
    ("spawn_storm", "spawn"),
];
const VARIANTS: [(&str, &str, RGBColor); 4] = [
    ("empty", "empty tracer (the VM's own price)", RGBColor(150, 150, 150)),
    ("spoor", "Spoor", RGBColor(31, 119, 80)),
    ("process", "process that drops", RGBColor(230, 159, 0)),
    ("dbg_file", "dbg file port", RGBColor(178, 60, 60)),
];
const PANEL: (u32, u32) = (620, 340);

pub(crate) fn plot(runs: &[Measured], path: &Path) -> Result<()> {
    let root = SVGBackend::new(path, (PANEL.0, PANEL.1 * runs.len().max(1) as u32)).into_drawing_area();
    let drawn = root.fill(&WHITE).map_err(|error| anyhow!("{error}"));
    for (area, run) in root.split_evenly((runs.len().max(1), 1)).iter().zip(runs) {
        panel(area, run)?;
    }
    root.present().map_err(|error| anyhow!("{}: {error}", path.display()))?;
    drawn
}

fn panel(area: &DrawingArea<SVGBackend<'_>, Shift>, run: &Measured) -> Result<()> {
    let bars = heights(run);
    let top = bars.iter().map(|(_, _, height)| *height).fold(0.0, f64::max) * 1.4; // room for the legend
    let mut chart = ChartBuilder::on(area)
        .caption(format!("Cost of an event over untraced, ns, OTP {}", run.fact("otp")), ("sans-serif", 15))
        .margin(8)
        .x_label_area_size(26)
        .y_label_area_size(46)
        .build_cartesian_2d(0.0..WORKLOADS.len() as f64, 0.0..top.max(1.0))
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(8)
        .y_label_formatter(&|ns| format!("{ns:.0}"))
        .draw()
        .map_err(failed)?;
    for (place, (_, label)) in WORKLOADS.iter().enumerate() {
        let style = ("sans-serif", 13).into_font().color(&BLACK);
        let at = chart.backend_coord(&(place as f64 + 0.5, 0.0));
        let base = area.get_base_pixel();
        let style = style.pos(plotters::style::text_anchor::Pos::new(
            plotters::style::text_anchor::HPos::Center,
            plotters::style::text_anchor::VPos::Top,
        ));
        area.draw(&Text::new(*label, (at.0 - base.0, at.1 - base.1 + 6), style)).map_err(failed)?;
    }
    let width = 0.8 / VARIANTS.len() as f64;
    for (number, (name, label, color)) in VARIANTS.iter().enumerate() {
        let own = bars.iter().filter(|(_, variant, _)| variant == name);
        let bar = |(place, _, height): &(usize, &str, f64)| {
            let left = *place as f64 + 0.1 + width * number as f64;
            Rectangle::new([(left, 0.0), (left + width * 0.92, *height)], color.filled())
        };
        let color = *color;
        chart
            .draw_series(own.map(bar))
            .map_err(failed)?
            .label(*label)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 10, y + 4)], color.filled()));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(("sans-serif", 12))
        .draw()
        .map_err(failed)
}

/// Place of the workload, variant, nanoseconds an event.
fn heights(run: &Measured) -> Vec<(usize, &'static str, f64)> {
    let mut bars = Vec::new();
    for (place, (name, _)) in WORKLOADS.iter().enumerate() {
        let Some(workload) = run.workload(name) else { continue };
        for (variant, ..) in VARIANTS {
            let cost = workload.rounds(variant, variant, |it, _, untraced| it - untraced).median;
            bars.push((place, variant, cost * workload.ops / workload.events));
        }
    }
    bars.retain(|(_, _, height)| height.is_finite());
    bars
}

fn failed<E: std::error::Error + Send + Sync>(error: DrawingAreaErrorKind<E>) -> anyhow::Error {
    anyhow!("{error}")
}
