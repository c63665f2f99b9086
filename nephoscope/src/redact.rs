//! Secrets that stray into logs, masked before anybody sees them: values of well-known keys, bearer tokens, passwords in
//! URLs, private keys, tokens that name their issuer by their first letters, and what the operator names.
//!
//! It errs on the side of masking: a masked number costs a look into the log itself, a shown password costs more. What
//! stands on the bus is what was sent; masked is what is shown of it.

use std::{borrow::Cow, sync::Arc};

use regex::{Captures, Regex};
use schemas::{Alert, Incident, ParsedLog};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stream_runtime::config::{ConfigFile, ConfigFileError};

use crate::record::{LogLine, Record};

/// What stands in the place of a secret.
pub const MASK: &str = "[redacted]";
/// Section of the configuration.
const SECTION: &str = "redact";
/// Bytes of a template before a value that may tell what the value is.
const CONTEXT_BYTES: usize = 64;
const PLACEHOLDER: &str = "<*>";

/// `[redact]`: what of a log nobody is shown, on the page, in an alert or by a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RedactSettings {
    /// Mask secrets of well-known forms. On: what is shown is soon in a screenshot, a ticket, a chat.
    pub enabled: bool,
    /// Patterns of one's own, in the syntax of the `regex` crate. What they match is masked, but for their groups `before`
    /// and `after`.
    pub patterns: Vec<String>,
}

impl Default for RedactSettings {
    fn default() -> Self {
        Self { enabled: true, patterns: Vec::new() }
    }
}

/// Each pattern has the groups `before` and `after`, which stay.
const WELL_KNOWN: [&str; 6] = [
    // The body of a key, even if its end is cut off.
    r"(?s)(?P<before>-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?P<after>-----END [A-Z ]{0,40}PRIVATE KEY-----|\z)",
    // scheme://user:password@host (RFC 3986, 3.2.1)
    r"(?P<before>\b[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@?#]*:)[^\s/@]+(?P<after>@)",
    // Authorization: Bearer …, Basic … (RFC 6750, RFC 7617)
    r"(?i)(?P<before>\b(?:bearer|basic)\s+)[A-Za-z0-9._~+/-]{8,}=*(?P<after>)",
    // key=value, key: value, "key": "value", --key value; the key may be part of a longer name
    r#"(?i)(?P<before>(?:pass(?:word|wd|phrase)|\bpwd|\bpass|secret|api[_-]?key|access[_-]?key|private[_-]?key|auth[_-]?token|token|credentials?|cookie|session[_-]?id)[A-Za-z0-9_-]{0,20}\\?["']?\s*[=:]\s*\\?["']?)(?:\[redacted\]|[^\s"'\\,;&)\]}]+)(?P<after>)"#,
    r"(?i)(?P<before>--?(?:password|passwd|pass|secret|token|api-key)\s+)[^\s-]\S*(?P<after>)",
    // JSON web tokens (RFC 7519), access keys of clouds, tokens of forges and chats
    r"(?P<before>)\b(?:eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|A(?:KIA|SIA)[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{20,}|xox[abposr]-[A-Za-z0-9-]{10,})(?P<after>)",
];

/// Masks secrets; cheap to clone.
#[derive(Debug, Clone)]
pub struct Redactor(Arc<[Regex]>);

impl Redactor {
    /// Reads `[redact]`.
    ///
    /// # Errors
    /// If it has an unknown key or a pattern that cannot be meant.
    pub fn read(file: &mut ConfigFile) -> Result<Self, ConfigFileError> {
        Self::new(&file.section(SECTION)?)
    }

    /// A redactor as it is set.
    ///
    /// # Errors
    /// If a pattern is none.
    pub fn new(settings: &RedactSettings) -> Result<Self, ConfigFileError> {
        let well_known: &[&str] = if settings.enabled { &WELL_KNOWN } else { &[] };
        let mut secrets = Vec::new();
        for (index, pattern) in settings.patterns.iter().map(String::as_str).chain(well_known.iter().copied()).enumerate() {
            let wrong = |error: regex::Error| ConfigFileError {
                place: None,
                key: format!("{SECTION}.patterns[{index}]"),
                problem: format!("found {pattern:?}, expected a pattern that the regex crate accepts: {error}"),
            };
            secrets.push(Regex::new(pattern).map_err(wrong)?);
        }
        Ok(Self(secrets.into()))
    }

