//! The embedded bus at work, with fsync: appends in batches, reads from file and memory, commits of one record by many
//! publishers at once. Peers in the same run, on the same disk, with the same records: a bare file written and synced batch
//! by batch, and the bare store with one row per record.
//!
//! `cargo bench -p nephoscope-stream-runtime --bench embedded -- [--seconds S] [--dir D]`

#![allow(clippy::disallowed_methods, missing_docs)]

mod support;

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use schemas::topics::Cleanup;
use stream_core::NextOffset;
use stream_runtime::{
    bus::{BatchLimits, Bus, TopicSpec, WorkerSpec},
    embedded::{EmbeddedBus, EmbeddedConfig},
    gathered::{Gathered, PartitionEvent},
    inspect::{Inspect, ReadLimits},
    publish::PublishBatch,
};
use support::{Lines, RECORD_BYTES, cpu, quantile_ms, rss_bytes, written_bytes};

const BATCH: usize = 1_000;
const TOPIC: &str = "logs.raw.v1";
const PRODUCERS: usize = 16;
const IN_FLIGHT: usize = 32;

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|argument| argument == name).and_then(|at| arguments.get(at + 1));
    let time = Duration::from_secs(value("--seconds").map_or(5, |text| text.parse().unwrap()));
    let directory = value("--dir").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let directory = tempfile::tempdir_in(directory).unwrap();

    let raw = raw_file(directory.path(), time);
    store_rows(directory.path(), time);
    let ours = appends(&directory.path().join("bus"), time);
    println!("  ratio to the bare file: {:.2}", ours / raw);
    reads(&directory.path().join("bus"));
    single_commits(&directory.path().join("single"));
    latency(&directory.path().join("latency"), time);
    println!("peak memory {} MiB", rss_bytes().1 >> 20);
}

/// Measures records, wall and CPU time, and bytes written.
struct Meter {
    started: Instant,
    cpu: Duration,
    written: u64,
    commits: Vec<Duration>,
}

impl Meter {
    fn start() -> Self {
        Self { started: Instant::now(), cpu: cpu().0, written: written_bytes(), commits: Vec::new() }
    }

    fn report(mut self, name: &str, records: u64) -> f64 {
        let (wall, cpu) = (self.started.elapsed().as_secs_f64(), (cpu().0 - self.cpu).as_secs_f64());
        let written = (written_bytes() - self.written) as f64 / (records as f64 * RECORD_BYTES as f64);
        self.commits.sort();
        let (p50, p99) = (quantile_ms(&self.commits, 0.5), quantile_ms(&self.commits, 0.99));
        let rate = records as f64 / wall;
        println!(
            "{name}: {rate:.0} records/s, {:.2} CPU-s per million, p50 {p50:.2} ms, p99 {p99:.2} ms, {written:.2} bytes written per byte",
            cpu * 1e6 / records as f64
        );
        rate
    }
}

fn fill(batch: &mut PublishBatch, lines: &mut Lines, line: &mut String, count: usize) {
    batch.clear();
    for _ in 0..count {
        lines.fill(line);
        batch.push(&TOPIC.into(), None, Some(line.as_bytes()), Default::default()).unwrap();
    }
}

fn raw_file(directory: &Path, time: Duration) -> f64 {
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).open(directory.join("raw")).unwrap();
    let (mut lines, mut line, mut bytes) = (Lines::new(1), String::new(), Vec::new());
    let (mut meter, mut records) = (Meter::start(), 0);
    while meter.started.elapsed() < time {
        let begun = Instant::now();
        bytes.clear();
        for _ in 0..BATCH {
            lines.fill(&mut line);
            bytes.extend_from_slice(line.as_bytes());
        }
        file.write_all(&bytes).unwrap();
        file.sync_data().unwrap();
        meter.commits.push(begun.elapsed());
        records += BATCH as u64;
    }
    let rate = meter.report("bare file, batches of 1,000", records);
    drop(file);
    std::fs::remove_file(directory.join("raw")).unwrap();
    rate
}

fn store_rows(directory: &Path, time: Duration) {
    let table = redb::TableDefinition::<u64, &[u8]>::new("log");
    let database = redb::Builder::new().set_cache_size(16 << 20).create(directory.join("rows.redb")).unwrap();
    let (mut lines, mut line) = (Lines::new(1), String::new());
    let (mut meter, mut records) = (Meter::start(), 0);
    while meter.started.elapsed() < time {
        let begun = Instant::now();
        let transaction = database.begin_write().unwrap();
        let mut rows = transaction.open_table(table).unwrap();
        for _ in 0..BATCH {
            lines.fill(&mut line);
            rows.insert(records, line.as_bytes()).unwrap();
            records += 1;
        }
        drop(rows);
        transaction.commit().unwrap();
        meter.commits.push(begun.elapsed());
    }
    meter.report("bare store (redb), a row per record, batches of 1,000", records);
    drop(database);
    std::fs::remove_file(directory.join("rows.redb")).unwrap();
}

fn open(directory: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(directory, EmbeddedConfig::default()).unwrap();
    let spec =
        TopicSpec { name: TOPIC.into(), partitions: 1, cleanup: Cleanup::Delete, retention_ms: 86_400_000, retention_bytes: 4 << 30 };
    bus.ensure_topics(&[spec]).unwrap();
    bus
}

