//! CloudEvents 1.0, Kafka protocol binding, binary mode: the attributes of an event as record headers.

use crate::alert::Alert;

/// The names of an alert record's headers, in order, and what each says.
pub const HEADERS: &[(&str, &str)] = &[
    ("content-type", "media type of the value"),
    ("ce_specversion", "version of CloudEvents"),
    ("ce_id", "the alert's id; the same in every rerun, so repeats can be dropped by it"),
    ("ce_source", "the part that says so"),
    ("ce_type", "type of the event"),
    ("ce_time", "when the trouble was last seen, RFC 3339"),
    ("ce_subject", "the alert's fingerprint; equals the record's key"),
    ("ce_dataschema", "schema of the value"),
];

/// W3C trace context: the span in which an alert was sent.
pub const TRACEPARENT: &str = "traceparent";

/// Headers that only a traced record has, and what each says.
pub const TRACE_HEADERS: &[(&str, &str)] = &[(TRACEPARENT, "W3C trace context of the span in which it was sent, where spans are exported")];

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_headers_is_what_an_alert_gets() {
        let written: Vec<_> = alert_headers(&Alert::default()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(written, HEADERS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    }
}