    /// The text with its secrets masked; the same text where there are none.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        self.0.iter().fold(Cow::Borrowed(text), |text, secret| match secret.replace_all(&text, mask) {
            Cow::Borrowed(_) => text,
            Cow::Owned(masked) => Cow::Owned(masked),
        })
    }

    /// Masks the texts of an alert.
    pub fn alert(&self, alert: &mut Alert) {
        for text in [&mut alert.message, &mut alert.description].into_iter().chain(alert.annotations.values_mut()) {
            self.string(text);
        }
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

    /// Masks a text in place.
    pub fn string(&self, text: &mut String) {
        if let Cow::Owned(masked) = self.text(text) {
            *text = masked;
        }
    }
}

fn mask(found: &Captures<'_>) -> String {
    // Where a template has a placeholder, there is nothing to hide.
    if found[0].ends_with(PLACEHOLDER) {
        return found[0].to_string();
    }
    let group = |name| found.name(name).map_or("", |group| group.as_str());
    format!("{}{MASK}{}", group("before"), group("after"))
}

#[cfg(test)]
impl Default for Redactor {
    fn default() -> Self {
        Self::new(&RedactSettings::default()).expect("fixed patterns")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn redact(text: &str) -> String {
        Redactor::default().text(text).into_owned()
    }

    fn record(subject: &str, value: Value) -> Record {
        let whole = json!({"topic": "t.v1", "partition": 0, "offset": 7, "appendedAt": "2023-11-14T22:13:20.123Z", "subject": subject,
            "value": value});
        serde_json::from_value(whole).expect("the shape of the API")
    }

    #[test]
    fn secrets_are_masked_and_the_rest_stays() {
        for (text, expected) in [
            ("login user=ann password=hunter2 from 10.0.0.1", "login user=ann password=[redacted] from 10.0.0.1"),
            ("DB_PASSWORD: 's3cr et'", "DB_PASSWORD: '[redacted] et'"),
            (r#"{"api_key": "abc", "n": 1}"#, r#"{"api_key": "[redacted]", "n": 1}"#),
            (r#"{\"token\":\"abc\"}"#, r#"{\"token\":\"[redacted]\"}"#),
            ("X-Auth-Token: 8f7e, next", "X-Auth-Token: [redacted], next"),
            ("mysql --password hunter2 -h db", "mysql --password [redacted] -h db"),
            ("secret_access_key=AbC/123+x", "secret_access_key=[redacted]"),
            ("GET /x?token=abc&b=c", "GET /x?token=[redacted]&b=c"),
            ("Authorization: Bearer abcdef0123456789.x-y", "Authorization: Bearer [redacted]"),
            ("authorization: basic dXNlcjpwYXNz==", "authorization: basic [redacted]"),
            ("fetch https://ann:hunter2@host/a failed", "fetch https://ann:[redacted]@host/a failed"),
            ("amqp://:hunter2@host", "amqp://:[redacted]@host"),
            (
                "key -----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- end",
                "key -----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY----- end",
            ),
            ("-----BEGIN PRIVATE KEY-----MIIEabc", "-----BEGIN PRIVATE KEY-----[redacted]"),
            ("got eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl ok", "got [redacted] ok"),
            ("id AKIAIOSFODNN7EXAMPLE used", "id [redacted] used"),
            ("push with ghp_0123456789abcdefghijABCDEFGHIJ012345", "push with [redacted]"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn ordinary_lines_stay_as_they_are() {
        for text in [
            "",
            "Accepted password for root from 10.0.0.1 port 22 ssh2",
            "Failed password for invalid user admin",
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh",
            "session opened for user root by (uid=0)",
            "http://host:8080/path?x=y@z",
            "2024-01-01T00:00:00Z tokenizer took 12 ms",
            "bearer of bad news",
            "login password=<*> token: <*> from <*>",
            "mail from ann@example.com to bob@example.com",
        ] {
            assert_eq!(redact(text), text);
        }
    }

    #[test]
    fn masking_twice_is_masking_once() {
        let once = redact("password=a token: b https://u:p@h bearer abcdefgh12");
        assert_eq!(redact(&once), once);
    }

    #[test]
    fn own_patterns_are_masked_beside_the_well_known_ones_or_alone() {
        let patterns = vec![r"\bACME-\d+".to_string(), r"(?<before>patient )\w+".into()];
        let text = "patient Miller has ACME-4711 password=hunter2";
        let both = Redactor::new(&RedactSettings { enabled: true, patterns: patterns.clone() }).expect("patterns");
        assert_eq!(both.text(text), "patient [redacted] has [redacted] password=[redacted]");
        let own = Redactor::new(&RedactSettings { enabled: false, patterns }).expect("patterns");
        assert_eq!(own.text(text), "patient [redacted] has [redacted] password=hunter2");
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
