//! The bounded view itself: counts per template and minute, per host, and the alerts.

use std::collections::{BTreeMap, VecDeque};

use schemas::{Alert, AlertStatus, EventTime, ParsedLog, Severity};
use serde::Serialize;

/// Templates kept; beyond, the one that was seen longest ago goes.
const TEMPLATES_MAX: usize = 4_096;
/// Templates on the first screen.
pub const TEMPLATES_SHOWN: usize = 200;
/// Hosts kept, in the same way.
const HOSTS_MAX: usize = 1_024;
/// Open alerts kept.
const OPEN_MAX: usize = 1_000;
/// Resolved alerts kept.
const RESOLVED_MAX: usize = 100;
/// Minutes of a sparkline.
pub const MINUTES: usize = 60;
const MINUTE_MS: i64 = 60_000;
/// A template first seen so lately is new.
const NEW_MS: i64 = 3_600_000;

/// What the page knows.
#[derive(Debug, Default)]
pub struct View {
    lines: u64,
    newest: EventTime,
    templates: BTreeMap<String, Template>,
    hosts: BTreeMap<String, HostSummary>,
    open: BTreeMap<String, Alert>,
    resolved: VecDeque<Alert>,
}

#[derive(Debug, Default)]
struct Template {
    text: String,
    count: u64,
    first: EventTime,
    last: EventTime,
    severity: Option<i32>,
    /// Lines per minute, and the minute of the newest slot.
    minutes: VecDeque<u32>,
    minute: i64,
}

/// A template as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSummary {
    /// Template id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Lines seen by the page.
    pub count: u64,
    /// Lines of the last hour.
    pub last_hour: u64,
    /// Worst syslog severity seen.
    pub severity: Option<i32>,
    /// First seen, milliseconds.
    pub first_seen_ms: i64,
    /// Last seen, milliseconds.
    pub last_seen_ms: i64,
    /// First seen within the last hour.
    pub is_new: bool,
    /// Lines per minute, oldest first.
    pub minutes: Vec<u32>,
}

/// A host as it is shown.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HostSummary {
    /// Name.
    pub host: String,
    /// Lines seen by the page.
    pub lines: u64,
    /// Last line, milliseconds.
    pub last_seen_ms: i64,
}

/// An alert as it is listed.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertSummary {
    /// Fingerprint.
    pub fingerprint: String,
    /// Kind.
    pub name: String,
    /// Severity.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// Began, milliseconds.
    pub started_at_ms: i64,
    /// Ended, milliseconds.
    pub ends_at_ms: Option<i64>,
    /// How often it was seen, if it says so.
    pub count: Option<String>,
}

impl View {
    /// Takes note of a line.
    pub fn on_line(&mut self, line: &ParsedLog) {
        let time = EventTime::from_micros(line.event_time);
        self.lines += 1;
        self.newest = self.newest.max(time);
        if !self.templates.contains_key(&line.template_id) {
            evict(&mut self.templates, TEMPLATES_MAX, |template| template.last);
            let template = Template { text: line.template.clone(), first: time, ..Template::default() };
            self.templates.insert(line.template_id.clone(), template);
        }
        if let Some(template) = self.templates.get_mut(&line.template_id) {
            template.count(time, line.severity);
        }
        if !self.hosts.contains_key(&line.host) {
            evict(&mut self.hosts, HOSTS_MAX, |host| EventTime::from_millis(host.last_seen_ms));
            self.hosts.insert(line.host.clone(), HostSummary { host: line.host.clone(), ..HostSummary::default() });
        }
        if let Some(host) = self.hosts.get_mut(&line.host) {
            host.lines += 1;
            host.last_seen_ms = host.last_seen_ms.max(time.millis());
        }
    }

    /// Takes note of an alert.
    pub fn on_alert(&mut self, alert: Alert) {
        if alert.status == AlertStatus::Firing {
            if !self.open.contains_key(&alert.fingerprint) {
                evict(&mut self.open, OPEN_MAX, |alert| alert.last_received);
            }
            self.open.insert(alert.fingerprint.clone(), alert);
            return;
        }
        self.open.remove(&alert.fingerprint);
        self.resolved.push_front(alert);
        self.resolved.truncate(RESOLVED_MAX);
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Templates known.
    pub fn templates_known(&self) -> usize {
        self.templates.len()
    }

    /// The templates with most lines in the last hour, then in all.
    pub fn templates(&self, now: EventTime, limit: usize) -> Vec<TemplateSummary> {
        let mut all: Vec<_> = self.templates.iter().map(|(id, template)| template.summary(id, now)).collect();
        all.sort_by(|a, b| (b.last_hour, b.count, &a.id).cmp(&(a.last_hour, a.count, &b.id)));
        all.truncate(limit);
        all
    }

    /// Alerts that fire, worst first, then newest.
    pub fn open_alerts(&self) -> Vec<AlertSummary> {
        let mut all: Vec<_> = self.open.values().map(summary).collect();
        all.sort_by(|a, b| (b.severity, b.started_at_ms, &a.fingerprint).cmp(&(a.severity, a.started_at_ms, &b.fingerprint)));
        all
    }

    /// Alerts that resolved, newest first.
    pub fn resolved_alerts(&self) -> Vec<AlertSummary> {
        self.resolved.iter().map(summary).collect()
    }

    /// Hosts, most lines first.
    pub fn hosts(&self) -> Vec<HostSummary> {
        let mut all: Vec<_> = self.hosts.values().cloned().collect();
        all.sort_by(|a, b| (b.lines, &a.host).cmp(&(a.lines, &b.host)));
        all
    }

    /// An alert by its fingerprint.
    pub fn alert(&self, fingerprint: &str) -> Option<&Alert> {
        self.open.get(fingerprint).or_else(|| self.resolved.iter().find(|alert| alert.fingerprint == fingerprint))
    }
}

impl Template {
    fn count(&mut self, time: EventTime, severity: Option<i32>) {
        self.count += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.severity = [self.severity, severity].into_iter().flatten().min();
        let minute = time.millis().div_euclid(MINUTE_MS);
        if self.minutes.is_empty() || minute - self.minute >= MINUTES as i64 {
            self.minutes.clear();
            self.minute = minute;
            self.minutes.push_back(0);
        }
        while self.minute < minute {
            self.minutes.push_back(0);
            self.minute += 1;
            if self.minutes.len() > MINUTES {
                self.minutes.pop_front();
            }
        }
        let back = usize::try_from(self.minute - minute).unwrap_or(usize::MAX);
        while self.minutes.len() <= back && self.minutes.len() < MINUTES {
            self.minutes.push_front(0);
        }
        if let Some(slot) = self.minutes.len().checked_sub(1 + back.min(MINUTES)).and_then(|index| self.minutes.get_mut(index)) {
            *slot = slot.saturating_add(1);
        }
    }

