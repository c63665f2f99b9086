//! Stories: what an operator sees, and what their word does.

mod desk;

use desk::{Desk, T0, line, short};
use matrix_profile::Config;
use schemas::{ChangeKind, Feedback, FeedbackKind, TemplateChange, TemplateId, VerdictKind, VerdictScope};
use serde_json::Value;

const WORK: [&str; 4] = ["job <*> started", "job <*> finished in <*> ms", "session opened for user <*>", "cache is warm"];
const FAULT: &str = "Buffer I/O error on dev <*>, logical block <*>, async page read";

/// A host that has worked for `lines` seconds from `from` on.
fn work(desk: &mut Desk, host: &str, from: i64, lines: i64) -> Vec<Value> {
    (from..from + lines).flat_map(|n| desk.line(&line(host, n * 1_000, WORK[n as usize % 4]))).collect()
}

/// The fault, and the lines after which it has left the reorder buffer.
fn fault(desk: &mut Desk, host: &str, second: i64) -> Vec<Value> {
    let mut alerts = desk.line(&line(host, second * 1_000, FAULT));
    alerts.extend(work(desk, host, second + 1, 3));
    alerts
}

/// A desk at which the table has a word on everything: these stories are not about what the local model thinks.
fn known() -> Desk {
    let mut desk = Desk::new(Config::default());
    WORK.iter().for_each(|text| desk.verdict(text, VerdictKind::Normal, VerdictScope::Model));
    desk.verdict(FAULT, VerdictKind::Faulty, VerdictScope::Model);
    desk
}

/// A host that is known to work well.
fn ready() -> Desk {
    let mut desk = known();
    assert!(work(&mut desk, "hv-1", 0, 200).is_empty());
    desk
}

#[test]
fn a_failure_is_foreseen_with_its_reason_and_ends_when_it_does_not_go_on() {
    let mut desk = ready();
    let alerts = fault(&mut desk, "hv-1", 200);
    assert!(alerts.len() == 1 && alerts[0]["name"] == "FailurePredicted", "{alerts:#?}");
    let alert = &alerts[0];
    assert_eq!(alert["labels"]["host"], "hv-1");
    assert_eq!(alert["labels"]["app"], "shop");
    assert!(alert["score"].as_f64() >= alert["threshold"].as_f64());
    assert_eq!(alert["evidence"][0]["topic"], "logs.raw.v1");
    assert_eq!(alert["evidence"][0]["offset"], 200_000);
    assert!(alert["annotations"]["templates"].as_str().expect("text").contains(FAULT));
    assert!(alert["annotations"]["nearest"].as_str().expect("text").contains("job <*>"));
    assert_eq!(alert["annotations"]["provider"], "table");
    let later = work(&mut desk, "hv-1", 204, 1_000);
    assert_eq!(short(&later).iter().map(|alert| alert.split(' ').nth(1).expect("status").to_string()).collect::<Vec<_>>(), ["resolved"]);
}

#[test]
fn it_is_told_in_silence_too() {
    let mut desk = ready();
    assert!(desk.line(&line("hv-1", 200_000, FAULT)).is_empty(), "it waits for those that happened before it");
    assert_eq!(desk.silence(30_000).len(), 1);
}

#[test]
fn an_operators_normal_ends_it_and_an_operators_faulty_tells_of_what_the_model_does_not_know() {
    let mut desk = ready();
    assert_eq!(fault(&mut desk, "hv-1", 200).len(), 1);
    desk.verdict(FAULT, VerdictKind::Normal, VerdictScope::Operator);
    let ended = work(&mut desk, "hv-1", 204, 8);
    assert!(ended.len() == 1 && ended[0]["status"] == "resolved", "{ended:#?}");
    assert_eq!(ended[0]["annotations"]["retracted"], "every template that decided is called normal now");
    assert!(fault(&mut desk, "hv-1", 220).is_empty());

    desk.verdict("cache is warm", VerdictKind::Faulty, VerdictScope::Operator);
    let told = work(&mut desk, "hv-1", 224, 24);
    assert!(told.is_empty(), "a familiar line is told when it repeats: {:?}", short(&told));
    let told: Vec<Value> = (248..254).flat_map(|n| desk.line(&line("hv-1", n * 1_000, "cache is warm"))).collect();
    assert!(told.first().is_some_and(|alert| alert["annotations"]["provider"] == "operator"), "{told:#?}");
}

#[test]
fn feedback_changes_the_next_verdict_and_undo_changes_it_back() {
    let mut desk = ready();
    let twice = |desk: &mut Desk, second: i64| {
        let mut alerts = desk.line(&line("hv-1", second * 1_000, FAULT));
        alerts.extend(fault(desk, "hv-1", second + 1));
        alerts
    };
    let alerts = twice(&mut desk, 200);
    let fingerprint = alerts[0]["fingerprint"].as_str().expect("text").to_string();
    let word = Feedback { id: "f-1".into(), kind: FeedbackKind::FalseAlarm, subject: fingerprint, at: T0, ..Feedback::default() };
    desk.feedback(&word);
    desk.restore();
    let ended = work(&mut desk, "hv-1", 205, 7);
    assert!(ended.len() == 1 && ended[0]["annotations"]["retracted"] == "a person called it a false alarm", "{ended:#?}");
    // Second 212 begins the same round of work as second 200.
    assert!(twice(&mut desk, 212).is_empty(), "the same windows are normal now");
    assert!(work(&mut desk, "hv-1", 217, 7).is_empty());
    desk.feedback(&Feedback {
        id: "f-2".into(),
        kind: FeedbackKind::Undo,
        subject: "f-1".into(),
        undo_of: Some("f-1".into()),
        at: T0,
        ..Feedback::default()
    });
    assert_eq!(twice(&mut desk, 224).len(), 1, "and it is told again");
}

