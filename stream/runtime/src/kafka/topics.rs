//! Topics on the brokers: made as they must be, or verified to be so.

use std::{collections::BTreeMap, time::Duration};

use futures_executor::block_on;
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
};
use schemas::topics::Cleanup;

use super::client::{ASK, Asking, ask, failed, now};
use crate::{
    bus::{BusError, TopicSpec},
    config::BusSettings,
};

/// Replicas, where there are as many brokers and nothing else is said.
const REPLICAS: usize = 3;
/// How long a new topic may take until every partition has a leader.
const LEADERS: Duration = Duration::from_secs(30);
/// Segments of compacted topics: the active one is never compacted, so it must not grow for long.
const TABLE_SEGMENT_MS: &str = "600000";
const TABLE_SEGMENT_BYTES: &str = "16777216";
/// Records that we make fit, with their headers.
const MESSAGE_BYTES: u64 = 1_000_000;
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

    /// What is wrong with a number of partitions.
    pub(super) fn wrong_partitions(&self, found: u32) -> Option<String> {
        let Self { name, partitions, .. } = self;
        (found != *partitions).then(|| format!("topic {name} has {found} partitions, expected {partitions} (topics.\"{name}\".partitions)"))
    }

    /// What is not as we would make it, the worst first.
    pub(super) fn differences(&self, described: &ConfigResource) -> Vec<Difference> {
        let found = |name: &str| described.get(name).and_then(|entry| entry.value.clone()).unwrap_or_default();
        let difference = |name: &str, is_broken: bool, expected: &str| Difference {
            text: format!("topic {}: {name} is {:?}, expected {expected}", self.name, found(name)),
            is_broken,
        };
        let mut all = Vec::new();
        if !found("cleanup.policy").contains(policy(self.cleanup)) {
            all.push(difference("cleanup.policy", true, policy(self.cleanup)));
        }
        if found("message.timestamp.type") != "LogAppendTime" {
            all.push(difference("message.timestamp.type", true, "LogAppendTime"));
        }
        if found("max.message.bytes").parse().unwrap_or(u64::MAX) < MESSAGE_BYTES {
            all.push(difference("max.message.bytes", true, &format!("at least {MESSAGE_BYTES}")));
        }
        let other = self.properties.iter().filter(|(name, value)| found(name) != *value);
        all.extend(other.map(|(name, value)| difference(name, false, value)));
        all
    }

    /// A state log or the cursors: read from the beginning at every restore, so kept short.
    pub(super) fn internal(name: String, partitions: u32) -> Self {
        Self { name, partitions, cleanup: Cleanup::Compact, properties: table("0") }
    }
}

