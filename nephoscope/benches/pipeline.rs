//! `logs.raw.v1` → drain → `logs.parsed.v1` on the embedded bus, exactly once, with fsync: records per CPU second of the
//! worker, and recovery of the same worker after a crash.
//!
//! `cargo bench -p nephoscope --bench pipeline -- [RECORDS]`

#![allow(clippy::disallowed_methods, reason = "a bench measures time")]

mod support;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use drain::{Config, DrainProcessor};
use schemas::{LogRecord, LogSource, ParseStatus, SourceKind, Subject, TimeSource, topics};
use stream_runtime::{
    bus::Bus,
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::Engine,
    loss::Loss,
    metrics::StageMetrics,
    publish::PublishBatch,
    settings::EngineSettings,
    time::{Clock, SystemClock, wall_clock},
    worker::Worker,
};
use support::Lines;

const BATCH: usize = 1_000;
const LINE_BYTES: usize = 233;

fn main() {
    let records: usize = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(1_000_000);
    let directory = tempfile::tempdir_in(".").expect("a directory on this disk");
    let bus = open(directory.path());
    publish(&bus, records);

    let (mut worker, metrics) = worker(&bus);
    let (begun, cpu) = (Instant::now(), SystemClock.cpu());
    step_until(&mut worker, &metrics, records as u64);
    let (wall, cpu) = (begun.elapsed(), SystemClock.cpu() - cpu);
    let totals = metrics.totals();
    println!("logs.raw → drain → logs.parsed, exactly once, fsync: {records} lines of {LINE_BYTES} bytes, 16 hosts");
    println!("  per wall second        {:>10.0}", records as f64 / wall.as_secs_f64());
    println!("  per worker CPU second  {:>10.0}", records as f64 / cpu.as_secs_f64());
    println!("  CPU seconds per million{:>10.2}", cpu.as_secs_f64() / records as f64 * 1e6);
    let state: u64 = totals.instances.values().map(|instance| instance.state_bytes).sum();
    println!("  snapshots {}, state {} KiB, commits {}", totals.snapshots, state >> 10, totals.commits.get("ok").copied().unwrap_or(0));

    drop(worker); // a crash: no last snapshot
    bus.close();
    drop(bus);
    let begun = Instant::now();
    let bus = open(directory.path());
    let opened = begun.elapsed();
    publish(&bus, BATCH);
    let (mut worker, metrics) = self::worker(&bus);
    let published = begun.elapsed();
    step_until(&mut worker, &metrics, 1);
    let first = begun.elapsed() - (published - opened);
    println!(
        "recovery after a crash: bus open {:.0} ms, first output {:.0} ms ({} records replayed)",
        ms(opened),
        ms(first),
        metrics.totals().replayed
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn open(directory: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(directory, EmbeddedConfig::default()).expect("opens");
    Engine::ensure_topics(&bus).expect("creates topics");
    bus
}

fn worker(bus: &EmbeddedBus) -> (Worker<DrainProcessor>, StageMetrics) {
    let metrics = StageMetrics::default();
    let clock = Box::new(SystemClock);
    let worker = Worker::new(Arc::new(bus.clone()), Config::default(), EngineSettings::default(), clock, Loss::default(), metrics.clone());
    (worker.expect("starts"), metrics)
}

fn step_until(worker: &mut Worker<DrainProcessor>, metrics: &StageMetrics, records: u64) {
    while metrics.totals().records.values().sum::<u64>() < records {
        worker.step().expect("goes on");
    }
}

fn publish(bus: &EmbeddedBus, records: usize) {
    let mut publisher = bus.publisher("bench").expect("opens a publisher");
    let mut batch = PublishBatch::default();
    let mut lines = Lines::new();
    for n in 0..records {
        let record = record(&mut lines, n);
        let value = record.to_bytes().expect("is a record");
        batch.push(&topics::LOGS_RAW.into(), Some(record.host.as_bytes()), Some(&value), Default::default()).expect("fits");
        if batch.len() == BATCH || n + 1 == records {
            publisher.publish(&batch, b"").expect("is taken");
            batch.clear();
        }
    }
}

fn record(lines: &mut Lines, n: usize) -> LogRecord {
    let (line, now) = (lines.message(LINE_BYTES), wall_clock().micros());
    LogRecord {
        host: format!("host-{}", n % 16),
        event_time: now,
        observed_time: now,
        time_source: TimeSource::Message,
        facility: Some(3),
        severity: Some(6),
        app_name: Some("app".into()),
        message_length: line.len() as i32,
        raw: line.into_bytes(),
        source: LogSource { kind: SourceKind::Udp, name: "127.0.0.1:5514".into(), peer: Some("127.0.0.1".into()) },
        parse_status: ParseStatus::Rfc5424,
        ..LogRecord::default()
    }
}
