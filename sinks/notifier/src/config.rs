//! `[notifier]`: where alerts go, which go where, and how many at a time.

mod destination;

use std::collections::{BTreeMap, BTreeSet};

use redact::Redactor;
use serde::{Deserialize, Serialize};
use stream_core::ConfigError;

pub use self::destination::{
    AlertmanagerConfig, ConsoleConfig, Destination, EmailConfig, FileConfig, KeepConfig, MailTls, PagerdutyConfig, SlackConfig,
    WebhookConfig,
};
use crate::{board::Board, route::Routes, vitals::Vitals};

/// Name of the section.
pub const SECTION: &str = "notifier";
/// The least time between two watchdogs, in seconds.
const WATCHDOG_S_MIN: u64 = 5;
/// Labels to group by at most.
const GROUP_BY_MAX: usize = 8;

/// `[notifier]`. A destination stands under its kind and its name: `[notifier.slack.ops]`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where people find the page, for links in messages; empty for none.
    pub external_url: String,
    /// What the alerts of one message have in common. One host in trouble is one message, not a hundred.
    pub group_by: Vec<String>,
    /// How long a message waits for company, unless it is critical. Ten seconds: what one trouble sets off on a host follows
    /// within them, and nobody reads a chat faster.
    pub group_wait_ms: i64,
    /// The least time between two messages about one group, unless severity rises. Five minutes, as in Alertmanager.
    pub group_interval_ms: i64,
    /// How long an alert waits for the incident that speaks for it, where incidents are told. 16 s: `incident` tells the rest of a
    /// burst that nothing follows once event time moves, 10 s after it (`[time] idle_ms`), and of each at most every five. The
    /// incident itself waits for nothing.
    pub incident_wait_ms: i64,
    /// The watchdog is sent only while no part is further behind than this many records.
    pub watchdog_lag_max: u64,
    /// Which alerts go where: the first that matches wins. Without any, every alert goes to every destination.
    pub routes: Vec<RouteConfig>,
    /// Prometheus Alertmanagers.
    pub alertmanager: BTreeMap<String, AlertmanagerConfig>,
    /// Standard output.
    pub console: BTreeMap<String, ConsoleConfig>,
    /// Mail servers.
    pub email: BTreeMap<String, EmailConfig>,
    /// Files of JSON lines.
    pub file: BTreeMap<String, FileConfig>,
    /// Inboxes of Keep.
    pub keep: BTreeMap<String, KeepConfig>,
    /// PagerDuty services.
    pub pagerduty: BTreeMap<String, PagerdutyConfig>,
    /// Channels of Slack, and of chats that take its webhooks.
    pub slack: BTreeMap<String, SlackConfig>,
    /// Whoever takes Alertmanager's webhooks.
    pub webhook: BTreeMap<String, WebhookConfig>,
    /// Masks secrets: the section `[redact]`.
    #[serde(skip)]
    pub redactor: Redactor,
    /// Where each destination says how it stands.
    #[serde(skip)]
    pub board: Board,
    /// Whether everything that the watchdog vouches for is well.
    #[serde(skip)]
    pub vitals: Vitals,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            external_url: String::new(),
            group_by: ["host", "name"].map(String::from).into(),
            group_wait_ms: 10_000,
            group_interval_ms: 300_000,
            incident_wait_ms: 16_000,
            watchdog_lag_max: 10_000,
            routes: Vec::new(),
            alertmanager: BTreeMap::new(),
            console: BTreeMap::new(),
            email: BTreeMap::new(),
            file: BTreeMap::new(),
            keep: BTreeMap::new(),
            pagerduty: BTreeMap::new(),
            slack: BTreeMap::new(),
            webhook: BTreeMap::new(),
            redactor: Redactor::default(),
            board: Board::default(),
            vitals: Vitals::default(),
        }
    }
}

/// What is told of a story of many alerts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tell {
    /// Its incident, as one alert that gets worse and ends; an alert that no incident speaks for is told itself.
    Incidents,
    /// Its alerts, less those that its cause explains.
    #[default]
    Alerts,
}

/// One of `[[notifier.routes]]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// All must hold; see [`Matcher`](crate::Matcher). None: every alert.
    #[serde(rename = "match")]
    pub matchers: Vec<String>,
    /// One must hold; see [`Window`](crate::Window). None: always.
    pub times: Vec<String>,
    /// Destinations; none drops the alert.
    pub to: Vec<String>,
    /// Whether the routes behind it are asked too.
    #[serde(rename = "continue")]
    pub goes_on: bool,
    /// What is told of a story this way; without, what suits the destination: Alertmanager, PagerDuty, Slack, e-mail and webhooks
    /// are told incidents, Keep, files and the console every alert.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tell: Option<Tell>,
    /// As in `[notifier]`, for what goes this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_by: Option<Vec<String>>,
    /// As in `[notifier]`, for what goes this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_wait_ms: Option<i64>,
    /// As in `[notifier]`, for what goes this way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_interval_ms: Option<i64>,
}

