//! The lines behind a word: those that an alert rests on, the newest of a template. Read from the bus when asked for,
//! secrets masked, control characters escaped.

use std::time::Duration;

use schemas::{Alert, Evidence, LogRecord, ParsedLog, Subject, topics};
use serde::Serialize;
use stream_core::{NextOffset, Partition, TopicName, TopicPartition};
use stream_runtime::{
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
};

use super::templates::Place;
use crate::redact::Redactor;

/// Bytes of a line that are shown.
const LINE_BYTES_MAX: usize = 2_048;

const ONE: ReadLimits = ReadLimits { records_max: 1, bytes_max: 1 << 20, wait: Duration::ZERO };

/// A line as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Partition in `logs.raw.v1`.
    pub partition: u32,
    /// Offset there.
    pub offset: u64,
    /// Its time, milliseconds.
    pub time_ms: i64,
    /// Host.
    pub host: String,
    /// Syslog severity.
    pub severity: Option<i32>,
    /// Program.
    pub app: Option<String>,
    /// The line.
    pub text: String,
}

/// An alert and what it rests on.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// The alert.
    pub alert: Alert,
    /// The lines that are still there.
    pub lines: Vec<Line>,
    /// How many records retention has taken, or are no log lines.
    pub gone: usize,
}

/// The lines behind an alert.
pub fn proof(inspect: &dyn Inspect, redactor: &Redactor, alert: Alert) -> Proof {
    let lines: Vec<Line> = alert.evidence.iter().filter_map(|evidence| line(inspect, redactor, raw_place(inspect, evidence)?)).collect();
    Proof { gone: alert.evidence.len() - lines.len(), alert, lines }
}

/// The line at a place in `logs.raw.v1`, if it is still there.
pub fn line(inspect: &dyn Inspect, redactor: &Redactor, place: Place) -> Option<Line> {
    let record: LogRecord = read(inspect, topics::LOGS_RAW, place)?;
    let text = schemas::alert::one_line(&redactor.text(&String::from_utf8_lossy(&record.raw)), LINE_BYTES_MAX);
    Some(Line {
        partition: place.partition,
        offset: place.offset,
        time_ms: record.event_time.div_euclid(1_000),
        host: record.host,
        severity: record.severity,
        app: record.app_name,
        text,
    })
}

fn raw_place(inspect: &dyn Inspect, evidence: &Evidence) -> Option<Place> {
    let place = Place { partition: evidence.partition, offset: evidence.offset };
    match evidence.topic.as_str() {
        topics::LOGS_RAW => Some(place),
        topics::LOGS_PARSED => {
            let parsed: ParsedLog = read(inspect, topics::LOGS_PARSED, place)?;
            Some(Place { partition: u32::try_from(parsed.raw_partition).ok()?, offset: u64::try_from(parsed.raw_offset).ok()? })
        }
        _ => None,
    }
}

fn read<T: Subject>(inspect: &dyn Inspect, topic: &str, place: Place) -> Option<T> {
    let at = TopicPartition::new(&TopicName::new(topic), Partition(place.partition));
    let mut gathered = Gathered::default();
    inspect.read(&at, NextOffset(place.offset), &ONE, &mut gathered).ok()?;
    let (_, record) = gathered.records().next().filter(|(_, record)| record.offset.0 == place.offset)?;
    T::from_bytes(record.value?).ok()
}
