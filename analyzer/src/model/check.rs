//! Whether a recording is what the format and the VM's events allow it to be.

use schemars::JsonSchema;
use serde::Serialize;

use super::clocks::Clocks;
use super::part::{Part, Wanted};
use super::protocol::Protocol;
use crate::read::{Defect, LaneLedger, Ledger, Place, Recording, Round, Severity, State, Step, Survey};

/// At most so many defects are kept; further ones are counted.
const KEPT: usize = 10_000;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Report {
    /// As the user named it.
    pub path: String,
    /// How it ended.
    #[serde(flatten)]
    pub state: State,
    /// The same in words.
    pub state_text: String,
    /// What was asked for, where that is not all of it; nothing is said of the rest.
    pub part: Option<Part>,
    /// Chunks of both rings that were read.
    pub chunks: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Events that can be read.
    pub events: u64,
    /// What became of the events that the VM offered.
    pub ledger: Ledger,
    /// Is nothing damaged?
    pub fine: bool,
    /// Damaged parts found.
    pub damaged: u64,
    /// Other things to know that were found.
    pub warnings: u64,
    /// Each, of the file, then of its chunks in the order of time; at most 10,000.
    pub defects: Vec<Defect>,
}

/// Gathers what is found.
#[derive(Debug)]
pub struct Check {
    report: Report,
    protocol: Protocol,
    clocks: Clocks,
    wanted: Option<Wanted>,
    /// What became of each lane's events, as far as that is known by now.
    lanes: Vec<LaneLedger>,
}

impl Check {
    /// Begins with what opening the recording found.
    pub fn new(recording: &Recording) -> Check {
        Check::begin(recording, None)
    }

    /// The same, of a part: to be told of the rounds of [`Survey::of_window`].
    pub fn of_part(recording: &Recording, part: Part, wanted: Wanted) -> Check {
        Check::begin(recording, Some((part, wanted)))
    }

    fn begin(recording: &Recording, part: Option<(Part, Wanted)>) -> Check {
        let (part, wanted) = part.unzip();
        let report = Report {
            path: recording.path.clone(),
            state: recording.state.clone(),
            state_text: recording.state.to_string(),
            part,
            chunks: 0,
            bytes: 0,
            events: 0,
            ledger: Ledger::default(),
            fine: true,
            damaged: 0,
            warnings: 0,
            defects: Vec::new(),
        };
        let (protocol, clocks) = (Protocol::of(recording), Clocks::of_survey(recording));
        let mut check = Check { report, protocol, clocks, wanted, lanes: recording.ledger.clone() };
        recording.findings.iter().for_each(|finding| check.add(finding.clone().into(), None, recording));
        recording.audit().into_iter().for_each(|defect| check.add(defect, None, recording));
        check
    }

    /// Takes a round of chunks.
    pub fn round(&mut self, recording: &Recording, survey: &Survey<'_>, round: Round) {
        let report = &mut self.report;
        report.chunks += round.chunks;
        report.bytes += round.bytes;
        report.events += round.events;
        for (lane, events, overwritten) in round.lost {
            let lane = self.lanes.iter_mut().find(|entry| entry.lane == lane);
            lane.into_iter().for_each(|lane| lane.lose(events, overwritten));
        }
        round.defects.into_iter().for_each(|defect| self.add(defect, None, recording));
        for step in &round.steps {
            self.clocks.step(step);
            if let Some(wrong) = self.protocol.step(step) {
                let process = Some(recording.pids.text(step.whose));
                let place = Place { process, ..survey.place(step) };
                let wrong = Defect::damage(place, wrong, "what is said of this process from here on");
                self.add(wrong, Some(step), recording);
            }
        }
    }

    /// `step`: at which it showed that a process did what it cannot.
    fn add(&mut self, mut defect: Defect, step: Option<&Step>, recording: &Recording) {
        if self.wanted.as_ref().is_some_and(|wanted| !wanted.takes(&defect, step)) {
            return;
        }
        match defect.severity {
            Severity::Damage => self.report.damaged += 1,
            Severity::Warning => self.report.warnings += 1,
        }
        if self.report.defects.len() < KEPT {
            defect.place.time_ns = defect.place.time_ns.map(|ns| ns.saturating_sub(recording.start_ns));
            self.report.defects.push(defect);
        }
    }

    /// All that was found.
    pub fn report(mut self, recording: &Recording) -> Report {
        if let Some(finding) = self.clocks.finding_of_survey(recording) {
            self.add(finding.into(), None, recording);
        }
        self.report.ledger = Ledger::sum(&self.lanes);
        for lane in &recording.ledger {
            if let Some(wrong) = unbalanced(lane) {
                let place = Place { part: Some("ledger".to_owned()), lane: Some(lane.lane), ..Place::default() };
                self.add(Defect::damage(place, wrong, "what is counted as lost"), None, recording);
            }
        }
        self.report.fine = self.report.damaged == 0;
        self.report
    }
}

/// Each event is in exactly one place of the ledger.
fn unbalanced(lane: &LaneLedger) -> Option<String> {
    let Ledger { stored, present, overwritten, damaged, outside_window, dropped, .. } = lane.ledger;
    let by_cause = lane.ledger.dropped_by_cause.iter().map(|(_, n)| *n).fold(0, u64::saturating_add);
    let parts = present.saturating_add(overwritten).saturating_add(damaged).saturating_add(outside_window);
    if parts != stored {
        return Some(format!("{stored} events were stored, {parts} are accounted for"));
    }
    (by_cause != dropped).then(|| format!("{dropped} events were dropped, {by_cause} for a cause"))
}
