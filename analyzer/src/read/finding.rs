//! What is wrong with a recording, as values.

use schemars::JsonSchema;
use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something to know when reading the numbers.
    Warning,
    /// Bytes are missing or not what was written.
    Damage,
}

/// One thing that is wrong: what, where, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The part of the file.
    pub place: String,
    /// What is wrong with it.
    pub what: String,
    /// What is lost by it.
    pub cost: String,
}

/// The place of findings about what limits left out of the recording.
pub(crate) const LIMITS: &str = "limits";

/// The place of findings about what was not traced for a while.
pub(crate) const TRACING: &str = "tracing";

/// The place of the finding about the clocks of threads that disagree.
pub(crate) const CLOCKS: &str = "clocks of threads";

impl Finding {
    /// Is it about clocks of threads that disagree?
    pub fn is_of_clocks(&self) -> bool {
        self.place == CLOCKS
    }

    pub(crate) fn clocks(what: String) -> Finding {
        Finding::warning(CLOCKS, what, "order and durations between threads: they may be off by as much")
    }

    /// Is it about events that were not recorded? Then nothing is wrong with the file.
    pub fn is_of_omissions(&self) -> bool {
        self.place == LIMITS || self.place == TRACING
    }

    pub(crate) fn damage(place: impl Into<String>, what: impl ToString, cost: impl Into<String>) -> Finding {
        Finding { severity: Severity::Damage, place: place.into(), what: what.to_string(), cost: cost.into() }
    }

    pub(crate) fn warning(place: impl Into<String>, what: impl ToString, cost: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, place: place.into(), what: what.to_string(), cost: cost.into() }
    }
}

/// Where something is wrong, as far as that can be said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Place {
    /// The part of the file, where it is no chunk.
    pub part: Option<String>,
    /// The ring that the chunk is in: `events` or `info`.
    pub ring: Option<&'static str>,
    /// The chunk's place in the ring, from 0.
    pub chunk: Option<u64>,
    /// The chunk's number, `seq` in its header.
    pub number: Option<u64>,
    /// The first byte that is wrong, or that of the chunk; in a stream, counted as if
    /// its segments lay behind each other.
    pub byte: Option<u64>,
    /// The lane that wrote it.
    pub lane: Option<u32>,
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: Option<u64>,
    /// The process or port.
    pub process: Option<String>,
}

/// One thing that is wrong, where, and what it costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Defect {
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub what: String,
    /// What is lost by it.
    pub cost: String,
}

impl Defect {
    pub(crate) fn damage(place: Place, what: impl ToString, cost: impl Into<String>) -> Defect {
        Defect { severity: Severity::Damage, place, what: what.to_string(), cost: cost.into() }
    }

    pub(crate) fn warning(place: Place, what: impl ToString, cost: impl Into<String>) -> Defect {
        Defect { severity: Severity::Warning, place, what: what.to_string(), cost: cost.into() }
    }
}

impl Defect {
    /// The same, with its place in words.
    pub fn into_finding(self, lane_name: impl Fn(u32) -> String) -> Finding {
        let Defect { severity, place, what, cost } = self;
        let number = place.number.unwrap_or(0);
        let place = match (place.ring, place.chunk, place.lane) {
            (Some("events"), Some(chunk), Some(lane)) => {
                format!("events chunk {chunk} (number {number}, lane {})", lane_name(lane))
            }
            (Some(ring), Some(chunk), _) => format!("{ring} chunk {chunk} (number {number})"),
            _ => place.part.unwrap_or_default(),
        };
        Finding { severity, place, what, cost }
    }
}

impl From<Finding> for Defect {
    fn from(finding: Finding) -> Defect {
        let Finding { severity, place, what, cost } = finding;
        Defect { severity, place: Place { part: Some(place), ..Place::default() }, what, cost }
    }
}
