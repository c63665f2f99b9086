//! `[kafka]`: any property of librdkafka, but for those on which exactly-once rests.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::config::{ConfigFile, ConfigFileError, Property};

/// Section of the configuration file.
const SECTION: &str = "kafka";
/// Where brokers are found if nothing is said.
const DEFAULT_BOOTSTRAP: &str = "127.0.0.1:9092";
/// A member that says nothing for this long is replaced. librdkafka sends heartbeats from a thread of its own, and no
/// collector of garbage stops it.
const SESSION_TIMEOUT_MS: u64 = 15_000;
/// No transaction may outlive its owner's membership, so this stays below the session timeout.
const TRANSACTION_TIMEOUT_MS: u64 = 10_000;
/// How long a record waits for company. The end of every batch is flushed, so nothing waits that long; but as soon as a record
/// has, librdkafka's thread spins until it can be sent, and the records of a partition that one request has no room for have to
/// wait for its answer. With 5 ms, more than half of a busy worker's CPU time went there.
const LINGER_MS: &str = "1000";
/// Records of one request: a megabyte of log lines, the most that librdkafka puts into one.
const REQUEST_RECORDS: &str = "4000";
/// The least `message.max.bytes`: the largest record that we make, with its headers, fits.
const MESSAGE_BYTES: u64 = 1_000_000;

/// Properties that the engine sets, and why nobody else may.
const REFUSED: [(&str, &str); 18] = [
    ("enable.auto.commit", "positions are committed in the transaction of their outputs"),
    ("enable.auto.offset.store", "positions are committed in the transaction of their outputs"),
    ("isolation.level", "only committed records are read"),
    ("auto.offset.reset", "positions come from the state; a silent jump would be a silent loss"),
    ("transactional.id", "it is <bus.prefix>.<part>.<bus.instance>"),
    ("enable.idempotence", "transactions need it"),
    ("acks", "transactions need acks from all replicas in sync"),
    ("request.required.acks", "transactions need acks from all replicas in sync"),
    ("group.id", "it is <bus.prefix>.<part>; set bus.prefix"),
    ("group.instance.id", "it is the instance; set bus.instance or bus.static_membership"),
    ("group.protocol", "the classic protocol with cooperative-sticky is the one that has been proven"),
    ("partition.assignment.strategy", "cooperative-sticky is the one that has been proven"),
    ("partitioner", "records go to the partitions of Kafka's Java client, on every bus"),
    ("allow.auto.create.topics", "an auto-created topic has the wrong partitions; topics are created by us"),
    ("enable.partition.eof", "the engine needs to know where a partition ends"),
    ("enable.gapless.guarantee", "it has no meaning for a transactional producer"),
    ("delivery.report.only.error", "the engine sets it"),
    ("plugin.library.paths", "it loads code"),
];

/// Properties that hold secrets.
const SECRETS: [&str; 4] = ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret"];

/// How clients are configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSettings {
    properties: BTreeMap<String, String>,
}

impl Default for KafkaSettings {
    fn default() -> Self {
        Self::of([("bootstrap.servers", DEFAULT_BOOTSTRAP)])
    }
}

impl KafkaSettings {
    /// Settings of these properties, unchecked: for tests and tools.
    pub fn of<'a>(properties: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self { properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }

    /// Reads and checks the section.
    ///
    /// # Errors
    /// Names a property that may not be set, a secret that stands in the file, or a value that breaks a guarantee.
    pub fn read(file: &mut ConfigFile) -> Result<Self, ConfigFileError> {
        let mut this = Self::default();
        for property in file.properties(SECTION, &SECRETS)? {
            let value = resolved(&property)?;
            this.properties.insert(property.name, value);
        }
        this.check()?;
        Ok(this)
    }

