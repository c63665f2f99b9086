//! The bus that many machines share: Apache Kafka 4.0 or later, spoken by librdkafka.
//!
//! ```text
//! logs.raw.v1 ──read_committed──▶ group member ──▶ worker ──▶ one transaction:  outputs, dead letters  ──▶ topics
//!                                  (positions                                    pos, journal, snapshot ──▶ <prefix>.<processor>.state
//!                                   only from the state)                         positions              ──▶ consumer group
//! ```
//!
//! Everything of a batch travels in one transaction, so all of it becomes visible or none. Who reads state reads it behind
//! whatever its former owner had still under way ([`state_log`]). Who commits proves that it is still the member that
//! restored ([`session`]). A replica that dies leaves an open transaction, which its successor of the same name, or a
//! timeout shorter than the membership, aborts ([`transactions`]).

mod client;
mod inspect;
mod instance;
mod member;
mod names;
mod native;
mod parts;
pub mod probe;
mod publisher;
mod reader;
mod routes;
mod session;
mod settings;
mod shared;
mod state_log;
mod topics;
mod transactions;

use std::sync::Arc;

use stream_core::TopicName;

use self::shared::Shared;
pub use self::{publisher::KafkaPublisher, session::KafkaSession, settings::KafkaSettings};
use crate::{
    bus::{Bus, BusError, Session, TopicSpec, WorkerSpec},
    config::{Backend, BusSettings},
    layout::{self, LayoutSettings},
    publish::Publish,
};

/// A Kafka bus; a handle that is cheap to clone.
#[derive(Clone)]
pub struct KafkaBus(Arc<Shared>);

impl KafkaBus {
    /// Makes the clients; brokers are asked at the first call.
    ///
    /// # Errors
    /// If a property has a value that librdkafka does not know.
    pub fn open(bus: BusSettings, settings: KafkaSettings) -> Result<Self, BusError> {
        Ok(Self(Arc::new(Shared::open(bus, settings)?)))
    }

    /// The name of this replica of a part, which the next client of that part in this process will have.
    ///
    /// # Errors
    /// If the data directory cannot be used.
    pub fn replica(&self, part: &str) -> Result<String, BusError> {
        Ok(self.0.claim(part)?.name.clone())
    }

    /// Makes every topic of an installation that is missing, and verifies the others: those of the table, the cursors, and
    /// the state log of each processor in the table.
    ///
    /// # Errors
    /// If a topic exists in another shape, or may not be made.
    pub fn ensure_installation(&self, layout: &LayoutSettings) -> Result<(), BusError> {
        let specs = layout::specs(Backend::Kafka, layout);
        self.0.ensure(&specs)?;
        for (name, partitions) in parts::internal_topics(&self.0.names, &specs) {
            self.0.ensure_internal(&name, partitions)?;
        }
        Ok(())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0
    }
}

impl Bus for KafkaBus {
    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), BusError> {
        self.0.ensure(specs)
    }

    fn partitions(&self, topic: &TopicName) -> Result<u32, BusError> {
        self.0.partitions(topic)
    }

    fn backend(&self) -> Backend {
        Backend::Kafka
    }

    fn system(&self) -> &'static str {
        "kafka"
    }

    fn group(&self, processor: &str) -> String {
        self.0.names.group(processor)
    }

    fn open(&self, spec: &WorkerSpec) -> Result<Box<dyn Session>, BusError> {
        Ok(Box::new(KafkaSession::open(&self.0, spec)?))
    }

    fn publisher(&self, source: &str) -> Result<Box<dyn Publish>, BusError> {
        Ok(Box::new(KafkaPublisher::open(&self.0, source)?))
    }
}

fn missing(topic: &TopicName) -> BusError {
    BusError::Fatal(format!("there is no topic {topic}; `nephoscope topics create` makes what is missing"))
}
