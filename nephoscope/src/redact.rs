//! What of a record nobody is shown: [`redact`] applied to the forms in which a log stands on the bus.

use std::ops::Deref;

use redact::{RedactSettings, SECTION};
use schemas::{Incident, ParsedLog};
use serde::Deserialize;
use serde_json::Value;
use stream_runtime::config::{ConfigFile, ConfigFileError};

use crate::record::{LogLine, Record};

pub use redact::MASK;

/// Bytes of a template before a value that may tell what the value is.
const CONTEXT_BYTES: usize = 64;
const PLACEHOLDER: &str = "<*>";

/// Masks secrets in texts, alerts and records; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Redactor(redact::Redactor);

impl Deref for Redactor {
    type Target = redact::Redactor;

    fn deref(&self) -> &redact::Redactor {
        &self.0
    }
}

impl From<redact::Redactor> for Redactor {
    fn from(redactor: redact::Redactor) -> Self {
        Self(redactor)
    }
}

impl Redactor {
    /// Reads `[redact]`.
    ///
    /// # Errors
    /// If it has an unknown key or a pattern that cannot be meant.
    pub fn read(file: &mut ConfigFile) -> Result<Self, ConfigFileError> {
        Self::new(&file.section(SECTION)?)
    }

    fn new(settings: &RedactSettings) -> Result<Self, ConfigFileError> {
        let wrong = |error: redact::PatternError| ConfigFileError {
            place: None,
            key: format!("{SECTION}.patterns[{}]", error.index),
            problem: format!("{error}: {}", error.source),
        };
        redact::Redactor::new(settings).map(Self).map_err(wrong)
    }

    /// Masks the texts of an incident.
    pub fn incident(&self, incident: &mut Incident) {
        let reasons = incident.causes.iter_mut().map(|cause| &mut cause.because);
        let lines = incident.timeline.iter_mut().map(|entry| &mut entry.text);
        for text in reasons.chain(lines).chain([&mut incident.title]) {
            self.string(text);
        }
    }

    /// Masks a record as it is shown.
    pub fn record(&self, record: &mut Record) {
        let Some(value) = &mut record.value else { return };
        match record.subject.as_deref() {
            Some("logs.raw") => self.raw(value),
            Some("logs.parsed") => {
                self.parameters(value);
                self.value(value);
            }
            _ => self.value(value),
        }
    }

    /// A line whose bytes were masked is told by its text, since its positions no longer fit.
    fn raw(&self, value: &mut Value) {
        let message = LogLine::deserialize(&*value).map(|line| line.message().to_string()).unwrap_or_default();
        let before = value.get("raw").cloned();
        self.value(value);
        if value.get("raw") != before.as_ref()
            && let Some(fields) = value.as_object_mut()
        {
            for field in ["raw_base64", "message_start", "message_length"] {
                fields.remove(field);
            }
            fields.insert("message_text".into(), self.text(&message).into());
        }
    }

    /// A parameter stands apart from the words that say what it is, so it is looked at behind them.
    fn parameters(&self, value: &mut Value) {
        let Ok(parsed) = ParsedLog::deserialize(&*value) else { return };
        let Some(shown) = value.get_mut("params").and_then(Value::as_array_mut) else { return };
        let mut rest = parsed.template.as_str();
        for (parameter, shown) in parsed.params.iter().zip(shown) {
            let (before, after) = rest.split_once(PLACEHOLDER).unwrap_or((rest, ""));
            rest = after;
            let start = before.char_indices().rev().map(|(start, _)| start).find(|start| before.len() - start >= CONTEXT_BYTES);
            let context = before.get(start.unwrap_or(0)..).unwrap_or(before);
            let named = parameter.name.as_deref().map(|name| format!("{name}={}", parameter.value));
            let told = [Some(format!("{context}{}", parameter.value)), named];
            if told.iter().flatten().any(|told| !self.text(told).ends_with(&parameter.value)) {
                shown["value"] = MASK.into();
            }
        }
    }

    fn value(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.string(text),
            Value::Array(values) => values.iter_mut().for_each(|value| self.value(value)),
            Value::Object(fields) => fields.values_mut().for_each(|value| self.value(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(subject: &str, value: Value) -> Record {
        let whole = json!({"topic": "t.v1", "partition": 0, "offset": 7, "appendedAt": "2023-11-14T22:13:20.123Z", "subject": subject,
            "value": value});
        serde_json::from_value(whole).expect("the shape of the API")
    }

    #[test]
    fn a_pattern_that_is_none_is_named_by_its_key() {
        let wrong = RedactSettings { enabled: true, patterns: vec!["a".into(), "(".into()] };
        let error = Redactor::new(&wrong).expect_err("is no pattern").to_string();
        assert!(error.starts_with("redact.patterns[1]: found \"(\", expected a pattern"), "{error}");
    }

    #[test]
    fn a_line_is_masked_in_all_its_forms() {
        let raw = "<11>1 - web-3 app - - - login password=hunter2 ok";
        let start = raw.find("login").expect("is in it");
        let value = json!({"host": "web-3", "raw": raw, "raw_base64": "aHVudGVyMg==", "message_start": start,
            "message_length": raw.len() - start, "structured_data": {"a": {"b": "token=abc"}}});
        let mut record = record("logs.raw", value);
        Redactor::default().record(&mut record);
        assert!(record.line().ends_with(" login password=[redacted] ok"), "{}", record.line());
        let value = record.value.expect("a value");
        assert_eq!(value["raw"], "<11>1 - web-3 app - - - login password=[redacted] ok");
        assert_eq!(value["structured_data"]["a"]["b"], "token=[redacted]");
        assert!(!value.to_string().contains("aHVudGVyMg") && value.get("message_start").is_none());
    }

    #[test]
    fn a_line_without_a_secret_stays_as_it_is() {
        let value = json!({"host": "h", "raw": "<11>hello", "message_start": 4, "message_length": 5});
        let mut masked = record("logs.raw", value.clone());
        Redactor::default().record(&mut masked);
        assert_eq!(masked.value, Some(value));
    }

    #[test]
    fn a_parameter_is_masked_if_the_words_before_it_say_what_it_is() {
        let parameter = |name: Option<&str>, value: &str| json!({"type": "word", "name": name, "value": value});
        let template = "user <*> with password=<*> from <*> and <*>";
        let params = [parameter(None, "ann"), parameter(None, "hunter2"), parameter(None, "web-1"), parameter(Some("token"), "abc")];
        let mut parsed = serde_json::to_value(ParsedLog { template: template.into(), ..ParsedLog::default() }).expect("JSON");
        parsed["params"] = params.into_iter().collect();
        let mut record = record("logs.parsed", parsed);
        Redactor::default().record(&mut record);
        let value = record.value.expect("a value");
        let shown: Vec<&Value> = (0..4).map(|n| &value["params"][n]["value"]).collect();
        assert_eq!(shown, ["ann", MASK, "web-1", MASK]);
        assert_eq!(value["template"], template);
    }
}
