//! What people and tools may see of a bus: topics, records, states. The local API, `tail` and the page rest on this.

use std::time::Duration;

use schemas::topics::Cleanup;
use stream_core::{NextOffset, TopicName, TopicPartition};

use crate::{
    bus::{BusError, StateImage},
    gathered::Gathered,
    publish::{PublishBatch, PublishError},
    state::{DamagedState, POSITION_KEY, Position},
};

/// One topic as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicStatus {
    /// Name.
    pub name: TopicName,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// Its partitions in order.
    pub partitions: Vec<PartitionStatus>,
}

/// One partition as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartitionStatus {
    /// The first record that is left.
    pub start: NextOffset,
    /// The position after the last record.
    pub next: NextOffset,
    /// Bytes on disk, where the bus can tell.
    pub bytes: Option<u64>,
}

/// How much one read may bring, and how long it waits for a first record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Records.
    pub records_max: usize,
    /// Bytes.
    pub bytes_max: usize,
    /// Wait at the end of the partition.
    pub wait: Duration,
}

/// The state of one instance of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateStatus {
    /// Processor.
    pub processor: String,
    /// Instance.
    pub at: TopicPartition,
    /// Keys in its state log.
    pub keys: usize,
    /// Bytes of its values.
    pub bytes: u64,
}

/// Where one instance of a processor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupStatus {
    /// Processor.
    pub processor: String,
    /// Partition of its input.
    pub at: TopicPartition,
    /// The input offset that it processes next, as it was committed last.
    pub position: NextOffset,
}

/// What became of a publication that carried its own sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is on the bus.
    New,
    /// The bus had it already.
    Known,
}

/// A bus that can be looked at.
pub trait Inspect: Send + Sync {
    /// All topics, by name.
    ///
    /// # Errors
    /// If the bus cannot be read.
    fn topics(&self) -> Result<Vec<TopicStatus>, BusError>;

    /// Reads committed records from a position on; from the first that is left if retention went past it.
    ///
    /// # Errors
    /// If the partition does not exist or cannot be read.
    fn read(&self, at: &TopicPartition, from: NextOffset, limits: &ReadLimits, into: &mut Gathered) -> Result<(), BusError>;

    /// The states of all instances.
    ///
    /// # Errors
    /// If the bus cannot be read.
    fn states(&self) -> Result<Vec<StateStatus>, BusError>;

    /// The committed state of one instance.
    ///
    /// # Errors
    /// If the bus cannot be read.
    fn state(&self, processor: &str, at: &TopicPartition) -> Result<StateImage, BusError>;

    /// How far each processor has come, by what it committed.
    ///
    /// # Errors
    /// If the bus or a position cannot be read.
    fn groups(&self) -> Result<Vec<GroupStatus>, BusError> {
        let mut groups = Vec::new();
        for StateStatus { processor, at, .. } in self.states()? {
            let image = self.state(&processor, &at)?;
            if let Some(position) = image.get(POSITION_KEY) {
                groups.push(GroupStatus { position: position_of(&at, position)?, processor, at });
            }
        }
        Ok(groups)
    }

    /// Forgets the states of a processor, so that it starts empty at the end of what it has read. Refused while a session of
    /// the processor is open. Returns the number of instances.
    ///
    /// # Errors
    /// If a session is open or the bus cannot be written.
    fn reset_state(&self, processor: &str) -> Result<usize, BusError>;

    /// Publishes for a source in another process. A sequence that is not above the stored one is acknowledged and dropped.
    ///
    /// # Errors
    /// See [`PublishError`].
    fn append(&self, source: &str, sequence: u64, records: &PublishBatch, position: &[u8]) -> Result<Appended, PublishError>;
}

/// The position in the value of a state log's key `pos`.
pub(crate) fn position_of(at: &TopicPartition, value: &[u8]) -> Result<NextOffset, BusError> {
    let read = postcard::from_bytes::<Position>(value).map_err(|error| {
        let problem = format!("cannot be read: {error}");
        BusError::Fatal(DamagedState { at: at.clone(), key: POSITION_KEY.into(), problem }.to_string())
    });
    read.map(|position| position.next)
}
