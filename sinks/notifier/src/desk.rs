//! What is to be told, and what was told: a state machine without clock or network.
//!
//! Words about alerts come in, in the order of their topic, and wait until they are [told](Desk::told) or
//! [refused](Desk::refused). Of each alert the order is kept, and an end is told only if its beginning was. Where alerts are
//! grouped, a group tells when it is due; else every word is due at once, in order.

mod snapshot;

use std::collections::{BTreeMap, BTreeSet};

use redact::Redactor;
use schemas::{Alert, EventTime, Severity};
use stream_core::{RefusedLater, Reject};

use crate::{
    case::{Case, Taken},
    group::Group,
    matcher::value_of,
    notification::{About, Entry, Notification, group_key},
    route::Grouping,
    word::Word,
};

/// Alerts that are remembered at most: of a burst of 10,000, all.
pub const CASES_MAX: usize = 20_000;
/// Bytes of all words.
pub const BYTES_MAX: usize = 32 << 20;
/// An alert that has not been heard of for this long is not said to fire any more: processors repeat theirs every 5 minutes.
const STALE_MS: i64 = 15 * 60_000;

/// Where words stand among those of other alerts: when they are due, and their offset.
type Turn = (EventTime, u64);

/// How a destination wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// Alerts in one request.
    pub alerts_max: usize,
    /// Whether alerts are put together by what they have in common.
    pub groups: bool,
    /// Whether words that say the same again are told.
    pub repeats: bool,
    /// Whether a request holds one word of an alert at most. Where a key drops repeats, a beginning that comes again after its
    /// end would be no repeat but another beginning.
    pub one_word: bool,
    /// How often all that fires is said again, for one that forgets.
    pub resend_ms: Option<i64>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { alerts_max: 500, groups: true, repeats: false, one_word: false, resend_ms: None }
    }
}

/// The state machine.
#[derive(Debug, Clone)]
pub struct Desk {
    manner: Manner,
    cases: BTreeMap<String, Case>,
    groups: BTreeMap<String, Group>,
    /// Where there are no groups: first words that wait, by when they are due and by offset.
    queue: BTreeSet<(Turn, String)>,
    /// Up to this offset one alert is told at a time, since a request of several was refused.
    alone_to: Option<u64>,
    bytes: usize,
    forgotten: u64,
}

/// How much there is of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Words that wait.
    pub waiting: u64,
    /// Alerts that were told as firing.
    pub firing: u64,
    /// Told alerts that were forgotten to make room.
    pub forgotten: u64,
}

impl Desk {
    /// An empty desk.
    pub fn new(manner: Manner) -> Self {
        let (cases, groups, queue) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { manner, cases, groups, queue, alone_to: None, bytes: 0, forgotten: 0 }
    }

    /// Whether the end of an alert has to be told: its beginning was, or will be.
    pub fn knows(&self, fingerprint: &str) -> bool {
        self.cases.contains_key(fingerprint)
    }

    /// Whether a word more can be kept; if need be, told alerts of low severity that were not heard of for longest are forgotten.
    pub fn makes_room(&mut self) -> bool {
        if self.cases.len() < CASES_MAX && self.bytes < BYTES_MAX {
            return true;
        }
        let told = |(fingerprint, case): (&String, &Case)| {
            let told = case.told.as_ref().filter(|_| case.words.is_empty())?;
            Some((told.severity, case.heard_at, fingerprint.clone()))
        };
        let mut candidates: Vec<_> = self.cases.iter().filter_map(told).collect();
        candidates.sort();
        // An eighth at once, since looking for them takes as long as there are cases.
        candidates.truncate(CASES_MAX / 8);
        for (_, _, fingerprint) in &candidates {
            self.forget(fingerprint);
            self.forgotten += 1;
        }
        !candidates.is_empty()
    }

    fn forget(&mut self, fingerprint: &str) {
        let Some(case) = self.cases.remove(fingerprint) else { return };
        self.bytes = self.bytes.saturating_sub(case.bytes());
        if let Some(group) = case.group.and_then(|key| self.groups.get_mut(&key)) {
            group.pending.remove(fingerprint);
            group.firing.remove(fingerprint);
        }
    }

    /// An alert is still heard of, if it is known.
    pub fn hear(&mut self, fingerprint: &str, now: EventTime) {
        self.cases.get_mut(fingerprint).into_iter().for_each(|case| case.heard_at = now);
    }

