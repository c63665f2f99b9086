//! Pass-through, exactly once, on the embedded bus: 233-byte records from one topic to another through the engine, with
//! fsync. Peer in the same run: the same bytes in the same batches, written to a bare file with a `fdatasync` each.
//!
//! `cargo bench -p nephoscope-stream-runtime --bench passthrough -- [RECORDS]`

use std::{
    fs::File,
    io::Write,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use stream_core::{ConfigError, Outbox, Processor, Record, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName, TopicPartition};
use stream_runtime::{
    bus::{Bus, TopicSpec},
    embedded::{EmbeddedBus, EmbeddedConfig},
    loss::Loss,
    metrics::StageMetrics,
    publish::PublishBatch,
    settings::EngineSettings,
    time::{Clock, SystemClock},
    worker::Worker,
};

const RECORD_BYTES: usize = 233;
const BATCH: usize = 1_000;

struct PassThrough {
    seen: u64,
    out: TopicName,
}

impl Processor for PassThrough {
    type Config = ();
    const NAME: &'static str = "pass-through";
    const STATE_VERSION: u16 = 1;

    fn inputs(_: &()) -> Vec<TopicName> {
        vec!["in.v1".into()]
    }

    fn outputs(_: &()) -> Vec<TopicName> {
        vec!["out.v1".into()]
    }

    fn state_bytes_bound(_: &()) -> u64 {
        16
    }

    fn new(_: &(), _: &TopicPartition) -> Result<Self, ConfigError> {
        Ok(Self { seen: 0, out: "out.v1".into() })
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        self.seen += 1;
        out.observe(record.appended_at);
        out.emit_raw(&self.out, record.key, record.value)
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("seen", &self.seen)
    }

    fn restore(r: &SnapshotReader<'_>, _: &(), _: &TopicPartition) -> Result<Self, StateError> {
        Ok(Self { seen: r.get("seen")?, out: "out.v1".into() })
    }
}

fn main() {
    let records: usize = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(2_000_000);
    let directory = tempfile::tempdir_in(".").expect("a directory on this disk");
    let payload = payload(records.min(100_000));

    let bus = EmbeddedBus::open(directory.path(), EmbeddedConfig::default()).expect("opens");
    for name in ["in.v1", "out.v1", "in.v1.dlq", "alerts.v1"] {
        let spec = TopicSpec {
            name: name.into(),
            partitions: 1,
            cleanup: schemas::topics::Cleanup::Delete,
            retention_ms: 86_400_000,
            retention_bytes: 8 << 30,
        };
        bus.ensure_topics(&[spec]).expect("creates topics");
    }
    let mut publisher = bus.publisher("bench").expect("opens a publisher");
    let mut batch = PublishBatch::default();
    for n in 0..records {
        batch.push(&"in.v1".into(), Some(b"host-1"), Some(&payload[n % payload.len()]), Default::default()).expect("fits");
        if batch.len() == BATCH || n + 1 == records {
            publisher.publish(&batch, b"").expect("is taken");
            batch.clear();
        }
    }

    let (bare_rate, bare_bytes) = bare_file(directory.path(), &payload, records);

    let metrics = StageMetrics::default();
    let clock = Box::new(SystemClock);
    let mut worker =
        Worker::<PassThrough>::new(Arc::new(bus.clone()), (), EngineSettings::default(), clock, Loss::default(), metrics.clone())
            .expect("starts");
    let stop = worker.stop_flag();
    let written = written_bytes();
    let begun = SystemClock.monotonic();
    let run = std::thread::spawn(move || {
        let cpu = SystemClock.cpu();
        while metrics.totals().records.values().sum::<u64>() < records as u64 {
            worker.step().expect("goes on");
        }
        let cpu = SystemClock.cpu() - cpu;
        stop.store(true, Ordering::Relaxed);
        worker.shutdown().expect("leaves");
        (cpu, metrics.totals())
    });
    let process_cpu = process_cpu();
    let (worker_cpu, totals) = run.join().expect("joins");
    let wall = SystemClock.monotonic() - begun;
    let process_cpu = self::process_cpu() - process_cpu;
    let written = written_bytes() - written;
    let bytes = (records * RECORD_BYTES) as f64;

    println!("pass-through, exactly once, fsync, {records} records of {RECORD_BYTES} bytes");
    let rate = |time: Duration| records as f64 / time.as_secs_f64();
    println!("  per wall second         {:>12.0}", rate(wall));
    println!("  per worker CPU second   {:>12.0}", rate(worker_cpu));
    println!("  per process CPU second  {:>12.0}   (worker and committer)", rate(process_cpu));
    println!("  commits                 {:>12}   snapshots {}", totals.commits.get("ok").copied().unwrap_or(0), totals.snapshots);
    println!("  bytes written per byte  {:>12.2}", written as f64 / bytes);
    println!("bare file, batches of {BATCH}, fdatasync each");
    println!("  per wall second         {bare_rate:>12.0}");
    println!("  bytes written per byte  {:>12.2}", bare_bytes as f64 / bytes);
    println!("ratio to the bare file    {:>12.2}", rate(wall) / bare_rate);
}

fn bare_file(directory: &std::path::Path, payload: &[Vec<u8>], records: usize) -> (f64, u64) {
    let mut file = File::create(directory.join("bare")).expect("creates");
    let (begun, before) = (SystemClock.monotonic(), written_bytes());
    let mut buffer = Vec::with_capacity(BATCH * RECORD_BYTES);
    for n in 0..records {
        buffer.extend_from_slice(&payload[n % payload.len()]);
        if (n + 1) % BATCH == 0 || n + 1 == records {
            file.write_all(&buffer).expect("writes");
            file.sync_data().expect("syncs");
            buffer.clear();
        }
    }
    let rate = records as f64 / (SystemClock.monotonic() - begun).as_secs_f64();
    let written = written_bytes() - before;
    std::fs::remove_file(directory.join("bare")).expect("is removed");
    (rate, written)
}

/// Log-like text, so that compression is neither impossible nor trivial.
fn payload(count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let line = |n: usize, mut next: Box<dyn FnMut() -> u64>| {
        let mut text =
            format!("<134>1 2026-11-24T07:35:{:02}.{:06}Z host-{} app {} - - ", n % 60, next() % 1_000_000, next() % 64, next() % 32_768);
        while text.len() < RECORD_BYTES {
            text.push_str(["request ", "served ", "in ", "ms ", "from ", "cache ", "client "][(next() % 7) as usize]);
            text.push_str(&format!("{:x} ", next() % 65_536));
        }
        text.truncate(RECORD_BYTES);
        text.into_bytes()
    };
    (0..count)
        .map(|n| {
            let seed = next();
            let mut local = seed | 1;
            line(
                n,
                Box::new(move || {
                    local = local.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    local >> 33
                }),
            )
        })
        .collect()
}

fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.parse().ok()).unwrap_or(0)
}

fn process_cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
