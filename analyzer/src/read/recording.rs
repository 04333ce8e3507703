//! A recording, opened: everything but the events themselves.

use spoor_format::header::{Header, Meta};
use spoor_format::lane::{self, Lane};
use spoor_format::record::{Schema, spec};
use spoor_format::status::{Found, Phase, Status};

use super::batch::{Batch, Context, kind_name};
use super::clock::Clock;
use super::facts;
use super::finding::Finding;
use super::front::{self, OpenError};
use super::identity::PidFormat;
use super::index::{self, ChunkRef, RingIndex};
use super::kind;
use super::ledger::{LaneLedger, Ledger, Sample, dropped_anywhere, thinned};
use super::live::State;
use super::names::{AtomId, FunctionId, Names, TraceeId};
use super::source::Source;
use super::stream::Stream;
use super::terms::thousands;
use super::tracees::Tracees;
use super::untraced;
use super::window::Window;

/// A recording.
#[derive(Debug)]
pub struct Recording {
    /// As the user named it.
    pub path: String,
    /// The layout.
    pub header: Header,
    /// What was recorded where.
    pub meta: Meta,
    /// How it ended, or that it has not.
    pub state: State,
    /// Ticks to time.
    pub clock: Clock,
    /// How pids are written.
    pub pids: PidFormat,
    /// What became of the events, lane by lane, by the headers alone.
    pub ledger: Vec<LaneLedger>,
    /// What is wrong with it, by the headers alone.
    pub findings: Vec<Finding>,
    /// Size of the file.
    pub file_bytes: u64,
    /// First moment of the recording, in monotonic nanoseconds.
    pub start_ns: u64,
    /// From here on events are complete, but for damage: what lies before is
    /// overwritten at least in part.
    pub complete_from_ns: u64,
    /// Last moment known.
    pub end_ns: u64,
    pub(crate) source: Source,
    pub(crate) schema: Schema,
    pub(crate) status: Status,
    /// Which later VM found that the recording's own had died, and when.
    pub found: Option<Found>,
    pub(crate) events: RingIndex,
    pub(crate) infos: RingIndex,
    pub(crate) lane_table_damaged: bool,
    /// Of a file that is being written: events behind this may not all be seen.
    pub(crate) settled_tick: u64,
    lanes: Vec<Option<Lane>>,
}

/// A fact from the info ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Info {
    /// What is known of a process.
    Process {
        /// When it was written.
        time: u64,
        /// The process.
        tracee: TraceeId,
        /// Its parent's pid word.
        parent: Option<u64>,
        /// Its registered name.
        name: Option<AtomId>,
        /// Its label, as text.
        label: Option<String>,
        /// The function it began in.
        initial_call: Option<FunctionId>,
    },
    /// A remark of the recorder.
    Note {
        /// When it was written.
        time: u64,
        /// What about.
        what: String,
        /// The rest, as text.
        detail: String,
    },
}

impl Recording {
    /// Opens a recording. Fails only when nothing of it can be read.
    pub fn open(source: Source, path: &str) -> Result<Recording, OpenError> {
        let mut findings = source.problems().to_vec();
        let front = front::read(&source, &mut findings)?;
        let (header, meta) = (front.header, front.meta);
        check_length(&source, &header, &mut findings);
        let tick_hz = meta.get("tick_hz").and_then(|text| text.parse().ok());
        let clock = Clock::read(&source, &header, tick_hz, &mut findings);
        let (lanes, lane_table_damaged) = read_lanes(&source, &header, &mut findings);
        let state = State::of(&front.status, &meta, path);
        let live = is_live(&state, &front.status);
        let mut ring = |name, ring| index::read(&source, name, ring, header.lane_slots, live, &mut findings);
        let (events, infos) = (ring("events", &header.events), ring("info", &header.info));
        let pids = PidFormat::from_meta(&meta).unwrap_or_else(|| {
            let cost = "pids may be printed with wrong numbers";
            findings.push(Finding::warning("meta", "otp_release, process_limit or port_limit is missing", cost));
            PidFormat::assumed()
        });
        let mut recording = Recording {
            path: path.to_owned(),
            header,
            state,
            clock,
            pids,
            ledger: Vec::new(),
            findings,
            file_bytes: source.file_bytes(),
            start_ns: 0,
            complete_from_ns: 0,
            end_ns: 0,
            schema: Schema::parse(meta.get("records").unwrap_or_default()),
            status: front.status,
            found: front.found,
            meta,
            source,
            events,
            infos,
            lane_table_damaged,
            settled_tick: u64::MAX,
            lanes,
        };
        recording.settle();
        recording.fill_ledger();
        recording.find_span();
        let untraced = untraced::findings(&recording.notes(), recording.start_ns);
        recording.findings.extend(untraced);
        Ok(recording)
    }

    pub(crate) fn lane(&self, number: u32) -> Option<&Lane> {
        self.lanes.get(usize::try_from(number).ok()?)?.as_ref()
    }

