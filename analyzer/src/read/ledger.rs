//! The loss ledger: what became of every event that the VM offered.
//!
//! Offered is stored or dropped for a cause; stored is present, overwritten, damaged
//! or, in a copy of a window, outside of it. Always, for each lane and for the sum.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use spoor_format::lane::{CAUSES, Cause, Lane, LaneKind};

use super::batch::Loss;
use super::finding::{Finding, LIMITS};
use super::index::{ChunkRef, RingIndex};
use super::terms::thousands;

/// What became of the events of a lane, or of all lanes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Ledger {
    /// Events stored since the recording began.
    pub stored: u64,
    /// Of these, how many are in the file and can be read.
    pub present: u64,
    /// Of these, how many the ring has overwritten.
    pub overwritten: u64,
    /// Of these, how many the file lost.
    pub damaged: u64,
    /// Of these, how many a copy of a window left out, as they were before it.
    pub outside_window: u64,
    /// Events offered but not stored.
    pub dropped: u64,
    /// The same by cause, without those that are 0.
    #[serde(serialize_with = "as_object")]
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub dropped_by_cause: Vec<(String, u64)>,
}

fn as_object<S: Serializer>(causes: &[(String, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(causes.iter().map(|(cause, n)| (cause, n)))
}

impl Ledger {
    /// Events that the VM offered.
    pub fn offered(&self) -> u64 {
        self.stored.saturating_add(self.dropped)
    }

    /// The sum over lanes.
    pub fn sum<'a>(lanes: impl IntoIterator<Item = &'a LaneLedger>) -> Ledger {
        let mut sum = Ledger::default();
        lanes.into_iter().for_each(|lane| sum.add(&lane.ledger));
        sum
    }

    /// Adds the numbers of another.
    pub fn add(&mut self, other: &Ledger) {
        for (sum, n) in [
            (&mut self.stored, other.stored),
            (&mut self.present, other.present),
            (&mut self.overwritten, other.overwritten),
            (&mut self.damaged, other.damaged),
            (&mut self.outside_window, other.outside_window),
        ] {
            *sum = sum.saturating_add(n);
        }
        for (cause, n) in &other.dropped_by_cause {
            self.drop(cause, *n);
        }
    }

    /// Present events turn out to be unreadable.
    pub(crate) fn lose(&mut self, events: u64, overwritten: bool) {
        let events = events.min(self.present);
        self.present = self.present.saturating_sub(events);
        let into = if overwritten { &mut self.overwritten } else { &mut self.damaged };
        *into = into.saturating_add(events);
    }

    pub(crate) fn drop(&mut self, cause: &str, n: u64) {
        if n == 0 {
            return;
        }
        self.dropped = self.dropped.saturating_add(n);
        match self.dropped_by_cause.iter_mut().find(|(known, _)| known == cause) {
            Some((_, sum)) => *sum = sum.saturating_add(n),
            None => self.dropped_by_cause.push((cause.to_owned(), n)),
        }
    }
}

/// A lane and its ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LaneLedger {
    /// The lane's number.
    pub lane: u32,
    /// What kind of thread it is.
    pub kind: &'static str,
    /// The number the VM gives the thread among its kind; 0 when unknown.
    pub index: u32,
    /// The thread's id.
    pub os_tid: u64,
    /// Its part of the ledger.
    #[serde(flatten)]
    pub ledger: Ledger,
}

impl LaneLedger {
    pub(crate) fn new(number: u32, lane: Option<&Lane>, ring: &RingIndex) -> LaneLedger {
        let chunks = ring.lanes.get(&number).map_or(&[][..], Vec::as_slice);
        let ended = chunks.iter().map(ChunkRef::end_record).max().unwrap_or(0);
        let stored = ended.max(lane.map_or(0, |lane| lane.sealed_events));
        let present = chunks.iter().fold(0_u64, |sum, chunk| sum.saturating_add(u64::from(chunk.header.records)));
        let present = present.min(stored);
        let before = chunks.first().map_or(stored, |chunk| chunk.header.first_record);
        let missing = stored.saturating_sub(present);
        // What a copy of a window was not asked for was not lost. It lies before all that is
        // in the copy.
        let outside_window = lane.map_or(0, |lane| lane.outside).min(missing);
        let (missing, before) = (missing.saturating_sub(outside_window), before.saturating_sub(outside_window));
        // Once the ring turned, what is missing at the beginning was overwritten. A
        // hole further on may be too: a chunk that is being sealed when its turn
        // comes outlives the ones behind it.
        let overwritten = match ring.turned {
            true if ring.hides_nothing() => missing,
            true => before.min(missing),
            false => 0,
        };
        let damaged = missing.saturating_sub(overwritten);
        let mut ledger = Ledger { stored, present, overwritten, damaged, outside_window, ..Ledger::default() };
        for (cause, n) in lane.iter().flat_map(|lane| lane.dropped.iter().enumerate()) {
            let later = format!("cause_{cause}");
            ledger.drop(CAUSES.get(cause).copied().unwrap_or(&later), *n);
        }
        LaneLedger {
            lane: number,
            kind: lane.map_or("unknown", |lane| lane.kind.name()),
            index: lane.map_or(0, |lane| lane.index),
            os_tid: lane.map_or(0, |lane| lane.os_tid),
            ledger,
        }
    }

    /// Events that the headers promise turn out not to be had.
    pub fn lose(&mut self, events: u64, overwritten: bool) {
        self.ledger.lose(events, overwritten);
    }

