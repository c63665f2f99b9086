//! Alerts for the tests of this crate.

use schemas::{Alert, EventTime, Severity, alert};

use crate::{config::Config, sighting::Sighting};

/// When they happen, unless told otherwise.
pub const NOW: EventTime = EventTime::from_millis(1_700_000_000_000);

/// An alert about a program on a host that said this.
fn alert(host: &str, service: &str, line: &str) -> Alert {
    let labels = [("host", host), ("line", line)].map(|(key, value)| (key.to_string(), value.to_string())).into();
    let fingerprint = alert::fingerprint("SevereLog", &labels);
    Alert {
        id: fingerprint.clone(),
        fingerprint,
        name: "SevereLog".into(),
        severity: Severity::High,
        started_at: NOW,
        last_received: NOW,
        labels,
        service: service.into(),
        message: line.into(),
        ..Alert::default()
    }
}

/// The same, read.
pub fn sighting(host: &str, service: &str, line: &str) -> Sighting {
    read(&alert(host, service, line))
}

/// Reads an alert as it is stored when it is seen.
fn read(alert: &Alert) -> Sighting {
    Sighting::read(alert, alert.last_received, &Config::default()).expect("a good alert")
}
