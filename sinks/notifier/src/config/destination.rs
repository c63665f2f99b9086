//! The kinds of destinations, and what each needs to be told.

use serde::{Deserialize, Serialize};
use stream_core::ConfigError;

use super::{Tell, wrong};
use crate::{desk::Manner, secret::Secret};

/// `[notifier.alertmanager.<name>]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertmanagerConfig {
    /// Its base: `http://127.0.0.1:9093`.
    pub url: String,
    /// Where its bearer token stands, if it wants one.
    #[serde(skip_serializing_if = "Secret::is_none")]
    pub token: Secret,
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

/// `[notifier.console.<name>]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// In the clear first, then TLS, which it must offer (RFC 3207).
    #[default]
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// In the clear: a server on this machine.
    None,
}

/// `[notifier.email.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmailConfig {
    /// Name of the server.
    pub server: String,
    /// Its port: 587 is that of submission (RFC 6409).
    pub port: u16,
    /// How it is spoken to.
    pub tls: MailTls,
    /// User, where it wants one.
    pub user: String,
    /// Where the password stands.
    #[serde(skip_serializing_if = "Secret::is_none")]
    pub password: Secret,
    /// The address that it comes from.
    pub from: String,
    /// The addresses that it goes to.
    pub to: Vec<String>,
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

impl Default for EmailConfig {
    fn default() -> Self {
        Self {
            server: String::new(),
            port: 587,
            tls: MailTls::default(),
            user: String::new(),
            password: Secret::default(),
            from: String::new(),
            to: Vec::new(),
            watchdog_s: None,
        }
    }
}

/// `[notifier.file.<name>]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileConfig {
    /// The file, appended to; made if it is not there. It may be moved away at any time.
    pub path: String,
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

/// `[notifier.keep.<name>]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeepConfig {
    /// Base of its API: `http://keep:8080`.
    pub url: String,
    /// Where its API key stands.
    pub api_key: Secret,
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

/// `[notifier.pagerduty.<name>]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PagerdutyConfig {
    /// Where the integration key stands.
    pub routing_key: Secret,
    /// Events API v2; another one for its European region or for a relay.
    pub url: String,
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

impl Default for PagerdutyConfig {
    fn default() -> Self {
        Self { routing_key: Secret::default(), url: "https://events.pagerduty.com/v2/enqueue".into(), watchdog_s: None }
    }
}

/// `[notifier.slack.<name>]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SlackConfig {
    /// Where the URL of the incoming webhook stands: whoever knows it may write to the channel.
    pub url: Secret,
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

/// `[notifier.webhook.<name>]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookConfig {
    /// Where to post to.
    pub url: String,
    /// Where the key stands with which bodies are signed, if they are.
    #[serde(skip_serializing_if = "Secret::is_none")]
    pub key: Secret,
    /// Where a bearer token stands, if it wants one.
    #[serde(skip_serializing_if = "Secret::is_none")]
    pub token: Secret,
    /// Seconds between two watchdogs; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watchdog_s: Option<u64>,
}

