//! The bounded view itself: what templates, hosts and alerts came, and how many lines a minute.

use std::collections::BTreeMap;

use schemas::{Alert, EventTime, Incident, ParsedLog, TemplateRecord};
use serde::Serialize;

use super::{alerts::Alerts, incidents::Incidents, minutes::Minutes, templates::Templates};
use crate::redact::Redactor;

/// Hosts kept; beyond, those that were seen longest ago go.
const HOSTS_MAX: usize = 1_024;

/// What the page knows.
#[derive(Debug)]
pub struct View {
    lines: u64,
    minutes: Minutes,
    hosts: BTreeMap<String, Host>,
    /// Templates.
    pub templates: Templates,
    /// Alerts.
    pub alerts: Alerts,
    /// Incidents.
    pub incidents: Incidents,
}

#[derive(Debug, Default)]
struct Host {
    lines: u64,
    last: EventTime,
    minutes: Minutes,
}

/// A host as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSummary {
    /// Name.
    pub host: String,
    /// Lines seen by the page.
    pub lines: u64,
    /// Lines of the last hour.
    pub last_hour: u64,
    /// Last line, milliseconds.
    pub last_seen_ms: i64,
    /// Lines per minute of the last hour, oldest first.
    pub minutes: Vec<u32>,
}

impl View {
    /// Knows nothing yet; texts are masked as they come in.
    pub fn new(redactor: &Redactor) -> Self {
        Self {
            lines: 0,
            minutes: Minutes::default(),
            hosts: BTreeMap::new(),
            templates: Templates::new(redactor.clone()),
            alerts: Alerts::new(redactor.clone()),
            incidents: Incidents::new(redactor.clone()),
        }
    }

    /// Takes note of a line that the bus stored at `appended_at`. A clock that is ahead does not count: it would empty the
    /// hour of everybody else.
    pub fn on_line(&mut self, line: &ParsedLog, appended_at: EventTime) {
        let time = EventTime::from_micros(line.event_time).min(appended_at);
        self.lines += 1;
        self.minutes.count(time.millis());
        self.templates.on_line(line, time);
        if !self.hosts.contains_key(&line.host) {
            evict(&mut self.hosts, HOSTS_MAX, |host| host.last);
        }
        let host = self.hosts.entry(line.host.clone()).or_default();
        host.lines += 1;
        host.last = host.last.max(time);
        host.minutes.count(time.millis());
    }

    /// Takes note of the last word on a template.
    pub fn on_template(&mut self, record: &TemplateRecord) {
        self.templates.on_record(record);
    }

    /// Takes note of an alert.
    pub fn on_alert(&mut self, alert: Alert) {
        self.alerts.on_alert(alert);
    }

    /// Takes note of a word about an incident.
    pub fn on_incident(&mut self, incident: Incident) {
        self.incidents.on_incident(incident);
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Lines per minute of the last hour, oldest first.
    pub fn minutes(&self, now: EventTime) -> Vec<u32> {
        self.minutes.until(now.millis())
    }

    /// Hosts, most lines in the last hour first.
    pub fn hosts(&self, now: EventTime) -> Vec<HostSummary> {
        let summary = |(name, host): (&String, &Host)| {
            let minutes = host.minutes.until(now.millis());
            let last_hour = minutes.iter().map(|count| u64::from(*count)).sum();
            HostSummary { host: name.clone(), lines: host.lines, last_hour, last_seen_ms: host.last.millis(), minutes }
        };
        let mut all: Vec<_> = self.hosts.iter().map(summary).collect();
        all.sort_by(|a, b| (b.last_hour, b.lines, &a.host).cmp(&(a.last_hour, a.lines, &b.host)));
        all
    }
}

/// Makes room for one more. When a map is full, the eighth that is oldest by `time` goes at once: to look for the oldest at
/// every new entry would let whoever sends ever new names stop the view.
pub fn evict<V>(map: &mut BTreeMap<String, V>, entries_max: usize, time: impl Fn(&V) -> EventTime) {
    if map.len() < entries_max {
        return;
    }
    let mut times: Vec<EventTime> = map.values().map(&time).collect();
    let (_, oldest, _) = times.select_nth_unstable(entries_max / 8);
    let (oldest, mut left) = (*oldest, entries_max / 8 + 1);
    map.retain(|_, value| {
        let goes = left > 0 && time(value) <= oldest;
        left -= usize::from(goes);
        !goes
    });
}
