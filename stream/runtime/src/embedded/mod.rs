//! The bus that needs no broker: a durable log of one process, beside an embedded transactional store.
//!
//! ```text
//! <dir>/LOCK                                    one process writes (flock)
//! <dir>/store.redb                              small tables: topics, ends, states, cursors, positions
//! <dir>/log/<topic>/<partition>/<offset>.log    segments: chunks of records, append-only
//!
//! sessions, publishers ──drafts──▶ queue ──▶ committer ──▶ 1 segments, synced  2 one store transaction  3 readers
//! ```
//!
//! The store's transaction is the commit: it names how far each segment file counts, together with states, positions and
//! cursors. Records stay out of the store because a log need not be rewritten, and because retention then is the deletion
//! of a file; `docs/decisions/embedded-store.md` has the measurements.
//!
//! ```
//! use stream_core::TopicName;
//! use stream_runtime::{bus::{Bus, TopicSpec}, embedded::{EmbeddedBus, EmbeddedConfig}, publish::PublishBatch};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! let bus = EmbeddedBus::open(directory.path(), EmbeddedConfig::default())?;
//! let topic = TopicName::new("greetings.v1");
//! let cleanup = schemas::topics::Cleanup::Delete;
//! bus.ensure_topics(&[TopicSpec { name: topic.clone(), partitions: 1, cleanup, retention_ms: 3_600_000, retention_bytes: 1 << 20 }])?;
//! let mut batch = PublishBatch::default();
//! batch.push(&topic, Some(b"key"), Some(b"hello"), Default::default())?;
//! bus.publisher("greeter")?.publish(&batch, b"line 1")?;
//! # Ok(())
//! # }
//! ```

mod append;
mod check;
mod chunk;
mod committer;
mod compaction;
mod config;
mod group;
mod inspect;
mod lock;
mod partition_log;
#[cfg(test)]
mod power_loss;
mod publisher;
mod queue;
mod reader;
mod retention;
mod rows;
mod segment;
mod session;
mod shared;
mod signal;
mod store;
mod time;
mod topics;
mod varint;

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread::JoinHandle,
};

use stream_core::{Partition, TopicName, TopicPartition};

pub use self::{
    check::{CheckReport, Finding, check, repair},
    config::{Durability, EmbeddedConfig},
    publisher::EmbeddedPublisher,
    session::EmbeddedSession,
};
use self::{
    committer::Committer,
    lock::DirectoryLock,
    partition_log::{Access, LogLimits, PartitionLog},
    rows::{EndsRow, FORMAT_VERSION, TopicRow},
    shared::{Shared, closed},
    store::{Store, Table},
    topics::Topic,
};
use crate::{
    bus::{Bus, BusError, Session, TopicSpec, WorkerSpec},
    publish::Publish,
};

/// The embedded bus; a handle that is cheap to clone. When the last one goes, what waits is committed and the bus closes.
#[derive(Clone)]
pub struct EmbeddedBus(Arc<Open>);

struct Open {
    shared: Arc<Shared>,
    threads: Mutex<Threads>,
    _lock: DirectoryLock,
}

