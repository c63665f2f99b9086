//! CloudEvents 1.0, Kafka protocol binding, binary mode: the attributes of an event as record headers.

use crate::alert::Alert;

/// Headers of an alert record, in order.
pub fn alert_headers(alert: &Alert) -> Vec<(&'static str, String)> {
    let source = alert.source.first().map_or("unknown", String::as_str);
    vec![
        ("content-type", "application/json".into()),
        ("ce_specversion", "1.0".into()),
        ("ce_id", alert.id.clone()),
        ("ce_source", format!("/nephoscope/{source}")),
        ("ce_type", "nephoscope.alert.v1".into()),
        ("ce_time", alert.last_received.to_string()),
        ("ce_subject", alert.fingerprint.clone()),
        ("ce_dataschema", "urn:nephoscope:alert:v1".into()),
    ]
}
