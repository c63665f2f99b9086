//! Where outputs go: the topic as the brokers name it, and its number of partitions.

use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use stream_core::TopicName;

use super::shared::Shared;
use crate::bus::BusError;

/// The topics that one client writes to; a handful, looked at for every record.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: Vec<(TopicName, String, u32)>,
    last: usize,
}

impl Routes {
    /// Name on the brokers and number of partitions of a topic.
    pub(super) fn to(&mut self, shared: &Shared, topic: &TopicName) -> KafkaResult<(&str, u32)> {
        if self.known.get(self.last).is_none_or(|(name, ..)| name != topic) {
            self.last = match self.known.iter().position(|(name, ..)| name == topic) {
                Some(index) => index,
                None => {
                    let partitions = shared.partitions(topic).map_err(|_| KafkaError::Global(RDKafkaErrorCode::AllBrokersDown))?;
                    if partitions == 0 {
                        return Err(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition));
                    }
                    self.known.push((topic.clone(), shared.names.topic(topic), partitions));
                    self.known.len() - 1
                }
            };
        }
        match self.known.get(self.last) {
            Some((_, name, partitions)) => Ok((name, *partitions)),
            None => Err(KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition)),
        }
    }
}

/// An error that names the topic, where that is what is wrong.
pub(super) fn describe(topic: &TopicName, error: &KafkaError) -> Option<BusError> {
    match error {
        KafkaError::Global(RDKafkaErrorCode::UnknownTopicOrPartition) => Some(super::missing(topic)),
        _ => None,
    }
}
