//! Names of places in the log, and the ids and partitions that follow from them.

use std::{fmt, sync::Arc};

use schemas::EventTime;
use serde::{Deserialize, Serialize};

/// Number of a partition within its topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Partition(pub u32);

/// Place of a record within its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Offset(pub u64);

/// The offset to read next. Positions store only this, so "before the first record" is 0 and nobody writes `+ 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct NextOffset(pub u64);

impl Offset {
    /// The position after this record.
    pub const fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

impl NextOffset {
    /// Whether `offset` lies before this position: it has been read.
    pub const fn is_past(self, offset: Offset) -> bool {
        offset.0 < self.0
    }
}

/// Name of a topic; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Makes a name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Name of this topic's dead letters.
    pub fn dead_letters(&self) -> Self {
        Self(format!("{}{}", self.0, schemas::topics::DLQ_SUFFIX).into())
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// One partition of one topic; an instance of a processor is named by the one that it reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// Topic.
    pub topic: TopicName,
    /// Partition.
    pub partition: Partition,
}

impl TopicPartition {
    /// Makes a name.
    pub fn new(topic: &TopicName, partition: Partition) -> Self {
        Self { topic: topic.clone(), partition }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// What an output follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutputSource {
    /// A record, or a watermark that it moved.
    Record(Offset),
    /// An idle tick: the position before which it fell, and the watermark that it set.
    Tick(NextOffset, EventTime),
}

/// The deterministic id of an output: 32 hex digits.
///
/// `hex(SHA-256("nephoscope-id-1\0" ‖ str16(processor) ‖ str16(topic) ‖ u32 partition ‖ u64 offset ‖ u8 kind ‖ i64 tick ‖ u32 ordinal)[0..16])`,
/// integers big-endian. Two runs over the same input give the same ids, so a consumer can drop repeats.
pub fn output_id(processor: &str, input: &TopicPartition, source: OutputSource, ordinal: u32) -> String {
    let (offset, kind, tick) = match source {
        OutputSource::Record(offset) => (offset.0, 0u8, 0i64),
        OutputSource::Tick(next, watermark) => (next.0, 1, watermark.0),
    };
    let mut bytes = b"nephoscope-id-1\0".to_vec();
    for text in [processor, input.topic.as_str()] {
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend(input.partition.0.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.push(kind);
    bytes.extend(tick.to_be_bytes());
    bytes.extend(ordinal.to_be_bytes());
    schemas::alert::hex16(&bytes)
}

/// Partition of a key among `partitions`: `(murmur2(key) & 0x7fffffff) % partitions`, the default of Kafka's Java
/// client, on every bus. No key goes to partition 0.
pub fn partition_of_key(key: Option<&[u8]>, partitions: u32) -> Partition {
    let hash = key.map_or(0, |key| murmur2(key) & 0x7fff_ffff);
    Partition(hash % partitions.max(1))
}

/// MurmurHash2, 32 bits, with the seed of Kafka's Java client.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        h ^= rest.iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte));
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ h >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_the_vectors() {
        let input = TopicPartition::new(&"logs.raw.v1".into(), Partition(3));
        let from_record = output_id("drain", &input, OutputSource::Record(Offset(41)), 0);
        assert_eq!(from_record, "df6dc6e5b6cc5ec5e1fc2ad5ca890d70");
        let tick = OutputSource::Tick(NextOffset(42), EventTime(1_700_000_000_000_000_000));
        assert_eq!(output_id("drain", &input, tick, 1), "51984bb1496e9421edc7c63f457fc57c");
    }

    #[test]
    fn keys_meet_the_partitions_of_kafkas_java_client() {
        assert_eq!(murmur2(b"21") as i32, -973_932_308);
        assert_eq!(murmur2(b"foobar") as i32, -790_332_482);
        assert_eq!(partition_of_key(Some(b"vm-7"), 6), Partition(3));
    }
}
