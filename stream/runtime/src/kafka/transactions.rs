//! A transactional producer: records, and perhaps positions, become visible together or not at all.
//!
//! Whatever goes wrong, a transaction ends here in one of three ways, and what to do about each is the caller's: see
//! [`Ended`]. The rules behind it: errors that may be retried are; errors that require an abort abort; anything else drops
//! the producer and makes a new one of the same transactional id, whose initialisation settles what the old one left open
//! (it raises the epoch, so a commit that is still under way either took place or never will).

use std::{sync::Arc, time::Duration};

use rdkafka::{
    ClientConfig,
    consumer::ConsumerGroupMetadata,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
    topic_partition_list::TopicPartitionList,
    util::Timeout,
};
use stream_core::Headers;

use super::{
    client::{ASK, Deliveries, failed, now},
    instance::Instance,
    native,
};
use crate::bus::BusError;

/// Between two looks at what is still on its way while full requests go out.
const IN_FLIGHT_PAUSE: Duration = Duration::from_millis(1);
/// Between two looks at failures while the rest goes out.
const FLUSH_SLICE: Duration = Duration::from_millis(100);
/// Pause before an operation that may be tried again is.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// Pause while the producer's queue is full.
const FULL_PAUSE: Duration = Duration::from_millis(1);
/// How long an abort, or a new producer, may take before the session is given up.
const SETTLE: Duration = Duration::from_secs(10);

/// How a transaction ended that was not committed for sure.
#[derive(Debug)]
pub(super) enum Ended {
    /// It is over, whichever way: what stands on the bus tells which. The producer can go on.
    Settled(String),
    /// It could not be settled now, since the brokers do not answer. The producer is of no use any more.
    Lost(String),
    /// An operator has to mend something.
    Fatal(String),
}

/// A transactional producer.
pub(super) struct Transactions {
    config: ClientConfig,
    instance: Arc<Instance>,
    producer: ThreadedProducer<Deliveries>,
    /// Records sent in this transaction, by topic and partition.
    sent: Vec<(String, Vec<usize>)>,
    /// Records with which a request is full.
    request_records: usize,
}

impl Transactions {
    /// A producer whose id no other process uses any more: an older one is fenced, and what it left open is settled.
    pub(super) fn open(config: ClientConfig, instance: Arc<Instance>) -> Result<Self, BusError> {
        let producer = initialised(&config)?;
        let request_records = config.get("batch.num.messages").and_then(|records| records.parse().ok()).unwrap_or(usize::MAX);
        Ok(Self { config, instance, producer, sent: Vec::new(), request_records })
    }

    /// Begins a transaction.
    pub(super) fn begin(&mut self) -> Result<(), Ended> {
        for (_, partitions) in &mut self.sent {
            partitions.fill(0);
        }
        match self.producer.begin_transaction() {
            Ok(()) => Ok(()),
            Err(error) => Err(self.end("begin of a transaction", &error)),
        }
    }

