//! The incident (`incidents.v1`, key: incident id): alerts of one story, with what probably caused them and how it went.
//! JSON, one object per record; the last record of an id is the whole truth about it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    alert::{AlertStatus, LABEL_BYTES_MAX, Severity, hex16, one_line},
    time::EventTime,
};

/// Bytes of `title`, of a reason and of a line of the timeline.
pub const LINE_BYTES_MAX: usize = 256;
/// Entries of `causes`.
pub const CAUSES_MAX: usize = 3;
/// Entries of `alerts`; `alertsTotal` counts on.
pub const ALERTS_MAX: usize = 100;
/// Entries of each of `hosts`, `vms` and `services`.
pub const THINGS_MAX: usize = 100;
/// Nodes of one alert.
pub const NODES_MAX: usize = 4;
/// Entries of `actions`.
pub const ACTIONS_MAX: usize = 32;
/// Entries of `timeline`.
pub const TIMELINE_MAX: usize = 200;

/// Whether the story goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentStatus {
    /// Something of it still fires, or fired a moment ago.
    #[default]
    Open,
    /// It is over, or told on in another incident.
    Resolved,
}

impl fmt::Display for IncidentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Open => "open",
            Self::Resolved => "resolved",
        })
    }
}

/// What kind of thing alerts are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeKind {
    /// A machine that runs others, or stands alone.
    Host,
    /// A virtual machine.
    Vm,
    /// A program, wherever it runs.
    Service,
    /// An address that things speak with, and that no host is known by.
    Peer,
}

impl NodeKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Host, Self::Vm, Self::Service, Self::Peer];

    /// The word before the slash.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Vm => "vm",
            Self::Service => "service",
            Self::Peer => "peer",
        }
    }
}

/// A thing that alerts are about, written `kind/name`.
///
/// ```
/// use schemas::{Node, NodeKind};
///
/// let node = Node::new(NodeKind::Host, "db-7");
/// assert_eq!(node.to_string(), "host/db-7");
/// assert_eq!("host/db-7".parse(), Ok(node));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Its name among its kind.
    pub name: String,
}

impl Node {
    /// The thing of this kind and name; names are made one line and cut as labels are.
    pub fn new(kind: NodeKind, name: &str) -> Self {
        Self { kind, name: one_line(name, LABEL_BYTES_MAX) }
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str(), self.name)
    }
}

/// Text that names no thing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected host/NAME, vm/NAME, service/NAME or peer/NAME, found {found:?}")]
pub struct InvalidNode {
    found: String,
}

impl FromStr for Node {
    type Err = InvalidNode;

    fn from_str(text: &str) -> Result<Self, InvalidNode> {
        let invalid = || InvalidNode { found: one_line(text, LINE_BYTES_MAX) };
        let (word, name) = text.split_once('/').filter(|(_, name)| !name.is_empty()).ok_or_else(invalid)?;
        let kind = NodeKind::ALL.into_iter().find(|kind| kind.as_str() == word).ok_or_else(invalid)?;
        Ok(Self { kind, name: name.into() })
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        std::borrow::Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// A thing that probably caused the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The thing.
    pub node: Node,
    /// How much speaks for it; comparable within one incident only.
    pub score: f64,
    /// What speaks for it, one line.
    pub because: String,
}

/// An alert of the story, as it was last heard of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentAlert {
    /// The id of its last record on `alerts.v1`.
    pub id: String,
    /// Identity of its trouble.
    pub fingerprint: String,
    /// Kind of trouble.
    pub name: String,
    /// Whether it lasts.
    pub status: AlertStatus,
    /// How bad it is.
    pub severity: Severity,
    /// When it began (event time).
    pub started_at: EventTime,
    /// When it ended; only if it is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<EventTime>,
    /// The things that it is about, the most particular first.
    pub nodes: Vec<Node>,
}

/// What was done about the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentAction {
    /// Id of the action.
    pub id: String,
    /// What it does.
    pub kind: String,
    /// How far it has come.
    pub state: String,
}