/// Something about a topic that is not as it would be made today.
pub(super) struct Difference {
    /// What was found and what was expected.
    pub(super) text: String,
    /// It breaks a promise. Other differences are the operator's choice.
    pub(super) is_broken: bool,
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

/// What the brokers say about themselves and about every topic that this user may see.
pub(super) fn metadata(client: &BaseConsumer<Asking>) -> Result<Metadata, BusError> {
    ask(client, "list of topics", |client, wait| client.fetch_metadata(None, wait))
}

/// Number of partitions of every topic on the brokers that has a leader everywhere.
pub(super) fn partitions(client: &BaseConsumer<Asking>) -> Result<BTreeMap<String, u32>, BusError> {
    let is_led = |topic: &&rdkafka::metadata::MetadataTopic| {
        topic.error().is_none() && topic.partitions().iter().all(|partition| partition.leader() >= 0)
    };
    let metadata = metadata(client)?;
    Ok(metadata.topics().iter().filter(is_led).map(|topic| (topic.name().to_owned(), topic.partitions().len() as u32)).collect())
}

/// Makes what is missing and verifies what is there.
pub(super) fn ensure(
    client: &BaseConsumer<Asking>,
    admin: &ClientConfig,
    wanted: &[Wanted],
    settings: &BusSettings,
) -> Result<(), BusError> {
    let found = metadata(client)?;
    let (present, missing) = present(&found, wanted);
    for (wanted, partitions) in &present {
        if let Some(wrong) = wanted.wrong_partitions(*partitions) {
            return Err(BusError::Fatal(format!("{wrong}: keys would meet foreign state")));
        }
    }
    let present: Vec<_> = present.into_iter().map(|(wanted, _)| wanted).collect();
    let admin = admin.create_with_context(Asking::default()).map_err(|error| failed("admin client", &error))?;
    for (wanted, described) in present.iter().zip(describe(&admin, &present)?) {
        if let Some(wrong) = described.and_then(|described| wanted.differences(&described).into_iter().find(|found| found.is_broken)) {
            return Err(BusError::Fatal(wrong.text));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    for wanted in &missing {
        check_visible(client, &wanted.name)?;
    }
    if !settings.create_topics {
        let names: Vec<_> = missing.iter().map(|wanted| wanted.name.as_str()).collect();
        return Err(BusError::Fatal(format!("missing topics, which bus.create_topics = false leaves to you: {}", names.join(", "))));
    }
    make(client, &admin, &missing, replicas(&found, settings))
}

/// The topics that exist, with their numbers of partitions, and those that do not.
pub(super) fn present<'a>(found: &Metadata, wanted: &'a [Wanted]) -> (Vec<(&'a Wanted, u32)>, Vec<&'a Wanted>) {
    let found: BTreeMap<&str, u32> = found.topics().iter().map(|topic| (topic.name(), topic.partitions().len() as u32)).collect();
    let (mut present, mut missing) = (Vec::new(), Vec::new());
    for wanted in wanted {
        match found.get(wanted.name.as_str()) {
            Some(&partitions) if partitions > 0 => present.push((wanted, partitions)),
            _ => missing.push(wanted),
        }
    }
    (present, missing)
}

/// Replicas of a new topic.
pub(super) fn replicas(found: &Metadata, settings: &BusSettings) -> usize {
    match settings.replication_factor {
        0 => REPLICAS.min(found.brokers().len()).max(1),
        factor => usize::from(factor),
    }
}

/// A list of topics leaves out those that a user may not see; asked about one by its name, a broker says so.
fn check_visible(client: &BaseConsumer<Asking>, name: &str) -> Result<(), BusError> {
    let what = format!("topic {name}");
    let found = ask(client, &what, |client, wait| client.fetch_metadata(Some(name), wait))?;
    let refused = found.topics().iter().filter_map(|topic| topic.error()).map(RDKafkaErrorCode::from);
    match refused.into_iter().find(|code| *code == RDKafkaErrorCode::TopicAuthorizationFailed) {
        Some(code) => Err(failed(&what, &KafkaError::AdminOp(code))),
        None => Ok(()),
    }
}

pub(super) fn make(
    client: &BaseConsumer<Asking>,
    admin: &AdminClient<Asking>,
    missing: &[&Wanted],
    replicas: usize,
) -> Result<(), BusError> {
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
        let led = partitions(client)?;
        let Some(late) = missing.iter().find(|wanted| !led.contains_key(&wanted.name)) else { return Ok(()) };
        if now() > until {
            return Err(BusError::Lost(format!("topic {} was created but has no leader yet", late.name)));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The properties of topics. Describing needs an ACL of its own: who may not look trusts whoever made the topics.
pub(super) fn describe(admin: &AdminClient<Asking>, topics: &[&Wanted]) -> Result<Vec<Option<ConfigResource>>, BusError> {
    if topics.is_empty() {
        return Ok(Vec::new());
    }
    let resources: Vec<_> = topics.iter().map(|wanted| ResourceSpecifier::Topic(&wanted.name)).collect();
    let described = block_on(admin.describe_configs(&resources, &AdminOptions::new().request_timeout(Some(ASK))));
    let described = described.map_err(|error| failed("description of topics", &error))?;
    // A refusal comes as a description without any property.
    Ok(described.into_iter().map(|described| described.ok().filter(|described| !described.entries.is_empty())).collect())
}

const fn policy(cleanup: Cleanup) -> &'static str {
    match cleanup {
        Cleanup::Delete => "delete",
        Cleanup::Compact => "compact",
    }
}
