//! A source at work: publishes its records in blocks and goes on after its cursor, whatever happens to it.

use stream_core::TopicName;

use super::{
    client::{Client, SimBus},
    rng::Rng,
    workload::SourceRecord,
};
use crate::{
    bus::{Bus, BusError},
    publish::{Publish, PublishBatch, PublishError},
};

/// Records of one block at most.
const BLOCK_MAX: u64 = 6;

/// One process of a source.
pub(super) struct Feeder {
    client: Client,
    source: String,
    publisher: Option<Box<dyn Publish>>,
}

impl Feeder {
    pub(super) fn new(client: Client, source: &str) -> Self {
        Self { client, source: source.into(), publisher: None }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.client.is_dead()
    }

    /// How many records its cursor says are on the bus, once it has read it.
    pub(super) fn position(&self) -> Option<usize> {
        self.publisher.as_ref().map(|publisher| {
            let position = publisher.cursor().and_then(|cursor| <[u8; 8]>::try_from(cursor.position.as_slice()).ok());
            position.map_or(0, |position| u64::from_be_bytes(position) as usize)
        })
    }

    /// Publishes the next block.
    pub(super) fn feed(&mut self, records: &[SourceRecord], rng: &mut Rng) -> Result<(), BusError> {
        if self.publisher.is_none() {
            match SimBus(self.client.clone()).publisher(&self.source) {
                Ok(publisher) => self.publisher = Some(publisher),
                Err(BusError::Lost(_)) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let from = self.position().unwrap_or(0);
        let to = (from + 1 + rng.below(BLOCK_MAX) as usize).min(records.len());
        let Some(block) = records.get(from..to).filter(|block| !block.is_empty()) else { return Ok(()) };
        let mut batch = PublishBatch::default();
        for record in block {
            let topic: &TopicName = &record.topic;
            batch
                .push(topic, record.key.as_deref(), record.value.as_deref(), record.headers.as_headers())
                .map_err(|error| BusError::Fatal(error.to_string()))?;
            let mut cluster = self.client.cluster();
            cluster.now = cluster.now.max(record.appended_at);
        }
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        match publisher.publish(&batch, &(to as u64).to_be_bytes()) {
            Ok(()) | Err(PublishError::Retry(_)) => {}
            Err(PublishError::Closed(_) | PublishError::Unknown(_)) => self.publisher = None,
        }
        Ok(())
    }
}
