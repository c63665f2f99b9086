//! The way of a collector onto the bus (the exactly-once sources of Kafka Connect, KIP-618, on every bus).

use std::ops::Range;

use stream_core::{Headers, RECORD_BYTES_MAX, TopicName};

use crate::bus::BusError;

/// Records on their way to the bus.
#[derive(Debug, Default)]
pub struct PublishBatch {
    arena: Vec<u8>,
    records: Vec<PublishRecord>,
    topics: Vec<TopicName>,
}

#[derive(Debug, Clone)]
struct PublishRecord {
    topic: u32,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

/// One record of a [`PublishBatch`].
#[derive(Debug, Clone, Copy)]
pub struct PublishView<'a> {
    /// Topic.
    pub topic: &'a TopicName,
    /// Key, which chooses the partition.
    pub key: Option<&'a [u8]>,
    /// Value.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: Headers<'a>,
}

/// A record that no bus carries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a record for {topic} has {bytes} bytes, at most {RECORD_BYTES_MAX} are allowed")]
pub struct RecordTooLarge {
    /// Where it should have gone.
    pub topic: TopicName,
    /// Its size.
    pub bytes: usize,
}

impl PublishBatch {
    /// Appends a record.
    ///
    /// # Errors
    /// [`RecordTooLarge`]; the batch is then as it was.
    pub fn push(
        &mut self,
        topic: &TopicName,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
    ) -> Result<(), RecordTooLarge> {
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len) + headers.encoded().len();
        if bytes > RECORD_BYTES_MAX {
            return Err(RecordTooLarge { topic: topic.clone(), bytes });
        }
        let index = match self.topics.iter().position(|known| known == topic) {
            Some(index) => index,
            None => {
                self.topics.push(topic.clone());
                self.topics.len() - 1
            }
        };
        let arena = &mut self.arena;
        let mut append = |bytes: &[u8]| {
            let start = arena.len();
            arena.extend_from_slice(bytes);
            start..arena.len()
        };
        let (key, value, headers) = (key.map(&mut append), value.map(&mut append), append(headers.encoded()));
        self.records.push(PublishRecord { topic: index as u32, key, value, headers });
        Ok(())
    }

    /// All records in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = PublishView<'_>> {
        self.records.iter().map(|record| {
            let slice = |range: &Range<usize>| &self.arena[range.clone()];
            PublishView {
                topic: &self.topics[record.topic as usize],
                key: record.key.as_ref().map(slice),
                value: record.value.as_ref().map(slice),
                headers: Headers::from_encoded(slice(&record.headers)),
            }
        })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of all records.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Empties it; the arena is kept.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.records.clear();
    }
}

/// How far a source has come: what stands on the bus beside its records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Counts the source's publications.
    pub sequence: u64,
    /// The source's own position, opaque to the bus.
    pub position: Vec<u8>,
}

/// Why a publication was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not now, the same batch later: the disk is full.
    #[error("publication has to wait: {0}")]
    Retry(String),
    /// Never on this publisher: another one of the same name took over, or the bus closed.
    #[error("publisher closed: {0}")]
    Closed(String),
    /// It may or may not have been taken: open a new publisher, whose cursor will tell.
    #[error("outcome of the publication is unknown: {0}")]
    Unknown(String),
}

/// Opens the publisher of a source, as often as it has to be opened. The bus may be away: [`BusError::Lost`].
pub type Open = Box<dyn FnMut() -> Result<Box<dyn Publish>, BusError> + Send>;

/// The way of a collector onto the bus: records and cursor become visible together, or not at all.
pub trait Publish: Send {
    /// The last cursor that is on the bus, none before the first publication.
    fn cursor(&self) -> Option<&Cursor>;

    /// Publishes `records` and sets the cursor to `position`. Returns when both are durable.
    ///
    /// # Errors
    /// See [`PublishError`].
    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError>;
}
