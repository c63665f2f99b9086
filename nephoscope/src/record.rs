//! A record as the API shows it, and what is made of it on a line.

use anstyle::Style;
use schemas::{Alert, EventTime, ParsedLog, TemplateRecord};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    moment::local,
    output::{BAD, FAINT, PLAIN, WARN, plain, severity_style, status_style, styled},
};

/// One record.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// When the bus stored it.
    pub appended_at: EventTime,
    /// Key, where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Key, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// Headers, in order.
    #[serde(default)]
    pub headers: Vec<Header>,
    /// The Avro subject that the value names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The value; null for a tombstone.
    #[serde(default, skip_serializing_if = "is_shown_elsewhere")]
    pub value: Option<Value>,
    /// The value, where it could not be decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Why it could not be decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One header.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// Name.
    pub name: String,
    /// Value, where it is text.
    pub value: Option<String>,
    /// Value, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

/// What of a `LogRecord` a line shows. Its bytes come as text, so it is not the type of the wire.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LogLine {
    host: String,
    event_time: i64,
    severity: Option<i32>,
    app_name: Option<String>,
    proc_id: Option<String>,
    raw: String,
    raw_base64: Option<String>,
    message_start: usize,
    message_length: usize,
    message_text: Option<String>,
}

// A field `Option<Value>` reads JSON's null as none: a tombstone, unless the value stands elsewhere.
fn is_shown_elsewhere(value: &Option<Value>) -> bool {
    value.is_none()
}

impl Record {
    /// The value as what it should be.
    pub fn value_as<T: DeserializeOwned>(&self) -> Option<T> {
        T::deserialize(self.value.as_ref()?).ok()
    }

    /// The text of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|header| header.name == name)?.value.as_deref()
    }

    /// Whether it speaks of this host.
    pub fn is_of_host(&self, host: &str) -> bool {
        let named = |path: &str| self.value.as_ref()?.pointer(path)?.as_str();
        let named = named("/host").or_else(|| named("/labels/host")).or(self.key.as_deref());
        named.is_some_and(|named| named.eq_ignore_ascii_case(host))
    }

    /// One line about it.
    pub fn line(&self) -> String {
        match self.subject.as_deref() {
            Some("logs.raw") => self.value_as().map(|line: LogLine| line.line()),
            Some("logs.parsed") => self.value_as().map(|parsed| parsed_line(&parsed)),
            Some("logs.templates") => self.value_as().map(|template| template_line(&template)),
            _ => self.value_as().map(|alert: Alert| alert_line(&alert)),
        }
        .unwrap_or_else(|| self.any_line())
    }

    fn any_line(&self) -> String {
        let place = format!("{}/{}", self.partition, self.offset);
        let value = match (&self.problem, &self.value) {
            (Some(problem), _) => styled(WARN, format!("undecodable: {}", plain(problem))),
            (None, Some(value)) => plain(&value.to_string()),
            (None, None) => styled(FAINT, "deleted"),
        };
        let key = self.key.as_deref().map_or_else(|| "-".into(), plain);
        format!("{} {place} {key} {value}", time(self.appended_at))
    }
}

impl LogLine {
    /// `time host app[pid] severity message`.
    pub fn line(&self) -> String {
        let app = match (self.app_name.as_deref(), self.proc_id.as_deref()) {
            (Some(app), Some(process)) => plain(&format!("{app}[{process}]")),
            (Some(app), None) => plain(app),
            (None, _) => "-".into(),
        };
        let time = time(EventTime::from_micros(self.event_time));
        let (severity, style) = self.severity.map_or(("-", PLAIN), syslog_severity);
        format!("{time} {} {app} {} {}", plain(&self.host), styled(style, severity), styled(style, plain(self.message())))
    }

    /// What the line says.
    pub fn message(&self) -> &str {
        let range = || self.raw.get(self.message_start..self.message_start.checked_add(self.message_length)?);
        // Where `raw` had to be mended to be text, its positions no longer fit.
        self.message_text.as_deref().or_else(|| range().filter(|_| self.raw_base64.is_none())).unwrap_or(&self.raw)
    }
}

