//! The JSON schema of alerts says what the type says, and every example keeps to it.

use schemas::{Alert, AlertStatus, EventTime, Evidence, Model, alert};
use serde_json::{Value, json};

use crate::validator::{examples, keys, schema, severities, texts, violations};

const SUBJECT: &str = "alerts";

/// An alert in which every optional field is present.
fn full() -> Alert {
    Alert {
        id: "0".repeat(32),
        fingerprint: "0".repeat(32),
        name: "Full".into(),
        source: vec!["test".into()],
        ends_at: Some(EventTime(0)),
        url: Some("http://127.0.0.1/".into()),
        lead_time_seconds: Some(1.5),
        evidence: vec![Evidence { topic: "t".into(), partition: 0, offset: 0 }],
        model: Model { name: "m".into(), version: "1".into(), config_hash: "0".into() },
        ..Alert::default()
    }
}

#[test]
fn the_schema_has_the_fields_of_the_type() {
    let (schema, full) = (schema(SUBJECT), json!(full()));
    let bare = json!(Alert::default());
    assert_eq!(keys(&schema["properties"]), keys(&full));
    assert_eq!(texts(&schema["required"]), keys(&bare));
    let inner = |field: &str| &schema["properties"][field];
    assert_eq!(keys(&inner("model")["properties"]), keys(&full["model"]));
    assert_eq!(texts(&inner("model")["required"]), keys(&bare["model"]));
    assert_eq!(keys(&inner("evidence")["items"]["properties"]), keys(&full["evidence"][0]));
    assert_eq!(violations(&schema, &full, ""), [""; 0]);
}

#[test]
fn the_schema_has_the_words_and_limits_of_the_type() {
    let schema = &schema(SUBJECT)["properties"];
    assert_eq!(texts(&schema["severity"]["enum"]), texts(&severities()));
    let statuses = [AlertStatus::Firing, AlertStatus::Resolved].map(|s| json!(s));
    assert_eq!(texts(&schema["status"]["enum"]), statuses.iter().filter_map(Value::as_str).collect());
    assert_eq!(schema["message"]["maxLength"], alert::MESSAGE_BYTES_MAX);
    assert_eq!(schema["description"]["maxLength"], alert::TEXT_BYTES_MAX);
    assert_eq!(schema["labels"]["maxProperties"], alert::LABELS_MAX);
    assert_eq!(schema["labels"]["additionalProperties"]["maxLength"], alert::LABEL_BYTES_MAX);
    assert_eq!(schema["annotations"]["maxProperties"], alert::ANNOTATIONS_MAX);
    assert_eq!(schema["annotations"]["additionalProperties"]["maxLength"], alert::TEXT_BYTES_MAX);
    assert_eq!(schema["evidence"]["maxItems"], alert::EVIDENCE_MAX);
}

#[test]
fn every_example_keeps_to_the_schema() {
    for (name, example) in examples(SUBJECT) {
        assert_eq!(violations(&schema(SUBJECT), &example, ""), [""; 0], "{name}");
    }
}

#[test]
fn what_breaks_the_schema_is_found() {
    let broken = |field: &str, with: Value| {
        let mut alert = json!(full());
        alert[field] = with;
        violations(&schema(SUBJECT), &alert, "").len()
    };
    assert_eq!(broken("status", json!("over")), 1);
    assert_eq!(broken("score", json!("high")), 1);
    assert_eq!(broken("message", json!("m".repeat(257))), 1);
    assert_eq!(broken("labels", json!({"not a key": "v"})), 1);
    assert_eq!(broken("evidence", json!([{"topic": "t", "partition": -1}])), 2);
    assert_eq!(broken("startedAt", json!("yesterday")), 1);
}
