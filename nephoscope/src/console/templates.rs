//! The templates as the page knows them: how often, since when, where, and their newest lines.

use std::collections::{BTreeMap, VecDeque};

use schemas::{ChangeKind, EventTime, ParsedLog, TemplateRecord};
use serde::Serialize;

use super::{minutes::Minutes, view::evict};
use crate::redact::Redactor;

/// Templates kept; beyond, those that were seen longest ago go.
pub const TEMPLATES_MAX: usize = 4_096;
/// Bytes of a template's text that are kept.
const TEXT_BYTES_MAX: usize = 512;
/// Hosts remembered for each template.
const HOSTS_MAX: usize = 16;
/// Lines remembered for each template, by their place on the bus.
const RECENT_MAX: usize = 20;
/// A template first seen so lately is new …
const NEW_MS: i64 = 3_600_000;
/// … unless everything is: what comes in the first minutes of the oldest line known is what was there before.
const LEARNING_MS: i64 = 600_000;

/// What stands for lines that match no template, because nothing is learnt now or they are excluded.
const NO_TEMPLATE: &str = "0000000000000000";

/// All templates.
#[derive(Debug)]
pub struct Templates {
    redactor: Redactor,
    templates: BTreeMap<String, Template>,
    /// The oldest time that this view knows of.
    oldest: Option<EventTime>,
}

#[derive(Debug, Clone)]
struct Template {
    text: String,
    count: u64,
    /// Lines of the template's whole life, as its record said.
    told: u64,
    first: EventTime,
    last: EventTime,
    severity: Option<i32>,
    hosts: BTreeMap<String, u64>,
    minutes: Minutes,
    recent: VecDeque<Place>,
}

/// Where a line stands in `logs.raw.v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Partition.
    pub partition: u32,
    /// Offset.
    pub offset: u64,
}

/// A template as it is shown.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateSummary {
    /// Template id.
    pub id: String,
    /// Its text, secrets masked.
    pub text: String,
    /// Lines in all.
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
    /// Lines per minute of the last hour, oldest first.
    pub minutes: Vec<u32>,
}

/// In which order templates are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Most lines in the last hour first, then most in all.
    #[default]
    Rate,
    /// Most lines in all first.
    Count,
    /// Those first seen last come first.
    Newest,
    /// Worst severity first.
    Severity,
}

/// Which templates are wanted.
#[derive(Debug, Clone, Default)]
pub struct TemplateQuery {
    /// Seen on this host.
    pub host: Option<String>,
    /// Seen since.
    pub since: Option<EventTime>,
    /// Whose text contains this, whatever the case.
    pub contains: Option<String>,
    /// Order.
    pub order: Order,
    /// How many.
    pub limit: usize,
}

impl Templates {
    /// None yet.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, templates: BTreeMap::new(), oldest: None }
    }

    /// Takes note of a line.
    pub fn on_line(&mut self, line: &ParsedLog, time: EventTime) {
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        if let Some(change) = line.change.as_ref().filter(|change| matches!(change.kind, ChangeKind::Generalised | ChangeKind::Merged)) {
            self.fold(&change.from, &line.template_id, &line.template, time);
        }
        let place = match (u32::try_from(line.raw_partition), u64::try_from(line.raw_offset)) {
            (Ok(partition), Ok(offset)) => Some(Place { partition, offset }),
            _ => None,
        };
        self.entry(&line.template_id, &line.template, time).count(time, line.severity, &line.host, place);
    }

    /// Takes note of the last word on a template: it knows what was before the lines that this view has read.
    pub fn on_record(&mut self, record: &TemplateRecord) {
        let (first, last) = (EventTime::from_micros(record.first_seen), EventTime::from_micros(record.last_seen));
        self.oldest = Some(self.oldest.map_or(first, |oldest| oldest.min(first)));
        match &record.superseded_by {
            Some(successor) if self.templates.contains_key(successor) => {
                self.fold(std::slice::from_ref(&record.template_id), successor, "", first);
            }
            Some(_) => {
                self.templates.remove(&record.template_id);
            }
            None if record.change.kind == ChangeKind::Evicted => {}
            None => {
                let template = self.entry(&record.template_id, &record.template, first);
                template.told = template.told.max(u64::try_from(record.count).unwrap_or(0));
                template.first = template.first.min(first);
                template.last = template.last.max(last);
            }
        }
    }

    /// What was counted for superseded templates belongs to the one that took their place.
    fn fold(&mut self, from: &[String], into: &str, text: &str, time: EventTime) {
        for old in from.iter().filter(|old| *old != into) {
            if let Some(old) = self.templates.remove(old) {
                self.entry(into, text, time).absorb(old);
            }
        }
    }

    fn entry(&mut self, id: &str, text: &str, time: EventTime) -> &mut Template {
        if !self.templates.contains_key(id) {
            evict(&mut self.templates, TEMPLATES_MAX, |template| template.last);
        }
        let text = match (id, text) {
            (NO_TEMPLATE, _) => "(lines of no kind: nothing is learnt from them)",
            (_, "") => "(empty lines)",
            (_, text) => text,
        };
        let redactor = &self.redactor;
        self.templates.entry(id.to_string()).or_insert_with(|| Template::new(&redactor.text(text), time))
    }

    /// Templates known.
    pub fn len(&self) -> usize {
        self.templates.len()
    }

    /// How many were first seen within the last hour.
    pub fn count_new(&self, now: EventTime) -> usize {
        self.templates.iter().filter(|(id, template)| template.is_new(id, now, self.oldest)).count()
    }

    /// The templates that are wanted.
    pub fn list(&self, query: &TemplateQuery, now: EventTime) -> Vec<TemplateSummary> {
        let contains = query.contains.as_ref().map(|text| text.to_lowercase());
        let wanted = |template: &Template| {
            query.host.as_ref().is_none_or(|host| template.hosts.contains_key(host))
                && query.since.is_none_or(|since| template.last >= since)
                && contains.as_ref().is_none_or(|text| template.text.to_lowercase().contains(text))
        };
        let mut found: Vec<_> = self
            .templates
            .iter()
            .filter(|(_, template)| wanted(template))
            .map(|(id, template)| (template.rank(query.order, now), id, template))
            .collect();
        found.sort_by(|a, b| (b.0, a.1).cmp(&(a.0, b.1)));
        found.truncate(query.limit);
        found.into_iter().map(|(_, id, template)| template.summary(id, now, self.oldest)).collect()
    }

    /// The places of a template's newest lines, newest first.
    pub fn recent(&self, id: &str) -> Option<Vec<Place>> {
        self.templates.get(id).map(|template| template.recent.iter().rev().copied().collect())
    }

    /// One template.
    pub fn one(&self, id: &str, now: EventTime) -> Option<TemplateSummary> {
        self.templates.get(id).map(|template| template.summary(id, now, self.oldest))
    }
}

