//! What each destination is sent, field by field; and what nobody may be sent.

use std::collections::BTreeMap;

use redact::Redactor;
use schemas::{Alert, AlertStatus, EventTime, Model, Severity};
use serde_json::{Value, json};

use super::*;
use crate::notification::{About, Entry, Notification};

const NOW: EventTime = EventTime::from_millis(1_700_000_300_000);

fn alert() -> Alert {
    let labels = [("device", "vda"), ("host", "vm-7")].map(|(key, value)| (key.to_string(), value.to_string())).into();
    Alert {
        id: "df6dc6e5b6cc5ec5e1fc2ad5ca890d70".into(),
        fingerprint: "832b9dae9e06b086c1aa3d277e96eaa0".into(),
        name: "DiskWriteStall".into(),
        severity: Severity::High,
        started_at: EventTime::from_millis(1_700_000_000_000),
        last_received: EventTime::from_millis(1_700_000_100_000),
        environment: "default".into(),
        service: "kernel".into(),
        source: vec!["drain".into()],
        message: "vm-7: write stalled".into(),
        description: "12 s, normal are 0.1".into(),
        url: Some("https://page/alerts/1".into()),
        labels,
        annotations: [("count".to_string(), "3".to_string())].into(),
        score: 7.5,
        threshold: 5.0,
        model: Model { name: "drain".into(), version: "1".into(), config_hash: String::new() },
        ..Alert::default()
    }
}

fn resolved() -> Alert {
    Alert { status: AlertStatus::Resolved, ends_at: Some(EventTime::from_millis(1_700_000_200_000)), ..alert() }
}

fn entry(alert: Alert) -> Entry {
    Entry { alert, offset: 7, is_news: true, before: None }
}

fn notification(entries: Vec<Entry>) -> Notification {
    let labels: BTreeMap<String, String> = [("host", "vm-7"), ("name", "DiskWriteStall")].map(|(k, v)| (k.into(), v.into())).into();
    Notification { about: About::Group(labels), at: NOW, entries, left_out: 0 }
}

fn json_of(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("JSON")
}

#[test]
fn alertmanager_gets_labels_as_identity_and_an_end_for_each() {
    let sent = json_of(&alertmanager::alerts(&notification(vec![entry(alert())]), ""));
    assert_eq!(
        sent,
        json!([{
            "labels": {"alertname": "DiskWriteStall", "severity": "high", "service": "kernel", "environment": "default", "source": "drain",
                "device": "vda", "host": "vm-7"},
            "annotations": {"summary": "vm-7: write stalled", "description": "12 s, normal are 0.1", "score": "7.5", "threshold": "5",
                "count": "3", "fingerprint": "832b9dae9e06b086c1aa3d277e96eaa0"},
            "startsAt": "2023-11-14T22:13:20.000Z",
            "endsAt": "2023-11-14T22:22:20.000Z",
            "generatorURL": "https://page/alerts/1",
        }])
    );
    let end = json_of(&alertmanager::alerts(&notification(vec![entry(resolved())]), ""));
    assert_eq!(end[0]["endsAt"], "2023-11-14T22:16:40.000Z");
    assert_eq!(end[0]["labels"], sent[0]["labels"], "the end has the labels of the beginning");
}

#[test]
fn alertmanager_is_told_the_end_of_the_old_severity() {
    let worse = Alert { severity: Severity::Critical, ..alert() };
    let sent = json_of(&alertmanager::alerts(&notification(vec![Entry { before: Some(alert()), ..entry(worse) }]), ""));
    let told: Vec<_> = [0, 1].map(|n| (sent[n]["labels"]["severity"].clone(), sent[n]["endsAt"].clone())).into();
    assert_eq!(told, [(json!("high"), json!("2023-11-14T22:18:20.000Z")), (json!("critical"), json!("2023-11-14T22:22:20.000Z"))]);
    let over = Alert { severity: Severity::Critical, ..resolved() };
    let sent = json_of(&alertmanager::alerts(&notification(vec![Entry { before: Some(alert()), ..entry(over) }]), ""));
    assert_eq!((sent.as_array().map(Vec::len), &sent[0]["labels"]["severity"]), (Some(1), &json!("high")));
}