    /// Takes a word.
    pub fn take(&mut self, word: Word, alert: &Alert, grouping: &Grouping, now: EventTime) {
        self.take_as(word, alert, grouping, now, self.manner.repeats);
    }

    /// Takes a word that is news though it is no worse than what was told: a group tells it when its interval is over. Where each
    /// alert goes for itself nothing would hold it back, so there it only takes the place of what is said again.
    pub fn take_growth(&mut self, word: Word, alert: &Alert, grouping: &Grouping, now: EventTime) {
        self.take_as(word, alert, grouping, now, self.manner.groups || self.manner.repeats);
    }

    fn take_as(&mut self, word: Word, alert: &Alert, grouping: &Grouping, now: EventTime, repeats: bool) {
        let fingerprint = &alert.fingerprint;
        let case = self.cases.entry(fingerprint.clone()).or_default();
        let (before, first) = (case.bytes(), case.turn());
        case.heard_at = now;
        if self.manner.groups && case.is_empty() {
            case.group = None;
        }
        let (severity, is_firing) = (word.severity, word.is_firing());
        if case.words.is_empty() {
            // What has been told itself goes on itself.
            let wait_ms = if case.told.is_some() { 0 } else { grouping.wait_ms_min };
            case.due = Some(now.plus_millis(wait_ms));
        }
        let taken = case.take(word, repeats);
        self.bytes = (self.bytes + case.bytes()).saturating_sub(before);
        if taken == Taken::Repeat {
            return;
        }
        if self.manner.groups {
            let labels = || grouping.by.iter().map(|name| (name.clone(), value_of(alert, name).into_owned())).collect::<BTreeMap<_, _>>();
            let key = case.group.get_or_insert_with(|| group_key(&labels())).clone();
            let group = self.groups.entry(key).or_insert_with(|| Group::new(labels()));
            group.pending.insert(fingerprint.clone());
            group.schedule(severity, is_firing, grouping, now);
        } else {
            requeue(&mut self.queue, fingerprint, first, case.turn());
        }
    }

    /// Whether something is due.
    pub fn is_due(&self, now: EventTime) -> bool {
        self.queue.first().is_some_and(|((due, _), _)| *due <= now) || self.due_group(now).is_some()
    }

    /// The group that is told next: the worst, then the one that has waited longest.
    fn due_group(&self, now: EventTime) -> Option<&String> {
        let due = self.groups.iter().filter(|(_, group)| group.due.is_some_and(|due| due <= now) && !group.pending.is_empty());
        due.min_by_key(|(key, group)| (std::cmp::Reverse(self.severity_of(&group.pending)), group.due, *key)).map(|(key, _)| key)
    }

    fn severity_of(&self, fingerprints: &BTreeSet<String>) -> Option<Severity> {
        let words = fingerprints.iter().filter_map(|fingerprint| self.cases.get(fingerprint)).flat_map(|case| &case.words);
        words.map(|word| word.severity).max()
    }

    /// The next message; none if nothing is due. Beginnings that `is_withheld` names are dropped, with their ends.
    pub fn next(
        &mut self,
        now: EventTime,
        redactor: &Redactor,
        mut is_withheld: impl FnMut(&Word, &Alert) -> bool,
    ) -> Option<Notification> {
        loop {
            let group = self.due_group(now).cloned();
            let wanted = match &group {
                Some(key) => self.in_order(&self.groups.get(key)?.pending),
                None => {
                    let due = self.queue.iter().take_while(|((due, _), _)| *due <= now);
                    due.map(|(_, fingerprint)| fingerprint.clone()).take(self.in_one()).collect()
                }
            };
            if wanted.is_empty() {
                return None;
            }
            for fingerprint in &wanted {
                self.drop_withheld(fingerprint, &mut is_withheld);
            }
            let mut entries = Vec::new();
            for fingerprint in &wanted {
                if entries.len() < self.manner.alerts_max {
                    self.add_entries(fingerprint, redactor, &mut entries);
                }
            }
            let labels = group.as_ref().and_then(|key| self.groups.get(key)).map(|group| group.labels.clone());
            if entries.is_empty() {
                // Everything in it was withheld.
                if let Some(group) = group.and_then(|key| self.groups.get_mut(&key)) {
                    group.due = None;
                }
                continue;
            }
            if group.is_none() {
                // Word by word, as they came.
                entries.sort_by_key(|entry| entry.offset);
            }
            let left_out = group.map_or(0, |key| self.add_others(&key, now, redactor, &mut entries));
            return Some(Notification { about: labels.map_or(About::Each, About::Group), at: now, entries, left_out });
        }
    }

