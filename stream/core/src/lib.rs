//! What a stream processor is. No I/O, no clock, no randomness.
//!
//! A [`Processor`] is a deterministic state machine for one input partition: it is fed [`Record`]s, puts what follows
//! from them into an [`Outbox`], and can write its state as a snapshot and come back from it. Everything else
//! (reading, committing, restoring, retrying) is the business of the runtime, which therefore can promise that each
//! output appears exactly once whatever crashes.
//!
//! A processor that counts records and reports every third:
//!
//! ```
//! use stream_core::*;
//!
//! struct EveryThird { seen: u64 }
//!
//! #[derive(Clone, Default, serde::Serialize, serde::Deserialize)]
//! struct Config {}
//!
//! impl Processor for EveryThird {
//!     type Config = Config;
//!     const NAME: &'static str = "every-third";
//!     const STATE_VERSION: u16 = 1;
//!     fn inputs(_: &Config) -> Vec<TopicName> { vec![TopicName::new("in.v1")] }
//!     fn outputs(_: &Config) -> Vec<TopicName> { vec![TopicName::new("out.v1")] }
//!     fn state_bytes_bound(_: &Config) -> u64 { 64 }
//!     fn new(_: &Config, _: &TopicPartition) -> Result<Self, ConfigError> { Ok(Self { seen: 0 }) }
//!     fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
//!         self.seen += 1;
//!         if self.seen % 3 == 0 { out.emit_raw(&TopicName::new("out.v1"), record.key, record.value)?; }
//!         Ok(())
//!     }
//!     fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> { w.put("seen", &self.seen) }
//!     fn restore(r: &SnapshotReader<'_>, _: &Config, _: &TopicPartition) -> Result<Self, StateError> {
//!         Ok(Self { seen: r.get("seen")? })
//!     }
//! }
//! # #[cfg(feature = "kit")]
//! laws::check::<EveryThird>(&Config::default(), proptest::collection::vec(0u8.., 0..20));
//! ```
//!
//! The last line, with feature `kit`, holds the processor to all [laws] that need no bus.

pub mod alert_book;
mod clock;
mod instance;
#[cfg(feature = "kit")]
pub mod laws;
mod names;
mod outbox;
mod processor;
mod record;
mod reject;
mod sink;
mod snapshot;

pub use alert_book::{AlertBook, AlertDraft};
pub use clock::{EventClock, Lateness, Timing};
pub use instance::{Applied, Instance};
pub use names::{NextOffset, Offset, OutputSource, Partition, TopicName, TopicPartition, output_id, partition_of_key};
pub use outbox::{Outbox, OutputView};
pub use processor::{ConfigError, Processor, config_hash};
pub use record::{HeaderBuffer, Headers, RECORD_BYTES_MAX, Record};
pub use reject::{Reject, RejectReason};
pub use schemas::EventTime;
pub use sink::{Delivered, RefusedLater, Sink, SinkBatch, SinkError, SinkId, SinkInstance};
pub use snapshot::{SnapshotReader, SnapshotWriter, StateError};
