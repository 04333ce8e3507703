//! The totals of functions: no moment counts twice.
//!
//! What timed activations took goes to the one below, which takes longer when it is timed itself. That is a
//! number, as long as calls end when they leave the stack. One that may have ended may turn out to have ended long
//! before, when others of its function, known by then, were open still: where one is in doubt, moments are kept.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::Observer;
use super::frames::{Frame, Multiply, Stack};
use crate::model::spans::Spans;
use crate::read::FunctionId;

/// By function.
pub(super) type Covered = HashMap<FunctionId, Spans, BuildHasherDefault<Multiply>>;

impl Stack {
    /// Was the activation in doubt whose place is one less?
    #[inline(always)]
    pub(super) fn is_doubted(&self, below: u32) -> bool {
        (below as usize).checked_sub(1).and_then(|below| self.frames.get(below)).is_some_and(|below| below.doubted)
    }

    /// What a frame that has left took, if it was timed, or else those above it, goes to the activation below,
    /// which may turn out to be timed itself, or is the function's total.
    #[inline(always)]
    pub(super) fn hand_down(&mut self, gone: &Frame, timed: Option<u64>, observer: &mut impl Observer) {
        let total = match gone.doubted {
            false => timed.unwrap_or(gone.inner_total),
            true => self.uncovered(gone.function, (gone.start, gone.inner_total), gone.below, timed),
        };
        match (gone.below as usize).checked_sub(1).and_then(|below| self.frames.get_mut(below)) {
            Some(below) => below.inner_total += total,
            None if total > 0 => observer.total(gone.function, total),
            None => {}
        }
    }

    /// The same of a frame that was in doubt: nothing as long as one below it was. It is not handed over
    /// as a whole, as it would have to be copied for that, whether in doubt or not.
    #[cold]
    #[inline(never)]
    fn uncovered(&mut self, function: FunctionId, gone: (u64, u64), below: u32, timed: Option<u64>) -> u64 {
        let (start, inner) = gone;
        let stands_on_doubted = self.is_doubted(below);
        let length = timed.unwrap_or(inner);
        if !self.covered.contains_key(&function) && (!stands_on_doubted || length == 0) {
            return length;
        }
        let spans = self.covered.entry(function).or_default();
        spans.add(start, start.saturating_add(length.max(inner)));
        if !stands_on_doubted {
            return self.covered.remove(&function).map_or(0, |mut spans| spans.take());
        }
        if spans.is_full() {
            self.tighten(function);
        }
        0
    }

    /// Tells no more moments of the function apart than calls that are open begin or may have ended at.
    fn tighten(&mut self, function: FunctionId) {
        let Some(spans) = self.covered.get_mut(&function) else { return };
        let (mut moments, mut open) = (Vec::new(), 0);
        let mut place = self.active.get(function.0) as usize;
        while let Some(frame) = place.checked_sub(1).and_then(|at| self.frames.get_mut(at)) {
            if frame.doubted {
                spans.add(frame.start, frame.start.saturating_add(std::mem::take(&mut frame.inner_total)));
            }
            moments.push(frame.start);
            moments.extend(frame.unsure.then_some(frame.unsure_at));
            (place, open) = (frame.below as usize, open + 1);
        }
        spans.tighten(moments);
        spans.has_room_for(open);
    }

    /// Those of which no call is open any more are told.
    pub(super) fn uncover(&mut self, observer: &mut impl Observer) {
        let Stack { covered, active, .. } = self;
        covered.retain(|function, spans| {
            let open = active.get(function.0) > 0;
            if !open {
                observer.total(*function, spans.take());
            }
            open
        });
    }
}
