//! The peer: what crate rdkafka does when nothing is around it. One consumer, one transactional producer, every record sent on
//! as soon as it is polled, a commit every 100 ms. No state, no dead letters, no restore, no check of who owns what. The
//! properties are those of our own clients, and so is the wait before the commit, without which it takes three times as long.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
    topic_partition_list::{Offset, TopicPartitionList},
    util::Timeout,
};

use crate::broker::{ASK, Broker};

/// Time between two commits.
const BATCH: Duration = Duration::from_millis(100);

/// Copies `<suite>.in.v1` to `<suite>.out.v1` until it is stopped, telling how many records it has committed.
pub fn copy(broker: &Broker, suite: &str, run: &str, stop: &AtomicBool, mut told: impl FnMut(u64)) {
    let (consumer, producer) = (consumer(broker, suite, run), producer(broker, suite, run));
    producer.init_transactions(ASK).expect("initialises");
    let to = format!("{suite}.out.v1");
    let (mut committed, mut next) = (0, Vec::<i64>::new());
    while !stop.load(Ordering::Relaxed) {
        let (mut copied, mut ends) = (0, None::<Instant>);
        while let Some(wait) = ends.map_or(Some(BATCH), |ends| ends.checked_duration_since(Instant::now())) {
            let message = match consumer.poll(wait) {
                Some(message) => message.expect("reads"),
                None if ends.is_some() => continue,
                None => break,
            };
            if ends.is_none() {
                producer.begin_transaction().expect("begins");
                ends = Some(Instant::now() + BATCH);
            }
            let (partition, offset) = (message.partition(), message.offset());
            let index = usize::try_from(partition).expect("is a partition");
            if next.len() <= index {
                next.resize(index + 1, -1);
            }
            next[index] = offset + 1;
            let mut record = BaseRecord::<[u8], [u8]>::to(&to).partition(partition);
            (record.key, record.payload) = (message.key(), message.payload());
            send(&producer, record);
            copied += 1;
        }
        if copied > 0 {
            while producer.in_flight_count() > 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
            let mut positions = TopicPartitionList::new();
            for (partition, next) in (0..).zip(&next).filter(|(_, next)| **next >= 0) {
                positions.add_partition_offset(&format!("{suite}.in.v1"), partition, Offset::Offset(*next)).expect("is a position");
            }
            let member = consumer.group_metadata().expect("is a member");
            producer.send_offsets_to_transaction(&positions, &member, Timeout::Never).expect("is taken");
            producer.commit_transaction(Timeout::Never).expect("commits");
        }
        committed += copied;
        told(committed);
    }
}

fn send(producer: &ThreadedProducer<DefaultProducerContext>, mut record: BaseRecord<'_, [u8], [u8]>) {
    while let Err((error, unsent)) = producer.send(record) {
        assert!(matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)), "{error}");
        std::thread::sleep(Duration::from_millis(1));
        record = unsent;
    }
}

fn client(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.bootstrap()).set("client.id", "bench.bare");
    config
}

fn consumer(broker: &Broker, suite: &str, run: &str) -> BaseConsumer {
    let mut config = client(broker);
    for (name, value) in [
        ("session.timeout.ms", "15000"),
        ("heartbeat.interval.ms", "1000"),
        ("queued.max.messages.kbytes", "16384"),
        ("queued.min.messages", "10000"),
        ("fetch.queue.backoff.ms", "20"),
        ("fetch.wait.max.ms", "100"),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("isolation.level", "read_committed"),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
    ] {
        config.set(name, value);
    }
    let consumer: BaseConsumer = config.set("group.id", format!("{suite}.bare.{run}")).create().expect("a consumer");
    consumer.subscribe(&[&format!("{suite}.in.v1")]).expect("subscribes");
    consumer
}

fn producer(broker: &Broker, suite: &str, run: &str) -> ThreadedProducer<DefaultProducerContext> {
    let mut config = client(broker);
    for (name, value) in [
        ("transaction.timeout.ms", "10000"),
        ("linger.ms", "5"),
        ("compression.type", "lz4"),
        ("queue.buffering.max.kbytes", "32768"),
        ("batch.num.messages", "10000"),
        ("delivery.report.only.error", "true"),
    ] {
        config.set(name, value);
    }
    config.set("transactional.id", format!("{suite}.bare.{run}")).create().expect("a producer")
}
