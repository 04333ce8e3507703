//! What the commands answer with `--json` is as `docs/schema` says.
//!
//! After a wanted change: `SPOOR_BLESS=1 cargo test -p spoor-analyzer --test schemas`.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use boon::{Compiler, Schemas};
use common::killed_shop;
use serde_json::Value;

fn documents() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema")
}

#[test]
fn the_published_schemas_are_those_of_the_code() {
    for (name, schema) in spoor_analyzer::commands::schemas() {
        let path = documents().join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
        if std::env::var_os("SPOOR_BLESS").is_some() {
            fs::write(&path, &text).expect("written");
        }
        let published = fs::read_to_string(&path).unwrap_or_default();
        assert!(published == text, "{name}.json differs; SPOOR_BLESS=1 takes this:\n{text}");
    }
}

/// The answers are values one behind the other: `dump` has one a line.
fn check(name: &str, args: &[&str]) {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("shop.spoor"), killed_shop().build()).expect("written");
    let done = Command::new(env!("CARGO_BIN_EXE_spoor")).args(args).arg("--json").current_dir(dir.path()).output();
    let done = done.expect("the binary runs");
    assert_eq!(done.status.code(), Some(0), "{args:?}");
    let text = fs::read_to_string(documents().join(format!("{name}.json"))).expect("published");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
    let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
    let place = format!("http://spoor.invalid/{name}.json");
    compiler.add_resource(&place, schema).expect("a schema");
    let index = compiler.compile(&place, &mut schemas).expect("a schema that is one");
    let mut answers = 0;
    for answer in serde_json::Deserializer::from_slice(&done.stdout).into_iter::<Value>() {
        let answer = answer.expect("JSON");
        if let Err(error) = schemas.validate(&answer, index) {
            panic!("{args:?}: {error:#}\n{answer:#}");
        }
        assert!(schemas.validate(&Value::Array(Vec::new()), index).is_err(), "{name} takes anything");
        answers += 1;
    }
    assert!(answers > 0, "{args:?} answers nothing");
}

#[test]
fn answers_are_as_published() {
    for (name, args) in [
        ("callees", vec!["callees", "shop_pricing", "shop.spoor"]),
        ("callers", vec!["callers", "*", "shop.spoor"]),
        ("calls", vec!["calls", "shop.spoor"]),
        ("calls-by", vec!["calls", "--by", "module", "shop.spoor"]),
        ("calls-by", vec!["calls", "--by", "group", "shop.spoor"]),
        ("check", vec!["check", "shop.spoor"]),
        ("check", vec!["check", "--last", "1ms", "shop.spoor"]),
        ("dump", vec!["dump", "shop.spoor"]),
        ("flame", vec!["flame", "--per-process", "shop.spoor"]),
        ("gc", vec!["gc", "shop.spoor"]),
        ("hist", vec!["hist", "*", "shop.spoor"]),
        ("hist", vec!["hist", "nothing", "shop.spoor"]),
        ("info", vec!["info", "shop.spoor"]),
        ("info", vec!["info", "-k", "call", "shop.spoor"]),
        ("msgs", vec!["msgs", "shop.spoor"]),
        ("procs", vec!["procs", "shop.spoor"]),
        ("procs", vec!["procs", "--each", "shop.spoor"]),
        ("requests", vec!["requests", "shop.spoor"]),
        ("sched", vec!["sched", "shop.spoor"]),
        ("sched", vec!["sched", "-k", "call", "shop.spoor"]),
        ("slow", vec!["slow", "*", "shop.spoor"]),
    ] {
        check(name, &args);
    }
}

#[test]
fn the_numbers_are_those_of_the_events() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("shop.spoor");
    fs::write(&file, killed_shop().build()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../test/commands_agree");
    let done = Command::new("python3").arg(script).arg(env!("CARGO_BIN_EXE_spoor")).arg(&file).output();
    let done = done.expect("python3 is installed");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
