//! The sink: one instance for each destination.
//!
//! Records are put on the [`Desk`], which is the state, and so are done with; what is due is delivered at once, the rest when
//! it is due. If the destination takes nothing, the partition rests, and what waits is tried again at every tick that its
//! [`Patience`] allows. A message is marked as told only after the destination took it, and that is committed right after: a
//! crash in between repeats one message, or, where the destination drops repeats, a batch.

use std::{collections::BTreeSet, time::Duration};

use schemas::{EventTime, topics};
use stream_core::{
    ConfigError, Outbox, Record, RefusedLater, Reject, RejectReason, Sink, SinkBatch, SinkError, SinkId, SnapshotReader, SnapshotWriter,
    StateError, TopicName,
};

use crate::{
    board::Standing,
    config::{Config, wrong},
    delivery::{Delivery, Failure},
    desk::{Desk, Manner},
    discretion::Discretion,
    notification::Notification,
    patience::Patience,
    route::Grouping,
    silence::Silences,
    story, watchdog,
    word::Word,
};

/// Records in one batch: they are only put on the desk.
const BATCH_RECORDS_MAX: usize = 1_000;
/// Requests between two commits, to a destination that drops repeats.
const REQUESTS_MAX: usize = 100;
/// How long a partition rests while the desk is full and its destination does not say why.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Alerts to one destination.
pub struct Notifier<D> {
    config: Config,
    destination: String,
    manner: Manner,
    requests_max: usize,
    watchdog_ms: Option<i64>,
    delivery: D,
    desk: Desk,
    discretion: Discretion,
    patience: Patience,
    refused: Vec<RefusedLater>,
    is_pressed: bool,
    standing: Standing,
    resent_at: Option<EventTime>,
    resent_to: Option<String>,
    alive_at: Option<EventTime>,
}

