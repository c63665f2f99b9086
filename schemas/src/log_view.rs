//! A log record read where it lies: the hot path's way to decode `logs.raw.v1`, without an allocation.

use crate::{
    codec::{self, CodecError, HEADER_BYTES, Subject},
    logs::{LogRecord, ParseStatus, SourceKind, TimeSource},
    time::EventTime,
    wire::{Cursor, Expected, text_range},
};

/// A borrowed [`LogRecord`]: same fields, same meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogRecordView<'a> {
    /// Lower case, ≤ 253 bytes.
    pub host: &'a str,
    /// When the line was written.
    pub event_time: EventTime,
    /// When the collector read it.
    pub observed_time: EventTime,
    /// Where `event_time` comes from.
    pub time_source: TimeSource,
    /// 0 to 23.
    pub facility: Option<i32>,
    /// 0 to 7.
    pub severity: Option<i32>,
    /// Program.
    pub app_name: Option<&'a str>,
    /// The bytes as received.
    pub raw: &'a [u8],
    /// The message; empty if the record's range is not valid.
    pub message: &'a str,
    /// Kind of source.
    pub source_kind: SourceKind,
    /// Listener address, path or unit.
    pub source_name: &'a str,
    /// Which grammar the line followed.
    pub parse_status: ParseStatus,
    /// Cut at the collector's limit.
    pub truncated: bool,
    attributes: &'a [u8],
}

impl<'a> LogRecordView<'a> {
    /// Reads a value of `logs.raw.v1`.
    ///
    /// # Errors
    /// As [`Subject::from_bytes`]. A symbol that this version does not know is damage, since the fingerprint fixes the schema.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, CodecError> {
        let fingerprint = codec::read_header(bytes)?;
        if !LogRecord::schemas().is_newest(fingerprint) {
            return Err(CodecError::UnknownSchema { subject: LogRecord::SUBJECT, fingerprint });
        }
        let body = bytes.get(HEADER_BYTES..).unwrap_or_default();
        read(body).map_err(|expected| CodecError::Damaged { subject: LogRecord::SUBJECT, detail: format!("expected {expected}") })
    }

    /// The attributes, in the order in which they were written.
    pub fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let mut cursor = Cursor::new(self.attributes);
        let mut left = 0i64;
        std::iter::from_fn(move || {
            if left == 0 {
                left = cursor.long().ok()?;
                if left < 0 {
                    left = left.checked_neg()?;
                    cursor.long().ok()?;
                }
            }
            left = left.checked_sub(1).filter(|left| *left >= 0)?;
            Some((cursor.string().ok()?, cursor.string().ok()?))
        })
    }

    /// The value of one attribute; of several the last, as in a map that was filled in order.
    pub fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes().filter(|(key, _)| *key == name).last().map(|(_, value)| value)
    }
}

fn read(body: &[u8]) -> Result<LogRecordView<'_>, Expected> {
    let mut at = Cursor::new(body);
    let host = at.string()?;
    let event_time = EventTime::from_micros(at.long()?);
    let observed_time = EventTime::from_micros(at.long()?);
    let time_source = symbol(&TIME_SOURCES, at.int()?)?;
    let facility = at.optional(Cursor::int)?;
    let severity = at.optional(Cursor::int)?;
    let app_name = at.optional(Cursor::string)?;
    at.optional(Cursor::string)?; // proc_id
    at.optional(Cursor::string)?; // msg_id
    at.blocks(|map| {
        map.string()?;
        map.blocks(string_pair).map(|_| ())
    })?; // structured_data
    let raw = at.bytes()?;
    let (start, length) = (at.int()?, at.int()?);
    let message_text = at.optional(Cursor::string)?;
    let source_kind = symbol(&SOURCE_KINDS, at.int()?)?;
    let source_name = at.string()?;
    at.optional(Cursor::string)?; // peer
    at.optional(Cursor::long)?; // source_seq
    let parse_status = symbol(&PARSE_STATUSES, at.int()?)?;
    let truncated = at.boolean()?;
    let attributes = at.blocks(string_pair)?;
    at.optional(Cursor::string)?; // trace_id
    at.optional(Cursor::string)?; // span_id
    if !at.is_empty() {
        return Err("the end of the record");
    }
    let message = message_text.or_else(|| text_range(raw, start, length)).unwrap_or("");
    Ok(LogRecordView {
        host,
        event_time,
        observed_time,
        time_source,
        facility,
        severity,
        app_name,
        raw,
        message,
        source_kind,
        source_name,
        parse_status,
        truncated,
        attributes,
    })
}

fn string_pair(map: &mut Cursor<'_>) -> Result<(), Expected> {
    map.string()?;
    map.string().map(|_| ())
}

fn symbol<T: Copy>(symbols: &[T], index: i32) -> Result<T, Expected> {
    usize::try_from(index).ok().and_then(|index| symbols.get(index)).copied().ok_or("a symbol of the enumeration")
}

// In the order of the schema's symbols.
const TIME_SOURCES: [TimeSource; 4] = [TimeSource::Unknown, TimeSource::Message, TimeSource::Kernel, TimeSource::Received];
const SOURCE_KINDS: [SourceKind; 11] = [
    SourceKind::Unknown,
    SourceKind::Udp,
    SourceKind::Tcp,
    SourceKind::Tls,
    SourceKind::Unix,
    SourceKind::Relp,
    SourceKind::File,
    SourceKind::Kmsg,
    SourceKind::Journal,
    SourceKind::Kafka,
    SourceKind::Otlp,
];
const PARSE_STATUSES: [ParseStatus; 7] = [
    ParseStatus::Plain,
    ParseStatus::Rfc5424,
    ParseStatus::Rfc3164,
    ParseStatus::Kmsg,
    ParseStatus::Journal,
    ParseStatus::Json,
    ParseStatus::Damaged,
];
