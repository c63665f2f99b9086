//! What an operator may set about the engine, each with its reason.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use stream_core::Lateness;

use crate::{bus::BatchLimits, config::Backend};

/// `[batch]`: when a batch is full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Records in one batch.
    pub records_max: usize,
    /// Bytes in one batch.
    pub bytes_max: usize,
    /// Time since the first record of a batch; 0 lets the bus decide: 20 ms where a commit is cheap (embedded), 100 ms, as
    /// Kafka Streams, where it costs several round trips (Kafka).
    pub batch_ms: u64,
    /// A batch ends when nothing came for this long.
    pub quiet_ms: u64,
    /// Processing stops here and commits what it has, well below any bus's transaction timeout.
    pub process_ms_max: u64,
}

impl Default for BatchSettings {
    fn default() -> Self {
        Self { records_max: 50_000, bytes_max: 16 << 20, batch_ms: 0, quiet_ms: 10, process_ms_max: 3_000 }
    }
}

impl BatchSettings {
    /// The limits of a batch on such a bus.
    pub(crate) fn limits(&self, backend: Backend) -> BatchLimits {
        let batch_ms = match (self.batch_ms, backend) {
            (0, Backend::Embedded) => 20,
            (0, Backend::Kafka) => 100,
            (batch_ms, _) => batch_ms,
        };
        BatchLimits {
            records_max: self.records_max,
            bytes_max: self.bytes_max,
            batch_time_max: Duration::from_millis(batch_ms),
            quiet: Duration::from_millis(self.quiet_ms),
        }
    }
}

/// `[state]`: when snapshots are written, and how large a state may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateSettings {
    /// A snapshot is due when replaying would cost this much CPU time (or four times the last snapshot, if that is more). One
    /// second, so that a restart after a crash, which also has to read the state, is back within two.
    pub replay_cpu_ms: u64,
    /// A snapshot is written when nothing came for this long.
    pub idle_snapshot_s: u64,
    /// The largest state of one instance, in bytes; beyond, the worker stops.
    pub state_bytes_max: u64,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self { replay_cpu_ms: 1_000, idle_snapshot_s: 60, state_bytes_max: 128 << 20 }
    }
}

/// `[time]`: when silence becomes an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeSettings {
    /// Watermarks stay this far behind the newest record: 5 s covers the batching of syslog relays and OTLP exporters.
    pub lateness_ms: i64,
    /// A processor is told of a watermark when it has moved by this much.
    pub watermark_step_ms: i64,
    /// A partition at its end gets an idle tick after each such span of silence.
    pub idle_ms: u64,
}

impl Default for TimeSettings {
    fn default() -> Self {
        let Lateness { lateness_ms, watermark_step_ms } = Lateness::DEFAULT;
        Self { lateness_ms, watermark_step_ms, idle_ms: 10_000 }
    }
}

impl TimeSettings {
    pub(crate) fn lateness(&self) -> Lateness {
        Lateness { lateness_ms: self.lateness_ms, watermark_step_ms: self.watermark_step_ms }
    }
}

/// `[dlq]`: how many rejects stop the line. A leaky bucket per partition: one in per reject, `leak` out per accepted record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DlqSettings {
    /// The worker stops when the bucket holds this many: a hundred in a row.
    pub burst_max: u32,
    /// Runs out per accepted record: more than a tenth for long fills the bucket.
    pub leak: f64,
}

impl Default for DlqSettings {
    fn default() -> Self {
        Self { burst_max: 100, leak: 0.1 }
    }
}

/// All settings of the engine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EngineSettings {
    /// `[batch]`.
    pub batch: BatchSettings,
    /// `[state]`.
    pub state: StateSettings,
    /// `[time]`.
    pub time: TimeSettings,
    /// `[dlq]`.
    pub dlq: DlqSettings,
}
