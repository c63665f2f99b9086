//! Loss is published: whoever drops, samples or trims says so here, and once a minute an alert per component, topic and
//! cause tells everybody how much.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use schemas::{Alert, AlertStatus, EventTime, Model, Severity, alert, cloudevents, topics};
use stream_core::{HeaderBuffer, TopicName};

use crate::publish::{Publish, PublishBatch, PublishError};

/// Causes kept apart at most; beyond, losses are counted under `other`.
const CAUSES_MAX: usize = 1_000;
const MINUTE_MS: i64 = 60_000;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Cause {
    component: String,
    topic: String,
    cause: String,
}

/// Where losses are reported. Cheap to clone; safe from any thread.
#[derive(Debug, Clone, Default)]
pub struct Loss(Arc<Mutex<Ledger>>);

#[derive(Debug, Default)]
struct Ledger {
    since_last: BTreeMap<Cause, u64>,
    total: BTreeMap<Cause, u64>,
    refusals: BTreeMap<(String, String), u64>,
}

/// A loss since the start: component, topic, cause, count.
pub type LossTotal = (String, String, String, u64);

/// What was turned away since the start: component, cause, count.
pub type RefusalTotal = (String, String, u64);

impl Loss {
    /// `count` records of `topic` were lost by `component` for this cause.
    pub fn report(&self, component: &str, topic: &str, cause: &str, count: u64) {
        if count == 0 {
            return;
        }
        tracing::error!(component, topic, cause, count, "records lost");
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = Cause { component: component.into(), topic: topic.into(), cause: cause.into() };
        if ledger.total.len() >= CAUSES_MAX && !ledger.total.contains_key(&key) {
            key = Cause { component: "other".into(), topic: "other".into(), cause: "other".into() };
        }
        *ledger.since_last.entry(key.clone()).or_default() += count;
        *ledger.total.entry(key).or_default() += count;
    }

    /// `component` turned away `count` senders for this cause. That is no loss of records that anybody knows of, so it is
    /// counted and no alert is given.
    pub fn refuse(&self, component: &str, cause: &str, count: u64) {
        let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = (component.to_owned(), cause.to_owned());
        if ledger.refusals.len() >= CAUSES_MAX && !ledger.refusals.contains_key(&key) {
            key = ("other".into(), "other".into());
        }
        *ledger.refusals.entry(key).or_default() += count;
    }

    /// All refusals since the start.
    pub fn refusals(&self) -> Vec<RefusalTotal> {
        let ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.refusals.iter().map(|((component, cause), count)| (component.clone(), cause.clone(), *count)).collect()
    }

    /// All losses since the start.
    pub fn totals(&self) -> Vec<LossTotal> {
        let ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.total.iter().map(|(key, count)| (key.component.clone(), key.topic.clone(), key.cause.clone(), *count)).collect()
    }

    /// Publishes an alert for each cause with losses since the last call. Call it once a minute. What cannot be published
    /// stays for the next call.
    ///
    /// # Errors
    /// As [`Publish::publish`].
    pub fn publish(&self, now: EventTime, publisher: &mut dyn Publish) -> Result<(), PublishError> {
        let losses = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).since_last);
        if losses.is_empty() {
            return Ok(());
        }
        let mut batch = PublishBatch::default();
        for (cause, count) in &losses {
            push_alert(&mut batch, data_loss(cause, *count, now));
        }
        publish_beside(publisher, &batch).inspect_err(|_| {
            let mut ledger = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (cause, count) in losses {
                *ledger.since_last.entry(cause).or_default() += count;
            }
        })
    }
}

/// Publishes what has no position. The publisher may have one of its own, which stays.
pub(crate) fn publish_beside(publisher: &mut dyn Publish, batch: &PublishBatch) -> Result<(), PublishError> {
    let position = publisher.cursor().map(|cursor| cursor.position.clone()).unwrap_or_default();
    publisher.publish(batch, &position)
}

/// Appends an alert that the runtime itself gives, with its CloudEvents headers.
pub(crate) fn push_alert(batch: &mut PublishBatch, mut alert: Alert) {
    if let Err(error) = alert.sanitize() {
        tracing::error!(%error, "alert of the runtime breaks its own contract");
        return;
    }
    let mut headers = HeaderBuffer::default();
    for (name, value) in cloudevents::alert_headers(&alert) {
        headers.push(name, Some(value.as_bytes()));
    }
    let json = serde_json::to_vec(&alert).unwrap_or_default();
    let pushed = batch.push(&TopicName::new(topics::ALERTS), Some(alert.fingerprint.as_bytes()), Some(&json), headers.as_headers());
    if let Err(error) = pushed {
        tracing::error!(%error, "alert of the runtime is too large");
    }
}

