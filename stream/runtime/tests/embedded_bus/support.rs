//! A bus in a temporary directory, and short ways to use it.

use std::{path::Path, time::Duration};

use schemas::topics::Cleanup;
use stream_core::{HeaderBuffer, NextOffset, Partition, TopicPartition};
use stream_runtime::{
    bus::{BatchLimits, Bus, Session, TopicSpec, WorkerSpec},
    embedded::{Durability, EmbeddedBus, EmbeddedConfig},
    gathered::{Gathered, PartitionEvent},
    inspect::{Inspect, ReadLimits},
    publish::{Publish, PublishBatch},
};

pub use crate::copier::{IN, OUT, commit_copies};

pub const LIMITS: BatchLimits =
    BatchLimits { records_max: 1_000, bytes_max: 1 << 20, batch_time_max: Duration::from_millis(20), quiet: Duration::from_millis(5) };

/// Small limits, so that few records make many segments and leave the memory soon.
pub fn config() -> EmbeddedConfig {
    EmbeddedConfig { durability: Durability::Os, tail_bytes_max: 64 << 10, segment_bytes_max: 64 << 10, ..Default::default() }
}

pub fn topic(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, cleanup: Cleanup::Delete, retention_ms: 3_600_000, retention_bytes: 1 << 30 }
}

pub fn open(directory: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(directory, config()).unwrap();
    bus.ensure_topics(&[topic(IN, 1), topic(OUT, 1)]).unwrap();
    bus
}

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(&topic.into(), Partition(partition))
}

pub fn worker(processor: &str) -> WorkerSpec {
    WorkerSpec { processor: processor.into(), inputs: vec![IN.into()], broadcasts: vec![] }
}

pub fn batch(topic: &str, values: impl IntoIterator<Item = String>) -> PublishBatch {
    let mut batch = PublishBatch::default();
    for value in values {
        batch.push(&topic.into(), None, Some(value.as_bytes()), Default::default()).unwrap();
    }
    batch
}

pub fn publish(publisher: &mut dyn Publish, topic: &str, values: impl IntoIterator<Item = String>) {
    publisher.publish(&batch(topic, values), b"").unwrap();
}

/// Waits until the committer has done all that follows from earlier commits, retention included.
pub fn settle(bus: &EmbeddedBus) {
    drop(bus.publisher("settle").unwrap());
}

pub fn values(gathered: &Gathered) -> Vec<String> {
    gathered.records().map(|(_, record)| String::from_utf8_lossy(record.value.unwrap_or(b"-")).into_owned()).collect()
}

/// Everything from a position to the end.
pub fn read_from(bus: &EmbeddedBus, at: &TopicPartition, from: u64) -> Vec<(u64, String)> {
    let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::ZERO };
    let mut gathered = Gathered::default();
    bus.read(at, NextOffset(from), &limits, &mut gathered).unwrap();
    let offsets = gathered.records().map(|(_, record)| record.offset.0);
    offsets.zip(values(&gathered)).collect()
}

pub fn read_values(bus: &EmbeddedBus, topic: &str) -> Vec<String> {
    read_from(bus, &at(topic, 0), 0).into_iter().map(|(_, value)| value).collect()
}

/// Gathers once.
pub fn gather(session: &mut dyn Session) -> Gathered {
    let mut gathered = Gathered::default();
    session.gather(&LIMITS, &mut gathered).unwrap();
    gathered
}

pub fn assigned(gathered: &Gathered) -> Vec<TopicPartition> {
    let assigned = |event: &PartitionEvent| match event {
        PartitionEvent::Assigned(at) => Some(at.clone()),
        _ => None,
    };
    gathered.events.iter().filter_map(assigned).collect()
}

/// A session of a processor that has taken its partitions and reads them from where the group stood.
pub fn started(bus: &EmbeddedBus, spec: &WorkerSpec) -> Box<dyn Session> {
    let mut session = bus.open(spec).unwrap();
    for at in assigned(&gather(&mut *session)) {
        let from = session.committed(&at).unwrap().unwrap_or_default();
        session.seek(&at, from).unwrap();
        session.resume(&at);
    }
    session
}

pub fn headers(list: &[(&str, &str)]) -> HeaderBuffer {
    let mut headers = HeaderBuffer::default();
    for (name, value) in list {
        headers.push(name, Some(value.as_bytes()));
    }
    headers
}
