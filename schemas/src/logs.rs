//! Records of the log path: raw lines, parsed lines, templates.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::codec::{Schemas, Subject, subject};

/// Where the event time of a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TimeSource {
    /// Not known; also what a reader makes of a symbol that it does not know.
    #[default]
    Unknown,
    /// The line's own timestamp.
    Message,
    /// The kernel's clock since boot.
    Kernel,
    /// The moment of receipt, because the line had no usable time.
    Received,
}

/// What kind of source a line came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SourceKind {
    /// Not known.
    #[default]
    Unknown,
    /// Syslog over UDP (RFC 5426).
    Udp,
    /// Syslog over TCP (RFC 6587).
    Tcp,
    /// Syslog over TLS (RFC 5425).
    Tls,
    /// A Unix stream or datagram socket.
    Unix,
    /// RELP.
    Relp,
    /// A text file.
    File,
    /// The kernel ring buffer, `/dev/kmsg`.
    Kmsg,
    /// The systemd journal.
    Journal,
    /// A Kafka topic.
    Kafka,
    /// An OTLP log record.
    Otlp,
}

/// Which grammar the line followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ParseStatus {
    /// No grammar: the whole line is the message.
    #[default]
    Plain,
    /// RFC 5424.
    Rfc5424,
    /// RFC 3164 or one of its dialects.
    Rfc3164,
    /// A kernel record.
    Kmsg,
    /// A journal entry.
    Journal,
    /// A JSON object.
    Json,
    /// Half a frame: the sender went silent in the middle.
    Damaged,
}

/// Where a line came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "LogSource")]
pub struct LogSource {
    /// Kind of source.
    pub kind: SourceKind,
    /// Listener address, path or unit.
    pub name: String,
    /// Address of the sender.
    pub peer: Option<String>,
}

/// One log line as it was received (`logs.raw.v1`, key: host).
///
/// Times are microseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "LogRecord")]
pub struct LogRecord {
    /// Lower case, ≤ 253 bytes.
    pub host: String,
    /// When the line was written, as well as it is known.
    pub event_time: i64,
    /// When the collector read it.
    pub observed_time: i64,
    /// Where `event_time` comes from.
    pub time_source: TimeSource,
    /// 0 to 23.
    pub facility: Option<i32>,
    /// 0 (emergency) to 7 (debug).
    pub severity: Option<i32>,
    /// Program.
    pub app_name: Option<String>,
    /// Process id, as text.
    pub proc_id: Option<String>,
    /// RFC 5424 message id.
    pub msg_id: Option<String>,
    /// RFC 5424 structured data: element id → parameters.
    pub structured_data: BTreeMap<String, BTreeMap<String, String>>,
    /// The bytes as received, without the framing.
    #[serde(with = "crate::raw_bytes")]
    pub raw: Vec<u8>,
    /// First byte of the message in `raw`.
    pub message_start: i32,
    /// Bytes of the message in `raw`.
    pub message_length: i32,
    /// Only where the message is no valid UTF-8 range of `raw`.
    pub message_text: Option<String>,
    /// Where the line came from.
    pub source: LogSource,
    /// The source's own sequence number.
    pub source_seq: Option<i64>,
    /// Which grammar the line followed.
    pub parse_status: ParseStatus,
    /// The line was longer than the collector's limit.
    pub truncated: bool,
    /// What else the collector knows, e.g. `backfill`, `vm`.
    pub attributes: BTreeMap<String, String>,
    /// W3C trace id.
    pub trace_id: Option<String>,
    /// W3C span id.
    pub span_id: Option<String>,
}

impl LogRecord {
    /// The message: `message_text` where present, else its range of `raw`. Empty if the range is not valid.
    pub fn message(&self) -> &str {
        if let Some(text) = &self.message_text {
            return text;
        }
        crate::wire::text_range(&self.raw, self.message_start, self.message_length).unwrap_or("")
    }
}

/// How a line found its template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MatchKind {
    /// It matches none (learning is off or paused).
    #[default]
    Unknown,
    /// Seen before in just this shape.
    Exact,
    /// Found by search.
    Tree,
    /// The first of its kind.
    New,
    /// Excluded by configuration.
    Skipped,
}

/// What happened to a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ChangeKind {
    /// Nothing: a periodic report.
    #[default]
    None,
    /// A new cluster.
    Created,
    /// A position became a placeholder.
    Generalised,
    /// Several clusters became one.
    Merged,
    /// Forgotten, least recently used.
    Evicted,
    /// Given by configuration.
    Seeded,
}

/// A change of a template, with the ids that it supersedes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "TemplateChange")]
pub struct TemplateChange {
    /// What happened.
    pub kind: ChangeKind,
    /// Superseded template ids, ≤ 64.
    pub from: Vec<String>,
}

/// A variable part of a line.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "Parameter")]
pub struct Parameter {
    /// Mask that found it, or `word`.
    pub r#type: String,
    /// Name, where the line gives one.
    pub name: Option<String>,
    /// ≤ 256 bytes.
    pub value: String,
}

/// One log line as template and parameters (`logs.parsed.v1`, key: host).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "ParsedLog")]
pub struct ParsedLog {
    /// Host of the line.
    pub host: String,
    /// Microseconds since the epoch.
    pub event_time: i64,
    /// Microseconds since the epoch.
    pub observed_time: i64,
    /// 0 to 7.
    pub severity: Option<i32>,
    /// Program.
    pub app_name: Option<String>,
    /// Kind of the line's source.
    pub source_kind: SourceKind,
    /// Name of the line's source.
    pub source_name: String,
    /// Attributes of the line.
    pub attributes: BTreeMap<String, String>,
    /// Hash of the template text, 16 hex digits.
    pub template_id: String,
    /// Id of the cluster's first template.
    pub cluster_id: String,
    /// Counts from 1 within the cluster.
    pub template_version: i32,
    /// The template text, placeholders as `<*>`.
    pub template: String,
    /// How the line found its template.
    pub r#match: MatchKind,
    /// The change that this line caused.
    pub change: Option<TemplateChange>,
    /// ≤ 64.
    pub params: Vec<Parameter>,
    /// More or longer parameters than the limits allow.
    pub params_truncated: bool,
    /// Partition of the line in `logs.raw.v1`.
    pub raw_partition: i32,
    /// Offset of the line in `logs.raw.v1`.
    pub raw_offset: i64,
}

/// The last word on one template (`logs.templates.v1`, compacted, key: template id).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename = "TemplateRecord")]
pub struct TemplateRecord {
    /// Hash of the template text.
    pub template_id: String,
    /// Id of the cluster's first template.
    pub cluster_id: String,
    /// Counts from 1 within the cluster.
    pub version: i32,
    /// The template text.
    pub template: String,
    /// Words and placeholders, without delimiters.
    pub tokens: i32,
    /// Microseconds since the epoch.
    pub first_seen: i64,
    /// Microseconds since the epoch.
    pub last_seen: i64,
    /// Lines matched so far.
    pub count: i64,
    /// Which instance counted: topic/partition.
    pub instance: String,
    /// What happened to it.
    pub change: TemplateChange,
    /// The template that took its place.
    pub superseded_by: Option<String>,
    /// A line, redacted; only where examples are switched on.
    pub example: Option<String>,
}

subject!(LogRecord, "logs.raw", [include_str!("../avsc/logs.raw/v1.avsc")]);
subject!(ParsedLog, "logs.parsed", [include_str!("../avsc/logs.parsed/v1.avsc")]);
subject!(TemplateRecord, "logs.templates", [include_str!("../avsc/logs.templates/v1.avsc")]);
