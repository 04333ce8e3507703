//! Sets of processes of which there may be tens of millions, and who takes whose place.

use foldhash::{HashMap, HashSet};
use spoor_format::chunk::Identity;

use crate::read::{PidFormat, Recording};

/// Pids of a page.
const PAGE: u64 = 1 << 10;

/// A set of processes and ports: neighbours share a page.
#[derive(Debug)]
pub struct Pids {
    format: PidFormat,
    pages: HashMap<u64, Box<[u64; PAGE as usize / 64]>>,
    others: HashSet<Identity>,
    count: usize,
}

impl Pids {
    /// Of a VM whose pids are like this.
    pub fn new(format: PidFormat) -> Pids {
        Pids { format, pages: HashMap::default(), others: HashSet::default(), count: 0 }
    }

    /// Adds one, if it is not in it.
    pub fn insert(&mut self, identity: Identity) {
        let Identity::Process(word) = identity else {
            self.count += usize::from(self.others.insert(identity));
            return;
        };
        let word = self.format.dense(word);
        let page = self.pages.entry(word / PAGE).or_insert_with(|| Box::new([0; PAGE as usize / 64]));
        let (bits, bit) = (&mut page[(word % PAGE) as usize / 64], 1 << (word % 64));
        self.count += usize::from(*bits & bit == 0);
        *bits |= bit;
    }

    /// How many are in it.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

/// Who was seen last at each place of the VM's table of processes: of two at the same place the
/// first has exited.
#[derive(Debug, Default)]
pub struct Places {
    mask: Option<u64>,
    last: HashMap<u64, u64>,
}

impl Places {
    /// Of a recording, where the VM has told how large its table is.
    pub fn of(recording: &Recording) -> Places {
        Places { mask: recording.pids.place_mask(), last: HashMap::default() }
    }

    /// One is seen for the first time: who was at its place before?
    pub fn replaced(&mut self, identity: Identity) -> Option<Identity> {
        let (Some(mask), Identity::Process(word)) = (self.mask, identity) else { return None };
        let before = self.last.insert(word & mask, word)?;
        (before != word).then_some(Identity::Process(before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_once() {
        let mut pids = Pids::new(PidFormat::assumed());
        for word in (0..5_000).chain(4_000..6_000).map(|n| n * 8) {
            pids.insert(Identity::Process(word));
        }
        [1, 2, 1].into_iter().for_each(|word| pids.insert(Identity::Port(word)));
        assert_eq!(pids.len(), 6_002);
    }

    #[test]
    fn one_takes_the_place_of_another() {
        let mut places = Places { mask: Some(0xff), ..Places::default() };
        let seen = [1, 2, 0x101, 0x101].map(|word| places.replaced(Identity::Process(word)));
        assert_eq!(seen, [None, None, Some(Identity::Process(1)), None]);
    }
}
