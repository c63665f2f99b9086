//! The way of a collector onto Kafka, as Kafka Connect's exactly-once sources go (KIP-618): records and a cursor record in
//! one transaction, begun when the block is complete and committed at once, so that a quiet or hung collector never holds
//! other people's readers back.

use std::sync::Arc;

use rdkafka::{Message, error::KafkaError};
use schemas::topics::Class;
use stream_core::{NextOffset, Partition, TopicPartition, partition_of_key};

use super::{
    client::{ASK, failed, now},
    instance::Instance,
    names::Place,
    reader::{Read, Reader},
    routes::Routes,
    shared::Shared,
    transactions::{Ended, Transactions},
};
use crate::{
    bus::BusError,
    inspect::Appended,
    mutation::{Mutation, is_on},
    peril::{Moment, pass},
    publish::{Cursor, Publish, PublishBatch, PublishError},
};

/// Partitions of the topic of cursors.
pub(super) const CURSOR_PARTITIONS: u32 = Class::Data.layout().partitions_kafka;

/// A publisher on Kafka.
pub struct KafkaPublisher {
    shared: Arc<Shared>,
    part: String,
    instance: Arc<Instance>,
    /// Key of its cursor: `<source>/<instance>`.
    key: String,
    cursors: Place,
    /// None after the brokers were away for so long that a transaction could not be settled.
    transactions: Option<Transactions>,
    routes: Routes,
    cursor: Option<Cursor>,
}

impl KafkaPublisher {
    pub(super) fn open(shared: &Arc<Shared>, source: &str) -> Result<Self, BusError> {
        let instance = shared.claim(source)?;
        let name = instance.name.clone();
        Self::open_as(shared, source, &format!("{source}/{name}"), instance)
    }

    /// A publisher whose cursor does not depend on this replica's name: for a source in another process, which may reach us
    /// through any replica.
    pub(super) fn open_remote(shared: &Arc<Shared>, source: &str) -> Result<Self, BusError> {
        let part = format!("remote.{source}");
        let instance = shared.instances.claim(&shared.bus.data_dir, &part, "any")?;
        Self::open_as(shared, &part, source, instance)
    }

    fn open_as(shared: &Arc<Shared>, part: &str, key: &str, instance: Arc<Instance>) -> Result<Self, BusError> {
        let topic = shared.names.cursors();
        shared.ensure_internal(&topic, CURSOR_PARTITIONS)?;
        let partition = partition_of_key(Some(key.as_bytes()), CURSOR_PARTITIONS);
        let cursors = Place::new(&shared.names, &TopicPartition::new(&topic, partition));
        let mut this = Self {
            shared: Arc::clone(shared),
            part: part.into(),
            instance,
            key: key.into(),
            cursors,
            transactions: None,
            routes: Routes::default(),
            cursor: None,
        };
        this.connect()?;
        Ok(this)
    }

    /// If there is no producer: fences who came before, settles what was left open, and reads how far it had come.
    fn connect(&mut self) -> Result<(), BusError> {
        if self.transactions.is_none() {
            let id = self.shared.names.transactional_id(&self.part, &self.instance.name);
            let config = self.shared.settings.producer(&self.shared.names.client(&self.part), &id);
            let transactions = Transactions::open(config, Arc::clone(&self.instance))?;
            self.cursor = self.read_cursor()?;
            self.transactions = Some(transactions);
        }
        Ok(())
    }

    /// The last committed cursor under our key. Nobody else writes it while our transactional id is ours.
    fn read_cursor(&self) -> Result<Option<Cursor>, BusError> {
        let Self { cursors, shared, .. } = self;
        let mut last = None;
        if shared.settled_end(cursors)? == NextOffset(0) {
            return Ok(last);
        }
        let until = now() + 2 * ASK;
        let reader = Reader::open(&shared.settings.reader(&shared.names.client(&self.part)))?;
        let context = |error: KafkaError| failed(&format!("reading {}", cursors.at), &error);
        reader.assign(&cursors.topic, cursors.at.partition.0, NextOffset(0)).map_err(context)?;
        loop {
            match reader.next(ASK).map_err(context)? {
                Read::Record(message) if message.key() == Some(self.key.as_bytes()) => {
                    last = message.payload().map(decode).transpose()?;
                }
                Read::Record(_) => {}
                Read::End => return Ok(last),
                Read::Nothing if now() > until => return Err(BusError::Lost(format!("{} cannot be read", cursors.at))),
                Read::Nothing => {}
            }
        }
    }

