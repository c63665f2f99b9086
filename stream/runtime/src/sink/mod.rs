//! The engine of a [sink](stream_core::Sink): one thread, one destination, the partitions that its group gives to it.
//!
//! ```text
//! step: restore (slices) ─▶ gather ─▶ broadcasts ─▶ batches ─▶ ticks
//!                                     └── each: act, begin, commit, after_commit ──┘
//! ```
//!
//! It differs from the engine of a [processor](crate::worker) where acting on the world differs from computing. *The sink acts
//! before the transaction begins*, since an answer may take longer than a transaction may last. *Every commit holds the whole
//! state*, where it changed, because what was done cannot be done again for a replay: a restored instance goes on from the
//! commit. *A partition that has to wait is paused*, and the session still polled, so that the group keeps its member. What they
//! have in common they share: sessions, state log, dead letters, limits, metrics.

mod committing;
mod delivering;
mod feeds;
mod owned;
#[cfg(all(test, feature = "sim"))]
mod simulation;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use schemas::EventTime;
use stream_core::{ConfigError, NextOffset, Offset, Outbox, Reject, Sink, SinkId, TopicPartition};

use self::{feeds::Feeds, owned::Owned};
use crate::{
    bus::{Bus, BusError, Session, StateWrite, WorkerSpec},
    dead_letters::Rejecter,
    gathered::{Gathered, PartitionEvent},
    loss::Loss,
    metrics::{Rebalance, StageMetrics},
    settings::EngineSettings,
    time::Clock,
    worker::{VERSION, WorkerError},
};

/// Records of one gather at most: what a sink does takes its time, and what waits here cannot go to another replica.
const GATHERED_MAX: usize = 1_000;
/// Letters of a destination's name at most.
const DESTINATION_LETTERS_MAX: usize = 40;

/// Where an owned partition is in its life.
enum Slot<S> {
    /// Its state is being read. If it did not fit the group's position the last time: both, to be looked at once more.
    Restoring(Option<Mismatch>),
    /// It delivers.
    Running(Box<Owned<S>>),
}

/// The group's position, and the one in the state.
type Mismatch = (NextOffset, NextOffset);

/// The wall clock, injected so that a simulator can turn it.
pub type Wall = Box<dyn Fn() -> EventTime + Send>;

/// What an engine of a sink is made of.
pub struct SinkParts<S: Sink> {
    /// The bus that it reads and writes.
    pub bus: Arc<dyn Bus>,
    /// Its name; see [`name`].
    pub name: &'static str,
    /// Its destination.
    pub destination: String,
    /// Its configuration.
    pub config: S::Config,
    /// Limits.
    pub settings: EngineSettings,
    /// Decides when to tick and when to try again.
    pub clock: Box<dyn Clock>,
    /// What the sink is told the time by.
    pub wall: Wall,
    /// Where losses are reported.
    pub loss: Loss,
    /// Where its numbers stand.
    pub metrics: StageMetrics,
}

/// One destination of a sink at work. Drive it with [`SinkWorker::step`]; dropping it is a crash.
pub struct SinkWorker<S: Sink> {
    parts: SinkParts<S>,
    spec: WorkerSpec,
    rejecter: Rejecter,
    stop: Arc<AtomicBool>,
    session: Option<Box<dyn Session>>,
    gathered: Gathered,
    outbox: Outbox,
    writes: Vec<StateWrite>,
    slots: BTreeMap<TopicPartition, Slot<S>>,
    feeds: Feeds,
    /// Records that panicked in this life and whose dead letter is not committed yet.
    poisoned: BTreeMap<(TopicPartition, Offset), Reject>,
    /// Up to here records are handed over one at a time, to learn which of them panics.
    alone: BTreeMap<TopicPartition, NextOffset>,
    first_reject: BTreeMap<TopicPartition, (Offset, Reject)>,
}

/// Name of a sink's destination: of its consumer group, state log, thread and metrics.
///
/// # Errors
/// If the destination's name does not fit there.
pub fn name<S: Sink>(destination: &str) -> Result<String, ConfigError> {
    let is_fit = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-' || letter == '_';
    match destination {
        "" => Ok(S::NAME.into()),
        fit if fit.chars().all(is_fit) && fit.len() <= DESTINATION_LETTERS_MAX => Ok(format!("{}.{fit}", S::NAME)),
        other => Err(ConfigError {
            key: format!("destinations of [{}]", S::NAME),
            expected: format!("at most {DESTINATION_LETTERS_MAX} of a-z, 0-9, - and _"),
            found: format!("{other:?}"),
        }),
    }
}

impl<S: Sink> SinkWorker<S> {
    /// An engine that has not opened its session yet.
    ///
    /// # Errors
    /// If the configuration allows a larger state than the engine does.
    pub fn new(parts: SinkParts<S>) -> Result<Self, WorkerError> {
        let (bound, bytes_max) = (S::state_bytes_bound(&parts.config), parts.settings.state.state_bytes_max);
        if bound > bytes_max {
            return Err(WorkerError::Config(ConfigError {
                key: "state.state_bytes_max".into(),
                expected: format!("at least {bound}, which the limits of [{}] allow its state to reach", S::NAME),
                found: bytes_max.to_string(),
            }));
        }
        let (inputs, broadcasts) = (S::inputs(&parts.config), S::broadcasts(&parts.config));
        let spec = WorkerSpec { processor: parts.name.into(), inputs, broadcasts };
        let outbox = Outbox::new(parts.name);
        let rejecter = Rejecter { group: parts.bus.group(parts.name), processor: parts.name, version: VERSION };
        Ok(Self {
            parts,
            spec,
            rejecter,
            stop: Arc::new(AtomicBool::new(false)),
            session: None,
            gathered: Gathered::default(),
            outbox,
            writes: Vec::new(),
            slots: BTreeMap::new(),
            feeds: Feeds::default(),
            poisoned: BTreeMap::new(),
            alone: BTreeMap::new(),
            first_reject: BTreeMap::new(),
        })
    }

