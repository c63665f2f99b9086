//! What things are called on the brokers.

use stream_core::{Partition, TopicName, TopicPartition};

use super::reader::number;
use crate::config::BusSettings;

/// The names of one installation: several may share a cluster.
#[derive(Debug, Clone)]
pub(super) struct Names {
    prefix: String,
    topic_prefix: String,
}

impl Names {
    pub(super) fn new(bus: &BusSettings) -> Self {
        Self { prefix: bus.prefix.clone(), topic_prefix: bus.topic_prefix.clone() }
    }

    /// A topic as the brokers know it.
    pub(super) fn topic(&self, name: &TopicName) -> String {
        format!("{}{name}", self.topic_prefix)
    }

    /// A topic as we know it; none if it is not one of this installation.
    pub(super) fn own_topic(&self, name: &str) -> Option<TopicName> {
        let name = name.strip_prefix(&self.topic_prefix)?;
        let is_internal = name.starts_with("__") || name.starts_with(&format!("{}.", self.prefix));
        (!is_internal).then(|| TopicName::new(name))
    }

    /// The consumer group of a processor.
    pub(super) fn group(&self, processor: &str) -> String {
        format!("{}.{processor}", self.prefix)
    }

    /// The state log of a processor.
    pub(super) fn state_log(&self, processor: &str) -> TopicName {
        TopicName::new(&format!("{}.{processor}.state", self.prefix))
    }

    /// The processor whose state log this is.
    pub(super) fn processor_of<'a>(&self, state_log: &'a str) -> Option<&'a str> {
        state_log.strip_prefix(&self.topic_prefix)?.strip_prefix(&self.prefix)?.strip_prefix('.')?.strip_suffix(".state")
    }

    /// The compacted topic of all publishers' cursors.
    pub(super) fn cursors(&self) -> TopicName {
        TopicName::new(&format!("{}.cursors", self.prefix))
    }

    /// The transactional id of one replica.
    pub(super) fn transactional_id(&self, part: &str, instance: &str) -> String {
        format!("{}.{part}.{instance}", self.prefix)
    }

    /// What the brokers' own logs call a client.
    pub(super) fn client(&self, part: &str) -> String {
        format!("{}.{part}", self.prefix)
    }
}

/// Before the keys of an instance in its processor's state log.
pub(super) fn state_prefix(at: &TopicPartition) -> String {
    format!("{}/{}/", at.topic, at.partition)
}

/// The instance and the key within it, of a key in a state log.
pub(super) fn split_state_key(key: &str) -> Option<(TopicPartition, &str)> {
    let (topic, rest) = key.split_once('/')?;
    let (partition, key) = rest.split_once('/')?;
    Some((TopicPartition::new(&TopicName::new(topic), Partition(partition.parse().ok()?)), key))
}

/// A partition as librdkafka names it, beside our name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: TopicPartition,
    pub(super) topic: String,
    pub(super) partition: i32,
}

impl Place {
    pub(super) fn new(names: &Names, at: &TopicPartition) -> Self {
        Self { at: at.clone(), topic: names.topic(&at.topic), partition: number(at.partition.0) }
    }

    pub(super) fn is(&self, topic: &str, partition: i32) -> bool {
        self.partition == partition && self.topic == topic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_carry_both_prefixes_and_come_back() {
        let bus = BusSettings { prefix: "eu".into(), topic_prefix: "obs.".into(), ..BusSettings::default() };
        let names = Names::new(&bus);
        assert_eq!(names.topic(&"logs.raw.v1".into()), "obs.logs.raw.v1");
        assert_eq!(names.own_topic("obs.logs.raw.v1"), Some("logs.raw.v1".into()));
        assert_eq!(names.own_topic("obs.eu.drain.state"), None);
        assert_eq!(names.own_topic("logs.raw.v1"), None);
        assert_eq!(names.processor_of(&names.topic(&names.state_log("drain"))), Some("drain"));
        assert_eq!(names.processor_of("obs.logs.raw.v1"), None);
    }

    #[test]
    fn state_keys_name_their_instance() {
        let at = TopicPartition::new(&"logs.raw.v1".into(), Partition(3));
        let key = format!("{}chunk/tree/0", state_prefix(&at));
        assert_eq!(split_state_key(&key), Some((at, "chunk/tree/0")));
        assert_eq!(split_state_key("pos"), None);
    }
}
