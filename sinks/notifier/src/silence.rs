//! Silences: what people do not want to be told for a while.

use std::collections::BTreeMap;

use schemas::{Alert, EventTime, Silence};
use stream_core::{Reject, RejectReason};

use crate::matcher::{Matcher, parse_all};

/// Silences at most; beyond, those that end first go.
const SILENCES_MAX: usize = 10_000;

/// All silences that hold or will hold.
#[derive(Debug, Clone, Default)]
pub struct Silences(BTreeMap<String, (Silence, Vec<Matcher>)>);

impl Silences {
    /// Reads a record of the topic; one without a value takes the silence back.
    ///
    /// # Errors
    /// If it is no silence, or one whose matchers cannot be read; the silences are then as they were.
    pub fn apply(&mut self, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Reject> {
        let Some(value) = value else {
            let id = key.and_then(|key| std::str::from_utf8(key).ok());
            id.into_iter().for_each(|id| drop(self.0.remove(id)));
            return Ok(());
        };
        let silence: Silence = serde_json::from_slice(value).map_err(|error| Reject::new(RejectReason::Undecodable, error.to_string()))?;
        silence.check().map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
        self.insert(silence)
    }

    fn insert(&mut self, silence: Silence) -> Result<(), Reject> {
        let matchers = parse_all(&silence.matchers).map_err(|error| Reject::new(RejectReason::InvalidField, error.to_string()))?;
        self.0.insert(silence.id.clone(), (silence, matchers));
        if self.0.len() > SILENCES_MAX {
            let first = self.0.values().map(|(silence, _)| (silence.ends_at, silence.id.clone())).min();
            first.into_iter().for_each(|(_, id)| drop(self.0.remove(&id)));
        }
        Ok(())
    }

    /// The silence that an alert falls under.
    pub fn over(&self, alert: &Alert, now: EventTime) -> Option<&Silence> {
        let is_over =
            |(silence, matchers): &&(Silence, Vec<Matcher>)| silence.holds_at(now) && matchers.iter().all(|matcher| matcher.matches(alert));
        self.0.values().find(is_over).map(|(silence, _)| silence)
    }

    /// Forgets those that are over.
    pub fn prune(&mut self, now: EventTime) {
        self.0.retain(|_, (silence, _)| now < silence.ends_at);
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.values().map(|(silence, _)| silence)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Comes back from a snapshot.
    pub fn restored(silences: Vec<Silence>) -> Self {
        let mut this = Self::default();
        // Each could be read when it was written; one that a newer version wrote otherwise holds nothing back.
        silences.into_iter().for_each(|silence| drop(this.insert(silence)));
        this
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(id: &str, matcher: &str, from: i64, to: i64) -> Silence {
        let [id, by, why] = [id, "ann", "upgrade"].map(String::from);
        Silence {
            id,
            matchers: vec![matcher.into()],
            starts_at: EventTime::from_millis(from),
            ends_at: EventTime::from_millis(to),
            by,
            why,
        }
    }

    fn apply(silences: &mut Silences, silence: &Silence) -> Result<(), Reject> {
        silences.apply(Some(silence.id.as_bytes()), Some(&serde_json::to_vec(silence).expect("JSON")))
    }

    fn alert(host: &str) -> Alert {
        Alert { labels: [("host".into(), host.into())].into(), ..Alert::default() }
    }

    #[test]
    fn an_alert_is_silenced_while_all_matchers_hold() {
        let mut silences = Silences::default();
        apply(&mut silences, &silence("a", "host=~\"web-.*\"", 1_000, 2_000)).expect("is one");
        let id = |host, millis| silences.over(&alert(host), EventTime::from_millis(millis)).map(|silence| silence.id.as_str());
        assert_eq!([id("web-1", 999), id("web-1", 1_000), id("web-1", 2_000), id("db-1", 1_500)], [None, Some("a"), None, None]);
    }

    #[test]
    fn the_last_word_on_a_silence_holds() {
        let mut silences = Silences::default();
        apply(&mut silences, &silence("a", "host=web", 0, 9_000)).expect("is one");
        apply(&mut silences, &silence("a", "host=web", 0, 1_000)).expect("ends early");
        assert!(silences.over(&alert("web"), EventTime::from_millis(1_000)).is_none());
        apply(&mut silences, &silence("b", "host=web", 0, 9_000)).expect("is one");
        silences.apply(Some(b"b"), None).expect("a tombstone");
        assert!(silences.over(&alert("web"), EventTime::from_millis(5_000)).is_none());
        silences.prune(EventTime::from_millis(1_000));
        assert!(silences.is_empty());
    }

    #[test]
    fn what_is_no_silence_changes_nothing() {
        let mut silences = Silences::default();
        assert!(silences.apply(None, Some(b"{}")).is_err());
        assert!(apply(&mut silences, &silence("a", "host~web", 0, 1)).is_err());
        assert!(apply(&mut silences, &silence("a", "host=web", 1, 0)).is_err());
        assert!(silences.is_empty());
    }
}
