//! What librdkafka tells and its Rust binding does not. With `probe/operations.rs`, the only unsafe code of this crate.
#![allow(unsafe_code, reason = "calls of librdkafka that crate rdkafka does not wrap, or not as they are")]

use std::{
    ffi::{CStr, CString},
    time::Duration,
};

use rdkafka::{
    bindings::{rd_kafka_flush, rd_kafka_get_watermark_offsets, rd_kafka_mem_free, rd_kafka_memberid},
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    producer::{Producer, ProducerContext, ThreadedProducer},
    types::RDKafkaRespErr,
};

/// The member id that the group's coordinator gave this consumer; none while it has not joined.
pub(super) fn member_id<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<String> {
    let client = consumer.client().native_ptr();
    // SAFETY: the client lives as long as the borrow of its consumer; the text is ours and is freed once, by the allocator
    // that made it.
    unsafe {
        let text = rd_kafka_memberid(client);
        if text.is_null() {
            return None;
        }
        let id = CStr::from_ptr(text).to_string_lossy().into_owned();
        rd_kafka_mem_free(client, text.cast());
        Some(id).filter(|id| !id.is_empty())
    }
}

/// The end of a partition as its last fetch told it, without asking anybody; none before the first fetch.
pub(super) fn known_end<C: ConsumerContext>(consumer: &BaseConsumer<C>, topic: &str, partition: i32) -> Option<u64> {
    let topic = CString::new(topic).ok()?;
    let (mut low, mut high) = (-1, -1);
    // SAFETY: the topic's name and both numbers outlive the call, which stores nothing of them.
    let answer =
        unsafe { rd_kafka_get_watermark_offsets(consumer.client().native_ptr(), topic.as_ptr(), partition, &raw mut low, &raw mut high) };
    if answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR { u64::try_from(high).ok() } else { None }
}

/// Sends what waits for company and waits until every record is acknowledged; false if the time ran out before. (The binding's
/// own `flush` does not let the brokers' threads see that somebody flushes, and looks whether it is over once in 100 ms.)
pub(super) fn flush<C: ProducerContext + 'static>(producer: &ThreadedProducer<C>, wait: Duration) -> bool {
    let wait_ms = i32::try_from(wait.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client lives as long as the borrow of its producer. Reports are served by the producer's own thread.
    let answer = unsafe { rd_kafka_flush(producer.client().native_ptr(), wait_ms) };
    answer == RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR
}
