//! Regressions, each named by the problem it stands for.

use drain::{ChangeKind, Config, Drain, MaskRule, Match, ParamType, Snapshot, SnapshotError, TemplateId};

const SECOND: i64 = 1_000_000_000;

fn drain(config: &Config) -> Drain {
    Drain::new(config).expect("valid configuration")
}

/// Text of the template of each line, after the last one.
fn texts(drain: &mut Drain, lines: &[&str]) -> Vec<String> {
    let ids: Vec<TemplateId> = lines.iter().map(|line| drain.parse(line, 0).template_id).collect();
    assert_eq!(ids.len(), lines.len());
    drain.templates().map(|template| template.text.to_string()).collect()
}

#[test]
fn vm_started_and_vm_paused_are_two_events() {
    let mut drain = drain(&Config::default());
    let instance = |id: u32, verb: &str| format!("[instance: b9000564-fe1a-409b-b8cc-{id:012}] VM {verb} (Lifecycle Event)");
    let started = drain.parse(&instance(1, "Started"), 0).template_id;
    let paused = drain.parse(&instance(2, "Paused"), 0).template_id;
    assert_ne!(started, paused);
    assert_eq!(drain.parse(&instance(3, "Started"), 0).template_id, started);
    assert_eq!(drain.templates().count(), 2);
}

#[test]
fn many_words_at_one_place_are_names() {
    let mut drain = drain(&Config::default());
    for user in ["ada", "bob", "eve", "joe", "lia"] {
        assert_eq!(drain.parse(&format!("account of {user} locked"), 0).matched, Match::New);
    }
    let line = "account of max locked";
    let parsed = drain.parse(line, 0);
    assert_eq!(&**parsed.template, "account of <*> locked");
    assert_eq!(parsed.matched, Match::Tree, "the sixth name is no new event");
    let change = parsed.change.expect("a merge");
    assert_eq!((change.kind, change.from.len()), (ChangeKind::Merged, 6));
    assert!(change.from.is_sorted());
    assert_eq!(parsed.params.iter().map(|p| p.value(line)).collect::<Vec<_>>(), ["max"]);
    let merged = parsed.template_id;
    let superseded = parsed.events.iter().filter(|event| event.superseded_by == Some(merged)).count();
    assert_eq!(superseded, 6, "each replaced template says what stands for it");
    let info = drain.template(merged).expect("live");
    assert_eq!((info.count, info.version), (6, 2));
    assert_eq!(drain.templates().count(), 1);
}

