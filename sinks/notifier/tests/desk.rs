//! What is told, when, and in which order.

use notifier::{About, Desk, Grouping, Manner, Notification, Word};
use redact::Redactor;
use schemas::{Alert, AlertStatus, EventTime, Severity, alert::fingerprint};
use stream_core::{Headers, Offset, Partition, Record, Reject, RejectReason, SnapshotReader, SnapshotWriter, TopicName};

const GROUPS: Manner = Manner { alerts_max: 500, groups: true, repeats: false, one_word: false, resend_ms: None };
const EACH: Manner = Manner { alerts_max: 2, groups: false, repeats: false, one_word: false, resend_ms: Some(60_000) };

fn at(seconds: i64) -> EventTime {
    EventTime::from_millis(1_700_000_000_000 + seconds * 1_000)
}

/// A desk, what comes in, and what leaves it.
struct Scene {
    desk: Desk,
    offset: u64,
    wait_ms_min: i64,
}

impl Scene {
    fn new(manner: Manner) -> Self {
        Self { desk: Desk::new(manner), offset: 0, wait_ms_min: 0 }
    }

    fn hears(&mut self, host: &str, name: &str, device: &str, status: AlertStatus, severity: Severity, seconds: i64) {
        let labels = [("host", host), ("device", device)].map(|(key, value)| (key.to_string(), value.to_string())).into();
        let ends_at = (status == AlertStatus::Resolved).then(|| at(seconds));
        let alert =
            Alert { fingerprint: fingerprint(name, &labels), name: name.into(), status, severity, labels, ends_at, ..Alert::default() };
        let value = serde_json::to_vec(&alert).expect("JSON");
        let topic = TopicName::new("alerts.v1");
        let record = Record {
            topic: &topic,
            partition: Partition(0),
            offset: Offset(self.offset),
            appended_at: at(seconds),
            key: Some(alert.fingerprint.as_bytes()),
            value: Some(&value),
            headers: Headers::default(),
        };
        self.offset += 1;
        let (word, alert) = Word::read(&record).expect("is an alert").expect("has a value");
        let by = vec!["host".into(), "name".into()];
        let grouping = Grouping { by, wait_ms: 10_000, interval_ms: 300_000, wait_ms_min: self.wait_ms_min, ..Grouping::at_once() };
        self.desk.take(word, &alert, &grouping, at(seconds));
    }

    fn fires(&mut self, host: &str, device: &str, severity: Severity, seconds: i64) {
        self.hears(host, "Stall", device, AlertStatus::Firing, severity, seconds);
    }

    fn ends(&mut self, host: &str, device: &str, seconds: i64) {
        self.hears(host, "Stall", device, AlertStatus::Resolved, Severity::Warning, seconds);
    }

    fn next(&mut self, seconds: i64) -> Option<Notification> {
        self.desk.next(at(seconds), &Redactor::default(), |_, _| false)
    }

    /// Tells all that is due; the news of each message as `device status`.
    fn tells(&mut self, seconds: i64) -> Vec<Vec<String>> {
        let mut told = Vec::new();
        while let Some(notification) = self.next(seconds) {
            told.push(news(&notification));
            self.desk.told(&notification, at(seconds));
        }
        told
    }
}

fn news(notification: &Notification) -> Vec<String> {
    notification.news().map(|entry| format!("{} {}", entry.alert.labels["device"], entry.alert.status)).collect()
}

#[test]
fn a_group_waits_for_company_and_is_one_message() {
    let mut scene = Scene::new(GROUPS);
    scene.fires("web", "a", Severity::Warning, 0);
    scene.fires("web", "b", Severity::High, 5);
    scene.fires("db", "c", Severity::Warning, 9);
    assert!(scene.tells(9).is_empty());
    assert_eq!(scene.tells(10), [["b firing", "a firing"]], "the worst first");
    assert_eq!(scene.tells(19), [["c firing"]]);
}

#[test]
fn what_is_critical_waits_for_nobody_and_takes_along_who_waits() {
    let mut scene = Scene::new(GROUPS);
    scene.fires("web", "a", Severity::Warning, 0);
    scene.fires("web", "b", Severity::Critical, 1);
    assert_eq!(scene.tells(1), [["b firing", "a firing"]]);
}

#[test]
fn within_the_interval_only_what_is_worse_is_told() {
    let mut scene = Scene::new(GROUPS);
    scene.fires("web", "a", Severity::Warning, 0);
    scene.tells(10);
    scene.fires("web", "b", Severity::Warning, 20);
    scene.fires("web", "a", Severity::Warning, 25);
    assert!(scene.tells(299).is_empty());
    scene.fires("web", "c", Severity::High, 299);
    assert_eq!(scene.tells(309), [["c firing", "b firing"]]);
    let repeated = scene.tells(1_000);
    assert!(repeated.is_empty(), "what says the same again is no news: {repeated:?}");
}

