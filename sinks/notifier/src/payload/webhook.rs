//! Alertmanager's webhook, version 4, so that every tool with an Alertmanager receiver understands it.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use schemas::{Alert, AlertStatus, EventTime};
use serde::Serialize;
use sha2::Sha256;

use super::link;
use crate::notification::{About, Entry, Notification};

/// The header with the signature of the body, where a key is configured.
pub const SIGNATURE_HEADER: &str = "x-nephoscope-signature";

/// The body of a request.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    version: &'static str,
    group_key: String,
    truncated_alerts: usize,
    status: AlertStatus,
    receiver: String,
    group_labels: BTreeMap<String, String>,
    common_labels: BTreeMap<String, String>,
    common_annotations: BTreeMap<String, String>,
    #[serde(rename = "externalURL")]
    external_url: String,
    alerts: Vec<MessageAlert>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct MessageAlert {
    status: AlertStatus,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    starts_at: EventTime,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
    fingerprint: String,
}

/// What Go writes for a time that is not there, and what receivers of this format look for.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// Puts a message together.
pub fn message(notification: &Notification, receiver: &str, external_url: &str) -> Message {
    let alerts: Vec<MessageAlert> = notification.entries.iter().map(|entry| alert(entry, external_url)).collect();
    let group_labels = match &notification.about {
        About::Group(labels) => {
            labels.iter().map(|(name, value)| (if name == "name" { "alertname".into() } else { name.clone() }, value.clone())).collect()
        }
        _ => BTreeMap::new(),
    };
    Message {
        version: "4",
        group_key: notification.group_key(),
        truncated_alerts: notification.left_out,
        status: notification.status(),
        receiver: receiver.into(),
        group_labels,
        common_labels: common(alerts.iter().map(|alert| &alert.labels)),
        common_annotations: common(alerts.iter().map(|alert| &alert.annotations)),
        external_url: external_url.into(),
        alerts,
    }
}

fn alert(entry: &Entry, external_url: &str) -> MessageAlert {
    let Alert { labels, annotations, .. } = &entry.alert;
    let alert = &entry.alert;
    let mut labels = labels.clone();
    for (name, value) in [
        ("alertname", alert.name.clone()),
        ("severity", alert.severity.to_string()),
        ("service", alert.service.clone()),
        ("environment", alert.environment.clone()),
        ("source", alert.source.first().cloned().unwrap_or_default()),
    ] {
        labels.insert(name.into(), value);
    }
    let mut annotations = annotations.clone();
    annotations.insert("summary".into(), alert.message.clone());
    annotations.insert("description".into(), alert.description.clone());
    annotations.insert("score".into(), alert.score.to_string());
    annotations.insert("threshold".into(), alert.threshold.to_string());
    MessageAlert {
        status: alert.status,
        labels,
        annotations,
        starts_at: alert.started_at,
        ends_at: alert.ends_at.map_or_else(|| NO_END.into(), |ends_at| ends_at.to_string()),
        generator_url: link(alert, external_url).unwrap_or_default().into(),
        fingerprint: alert.fingerprint.clone(),
    }
}

/// The pairs that all have.
fn common<'a>(mut all: impl Iterator<Item = &'a BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let mut common = all.next().cloned().unwrap_or_default();
    all.for_each(|labels| common.retain(|name, value| labels.get(name) == Some(value)));
    common
}

/// `sha256=` and the HMAC-SHA-256 (RFC 2104) of a body, in hexadecimal digits.
pub fn signature(key: &[u8], body: &[u8]) -> Option<String> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).ok()?;
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("sha256={digits}"))
}
