//! Every command of `spoor`, one for each input.

use std::path::Path;
use std::sync::Mutex;

use clap::Parser;
use spoor_analyzer::{cli::Cli, commands};

use crate::files::{Files, directory};
use crate::{Recording, recording, watch};

/// What is run: by the second byte of an input. FILE is the recording.
const COMMANDS: &[&str] = &[
    "info FILE",
    "info --json FILE",
    "check FILE",
    "check --json FILE",
    "dump --raw FILE",
    "dump FILE",
    "dump --json FILE",
    "dump --json --from 1us --kind * -p * FILE",
    "dump -n 3 --from=-10us --to=-1ns -k call* -k *turn* -m * --scheduler * FILE",
    "dump -g * --group-by supervisor --last 2us FILE",
    "calls --threads N --sort p99 FILE",
    "calls --threads N --wide -n 0 FILE",
    "calls --threads N --json --last 1us -m * FILE",
    "calls --threads N --by module --sort max FILE",
    "calls --threads N --by group --json FILE",
    "calls --threads N -k call -k return_to --name * FILE FILE",
    "hist * --threads N FILE",
    "hist * --threads N --json --hgrm /dev/null --hlog /dev/null FILE",
    "callers * FILE",
    "callers lists:* --json FILE",
    "callees * FILE",
    "callees * --json -p * FILE FILE",
    "slow * -n 3 FILE",
    "slow * --json FILE",
    "slow * --from 1ns -k call -k in -k out FILE",
    "procs FILE",
    "procs --each --json FILE",
    "procs --each --wide --group-by label --last 1us FILE",
    "gc FILE",
    "gc --json -g * FILE",
    "msgs FILE",
    "msgs --json --wide -m * FILE",
    "flame FILE",
    "flame --folded --time wall --per-process FILE",
    "flame --time on -f * --from 1ns FILE",
    "sched FILE",
    "sched --json --last 1us FILE",
    "sched -n 3 -o /dev/null -p * FILE",
    "requests FILE",
    "requests --json FILE",
    "requests --by client --slowest 2 --from 1ns FILE FILE",
    "requests --json --group-by initial_call -k send -k receive FILE",
];

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
        let parse = |path: &Path| COMMANDS.iter().map(|line| parse(line, path, threads)).collect();
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
    COMMANDS.len()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_command_of_spoor_is_run() {
        use clap::CommandFactory;
        for command in spoor_analyzer::cli::Cli::command().get_subcommands() {
            let name = format!("{} ", command.get_name());
            assert!(super::COMMANDS.iter().any(|line| line.starts_with(&name)), "{name}");
        }
    }
}