    fn check(&self) -> Result<(), ConfigFileError> {
        let (session, transaction) = (self.session_timeout(), self.transaction_timeout());
        if transaction >= session {
            let problem = format!(
                "found {}, expected less than session.timeout.ms = {}: no transaction may outlive its owner's membership",
                transaction.as_millis(),
                session.as_millis()
            );
            return Err(wrong("transaction.timeout.ms", problem));
        }
        let message = self.number("message.timeout.ms", TRANSACTION_TIMEOUT_MS);
        if u128::from(message) > transaction.as_millis() {
            let problem = format!("found {message}, expected at most transaction.timeout.ms = {}", transaction.as_millis());
            return Err(wrong("message.timeout.ms", problem));
        }
        let bytes = self.number("message.max.bytes", MESSAGE_BYTES);
        if bytes < MESSAGE_BYTES {
            return Err(wrong("message.max.bytes", format!("found {bytes}, expected at least {MESSAGE_BYTES}")));
        }
        Ok(())
    }

    /// Brokers to ask first.
    pub fn bootstrap(&self) -> &str {
        self.properties.get("bootstrap.servers").map_or(DEFAULT_BOOTSTRAP, String::as_str)
    }

    /// Whether the connection is neither encrypted nor authenticated.
    pub fn is_plaintext(&self) -> bool {
        self.properties.get("security.protocol").is_none_or(|protocol| protocol.eq_ignore_ascii_case("plaintext"))
    }

    pub(super) fn session_timeout(&self) -> Duration {
        Duration::from_millis(self.number("session.timeout.ms", SESSION_TIMEOUT_MS))
    }

