//! What the engine needs of a bus: a log of topics, sessions that read, process and commit in one atomic step, and
//! publishers that make records and their cursor visible together. Nothing above this module knows which bus it is.
//!
//! A worker's life on a session:
//!
//! ```text
//! gather ──▶ records, assigned, revoked, at-end, trimmed          (never while a transaction is open)
//!   assigned: restore_step until Ready ─▶ seek ─▶ resume          (a new partition starts paused)
//! begin ──▶ process ──▶ commit: outputs, state, positions         (all or nothing)
//!                   └─▶ abort, or a failed commit: restore again  (memory is ahead of the log)
//! ```

use std::{collections::BTreeMap, time::Duration};

use schemas::topics::Cleanup;
use stream_core::{NextOffset, Outbox, TopicName, TopicPartition};

use crate::{config::Backend, gathered::Gathered, publish::Publish};

/// A topic to be created, or to be found as described.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// Name.
    pub name: TopicName,
    /// Number of partitions.
    pub partitions: u32,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// Age at which records may go.
    pub retention_ms: i64,
    /// Bytes per partition at which records may go; `u64::MAX` if age alone decides.
    pub retention_bytes: u64,
}

/// Who opens a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSpec {
    /// Processor, which names the consumer group and the state log.
    pub processor: String,
    /// Topics whose partitions are split among the sessions of this processor.
    pub inputs: Vec<TopicName>,
    /// Topics that every session reads whole.
    pub broadcasts: Vec<TopicName>,
}

/// When a batch is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub records_max: usize,
    /// Bytes of keys, values and headers.
    pub bytes_max: usize,
    /// Time since the first record.
    pub batch_time_max: Duration,
    /// Time without a further record; also how long an empty gather waits.
    pub quiet: Duration,
}

/// One key of an instance's state log. No value deletes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateWrite {
    /// Instance.
    pub at: TopicPartition,
    /// Key within the instance.
    pub key: String,
    /// Value.
    pub value: Option<Vec<u8>>,
}

/// All that one commit makes visible, or nothing of it.
#[derive(Debug)]
pub struct CommitBatch<'a> {
    /// Outputs, in order.
    pub outputs: &'a Outbox,
    /// Writes to the state log, in order.
    pub state: &'a [StateWrite],
    /// Positions of the inputs, for other people's lag tools: the truth is in the state.
    pub positions: &'a [(TopicPartition, NextOffset)],
}

/// The live keys of one instance's state log, as of its last commit.
pub type StateImage = BTreeMap<String, Vec<u8>>;

/// How far a restore is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restoring {
    /// Call again; other partitions may go on meanwhile.
    Pending,
    /// Here it is; empty if the instance never committed.
    Ready(StateImage),
}

/// Why a bus refused.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// It works no more; open a new session.
    #[error("session lost: {0}")]
    Lost(String),
    /// Something that the operator must mend.
    #[error("{0}")]
    Fatal(String),
    /// The operating system refused.
    #[error("{what}")]
    Io {
        /// What was tried, and where.
        what: String,
        /// The refusal.
        #[source]
        source: std::io::Error,
    },
}

/// Why a commit did not succeed, and what follows.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Nothing was written, and the same batch may be committed later: the disk is full.
    #[error("commit has to wait: {0}")]
    Retry(String),
    /// The transaction is over, and as a rule nothing of it was written. What stands on the bus tells: restore, then go on.
    #[error("commit was aborted: {0}")]
    Aborted(String),
    /// Somebody else took over: open a new session.
    #[error("fenced: {0}")]
    Fenced(String),
    /// It may or may not have been written: open a new session, whose restore will tell.
    #[error("outcome of the commit is unknown: {0}")]
    Unknown(String),
    /// The operator must mend it.
    #[error("commit failed: {0}")]
    Fatal(String),
}

/// A bus.
pub trait Bus: Send + Sync {
    /// Creates what is missing.
    ///
    /// # Errors
    /// If a topic exists in another shape.
    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), BusError>;

    /// Number of partitions of a topic, 0 if it does not exist.
    ///
    /// # Errors
    /// If the bus cannot be asked.
    fn partitions(&self, topic: &TopicName) -> Result<u32, BusError>;

    /// What it is called in telemetry (`messaging.system` of OpenTelemetry's semantic conventions).
    fn system(&self) -> &'static str {
        "nephoscope"
    }

    /// The consumer group of a processor.
    fn group(&self, processor: &str) -> String {
        format!("nephoscope.{processor}")
    }

    /// What it is: layouts of topics and lengths of batches follow from it.
    fn backend(&self) -> Backend {
        Backend::Embedded
    }

    /// Opens a session for a worker.
    ///
    /// # Errors
    /// If a topic is missing or the bus is away.
    fn open(&self, spec: &WorkerSpec) -> Result<Box<dyn Session>, BusError>;

    /// Opens the one publisher of a source; an older one of the same name is fenced.
    ///
    /// # Errors
    /// If the bus is away.
    fn publisher(&self, source: &str) -> Result<Box<dyn Publish>, BusError>;
}

/// A worker's view of the bus, owned by one thread.
pub trait Session: Send {
    /// Adds records and events to `into`, until a limit is met or nothing more comes.
    ///
    /// # Errors
    /// [`BusError::Lost`] if a new session is needed.
    fn gather(&mut self, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError>;

    /// One slice (≤ 100 ms) of reading the committed state of an owned input partition.
    ///
    /// # Errors
    /// If the state log cannot be read.
    fn restore_step(&mut self, at: &TopicPartition) -> Result<Restoring, BusError>;

    /// The consumer group's committed position of an owned input partition: where an instance without state begins.
    /// None means the beginning.
    ///
    /// # Errors
    /// If the bus is away.
    fn committed(&mut self, at: &TopicPartition) -> Result<Option<NextOffset>, BusError>;

    /// Opens a transaction.
    ///
    /// # Errors
    /// [`BusError::Lost`] if a new session is needed.
    fn begin(&mut self) -> Result<(), BusError>;

    /// Makes the batch visible and closes the transaction.
    ///
    /// # Errors
    /// See [`CommitError`]; after all but `Retry` the transaction is closed.
    fn commit(&mut self, batch: &CommitBatch<'_>) -> Result<(), CommitError>;

    /// Closes the transaction without a trace.
    ///
    /// # Errors
    /// [`BusError::Lost`] if a new session is needed.
    fn abort(&mut self) -> Result<(), BusError>;

    /// Stops gathering from a partition.
    fn pause(&mut self, at: &TopicPartition);

    /// Gathers from a partition again.
    fn resume(&mut self, at: &TopicPartition);

    /// Sets the position of a partition.
    ///
    /// # Errors
    /// If the partition is not assigned.
    fn seek(&mut self, at: &TopicPartition, to: NextOffset) -> Result<(), BusError>;

    /// The position after the last record that may be read now, for lag.
    fn end(&mut self, at: &TopicPartition) -> Option<NextOffset>;

    /// Whether retention will soon remove the record at `position`: time to write a snapshot.
    fn is_retention_near(&mut self, at: &TopicPartition, position: NextOffset) -> bool;

    /// Bytes that have been read ahead and not been gathered yet.
    fn prefetch_bytes(&self) -> u64 {
        0
    }

    /// Leaves the group so that others take over at once.
    fn close(&mut self);
}
