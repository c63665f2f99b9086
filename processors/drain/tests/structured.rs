//! JSON, logfmt and stack traces through the processor, and seeds from files.

mod desk;

use desk::{Desk, Output, line};
use drain::{Config, Drain, Mode};
use schemas::LogRecord;

fn parsed(outputs: Vec<Output>) -> serde_json::Value {
    outputs.into_iter().find(|output| output.topic == "logs.parsed.v1").expect("each line is parsed").value
}

/// `name:type=value` of each parameter.
fn params(parsed: &serde_json::Value) -> Vec<String> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
    let params = parsed["params"].as_array().expect("a list");
    params.iter().map(|p| format!("{}:{}={}", text(&p["name"]), text(&p["type"]), text(&p["value"]))).collect()
}

#[test]
fn a_program_keeps_its_templates_when_it_changes_its_format() {
    let mut desk = Desk::new(Config::default());
    let lines = [
        "took 12 ms for order-7",
        r#"{"ts":"2026-05-03T10:00:00Z","msg":"took 13 ms for order-8","pod":"web-1"}"#,
        r#"ts=2026-05-03T10:00:01Z pod=web-1 msg="took 14 ms for order-9""#,
        r#"{"log":"{\"message\":\"took 15 ms for order-10\"}","stream":"stdout"}"#,
    ];
    let all: Vec<_> = lines.iter().enumerate().map(|(k, text)| parsed(desk.line(&line("a", k as i64, 6, text)))).collect();
    assert!(all.iter().all(|parsed| parsed["template"] == "took <*> for <*>" && parsed["template_id"] == all[0]["template_id"]), "{all:?}");
    assert_eq!(params(&all[1]), ["-:quantity=13 ms", "-:word=order-8", "ts:date=2026-05-03T10:00:00Z", "pod:word=web-1"]);
    assert_eq!(params(&all[3])[2..], ["stream:word=stdout"]);
}

#[test]
fn the_level_of_a_line_counts_where_its_transport_gives_none() {
    let text = r#"{"level":"fatal","msg":"no space left"}"#;
    let with = |severity: Option<i32>| LogRecord { severity, ..line("a", 0, 6, text) };
    let outputs = Desk::new(Config::default()).line(&with(None));
    assert!(outputs.iter().any(|output| output.value["name"] == "SevereLog"), "told at once");
    assert_eq!(parsed(outputs)["severity"], 2);
    let outputs = Desk::new(Config::default()).line(&with(Some(6)));
    assert_eq!(outputs.iter().filter(|output| output.topic == "alerts.v1").count(), 0);
    assert_eq!(parsed(outputs)["severity"], 6);
}

#[test]
fn frames_are_one_parameter_and_the_event_is_the_first_line() {
    let mut desk = Desk::new(Config::default());
    let plain = parsed(desk.line(&line("a", 0, 3, "request 17 failed")));
    let trace = "request 18 failed\njava.io.IOException: gone\n\tat a.b.C.d(C.java:5)\n\t... 12 more";
    let traced = parsed(desk.line(&line("a", 1, 3, trace)));
    assert_eq!((&traced["template_id"], &traced["template"]), (&plain["template_id"], &"request <*> failed".into()));
    assert_eq!(params(&traced), ["-:number=18".to_owned(), format!("-:stack={}", &trace[18..])]);
}

#[test]
fn a_seed_log_is_learnt_once_before_the_first_line_and_not_counted() {
    let folder = std::env::temp_dir().join(format!("nephoscope-drain-seed-{}", std::process::id()));
    std::fs::write(&folder, "job 1 of ada done\njob 2 of ada done\nlink up\n").expect("written");
    for mode in [Mode::Guarded, Mode::Drain3] {
        let config = Config { mode, ini: String::new(), seed_logs: folder.display().to_string(), learn: false, ..Config::default() };
        let config = config.with_files().expect("read");
        let mut drain = Drain::new(&config).expect("valid");
        let mut texts: Vec<String> = drain.templates().map(|t| format!("{} {}", t.count, t.text)).collect();
        texts.sort();
        assert_eq!(texts, ["0 job <*> of ada done", "0 link up"], "{mode:?}");
        assert_eq!(&**drain.parse("job 3 of ada done", 0).template, "job <*> of ada done", "{mode:?}");
        let restored = Drain::restore(&config, &drain.snapshot()).expect("own snapshot");
        assert!(restored.events().is_empty() && restored.templates().count() == 2, "{mode:?}");
    }
    std::fs::remove_file(&folder).expect("removed");
    let gone = Config { seed_logs: folder.display().to_string(), ..Config::default() }.with_files().expect_err("gone");
    assert!(gone.to_string().starts_with("drain.seed_logs: expected a file that can be read"), "{gone}");
}

#[test]
fn a_seed_template_of_drain3_is_matched() {
    let seed_templates = vec!["session <*> of <*> opened".to_owned()];
    let config = Config { mode: Mode::Drain3, ini: String::new(), seed_templates, learn: false, ..Config::default() };
    let mut drain = Drain::new(&config).expect("valid");
    let line = "session 17 of ada opened";
    let parsed = drain.parse(line, 0);
    assert_eq!(&**parsed.template, "session <*> of <*> opened");
    assert_eq!(parsed.params.iter().map(|p| p.value(line)).collect::<Vec<_>>(), ["17", "ada"]);
    assert_eq!(drain.parse("nothing like it", 0).version, 0);
}

#[test]
fn values_behind_the_masks_of_drain3_have_their_names() {
    let mut config = Config { mode: Mode::Drain3, ini: String::new(), ..Config::default() };
    config.files.ini = r#"[MASKING]
masking = [
    {"regex_pattern": "\\d+\\.\\d+\\.\\d+\\.\\d+", "mask_with": "IP"},
    {"regex_pattern": "(?<=from )<:IP:>:\\d+", "mask_with": "PEER"},
    {"regex_pattern": "(?<= )\\d+", "mask_with": "NUM"}
    ]
mask_prefix = <:
mask_suffix = :>
"#
    .into();
    let mut drain = Drain::new(&config).expect("valid");
    drain.parse("query a=17 from 10.0.0.1:5432 took 5 ms", 0);
    let text = "query b=18 from 10.0.0.2:5432 took 6 ms";
    let parsed = drain.parse(text, 0);
    assert_eq!(&**parsed.template, "query <*> from <*> took <*> ms");
    let values: Vec<_> = parsed.params.iter().map(|p| (parsed.type_name(*p), p.value(text))).collect();
    assert_eq!(values, [("word", "b=18"), ("PEER", "10.0.0.2:5432"), ("NUM", "6")]);
}