#[test]
fn a_missed_failure_unlearns_what_was_taken_for_normal() {
    let slow = "scrub of pool <*> takes longer than usual";
    let mut desk = ready();
    desk.verdict(slow, VerdictKind::Normal, VerdictScope::Model);
    assert!(desk.line(&line("hv-1", 200_000, slow)).is_empty());
    assert!(work(&mut desk, "hv-1", 201, 11).is_empty());
    let missed =
        Feedback { id: "m".into(), kind: FeedbackKind::Missed, subject: "hv-1".into(), at: T0.plus_millis(200_000), ..Feedback::default() };
    desk.feedback(&missed);
    desk.verdict(slow, VerdictKind::Faulty, VerdictScope::Operator);
    let mut alerts = desk.line(&line("hv-1", 212_000, slow));
    alerts.extend(work(&mut desk, "hv-1", 213, 3));
    assert_eq!(alerts.len(), 1, "it is new again, so one line is enough");
}

#[test]
fn history_is_learned_and_not_told_unless_it_is_severe() {
    let now = T0.plus_millis(7_200_000);
    let story = |severity: i32| {
        let mut desk = known();
        let mut tell = |text: &str, second: i64, severity: i32| {
            let mut log = line("hv-1", second * 1_000, text);
            log.severity = Some(severity);
            desk.append(&log, now)
        };
        let mut alerts: Vec<Value> = (0..200).flat_map(|n| tell(WORK[n as usize % 4], n, 6)).collect();
        alerts.extend(tell(FAULT, 200, severity));
        alerts.extend((201..205).flat_map(|n| tell(WORK[n as usize % 4], n, 6)));
        alerts
    };
    assert!(story(3).is_empty());
    let severe = story(2);
    assert!(severe.len() == 1 && severe[0]["annotations"]["backfill"] == "true", "{severe:#?}");
}

#[test]
fn a_template_that_became_another_is_no_novelty() {
    let mut desk = ready();
    let general = "job <*> started by <*>";
    let mut log = line("hv-1", 200_000, general);
    log.change = Some(TemplateChange { kind: ChangeKind::Generalised, from: vec![TemplateId::of(WORK[0]).to_string()] });
    desk.line(&log);
    desk.restore();
    desk.verdict(general, VerdictKind::Faulty, VerdictScope::Model);
    let alerts: Vec<Value> = (201..204).flat_map(|n| desk.line(&line("hv-1", n * 1_000, WORK[n as usize % 4]))).collect();
    assert!(alerts.is_empty(), "a familiar line counts half, whatever it is called now: {:?}", short(&alerts));
}

/// Everything but ids and offsets of outputs, which name the record that set them free.
fn content(alerts: &[Value]) -> Vec<Value> {
    let mut alerts = alerts.to_vec();
    alerts.iter_mut().for_each(|alert| drop(alert.as_object_mut().expect("an object").remove("id")));
    alerts
}

#[test]
fn another_hosts_lines_change_nothing() {
    let story = |with_other: bool| {
        let mut desk = known();
        let mut alerts = Vec::new();
        for n in 0..260i64 {
            let text = if n % 50 == 49 { FAULT } else { WORK[n as usize % 4] };
            alerts.extend(desk.line(&line("hv-1", n * 1_000, text)));
            if with_other {
                alerts.extend(desk.line(&line(
                    "hv-2",
                    n * 1_000 + 300 - n % 7 * 900,
                    ["Out of memory: Killed process <*>", "pool is warm"][n as usize % 2],
                )));
            }
        }
        alerts.retain(|alert| alert["labels"]["host"] == "hv-1");
        content(&alerts)
    };
    let alone = story(false);
    assert!(!alone.is_empty());
    assert_eq!(alone, story(true));
}

#[test]
fn the_order_of_arrival_within_the_wait_changes_nothing() {
    let story = |swap: bool| {
        let mut desk = ready();
        let mut logs: Vec<_> =
            (200..240i64).map(|n| line("hv-1", n * 1_000, if n % 9 == 0 { FAULT } else { WORK[n as usize % 4] })).collect();
        if swap {
            logs.chunks_mut(2).for_each(|pair| pair.reverse());
        }
        let mut alerts: Vec<Value> = logs.iter().flat_map(|log| desk.append(log, T0.plus_millis(240_000))).collect();
        alerts.extend(desk.silence(60_000));
        content(&alerts)
    };
    let straight = story(false);
    assert!(!straight.is_empty());
    assert_eq!(straight, story(true));
}
