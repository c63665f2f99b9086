//! `tree_scope = "host"`: what one host writes changes nothing for another.

mod desk;

use desk::{Desk, Output, line};
use drain::{ActivityConfig, Config, Mode, TreeScope};
use proptest::prelude::*;
use schemas::LogRecord;

fn config(mode: Mode) -> Config {
    Config {
        mode,
        ini: String::new(),
        tree_scope: TreeScope::Host,
        clusters_max: 12,
        warmup_lines: 5,
        warmup_min: 0,
        activity: ActivityConfig { bucket_s: 1, templates_max: 8 },
        seed_templates: vec!["link <*> is up".into()],
        ..Config::default()
    }
}

/// Messages that hosts have in common, that merge, and that never repeat.
fn message() -> impl Strategy<Value = (i32, String)> {
    let word = proptest::sample::select(vec!["ada", "bob", "cleo", "dan", "eve", "finn", "gus", "hal"]);
    let text = prop_oneof![
        4 => word.prop_map(|word| format!("session of {word} expired")),
        2 => (0..99u32).prop_map(|n| format!("link {n} is up")),
        2 => "[a-z]{1,5} [a-z]{1,5} [a-z]{1,5}",
        1 => "(user|disk) \\{\"msg\":\"[a-b] is [0-9]\"",
    ];
    (0..8i32, text)
}

/// What concerns host `a`.
fn of_a(outputs: Vec<Output>) -> Vec<Output> {
    let concerns = |output: &Output| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        match output.topic.as_str() {
            "logs.templates.v1" => text(&output.value["instance"]).ends_with("/a"),
            "logs.parsed.v1" => output.key == "a",
            _ => text(&output.value["labels"]["host"]) == "a" || text(&output.value["labels"]["instance"]).ends_with("/a"),
        }
    };
    outputs.into_iter().filter(concerns).collect()
}

fn run(mode: Mode, records: &[(u64, LogRecord)]) -> Vec<Output> {
    let mut desk = Desk::new(config(mode));
    let mut outputs = Vec::new();
    for (offset, record) in records {
        desk.skip_to(*offset);
        outputs.extend(of_a(desk.line(record)));
        if offset % 37 == 0 {
            desk.restore();
        }
    }
    outputs
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn another_host_between_the_lines_changes_nothing(
        lines in proptest::collection::vec((message(), message(), message()), 1..90),
        drain3 in any::<bool>(),
    ) {
        let mode = if drain3 { Mode::Drain3 } else { Mode::Guarded };
        let mut together = Vec::new();
        for (k, (a, b, c)) in lines.iter().enumerate() {
            // The others write at the time of a line of `a`, so that they do not move event time on.
            for (n, (host, (severity, text))) in [("a", a), ("b", b), ("c", c)].into_iter().enumerate() {
                together.push((k as u64 * 3 + n as u64, line(host, k as i64 * 300, *severity, text)));
            }
        }
        let alone: Vec<_> = together.iter().filter(|(_, record)| record.host == "a").cloned().collect();
        let (together, alone) = (run(mode, &together), run(mode, &alone));
        prop_assert!(!alone.is_empty());
        prop_assert_eq!(together, alone);
    }
}

#[test]
fn an_explosion_is_of_one_host() {
    let mut desk = Desk::new(config(Mode::Guarded));
    let (mut told, mut unknown) = (Vec::new(), Vec::new());
    for k in 0..60 {
        let letters: String = (0..6).map(|n| char::from(b'a' + ((k * 7 + n * k) % 26) as u8)).collect();
        for (host, text) in [("noisy", format!("{letters} {letters}x {letters}y")), ("calm", "all is well".into())] {
            for output in desk.line(&line(host, k * 1_000, 6, &text)) {
                if output.value["name"] == "TemplateExplosion" {
                    told.push(output.value["labels"]["instance"].as_str().unwrap_or_default().to_owned());
                }
                if output.value["match"] == "UNKNOWN" {
                    unknown.push(output.key);
                }
            }
        }
    }
    assert_eq!(told, ["logs.raw.v1/0/noisy"]);
    assert!(!unknown.is_empty() && unknown.iter().all(|host| host == "noisy"), "{unknown:?}");
}

#[test]
fn a_state_of_another_mode_or_scope_is_refused_with_what_to_do() {
    use drain::DrainProcessor;
    use stream_core::{Partition, Processor, SnapshotReader, SnapshotWriter, TopicPartition};
    let at = TopicPartition::new(&"logs.raw.v1".into(), Partition(0));
    let written = DrainProcessor::new(&Config::default(), &at).expect("valid");
    let mut writer = SnapshotWriter::default();
    written.snapshot(&mut writer).expect("written");
    let sections = writer.into_sections();
    let reader = SnapshotReader::new(&sections, DrainProcessor::STATE_VERSION, 0, 0);
    for other in [config(Mode::Guarded), Config { mode: Mode::Drain3, ini: String::new(), ..Config::default() }] {
        let error = DrainProcessor::restore(&reader, &other, &at).err().expect("refused").to_string();
        assert!(error.contains("nephoscope state reset drain"), "{error}");
    }
}

#[test]
fn every_mode_stays_within_the_limit_of_the_engine() {
    use drain::DrainProcessor;
    use stream_core::Processor;
    const STATE_BYTES_MAX: u64 = 128 << 20; // `state.state_bytes_max` of the runtime
    for mode in [Mode::Guarded, Mode::Drain3] {
        for tree_scope in [TreeScope::Instance, TreeScope::Host] {
            let bound = DrainProcessor::state_bytes_bound(&Config { mode, tree_scope, ..Config::default() });
            assert!(bound <= STATE_BYTES_MAX, "{mode:?} {tree_scope:?}: {bound}");
        }
    }
}
