//! The notifier with everything around it real: the engine on the embedded bus, sockets, clocks, other people's servers.
#![allow(clippy::disallowed_methods, reason = "real programs, in real time")]

mod alertmanager;
mod faults;
mod kafka;
mod kill;
mod mail;
mod recorder;
mod snippets;
mod story;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use notifier::{Config, Courier, Notifier};
use schemas::{
    Alert, AlertStatus, EventTime, Severity,
    alert::{fingerprint, hex16},
    cloudevents, topics,
};
use stream_core::HeaderBuffer;
use stream_runtime::{
    bus::Bus,
    embedded::{EmbeddedBus, EmbeddedConfig},
    engine::Engine,
    publish::PublishBatch,
    settings::EngineSettings,
};

const PATIENCE: Duration = Duration::from_secs(90);

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("never: {what}");
}

fn now() -> EventTime {
    EventTime::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64)
}

/// An alert that begins now.
fn alert(name: &str, labels: &[(&str, &str)], severity: Severity) -> Alert {
    let labels = labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let fingerprint = fingerprint(name, &labels);
    Alert {
        id: hex16(format!("{fingerprint} fires").as_bytes()),
        fingerprint,
        name: name.into(),
        severity,
        started_at: now(),
        last_received: now(),
        environment: "default".into(),
        service: "test".into(),
        source: vec!["drain".into()],
        message: format!("{name} happens"),
        labels,
        ..Alert::default()
    }
}

/// Its end, now.
fn ended(alert: &Alert) -> Alert {
    let id = hex16(format!("{} ends", alert.fingerprint).as_bytes());
    Alert { id, status: AlertStatus::Resolved, last_received: now(), ends_at: Some(now()), ..alert.clone() }
}

/// A new bus with all topics.
fn bus(folder: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(&folder.join("data"), EmbeddedConfig::default()).expect("opens");
    Engine::ensure_topics(&bus).expect("are made");
    bus
}

/// An engine with a notifier.
fn notifying(bus: &EmbeddedBus, config: &Config) -> Engine {
    config.check().expect("can be meant");
    let mut engine = Engine::new(Arc::new(bus.clone()), EngineSettings::default());
    engine.spawn_sink::<Notifier<Courier>>(config).expect("starts");
    engine
}

/// Puts alerts on their topic, all at once.
fn publish(bus: &EmbeddedBus, alerts: &[Alert]) {
    bus.publisher("source").expect("a publisher").publish(&batch(alerts), b"").expect("is taken");
}

fn batch(alerts: &[Alert]) -> PublishBatch {
    let mut batch = PublishBatch::default();
    for alert in alerts {
        let mut headers = HeaderBuffer::default();
        cloudevents::alert_headers(alert).iter().for_each(|(name, value)| headers.push(name, Some(value.as_bytes())));
        let value = serde_json::to_vec(alert).expect("JSON");
        batch.push(&topics::ALERTS.into(), Some(alert.fingerprint.as_bytes()), Some(&value), headers.as_headers()).expect("is small");
    }
    batch
}
