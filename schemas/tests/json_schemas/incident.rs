//! The JSON schema of incidents says what the type says, and every example keeps to it.

use schemas::{
    AlertStatus, Cause, EventTime, Incident, IncidentAction, IncidentAlert, IncidentStatus, Node, NodeKind, Severity, TimelineEntry,
    TimelineKind, alert,
    incident::{ACTIONS_MAX, ALERTS_MAX, CAUSES_MAX, LINE_BYTES_MAX, NODES_MAX, THINGS_MAX, TIMELINE_MAX},
};
use serde_json::{Value, json};

use crate::validator::{examples, keys, schema, severities, texts, violations};

const SUBJECT: &str = "incidents";
const ID: &str = "86ba9877b46112355f13c311ad667eec";

/// An incident in which every optional field is present.
fn full() -> Incident {
    let node = Node::new(NodeKind::Host, "db-7");
    Incident {
        id: ID.into(),
        revision: 1,
        ends_at: Some(EventTime(0)),
        merged_into: Some(ID.into()),
        causes: vec![Cause { node: node.clone(), score: 4.0, because: "first".into() }],
        alerts: vec![IncidentAlert { ends_at: Some(EventTime(0)), ..bare_alert(node) }],
        alerts_total: 1,
        actions: vec![IncidentAction { id: ID.into(), kind: "migrate_vm".into(), state: "done".into() }],
        timeline: vec![TimelineEntry { fingerprint: Some(ID.into()), ..bare_line() }],
        ..Incident::default()
    }
}

fn bare_alert(node: Node) -> IncidentAlert {
    IncidentAlert {
        id: ID.into(),
        fingerprint: ID.into(),
        name: "Full".into(),
        status: AlertStatus::Firing,
        severity: Severity::High,
        started_at: EventTime(0),
        ends_at: None,
        nodes: vec![node],
    }
}

fn bare_line() -> TimelineEntry {
    TimelineEntry { at: EventTime(0), kind: TimelineKind::Firing, text: "it began".into(), fingerprint: None }
}

#[test]
fn the_schema_has_the_fields_of_the_type() {
    let (schema, full) = (schema(SUBJECT), json!(full()));
    assert_eq!(keys(&schema["properties"]), keys(&full));
    assert_eq!(texts(&schema["required"]), keys(&json!(Incident::default())));
    let items = |field: &str| &schema["properties"][field]["items"];
    for field in ["causes", "alerts", "actions", "timeline"] {
        assert_eq!(keys(&items(field)["properties"]), keys(&full[field][0]), "{field}");
    }
    assert_eq!(texts(&items("causes")["required"]), keys(&full["causes"][0]));
    assert_eq!(texts(&items("alerts")["required"]), keys(&json!(bare_alert(Node::new(NodeKind::Vm, "vm-1")))));
    assert_eq!(texts(&items("actions")["required"]), keys(&full["actions"][0]));
    assert_eq!(texts(&items("timeline")["required"]), keys(&json!(bare_line())));
    assert_eq!(violations(&schema, &full, ""), [""; 0]);
}

#[test]
fn the_schema_has_the_words_and_limits_of_the_type() {
    let schema = &schema(SUBJECT)["properties"];
    let words = |values: Vec<Value>| values.iter().filter_map(Value::as_str).map(str::to_string).collect::<Vec<_>>();
    let listed = |rule: &Value| words(rule.as_array().expect("words").clone());
    assert_eq!(texts(&schema["severity"]["enum"]), texts(&severities()));
    assert_eq!(listed(&schema["status"]["enum"]), words([IncidentStatus::Open, IncidentStatus::Resolved].map(|s| json!(s)).into()));
    let kinds = [
        TimelineKind::Firing,
        TimelineKind::Severity,
        TimelineKind::Resolved,
        TimelineKind::Flapping,
        TimelineKind::Merged,
        TimelineKind::Cause,
        TimelineKind::Closed,
    ];
    assert_eq!(listed(&schema["timeline"]["items"]["properties"]["kind"]["enum"]), words(kinds.map(|k| json!(k)).into()));
    let alert = &schema["alerts"]["items"]["properties"];
    assert_eq!(listed(&alert["status"]["enum"]), words([AlertStatus::Firing, AlertStatus::Resolved].map(|s| json!(s)).into()));
    assert_eq!(texts(&alert["severity"]["enum"]), texts(&severities()));
    for field in ["hosts", "vms", "services"] {
        assert_eq!(
            (&schema[field]["maxItems"], &schema[field]["items"]["maxLength"]),
            (&json!(THINGS_MAX), &json!(alert::LABEL_BYTES_MAX))
        );
    }
    assert_eq!(alert["nodes"]["maxItems"], NODES_MAX);
    let longest = NodeKind::ALL.iter().map(|kind| kind.as_str().len() + 1 + alert::LABEL_BYTES_MAX).max();
    for node in [&alert["nodes"]["items"], &schema["causes"]["items"]["properties"]["node"]] {
        assert_eq!(node["maxLength"], json!(longest));
    }
    let lists = [("causes", CAUSES_MAX), ("alerts", ALERTS_MAX), ("actions", ACTIONS_MAX), ("timeline", TIMELINE_MAX)];
    assert!(lists.iter().all(|(field, most)| schema[field]["maxItems"] == *most));
    let lines = [&schema["title"], &schema["causes"]["items"]["properties"]["because"], &schema["timeline"]["items"]["properties"]["text"]];
    assert!(lines.iter().all(|line| line["maxLength"] == LINE_BYTES_MAX));
}

#[test]
fn every_example_keeps_to_the_schema() {
    for (name, example) in examples(SUBJECT) {
        assert_eq!(violations(&schema(SUBJECT), &example, ""), [""; 0], "{name}");
    }
}

#[test]
fn what_breaks_the_schema_is_found() {
    let broken = |pointer: &str, with: Value| {
        let mut incident = json!(full());
        *incident.pointer_mut(pointer).expect("a place") = with;
        violations(&schema(SUBJECT), &incident, "").len()
    };
    assert_eq!(broken("/status", json!("merged")), 1);
    assert_eq!(broken("/revision", json!(0)), 1);
    assert_eq!(broken("/causes/0/node", json!("planet/mars")), 1);
    assert_eq!(broken("/alerts/0/nodes/0", json!("host/")), 1);
    assert_eq!(broken("/timeline/0", json!({"at": "now", "kind": "firing"})), 2);
}