    pub(super) fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(self.number("transaction.timeout.ms", TRANSACTION_TIMEOUT_MS))
    }

    fn number(&self, name: &str, default: u64) -> u64 {
        self.properties.get(name).and_then(|value| value.parse().ok()).unwrap_or(default)
    }

    /// A client that asks, and reads without a group. Defaults first, then the operator's word, then what must be.
    pub(super) fn reader(&self, client_id: &str) -> ClientConfig {
        let mut config = self.client(
            client_id,
            &[
                ("fetch.wait.max.ms", "20"),
                ("queued.max.messages.kbytes", "16384"),
                ("queued.min.messages", "10000"),
                ("fetch.queue.backoff.ms", "20"),
            ],
        );
        // Without a group the client would not put its events where it is polled. It never joins.
        config.set("group.id", format!("{client_id}.reader"));
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        without_offsets(&mut config);
        config
    }

    /// A member of a consumer group.
    pub(super) fn member(&self, client_id: &str, group: &str, static_instance: Option<&str>) -> ClientConfig {
        let mut config = self.client(
            client_id,
            &[
                ("session.timeout.ms", &SESSION_TIMEOUT_MS.to_string()),
                ("heartbeat.interval.ms", "1000"),
                ("queued.max.messages.kbytes", "16384"),
                ("queued.min.messages", "10000"),
                ("fetch.queue.backoff.ms", "20"),
                ("fetch.wait.max.ms", "100"),
                // For the metric of what is read ahead.
                ("statistics.interval.ms", "5000"),
            ],
        );
        config.set("group.id", group);
        if let Some(instance) = static_instance {
            config.set("group.instance.id", instance);
        }
        config.set("partition.assignment.strategy", "cooperative-sticky");
        config.set("isolation.level", "read_committed");
        config.set("enable.partition.eof", "true");
        without_offsets(&mut config);
        config
    }

    /// A transactional producer.
    pub(super) fn producer(&self, client_id: &str, transactional_id: &str) -> ClientConfig {
        let mut config = self.client(
            client_id,
            &[
                ("transaction.timeout.ms", &TRANSACTION_TIMEOUT_MS.to_string()),
                ("linger.ms", LINGER_MS),
                ("compression.type", "lz4"),
                ("queue.buffering.max.kbytes", "32768"),
                ("batch.num.messages", REQUEST_RECORDS),
            ],
        );
        config.set("transactional.id", transactional_id);
        config.set("delivery.report.only.error", "true");
        config
    }

    fn client(&self, client_id: &str, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("client.id", client_id).set("statistics.interval.ms", "0").set("allow.auto.create.topics", "false");
        // A broker that was away is looked for again within a second, not ten.
        config.set("reconnect.backoff.max.ms", "1000").set("topic.metadata.refresh.interval.ms", "60000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }
}

fn without_offsets(config: &mut ClientConfig) {
    config.set("enable.auto.commit", "false").set("enable.auto.offset.store", "false").set("auto.offset.reset", "error");
}

fn wrong(name: &str, problem: String) -> ConfigFileError {
    ConfigFileError { place: None, key: format!("{SECTION}.{name}"), problem }
}

/// The value that a property means. Secrets are named, never written down.
fn resolved(property: &Property) -> Result<String, ConfigFileError> {
    let refuse = |problem: String| Err(ConfigFileError { place: property.place.clone(), ..wrong(&property.name, problem) });
    if let Some((_, reason)) = REFUSED.iter().find(|(name, _)| *name == property.name) {
        return refuse(format!("this property may not be set: {reason}"));
    }
    if !SECRETS.contains(&property.name.as_str()) || property.is_environment {
        return Ok(property.value.clone());
    }
    if let Some(path) = property.value.strip_prefix("file:") {
        return match std::fs::read_to_string(path) {
            Ok(text) => Ok(text.trim_end().to_owned()),
            Err(error) => refuse(format!("cannot read {path}: {error}")),
        };
    }
    if let Some(name) = property.value.strip_prefix("env:") {
        #[allow(clippy::disallowed_methods, reason = "the operator names the variable")]
        return match std::env::var(name) {
            Ok(value) => Ok(value),
            Err(_) => refuse(format!("environment variable {name} is not set")),
        };
    }
    refuse("a secret does not belong in this file; write \"file:<path>\" or \"env:<NAME>\"".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<KafkaSettings, String> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("n.toml");
        std::fs::write(&path, text).expect("writes");
        let mut file = ConfigFile::load(Some(&path)).expect("is TOML");
        KafkaSettings::read(&mut file).map_err(|error| error.to_string())
    }

    #[test]
    fn properties_are_quoted_or_dotted() {
        let quoted = read("[kafka]\n\"bootstrap.servers\" = \"a:1,b:2\"\n\"fetch.wait.max.ms\" = 7\n").expect("fits");
        let dotted = read("[kafka]\nbootstrap.servers = \"a:1,b:2\"\nfetch.wait.max.ms = 7\n").expect("fits");
        assert_eq!(quoted, dotted);
        assert_eq!(quoted.bootstrap(), "a:1,b:2");
        assert_eq!(quoted.reader("x").get("fetch.wait.max.ms"), Some("7"));
    }

    #[test]
    fn what_carries_a_guarantee_is_refused_by_name_with_the_reason() {
        for (name, reason) in REFUSED {
            let error = read(&format!("[kafka]\n\"{name}\" = \"x\"\n")).expect_err("is refused");
            assert!(error.contains(&format!("kafka.{name}")) && error.contains(reason) && error.contains("n.toml"), "{error}");
        }
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        for name in SECRETS {
            let error = read(&format!("[kafka]\n\"{name}\" = \"hunter2\"\n")).expect_err("is refused");
            assert!(error.contains("file:<path>") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_secret_may_stand_in_a_file_of_its_own() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("secret");
        std::fs::write(&path, "hunter2\n").expect("writes");
        let settings = read(&format!("[kafka]\nsasl.password = \"file:{}\"\n", path.display())).expect("fits");
        assert_eq!(settings.reader("x").get("sasl.password"), Some("hunter2"));
    }

    #[test]
    fn timeouts_that_break_a_guarantee_are_refused() {
        let error = read("[kafka]\n\"transaction.timeout.ms\" = 20000\n").expect_err("is refused");
        assert!(error.contains("found 20000, expected less than session.timeout.ms = 15000"), "{error}");
        let error = read("[kafka]\n\"message.timeout.ms\" = 20000\n").expect_err("is refused");
        assert!(error.contains("found 20000, expected at most transaction.timeout.ms = 10000"), "{error}");
        let error = read("[kafka]\n\"message.max.bytes\" = 1000\n").expect_err("is refused");
        assert!(error.contains("found 1000, expected at least 1000000"), "{error}");
    }
}
