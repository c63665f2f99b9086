//! Reads one partition at a time, from any position, without a group: for restores, cursors and everybody who looks.

use std::time::Duration;

use rdkafka::{
    ClientConfig, Message, Timestamp,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{BorrowedMessage, Headers as _},
    topic_partition_list::{Offset as KafkaOffset, TopicPartitionList},
};
use schemas::EventTime;
use stream_core::{HeaderBuffer, NextOffset, Offset, Record, TopicPartition};

use super::client::{Asking, failed};
use crate::bus::BusError;

/// What one look brought.
pub(super) enum Read<'a> {
    /// A record.
    Record(BorrowedMessage<'a>),
    /// Nothing more stands there now.
    End,
    /// Nothing within the time; more may stand there.
    Nothing,
}

/// A reader.
pub(super) struct Reader {
    consumer: BaseConsumer<Asking>,
}

impl Reader {
    pub(super) fn open(config: &ClientConfig) -> Result<Self, BusError> {
        let consumer = config.create_with_context(Asking::default()).map_err(|error| failed("reader", &error))?;
        Ok(Self { consumer })
    }

    /// Reads that partition from now on, and only it.
    pub(super) fn assign(&self, topic: &str, partition: u32, from: NextOffset) -> KafkaResult<()> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, number(partition), position(from))?;
        self.consumer.assign(&list)
    }

    /// Waits that long for the next record.
    pub(super) fn next(&self, wait: Duration) -> KafkaResult<Read<'_>> {
        match self.consumer.poll(wait) {
            None => Ok(Read::Nothing),
            Some(Ok(message)) => Ok(Read::Record(message)),
            Some(Err(KafkaError::PartitionEOF(_))) => Ok(Read::End),
            // Its group has only a name: it never joins, so it needs no right to one.
            Some(Err(KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed))) => Ok(Read::Nothing),
            Some(Err(error)) if is_transient(&error) => Ok(Read::Nothing),
            Some(Err(error)) => Err(error),
        }
    }
}

/// Whether the client mends it by itself.
pub(super) fn is_transient(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as C;
    let KafkaError::MessageConsumption(code) = error else { return false };
    matches!(
        code,
        C::BrokerTransportFailure
            | C::AllBrokersDown
            | C::OperationTimedOut
            | C::RequestTimedOut
            | C::Resolve
            | C::LeaderNotAvailable
            | C::NotLeaderForPartition
            | C::BrokerNotAvailable
            | C::ReplicaNotAvailable
            | C::NetworkException
            | C::CoordinatorNotAvailable
            | C::CoordinatorLoadInProgress
            | C::NotCoordinator
            | C::UnknownMemberId
            | C::IllegalGeneration
            | C::RebalanceInProgress
            | C::FencedLeaderEpoch
            | C::UnknownLeaderEpoch
            | C::OffsetNotAvailable
            | C::PollExceeded
    )
}

/// Kafka's number of a partition.
pub(super) fn number(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}

/// Kafka's name of a position.
pub(super) fn position(next: NextOffset) -> KafkaOffset {
    KafkaOffset::Offset(i64::try_from(next.0).unwrap_or(i64::MAX))
}

/// Our form of one of Kafka's offsets; logical ones, which stand for "none", are none.
pub(super) fn next_offset(offset: KafkaOffset) -> Option<NextOffset> {
    match offset {
        KafkaOffset::Offset(offset) => u64::try_from(offset).ok().map(NextOffset),
        _ => None,
    }
}

/// Calls `take` with the record that a message is.
pub(super) fn with_record<T>(
    at: &TopicPartition,
    message: &BorrowedMessage<'_>,
    headers: &mut HeaderBuffer,
    take: impl FnOnce(&Record<'_>) -> T,
) -> T {
    *headers = HeaderBuffer::default();
    if let Some(borrowed) = message.headers() {
        for header in borrowed.iter() {
            headers.push(header.key, header.value);
        }
    }
    let millis = match message.timestamp() {
        Timestamp::LogAppendTime(millis) | Timestamp::CreateTime(millis) => millis,
        Timestamp::NotAvailable => 0,
    };
    take(&Record {
        topic: &at.topic,
        partition: at.partition,
        offset: Offset(u64::try_from(message.offset()).unwrap_or(0)),
        appended_at: EventTime::from_millis(millis),
        key: message.key(),
        value: message.payload(),
        headers: headers.as_headers(),
    })
}
