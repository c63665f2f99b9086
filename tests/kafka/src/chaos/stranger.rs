//! What others do to the topics and the group: a producer that aborts or dies, an operator who resets offsets.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use schemas::{LogRecord, Subject};

const ASK: Duration = Duration::from_secs(15);
/// Records in a stranger's transaction: some for each partition.
const RECORDS: usize = 24;
/// How long a group may take to be seen empty: members that were killed are known until their sessions end.
const EMPTY_MAX: Duration = Duration::from_secs(30);

/// Offsets by partition.
pub type Offsets = BTreeMap<i32, i64>;

/// Somebody else's client.
pub struct Stranger {
    config: ClientConfig,
    topic: String,
}

impl Stranger {
    /// On this cluster, with an eye on this topic.
    pub fn new(bootstrap: &str, topic: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap);
        Self { config, topic: topic.into() }
    }

    /// Writes valid records to the topic and aborts the transaction.
    ///
    /// # Errors
    /// If the brokers cannot be reached meanwhile.
    pub fn abort(&self, name: &str) -> Result<(), KafkaError> {
        self.begin(name, "10000")?.abort_transaction(ASK)
    }

    /// Writes valid records to the topic and goes away; the broker aborts the transaction when it times out, and until then
    /// nobody sees what comes after it.
    ///
    /// # Errors
    /// If the brokers cannot be reached meanwhile.
    pub fn abandon(&self, name: &str) -> Result<(), KafkaError> {
        self.begin(name, "2000").map(drop)
    }

    fn begin(&self, name: &str, timeout_ms: &str) -> Result<ThreadedProducer<DefaultProducerContext>, KafkaError> {
        let mut config = self.config.clone();
        config.set("transactional.id", name).set("transaction.timeout.ms", timeout_ms).set("message.timeout.ms", timeout_ms);
        let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
        producer.init_transactions(ASK)?;
        producer.begin_transaction()?;
        for number in 0..RECORDS {
            let raw = b"of an aborted transaction".to_vec();
            let host = format!("stranger-{number}");
            let record = LogRecord { host: host.clone(), message_length: raw.len() as i32, raw, ..LogRecord::default() };
            let value = record.to_bytes().unwrap_or_default();
            producer.send(BaseRecord::to(&self.topic).key(&host).payload(&value)).map_err(|(error, _)| error)?;
        }
        producer.flush(ASK)?;
        Ok(producer)
    }

    /// The offsets that a group has committed.
    ///
    /// # Errors
    /// If the brokers cannot be reached.
    pub fn offsets(&self, group: &str) -> Result<Offsets, KafkaError> {
        let consumer = self.member(group)?;
        let metadata = consumer.fetch_metadata(Some(&self.topic), ASK)?;
        let mut asked = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            asked.add_partition(&self.topic, partition.id());
        }
        let committed = consumer.committed_offsets(asked, ASK)?;
        let offsets = committed.elements().into_iter().filter_map(|element| match element.offset() {
            Offset::Offset(offset) => Some((element.partition(), offset)),
            _ => None,
        });
        Ok(offsets.collect())
    }

    /// Waits until the group has no members, as far as it can be waited for, then sets its offsets.
    ///
    /// # Errors
    /// If the brokers refuse, as they do while the group has members.
    pub fn reset(&self, group: &str, offsets: &Offsets) -> Result<(), KafkaError> {
        let consumer = self.member(group)?;
        let begun = Instant::now();
        let has_members = || -> Result<bool, KafkaError> {
            Ok(consumer.fetch_group_list(Some(group), ASK)?.groups().iter().any(|group| !group.members().is_empty()))
        };
        while has_members()? && begun.elapsed() < EMPTY_MAX {
            std::thread::sleep(Duration::from_millis(200));
        }
        let mut list = TopicPartitionList::new();
        for (&partition, &offset) in offsets {
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        consumer.commit(&list, CommitMode::Sync)
    }

    fn member(&self, group: &str) -> Result<BaseConsumer, KafkaError> {
        let mut config = self.config.clone();
        config.set("group.id", group).set("enable.auto.commit", "false").create()
    }
}
