//! The view against slow, obvious references, and the routes on a real bus.

use std::collections::BTreeMap;

use schemas::{Alert, AlertStatus, ChangeKind, EventTime, Incident, IncidentStatus, ParsedLog, Severity, TemplateChange, TemplateRecord};

use super::{
    alerts::{AlertQuery, Alerts, ENDED_MAX},
    incidents::{self, IncidentQuery, Incidents},
    templates::{Order, TEMPLATES_MAX, TemplateQuery},
    view::{View, evict},
};
use crate::redact::Redactor;

const MINUTE_MS: i64 = 60_000;
/// A moment from which on the tests count.
const START_MS: i64 = 1_700_000_000_000;

fn at(ms: i64) -> EventTime {
    EventTime::from_millis(START_MS + ms)
}

fn line(template: &str, host: &str, ms: i64) -> ParsedLog {
    let (template_id, template) = (template.to_string(), format!("text of {template}"));
    ParsedLog { host: host.into(), template_id, template, event_time: at(ms).micros(), ..ParsedLog::default() }
}

fn all(order: Order) -> TemplateQuery {
    TemplateQuery { order, limit: usize::MAX, ..TemplateQuery::default() }
}

#[test]
fn templates_and_hosts_are_counted_like_a_plain_list() {
    let mut view = View::new(&Redactor::default());
    let lines: Vec<_> = (0..5_000i64).map(|n| line(&format!("t{}", n * n % 17), &format!("h{}", n % 5), n * 1_000)).collect();
    lines.iter().for_each(|line| view.on_line(line, at(i64::MAX / 2_000_000)));
    let now = at(5_000_000);
    let first_minute = (now.millis() / MINUTE_MS - 59) * MINUTE_MS;
    let is_recent = |line: &&ParsedLog| line.event_time >= first_minute * 1_000;
    let mut expected: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for line in &lines {
        let entry = expected.entry(&line.template_id).or_default();
        entry.0 += 1;
        entry.1 += u64::from(is_recent(&line));
    }
    let shown = view.templates.list(&all(Order::Rate), now);
    let found: BTreeMap<&str, (u64, u64)> =
        shown.iter().map(|template| (template.id.as_str(), (template.count, template.last_hour))).collect();
    assert_eq!(found, expected);
    assert!(shown.is_sorted_by_key(|template| std::cmp::Reverse((template.last_hour, template.count))));
    let per_minute: u64 = view.minutes(now).iter().map(|count| u64::from(*count)).sum();
    assert_eq!(per_minute, lines.iter().filter(is_recent).count() as u64);
    let hosts = view.hosts(now);
    assert_eq!((hosts.len(), hosts.iter().map(|host| host.lines).sum::<u64>(), view.lines()), (5, 5_000, 5_000));
}

#[test]
fn a_clock_that_is_ahead_empties_nobodys_hour() {
    let mut view = View::new(&Redactor::default());
    for n in 0..60 {
        view.on_line(&line("a", "right", n * MINUTE_MS), at(n * MINUTE_MS));
    }
    view.on_line(&line("a", "ahead", 20 * 60 * MINUTE_MS), at(59 * MINUTE_MS));
    assert_eq!(view.templates.list(&all(Order::Rate), at(59 * MINUTE_MS))[0].last_hour, 61);
}

#[test]
fn superseded_templates_are_folded_into_what_took_their_place() {
    let mut view = View::new(&Redactor::default());
    for n in 0..10 {
        view.on_line(&line("old", "h", n * 1_000), at(n * 1_000));
        view.on_line(&line("older", "h", n * 1_000), at(n * 1_000));
    }
    let change = Some(TemplateChange { kind: ChangeKind::Merged, from: vec!["old".into(), "older".into()] });
    view.on_line(&ParsedLog { change, ..line("new", "h", 20_000) }, at(20_000));
    let shown = view.templates.list(&all(Order::Rate), at(30_000));
    assert_eq!((shown.len(), shown[0].id.as_str(), shown[0].count, shown[0].last_hour), (1, "new", 21, 21));
    assert_eq!(shown[0].first_seen_ms, START_MS);
    // The table says the same of a change that this view has not read.
    let record = TemplateRecord { template_id: "new".into(), superseded_by: Some("newest".into()), ..TemplateRecord::default() };
    view.on_line(&line("newest", "h", 21_000), at(21_000));
    view.on_template(&record);
    assert_eq!(view.templates.list(&all(Order::Rate), at(30_000))[0].count, 22);
}

