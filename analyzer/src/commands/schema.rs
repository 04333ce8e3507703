//! The JSON schemas of what the commands answer with `--json`.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use super::{calls, edges, gc, hist, msgs, procs, requests, sched, slow};
use crate::model::{check, info};

/// The schema of each command's answer, by the name of its file in `docs/schema`.
/// That of `dump`, whose lines follow the table of the format, is written by hand.
///
/// ```
/// let schemas = spoor_analyzer::commands::schemas();
/// assert!(schemas.iter().any(|(name, _)| *name == "calls"));
/// ```
pub fn schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("callees", schema::<edges::Answer<'_>>("spoor callees --json")),
        ("callers", schema::<edges::Answer<'_>>("spoor callers --json")),
        ("calls", schema::<calls::Answer<'_>>("spoor calls --json")),
        ("calls-by", schema::<calls::KeyedAnswer<'_>>("spoor calls --by module|group --json")),
        ("check", schema::<check::Report>("spoor check --json")),
        ("gc", schema::<gc::Answer<'_>>("spoor gc --json")),
        ("hist", schema::<hist::Answer<'_>>("spoor hist --json")),
        ("info", schema::<info::Report>("spoor info --json")),
        ("msgs", schema::<msgs::Answer<'_>>("spoor msgs --json")),
        ("procs", schema::<procs::Answer<'_>>("spoor procs --json")),
        ("requests", schema::<requests::Answer<'_>>("spoor requests --json")),
        ("sched", schema::<sched::Answer<'_>>("spoor sched --json")),
        ("slow", schema::<slow::Answer<'_>>("spoor slow --json")),
    ]
}

fn schema<T: JsonSchema>(title: &str) -> Schema {
    let mut schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("title".to_owned(), title.into());
    schema
}