fn time(time: EventTime) -> String {
    styled(FAINT, local(time))
}

fn parsed_line(parsed: &ParsedLog) -> String {
    let app = parsed.app_name.as_deref().map_or_else(|| "-".into(), plain);
    let time = time(EventTime::from_micros(parsed.event_time));
    format!("{time} {} {app} {} {}", plain(&parsed.host), styled(FAINT, plain(&parsed.template_id)), plain(&parsed.template))
}

fn template_line(record: &TemplateRecord) -> String {
    let time = time(EventTime::from_micros(record.last_seen));
    format!("{time} {} {:>8} {}", styled(FAINT, plain(&record.template_id)), record.count, plain(&record.template))
}

/// `time severity status name message`.
pub fn alert_line(alert: &Alert) -> String {
    let severity = styled(severity_style(alert.severity), format!("{:<8}", alert.severity));
    let status = styled(status_style(alert.status), format!("{:<8}", alert.status));
    format!(
        "{} {severity} {status} {} {}",
        time(alert.last_received),
        styled(crate::output::HEAD, plain(&alert.name)),
        plain(&alert.message)
    )
}

/// Name (RFC 5424, table 2, as syslog tools shorten them) and colour.
fn syslog_severity(severity: i32) -> (&'static str, Style) {
    match severity {
        0 => ("emerg", BAD),
        1 => ("alert", BAD),
        2 => ("crit", BAD),
        3 => ("err", BAD),
        4 => ("warning", WARN),
        5 => ("notice", PLAIN),
        6 => ("info", PLAIN),
        7 => ("debug", FAINT),
        _ => ("-", PLAIN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record(subject: Option<&str>, value: Value) -> Record {
        let whole = json!({"topic": "t.v1", "partition": 0, "offset": 7, "appendedAt": "2023-11-14T22:13:20.123Z", "key": "web-3",
            "headers": [{"name": "ce_id", "value": "x"}], "subject": subject, "value": value});
        serde_json::from_value(whole).expect("the shape of the API")
    }

    fn shown(record: &Record) -> String {
        anstream::adapter::strip_str(&record.line()).to_string()
    }

    #[test]
    fn a_log_record_becomes_a_line_without_its_header() {
        let raw = "<11>Nov 14 22:13:20 web-3 sshd[7]: no \x1b[31mentry";
        let start = raw.find("no").expect("is in it");
        let value = json!({"host": "web-3", "event_time": 1_700_000_000_123_000i64, "severity": 3, "app_name": "sshd", "proc_id": "7",
            "raw": raw, "message_start": start, "message_length": raw.len() - start});
        let line = shown(&record(Some("logs.raw"), value));
        assert!(line.ends_with(" web-3 sshd[7] err no \\u{1b}[31mentry"), "{line}");
    }

    #[test]
    fn a_log_record_with_positions_that_lie_shows_all_there_is() {
        for (start, length) in [(5, 100), (usize::MAX, 2), (1, usize::MAX)] {
            let value = json!({"host": "h", "raw": "é bytes", "message_start": start, "message_length": length});
            assert!(shown(&record(Some("logs.raw"), value)).ends_with(" h - - é bytes"));
        }
    }

    #[test]
    fn any_other_value_is_shown_as_it_is() {
        let line = shown(&record(None, json!({"a": 1})));
        assert!(line.ends_with(" 0/7 web-3 {\"a\":1}"), "{line}");
        assert!(shown(&record(None, Value::Null)).ends_with(" 0/7 web-3 deleted"));
    }

    #[test]
    fn the_host_is_found_in_value_labels_or_key() {
        assert!(record(None, json!({"host": "A"})).is_of_host("a"));
        assert!(record(None, json!({"labels": {"host": "a"}})).is_of_host("a"));
        assert!(record(None, json!({})).is_of_host("WEB-3"));
        assert!(!record(None, json!({"host": "A"})).is_of_host("web-3"));
    }
}