    /// Entries of the lane table that the file has.
    pub(crate) fn lanes_there(&self) -> u32 {
        u32::try_from(self.lanes.len()).unwrap_or(u32::MAX)
    }

    /// The events, in order.
    /// The order of `names` and `tracees` goes on from what they hold.
    pub fn stream(&self, names: Names, tracees: Tracees, window: Window) -> Stream<'_> {
        Stream::new(self, names, tracees, window, false)
    }

    /// The same, and before it the last event that each thread had before the window, if it can be had.
    pub fn stream_with_last(&self, names: Names, tracees: Tracees, window: Window) -> Stream<'_> {
        Stream::new(self, names, tracees, window, true)
    }

    /// The short name of a lane: `s1`, `dc2`.
    pub fn lane_name(&self, number: u32) -> String {
        self.ledger.iter().find(|entry| entry.lane == number).map_or_else(|| format!("t?{number}"), LaneLedger::short)
    }

    /// The headers of a file that is being written are not read at one moment:
    /// threads would end at different ones. What had happened before they were
    /// read is in all of them.
    fn settle(&mut self) {
        if !is_live(&self.state, &self.status) {
            return;
        }
        self.settled_tick = self.last_tick();
        let (ring, slots) = (&self.header.events, self.header.lane_slots);
        // What is wrong with it was found when it was read first.
        self.events = index::read(&self.source, "events", ring, slots, true, &mut Vec::new());
    }

    /// Remarks of the recorder, in the order of time.
    pub fn notes(&self) -> Vec<Info> {
        let mut notes: Vec<(u64, u32, Info)> = Vec::new();
        self.each_info_chunk(&mut Vec::new(), |chunk, batch, names, tracees| {
            for event in batch.events.iter().filter(|event| event.kind == kind::NOTE) {
                let (time, detail) = (self.clock.ns(event.tick), batch.detail(event, &self.schema));
                let info = facts::info_of(time, tracees, names, self, &detail);
                notes.extend(info.map(|info| (event.tick, chunk.header.lane, info)));
            }
        });
        notes.sort_by_key(|(tick, lane, _)| (*tick, *lane));
        notes.into_iter().map(|(_, _, info)| info).collect()
    }

    /// Was this trace flag set?
    pub fn traces(&self, flag: &str) -> bool {
        self.meta.get("flags").is_some_and(|flags| flags.split(' ').any(|set| set == flag))
    }

    /// Did the ring of events begin to overwrite?
    pub fn ring_turned(&self) -> bool {
        self.events.turned
    }

    /// Bytes of events in the file.
    pub fn payload_bytes(&self) -> u64 {
        self.events.chunks().fold(0, |sum: u64, chunk| sum.saturating_add(u64::from(chunk.header.bytes)))
    }

    /// The bytes it is read from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Name of a kind of event as users write it.
    pub fn kind_name(&self, kind: u8) -> String {
        kind_name(kind, &self.schema).into_owned()
    }

    /// Names of the kinds of events that processes have.
    pub fn kind_names(&self) -> Vec<String> {
        let named = |id: &u8| spec(*id).is_some_and(|row| row.class.timed()) || self.schema.foreign(*id).is_some();
        (0..=u8::MAX).filter(named).map(|id| self.kind_name(id)).collect()
    }

    fn fill_ledger(&mut self) {
        let recorded: Vec<u32> = self.events.lanes.keys().copied().collect();
        for number in 0..self.lanes_there() {
            let lane = self.lane(number).copied();
            let used = lane.is_some_and(|lane| lane.sealed_events > 0 || lane.dropped_events() > 0);
            if !used && !recorded.contains(&number) && lane.is_none_or(|lane| lane.kind == lane::LaneKind::Recorder) {
                continue;
            }
            if lane.is_none() && !recorded.contains(&number) {
                continue;
            }
            let lane = lane.map(|lane| self.checked(number, lane));
            let entry = LaneLedger::new(number, lane.as_ref(), &self.events);
            if entry.ledger.damaged > 0 && !is_live(&self.state, &self.status) {
                self.findings.push(Finding::damage(
                    format!("lane {}", entry.short()),
                    "events that it stored are in no chunk that is there",
                    format!("{} events", thousands(entry.ledger.damaged)),
                ));
            }
            if let Some(lost) = lane.as_ref().map(dropped_anywhere).filter(|lost| *lost > 0) {
                self.findings.push(Finding::warning(
                    format!("lane {}", entry.short()),
                    format!("{} events were dropped at moments that nobody knows", thousands(lost)),
                    "durations of calls around them may be wrong",
                ));
            }
            self.ledger.push(entry);
        }
        self.ledger.sort_by_key(|entry| (entry.order(), entry.index, entry.lane));
        let one_in = self.meta.get("sample").and_then(|sample| sample.parse().ok());
        let sample = one_in.map(|one_in| Sample::sum(one_in, (0..self.lanes_there()).filter_map(|n| self.lane(n))));
        self.findings.extend(thinned(&Ledger::sum(&self.ledger).dropped_by_cause, sample));
    }

    /// The counter of finished chunks has no checksum, but it cannot be ahead of
    /// the chunks when all of these are there.
    fn checked(&mut self, number: u32, lane: Lane) -> Lane {
        let last = self.events.lanes.get(&number).and_then(|chunks| chunks.last());
        let Some(ended) = last.map(index::ChunkRef::end_record) else { return lane };
        if self.events.unreadable > 0 || lane.sealed_events <= ended || is_live(&self.state, &self.status) {
            return lane;
        }
        self.findings.push(Finding::damage(
            format!("lane {}", LaneLedger::new(number, Some(&lane), &self.events).short()),
            format!("its counter of stored events says {}, its last chunk {ended}", lane.sealed_events),
            "nothing: the chunks are believed",
        ));
        Lane { sealed_events: ended, ..lane }
    }

    /// Reads the info ring for what is wrong with it only.
    pub(crate) fn check_infos(&self, findings: &mut Vec<Finding>) {
        self.each_info_chunk(findings, |_, _, _, _| ());
    }

    fn each_info_chunk(
        &self,
        findings: &mut Vec<Finding>,
        mut work: impl FnMut(&ChunkRef, &Batch, &Names, &mut Tracees),
    ) {
        let (mut names, mut tracees, mut batch) = (Names::default(), Tracees::default(), Batch::default());
        for chunk in self.infos.chunks() {
            let mut context =
                Context { source: &self.source, schema: &self.schema, names: &mut names, tracees: &mut tracees };
            findings.extend(facts::load(&mut batch, chunk, &mut context));
            work(chunk, &batch, &names, &mut tracees);
        }
    }

    fn find_span(&mut self) {
        let firsts = self.events.lanes.values().filter_map(|chunks| chunks.first());
        let first_tick = firsts.map(|chunk| chunk.header.base_tick).min();
        let holed = self.events.last_hole();
        let clock_start = self.clock.first_pair_tick();
        let start = clock_start.or(first_tick).unwrap_or(0);
        let stopped = self.status.phase == Phase::Stopped && self.status.stop_tick > 0;
        let last = self.last_tick().min(self.settled_tick);
        let end = if stopped { self.status.stop_tick.max(last) } else { last };
        self.start_ns = self.clock.ns(first_tick.map_or(start, |first| first.min(start)));
        self.complete_from_ns = holed.map_or(self.start_ns, |tick| self.clock.ns(tick));
        self.end_ns = self.clock.ns(end).max(self.start_ns);
    }

    /// The tick of the last event that can be read.
    fn last_tick(&self) -> u64 {
        let (mut names, mut tracees, mut batch) = (Names::default(), Tracees::default(), Batch::default());
        let mut last = 0;
        for chunk in self.events.lanes.values().filter_map(|chunks| chunks.last()) {
            let mut context =
                Context { source: &self.source, schema: &self.schema, names: &mut names, tracees: &mut tracees };
            last = last.max(chunk.header.base_tick);
            if batch.load(chunk, &mut context).is_ok() {
                last = last.max(batch.events.last().map_or(0, |event| event.tick));
            }
        }
        last
    }
}

