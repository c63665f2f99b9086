//! Reads what stands on the broker, with a client that knows nothing of ours.

use std::time::{Duration, Instant};

use rdkafka::{
    Message, Offset as KafkaOffset, Timestamp, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
    message::{BorrowedMessage, Headers},
};
use schemas::EventTime;
use stream_core::{HeaderBuffer, Offset, Partition, Record, TopicName};
use stream_runtime::sim::{
    Recording,
    toy::{Toy, ToyConfig},
};

use crate::support::{Installation, PATIENCE};

/// Everything that is committed of a toy's topics. Waits until no transaction stands open in them.
pub fn record(on: &Installation, config: &ToyConfig, topics: &[(TopicName, u32)]) -> Recording {
    let mut recording = Recording::new::<Toy>(&on.name, config, topics);
    for (topic, _) in topics {
        read(on, &format!("{}{topic}", on.topic_prefix()), |message| with_record(topic, message, |record| recording.add(&record).unwrap()));
    }
    let log = format!("{}{}.toy.state", on.topic_prefix(), on.name);
    let name = TopicName::new(&log);
    read(on, &log, |message| with_record(&name, message, |record| recording.add_state::<Toy>(&record).unwrap()));
    recording
}

/// Visits every committed record of a topic, up to where it ends now.
fn read(on: &Installation, topic: &str, mut visit: impl FnMut(&BorrowedMessage<'_>)) {
    let open = |isolation: &str| -> BaseConsumer {
        let mut config = on.client();
        config.set("group.id", "recorder").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        config.set("fetch.wait.max.ms", "10").set("isolation.level", isolation).create().unwrap()
    };
    let (committed, written) = (open("read_committed"), open("read_uncommitted"));
    let metadata = answered(|| written.fetch_metadata(Some(topic), PATIENCE));
    let partitions = metadata.topics()[0].partitions().len() as i32;
    let end_of = |reader: &BaseConsumer, partition| answered(|| reader.fetch_watermarks(topic, partition, PATIENCE)).1;
    let begun = Instant::now();
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        let end = end_of(&written, partition);
        // Under read_committed the high watermark is the last stable offset.
        while end_of(&committed, partition) < end {
            assert!(begun.elapsed() < PATIENCE, "{topic}/{partition}: a transaction stands open");
            std::thread::sleep(Duration::from_millis(50));
        }
        list.add_partition_offset(topic, partition, KafkaOffset::Beginning).unwrap();
    }
    committed.assign(&list).unwrap();
    let mut at_end = 0;
    while at_end < partitions {
        match committed.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => visit(&message),
            Some(Err(KafkaError::PartitionEOF(_))) => at_end += 1,
            Some(Err(error)) => println!("recorder: {error}"),
            None => assert!(begun.elapsed() < PATIENCE, "{topic} cannot be read"),
        }
    }
}

/// Asks again while the broker has only just come back.
fn answered<T>(question: impl Fn() -> KafkaResult<T>) -> T {
    let begun = Instant::now();
    loop {
        match question() {
            Ok(answer) => return answer,
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn with_record(topic: &TopicName, message: &BorrowedMessage<'_>, take: impl FnOnce(Record<'_>)) {
    let mut headers = HeaderBuffer::default();
    for header in message.headers().into_iter().flat_map(Headers::iter) {
        headers.push(header.key, header.value);
    }
    let Timestamp::LogAppendTime(appended_ms) = message.timestamp() else { panic!("{topic} has no append times") };
    take(Record {
        topic,
        partition: Partition(message.partition() as u32),
        offset: Offset(message.offset() as u64),
        appended_at: EventTime::from_millis(appended_ms),
        key: message.key(),
        value: message.payload(),
        headers: headers.as_headers(),
    });
}
