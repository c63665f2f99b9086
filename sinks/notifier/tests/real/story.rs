//! One outage, two hundred alerts, one page: through the real incident processor, over real sockets.

use incident::IncidentProcessor;
use notifier::{
    Config, Secret,
    config::{PagerdutyConfig, WebhookConfig},
};
use schemas::{Alert, Severity};

use super::{alert, bus, ended, notifying, publish, recorder::Recorder, until};

const HOSTS: usize = 40;
const ALERTS_PER_HOST: usize = 5;

/// A database stalls, and everybody who needs it says so.
fn outage() -> Vec<Alert> {
    let cause = alert("SevereLog", &[("host", "db-7"), ("service", "kernel")], Severity::Critical);
    let symptom = |n: usize| {
        let (host, service) = (format!("web-{}", n / ALERTS_PER_HOST), format!("app-{}", n % ALERTS_PER_HOST));
        let severity = if n.is_multiple_of(3) { Severity::Critical } else { Severity::Warning };
        let mut alert = alert("TemplateBurst", &[("host", &host), ("service", &service)], severity);
        alert.annotations.insert("line".into(), "cannot connect to db-7:5432: timed out".into());
        alert
    };
    let mut all = vec![Alert { message: "db-7: I/O error on sda".into(), ..cause }];
    all.extend((0..HOSTS * ALERTS_PER_HOST - 1).map(symptom));
    all
}

#[test]
fn two_hundred_alerts_of_one_outage_are_one_page() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::willing();
    let key = folder.path().join("key");
    std::fs::write(&key, "k").expect("writes");
    let routing_key = Secret::new(format!("file:{}", key.display()));
    let pager = PagerdutyConfig { url: recorder.url("/pager"), routing_key, ..PagerdutyConfig::default() };
    let chat = WebhookConfig { url: recorder.url("/chat"), ..WebhookConfig::default() };
    let config = Config { pagerduty: [("pager".into(), pager)].into(), webhook: [("chat".into(), chat)].into(), ..Config::default() };
    let bus = bus(folder.path());
    let mut engine = notifying(&bus, &config);
    // Over as soon as its alerts are: nobody waits five minutes here.
    let processor = incident::Config { resolve_after_ms: 1_000, ..incident::Config::default() };
    engine.spawn::<IncidentProcessor>(processor).expect("starts");
    let of =
        |path: &str| recorder.taken().into_iter().filter(|request| request.path == path).map(|request| request.body).collect::<Vec<_>>();

    let alerts = outage();
    publish(&bus, &alerts);
    let page = until("the page", || of("/pager").into_iter().next());
    assert_eq!(page["event_action"], "trigger");
    assert_eq!(page["payload"]["class"], "Incident");
    let message = until("the message", || of("/chat").into_iter().next());
    assert_eq!(message["alerts"][0]["labels"]["alertname"], "Incident");
    // All of them have then waited for their incident, and were let go for it.
    let folded = |name: &str| config.board.read().get(name).map_or(0, |standing| standing.folded);
    until("the alerts are told with it", || (folded("pager") >= 200 && folded("chat") >= 200).then_some(()));
    assert_eq!((of("/pager").len(), of("/chat").len()), (1, 1));

    publish(&bus, &alerts.iter().map(ended).collect::<Vec<_>>());
    let end = until("the end", || of("/pager").get(1).cloned());
    assert_eq!(end["event_action"], "resolve");
    assert_eq!(end["dedup_key"], page["dedup_key"]);
    assert_eq!(of("/pager").len(), 2);
    engine.stop();
}

#[test]
fn an_alert_that_no_incident_speaks_for_is_told_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::willing();
    let chat = WebhookConfig { url: recorder.url("/chat"), ..WebhookConfig::default() };
    let config = Config { webhook: [("chat".into(), chat)].into(), incident_wait_ms: 100, ..Config::default() };
    let bus = bus(folder.path());
    let engine = notifying(&bus, &config);
    publish(&bus, &[alert("SevereLog", &[("host", "db-7")], Severity::Critical)]);
    let message = until("it is told", || recorder.taken().pop()).body;
    assert_eq!(message["alerts"][0]["labels"]["alertname"], "SevereLog");
    engine.stop();
}
