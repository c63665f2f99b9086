//! The alerts as the page knows them: which are open, which ended lately, and what the last hour looked like.

use std::collections::{BTreeMap, VecDeque};

use schemas::{Alert, AlertStatus, EventTime, Severity};
use serde::Serialize;

use super::{minutes::MINUTES, view::evict};
use crate::redact::Redactor;

/// Open alerts kept; beyond, those not heard of for longest go.
const OPEN_MAX: usize = 1_000;
/// Ended alerts kept.
pub const ENDED_MAX: usize = 200;
/// Annotations kept of each, and bytes of one: an alert may carry a hundred kilobytes, the page shows a few lines.
const ANNOTATIONS_MAX: usize = 16;
const ANNOTATION_BYTES_MAX: usize = 512;
const MINUTE_MS: i64 = 60_000;
/// A loss is an event, not a state, and nothing resolves it: it is open for as long as an alert that is not repeated.
const LOSS_OPEN_MS: i64 = 15 * MINUTE_MS;
const LOSS: &str = "NephoscopeDataLoss";
const PART_STOPPED: &str = "NephoscopePartStopped";

/// All severities, worst last: the columns of the hour.
pub const SEVERITIES: [Severity; 5] = [Severity::Low, Severity::Info, Severity::Warning, Severity::High, Severity::Critical];

/// All alerts.
#[derive(Debug)]
pub struct Alerts {
    redactor: Redactor,
    open: BTreeMap<String, Alert>,
    /// Newest first.
    ended: VecDeque<Alert>,
}

/// An alert as it is listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertSummary {
    /// Id of its last word.
    pub id: String,
    /// Fingerprint.
    pub fingerprint: String,
    /// Kind.
    pub name: String,
    /// Whether it lasts.
    pub status: AlertStatus,
    /// Severity.
    pub severity: Severity,
    /// One line, secrets masked.
    pub message: String,
    /// Why, and what to look at; secrets masked.
    pub description: String,
    /// Identity.
    pub labels: BTreeMap<String, String>,
    /// Began, milliseconds.
    pub started_at_ms: i64,
    /// Last seen, milliseconds.
    pub last_received_ms: i64,
    /// Ended, milliseconds.
    pub ends_at_ms: Option<i64>,
    /// How often it was seen, if it says so.
    pub count: Option<String>,
}

/// Which alerts are wanted.
#[derive(Debug, Clone, Default)]
pub struct AlertQuery {
    /// Only these.
    pub status: Option<AlertStatus>,
    /// At least this bad.
    pub severity: Option<Severity>,
    /// How many.
    pub limit: usize,
}

impl Alerts {
    /// None yet.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, open: BTreeMap::new(), ended: VecDeque::new() }
    }

    /// Takes note of an alert.
    pub fn on_alert(&mut self, mut alert: Alert) {
        self.redactor.alert(&mut alert);
        trim(&mut alert);
        if alert.status == AlertStatus::Resolved {
            self.open.remove(&alert.fingerprint);
            self.end(alert);
            return;
        }
        if !self.open.contains_key(&alert.fingerprint) {
            evict(&mut self.open, OPEN_MAX, |alert| alert.last_received);
        }
        self.open.insert(alert.fingerprint.clone(), alert);
    }

    /// Closes what nobody resolves: losses after a while, and stopped parts that run again.
    pub fn settle(&mut self, now: EventTime, is_stopped: impl Fn(&str) -> bool) {
        let is_over = |alert: &Alert| match alert.name.as_str() {
            LOSS => now.millis_since(alert.last_received) > LOSS_OPEN_MS,
            PART_STOPPED => !alert.labels.get("part").is_some_and(|part| is_stopped(part)),
            _ => false,
        };
        let over: Vec<String> = self.open.iter().filter(|(_, alert)| is_over(alert)).map(|(key, _)| key.clone()).collect();
        for key in over {
            if let Some(alert) = self.open.remove(&key) {
                let ends_at = Some(alert.last_received);
                self.end(Alert { status: AlertStatus::Resolved, ends_at, ..alert });
            }
        }
    }

    fn end(&mut self, alert: Alert) {
        self.ended.push_front(alert);
        self.ended.truncate(ENDED_MAX);
    }

    /// The alerts that are wanted: open ones first, worst first, then newest; then the ended ones, newest first.
    pub fn list(&self, query: &AlertQuery) -> Vec<AlertSummary> {
        let mut open: Vec<&Alert> = self.open.values().collect();
        open.sort_by(|a, b| (b.severity, b.started_at, &a.fingerprint).cmp(&(a.severity, a.started_at, &b.fingerprint)));
        let wanted = |alert: &&Alert| {
            query.status.is_none_or(|status| alert.status == status) && query.severity.is_none_or(|severity| alert.severity >= severity)
        };
        open.into_iter().chain(&self.ended).filter(wanted).take(query.limit).map(summary).collect()
    }

    /// The newest alert of that id or fingerprint.
    pub fn find(&self, key: &str) -> Option<&Alert> {
        let by_fingerprint = self.open.get(key);
        let mut all = self.open.values().chain(&self.ended);
        by_fingerprint.or_else(|| all.find(|alert| alert.id == key || alert.fingerprint == key))
    }

    /// How many alerts of each severity were open in each minute of the last hour, oldest first.
    pub fn hour(&self, now: EventTime) -> Vec<[u32; SEVERITIES.len()]> {
        let mut minutes = vec![[0; SEVERITIES.len()]; MINUTES];
        let now = now.millis().div_euclid(MINUTE_MS);
        for alert in self.open.values().chain(&self.ended) {
            let minute = |time: EventTime| time.millis().div_euclid(MINUTE_MS);
            let (from, to) = (minute(alert.started_at), alert.ends_at.map_or(now, minute));
            for (minute, counts) in (now - MINUTES as i64 + 1..).zip(&mut minutes) {
                if (from..=to).contains(&minute) {
                    counts[alert.severity as usize] += 1;
                }
            }
        }
        minutes
    }
}

fn trim(alert: &mut Alert) {
    let kept = std::mem::take(&mut alert.annotations).into_iter().take(ANNOTATIONS_MAX);
    alert.annotations = kept.map(|(key, value)| (key, schemas::alert::text(&value, ANNOTATION_BYTES_MAX))).collect();
}

/// An alert as it is listed.
fn summary(alert: &Alert) -> AlertSummary {
    AlertSummary {
        id: alert.id.clone(),
        fingerprint: alert.fingerprint.clone(),
        name: alert.name.clone(),
        status: alert.status,
        severity: alert.severity,
        message: alert.message.clone(),
        description: alert.description.clone(),
        labels: alert.labels.clone(),
        started_at_ms: alert.started_at.millis(),
        last_received_ms: alert.last_received.millis(),
        ends_at_ms: alert.ends_at.map(EventTime::millis),
        count: alert.annotations.get("count").cloned(),
    }
}
