//! What the sources of a simulation publish.

use schemas::EventTime;
use stream_core::{HeaderBuffer, TopicName};

/// One record of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// Topic.
    pub topic: TopicName,
    /// The broker's clock is not behind this when the record is appended.
    pub appended_at: EventTime,
    /// Key, which chooses the partition.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: HeaderBuffer,
}

/// All that comes from outside in one simulation, for input topics and broadcasts alike.
#[derive(Debug, Clone, Default)]
pub struct Workload {
    /// Topics to create, with their numbers of partitions. Topics that the processor names and that are missing here get
    /// one partition.
    pub partitions: Vec<(TopicName, u32)>,
    /// What each source publishes, in order. Sources are independent of each other.
    pub sources: Vec<Vec<SourceRecord>>,
}
