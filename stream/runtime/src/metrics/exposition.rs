//! How the numbers of all parts become `/metrics`: family by family, each once, all parts under it.

use std::{collections::BTreeMap, fmt::Error};

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, histogram::Histogram},
};
use schemas::codec;
use stream_core::{RejectReason, TopicPartition};

use super::{
    Entry, Numbers, Parts,
    capped::{LABELS_MAX, OTHER},
    labels::*,
    source::PUBLISH_RESULTS,
    stage::{AbortCause, COMMIT_RESULTS, InstanceTotals, Rebalance, Times, Totals},
    table::{self, Kind, Metric},
};
use crate::worker::VERSION;

/// Writes everything that the parts are to expose.
pub(super) fn encode(parts: &mut Parts, to: DescriptorEncoder<'_>) -> Result<(), Error> {
    let mut readers = Vec::new();
    let mut sources = Vec::new();
    for (stage, entry) in &parts.entries {
        match &entry.numbers {
            Numbers::Stage(metrics) => readers.push(Reader { stage, entry, totals: metrics.totals(), times: metrics.times() }),
            Numbers::Source(metrics) => sources.push((*stage, entry, metrics.totals(), metrics)),
        }
    }
    let mut page = Page { to, kinds: parts.entries.values().map(|entry| entry.part).collect() };
    messages(&mut page, &readers, &sources)?;
    batches(&mut page, &readers, &sources)?;
    partitions(&mut page, &readers)?;
    page.gauges(&table::SPOOL_BYTES, sources.iter().map(|(stage, _, totals, _)| (of_stage(stage), totals.spool_bytes)))?;
    let losses = parts.loss.totals().into_iter();
    page.counters(&table::DROPPED, losses.map(|(component, topic, cause, count)| (Dropped { component, topic, cause }, count)))?;
    let refusals = parts.loss.refusals().into_iter();
    page.counters(&table::REFUSED, refusals.map(|(component, cause, count)| (Refused { component, cause }, count)))?;
    page.plain_counter(&table::SLOW_DECODE, codec::slow_decodes())?;
    let threads = parts.threads.look().iter().map(|(thread, used)| (Thread { thread: thread.clone() }, used.as_secs_f64()));
    page.seconds(&table::CPU_SECONDS, threads)?;
    page.gauges(&table::BUILD_INFO, [(Build { version: VERSION.into() }, 1)])
}

/// A stage that reads, as it is now.
struct Reader<'a> {
    stage: &'static str,
    entry: &'a Entry,
    totals: Totals,
    times: &'a Times,
}

type Source<'a> = (&'static str, &'a Entry, super::SourceTotals, &'a super::SourceMetrics);

