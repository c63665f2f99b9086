//! A broker of the bench's own, topics filled before anybody is measured, and buses on it.

use std::{path::Path, time::Duration};

use kafka_tests::{Cluster, ClusterError, Plan};
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
    topic_partition_list::{Offset, TopicPartitionList},
};
use schemas::topics::Cleanup;
use stream_runtime::{
    bus::{Bus, TopicSpec},
    config::{Backend, BusSettings},
    kafka::{KafkaBus, KafkaSettings},
};
use tempfile::TempDir;

/// One question to the broker.
pub const ASK: Duration = Duration::from_secs(10);

pub struct Broker {
    cluster: Cluster,
    dir: TempDir,
}

impl Broker {
    /// None, having said why, where Kafka cannot run.
    pub fn start() -> Option<Self> {
        let cluster = match Cluster::start(&Plan::default()) {
            Ok(cluster) => cluster,
            Err(ClusterError::Absent(why)) => {
                println!("skipped: no Kafka here: {why}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        Some(Self { cluster, dir: tempfile::tempdir().expect("a directory") })
    }

    pub fn bootstrap(&self) -> &str {
        self.cluster.bootstrap()
    }

    /// For state directories.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A bus whose topics `in.v1` and `out.v1` carry the suite's name and whose groups and state logs carry the run's.
    pub fn bus(&self, suite: &str, run: &str, partitions: u32) -> KafkaBus {
        let settings = BusSettings {
            backend: Backend::Kafka,
            data_dir: self.dir.path().join(suite),
            prefix: format!("{suite}.{run}"),
            topic_prefix: format!("{suite}."),
            ..BusSettings::default()
        };
        let bus = KafkaBus::open(settings, KafkaSettings::of([("bootstrap.servers", self.bootstrap())])).expect("opens");
        let topic = |(name, partitions): (&str, u32)| TopicSpec {
            name: name.into(),
            partitions,
            cleanup: Cleanup::Delete,
            retention_ms: 86_400_000,
            retention_bytes: u64::MAX,
        };
        let topics = [("in.v1", partitions), ("out.v1", partitions), ("in.v1.dlq", partitions), ("alerts.v1", 1)].map(topic);
        bus.ensure_topics(&topics).expect("creates topics");
        bus
    }

    /// Sends records (partition, key, value) as fast as the broker takes them.
    pub fn fill(&self, topic: &str, mut records: impl FnMut(&mut dyn FnMut(i32, &[u8], &[u8]))) {
        // librdkafka spins on what has lingered and cannot go yet; here that would take the time of who is measured.
        let producer = self.producer(100);
        records(&mut |partition, key, value| send(&producer, topic, partition, key, value));
        producer.flush(6 * ASK).expect("all is written");
    }

    pub fn producer(&self, linger_ms: u64) -> BaseProducer {
        let mut config = self.client("bench.fill");
        config.set("enable.idempotence", "true").set("compression.type", "lz4").set("linger.ms", linger_ms.to_string());
        config.set("batch.num.messages", "10000").set("delivery.report.only.error", "true");
        config.create().expect("a producer")
    }

    /// A consumer of what is committed, at the beginning of a topic's only partition.
    pub fn reader(&self, topic: &str) -> BaseConsumer {
        let mut config = self.client("bench.reader");
        config.set("group.id", "bench.reader").set("enable.auto.commit", "false").set("isolation.level", "read_committed");
        config.set("fetch.wait.max.ms", "5");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, Offset::Beginning).expect("is a position");
        consumer.assign(&list).expect("is assigned");
        consumer
    }

    /// Records before the group's positions in a topic that nobody writes to in transactions.
    pub fn committed(&self, group: &str, topic: &str, partitions: i32) -> u64 {
        let consumer: BaseConsumer = self.client("bench.committed").set("group.id", group).create().expect("a consumer");
        let mut list = TopicPartitionList::new();
        list.add_partition_range(topic, 0, partitions - 1);
        let committed = consumer.committed_offsets(list, ASK).expect("answers");
        committed.elements().iter().filter_map(|element| element.offset().to_raw()).filter_map(|offset| u64::try_from(offset).ok()).sum()
    }

    fn client(&self, id: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap()).set("client.id", id);
        config
    }
}

/// Sends one record, waiting while the producer's queue is full.
pub fn send(producer: &BaseProducer, topic: &str, partition: i32, key: &[u8], value: &[u8]) {
    let mut record = BaseRecord::to(topic).partition(partition).key(key).payload(value);
    while let Err((error, unsent)) = producer.send(record) {
        assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
        producer.poll(Duration::from_millis(5));
        record = unsent;
    }
}
