//! The JSON schema of alerts says what the type says, and every example keeps to it.

use std::{collections::BTreeSet, fs, path::PathBuf};

use schemas::{Alert, AlertStatus, EventTime, Evidence, Model, Severity, alert};
use serde_json::{Value, json};

fn schema() -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("json/alerts/v1.schema.json");
    serde_json::from_slice(&fs::read(path).expect("the schema")).expect("JSON")
}

/// What breaks the keywords that our schema uses; others are a failure of this test, not silently passed.
fn violations(schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut demand = |keyword: &str, holds: bool| {
        if !holds {
            found.push(format!("{place}: {keyword}"));
        }
    };
    let length = |value: &Value| value.as_str().map_or(0, |text| text.chars().count()) as u64;
    let entries = |value: &Value| value.as_object().map_or(0, serde_json::Map::len) as u64;
    let items = |value: &Value| value.as_array().map_or(0, Vec::len) as u64;
    for (keyword, rule) in schema.as_object().expect("a schema is an object") {
        let holds = match keyword.as_str() {
            "type" => match rule.as_str().expect("one type") {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "number" => value.is_number(),
                "integer" => value.is_i64() || value.is_u64(),
                other => panic!("type {other}"),
            },
            "enum" => rule.as_array().is_some_and(|allowed| allowed.contains(value)),
            "required" => rule.as_array().into_iter().flatten().all(|name| name.as_str().is_some_and(|name| value.get(name).is_some())),
            "maxLength" => length(value) <= rule.as_u64().expect("a number"),
            "maxItems" => items(value) <= rule.as_u64().expect("a number"),
            "minItems" => items(value) >= rule.as_u64().expect("a number"),
            "maxProperties" => entries(value) <= rule.as_u64().expect("a number"),
            "minimum" => value.as_f64() >= rule.as_f64(),
            "format" => rule == "date-time" && value.as_str().and_then(EventTime::parse).is_some(),
            "pattern" => matches(rule.as_str().expect("a pattern"), value.as_str().unwrap_or_default()),
            "propertyNames" => value.as_object().into_iter().flatten().all(|(name, _)| violations(rule, &json!(name), place).is_empty()),
            "properties" | "additionalProperties" | "items" => true, // below
            "$schema" | "$id" | "title" | "description" => true,
            other => panic!("keyword {other} is not understood here"),
        };
        demand(keyword, holds);
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let rule = schema.get("properties").and_then(|rules| rules.get(name)).or_else(|| schema.get("additionalProperties"));
        found.extend(rule.into_iter().flat_map(|rule| violations(rule, inner, &format!("{place}.{name}"))));
    }
    for inner in value.as_array().into_iter().flatten() {
        found.extend(schema.get("items").into_iter().flat_map(|rule| violations(rule, inner, place)));
    }
    found
}

/// The three patterns of the schema, by hand.
fn matches(pattern: &str, text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    match pattern {
        "^[0-9a-f]{32}$" => text.len() == 32 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')),
        "^[A-Z][A-Za-z0-9]*$" => first.is_ascii_uppercase() && text.chars().all(|c| c.is_ascii_alphanumeric()),
        "^[a-zA-Z_][a-zA-Z0-9_]*$" => {
            (first.is_ascii_alphabetic() || first == '_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }
        other => panic!("pattern {other} is not understood here"),
    }
}

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

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

#[test]
fn the_schema_has_the_fields_of_the_type() {
    let (schema, full) = (schema(), json!(full()));
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
    let schema = &schema()["properties"];
    let severities = [Severity::Low, Severity::Info, Severity::Warning, Severity::High, Severity::Critical].map(|s| json!(s));
    assert_eq!(texts(&schema["severity"]["enum"]), severities.iter().filter_map(Value::as_str).collect());
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
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/alerts/v1");
    let mut seen = 0;
    for file in fs::read_dir(folder).expect("examples").map(|entry| entry.expect("an entry").path()) {
        let example = serde_json::from_slice(&fs::read(&file).expect("can be read")).expect("JSON");
        assert_eq!(violations(&schema(), &example, ""), [""; 0], "{}", file.display());
        seen += 1;
    }
    assert!(seen >= 5);
}

#[test]
fn what_breaks_the_schema_is_found() {
    let broken = |field: &str, with: Value| {
        let mut alert = json!(full());
        alert[field] = with;
        violations(&schema(), &alert, "").len()
    };
    assert_eq!(broken("status", json!("over")), 1);
    assert_eq!(broken("score", json!("high")), 1);
    assert_eq!(broken("message", json!("m".repeat(257))), 1);
    assert_eq!(broken("labels", json!({"not a key": "v"})), 1);
    assert_eq!(broken("evidence", json!([{"topic": "t", "partition": -1}])), 2);
    assert_eq!(broken("startedAt", json!("yesterday")), 1);
}
