//! The table of topics: what exists, who writes and reads it, how long it is kept.

/// What happens to old records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cleanup {
    /// Whole stretches go when they are too old or the topic is too large.
    Delete,
    /// The last record of each key stays.
    Compact,
}

/// What class a topic is of; retention and partitions follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// High rate, kept for hours.
    Data,
    /// Low rate, kept for a month: people and other tools read it.
    Alerts,
    /// A compacted table.
    Table,
    /// Moderate rate, in one order over all keys, kept for a day.
    Signals,
    /// Dead letters of another topic.
    DeadLetters,
}

/// How a topic is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// Partitions on Kafka.
    pub partitions_kafka: u32,
    /// Partitions on the embedded bus.
    pub partitions_embedded: u32,
    /// Age at which records may go, Kafka.
    pub retention_ms_kafka: i64,
    /// Age at which records may go, embedded.
    pub retention_ms_embedded: i64,
    /// Bytes per partition at which records may go, Kafka; none if age alone decides.
    pub retention_bytes_kafka: Option<u64>,
    /// Bytes per partition at which records may go, embedded.
    pub retention_bytes_embedded: u64,
}

const HOUR_MS: i64 = 3_600_000;
const MIB: u64 = 1 << 20;

impl Class {
    /// Layout of the topics of this class.
    pub const fn layout(self) -> Layout {
        match self {
            Self::Data => Layout {
                cleanup: Cleanup::Delete,
                partitions_kafka: 6,
                partitions_embedded: 1,
                retention_ms_kafka: 6 * HOUR_MS,
                retention_ms_embedded: 24 * HOUR_MS,
                retention_bytes_kafka: Some(8 * 1024 * MIB),
                retention_bytes_embedded: 512 * MIB,
            },
            Self::Alerts => Layout {
                cleanup: Cleanup::Delete,
                partitions_kafka: 1,
                partitions_embedded: 1,
                retention_ms_kafka: 30 * 24 * HOUR_MS,
                retention_ms_embedded: 30 * 24 * HOUR_MS,
                retention_bytes_kafka: None,
                retention_bytes_embedded: 256 * MIB,
            },
            Self::Table => Layout {
                cleanup: Cleanup::Compact,
                partitions_kafka: 1,
                partitions_embedded: 1,
                retention_ms_kafka: 24 * HOUR_MS,
                retention_ms_embedded: 24 * HOUR_MS,
                retention_bytes_kafka: None,
                retention_bytes_embedded: 256 * MIB,
            },
            Self::Signals => Layout {
                cleanup: Cleanup::Delete,
                partitions_kafka: 1,
                partitions_embedded: 1,
                retention_ms_kafka: 24 * HOUR_MS,
                retention_ms_embedded: 24 * HOUR_MS,
                retention_bytes_kafka: Some(8 * 1024 * MIB),
                retention_bytes_embedded: 128 * MIB,
            },
            Self::DeadLetters => Layout {
                cleanup: Cleanup::Delete,
                partitions_kafka: 6,
                partitions_embedded: 1,
                retention_ms_kafka: 14 * 24 * HOUR_MS,
                retention_ms_embedded: 14 * 24 * HOUR_MS,
                retention_bytes_kafka: None,
                retention_bytes_embedded: 128 * MIB,
            },
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topic {
    /// `<domain>.<kind>.v<N>`.
    pub name: &'static str,
    /// Class, which gives partitions and retention.
    pub class: Class,
    /// What the record key is.
    pub key: &'static str,
    /// Parts that write it.
    pub written_by: &'static [&'static str],
    /// Parts that read it.
    pub read_by: &'static [&'static str],
    /// In a sentence.
    pub about: &'static str,
}

/// Raw log lines.
pub const LOGS_RAW: &str = "logs.raw.v1";
/// Log lines as template and parameters.
pub const LOGS_PARSED: &str = "logs.parsed.v1";
/// The table of templates.
pub const LOGS_TEMPLATES: &str = "logs.templates.v1";
/// Verdicts on templates.
pub const LOGS_VERDICTS: &str = "logs.verdicts.v1";
/// Who is heard to be alive.
pub const HOST_HEARTBEATS: &str = "host.heartbeats.v1";
/// Corrections by people.
pub const FEEDBACK: &str = "feedback.v1";
/// Alerts.
pub const ALERTS: &str = "alerts.v1";
/// Incidents.
pub const INCIDENTS: &str = "incidents.v1";
/// The table of silences.
pub const CONTROL_SILENCES: &str = "control.silences.v1";
/// Suffix of a topic's dead letters.
pub const DLQ_SUFFIX: &str = ".dlq";

/// The headers of a dead letter, in order, and what each says.
pub const DEAD_LETTER_HEADERS: &[(&str, &str)] = &[
    ("dlq.topic", "topic of the record"),
    ("dlq.partition", "its partition"),
    ("dlq.offset", "its offset"),
    ("dlq.timestamp", "when it was appended, RFC 3339"),
    ("dlq.group", "consumer group that rejected it"),
    ("dlq.processor", "part that rejected it"),
    ("dlq.version", "version of that part"),
    ("dlq.reason", "undecodable, unknown_schema, invalid_field, too_large, too_old, output_limit or panic"),
    ("dlq.detail", "what was expected, what came, where"),
];

/// All topics but the dead letters, which stand beside each data topic as `<topic>.dlq`.
pub const TOPICS: &[Topic] = &[
    Topic {
        name: LOGS_RAW,
        class: Class::Data,
        key: "host",
        written_by: &["syslog"],
        read_by: &["drain"],
        about: "log lines as they were received (Avro)",
    },
    Topic {
        name: LOGS_PARSED,
        class: Class::Data,
        key: "host",
        written_by: &["drain"],
        read_by: &["console", "matrix-profile"],
        about: "each line as template and parameters (Avro)",
    },
    Topic {
        name: LOGS_TEMPLATES,
        class: Class::Table,
        key: "template id",
        written_by: &["drain"],
        read_by: &["console"],
        about: "the last word on each template (Avro, compacted)",
    },
    Topic {
        name: LOGS_VERDICTS,
        class: Class::Table,
        key: "template id/operator or template id/model",
        written_by: &["anyone"],
        read_by: &["console", "matrix-profile"],
        about: "which templates tell of a failure, by people and models (Avro, compacted)",
    },
    Topic {
        name: FEEDBACK,
        class: Class::Alerts,
        key: "subject",
        written_by: &["anyone"],
        read_by: &["matrix-profile"],
        about: "corrections by people (JSON)",
    },
    Topic {
        name: ALERTS,
        class: Class::Alerts,
        key: "fingerprint",
        written_by: &["drain", "incident", "matrix-profile", "runtime"],
        read_by: &["incident", "console", "notifier", "anyone"],
        about: "alerts (JSON, CloudEvents headers)",
    },
    Topic {
        name: INCIDENTS,
        class: Class::Alerts,
        key: "incident id",
        written_by: &["incident"],
        read_by: &["console", "anyone"],
        about: "alerts of one story together, with what probably caused them (JSON, CloudEvents headers)",
    },
    Topic {
        name: HOST_HEARTBEATS,
        class: Class::Signals,
        key: "host or VM",
        written_by: &["heartbeat"],
        read_by: &["incident"],
        about: "who is heard to be alive: changes, and a summary per name and 10 s (Avro)",
    },
    Topic {
        name: CONTROL_SILENCES,
        class: Class::Table,
        key: "silence id",
        written_by: &["console"],
        read_by: &["console", "notifier"],
        about: "what people are not to be told for a while, by whom and why (JSON, compacted)",
    },
];

/// The row of a topic, by name.
pub fn find(name: &str) -> Option<&'static Topic> {
    TOPICS.iter().find(|topic| topic.name == name)
}

impl Topic {
    /// Layout of its dead letters: as many partitions as it has itself, since a dead letter keeps the partition of its record.
    pub const fn dead_letters(&self) -> Layout {
        let (own, dead) = (self.class.layout(), Class::DeadLetters.layout());
        Layout { partitions_kafka: own.partitions_kafka, partitions_embedded: own.partitions_embedded, ..dead }
    }
}

/// Layout of a topic: its row's, or that of dead letters.
pub fn layout(name: &str) -> Option<Layout> {
    if let Some(topic) = name.strip_suffix(DLQ_SUFFIX).and_then(find) {
        return Some(topic.dead_letters());
    }
    find(name).map(|topic| topic.class.layout())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_letters_stand_in_the_partition_of_their_record() {
        for topic in TOPICS {
            let (own, dead) = (topic.class.layout(), layout(&format!("{}{DLQ_SUFFIX}", topic.name)).expect("exists"));
            assert_eq!((dead.partitions_kafka, dead.partitions_embedded), (own.partitions_kafka, own.partitions_embedded));
            assert_eq!(dead.cleanup, Cleanup::Delete, "letters of a table are no table");
        }
        assert_eq!(layout("nowhere.v1.dlq"), None);
    }
}
