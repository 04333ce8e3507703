//! Processes as groups: a hundred thousand of them read as a page.

use std::collections::{BTreeMap, HashMap};

use crate::model::processes::Processes;
use crate::read::{Names, TraceeId, Tracees};

/// What processes are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Grouping {
    /// The first that exists of registered name, label and initial call.
    #[default]
    Title,
    /// Registered name.
    Name,
    /// Label.
    Label,
    /// The function it began in.
    InitialCall,
    /// The nearest ancestor that is a supervisor.
    Supervisor,
}

impl Grouping {
    /// All, with the names that the command line takes.
    pub const ALL: [(Grouping, &'static str); 5] = [
        (Grouping::Title, "title"),
        (Grouping::Name, "name"),
        (Grouping::Label, "label"),
        (Grouping::InitialCall, "initial_call"),
        (Grouping::Supervisor, "supervisor"),
    ];
}

/// The groups of processes, by dense numbers, over several recordings.
#[derive(Debug, Default)]
pub struct Groups {
    by: Grouping,
    titles: Vec<String>,
    numbers: HashMap<String, u32>,
    of: Vec<Option<u32>>,
}

impl Groups {
    /// Grouped by.
    pub fn new(by: Grouping) -> Groups {
        Groups { by, ..Groups::default() }
    }

    /// The group of a process, by what is known of it when it is first asked for.
    #[inline]
    pub fn of(&mut self, tracee: TraceeId, processes: &Processes, tracees: &Tracees, names: &Names) -> u32 {
        match self.of.get(tracee.0 as usize) {
            Some(Some(group)) => *group,
            _ => self.find(tracee, processes, tracees, names),
        }
    }

    #[cold]
    fn find(&mut self, tracee: TraceeId, processes: &Processes, tracees: &Tracees, names: &Names) -> u32 {
        let title = processes.group(self.by, tracee, tracees, names);
        let next = self.titles.len() as u32;
        let group = *self.numbers.entry(title).or_insert_with_key(|title| {
            self.titles.push(title.clone());
            next
        });
        let at = tracee.0 as usize;
        if self.of.len() <= at {
            self.of.resize(at + 1, None);
        }
        self.of[at] = Some(group);
        group
    }

    /// The group of a process that was asked for before.
    pub fn known(&self, tracee: TraceeId) -> Option<u32> {
        self.of.get(tracee.0 as usize).copied().flatten()
    }

    /// A process has no more events: its number may be another's.
    pub fn forget(&mut self, tracee: TraceeId) {
        if let Some(group) = self.of.get_mut(tracee.0 as usize) {
            *group = None;
        }
    }

    /// A recording ends: the numbers of processes begin anew.
    pub fn end_of_recording(&mut self) {
        self.of.clear();
    }

    /// The title of each group. Titles that differ in their digits only become
    /// one: `worker_1` and `worker_2` are `worker_*`.
    pub fn titles(&self) -> Vec<String> {
        self.titles_of(|_| true)
    }

    /// As [`Groups::titles`], as if there were only the groups that `counts` takes.
    pub fn titles_of(&self, counts: impl Fn(usize) -> bool) -> Vec<String> {
        let mut alike: BTreeMap<String, usize> = BTreeMap::new();
        let counted = self.titles.iter().enumerate().filter(|(number, _)| counts(*number));
        counted.for_each(|(_, title)| *alike.entry(shape(title)).or_default() += 1);
        let title = |title: &String| {
            let shape = shape(title);
            if alike.get(&shape).is_some_and(|n| *n > 1) { shape } else { title.clone() }
        };
        self.titles.iter().map(title).collect()
    }
}

/// Every run of digits as a `*`, but not the arity of a function.
fn shape(title: &str) -> String {
    let mut shape = String::with_capacity(title.len());
    let (mut before, mut in_digits) = (' ', false);
    for c in title.chars() {
        let digit = c.is_ascii_digit() && (in_digits || before != '/');
        if digit && !in_digits {
            shape.push('*');
        } else if !digit {
            shape.push(c);
        }
        (before, in_digits) = (c, digit);
    }
    shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_that_differ_in_numbers_only_are_one() {
        let titles = ["worker_1", "worker_22", "h2_conn", "a:f/1", "a:f/2", "{http,<0.5.0>}", "{http,<0.16.0>}"];
        let groups = Groups { titles: titles.map(str::to_owned).to_vec(), ..Groups::default() };
        let want = ["worker_*", "worker_*", "h2_conn", "a:f/1", "a:f/2", "{http,<*.*.*>}", "{http,<*.*.*>}"];
        assert_eq!(groups.titles(), want);
    }
}
