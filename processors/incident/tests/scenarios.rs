//! Stories as they go: they flap, merge, end, come back, and outgrow every limit.

mod desk;

use std::collections::BTreeMap;

use desk::{Desk, T0, firing, over};
use incident::{Config, IncidentProcessor};
use schemas::{Incident, IncidentStatus, TimelineKind};
use stream_core::Processor;

const MINUTE_MS: i64 = 60_000;

/// The last word about each incident.
fn last(told: impl IntoIterator<Item = Incident>) -> BTreeMap<String, Incident> {
    told.into_iter().map(|incident| (incident.id.clone(), incident)).collect()
}

fn kinds(incident: &Incident) -> Vec<TimelineKind> {
    incident.timeline.iter().map(|entry| entry.kind).collect()
}

#[test]
fn an_alert_that_comes_and_goes_is_told_once_and_stays_attached() {
    let mut desk = Desk::new(Config::default());
    let link = firing("lb-2", "kernel", "eth1: link is down", 0);
    let mut told = Vec::new();
    // Down for a minute in every six: between two of them it is over for as long as an incident takes to end.
    for turn in 0..8 {
        let at = turn * 6 * MINUTE_MS;
        told.extend(desk.alert(&schemas::Alert { started_at: T0.plus_millis(at), ..firing("lb-2", "kernel", "eth1: link is down", at) }));
        told.extend(desk.alert(&over(&link, at + MINUTE_MS)));
        told.extend(desk.silence(4 * MINUTE_MS + 50_000));
    }
    let incidents = last(told);
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let incident = incidents.values().next().expect("one");
    let of = |kind| kinds(incident).into_iter().filter(|found| *found == kind).count();
    assert_eq!((of(TimelineKind::Flapping), of(TimelineKind::Closed)), (1, 0));
    assert_eq!(incident.status, IncidentStatus::Open, "it may come back");
    assert!(of(TimelineKind::Firing) <= 2, "told once more at most: {:?}", incident.timeline);

    // It is over when it has been steady for half an hour.
    assert_eq!(last(desk.silence(28 * MINUTE_MS)).values().filter(|incident| incident.status == IncidentStatus::Resolved).count(), 0);
    let ended = last(desk.silence(31 * MINUTE_MS));
    assert_eq!(ended[&incident.id].status, IncidentStatus::Resolved);
}

#[test]
fn a_later_alert_shows_two_stories_to_be_one_and_both_are_told_so() {
    let mut desk = Desk::new(Config::default());
    let mut told = desk.alert(&firing("web-1", "shop", "upstream is slow", 0));
    told.extend(desk.alert(&firing("db-7", "postgres", "checkpoint took 90 s", 2_000)));
    assert_eq!(last(told.clone()).len(), 2, "nothing says that they belong together");
    told.extend(desk.alert(&firing("web-1", "shop", "connection to db-7:5432 refused", 10_000)));
    told.extend(desk.silence(10_000));

    let incidents = last(told.clone());
    let (whole, part): (Vec<_>, Vec<_>) = incidents.values().partition(|incident| incident.merged_into.is_none());
    assert_eq!((whole.len(), part.len()), (1, 1));
    assert_eq!((part[0].merged_into.as_ref(), part[0].status), (Some(&whole[0].id), IncidentStatus::Resolved));
    assert_eq!((whole[0].alerts_total, whole[0].started_at, whole[0].status), (3, T0, IncidentStatus::Open), "the older goes on");
    assert!(kinds(whole[0]).contains(&TimelineKind::Merged) && kinds(part[0]).contains(&TimelineKind::Merged));
    assert_eq!(whole[0].hosts, ["db-7", "web-1"]);

    // What is said of an alert that came with the other is said in the whole.
    let word = last(desk.alert(&over(&firing("db-7", "postgres", "checkpoint took 90 s", 2_000), 60_000)));
    assert_eq!(word.keys().collect::<Vec<_>>(), [&whole[0].id]);
}

#[test]
fn it_is_over_five_minutes_after_its_last_alert_and_not_before() {
    let mut desk = Desk::new(Config::default());
    let (disk, database) = (firing("db-7", "kernel", "I/O error", 0), firing("db-7", "postgres", "could not fsync", 1_000));
    let mut told = desk.alert(&disk);
    told.extend(desk.alert(&database));
    told.extend(desk.alert(&over(&disk, 30_000)));
    told.extend(desk.silence(20 * MINUTE_MS));
    assert_eq!(last(told.clone()).values().next().expect("one").status, IncidentStatus::Open, "one of them lasts");

    told.extend(desk.alert(&over(&database, 20 * MINUTE_MS + 30_000)));
    told.extend(desk.silence(5 * MINUTE_MS - 1_000));
    assert_eq!(last(told.clone()).values().next().expect("one").status, IncidentStatus::Open);
    told.extend(desk.silence(5 * MINUTE_MS + 1_000));
    let incidents = last(told);
    let ended = incidents.values().next().expect("one");
    assert_eq!((incidents.len(), ended.status), (1, IncidentStatus::Resolved));
    assert_eq!(ended.ends_at, Some(T0.plus_millis(20 * MINUTE_MS + 30_000)), "it ended with its last alert");
    assert_eq!(kinds(ended).last(), Some(&TimelineKind::Closed));
}

