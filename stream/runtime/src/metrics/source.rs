//! The numbers of a collector: what it published, and what waits on disk.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::histogram::Histogram;
use stream_core::TopicName;

use super::{
    capped::Capped,
    stage::{records_histogram, seconds_histogram},
};
use crate::{
    publish::{Cursor, Publish, PublishBatch, PublishError},
    time::{Clock, SystemClock},
};

/// Results of a publication, as they stand in metrics.
pub(super) const PUBLISH_RESULTS: [&str; 4] = ["ok", "retry", "closed", "unknown"];

/// The numbers of one collector since its start.
#[derive(Debug, Clone, Default)]
pub struct SourceTotals {
    /// Records published, by topic.
    pub sent: Capped<TopicName, u64>,
    /// Records of publications that did not succeed, by topic and result.
    pub unsent: Capped<(TopicName, &'static str), u64>,
    /// Publications, by result.
    pub commits: BTreeMap<&'static str, u64>,
    /// Bytes that wait on disk for the bus.
    pub spool_bytes: u64,
}

/// What a collector tells about itself.
#[derive(Debug, Clone)]
pub struct SourceMetrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    totals: Mutex<SourceTotals>,
    batch_records: Histogram,
    commit: Histogram,
}

impl Default for SourceMetrics {
    fn default() -> Self {
        Self(Arc::new(Inner { totals: Mutex::default(), batch_records: records_histogram(), commit: seconds_histogram() }))
    }
}

impl SourceMetrics {
    /// The numbers now.
    pub fn totals(&self) -> SourceTotals {
        self.0.totals.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the numbers.
    pub fn update(&self, change: impl FnOnce(&mut SourceTotals)) {
        change(&mut self.0.totals.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The same publisher, with everything that goes through it counted here.
    pub fn metered(&self, publisher: Box<dyn Publish>) -> Box<dyn Publish> {
        Box::new(Metered { publisher, metrics: self.clone() })
    }

    pub(super) fn batch_records(&self) -> &Histogram {
        &self.0.batch_records
    }

    pub(super) fn commit_duration(&self) -> &Histogram {
        &self.0.commit
    }
}

/// A publisher that counts.
struct Metered {
    publisher: Box<dyn Publish>,
    metrics: SourceMetrics,
}

impl Publish for Metered {
    fn cursor(&self) -> Option<&Cursor> {
        self.publisher.cursor()
    }

    fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
        let begun = SystemClock.monotonic();
        let outcome = self.publisher.publish(records, position);
        let result = match &outcome {
            Ok(()) => "ok",
            Err(PublishError::Retry(_)) => "retry",
            Err(PublishError::Closed(_)) => "closed",
            Err(PublishError::Unknown(_)) => "unknown",
        };
        self.metrics.update(|totals| {
            *totals.commits.entry(result).or_default() += 1;
            let topics = records.records().map(|record| record.topic);
            match outcome {
                Ok(()) => totals.sent.count(topics),
                Err(_) => topics.for_each(|topic| *totals.unsent.at(&(topic.clone(), result)) += 1),
            }
        });
        if outcome.is_ok() {
            self.metrics.0.commit.observe(SystemClock.monotonic().saturating_sub(begun).as_secs_f64());
            self.metrics.0.batch_records.observe(records.len() as f64);
        }
        outcome
    }
}
