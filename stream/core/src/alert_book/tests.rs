use proptest::prelude::*;
use schemas::AlertStatus;

use super::*;
use crate::{Offset, OutputSource, Partition, TopicPartition};

const T0: EventTime = EventTime::from_millis(1_700_000_000_000);

/// A book with its outbox, one record per call.
struct Desk {
    book: AlertBook,
    out: Outbox,
    offset: u64,
}

impl Desk {
    fn new() -> Self {
        Self { book: AlertBook::new(Model::default()), out: Outbox::new("test"), offset: 0 }
    }

    fn step(&mut self, act: impl FnOnce(&mut AlertBook, &mut Outbox) -> Result<(), Reject>) -> Vec<Alert> {
        let input = TopicPartition::new(&"in.v1".into(), Partition(0));
        self.out.clear();
        self.out.begin(&input, OutputSource::Record(Offset(self.offset)), EventTime(i64::MAX), EventTime::MIN);
        self.offset += 1;
        act(&mut self.book, &mut self.out).expect("within the contract and the limits");
        self.out.outputs().map(|output| serde_json::from_slice(output.value.expect("a value")).expect("an alert")).collect()
    }

    fn fire(&mut self, draft: AlertDraft, after_ms: i64) -> Vec<Alert> {
        self.step(|book, out| book.fire(draft, T0.plus_millis(after_ms), out))
    }

    fn watermark(&mut self, after_ms: i64) -> Vec<Alert> {
        self.step(|book, out| book.on_watermark(T0.plus_millis(after_ms), out))
    }

    fn restore(&mut self) {
        let sections = sections(&self.book);
        let reader = SnapshotReader::new(&sections, 1, 0, 0);
        self.book = AlertBook::restore(&reader, Model::default()).expect("our own snapshot");
        assert_eq!(self::sections(&self.book), sections);
    }
}

fn sections(book: &AlertBook) -> Vec<(String, Vec<u8>)> {
    let mut writer = SnapshotWriter::default();
    book.snapshot(&mut writer).expect("can be written");
    writer.into_sections()
}

fn draft(host: &str, unit: &str, severity: Severity) -> AlertDraft {
    let labels = [("host", host), ("unit", unit)].map(|(key, value)| (key.to_string(), value.to_string())).into();
    AlertDraft {
        name: "UnitFailed",
        severity,
        labels,
        message: format!("{unit} failed"),
        score: 1.0,
        threshold: 0.5,
        ..AlertDraft::default()
    }
}

fn statuses(alerts: &[Alert]) -> Vec<(AlertStatus, Severity)> {
    alerts.iter().map(|alert| (alert.status, alert.severity)).collect()
}

#[test]
fn a_trouble_fires_once_repeats_every_five_minutes_and_resolves_once() {
    let mut desk = Desk::new();
    let trouble = || draft("web-1", "sshd", Severity::Warning);
    let first = desk.fire(trouble(), 0);
    assert_eq!(statuses(&first), [(AlertStatus::Firing, Severity::Warning)]);
    assert_eq!(first[0].source, ["test"]);
    assert!(desk.fire(trouble(), 1_000).is_empty());
    assert!(desk.fire(trouble(), REPEAT_MS - 1).is_empty());

    let repeat = desk.fire(trouble(), REPEAT_MS);
    assert_eq!(repeat[0].fingerprint, first[0].fingerprint);
    assert_eq!(repeat[0].started_at, first[0].started_at);
    assert_ne!(repeat[0].id, first[0].id);
    assert_eq!(repeat[0].annotations["count"], "4");
    assert!(desk.fire(trouble(), REPEAT_MS + 1).is_empty());

    let fingerprint = first[0].fingerprint.clone();
    let ended = desk.step(|book, out| book.resolve(&fingerprint, T0.plus_millis(400_000), out));
    assert_eq!(statuses(&ended), [(AlertStatus::Resolved, Severity::Warning)]);
    assert_eq!(ended[0].ends_at, Some(T0.plus_millis(400_000)));
    assert_eq!(ended[0].annotations["count"], "5");
    assert!(desk.step(|book, out| book.resolve(&fingerprint, T0.plus_millis(500_000), out)).is_empty());
    assert_eq!(desk.book.open_count(), 0);
}

