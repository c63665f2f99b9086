//! The contract.

use schemas::EventTime;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Lateness, Outbox, Record, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName, TopicPartition};

/// A configuration that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: expected {expected}, found {found}")]
pub struct ConfigError {
    /// Key within the part's section.
    pub key: String,
    /// What would do.
    pub expected: String,
    /// What stands there.
    pub found: String,
}

/// A deterministic state machine for one input partition.
///
/// Laws, held by [`crate::laws`] and by the runtime's simulator:
/// * same input, same outputs: no clock, no randomness but a seed in the configuration, no environment, no I/O;
///   `exp`, `ln`, `sqrt` and their like from `libm`; sorted iteration where order reaches an output or a snapshot;
/// * `restore(snapshot(after a))` then `b` equals `a` then `b`;
/// * a rejected record leaves the state as it was and emits nothing;
/// * the state stays within [`Processor::state_bytes_bound`] whatever comes;
/// * no bytes make it panic.
pub trait Processor: Sized + Send + 'static {
    /// Its section of the configuration file.
    type Config: DeserializeOwned + Serialize + Default + Clone + Send + Sync + 'static;

    /// Lower-case name, which is also that of its consumer group, state log and configuration section.
    const NAME: &'static str;
    /// Counts up when the meaning of the snapshot changes.
    const STATE_VERSION: u16;

    /// Takes in the files that its configuration names, once, before anything else: the one place for I/O.
    ///
    /// # Errors
    /// If one cannot be read.
    fn prepare(config: Self::Config) -> Result<Self::Config, ConfigError> {
        Ok(config)
    }

    /// Topics that are split among the replicas.
    fn inputs(config: &Self::Config) -> Vec<TopicName>;

    /// Compacted tables or low-rate topics that each replica reads whole.
    fn broadcasts(_config: &Self::Config) -> Vec<TopicName> {
        Vec::new()
    }

    /// Topics that it writes, besides alerts.
    fn outputs(config: &Self::Config) -> Vec<TopicName>;

    /// How long it waits for stragglers, if its method asks for something else than the operator's setting.
    fn lateness(_config: &Self::Config) -> Option<Lateness> {
        None
    }

    /// The largest snapshot that these caps allow, in bytes. A configuration whose bound is above the runtime's limit is refused at start.
    fn state_bytes_bound(config: &Self::Config) -> u64;

    /// An instance without a past.
    ///
    /// # Errors
    /// If the configuration cannot work.
    fn new(config: &Self::Config, at: &TopicPartition) -> Result<Self, ConfigError>;

    /// One record, in order. Calls `out.observe` with the record's event time.
    ///
    /// # Errors
    /// [`Reject`] if the record is bad; the state is then as it was.
    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject>;

    /// One record of a broadcast, between two records of the input.
    ///
    /// # Errors
    /// [`Reject`] if the record is bad; the state is then as it was.
    fn on_broadcast(&mut self, _record: Record<'_>) -> Result<(), Reject> {
        Ok(())
    }

    /// Event time has come to `now`: windows that end before it can be closed.
    ///
    /// # Errors
    /// Only when an output would break a limit.
    fn on_watermark(&mut self, _now: EventTime, _out: &mut Outbox) -> Result<(), Reject> {
        Ok(())
    }

    /// Writes the whole state.
    ///
    /// # Errors
    /// If it cannot be encoded.
    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError>;

    /// Comes back from a snapshot, possibly one of an older version or another configuration.
    ///
    /// # Errors
    /// If the snapshot is damaged or cannot be taken over.
    fn restore(r: &SnapshotReader<'_>, config: &Self::Config, at: &TopicPartition) -> Result<Self, StateError>;
}

/// Hash of a configuration, to see that it changed: the first 8 bytes of the SHA-256 of its postcard encoding.
pub fn config_hash<C: Serialize>(config: &C) -> u64 {
    let bytes = postcard::to_stdvec(config).unwrap_or_default();
    let hex = schemas::alert::hex16(&bytes);
    u64::from_str_radix(&hex[..16], 16).unwrap_or_default()
}
