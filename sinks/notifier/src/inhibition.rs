//! Inhibition: once the cause of an incident has been told, what follows from it need not be. Of an open incident that has a
//! ranked cause, warnings, infos and lows about anything else are held back. Nothing holds back what is high or critical.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Alert, Severity};
use serde::{Deserialize, Serialize};

/// Open incidents at most; beyond, the first by id go.
const INCIDENTS_MAX: usize = 1_000;
/// Alerts of one incident that are looked at.
const ALERTS_MAX: usize = 1_000;
/// Labels that name what an alert is about.
const NODES: [&str; 6] = ["host", "vm", "service", "victim", "caller", "peer"];

/// What of an open incident decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenIncident {
    /// Its id.
    pub id: String,
    /// The thing that is the most likely cause.
    pub cause: String,
    /// Fingerprints of its alerts.
    pub alerts: BTreeSet<String>,
}

/// The incidents that are open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incidents(BTreeMap<String, OpenIncident>);

impl Incidents {
    /// Takes note of an incident.
    pub fn open(&mut self, mut incident: OpenIncident) {
        while incident.alerts.len() > ALERTS_MAX {
            incident.alerts.pop_last();
        }
        self.0.insert(incident.id.clone(), incident);
        if self.0.len() > INCIDENTS_MAX {
            self.0.pop_first();
        }
    }

    /// It is over, or has no cause any more.
    pub fn close(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// The incident whose cause makes an alert need no telling.
    pub fn over(&self, alert: &Alert) -> Option<&OpenIncident> {
        if alert.severity >= Severity::High {
            return None;
        }
        let is_about =
            |cause: &str| alert.service == cause || NODES.iter().any(|label| alert.labels.get(*label).is_some_and(|node| node == cause));
        self.0.values().find(|incident| incident.alerts.contains(&alert.fingerprint) && !is_about(&incident.cause))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incidents() -> Incidents {
        let mut incidents = Incidents::default();
        let alerts = ["a", "b", "c"].map(String::from).into();
        incidents.open(OpenIncident { id: "i".into(), cause: "db-7".into(), alerts });
        incidents
    }

    fn alert(fingerprint: &str, severity: Severity, host: &str) -> Alert {
        let labels = [("host".into(), host.into())].into();
        Alert { fingerprint: fingerprint.into(), severity, labels, service: "shop".into(), ..Alert::default() }
    }

    #[test]
    fn a_cause_holds_back_the_warnings_of_its_incident_and_nothing_else() {
        let mut incidents = incidents();
        let is_held = |incidents: &Incidents, alert: &Alert| incidents.over(alert).is_some();
        for severity in [Severity::Low, Severity::Info, Severity::Warning] {
            assert!(is_held(&incidents, &alert("a", severity, "web-1")));
        }
        for severity in [Severity::High, Severity::Critical] {
            assert!(!is_held(&incidents, &alert("a", severity, "web-1")), "nothing holds back {severity}");
        }
        assert!(!is_held(&incidents, &alert("a", Severity::Warning, "db-7")), "the cause itself is told");
        assert!(!is_held(&incidents, &alert("x", Severity::Warning, "web-1")), "others are not concerned");
        incidents.close("i");
        assert!(!is_held(&incidents, &alert("a", Severity::Warning, "web-1")));
    }

    #[test]
    fn there_are_never_more_than_so_many() {
        let mut incidents = Incidents::default();
        for n in 0..=INCIDENTS_MAX {
            incidents.open(OpenIncident { id: format!("{n:05}"), cause: "c".into(), alerts: BTreeSet::new() });
        }
        assert_eq!(incidents.0.len(), INCIDENTS_MAX);
    }
}
