//! Ten minutes without a destination, in simulated time: how often it is asked, and what it has been told in the end.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use notifier::{
    Config, Delivery, Failure, Notification, Notifier, Tell,
    config::{PagerdutyConfig, RouteConfig, WebhookConfig},
};
use schemas::{Alert, AlertStatus, EventTime, Severity, alert::fingerprint};
use stream_core::{
    ConfigError, Delivered, Headers, NextOffset, Offset, Outbox, Partition, Record, Sink, SinkId, SinkInstance, TopicName, TopicPartition,
};

const OUTAGE_S: i64 = 600;
/// An alert begins every so many seconds, and ends after so many.
const EVERY_S: i64 = 5;
const LASTS_S: i64 = 22;
/// When no alert begins any more, and when all is over.
const ALERTS_END_S: i64 = 700;
const END_S: i64 = 900;

/// What a destination was asked and took, by its name.
static ASKED: Mutex<BTreeMap<String, Asked>> = Mutex::new(BTreeMap::new());

#[derive(Debug, Clone, Default)]
struct Asked {
    refusals: usize,
    taken: Vec<(i64, String, AlertStatus)>,
}

/// Takes nothing for ten minutes: busy, broken or silent, by turns.
struct Absent(String);

impl Delivery for Absent {
    fn open(_: &Config, destination: &str) -> Result<Self, ConfigError> {
        Ok(Self(destination.into()))
    }

    fn deliver(&mut self, notification: &Notification) -> Result<(), Failure> {
        let mut asked = ASKED.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = asked.entry(self.0.clone()).or_default();
        let second = notification.at.millis_since(at(0)) / 1_000;
        if second < OUTAGE_S {
            asked.refusals += 1;
            let after = asked.refusals.is_multiple_of(4).then(|| Duration::from_secs(30));
            return Err(Failure::Later { why: "503".into(), after });
        }
        asked.taken.extend(notification.news().map(|entry| (second, entry.alert.fingerprint.clone(), entry.alert.status)));
        Ok(())
    }
}

fn at(second: i64) -> EventTime {
    EventTime::from_millis(1_700_000_000_000 + second * 1_000)
}

/// What stands on the topic at the end of a second.
fn alerts(second: i64) -> Vec<Alert> {
    let one = |begun: i64, status| {
        let labels = [("host".to_string(), format!("h-{}", begun % 7)), ("n".to_string(), begun.to_string())].into();
        let ends_at = (status == AlertStatus::Resolved).then(|| at(second));
        let severity = if begun % 3 == 0 { Severity::Critical } else { Severity::Warning };
        Alert {
            fingerprint: fingerprint("Stall", &labels),
            name: "Stall".into(),
            severity,
            status,
            started_at: at(begun),
            ends_at,
            labels,
            ..Alert::default()
        }
    };
    let begins = |begun: i64| (0..ALERTS_END_S).contains(&begun) && begun % EVERY_S == 0;
    let fires = begins(second).then(|| one(second, AlertStatus::Firing));
    let ends = begins(second - LASTS_S).then(|| one(second - LASTS_S, AlertStatus::Resolved));
    fires.into_iter().chain(ends).collect()
}

/// Drives a destination through it all as the engine does, second by second.
fn live_through(config: &Config, destination: &str) -> Asked {
    config.check().expect("can be meant");
    let place = TopicPartition::new(&TopicName::new("alerts.v1"), Partition(0));
    let id = SinkId { destination, at: &place };
    let mut sink = SinkInstance::new(Notifier::<Absent>::new(config, id).expect("opens"), EventTime::MIN, place.clone());
    let mut out = Outbox::new("notifier");
    let (mut values, mut next, mut rests_until) = (Vec::new(), 0, i64::MIN);
    for second in 0..END_S {
        values.extend(alerts(second).iter().map(|alert| serde_json::to_vec(alert).expect("JSON")));
        let records: Vec<Record<'_>> = values
            .iter()
            .enumerate()
            .skip(next)
            .map(|(offset, value)| Record {
                topic: &place.topic,
                partition: place.partition,
                offset: Offset(offset as u64),
                appended_at: at(second),
                key: None,
                value: Some(value),
                headers: Headers::default(),
            })
            .collect();
        if !records.is_empty() && second * 1_000 >= rests_until {
            out.clear();
            match sink.deliver(&records, at(second), &mut out) {
                Delivered::Done { done } => next += done,
                Delivered::Later { done, pause, .. } => {
                    next += done;
                    rests_until = second * 1_000 + i64::try_from(pause.as_millis()).expect("is short");
                }
                other => panic!("{other:?}"),
            }
        }
        out.clear();
        sink.tick(NextOffset(next as u64), at(second), &mut out).expect("ticks");
        while sink.sink.is_pressed() {
            out.clear();
            sink.tick(NextOffset(next as u64), at(second), &mut out).expect("ticks");
        }
        assert!(sink.sink.take_refused().is_empty());
    }
    ASKED.lock().unwrap_or_else(PoisonError::into_inner).remove(destination).expect("was asked")
}

#[test]
fn ten_minutes_away_cost_no_word_and_no_order_and_few_requests() {
    let routing_key = notifier::Secret::new("env:UNREAD");
    let pager = PagerdutyConfig { routing_key, ..PagerdutyConfig::default() };
    let chat = WebhookConfig { url: "http://unread".into(), ..WebhookConfig::default() };
    let (to, tell) = (vec!["outage-pager".into(), "outage-chat".into()], Some(Tell::Alerts));
    let route = RouteConfig { to, tell, group_interval_ms: Some(30_000), ..RouteConfig::default() };
    let config = Config {
        pagerduty: [("outage-pager".to_string(), pager)].into(),
        webhook: [("outage-chat".to_string(), chat)].into(),
        routes: vec![route],
        ..Config::default()
    };
    for destination in ["outage-pager", "outage-chat"] {
        let asked = live_through(&config, destination);
        assert!((10..=40).contains(&asked.refusals), "it is left alone for up to a minute: {} tries", asked.refusals);
        let first = asked.taken.first().map(|(second, ..)| *second);
        assert!(first.is_some_and(|second| second <= OUTAGE_S + 75), "it is tried again in time: {first:?}");
        let mut told = BTreeMap::<&str, Vec<AlertStatus>>::new();
        asked.taken.iter().for_each(|(_, fingerprint, status)| told.entry(fingerprint).or_default().push(*status));
        assert_eq!(told.len() as i64, ALERTS_END_S / EVERY_S, "{destination}: none is missing");
        for (fingerprint, words) in told {
            assert_eq!(words, [AlertStatus::Firing, AlertStatus::Resolved], "{destination}: {fingerprint}");
        }
    }
}
