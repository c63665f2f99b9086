//! Proves that the transactions of a cluster hold, and looks at what else an installation on it rests on.
//!
//! There are brokers that speak the protocol of transactions and do not keep what it promises: records of aborted
//! transactions reach readers, and producers that were replaced still commit. Such a broker works for weeks and then doubles
//! alerts. So it is not asked what it can do; it is put to the test, with throw-away clients on a topic of its own:
//!
//! ```text
//! 1 abort      A writes r1, and aborts                                  ┐ what readers of committed records
//! 2 commit     A writes r2, and commits                                 │ may see of the topic:  r2 r4
//! 3 isolation  a reader from r1 on sees r2, never r1, and comes to the end
//! 4 fencing    A writes r3; B takes over A's transactional id: A's      │
//!              commit fails, B writes r4 and commits, r3 never appears  ┘
//! 5 protocol   transaction.version of the brokers is 2 or later (KIP-890)
//! ```
//!
//! The first four are [`proof`], the fifth [`versions`]. Clocks, topics ([`layout`]) and rights ([`rights`]) follow.

mod features;
mod layout;
mod operations;
mod proof;
mod rights;
mod versions;

use std::time::{Duration, Instant};

use rdkafka::{ClientConfig, consumer::BaseConsumer, metadata::Metadata};
use schemas::topics::Cleanup;
use serde::Serialize;
use stream_core::TopicName;

use super::{
    client::{Asking, now},
    names::Names,
    settings::KafkaSettings,
    topics,
};
use crate::{
    bus::{BusError, TopicSpec},
    config::BusSettings,
    layout::LayoutSettings,
};

/// All of it takes this long at most.
const PROBE: Duration = Duration::from_secs(25);
/// What the probe writes may go after an hour.
const RETENTION_MS: i64 = 3_600_000;

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The brokers that were asked first.
    pub bootstrap: String,
    /// What was looked at, in order.
    pub checks: Vec<Check>,
}

impl Report {
    /// The worst verdict of all.
    pub fn verdict(&self) -> Verdict {
        self.checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Note)
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// How it is.
    pub verdict: Verdict,
    /// What was looked at, e.g. `3 isolation`.
    pub step: String,
    /// What came.
    pub found: String,
    /// What should have come, where something else did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// The broker that it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<String>,
    /// What to do.
    #[serde(rename = "todo", skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It cannot be told from here.
    Note,
    /// As it should be.
    Ok,
    /// It works, but less well than it could.
    Warn,
    /// Nephoscope must not run on it.
    Fail,
}

impl Check {
    fn new(verdict: Verdict, step: impl Into<String>, found: impl Into<String>) -> Self {
        Self { verdict, step: step.into(), found: found.into(), expected: None, broker: None, advice: None }
    }

    fn ok(step: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, step, found)
    }

    fn note(step: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Verdict::Note, step, found)
    }

    fn warn(step: impl Into<String>, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..Self::new(Verdict::Warn, step, found) }
    }

    fn fail(step: impl Into<String>, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: Some(expected.into()), ..Self::new(Verdict::Fail, step, found) }
    }

    fn advised(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    fn at(self, broker: &str) -> Self {
        Self { broker: self.broker.or_else(|| Some(broker.into())), ..self }
    }
}

/// The end of the probe's time; each question gets a part of what is left.
#[derive(Debug, Clone, Copy)]
struct Deadline(Instant);

impl Deadline {
    fn left(self, part_max: Duration) -> Duration {
        self.0.saturating_duration_since(now()).min(part_max)
    }

    fn is_over(self) -> bool {
        self.0 <= now()
    }
}

/// What all steps need.
struct Subject<'a> {
    bus: &'a BusSettings,
    settings: &'a KafkaSettings,
    layout: &'a LayoutSettings,
    names: Names,
    /// A client that asks.
    client: BaseConsumer<Asking>,
    deadline: Deadline,
}

impl Subject<'_> {
    fn client_config(&self) -> ClientConfig {
        self.settings.reader(&self.names.client("probe"))
    }
}

