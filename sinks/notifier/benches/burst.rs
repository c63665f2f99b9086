//! What a burst costs: 10,000 alerts of 100 hosts on the bus at once, told by the real notifier to a webhook that groups; and
//! how long one alert takes from the bus to the request, where nothing is grouped.
//!
//! `cargo bench -p nephoscope-notifier --bench burst`
#![allow(clippy::disallowed_methods, reason = "a bench, in real time")]

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use notifier::{
    Config, Courier, Notifier, Tell,
    config::{RouteConfig, WebhookConfig},
};
use schemas::{Alert, EventTime, Severity, alert::fingerprint, topics};
use stream_core::HeaderBuffer;
use stream_runtime::{
    bus::Bus,
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::Engine,
    publish::PublishBatch,
    settings::EngineSettings,
};

#[path = "../tests/real/recorder.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod recorder;

use recorder::Recorder;

const ALERTS: usize = 10_000;
const HOSTS: usize = 100;
/// Alerts one by one, and the time between them.
const SINGLE: usize = 300;
const BETWEEN: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    burst();
    single();
}

/// The n-th alert: 100 hosts, two kinds, one in ten of severity high.
fn alert(n: usize) -> Alert {
    let name = if n.is_multiple_of(2) { "TemplateBurst" } else { "NewTemplate" };
    let labels =
        [("host", format!("host-{}", n / 2 % HOSTS)), ("template", n.to_string())].map(|(key, value)| (key.to_string(), value)).into();
    let now = EventTime::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64);
    Alert {
        fingerprint: fingerprint(name, &labels),
        id: format!("{n:032}"),
        name: name.into(),
        severity: if n.is_multiple_of(10) { Severity::High } else { Severity::Warning },
        started_at: now,
        last_received: now,
        environment: "default".into(),
        service: "kernel".into(),
        source: vec!["drain".into()],
        message: format!("a template of the kernel came {n} times in a minute, 3 are usual"),
        description: "Its rate left its own past far behind, two minutes running. Look at its examples next.".into(),
        labels,
        annotations: [("line".to_string(), format!("nvme0: I/O {n} QID 5 timeout, completion polled"))].into(),
        score: 7.5,
        threshold: 5.0,
        ..Alert::default()
    }
}

fn publish(bus: &EmbeddedBus, alerts: &[Alert]) {
    let mut publisher = bus.publisher("source").expect("a publisher");
    for part in alerts.chunks(500) {
        let mut batch = PublishBatch::default();
        for alert in part {
            let value = serde_json::to_vec(alert).expect("JSON");
            let headers = HeaderBuffer::default();
            batch.push(&topics::ALERTS.into(), Some(alert.fingerprint.as_bytes()), Some(&value), headers.as_headers()).expect("is small");
        }
        publisher.publish(&batch, b"").expect("is taken");
    }
}

fn bus(folder: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(&folder.join("data"), EmbeddedConfig::default()).expect("opens");
    Engine::ensure_topics(&bus).expect("are made");
    bus
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One line of `/proc/<pid>/status`, in KiB.
fn memory_kib(child: &Child, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

fn burst() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::willing();
    let alerts: Vec<Alert> = (0..ALERTS).map(alert).collect();
    let high: BTreeSet<&str> =
        alerts.iter().filter(|alert| alert.severity == Severity::High).map(|alert| alert.fingerprint.as_str()).collect();
    let open = bus(folder.path());
    publish(&open, &alerts);
    drop(open);
    let config = format!("[listen]\nadmin = \"127.0.0.1:0\"\n[notifier.webhook.hook]\nurl = \"{}\"\n", recorder.url("/"));
    let file = folder.path().join("n.toml");
    std::fs::write(&file, config).expect("writes");
    let begun = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_nephoscope-notifier"))
        .arg("--config")
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    let told = |recorder: &Recorder| -> BTreeSet<String> {
        let requests = recorder.requests();
        let alerts = requests.iter().flat_map(|request| request.body["alerts"].as_array().into_iter().flatten());
        alerts.filter_map(|alert| alert["fingerprint"].as_str()).map(String::from).collect()
    };
    until("all are told", || told(&recorder).len() == ALERTS);
    let took = begun.elapsed();
    let (peak, threads) = (memory_kib(&child, "VmHWM:"), memory_kib(&child, "Threads:"));
    child.kill().expect("is killed");
    child.wait().expect("is gone");
    let told = told(&recorder);
    let missing = high.iter().filter(|fingerprint| !told.contains(**fingerprint)).count();
    println!("{ALERTS} alerts of {HOSTS} hosts: {} messages, {missing} of {} high lost", recorder.requests().len(), high.len());
    println!(
        "  all told after {:.1} s (10 s of them waiting for company), peak {:.1} MiB, {threads} threads",
        took.as_secs_f64(),
        peak as f64 / 1024.0
    );
}

fn single() {
    let folder = tempfile::tempdir().expect("a folder");
    let recorder = Recorder::willing();
    let bus = bus(folder.path());
    let hook = WebhookConfig { url: recorder.url("/"), ..WebhookConfig::default() };
    let (to, tell, wait, interval) = (vec!["hook".into()], Some(Tell::Alerts), Some(0), Some(0));
    let route = RouteConfig { to, tell, group_wait_ms: wait, group_interval_ms: interval, ..RouteConfig::default() };
    let config = Config { webhook: [("hook".into(), hook)].into(), routes: vec![route], ..Config::default() };
    let mut engine = Engine::new(Arc::new(bus.clone()), EngineSettings::default());
    engine.spawn_sink::<Notifier<Courier>>(&config).expect("starts");
    let mut sent = Vec::with_capacity(SINGLE);
    for n in 0..SINGLE {
        let mut alert = alert(n);
        alert.labels.insert("host".into(), format!("single-{n}"));
        publish(&bus, &[alert]);
        sent.push(Instant::now());
        std::thread::sleep(BETWEEN);
    }
    until("all are told", || recorder.requests().len() >= SINGLE);
    let at = |request: &recorder::Request| {
        let template = request.body["alerts"][0]["labels"]["template"].as_str()?;
        Some((template.parse::<usize>().ok()?, request.at))
    };
    let requests = recorder.requests();
    let mut took: Vec<Duration> =
        requests.iter().filter_map(at).filter_map(|(n, at)| Some(at.saturating_duration_since(*sent.get(n)?))).collect();
    took.sort();
    let at = |share: f64| took.get(((took.len() - 1) as f64 * share) as usize).map_or(0.0, |took| took.as_secs_f64() * 1_000.0);
    println!(
        "{SINGLE} alerts one by one, on the bus → request read: p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms",
        at(0.5),
        at(0.99),
        at(1.0)
    );
    engine.stop();
}
