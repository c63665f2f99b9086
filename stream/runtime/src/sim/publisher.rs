//! A collector's publisher on the model: records and cursor in one transaction (KIP-618).

use stream_core::{NextOffset, TopicName};

use super::{
    client::Client,
    cluster::{CURSORS, Cluster},
    log::{Origin, Stored, TransactionId, Verdict},
    transactions::{Claim, Fenced},
};
use crate::{
    bus::BusError,
    mutation::{Mutation, is_on},
    publish::{Cursor, Publish, PublishBatch, PublishError},
};

/// A publisher.
pub struct SimPublisher {
    client: Client,
    source: String,
    claim: Claim,
    cursor: Option<Cursor>,
}

impl SimPublisher {
    /// Fences an older publisher of the source, settles what it left, and reads its cursor.
    pub(super) fn open(client: Client, source: &str) -> Result<Self, BusError> {
        client.at_risk()?;
        let id = transactional_id(source);
        let mut cluster = client.cluster();
        let claim = cluster.coordinator.initialise(&id);
        cluster.deliver_markers(Some(&id));
        let at = cluster.place(&TopicName::new(CURSORS), Some(source.as_bytes()));
        // Other publishers share the partition; their open transactions hide our cursor until they are settled.
        let open: Vec<_> = cluster.log(&at)?.open().collect();
        cluster.settle(open);
        let of_source = |record: &&Stored| record.key.as_deref() == Some(source.as_bytes());
        let last = cluster.log(&at)?.committed(NextOffset(0)).map(|(_, record)| record).filter(of_source).last();
        let cursor = last.and_then(|record| decode(record.value.as_deref()?));
        drop(cluster);
        Ok(Self { client, source: source.into(), claim, cursor })
    }

    fn append(
        &self,
        cluster: &mut Cluster,
        transaction: TransactionId,
        topic: &TopicName,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[u8],
    ) -> Result<(), Fenced> {
        let at = cluster.place(topic, key);
        let (key, value) = (key.map(<[u8]>::to_vec), value.map(<[u8]>::to_vec));
        let origin = Origin::Publisher(self.source.clone());
        let record = Stored { key, value, headers: headers.to_vec(), appended_at: cluster.now, origin };
        cluster.append(&self.claim, transaction, &at, record).map(|_| ())
    }

    fn append_cursor(&self, cluster: &mut Cluster, transaction: TransactionId, cursor: &Cursor) -> Result<(), Fenced> {
        self.append(cluster, transaction, &TopicName::new(CURSORS), Some(self.source.as_bytes()), Some(&encode(cursor)), &[])
    }

    fn begin(&self) -> Result<TransactionId, PublishError> {
        let mut cluster = self.client.cluster();
        cluster.deliver_markers(Some(&transactional_id(&self.source)));
        cluster.coordinator.begin(&self.claim).map_err(closed)
    }

    fn commit(&self, transaction: TransactionId) -> Result<(), PublishError> {
        let mut cluster = self.client.cluster();
        let is_answer_lost = cluster.strikes(|faults| faults.unknown);
        if is_answer_lost && cluster.rng.chance(500) {
            return Err(PublishError::Unknown("the request was lost".into()));
        }
        cluster.coordinator.decide(&self.claim, transaction, Verdict::Commit).map_err(closed)?;
        if !cluster.strikes(|faults| faults.late_marker) {
            cluster.deliver_markers(Some(&transactional_id(&self.source)));
        }
        if is_answer_lost { Err(PublishError::Unknown("the answer was lost".into())) } else { Ok(()) }
    }
}

impl Publish for SimPublisher {
    fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
        self.client.at_risk().map_err(unknown)?;
        let sequence = self.cursor.as_ref().map_or(0, |cursor| cursor.sequence + 1);
        let next = Cursor { sequence, position: position.to_vec() };
        let mut transaction = self.begin()?;
        for record in records.records() {
            let mut cluster = self.client.cluster();
            let (topic, headers) = (record.topic, record.headers.encoded());
            self.append(&mut cluster, transaction, topic, record.key, record.value, headers).map_err(closed)?;
        }
        self.client.at_risk().map_err(unknown)?;
        {
            let mut cluster = self.client.cluster();
            let (full, aborts) = (cluster.faults.disk_full, cluster.faults.abort);
            if cluster.rng.chance(full) || cluster.rng.chance(aborts) {
                cluster.coordinator.decide(&self.claim, transaction, Verdict::Abort).map_err(closed)?;
                return Err(PublishError::Retry("the transaction was aborted".into()));
            }
        }
        if is_on(Mutation::CursorApart) {
            self.commit(transaction)?;
            self.client.at_risk().map_err(unknown)?;
            transaction = self.begin()?;
        }
        self.append_cursor(&mut self.client.cluster(), transaction, &next).map_err(closed)?;
        self.client.at_risk().map_err(unknown)?;
        self.commit(transaction)?;
        self.cursor = Some(next);
        Ok(())
    }
}

fn transactional_id(source: &str) -> String {
    format!("publisher.{source}")
}

fn closed(_: Fenced) -> PublishError {
    PublishError::Closed("the transactional id has a newer epoch".into())
}

fn unknown(error: BusError) -> PublishError {
    PublishError::Unknown(error.to_string())
}

fn encode(cursor: &Cursor) -> Vec<u8> {
    let mut bytes = cursor.sequence.to_be_bytes().to_vec();
    bytes.extend_from_slice(&cursor.position);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Cursor> {
    let (sequence, position) = bytes.split_first_chunk::<8>()?;
    Some(Cursor { sequence: u64::from_be_bytes(*sequence), position: position.to_vec() })
}