fn messages(page: &mut Page<'_>, readers: &[Reader<'_>], sources: &[Source<'_>]) -> Result<(), Error> {
    let consumed = readers.iter().flat_map(|reader| {
        reader.totals.gathered.iter().map(|(topic, count)| {
            let labels = Consumed {
                stage: reader.stage.into(),
                messaging_system: reader.entry.system.into(),
                messaging_destination_name: topic.to_string(),
                messaging_consumer_group_name: reader.entry.group.clone(),
            };
            (labels, *count)
        })
    });
    page.counters(&table::CONSUMED_MESSAGES, consumed)?;
    let mut sent = Vec::new();
    let stages = readers.iter().map(|reader| (reader.stage, reader.entry, &reader.totals.emitted, &reader.totals.unsent));
    for (stage, entry, good, bad) in
        stages.chain(sources.iter().map(|(stage, entry, totals, _)| (*stage, *entry, &totals.sent, &totals.unsent)))
    {
        let labels = |topic: &stream_core::TopicName, error: &str| Sent {
            stage: stage.into(),
            messaging_system: entry.system.into(),
            messaging_destination_name: topic.to_string(),
            error_type: error.into(),
        };
        sent.extend(good.iter().map(|(topic, count)| (labels(topic, ""), *count)));
        sent.extend(bad.iter().map(|((topic, error), count)| (labels(topic, error), *count)));
    }
    page.counters(&table::SENT_MESSAGES, sent)?;
    page.families(&table::PROCESS_DURATION, |metric| {
        for reader in readers {
            let process = super::lock(&reader.times.process);
            for ((topic, error), time) in process.iter() {
                let labels = Processing {
                    stage: reader.stage.into(),
                    messaging_system: reader.entry.system.into(),
                    messaging_destination_name: topic.to_string(),
                    messaging_consumer_group_name: reader.entry.group.clone(),
                    error_type: (*error).into(),
                };
                time.0.encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    })
}

fn batches(page: &mut Page<'_>, readers: &[Reader<'_>], sources: &[Source<'_>]) -> Result<(), Error> {
    let per_topic = |pick: fn(&Totals) -> Vec<(String, u64)>| {
        readers.iter().flat_map(move |reader| {
            pick(&reader.totals).into_iter().map(|(topic, count)| (OfTopic { stage: reader.stage.into(), topic }, count))
        })
    };
    let once = |pick: fn(&Totals) -> u64| readers.iter().map(move |reader| (of_stage(reader.stage), pick(&reader.totals)));
    let times = |pick: fn(&Times) -> &Histogram| readers.iter().map(move |reader| (reader.stage, pick(reader.times)));

    page.counters(&table::RECORDS, per_topic(|totals| totals.records.iter().map(|(topic, count)| (topic.to_string(), *count)).collect()))?;
    page.counters(&table::REJECTS, readers.iter().flat_map(rejects))?;
    page.counters(&table::LATE, once(|totals| totals.late))?;
    page.counters(&table::EVENT_TIME_CLAMPED, once(|totals| totals.clamped))?;
    page.histograms(
        &table::BATCH_RECORDS,
        times(|times| &times.batch_records).chain(sources.iter().map(|(stage, .., metrics)| (*stage, metrics.batch_records()))),
    )?;
    page.histograms(&table::BATCH_DURATION, times(|times| &times.batch))?;
    page.histograms(
        &table::COMMIT_DURATION,
        times(|times| &times.commit).chain(sources.iter().map(|(stage, .., metrics)| (*stage, metrics.commit_duration()))),
    )?;
    let mut commits = Vec::new();
    let mut count = |stage: &str, results: &[&str], counts: &BTreeMap<&'static str, u64>| {
        let labels = |result: &str| WithResult { stage: stage.into(), result: result.into() };
        commits.extend(results.iter().map(|result| (labels(result), counts.get(result).copied().unwrap_or(0))));
    };
    readers.iter().for_each(|reader| count(reader.stage, &COMMIT_RESULTS, &reader.totals.commits));
    sources.iter().for_each(|(stage, _, totals, _)| count(stage, &PUBLISH_RESULTS, &totals.commits));
    page.counters(&table::COMMITS, commits)?;
    let aborts = readers.iter().flat_map(|reader| {
        let labels = |cause: AbortCause| WithCause { stage: reader.stage.into(), cause: cause.as_str().into() };
        AbortCause::ALL.map(|cause| (labels(cause), reader.totals.aborts.get(&cause).copied().unwrap_or(0)))
    });
    page.counters(&table::ABORTS, aborts)?;
    let rebalances = readers.iter().flat_map(|reader| {
        let labels = |kind: Rebalance| WithKind { stage: reader.stage.into(), kind: kind.as_str().into() };
        Rebalance::ALL.map(|kind| (labels(kind), reader.totals.rebalances.get(&kind).copied().unwrap_or(0)))
    });
    page.counters(&table::REBALANCES, rebalances)?;
    page.histograms(&table::RESTORE_DURATION, times(|times| &times.restore))?;
    page.counters(&table::REPLAYED_RECORDS, once(|totals| totals.replayed))?;
    page.histograms(&table::SNAPSHOT_BYTES, times(|times| &times.snapshot_bytes))?;
    page.histograms(&table::SNAPSHOT_DURATION, times(|times| &times.snapshot))?;
    page.gauges(&table::PREFETCH_BYTES, once(|totals| totals.prefetch_bytes))?;
    page.gauges(&table::PAUSED_PARTITIONS, once(|totals| totals.paused_partitions))?;
    page.counters(&table::DLQ, per_topic(|totals| totals.emitted.dead_letters().map(|(topic, count)| (topic.into(), count)).collect()))?;
    page.gauges(&table::READY, once(|totals| u64::from(totals.ready)))
}

/// Every reason of every topic that records came from, so that the first reject is an increase and not a new series.
fn rejects(reader: &Reader<'_>) -> Vec<(Rejected, u64)> {
    let labels = |topic: String, reason: RejectReason| Rejected { stage: reader.stage.into(), topic, reason: reason.as_str().into() };
    let mut counts: BTreeMap<Rejected, u64> = BTreeMap::new();
    for (topic, _) in reader.totals.gathered.iter() {
        counts.extend(RejectReason::ALL.map(|reason| (labels(topic.to_string(), reason), 0)));
    }
    counts.extend(reader.totals.rejects.iter().map(|((topic, reason), count)| (labels(topic.to_string(), *reason), *count)));
    counts.into_iter().collect()
}

fn partitions(page: &mut Page<'_>, readers: &[Reader<'_>]) -> Result<(), Error> {
    let mut all: Vec<(OfPartition, InstanceTotals)> = Vec::new();
    for reader in readers {
        let mut rest: Option<InstanceTotals> = None;
        for (n, (at, instance)) in reader.totals.instances.iter().enumerate() {
            if n < LABELS_MAX {
                all.push((of_partition(reader.stage, at), *instance));
            } else {
                rest = Some(together(rest.unwrap_or_default(), instance));
            }
        }
        let other = || OfPartition { stage: reader.stage.into(), topic: OTHER.into(), partition: OTHER.into() };
        all.extend(rest.map(|rest| (other(), rest)));
    }
    let each = |pick: fn(&InstanceTotals) -> u64| all.iter().map(move |(labels, instance)| (labels.clone(), pick(instance)));
    page.gauges(&table::LAG_RECORDS, each(|instance| instance.lag))?;
    page.gauges(&table::STATE_BYTES, each(|instance| instance.state_bytes))?;
    let watermarks = all.iter().filter_map(|(labels, instance)| Some((labels.clone(), instance.watermark?.millis() as f64 / 1e3)));
    page.seconds(&table::WATERMARK_SECONDS, watermarks)
}

