//! The way of all lines: many sources, one bounded queue, one thread that publishes blocks.
//!
//! A block is ready at 256 KiB or when its first line is as old as a publication on this bus is worth. It goes with the
//! positions of the sources in it, so records and cursor become visible together (exactly-once sources of KIP-618). While the
//! bus cannot take more, the queue fills and the sources stop reading: senders over TCP wait, files and journal keep what they
//! have.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use schemas::{LogRecord, Subject, topics};
use stream_core::{Headers, TopicName};
use stream_runtime::publish::{Publish, PublishBatch, PublishError};

use super::Stop;
use super::clock;
use super::cursor::{self, CursorError, Position, Positions};
use super::receipt::{Claim, Receipt};
use super::status::{SourceGauge, Watch};

/// Parcels that wait at most; with [`PARCEL_BYTES`] some 2 MiB.
const QUEUE_PARCELS: usize = 32;
/// A source hands its lines over when it has this much, or nothing more to read.
const PARCEL_BYTES: usize = 64 * 1024;
/// A block is ready at this size.
const BLOCK_BYTES: usize = 256 * 1024;
/// Pause before a publication that had to wait is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// How often it is tried again when the collector is to stop: ten seconds.
const STOP_TRIES: u32 = 50;
/// How often losses are reported.
const REPORT_US: i64 = 1_000_000;

/// Lines of one source, encoded, and where the source stands after them.
#[derive(Debug, Default)]
struct Parcel {
    records: PublishBatch,
    positions: BTreeMap<String, Option<Position>>,
    /// Who waits to hear that they are safe.
    claim: Option<Claim>,
}

/// The publishing thread has ended; there is no use in reading on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Closed;

/// The queue's open end, from which sources get their outlets.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    sender: SyncSender<Parcel>,
}

/// A source's way into the queue.
#[derive(Debug)]
pub(crate) struct Outlet {
    sender: SyncSender<Parcel>,
    topic: TopicName,
    parcel: Parcel,
    scratch: Vec<u8>,
    /// Records handed in since the start.
    records: u64,
    receipt: Option<Arc<Receipt>>,
}

/// The queue's other end.
#[derive(Debug)]
pub(crate) struct Blocks {
    receiver: Receiver<Parcel>,
}

/// What a publisher keeps of how far the sources have been read.
#[derive(Debug)]
pub(crate) enum Progress {
    /// The positions of sources that can be read again.
    Positions(Positions),
    /// Nothing: they cannot, and whoever publishes them keeps no cursor for them.
    Unknown,
}

