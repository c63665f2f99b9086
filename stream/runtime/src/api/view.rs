//! A record as people and tools read it: JSON, whatever it was on the bus.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemas::{LogRecord, ParsedLog, Subject, TemplateRecord, Verdict, codec};
use serde::Serialize;
use serde_json::value::RawValue;
use stream_core::Record;

/// One record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordView {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
    /// When the bus stored it, RFC 3339.
    pub appended_at: schemas::EventTime,
    /// Key, where it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Key, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_base64: Option<String>,
    /// Headers, in order.
    pub headers: Vec<HeaderView>,
    /// The Avro subject that the value names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<&'static str>,
    /// The value as JSON; null for a tombstone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Box<RawValue>>,
    /// The value, where it is neither Avro of a known schema nor a JSON object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
    /// Why it could not be decoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// One header.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderView {
    /// Name.
    pub name: String,
    /// Value, where it is text; null where there is none.
    pub value: Option<String>,
    /// Value, where it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

impl RecordView {
    /// Decodes a record. What cannot be decoded is shown as base64, with the reason.
    pub fn of(record: &Record<'_>) -> Self {
        let (key, key_base64) = text_or_base64(record.key);
        let headers = record.headers.iter().map(|(name, value)| {
            let (value, value_base64) = text_or_base64(value);
            HeaderView { name: name.into(), value, value_base64 }
        });
        let mut view = Self {
            topic: record.topic.to_string(),
            partition: record.partition.0,
            offset: record.offset.0,
            appended_at: record.appended_at,
            key,
            key_base64,
            headers: headers.collect(),
            subject: None,
            value: None,
            value_base64: None,
            problem: None,
        };
        match record.value.map(decode) {
            None => view.value = to_raw(&serde_json::Value::Null),
            Some(Ok((subject, value))) => (view.subject, view.value) = (subject, Some(value)),
            Some(Err(problem)) => {
                view.problem = Some(problem);
                view.value_base64 = record.value.map(|bytes| STANDARD.encode(bytes));
            }
        }
        view
    }
}

type Decoded = (Option<&'static str>, Box<RawValue>);

/// A value names its own schema, so this holds on any topic, dead letters included.
fn decode(bytes: &[u8]) -> Result<Decoded, String> {
    if bytes.first() == Some(&b'{') {
        let value: Box<RawValue> = serde_json::from_slice(bytes).map_err(|error| format!("no JSON object: {error}"))?;
        return Ok((None, value));
    }
    let fingerprint = codec::read_header(bytes).map_err(|error| error.to_string())?;
    if LogRecord::schemas().is_newest(fingerprint) {
        return avro::<LogRecord>(bytes, log_record);
    }
    if ParsedLog::schemas().is_newest(fingerprint) {
        return avro::<ParsedLog>(bytes, serde_json::to_value);
    }
    if TemplateRecord::schemas().is_newest(fingerprint) {
        return avro::<TemplateRecord>(bytes, serde_json::to_value);
    }
    if Verdict::schemas().is_newest(fingerprint) {
        return avro::<Verdict>(bytes, serde_json::to_value);
    }
    Err(format!("schema fingerprint {fingerprint:016x} is not known to this version"))
}

fn avro<T: Subject>(bytes: &[u8], show: impl FnOnce(T) -> serde_json::Result<serde_json::Value>) -> Result<Decoded, String> {
    let record = T::from_bytes(bytes).map_err(|error| error.to_string())?;
    let value = show(record).ok().as_ref().and_then(to_raw);
    Ok((Some(T::SUBJECT), value.ok_or("it has no form in JSON")?))
}

/// The raw bytes as text; beside it as base64 where the text lost something.
fn log_record(mut record: LogRecord) -> serde_json::Result<serde_json::Value> {
    let raw = std::mem::take(&mut record.raw);
    let mut value = serde_json::to_value(record)?;
    let text = String::from_utf8_lossy(&raw);
    if let std::borrow::Cow::Owned(_) = text {
        value["raw_base64"] = STANDARD.encode(&raw).into();
    }
    value["raw"] = text.into();
    Ok(value)
}

fn to_raw(value: &serde_json::Value) -> Option<Box<RawValue>> {
    serde_json::value::to_raw_value(value).ok()
}

fn text_or_base64(bytes: Option<&[u8]>) -> (Option<String>, Option<String>) {
    match bytes.map(|bytes| std::str::from_utf8(bytes).map_err(|_| bytes)) {
        None => (None, None),
        Some(Ok(text)) => (Some(text.into()), None),
        Some(Err(bytes)) => (None, Some(STANDARD.encode(bytes))),
    }
}
