//! When a group of alerts is due: after a short wait for company, then at most once in an interval, unless it gets worse.

use std::collections::{BTreeMap, BTreeSet};

use schemas::{EventTime, Severity};
use serde::{Deserialize, Serialize};

use crate::route::Grouping;

/// A group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What its alerts have in common.
    pub labels: BTreeMap<String, String>,
    /// When it is to be told.
    pub due: Option<EventTime>,
    told_at: Option<EventTime>,
    /// The worst of what was told and still fires.
    severity: Option<Severity>,
    interval_ms: i64,
    /// Fingerprints with words that have not been told.
    #[serde(skip)]
    pub pending: BTreeSet<String>,
    /// Fingerprints that were told as firing.
    #[serde(skip)]
    pub firing: BTreeSet<String>,
}

impl Group {
    /// A group of which nothing has been told.
    pub fn new(labels: BTreeMap<String, String>) -> Self {
        let (pending, firing) = (BTreeSet::new(), BTreeSet::new());
        Self { labels, due: None, told_at: None, severity: None, interval_ms: 0, pending, firing }
    }

    /// Something of this severity is to be told; `is_firing` unless it is an end.
    pub fn schedule(&mut self, severity: Severity, is_firing: bool, grouping: &Grouping, now: EventTime) {
        self.interval_ms = grouping.interval_ms;
        let after_wait = now.plus_millis(grouping.wait_ms_of(severity));
        let is_worse = is_firing && self.severity.is_none_or(|told| severity > told);
        let at = match self.told_at.map(|told_at| told_at.plus_millis(grouping.interval_ms)) {
            Some(regular) if regular > now && !is_worse => regular,
            Some(regular) if regular > now => regular.min(after_wait),
            _ => after_wait,
        };
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    /// It has been told; `severity` is the worst of what fires.
    pub fn told(&mut self, severity: Option<Severity>, now: EventTime) {
        self.told_at = Some(now);
        self.severity = severity;
        // What did not fit follows at once.
        self.due = (!self.pending.is_empty()).then_some(now);
    }

    /// Whether nothing of it will matter any more.
    pub fn is_over(&self, now: EventTime) -> bool {
        let is_quiet = self.told_at.is_none_or(|told_at| told_at.plus_millis(self.interval_ms) <= now);
        self.pending.is_empty() && self.firing.is_empty() && is_quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grouping() -> Grouping {
        Grouping { wait_ms: 10_000, interval_ms: 300_000, ..Grouping::at_once() }
    }

    fn at(seconds: i64) -> EventTime {
        EventTime::from_millis(seconds * 1_000)
    }

    fn scheduled(group: &mut Group, severity: Severity, seconds: i64) -> Option<EventTime> {
        group.pending.insert("f".into());
        group.schedule(severity, true, &grouping(), at(seconds));
        group.due
    }

    fn told(group: &mut Group, severity: Severity, seconds: i64) {
        group.pending.clear();
        group.firing.insert("f".into());
        group.told(Some(severity), at(seconds));
    }

    #[test]
    fn the_first_waits_for_company_and_company_does_not_make_it_wait_longer() {
        let mut group = Group::new(BTreeMap::new());
        assert_eq!(scheduled(&mut group, Severity::Warning, 0), Some(at(10)));
        assert_eq!(scheduled(&mut group, Severity::High, 7), Some(at(10)));
        assert_eq!(scheduled(&mut group, Severity::Critical, 8), Some(at(8)));
    }

    #[test]
    fn the_next_waits_for_the_interval_unless_it_is_worse() {
        let mut group = Group::new(BTreeMap::new());
        told(&mut group, Severity::Warning, 0);
        assert_eq!(scheduled(&mut group, Severity::Warning, 100), Some(at(300)));
        assert_eq!(scheduled(&mut group, Severity::High, 110), Some(at(120)));
        told(&mut group, Severity::High, 120);
        assert_eq!(scheduled(&mut group, Severity::High, 130), Some(at(420)));
        assert_eq!(scheduled(&mut group, Severity::Critical, 140), Some(at(140)));
        told(&mut group, Severity::Critical, 140);
        assert_eq!(scheduled(&mut group, Severity::Critical, 439), Some(at(440)));
    }

    #[test]
    fn an_end_is_never_worse() {
        let mut group = Group::new(BTreeMap::new());
        told(&mut group, Severity::Warning, 0);
        group.schedule(Severity::Critical, false, &grouping(), at(1));
        assert_eq!(group.due, Some(at(300)));
    }

    #[test]
    fn after_the_interval_it_waits_for_company_again() {
        let mut group = Group::new(BTreeMap::new());
        told(&mut group, Severity::Warning, 0);
        assert_eq!(scheduled(&mut group, Severity::Warning, 1_000), Some(at(1_010)));
    }

    #[test]
    fn it_is_over_when_nothing_fires_and_the_interval_has_passed() {
        let mut group = Group::new(BTreeMap::new());
        scheduled(&mut group, Severity::Warning, 0);
        told(&mut group, Severity::Warning, 0);
        assert!(!group.is_over(at(1_000)));
        group.firing.clear();
        group.told(None, at(1_000));
        assert!(!group.is_over(at(1_299)) && group.is_over(at(1_300)));
    }
}
