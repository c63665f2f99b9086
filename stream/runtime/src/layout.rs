//! How the topics of the table are laid out on a bus, and what an operator changed about it.

use std::collections::BTreeMap;

use schemas::topics;
use serde::{Deserialize, Serialize};
use stream_core::TopicName;

use crate::{
    bus::TopicSpec,
    config::{Backend, ConfigFileError},
};

/// `[topics."<name>"]`: what is to be different, by topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayoutSettings(BTreeMap<String, TopicSettings>);

/// What is to be different about one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopicSettings {
    /// Partitions; only before the first start, since keys keep their partition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// Age at which records may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_ms: Option<i64>,
    /// Bytes per partition at which records may go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_bytes: Option<u64>,
}

impl LayoutSettings {
    /// Refuses a topic that is not in the table, and a topic without partitions.
    ///
    /// # Errors
    /// Names the first.
    pub fn check(&self) -> Result<(), ConfigFileError> {
        let wrong = |name: &str, problem: String| ConfigFileError { place: None, key: format!("topics.\"{name}\""), problem };
        for (name, settings) in &self.0 {
            if topics::layout(name).is_none() {
                let known: Vec<_> = topics::TOPICS.iter().map(|topic| topic.name).collect();
                return Err(wrong(name, format!("unknown topic; known are {}, each with {}", known.join(", "), topics::DLQ_SUFFIX)));
            }
            if settings.partitions == Some(0) {
                return Err(wrong(name, "found partitions = 0, expected at least 1".into()));
            }
        }
        Ok(())
    }
}

/// Every topic of the table, each with its dead letters.
pub fn specs(backend: Backend, settings: &LayoutSettings) -> Vec<TopicSpec> {
    let names = topics::TOPICS.iter().flat_map(|topic| [topic.name.to_string(), format!("{}{}", topic.name, topics::DLQ_SUFFIX)]);
    names.filter_map(|name| spec(&name, backend, settings)).collect()
}

fn spec(name: &str, backend: Backend, settings: &LayoutSettings) -> Option<TopicSpec> {
    let layout = topics::layout(name)?;
    let (partitions, retention_ms, retention_bytes) = match backend {
        Backend::Embedded => (layout.partitions_embedded, layout.retention_ms_embedded, layout.retention_bytes_embedded),
        Backend::Kafka => (layout.partitions_kafka, layout.retention_ms_kafka, layout.retention_bytes_kafka.unwrap_or(u64::MAX)),
    };
    // A dead letter keeps the partition of its record, so its topic has as many as the source.
    let source = name.strip_suffix(topics::DLQ_SUFFIX);
    let partitions = match source {
        Some(source) => spec(source, backend, settings)?.partitions,
        None => settings.0.get(name).and_then(|settings| settings.partitions).unwrap_or(partitions),
    };
    let own = settings.0.get(name).cloned().unwrap_or_default();
    Some(TopicSpec {
        name: TopicName::new(name),
        partitions,
        cleanup: layout.cleanup,
        retention_ms: own.retention_ms.unwrap_or(retention_ms),
        retention_bytes: own.retention_bytes.unwrap_or(retention_bytes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> LayoutSettings {
        toml::from_str(text).expect("is TOML")
    }

    #[test]
    fn dead_letters_have_the_partitions_of_their_source() {
        for backend in [Backend::Embedded, Backend::Kafka] {
            let specs = specs(backend, &settings("[\"logs.raw.v1\"]\npartitions = 4\n"));
            let partitions = |name: &str| specs.iter().find(|spec| spec.name.as_str() == name).map(|spec| spec.partitions);
            assert_eq!((partitions("logs.raw.v1"), partitions("logs.raw.v1.dlq")), (Some(4), Some(4)));
            assert_eq!(partitions("alerts.v1"), partitions("alerts.v1.dlq"));
        }
    }

    #[test]
    fn what_is_not_a_topic_is_named() {
        let error = settings("[\"logs.row.v1\"]\npartitions = 4\n").check().expect_err("is unknown").to_string();
        assert!(error.contains("topics.\"logs.row.v1\": unknown topic") && error.contains("logs.raw.v1"), "{error}");
        assert!(settings("[\"logs.raw.v1\"]\npartitions = 0\n").check().is_err());
        assert!(settings("[\"logs.raw.v1.dlq\"]\nretention_ms = 5\n").check().is_ok());
    }
}