    /// Alerts of the next request.
    fn in_one(&self) -> usize {
        let first = self.queue.first().map_or(0, |((_, offset), _)| *offset);
        if self.alone_to.is_some_and(|to| first <= to) { 1 } else { self.manner.alerts_max }
    }

    /// The worst first, then as they came.
    fn in_order(&self, fingerprints: &BTreeSet<String>) -> Vec<String> {
        let key = |fingerprint: &&String| {
            let words = self.cases.get(*fingerprint).map(|case| &case.words);
            let severity = words.into_iter().flatten().map(|word| word.severity).max();
            (std::cmp::Reverse(severity), words.and_then(|words| words.front()).map(|word| word.offset))
        };
        let mut all: Vec<&String> = fingerprints.iter().collect();
        all.sort_by_key(key);
        all.into_iter().cloned().collect()
    }

    fn drop_withheld(&mut self, fingerprint: &str, is_withheld: &mut impl FnMut(&Word, &Alert) -> bool) {
        let Some(case) = self.cases.get_mut(fingerprint) else { return };
        let (before, first) = (case.bytes(), case.turn());
        loop {
            if case.drop_orphan() {
                continue;
            }
            let Some(word) = case.words.front().filter(|word| word.is_firing()) else { break };
            if !word.alert().is_some_and(|alert| is_withheld(word, &alert)) {
                break;
            }
            case.words.pop_front();
        }
        self.after_change(fingerprint, before, first);
    }

    /// Brings what follows from a case in line with it.
    fn after_change(&mut self, fingerprint: &str, bytes_before: usize, first_before: Option<Turn>) {
        let Some(case) = self.cases.get(fingerprint) else { return };
        let (bytes, first, is_firing) = (case.bytes(), case.turn(), case.told.is_some());
        self.bytes = (self.bytes + bytes).saturating_sub(bytes_before);
        if first != first_before && case.group.is_none() {
            requeue(&mut self.queue, fingerprint, first_before, first);
        }
        if let Some(group) = case.group.as_ref().and_then(|key| self.groups.get_mut(key)) {
            if first.is_none() {
                group.pending.remove(fingerprint);
            }
            if is_firing {
                group.firing.insert(fingerprint.into())
            } else {
                group.firing.remove(fingerprint)
            };
        }
        if case.is_empty() {
            self.cases.remove(fingerprint);
        }
    }

    /// All words of a case that wait.
    fn add_entries(&self, fingerprint: &str, redactor: &Redactor, entries: &mut Vec<Entry>) {
        let Some(case) = self.cases.get(fingerprint) else { return };
        let mut told = case.told.as_ref();
        let words_max = if self.manner.one_word { 1 } else { usize::MAX };
        for word in case.words.iter().take(words_max) {
            let Some(mut alert) = word.alert() else { continue };
            mask(redactor, &mut alert);
            let before = told.filter(|told| told.severity != word.severity).and_then(Word::alert);
            let before = before.map(|mut before| {
                mask(redactor, &mut before);
                before
            });
            entries.push(Entry { alert, offset: word.offset, is_news: true, before });
            told = Some(word).filter(|word| word.is_firing());
        }
    }

    /// What else fires in the group. Returns how many did not fit.
    fn add_others(&self, key: &str, now: EventTime, redactor: &Redactor, entries: &mut Vec<Entry>) -> usize {
        let Some(group) = self.groups.get(key) else { return 0 };
        let others: Vec<_> = group.firing.difference(&group.pending).filter(|fingerprint| self.is_fresh(fingerprint, now)).collect();
        let room = self.manner.alerts_max.saturating_sub(entries.len());
        for fingerprint in others.iter().take(room) {
            let told = self.cases.get(fingerprint.as_str()).and_then(|case| case.told.as_ref());
            entries.extend(told.and_then(|word| again(word, redactor)));
        }
        others.len().saturating_sub(room)
    }