#[test]
fn a_change_of_severity_is_told_at_once() {
    let mut desk = Desk::new();
    desk.fire(draft("web-1", "sshd", Severity::Warning), 0);
    assert_eq!(statuses(&desk.fire(draft("web-1", "sshd", Severity::High), 1)), [(AlertStatus::Firing, Severity::High)]);
    assert_eq!(statuses(&desk.fire(draft("web-1", "sshd", Severity::Info), 2)), [(AlertStatus::Firing, Severity::Info)]);
}

#[test]
fn quiet_for_long_enough_resolves_by_itself_and_recurrence_begins_anew() {
    let mut desk = Desk::new();
    let trouble = || AlertDraft { resolve_after_ms: Some(900_000), ..draft("web-1", "sshd", Severity::Critical) };
    desk.fire(trouble(), 0);
    desk.fire(trouble(), 60_000);
    assert!(desk.watermark(959_999).is_empty());
    let ended = desk.watermark(960_000);
    assert_eq!(statuses(&ended), [(AlertStatus::Resolved, Severity::Critical)]);
    assert!(desk.watermark(2_000_000).is_empty());
    let again = desk.fire(trouble(), 2_000_000);
    assert_eq!((again.len(), again[0].started_at), (1, T0.plus_millis(2_000_000)));
}

#[test]
fn beyond_the_budget_a_host_gets_one_folded_alert_and_no_word_of_the_rest() {
    let mut desk = Desk::new();
    let budget = BUDGET_PER_HOST as usize;
    for unit in 0..budget {
        assert_eq!(desk.fire(draft("web-1", &unit.to_string(), Severity::Warning), 0).len(), 1);
    }
    let folded = desk.fire(draft("web-1", "held", Severity::Warning), 10);
    assert_eq!((folded.len(), folded[0].name.as_str(), folded[0].labels["host"].as_str()), (1, BUDGET_EXCEEDED, "web-1"));
    assert_eq!(folded[0].annotations["UnitFailed"], "1");
    assert!(desk.fire(draft("web-1", "held too", Severity::Info), 20).is_empty());

    // Held back means silent: no repeat, no resolved alert. Other hosts and worse alerts are not concerned.
    let held = draft("web-1", "held", Severity::Warning);
    let fingerprint = alert::fingerprint(held.name, &held.labels);
    assert!(desk.book.is_open(&fingerprint));
    assert!(desk.fire(held, REPEAT_MS + 1).is_empty());
    assert!(desk.step(|book, out| book.resolve(&fingerprint, T0, out)).is_empty());
    assert_eq!(desk.fire(draft("web-2", "any", Severity::Low), 30).len(), 1);
    assert_eq!(desk.fire(draft("web-1", "worse", Severity::High), 30).len(), 1);

    // The window ends: there is budget again, and the folded alert resolves by itself.
    assert_eq!(desk.fire(draft("web-1", "next window", Severity::Warning), BUDGET_WINDOW_MS).len(), 1);
    let ended = desk.watermark(20 + BUDGET_WINDOW_MS);
    assert_eq!((ended.len(), ended[0].name.as_str(), ended[0].status), (1, BUDGET_EXCEEDED, AlertStatus::Resolved));
    assert_eq!(ended[0].annotations["UnitFailed"], "2");
}

