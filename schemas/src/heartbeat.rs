//! Heartbeats as a receiver hears them (`host.heartbeats.v1`): changes, and a summary every few seconds.

use serde::{Deserialize, Serialize};

use crate::codec::{Schemas, Subject, subject};

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HeartbeatKind {
    /// Nothing; also what a reader makes of a symbol that it does not know.
    #[default]
    Unknown,
    /// It lives.
    Summary,
    /// It was heard for the first time.
    First,
    /// It began a new life.
    Restarted,
    /// It is heard again after a silence.
    Returned,
    /// It said goodbye.
    Farewell,
    /// The receiver itself: it hears, whoever may be silent.
    Listening,
}

/// What a receiver heard of one name since it last spoke of it (`host.heartbeats.v1`, key: the name).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The host or VM; the receiver itself if it is [`HeartbeatKind::Listening`].
    pub name: String,
    /// Whether it calls itself a VM.
    pub is_vm: bool,
    /// What is said.
    pub kind: HeartbeatKind,
    /// When the receiver says so, microseconds since the epoch.
    pub time: i64,
    /// Who heard it.
    pub receiver: String,
    /// The sender's life, 16 hexadecimal digits.
    pub run: String,
    /// Highest number of a pulse in this life.
    pub sequence: i64,
    /// Pulses since the last record of this name.
    pub pulses: i64,
    /// Numbers that were left out since then.
    pub missing: i64,
    /// Numbers that came again since then.
    pub repeated: i64,
    /// Pulses of this name since the receiver started.
    pub total: i64,
    /// When the last pulse came, microseconds since the epoch.
    pub last_pulse: Option<i64>,
}

subject!(Heartbeat, "host.heartbeats", [include_str!("../avsc/host.heartbeats/v1.avsc")]);