/// What a line of the timeline tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TimelineKind {
    /// An alert began.
    Firing,
    /// An alert became more or less severe.
    Severity,
    /// An alert ended.
    Resolved,
    /// An alert comes and goes; it is not told any more.
    Flapping,
    /// Another incident turned out to be part of this one.
    Merged,
    /// The first cause is another one now.
    Cause,
    /// Everything is over.
    Closed,
}

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimelineEntry {
    /// When (event time).
    pub at: EventTime,
    /// What kind of line it is.
    pub kind: TimelineKind,
    /// In a sentence, one line.
    pub text: String,
    /// The alert that it tells of, by fingerprint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// All that is known about one story.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Incident {
    /// Which story: see [`incident_id`].
    pub id: String,
    /// Counts the records of this incident from 1: of two, the one with the greater number is newer.
    pub revision: u64,
    /// Whether it goes on.
    pub status: IncidentStatus,
    /// One line: the first cause and how far it reaches.
    pub title: String,
    /// The greatest that an alert of it had.
    pub severity: Severity,
    /// When its first alert began (event time).
    pub started_at: EventTime,
    /// When anything of it last changed (event time).
    pub last_update: EventTime,
    /// When its last alert ended; only if it is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<EventTime>,
    /// The incident in which it is told on; only if it is resolved, and not over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
    /// What probably caused it, the most probable first.
    pub causes: Vec<Cause>,
    /// Its alerts, the earliest first; those that fire before those that are over where there are too many.
    pub alerts: Vec<IncidentAlert>,
    /// How many alerts it has, with those that do not stand above.
    pub alerts_total: u64,
    /// Hosts concerned, sorted.
    pub hosts: Vec<String>,
    /// Virtual machines concerned, sorted.
    pub vms: Vec<String>,
    /// Services concerned, sorted.
    pub services: Vec<String>,
    /// What was done about it.
    pub actions: Vec<IncidentAction>,
    /// How it went, in the order in which it became known; where there is too much, the first half and the newest stay.
    pub timeline: Vec<TimelineEntry>,
}

impl Incident {
    /// Whether this alert is of the first cause itself, rather than one of its consequences: what is told even where
    /// consequences are held back.
    pub fn is_of_first_cause(&self, fingerprint: &str) -> bool {
        let first = self.causes.first().map(|cause| &cause.node);
        self.alerts.iter().any(|alert| alert.fingerprint == fingerprint && alert.nodes.first() == first)
    }

    /// Brings texts and lists within their limits and escapes control characters.
    pub fn sanitize(&mut self) {
        self.title = one_line(&self.title, LINE_BYTES_MAX);
        self.causes.truncate(CAUSES_MAX);
        for cause in &mut self.causes {
            cause.because = one_line(&cause.because, LINE_BYTES_MAX);
        }
        self.alerts.truncate(ALERTS_MAX);
        for alert in &mut self.alerts {
            alert.nodes.truncate(NODES_MAX);
        }
        for names in [&mut self.hosts, &mut self.vms, &mut self.services] {
            names.truncate(THINGS_MAX);
        }
        self.actions.truncate(ACTIONS_MAX);
        self.timeline.truncate(TIMELINE_MAX);
        for entry in &mut self.timeline {
            entry.text = one_line(&entry.text, LINE_BYTES_MAX);
        }
    }
}

/// The name of a story: `hex(SHA-256("nephoscope-incident-1\0" ‖ fingerprint ‖ i64 start)[0..16])`, the fingerprint of its first alert and that
/// alert's start in milliseconds, big-endian.
///
/// ```
/// use schemas::{EventTime, incident::incident_id};
///
/// let id = incident_id("832b9dae9e06b086c1aa3d277e96eaa0", EventTime::from_millis(1_700_000_000_123));
/// assert_eq!(id, "86ba9877b46112355f13c311ad667eec");
/// ```
pub fn incident_id(fingerprint: &str, started_at: EventTime) -> String {
    let mut bytes = b"nephoscope-incident-1\0".to_vec();
    bytes.extend(fingerprint.as_bytes());
    bytes.extend(started_at.millis().to_be_bytes());
    hex16(&bytes)
}