#[test]
fn an_end_is_told_after_its_beginning_and_only_if_that_was_told() {
    let mut scene = Scene::new(GROUPS);
    scene.fires("web", "a", Severity::Warning, 0);
    scene.ends("web", "a", 5);
    assert_eq!(scene.tells(10), [["a firing", "a resolved"]]);
    scene.fires("web", "b", Severity::Warning, 400);
    let withheld = scene.desk.next(at(410), &Redactor::default(), |_, _| true);
    assert_eq!(withheld, None);
    scene.ends("web", "b", 420);
    assert!(scene.tells(1_000).is_empty());
}

#[test]
fn others_that_fire_are_in_the_message_but_no_news() {
    let mut scene = Scene::new(GROUPS);
    scene.fires("web", "a", Severity::Warning, 0);
    scene.tells(10);
    scene.fires("web", "b", Severity::Warning, 400);
    let message = scene.next(410).expect("is due");
    assert_eq!(news(&message), ["b firing"]);
    assert_eq!((message.entries.len(), message.left_out, message.status()), (2, 0, AlertStatus::Firing));
    assert!(message.title().starts_with("[FIRING 2] Stall on web"), "{}", message.title());
}

#[test]
fn each_for_itself_is_told_in_order_and_at_once() {
    let mut scene = Scene::new(EACH);
    scene.fires("web", "a", Severity::Low, 0);
    scene.fires("web", "b", Severity::Critical, 0);
    scene.ends("web", "a", 0);
    scene.fires("web", "c", Severity::Low, 0);
    let told = scene.tells(0).concat();
    assert_eq!(told, ["a firing", "a resolved", "b firing", "c firing"], "each trouble's words as they came, all of them now");
}

#[test]
fn what_is_refused_in_company_is_tried_alone_and_only_the_guilty_dies() {
    let mut scene = Scene::new(EACH);
    ["a", "b"].iter().for_each(|device| scene.fires("web", device, Severity::Low, 0));
    let reject = Reject::new(RejectReason::Refused, "400");
    let both = scene.next(0).expect("is due");
    assert_eq!(both.about, About::Each);
    assert!(scene.desk.refused(&both, &reject, at(0)).is_empty());
    let alone = scene.next(0).expect("is due");
    assert_eq!(news(&alone), ["a firing"]);
    let dead = scene.desk.refused(&alone, &reject, at(0));
    assert_eq!(dead.iter().map(|dead| (dead.offset, dead.value.is_some())).collect::<Vec<_>>(), [(Offset(0), true)]);
    assert_eq!(scene.tells(0), [["b firing"]]);
}

#[test]
fn what_fires_is_said_again_page_by_page_until_it_is_stale() {
    let mut scene = Scene::new(EACH);
    ["a", "b", "c"].iter().for_each(|device| scene.fires("web", device, Severity::Low, 0));
    scene.tells(0);
    let (first, next) = scene.desk.again(None, at(60), &Redactor::default());
    let (second, end) = scene.desk.again(next.as_deref(), at(60), &Redactor::default());
    assert_eq!((first.entries.len(), second.entries.len(), end), (2, 1, None));
    let (stale, _) = scene.desk.again(None, at(901), &Redactor::default());
    assert!(stale.entries.is_empty());
}

#[test]
fn a_restored_desk_goes_on_where_it_was() {
    for manner in [GROUPS, EACH] {
        let mut scene = Scene::new(manner);
        scene.fires("web", "a", Severity::Warning, 0);
        scene.tells(10);
        scene.fires("web", "b", Severity::Warning, 20);
        scene.ends("web", "a", 30);
        let mut writer = SnapshotWriter::default();
        scene.desk.snapshot(&mut writer).expect("can be written");
        let sections = writer.into_sections();
        let reader = SnapshotReader::new(&sections, 1, 0, 0);
        let mut restored = Scene { desk: Desk::restore(&reader, manner).expect("can be read"), offset: 9, wait_ms_min: 0 };
        assert_eq!(restored.tells(400), scene.tells(400));
        assert_eq!(restored.desk.counts(), scene.desk.counts());
    }
}

#[test]
fn one_that_flaps_is_bounded_and_ends_as_it_is() {
    let mut scene = Scene::new(EACH);
    for second in 0..100 {
        scene.fires("web", "a", Severity::Warning, second);
        scene.ends("web", "a", second);
    }
    let told = scene.tells(100).concat();
    assert!(told.len() <= 8 && told.last().is_some_and(|last| last == "a resolved"), "{told:?}");
    assert_eq!(scene.desk.counts().firing, 0);
}

#[test]
fn where_a_key_drops_repeats_an_end_never_stands_beside_its_beginning() {
    let mut scene = Scene::new(Manner { one_word: true, ..EACH });
    scene.fires("web", "a", Severity::Low, 0);
    scene.ends("web", "a", 0);
    assert_eq!(scene.tells(0), [["a firing"], ["a resolved"]]);
}

#[test]
fn what_waits_for_its_incident_is_told_after_the_wait_and_goes_on_without_one() {
    for manner in [GROUPS, EACH] {
        let mut scene = Scene::new(manner);
        scene.wait_ms_min = 8_000;
        scene.fires("web", "a", Severity::Critical, 0);
        assert!(scene.tells(7).is_empty());
        assert_eq!(scene.tells(8), [["a firing"]]);
        scene.ends("web", "a", 400);
        assert_eq!(scene.tells(410), [["a resolved"]]);
    }
}