/// Why publishing ended.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The bus takes no more from this publisher.
    #[error("log lines cannot be published")]
    Publish(#[from] PublishError),
    /// The positions cannot be written down.
    #[error("positions of the sources cannot be written")]
    Cursor(#[from] CursorError),
}

/// A queue and its end.
pub(crate) fn queue() -> (Queue, Blocks) {
    let (sender, receiver) = sync_channel(QUEUE_PARCELS);
    (Queue { sender }, Blocks { receiver })
}

impl Queue {
    pub(crate) fn outlet(&self) -> Outlet {
        let (sender, topic) = (self.sender.clone(), TopicName::new(topics::LOGS_RAW));
        Outlet { sender, topic, parcel: Parcel::default(), scratch: Vec::new(), records: 0, receipt: None }
    }

    /// An outlet whose source is told on `receipt` how many of its records are safe.
    pub(crate) fn outlet_with(&self, receipt: Arc<Receipt>) -> Outlet {
        Outlet { receipt: Some(receipt), ..self.outlet() }
    }
}

impl Outlet {
    /// Adds a line; waits while the queue is full.
    pub(crate) fn push(&mut self, mut record: LogRecord, gauge: &SourceGauge) -> Result<(), Closed> {
        gauge.count(&record);
        if !self.append(&record) {
            // Fields that unescaping blew up beyond what a bus carries; the raw line still holds them.
            record.structured_data.clear();
            record.attributes.clear();
            record.truncated = true;
            if !self.append(&record) {
                gauge.lose("record_too_large", 1);
            }
        }
        if self.parcel.records.bytes() >= PARCEL_BYTES { self.flush() } else { Ok(()) }
    }

    /// Where the source stands after the lines so far; `None` forgets it.
    pub(crate) fn at(&mut self, source: &str, position: Option<Position>) {
        match self.parcel.positions.get_mut(source) {
            Some(known) => *known = position,
            None => drop(self.parcel.positions.insert(source.to_owned(), position)),
        }
    }

    /// How many records were handed in: those before are all safe once so many are.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Hands over what there is.
    pub(crate) fn flush(&mut self) -> Result<(), Closed> {
        if self.parcel.records.is_empty() && self.parcel.positions.is_empty() {
            return Ok(());
        }
        self.parcel.claim = self.receipt.as_ref().map(|receipt| receipt.claim(self.records));
        self.sender.send(std::mem::take(&mut self.parcel)).map_err(|_| Closed)
    }

    fn append(&mut self, record: &LogRecord) -> bool {
        self.scratch.clear();
        if let Err(error) = record.encode(&mut self.scratch) {
            tracing::warn!(%error, "line cannot be encoded");
            return false;
        }
        let pushed = self.parcel.records.push(&self.topic, Some(record.host.as_bytes()), Some(&self.scratch), Headers::default());
        let is_in = pushed.inspect_err(|error| tracing::warn!(%error, "line is too large")).is_ok();
        self.records += u64::from(is_in);
        is_in
    }
}

impl Blocks {
    /// Publishes until all outlets and the queue are gone, then returns; everything handed over is on the bus by then.
    /// In passing it reports losses.
    pub(crate) fn run(
        self,
        publisher: &mut dyn Publish,
        mut progress: Progress,
        publish_ms: u64,
        watch: &Watch,
        stop: &Stop,
    ) -> Result<(), BlockError> {
        let mut block = PublishBatch::default();
        let mut claims = Vec::new();
        let mut reported_us = clock::monotonic_us();
        loop {
            if clock::monotonic_us() - reported_us >= REPORT_US {
                watch.report();
                reported_us = clock::monotonic_us();
            }
            let first = match self.receiver.recv_timeout(Duration::from_micros(REPORT_US.unsigned_abs())) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let ready_us = clock::monotonic_us().saturating_add_unsigned(publish_ms.saturating_mul(1_000));
            claims.extend(progress.absorb(&mut block, first));
            while block.bytes() < BLOCK_BYTES {
                // Where a sender waits for its answer, the block takes along what is there and goes. What comes while it is
                // written goes with the next one, so that blocks are as large as the bus is slow.
                let left_us = if claims.is_empty() { ready_us - clock::monotonic_us() } else { 0 };
                match self.receiver.recv_timeout(Duration::from_micros(u64::try_from(left_us).unwrap_or(0))) {
                    Ok(parcel) => claims.extend(progress.absorb(&mut block, parcel)),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            publish(publisher, &block, &progress.encode()?, stop)?;
            claims.drain(..).for_each(Claim::honour);
            block.clear();
        }
        watch.report();
        Ok(())
    }
}

#[cfg(test)]
impl Blocks {
    /// All that was handed over; the queue must be closed.
    pub(crate) fn records_for_test(self) -> Vec<LogRecord> {
        let parcels: Vec<Parcel> = self.receiver.iter().collect();
        let values = parcels.iter().flat_map(|parcel| parcel.records.records().filter_map(|record| record.value));
        values.map(|value| LogRecord::from_bytes(value).expect("a log record")).collect()
    }
}

impl Progress {
    /// Adds a parcel to the block; gives who waits for it.
    fn absorb(&mut self, block: &mut PublishBatch, parcel: Parcel) -> Option<Claim> {
        if let Self::Positions(positions) = self {
            for (source, position) in parcel.positions {
                match position {
                    Some(position) => positions.insert(source, position),
                    None => positions.remove(&source),
                };
            }
        }
        for record in parcel.records.records() {
            // It fitted into the parcel, so it fits here.
            if let Err(error) = block.push(record.topic, record.key, record.value, record.headers) {
                tracing::error!(%error, "line is too large for its block");
            }
        }
        parcel.claim
    }

    fn encode(&self) -> Result<Vec<u8>, CursorError> {
        match self {
            Self::Positions(positions) => cursor::encode(positions),
            Self::Unknown => Ok(Vec::new()),
        }
    }
}

/// A full disk passes: the same block again and again, and meanwhile nobody reads. Only a collector that is to stop gives up.
fn publish(publisher: &mut dyn Publish, block: &PublishBatch, cursor: &[u8], stop: &Stop) -> Result<(), PublishError> {
    let mut warned = false;
    let mut last_tries = STOP_TRIES;
    loop {
        match publisher.publish(block, cursor) {
            Err(PublishError::Retry(reason)) if last_tries > 0 => {
                if !warned {
                    tracing::warn!(reason, "the bus takes no lines for now, sources wait");
                }
                warned = true;
                last_tries -= u32::from(stop.is_set());
                std::thread::sleep(RETRY);
            }
            done => return done,
        }
    }
}
