//! PagerDuty Events API v2: a trigger, later a resolve, under one key.

use schemas::{Alert, AlertStatus, Severity};
use serde_json::{Value, json};

use super::{cut, link};

/// Bytes of a summary.
const SUMMARY_BYTES_MAX: usize = 1_024;
/// Bytes of a key.
const KEY_BYTES_MAX: usize = 255;

/// One event.
pub fn event(alert: &Alert, routing_key: &str, external_url: &str) -> Value {
    let action = match alert.status {
        AlertStatus::Firing => "trigger",
        AlertStatus::Resolved => "resolve",
    };
    let severity = match alert.severity {
        Severity::Critical => "critical",
        Severity::High => "error",
        Severity::Warning => "warning",
        Severity::Info | Severity::Low => "info",
    };
    let host = alert.labels.get("host").filter(|host| !host.is_empty());
    let source = host.or_else(|| alert.source.first()).map_or("nephoscope", String::as_str);
    let mut event = json!({
        "routing_key": routing_key,
        "event_action": action,
        "dedup_key": cut(&alert.fingerprint, KEY_BYTES_MAX),
        "client": "nephoscope",
        "payload": {
            "summary": cut(&format!("{}: {}", alert.name, alert.message), SUMMARY_BYTES_MAX),
            "source": source,
            "severity": severity,
            "timestamp": alert.started_at,
            "component": alert.service,
            "group": alert.environment,
            "class": alert.name,
            "custom_details": {
                "description": alert.description,
                "labels": alert.labels,
                "annotations": alert.annotations,
                "score": alert.score,
                "threshold": alert.threshold,
                "severity": alert.severity,
                "id": alert.id,
                "model": alert.model,
            },
        },
    });
    if let (Some(link), Some(event)) = (link(alert, external_url), event.as_object_mut()) {
        event.insert("client_url".into(), link.into());
    }
    event
}
