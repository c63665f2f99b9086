//! A bus in memory: records and cursor change together, a new publisher fences the older ones.

use std::sync::{Arc, Condvar, Mutex};

use schemas::{LogRecord, Subject, topics};
use stream_runtime::publish::{Cursor, Open, Publish, PublishBatch, PublishError};

use super::PATIENCE;

#[derive(Clone, Default)]
pub(crate) struct MemoryBus(Arc<(Mutex<Shared>, Condvar)>);

#[derive(Default)]
struct Shared {
    records: Vec<LogRecord>,
    cursor: Option<Cursor>,
    epoch: u64,
    is_full: bool,
    blocks: usize,
}

struct MemoryPublisher {
    bus: MemoryBus,
    epoch: u64,
    cursor: Option<Cursor>,
}

impl MemoryBus {
    pub(crate) fn publisher(&self) -> Box<dyn Publish> {
        let mut shared = self.0.0.lock().expect("not poisoned");
        shared.epoch += 1;
        Box::new(MemoryPublisher { bus: self.clone(), epoch: shared.epoch, cursor: shared.cursor.clone() })
    }

    pub(crate) fn opening(&self) -> Open {
        let bus = self.clone();
        Box::new(move || Ok(bus.publisher()))
    }

    /// From now on nothing more of the present publisher arrives, as if its process had died.
    pub(crate) fn crash(&self) {
        self.0.0.lock().expect("not poisoned").epoch += 1;
    }

    /// A full bus refuses every block, to be tried again.
    pub(crate) fn set_full(&self, is_full: bool) {
        self.0.0.lock().expect("not poisoned").is_full = is_full;
    }

    pub(crate) fn records(&self) -> Vec<LogRecord> {
        self.0.0.lock().expect("not poisoned").records.clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.0.lock().expect("not poisoned").records.len()
    }

    /// The position beside the last block.
    pub(crate) fn position(&self) -> Option<Vec<u8>> {
        self.0.0.lock().expect("not poisoned").cursor.as_ref().map(|cursor| cursor.position.clone())
    }

    pub(crate) fn blocks(&self) -> usize {
        self.0.0.lock().expect("not poisoned").blocks
    }

    /// Waits until there are `count` records or more.
    pub(crate) fn wait_for(&self, count: usize) -> Vec<LogRecord> {
        let shared = self.0.0.lock().expect("not poisoned");
        let (shared, timeout) = self.0.1.wait_timeout_while(shared, PATIENCE, |s| s.records.len() < count).expect("not poisoned");
        assert!(!timeout.timed_out(), "{} records of {count}; the last: {:?}", shared.records.len(), shared.records.last());
        shared.records.clone()
    }
}

impl Publish for MemoryPublisher {
    fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
        let mut shared = self.bus.0.0.lock().expect("not poisoned");
        if shared.epoch != self.epoch {
            return Err(PublishError::Closed("fenced".into()));
        }
        if shared.is_full {
            return Err(PublishError::Retry("full".into()));
        }
        for record in records.records() {
            assert_eq!(record.topic.as_str(), topics::LOGS_RAW);
            let line = LogRecord::from_bytes(record.value.expect("a value")).expect("a log record");
            assert_eq!(record.key, Some(line.host.as_bytes()));
            shared.records.push(line);
        }
        let sequence = shared.cursor.as_ref().map_or(0, |cursor| cursor.sequence) + 1;
        shared.cursor = Some(Cursor { sequence, position: position.to_vec() });
        shared.blocks += 1;
        self.cursor = shared.cursor.clone();
        self.bus.0.1.notify_all();
        Ok(())
    }
}