    /// Normal schedulers first, then in the order of the kinds.
    pub(crate) fn order(&self) -> usize {
        LaneKind::ALL.iter().position(|(_, name)| *name == self.kind).unwrap_or(LaneKind::ALL.len())
    }

    /// The short name that rows and lines carry: `s1`, `dc2`, `dio3`.
    pub fn short(&self) -> String {
        let prefix = match self.kind {
            kind if kind == LaneKind::Scheduler.name() => "s",
            kind if kind == LaneKind::DirtyCpu.name() => "dc",
            kind if kind == LaneKind::DirtyIo.name() => "dio",
            kind if kind == LaneKind::Recorder.name() => "rec",
            _ => "t",
        };
        if self.index == 0 { format!("{prefix}?{}", self.lane) } else { format!("{prefix}{}", self.index) }
    }
}

/// Events that were dropped at a moment nobody knows.
pub(crate) fn dropped_anywhere(lane: &Lane) -> u64 {
    [Cause::TooLarge, Cause::Panic, Cause::Nested]
        .into_iter()
        .filter_map(|cause| lane.dropped.get(cause as usize))
        .fold(0, |sum: u64, n| sum.saturating_add(*n))
}

/// Events dropped between two chunks of the lane.
pub(crate) fn dropped_between(lane: &Lane) -> u64 {
    let of = |cause: Cause| lane.dropped.get(cause as usize).copied().unwrap_or(0);
    of(Cause::NoChunk).saturating_add(of(Cause::NoSegment))
}

/// The stretch, in ticks, in which the lane dropped events after the last it stored.
pub(crate) fn dropping_at_end(lane: &Lane) -> Option<(u64, u64)> {
    let [since, until] = lane.dropping;
    (since > 0).then(|| (since, until.max(since.saturating_add(1))))
}

/// What a recording of a sample took.
pub(crate) struct Sample {
    /// It was to take one process in so many.
    one_in: u64,
    /// Processes that it took and that it did not, as far as that is known.
    taken: u64,
    not_taken: u64,
}

impl Sample {
    pub(crate) fn sum<'a>(one_in: u64, lanes: impl IntoIterator<Item = &'a Lane>) -> Sample {
        let mut sum = Sample { one_in, taken: 0, not_taken: 0 };
        for [taken, not_taken] in lanes.into_iter().map(|lane| lane.sampled) {
            sum.taken = sum.taken.saturating_add(taken);
            sum.not_taken = sum.not_taken.saturating_add(not_taken);
        }
        sum
    }

    fn finding(&self) -> Finding {
        let (taken, all) = (self.taken, self.taken.saturating_add(self.not_taken));
        let counted = match all {
            0 => String::new(),
            all => format!(", {} of {} processes", thousands(taken), thousands(all)),
        };
        let what = format!("a sample: one process in {} is recorded{counted}", self.one_in);
        Finding::warning(LIMITS, what, "all that the other processes did")
    }
}

/// What each limit of a recording cost that left out events: how to say it, and
/// what is lost by it. `dropped` are all that were dropped, by cause.
pub(crate) fn thinned(dropped: &[(String, u64)], sample: Option<Sample>) -> Vec<Finding> {
    let count = |cause: Cause| dropped.iter().find(|(name, _)| name == cause.name()).map_or(0, |(_, n)| *n);
    let stretches = "counts are too low, and calls within reach of the stretches without events have no duration";
    let costs = [
        (Cause::Rate, stretches),
        (Cause::MaxCost, stretches),
        (
            Cause::FunctionRate,
            "counts of the functions called more often are too low, and calls around theirs may have no duration",
        ),
    ];
    let limits = costs.into_iter().map(|(cause, cost)| (cause, count(cause), cost)).filter(|(_, n, _)| *n > 0);
    let mut findings: Vec<Finding> = limits
        .map(|(cause, n, cost)| {
            Finding::warning(LIMITS, format!("{} events left out by {}", thousands(n), cause.name()), cost)
        })
        .collect();
    findings.extend(sample.filter(|sample| sample.one_in > 1).map(|sample| sample.finding()));
    findings
}

/// Enters into the ledger what of the chunk could not be had.
pub(super) fn account(
    chunk: &ChunkRef,
    loaded: &Result<(), Loss>,
    events: u64,
    lane: u32,
    ledger: &mut [LaneLedger],
) -> Option<Finding> {
    let records = u64::from(chunk.header.records);
    let entry = ledger.iter_mut().find(|entry| entry.lane == lane);
    let name = entry.as_ref().map_or_else(|| format!("t?{lane}"), |entry| entry.short());
    let place = format!("events chunk {} (number {}, lane {name})", chunk.index, chunk.header.seq);
    let events_of = |records| format!("its {} events", thousands(records));
    let lose = |events: u64, overwritten| {
        if let Some(entry) = entry {
            entry.ledger.lose(events, overwritten);
        }
    };
    match loaded {
        Ok(()) if chunk.is_cut() => {
            let missing = records.saturating_sub(events);
            lose(missing, false);
            Some(Finding::damage(
                place,
                "the file ends in it",
                format!("{} of {}", thousands(missing), events_of(records)),
            ))
        }
        Ok(()) => None,
        Err(Loss::Overwritten) => {
            lose(records, true);
            Some(Finding::warning(place, "it was overwritten while it was being read", events_of(records)))
        }
        Err(Loss::Damaged(what)) => {
            lose(records, false);
            Some(Finding::damage(place, what, events_of(records)))
        }
    }
}
