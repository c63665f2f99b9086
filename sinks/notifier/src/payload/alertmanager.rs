//! Prometheus Alertmanager, `POST /api/v2/alerts`: labels are the identity, and what is not said again for five minutes is over.

use std::collections::BTreeMap;

use schemas::{Alert, AlertStatus, EventTime};
use serde::Serialize;

use super::link;
use crate::notification::Notification;

/// How long a firing alert lasts if we say nothing more. Alertmanager's `resolve_timeout` is 5 minutes, and we say it again
/// every minute.
pub const LASTS_MS: i64 = 4 * 60_000;

/// One alert as Alertmanager takes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PostableAlert {
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: EventTime,
    ends_at: EventTime,
    #[serde(rename = "generatorURL", skip_serializing_if = "Option::is_none")]
    generator_url: Option<String>,
}

/// The alerts of a message. Severity is a label, so one that changes it is two alerts there: the old one ends.
pub fn alerts(notification: &Notification, external_url: &str) -> Vec<PostableAlert> {
    let mut all = Vec::with_capacity(notification.entries.len());
    for entry in &notification.entries {
        if let Some(before) = &entry.before {
            let end = Alert { status: AlertStatus::Resolved, ends_at: Some(notification.at), ..before.clone() };
            all.push(alert(&end, notification.at, external_url));
        }
        // The end of what was told under another severity has just been said.
        if entry.before.is_none() || entry.alert.status == AlertStatus::Firing {
            all.push(alert(&entry.alert, notification.at, external_url));
        }
    }
    all
}

fn alert(alert: &Alert, now: EventTime, external_url: &str) -> PostableAlert {
    let own = [
        ("alertname", alert.name.clone()),
        ("severity", alert.severity.to_string()),
        ("service", alert.service.clone()),
        ("environment", alert.environment.clone()),
        ("source", alert.source.first().cloned().unwrap_or_default()),
    ];
    let mut labels: BTreeMap<String, String> = own.map(|(name, value)| (name.to_string(), value)).into();
    for (name, value) in &alert.labels {
        let mut name = label_name(name);
        while labels.contains_key(&name) {
            name.push('_');
        }
        labels.insert(name, value.clone());
    }
    let mut annotations: BTreeMap<String, String> =
        alert.annotations.iter().map(|(name, value)| (label_name(name), value.clone())).collect();
    for (name, value) in [
        ("summary", alert.message.clone()),
        ("description", alert.description.clone()),
        ("score", alert.score.to_string()),
        ("threshold", alert.threshold.to_string()),
        ("fingerprint", alert.fingerprint.clone()),
    ] {
        annotations.insert(name.into(), value);
    }
    // An end must lie behind the beginning, whatever the clocks of others say.
    let after_start = |time: EventTime| time.max(alert.started_at.plus_millis(1));
    let ends_at = match alert.status {
        AlertStatus::Firing => after_start(now.plus_millis(LASTS_MS)),
        AlertStatus::Resolved => after_start(alert.ends_at.unwrap_or(now).min(now)),
    };
    let generator_url = link(alert, external_url).map(String::from);
    PostableAlert { labels, annotations, starts_at: alert.started_at, ends_at, generator_url }
}

/// A name that every Alertmanager takes: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn label_name(name: &str) -> String {
    let is_fit = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut fit: String = name.chars().map(|c| if is_fit(c) { c } else { '_' }).collect();
    if !fit.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        fit.insert(0, '_');
    }
    fit
}