    /// Set it to make [`SinkWorker::run`] return after the batch in hand.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Steps until told to stop, then leaves cleanly.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub fn run(&mut self) -> Result<(), WorkerError> {
        while !self.is_stopping() {
            self.step()?;
        }
        self.shutdown();
        Ok(())
    }

    /// One round. A session that is lost anywhere in it is replaced in the next.
    ///
    /// # Errors
    /// See [`WorkerError`]; the engine must then be dropped.
    pub fn step(&mut self) -> Result<(), WorkerError> {
        self.ticked();
        match self.round() {
            Err(WorkerError::Bus(BusError::Lost(why))) => self.lose_session(&why),
            outcome => outcome?,
        }
        self.tell();
        Ok(())
    }

    /// Leaves the group, so that others take over at once. Every commit holds the state, so nothing is left to be written.
    pub fn shutdown(&mut self) {
        if let Some(mut session) = self.session.take() {
            session.close();
        }
        self.slots.clear();
    }

    /// Whether every assigned partition is delivering, or waits because its destination does not take anything.
    pub fn is_ready(&self) -> bool {
        self.session.is_some() && self.slots.values().all(|slot| matches!(slot, Slot::Running(owned) if !owned.awaits_broadcasts))
    }

    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn now(&self) -> Duration {
        self.parts.clock.monotonic()
    }

    fn ticked(&self) {
        self.parts.metrics.ticked(self.now());
    }

    /// The restore comes first, as in the engine of a processor: records gathered before the news that a partition was taken
    /// and given back must not meet what is restored after it.
    fn round(&mut self) -> Result<(), WorkerError> {
        self.restore()?;
        self.resume()?;
        self.gather()?;
        self.open_feeds()?;
        self.apply_broadcasts()?;
        self.deliver()?;
        self.tick()
    }

    fn gather(&mut self) -> Result<(), WorkerError> {
        self.gathered.clear();
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(self.parts.bus.open(&self.spec)?),
        };
        let mut limits = self.parts.settings.batch.limits(self.parts.bus.backend());
        limits.records_max = limits.records_max.min(GATHERED_MAX);
        session.gather(&limits, &mut self.gathered)?;
        self.parts.metrics.gathered(self.gathered.records().map(|(at, _)| at));
        for event in std::mem::take(&mut self.gathered.events) {
            self.on_event(event);
        }
        Ok(())
    }

    fn on_event(&mut self, event: PartitionEvent) {
        let sink = self.parts.name;
        match event {
            PartitionEvent::Assigned(at) if self.spec.broadcasts.contains(&at.topic) => self.feeds.assigned(at),
            PartitionEvent::Assigned(at) => {
                tracing::info!(sink, partition = %at, "assigned");
                self.parts.metrics.rebalanced(Rebalance::Assigned);
                self.slots.insert(at, Slot::Restoring(None));
                self.close_feeds();
            }
            PartitionEvent::Revoked(at) => {
                tracing::info!(sink, partition = %at, "revoked");
                self.slots.remove(&at);
                self.parts.metrics.revoked(&at);
                self.poisoned.retain(|(partition, _), _| *partition != at);
                self.alone.remove(&at);
                self.first_reject.remove(&at);
            }
            PartitionEvent::AtEnd(at) => self.feeds.at_end(&at),
            PartitionEvent::Trimmed { at, to, .. } => {
                if let Some(Slot::Running(owned)) = self.slots.get_mut(&at)
                    && to > owned.next
                {
                    self.parts.loss.report(sink, at.topic.as_str(), "retention", to.0 - owned.next.0);
                    owned.next = to;
                }
            }
        }
    }

    /// Puts into the metrics what only the end of a round shows.
    fn tell(&self) {
        let is_resting = |slot: &Slot<S>| !matches!(slot, Slot::Running(owned) if !owned.awaits_broadcasts && owned.rests_until.is_none());
        let is_restoring = |slot: &Slot<S>| matches!(slot, Slot::Restoring(_));
        let which = |is: fn(&Slot<S>) -> bool| self.slots.iter().filter(move |(_, slot)| is(slot)).map(|(at, _)| at);
        self.parts.metrics.restoring(which(is_restoring), self.now());
        self.parts.metrics.update(|totals| {
            totals.ready = self.is_ready();
            totals.paused_partitions = which(is_resting).count() as u64;
            totals.prefetch_bytes = self.session.as_ref().map_or(0, |session| session.prefetch_bytes());
        });
    }

    fn lose_session(&mut self, why: &str) {
        tracing::warn!(sink = self.parts.name, why, "session lost; opening a new one");
        self.parts.metrics.rebalanced(Rebalance::Lost);
        self.session = None;
        self.slots.clear();
        self.feeds = Feeds::default();
        self.poisoned.clear();
        self.alone.clear();
        self.gathered.clear();
    }

    fn id<'a>(&'a self, at: &'a TopicPartition) -> SinkId<'a> {
        SinkId { destination: &self.parts.destination, at }
    }
}
