//! A destination that answers everything but well, for as long as it likes: the others do not notice, and it misses nothing.

use std::{collections::BTreeMap, time::Instant};

use notifier::{
    Config, Tell,
    config::{RouteConfig, WebhookConfig},
};
use schemas::{Alert, Severity};

use super::{
    alert, bus, ended, notifying, publish,
    recorder::{Answer, Recorder, Request},
    until,
};

/// Alerts that come and go.
const ALERTS: usize = 40;

/// Webhooks that are told each alert as it comes.
fn told_at_once(recorders: &[(&str, &Recorder)]) -> Config {
    let webhook =
        |(name, recorder): &(&str, &Recorder)| (name.to_string(), WebhookConfig { url: recorder.url("/"), ..WebhookConfig::default() });
    let to = recorders.iter().map(|(name, _)| name.to_string()).collect();
    let (group_wait_ms, group_interval_ms) = (Some(0), Some(0));
    let route = RouteConfig { to, tell: Some(Tell::Alerts), group_wait_ms, group_interval_ms, ..RouteConfig::default() };
    Config { webhook: recorders.iter().map(webhook).collect(), routes: vec![route], ..Config::default() }
}

/// What it was told of each alert, in order.
fn told(requests: &[Request]) -> BTreeMap<String, Vec<String>> {
    let mut told = BTreeMap::<String, Vec<String>>::new();
    for alert in requests.iter().flat_map(|request| request.body["alerts"].as_array().expect("alerts")) {
        let text = |name: &str| alert[name].as_str().expect(name).to_string();
        let words = told.entry(text("fingerprint")).or_default();
        // Others of the group that still fire are in a message too, and say nothing new.
        if words.last() != Some(&text("status")) {
            words.push(text("status"));
        }
    }
    told
}

fn alerts() -> Vec<Alert> {
    (0..ALERTS).map(|n| alert("Stall", &[("host", &format!("h-{}", n % 8)), ("device", &n.to_string())], Severity::Warning)).collect()
}

/// Every alert fired and ended there, in this order.
fn has_all(recorder: &Recorder) -> Option<()> {
    let told = told(&recorder.taken());
    (told.len() == ALERTS && told.values().all(|words| words == &["firing", "resolved"])).then_some(())
}

#[test]
fn whatever_it_answers_the_others_are_told_and_it_catches_up_in_order() {
    use Answer::{Busy, Half, Hang, Reset, Status, Trickle};
    let folder = tempfile::tempdir().expect("a folder");
    let well = Recorder::willing();
    let faults = [Hang, Half, Trickle, Busy(1), Status(500), Reset];
    let ill = Recorder::start(move |n, _| faults.get(n).copied().unwrap_or(Status(200)));
    let bus = bus(folder.path());
    let config = told_at_once(&[("ill", &ill), ("well", &well)]);
    let engine = notifying(&bus, &config);

    let alerts = alerts();
    publish(&bus, &alerts);
    until("the first hang", || ill.requests().first().cloned());
    publish(&bus, &alerts.iter().map(ended).collect::<Vec<_>>());
    until("the other has all", || has_all(&well));
    assert!(ill.taken().is_empty(), "it was told while the ill one hung: {:?}", ill.requests().len());
    until("it catches up", || has_all(&ill));
    let requests = ill.requests();
    for (asked, next) in requests.iter().zip(requests.iter().skip(1)) {
        if let Busy(seconds) = asked.answer {
            let pause = next.at - asked.at;
            assert!(pause.as_secs_f64() > seconds as f64 * 0.99, "it is left alone as long as it asks: {pause:?}");
        }
    }
    let standing = config.board.read().remove("ill").expect("has said how it stands");
    assert_eq!((standing.refused, standing.waiting, standing.trouble), (0, 0, None));
    engine.stop();
}

#[test]
fn one_that_hangs_holds_up_no_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let hangs = Recorder::start(|_, _| Answer::Hang);
    let bus = bus(folder.path());
    let engine = notifying(&bus, &told_at_once(&[("hangs", &hangs)]));
    publish(&bus, &alerts());
    until("it hangs", || hangs.requests().first().cloned());
    let begun = Instant::now();
    engine.stop();
    // A process gives up after 15 s; see `stream_runtime::process`.
    assert!(begun.elapsed().as_secs() < 15, "{:?}", begun.elapsed());
}
