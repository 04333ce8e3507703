//! Flamegraphs: folded stacks, and SVG that can be zoomed and searched.
//!
//! The SVG is one file without any reference out of it; without scripts it is
//! still the whole picture, with a title on every frame.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::model::flame::Frame;
use crate::view::svg::{colour, coordinate, escape, fit};
use crate::view::units::{count, duration, percent};

const WIDTH: f64 = 1200.0;
const MARGIN: f64 = 10.0;
const ROW: f64 = 17.0;
const TOP: f64 = 60.0;
const BOTTOM: f64 = 30.0;
/// Width of a character of the 12 px font.
const CHARACTER: f64 = 7.0;
/// Frames narrower than this are not drawn.
const NARROWEST: f64 = 0.15;

/// What stands above the picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// What it is of.
    pub title: String,
    /// Which time, what was lost.
    pub subtitle: String,
}

/// `a;b;c nanoseconds`, one stack a line.
pub fn folded(root: &Frame, out: &mut dyn Write) -> io::Result<()> {
    let mut path = Vec::new();
    root.children.iter().try_for_each(|child| fold(child, &mut path, out))
}

fn fold(frame: &Frame, path: &mut Vec<String>, out: &mut dyn Write) -> io::Result<()> {
    // The format has no way to say these two characters.
    path.push(title(frame).replace(';', ",").replace('\n', " "));
    if frame.own_ns > 0 {
        writeln!(out, "{} {}", path.join(";"), frame.own_ns)?;
    }
    frame.children.iter().try_for_each(|child| fold(child, path, out))?;
    path.pop();
    Ok(())
}

/// Its name, or how much it stands for.
fn title(frame: &Frame) -> Cow<'_, str> {
    let noun = if frame.levels == 1 { "level" } else { "levels" };
    match frame.levels {
        0 => Cow::Borrowed(&frame.name),
        levels => Cow::Owned(format!("… {} {noun} deeper, not told apart", count(u64::from(levels)))),
    }
}

/// A frame's place: from where, how wide (as parts of the whole), how high up.
struct Placed<'a> {
    frame: &'a Frame,
    x: f64,
    width: f64,
    level: usize,
}

