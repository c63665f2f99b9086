//! The crash law: whatever dies, freezes or loses its partitions, outputs are those of an undisturbed run.

use matrix_profile::{Config, MatrixProfile};
use schemas::{EventTime, ParsedLog, Subject, TemplateId, topics};
use stream_core::HeaderBuffer;
use stream_runtime::sim::{Rng, SourceRecord, Workload, check_crash_law};

/// Two miners of templates with hosts of their own: work, and now and then a fault or a damaged record.
fn workload(rng: &mut Rng) -> Workload {
    let sources = ["web", "db"].map(|fleet| miner(fleet, rng)).into();
    Workload { partitions: vec![(topics::LOGS_PARSED.into(), 1 + rng.below(3) as u32)], sources }
}

fn miner(fleet: &str, rng: &mut Rng) -> Vec<SourceRecord> {
    let mut now_us = 1_700_000_000_000_000;
    let mut record = |rng: &mut Rng| {
        now_us += if rng.chance(40) { 90_000_000 } else { rng.below(1_500_000) as i64 };
        let host = format!("{fleet}-{}", rng.below(2));
        let texts =
            ["job <*> started", "job <*> finished", "cache is warm", "disk <*> failed: I/O error", "Out of memory: Killed process <*>"];
        let template = rng.pick(&texts).copied().unwrap_or_default();
        let line = ParsedLog {
            host: host.clone(),
            event_time: now_us - rng.below(3_000_000) as i64,
            severity: Some(rng.below(8) as i32),
            template_id: TemplateId::of(template).to_string(),
            template: template.into(),
            ..ParsedLog::default()
        };
        let mut value = line.to_bytes().expect("fits the schema");
        if rng.chance(20) {
            value.truncate(12);
        }
        SourceRecord {
            topic: topics::LOGS_PARSED.into(),
            appended_at: EventTime::from_micros(now_us),
            key: Some(host.into_bytes()),
            value: Some(value),
            headers: HeaderBuffer::default(),
        }
    };
    (0..20 + rng.below(60)).map(|_| record(rng)).collect()
}

#[test]
fn no_crash_changes_what_comes_out() {
    let soon_full = Config { training: 5, store_max: 4, hosts_max: 2, novel_sequences: true, ..Config::default() };
    check_crash_law::<MatrixProfile>(&Config { training: 8, ..Config::default() }, 100, workload);
    check_crash_law::<MatrixProfile>(&soon_full, 100, workload);
}
