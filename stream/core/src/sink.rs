//! The contract of a sink: like a [processor](crate::Processor), but it may read the clock and act on the world.
//!
//! A sink cannot be deterministic, so nothing is ever replayed: its state is written with every commit, and a restored sink
//! goes on where the last commit left it. Two ways of acting follow:
//!
//! * A *deliverer* (a pager, a chat) acts inside [`Sink::on_batch`] and lets the commit follow. If the process dies in between,
//!   the record comes again: delivery is at least once, and the destination drops repeats by an idempotency key, such as the
//!   record's place or an alert's fingerprint. One that waits for company before it sends keeps the records in its state, is
//!   done with them, and sends in [`Sink::on_tick`]; what is refused then, it hands back by [`Sink::take_refused`].
//! * An *actor* on machines puts out its intent and remembers it, and acts in [`Sink::after_commit`], when the intent is on the
//!   bus and so in the audit trail. The outcome enters the next [`Sink::on_tick`].
//!
//! A deliverer that posts every record:
//!
//! ```
//! use std::time::Duration;
//! use stream_core::*;
//!
//! struct Poster { posted: u64 }
//!
//! # fn post(_: &[u8], _: String) -> Result<(), u16> { Ok(()) }
//! impl Sink for Poster {
//!     type Config = ();
//!     const NAME: &'static str = "poster";
//!     const STATE_VERSION: u16 = 1;
//!     fn inputs(_: &()) -> Vec<TopicName> { vec![TopicName::new("alerts.v1")] }
//!     fn state_bytes_bound(_: &()) -> u64 { 16 }
//!     fn new(_: &(), _: SinkId<'_>) -> Result<Self, ConfigError> { Ok(Self { posted: 0 }) }
//!     fn on_batch(&mut self, batch: &mut SinkBatch<'_>, out: &mut Outbox) -> Result<(), SinkError> {
//!         while let Some(record) = batch.take(out) {
//!             let key = format!("{}/{}", record.topic_partition(), record.offset);
//!             match post(record.value.unwrap_or_default(), key) {
//!                 Ok(()) => self.posted += 1,
//!                 Err(429 | 500..) => return Err(SinkError::retry_after(Duration::from_secs(1), "it is busy")),
//!                 Err(code) => return Err(SinkError::Poison(Reject::new(RejectReason::Refused, code.to_string()))),
//!             }
//!             batch.done(out);
//!         }
//!         Ok(())
//!     }
//!     fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> { w.put("posted", &self.posted) }
//!     fn restore(r: &SnapshotReader<'_>, _: &(), _: SinkId<'_>) -> Result<Self, StateError> { Ok(Self { posted: r.get("posted")? }) }
//! }
//! ```

mod instance;

use std::{fmt, time::Duration};

use schemas::EventTime;
use serde::{Serialize, de::DeserializeOwned};

pub use self::instance::{Delivered, SinkInstance};
use crate::{
    ConfigError, Offset, Outbox, OutputSource, Record, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName, TopicPartition,
    outbox::Mark,
};

/// Which sink: where it delivers to, and the input partition that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkId<'a> {
    /// One of [`Sink::destinations`].
    pub destination: &'a str,
    /// Its input partition.
    pub at: &'a TopicPartition,
}

/// Why a batch was not finished.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SinkError {
    /// Not now: the records that are not done come again after the pause, and so do the outputs that followed from them.
    #[error("to be tried again in {pause:?}: {why}")]
    RetryAfter {
        /// How long the partition rests.
        pause: Duration,
        /// What the destination said.
        why: String,
    },
    /// Never: the first record that is not done becomes a dead letter. A sink that sends several records at once must send them
    /// one at a time to learn which.
    #[error(transparent)]
    Poison(#[from] Reject),
}

/// A record that a sink had been done with, and that its destination refused for good when it was sent later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedLater {
    /// Where the record stood, in the partition of this instance.
    pub offset: Offset,
    /// When it was appended.
    pub appended_at: EventTime,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, as [`Headers::encoded`](crate::Headers::encoded) gives them.
    pub headers: Vec<u8>,
    /// Why it was refused.
    pub reject: Reject,
}

impl SinkError {
    /// A [`SinkError::RetryAfter`].
    pub fn retry_after(pause: Duration, why: impl fmt::Display) -> Self {
        Self::RetryAfter { pause, why: why.to_string() }
    }
}

