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

impl Finding {
    /// Is it about what a limit left out? Then nothing is wrong with the file.
    pub fn is_of_limits(&self) -> bool {
        self.place == LIMITS
    }

    pub(crate) fn damage(place: impl Into<String>, what: impl ToString, cost: impl Into<String>) -> Finding {
        Finding { severity: Severity::Damage, place: place.into(), what: what.to_string(), cost: cost.into() }
    }

    pub(crate) fn warning(place: impl Into<String>, what: impl ToString, cost: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, place: place.into(), what: what.to_string(), cost: cost.into() }
    }
}
