//! The binaries that the table of topics names, and what each does with topics. A new row, or a new part in a row, is known
//! here by itself.

use std::collections::BTreeSet;

use schemas::topics::TOPICS;
use stream_core::TopicName;

use super::{names::Names, publisher::CURSOR_PARTITIONS};
use crate::{bus::TopicSpec, engine::RUNTIME_SOURCE};

/// Parts of the table that are no binaries: the page reads through `nephoscope up`, the others stand for other people, and
/// for every process.
const NO_BINARIES: [&str; 3] = ["anyone", "console", RUNTIME_SOURCE];

/// Sinks: their groups and state logs are called by destinations, which only their configurations name.
const SINKS: [&str; 1] = ["notifier"];

/// A binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    /// Topics that it reads, as a member of a group. Whoever reads keeps state.
    pub(super) reads: Vec<&'static str>,
    /// Topics that it writes, besides dead letters and what every process says about itself.
    pub(super) writes: Vec<&'static str>,
}

impl Part {
    /// Whether its group and its state log are called as it is itself.
    pub(super) fn has_group(&self) -> bool {
        !self.reads.is_empty() && !SINKS.contains(&self.name)
    }
}

/// All of them, by name.
pub(super) fn all() -> Vec<Part> {
    let names: BTreeSet<_> = TOPICS.iter().flat_map(|topic| topic.written_by.iter().chain(topic.read_by).copied()).collect();
    let part = |name: &'static str| Part {
        name,
        reads: TOPICS.iter().filter(|topic| topic.read_by.contains(&name)).map(|topic| topic.name).collect(),
        writes: TOPICS.iter().filter(|topic| topic.written_by.contains(&name)).map(|topic| topic.name).collect(),
    };
    names.into_iter().filter(|name| !NO_BINARIES.contains(name)).map(part).collect()
}

/// Topics of an installation besides those of the table, with their partitions: the cursors of all collectors, and the state
/// log of each processor, which has as many as its inputs.
pub(super) fn internal_topics(names: &Names, table: &[TopicSpec]) -> Vec<(TopicName, u32)> {
    let mut topics = vec![(names.cursors(), CURSOR_PARTITIONS)];
    for part in all().into_iter().filter(Part::has_group) {
        let inputs = table.iter().filter(|spec| part.reads.contains(&spec.name.as_str()));
        topics.extend(inputs.map(|spec| spec.partitions).max().map(|partitions| (names.state_log(part.name), partitions)));
    }
    topics
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Backend, BusSettings},
        layout::{self, LayoutSettings},
    };

    #[test]
    fn a_processor_has_a_state_log_as_wide_as_its_input() {
        let table = layout::specs(Backend::Kafka, &LayoutSettings::default());
        let topics = internal_topics(&Names::new(&BusSettings::default()), &table);
        let expected = [
            ("nephoscope.cursors", 6),
            ("nephoscope.drain.state", 6),
            ("nephoscope.incident.state", 1),
            ("nephoscope.matrix-profile.state", 6),
        ];
        assert_eq!(topics, expected.map(|(name, partitions)| (name.into(), partitions)));
    }

    #[test]
    fn a_collector_writes_and_a_processor_does_both() {
        let all = all();
        let find = |name: &str| all.iter().find(|part| part.name == name).cloned();
        assert_eq!(find("syslog"), Some(Part { name: "syslog", reads: vec![], writes: vec!["logs.raw.v1"] }));
        assert_eq!(find("drain").map(|part| part.reads), Some(vec!["logs.raw.v1"]));
        assert!(NO_BINARIES.iter().all(|name| find(name).is_none()));
    }
}