#[test]
fn alertmanager_accepts_every_name_and_time() {
    let labels = [("a b", "1"), ("7", "2"), ("ü", "3"), ("severity", "4")].map(|(key, value)| (key.to_string(), value.to_string())).into();
    let odd = Alert { labels, started_at: NOW.plus_millis(9_000_000), ..resolved() };
    let sent = json_of(&alertmanager::alerts(&notification(vec![entry(odd)]), ""));
    let labels = sent[0]["labels"].as_object().expect("labels");
    assert_eq!((&labels["a_b"], &labels["_7"], &labels["_"], &labels["severity_"]), (&json!("1"), &json!("2"), &json!("3"), &json!("4")));
    assert!(sent[0]["startsAt"].as_str() < sent[0]["endsAt"].as_str());
}

#[test]
fn pagerduty_gets_an_event_under_the_fingerprint() {
    let event = pagerduty::event(&alert(), "key", "");
    assert_eq!((&event["routing_key"], &event["event_action"]), (&json!("key"), &json!("trigger")));
    assert_eq!(event["dedup_key"], "832b9dae9e06b086c1aa3d277e96eaa0");
    let payload = &event["payload"];
    for (field, expected) in [
        ("summary", "DiskWriteStall: vm-7: write stalled"),
        ("source", "vm-7"),
        ("severity", "error"),
        ("timestamp", "2023-11-14T22:13:20.000Z"),
        ("component", "kernel"),
        ("group", "default"),
        ("class", "DiskWriteStall"),
    ] {
        assert_eq!(payload[field], expected, "{field}");
    }
    assert_eq!((&payload["custom_details"]["score"], &event["client_url"]), (&json!(7.5), &json!("https://page/alerts/1")));
    assert_eq!(pagerduty::event(&resolved(), "key", "")["event_action"], "resolve");
    let severity = |severity| pagerduty::event(&Alert { severity, ..alert() }, "", "")["payload"]["severity"].clone();
    let all = [Severity::Critical, Severity::High, Severity::Warning, Severity::Info, Severity::Low].map(severity);
    assert_eq!(all, ["critical", "error", "warning", "info", "info"]);
}

#[test]
fn slack_gets_a_text_and_blocks_within_its_limits() {
    let body = slack::body(&notification(vec![entry(alert())]), "");
    assert_eq!(body["text"], ":red_circle: [FIRING 1] DiskWriteStall on vm-7: vm-7: write stalled");
    let text = body["blocks"][1]["text"]["text"].as_str().expect("a text");
    assert!(text.contains("<https://page/alerts/1|DiskWriteStall>") && text.contains("device=vda"), "{text}");
    let many: Vec<Entry> =
        (0..600).map(|n| entry(Alert { fingerprint: n.to_string(), description: "d".repeat(4_096), ..alert() })).collect();
    let body = slack::body(&notification(many), "");
    let blocks = body["blocks"].as_array().expect("blocks");
    assert!(blocks.len() <= 50 && blocks.iter().all(|block| block["text"]["text"].as_str().unwrap_or("").len() <= 3_000));
    assert_eq!(blocks[21]["elements"][0]["text"], "and 580 more: 580 high");
}

#[test]
fn keep_and_files_get_the_alert_unmodified() {
    let event = keep::event(&alert());
    assert_eq!(event, json_of(&alert()));
    for field in [
        "id",
        "name",
        "status",
        "lastReceived",
        "environment",
        "service",
        "source",
        "message",
        "description",
        "severity",
        "url",
        "fingerprint",
    ] {
        assert!(event.get(field).is_some_and(|value| !value.is_null()), "{field}");
    }
    let lines = file::lines(&notification(vec![entry(alert()), entry(resolved())]));
    let read: Vec<Alert> =
        lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(|l| serde_json::from_slice(l).expect("JSON")).collect();
    assert_eq!(read, [alert(), resolved()]);
}

