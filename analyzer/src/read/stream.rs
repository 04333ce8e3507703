//! All lanes' events in one order: by tick, and by lane number where ticks are
//! equal. One chunk for each lane is in memory.

use std::collections::VecDeque;

use spoor_format::chunk::{Identity, Missing};

use super::batch::{Batch, Context, Packed};
use super::clock::ClockCursor;
use super::detail::Detail;
use super::facts::Facts;
use super::finding::Finding;
use super::gaps::Gaps;
use super::index::ChunkRef;
use super::kind;
use super::ledger::{LaneLedger, account, dropped_between};
use super::names::{FunctionId, Names, TraceeId};
use super::recording::{Info, Recording};
use super::tracees::Tracees;
use super::window::{Window, ticks};

/// So many processes that are gone are remembered, for what is done to them late.
const REMEMBERED: usize = 1 << 16;

/// An event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// When, in monotonic nanoseconds.
    pub time: u64,
    /// On which lane.
    pub lane: u32,
    /// Whose.
    pub tracee: TraceeId,
    /// What: see [`super::kind`].
    pub kind: u8,
    /// The function it names, if it does.
    pub function: Option<FunctionId>,
    /// Changes whenever events may be missing between this one and the last.
    pub epoch: u32,
    /// False in stretches in which events may be missing.
    pub complete: bool,
    /// Events of its process were left out since its event before.
    pub missing: bool,
    packed: Packed,
    batch: &'a Batch,
    stream: &'a Shared<'a>,
}

impl<'a> Event<'a> {
    /// All that the event says.
    pub fn detail(&self) -> Detail<'a> {
        self.batch.detail(&self.packed, &self.stream.recording.schema)
    }

    /// Is the function that it names all that it says?
    pub fn says_function_only(&self) -> bool {
        matches!(self.kind, kind::CALL..=kind::RETURN_FROM | kind::IN..=kind::OUT_EXITED) && self.detail().is_bare()
    }

    /// The names of the recording.
    pub fn names(&self) -> &'a Names {
        &self.stream.names
    }

    /// The recording.
    pub fn recording(&self) -> &'a Recording {
        self.stream.recording
    }

    /// The tracees that were met so far.
    pub fn tracees(&self) -> &'a Tracees {
        &self.stream.tracees
    }

    /// Since when no event is missing, in monotonic nanoseconds; 0 when none was so far.
    pub fn whole_since_ns(&self) -> u64 {
        match self.stream.gaps.ended() {
            0 => 0,
            tick => self.stream.recording.clock.ns(tick),
        }
    }

    /// Whose it is.
    pub fn identity(&self) -> Identity {
        self.stream.tracees.identity(self.tracee)
    }
}

#[derive(Debug)]
struct Shared<'a> {
    recording: &'a Recording,
    names: Names,
    tracees: Tracees,
    gaps: Gaps,
}

/// The events of a recording, in order.
#[derive(Debug)]
pub struct Stream<'a> {
    shared: Shared<'a>,
    facts: Facts,
    infos: Vec<Info>,
    lanes: Vec<LaneCursor>,
    /// The lane whose turn it is, with its events before this tick.
    turn: usize,
    turn_before: u64,
    clock: ClockCursor,
    /// The last event of each lane before the window is handed out, too.
    with_last: bool,
    from_tick: u64,
    to_tick: u64,
    ledger: Vec<LaneLedger>,
    findings: Vec<Finding>,
    /// What is wrong with the info ring.
    about_infos: Vec<Finding>,
    done_bytes: u64,
}

#[derive(Debug)]
struct LaneCursor {
    number: u32,
    chunks: VecDeque<ChunkRef>,
    batch: Batch,
    next: usize,
    /// The record that the next chunk should begin with.
    expected: u64,
    /// Events were dropped between chunks, nobody knows which.
    holes_anywhere: bool,
    /// There may be more behind the last chunk.
    open_end: bool,
    exhausted: bool,
}

impl LaneCursor {
    fn head(&self) -> Option<&Packed> {
        self.batch.events.get(self.next)
    }
}