/// A consumer of topics that acts on the world. One instance exists per destination and input partition, on a thread that it
/// shares only with the other partitions of its destination: it may wait for an answer, and nobody else does.
///
/// Laws, held by the runtime's simulator:
/// * what it puts out appears exactly once;
/// * every record is handed to it until it is done with it or has refused it, in order;
/// * [`Sink::after_commit`] never sees a state that is not committed;
/// * when it returns an error, its state is as it was after the last record that it was done with.
pub trait Sink: Sized + Send + 'static {
    /// Its section of the configuration file.
    type Config: DeserializeOwned + Serialize + Default + Clone + Send + Sync + 'static;

    /// Lower-case name, which is also that of its configuration section.
    const NAME: &'static str;
    /// Counts up when the meaning of the snapshot changes.
    const STATE_VERSION: u16;

    /// Its destinations. Each is a consumer group with a thread and a state of its own, `<name>.<destination>`, so that a slow
    /// pager does not hold up the chat. The empty one is called by the sink's name alone.
    fn destinations(_config: &Self::Config) -> Vec<String> {
        vec![String::new()]
    }

    /// Topics that are split among the replicas.
    fn inputs(config: &Self::Config) -> Vec<TopicName>;

    /// Compacted tables or low-rate topics that each replica reads whole.
    fn broadcasts(_config: &Self::Config) -> Vec<TopicName> {
        Vec::new()
    }

    /// Topics that it writes.
    fn outputs(_config: &Self::Config) -> Vec<TopicName> {
        Vec::new()
    }

    /// Records in one batch at most. One, for a destination that cannot drop repeats: then a crash repeats at most one message.
    fn batch_records_max(_config: &Self::Config, _destination: &str) -> usize {
        100
    }

    /// The largest snapshot that these caps allow, in bytes. It is written with every commit, though only where it changed.
    fn state_bytes_bound(config: &Self::Config) -> u64;

    /// An instance without a past.
    ///
    /// # Errors
    /// If the configuration cannot work.
    fn new(config: &Self::Config, id: SinkId<'_>) -> Result<Self, ConfigError>;

    /// Records, in order. It takes as many as it likes and says which of them it is done with; those that it did not take come
    /// again. A commit follows.
    ///
    /// # Errors
    /// [`SinkError`]; what was done before stands.
    fn on_batch(&mut self, batch: &mut SinkBatch<'_>, out: &mut Outbox) -> Result<(), SinkError>;

    /// One record of a broadcast, between two batches.
    ///
    /// # Errors
    /// [`Reject`] if the record is bad; the state is then as it was.
    fn on_broadcast(&mut self, _record: Record<'_>) -> Result<(), Reject> {
        Ok(())
    }

    /// Once a second, also while the partition rests. `now` is the wall clock, which here never stands or goes back. A commit
    /// follows if anything was put out or the state changed.
    ///
    /// # Errors
    /// Only when an output would break a limit; the sink then stops.
    fn on_tick(&mut self, _now: EventTime, _out: &mut Outbox) -> Result<(), Reject> {
        Ok(())
    }

    /// Whether there is more to do than fitted one commit: the next tick then comes at once instead of after a second. So a
    /// destination that cannot drop repeats gets one message for each commit, and a crash repeats at most one.
    fn is_pressed(&self) -> bool {
        false
    }

    /// Records that it had been done with and that were refused for good since it was asked last. They become dead letters in
    /// the commit that follows. Asked after every batch and tick.
    fn take_refused(&mut self) -> Vec<RefusedLater> {
        Vec::new()
    }

    /// The state as it is now is on the bus, with all that was put out. Called after every commit and after a restore, so what a
    /// process that died had intended and not done is found here too. What it changes in the state is not on the bus before the
    /// next commit.
    fn after_commit(&mut self) {}

    /// Writes the whole state.
    ///
    /// # Errors
    /// If it cannot be encoded.
    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError>;

    /// Comes back from a snapshot, possibly one of an older version or another configuration.
    ///
    /// # Errors
    /// If the snapshot is damaged or cannot be taken over.
    fn restore(r: &SnapshotReader<'_>, config: &Self::Config, id: SinkId<'_>) -> Result<Self, StateError>;
}

/// Records that a sink may take.
#[derive(Debug)]
pub struct SinkBatch<'a> {
    at: &'a TopicPartition,
    records: &'a [Record<'a>],
    taken: usize,
    done: usize,
    /// Outputs that follow from records that are done.
    settled: Mark,
    last_tick: EventTime,
    now: EventTime,
    /// An output limit that a record broke and that the sink did not care about.
    overflow: Option<String>,
}

impl<'a> SinkBatch<'a> {
    fn new(at: &'a TopicPartition, records: &'a [Record<'a>], last_tick: EventTime, now: EventTime, out: &Outbox) -> Self {
        Self { at, records, taken: 0, done: 0, settled: out.mark(), last_tick, now: now.max(last_tick), overflow: None }
    }

    /// The wall clock when the batch was handed over, never before the last tick.
    pub fn now(&self) -> EventTime {
        self.now
    }

    /// The next record. What is put out from now on follows from it.
    pub fn take(&mut self, out: &mut Outbox) -> Option<Record<'a>> {
        let record = *self.records.get(self.taken)?;
        self.overflow = self.overflow.take().or_else(|| out.take_overflow());
        self.taken += 1;
        out.begin(self.at, OutputSource::Record(record.offset), record.appended_at, self.last_tick);
        Some(record)
    }

    /// All records taken so far are finished: whatever comes, they do not come again unless the process dies before the commit.
    pub fn done(&mut self, out: &Outbox) {
        self.done = self.taken;
        self.settled = out.mark();
    }

    /// Records that have not been taken.
    pub fn left(&self) -> usize {
        self.records.len() - self.taken
    }
}