/// What two instances come to: both lags, both states, the watermark of the one that is behind.
fn together(a: InstanceTotals, b: &InstanceTotals) -> InstanceTotals {
    let watermark = a.watermark.into_iter().chain(b.watermark).min();
    InstanceTotals { lag: a.lag + b.lag, watermark, state_bytes: a.state_bytes + b.state_bytes }
}

fn of_stage(stage: &str) -> OfStage {
    OfStage { stage: stage.into() }
}

fn of_partition(stage: &str, at: &TopicPartition) -> OfPartition {
    OfPartition { stage: stage.into(), topic: at.topic.to_string(), partition: at.partition.to_string() }
}

/// Where families are written. Those of parts that this process does not run are left out.
struct Page<'a> {
    to: DescriptorEncoder<'a>,
    kinds: std::collections::BTreeSet<table::Part>,
}

impl Page<'_> {
    fn families(&mut self, metric: &Metric, write: impl FnOnce(&mut MetricEncoder<'_>) -> Result<(), Error>) -> Result<(), Error> {
        if metric.parts != table::EVERY && !metric.parts.iter().any(|part| self.kinds.contains(part)) {
            return Ok(());
        }
        let kind = match metric.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        };
        write(&mut self.to.encode_descriptor(metric.family(), metric.help, None, kind)?)
    }

    fn counters<L: EncodeLabelSet>(&mut self, metric: &Metric, values: impl IntoIterator<Item = (L, u64)>) -> Result<(), Error> {
        self.families(metric, |to| {
            values.into_iter().try_for_each(|(labels, value)| to.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None))
        })
    }

    fn plain_counter(&mut self, metric: &Metric, value: u64) -> Result<(), Error> {
        self.families(metric, |to| to.encode_counter::<NoLabelSet, _, u64>(&value, None))
    }

    fn gauges<L: EncodeLabelSet>(&mut self, metric: &Metric, values: impl IntoIterator<Item = (L, u64)>) -> Result<(), Error> {
        self.families(metric, |to| values.into_iter().try_for_each(|(labels, value)| to.encode_family(&labels)?.encode_gauge(&value)))
    }

    /// Values that are no whole numbers.
    fn seconds<L: EncodeLabelSet>(&mut self, metric: &Metric, values: impl IntoIterator<Item = (L, f64)>) -> Result<(), Error> {
        self.families(metric, |to| {
            values.into_iter().try_for_each(|(labels, value)| {
                let mut to = to.encode_family(&labels)?;
                match metric.kind {
                    Kind::Counter => to.encode_counter::<NoLabelSet, _, u64>(&value, None),
                    Kind::Gauge | Kind::Histogram => to.encode_gauge(&value),
                }
            })
        })
    }

    fn histograms<'a>(&mut self, metric: &Metric, values: impl IntoIterator<Item = (&'a str, &'a Histogram)>) -> Result<(), Error> {
        self.families(metric, |to| {
            values.into_iter().try_for_each(|(stage, histogram)| histogram.encode(to.encode_family(&of_stage(stage))?))
        })
    }
}
