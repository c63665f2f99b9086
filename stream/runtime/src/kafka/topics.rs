//! Topics on the brokers: made as they must be, or verified to be so.

use std::{collections::BTreeMap, time::Duration};

use futures_executor::block_on;
use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
};
use schemas::topics::Cleanup;

use super::client::{ASK, Asking, failed, now};
use crate::bus::{BusError, TopicSpec};

/// Replicas, where there are as many brokers and nothing else is said.
const REPLICAS: usize = 3;
/// How long a new topic may take until every partition has a leader.
const LEADERS: Duration = Duration::from_secs(30);
/// Segments of compacted topics: the active one is never compacted, so it must not grow for long.
const TABLE_SEGMENT_MS: &str = "600000";
const TABLE_SEGMENT_BYTES: &str = "16777216";
/// A reader that was away for less than this misses no tombstone.
const TABLE_LAG_MS: &str = "86400000";

/// How a topic is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Its name on the brokers.
    pub(super) name: String,
    pub(super) partitions: u32,
    pub(super) cleanup: Cleanup,
    /// Properties that are set when it is made.
    properties: Vec<(&'static str, String)>,
}

impl Wanted {
    pub(super) fn of(name: String, spec: &TopicSpec) -> Self {
        let properties = match spec.cleanup {
            Cleanup::Delete => vec![
                ("retention.ms", spec.retention_ms.to_string()),
                ("retention.bytes", i64::try_from(spec.retention_bytes).unwrap_or(-1).to_string()),
            ],
            Cleanup::Compact => table(TABLE_LAG_MS),
        };
        Self { name, partitions: spec.partitions, cleanup: spec.cleanup, properties }
    }

    /// A state log or the cursors: read from the beginning at every restore, so kept short.
    pub(super) fn internal(name: String, partitions: u32) -> Self {
        Self { name, partitions, cleanup: Cleanup::Compact, properties: table("0") }
    }
}

fn table(compaction_lag_ms: &str) -> Vec<(&'static str, String)> {
    [
        ("min.compaction.lag.ms", compaction_lag_ms),
        ("delete.retention.ms", TABLE_LAG_MS),
        ("min.cleanable.dirty.ratio", "0.1"),
        ("segment.ms", TABLE_SEGMENT_MS),
        ("segment.bytes", TABLE_SEGMENT_BYTES),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .into()
}

/// Number of partitions of every topic on the brokers that has a leader everywhere.
pub(super) fn partitions(admin: &AdminClient<Asking>) -> Result<BTreeMap<String, u32>, BusError> {
    let metadata = admin.inner().fetch_metadata(None, ASK).map_err(|error| failed("list of topics", &error))?;
    let is_led = |topic: &&rdkafka::metadata::MetadataTopic| {
        topic.error().is_none() && topic.partitions().iter().all(|partition| partition.leader() >= 0)
    };
    Ok(metadata.topics().iter().filter(is_led).map(|topic| (topic.name().to_owned(), topic.partitions().len() as u32)).collect())
}

/// Makes what is missing and verifies what is there.
pub(super) fn ensure(admin: &AdminClient<Asking>, wanted: &[Wanted], create: bool, replication: u16) -> Result<(), BusError> {
    let metadata = admin.inner().fetch_metadata(None, ASK).map_err(|error| failed("list of topics", &error))?;
    let brokers = metadata.brokers().len();
    let found: BTreeMap<&str, u32> = metadata.topics().iter().map(|topic| (topic.name(), topic.partitions().len() as u32)).collect();
    let (present, missing): (Vec<_>, Vec<_>) = wanted.iter().partition(|wanted| found.get(wanted.name.as_str()).is_some_and(|n| *n > 0));
    for wanted in &present {
        let partitions = found.get(wanted.name.as_str()).copied().unwrap_or(0);
        if partitions != wanted.partitions {
            return Err(BusError::Fatal(format!(
                "topic {} has {partitions} partitions, expected {} (topics.\"{}\".partitions): keys would meet foreign state",
                wanted.name, wanted.partitions, wanted.name
            )));
        }
    }
    verify(admin, &present)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !create {
        let names: Vec<_> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
        return Err(BusError::Fatal(format!("missing topics, which bus.create_topics = false leaves to you: {}", names.join(", "))));
    }
    let replicas = if replication == 0 { REPLICAS.min(brokers).max(1) } else { usize::from(replication) };
    make(admin, &missing, replicas)
}

fn make(admin: &AdminClient<Asking>, missing: &[&Wanted], replicas: usize) -> Result<(), BusError> {
    let topics: Vec<_> = missing
        .iter()
        .map(|wanted| {
            let partitions = i32::try_from(wanted.partitions).unwrap_or(i32::MAX);
            let topic = NewTopic::new(&wanted.name, partitions, TopicReplication::Fixed(i32::try_from(replicas).unwrap_or(1)));
            // The time of the append is part of the log, and old records that are sent again must not expire on arrival.
            let topic = topic.set("message.timestamp.type", "LogAppendTime").set("cleanup.policy", policy(wanted.cleanup));
            let topic = if replicas >= REPLICAS { topic.set("min.insync.replicas", "2") } else { topic };
            wanted.properties.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ASK));
    let made = block_on(admin.create_topics(&topics, &options)).map_err(|error| failed("creation of topics", &error))?;
    for result in made {
        match result {
            Ok(name) => tracing::info!(topic = name, replicas, "topic created"),
            // Another process of ours was faster.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(failed(&format!("creation of topic {name}"), &KafkaError::AdminOp(code))),
        }
    }
    let until = now() + LEADERS;
    loop {
        let led = partitions(admin)?;
        let Some(late) = missing.iter().find(|wanted| !led.contains_key(&wanted.name)) else { return Ok(()) };
        if now() > until {
            return Err(BusError::Lost(format!("topic {} was created but has no leader yet", late.name)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first property of a topic that breaks a promise.
fn verify(admin: &AdminClient<Asking>, present: &[&Wanted]) -> Result<(), BusError> {
    let resources: Vec<_> = present.iter().map(|wanted| ResourceSpecifier::Topic(&wanted.name)).collect();
    if resources.is_empty() {
        return Ok(());
    }
    let described = block_on(admin.describe_configs(&resources, &AdminOptions::new().request_timeout(Some(ASK))));
    let described = described.map_err(|error| failed("description of topics", &error))?;
    for (wanted, described) in present.iter().zip(described) {
        // Describing needs an ACL of its own; who may not look trusts whoever made the topics.
        let Ok(described) = described else { continue };
        let found = |name: &str| described.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let check = |name: &str, is_right: bool, expected: &str| match is_right {
            true => Ok(()),
            false => Err(BusError::Fatal(format!("topic {}: {name} is {:?}, expected {expected}", wanted.name, found(name)))),
        };
        check("cleanup.policy", found("cleanup.policy").contains(policy(wanted.cleanup)), policy(wanted.cleanup))?;
        check("message.timestamp.type", found("message.timestamp.type") == "LogAppendTime", "LogAppendTime")?;
        let bytes = found("max.message.bytes").parse().unwrap_or(u64::MAX);
        check("max.message.bytes", bytes >= 1_000_000, "at least 1000000")?;
    }
    Ok(())
}

const fn policy(cleanup: Cleanup) -> &'static str {
    match cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
    }
}
