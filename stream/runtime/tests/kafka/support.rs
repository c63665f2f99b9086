//! One broker for all tests, an installation on it for each, and short ways to use them.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use rdkafka::config::ClientConfig;
use schemas::topics::Cleanup;
use stream_core::{NextOffset, Partition, TopicPartition};
use stream_runtime::{
    bus::{BatchLimits, Bus, Restoring, Session, StateImage, TopicSpec, WorkerSpec},
    config::{Backend, BusSettings},
    gathered::{Gathered, PartitionEvent},
    inspect::{Inspect, ReadLimits},
    kafka::{KafkaBus, KafkaSettings},
    publish::PublishBatch,
};
use tempfile::TempDir;

use crate::broker::Cluster;
pub use crate::copier::{IN, OUT, commit_copies};

pub const LIMITS: BatchLimits =
    BatchLimits { records_max: 1_000, bytes_max: 1 << 20, batch_time_max: Duration::from_millis(100), quiet: Duration::from_millis(20) };
/// Longer than anything takes on a machine that is busy with something else.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The broker. None, and the reason told, where there cannot be one.
pub fn cluster() -> Option<Arc<Cluster>> {
    // It ends with this process, which owns it.
    static CLUSTER: OnceLock<Option<Arc<Cluster>>> = OnceLock::new();
    CLUSTER.get_or_init(own_cluster).clone()
}

/// A broker for one test alone, which may kill it.
pub fn own_cluster() -> Option<Arc<Cluster>> {
    Cluster::start().map(Arc::new)
}

/// An installation of its own on the broker that all share.
pub struct Installation {
    pub cluster: Arc<Cluster>,
    pub name: String,
    data_dir: TempDir,
}

impl Installation {
    /// With topics [`IN`] of that many partitions and [`OUT`] of one.
    pub fn new(name: &str, partitions: u32) -> Option<Self> {
        let installation = Self::empty(name)?;
        installation.bus("maker").ensure_topics(&[topic(IN, partitions), topic(OUT, 1)]).unwrap();
        Some(installation)
    }

    /// Without any topic.
    pub fn empty(name: &str) -> Option<Self> {
        Some(Self::on(cluster()?, name))
    }

    /// On that broker.
    pub fn on(cluster: Arc<Cluster>, name: &str) -> Self {
        Self { cluster, name: name.into(), data_dir: tempfile::tempdir().unwrap() }
    }

    /// A process of the installation, by the name of its instance; with librdkafka properties of its own.
    pub fn bus_with<const N: usize>(&self, instance: &str, properties: [(&str, &str); N]) -> KafkaBus {
        self.bus_of(BusSettings { instance: instance.into(), ..self.settings() }, properties)
    }

    /// A process with settings of its own.
    pub fn bus_of<const N: usize>(&self, bus: BusSettings, properties: [(&str, &str); N]) -> KafkaBus {
        let mut all = vec![("bootstrap.servers", self.cluster.bootstrap())];
        all.extend(properties);
        KafkaBus::open(bus, KafkaSettings::of(all)).unwrap()
    }

    /// What all its processes have in common.
    pub fn settings(&self) -> BusSettings {
        BusSettings {
            backend: Backend::Kafka,
            data_dir: self.data_dir.path().into(),
            prefix: self.name.clone(),
            topic_prefix: self.topic_prefix(),
            ..BusSettings::default()
        }
    }

    /// A process of the installation.
    pub fn bus(&self, instance: &str) -> KafkaBus {
        self.bus_with(instance, [])
    }

    pub fn topic_prefix(&self) -> String {
        format!("{}.", self.name)
    }

    /// A plain client's configuration.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.cluster.bootstrap());
        config
    }
}

pub fn topic(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec { name: name.into(), partitions, cleanup: Cleanup::Delete, retention_ms: 3_600_000, retention_bytes: 1 << 30 }
}