/// Examines the cluster; half a minute at most. What goes wrong stands in the report.
pub fn run(bus: &BusSettings, settings: &KafkaSettings, layout: &LayoutSettings) -> Report {
    let mut checks = Vec::new();
    if let Err(broken) = examine(bus, settings, layout, &mut checks) {
        checks.push(*broken);
    }
    Report { bootstrap: settings.bootstrap().to_owned(), checks }
}

/// What an error says. The probe has no session that could be lost.
fn words(error: BusError) -> String {
    match error {
        BusError::Lost(why) | BusError::Fatal(why) => why,
        error @ BusError::Io { .. } => error.to_string(),
    }
}

/// Adds what it finds; ends early where nothing more can be found.
fn examine(bus: &BusSettings, settings: &KafkaSettings, layout: &LayoutSettings, checks: &mut Vec<Check>) -> Result<(), Box<Check>> {
    const STEP: &str = "connection";
    let unreachable = |error: BusError| {
        let expected = format!("an answer from {}", settings.bootstrap());
        Box::new(Check::fail(STEP, expected, words(error)).at(settings.bootstrap()))
    };
    let names = Names::new(bus);
    let client = settings.reader(&names.client("probe")).create_with_context(Asking::default());
    let client = client.map_err(|error| unreachable(super::client::failed("client", &error)))?;
    let subject = Subject { bus, settings, layout, names, client, deadline: Deadline(now() + PROBE) };
    let found = topics::metadata(&subject.client).map_err(unreachable)?;
    checks.push(Check::ok(STEP, brokers(&found)));

    let topic = subject.names.topic(&TopicName::new(&format!("{}.probe", bus.prefix)));
    match proof_topic(&subject, &found, &topic).and_then(|broker| proof::run(&subject, &topic, &broker, checks)) {
        Ok(()) => {}
        Err(broken) => checks.push(*broken),
    }
    checks.push(versions::check(&subject, &found));
    checks.extend(layout::check(&subject, &found));
    checks.extend(rights::check(&subject, &found));
    Ok(())
}

fn brokers(found: &Metadata) -> String {
    let names: Vec<_> = found.brokers().iter().map(|broker| format!("{}:{}", broker.host(), broker.port())).collect();
    format!("{} broker(s): {}", names.len(), names.join(", "))
}

/// Makes the topic of the proof if there is none. The broker that leads it.
fn proof_topic(subject: &Subject<'_>, found: &Metadata, topic: &str) -> Result<String, Box<Check>> {
    let spec = TopicSpec {
        name: TopicName::new(topic),
        partitions: 1,
        cleanup: Cleanup::Delete,
        retention_ms: RETENTION_MS,
        retention_bytes: u64::MAX,
    };
    let broken = |error: BusError| {
        let check = Check::fail(proof::ABORT, format!("topic {topic} with one partition"), words(error));
        Box::new(check.at(subject.settings.bootstrap()))
    };
    let wanted = [topics::Wanted::of(topic.to_owned(), &spec)];
    let (present, missing) = topics::present(found, &wanted);
    if let Some(wrong) = present.first().and_then(|(wanted, partitions)| wanted.wrong_partitions(*partitions)) {
        return Err(broken(BusError::Fatal(wrong)));
    }
    if !missing.is_empty() {
        let admin = subject.client_config().create_with_context(Asking::default());
        let admin = admin.map_err(|error| broken(super::client::failed("admin client", &error)))?;
        topics::make(&subject.client, &admin, &missing, topics::replicas(found, subject.bus)).map_err(broken)?;
    }
    let found = topics::metadata(&subject.client).map_err(broken)?;
    let leader = found.topics().iter().filter(|found| found.name() == topic).flat_map(|found| found.partitions()).next();
    let leader = leader.and_then(|partition| found.brokers().iter().find(|broker| broker.id() == partition.leader()));
    Ok(leader.map_or_else(|| subject.settings.bootstrap().to_owned(), |broker| format!("{}:{}", broker.host(), broker.port())))
}
