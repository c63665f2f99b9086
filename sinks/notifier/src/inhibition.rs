//! Open incidents, and what of their alerts need not be told. Where incidents are told, an incident on the desk speaks for its
//! alerts. Where alerts are told, the ranked cause of an incident stands for its warnings and infos: nothing holds back what is
//! high or critical, and nothing is held back for a cause of which nobody is told.
//!
//! An incident speaks only for what it knows: an alert that began after its last record is not part of what it said.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{Alert, EventTime, Incident, Severity};
use serde::{Deserialize, Serialize};
use stream_core::{Record, Reject, RejectReason};

use crate::{config::Tell, story, word::Word};

/// Open incidents at most; beyond, those that changed longest ago go, and their alerts are told themselves.
const INCIDENTS_MAX: usize = 200;
/// Alerts of one incident that are known by name.
const ALERTS_MAX: usize = 1_000;

/// What of an open incident decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OpenIncident {
    revision: u64,
    last_update: EventTime,
    /// What it has been about from the first.
    labels: BTreeMap<String, String>,
    /// Fingerprints of its alerts, as far as its records named them.
    alerts: BTreeSet<String>,
    /// Those of its first cause.
    causes: BTreeSet<String>,
    /// One of its alerts is high or critical.
    is_grave: bool,
    /// It has more alerts than are known by name: those of its machines are its own too.
    has_more: bool,
    machines: BTreeSet<String>,
    /// Names, severities and things of its alerts, each once, for silences.
    kinds: BTreeSet<(String, Severity, BTreeMap<String, String>)>,
    /// Its last record as an alert, until somebody has looked at it.
    news: Option<Word>,
    /// Its title when it was last looked at.
    title: String,
    /// Whether it is on the desk of this destination.
    #[serde(skip)]
    is_told: bool,
}

/// What is new about an incident.
#[derive(Debug)]
pub struct News {
    /// As it goes to the desk.
    pub word: Word,
    /// As an alert.
    pub alert: Alert,
    /// It reaches further than when it was last told, or has another cause.
    pub has_grown: bool,
}

/// The incidents that are open.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Incidents(BTreeMap<String, OpenIncident>);

impl Incidents {
    /// Takes note of a record of the topic.
    ///
    /// # Errors
    /// If it is no incident; nothing has then changed.
    pub fn apply(&mut self, record: &Record<'_>) -> Result<(), Reject> {
        let Some(value) = record.value else { return Ok(()) };
        let invalid = |error: &dyn ToString| Reject::new(RejectReason::InvalidField, error.to_string());
        let mut incident: Incident =
            serde_json::from_slice(value).map_err(|error| Reject::new(RejectReason::Undecodable, error.to_string()))?;
        incident.sanitize();
        if incident.id.is_empty() || incident.id.len() > 128 {
            return Err(Reject::new(RejectReason::InvalidField, "id: expected 1 to 128 bytes"));
        }
        let known = self.0.get(&incident.id);
        if known.is_some_and(|known| known.revision >= incident.revision) {
            return Ok(());
        }
        let labels = known.map_or_else(|| story::labels(&incident), |known| known.labels.clone());
        let alert = story::alert(&incident, labels).map_err(|error| invalid(&error))?;
        let word = Word::of_incident(record, &alert).map_err(|error| invalid(&error))?;
        let (id, known) = (incident.id.clone(), self.0.remove(&incident.id));
        self.0.insert(id, OpenIncident::of(incident, alert, word, known));
        while self.0.len() > INCIDENTS_MAX {
            let oldest = self.0.iter().min_by_key(|(id, incident)| (incident.last_update, *id)).map(|(id, _)| id.clone());
            oldest.into_iter().for_each(|id| drop(self.0.remove(&id)));
        }
        Ok(())
    }

    /// What is new, once. An incident that is over is forgotten with it.
    pub fn take_news(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        self.0.retain(|_, incident| {
            let Some(word) = incident.news.take() else { return true };
            let is_open = word.is_firing();
            if let Some(alert) = word.alert() {
                let has_grown = incident.title != alert.message;
                incident.title.clone_from(&alert.message);
                news.push(News { word, alert, has_grown });
            }
            is_open
        });
        news
    }

    /// Looks which of them are on the desk.
    pub fn look(&mut self, is_told: impl Fn(&str) -> bool) {
        self.0.iter_mut().for_each(|(id, incident)| incident.is_told = is_told(id));
    }

    /// The incident for which an alert that began at `begun` need not be told.
    pub fn over(&self, alert: &Alert, begun: EventTime, tell: Tell) -> Option<&str> {
        let speaks = |(_, incident): &(&String, &OpenIncident)| match tell {
            Tell::Incidents => incident.is_told && incident.has(alert, begun),
            Tell::Alerts => incident.explains(alert) && incident.has(alert, begun),
        };
        self.0.iter().find(speaks).map(|(id, _)| id.as_str())
    }

    /// What an incident is made of, as alerts with what silences look at; empty if it is not known.
    pub fn kinds(&self, id: &str) -> Vec<Alert> {
        let kinds = self.0.get(id).into_iter().flat_map(|incident| &incident.kinds);
        let alert = |(name, severity, labels): &(String, Severity, BTreeMap<String, String>)| {
            let (name, labels) = (name.clone(), labels.clone());
            let service = labels.get("service").cloned().unwrap_or_default();
            Alert { name, severity: *severity, service, labels, ..Alert::default() }
        };
        kinds.map(alert).collect()
    }
}

impl OpenIncident {
    fn of(incident: Incident, alert: Alert, word: Word, known: Option<Self>) -> Self {
        let named = incident.alerts.iter().map(|alert| &alert.fingerprint);
        let told = incident.timeline.iter().filter_map(|line| line.fingerprint.as_ref());
        let (before, title) = known.map_or_else(Default::default, |known| (known.alerts, known.title));
        let mut alerts = before;
        for fingerprint in named.chain(told) {
            if alerts.len() < ALERTS_MAX && fingerprint.len() <= 128 {
                alerts.insert(fingerprint.clone());
            }
        }
        let kind = |alert: &schemas::IncidentAlert| (alert.name.clone(), alert.severity, story::labels_of(&alert.nodes).collect());
        Self {
            revision: incident.revision,
            last_update: incident.last_update,
            labels: alert.labels,
            causes: alerts.iter().filter(|fingerprint| incident.is_of_first_cause(fingerprint)).cloned().collect(),
            is_grave: incident.alerts.iter().any(|alert| alert.severity >= Severity::High),
            has_more: incident.alerts_total > alerts.len() as u64,
            kinds: incident.alerts.iter().map(kind).collect(),
            machines: incident.hosts.into_iter().chain(incident.vms).collect(),
            alerts,
            news: Some(word),
            title,
            is_told: false,
        }
    }

    fn has(&self, alert: &Alert, begun: EventTime) -> bool {
        // Records carry whole milliseconds.
        let is_known = begun.millis() <= self.last_update.millis();
        let is_of_machine = || ["host", "vm"].iter().any(|name| alert.labels.get(*name).is_some_and(|name| self.machines.contains(name)));
        is_known && (self.alerts.contains(&alert.fingerprint) || self.has_more && is_of_machine())
    }

    fn explains(&self, alert: &Alert) -> bool {
        let somebody_is_told = self.is_grave || !self.causes.is_empty();
        alert.severity < Severity::High && somebody_is_told && !self.causes.contains(&alert.fingerprint)
    }
}

#[cfg(test)]
mod tests;