#[test]
fn a_webhook_gets_what_alertmanager_would_send() {
    let other = Alert { fingerprint: "f".into(), labels: [("host".to_string(), "vm-7".to_string())].into(), ..resolved() };
    let message = json_of(&webhook::message(&notification(vec![entry(alert()), entry(other)]), "hook", "http://page"));
    for (field, expected) in [
        ("version", json!("4")),
        ("groupKey", json!("{host=\"vm-7\",name=\"DiskWriteStall\"}")),
        ("truncatedAlerts", json!(0)),
        ("status", json!("firing")),
        ("receiver", json!("hook")),
        ("groupLabels", json!({"host": "vm-7", "alertname": "DiskWriteStall"})),
        ("externalURL", json!("http://page")),
    ] {
        assert_eq!(message[field], expected, "{field}");
    }
    assert_eq!(message["commonLabels"]["host"], "vm-7");
    assert!(message["commonLabels"].get("device").is_none());
    let alerts = &message["alerts"];
    assert_eq!((&alerts[0]["status"], &alerts[0]["endsAt"]), (&json!("firing"), &json!("0001-01-01T00:00:00Z")));
    assert_eq!((&alerts[1]["status"], &alerts[1]["endsAt"]), (&json!("resolved"), &json!("2023-11-14T22:16:40.000Z")));
    assert_eq!(
        (&alerts[0]["fingerprint"], &alerts[0]["annotations"]["summary"]),
        (&json!(alert().fingerprint), &json!("vm-7: write stalled"))
    );
    assert_eq!(json_of(&webhook::message(&notification(vec![entry(resolved())]), "", ""))["status"], "resolved");
}

#[test]
fn a_signature_is_that_of_rfc_4231() {
    // Test case 2 of RFC 4231.
    let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(webhook::signature(b"Jefe", b"what do ya want for nothing?").as_deref(), Some(expected));
}

#[test]
fn mails_about_one_group_stand_in_one_thread() {
    let [first, second] = [alert(), resolved()].map(|alert| email::mail(&notification(vec![entry(alert)]), ""));
    assert_eq!(first.subject, "high [FIRING 1] DiskWriteStall on vm-7");
    assert_eq!(first.thread_id, second.thread_id);
    assert_eq!(first, email::mail(&notification(vec![entry(alert())]), ""), "sent again it is the same");
    for part in ["FIRING high DiskWriteStall", "12 s, normal are 0.1", "device", "7.5 (threshold 5)", "https://page/alerts/1"] {
        assert!(first.text.contains(part), "{part}: {}", first.text);
    }
}

/// Everything that is sent about an alert, to anybody.
fn everything(alert: &Alert) -> Vec<(&'static str, String)> {
    let message = notification(vec![entry(alert.clone())]);
    let mail = email::mail(&message, "");
    vec![
        ("alertmanager", json_of(&alertmanager::alerts(&message, "")).to_string()),
        ("console", console::lines(&message)),
        ("email subject", mail.subject),
        ("email", mail.text),
        ("file", String::from_utf8(file::lines(&message)).expect("text")),
        ("keep", keep::event(alert).to_string()),
        ("pagerduty", pagerduty::event(alert, "", "").to_string()),
        ("slack", slack::body(&message, "").to_string()),
        ("webhook", json_of(&webhook::message(&message, "", "")).to_string()),
    ]
}

#[test]
fn what_a_log_says_is_interpreted_nowhere() {
    let hostile = "<!channel> @here @channel <script>alert(1)</script> \u{1b}[2J\u{202e}\r\nBcc: eve@example.org\r\n\r\n*bold*";
    let mut alert = Alert { message: hostile.into(), description: hostile.into(), service: hostile.into(), ..alert() };
    alert.labels = [("host".to_string(), hostile.to_string())].into();
    alert.annotations = [("template".to_string(), hostile.to_string())].into();
    alert.url = Some("https://x|<!channel>".into());
    alert.sanitize().expect("can be brought within its limits");
    for (destination, sent) in everything(&alert) {
        assert!(
            !sent.contains('\u{1b}') && !sent.contains("\\u001b") && !sent.contains('\u{202e}') && !sent.contains('\r'),
            "{destination}: {sent}"
        );
        if destination == "slack" {
            for forbidden in ["<!", "<script", "@here", "@channel", "*bold*"] {
                assert!(!sent.contains(forbidden), "{forbidden}: {sent}");
            }
        }
        if destination.starts_with("email") || destination == "console" {
            assert!(!sent.lines().any(|line| line.starts_with("Bcc:")), "{sent}");
        }
        if matches!(destination, "email subject") {
            assert_eq!(sent.lines().count(), 1, "{sent}");
        }
    }
}