/// The bus at work; a bus opened for reading has none.
#[derive(Default)]
struct Threads {
    committer: Option<JoinHandle<()>>,
    compaction: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl EmbeddedBus {
    /// Opens the bus in a directory, which is created if it is missing. What an earlier process had not committed is cut off.
    ///
    /// # Errors
    /// If another process has it open, or something on the disk cannot be read.
    pub fn open(directory: &Path, config: EmbeddedConfig) -> Result<Self, BusError> {
        let context = |source: io::Error| BusError::Io { what: format!("cannot create {}", directory.display()), source };
        std::fs::create_dir_all(directory).map_err(context)?;
        let lock = DirectoryLock::exclusive(directory)?;
        let store = Store::open(&directory.join(STORE_FILE), config.durability)?;
        Self::start(lock, directory, config, store)
    }

    fn start(lock: DirectoryLock, directory: &Path, config: EmbeddedConfig, store: Store) -> Result<Self, BusError> {
        let shared = Arc::new(Shared::new(directory.to_path_buf(), config, store));
        check_format(&shared)?;
        load_topics(&shared, Access::Write)?;
        let committer = Committer::new(Arc::clone(&shared))?;
        let threads = Mutex::new(Threads { committer: Some(spawn("committer", move || committer.run())?), compaction: None });
        let bus = Self(Arc::new(Open { shared: Arc::clone(&shared), threads, _lock: lock }));
        let (stop, stopped) = mpsc::channel();
        let compaction = spawn("compaction", move || compaction::run(&shared, &stopped))?;
        bus.0.lock().compaction = Some((stop, compaction));
        Ok(bus)
    }

    /// Opens the bus for reading, for commands that run while no process has it open. Everything that writes is refused.
    ///
    /// # Errors
    /// As [`EmbeddedBus::open`], and if there is no bus.
    pub fn open_read_only(directory: &Path) -> Result<Self, BusError> {
        let path = directory.join(STORE_FILE);
        if !path.is_file() {
            return Err(BusError::Fatal(format!("{} holds no bus: {STORE_FILE} is missing", directory.display())));
        }
        let lock = DirectoryLock::shared(directory)?;
        let (lock, store) = match Store::open_read_only(&path) {
            Ok(store) => (lock, store),
            Err(_) => {
                // A process died here, and the store wants to be repaired by a writer first. The shared lock must go before:
                // locks of two open files exclude each other even within one process.
                drop(lock);
                let lock = DirectoryLock::exclusive(directory)?;
                drop(Store::open(&path, Durability::Fsync)?);
                (lock, Store::open_read_only(&path)?)
            }
        };
        let shared = Arc::new(Shared::new(directory.to_path_buf(), EmbeddedConfig::default(), store));
        shared.queue.close();
        load_topics(&shared, Access::Read)?;
        Ok(Self(Arc::new(Open { shared, threads: Mutex::default(), _lock: lock })))
    }

    /// Commits what waits and takes nothing more. Sessions and publishers that are still open are lost.
    pub fn close(&self) {
        self.0.close();
    }

    /// Why nothing can be written at present: the disk is full, or refuses.
    pub fn stalled(&self) -> Option<String> {
        self.shared().stalled()
    }

    /// Compacts now the tables that are due, as otherwise happens by itself every few seconds. Returns the number of
    /// partitions.
    pub fn compact(&self) -> usize {
        compaction::compact_due(self.shared())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }
}

const STORE_FILE: &str = "store.redb";

impl Open {
    fn lock(&self) -> MutexGuard<'_, Threads> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let Threads { committer, compaction } = std::mem::take(&mut *self.lock());
        // Compaction first: it may be waiting for the committer.
        if let Some((stop, thread)) = compaction {
            drop(stop);
            join(thread);
        }
        self.shared.queue.close();
        committer.into_iter().for_each(join);
        self.shared.signal.raise();
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, BusError> {
    let thread = std::thread::Builder::new().name(name.into()).spawn(run);
    thread.map_err(|source| BusError::Io { what: format!("cannot start the thread {name}"), source })
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    if thread.join().is_err() {
        tracing::error!(name, "a thread of the bus had panicked");
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.close();
    }
}

impl Bus for EmbeddedBus {
    fn ensure_topics(&self, specs: &[TopicSpec]) -> Result<(), BusError> {
        specs.iter().try_for_each(topics::check)?;
        let specs = specs.to_vec();
        let ensured = self.shared().queue.run(move |committer| {
            let shared = Arc::clone(&committer.shared);
            specs.iter().try_for_each(|spec| ensure_topic(committer, &shared, spec))
        });
        ensured.unwrap_or_else(|| Err(closed()))
    }

    fn partitions(&self, topic: &TopicName) -> Result<u32, BusError> {
        Ok(self.shared().topics.get(topic).map_or(0, |topic| topic.spec.partitions))
    }

    fn open(&self, spec: &WorkerSpec) -> Result<Box<dyn Session>, BusError> {
        if self.shared().queue.is_closed() {
            return Err(closed());
        }
        Ok(Box::new(EmbeddedSession::open(self.shared(), spec)?))
    }

