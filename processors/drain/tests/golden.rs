//! What the processor makes of every example of its input and of a log of our own, written down. Each is walked through
//! twice, straight and with a restore before every few records; both must give the same.

mod desk;

use std::{fmt::Write, path::Path};

use desk::{Desk, Output, T0, line};
use drain::Config;
use schemas::{EventTime, LogRecord, Subject};
use serde_json::Value;

/// Walks records through a processor, restoring it before every `restore_every`-th.
fn walk(records: &[(LogRecord, EventTime)], restore_every: usize) -> Vec<Vec<Output>> {
    let mut desk = Desk::new(Config::default());
    let mut outputs = Vec::new();
    for (index, (record, appended_at)) in records.iter().enumerate() {
        if index % restore_every == restore_every - 1 {
            desk.restore();
        }
        outputs.push(desk.record(&record.to_bytes().expect("fits the schema"), *appended_at));
    }
    outputs.push(desk.silence(1_200_000));
    outputs
}

fn walk_both_ways(records: &[(LogRecord, EventTime)]) -> Vec<Vec<Output>> {
    let straight = walk(records, usize::MAX);
    for restore_every in [1, 7] {
        let restored = walk(records, restore_every);
        assert!(straight == restored, "restored before every {restore_every}th record it gives something else");
    }
    straight
}

#[test]
fn every_example_of_raw_lines() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/examples/logs.raw/v1");
    let mut files: Vec<_> = std::fs::read_dir(&folder).expect("the examples").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 10, "{} examples", files.len());
    let read = |path: &std::path::PathBuf| serde_json::from_slice(&std::fs::read(path).expect("can be read")).expect("a log record");
    let records: Vec<(LogRecord, EventTime)> = files.iter().map(read).zip((0..).map(|ms| T0.plus_millis(ms))).collect();

    let mut text = String::new();
    let steps = walk_both_ways(&records);
    let names = files.iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned());
    for (name, outputs) in names.chain(["twenty minutes of silence".to_string()]).zip(&steps) {
        writeln!(text, "# {name}").expect("to a string");
        for output in outputs {
            let mut value = output.value.clone();
            value.as_object_mut().expect("an object").remove("model"); // changes with each release
            let value = serde_json::to_string_pretty(&value).expect("JSON");
            writeln!(text, "{} {} {value}", output.topic, output.key.escape_debug()).expect("to a string");
        }
    }
    insta::assert_snapshot!(text);
}

/// Programs of four hosts over six minutes: steady ones, one that counts names, one that breaks.
fn log() -> Vec<(LogRecord, EventTime)> {
    let users = ["ada", "bob", "cleo", "dan", "eve", "finn", "gus", "hal"];
    let mut records = Vec::new();
    for k in 0..360i64 {
        let host = ["web-1", "web-2", "db-7", "hv-3"][k as usize % 4];
        let user = users[k as usize / 12 % users.len()];
        let (severity, message) = match k % 12 {
            0 | 4 | 8 => (6, format!("GET /cart/{} took {} ms", k * 7, k % 90)),
            1 | 5 => (6, format!("Accepted publickey for {user} from 10.0.{}.{} port {}", k % 4, k % 250, 40_000 + k)),
            2 | 10 => (6, format!("checkpoint complete: wrote {} buffers ({}.{}%)", k * 3, k % 9, k % 10)),
            3 | 7 => (5, format!("vm-{} cpu steal {}%", k % 5, k % 30)),
            6 => (4, format!("session of {user} expired")),
            9 if k > 200 => (3, format!("connection to 10.0.0.{}:5432 refused: too many clients", k % 3)),
            9 => (6, "pool is warm".to_string()),
            _ if k == 311 => (2, "filesystem on sdb went read-only".to_string()),
            _ => (7, format!("key={user} state=ok id={k:08x}")),
        };
        records.push((line(host, k * 1_000, severity, &message), T0.plus_millis(k * 1_000 + 200)));
    }
    records
}

#[test]
fn a_log_of_our_own() {
    let mut text = String::new();
    for output in walk_both_ways(&log()).iter().flatten() {
        let field = |name: &str| match &output.value[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let params = || {
            output.value["params"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|p| Some(format!("{}={}", p["type"].as_str()?, p["value"].as_str()?)))
        };
        match output.topic.as_str() {
            "logs.parsed.v1" => {
                let params = params().collect::<Vec<_>>().join(" ");
                writeln!(text, "{} {} {} | {} | {params}", field("host"), field("match"), field("template_id"), field("template"))
            }
            "logs.templates.v1" => {
                let change = &output.value["change"];
                writeln!(
                    text,
                    "  template {} v{} n{} {change} → {}",
                    field("template_id"),
                    field("version"),
                    field("count"),
                    field("superseded_by")
                )
            }
            _ => writeln!(
                text,
                "  alert {} {} {} {} {}",
                field("name"),
                field("status"),
                field("severity"),
                field("startedAt"),
                field("message")
            ),
        }
        .expect("to a string");
    }
    insta::assert_snapshot!(text);
}
