//! What this process tells about itself: plain numbers, changed once per batch, of which `/metrics`, `status` and the page
//! all read the same. [`METRICS`] is the list of what Prometheus sees.

mod audit;
mod capped;
mod exposition;
mod labels;
mod source;
mod stage;
mod table;
mod threads;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, registry::Registry};

pub(crate) use self::stage::{BatchTime, commit_result};
pub use self::{
    audit::audit,
    capped::{Capped, LABELS_MAX, Label, OTHER},
    source::{SourceMetrics, SourceTotals},
    stage::{AbortCause, InstanceTotals, Rebalance, StageMetrics, Totals},
    table::*,
};
use crate::loss::Loss;

/// All parts of a process, as one page of metrics. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    parts: Arc<Mutex<Parts>>,
}

/// What is exposed.
#[derive(Debug)]
struct Parts {
    entries: BTreeMap<&'static str, Entry>,
    loss: Loss,
    threads: threads::Threads,
}

/// A part and where it stands on its bus.
#[derive(Debug)]
struct Entry {
    part: Part,
    numbers: Numbers,
    system: &'static str,
    group: String,
}

#[derive(Debug)]
enum Numbers {
    Stage(StageMetrics),
    Source(SourceMetrics),
}

impl Metrics {
    /// A page without parts, on which losses are told.
    pub fn new(loss: Loss) -> Self {
        let parts = Arc::new(Mutex::new(Parts { entries: BTreeMap::new(), loss, threads: Default::default() }));
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Page(Arc::clone(&parts))));
        Self { registry: Arc::new(registry), parts }
    }

    /// Adds a processor or a sink: its name, the system of its bus (`messaging.system`), its consumer group.
    pub fn add_stage(&self, stage: &'static str, part: Part, metrics: StageMetrics, system: &'static str, group: String) {
        lock(&self.parts).entries.insert(stage, Entry { part, numbers: Numbers::Stage(metrics), system, group });
    }

    /// Adds a collector.
    pub fn add_source(&self, source: &'static str, metrics: SourceMetrics, system: &'static str) {
        let entry = Entry { part: Part::Source, numbers: Numbers::Source(metrics), system, group: String::new() };
        lock(&self.parts).entries.insert(source, entry);
    }

    /// The page in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }
}

/// What the registry asks.
#[derive(Debug)]
struct Page(Arc<Mutex<Parts>>);