/// A destination as it is configured.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "each is explained by its configuration")]
pub enum Destination<'a> {
    Alertmanager(&'a AlertmanagerConfig),
    Console(&'a ConsoleConfig),
    Email(&'a EmailConfig),
    File(&'a FileConfig),
    Keep(&'a KeepConfig),
    Pagerduty(&'a PagerdutyConfig),
    Slack(&'a SlackConfig),
    Webhook(&'a WebhookConfig),
}

impl Destination<'_> {
    /// The word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Alertmanager(_) => "alertmanager",
            Self::Console(_) => "console",
            Self::Email(_) => "email",
            Self::File(_) => "file",
            Self::Keep(_) => "keep",
            Self::Pagerduty(_) => "pagerduty",
            Self::Slack(_) => "slack",
            Self::Webhook(_) => "webhook",
        }
    }

    /// How it wants to be told. Those that put alerts together themselves, or that programs read, get each at once; people get
    /// groups.
    pub fn manner(&self) -> Manner {
        match self {
            Self::Alertmanager(_) => {
                Manner { alerts_max: 100, groups: false, one_word: true, resend_ms: Some(60_000), ..Manner::default() }
            }
            Self::File(_) => Manner { alerts_max: 100, groups: false, repeats: true, ..Manner::default() },
            Self::Console(_) => Manner { alerts_max: 100, groups: false, ..Manner::default() },
            Self::Keep(_) => Manner { alerts_max: 1, groups: false, repeats: true, one_word: true, ..Manner::default() },
            Self::Pagerduty(_) => Manner { alerts_max: 1, groups: false, one_word: true, ..Manner::default() },
            Self::Email(_) | Self::Slack(_) | Self::Webhook(_) => Manner::default(),
        }
    }

    /// What it is told of a story, if its route says nothing: people get one page, archives and inboxes that fold alerts
    /// themselves get all.
    pub fn tell(&self) -> Tell {
        match self {
            Self::Alertmanager(_) | Self::Email(_) | Self::Pagerduty(_) | Self::Slack(_) | Self::Webhook(_) => Tell::Incidents,
            Self::Console(_) | Self::File(_) | Self::Keep(_) => Tell::Alerts,
        }
    }

    /// Whether it drops what it has had before, so that several requests may stand between two commits.
    pub fn drops_repeats(&self) -> bool {
        matches!(self, Self::Alertmanager(_) | Self::Keep(_) | Self::Pagerduty(_))
    }

    /// Seconds between two watchdogs.
    pub fn watchdog_s(&self) -> Option<u64> {
        match self {
            Self::Alertmanager(config) => config.watchdog_s,
            Self::Console(config) => config.watchdog_s,
            Self::Email(config) => config.watchdog_s,
            Self::File(config) => config.watchdog_s,
            Self::Keep(config) => config.watchdog_s,
            Self::Pagerduty(config) => config.watchdog_s,
            Self::Slack(config) => config.watchdog_s,
            Self::Webhook(config) => config.watchdog_s,
        }
    }

    pub(super) fn check(&self, key: &str) -> Result<(), ConfigError> {
        let needed = |name: &str, value: &str| match value.trim() {
            "" => Err(wrong(format!("{key}.{name}"), "a value", "none")),
            _ => Ok(()),
        };
        match self {
            Self::Alertmanager(config) => url(key, &config.url).and_then(|()| secret(key, "token", &config.token, Needed::Maybe)),
            Self::Console(_) => Ok(()),
            Self::Email(config) => {
                needed("server", &config.server)?;
                needed("from", &config.from)?;
                if config.to.is_empty() {
                    return Err(wrong(format!("{key}.to"), "at least one address", "none"));
                }
                let password = if config.user.is_empty() { Needed::Maybe } else { Needed::Yes };
                secret(key, "password", &config.password, password)
            }
            Self::File(config) => needed("path", &config.path),
            Self::Keep(config) => url(key, &config.url).and_then(|()| secret(key, "api_key", &config.api_key, Needed::Yes)),
            Self::Pagerduty(config) => url(key, &config.url).and_then(|()| secret(key, "routing_key", &config.routing_key, Needed::Yes)),
            Self::Slack(config) => secret(key, "url", &config.url, Needed::Yes),
            Self::Webhook(config) => {
                url(key, &config.url)?;
                secret(key, "key", &config.key, Needed::Maybe)?;
                secret(key, "token", &config.token, Needed::Maybe)
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needed {
    Yes,
    Maybe,
}

fn url(key: &str, url: &str) -> Result<(), ConfigError> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    if rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains(char::is_whitespace)) {
        return Ok(());
    }
    // A password may stand in it.
    Err(wrong(format!("{key}.url"), "http://HOST… or https://HOST…", if url.is_empty() { "none" } else { "something else" }))
}

fn secret(key: &str, name: &str, secret: &Secret, needed: Needed) -> Result<(), ConfigError> {
    if secret.is_none() && needed == Needed::Maybe {
        return Ok(());
    }
    let found = if secret.is_none() { "none" } else { "something else, which is not repeated here" };
    secret.check().map_err(|_| wrong(format!("{key}.{name}"), "file:PATH or env:NAME, never the secret itself", found))
}
