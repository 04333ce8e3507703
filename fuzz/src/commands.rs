//! Every command of `spoor`, one for each input.

use std::path::Path;
use std::sync::Mutex;

use clap::Parser;
use spoor_analyzer::{cli::Cli, commands};

use crate::files::{Files, directory};
use crate::{Recording, recording, watch};

/// What is run: by the second byte of an input. FILE is the recording, N how many threads.
/// The tests of `analyzer` run the same on what was found.
const COMMANDS: &str = include_str!("../../testdata/crashers/commands.list");

const FILE: &str = "file.spoor";

/// The commands for a file and for a stream, parsed once: that takes longer than most of them.
struct Prepared {
    of_file: Vec<Cli>,
    of_stream: Vec<Cli>,
    file: Files,
    stream: Files,
}

impl Prepared {
    fn new(threads: usize) -> Prepared {
        let (file, stream) = (Files::new(directory("file")), Files::new(directory("stream")));
        let parse = |path: &Path| COMMANDS.lines().map(|line| parse(line, path, threads)).collect();
        Prepared { of_file: parse(&file.directory().join(FILE)), of_stream: parse(stream.directory()), file, stream }
    }

    /// Writes the recording; the commands that read it.
    fn write(&mut self, recording: Recording) -> &[Cli] {
        match recording {
            Recording::File(bytes) => {
                self.file.set(vec![(FILE.to_owned(), bytes)]);
                &self.of_file
            }
            Recording::Stream(files) => {
                self.stream.set(files);
                &self.of_stream
            }
        }
    }
}

fn parse(line: &str, path: &Path, threads: usize) -> Cli {
    let words = line.split(' ').map(|word| match word {
        "FILE" => path.to_str().expect("a path in UTF-8").to_owned(),
        "N" => threads.to_string(),
        word => word.to_owned(),
    });
    let words = std::iter::once("spoor".to_owned()).chain(words);
    Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Runs the command that an input names on the recording that it stands for, by that
/// many threads; the same number each time.
pub fn run(data: &[u8], threads: usize) {
    static PREPARED: Mutex<Option<Prepared>> = Mutex::new(None);
    let Some(recording) = recording(data) else { return };
    let mut prepared = PREPARED.lock().expect("a panic ends the process");
    let commands = prepared.get_or_insert_with(|| Prepared::new(threads)).write(recording);
    let which = usize::from(data[1]) % commands.len();
    watch::run(which, || {
        commands::run(&commands[which]);
    });
}

/// How many commands there are.
pub fn count() -> usize {
    COMMANDS.lines().count()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_of_spoor_is_run() {
        use clap::CommandFactory;
        for command in spoor_analyzer::cli::Cli::command().get_subcommands() {
            let name = format!("{} ", command.get_name());
            assert!(super::COMMANDS.lines().any(|line| line.starts_with(&name)), "{name}");
        }
    }
}
