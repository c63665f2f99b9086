//! Verdicts on templates: does a line of this kind tell of a failure?

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::codec::{Schemas, Subject, subject};
use crate::template::TemplateId;

/// What is said of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum VerdictKind {
    /// Nothing; also what a reader makes of a symbol that it does not know.
    #[default]
    Unknown,
    /// It tells of a failure or of its approach.
    Faulty,
    /// It is part of normal work.
    Normal,
    /// It may be either.
    Unsure,
}

impl VerdictKind {
    /// Lower-case name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Faulty => "faulty",
            Self::Normal => "normal",
            Self::Unsure => "unsure",
        }
    }
}

impl fmt::Display for VerdictKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What is failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FailureClass {
    /// Not known.
    #[default]
    Unknown,
    /// A storage device: its medium, its controller, the link to it.
    Disk,
    /// What lies above the device: buffers, file systems, volumes.
    BufferIo,
    /// Processors, their heat and their time.
    Cpu,
    /// Memory: used up or broken.
    Memory,
    /// Links, addresses, peers.
    Network,
    /// A program or a service.
    Software,
}

impl FailureClass {
    /// Lower-case name, as in the label `failure_class` of alerts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Disk => "disk",
            Self::BufferIo => "buffer_io",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Network => "network",
            Self::Software => "software",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Whose word a record is: the second half of its key, so that compaction cannot lose a person's word to a model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictScope {
    /// A person's.
    Operator,
    /// A model's, or of an imported table.
    Model,
}

/// A scope that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected operator or model, found {0:?}")]
pub struct InvalidScope(String);

impl VerdictScope {
    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Model => "model",
        }
    }

    /// The key of a record: `<template id>/<scope>`.
    ///
    /// ```
    /// use schemas::{TemplateId, VerdictScope};
    /// assert_eq!(VerdictScope::Operator.key(TemplateId::UNKNOWN), "0000000000000000/operator");
    /// ```
    pub fn key(self, template: TemplateId) -> String {
        format!("{template}/{}", self.name())
    }
}

impl FromStr for VerdictScope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        let found = [Self::Operator, Self::Model].into_iter().find(|scope| scope.name() == text);
        found.ok_or_else(|| InvalidScope(text.chars().take(64).collect()))
    }
}

/// One verdict (`logs.verdicts.v1`, compacted, key: see [`VerdictScope::key`]; a tombstone takes it back).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename = "Verdict")]
pub struct Verdict {
    /// Hash of the template text.
    pub template_id: String,
    /// The template text; empty if who decided knew only the id.
    pub template: String,
    /// What is said of it.
    pub verdict: VerdictKind,
    /// What is failing, if it tells of a failure.
    pub failure_class: FailureClass,
    /// Probability of a failure, 0 to 1.
    pub probability: f64,
    /// Who decided: operator, import, endpoint.
    pub provider: String,
    /// Model of an endpoint, or name of an imported file; empty for a person.
    pub model_version: String,
    /// Why.
    pub reason: Option<String>,
    /// Microseconds since the epoch.
    pub decided_at: i64,
    /// The person, if one decided.
    pub actor: Option<String>,
}

subject!(Verdict, "logs.verdicts", [include_str!("../avsc/logs.verdicts/v1.avsc")]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_template_and_scope() {
        let key = VerdictScope::Model.key(TemplateId::of("x"));
        let (id, scope) = key.split_once('/').expect("two parts");
        assert_eq!((id.parse(), scope.parse()), (Ok(TemplateId::of("x")), Ok(VerdictScope::Model)));
        assert!("Operator".parse::<VerdictScope>().is_err());
    }
}