impl Collector for Page {
    fn encode(&self, to: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        exposition::encode(&mut lock(&self.0), to)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use stream_core::{Partition, RejectReason, TopicName, TopicPartition};

    use super::*;
    use crate::publish::{Cursor, Publish, PublishBatch, PublishError};

    struct Full;

    impl Publish for Full {
        fn cursor(&self) -> Option<&Cursor> {
            None
        }

        fn publish(&mut self, records: &PublishBatch, _: &[u8]) -> Result<(), PublishError> {
            if records.len() == 1 { Ok(()) } else { Err(PublishError::Retry("the disk is full".into())) }
        }
    }

    fn page_of(metrics: &Metrics, expected: &[&str]) {
        let page = metrics.text();
        for line in expected {
            assert!(page.lines().any(|found| found == *line), "{line}\n{page}");
        }
    }

    #[test]
    fn two_stages_and_a_source_stand_under_each_family_once() {
        let metrics = Metrics::new(Loss::default());
        let at = |n| TopicPartition::new(&TopicName::new("in.v1"), Partition(n));
        for stage in ["one", "two"] {
            let numbers = StageMetrics::default();
            numbers.gathered([at(0), at(0), at(1)].iter());
            numbers.processed(&[(at(0), 2), (at(1), 1)].into(), (0, 4), BatchTime::default());
            numbers.reject(&TopicName::new("in.v1"), RejectReason::TooOld);
            numbers.snapshot(5_000, Default::default());
            numbers.update(|totals| _ = totals.instances.insert(at(1), InstanceTotals { lag: 7, ..Default::default() }));
            metrics.add_stage(stage, Part::Processor, numbers, "kafka", format!("n.{stage}"));
        }
        let source = SourceMetrics::default();
        let mut publisher = source.metered(Box::new(Full));
        let mut batch = PublishBatch::default();
        batch.push(&TopicName::new("in.v1"), None, None, Default::default()).expect("fits");
        publisher.publish(&batch, &[]).expect("is taken");
        batch.push(&TopicName::new("in.v1"), None, None, Default::default()).expect("fits");
        publisher.publish(&batch, &[]).expect_err("is not taken");
        source.update(|totals| totals.spool_bytes = 11);
        metrics.add_source("src", source, "kafka");

        assert_eq!(audit(&metrics.text(), &[Part::Processor, Part::Source]), Vec::<String>::new());
        page_of(
            &metrics,
            &[
                "messaging_client_consumed_messages_total{stage=\"one\",messaging_system=\"kafka\",messaging_destination_name=\"in.v1\",messaging_consumer_group_name=\"n.one\"} 3",
                "messaging_client_sent_messages_total{stage=\"src\",messaging_system=\"kafka\",messaging_destination_name=\"in.v1\",error_type=\"\"} 1",
                "messaging_client_sent_messages_total{stage=\"src\",messaging_system=\"kafka\",messaging_destination_name=\"in.v1\",error_type=\"retry\"} 2",
                "nephoscope_records_total{stage=\"two\",topic=\"in.v1\"} 3",
                "nephoscope_rejects_total{stage=\"two\",topic=\"in.v1\",reason=\"too_old\"} 1",
                "nephoscope_rejects_total{stage=\"two\",topic=\"in.v1\",reason=\"panic\"} 0",
                "nephoscope_event_time_clamped_total{stage=\"one\"} 4",
                "nephoscope_lag_records{stage=\"one\",topic=\"in.v1\",partition=\"1\"} 7",
                "nephoscope_commits_total{stage=\"one\",result=\"fenced\"} 0",
                "nephoscope_commits_total{stage=\"src\",result=\"retry\"} 1",
                "nephoscope_aborts_total{stage=\"one\",cause=\"panic\"} 0",
                "nephoscope_rebalances_total{stage=\"one\",kind=\"lost\"} 0",
                "nephoscope_snapshot_bytes_sum{stage=\"two\"} 5000.0",
                "nephoscope_prefetch_bytes{stage=\"two\"} 0",
                "nephoscope_spool_bytes{stage=\"src\"} 11",
            ],
        );
    }

    #[test]
    fn partitions_beyond_the_limit_are_one() {
        let metrics = Metrics::new(Loss::default());
        let numbers = StageMetrics::default();
        numbers.update(|totals| {
            for n in 0..LABELS_MAX as u32 + 2 {
                let at = TopicPartition::new(&TopicName::new("in.v1"), Partition(n));
                let watermark = Some(schemas::EventTime::from_millis(1_000 * i64::from(n)));
                totals.instances.insert(at, InstanceTotals { lag: 2, watermark, state_bytes: 3 });
            }
        });
        metrics.add_stage("one", Part::Sink, numbers, "kafka", String::new());
        page_of(
            &metrics,
            &[
                "nephoscope_lag_records{stage=\"one\",topic=\"_other\",partition=\"_other\"} 4",
                "nephoscope_state_bytes{stage=\"one\",topic=\"_other\",partition=\"_other\"} 6",
                "nephoscope_watermark_seconds{stage=\"one\",topic=\"_other\",partition=\"_other\"} 1000.0",
            ],
        );
        assert_eq!(audit(&metrics.text(), &[Part::Sink]), Vec::<String>::new());
    }

    #[test]
    fn a_restore_is_timed_from_round_to_round() {
        let metrics = Metrics::new(Loss::default());
        let numbers = StageMetrics::default();
        let at = |n| TopicPartition::new(&TopicName::new("in.v1"), Partition(n));
        let seconds = std::time::Duration::from_secs;
        numbers.restoring([at(0), at(1), at(2)].iter(), seconds(10));
        numbers.revoked(&at(2));
        numbers.restoring([at(1)].iter(), seconds(11));
        numbers.restoring([].iter(), seconds(13));
        metrics.add_stage("one", Part::Processor, numbers, "kafka", String::new());
        page_of(
            &metrics,
            &[
                "nephoscope_restore_duration_seconds_count{stage=\"one\"} 2",
                "nephoscope_restore_duration_seconds_sum{stage=\"one\"} 4.0",
                "nephoscope_rebalances_total{stage=\"one\",kind=\"revoked\"} 1",
            ],
        );
    }
}
