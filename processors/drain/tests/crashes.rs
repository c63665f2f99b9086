//! The crash law: whatever dies, freezes or loses its partitions, outputs are those of an undisturbed run.

use drain::{ActivityConfig, Config, DrainProcessor, Mode, TreeScope};
use schemas::{LogRecord, Subject, topics};
use stream_core::HeaderBuffer;
use stream_runtime::sim::{Rng, SourceRecord, Workload, check_crash_law};

/// Two collectors with hosts of their own: lines that repeat, differ, merge, and now and then a severe or a damaged one.
fn workload(rng: &mut Rng) -> Workload {
    let sources = ["web", "db"].map(|fleet| collector(fleet, rng)).into();
    Workload { partitions: vec![(topics::LOGS_RAW.into(), 1 + rng.below(3) as u32)], sources }
}

fn collector(fleet: &str, rng: &mut Rng) -> Vec<SourceRecord> {
    let mut now_us = 1_700_000_000_000_000;
    let mut record = |rng: &mut Rng| {
        now_us += if rng.chance(40) { 90_000_000 } else { rng.below(3_000_000) as i64 };
        let host = format!("{fleet}-{}", rng.below(3));
        let word = rng.pick(&["ada", "bob", "cleo", "dan", "eve", "finn", "gus", "hal"]).copied().unwrap_or_default();
        let message = match rng.below(4) {
            0 => format!("session of {word} expired"),
            1 => format!("{word} asked for {} rows", rng.below(90)),
            2 => format!("checkpoint {} written", rng.below(1_000)),
            _ => format!("disk {word} rejected a write"),
        };
        let line = LogRecord {
            host: host.clone(),
            event_time: now_us - rng.below(8_000_000) as i64,
            observed_time: now_us,
            severity: Some(rng.below(8) as i32),
            message_length: message.len() as i32,
            raw: message.into_bytes(),
            ..LogRecord::default()
        };
        let mut value = line.to_bytes().expect("fits the schema");
        if rng.chance(20) {
            value.truncate(12);
        }
        SourceRecord {
            topic: topics::LOGS_RAW.into(),
            appended_at: schemas::EventTime::from_micros(now_us),
            key: Some(host.into_bytes()),
            value: Some(value),
            headers: HeaderBuffer::default(),
        }
    };
    (0..20 + rng.below(60)).map(|_| record(rng)).collect()
}

#[test]
fn no_crash_changes_what_comes_out() {
    let soon_full = Config {
        clusters_max: 12,
        hosts_max: 2,
        warmup_lines: 3,
        warmup_min: 0,
        activity: ActivityConfig { bucket_s: 1, templates_max: 4 },
        ..Config::default()
    };
    check_crash_law::<DrainProcessor>(&Config::default(), 150, workload);
    check_crash_law::<DrainProcessor>(&soon_full, 150, workload);
    check_crash_law::<DrainProcessor>(&Config { tree_scope: TreeScope::Host, ..soon_full.clone() }, 100, workload);
    check_crash_law::<DrainProcessor>(&Config { mode: Mode::Drain3, ini: String::new(), ..soon_full }, 100, workload);
}