#[test]
fn what_was_held_back_is_told_once_it_turns_high() {
    let mut desk = Desk::new();
    for unit in 0..=BUDGET_PER_HOST {
        desk.fire(draft("web-1", &unit.to_string(), Severity::Warning), 0);
    }
    let held = BUDGET_PER_HOST.to_string();
    let told = desk.fire(draft("web-1", &held, Severity::High), 1);
    assert_eq!(statuses(&told), [(AlertStatus::Firing, Severity::High)]);
    let fingerprint = told[0].fingerprint.clone();
    assert_eq!(desk.step(|book, out| book.resolve(&fingerprint, T0, out)).len(), 1, "whoever was told that it fires is told that it ended");
}

#[test]
fn a_clock_far_ahead_does_not_keep_a_budget_spent() {
    let mut desk = Desk::new();
    for unit in 0..=BUDGET_PER_HOST {
        desk.fire(draft("web-1", &unit.to_string(), Severity::Warning), i64::from(u32::MAX) * 1_000);
    }
    assert_eq!(desk.fire(draft("web-1", "now", Severity::Warning), 0).len(), 1);
}

#[test]
fn an_alert_of_a_slow_clock_lasts_as_long_as_any_other() {
    let mut desk = Desk::new();
    let trouble = || AlertDraft { resolve_after_ms: Some(900_000), ..draft("web-1", "sshd", Severity::Warning) };
    desk.watermark(0);
    let slow_ms = -7_200_000;
    assert_eq!(desk.fire(trouble(), slow_ms)[0].started_at, T0.plus_millis(slow_ms));
    assert!(desk.watermark(899_999).is_empty());
    desk.restore();
    assert_eq!(statuses(&desk.watermark(900_000)), [(AlertStatus::Resolved, Severity::Warning)]);
}

#[test]
fn many_alerts_that_end_together_resolve_within_the_output_limits() {
    let mut desk = Desk::new();
    let annotations = || [("detail".to_string(), "x".repeat(400))].into();
    for unit in 0..5_000 {
        let one = draft("web-1", &unit.to_string(), Severity::High);
        desk.fire(AlertDraft { resolve_after_ms: Some(1), annotations: annotations(), ..one }, 0);
    }
    let mut resolved = std::collections::BTreeSet::new();
    for second in 1..60 {
        resolved.extend(desk.watermark(second * 1_000).into_iter().map(|alert| alert.fingerprint));
    }
    assert_eq!((resolved.len(), desk.book.open_count()), (5_000, 0));
}

#[test]
fn a_full_book_closes_the_oldest_of_the_lowest_severity_but_first_what_nobody_saw() {
    let mut desk = Desk::new();
    for unit in 0..=BUDGET_PER_HOST {
        desk.fire(draft("web-1", &unit.to_string(), Severity::Warning), 0);
    }
    for unit in desk.book.open_count()..OPEN_MAX {
        desk.fire(draft("web-2", &unit.to_string(), Severity::High), 1);
    }
    assert_eq!(desk.book.open_count(), OPEN_MAX);
    let silent_first = desk.fire(draft("web-2", "one more", Severity::Critical), 2);
    assert_eq!(statuses(&silent_first), [(AlertStatus::Firing, Severity::Critical)]);
    let then_the_least = desk.fire(draft("web-2", "two more", Severity::Critical), 2);
    assert_eq!(statuses(&then_the_least), [(AlertStatus::Resolved, Severity::Warning), (AlertStatus::Firing, Severity::Critical)]);
    assert!(then_the_least[0].annotations["closed"].contains("10000"));
    assert_eq!(desk.book.open_count(), OPEN_MAX);
    desk.restore();
}