/// Was it being written when it was read? Copies that the recorder makes end at one moment.
fn is_live(state: &State, status: &Status) -> bool {
    state.is_live() && status.phase != Phase::Stopped
}

fn check_length(source: &Source, header: &Header, findings: &mut Vec<Finding>) {
    let (want, have) = (header.file_bytes, source.len());
    if have < want {
        let what = format!("it has {have} bytes, {want} were written");
        findings.push(Finding::damage("file", what, "what stood in the part that is missing"));
    } else if have > want {
        let what = format!("it has {have} bytes, {want} were written");
        findings.push(Finding::warning("file", what, "nothing: what follows is not read"));
    }
}

fn read_lanes(source: &Source, header: &Header, findings: &mut Vec<Finding>) -> (Vec<Option<Lane>>, bool) {
    let mut table = Vec::new();
    let want = header.lane_slots.saturating_mul(lane::ENTRY_BYTES as u64);
    let bytes = usize::try_from(want.min(source.len())).unwrap_or(0);
    let mut damaged = false;
    if let Err(error) = source.read(header.lane_offset, bytes, &mut table) {
        findings.push(Finding::damage("lane table", error, "what was dropped, and which thread is which"));
    }
    if (table.len() as u64) < want {
        damaged = true;
        findings.push(Finding::damage(
            "lane table",
            "the file ends in it",
            "what was dropped, and which thread is which",
        ));
    }
    let entries = table.chunks_exact(lane::ENTRY_BYTES).enumerate().map(|(number, entry)| match Lane::decode(entry) {
        None => None,
        Some(Ok(lane)) => Some(lane),
        Some(Err(error)) => {
            damaged = true;
            findings.push(Finding::damage(
                format!("lane t?{number}"),
                error,
                "what it dropped, and which thread it is",
            ));
            None
        }
    });
    let lanes = entries.collect();
    (lanes, damaged)
}
