//! Keys and values of the store's tables.

use schemas::{EventTime, topics::Cleanup};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use stream_core::{NextOffset, Offset, Partition, TopicName, TopicPartition};

use super::store::{Table, Write};
use crate::{
    bus::{BusError, StateWrite, TopicSpec},
    publish::Cursor,
};

/// Version of everything on disk; a newer one is refused.
pub(super) const FORMAT_VERSION: u32 = 1;
/// Key of the format version in `meta`.
pub(super) const FORMAT_KEY: &[u8] = b"format";
/// Key of the number of the last commit in `meta`: after an I/O error it tells whether the commit took place.
pub(super) const COMMITS_KEY: &[u8] = b"commits";

/// Row of `topics`, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicRow {
    partitions: u32,
    is_compacted: bool,
    retention_ms: i64,
    retention_bytes: u64,
}

impl TopicRow {
    pub(super) fn of(spec: &TopicSpec) -> Self {
        Self {
            partitions: spec.partitions,
            is_compacted: spec.cleanup == Cleanup::Compact,
            retention_ms: spec.retention_ms,
            retention_bytes: spec.retention_bytes,
        }
    }

    pub(super) fn into_spec(self, name: TopicName) -> TopicSpec {
        TopicSpec {
            name,
            partitions: self.partitions,
            cleanup: if self.is_compacted { Cleanup::Compact } else { Cleanup::Delete },
            retention_ms: self.retention_ms,
            retention_bytes: self.retention_bytes,
        }
    }
}

/// Row of `ends`, by topic and partition: how much of the segment files is committed. Where the log begins the files say,
/// since retention removes them without asking the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EndsRow {
    /// The position after the last committed record.
    pub(super) next: NextOffset,
    /// Base of the segment that was written last.
    pub(super) segment: Offset,
    /// Committed bytes of that segment.
    pub(super) segment_bytes: u64,
    /// Append time of the last record, in nanoseconds.
    pub(super) last_appended_ns: i64,
    /// Bytes of the partition after its last compaction.
    pub(super) compacted_bytes: u64,
}

impl EndsRow {
    /// Of a partition that nothing was written to.
    pub(super) const EMPTY: Self =
        Self { next: NextOffset(0), segment: Offset(0), segment_bytes: 0, last_appended_ns: EventTime::MIN.0, compacted_bytes: 0 };
}

/// Row of `cursors`, by source.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct CursorRow {
    sequence: u64,
    position: Vec<u8>,
}

impl From<CursorRow> for Cursor {
    fn from(row: CursorRow) -> Self {
        Self { sequence: row.sequence, position: row.position }
    }
}

/// A row that sets a cursor.
pub(super) fn cursor_write(source: &str, sequence: u64, position: &[u8]) -> Write {
    put(Table::Cursors, source.as_bytes().to_vec(), &CursorRow { sequence, position: position.to_vec() })
}

/// A row that sets a topic.
pub(super) fn topic_write(spec: &TopicSpec) -> Write {
    put(Table::Topics, spec.name.as_str().as_bytes().to_vec(), &TopicRow::of(spec))
}

/// A row that sets the ends of a partition.
pub(super) fn ends_write(at: &TopicPartition, ends: &EndsRow) -> Write {
    put(Table::Ends, at.to_string().into_bytes(), ends)
}

/// A row that counts a commit.
pub(super) fn commits_write(commits: u64) -> Write {
    put(Table::Meta, COMMITS_KEY.to_vec(), &commits)
}

/// A row that sets or removes a key of an instance's state.
pub(super) fn state_write(processor: &str, write: &StateWrite) -> Write {
    let mut key = instance_prefix(processor, &write.at);
    key.extend_from_slice(write.key.as_bytes());
    Write { table: Table::State, key, value: write.value.clone() }
}

/// A row that sets the position of a consumer group.
pub(super) fn position_write(processor: &str, at: &TopicPartition, position: NextOffset) -> Write {
    put(Table::Positions, position_key(processor, at), &position)
}

/// Key of a group's position.
pub(super) fn position_key(processor: &str, at: &TopicPartition) -> Vec<u8> {
    format!("{processor}\0{at}").into_bytes()
}

/// What all state keys of a processor begin with. Neither names of processors nor of topics contain NUL or `/`.
pub(super) fn processor_prefix(processor: &str) -> Vec<u8> {
    format!("{processor}\0").into_bytes()
}

/// What all state keys of an instance begin with.
pub(super) fn instance_prefix(processor: &str, at: &TopicPartition) -> Vec<u8> {
    format!("{processor}\0{at}/").into_bytes()
}

/// Takes a state key apart.
pub(super) fn split_state_key(key: &[u8]) -> Option<(&str, TopicPartition, &str)> {
    let (processor, rest) = std::str::from_utf8(key).ok()?.split_once('\0')?;
    let (topic, rest) = rest.split_once('/')?;
    let (partition, key) = rest.split_once('/')?;
    Some((processor, TopicPartition::new(&topic.into(), Partition(partition.parse().ok()?)), key))
}

/// Takes the name of a partition apart.
pub(super) fn split_partition(key: &[u8]) -> Option<TopicPartition> {
    let (topic, partition) = std::str::from_utf8(key).ok()?.split_once('/')?;
    Some(TopicPartition::new(&topic.into(), Partition(partition.parse().ok()?)))
}

/// Reads a row.
pub(super) fn decode<T: DeserializeOwned>(table: Table, key: &[u8], value: &[u8]) -> Result<T, BusError> {
    postcard::from_bytes(value)
        .map_err(|error| BusError::Fatal(format!("row {:?} of table {table:?} cannot be read: {error}", String::from_utf8_lossy(key))))
}

/// A row with an encoded value. Plain structs always encode; if one did not, the empty row would be refused when read.
pub(super) fn put<T: Serialize>(table: Table, key: Vec<u8>, value: &T) -> Write {
    Write { table, key, value: Some(postcard::to_stdvec(value).unwrap_or_default()) }
}