#[test]
fn open_alerts_are_bounded_in_bytes_under_hostile_text() {
    let mut desk = Desk::new();
    let hostile = "\"\u{1b}[2J\n\0<!channel>\u{202e}\u{fffd}".repeat(4_000);
    for unit in 0..1_000 {
        let annotations = (0..16).map(|n| (format!("a{n}"), hostile.clone())).collect();
        let labels = [("host", format!("{unit}{hostile}")), ("unit", hostile.clone())].map(|(key, value)| (key.to_string(), value)).into();
        let (message, description) = (hostile.clone(), hostile.clone());
        let alerts = desk.fire(AlertDraft { labels, annotations, message, description, ..draft("", "", Severity::High) }, unit);
        let alert = alerts.last().expect("fires");
        assert!(alert.message.len() <= alert::MESSAGE_BYTES_MAX && !alert.message.contains(char::is_control), "{}", alert.message);
        assert!(alert.labels.values().all(|value| value.len() <= alert::LABEL_BYTES_MAX && !value.contains(char::is_control)));
        assert!(
            alert.annotations.values().all(|value| value.len() <= alert::TEXT_BYTES_MAX && !value.contains(['\u{1b}', '\0', '\u{202e}']))
        );
        assert_eq!(alert.fingerprint, alert::fingerprint(&alert.name, &alert.labels), "the fingerprint is that of the labels as published");
        assert!(desk.book.is_open(&alert.fingerprint));
    }
    let bytes: usize = sections(&desk.book).iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(
        desk.book.open_count() < 1_000 && bytes as u64 <= AlertBook::STATE_BYTES_BOUND,
        "{} open, {bytes} bytes",
        desk.book.open_count()
    );
    desk.restore();
}

#[test]
fn budgets_are_bounded_under_endless_hosts() {
    let mut desk = Desk::new();
    for host in 0..2 * BUDGET_HOSTS_MAX as u32 {
        desk.fire(draft(&host.to_string(), "any", Severity::Info), i64::from(host));
    }
    assert_eq!(desk.book.budgets.len(), BUDGET_HOSTS_MAX);
    desk.restore();
}

#[test]
fn what_breaks_the_contract_leaves_the_book_as_it_was() {
    let mut desk = Desk::new();
    desk.fire(draft("web-1", "sshd", Severity::Warning), 0);
    let before = sections(&desk.book);
    let bad = [
        AlertDraft { name: "lower", ..draft("web-1", "sshd", Severity::Warning) },
        AlertDraft { score: f64::NAN, ..draft("web-1", "sshd", Severity::Warning) },
        AlertDraft { annotations: (0..31).map(|n| (n.to_string(), String::new())).collect(), ..draft("web-1", "x", Severity::Warning) },
    ];
    for draft in bad {
        let reject = desk.book.fire(draft, T0, &mut desk.out).expect_err("breaks the contract");
        assert_eq!(reject.reason, RejectReason::InvalidField);
        assert_eq!(sections(&desk.book), before);
    }
}

proptest! {
    /// Times below a millisecond, scores of any bits: what comes back from a snapshot goes on as if it had never left.
    #[test]
    fn a_restored_book_goes_on_as_the_other(
        calls in proptest::collection::vec((0..30u32, any::<i64>(), -1e300..1e300f64, 0..4u8), 1..60),
        split in any::<proptest::sample::Index>(),
    ) {
        let split = split.index(calls.len());
        let (mut straight, mut restored) = (Desk::new(), Desk::new());
        for (index, (unit, time, score, kind)) in calls.into_iter().enumerate() {
            if index == split {
                restored.restore();
            }
            // Times of a stream: near T0, but for a few from anywhere.
            let time = if kind == 3 { EventTime(time) } else { EventTime(T0.0 + time % 2_000_000_000_000) };
            let severity = if unit % 7 == 0 { Severity::High } else { Severity::Warning };
            let draft = AlertDraft { score, resolve_after_ms: Some(900_000), ..draft("web-1", &unit.to_string(), severity) };
            let outputs = [&mut straight, &mut restored].map(|desk| match kind {
                0 => desk.step(|book, out| book.on_watermark(time, out)),
                _ => desk.step(|book, out| book.fire(draft.clone(), time, out)),
            });
            prop_assert_eq!(&outputs[0], &outputs[1]);
        }
        prop_assert_eq!(sections(&straight.book), sections(&restored.book));
        prop_assert_eq!(straight.book.open_bytes, restored.book.open_bytes);
    }
}
