//! The events of one share of the processes, put in order: by tick, and by lane
//! where ticks are equal, with the stretches in which events may be missing.

use std::collections::VecDeque;

use super::Dealt;
use super::part::{Moment, Part, Run};
use crate::read::clock::{Clock, ClockCursor};
use crate::read::gaps::Gaps;

/// What becomes known of missing events, and from which moment on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hole {
    pub(super) at: Moment,
    /// Where it begins, if not here and now.
    pub(super) from: Option<u64>,
    pub(super) until: u64,
}

/// The parts of a lane that are in memory; the first has this number.
#[derive(Debug, Default)]
pub(super) struct LaneParts {
    pub(super) number: u32,
    pub(super) first: u64,
    pub(super) parts: VecDeque<Part>,
}

impl LaneParts {
    fn part(&self, number: u64) -> Option<&Part> {
        self.parts.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The number of the next part.
    pub(super) fn next(&self) -> u64 {
        self.first.saturating_add(self.parts.len() as u64)
    }
}

/// Where a share has come to in a lane.
#[derive(Debug, Default, Clone, Copy)]
struct Place {
    part: u64,
    run: usize,
    /// In the events of the part; what lies before its run's begin is not its own.
    event: u32,
}

/// How far one share has come. In cache lines of its own, as others' are written by
/// other threads.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Share {
    number: usize,
    places: Vec<Place>,
    /// The tick of each lane's next event; `u64::MAX` for none that is in memory.
    heads: Vec<u64>,
    gaps: Gaps,
    /// Of the holes in memory, how many are known to the gaps.
    holes_taken: usize,
    /// The tick of the next one.
    next_hole: u64,
    clock: ClockCursor,
}

impl Share {
    pub(super) fn new(number: usize, lanes: usize, gaps: Gaps, clock: ClockCursor) -> Share {
        let places = vec![Place::default(); lanes];
        Share { number, places, heads: vec![u64::MAX; lanes], gaps, holes_taken: 0, next_hole: 0, clock }
    }

    /// Hands out the events before `horizon`.
    #[inline(always)]
    pub(super) fn advance(
        &mut self,
        lanes: &[LaneParts],
        holes: &[Hole],
        horizon: u64,
        clock: &Clock,
        mut take: impl FnMut(Dealt),
    ) {
        self.next_hole = holes.get(self.holes_taken).map_or(u64::MAX, |hole| hole.at.tick);
        (0..lanes.len()).for_each(|lane| self.find_head(lanes, lane));
        while let Some((lane, limit)) = self.next_turn(horizon) {
            self.span(lanes, (lane, limit), holes, clock, &mut take);
            self.find_head(lanes, lane);
        }
        // All that happens before the horizon is known by now.
        if let Some(tick) = horizon.checked_sub(1) {
            self.enter_until(holes, Moment { tick, lane: u32::MAX, part: u64::MAX, place: u32::MAX });
            self.gaps.at(tick);
        }
    }

    /// About how many of its events are in memory.
    pub(super) fn pending(&self, lanes: &[LaneParts]) -> u64 {
        let runs = lanes.iter().flat_map(|lane| &lane.parts).filter_map(|part| part.runs.get(self.number)).flatten();
        runs.fold(0, |sum, run| sum.saturating_add(u64::from(run.until.saturating_sub(run.from))))
    }

    /// So many of the holes are no longer in memory.
    pub(super) fn forget_holes(&mut self, gone: usize) {
        self.holes_taken = self.holes_taken.saturating_sub(gone);
    }

    /// The lane with the earliest event, and until which tick it is its turn.
    fn next_turn(&self, horizon: u64) -> Option<(usize, u64)> {
        let (mut first, mut second) = ((u64::MAX, usize::MAX), (u64::MAX, usize::MAX));
        for (lane, head) in self.heads.iter().enumerate() {
            let key = (*head, lane);
            if key < first {
                (second, first) = (first, key);
            } else if key < second {
                second = key;
            }
        }
        if first.0 >= horizon {
            return None;
        }
        // Where ticks are equal, the lower number is first: lanes are in their order.
        Some((first.1, second.0.saturating_add(u64::from(first.1 < second.1)).min(horizon)))
    }

    /// Finds the next event in a lane.
    fn find_head(&mut self, lanes: &[LaneParts], lane: usize) {
        let (Some(parts), Some(place)) = (lanes.get(lane), self.places.get_mut(lane)) else { return };
        let head = loop {
            if place.part < parts.first {
                *place = Place { part: parts.first, ..Place::default() };
            }
            let Some(part) = parts.part(place.part) else { break u64::MAX };
            match part.runs.get(self.number).and_then(|runs| runs.get(place.run)) {
                Some(run) => {
                    place.event = place.event.max(run.from);
                    let events = part.events.get(place.event as usize..run.until as usize);
                    if let Some(event) = events.and_then(<[_]>::first) {
                        break event.tick;
                    }
                    place.run = place.run.saturating_add(1);
                }
                None if place.part.saturating_add(1) < parts.next() => {
                    *place = Place { part: place.part.saturating_add(1), ..Place::default() };
                }
                None => break u64::MAX,
            }
        };
        if let Some(known) = self.heads.get_mut(lane) {
            *known = head;
        }
    }

    /// Hands out the lane's events before `limit`, of one run at most.
    #[inline(always)]
    fn span(
        &mut self,
        lanes: &[LaneParts],
        (lane, limit): (usize, u64),
        holes: &[Hole],
        clock: &Clock,
        take: &mut impl FnMut(Dealt),
    ) {
        let (Some(parts), Some(place)) = (lanes.get(lane), self.places.get(lane).copied()) else { return };
        let Some(part) = parts.part(place.part) else { return };
        let run = part.runs.get(self.number).and_then(|runs| runs.get(place.run)).copied();
        let Some(Run { tracee, asked_for, until, .. }) = run else { return };
        let events = part.events.get(place.event as usize..until as usize).unwrap_or_default();
        let mut done = 0_u32;
        for event in events {
            let tick = event.tick;
            if tick >= limit {
                break;
            }
            if tick >= self.next_hole {
                let event = place.event.saturating_add(done);
                self.enter_until(holes, Moment { tick, lane: parts.number, part: place.part, place: event });
            }
            let (epoch, complete) = self.gaps.at(tick);
            take(Dealt {
                time: self.clock.ns(clock, tick),
                tracee,
                lane: parts.number,
                kind: event.kind,
                function: part.function(event),
                epoch,
                complete,
                missing: event.is_missing(),
                normal_exit: event.is_normal(),
                asked_for,
            });
            done = done.wrapping_add(1);
        }
        if let Some(place) = self.places.get_mut(lane) {
            place.event = place.event.saturating_add(done);
        }
    }

    /// The gaps learn of the holes up to this moment.
    #[cold]
    fn enter_until(&mut self, holes: &[Hole], now: Moment) {
        while let Some(hole) = holes.get(self.holes_taken).filter(|hole| hole.at <= now) {
            match hole.from {
                Some(from) => self.gaps.plan(from, hole.until),
                None => self.gaps.open(hole.until),
            }
            self.holes_taken = self.holes_taken.saturating_add(1);
        }
        self.next_hole = holes.get(self.holes_taken).map_or(u64::MAX, |hole| hole.at.tick);
    }
}
