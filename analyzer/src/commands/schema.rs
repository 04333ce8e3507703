//! The JSON schemas of what the commands answer with `--json`.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use super::{calls, edges, flame, hist, procs, sched, slow, summed::Answer};
use crate::model::{self, check, gc, info, msgs, requests};

/// The schema of each command's answer, by the name of its file in `docs/schema`.
/// That of `dump`, whose lines follow the table of the format, is written by hand.
///
/// ```
/// let schemas = spoor_analyzer::commands::schemas();
/// assert!(schemas.iter().any(|(name, _)| *name == "calls"));
/// ```
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("callees", schema::<Answer<'_, edges::Report<'_>>>("spoor callees --json")),
        ("callers", schema::<Answer<'_, edges::Report<'_>>>("spoor callers --json")),
        ("calls", schema::<Answer<'_, model::calls::Report>>("spoor calls --json")),
        ("calls-by", schema::<Answer<'_, calls::KeyedReport<'_>>>("spoor calls --by module|group --json")),
        ("check", schema::<check::Report>("spoor check --json")),
        ("flame", schema::<Answer<'_, flame::Report<'_>>>("spoor flame --json")),
        ("gc", schema::<Answer<'_, gc::Report>>("spoor gc --json")),
        ("hist", schema::<Answer<'_, hist::Report<'_>>>("spoor hist --json")),
        ("info", schema::<info::Report>("spoor info --json")),
        ("msgs", schema::<Answer<'_, msgs::Report>>("spoor msgs --json")),
        ("procs", schema::<Answer<'_, procs::Report<'_>>>("spoor procs --json")),
        ("requests", schema::<Answer<'_, requests::Report>>("spoor requests --json")),
        ("sched", schema::<sched::Answer<'_>>("spoor sched --json")),
        ("slow", schema::<Answer<'_, slow::Report<'_>>>("spoor slow --json")),
    ]
}

fn schema<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema
}
