//! Topics seen from outside: made, and read to their ends, by a plain client that knows nothing of Nephoscope.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

/// One question to the brokers.
const ASK: Duration = Duration::from_secs(10);
/// How long a transaction may stand open that somebody left: longer than any `transaction.timeout.ms` of ours.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// How long nothing may come although the end is not reached.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Why a topic could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum TopicsError {
    /// The brokers or the client refused.
    #[error("kafka")]
    Kafka(#[from] KafkaError),
    /// The brokers answered, and would not make the topic.
    #[error("topic {topic} was not made: {code}")]
    NotMade {
        /// Its name.
        topic: String,
        /// What they said.
        code: RDKafkaErrorCode,
    },
    /// A transaction stands open and holds back everything after it.
    #[error("{topic}/{partition}: committed up to {committed}, written up to {written}, and no change in {} s", OPEN_MAX.as_secs())]
    Open {
        /// The topic.
        topic: String,
        /// Its partition.
        partition: i32,
        /// The last stable offset.
        committed: i64,
        /// The high watermark.
        written: i64,
    },
    /// Reading stood still before the end.
    #[error("{topic}: nothing came for {} s before the end was reached", SILENCE_MAX.as_secs())]
    Silent {
        /// The topic.
        topic: String,
    },
}

/// A client of one cluster.
pub struct Topics {
    config: ClientConfig,
}

impl Topics {
    /// For the cluster at `bootstrap`. Nothing is sent yet: a bad address shows on first use.
    #[must_use]
    pub fn on(bootstrap: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", "kafka-tests").set("enable.auto.commit", "false");
        Self { config }
    }

    /// Makes a topic whose records carry the broker's time, as ours do.
    ///
    /// # Errors
    /// If it exists already, or the brokers refuse.
    pub fn create(&self, name: &str, partitions: i32, replicas: i32) -> Result<(), TopicsError> {
        let admin: AdminClient<DefaultClientContext> = self.config.create()?;
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas)).set("message.timestamp.type", "LogAppendTime");
        let made = admin.create_topics([&topic], &AdminOptions::new().operation_timeout(Some(ASK)));
        for outcome in futures_executor::block_on(made)? {
            outcome.map_err(|(topic, code)| TopicsError::NotMade { topic, code })?;
        }
        Ok(())
    }

    /// Visits every committed record of a topic, each partition from its beginning to its end. Waits first until no
    /// transaction stands open in it: whoever was killed inside one holds the others' records back until it times out.
    ///
    /// # Errors
    /// If the brokers fail, a transaction stays open, or the end is never reached.
    pub fn read(&self, topic: &str, mut visit: impl FnMut(&BorrowedMessage<'_>)) -> Result<(), TopicsError> {
        let consumer: BaseConsumer = self.consumer("read_committed")?;
        let partitions = self.wait_settled(&consumer, topic)?;
        let mut assignment = TopicPartitionList::new();
        for partition in &partitions {
            assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
        }
        consumer.assign(&assignment)?;
        let (mut at_end, mut last_sign) = (0, Instant::now());
        while at_end < partitions.len() {
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => visit(&message),
                Some(Err(KafkaError::PartitionEOF(_))) => at_end += 1,
                Some(Err(KafkaError::MessageConsumption(code))) if is_passing(code) => continue,
                Some(Err(error)) => return Err(error.into()),
                None if last_sign.elapsed() > SILENCE_MAX => return Err(TopicsError::Silent { topic: topic.into() }),
                None => continue,
            }
            last_sign = Instant::now();
        }
        Ok(())
    }

    /// The partitions of `topic`, once all that was written to it is committed or aborted.
    fn wait_settled(&self, committed: &BaseConsumer, topic: &str) -> Result<Vec<i32>, TopicsError> {
        let written: BaseConsumer = self.consumer("read_uncommitted")?;
        let metadata = answered(|| written.fetch_metadata(Some(topic), ASK))?;
        let partitions: Vec<i32> = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|partition| partition.id()).collect();
        for &partition in &partitions {
            let begun = Instant::now();
            loop {
                // Under read_committed the client's "high watermark" is the last stable offset.
                let end = answered(|| written.fetch_watermarks(topic, partition, ASK))?.1;
                let stable = answered(|| committed.fetch_watermarks(topic, partition, ASK))?.1;
                if stable >= end {
                    break;
                }
                if begun.elapsed() > OPEN_MAX {
                    return Err(TopicsError::Open { topic: topic.into(), partition, committed: stable, written: end });
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        }
        Ok(partitions)
    }

    fn consumer(&self, isolation: &str) -> Result<BaseConsumer, KafkaError> {
        let mut config = self.config.clone();
        config.set("isolation.level", isolation).set("enable.partition.eof", "true").create()
    }
}

/// Asks again while brokers that have just started, or been away, are finding out who leads.
fn answered<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let begun = Instant::now();
    loop {
        match ask() {
            Err(KafkaError::MetadataFetch(code)) if is_passing(code) && begun.elapsed() < SILENCE_MAX => {
                std::thread::sleep(Duration::from_millis(100));
            }
            outcome => return outcome,
        }
    }
}

/// Whether the client goes on by itself after this error.
fn is_passing(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::AllBrokersDown
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicOrPartition
    )
}