    /// Lines per minute of the hour that ends now.
    fn last_hour(&self, now: EventTime) -> Vec<u32> {
        let now = now.millis().div_euclid(MINUTE_MS);
        let slot = |minute: i64| {
            let back = usize::try_from(self.minute - minute).ok()?;
            self.minutes.get(self.minutes.len().checked_sub(1 + back)?).copied()
        };
        (0..MINUTES as i64).rev().map(|back| slot(now - back).unwrap_or(0)).collect()
    }

    fn summary(&self, id: &str, now: EventTime) -> TemplateSummary {
        let minutes = self.last_hour(now);
        TemplateSummary {
            id: id.into(),
            text: schemas::alert::one_line(&self.text, 512),
            count: self.count,
            last_hour: minutes.iter().map(|count| u64::from(*count)).sum(),
            severity: self.severity,
            first_seen_ms: self.first.millis(),
            last_seen_ms: self.last.millis(),
            is_new: now.millis_since(self.first) < NEW_MS,
            minutes,
        }
    }
}

fn summary(alert: &Alert) -> AlertSummary {
    AlertSummary {
        fingerprint: alert.fingerprint.clone(),
        name: alert.name.clone(),
        severity: alert.severity,
        message: alert.message.clone(),
        started_at_ms: alert.started_at.millis(),
        ends_at_ms: alert.ends_at.map(EventTime::millis),
        count: alert.annotations.get("count").cloned(),
    }
}

/// Makes room for one more: the entry that is oldest by `time` goes.
fn evict<V>(map: &mut BTreeMap<String, V>, entries_max: usize, time: impl Fn(&V) -> EventTime) {
    if map.len() >= entries_max
        && let Some(oldest) = map.iter().min_by_key(|(_, value)| time(value)).map(|(key, _)| key.clone())
    {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(template: &str, minute: i64) -> ParsedLog {
        let event_time = EventTime::from_millis(minute * MINUTE_MS + 1).micros();
        ParsedLog { host: "h".into(), template_id: template.into(), template: template.into(), event_time, ..ParsedLog::default() }
    }

    #[test]
    fn minutes_count_like_a_plain_list() {
        let (mut view, mut seen) = (View::default(), Vec::new());
        for n in 0..2_000i64 {
            let minute = 1_000 + n / 20 - (n * 7 % 5);
            view.on_line(&line("a", minute));
            seen.push(minute);
        }
        let now = *seen.iter().max().expect("some");
        let expected: Vec<u32> = (0..60).rev().map(|back| seen.iter().filter(|minute| **minute == now - back).count() as u32).collect();
        let shown = view.templates(EventTime::from_millis(now * MINUTE_MS + 30_000), 1);
        assert_eq!((shown[0].minutes.clone(), shown[0].count), (expected, 2_000));
    }

    #[test]
    fn the_view_is_bounded_whatever_comes() {
        let mut view = View::default();
        for n in 0..10_000 {
            view.on_line(&ParsedLog { host: format!("h{n}"), ..line(&format!("t{n}"), n) });
            view.on_alert(Alert { fingerprint: n.to_string(), ..Alert::default() });
        }
        assert_eq!((view.templates_known(), view.hosts().len(), view.open_alerts().len()), (TEMPLATES_MAX, HOSTS_MAX, OPEN_MAX));
    }

    #[test]
    fn a_resolved_alert_is_open_no_more() {
        let mut view = View::default();
        let firing = Alert { fingerprint: "f".into(), ..Alert::default() };
        view.on_alert(firing.clone());
        assert_eq!(view.open_alerts().len(), 1);
        view.on_alert(Alert { status: AlertStatus::Resolved, ..firing });
        assert_eq!((view.open_alerts().len(), view.resolved_alerts().len()), (0, 1));
        assert!(view.alert("f").is_some());
    }
}