    fn publisher(&self, source: &str) -> Result<Box<dyn Publish>, BusError> {
        Ok(Box::new(EmbeddedPublisher::open(self.shared(), source)?))
    }
}

fn ensure_topic(committer: &mut Committer, shared: &Shared, spec: &TopicSpec) -> Result<(), BusError> {
    let limits = LogLimits::of(spec, shared.config.segment_bytes_max);
    let logs = match shared.topics.get(&spec.name) {
        Some(topic) if topic.spec == *spec => return Ok(()),
        Some(topic) if (topic.spec.partitions, topic.spec.cleanup) != (spec.partitions, spec.cleanup) => {
            return Err(BusError::Fatal(format!(
                "topic {} has {} partitions and cleanup {:?}; configured are {} and {:?}, which would tear keys from their state",
                spec.name, topic.spec.partitions, topic.spec.cleanup, spec.partitions, spec.cleanup
            )));
        }
        Some(topic) => topic.logs.clone(),
        None => {
            let root = shared.log_directory();
            let open = |partition| {
                let at = TopicPartition::new(&spec.name, Partition(partition));
                PartitionLog::open(at, &root, limits, EndsRow::EMPTY, Access::Write).map(Arc::new)
            };
            (0..spec.partitions).map(open).collect::<Result<_, _>>()?
        }
    };
    committer.write(vec![rows::topic_write(spec)])?;
    logs.iter().for_each(|log| log.lock().limits = limits);
    shared.topics.put(Topic { spec: spec.clone(), logs });
    Ok(())
}

fn check_format(shared: &Shared) -> Result<(), BusError> {
    match shared.store.get(Table::Meta, rows::FORMAT_KEY)? {
        Some(value) => match rows::decode::<u32>(Table::Meta, rows::FORMAT_KEY, &value)? {
            FORMAT_VERSION => Ok(()),
            found => {
                Err(BusError::Fatal(format!("{} has format {found}, this program knows {FORMAT_VERSION}", shared.directory.display())))
            }
        },
        None => Ok(shared.store.write(&[rows::put(Table::Meta, rows::FORMAT_KEY.to_vec(), &FORMAT_VERSION)])?),
    }
}

fn load_topics(shared: &Shared, access: Access) -> Result<(), BusError> {
    let mut ends = BTreeMap::new();
    for (key, value) in shared.rows(Table::Ends)? {
        if let Some(at) = rows::split_partition(&key) {
            ends.insert(at, rows::decode::<EndsRow>(Table::Ends, &key, &value)?);
        }
    }
    let root = shared.log_directory();
    for (key, value) in shared.rows(Table::Topics)? {
        let name = TopicName::new(&String::from_utf8_lossy(&key));
        let spec = rows::decode::<TopicRow>(Table::Topics, &key, &value)?.into_spec(name);
        let limits = LogLimits::of(&spec, shared.config.segment_bytes_max);
        let open = |partition| {
            let at = TopicPartition::new(&spec.name, Partition(partition));
            let ends = ends.get(&at).copied().unwrap_or(EndsRow::EMPTY);
            PartitionLog::open(at, &root, limits, ends, access).map(Arc::new)
        };
        let logs = (0..spec.partitions).map(open).collect::<Result<_, _>>()?;
        shared.topics.put(Topic { spec, logs });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::{PublishBatch, PublishError};

    #[test]
    fn nobody_waits_for_a_committer_that_has_panicked() {
        let directory = tempfile::tempdir().unwrap();
        let bus = EmbeddedBus::open(directory.path(), EmbeddedConfig::default()).unwrap();
        let mut publisher = bus.publisher("s").unwrap();
        assert!(bus.shared().queue.run(|_| panic!("as a store may")).is_none());
        assert!(matches!(publisher.publish(&PublishBatch::default(), b""), Err(PublishError::Closed(_) | PublishError::Unknown(_))));
        bus.close();
        drop(bus);
        EmbeddedBus::open(directory.path(), EmbeddedConfig::default()).unwrap();
    }
}
