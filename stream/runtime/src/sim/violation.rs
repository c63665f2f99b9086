//! How a simulation fails.

use stream_core::{NextOffset, TopicName, TopicPartition};

use crate::worker::WorkerError;

/// A broken law.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// A worker gave up though nothing happened that it should not survive.
    #[error("a worker stopped")]
    Stopped(#[source] WorkerError),
    /// Faults have ceased, and still not everything is processed.
    #[error("stuck: {0}")]
    Stuck(String),
    /// The state log of an instance cannot be read or goes back.
    #[error("history of {at}: {problem}")]
    History {
        /// Instance.
        at: TopicPartition,
        /// What is wrong.
        problem: String,
    },
    /// The outputs are not those of an undisturbed run.
    #[error("outputs of {input} in {output}: number {number} should be {expected}, found {found}")]
    Outputs {
        /// Instance.
        input: TopicPartition,
        /// Where its outputs went.
        output: TopicPartition,
        /// The first that differs.
        number: usize,
        /// The undisturbed run's.
        expected: String,
        /// The log's.
        found: String,
    },
    /// The state that was committed last is not that of an undisturbed run.
    #[error("state of {at} at {next}: section {section:?} differs from an undisturbed run's")]
    State {
        /// Instance.
        at: TopicPartition,
        /// Its position.
        next: NextOffset,
        /// First section that differs.
        section: String,
    },
    /// What a source published is not on the bus exactly once.
    #[error("source {source_name} in {at}: {expected} records published, {found} found, the first difference at number {number}")]
    Published {
        /// Source.
        source_name: String,
        /// Partition.
        at: TopicPartition,
        /// Number of records that it published there.
        expected: usize,
        /// Number that is there.
        found: usize,
        /// First difference.
        number: usize,
    },
    /// Retention took records, and the workers told of fewer.
    #[error("loss in {topic}: retention removed {lost} offsets that nobody had processed, {reported} were reported")]
    Loss {
        /// Topic.
        topic: TopicName,
        /// Offsets that were lost.
        lost: u64,
        /// Offsets that were reported.
        reported: u64,
    },
    /// The model itself was asked for something impossible.
    #[error(transparent)]
    Bus(#[from] crate::bus::BusError),
}
