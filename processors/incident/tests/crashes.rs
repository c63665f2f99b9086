//! The crash law: whatever dies, freezes or loses its partitions, outputs are those of an undisturbed run.

use incident::{Config, IncidentProcessor};
use schemas::{Alert, AlertStatus, EventTime, Severity, alert, topics};
use stream_core::HeaderBuffer;
use stream_runtime::sim::{Rng, SourceRecord, Workload, check_crash_law};

/// Two detectors whose alerts begin, repeat and end; now and then a damaged record.
fn workload(rng: &mut Rng) -> Workload {
    let sources = ["drain", "vitals"].map(|part| detector(part, rng)).into();
    Workload { partitions: vec![(topics::ALERTS.into(), 1)], sources }
}

fn detector(part: &str, rng: &mut Rng) -> Vec<SourceRecord> {
    let mut now = EventTime::from_millis(1_700_000_000_000);
    let mut record = |rng: &mut Rng| {
        now = now.plus_millis(if rng.chance(40) { 400_000 } else { rng.below(4_000) as i64 });
        let host = format!("host-{}", rng.below(5));
        let other = rng.below(5);
        let labels =
            [("host", host.clone()), ("template_id", rng.below(3).to_string())].map(|(key, value)| (key.to_string(), value)).into();
        let is_over = rng.chance(30);
        let alert = Alert {
            id: alert::hex16(&rng.below(u64::MAX).to_be_bytes()),
            fingerprint: alert::fingerprint("SevereLog", &labels),
            name: "SevereLog".into(),
            status: if is_over { AlertStatus::Resolved } else { AlertStatus::Firing },
            severity: if rng.chance(50) { Severity::High } else { Severity::Warning },
            started_at: now.plus_millis(-(rng.below(90_000) as i64)),
            last_received: now,
            ends_at: is_over.then_some(now),
            service: if rng.chance(50) { "kernel" } else { "shop" }.into(),
            source: vec![part.into()],
            message: format!("cannot reach host-{other}"),
            labels,
            ..Alert::default()
        };
        let mut value = serde_json::to_vec(&alert).expect("JSON");
        if rng.chance(5) {
            value.truncate(12);
        }
        SourceRecord {
            topic: topics::ALERTS.into(),
            appended_at: now,
            key: Some(alert.fingerprint.into_bytes()),
            value: Some(value),
            headers: HeaderBuffer::default(),
        }
    };
    (0..20 + rng.below(60)).map(|_| record(rng)).collect()
}

#[test]
fn no_crash_changes_what_comes_out() {
    let soon_full = Config { things_max: 4, open_max: 1, flap_transitions: 2, ..Config::default() };
    check_crash_law::<IncidentProcessor>(&Config::default(), 150, workload);
    check_crash_law::<IncidentProcessor>(&soon_full, 150, workload);
}
