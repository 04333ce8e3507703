//! The files that runs read, in memory, written anew as little as can be: that takes
//! longer than reading them.

use std::fs::{File, OpenOptions, create_dir_all, remove_file};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const PAGE: usize = 4096;

/// A directory of this process.
pub fn directory(name: &str) -> PathBuf {
    let memory = Path::new("/dev/shm");
    let here = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let here = here.join(format!("spoor-fuzz-{}", std::process::id())).join(name);
    create_dir_all(&here).expect("a temporary directory");
    here
}

/// Files of a directory that nobody else writes to.
#[derive(Debug)]
pub struct Files {
    directory: PathBuf,
    known: Vec<Known>,
}

#[derive(Debug)]
struct Known {
    name: String,
    file: File,
    bytes: Vec<u8>,
}

impl Files {
    /// None as yet.
    pub fn new(directory: PathBuf) -> Files {
        Files { directory, known: Vec::new() }
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// From now on there are these files, and no others.
    pub fn set(&mut self, files: Vec<(String, Vec<u8>)>) {
        self.known.retain(|known| {
            let wanted = files.iter().any(|(name, _)| *name == known.name);
            if !wanted {
                remove_file(self.directory.join(&known.name)).expect("it is there");
            }
            wanted
        });
        for (name, bytes) in files {
            match self.known.iter_mut().find(|known| known.name == name) {
                Some(known) => known.change(bytes),
                None => {
                    let path = self.directory.join(&name);
                    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path);
                    let mut known = Known { name, file: file.expect("it can be written"), bytes: Vec::new() };
                    known.change(bytes);
                    self.known.push(known);
                }
            }
        }
    }
}

impl Known {
    fn change(&mut self, bytes: Vec<u8>) {
        if bytes.len() != self.bytes.len() {
            self.file.set_len(bytes.len() as u64).expect("it can be written");
            self.bytes.resize(bytes.len(), 0);
        }
        for (number, (new, old)) in bytes.chunks(PAGE).zip(self.bytes.chunks(PAGE)).enumerate() {
            if new != old {
                self.file.write_all_at(new, (number * PAGE) as u64).expect("it can be written");
            }
        }
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_what_was_said_last() {
        let mut files = Files::new(directory("test"));
        let long: Vec<u8> = (0..9000_u32).map(|n| n as u8).collect();
        let one = |bytes: &[u8]| ("one".to_owned(), bytes.to_vec());
        let steps = [vec![one(b"abc")], vec![one(&long), ("two".to_owned(), vec![7; 5000])], vec![one(&long[1..])]];
        for step in steps.into_iter().chain([vec![one(&long[..10])], vec![one(&[0; 5000])], vec![]]) {
            files.set(step.clone());
            let there = std::fs::read_dir(files.directory()).expect("readable").count();
            assert_eq!(there, step.len());
            for (name, bytes) in step {
                assert_eq!(std::fs::read(files.directory().join(name)).expect("readable"), bytes);
            }
        }
    }
}
