//! What a stage tells about itself: counters and gauges for `/metrics`, `status` and the page.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use schemas::EventTime;
use stream_core::{Outbox, RejectReason, TopicName, TopicPartition};

use crate::bus::CommitError;

/// Labels of a count per topic.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TopicLabels {
    /// Topic.
    pub topic: String,
}

/// Labels of a value per partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabels {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
}

/// Labels of rejects.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RejectLabels {
    /// Input topic.
    pub topic: String,
    /// Kind of fault.
    pub reason: Reason,
}

/// A reject's reason as a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reason(pub RejectReason);

impl EncodeLabelValue for Reason {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        EncodeLabelValue::encode(&self.0.as_str(), encoder)
    }
}

/// Labels of commits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ResultLabels {
    /// `ok`, `retry`, `aborted`, `fenced`, `unknown`, `fatal`.
    pub result: &'static str,
}

/// Counters and gauges of one stage.
#[derive(Debug)]
pub struct StageMetrics {
    /// Records processed, by input topic.
    pub records: Family<TopicLabels, Counter>,
    /// Outputs committed, by topic.
    pub emitted: Family<TopicLabels, Counter>,
    /// Rejected records.
    pub rejects: Family<RejectLabels, Counter>,
    /// Records that came after their window may have been closed.
    pub late: Counter,
    /// Records whose time was ahead of their append time.
    pub clamped: Counter,
    /// Transactions, by result.
    pub commits: Family<ResultLabels, Counter>,
    /// Time of a commit.
    pub commit_duration: Histogram,
    /// Transactions given up before their commit.
    pub aborts: Counter,
    /// Restores.
    pub restores: Counter,
    /// Records processed again, outputs discarded.
    pub replayed: Counter,
    /// Snapshots committed.
    pub snapshots: Counter,
    /// Records behind the end, by partition.
    pub lag: Family<PartitionLabels, Gauge>,
    /// Watermark in seconds since the epoch, by partition.
    pub watermark: Family<PartitionLabels, Gauge>,
    /// Bytes of the last snapshot, by partition.
    pub state_bytes: Family<PartitionLabels, Gauge>,
    /// 1 if every assigned partition is processing.
    pub ready: Gauge,
    /// Monotonic milliseconds of the last round.
    pub ticked_ms: Gauge<u64, AtomicU64>,
    stalled: Mutex<Option<String>>,
}

impl Default for StageMetrics {
    fn default() -> Self {
        Self {
            records: Family::default(),
            emitted: Family::default(),
            rejects: Family::default(),
            late: Counter::default(),
            clamped: Counter::default(),
            commits: Family::default(),
            commit_duration: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            aborts: Counter::default(),
            restores: Counter::default(),
            replayed: Counter::default(),
            snapshots: Counter::default(),
            lag: Family::default(),
            watermark: Family::default(),
            state_bytes: Family::default(),
            ready: Gauge::default(),
            ticked_ms: Gauge::default(),
            stalled: Mutex::new(None),
        }
    }
}

impl StageMetrics {
    /// Registers everything under the stage's name.
    pub fn register(&self, stage: &'static str, registry: &mut Registry) {
        let r = registry.sub_registry_with_labels([("stage".into(), stage.into())].into_iter());
        r.register("records", "Records processed", self.records.clone());
        r.register("emitted", "Outputs committed", self.emitted.clone());
        r.register("rejects", "Records rejected to the dead-letter topic", self.rejects.clone());
        r.register("late", "Records older than the last watermark", self.late.clone());
        r.register("event_time_clamped", "Records whose time was ahead of their append time", self.clamped.clone());
        r.register("commits", "Transactions by result", self.commits.clone());
        r.register("commit_duration_seconds", "Time of a commit", self.commit_duration.clone());
        r.register("aborts", "Transactions given up", self.aborts.clone());
        r.register("restores", "Restores of an instance", self.restores.clone());
        r.register("replayed_records", "Records processed again after a restore", self.replayed.clone());
        r.register("snapshots", "Snapshots committed", self.snapshots.clone());
        r.register("lag_records", "Records behind the end of the partition", self.lag.clone());
        r.register("watermark_seconds", "Watermark since the epoch", self.watermark.clone());
        r.register("state_bytes", "Bytes of the last snapshot", self.state_bytes.clone());
        r.register("ready", "1 if every assigned partition is processing", self.ready.clone());
    }

    /// Why commits wait, if they do.
    pub fn stalled_because(&self) -> Option<String> {
        self.stalled.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn ticked(&self, now: Duration) {
        self.ticked_ms.set(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    }

    pub(crate) fn stalled(&self, why: &str) {
        self.ready.set(0);
        let mut stalled = self.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        if stalled.is_none() {
            tracing::error!(why, "commits wait; nothing is lost, everything goes on by itself once they succeed");
        }
        *stalled = Some(why.into());
        self.commits.get_or_create(&ResultLabels { result: "retry" }).inc();
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
        self.commits.get_or_create(&ResultLabels { result }).inc();
        if outcome.is_ok() {
            self.commit_duration.observe(time.as_secs_f64());
            *self.stalled.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    pub(crate) fn reject(&self, topic: &TopicName, reason: RejectReason) {
        self.rejects.get_or_create(&RejectLabels { topic: topic.as_str().into(), reason: Reason(reason) }).inc();
    }

    pub(crate) fn processed(&self, records: &BTreeMap<TopicPartition, u32>, (late, clamped): (u64, u64)) {
        for (at, count) in records {
            self.records.get_or_create(&TopicLabels { topic: at.topic.as_str().into() }).inc_by(u64::from(*count));
        }
        self.late.inc_by(late);
        self.clamped.inc_by(clamped);
    }

    pub(crate) fn progress(&self, at: &TopicPartition, lag: u64, watermark: EventTime, state_bytes: u64) {
        let labels = PartitionLabels { topic: at.topic.as_str().into(), partition: at.partition.0 };
        self.lag.get_or_create(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
        if watermark != EventTime::MIN {
            self.watermark.get_or_create(&labels).set(watermark.millis() / 1_000);
        }
        self.state_bytes.get_or_create(&labels).set(i64::try_from(state_bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn outputs(&self, outbox: &Outbox) {
        let mut counts: Vec<(&TopicName, u64)> = Vec::new();
        for output in outbox.outputs() {
            match counts.iter_mut().find(|(topic, _)| *topic == output.topic) {
                Some((_, count)) => *count += 1,
                None => counts.push((output.topic, 1)),
            }
        }
        for (topic, count) in counts {
            self.emitted.get_or_create(&TopicLabels { topic: topic.as_str().into() }).inc_by(count);
        }
    }
}
