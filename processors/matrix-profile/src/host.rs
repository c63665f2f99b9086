//! What is remembered of one host.

use std::collections::VecDeque;

use schemas::{EventTime, ParsedLog, TemplateId};
use serde::{Deserialize, Serialize};
use stream_core::{Reject, RejectReason};

use crate::{config::Scoring, sequence::Sequence, store::M};

/// Longest name of a host (RFC 1035 allows 253).
pub(crate) const HOST_BYTES_MAX: usize = 253;
/// Bytes of the names of program and virtual machine.
const NAME_BYTES_MAX: usize = 128;

/// A line as it waits for its turn, and as it stands behind an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub template: TemplateId,
    /// Syslog severity.
    pub severity: Option<u8>,
    pub app: Option<Box<str>>,
    /// The virtual machine that the line speaks of.
    pub vm: Option<Box<str>>,
    pub raw_partition: u32,
    pub raw_offset: u64,
    /// It was old already when it was appended.
    pub is_history: bool,
}

/// One host.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub name: String,
    pub sequence: Sequence,
    /// The lines of the window, newest first.
    pub heard: VecDeque<Heard>,
    /// The latest append time: who has been silent longest is forgotten first.
    pub heard_at: EventTime,
    /// Windows running that were unlike everything before.
    pub novel: u32,
}

impl Host {
    pub(crate) fn new(name: &str, scoring: &Scoring) -> Self {
        Self { name: name.into(), sequence: Sequence::new(scoring), heard: VecDeque::new(), heard_at: EventTime::MIN, novel: 0 }
    }

    pub(crate) fn remember(&mut self, heard: Heard) {
        self.heard.push_front(heard);
        self.heard.truncate(M);
    }
}

impl Heard {
    /// What the detector needs of a parsed line.
    ///
    /// # Errors
    /// If a field breaks its rule.
    pub(crate) fn of(log: &ParsedLog, is_history: bool) -> Result<Self, Reject> {
        let invalid = |detail: String| Reject::new(RejectReason::InvalidField, detail);
        if log.host.is_empty() || log.host.len() > HOST_BYTES_MAX {
            return Err(invalid(format!("host: expected 1 to {HOST_BYTES_MAX} bytes, found {}", log.host.len())));
        }
        let template = log.template_id.parse().map_err(|error| invalid(format!("template_id: {error}")))?;
        Ok(Self {
            template,
            severity: log.severity.and_then(|severity| u8::try_from(severity).ok()).filter(|severity| *severity <= 7),
            app: log.app_name.as_deref().map(cut),
            vm: log.attributes.get("vm").map(|vm| cut(vm)),
            raw_partition: u32::try_from(log.raw_partition).unwrap_or_default(),
            raw_offset: u64::try_from(log.raw_offset).unwrap_or_default(),
            is_history,
        })
    }
}

fn cut(name: &str) -> Box<str> {
    name.get(..name.floor_char_boundary(NAME_BYTES_MAX)).unwrap_or_default().into()
}
