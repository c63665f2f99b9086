//! CloudEvents 1.0, Kafka protocol binding, binary mode: the attributes of an event as record headers.

use crate::{alert::Alert, incident::Incident, time::EventTime};

/// The names of an event's headers, in order, and what each says.
pub const HEADERS: &[(&str, &str)] = &[
    ("content-type", "media type of the value"),
    ("ce_specversion", "version of CloudEvents"),
    ("ce_id", "id of this event; the same in every rerun, so repeats can be dropped by it"),
    ("ce_source", "the part that says so"),
    ("ce_type", "type of the event"),
    ("ce_time", "when what it tells was last seen, RFC 3339"),
    ("ce_subject", "what it tells of; equals the record's key"),
    ("ce_dataschema", "schema of the value"),
];

/// W3C trace context: the span in which an alert was sent.
pub const TRACEPARENT: &str = "traceparent";

/// Headers that only a traced record has, and what each says.
pub const TRACE_HEADERS: &[(&str, &str)] = &[(TRACEPARENT, "W3C trace context of the span in which it was sent, where spans are exported")];

/// What tells one event from another.
struct Event<'a> {
    id: &'a str,
    part: &'a str,
    /// The last word of type and schema.
    kind: &'a str,
    time: EventTime,
    subject: &'a str,
}

/// Headers of an alert record, in order.
pub fn alert_headers(alert: &Alert) -> Vec<(&'static str, String)> {
    let part = alert.source.first().map_or("unknown", String::as_str);
    headers(&Event { id: &alert.id, part, kind: "alert", time: alert.last_received, subject: &alert.fingerprint })
}

/// Headers of an incident record, in order. An incident has many records, so each has an id of its own, `event_id`; `part` says so.
pub fn incident_headers(incident: &Incident, event_id: &str, part: &str) -> Vec<(&'static str, String)> {
    headers(&Event { id: event_id, part, kind: "incident", time: incident.last_update, subject: &incident.id })
}

fn headers(event: &Event<'_>) -> Vec<(&'static str, String)> {
    vec![
        ("content-type", "application/json".into()),
        ("ce_specversion", "1.0".into()),
        ("ce_id", event.id.into()),
        ("ce_source", format!("/nephoscope/{}", event.part)),
        ("ce_type", format!("nephoscope.{}.v1", event.kind)),
        ("ce_time", event.time.to_string()),
        ("ce_subject", event.subject.into()),
        ("ce_dataschema", format!("urn:nephoscope:{}:v1", event.kind)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_headers_is_what_an_event_gets() {
        let listed: Vec<_> = HEADERS.iter().map(|(name, _)| *name).collect();
        for written in [alert_headers(&Alert::default()), incident_headers(&Incident::default(), "", "")] {
            assert_eq!(written.into_iter().map(|(name, _)| name).collect::<Vec<_>>(), listed);
        }
    }
}
