//! Calls that may have ended without a sign: which become unsure, and when.
//!
//! A stack may be deep, and each return may put all of it in doubt. A call that may have ended at two
//! returns can end at neither for certain, and more doubts change nothing: those that lie deep are passed over.

use super::frames::{Frame, Stack};
use super::{Observer, REACH};

impl Frame {
    /// More doubts change nothing.
    fn is_settled(&self) -> bool {
        self.marker || self.unsure && self.again
    }
}

impl Stack {
    /// The call there may have ended now, if it is one.
    pub(super) fn doubt(&mut self, place: usize, time: u64, observer: &mut impl Observer) {
        let frame = &mut self.frames[place];
        frame.doubted = true;
        if frame.marker {
            return;
        }
        if !frame.unsure {
            frame.unsure_at = time;
        }
        (frame.again, frame.unsure) = (frame.unsure, true);
        observer.doubted(frame.number, frame.again);
    }

    /// All calls from `least` on may have ended now.
    pub(super) fn doubt_all(&mut self, least: usize, time: u64, observer: &mut impl Observer) {
        let deep = self.frames.len().saturating_sub(REACH).max(least);
        for place in (deep..self.frames.len()).rev() {
            self.doubt(place, time, observer);
        }
        self.each_unsettled(least, deep, |stack, place| stack.doubt(place, time, observer));
    }

    /// It goes on, or another activation below it does: then all between them has ended.
    pub(super) fn doubt_activations(&mut self, place: usize, time: u64, observer: &mut impl Observer) {
        let lowest = self.frames[place].lowest as usize;
        self.each_unsettled(lowest + 1, place + 1, |stack, between| {
            stack.frames[between].tangled = true;
            stack.doubt(between, time, observer);
        });
    }

    /// Those from `least` up to `end` of which a doubt can change something, from above.
    fn each_unsettled(&mut self, least: usize, end: usize, mut change: impl FnMut(&mut Stack, usize)) {
        let mut end = end;
        while end > least {
            if self.frames[end - 1].is_settled() {
                end = self.pass_over(end - 1);
            } else {
                end -= 1;
                change(self, end);
            }
        }
    }

    /// Down to where all is settled from there on: the next time it is gone there at once.
    fn pass_over(&mut self, from: usize) -> usize {
        let mut down = from;
        while let Some(next) = self.next_settled(down) {
            down = next;
        }
        let mut at = from;
        while let Some(next) = self.next_settled(at) {
            self.frames[at].settled = down as u32 + 1;
            at = next;
        }
        down
    }

    fn next_settled(&self, place: usize) -> Option<usize> {
        let known = (self.frames[place].settled as usize).checked_sub(1).filter(|known| *known < place);
        known.or_else(|| place.checked_sub(1).filter(|below| self.frames[*below].is_settled()))
    }
}
