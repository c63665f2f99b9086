//! Every example of every version of every subject is read as today's type, and comes back from its encoding as it was.
//! Other tests walk the same files through the processors.

use std::{collections::BTreeSet, fs, path::PathBuf};

use schemas::{
    Alert, Feedback, FeedbackKind, Heartbeat, Incident, LogRecord, ParsedLog, Silence, Subject, TemplateRecord, Verdict, alert, incident,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The examples of a subject, all versions, as name and content.
fn examples(subject: &str) -> Vec<(String, Value)> {
    let mut files: Vec<PathBuf> = Vec::new();
    for version in fs::read_dir(folder("examples").join(subject)).expect("examples") {
        files.extend(fs::read_dir(version.expect("a version").path()).expect("files").map(|file| file.expect("a file").path()));
    }
    files.sort();
    assert!(files.len() >= 5, "{subject} has {} examples", files.len());
    let read = |file: &PathBuf| serde_json::from_slice(&fs::read(file).expect("can be read")).expect("JSON");
    files.iter().map(|file| (file.display().to_string(), read(file))).collect()
}

/// Reads an example, which must say all that the type says.
fn read<T: DeserializeOwned + Serialize>(name: &str, example: &Value) -> T {
    let value: T = serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(serde_json::to_value(&value).expect("JSON"), *example, "{name}");
    value
}

fn round_trip<T: Subject + PartialEq + std::fmt::Debug>() {
    for (name, example) in examples(T::SUBJECT) {
        let value: T = read(&name, &example);
        let bytes = value.to_bytes().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(T::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}")), value, "{name}");
    }
}

#[test]
fn raw_lines() {
    round_trip::<LogRecord>();
}

#[test]
fn parsed_lines() {
    round_trip::<ParsedLog>();
}

#[test]
fn templates() {
    round_trip::<TemplateRecord>();
}

#[test]
fn verdicts() {
    round_trip::<Verdict>();
}

#[test]
fn heartbeats() {
    round_trip::<Heartbeat>();
}

#[test]
fn alerts() {
    for (name, example) in examples("alerts") {
        let alert: Alert = read(&name, &example);
        let mut sanitized = alert.clone();
        sanitized.sanitize().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(sanitized, alert, "{name} is as published: within the limits, nothing to escape");
        assert_eq!(alert.fingerprint, alert::fingerprint(&alert.name, &alert.labels), "{name}");
    }
}

#[test]
fn incidents() {
    for (name, example) in examples("incidents") {
        let incident: Incident = read(&name, &example);
        let mut sanitized = incident.clone();
        sanitized.sanitize();
        assert_eq!(sanitized, incident, "{name} is as published: within the limits, nothing to escape");
        let first = incident.alerts.first().unwrap_or_else(|| panic!("{name} has alerts"));
        assert_eq!(incident.id, incident::incident_id(&first.fingerprint, first.started_at), "{name}");
    }
}

#[test]
fn silences() {
    for (name, example) in examples("control.silences") {
        let silence: Silence = read(&name, &example);
        silence.check().unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn corrections() {
    for (name, example) in examples("feedback") {
        let feedback: Feedback = read(&name, &example);
        assert_ne!(feedback.kind, FeedbackKind::Other, "{name} is of a kind that has a reader");
        assert_eq!(feedback.undo_of.is_some(), feedback.kind == FeedbackKind::Undo, "{name}");
    }
}

#[test]
fn each_subject_and_version_has_examples_and_nothing_else_has() {
    let list = |of: &str| -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for subject in fs::read_dir(folder(of)).expect("a folder").map(|entry| entry.expect("an entry").path()).filter(|path| path.is_dir())
        {
            for version in fs::read_dir(&subject).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                let file = version.file_name().expect("a name").to_string_lossy().into_owned();
                let version = file.split('.').next().expect("a version").to_string();
                names.insert(format!("{}/{version}", subject.file_name().expect("a name").to_string_lossy()));
            }
        }
        names
    };
    let published: BTreeSet<String> = list("avsc").union(&list("json")).cloned().collect();
    assert_eq!(list("examples"), published);
}

#[test]
fn bytes_that_are_no_text_stay_readable_in_json() {
    let record = LogRecord { raw: b"caf\xe9".to_vec(), ..LogRecord::default() };
    let json = serde_json::to_value(&record).expect("JSON");
    assert_eq!(json["raw"], serde_json::json!([99, 97, 102, 233]));
    assert_eq!(serde_json::from_value::<LogRecord>(json).expect("a record"), record);
}