#[test]
fn what_was_there_before_the_view_is_not_new() {
    let mut view = View::new(&Redactor::default());
    let now = 3 * 60 * MINUTE_MS;
    for n in 0..=180 {
        view.on_line(&line("always", "h", n * MINUTE_MS), at(n * MINUTE_MS));
    }
    view.on_line(&line("known", "h", now), at(now));
    view.on_line(&line("unheard", "h", now), at(now));
    let first_seen = at(-90 * MINUTE_MS).micros();
    view.on_template(&TemplateRecord { template_id: "known".into(), first_seen, count: 70, ..TemplateRecord::default() });
    let shown = view.templates.list(&all(Order::Count), at(now));
    let news: Vec<_> = shown.iter().map(|template| (template.id.as_str(), template.count, template.is_new)).collect();
    assert_eq!(news, [("always", 181, false), ("known", 70, false), ("unheard", 1, true)]);
    // In the first minutes of a machine everything would be.
    let mut fresh = View::new(&Redactor::default());
    fresh.on_line(&line("a", "h", 0), at(0));
    fresh.on_line(&line("b", "h", 5 * MINUTE_MS), at(5 * MINUTE_MS));
    assert!(fresh.templates.list(&all(Order::Rate), at(6 * MINUTE_MS)).iter().all(|template| !template.is_new));
}

#[test]
fn lines_of_no_kind_are_called_so_and_never_new() {
    let mut view = View::new(&Redactor::default());
    view.on_line(&line("always", "h", 0), at(0));
    let none = ParsedLog { template_id: "0".repeat(16), template: String::new(), ..line("", "h", 60 * MINUTE_MS) };
    view.on_line(&none, at(60 * MINUTE_MS));
    let shown = view.templates.one(&"0".repeat(16), at(60 * MINUTE_MS)).expect("is listed");
    assert!(shown.text.starts_with("(lines of no kind") && !shown.is_new);
    assert_eq!(view.templates.count_new(at(60 * MINUTE_MS)), 0);
}