impl Template {
    fn new(text: &str, time: EventTime) -> Self {
        Self {
            text: schemas::alert::one_line(text, TEXT_BYTES_MAX),
            count: 0,
            told: 0,
            first: time,
            last: time,
            severity: None,
            hosts: BTreeMap::new(),
            minutes: Minutes::default(),
            recent: VecDeque::new(),
        }
    }

    fn count(&mut self, time: EventTime, severity: Option<i32>, host: &str, place: Option<Place>) {
        self.count += 1;
        self.first = self.first.min(time);
        self.last = self.last.max(time);
        self.severity = [self.severity, severity].into_iter().flatten().min();
        self.minutes.count(time.millis());
        self.seen_on(host, 1);
        self.recent.extend(place);
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    fn seen_on(&mut self, host: &str, count: u64) {
        if let Some(lines) = self.hosts.get_mut(host) {
            *lines += count;
        } else if self.hosts.len() < HOSTS_MAX {
            self.hosts.insert(host.into(), count);
        }
    }

    fn absorb(&mut self, old: Self) {
        self.count += old.count;
        self.told = self.told.max(old.told);
        self.first = self.first.min(old.first);
        self.last = self.last.max(old.last);
        self.severity = [self.severity, old.severity].into_iter().flatten().min();
        self.minutes.merge(&old.minutes);
        old.hosts.into_iter().for_each(|(host, count)| self.seen_on(&host, count));
        let newer = std::mem::replace(&mut self.recent, old.recent);
        self.recent.extend(newer);
        while self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    fn total(&self) -> u64 {
        self.count.max(self.told)
    }

    fn is_new(&self, id: &str, now: EventTime, oldest: Option<EventTime>) -> bool {
        let is_learnt = oldest.is_some_and(|oldest| self.first.millis_since(oldest) >= LEARNING_MS);
        is_learnt && id != NO_TEMPLATE && now.millis_since(self.first) < NEW_MS
    }

    /// What comes first in an order has the greatest rank.
    fn rank(&self, order: Order, now: EventTime) -> (i64, u64) {
        let last_hour = || i64::try_from(sum(&self.minutes.until(now.millis()))).unwrap_or(i64::MAX);
        match order {
            Order::Rate => (last_hour(), self.total()),
            Order::Count => (0, self.total()),
            Order::Newest => (self.first.millis(), self.total()),
            Order::Severity => (-i64::from(self.severity.unwrap_or(8)), self.total()),
        }
    }

    fn summary(&self, id: &str, now: EventTime, oldest: Option<EventTime>) -> TemplateSummary {
        let minutes = self.minutes.until(now.millis());
        TemplateSummary {
            id: id.into(),
            text: self.text.clone(),
            count: self.total(),
            last_hour: sum(&minutes),
            severity: self.severity,
            first_seen_ms: self.first.millis(),
            last_seen_ms: self.last.millis(),
            is_new: self.is_new(id, now, oldest),
            minutes,
        }
    }
}

fn sum(minutes: &[u32]) -> u64 {
    minutes.iter().map(|count| u64::from(*count)).sum()
}
