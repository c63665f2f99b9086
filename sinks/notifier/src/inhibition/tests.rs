use schemas::{AlertStatus, Cause, IncidentAlert, IncidentStatus, Node, NodeKind};
use stream_core::{Headers, Offset, Partition, TopicName};

use super::*;

const NOW: EventTime = EventTime::from_millis(1_700_000_000_000);

fn node(name: &str) -> Node {
    Node::new(NodeKind::Host, name)
}

fn member(fingerprint: &str, severity: Severity, host: &str) -> IncidentAlert {
    IncidentAlert {
        id: fingerprint.into(),
        fingerprint: fingerprint.into(),
        name: "Stall".into(),
        status: AlertStatus::Firing,
        severity,
        started_at: NOW,
        ends_at: None,
        nodes: vec![node(host)],
    }
}

/// `db-7` is the cause; `web-1` and `web-2` follow.
fn incident(revision: u64) -> Incident {
    let alerts =
        vec![member("cause", Severity::Warning, "db-7"), member("a", Severity::Warning, "web-1"), member("b", Severity::Info, "web-2")];
    Incident {
        id: "i".into(),
        revision,
        title: "3 alerts on 3 hosts: db-7 stalls".into(),
        severity: Severity::Warning,
        started_at: NOW,
        last_update: NOW,
        causes: vec![Cause { node: node("db-7"), score: 3.0, because: "it began first".into() }],
        alerts_total: alerts.len() as u64,
        alerts,
        hosts: ["db-7", "web-1", "web-2"].map(String::from).into(),
        ..Incident::default()
    }
}

fn apply(incidents: &mut Incidents, incident: &Incident) -> Result<(), Reject> {
    let value = serde_json::to_vec(incident).expect("JSON");
    incidents.apply(&record(&value))
}

fn record(value: &[u8]) -> Record<'_> {
    static TOPIC: std::sync::LazyLock<TopicName> = std::sync::LazyLock::new(|| TopicName::new("incidents.v1"));
    Record {
        topic: &TOPIC,
        partition: Partition(0),
        offset: Offset(3),
        appended_at: NOW,
        key: Some(b"i"),
        value: Some(value),
        headers: Headers::default(),
    }
}

fn known(incident: &Incident) -> Incidents {
    let mut incidents = Incidents::default();
    apply(&mut incidents, incident).expect("is one");
    incidents
}

fn alert(fingerprint: &str, severity: Severity, host: &str) -> Alert {
    let labels = [("host".into(), host.into())].into();
    Alert { fingerprint: fingerprint.into(), severity, labels, started_at: NOW, ..Alert::default() }
}

fn is_over(incidents: &Incidents, alert: &Alert, tell: Tell) -> bool {
    incidents.over(alert, alert.started_at, tell).is_some()
}

#[test]
fn a_cause_holds_back_the_warnings_of_its_incident_and_nothing_else() {
    let incidents = known(&incident(1));
    for severity in [Severity::Low, Severity::Info, Severity::Warning] {
        assert!(is_over(&incidents, &alert("a", severity, "web-1"), Tell::Alerts));
    }
    for severity in [Severity::High, Severity::Critical] {
        assert!(!is_over(&incidents, &alert("a", severity, "web-1"), Tell::Alerts), "nothing holds back {severity}");
    }
    assert!(!is_over(&incidents, &alert("cause", Severity::Warning, "db-7"), Tell::Alerts), "the cause itself is told");
    assert!(!is_over(&incidents, &alert("x", Severity::Warning, "web-1"), Tell::Alerts), "others are not concerned");
}

#[test]
fn a_cause_of_which_nobody_is_told_holds_back_nothing() {
    let silent = Incident { causes: vec![Cause { node: node("dead"), ..incident(1).causes.remove(0) }], ..incident(1) };
    assert!(!is_over(&known(&silent), &alert("a", Severity::Warning, "web-1"), Tell::Alerts));
}

#[test]
fn an_incident_that_is_told_speaks_for_all_its_alerts_and_one_that_is_not_for_none() {
    let mut incidents = known(&incident(1));
    let critical = alert("a", Severity::Critical, "web-1");
    assert!(!is_over(&incidents, &critical, Tell::Incidents));
    incidents.look(|id| id == "i");
    assert!(is_over(&incidents, &critical, Tell::Incidents));
    let later = Alert { started_at: NOW.plus_millis(1), ..critical };
    assert!(!is_over(&incidents, &later, Tell::Incidents), "what began after its last word is not in it");
}

#[test]
fn one_of_too_many_alerts_speaks_for_its_machines() {
    let mut incidents = known(&Incident { alerts_total: 500, ..incident(1) });
    incidents.look(|_| true);
    assert!(is_over(&incidents, &alert("x", Severity::High, "web-2"), Tell::Incidents));
    assert!(!is_over(&incidents, &alert("x", Severity::High, "elsewhere"), Tell::Incidents));
}

#[test]
fn what_is_new_is_said_once_and_the_end_is_the_end() {
    let mut incidents = known(&incident(1));
    let news = incidents.take_news();
    assert_eq!(news.iter().map(|news| (news.alert.name.as_str(), news.has_grown)).collect::<Vec<_>>(), [("Incident", true)]);
    assert!(incidents.take_news().is_empty());
    apply(&mut incidents, &incident(2)).expect("is one");
    assert_eq!(incidents.take_news().iter().map(|news| news.has_grown).collect::<Vec<_>>(), [false]);
    apply(&mut incidents, &incident(1)).expect("is one");
    assert!(incidents.take_news().is_empty(), "an old record is no news");
    apply(&mut incidents, &Incident { status: IncidentStatus::Resolved, ..incident(3) }).expect("is one");
    let news = incidents.take_news();
    assert_eq!(news.iter().map(|news| news.alert.status).collect::<Vec<_>>(), [AlertStatus::Resolved]);
    assert!(!is_over(&incidents, &alert("a", Severity::Warning, "web-1"), Tell::Alerts));
}

#[test]
fn its_identity_does_not_follow_the_opinion_about_the_cause() {
    let mut incidents = known(&incident(1));
    let first = incidents.take_news().remove(0).alert;
    let mut other = incident(2);
    other.alerts.reverse();
    apply(&mut incidents, &other).expect("is one");
    let second = incidents.take_news().remove(0).alert;
    assert_eq!((&first.labels, &first.fingerprint), (&second.labels, &second.fingerprint));
    assert_eq!(first.labels.get("host").map(String::as_str), Some("db-7"));
}

#[test]
fn what_is_no_incident_changes_nothing() {
    let mut incidents = known(&incident(1));
    let before = incidents.clone();
    assert!(incidents.apply(&record(b"{}")).is_err());
    assert!(apply(&mut incidents, &Incident { id: String::new(), ..incident(2) }).is_err());
    assert_eq!(incidents, before);
}

#[test]
fn there_are_never_more_than_so_many() {
    let mut incidents = Incidents::default();
    for n in 0..=INCIDENTS_MAX {
        apply(&mut incidents, &Incident { id: format!("{n:05}"), ..incident(1) }).expect("is one");
    }
    assert_eq!(incidents.0.len(), INCIDENTS_MAX);
}
