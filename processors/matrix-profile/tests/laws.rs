//! The laws of the kit, under the default configuration and under one whose every cap is soon reached.

use matrix_profile::{Config, MatrixProfile};
use proptest::{collection::vec, option, prelude::*};
use schemas::{ChangeKind, MatchKind, ParsedLog, Subject, TemplateChange, TemplateId};
use stream_core::laws;

fn template() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => "(job|cache) (started|finished|warm)",
        3 => "(disk|memory|fan) <\\*> (failed|is full|error)",
        1 => "\\PC{0,40}",
    ]
}

fn change() -> impl Strategy<Value = Option<TemplateChange>> {
    let kind = prop_oneof![Just(ChangeKind::Generalised), Just(ChangeKind::Merged), Just(ChangeKind::Created)];
    let from = vec(prop_oneof![template().prop_map(|text| TemplateId::of(&text).to_string()), Just("junk".to_string())], 0..3);
    option::weighted(0.1, (kind, from).prop_map(|(kind, from)| TemplateChange { kind, from }))
}

/// Records as drain writes them, around [`laws::EPOCH`].
fn records() -> impl Strategy<Value = Vec<u8>> + 'static {
    let host = prop_oneof![8 => "[a-c]", 1 => "[a-z]{0,3}", 1 => Just("h".repeat(254))];
    let ms = prop_oneof![6 => 0..2_000_000i64, 2 => -10_000_000..10_000_000i64, 1 => any::<i64>()];
    let severity = option::of(prop_oneof![9 => 0..8i32, 1 => any::<i32>()]);
    let vm = option::of("[a-b]");
    (host, ms, severity, template(), change(), vm, 0..20u8).prop_map(|(host, ms, severity, template, change, vm, odd)| {
        let id = match odd {
            0 => TemplateId::UNKNOWN.to_string(),
            1 => "no id".into(),
            _ => TemplateId::of(&template).to_string(),
        };
        let record = ParsedLog {
            host,
            event_time: laws::EPOCH.micros().saturating_add(ms.saturating_mul(1_000)),
            severity,
            app_name: vm.clone(),
            attributes: vm.into_iter().map(|vm| ("vm".to_string(), vm)).collect(),
            template_id: id,
            template,
            r#match: if odd == 2 { MatchKind::Skipped } else { MatchKind::Exact },
            change,
            raw_offset: i64::from(odd),
            ..ParsedLog::default()
        };
        record.to_bytes().expect("fits the schema")
    })
}

#[test]
fn under_the_default_configuration() {
    laws::check::<MatrixProfile>(&Config::default(), records());
}

#[test]
fn where_every_cap_is_soon_reached_and_novel_sequences_are_told() {
    let tight = Config { training: 4, store_max: 3, hosts_max: 2, reorder_ms: 700_000 / 2, novel_sequences: true, ..Config::default() };
    laws::check::<MatrixProfile>(&tight, records());
}