    /// Hands one record over. Waits while the queue is full.
    pub(super) fn send(
        &mut self,
        topic: &str,
        partition: u32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
    ) -> KafkaResult<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).partition(i32::try_from(partition).unwrap_or(i32::MAX));
        (record.key, record.payload, record.headers) = (key, value, owned(headers));
        self.count(topic, partition);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), unsent)) => {
                    if let Some(error) = self.take_failure() {
                        return Err(error);
                    }
                    native::flush(&self.producer, FULL_PAUSE);
                    record = unsent;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }

    /// Counts a record of this transaction.
    fn count(&mut self, topic: &str, partition: u32) {
        let index = self.sent.iter().position(|(known, _)| known == topic).unwrap_or_else(|| {
            self.sent.push((topic.to_owned(), Vec::new()));
            self.sent.len() - 1
        });
        let (Some((_, partitions)), Ok(partition)) = (self.sent.get_mut(index), usize::try_from(partition)) else { return };
        if partitions.len() <= partition {
            partitions.resize(partition + 1, 0);
        }
        if let Some(records) = partitions.get_mut(partition) {
            *records += 1;
        }
    }

    /// Waits until all records are on the brokers. Full requests go out by themselves, one after the other in each partition.
    /// What may be left behind them, less than a request in each, waits for company that will not come: only then, it is
    /// flushed, since while somebody flushes, librdkafka spins for as long as there is a record that cannot go yet.
    pub(super) fn delivered(&self) -> KafkaResult<()> {
        let rest: usize = self.sent.iter().flat_map(|(_, partitions)| partitions).map(|sent| self.request_records.min(*sent)).sum();
        while usize::try_from(self.producer.in_flight_count()).is_ok_and(|in_flight| in_flight > rest) {
            if let Some(error) = self.take_failure() {
                return Err(error);
            }
            std::thread::sleep(IN_FLIGHT_PAUSE);
        }
        while !native::flush(&self.producer, FLUSH_SLICE) {
            if let Some(error) = self.take_failure() {
                return Err(error);
            }
        }
        self.take_failure().map_or(Ok(()), Err)
    }

    /// Adds positions of a consumer group to the transaction.
    pub(super) fn send_positions(&self, positions: &TopicPartitionList, member: &ConsumerGroupMetadata) -> KafkaResult<()> {
        retried(|| self.producer.send_offsets_to_transaction(positions, member, Timeout::Never))
    }

    /// Makes everything visible.
    pub(super) fn commit(&self) -> KafkaResult<()> {
        retried(|| self.producer.commit_transaction(Timeout::Never))
    }

    /// Ends a transaction in which something went wrong.
    pub(super) fn end(&mut self, what: &str, error: &KafkaError) -> Ended {
        // Trying again would be refused again, three times a second.
        if let Some(refused) = self.producer.client().context().take_refusal() {
            return Ended::Fatal(format!("{what}: {refused}; this user lacks Write on it (docs/kafka.md lists the ACLs of each binary)"));
        }
        let topic = self.producer.client().context().take_topic();
        let what = &topic.map_or_else(|| what.to_owned(), |topic| format!("{what} to topic {topic}"));
        let why = format!("{what}: {error}");
        let code = error.rdkafka_error_code();
        if code.is_some_and(is_fencing) {
            return match self.instance.fenced() {
                Some(why) => Ended::Fatal(why),
                None => self.renew(why),
            };
        }
        if let BusError::Fatal(why) = failed(what, error) {
            return Ended::Fatal(why);
        }
        let is_fatal = matches!(error, KafkaError::Transaction(error) if !error.txn_requires_abort() && !error.is_retriable());
        if is_fatal { self.renew(why) } else { self.abort(why) }
    }

    /// Ends the open transaction without a trace.
    pub(super) fn abort(&mut self, why: String) -> Ended {
        // While the first record is still on its way, an abort would end in a fatal error (librdkafka 4849).
        native::flush(&self.producer, ASK);
        let aborted = retried(|| self.producer.abort_transaction(SETTLE));
        let _ = self.take_failure();
        match aborted {
            Ok(()) => Ended::Settled(why),
            Err(error) => self.renew(format!("{why}; then its abort: {error}")),
        }
    }

    fn renew(&mut self, why: String) -> Ended {
        match initialised(&self.config) {
            Ok(producer) => {
                self.producer = producer;
                Ended::Settled(why)
            }
            Err(BusError::Fatal(error)) => Ended::Fatal(error),
            Err(error) => Ended::Lost(format!("{why}; then a new producer: {error}")),
        }
    }

    fn take_failure(&self) -> Option<KafkaError> {
        self.producer.client().context().take_failure()
    }
}

/// A new producer, its transactional id initialised.
fn initialised(config: &ClientConfig) -> Result<ThreadedProducer<Deliveries>, BusError> {
    let producer: ThreadedProducer<Deliveries> =
        config.create_with_context(Deliveries::default()).map_err(|error| failed("transactional producer", &error))?;
    let until = now() + SETTLE;
    loop {
        match producer.init_transactions(ASK) {
            Ok(()) => return Ok(producer),
            Err(KafkaError::Transaction(error)) if error.is_retriable() && now() < until => std::thread::sleep(RETRY_PAUSE),
            Err(error) => {
                let id = config.get("transactional.id").unwrap_or_default();
                return Err(failed(&format!("initialisation of transactional id {id}"), &error));
            }
        }
    }
}

/// The same call again while librdkafka says that it may be. It ends by itself: a transaction has a timeout.
fn retried(call: impl Fn() -> KafkaResult<()>) -> KafkaResult<()> {
    loop {
        match call() {
            Err(KafkaError::Transaction(error)) if error.is_retriable() && !error.txn_requires_abort() => {
                std::thread::sleep(RETRY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

pub(super) fn is_fencing(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as C;
    matches!(code, C::Fenced | C::ProducerFenced | C::InvalidProducerEpoch)
}

/// Headers as librdkafka wants them, none if there are none.
fn owned(headers: Headers<'_>) -> Option<OwnedHeaders> {
    if headers.encoded().is_empty() {
        return None;
    }
    Some(headers.iter().fold(OwnedHeaders::new(), |owned, (key, value)| owned.insert(Header { key, value })))
}