impl Config {
    /// All destinations, by name; of those with one name only one.
    pub fn destinations(&self) -> BTreeMap<&str, Destination<'_>> {
        self.all().collect()
    }

    fn all(&self) -> impl Iterator<Item = (&str, Destination<'_>)> {
        fn of<'a, C>(map: &'a BTreeMap<String, C>, kind: fn(&'a C) -> Destination<'a>) -> impl Iterator<Item = (&'a str, Destination<'a>)> {
            map.iter().map(move |(name, config)| (name.as_str(), kind(config)))
        }
        of(&self.alertmanager, Destination::Alertmanager)
            .chain(of(&self.console, Destination::Console))
            .chain(of(&self.email, Destination::Email))
            .chain(of(&self.file, Destination::File))
            .chain(of(&self.keep, Destination::Keep))
            .chain(of(&self.pagerduty, Destination::Pagerduty))
            .chain(of(&self.slack, Destination::Slack))
            .chain(of(&self.webhook, Destination::Webhook))
    }

    /// Checks what its types cannot say.
    ///
    /// # Errors
    /// The first key that cannot be meant.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut names = BTreeSet::new();
        for (name, destination) in self.all() {
            let key = format!("{SECTION}.{}.{name}", destination.kind());
            if !names.insert(name) {
                return Err(wrong(key, "a name that no other destination has", name));
            }
            if let Some(seconds) = destination.watchdog_s().filter(|seconds| *seconds < WATCHDOG_S_MIN) {
                return Err(wrong(format!("{key}.watchdog_s"), format!("at least {WATCHDOG_S_MIN}"), seconds));
            }
            destination.check(&key)?;
        }
        check_wait(SECTION, "incident_wait_ms", self.incident_wait_ms)?;
        check_grouping(SECTION, &self.group_by, self.group_wait_ms, self.group_interval_ms)?;
        for (index, route) in self.routes.iter().enumerate() {
            let key = format!("{SECTION}.routes[{index}]");
            if let Some(unknown) = route.to.iter().find(|to| !names.contains(to.as_str())) {
                let known = names.iter().copied().collect::<Vec<_>>().join(", ");
                return Err(wrong(format!("{key}.to"), format!("a destination: one of {known}"), unknown));
            }
            let (wait_ms, interval_ms) = (route.group_wait_ms.unwrap_or(0), route.group_interval_ms.unwrap_or(0));
            check_grouping(&key, route.group_by.as_deref().unwrap_or_default(), wait_ms, interval_ms)?;
        }
        Routes::new(self).map(|_| ())
    }
}

fn check_grouping(key: &str, group_by: &[String], wait_ms: i64, interval_ms: i64) -> Result<(), ConfigError> {
    if group_by.len() > GROUP_BY_MAX {
        return Err(wrong(format!("{key}.group_by"), format!("at most {GROUP_BY_MAX} names"), group_by.len()));
    }
    check_wait(key, "group_wait_ms", wait_ms)?;
    check_wait(key, "group_interval_ms", interval_ms)
}

fn check_wait(key: &str, name: &str, millis: i64) -> Result<(), ConfigError> {
    if (0..=86_400_000).contains(&millis) {
        return Ok(());
    }
    Err(wrong(format!("{key}.{name}"), "0 to 86,400,000: at most a day", millis))
}

/// A value that cannot be meant.
pub(crate) fn wrong(key: impl Into<String>, expected: impl Into<String>, found: impl ToString) -> ConfigError {
    ConfigError { key: key.into(), expected: expected.into(), found: found.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn config() -> Config {
        let file = FileConfig { path: "/tmp/a".into(), ..FileConfig::default() };
        let slack = SlackConfig { url: Secret::new("env:SLACK_URL"), ..SlackConfig::default() };
        let route = |matchers: &[&str], to: &str| RouteConfig {
            matchers: matchers.iter().map(|text| (*text).into()).collect(),
            to: vec![to.into()],
            ..RouteConfig::default()
        };
        Config {
            file: [("archive".into(), file)].into(),
            slack: [("ops".into(), slack)].into(),
            routes: vec![route(&["severity=critical"], "ops"), route(&[], "archive")],
            ..Config::default()
        }
    }

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = config();
        change(&mut config);
        config.check().expect_err("is refused").to_string()
    }

    #[test]
    fn each_fault_is_named_by_its_key() {
        assert_eq!(config().check(), Ok(()));
        assert_eq!(Config::default().check(), Ok(()));
        for (error, expected) in [
            (refusal(|config| config.routes[0].to = vec!["opps".into()]), "notifier.routes[0].to"),
            (refusal(|config| config.routes[0].matchers = vec!["severity".into()]), "notifier.routes[0].match"),
            (refusal(|config| config.routes[0].times = vec!["sometimes".into()]), "notifier.routes[0].times"),
            (refusal(|config| _ = config.routes.pop()), "notifier.routes"),
            (refusal(|config| config.routes[1].times = vec!["mon".into()]), "notifier.routes"),
            (refusal(|config| config.group_wait_ms = -1), "notifier.group_wait_ms"),
            (refusal(|config| config.routes[1].group_interval_ms = Some(i64::MAX)), "notifier.routes[1].group_interval_ms"),
            (refusal(|config| config.incident_wait_ms = -1), "notifier.incident_wait_ms"),
            (refusal(|config| config.group_by = vec![String::new(); 9]), "notifier.group_by"),
            (refusal(|config| _ = config.console.insert("ops".into(), ConsoleConfig::default())), "notifier.slack.ops"),
            (refusal(|config| config.slack.values_mut().for_each(|slack| slack.url = Secret::new("https://x"))), "notifier.slack.ops.url"),
            (refusal(|config| config.slack.values_mut().for_each(|slack| slack.watchdog_s = Some(1))), "notifier.slack.ops.watchdog_s"),
            (refusal(|config| config.file.values_mut().for_each(|file| file.path.clear())), "notifier.file.archive.path"),
        ] {
            assert!(error.contains(expected), "{expected}: {error}");
        }
    }
}
