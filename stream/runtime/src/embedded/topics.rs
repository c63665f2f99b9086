//! The topics of the bus, each with the logs of its partitions.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError, RwLock},
};

use stream_core::{TopicName, TopicPartition, partition_of_key};

use super::partition_log::PartitionLog;
use crate::bus::{BusError, TopicSpec};

/// Longest name, as on Kafka.
const NAME_LENGTH_MAX: usize = 249;

/// One topic.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) spec: TopicSpec,
    pub(super) logs: Vec<Arc<PartitionLog>>,
}

impl Topic {
    /// The log that a key belongs to.
    pub(super) fn log_of_key(&self, key: Option<&[u8]>) -> Option<&Arc<PartitionLog>> {
        self.logs.get(partition_of_key(key, self.spec.partitions).0 as usize)
    }
}

/// All topics.
#[derive(Debug, Default)]
pub(super) struct Topics(RwLock<BTreeMap<TopicName, Arc<Topic>>>);

impl Topics {
    pub(super) fn get(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Topic>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(super) fn logs(&self) -> Vec<Arc<PartitionLog>> {
        self.all().iter().flat_map(|topic| topic.logs.iter().cloned()).collect()
    }

    pub(super) fn put(&self, topic: Topic) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(topic.spec.name.clone(), Arc::new(topic));
    }

    /// The log of a partition.
    pub(super) fn log(&self, at: &TopicPartition) -> Result<Arc<PartitionLog>, BusError> {
        let topic = self.get(&at.topic).ok_or_else(|| missing(&at.topic))?;
        let log = topic.logs.get(at.partition.0 as usize).cloned();
        log.ok_or_else(|| {
            BusError::Fatal(format!("topic {} has {} partitions, asked for {}", at.topic, topic.spec.partitions, at.partition))
        })
    }
}

/// Names become names of directories and parts of keys.
pub(super) fn check(spec: &TopicSpec) -> Result<(), BusError> {
    let text = spec.name.as_str();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.is_empty() || text.len() > NAME_LENGTH_MAX || text.starts_with('.') || !text.bytes().all(is_plain) {
        return Err(BusError::Fatal(format!(
            "topic name {text:?}: expected 1 to {NAME_LENGTH_MAX} of a-z A-Z 0-9 . _ -, not beginning with a dot"
        )));
    }
    match spec.partitions {
        0 => Err(BusError::Fatal(format!("topic {text}: expected at least one partition"))),
        _ => Ok(()),
    }
}

/// An error that says so.
pub(super) fn missing(name: &TopicName) -> BusError {
    BusError::Fatal(format!("topic {name} does not exist"))
}
