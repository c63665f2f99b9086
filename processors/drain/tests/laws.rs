//! The laws of the kit, under the default configuration and under one whose every cap is soon reached.

use drain::{ActivityConfig, Config, DrainProcessor};
use proptest::{collection::vec, option, prelude::*};
use schemas::{LogRecord, LogSource, SourceKind, Subject};
use stream_core::laws;

/// Messages that meet, differ in one place, merge, and never repeat.
fn message() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => ("(session|job|disk) (opened|closed|failed) (for|by) [a-h]", 0..50u32).prop_map(|(words, n)| format!("{words} after {n} ms")),
        2 => "[a-z]{1,6}( [a-z]{1,6}){0,4}",
        1 => "\\PC{0,60}",
        1 => Just(String::new()),
    ]
}

/// Records as collectors write them, around [`laws::EPOCH`].
fn records() -> impl Strategy<Value = Vec<u8>> + 'static {
    let host = prop_oneof![8 => "[a-d]", 1 => "[a-z]{0,3}", 1 => Just("h".repeat(254))];
    let ms = prop_oneof![6 => 0..2_000_000i64, 2 => -10_000_000..10_000_000i64, 1 => any::<i64>()];
    let attributes = vec((prop_oneof![Just("backfill".to_string()), Just("vm".to_string()), "[a-z]{0,3}"], "[a-z]{0,4}"), 0..3);
    let severity = option::of(prop_oneof![9 => 0..8i32, 1 => any::<i32>()]);
    let app = option::of("[a-c]");
    (host, ms, severity, app, message(), attributes, any::<i64>()).prop_map(
        |(host, ms, severity, app_name, message, attributes, observed_time)| {
            let record = LogRecord {
                host,
                event_time: laws::EPOCH.micros().saturating_add(ms.saturating_mul(1_000)),
                observed_time,
                severity,
                app_name,
                message_length: message.len() as i32,
                raw: message.into_bytes(),
                source: LogSource { kind: SourceKind::Tcp, ..LogSource::default() },
                attributes: attributes.into_iter().collect(),
                ..LogRecord::default()
            };
            record.to_bytes().expect("fits the schema")
        },
    )
}

#[test]
fn under_the_default_configuration() {
    laws::check::<DrainProcessor>(&Config::default(), records());
}

#[test]
fn where_every_cap_is_soon_reached() {
    let tight = Config {
        clusters_max: 6,
        fanout: 2,
        signature_cache: 3,
        line_bytes_max: 64,
        tokens_max: 8,
        hosts_max: 2,
        warmup_lines: 2,
        warmup_min: 0,
        activity: ActivityConfig { bucket_s: 1, templates_max: 3 },
        ..Config::default()
    };
    laws::check::<DrainProcessor>(&tight, records());
}

#[test]
fn with_seeds_exclusions_and_no_learning() {
    let fixed = Config {
        learn: false,
        seed_templates: vec!["session opened for <*> after <*> ms".into(), "job failed by <*> after <*> ms".into()],
        exclude_apps: vec!["a".into()],
        ..Config::default()
    };
    laws::check::<DrainProcessor>(&fixed, records());
}
