//! The incidents as the page knows them: what goes on, and what ended within a day.

use std::collections::{BTreeMap, VecDeque};

use schemas::{Cause, EventTime, Incident, IncidentStatus, Severity};
use serde::Serialize;

use super::view::evict;
use crate::redact::Redactor;

/// Open incidents kept; beyond, those that changed longest ago go. One may have 100 alerts and 200 lines: 100 KiB.
const OPEN_MAX: usize = 200;
/// Ended incidents kept.
pub const ENDED_MAX: usize = 100;
/// Ended incidents are shown for so long.
const ENDED_MS: i64 = 24 * 3_600_000;

/// All incidents, by their last word.
#[derive(Debug)]
pub struct Incidents {
    redactor: Redactor,
    open: BTreeMap<String, Incident>,
    /// Newest first.
    ended: VecDeque<Incident>,
}

/// An incident as it is listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IncidentSummary {
    /// Its id.
    pub id: String,
    /// Counts its words.
    pub revision: u64,
    /// Whether it goes on.
    pub status: IncidentStatus,
    /// The greatest severity of its alerts.
    pub severity: Severity,
    /// One line, secrets masked.
    pub title: String,
    /// What probably caused it.
    pub cause: Option<Cause>,
    /// Where it is.
    pub hosts: Vec<String>,
    /// Alerts so far.
    pub alerts_total: u64,
    /// Began, milliseconds.
    pub started_at_ms: i64,
    /// Last changed, milliseconds.
    pub last_update_ms: i64,
    /// Ended, milliseconds.
    pub ends_at_ms: Option<i64>,
}

/// Which incidents are wanted.
#[derive(Debug, Clone, Default)]
pub struct IncidentQuery {
    /// Only these.
    pub status: Option<IncidentStatus>,
    /// At least this bad.
    pub severity: Option<Severity>,
    /// How many.
    pub limit: usize,
}

impl Incidents {
    /// None yet.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, open: BTreeMap::new(), ended: VecDeque::new() }
    }

    /// Takes note of a word about an incident. What goes on in another one is told there.
    pub fn on_incident(&mut self, mut incident: Incident) {
        self.redactor.incident(&mut incident);
        self.ended.retain(|ended| ended.id != incident.id);
        if incident.status == IncidentStatus::Open {
            if !self.open.contains_key(&incident.id) {
                evict(&mut self.open, OPEN_MAX, |incident| incident.last_update);
            }
            self.open.insert(incident.id.clone(), incident);
            return;
        }
        self.open.remove(&incident.id);
        if incident.merged_into.is_none() {
            self.ended.push_front(incident);
            self.ended.truncate(ENDED_MAX);
        }
    }

    /// The incidents that are wanted: open ones first, worst first, then newest; then those that ended within a day of `now`.
    pub fn list(&self, query: &IncidentQuery, now: EventTime) -> Vec<&Incident> {
        let mut open: Vec<&Incident> = self.open.values().collect();
        open.sort_by(|a, b| (b.severity, b.started_at, &a.id).cmp(&(a.severity, a.started_at, &b.id)));
        let is_recent = |incident: &&Incident| now.millis_since(incident.ends_at.unwrap_or(incident.last_update)) <= ENDED_MS;
        let wanted = |incident: &&Incident| {
            query.status.is_none_or(|status| incident.status == status)
                && query.severity.is_none_or(|severity| incident.severity >= severity)
        };
        open.into_iter().chain(self.ended.iter().filter(is_recent)).filter(wanted).take(query.limit).collect()
    }

    /// The incident of that id.
    pub fn find(&self, id: &str) -> Option<&Incident> {
        self.open.get(id).or_else(|| self.ended.iter().find(|incident| incident.id == id))
    }
}

/// An incident as it is listed.
pub fn summary(incident: &Incident) -> IncidentSummary {
    IncidentSummary {
        id: incident.id.clone(),
        revision: incident.revision,
        status: incident.status,
        severity: incident.severity,
        title: incident.title.clone(),
        cause: incident.causes.first().cloned(),
        hosts: incident.hosts.clone(),
        alerts_total: incident.alerts_total,
        started_at_ms: incident.started_at.millis(),
        last_update_ms: incident.last_update.millis(),
        ends_at_ms: incident.ends_at.map(EventTime::millis),
    }
}