impl<D: Delivery> Notifier<D> {
    fn open(config: &Config, id: SinkId<'_>) -> Result<Self, ConfigError> {
        let destinations = config.destinations();
        let unknown = || wrong("destinations of [notifier]", "a destination", id.destination);
        let destination = destinations.get(id.destination).ok_or_else(unknown)?;
        let manner = destination.manner();
        Ok(Self {
            discretion: Discretion::new(config, id.destination)?,
            delivery: D::open(config, id.destination)?,
            desk: Desk::new(manner),
            manner,
            requests_max: if destination.drops_repeats() { REQUESTS_MAX } else { 1 },
            watchdog_ms: destination.watchdog_s().map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)),
            standing: Standing { kind: destination.kind().into(), ..Standing::default() },
            destination: id.destination.into(),
            config: config.clone(),
            patience: Patience::default(),
            refused: Vec::new(),
            is_pressed: false,
            resent_at: None,
            resent_to: None,
            alive_at: None,
        })
    }

    /// Puts a record on the desk, if it is to be told here.
    fn consider(&mut self, record: &Record<'_>, now: EventTime) -> Result<(), Reject> {
        let Some((word, alert)) = Word::read(record)? else { return Ok(()) };
        let grouping = match self.discretion.way(&alert, now) {
            Some(grouping) => grouping.clone(),
            // The end of what was told is told, wherever its way leads by now.
            None if !word.is_firing() && self.desk.knows(&alert.fingerprint) => Grouping::at_once(),
            None => {
                self.standing.elsewhere += 1;
                return Ok(());
            }
        };
        if let Some((incident, _)) = self.discretion.speaker(&word, &alert, now) {
            self.desk.hear(incident, now);
        }
        let is_held = if word.is_firing() {
            self.discretion.withholds(&word, &alert, now, &mut self.standing)
        } else {
            !self.desk.knows(&alert.fingerprint)
        };
        if !is_held {
            self.desk.take(word, &alert, &grouping, now);
        }
        Ok(())
    }

    fn brief(&mut self, now: EventTime) {
        self.discretion.brief(&mut self.desk, now, &mut self.standing);
    }

    /// Delivers what is due, as far as one commit may carry.
    fn flush(&mut self, now: EventTime) {
        self.is_pressed = false;
        let mut sent = BTreeSet::new();
        for _ in 0..self.requests_max {
            if self.patience.rests_until(now).is_some() {
                return;
            }
            let Self { desk, discretion, standing, config, .. } = self;
            discretion.incidents.look(|id| desk.knows(id));
            let next = desk.next(now, &config.redactor, |word, alert| discretion.withholds(word, alert, now, standing));
            let Some(notification) = next else { return };
            // A beginning and its end never stand between the same two commits: both would come again after a crash, and the
            // beginning then opens anew what had ended.
            if notification.news().any(|entry| sent.contains(&entry.alert.fingerprint)) {
                break;
            }
            sent.extend(notification.news().map(|entry| entry.alert.fingerprint.clone()));
            match self.send(&notification, now) {
                Ok(()) => self.desk.told(&notification, now),
                Err(Failure::Later { .. }) => return,
                Err(Failure::Never { why }) => {
                    tracing::error!(destination = self.destination, why, "refused for good");
                    let reject = Reject::new(RejectReason::Refused, why);
                    let refused = self.desk.refused(&notification, &reject, now);
                    self.standing.refused += refused.len() as u64;
                    // An incident has no record on the topic of alerts that could become a dead letter; its alerts are told.
                    if !notification.news().any(|entry| story::is_told_by(&entry.alert)) {
                        self.refused.extend(refused);
                    }
                }
            }
        }
        self.is_pressed = self.desk.is_due(now);
    }

    fn send(&mut self, notification: &Notification, now: EventTime) -> Result<(), Failure> {
        let outcome = self.delivery.deliver(notification);
        match &outcome {
            Ok(()) => {
                self.patience.succeeded();
                self.standing.delivered += 1;
                self.standing.alerts += notification.news().count() as u64;
                self.standing.last_delivered = Some(now);
                (self.standing.trouble, self.standing.next_try) = (None, None);
            }
            Err(failure) => {
                self.standing.trouble = Some(failure.to_string());
                if let Failure::Later { why, after } = failure {
                    let next = self.patience.failed(now, *after, &self.destination);
                    tracing::warn!(destination = self.destination, why, next_try = %next, "it takes nothing for now");
                    self.standing.next_try = Some(next);
                }
            }
        }
        outcome
    }

    /// Says again what fires, a request at a time, to a destination that would forget it.
    fn resend(&mut self, now: EventTime) {
        let Some(period_ms) = self.manner.resend_ms else { return };
        let is_due = self.resent_at.is_none_or(|at| now.millis_since(at) >= period_ms);
        if (!is_due && self.resent_to.is_none()) || self.patience.rests_until(now).is_some() {
            return;
        }
        if self.resent_to.is_none() {
            self.resent_at = Some(now);
        }
        let (notification, next) = self.desk.again(self.resent_to.as_deref(), now, &self.config.redactor);
        if notification.entries.is_empty() {
            self.resent_to = None;
        } else if let Ok(()) | Err(Failure::Never { .. }) = self.send(&notification, now) {
            self.resent_to = next;
        }
        self.is_pressed |= self.resent_to.is_some();
    }

    /// Tells that we are alive, if we are.
    fn watch(&mut self, now: EventTime) {
        let Some(period_ms) = self.watchdog_ms else { return };
        if self.alive_at.is_some_and(|at| now.millis_since(at) < period_ms) || self.patience.rests_until(now).is_some() {
            return;
        }
        self.alive_at = Some(now);
        self.standing.watchdog_held = self.config.vitals.look().err();
        if let Some(why) = &self.standing.watchdog_held {
            tracing::warn!(destination = self.destination, why, "no watchdog is sent");
        } else if self.send(&watchdog::alive(&self.destination, now), now).is_ok() {
            self.standing.last_watchdog = Some(now);
        }
    }

    fn tell(&mut self) {
        let counts = self.desk.counts();
        (self.standing.waiting, self.standing.firing, self.standing.forgotten) = (counts.waiting, counts.firing, counts.forgotten);
        self.config.board.write(&self.destination, self.standing.clone());
    }

    fn rest(&self, now: EventTime) -> Option<SinkError> {
        let until = self.patience.rests_until(now)?;
        let pause = Duration::from_millis(u64::try_from(until.millis_since(now)).unwrap_or(0).max(1));
        Some(SinkError::retry_after(pause, self.standing.trouble.as_deref().unwrap_or("it takes nothing")))
    }
}

