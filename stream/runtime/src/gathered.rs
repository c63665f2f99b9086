//! What one gather of a session brings.

use std::ops::Range;

use schemas::EventTime;
use stream_core::{Headers, NextOffset, Offset, Record, TopicPartition};

/// What happened to a partition, besides records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionEvent {
    /// This session now owns an input partition, or may read a broadcast partition. It is paused and has no position.
    Assigned(TopicPartition),
    /// This session owns it no more; its gathered records must not be processed.
    Revoked(TopicPartition),
    /// Everything that stands there now has been gathered.
    AtEnd(TopicPartition),
    /// Retention removed records that had not been read yet: the next record is `to`.
    Trimmed {
        /// Where.
        at: TopicPartition,
        /// The position before.
        from: NextOffset,
        /// The first record that is left.
        to: NextOffset,
    },
}

/// What one gather brought: records in an arena that is used again, and events. Records keep their order per partition.
#[derive(Debug, Default)]
pub struct Gathered {
    arena: Vec<u8>,
    records: Vec<GatheredRecord>,
    partitions: Vec<TopicPartition>,
    /// Events, in order; they precede the records.
    pub events: Vec<PartitionEvent>,
}

#[derive(Debug, Clone)]
struct GatheredRecord {
    partition: u32,
    offset: Offset,
    appended_at: EventTime,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

impl Gathered {
    /// Appends a copy of a record.
    pub fn push(&mut self, at: &TopicPartition, record: &Record<'_>) {
        let is_it = |known: &TopicPartition| known.partition == at.partition && known.topic == at.topic;
        // Records of a partition come in runs.
        let last = self.records.last().map(|record| record.partition as usize);
        let last = last.filter(|last| self.partitions.get(*last).is_some_and(is_it));
        let partition = match last.or_else(|| self.partitions.iter().position(is_it)) {
            Some(index) => index,
            None => {
                self.partitions.push(at.clone());
                self.partitions.len() - 1
            }
        };
        let arena = &mut self.arena;
        let mut append = |bytes: &[u8]| {
            let start = arena.len();
            arena.extend_from_slice(bytes);
            start..arena.len()
        };
        let (key, value, headers) = (record.key.map(&mut append), record.value.map(&mut append), append(record.headers.encoded()));
        let (offset, appended_at) = (record.offset, record.appended_at);
        self.records.push(GatheredRecord { partition: partition as u32, offset, appended_at, key, value, headers });
    }

    /// All records, each with the partition that it stands in.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (&TopicPartition, Record<'_>)> {
        self.records.iter().map(|record| {
            let at = &self.partitions[record.partition as usize];
            let slice = |range: &Range<usize>| &self.arena[range.clone()];
            let record = Record {
                topic: &at.topic,
                partition: at.partition,
                offset: record.offset,
                appended_at: record.appended_at,
                key: record.key.as_ref().map(slice),
                value: record.value.as_ref().map(slice),
                headers: Headers::from_encoded(slice(&record.headers)),
            };
            (at, record)
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it brought neither records nor events.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.events.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Empties it; the arena is kept.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.records.clear();
        self.events.clear();
    }
}
