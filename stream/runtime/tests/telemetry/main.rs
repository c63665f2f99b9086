//! Spans of a real engine on the embedded bus, as a collector receives them.

mod collector;
mod processor;

use std::{sync::Arc, time::Duration};

use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use schemas::topics;
use stream_core::{HeaderBuffer, NextOffset, Partition, TopicPartition};
use stream_runtime::{
    bus::Bus,
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::Engine,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    loss::Loss,
    publish::{Publish, PublishBatch},
    settings::EngineSettings,
    telemetry::otlp::{BatchSettings, SpanExport},
    time::{Clock, SystemClock},
};

use collector::{Collector, attribute};
use processor::{ALARM, Alarmist, IN, PANIC};

/// An engine with one traced processor, and what to reach it by.
struct Running {
    bus: EmbeddedBus,
    engine: Engine,
    export: SpanExport,
    publisher: Box<dyn Publish>,
    _dir: tempfile::TempDir,
}

impl Running {
    fn start(endpoint: &str, settings: BatchSettings) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let bus = EmbeddedBus::open(dir.path(), EmbeddedConfig::default()).expect("opens");
        Engine::ensure_topics(&bus).expect("topics");
        bus.ensure_topics(&processor::topics()).expect("topics");
        let mut engine = Engine::new(Arc::new(bus.clone()), EngineSettings::default());
        let export = SpanExport::to(&format!("{endpoint}/v1/traces"), "test-service", settings, engine.loss()).expect("starts");
        engine.trace(export.tracing());
        engine.spawn::<Alarmist>(()).expect("starts");
        let publisher = bus.publisher("test").expect("opens");
        Self { bus, engine, export, publisher, _dir: dir }
    }

    fn publish(&mut self, values: &[&str], traceparent: impl Fn(usize) -> Option<String>) {
        let mut batch = PublishBatch::default();
        for (n, value) in values.iter().enumerate() {
            let mut headers = HeaderBuffer::default();
            if let Some(traceparent) = traceparent(n) {
                headers.push("traceparent", Some(traceparent.as_bytes()));
            }
            batch.push(&IN.into(), None, Some(value.as_bytes()), headers.as_headers()).expect("fits");
        }
        self.publisher.publish(&batch, b"").expect("is taken");
    }

    /// The headers of all alerts of the processor.
    fn alerts(&self) -> Vec<Vec<(String, String)>> {
        let limits = ReadLimits { records_max: 1_000, bytes_max: 1 << 20, wait: Duration::ZERO };
        let mut gathered = Gathered::default();
        self.bus.read(&TopicPartition::new(&topics::ALERTS.into(), Partition(0)), NextOffset(0), &limits, &mut gathered).expect("reads");
        let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap_or_default()).into_owned();
        let headers =
            |record: &stream_core::Record<'_>| record.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
        gathered.records().map(|(_, record)| headers(&record)).collect()
    }

    fn stop(self) -> Loss {
        let loss = self.engine.loss();
        self.engine.stop();
        self.export.stop();
        self.bus.close();
        loss
    }
}

