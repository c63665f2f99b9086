//! One entry of the systemd journal as `journalctl --output=json --all` prints it (systemd's "Journal JSON Format").
//!
//! A field is a string, or an array of numbers if it holds bytes that are not printable text, or an array of these if the
//! entry has the field several times, or `null` if it was too long to print (never with `--all`).

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The fields that we read; `journalctl --output-fields` takes this list, which makes entries a fifth as long.
/// (`__CURSOR` and `__REALTIME_TIMESTAMP` are always printed.)
pub const FIELDS: &str = "MESSAGE,PRIORITY,SYSLOG_FACILITY,SYSLOG_IDENTIFIER,_COMM,_PID,SYSLOG_PID,_HOSTNAME,_SYSTEMD_UNIT,_TRANSPORT";

/// An entry of the journal.
///
/// ```
/// use syslog::journal::JournalEntry;
///
/// let line = br#"{"__CURSOR":"s=1;i=2","__REALTIME_TIMESTAMP":"1700000000000000","PRIORITY":"3","_HOSTNAME":"web1","_SYSTEMD_UNIT":"nginx.service","SYSLOG_IDENTIFIER":"nginx","_PID":"77","MESSAGE":[104,105,255]}"#;
/// let entry = JournalEntry::parse(line).expect("an entry");
/// assert_eq!(entry.message.as_ref(), b"hi\xff");
/// assert_eq!((entry.severity, entry.unit.as_deref(), entry.proc_id.as_deref()), (Some(3), Some("nginx.service"), Some("77")));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JournalEntry<'a> {
    /// `__CURSOR`: go on after it with `--after-cursor`.
    pub cursor: Cow<'a, str>,
    /// `__REALTIME_TIMESTAMP`: when the journal received it, microseconds since the epoch.
    pub time_us: Option<i64>,
    /// `MESSAGE`; several of them are joined with line feeds.
    pub message: Cow<'a, [u8]>,
    /// `PRIORITY`, 0 (emergency) to 7 (debug).
    pub severity: Option<u8>,
    /// `SYSLOG_FACILITY`, 0 to 23.
    pub facility: Option<u8>,
    /// `SYSLOG_IDENTIFIER`, else the command name `_COMM`.
    pub app_name: Option<Cow<'a, str>>,
    /// `_PID`, else what the sender said of itself, `SYSLOG_PID`.
    pub proc_id: Option<Cow<'a, str>>,
    /// `_HOSTNAME`.
    pub host: Option<Cow<'a, str>>,
    /// `_SYSTEMD_UNIT`.
    pub unit: Option<Cow<'a, str>>,
    /// `_TRANSPORT`: `kernel`, `syslog`, `stdout`, `journal`, `audit`, `driver`.
    pub transport: Option<Cow<'a, str>>,
}

/// A line that is no journal entry.
#[derive(Debug, thiserror::Error)]
#[error("expected a journal entry as one JSON object per line with __CURSOR")]
pub struct JournalError(#[source] serde_json::Error);

impl<'a> JournalEntry<'a> {
    /// Reads one line of `journalctl --output=json`.
    ///
    /// # Errors
    /// The line is no JSON object, or has no cursor. A field of an unexpected form only loses that field.
    pub fn parse(line: &'a [u8]) -> Result<Self, JournalError> {
        let fields: Fields<'a> = serde_json::from_slice(line).map_err(JournalError)?;
        Ok(Self {
            cursor: fields.cursor,
            time_us: fields.time.number(),
            message: fields.message.bytes().unwrap_or_default(),
            severity: fields.priority.number().filter(|p| *p <= 7),
            facility: fields.facility.number().filter(|f| *f <= 23),
            app_name: fields.identifier.text().or_else(|| fields.command.text()),
            proc_id: fields.pid.text().or_else(|| fields.syslog_pid.text()),
            host: fields.host.text(),
            unit: fields.unit.text(),
            transport: fields.transport.text(),
        })
    }
}

#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(rename = "__CURSOR", borrow)]
    cursor: Cow<'a, str>,
    #[serde(rename = "__REALTIME_TIMESTAMP", borrow, default)]
    time: Field<'a>,
    #[serde(rename = "MESSAGE", borrow, default)]
    message: Field<'a>,
    #[serde(rename = "PRIORITY", borrow, default)]
    priority: Field<'a>,
    #[serde(rename = "SYSLOG_FACILITY", borrow, default)]
    facility: Field<'a>,
    #[serde(rename = "SYSLOG_IDENTIFIER", borrow, default)]
    identifier: Field<'a>,
    #[serde(rename = "_COMM", borrow, default)]
    command: Field<'a>,
    #[serde(rename = "_PID", borrow, default)]
    pid: Field<'a>,
    #[serde(rename = "SYSLOG_PID", borrow, default)]
    syslog_pid: Field<'a>,
    #[serde(rename = "_HOSTNAME", borrow, default)]
    host: Field<'a>,
    #[serde(rename = "_SYSTEMD_UNIT", borrow, default)]
    unit: Field<'a>,
    #[serde(rename = "_TRANSPORT", borrow, default)]
    transport: Field<'a>,
}

/// A field in the forms in which it may be printed.
#[derive(Deserialize)]
#[serde(untagged)]
enum Field<'a> {
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    Several(Vec<Value>),
    Unusable(IgnoredAny),
}

/// One of several values of a field.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Text(String),
    Bytes(Vec<u8>),
    Unusable(IgnoredAny),
}

impl Default for Field<'_> {
    fn default() -> Self {
        Self::Unusable(IgnoredAny)
    }
}

impl<'a> Field<'a> {
    fn bytes(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Text(Cow::Borrowed(text)) => Some(Cow::Borrowed(text.as_bytes())),
            Self::Text(Cow::Owned(text)) => Some(Cow::Owned(text.into_bytes())),
            Self::Bytes(bytes) => Some(Cow::Owned(bytes)),
            Self::Several(values) => Some(Cow::Owned(values.into_iter().filter_map(Value::bytes).collect::<Vec<_>>().join(&b'\n'))),
            Self::Unusable(_) => None,
        }
    }

    /// As text, lossy; `None` if empty.
    fn text(self) -> Option<Cow<'a, str>> {
        let text = match self.bytes()? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        };
        (!text.is_empty()).then_some(text)
    }

    fn number<N: std::str::FromStr>(self) -> Option<N> {
        self.text()?.parse().ok()
    }
}

impl Value {
    fn bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            Self::Unusable(_) => None,
        }
    }
}
