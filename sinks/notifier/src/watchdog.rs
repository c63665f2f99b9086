//! The dead man's alert: sent again and again while all is well, so that its silence tells that nobody watches any more.
//! Users of Alertmanager and PagerDuty know it as *Watchdog*.

use std::collections::BTreeMap;

use schemas::{Alert, EventTime, Model, Severity, alert};

use crate::notification::{About, Entry, Notification};

/// Its name.
pub const NAME: &str = "NephoscopeAlive";

/// That we are alive, as of now.
pub fn alive(destination: &str, now: EventTime) -> Notification {
    let message = "Nephoscope watches and can reach you".to_string();
    let description = "Sent again and again while every part is ready and none lags behind. If it stops, nobody watches.".to_string();
    one(About::Watchdog, synthetic(NAME, Severity::Info, destination, message, description, now))
}

/// A trial of a destination, as a person asked for it.
pub fn trial(destination: &str, now: EventTime) -> Notification {
    let message = format!("a trial of the destination {destination}");
    let description = "Somebody asked whether alerts arrive here: they do. Nothing is wrong.".to_string();
    one(About::Trial, synthetic("NephoscopeTrial", Severity::Info, destination, message, description, now))
}

fn one(about: About, alert: Alert) -> Notification {
    let at = alert.last_received;
    Notification { about, at, entries: vec![Entry { alert, offset: 0, is_news: true, before: None }], left_out: 0 }
}

fn synthetic(name: &str, severity: Severity, destination: &str, message: String, description: String, now: EventTime) -> Alert {
    let labels: BTreeMap<String, String> = [("destination".to_string(), destination.to_string())].into();
    let fingerprint = alert::fingerprint(name, &labels);
    Alert {
        id: alert::hex16(format!("nephoscope-notifier-1\0{fingerprint}\0{}", now.0).as_bytes()),
        fingerprint,
        name: name.into(),
        severity,
        started_at: now,
        last_received: now,
        environment: "default".into(),
        service: "nephoscope".into(),
        source: vec!["notifier".into()],
        message,
        description,
        labels,
        model: Model { name: "notifier".into(), version: env!("CARGO_PKG_VERSION").into(), config_hash: String::new() },
        ..Alert::default()
    }
}
