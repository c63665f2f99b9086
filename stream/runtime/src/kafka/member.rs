//! A member of a consumer group: what happens to its partitions, and how it ends.

use std::{
    ops::Deref,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use rdkafka::{
    ClientConfig, ClientContext, Statistics,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    topic_partition_list::{Offset, TopicPartitionList},
    types::RDKafkaRespErr,
};

use super::client::{hear, hear_error};

/// How long the end of a member is waited for.
const END: Duration = Duration::from_secs(5);

/// What happened to the assignment of a group's member.
#[derive(Debug)]
pub(super) enum Change {
    /// These partitions are ours now; they are paused at their beginning.
    Assigned(Vec<(String, i32)>),
    /// These are ours no more.
    Revoked(Vec<(String, i32)>),
    /// The client refused to follow.
    Failed(KafkaError),
}

/// A member of a consumer group. The rebalance callback runs inside `poll`, on the thread that polls: it only takes the
/// partitions over or gives them up, always step by step, since no other strategy than cooperative-sticky can be set, and notes
/// the change. (The hooks of crate rdkafka assign twice when their owner assigns too.)
#[derive(Default)]
pub(super) struct Member {
    changes: Mutex<Vec<Change>>,
    is_changed: AtomicBool,
    /// What the client has read ahead, as its last statistics said.
    prefetch_bytes: AtomicU64,
}

impl Member {
    /// Bytes that the client has read ahead, as of a few seconds ago.
    pub(super) fn prefetch_bytes(&self) -> u64 {
        self.prefetch_bytes.load(Ordering::Relaxed)
    }

    /// The changes since the last call.
    pub(super) fn take_changes(&self) -> Vec<Change> {
        if !self.is_changed.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        std::mem::take(&mut self.changes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, change: Change) {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner).push(change);
        self.is_changed.store(true, Ordering::Relaxed);
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        hear(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        hear_error(&error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let partitions = statistics.topics.values().flat_map(|topic| topic.partitions.values());
        self.prefetch_bytes.store(partitions.map(|partition| partition.fetchq_size).sum(), Ordering::Relaxed);
    }
}

impl ConsumerContext for Member {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, what: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let named = partitions.elements().iter().map(|element| (element.topic().to_owned(), element.partition())).collect();
        let (followed, change) = if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            (take_over(consumer, partitions), Change::Assigned(named))
        } else {
            (consumer.incremental_unassign(partitions), Change::Revoked(named))
        };
        self.note(followed.map_or_else(Change::Failed, |()| change));
    }
}

/// The beginning is only a place to be paused at: the true position comes from the state, once that has been read.
fn take_over(consumer: &BaseConsumer<Member>, partitions: &TopicPartitionList) -> Result<(), KafkaError> {
    let mut at_beginning = partitions.clone();
    at_beginning.set_all_offsets(Offset::Beginning)?;
    consumer.incremental_assign(&at_beginning)?;
    // An empty assignment is normal, and there is nothing to pause in it.
    if at_beginning.count() == 0 { Ok(()) } else { consumer.pause(&at_beginning) }
}

/// A consumer with its own way to end.
///
/// A callback that runs while librdkafka ends the membership may wait for an answer for ever: a request that reaches the
/// group's thread after the end is thrown away unanswered (`rd_kafka_cgrp_op_serve` in librdkafka 2.12). So the client ends on
/// a thread of its own, and if that hangs, it is left behind: the membership has ended by then.
pub(super) struct GroupMember(Option<BaseConsumer<Member>>);

impl GroupMember {
    pub(super) fn new(config: &ClientConfig) -> Result<Self, KafkaError> {
        Ok(Self(Some(config.create_with_context(Member::default())?)))
    }
}

impl Deref for GroupMember {
    type Target = BaseConsumer<Member>;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref().expect("only the end takes it")
    }
}

impl Drop for GroupMember {
    fn drop(&mut self) {
        let Some(consumer) = self.0.take() else { return };
        let (ended, end) = mpsc::channel::<()>();
        let work = move || {
            drop(consumer);
            drop(ended);
        };
        // Without a thread it ends here and now, as the closure is dropped.
        if std::thread::Builder::new().name("member-end".into()).spawn(work).is_ok()
            && end.recv_timeout(END) == Err(mpsc::RecvTimeoutError::Timeout)
        {
            tracing::warn!("a group member's client did not end within {} s; going on without it", END.as_secs());
        }
    }
}
