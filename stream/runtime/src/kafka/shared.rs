//! What all sessions, publishers and readers of one Kafka bus have in common.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
};
use stream_core::{NextOffset, TopicName, TopicPartition};

use super::{
    client::{ASK, Asking, complaint, failed, now},
    instance::{Instance, Instances},
    names::{Names, Place},
    publisher::KafkaPublisher,
    reader::Reader,
    settings::KafkaSettings,
    topics,
};
use crate::{
    bus::{BusError, TopicSpec},
    config::BusSettings,
};

/// How long somebody else's open transaction is waited for.
const SETTLE: Duration = Duration::from_secs(10);
/// How long the list of topics is believed.
const TOPICS_AGE: Duration = Duration::from_secs(60);

pub(super) struct Shared {
    pub(super) bus: BusSettings,
    pub(super) settings: KafkaSettings,
    pub(super) names: Names,
    /// Asks for ends as readers of committed records see them: the last stable offset.
    stable: BaseConsumer<Asking>,
    /// Asks for ends as they are, open transactions included.
    high: BaseConsumer<Asking>,
    pub(super) instances: Instances,
    /// Readers that somebody may go on with, where they stand.
    pub(super) idle_readers: Mutex<Vec<(TopicPartition, NextOffset, Reader)>>,
    /// Publishers for sources in other processes.
    pub(super) remote: Mutex<BTreeMap<String, KafkaPublisher>>,
    /// Retention of the topics that this process ensured, for snapshots in time.
    retention_ms: Mutex<BTreeMap<TopicName, i64>>,
    topics: Mutex<Option<(Instant, BTreeMap<String, u32>)>>,
}

impl Shared {
    pub(super) fn open(bus: BusSettings, settings: KafkaSettings) -> Result<Self, BusError> {
        let names = Names::new(&bus);
        let client = names.client("admin");
        let stable = settings.reader(&client);
        let mut high = stable.clone();
        high.set("isolation.level", "read_uncommitted");
        let context = |what: &str, error: &rdkafka::error::KafkaError| failed(what, error);
        Ok(Self {
            stable: stable.create_with_context(Asking::default()).map_err(|error| context("client", &error))?,
            high: high.create_with_context(Asking::default()).map_err(|error| context("client", &error))?,
            names,
            bus,
            settings,
            instances: Instances::default(),
            idle_readers: Mutex::default(),
            remote: Mutex::default(),
            retention_ms: Mutex::default(),
            topics: Mutex::default(),
        })
    }

    fn admin_config(&self) -> ClientConfig {
        self.settings.reader(&self.names.client("admin"))
    }

    /// A name for one more client of a part.
    pub(super) fn claim(&self, part: &str) -> Result<Arc<Instance>, BusError> {
        self.instances.claim(&self.bus.data_dir, part, &self.bus.instance)
    }

    pub(super) fn ensure(&self, specs: &[TopicSpec]) -> Result<(), BusError> {
        let wanted: Vec<_> = specs.iter().map(|spec| topics::Wanted::of(self.names.topic(&spec.name), spec)).collect();
        topics::ensure(&self.stable, &self.admin_config(), &wanted, &self.bus)?;
        lock(&self.retention_ms).extend(specs.iter().map(|spec| (spec.name.clone(), spec.retention_ms)));
        self.forget_topics();
        Ok(())
    }

    /// Makes a compacted topic of our own.
    pub(super) fn ensure_internal(&self, name: &TopicName, partitions: u32) -> Result<(), BusError> {
        let wanted = topics::Wanted::internal(self.names.topic(name), partitions);
        topics::ensure(&self.stable, &self.admin_config(), &[wanted], &self.bus)?;
        self.forget_topics();
        Ok(())
    }

    /// Retention of a topic, where it is known.
    pub(super) fn retention_ms(&self, topic: &TopicName) -> Option<i64> {
        lock(&self.retention_ms).get(topic).copied()
    }

    /// Partitions of every topic, by its name on the brokers.
    pub(super) fn topics(&self) -> Result<BTreeMap<String, u32>, BusError> {
        topics::partitions(&self.stable)
    }

    /// Number of partitions of a topic, 0 if there is none. Asked once a minute at most, since every commit wants to know.
    pub(super) fn partitions(&self, topic: &TopicName) -> Result<u32, BusError> {
        let name = self.names.topic(topic);
        let mut known = lock(&self.topics);
        if let Some((since, topics)) = known.as_ref()
            && since.elapsed() < TOPICS_AGE
            && let Some(partitions) = topics.get(&name)
        {
            return Ok(*partitions);
        }
        let (_, topics) = known.insert((now(), topics::partitions(&self.stable)?));
        Ok(topics.get(&name).copied().unwrap_or(0))
    }

    fn forget_topics(&self) {
        *lock(&self.topics) = None;
    }

    /// First and next position of a partition, for readers of committed records.
    pub(super) fn ends(&self, place: &Place, wait: Duration) -> Result<(NextOffset, NextOffset), BusError> {
        watermarks(&self.stable, place, wait)
    }

    /// First and next position of a partition, open transactions included.
    pub(super) fn high_ends(&self, place: &Place, wait: Duration) -> Result<(NextOffset, NextOffset), BusError> {
        watermarks(&self.high, place, wait)
    }

    /// The end of a partition as it is now, once nothing before it is undecided any more.
    pub(super) fn settled_end(&self, place: &Place) -> Result<NextOffset, BusError> {
        let (_, end) = self.high_ends(place, ASK)?;
        let until = now() + SETTLE;
        while self.ends(place, ASK)?.1 < end {
            if now() > until {
                return Err(BusError::Lost(format!("{}: a transaction has been open for {} s", place.at, SETTLE.as_secs())));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(end)
    }

    pub(super) fn stable_client(&self) -> &BaseConsumer<Asking> {
        &self.stable
    }
}

fn watermarks(client: &BaseConsumer<Asking>, place: &Place, wait: Duration) -> Result<(NextOffset, NextOffset), BusError> {
    let answer = client.fetch_watermarks(&place.topic, place.partition, wait);
    let (low, high) = answer.map_err(|error| {
        let _ = complaint(client);
        failed(&format!("ends of {}", place.at), &error)
    })?;
    let next = |offset: i64| NextOffset(u64::try_from(offset).unwrap_or(0));
    Ok((next(low), next(high)))
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
