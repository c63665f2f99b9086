//! From a worker's transactions to spans.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use opentelemetry::{
    Context,
    trace::{Link, Span, SpanContext, SpanKind, Status, TraceContextExt, Tracer},
};
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use schemas::{cloudevents::TRACEPARENT, topics};
use stream_core::{Outbox, Record, TopicName, TopicPartition};

use super::{attributes, context};
use crate::{
    telemetry::{BatchTracer, Stage},
    time::wall_clock,
};

/// Sampled inputs that a batch is linked to at most: enough to come from an alert to some of its lines.
const LINKS_MAX: usize = 8;

/// The spans of one worker's transaction in hand.
pub(super) struct WorkerTracer {
    tracer: SdkTracer,
    stage: Stage,
    begun: SystemTime,
    process: BTreeMap<TopicName, SdkSpan>,
    sends: Vec<SdkSpan>,
}

impl WorkerTracer {
    pub(super) fn new(tracer: SdkTracer, stage: Stage) -> Self {
        Self { tracer, stage, begun: UNIX_EPOCH, process: BTreeMap::new(), sends: Vec::new() }
    }

    /// The context of a batch, for what follows from it; an empty one if it is not traced.
    fn parent(&self, input: &TopicName) -> Context {
        match self.process.get(input) {
            Some(span) => Context::new().with_remote_span_context(span.span_context().clone()),
            None => Context::new(),
        }
    }
}

impl BatchTracer for WorkerTracer {
    fn begin(&mut self) {
        self.begun = now();
        self.process.clear();
        self.sends.clear();
    }

    fn processed(&mut self, counts: &BTreeMap<TopicPartition, u32>, records: &mut dyn Iterator<Item = Record<'_>>) {
        let mut batches: BTreeMap<&TopicName, Batch> = BTreeMap::new();
        for (at, count) in counts {
            let batch = batches.entry(&at.topic).or_default();
            batch.partition = batch.count.eq(&0).then(|| at.partition.to_string());
            batch.count += count;
        }
        for record in records {
            let Some(batch) = batches.get_mut(record.topic).filter(|batch| batch.links.len() < LINKS_MAX) else { continue };
            batch.links.extend(context::sampled(record.headers).filter(|span| !batch.links.contains(span)));
        }
        for (topic, batch) in batches {
            let name = attributes::name("process", topic.as_str());
            let span = self.tracer.span_builder(name).with_kind(SpanKind::Consumer).with_start_time(self.begun);
            let span = span.with_attributes(attributes::process(&self.stage, topic.as_str(), batch.partition, batch.count));
            let span = span.with_links(batch.links.into_iter().map(Link::with_context).collect());
            self.process.insert(topic.clone(), span.start_with_context(&self.tracer, &Context::new()));
        }
    }

    fn sending(&mut self, outputs: &mut Outbox) {
        let mut contexts = Vec::new();
        for (index, alert) in outputs.outputs().enumerate().filter(|(_, output)| output.topic.as_str() == topics::ALERTS) {
            let of = |name| alert.headers.text(name).unwrap_or_default().to_string();
            let attributes = attributes::send(&self.stage, topics::ALERTS, of("ce_id"), of("ce_subject"));
            let name = attributes::name("send", topics::ALERTS);
            let span = self.tracer.span_builder(name).with_kind(SpanKind::Producer).with_attributes(attributes);
            let span = span.start_with_context(&self.tracer, &self.parent(&alert.input.topic));
            if span.span_context().is_sampled() {
                contexts.push((index, context::traceparent(span.span_context())));
            }
            self.sends.push(span);
        }
        for (index, traceparent) in contexts {
            outputs.add_header(index, TRACEPARENT, traceparent.as_bytes());
        }
    }

    fn ended(&mut self, outcome: Result<(), &'static str>) {
        let process = std::mem::take(&mut self.process).into_values();
        for mut span in std::mem::take(&mut self.sends).into_iter().chain(process) {
            if let Err(why) = outcome {
                span.set_attribute(attributes::error(why));
                span.set_status(Status::error(why));
            }
            span.end();
        }
    }
}

/// What one transaction processed of one topic.
#[derive(Default)]
struct Batch {
    count: u32,
    /// The partition, if it was one.
    partition: Option<String>,
    links: Vec<SpanContext>,
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(u64::try_from(wall_clock().0).unwrap_or(0))
}