fn appends(directory: &Path, time: Duration) -> f64 {
    let bus = open(directory);
    let mut publisher = bus.publisher("bench").unwrap();
    let (mut lines, mut line, mut batch) = (Lines::new(1), String::new(), PublishBatch::default());
    let (mut meter, mut records) = (Meter::start(), 0);
    while meter.started.elapsed() < time {
        let begun = Instant::now();
        fill(&mut batch, &mut lines, &mut line, BATCH);
        publisher.publish(&batch, b"position").unwrap();
        meter.commits.push(begun.elapsed());
        records += BATCH as u64;
    }
    meter.report("bus, batches of 1,000", records)
}

fn reads(directory: &Path) {
    let started = Instant::now();
    let bus = EmbeddedBus::open(directory, EmbeddedConfig::default()).unwrap();
    let status = bus.topics().unwrap()[0].partitions[0];
    println!("  reopened {} MiB in {:.1} ms", status.bytes.unwrap_or(0) >> 20, started.elapsed().as_secs_f64() * 1e3);
    let mut session = bus.open(&WorkerSpec { processor: "bench".into(), inputs: vec![TOPIC.into()], broadcasts: vec![] }).unwrap();
    let limits = BatchLimits {
        records_max: 50_000,
        bytes_max: 16 << 20,
        batch_time_max: Duration::from_millis(20),
        quiet: Duration::from_millis(10),
    };
    let mut gathered = Gathered::default();
    session.gather(&limits, &mut gathered).unwrap();
    let Some(PartitionEvent::Assigned(at)) = gathered.events.first().cloned() else { panic!("no partition was assigned") };
    session.seek(&at, NextOffset(0)).unwrap();
    session.resume(&at);
    let (meter, mut records) = (Meter::start(), 0);
    while records < status.next.0 {
        gathered.clear();
        session.gather(&limits, &mut gathered).unwrap();
        records += gathered.len() as u64;
    }
    meter.report("bus, a session reads from file", records);
}

/// 16 sources with 32 threads each, every thread with one record in flight, until a million is committed.
fn single_commits(directory: &Path) {
    const RECORDS: u64 = 1_000_000;
    let bus = open(directory);
    let (committed, ready) = (AtomicU64::new(0), Barrier::new(PRODUCERS * IN_FLIGHT));
    let marks = Mutex::new(Vec::new());
    let meter = Meter::start();
    let commits: Vec<Duration> = std::thread::scope(|scope| {
        let produce = |number: usize| {
            let mut publisher = bus.publisher(&format!("source-{}/{}", number % PRODUCERS, number / PRODUCERS)).unwrap();
            let (mut lines, mut line, mut batch) = (Lines::new(number as u64), String::new(), PublishBatch::default());
            let mut commits = Vec::new();
            ready.wait();
            while committed.load(Ordering::Relaxed) < RECORDS {
                let begun = Instant::now();
                fill(&mut batch, &mut lines, &mut line, 1);
                publisher.publish(&batch, b"position").unwrap();
                commits.push(begun.elapsed());
                if committed.fetch_add(1, Ordering::Relaxed) % (RECORDS / 10) == 0 {
                    marks.lock().unwrap().push(Instant::now());
                }
            }
            commits
        };
        let spawn = |number| std::thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, move || produce(number)).unwrap();
        let threads: Vec<_> = (0..PRODUCERS * IN_FLIGHT).map(spawn).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let records = commits.len() as u64;
    Meter { commits, ..meter }.report("bus, commits of one record, 16 producers × 32 in flight", records);
    let marks = marks.into_inner().unwrap();
    let tenths: Vec<_> = marks.windows(2).map(|pair| RECORDS as f64 / 10.0 / (pair[1] - pair[0]).as_secs_f64()).collect();
    println!("  by tenths, records/s: {}", tenths.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(" "));
}

/// 10,000 records/s in blocks of 100: from `publish` to a reader that waits.
fn latency(directory: &Path, time: Duration) {
    let bus = open(directory);
    let at = stream_core::TopicPartition::new(&TOPIC.into(), stream_core::Partition(0));
    let (zero, is_over) = (Instant::now(), AtomicBool::new(false));
    let mut delays = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let limits = ReadLimits { records_max: 10_000, bytes_max: 16 << 20, wait: Duration::from_millis(100) };
            let (mut delays, mut next, mut gathered) = (Vec::new(), NextOffset(0), Gathered::default());
            while !is_over.load(Ordering::Relaxed) {
                gathered.clear();
                bus.read(&at, next, &limits, &mut gathered).unwrap();
                let now = zero.elapsed();
                for (_, record) in gathered.records() {
                    let sent = u64::from_le_bytes(record.value.unwrap()[..8].try_into().unwrap());
                    delays.push(now - Duration::from_nanos(sent));
                    next = record.offset.next();
                }
            }
            delays
        });
        let mut publisher = bus.publisher("bench").unwrap();
        let mut batch = PublishBatch::default();
        for block in 0u32.. {
            let due = Duration::from_millis(10) * block;
            if due > time {
                break;
            }
            std::thread::sleep(due.saturating_sub(zero.elapsed()));
            batch.clear();
            let mut value = [0u8; RECORD_BYTES];
            value[..8].copy_from_slice(&(zero.elapsed().as_nanos() as u64).to_le_bytes());
            (0..100).for_each(|_| batch.push(&TOPIC.into(), None, Some(&value), Default::default()).unwrap());
            publisher.publish(&batch, b"").unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    delays.sort();
    let q = |q| quantile_ms(&delays, q);
    println!("bus, publish to visible at 10,000 records/s: p50 {:.2} ms, p99 {:.2} ms, p99.9 {:.2} ms", q(0.5), q(0.99), q(0.999));
}
