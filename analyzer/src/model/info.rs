//! What a recording is: the first page of any report.

use schemars::JsonSchema;
use serde::{Serialize, Serializer};

use crate::model::clocks::Clocks;
use crate::model::part::{Part, ProcessRow, Tally};
use crate::model::pids::Pids;
use crate::read::{Defect, Finding, Info, LaneLedger, Ledger, Outcome, Recording, Round, SegmentFacts, State};

/// A recording at a glance.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Report {
    /// As the user named it.
    pub path: String,
    /// How it ended.
    #[serde(flatten)]
    pub state: State,
    /// The same in words.
    pub state_text: String,
    /// When a later VM found that this one had died, nanoseconds since 1970, and its process
    /// id; null when none did.
    pub found: Option<(u64, u32)>,
    /// Format version.
    pub format: (u16, u16),
    /// Size of the file.
    pub file_bytes: u64,
    /// Size of the event ring, and of the ring of process facts.
    pub ring_bytes: (u64, u64),
    /// Did the ring begin to overwrite, or did a stream lose its oldest segments?
    pub ring_turned: bool,
    /// How events are stored: `ring`, `once` or `stream`.
    pub mode: String,
    /// Which segments there are, of a stream.
    pub segments: Option<SegmentFacts>,
    /// First moment, nanoseconds since 1970; null when no clock is left.
    pub start_wall_ns: Option<u64>,
    /// Last moment, nanoseconds since 1970; null when no clock is left.
    pub end_wall_ns: Option<u64>,
    /// From the first to the last moment.
    pub duration_ns: u64,
    /// The part of it, at the end, whose events are all in the file but for damage.
    pub covered_ns: u64,
    /// What was asked for, where that is not all of it; then counts by kind, of processes and
    /// of lanes are of that.
    pub part: Option<Part>,
    /// All that the meta section says, but for the table of records.
    #[serde(serialize_with = "as_object")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    pub meta: Vec<(String, String)>,
    /// Events by kind.
    #[serde(serialize_with = "as_object")]
    #[schemars(with = "std::collections::BTreeMap<String, u64>")]
    pub events_by_kind: Vec<(String, u64)>,
    /// Processes and ports that had events.
    pub tracees: usize,
    /// The sum of the ledgers.
    pub ledger: Ledger,
    /// Bytes of payload for each event in the file.
    pub bytes_per_event: f64,
    /// Lane by lane.
    pub lanes: Vec<LaneRow>,
    /// Of a part, the processes with most events, at most 30.
    pub processes: Vec<ProcessRow>,
    /// Remarks of the recorder.
    pub notes: Vec<Note>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

fn as_object<S: Serializer, V: Serialize>(pairs: &[(String, V)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().map(|(key, value)| (key, value)))
}

/// A lane.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct LaneRow {
    /// Its short name.
    pub name: String,
    /// How many of its events are asked for; null where all are.
    pub asked_for: Option<u64>,
    /// The rest.
    #[serde(flatten)]
    pub lane: LaneLedger,
}

/// A remark of the recorder.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Note {
    /// Nanoseconds since the start.
    pub at_ns: u64,
    /// What about.
    pub what: String,
    /// The rest.
    pub detail: String,
}

/// What is counted while chunks go by.
#[derive(Debug)]
pub struct Counts {
    kinds: Vec<u64>,
    tracees: Pids,
    ledger: Vec<LaneLedger>,
    findings: Vec<Finding>,
    clocks: Clocks,
    part: Option<(Part, Tally)>,
}

impl Counts {
    /// Begins with what the headers say.
    pub fn new(recording: &Recording) -> Counts {
        let (ledger, findings) = (recording.ledger.clone(), recording.findings.clone());
        Counts {
            kinds: Vec::new(),
            tracees: Pids::new(recording.pids),
            ledger,
            findings,
            clocks: Clocks::of_survey(recording),
            part: None,
        }
    }

    /// Of a part, of which all events were read, with what reading them brought to light.
    pub fn of_part(part: Part, tally: Tally, outcome: Outcome, recording: &Recording) -> Counts {
        let Outcome { ledger, findings, .. } = outcome;
        Counts { ledger, findings, part: Some((part, tally)), ..Counts::new(recording) }
    }

    /// Takes a round of chunks.
    pub fn round(&mut self, recording: &Recording, round: Round) {
        self.kinds.resize(self.kinds.len().max(round.kinds.len()), 0);
        self.kinds.iter_mut().zip(&round.kinds).for_each(|(sum, n)| *sum += n);
        round.whose.iter().for_each(|whose| self.tracees.insert(*whose));
        for (lane, events, overwritten) in round.lost {
            let entry = self.ledger.iter_mut().find(|entry| entry.lane == lane);
            entry.into_iter().for_each(|entry| entry.lose(events, overwritten));
        }
        let finding = |defect: Defect| defect.into_finding(|lane| recording.lane_name(lane));
        self.findings.extend(round.defects.into_iter().map(finding));
        round.steps.iter().for_each(|step| self.clocks.step(step));
    }

    /// All that is known of the recording.
    pub fn report(mut self, recording: &Recording, infos: &[Info]) -> Report {
        self.findings.extend(self.clocks.finding_of_survey(recording));
        let ledger = Ledger::sum(&self.ledger);
        let (part, tally) = self.part.unzip();
        let (by_kind, tracees) =
            tally.as_ref().map_or((&self.kinds, self.tracees.len()), |tally| (&tally.kinds, tally.whose.len()));
        let kinds = by_kind.iter().enumerate().filter(|(_, n)| **n > 0);
        let lane_row = |lane: &LaneLedger| LaneRow {
            name: lane.short(),
            asked_for: tally.as_ref().map(|tally| tally.on_lane(lane.lane)),
            lane: lane.clone(),
        };
        let (start, end) = (recording.start_ns, recording.end_ns);
        let payload = recording.payload_bytes();
        Report {
            path: recording.path.clone(),
            state: recording.state.clone(),
            state_text: recording.state.to_string(),
            found: recording.found.map(|found| (found.wall_ns, found.by)),
            format: (recording.header.major, recording.header.minor),
            file_bytes: recording.file_bytes,
            ring_bytes: (recording.header.events.bytes(), recording.header.info.bytes()),
            ring_turned: recording.ring_turned(),
            mode: recording.meta.get("mode").unwrap_or("ring").to_owned(),
            segments: recording.source().segment_facts(),
            start_wall_ns: recording.clock.known_wall_ns(start),
            end_wall_ns: recording.clock.known_wall_ns(end),
            duration_ns: end - start,
            covered_ns: end.saturating_sub(recording.complete_from_ns),
            meta: recording.meta.entries.iter().filter(|(key, _)| key != "records").cloned().collect(),
            events_by_kind: kinds.map(|(kind, n)| (recording.kind_name(kind as u8), *n)).collect(),
            tracees,
            bytes_per_event: if ledger.present == 0 { 0.0 } else { payload as f64 / ledger.present as f64 },
            ledger,
            lanes: self.ledger.iter().map(lane_row).collect(),
            processes: tally.map(Tally::processes).unwrap_or_default(),
            part,
            notes: infos.iter().filter_map(|info| note(info, start)).collect(),
            findings: self.findings,
        }
    }
}

fn note(info: &Info, start: u64) -> Option<Note> {
    match info {
        Info::Note { time, what, detail } => {
            Some(Note { at_ns: time.saturating_sub(start), what: what.clone(), detail: detail.clone() })
        }
        Info::Process { .. } => None,
    }
}
