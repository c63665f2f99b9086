//! What an operator may set about the embedded bus.

use serde::{Deserialize, Serialize};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Loss of power: every commit waits for the disk.
    Fsync,
    /// The end of the process, but not of the machine: the operating system writes when it likes.
    Os,
}

/// `[embedded]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbeddedConfig {
    /// Bytes of all topics together, 4 GiB: what a small machine can spare. Beyond, the oldest data goes first; alerts and
    /// state never go.
    pub bytes_max: u64,
    /// What a commit survives; loss of power by default, since an acknowledged record must not be lost.
    pub durability: Durability,
    /// The longest time that a commit waits for others to share its sync, 5 ms: a tenth of the latency that is promised.
    pub commit_linger_ms: u64,
    /// Bytes of recent records kept in memory for readers at the tail, for all topics together: 32 MiB holds the last
    /// second at full speed.
    pub tail_bytes_max: usize,
    /// Bytes of one segment file, 32 MiB; retention removes whole files, so a topic's is at most an eighth of its retention.
    pub segment_bytes_max: u64,
}

impl Default for EmbeddedConfig {
    fn default() -> Self {
        Self {
            bytes_max: 4 << 30,
            durability: Durability::Fsync,
            commit_linger_ms: 5,
            tail_bytes_max: 32 << 20,
            segment_bytes_max: 32 << 20,
        }
    }
}
