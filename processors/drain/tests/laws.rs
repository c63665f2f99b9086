//! The laws of the kit, under the default configuration and under one whose every cap is soon reached.

use drain::{ActivityConfig, Config, DrainProcessor, Files, Mode, TreeScope};
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
        2 => ("[a-c]", 0..9u32, option::of(0..70u32)).prop_map(|(word, n, level)| match level {
            Some(level) => format!("{{\"msg\":\"disk {word} is full\",\"level\":{level},\"n\":[{n}]}}"),
            None => format!("{word}={n} b{n}=x c=\"d {word}\""),
        }),
        1 => "[a-c] failed\n\tat [a-c]",
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

fn tight() -> Config {
    Config {
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
    }
}

#[test]
fn where_every_cap_is_soon_reached() {
    laws::check::<DrainProcessor>(&tight(), records());
}

#[test]
fn with_a_tree_for_each_host() {
    laws::check::<DrainProcessor>(&Config { tree_scope: TreeScope::Host, ..tight() }, records());
}

#[test]
fn in_mode_drain3() {
    let drain3 = Config { mode: Mode::Drain3, ini: String::new(), ..Config::default() };
    laws::check::<DrainProcessor>(&drain3, records());
}

#[test]
fn in_mode_drain3_with_masks_and_a_tree_for_each_host_where_every_cap_is_soon_reached() {
    let files = Files { ini: include_str!("drain3/masks.ini").into(), seed_log: "session opened\njob failed by a\n".into() };
    laws::check::<DrainProcessor>(&Config { mode: Mode::Drain3, files: files.clone(), ..tight() }, records());
    laws::check::<DrainProcessor>(&Config { mode: Mode::Drain3, files, tree_scope: TreeScope::Host, ..tight() }, records());
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