    fn publish_as(&mut self, records: &PublishBatch, next: Cursor) -> Result<(), PublishError> {
        match self.write(records, &next) {
            Ok(()) => {
                self.cursor = Some(next);
                Ok(())
            }
            Err(Ended::Settled(why)) => {
                self.cursor = self.read_cursor().map_err(|error| {
                    self.transactions = None;
                    not_now(error)
                })?;
                if self.cursor.as_ref() == Some(&next) { Ok(()) } else { Err(PublishError::Retry(why)) }
            }
            Err(Ended::Lost(why)) => {
                self.transactions = None;
                Err(PublishError::Retry(why))
            }
            Err(Ended::Fatal(why)) => Err(PublishError::Closed(why)),
        }
    }

    fn write(&mut self, records: &PublishBatch, next: &Cursor) -> Result<(), Ended> {
        let Some(transactions) = &mut self.transactions else { return Err(Ended::Lost("no producer".into())) };
        pass(Moment::Begin);
        transactions.begin()?;
        for record in records.records() {
            let sent = self.routes.to(&self.shared, record.topic).and_then(|(topic, partitions)| {
                let partition = partition_of_key(record.key, partitions);
                transactions.send(topic, partition.0, record.key, record.value, record.headers)
            });
            if let Err(error) = sent {
                if let Some(wrong) = super::routes::describe(record.topic, &error) {
                    let _ = transactions.abort(wrong.to_string());
                    return Err(Ended::Fatal(wrong.to_string()));
                }
                return Err(transactions.end("record", &error));
            }
        }
        if is_on(Mutation::CursorApart) {
            let committed = transactions.delivered().and_then(|()| transactions.commit());
            committed.map_err(|error| transactions.end("publication", &error))?;
            pass(Moment::Committed);
            transactions.begin()?;
        }
        let Partition(partition) = self.cursors.at.partition;
        let cursor = encode(next);
        transactions
            .send(&self.cursors.topic, partition, Some(self.key.as_bytes()), Some(&cursor), Default::default())
            .and_then(|()| transactions.delivered())
            .inspect(|()| pass(Moment::Sent))
            .and_then(|()| transactions.commit())
            .inspect(|()| pass(Moment::Committed))
            .map_err(|error| transactions.end("publication", &error))
    }

    /// Publishes under a sequence of the source's own; one that is not above the stored one is dropped.
    pub(super) fn append(&mut self, sequence: u64, records: &PublishBatch, position: &[u8]) -> Result<Appended, PublishError> {
        self.connect().map_err(not_now)?;
        if self.cursor.as_ref().is_some_and(|cursor| cursor.sequence >= sequence) {
            return Ok(Appended::Known);
        }
        self.publish_as(records, Cursor { sequence, position: position.to_vec() }).map(|()| Appended::New)
    }
}

impl Publish for KafkaPublisher {
    fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
        let believed = self.cursor.clone();
        let sequence = believed.as_ref().map_or(0, |cursor| cursor.sequence) + 1;
        let next = Cursor { sequence, position: position.to_vec() };
        self.connect().map_err(not_now)?;
        if self.cursor == believed {
            match self.publish_as(records, next) {
                Err(PublishError::Retry(_)) if self.cursor != believed => {}
                outcome => return outcome,
            }
        } else if self.cursor.as_ref() == Some(&next) {
            // It was this very batch whose transaction could not be settled before, and it took place.
            return Ok(());
        }
        // While we stood still, somebody took our name, read on from our cursor, and gave the name back by our fencing him.
        // What we have read since then is his: it is on the bus already.
        Err(PublishError::Closed(format!("another process went on under the name {}; read again from its cursor", self.key)))
    }
}

fn not_now(error: BusError) -> PublishError {
    match error {
        BusError::Fatal(why) => PublishError::Closed(why),
        error => PublishError::Retry(error.to_string()),
    }
}

/// The sequence, big-endian, then the source's own position.
fn encode(cursor: &Cursor) -> Vec<u8> {
    [&cursor.sequence.to_be_bytes()[..], &cursor.position].concat()
}

fn decode(value: &[u8]) -> Result<Cursor, BusError> {
    let (sequence, position) =
        value.split_first_chunk().ok_or_else(|| BusError::Fatal(format!("a cursor of {} bytes, expected at least 8", value.len())))?;
    Ok(Cursor { sequence: u64::from_be_bytes(*sequence), position: position.to_vec() })
}
