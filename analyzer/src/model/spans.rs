//! The moments at which calls were timed: none counts twice, however calls lie in each other, and
//! in whatever order it becomes known when they ended.

use smallvec::SmallVec;

/// Begins and ends, apart from each other, in order.
#[derive(Debug, Default)]
pub(super) struct Spans {
    spans: SmallVec<[(u64, u64); FEW]>,
    /// So many are kept before it is looked for those that need not be told apart.
    room: usize,
}

const ROOM: usize = 64;
/// So many take no memory of their own: nearly always there is one, for as long as a recursion takes, and threads that
/// give back each other's memory wait for each other.
const FEW: usize = 2;

impl Spans {
    pub(super) fn add(&mut self, start: u64, end: u64) {
        if end <= start {
            return;
        }
        let first = self.spans.partition_point(|span| span.1 < start);
        let after = self.spans.partition_point(|span| span.0 <= end);
        if first == after {
            return self.spans.insert(first, (start, end));
        }
        let all = (start.min(self.spans[first].0), end.max(self.spans[after - 1].1));
        self.spans.drain(first + 1..after);
        self.spans[first] = all;
    }

    /// How long they are together; none is left.
    pub(super) fn take(&mut self) -> u64 {
        self.spans.drain(..).fold(0, |sum, (start, end)| sum.saturating_add(end - start))
    }

    pub(super) fn is_full(&self) -> bool {
        self.spans.len() > self.room.max(ROOM)
    }

    /// A span to come begins and ends at one of these moments, or later than all that is here:
    /// what lies between two of them may lie anywhere there.
    pub(super) fn tighten(&mut self, mut moments: Vec<u64>) {
        moments.sort_unstable();
        moments.dedup();
        let mut tight: SmallVec<[(u64, u64); FEW]> = SmallVec::new();
        let mut moments = moments.into_iter().peekable();
        // Where the next may begin that lies between the same two.
        let mut free = 0;
        for (mut start, end) in self.spans.drain(..) {
            while start < end {
                while let Some(moment) = moments.next_if(|moment| *moment <= start) {
                    free = moment;
                }
                let until = moments.peek().map_or(end, |moment| end.min(*moment));
                let (begin, length) = (free.min(start), until - start);
                free = begin + length;
                start = until;
                match tight.last_mut() {
                    Some(last) if last.1 == begin => last.1 = free,
                    _ => tight.push((begin, free)),
                }
            }
        }
        self.spans = tight;
        self.room = 2 * self.spans.len();
    }

    /// As often as the moments are looked through, so many spans must have come at least.
    pub(super) fn has_room_for(&mut self, more: usize) {
        self.room = self.room.max(self.spans.len() + more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether moments are told apart that no later span can tell apart, or not, is the same to the sum.
    #[test]
    fn the_sum_is_that_of_the_moments() {
        let mut random = 7_u64;
        let mut below = |n: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % n
        };
        for _ in 0..2_000 {
            let marks: Vec<u64> = (0..1 + below(5)).map(|_| below(100)).chain([0]).collect();
            let (mut loose, mut tight, mut moments) = (Spans::default(), Spans::default(), [false; 200]);
            let mut add = |start: u64, end: u64, loose: &mut Spans, tight: &mut Spans| {
                loose.add(start, end);
                tight.add(start, end);
                (start..end).for_each(|moment| moments[moment as usize] = true);
            };
            for _ in 0..below(12) {
                let start = below(100);
                add(start, start + below(12).min(100 - start), &mut loose, &mut tight);
            }
            tight.tighten(marks.clone());
            assert!(tight.spans.len() <= marks.len());
            for _ in 0..below(4) {
                let (from, to) = (marks[below(marks.len() as u64) as usize], marks[below(marks.len() as u64) as usize]);
                let to = if below(2) == 0 { to.max(from) } else { 100 + below(100) };
                add(from, to, &mut loose, &mut tight);
            }
            let sum = moments.iter().filter(|moment| **moment).count() as u64;
            assert_eq!((loose.take(), tight.take()), (sum, sum));
        }
    }
}
