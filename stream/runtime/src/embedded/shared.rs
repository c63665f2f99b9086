//! What all parts of one open bus share.

use std::{
    collections::BTreeMap,
    ops::ControlFlow,
    path::PathBuf,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
};

use super::{
    config::EmbeddedConfig,
    group::Groups,
    queue::Queue,
    signal::Signal,
    store::{Row, Store, Table},
    topics::Topics,
};
use crate::bus::BusError;

/// The shared part.
pub(super) struct Shared {
    pub(super) directory: PathBuf,
    pub(super) config: EmbeddedConfig,
    pub(super) store: Store,
    pub(super) topics: Topics,
    pub(super) groups: Mutex<Groups>,
    pub(super) queue: Queue,
    /// Raised when records become visible or partitions move.
    pub(super) signal: Signal,
    /// Epoch of the one publisher of each source.
    pub(super) publishers: Mutex<BTreeMap<String, u64>>,
    /// Bytes of all logs when retention last looked.
    pub(super) bytes: AtomicU64,
    /// Held by the one compaction at a time.
    pub(super) compacting: Mutex<()>,
    stalled: Mutex<Option<String>>,
}

impl Shared {
    pub(super) fn new(directory: PathBuf, config: EmbeddedConfig, store: Store) -> Self {
        Self {
            directory,
            config,
            store,
            topics: Topics::default(),
            groups: Mutex::default(),
            queue: Queue::default(),
            signal: Signal::default(),
            publishers: Mutex::default(),
            bytes: AtomicU64::new(0),
            compacting: Mutex::default(),
            stalled: Mutex::default(),
        }
    }

    /// Where the logs are.
    pub(super) fn log_directory(&self) -> PathBuf {
        self.directory.join("log")
    }

    /// All rows of a small table.
    pub(super) fn rows(&self, table: Table) -> Result<Vec<Row>, BusError> {
        let mut rows = Vec::new();
        self.store.scan(table, b"", None, |key, value| {
            rows.push((key.to_vec(), value.to_vec()));
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    pub(super) fn groups(&self) -> std::sync::MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_stalled(&self, why: Option<String>) {
        *self.stalled.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    pub(super) fn stalled(&self) -> Option<String> {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The answer of a bus that is closed or was opened for reading.
pub(super) fn closed() -> BusError {
    BusError::Fatal("the bus is closed, or open for reading only".into())
}