#[test]
fn what_comes_back_soon_opens_the_same_incident_and_much_later_a_new_one() {
    let mut desk = Desk::new(Config::default());
    let disk = |ms| firing("db-7", "kernel", "I/O error", ms);
    let mut told = desk.alert(&disk(0));
    told.extend(desk.alert(&over(&disk(0), 30_000)));
    told.extend(desk.silence(6 * MINUTE_MS));
    let ended = last(told).into_values().next().expect("one");
    assert_eq!(ended.status, IncidentStatus::Resolved);

    let mut told = desk.alert(&disk(10 * MINUTE_MS));
    told.extend(desk.silence(6_000));
    let again = last(told).into_values().next().expect("one");
    assert_eq!((&again.id, again.status, again.ends_at), (&ended.id, IncidentStatus::Open, None));
    assert!(again.revision > ended.revision);

    desk.alert(&over(&disk(0), 11 * MINUTE_MS));
    // It came and went twice within half an hour, so it is over after half an hour, and forgotten after another.
    desk.silence(45 * MINUTE_MS);
    desk.silence(90 * MINUTE_MS);
    let new = desk.alert(&disk(120 * MINUTE_MS));
    assert_eq!(new.len(), 1);
    assert_ne!(new[0].id, ended.id, "hours later it is another story");
}

#[test]
fn an_incident_lists_a_hundred_alerts_and_two_hundred_lines_and_counts_on() {
    let mut desk = Desk::new(Config::default());
    let mut told = Vec::new();
    for n in 0..600 {
        told.extend(desk.alert(&firing("db-7", "postgres", &format!("relation number {n} is damaged"), n * 100)));
    }
    told.extend(desk.silence(10_000));
    let incidents = last(told);
    assert_eq!(incidents.len(), 1);
    let incident = incidents.values().next().expect("one");
    assert_eq!((incident.alerts.len(), incident.alerts_total, incident.timeline.len()), (100, 600, 200));
    assert!(incident.timeline.first().is_some_and(|entry| entry.at == T0), "the beginning stays, since it holds the cause");
    assert!(incident.timeline.last().is_some_and(|entry| entry.text.contains("number 599")), "and so does the end");
    desk.restore();
    assert!(desk.state_bytes() <= IncidentProcessor::state_bytes_bound(&Config::default()));
}

#[test]
fn an_incident_is_told_at_most_every_five_seconds() {
    let mut desk = Desk::new(Config::default());
    let mut told_at = Vec::new();
    for n in 0..600 {
        let ms = n * 100;
        let told = desk.alert(&firing("db-7", "postgres", &format!("relation number {n} is damaged"), ms));
        told_at.extend(told.iter().map(|_| ms));
    }
    assert!(told_at.windows(2).all(|pair| pair[1] - pair[0] >= 5_000), "{told_at:?}");
    assert!((12..=13).contains(&told_at.len()), "a minute of changes: {told_at:?}");
    let rest = desk.silence(5_000);
    assert_eq!(rest.iter().map(|incident| incident.alerts_total).collect::<Vec<_>>(), [600], "and the last word is told");
}

#[test]
fn of_endless_things_the_twenty_thousand_heard_of_last_are_remembered() {
    let config = Config { open_max: 50, ..Config::default() };
    let mut desk = Desk::new(config.clone());
    let mut peak = 0;
    for n in 0..25_000 {
        desk.alert(&firing(&format!("node-{n}"), "kernel", &format!("disk number {n} fails"), n * 1_000));
        if n % 5_000 == 4_999 {
            peak = peak.max(desk.state_bytes());
        }
    }
    assert!(peak <= IncidentProcessor::state_bytes_bound(&config), "{peak}");
    desk.restore();
    // The newest is known to be a host by its name alone; the first is a mere name again.
    let mut named = |host: &str, ms| {
        let told = desk.alert(&firing(&format!("watcher-of-{host}"), "probe", &format!("cannot reach {host}:22"), ms));
        told.iter().flat_map(|incident| &incident.causes).map(|cause| cause.node.to_string()).find(|node| node.ends_with(host))
    };
    assert_eq!(named("node-0", 25_000_000).as_deref(), Some("peer/node-0"));
    assert_eq!(named("node-24900", 25_001_000).as_deref(), Some("host/node-24900"));
}
