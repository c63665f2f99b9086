//! What a stage tells about itself. One set of plain numbers, changed once per batch; `/metrics`, `status` and the page all
//! read the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet},
    metrics::{
        MetricType,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use schemas::EventTime;
use stream_core::{Outbox, RejectReason, TopicName, TopicPartition};

use crate::bus::CommitError;

/// The numbers of one stage since its start.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Records processed, by input topic.
    pub records: BTreeMap<TopicName, u64>,
    /// Outputs committed, by topic.
    pub emitted: BTreeMap<TopicName, u64>,
    /// Records rejected, by input topic and reason.
    pub rejects: BTreeMap<(TopicName, RejectReason), u64>,
    /// Records older than the last watermark.
    pub late: u64,
    /// Records whose time was ahead of their append time.
    pub clamped: u64,
    /// Transactions, by result.
    pub commits: BTreeMap<&'static str, u64>,
    /// Transactions given up before their commit.
    pub aborts: u64,
    /// Restores of an instance.
    pub restores: u64,
    /// Records processed again, outputs discarded.
    pub replayed: u64,
    /// Snapshots committed.
    pub snapshots: u64,
    /// Its instances.
    pub instances: BTreeMap<TopicPartition, InstanceTotals>,
    /// Every assigned partition is processing.
    pub ready: bool,
    /// Why commits wait, if they do.
    pub stalled: Option<String>,
}

/// The numbers of one instance.
#[derive(Debug, Clone, Copy, Default)]
pub struct InstanceTotals {
    /// Records behind the end of the partition.
    pub lag: u64,
    /// Its watermark, none before the first record.
    pub watermark: Option<EventTime>,
    /// Bytes of its last snapshot.
    pub state_bytes: u64,
}

/// What a stage tells about itself; shared between its worker and those who ask.
#[derive(Debug, Clone)]
pub struct StageMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    totals: Mutex<Totals>,
    ticked_ms: AtomicU64,
    commit_duration: Histogram,
}

impl Default for StageMetrics {
    fn default() -> Self {
        let commit_duration = Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        Self(Arc::new(Inner { totals: Mutex::default(), ticked_ms: AtomicU64::new(0), commit_duration }))
    }
}

impl StageMetrics {
    /// Registers everything under the stage's name.
    pub fn register(&self, stage: &'static str, registry: &mut Registry) {
        let registry = registry.sub_registry_with_label(("stage".into(), stage.into()));
        registry.register("commit_duration_seconds", "Time of a commit", self.0.commit_duration.clone());
        registry.register_collector(Box::new(self.clone()));
    }

    /// The numbers now.
    pub fn totals(&self) -> Totals {
        self.lock().clone()
    }

    /// Monotonic milliseconds of the worker's last round.
    pub fn ticked_ms(&self) -> u64 {
        self.0.ticked_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.lock());
    }

    pub(crate) fn ticked(&self, now: Duration) {
        self.0.ticked_ms.store(u64::try_from(now.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn stalled(&self, why: &str) {
        let mut totals = self.lock();
        if totals.stalled.replace(why.into()).is_none() {
            tracing::error!(why, "commits wait; nothing is lost, and everything goes on by itself once they succeed");
        }
        *totals.commits.entry("retry").or_default() += 1;
    }

    pub(crate) fn commit(&self, outcome: &Result<(), CommitError>, time: Duration) {
        let result = match outcome {
            Ok(()) => "ok",
            Err(CommitError::Retry(_)) => "retry",
            Err(CommitError::Aborted(_)) => "aborted",
            Err(CommitError::Fenced(_)) => "fenced",
            Err(CommitError::Unknown(_)) => "unknown",
            Err(CommitError::Fatal(_)) => "fatal",
        };
        let mut totals = self.lock();
        *totals.commits.entry(result).or_default() += 1;
        if outcome.is_ok() {
            totals.stalled = None;
            self.0.commit_duration.observe(time.as_secs_f64());
        }
    }

    pub(crate) fn reject(&self, topic: &TopicName, reason: RejectReason) {
        *self.lock().rejects.entry((topic.clone(), reason)).or_default() += 1;
    }

    /// Counts what a successful commit made visible.
    pub(crate) fn committed(&self, outbox: &Outbox) {
        let mut totals = self.lock();
        for output in outbox.outputs() {
            match totals.emitted.get_mut(output.topic) {
                Some(count) => *count += 1,
                None => {
                    totals.emitted.insert(output.topic.clone(), 1);
                }
            }
        }
    }

    pub(crate) fn processed(&self, records: &BTreeMap<TopicPartition, u32>, (late, clamped): (u64, u64)) {
        let mut totals = self.lock();
        for (at, count) in records {
            *totals.records.entry(at.topic.clone()).or_default() += u64::from(*count);
        }
        totals.late += late;
        totals.clamped += clamped;
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        self.0.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for StageMetrics {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let totals = self.totals();
        let mut counters = |name: &str, help: &str, values: Vec<(Vec<(&str, String)>, u64)>| -> Result<(), std::fmt::Error> {
            let mut metric = to.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (labels, value) in values {
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
            }
            Ok(())
        };
        let by_topic = |counts: &BTreeMap<TopicName, u64>| {
            counts.iter().map(|(topic, count)| (vec![("topic", topic.to_string())], *count)).collect::<Vec<_>>()
        };
        counters("records", "Records processed", by_topic(&totals.records))?;
        counters("emitted", "Outputs committed", by_topic(&totals.emitted))?;
        let rejects = totals
            .rejects
            .iter()
            .map(|((topic, reason), count)| (vec![("topic", topic.to_string()), ("reason", reason.as_str().to_string())], *count));
        counters("rejects", "Records rejected to the dead-letter topic", rejects.collect())?;
        let commits = totals.commits.iter().map(|(result, count)| (vec![("result", (*result).to_string())], *count));
        counters("commits", "Transactions by result", commits.collect())?;
        for (name, help, value) in [
            ("late", "Records older than the last watermark", totals.late),
            ("event_time_clamped", "Records whose time was ahead of their append time", totals.clamped),
            ("aborts", "Transactions given up before their commit", totals.aborts),
            ("restores", "Restores of an instance", totals.restores),
            ("replayed_records", "Records processed again after a restore", totals.replayed),
            ("snapshots", "Snapshots committed", totals.snapshots),
        ] {
            counters(name, help, vec![(vec![], value)])?;
        }
        let mut gauges = |name: &str, help: &str, value: &dyn Fn(&InstanceTotals) -> Option<i64>| -> Result<(), std::fmt::Error> {
            let mut metric = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (at, instance) in &totals.instances {
                let labels = [("topic", at.topic.to_string()), ("partition", at.partition.to_string())];
                if let Some(value) = value(instance) {
                    metric.encode_family(&labels)?.encode_gauge(&value)?;
                }
            }
            Ok(())
        };
        let number = |value: u64| Some(i64::try_from(value).unwrap_or(i64::MAX));
        gauges("lag_records", "Records behind the end of the partition", &|instance| number(instance.lag))?;
        gauges("state_bytes", "Bytes of the last snapshot", &|instance| number(instance.state_bytes))?;
        gauges("watermark_seconds", "Watermark, seconds since the epoch", &|instance| Some(instance.watermark?.millis() / 1_000))?;
        let ready = to.encode_descriptor("ready", "1 if every assigned partition is processing", None, MetricType::Gauge)?;
        prometheus_client::metrics::gauge::ConstGauge::new(i64::from(totals.ready)).encode(ready)
    }
}