fn soon() -> BatchSettings {
    BatchSettings { delay: Duration::from_millis(20), ..BatchSettings::default() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn traceparent(n: usize) -> String {
    format!("00-{:032x}-{:016x}-01", 0xabc0 + n, 0xdef0 + n)
}

fn kind(span: &Span, kind: SpanKind) -> bool {
    span.kind == kind as i32
}

#[test]
fn a_batch_is_a_span_linked_to_its_inputs_and_each_alert_one_below_it() {
    let collector = Collector::start();
    let mut running = Running::start(&collector.endpoint(), soon());
    let values = [ALARM, "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", ALARM];
    // Not sampled, sampled, none.
    running.publish(&values, |n| match n {
        0 => Some(format!("{}0", traceparent(0).trim_end_matches('1'))),
        11 => None,
        n => Some(traceparent(n)),
    });
    let spans = collector.wait_for(3);
    let [batch] = &spans.iter().filter(|span| kind(span, SpanKind::Consumer)).collect::<Vec<_>>()[..] else { panic!("{spans:#?}") };
    assert_eq!(batch.name, "process in.v1");
    for (name, value) in [
        ("messaging.system", "nephoscope"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "in.v1"),
        ("messaging.destination.partition.id", "0"),
        ("messaging.consumer.group.name", "nephoscope.alarmist"),
        ("messaging.batch.message_count", "12"),
    ] {
        assert_eq!(attribute(&batch.attributes, name).as_deref(), Some(value), "{name}");
    }
    assert!(batch.parent_span_id.is_empty() && batch.start_time_unix_nano <= batch.end_time_unix_nano);
    let links: Vec<_> = batch.links.iter().map(|link| format!("00-{}-{}-01", hex(&link.trace_id), hex(&link.span_id))).collect();
    assert_eq!(links, (1..=8).map(traceparent).collect::<Vec<_>>(), "the first eight that are sampled");

    let sends: Vec<_> = spans.iter().filter(|span| kind(span, SpanKind::Producer)).collect();
    let alerts = running.alerts();
    assert_eq!((sends.len(), alerts.len()), (2, 2));
    for (send, headers) in sends.iter().zip(&alerts) {
        let header = |name: &str| headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        assert_eq!(send.name, "send alerts.v1");
        assert_eq!((&send.trace_id, &send.parent_span_id), (&batch.trace_id, &batch.span_id));
        assert_eq!(attribute(&send.attributes, "messaging.message.id").as_deref(), header("ce_id"));
        let expected = format!("00-{}-{}-01", hex(&send.trace_id), hex(&send.span_id));
        assert_eq!(header("traceparent"), Some(expected.as_str()));
        assert_eq!(headers.first().map(|(name, _)| name.as_str()), Some("content-type"), "its own headers stay, and stay in front");
    }
    assert_eq!(collector.resource("service.name").as_deref(), Some("test-service"));
    assert_eq!(collector.resource("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(running.stop().totals(), []);
}

#[test]
fn a_batch_that_was_given_up_says_why() {
    let collector = Collector::start();
    let mut running = Running::start(&collector.endpoint(), soon());
    running.publish(&["a", PANIC], |_| None);
    let spans = collector.wait_for(2);
    let status = |span: &Span| span.status.as_ref().map_or(0, |status| status.code);
    let [failed, ..] = &spans[..] else { panic!("{spans:#?}") };
    assert_eq!(status(failed), StatusCode::Error as i32);
    assert_eq!(attribute(&failed.attributes, "error.type").as_deref(), Some("panic"));
    assert!(spans.iter().skip(1).all(|span| status(span) != StatusCode::Error as i32), "then it succeeds: {spans:#?}");
    running.stop();
}

#[test]
fn a_collector_that_hangs_holds_up_nothing_and_what_it_missed_is_counted() {
    let collector = Collector::hanging();
    let settings = BatchSettings { queue_max: 4, batch_max: 1, delay: Duration::from_millis(1) };
    let mut running = Running::start(&collector.endpoint(), settings);
    for _ in 0..20 {
        running.publish(&[ALARM], |_| None);
        let before = running.alerts().len();
        let begun = SystemClock.monotonic();
        while running.alerts().len() == before && SystemClock.monotonic().saturating_sub(begun) < Duration::from_secs(10) {
            std::thread::yield_now();
        }
    }
    assert_eq!(running.alerts().len(), 20, "all alerts are out, though no span is");
    let begun = SystemClock.monotonic();
    let loss = running.stop();
    let ended = SystemClock.monotonic().saturating_sub(begun);
    assert!(ended < Duration::from_secs(2), "{ended:?}");
    let lost: u64 = loss
        .totals()
        .iter()
        .filter(|(component, topic, ..)| (component.as_str(), topic.as_str()) == ("otlp", "spans"))
        .map(|(.., count)| count)
        .sum();
    let causes: Vec<_> = loss.totals().into_iter().map(|(_, _, cause, _)| cause).collect();
    assert_eq!(lost, 40, "a batch and an alert, twenty times: {causes:?}");
    assert_eq!(causes, ["export_failed", "queue_full"]);
}
