//! Recordings that are summed up: one answer to all of them.

use std::io::{self, Write};
use std::mem::take;
use std::path::PathBuf;

use anyhow::Result;
use schemars::JsonSchema;
use serde::Serialize;

use super::{About, Health, Sought, each_of, files, nothing, stdout, style, tell, window};
use crate::cli::{Input, Table, WindowArgs};
use crate::model::filter::Filter;
use crate::read::{Names, Outcome, Recording, Window};
use crate::view::table::Style;

/// What was read of them.
pub(super) struct Summed<'a> {
    files: Vec<PathBuf>,
    window: &'a WindowArgs,
    /// Functions have one number in all of them.
    pub(super) names: Names,
    pub(super) about: Vec<About>,
    health: Health,
}

/// The answer to all recordings.
#[derive(Serialize, JsonSchema)]
pub(super) struct Answer<'a, R> {
    recordings: &'a [About],
    #[serde(flatten)]
    report: R,
}

impl<'a> Summed<'a> {
    /// Reads one after the other: `read` is handed the window, and the names met so far.
    pub(super) fn read(
        input: &Input,
        window: &'a WindowArgs,
        read: impl FnMut(&Recording, Window, Names) -> Result<Outcome>,
    ) -> Result<Summed<'a>> {
        let (files, names) = (files(&input.paths)?, Names::default());
        let mut summed = Summed { files, window, names, about: Vec::new(), health: Health::Fine };
        summed.health = summed.pass(true, read)?;
        Ok(summed)
    }

    /// Reads them a second time: what is wrong with them has been told.
    pub(super) fn again(&mut self, read: impl FnMut(&Recording, Window, Names) -> Result<Outcome>) -> Result<()> {
        self.pass(false, read).map(|_| ())
    }

    fn pass(
        &mut self,
        first: bool,
        mut read: impl FnMut(&Recording, Window, Names) -> Result<Outcome>,
    ) -> Result<Health> {
        let Summed { files, window: asked, names, about, .. } = self;
        each_of(files, first, |recording| {
            let window = window(asked, recording)?;
            let outcome = read(recording, window, take(names))?;
            let health = Health::Fine.and(&outcome.findings);
            if first {
                tell(recording, &outcome.findings)?;
                about.push(About::new(recording, window, &outcome));
            }
            *names = outcome.names;
            Ok(health)
        })
    }

    /// Prints the report: as JSON, or as text below what was read.
    pub(super) fn print(
        &self,
        table: &Table,
        report: &impl Serialize,
        text: impl FnOnce(Style, &mut dyn Write) -> io::Result<()>,
    ) -> Result<Health> {
        let mut out = stdout();
        if table.json {
            self.json(report, &mut out)?;
        } else {
            self.about.iter().try_for_each(|recording| recording.heading(&mut out))?;
            writeln!(out)?;
            text(style(table.wide), &mut out)?;
        }
        out.flush()?;
        Ok(self.health)
    }

    /// Writes the report as JSON.
    pub(super) fn json(&self, report: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &Answer { recordings: &self.about, report })?;
        writeln!(out)
    }

    /// Says why the answer has nothing in it.
    pub(super) fn nothing(&self, sought: Sought, filter: &Filter) -> io::Result<()> {
        nothing(sought, &self.files, filter, self.window)
    }

    /// How reading them went.
    pub(super) fn health(&self) -> Health {
        self.health
    }
}