/// The picture.
pub fn svg(root: &Frame, heading: &Heading, out: &mut dyn Write) -> io::Result<()> {
    let mut picture = Picture::default();
    picture.place(root, 0.0, 0, root.total_ns.max(1) as f64);
    let levels = picture.placed.iter().map(|p| p.level).max().unwrap_or(0) + 1;
    let height = TOP + ROW * levels as f64 + BOTTOM;
    let (w, h) = (coordinate(WIDTH), coordinate(height));
    writeln!(
        out,
        r##"<svg xmlns="http://www.w3.org/2000/svg" version="1.1" width="{w}" height="{h}" viewBox="0 0 {w} {h}" font-family="ui-monospace,Menlo,Consolas,monospace" font-size="12">
<style>.f:hover rect{{stroke:#000;stroke-width:1}}.f{{cursor:pointer}}.f text{{pointer-events:none}}.b{{cursor:pointer;fill:#0366d6}}.hit rect{{fill:#e0f}}.dim{{opacity:.35}}</style>
<rect width="100%" height="100%" fill="#fff"/>
<text x="{middle}" y="22" text-anchor="middle" font-size="16">{title}</text>
<text x="{middle}" y="40" text-anchor="middle" fill="#555">{subtitle}</text>
<text id="reset" class="b" x="{margin}" y="22" visibility="hidden">reset zoom</text>
<text id="search" class="b" x="{right}" y="22" text-anchor="end">search</text>
<text id="found" x="{right}" y="40" text-anchor="end"></text>
<text id="about" x="{margin}" y="{about}"></text>
<g id="frames">"##,
        middle = coordinate(WIDTH / 2.0),
        title = escape(&heading.title),
        subtitle = escape(&heading.subtitle),
        margin = coordinate(MARGIN),
        right = coordinate(WIDTH - MARGIN),
        about = coordinate(height - 10.0),
    )?;
    for place in &picture.placed {
        draw(place, root.total_ns, height, out)?;
    }
    writeln!(out, "</g>")?;
    picture.tell_narrow(root.total_ns, out)?;
    writeln!(out, "<script><![CDATA[\n{SCRIPT}\n]]></script>\n</svg>")
}

/// What is drawn, and how much is too narrow to be.
#[derive(Default)]
struct Picture<'a> {
    placed: Vec<Placed<'a>>,
    narrow: usize,
    narrow_ns: u64,
}

impl<'a> Picture<'a> {
    fn place(&mut self, frame: &'a Frame, x: f64, level: usize, all: f64) {
        let width = frame.total_ns as f64 / all;
        if level > 0 && width * (WIDTH - 2.0 * MARGIN) < NARROWEST {
            self.narrow += frames(frame);
            self.narrow_ns += frame.total_ns;
            return;
        }
        self.placed.push(Placed { frame, x, width, level });
        let mut x = x;
        for child in &frame.children {
            self.place(child, x, level + 1, all);
            x += child.total_ns as f64 / all;
        }
    }

    fn tell_narrow(&self, all: u64, out: &mut dyn Write) -> io::Result<()> {
        if self.narrow == 0 {
            return Ok(());
        }
        let middle = coordinate(WIDTH / 2.0);
        let noun = if self.narrow == 1 { "frame" } else { "frames" };
        let (frames, time, part) = (count(self.narrow as u64), duration(self.narrow_ns), share(self.narrow_ns, all));
        writeln!(
            out,
            r##"<text x="{middle}" y="54" text-anchor="middle" fill="#555" font-size="11">{frames} {noun} too narrow to be drawn: {time} ({part})</text>"##,
        )
    }
}

/// It and those above it.
fn frames(frame: &Frame) -> usize {
    1 + frame.children.iter().map(frames).sum::<usize>()
}

fn share(ns: u64, all: u64) -> String {
    percent(if all == 0 { 0.0 } else { ns as f64 / all as f64 })
}

fn draw(placed: &Placed<'_>, all: u64, height: f64, out: &mut dyn Write) -> io::Result<()> {
    let (frame, inner) = (placed.frame, WIDTH - 2.0 * MARGIN);
    let (x, width) = (MARGIN + placed.x * inner, (placed.width * inner).max(0.1));
    let y = height - BOTTOM - ROW * (placed.level + 1) as f64;
    let calls = if frame.calls > 0 { format!(", {} calls", count(frame.calls)) } else { String::new() };
    let name = title(frame);
    let title = format!(
        "{name}\n{} ({}), itself {} ({}){calls}",
        duration(frame.total_ns),
        share(frame.total_ns, all),
        duration(frame.own_ns),
        share(frame.own_ns, all),
    );
    let fill = match (placed.level, frame.module.as_str()) {
        (0, _) => "#ddd".to_owned(),
        (_, "") => "#cfd8dc".to_owned(),
        (_, module) => colour(module, &frame.name),
    };
    writeln!(
        out,
        r#"<g class="f" data-x="{:.6}" data-w="{:.6}"><title>{}</title><rect x="{}" y="{}" width="{}" height="{}" rx="1" fill="{fill}"/><text x="{}" y="{}">{}</text></g>"#,
        placed.x,
        placed.width,
        escape(&title),
        coordinate(x),
        coordinate(y),
        coordinate(width),
        coordinate(ROW - 1.0),
        coordinate(x + 3.0),
        coordinate(y + 12.0),
        escape(&fit(&name, ((width - 6.0) / CHARACTER).max(0.0) as usize)),
    )
}

/// Zoom by click, search by substring or regular expression.
const SCRIPT: &str = include_str!("flame.js");
