//! A bus in memory that can be looked at.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex},
};

use schemas::{EventTime, topics};
use stream_core::{HeaderBuffer, Headers, NextOffset, Offset, Partition, Record, TopicName, TopicPartition};
use stream_runtime::{
    bus::{BusError, StateImage},
    gathered::Gathered,
    inspect::{Appended, GroupStatus, Inspect, PartitionStatus, ReadLimits, StateStatus, TopicStatus},
    publish::{PublishBatch, PublishError},
};

/// Time of the first record; each is a second later.
pub const FIRST_MS: i64 = 1_700_000_000_000;

#[derive(Default)]
pub struct Memory {
    logs: Mutex<BTreeMap<TopicName, Vec<Stored>>>,
    cursors: Mutex<BTreeMap<String, u64>>,
    changed: Condvar,
}

struct Stored {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
}

impl Memory {
    /// Every topic of the table and its dead letters, one partition each.
    pub fn with_topics() -> Self {
        let names = topics::TOPICS.iter().flat_map(|topic| [TopicName::new(topic.name), TopicName::new(topic.name).dead_letters()]);
        Self { logs: Mutex::new(names.map(|name| (name, Vec::new())).collect()), ..Self::default() }
    }

    pub fn push(&self, topic: &str, key: Option<&[u8]>, value: Option<&[u8]>, headers: &HeaderBuffer) {
        let stored =
            Stored { key: key.map(<[u8]>::to_vec), value: value.map(<[u8]>::to_vec), headers: headers.as_headers().encoded().to_vec() };
        self.logs.lock().expect("lock").entry(TopicName::new(topic)).or_default().push(stored);
        self.changed.notify_all();
    }
}

impl Inspect for Memory {
    fn topics(&self) -> Result<Vec<TopicStatus>, BusError> {
        let logs = self.logs.lock().expect("lock");
        let status = |(name, log): (&TopicName, &Vec<Stored>)| {
            let bytes = log.iter().map(|record| record.value.as_ref().map_or(0, Vec::len) as u64).sum();
            let partition = PartitionStatus { start: NextOffset(0), next: NextOffset(log.len() as u64), bytes: Some(bytes) };
            let cleanup = topics::layout(name.as_str()).map_or(topics::Cleanup::Delete, |layout| layout.cleanup);
            TopicStatus { name: name.clone(), cleanup, partitions: vec![partition] }
        };
        Ok(logs.iter().map(status).collect())
    }

    fn read(&self, at: &TopicPartition, from: NextOffset, limits: &ReadLimits, into: &mut Gathered) -> Result<(), BusError> {
        let logs = self.logs.lock().expect("lock");
        let at_end = |logs: &mut BTreeMap<TopicName, Vec<Stored>>| logs.get(&at.topic).is_some_and(|log| log.len() as u64 <= from.0);
        let (logs, _) = self.changed.wait_timeout_while(logs, limits.wait, at_end).expect("lock");
        let log = logs.get(&at.topic).ok_or_else(|| BusError::Fatal(format!("no topic {}", at.topic)))?;
        for (offset, stored) in (from.0..).zip(log.iter().skip(from.0 as usize)).take(limits.records_max) {
            if into.bytes() > limits.bytes_max {
                break;
            }
            let record = Record {
                topic: &at.topic,
                partition: Partition(0),
                offset: Offset(offset),
                appended_at: EventTime::from_millis(FIRST_MS + offset as i64 * 1_000),
                key: stored.key.as_deref(),
                value: stored.value.as_deref(),
                headers: Headers::from_encoded(&stored.headers),
            };
            into.push(at, &record);
        }
        Ok(())
    }

    fn states(&self) -> Result<Vec<StateStatus>, BusError> {
        let at = TopicPartition::new(&TopicName::new(topics::LOGS_RAW), Partition(0));
        Ok(vec![StateStatus { processor: "drain".into(), at, keys: 2, bytes: 5 }])
    }

    fn state(&self, processor: &str, at: &TopicPartition) -> Result<StateImage, BusError> {
        let known = processor == "drain" && at.topic.as_str() == topics::LOGS_RAW && at.partition == Partition(0);
        let image = [("head".to_string(), b"12".to_vec()), ("pos".to_string(), b"345".to_vec())];
        Ok(if known { image.into() } else { StateImage::default() })
    }

    fn groups(&self) -> Result<Vec<GroupStatus>, BusError> {
        let group = |processor: &str, topic: &str, position| GroupStatus {
            processor: processor.into(),
            at: TopicPartition::new(&TopicName::new(topic), Partition(0)),
            position: NextOffset(position),
        };
        Ok(vec![group("old", "gone.v1", 9), group("drain", topics::LOGS_RAW, 1)])
    }

    fn reset_state(&self, _: &str) -> Result<usize, BusError> {
        Ok(0)
    }

    fn append(&self, source: &str, sequence: u64, records: &PublishBatch, _: &[u8]) -> Result<Appended, PublishError> {
        let mut cursors = self.cursors.lock().expect("lock");
        let last = cursors.entry(source.into()).or_default();
        if sequence <= *last {
            return Ok(Appended::Known);
        }
        *last = sequence;
        for record in records.records() {
            let mut headers = HeaderBuffer::default();
            record.headers.iter().for_each(|(name, value)| headers.push(name, value));
            self.push(record.topic.as_str(), record.key, record.value, &headers);
        }
        Ok(Appended::New)
    }
}