fn data_loss(cause: &Cause, count: u64, now: EventTime) -> Alert {
    let Cause { component, topic, cause } = cause;
    let mut alert = runtime_alert(
        "NephoscopeDataLoss",
        Severity::Warning,
        [("component", component.as_str()), ("topic", topic), ("cause", cause)],
        now,
    );
    alert.message = format!("{component} lost {count} records of {topic}: {cause}");
    alert.description = "These records will not be processed. What was lost is counted in nephoscope_dropped_total.".into();
    alert.annotations = [("count".to_string(), count.to_string())].into();
    alert.score = count as f64;
    let minute = now.millis().div_euclid(MINUTE_MS);
    alert.id = alert::hex16(format!("nephoscope-loss-1\0{component}\0{topic}\0{cause}\0{minute}").as_bytes());
    alert
}

/// An alert about this program itself, without texts.
pub(crate) fn runtime_alert<const N: usize>(name: &str, severity: Severity, labels: [(&str, &str); N], now: EventTime) -> Alert {
    let labels: BTreeMap<String, String> = labels.map(|(key, value)| (key.to_string(), value.to_string())).into();
    let fingerprint = alert::fingerprint(name, &labels);
    Alert {
        id: alert::hex16(format!("nephoscope-runtime-1\0{fingerprint}\0{}", now.0).as_bytes()),
        fingerprint,
        name: name.into(),
        status: AlertStatus::Firing,
        severity,
        started_at: now,
        last_received: now,
        environment: "default".into(),
        service: "nephoscope".into(),
        source: vec!["runtime".into()],
        labels,
        model: Model { name: "runtime".into(), version: crate::worker::VERSION.into(), config_hash: String::new() },
        ..Alert::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::Cursor;

    /// A publisher that remembers, and fails when told to.
    #[derive(Default)]
    struct Memory {
        cursor: Option<Cursor>,
        alerts: Vec<Alert>,
        is_full: bool,
    }

    impl Publish for Memory {
        fn cursor(&self) -> Option<&Cursor> {
            self.cursor.as_ref()
        }

        fn publish(&mut self, records: &PublishBatch, position: &[u8]) -> Result<(), PublishError> {
            if self.is_full {
                return Err(PublishError::Retry("the disk is full".into()));
            }
            let sequence = self.cursor.as_ref().map_or(0, |cursor| cursor.sequence) + 1;
            self.cursor = Some(Cursor { sequence, position: position.to_vec() });
            let alert = |value| serde_json::from_slice(value).expect("an alert");
            self.alerts.extend(records.records().filter_map(|record| record.value).map(alert));
            Ok(())
        }
    }

    #[test]
    fn refusals_are_counted_and_no_loss() {
        let (loss, mut publisher) = (Loss::default(), Memory::default());
        loss.refuse("syslog", "tls_handshake", 2);
        loss.refuse("syslog", "tls_handshake", 3);
        loss.publish(EventTime::from_millis(1_700_000_000_000), &mut publisher).expect("has nothing to say");
        assert_eq!((loss.totals(), publisher.alerts.len()), (vec![], 0));
        assert_eq!(loss.refusals(), [("syslog".into(), "tls_handshake".into(), 5)]);
    }

    #[test]
    fn a_loss_is_published_once_and_moves_no_position() {
        let (loss, now) = (Loss::default(), EventTime::from_millis(1_700_000_000_000));
        let cursor = Some(Cursor { sequence: 7, position: b"line 4711".to_vec() });
        let mut publisher = Memory { cursor, is_full: true, ..Memory::default() };
        loss.report("syslog", "logs.raw.v1", "kernel", 3);
        loss.publish(now, &mut publisher).expect_err("is full");
        loss.report("syslog", "logs.raw.v1", "kernel", 4);
        publisher.is_full = false;
        loss.publish(now, &mut publisher).expect("is taken");
        loss.publish(now, &mut publisher).expect("has nothing to say");
        assert_eq!(publisher.cursor, Some(Cursor { sequence: 8, position: b"line 4711".to_vec() }));
        let messages: Vec<&str> = publisher.alerts.iter().map(|alert| alert.message.as_str()).collect();
        assert_eq!(messages, ["syslog lost 7 records of logs.raw.v1: kernel"]);
        assert_eq!(loss.totals(), [("syslog".into(), "logs.raw.v1".into(), "kernel".into(), 7)]);
    }
}