/// A secret, the line that it stands in, and that it is told to nobody.
const SECRETS: [(&str, &str); 5] = [
    ("hunter2", "login password=hunter2 failed"),
    ("abcdef0123456789", "Authorization: Bearer abcdef0123456789"),
    ("s3cr3tpw", "connecting to postgres://app:s3cr3tpw@db-7/shop"),
    ("MIIEvQIBADAN", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\n-----END PRIVATE KEY-----"),
    ("tok-4711", "api_key=tok-4711 is not valid"),
];

#[test]
fn secrets_leave_in_no_message() {
    for (secret, line) in SECRETS {
        let mut alert = Alert { message: line.into(), description: line.into(), ..alert() };
        alert.annotations = [("line".to_string(), line.to_string())].into();
        Redactor::default().alert(&mut alert);
        for (destination, sent) in everything(&alert) {
            assert!(!sent.contains(secret), "{destination}: {sent}");
        }
    }
}

/// The fields of an event of PagerDuty's Events API v2: which there may be, and of which kind. A stranger is refused there.
#[test]
fn pagerduty_is_sent_no_field_that_it_does_not_know() {
    let kinds = |value: &Value| -> BTreeMap<String, &'static str> {
        let kind = |value: &Value| match value {
            Value::String(_) => "text",
            Value::Object(_) => "object",
            _ => "another",
        };
        value.as_object().expect("an object").iter().map(|(name, value)| (name.clone(), kind(value))).collect()
    };
    let long = Alert { message: "m".repeat(5_000), fingerprint: "f".repeat(500), ..alert() };
    for alert in [alert(), resolved(), long] {
        let event = pagerduty::event(&alert, "key", "https://page");
        let texts = ["routing_key", "event_action", "dedup_key", "client", "client_url"].map(|name| (name.to_string(), "text"));
        let expected: BTreeMap<_, _> = texts.into_iter().chain([("payload".to_string(), "object")]).collect();
        assert_eq!(kinds(&event), expected);
        let texts = ["summary", "source", "severity", "timestamp", "component", "group", "class"].map(|name| (name.to_string(), "text"));
        let expected: BTreeMap<_, _> = texts.into_iter().chain([("custom_details".to_string(), "object")]).collect();
        assert_eq!(kinds(&event["payload"]), expected);
        let bytes = |text: &Value| text.as_str().map_or(0, str::len);
        assert!(bytes(&event["payload"]["summary"]) <= 1_024 && bytes(&event["dedup_key"]) <= 255, "its limits");
    }
}

/// An alert of Keep, field by field, as its `AlertDto` has them: the kind of each that it would coerce or refuse.
#[test]
fn keep_finds_in_each_field_what_it_expects() {
    let statuses = ["firing", "resolved", "acknowledged", "suppressed", "pending"];
    let severities = ["critical", "high", "warning", "info", "low"];
    for severity in [Severity::Critical, Severity::High, Severity::Warning, Severity::Info, Severity::Low] {
        for alert in [Alert { severity, ..alert() }, Alert { severity, ..resolved() }] {
            let event = keep::event(&alert);
            let text = |name: &str| event[name].as_str().unwrap_or_else(|| panic!("{name}: {event}"));
            assert!(statuses.contains(&text("status")) && severities.contains(&text("severity")), "{event}");
            for name in ["id", "name", "lastReceived", "environment", "service", "message", "description", "url", "fingerprint"] {
                assert!(!text(name).is_empty(), "{name}");
            }
            assert!(text("lastReceived").ends_with('Z'), "ISO 8601 in UTC");
            assert!(event["source"].as_array().is_some_and(|source| source.iter().all(Value::is_string)), "{event}");
            assert!(event["labels"].as_object().is_some_and(|labels| labels.values().all(Value::is_string)), "{event}");
        }
    }
}