pub fn at(topic: &str, partition: u32) -> TopicPartition {
    TopicPartition::new(&topic.into(), Partition(partition))
}

pub fn worker(processor: &str) -> WorkerSpec {
    WorkerSpec { processor: processor.into(), inputs: vec![IN.into()], broadcasts: vec![] }
}

/// The key of all records that [`batch`] makes.
const KEY: &[u8] = b"k";

/// Records that all go to the same partition.
pub fn batch(topic: &str, values: impl IntoIterator<Item = impl ToString>) -> PublishBatch {
    let mut batch = PublishBatch::default();
    for value in values {
        batch.push(&topic.into(), Some(KEY), Some(value.to_string().as_bytes()), Default::default()).unwrap();
    }
    batch
}

pub fn publish(bus: &KafkaBus, topic: &str, values: impl IntoIterator<Item = impl ToString>) {
    bus.publisher("s").unwrap().publish(&batch(topic, values), b"").unwrap();
}

/// The partition of all records that [`batch`] makes, among that many.
pub fn home(topic: &str, partitions: u32) -> TopicPartition {
    TopicPartition::new(&topic.into(), stream_core::partition_of_key(Some(KEY), partitions))
}

pub fn values(gathered: &Gathered) -> Vec<String> {
    gathered.records().map(|(_, record)| String::from_utf8_lossy(record.value.unwrap_or(b"-")).into_owned()).collect()
}

/// Every committed value of a partition, once there are that many.
pub fn read_values(bus: &KafkaBus, at: &TopicPartition, count: usize) -> Vec<String> {
    eventually(|| read_now(bus, at).len() >= count);
    read_now(bus, at)
}

/// Every value of a partition that is visible now.
pub fn read_now(bus: &KafkaBus, at: &TopicPartition) -> Vec<String> {
    let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::ZERO };
    let mut gathered = Gathered::default();
    bus.read(at, NextOffset(0), &limits, &mut gathered).unwrap();
    values(&gathered)
}

/// Gathers, all into one, until that suffices.
pub fn gather_until(session: &mut dyn Session, enough: impl Fn(&Gathered) -> bool) -> Gathered {
    let (mut gathered, begun) = (Gathered::default(), Instant::now());
    loop {
        session.gather(&LIMITS, &mut gathered).unwrap();
        if enough(&gathered) {
            return gathered;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain; so far {:?} and {:?}", values(&gathered), gathered.events);
    }
}

/// Waits until that holds: what is committed becomes visible a moment later.
pub fn eventually(holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn gather_records(session: &mut dyn Session, records: usize) -> Gathered {
    gather_until(session, |gathered| gathered.len() >= records)
}

pub fn assigned(gathered: &Gathered) -> Vec<TopicPartition> {
    let assigned = |event: &PartitionEvent| match event {
        PartitionEvent::Assigned(at) => Some(at.clone()),
        _ => None,
    };
    gathered.events.iter().filter_map(assigned).collect()
}

pub fn restore(session: &mut dyn Session, at: &TopicPartition) -> StateImage {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Restoring::Ready(image) = session.restore_step(at).unwrap() {
            return image;
        }
    }
    panic!("state of {at} was not restored within {PATIENCE:?}")
}

/// Restores a partition that was assigned, and reads it from where the group stood.
pub fn take_over(session: &mut dyn Session, at: &TopicPartition) -> StateImage {
    let image = restore(session, at);
    let from = session.committed(at).unwrap().unwrap_or_default();
    session.seek(at, from).unwrap();
    session.resume(at);
    image
}

/// A session that has taken that many partitions over.
pub fn started(bus: &KafkaBus, spec: &WorkerSpec, partitions: usize) -> Box<dyn Session> {
    let mut session = bus.open(spec).unwrap();
    let gathered = gather_until(&mut *session, |gathered| assigned(gathered).len() == partitions);
    for at in assigned(&gathered) {
        take_over(&mut *session, &at);
    }
    session
}
