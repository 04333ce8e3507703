//! Writes a few sound inputs for each target, for the fuzzer to begin with:
//! `seeds DIRECTORY [RECORDING...]` fills `DIRECTORY/TARGET/`. Small recordings that
//! are named are added to them.

use std::path::Path;

use spoor_fuzz::repair::{part, squeeze};
use spoor_fuzz::{commands, kind, seeds};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().expect("usage: seeds DIRECTORY [RECORDING...]");
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let target = Path::new(&directory).join(target);
        std::fs::create_dir_all(&target)?;
        std::fs::write(target.join(format!("seed-{name}")), bytes)
    };
    for (target, name, bytes) in seeds::all() {
        put(target, &name, &bytes)?;
    }
    for (number, path) in arguments.enumerate() {
        let squeezed = squeeze(&std::fs::read(path)?);
        for command in 0..commands::count() {
            let input = [&[kind::SPARSE, command as u8, part::ALL][..], &squeezed].concat();
            put("commands", &format!("real-{number}-{command}"), &input)?;
        }
        put("reader", &format!("real-{number}"), &[&[kind::SPARSE, 0, part::ALL][..], &squeezed].concat())?;
    }
    Ok(())
}