#[test]
fn a_pinned_word_or_template_never_becomes_a_parameter() {
    let config = Config { pin: vec!["critical".into(), "disk state fatal now".into()], ..Config::default() };
    let mut drain = drain(&config);
    let states = ["critical", "fatal", "good", "fair", "poor", "bad", "odd", "new"];
    let lines: Vec<String> = states.iter().map(|state| format!("disk state {state} now")).collect();
    let kept = texts(&mut drain, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(kept.contains(&"disk state critical now".to_owned()), "{kept:?}");
    assert!(kept.contains(&"disk state fatal now".to_owned()), "{kept:?}");
    assert!(kept.contains(&"disk state <*> now".to_owned()), "{kept:?}");
}

#[test]
fn exceptions_are_told_apart_by_name() {
    let mut drain = drain(&Config::default());
    let kept = texts(&mut drain, &["task failed: java.io.IOException", "task failed: java.lang.OutOfMemoryError"]);
    assert_eq!(kept.len(), 2, "{kept:?}");
}

#[test]
fn lines_of_one_event_meet_although_their_token_counts_differ() {
    let mut drain = drain(&Config::default());
    let kept = texts(
        &mut drain,
        &[
            "closed, 1024 bytes (1.00 KB) sent, lifetime 00:12",
            "closed, 12 bytes sent, lifetime <1 sec",
            "peer 10.0.0.1 () gone",
            "peer 10.0.0.2 (10.0.0.2) gone",
            "peer 10.0.0.3 gone",
            "ask 10.0.0.3 to delete blk_1",
            "ask 10.0.0.3 to delete blk_-2 blk_3 blk_4",
        ],
    );
    let mut expected = vec!["closed, <*> bytes sent, lifetime <*>", "peer <*> gone", "ask <*> to delete blk_<*>"];
    expected.sort_by_key(|text| TemplateId::of(text));
    assert_eq!(kept, expected);
}

#[test]
fn one_value_among_words_makes_the_place_a_parameter_even_at_the_start() {
    let mut drain = drain(&Config::default());
    let kept = texts(&mut drain, &["rack went out of power", "rack-17 went out of power", "room went out of power"]);
    assert_eq!(kept, ["<*> went out of power"]);
}

#[test]
fn two_short_lines_have_too_little_in_common_to_be_one_event() {
    let mut drain = drain(&Config::default());
    let kept = texts(&mut drain, &["state lost", "state gained", "state 55"]);
    assert_eq!(kept.len(), 3, "{kept:?}");
}

#[test]
fn keys_are_words_however_many_there_are() {
    let mut drain = drain(&Config::default());
    let lines: Vec<String> = ["java.home", "java.vendor", "os.name", "os.arch", "user.dir", "user.home", "user.name"]
        .iter()
        .map(|key| format!("environment:{key}=none"))
        .collect();
    assert_eq!(texts(&mut drain, &lines.iter().map(String::as_str).collect::<Vec<_>>()).len(), 7);
}

#[test]
fn a_line_without_bounds_becomes_a_bounded_template() {
    let mut drain = drain(&Config::default());
    for line in ["word ".repeat(100_000), "x".repeat(1 << 20), "a=b;".repeat(5_000), "é ".repeat(10_000), "1,2 3:4 ".repeat(9_000)] {
        let parsed = drain.parse(&line, 0);
        assert!(parsed.template.len() <= drain::TEXT_BYTES_MAX && parsed.template.ends_with("<*>"), "{}", parsed.template.len());
        assert!(parsed.params.len() <= drain::PARAMS_MAX && parsed.params.iter().all(|p| p.value(&line).len() <= drain::VALUE_BYTES_MAX));
        assert!(parsed.params_truncated);
        assert!(drain.templates().all(|template| template.tokens <= 256));
    }
}

#[test]
fn the_least_recently_matched_template_leaves_and_candidates_do_not_count() {
    let config = Config { clusters_max: 8, ..Config::default() };
    let mut drain = drain(&config);
    let lines = ["alpha beta gamma", "delta epsilon zeta", "eta theta iota"];
    let first = drain.parse(lines[0], 0).template_id;
    drain.parse(lines[1], 0);
    drain.parse(lines[2], 0);
    for extra in ["one a", "two b", "three c", "four d", "five e"] {
        drain.parse(extra, 0);
    }
    // The same skeleton as the first, but another event: it is compared with the first and must not keep it alive.
    let parsed = drain.parse("kappa lambda my", 0);
    let gone: Vec<TemplateId> = parsed.events.iter().filter(|e| e.change.kind == ChangeKind::Evicted).map(|e| e.template.id).collect();
    assert_eq!(gone, [first]);
    drain.parse(lines[1], 0);
    let parsed = drain.parse("my ny xi", 0);
    let gone: Vec<String> =
        parsed.events.iter().filter(|e| e.change.kind == ChangeKind::Evicted).map(|e| e.template.text.to_string()).collect();
    assert_eq!(gone, [lines[2]], "a match keeps a template");
}

#[test]
fn templates_do_not_explode() {
    let config = Config { clusters_max: 100, ..Config::default() };
    let mut drain = drain(&config);
    let word = |k: usize| k.to_string().bytes().map(|b| char::from(b - b'0' + b'a')).collect::<String>();
    let line = |k: usize| format!("{} {} {}", word(k), word(k + 7_000), word(k * 31));
    let matches: Vec<Match> = (0..1000).map(|k| drain.parse(&line(k), SECOND).matched).collect();
    assert_eq!(matches.iter().filter(|m| **m == Match::New).count(), 126, "the cap, and a quarter of it once more");
    let another = line(5000);
    let unknown = drain.parse(&another, 2 * SECOND);
    assert_eq!((unknown.template_id, unknown.version, &**unknown.template), (TemplateId::UNKNOWN, 0, ""));
    assert!(drain.is_paused(2 * SECOND));
    assert_eq!(drain.parse(&line(999), 3 * SECOND).matched, Match::Unknown);
    assert_eq!(drain.parse(&line(100), 3 * SECOND).matched, Match::Exact, "what is known stays known");
    assert_eq!(drain.parse(&line(6000), 700 * SECOND).matched, Match::New, "after ten minutes it learns again");
    assert_eq!(drain.templates().count(), 100);
}

#[test]
fn inference_changes_nothing() {
    let config = Config { learn: false, seed_templates: vec!["session opened for user <*>".into()], ..Config::default() };
    let mut drain = drain(&config);
    assert_eq!(drain.events().len(), 1);
    let known = drain.parse("session opened for user ada", 0);
    assert_eq!((known.template_id.to_string().as_str(), known.matched, known.change), ("0c042ead4b207399", Match::Exact, None));
    let unknown = drain.parse("session closed for user ada", 0);
    assert_eq!((unknown.template_id, unknown.matched), (TemplateId::UNKNOWN, Match::Unknown));
    assert_eq!(drain.templates().count(), 1);
}

#[test]
fn seeds_are_planted_once() {
    let config = Config { clusters_max: 4, seed_templates: vec!["took <:NUM:> ms to  start".into()], ..Config::default() };
    let mut drain = drain(&config);
    assert_eq!(drain.events()[0].change.kind, ChangeKind::Seeded);
    for line in ["a b", "c d", "e f", "g h"] {
        drain.parse(line, 0);
    }
    let restored = Drain::restore(&config, &drain.snapshot()).expect("own snapshot");
    assert_eq!(restored.templates().count(), 4);
    assert!(restored.templates().all(|template| !template.text.starts_with("took")), "an evicted seed stays away");
    let more = Config { clusters_max: 5, seed_templates: vec!["took <*> ms to start".into(), "new seed".into()], ..config };
    let restored = Drain::restore(&more, &drain.snapshot()).expect("own snapshot");
    assert_eq!(restored.events().iter().map(|e| &*e.template.text).collect::<Vec<_>>(), ["new seed"]);
}

#[test]
fn user_masks_run_first_and_name_their_values() {
    let rule = |name: &str, pattern: &str| MaskRule { name: name.into(), pattern: pattern.into() };
    let config = Config { masks: vec![rule("order", r"order-[a-z]+"), rule("any", r"[a-z]+-[a-z]+")], ..Config::default() };
    let mut drain = drain(&config);
    let line = "shipped order-abc to ship-to 10.0.0.1 in 5 ms";
    let parsed = drain.parse(line, 0);
    assert_eq!(&**parsed.template, "shipped <*> to <*> in <*>");
    let params: Vec<(ParamType, &str)> = parsed.params.iter().map(|p| (p.kind, p.value(line))).collect();
    assert_eq!(params[0], (ParamType::Custom(0), "order-abc"));
    assert_eq!(params[1], (ParamType::Text, "ship-to 10.0.0.1"));
    assert_eq!(params[2], (ParamType::Quantity, "5 ms"));
    assert_eq!((parsed.type_name(parsed.params[0]), parsed.type_name(parsed.params[1])), ("order", "text"));
    let broken = Config { masks: vec![rule("bad", "(?<=x)y")], ..Config::default() };
    let error = Drain::new(&broken).expect_err("look-around is no linear pattern");
    assert!(error.to_string().contains("\"bad\""), "{error}");
}

#[test]
fn configuration_out_of_bounds_is_refused_by_name() {
    let refuse = |config: Config, key: &str| {
        let error = Drain::new(&config).expect_err(key).to_string();
        assert!(error.contains(&format!("drain.{key}: expected ")), "{error}");
    };
    refuse(Config { clusters_max: 0, ..Config::default() }, "clusters_max");
    refuse(Config { sim_th: f64::NAN, ..Config::default() }, "sim_th");
    refuse(Config { fanout: 1, ..Config::default() }, "fanout");
    refuse(Config { line_bytes_max: 1 << 20, ..Config::default() }, "line_bytes_max");
    refuse(Config { tokens_max: 257, ..Config::default() }, "tokens_max");
    assert!(toml_like(r#"{"clusters":1}"#).is_err(), "unknown keys are refused");

    fn toml_like(json: &str) -> Result<Config, serde_json::Error> {
        serde_json::from_str(json)
    }
}

#[test]
fn a_snapshot_that_lies_is_refused() {
    let mut drain = drain(&Config::default());
    drain.parse("first line here", 0);
    drain.parse("second 55 line", 0);
    let good = drain.snapshot();
    let config = Config::default();
    let refused = |snapshot: Snapshot| Drain::restore(&config, &snapshot).expect_err("refused");
    assert!(matches!(refused(Snapshot::default()), SnapshotError::Decode { section: "templates", .. }));
    assert!(matches!(refused(Snapshot { usage: Vec::new(), ..good.clone() }), SnapshotError::Decode { section: "usage", .. }));
    let trailing = Snapshot { templates: [good.templates.as_slice(), &[0]].concat(), ..good.clone() };
    assert!(matches!(refused(trailing), SnapshotError::Invalid { .. }));
    let text = good.templates.windows(4).position(|w| w == b"line").expect("text");
    let mut forged = good.clone();
    forged.templates[text..text + 4].copy_from_slice(b"1234");
    assert!(refused(forged).to_string().contains("expected a canonical template"));
    let mut huge = good.clone();
    huge.templates = vec![0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(matches!(refused(huge), SnapshotError::Decode { .. }), "a length beyond the bytes left allocates nothing");
    assert!(Drain::restore(&config, &good).is_ok());
}

#[test]
fn a_smaller_cap_keeps_the_most_recent_templates() {
    let mut drain = drain(&Config::default());
    for line in ["first thing", "second thing here", "third: thing"] {
        drain.parse(line, 0);
    }
    drain.parse("first thing", 0);
    let config = Config { clusters_max: 2, ..Config::default() };
    let restored = Drain::restore(&config, &drain.snapshot()).expect("own snapshot");
    let mut kept: Vec<String> = restored.templates().map(|t| t.text.to_string()).collect();
    kept.sort();
    assert_eq!(kept, ["first thing", "third: thing"]);
}