/// What is known when all has been read.
#[derive(Debug)]
pub struct Outcome {
    /// The names, to be handed to the next recording.
    pub names: Names,
    /// The tracees of this one.
    pub tracees: Tracees,
    /// The ledger, with what only reading brought to light.
    pub ledger: Vec<LaneLedger>,
    /// What is wrong: from opening and from reading.
    pub findings: Vec<Finding>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(
        recording: &'a Recording,
        names: Names,
        tracees: Tracees,
        window: Window,
        with_last: bool,
    ) -> Stream<'a> {
        let mut shared = Shared { recording, names, tracees, gaps: Gaps::default() };
        shared.tracees.begin(&recording.pids, REMEMBERED);
        let (from_tick, to_tick) = ticks(recording, window);
        let mut stream = Stream {
            shared,
            facts: Facts::new(recording),
            infos: Vec::new(),
            lanes: Vec::new(),
            turn: 0,
            turn_before: 0,
            clock: recording.clock.cursor(),
            with_last,
            from_tick,
            to_tick,
            ledger: recording.ledger.clone(),
            findings: Vec::new(),
            about_infos: Vec::new(),
            done_bytes: 0,
        };
        stream.start_facts();
        stream.start();
        stream
    }

    fn start_facts(&mut self) {
        let Shared { recording, names, tracees, .. } = &mut self.shared;
        let mut context = Context { source: &recording.source, schema: &recording.schema, names, tracees };
        self.facts.start(&mut context, &mut self.about_infos);
        self.follow_facts(0);
    }

    /// The events have come to this tick.
    fn follow_facts(&mut self, now: u64) {
        let Shared { recording, names, tracees, .. } = &mut self.shared;
        self.facts.follow(now, recording, (names, tracees), &mut self.about_infos, &mut self.infos);
    }

    fn start(&mut self) {
        let mut planned = Vec::new();
        let recording = self.shared.recording;
        for number in recording.event_lanes() {
            let chunks: VecDeque<ChunkRef> =
                recording.events.lanes.get(&number).map(|chunks| chunks.iter().copied().collect()).unwrap_or_default();
            let lane = recording.lane(number);
            let open_end = recording.has_open_end(number);
            planned.extend(recording.planned_gaps(number));
            if chunks.is_empty() {
                continue;
            }
            let mut cursor = LaneCursor {
                number,
                chunks,
                batch: Batch::default(),
                next: 0,
                expected: 0,
                holes_anywhere: lane.is_some_and(|lane| dropped_between(lane) > 0),
                open_end,
                exhausted: false,
            };
            self.skip_to_window(&mut cursor);
            self.lanes.push(cursor);
        }
        planned.extend(recording.gap_of_damaged_lanes());
        self.shared.gaps = Gaps::new(planned);
        for lane in 0..self.lanes.len() {
            self.advance(lane, None);
        }
        self.next_turn();
    }

    /// Chunks that end before the window are left out by their headers alone.
    fn skip_to_window(&self, cursor: &mut LaneCursor) {
        while cursor.chunks.get(1).is_some_and(|next| next.header.base_tick <= self.from_tick) {
            if let Some(skipped) = cursor.chunks.pop_front() {
                cursor.expected = skipped.end_record();
            }
        }
    }

    /// What is known of processes and of the recording itself, and was not forgotten: all there is
    /// before the first event, or so many facts ahead of the events, where there are more.
    pub fn infos(&self) -> &[Info] {
        &self.infos
    }

    /// They are not needed any more.
    pub fn forget_infos(&mut self) {
        self.infos.clear();
    }

    /// Are there facts, or numbers of tracees that are gone? Both should be looked at before
    /// the next event, so that memory does not grow with the recording.
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.infos.is_empty() || self.shared.tracees.has_gone()
    }

    /// Whoever has these numbers has no more events: they are to be freed, once nothing is kept
    /// by them.
    pub fn take_gone(&mut self) -> Vec<TraceeId> {
        if self.shared.tracees.has_gone() { self.shared.tracees.take_gone() } else { Vec::new() }
    }

    /// Nothing is kept by these numbers any more: others may get them. By those that are `kept`
    /// something is; they are told again later.
    pub fn free(&mut self, numbers: Vec<TraceeId>, kept: Vec<TraceeId>) {
        self.shared.tracees.free(numbers, kept);
    }

    /// The recording.
    pub fn recording(&self) -> &'a Recording {
        self.shared.recording
    }

    /// The names so far.
    pub fn names(&self) -> &Names {
        &self.shared.names
    }

    /// The tracees so far.
    pub fn tracees(&self) -> &Tracees {
        &self.shared.tracees
    }

    /// Bytes of chunks read so far.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes
    }

    /// The next event.
    #[allow(clippy::should_implement_trait, reason = "the event borrows from the stream")]
    // Inlined: most of an event is never looked at.
    #[inline(always)]
    pub fn next(&mut self) -> Option<Event<'_>> {
        let (lane, packed) = loop {
            if let Some(cursor) = self.lanes.get_mut(self.turn)
                && let Some(packed) = cursor.batch.events.get(cursor.next)
                && packed.tick < self.turn_before
            {
                cursor.next = cursor.next.wrapping_add(1);
                break (cursor.number, *packed);
            }
            self.seek()?;
        };
        if packed.missing == Missing::Any {
            self.shared.gaps.open(packed.tick);
        }
        let (epoch, complete) = self.shared.gaps.at(packed.tick);
        let time = self.clock.ns(&self.shared.recording.clock, packed.tick);
        let batch = &self.lanes.get(self.turn)?.batch;
        Some(Event {
            time,
            lane,
            tracee: packed.tracee,
            kind: packed.kind,
            function: packed.function(),
            epoch,
            complete,
            missing: packed.missing != Missing::None,
            packed,
            batch,
            stream: &self.shared,
        })
    }

    /// The lane whose turn it was has no more: finds who is next, `None` for nobody.
    #[inline(never)]
    fn seek(&mut self) -> Option<()> {
        match self.lanes.get(self.turn)?.head() {
            // The turn goes to lanes that have something: when this one has not, none has.
            None => self.turn_over(),
            Some(_) => {
                self.next_turn();
                let head = self.lanes.get(self.turn)?.head()?;
                (head.tick < self.to_tick).then_some(())
            }
        }
    }

    /// The lane has come to the end of its chunk.
    fn turn_over(&mut self) -> Option<()> {
        let cursor = self.lanes.get(self.turn)?;
        if cursor.exhausted {
            // Only when all are: the turn goes to lanes that have something.
            return None;
        }
        let now = cursor.batch.events.last().map(|event| event.tick);
        self.follow_facts(now.unwrap_or(0));
        self.advance(self.turn, now);
        self.next_turn();
        Some(())
    }

    /// The turn goes to the lane with the earliest event, until another's.
    fn next_turn(&mut self) {
        let (mut first, mut second) = ((u64::MAX, u32::MAX), (u64::MAX, u32::MAX));
        let mut turn = 0;
        for (position, lane) in self.lanes.iter().enumerate() {
            let Some(head) = lane.head() else { continue };
            let key = (head.tick, lane.number);
            if key < first {
                (second, first, turn) = (first, key, position);
            } else if key < second {
                second = key;
            }
        }
        self.turn = turn;
        // Where ticks are equal, the lower number is first.
        self.turn_before = second.0.saturating_add(u64::from(first.1 < second.1)).min(self.to_tick);
    }

    /// Loads the lane's next good chunk. `now` is the tick of its last event.
    fn advance(&mut self, lane: usize, now: Option<u64>) {
        let Some(cursor) = self.lanes.get_mut(lane) else { return };
        let recording = self.shared.recording;
        let mut lost_before = false;
        while let Some(chunk) = cursor.chunks.pop_front() {
            self.done_bytes = self.done_bytes.saturating_add(u64::from(chunk.header.bytes));
            let hole = chunk.header.first_record > cursor.expected || lost_before;
            let mut context = Context {
                source: &recording.source,
                schema: &recording.schema,
                names: &mut self.shared.names,
                tracees: &mut self.shared.tracees,
            };
            cursor.expected = chunk.end_record();
            let loaded = cursor.batch.load(&chunk, &mut context);
            let events = cursor.batch.events.len() as u64;
            if let Some(finding) = account(&chunk, &loaded, events, cursor.number, &mut self.ledger) {
                self.findings.push(finding);
            }
            if loaded.is_err() {
                lost_before = true;
                continue;
            }
            if hole || (cursor.holes_anywhere && now.is_some()) {
                self.shared.gaps.open(chunk.header.base_tick);
            }
            for (from, until) in &cursor.batch.dropped {
                self.shared.gaps.plan(*from, (*until).max(from.saturating_add(1)));
            }
            if chunk.is_cut() {
                // What follows in the lane begins behind what is gone.
                cursor.expected = chunk.header.first_record.saturating_add(events);
            }
            lost_before = chunk.is_cut();
            cursor.next = cursor.batch.events.partition_point(|event| event.tick < self.from_tick);
            if self.with_last && now.is_none() {
                // Chunks before the last that begins before the window were left out.
                let before = cursor.batch.events.iter().take(cursor.next);
                let last = before.rev().position(|event| kind::says_who_is_on(event.kind));
                cursor.next = cursor.next.saturating_sub(last.map_or(0, |behind| behind.saturating_add(1)));
            }
            if cursor.next < cursor.batch.events.len() {
                cursor.open_end |= chunk.is_cut();
                return;
            }
        }
        cursor.batch.let_go(&mut self.shared.tracees);
        cursor.batch.clear();
        cursor.next = 0;
        cursor.exhausted = true;
        if lost_before || cursor.open_end || cursor.holes_anywhere {
            let unreadable = recording.events.unreadable > 0 && !lost_before && !cursor.holes_anywhere;
            let from = if unreadable { recording.events.unreadable_from } else { 0 };
            match now {
                Some(now) if from <= now => self.shared.gaps.open(u64::MAX),
                _ => self.shared.gaps.plan(from, u64::MAX),
            }
        }
    }

    /// Ends reading.
    pub fn finish(mut self) -> Outcome {
        let recording = self.shared.recording;
        if self.facts.are_left() {
            self.about_infos.clear();
            recording.check_infos(&mut self.about_infos);
        }
        let mut findings = recording.findings.clone();
        findings.append(&mut self.about_infos);
        findings.append(&mut self.findings);
        Outcome { names: self.shared.names, tracees: self.shared.tracees, ledger: self.ledger, findings }
    }
}