impl<D: Delivery> Sink for Notifier<D> {
    type Config = Config;
    const NAME: &'static str = "notifier";
    const STATE_VERSION: u16 = 1;

    fn destinations(config: &Config) -> Vec<String> {
        config.destinations().into_keys().map(String::from).collect()
    }

    fn inputs(_: &Config) -> Vec<TopicName> {
        vec![topics::ALERTS.into()]
    }

    fn broadcasts(_: &Config) -> Vec<TopicName> {
        vec![topics::CONTROL_SILENCES.into(), topics::INCIDENTS.into()]
    }

    fn batch_records_max(_: &Config, _: &str) -> usize {
        BATCH_RECORDS_MAX
    }

    fn state_bytes_bound(_: &Config) -> u64 {
        // The last word may be as large as a record, and silences and groups take their share.
        (crate::desk::BYTES_MAX as u64) * 2
    }

    fn new(config: &Config, id: SinkId<'_>) -> Result<Self, ConfigError> {
        Self::open(config, id)
    }

    fn on_batch(&mut self, batch: &mut SinkBatch<'_>, out: &mut Outbox) -> Result<(), SinkError> {
        let now = batch.now();
        self.patience.look(now);
        if let Some(rest) = self.rest(now) {
            return Err(rest);
        }
        self.brief(now);
        while self.desk.makes_room() {
            let Some(record) = batch.take(out) else { break };
            self.consider(&record, now)?;
            batch.done(out);
        }
        self.flush(now);
        self.tell();
        match self.rest(now) {
            Some(rest) => Err(rest),
            None if batch.left() > 0 && !self.desk.makes_room() => Err(SinkError::retry_after(FULL_PAUSE, "its desk is full")),
            None => Ok(()),
        }
    }

    fn on_broadcast(&mut self, record: Record<'_>) -> Result<(), Reject> {
        if record.topic.as_str() == topics::INCIDENTS {
            return self.discretion.hear(&record);
        }
        self.discretion.silences.apply(record.key, record.value)
    }

    fn on_tick(&mut self, now: EventTime, _: &mut Outbox) -> Result<(), Reject> {
        self.patience.look(now);
        self.discretion.silences.prune(now);
        self.brief(now);
        self.desk.prune(now);
        self.flush(now);
        self.resend(now);
        self.watch(now);
        self.tell();
        Ok(())
    }

    fn is_pressed(&self) -> bool {
        self.is_pressed
    }

    fn take_refused(&mut self) -> Vec<RefusedLater> {
        std::mem::take(&mut self.refused)
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("silences", &self.discretion.silences.iter().collect::<Vec<_>>())?;
        w.put("incidents", &self.discretion.incidents)?;
        self.desk.snapshot(w)
    }

    fn restore(r: &SnapshotReader<'_>, config: &Config, id: SinkId<'_>) -> Result<Self, StateError> {
        let mut this = Self::open(config, id).map_err(|error| StateError::Config(error.to_string()))?;
        this.discretion.silences = Silences::restored(r.get("silences")?);
        this.discretion.incidents = r.get("incidents")?;
        this.desk = Desk::restore(r, this.manner)?;
        Ok(this)
    }
}
