//! The numbers of a stage that reads topics, changed once per batch by its worker.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use schemas::EventTime;
use stream_core::{Outbox, RejectReason, TopicName, TopicPartition};

use super::capped::Capped;
use crate::bus::CommitError;

/// Why a transaction left no trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AbortCause {
    /// A record panicked.
    Panic,
    /// The worker stops with an error.
    Stopped,
    /// The bus did not take the commit.
    Commit,
}

impl AbortCause {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Panic, Self::Stopped, Self::Commit];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Stopped => "stopped",
            Self::Commit => "commit",
        }
    }
}

/// What happened to the ownership of input partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rebalance {
    /// A partition was given.
    Assigned,
    /// A partition was taken.
    Revoked,
    /// The session ended, and with it the ownership of all.
    Lost,
}

impl Rebalance {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Assigned, Self::Revoked, Self::Lost];

    /// The word for metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Revoked => "revoked",
            Self::Lost => "lost",
        }
    }
}

/// Results of a transaction, as they stand in metrics.
pub(super) const COMMIT_RESULTS: [&str; 6] = ["ok", "retry", "aborted", "fenced", "unknown", "fatal"];

/// The word for the outcome of a commit.
pub(crate) fn commit_result(outcome: &Result<(), CommitError>) -> &'static str {
    match outcome {
        Ok(()) => "ok",
        Err(CommitError::Retry(_)) => "retry",
        Err(CommitError::Aborted(_)) => "aborted",
        Err(CommitError::Fenced(_)) => "fenced",
        Err(CommitError::Unknown(_)) => "unknown",
        Err(CommitError::Fatal(_)) => "fatal",
    }
}

/// The numbers of one stage since its start.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Records gathered, by input topic.
    pub gathered: Capped<TopicName, u64>,
    /// Records processed, by input topic.
    pub records: Capped<TopicName, u64>,
    /// Outputs committed, by topic.
    pub emitted: Capped<TopicName, u64>,
    /// Outputs of transactions that did not succeed, by topic and result.
    pub unsent: Capped<(TopicName, &'static str), u64>,
    /// Records rejected, by input topic and reason.
    pub rejects: Capped<(TopicName, RejectReason), u64>,
    /// Records older than the last watermark.
    pub late: u64,
    /// Records whose time was ahead of their append time.
    pub clamped: u64,
    /// Transactions, by result.
    pub commits: BTreeMap<&'static str, u64>,
    /// Transactions that left no trace, by cause.
    pub aborts: BTreeMap<AbortCause, u64>,
    /// Changes of ownership.
    pub rebalances: BTreeMap<Rebalance, u64>,
    /// Restores of an instance.
    pub restores: u64,
    /// Records processed again, outputs discarded.
    pub replayed: u64,
    /// Snapshots committed.
    pub snapshots: u64,
    /// Its instances.
    pub instances: BTreeMap<TopicPartition, InstanceTotals>,
    /// Bytes that the bus's client has read ahead.
    pub prefetch_bytes: u64,
    /// Assigned partitions that are paused.
    pub paused_partitions: u64,
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
    /// Bytes of its state, as of the last snapshot.
    pub state_bytes: u64,
}

/// How long a batch took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct BatchTime {
    /// Until its last record was processed.
    pub(crate) processing: Duration,
    /// Until the end of its commit.
    pub(crate) whole: Duration,
}

/// What a stage tells about itself; shared between its worker and those who ask.
#[derive(Debug, Clone, Default)]
pub struct StageMetrics(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    totals: Mutex<Totals>,
    ticked_ms: AtomicU64,
    /// Partitions that do not process yet, and since when.
    restoring: Mutex<BTreeMap<TopicPartition, Duration>>,
    times: Times,
}

/// The distributions of a stage.
#[derive(Debug)]
pub(super) struct Times {
    pub(super) batch_records: Histogram,
    pub(super) batch: Histogram,
    pub(super) commit: Histogram,
    pub(super) restore: Histogram,
    pub(super) snapshot_bytes: Histogram,
    pub(super) snapshot: Histogram,
    /// Processing, by input topic and error.
    pub(super) process: Mutex<Capped<(TopicName, &'static str), ProcessTime>>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            batch_records: records_histogram(),
            batch: seconds_histogram(),
            commit: seconds_histogram(),
            restore: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            snapshot_bytes: Histogram::new(exponential_buckets(1_024.0, 4.0, 9)),
            snapshot: seconds_histogram(),
            process: Mutex::default(),
        }
    }
}

/// Time of processing.
#[derive(Debug, Clone)]
pub(super) struct ProcessTime(pub(super) Histogram);

