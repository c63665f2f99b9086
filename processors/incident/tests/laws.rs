//! The laws of the kit, under the default configuration and under one whose every cap is soon reached.

use incident::{Config, IncidentProcessor};
use proptest::{option, prelude::*};
use schemas::{Alert, AlertStatus, EventTime, Heartbeat, HeartbeatKind, Severity, Subject, alert};
use stream_core::laws;

/// Alerts as processors write them, around [`laws::EPOCH`]: few hosts, so that stories meet, end, come back and merge.
fn records() -> impl Strategy<Value = Vec<u8>> + 'static {
    let host = option::of(prop_oneof![8 => "[a-d]", 2 => "[a-d]\\.org", 1 => "\\PC{0,300}"]);
    let vm = option::weighted(0.2, "vm-[1-3]");
    let service = prop_oneof![2 => Just("kernel".to_string()), 4 => "(shop|cart|auth)", 1 => Just("unknown".to_string()), 1 => "\\PC{0,9}"];
    let line = prop_oneof![
        3 => "cannot reach [a-d](:80|\\.org:443)?",
        2 => "lost 10\\.0\\.0\\.[1-3]:80 and (shop|cart|auth)",
        1 => "\\PC{0,300}",
    ];
    let ms = prop_oneof![6 => 0..2_000_000i64, 2 => -10_000_000..10_000_000i64, 1 => any::<i64>()];
    let severity = prop_oneof![Just(Severity::Info), Just(Severity::Warning), Just(Severity::High), Just(Severity::Critical)];
    let template = option::of(0..4u8);
    (host, vm, service, line, (ms, 0..2_000i64, any::<bool>()), severity, template).prop_map(
        |(host, vm, service, line, (ms, lasted_ms, is_over), severity, template)| {
            let place = [("host", host), ("vm", vm), ("template_id", template.map(|id| id.to_string()))];
            let labels = place.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect();
            let last = EventTime::from_millis(laws::EPOCH.millis().saturating_add(ms));
            let alert = Alert {
                id: alert::hex16(line.as_bytes()),
                fingerprint: alert::fingerprint("SevereLog", &labels),
                name: "SevereLog".into(),
                status: if is_over { AlertStatus::Resolved } else { AlertStatus::Firing },
                severity,
                started_at: last.plus_millis(-lasted_ms),
                last_received: last,
                ends_at: is_over.then_some(last),
                source: vec!["drain".into()],
                message: line.clone(),
                annotations: [("line".to_string(), line)].into(),
                service,
                labels,
                ..Alert::default()
            };
            serde_json::to_vec(&alert).expect("JSON")
        },
    )
}

/// What receivers say, around [`laws::EPOCH`]: few names, so that some fall silent, come back, and leave.
fn heartbeats() -> impl Strategy<Value = Vec<u8>> + 'static {
    use HeartbeatKind::{Farewell, First, Listening, Restarted, Returned, Summary, Unknown};
    let kind = prop_oneof![
        6 => Just(Summary),
        6 => Just(Listening),
        1 => prop_oneof![Just(Unknown), Just(First), Just(Restarted), Just(Returned), Just(Farewell)]
    ];
    let name = prop_oneof![8 => "(host|vm)-[1-4]", 1 => "\\PC{0,300}"];
    let ms = prop_oneof![6 => 0..200_000i64, 1 => -10_000_000..10_000_000i64, 1 => any::<i64>()];
    (kind, name, ms, 0..40_000i64, any::<i64>(), any::<bool>(), 1..3u8).prop_map(|(kind, name, ms, ago_ms, pulses, is_vm, receiver)| {
        let time = laws::EPOCH.micros().saturating_add(ms.saturating_mul(1_000));
        let receiver = format!("watch-{receiver}");
        let heartbeat = Heartbeat {
            name,
            is_vm,
            kind,
            time,
            run: receiver.clone(),
            receiver,
            pulses: if is_vm { pulses } else { 20 },
            last_pulse: is_vm.then(|| time.saturating_sub(ago_ms * 1_000)),
            ..Heartbeat::default()
        };
        heartbeat.to_bytes().expect("fits the schema")
    })
}

#[test]
fn under_the_default_configuration() {
    laws::check::<IncidentProcessor>(&Config::default(), records());
}

#[test]
fn of_heartbeats() {
    laws::check::<IncidentProcessor>(&Config::default(), heartbeats());
    laws::check::<IncidentProcessor>(&Config { names_max: 2, silent_ms: 3_000, pulses_min: 1, ..Config::default() }, heartbeats());
}

#[test]
fn where_every_cap_is_soon_reached() {
    let tight = Config {
        things_max: 3,
        open_max: 2,
        join_ms: 2_000,
        resolve_after_ms: 1_000,
        emit_every_ms: 500,
        flap_transitions: 2,
        flap_window_ms: 20_000,
        edge_ms: 5_000,
        stale_ms: 60_000,
        ..Config::default()
    };
    laws::check::<IncidentProcessor>(&tight, records());
}