#[test]
fn templates_are_found_by_host_time_text_and_in_every_order() {
    let mut view = View::new(&Redactor::default());
    for (template, host, minute, severity) in
        [("a", "x", 0, Some(6)), ("b", "y", 10, Some(2)), ("b", "x", 20, None), ("c", "y", 30, Some(4))]
    {
        view.on_line(&ParsedLog { severity, ..line(template, host, minute * MINUTE_MS) }, at(minute * MINUTE_MS));
    }
    let ids = |query: TemplateQuery| {
        let list = view.templates.list(&query, at(31 * MINUTE_MS));
        list.into_iter().map(|template| template.id).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(ids(all(Order::Rate)), "b a c");
    assert_eq!(ids(all(Order::Newest)), "c b a");
    assert_eq!(ids(all(Order::Severity)), "b c a");
    assert_eq!(ids(TemplateQuery { limit: 1, ..all(Order::Rate) }), "b");
    assert_eq!(ids(TemplateQuery { host: Some("y".into()), ..all(Order::Rate) }), "b c");
    assert_eq!(ids(TemplateQuery { since: Some(at(20 * MINUTE_MS)), ..all(Order::Rate) }), "b c");
    assert_eq!(ids(TemplateQuery { contains: Some("OF C".into()), ..all(Order::Rate) }), "c");
}

#[test]
fn the_view_is_bounded_whatever_comes() {
    let mut view = View::new(&Redactor::default());
    let long = "x".repeat(10_000);
    for n in 0..20_000i64 {
        view.on_line(&ParsedLog { template: long.clone(), ..line(&format!("t{n}"), &format!("h{n}"), n) }, at(n));
        let annotations = [("a".to_string(), long.clone())].into();
        view.on_alert(Alert { fingerprint: n.to_string(), annotations, last_received: at(n), ..Alert::default() });
    }
    assert!((TEMPLATES_MAX * 7 / 8..=TEMPLATES_MAX).contains(&view.templates.len()));
    assert!((800..=1_024).contains(&view.hosts(at(0)).len()));
    let open = view.alerts.list(&AlertQuery { limit: usize::MAX, ..AlertQuery::default() });
    assert!((800..=1_000).contains(&open.len()));
    assert!(open.iter().any(|alert| alert.fingerprint == "19999"), "the newest stay");
    assert!(view.alerts.find("19999").is_some_and(|alert| alert.annotations["a"].len() <= 512));
    assert!(view.templates.one("t19999", at(0)).is_some_and(|template| template.text.len() <= 512));
}

#[test]
fn the_oldest_eighth_makes_room() {
    let mut map: BTreeMap<String, EventTime> = (0..80).map(|n| (format!("{n:02}"), at((n * 37) % 80))).collect();
    evict(&mut map, 81, |time| *time);
    assert_eq!(map.len(), 80, "there is room");
    evict(&mut map, 80, |time| *time);
    assert_eq!(map.values().min(), Some(&at(11)), "the eleven oldest are gone");
    let mut equal: BTreeMap<String, EventTime> = (0..80).map(|n| (n.to_string(), at(0))).collect();
    evict(&mut equal, 80, |time| *time);
    assert_eq!(equal.len(), 69, "an eighth, though all are as old");
}

fn alert(fingerprint: &str, severity: Severity, from: i64, to: Option<i64>) -> Alert {
    let status = if to.is_some() { AlertStatus::Resolved } else { AlertStatus::Firing };
    Alert {
        id: format!("id of {fingerprint} {from} {to:?}"),
        fingerprint: fingerprint.into(),
        status,
        severity,
        started_at: at(from * MINUTE_MS),
        last_received: at(to.unwrap_or(from) * MINUTE_MS),
        ends_at: to.map(|to| at(to * MINUTE_MS)),
        ..Alert::default()
    }
}

#[test]
fn the_hour_shows_how_many_alerts_were_open_in_each_minute() {
    let mut alerts = Alerts::new(Redactor::default());
    alerts.on_alert(alert("a", Severity::High, -10, None));
    alerts.on_alert(alert("b", Severity::High, 50, None));
    alerts.on_alert(alert("b", Severity::High, 50, Some(52)));
    alerts.on_alert(alert("c", Severity::Critical, 58, None));
    alerts.on_alert(alert("d", Severity::Low, -500, Some(-400)));
    let hour = alerts.hour(at(59 * MINUTE_MS));
    let count = |severity: Severity| hour.iter().map(|counts| counts[severity as usize]).collect::<Vec<_>>();
    let expected = |open: &dyn Fn(i64) -> u32| (0..60).map(open).collect::<Vec<_>>();
    assert_eq!(count(Severity::High), expected(&|minute| 1 + u32::from((50..=52).contains(&minute))));
    assert_eq!(count(Severity::Critical), expected(&|minute| u32::from(minute >= 58)));
    assert_eq!(count(Severity::Low), expected(&|_| 0));
}

#[test]
fn alerts_are_listed_worst_first_and_found_by_either_name() {
    let mut alerts = Alerts::new(Redactor::default());
    alerts.on_alert(alert("a", Severity::Warning, 1, None));
    alerts.on_alert(alert("b", Severity::Critical, 0, None));
    alerts.on_alert(alert("c", Severity::Critical, 2, None));
    alerts.on_alert(alert("d", Severity::Critical, 0, Some(3)));
    let list = |query| alerts.list(&query).into_iter().map(|alert| alert.fingerprint).collect::<Vec<_>>().join(" ");
    assert_eq!(list(AlertQuery { limit: 9, ..AlertQuery::default() }), "c b a d");
    assert_eq!(list(AlertQuery { status: Some(AlertStatus::Resolved), limit: 9, ..AlertQuery::default() }), "d");
    assert_eq!(list(AlertQuery { severity: Some(Severity::High), limit: 2, ..AlertQuery::default() }), "c b");
    for key in ["c", "id of c 2 None", "id of d 0 Some(3)"] {
        assert!(alerts.find(key).is_some(), "{key}");
    }
    assert!(alerts.find("e").is_none());
}

#[test]
fn a_resolved_alert_is_open_no_more() {
    let mut alerts = Alerts::new(Redactor::default());
    for n in 0..300 {
        alerts.on_alert(alert("a", Severity::High, n, None));
        alerts.on_alert(alert("a", Severity::High, n, Some(n + 1)));
    }
    assert_eq!(alerts.list(&AlertQuery { status: Some(AlertStatus::Firing), limit: 9, ..AlertQuery::default() }).len(), 0);
    assert_eq!(alerts.list(&AlertQuery { limit: usize::MAX, ..AlertQuery::default() }).len(), ENDED_MAX);
}

#[test]
fn what_nobody_resolves_is_settled() {
    let named = |name: &str, part: &str| Alert {
        name: name.into(),
        labels: [("part".to_string(), part.to_string())].into(),
        ..alert(&format!("{name} {part}"), Severity::High, 0, None)
    };
    let mut alerts = Alerts::new(Redactor::default());
    alerts.on_alert(named("NephoscopeDataLoss", ""));
    alerts.on_alert(named("NephoscopePartStopped", "drain"));
    alerts.on_alert(named("NephoscopePartStopped", "syslog"));
    alerts.on_alert(named("SevereLog", ""));
    let open = |alerts: &Alerts| alerts.list(&AlertQuery { status: Some(AlertStatus::Firing), limit: 9, ..AlertQuery::default() }).len();
    alerts.settle(at(MINUTE_MS), |part| part == "drain");
    assert_eq!(open(&alerts), 3, "the syslog part runs again");
    alerts.settle(at(16 * MINUTE_MS), |part| part == "drain");
    assert_eq!(open(&alerts), 2, "the loss is over");
}

#[test]
fn secrets_do_not_reach_the_page() {
    let mut view = View::new(&Redactor::default());
    view.on_line(&ParsedLog { template: "login password=hunter2 from <*>".into(), ..line("a", "h", 0) }, at(0));
    let annotations = [("examples".to_string(), "token=abc".to_string())].into();
    view.on_alert(Alert {
        fingerprint: "f".into(),
        message: "vm-7: login password=hunter2".into(),
        description: "see https://ann:hunter2@host/".into(),
        annotations,
        ..Alert::default()
    });
    let alert = view.alerts.find("f").expect("is open");
    let text = format!("{alert:?} {:?}", view.templates.one("a", at(0)));
    assert!(!text.contains("hunter2") && !text.contains("abc"), "{text}");
    assert_eq!(text.matches("[redacted]").count(), 4);
}

fn incident(id: &str, severity: Severity, from: i64, to: Option<i64>) -> Incident {
    Incident {
        id: id.into(),
        status: if to.is_some() { IncidentStatus::Resolved } else { IncidentStatus::Open },
        severity,
        title: format!("{id}: password=hunter2"),
        started_at: at(from * MINUTE_MS),
        last_update: at(to.unwrap_or(from) * MINUTE_MS),
        ends_at: to.map(|to| at(to * MINUTE_MS)),
        ..Incident::default()
    }
}

#[test]
fn incidents_are_listed_worst_first_and_for_a_day_after_their_end() {
    let mut incidents = Incidents::new(Redactor::default());
    incidents.on_incident(incident("a", Severity::Warning, 1, None));
    incidents.on_incident(incident("b", Severity::Critical, 0, None));
    incidents.on_incident(incident("c", Severity::Critical, 2, None));
    incidents.on_incident(incident("d", Severity::High, 0, Some(3)));
    incidents.on_incident(Incident { merged_into: Some("b".into()), ..incident("e", Severity::Critical, 0, Some(4)) });
    let list = |incidents: &Incidents, query, minute| {
        incidents.list(&query, at(minute * MINUTE_MS)).into_iter().map(|incident| incident.id.clone()).collect::<Vec<_>>().join(" ")
    };
    let all = || IncidentQuery { limit: 9, ..IncidentQuery::default() };
    assert_eq!(list(&incidents, all(), 5), "c b a d", "what goes on in another is listed there");
    assert_eq!(list(&incidents, all(), 24 * 60 + 4), "c b a");
    assert_eq!(list(&incidents, IncidentQuery { status: Some(IncidentStatus::Resolved), ..all() }, 5), "d");
    assert_eq!(list(&incidents, IncidentQuery { severity: Some(Severity::High), limit: 2, ..all() }, 5), "c b");
    let found = incidents::summary(incidents.find("d").expect("is kept"));
    assert_eq!((found.title.as_str(), found.ends_at_ms), ("d: password=[redacted]", Some(START_MS + 3 * MINUTE_MS)));

    // It goes on after all, and ends again.
    incidents.on_incident(incident("d", Severity::High, 0, None));
    assert_eq!(list(&incidents, all(), 5), "c b d a");
    incidents.on_incident(incident("c", Severity::Critical, 2, Some(6)));
    assert_eq!(list(&incidents, all(), 7), "b d a c");
}

#[test]
fn incidents_are_bounded_whatever_comes() {
    let mut incidents = Incidents::new(Redactor::default());
    for n in 0..2_000 {
        incidents.on_incident(incident(&format!("open {n}"), Severity::High, n, None));
        incidents.on_incident(incident(&format!("over {n}"), Severity::High, n, Some(n)));
    }
    let count = |status| incidents.list(&IncidentQuery { status: Some(status), severity: None, limit: usize::MAX }, at(0)).len();
    assert!((150..=200).contains(&count(IncidentStatus::Open)));
    assert_eq!(count(IncidentStatus::Resolved), incidents::ENDED_MAX);
    assert!(incidents.find("open 1999").is_some(), "the newest stay");
}
