//! A number for each process of a recording, decided once all is known of it and asked for by
//! its pid: packed, as there may be tens of millions. Neighbours mostly have the same.

use foldhash::HashMap;
use spoor_format::chunk::Identity;

use crate::read::PidFormat;

/// Pids of a page.
const PAGE: usize = 1 << 10;
/// Stands for a number that has no room in a page.
const ELSEWHERE: u16 = u16::MAX;

/// Numbers by process.
#[derive(Debug)]
pub struct Verdicts {
    format: PidFormat,
    pages: HashMap<u64, Page>,
    others: HashMap<Identity, u32>,
}

#[derive(Debug)]
enum Page {
    /// All that were told of have this number.
    Same(u16),
    Each(Box<[u16; PAGE]>),
}

impl Verdicts {
    /// Of a VM whose pids are like this.
    pub fn new(format: PidFormat) -> Verdicts {
        Verdicts { format, pages: HashMap::default(), others: HashMap::default() }
    }

    /// Tells of a process; what was told of one with the same pid before is forgotten.
    pub fn tell(&mut self, identity: Identity, number: u32) {
        let Identity::Process(word) = identity else {
            self.others.insert(identity, number);
            return;
        };
        let word = self.format.dense(word);
        let short = u16::try_from(number).unwrap_or(ELSEWHERE);
        if short == ELSEWHERE {
            self.others.insert(identity, number);
        }
        let page = self.pages.entry(word / PAGE as u64).or_insert(Page::Same(short));
        if let Page::Same(same) = page {
            if *same == short {
                return;
            }
            *page = Page::Each(Box::new([*same; PAGE]));
        }
        if let Page::Each(each) = page {
            each[word as usize % PAGE] = short;
        }
    }

    /// Was another number than 0 told of any?
    pub fn any(&self) -> bool {
        let some = |page: &Page| match page {
            Page::Same(same) => *same > 0,
            Page::Each(each) => each.iter().any(|number| *number > 0),
        };
        self.pages.values().any(some) || self.others.values().any(|number| *number > 0)
    }

    /// What was told of a process: there must have been something.
    pub fn of(&self, identity: Identity) -> u32 {
        let short = match identity {
            Identity::Process(word) => {
                let word = self.format.dense(word);
                match self.pages.get(&(word / PAGE as u64)) {
                    Some(Page::Same(same)) => *same,
                    Some(Page::Each(each)) => each[word as usize % PAGE],
                    None => 0,
                }
            }
            _ => ELSEWHERE,
        };
        match short {
            ELSEWHERE => self.others.get(&identity).copied().unwrap_or(0),
            short => u32::from(short),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own() {
        let mut verdicts = Verdicts::new(PidFormat::assumed());
        let number = |word: u64| match word % 1000 {
            0 => 100_000,
            n if n < 500 => 7,
            n => n as u32,
        };
        (0..5_000).for_each(|word| verdicts.tell(Identity::Process(word), number(word)));
        verdicts.tell(Identity::Port(3), 9);
        assert!((0..5_000).all(|word| verdicts.of(Identity::Process(word)) == number(word)));
        assert_eq!((verdicts.of(Identity::Port(3)), verdicts.of(Identity::Port(4))), (9, 0));
        assert!(verdicts.any() && !Verdicts::new(PidFormat::assumed()).any());
        verdicts.tell(Identity::Process(1), 8);
        assert_eq!((verdicts.of(Identity::Process(1)), verdicts.of(Identity::Process(2))), (8, 7));
    }
}