impl Default for ProcessTime {
    fn default() -> Self {
        Self(seconds_histogram())
    }
}

/// A quarter of a millisecond to eight seconds.
pub(super) fn seconds_histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 16))
}

/// One record to the most that a batch may have.
pub(super) fn records_histogram() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 4.0, 9))
}

impl StageMetrics {
    /// The numbers now.
    pub fn totals(&self) -> Totals {
        self.lock().clone()
    }

    /// Monotonic milliseconds of the worker's last round.
    pub fn ticked_ms(&self) -> u64 {
        self.0.ticked_ms.load(Ordering::Relaxed)
    }

    pub(super) fn times(&self) -> &Times {
        &self.0.times
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
        let mut totals = self.lock();
        *totals.commits.entry(commit_result(outcome)).or_default() += 1;
        if outcome.is_ok() {
            totals.stalled = None;
            self.0.times.commit.observe(time.as_secs_f64());
        } else {
            *totals.aborts.entry(AbortCause::Commit).or_default() += 1;
        }
    }

    pub(crate) fn aborted(&self, cause: AbortCause) {
        *self.lock().aborts.entry(cause).or_default() += 1;
    }

    pub(crate) fn rebalanced(&self, kind: Rebalance) {
        *self.lock().rebalances.entry(kind).or_default() += 1;
    }

    pub(crate) fn reject(&self, topic: &TopicName, reason: RejectReason) {
        *self.lock().rejects.at(&(topic.clone(), reason)) += 1;
    }

    /// Counts what one gather brought.
    pub(crate) fn gathered<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>) {
        self.lock().gathered.count(partitions.map(|at| &at.topic));
    }

    /// Counts what a commit made visible, or, with its result, what it did not.
    pub(crate) fn sent(&self, outbox: &Outbox, outcome: &Result<(), CommitError>) {
        let mut totals = self.lock();
        let topics = outbox.outputs().map(|output| output.topic);
        match outcome {
            Ok(()) => totals.emitted.count(topics),
            Err(_) => topics.for_each(|topic| *totals.unsent.at(&(topic.clone(), commit_result(outcome))) += 1),
        }
    }

    pub(crate) fn processed(&self, records: &BTreeMap<TopicPartition, u32>, (late, clamped): (u64, u64), time: BatchTime) {
        let mut totals = self.lock();
        for (at, count) in records {
            *totals.records.at(&at.topic) += u64::from(*count);
        }
        totals.late += late;
        totals.clamped += clamped;
        drop(totals);
        self.0.times.batch_records.observe(records.values().copied().map(f64::from).sum());
        self.0.times.batch.observe(time.whole.as_secs_f64());
        self.process_time(records, "", time.processing);
    }

    /// How long the processing of a batch took, and how it failed, if it did.
    pub(crate) fn process_time(&self, records: &BTreeMap<TopicPartition, u32>, error: &'static str, time: Duration) {
        let mut process = self.0.times.process.lock().unwrap_or_else(PoisonError::into_inner);
        let mut last = None;
        for topic in records.keys().map(|at| &at.topic) {
            if last.replace(topic) != Some(topic) {
                process.at(&(topic.clone(), error)).0.observe(time.as_secs_f64());
            }
        }
    }

    /// What snapshots wrote, and the CPU time that it took.
    pub(crate) fn snapshot(&self, bytes: u64, cost: Duration) {
        self.lock().snapshots += 1;
        self.0.times.snapshot_bytes.observe(bytes as f64);
        self.0.times.snapshot.observe(cost.as_secs_f64());
    }

    /// Which partitions do not process at the end of a round; those that do no more stand there have been restored.
    pub(crate) fn restoring<'a>(&self, partitions: impl Iterator<Item = &'a TopicPartition>, now: Duration) {
        let mut since = self.0.restoring.lock().unwrap_or_else(PoisonError::into_inner);
        let still: BTreeMap<_, _> = partitions.map(|at| (at.clone(), since.get(at).copied().unwrap_or(now))).collect();
        for (at, begun) in &*since {
            if !still.contains_key(at) {
                self.0.times.restore.observe(now.saturating_sub(*begun).as_secs_f64());
            }
        }
        *since = still;
    }

    /// A partition is ours no more.
    pub(crate) fn revoked(&self, at: &TopicPartition) {
        self.0.restoring.lock().unwrap_or_else(PoisonError::into_inner).remove(at);
        let mut totals = self.lock();
        totals.instances.remove(at);
        *totals.rebalances.entry(Rebalance::Revoked).or_default() += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        self.0.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
