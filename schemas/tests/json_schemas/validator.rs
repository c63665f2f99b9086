//! Just enough of JSON Schema to hold ours, and what the tests of all JSON topics share.

use std::{collections::BTreeSet, fs, path::PathBuf};

use schemas::{EventTime, Node, Severity};
use serde_json::{Value, json};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The published schema of a subject.
pub fn schema(subject: &str) -> Value {
    serde_json::from_slice(&fs::read(folder("json").join(subject).join("v1.schema.json")).expect("the schema")).expect("JSON")
}

/// All examples of a subject, with their names.
pub fn examples(subject: &str) -> Vec<(String, Value)> {
    let files = fs::read_dir(folder("examples").join(subject).join("v1")).expect("examples").map(|entry| entry.expect("an entry").path());
    let read = |file: &PathBuf| serde_json::from_slice(&fs::read(file).expect("can be read")).expect("JSON");
    let examples: Vec<_> = files.map(|file| (file.display().to_string(), read(&file))).collect();
    assert!(examples.len() >= 5, "{subject} has {} examples", examples.len());
    examples
}

/// What breaks the keywords that our schema uses; others are a failure of this test, not silently passed.
pub fn violations(schema: &Value, value: &Value, place: &str) -> Vec<String> {
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

/// The patterns of the schemas, by hand.
fn matches(pattern: &str, text: &str) -> bool {
    let first = text.chars().next().unwrap_or(' ');
    match pattern {
        "^[0-9a-f]{32}$" => text.len() == 32 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')),
        "^[A-Z][A-Za-z0-9]*$" => first.is_ascii_uppercase() && text.chars().all(|c| c.is_ascii_alphanumeric()),
        "^[a-zA-Z_][a-zA-Z0-9_]*$" => {
            (first.is_ascii_alphabetic() || first == '_') && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }
        "^(host|vm|service|peer)/." => text.parse::<Node>().is_ok(),
        other => panic!("pattern {other} is not understood here"),
    }
}

/// The keys of an object.
pub fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// The words for severities, sorted as the words of a schema come back.
pub fn severities() -> Value {
    let mut words = [Severity::Low, Severity::Info, Severity::Warning, Severity::High, Severity::Critical].map(|s| s.to_string());
    words.sort();
    json!(words)
}

/// The texts of an array.
pub fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