    fn is_fresh(&self, fingerprint: &str, now: EventTime) -> bool {
        self.cases.get(fingerprint).is_some_and(|case| now.millis_since(case.heard_at) < STALE_MS)
    }

    /// What fires, said again, behind a fingerprint; and where to go on, none at the end.
    pub fn again(&self, after: Option<&str>, now: EventTime, redactor: &Redactor) -> (Notification, Option<String>) {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let mut entries = Vec::new();
        let mut last = None;
        for (fingerprint, case) in self.cases.range::<str, _>((from, Unbounded)) {
            // One that is about to be told otherwise is not said again.
            let Some(told) = case.told.as_ref().filter(|_| case.words.is_empty() && self.is_fresh(fingerprint, now)) else { continue };
            if entries.len() == self.manner.alerts_max {
                last = Some(fingerprint);
                break;
            }
            entries.extend(again(told, redactor));
        }
        let next = last.and_then(|_| entries.last().map(|entry: &Entry| entry.alert.fingerprint.clone()));
        (Notification { about: About::Again, at: now, entries, left_out: 0 }, next)
    }

    /// A message was taken by the destination.
    pub fn told(&mut self, notification: &Notification, now: EventTime) {
        for entry in notification.news() {
            let fingerprint = &entry.alert.fingerprint;
            let Some(case) = self.cases.get_mut(fingerprint) else { continue };
            let (before, first) = (case.bytes(), case.turn());
            if let Some(last) = case.settle(entry.offset).pop() {
                case.told = last.is_firing().then(|| last.told());
            }
            self.after_change(fingerprint, before, first);
        }
        self.settle_group(notification, now);
    }

    /// A message was refused for good. Returns the words that become dead letters; none if it is to be tried alert by alert.
    pub fn refused(&mut self, notification: &Notification, reject: &Reject, now: EventTime) -> Vec<RefusedLater> {
        let last = notification.news().map(|entry| entry.offset).max();
        if notification.about == About::Each && notification.news().count() > 1 && self.alone_to < last {
            self.alone_to = last;
            return Vec::new();
        }
        let mut refused = Vec::new();
        for entry in notification.news() {
            let fingerprint = &entry.alert.fingerprint;
            let Some(case) = self.cases.get_mut(fingerprint) else { continue };
            let (before, first) = (case.bytes(), case.turn());
            refused.extend(case.settle(entry.offset).into_iter().map(|word| word.refused(reject.clone())));
            self.after_change(fingerprint, before, first);
        }
        self.settle_group(notification, now);
        refused
    }

    fn settle_group(&mut self, notification: &Notification, now: EventTime) {
        let About::Group(labels) = &notification.about else { return };
        let Some(group) = self.groups.get_mut(&group_key(labels)) else { return };
        let told = group.firing.iter().filter_map(|fingerprint| self.cases.get(fingerprint)?.told.as_ref());
        let severity = told.map(|word| word.severity).max();
        group.told(severity, now);
    }

    /// Forgets groups of which nothing will matter any more.
    pub fn prune(&mut self, now: EventTime) {
        self.groups.retain(|_, group| !group.is_over(now));
    }

    /// How much there is of what.
    pub fn counts(&self) -> Counts {
        let waiting = self.cases.values().map(|case| case.words.len() as u64).sum();
        let firing = self.cases.values().filter(|case| case.told.is_some()).count() as u64;
        Counts { waiting, firing, forgotten: self.forgotten }
    }
}

/// The first word of an alert is another one, or there is none any more.
fn requeue(queue: &mut BTreeSet<(Turn, String)>, fingerprint: &str, before: Option<Turn>, now: Option<Turn>) {
    if let Some(turn) = before {
        queue.remove(&(turn, fingerprint.into()));
    }
    queue.extend(now.map(|turn| (turn, fingerprint.to_owned())));
}

fn again(word: &Word, redactor: &Redactor) -> Option<Entry> {
    let mut alert = word.alert()?;
    mask(redactor, &mut alert);
    Some(Entry { alert, offset: word.offset, is_news: false, before: None })
}

/// Labels are masked too: what leaves the machine is seen by more people than the page. The fingerprint stays.
fn mask(redactor: &Redactor, alert: &mut Alert) {
    redactor.alert(alert);
    alert.labels.values_mut().for_each(|value| redactor.string(value));
    redactor.string(&mut alert.service);
}
