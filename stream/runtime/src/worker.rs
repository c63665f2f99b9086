//! The engine loop: one thread, one processor, the partitions that a session assigns to it.
//!
//! ```text
//! step: restore (slices) ─▶ gather ─▶ replay ─▶ broadcasts ─▶ records ─▶ idle ticks and idle snapshots
//!                                               └── each: begin, apply, commit ──┘
//! ```
//!
//! Three rules carry the guarantees. *Never gather while a transaction is open*, so no rebalance meets one. *One restore
//! path*: after an abort, a fatal error, an assignment or a start, state comes from the last committed snapshot plus replay.
//! *Batch boundaries reach no output*: watermarks are told right after the record that moved them.

mod committing;
mod error;
mod processing;
mod restoring;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use stream_core::{ConfigError, NextOffset, Offset, Outbox, Processor, Reject, TopicPartition};

pub use self::error::WorkerError;
use crate::{
    bus::{Bus, BusError, Session, StateWrite, WorkerSpec},
    config::Backend,
    dead_letters::Rejecter,
    gathered::{Gathered, PartitionEvent},
    loss::Loss,
    metrics::{Rebalance, StageMetrics},
    mutation::{Mutation, is_on},
    owned::{Context, Owned, Replay},
    settings::EngineSettings,
    telemetry::BatchTracer,
    time::Clock,
};

/// Version of this program, as it stands in dead letters and snapshots.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a replica that met the state of a newer release leaves its partitions to others.
const ASIDE: Duration = Duration::from_secs(60);
/// How often it looks up meanwhile, for a signal to stop.
const ASIDE_LOOK: Duration = Duration::from_millis(200);

/// Where an owned partition is in its life.
enum Slot<P> {
    /// Its state is being read. If it did not fit the group's position the last time: both, to be looked at once more.
    Restoring(Option<Mismatch>),
    /// It lives again through what was committed after its snapshot.
    Replaying(Box<Owned<P>>, Replay),
    /// It processes.
    Running(Box<Owned<P>>),
}

/// The group's position, and the one in the state.
type Mismatch = (NextOffset, NextOffset);

/// A broadcast partition, read whole.
#[derive(Debug, Default)]
struct Feed {
    open: bool,
    at_end: bool,
}

/// One processor at work. Drive it with [`Worker::step`]; dropping it is a crash.
pub struct Worker<P: Processor> {
    bus: Arc<dyn Bus>,
    spec: WorkerSpec,
    rejecter: Rejecter,
    config: P::Config,
    settings: EngineSettings,
    clock: Box<dyn Clock>,
    loss: Loss,
    metrics: StageMetrics,
    tracer: Option<Box<dyn BatchTracer>>,
    stop: Arc<AtomicBool>,
    session: Option<Box<dyn Session>>,
    gathered: Gathered,
    outbox: Outbox,
    writes: Vec<StateWrite>,
    slots: BTreeMap<TopicPartition, Slot<P>>,
    feeds: BTreeMap<TopicPartition, Feed>,
    /// Records that panicked in this life and whose dead letter is not committed yet.
    poisoned: BTreeMap<(TopicPartition, Offset), Reject>,
    first_reject: BTreeMap<TopicPartition, (Offset, Reject)>,
    skip: Option<Skip>,
    /// Until when it leaves its partitions to replicas of a newer release.
    aside_until: Option<Duration>,
}

/// Records that are lived through without outputs, because somebody moved the group past them on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Skip {
    /// In every partition, up to where the group stands.
    ToGroup,
    /// In one partition, up to here.
    To(TopicPartition, NextOffset),
}

impl Skip {
    /// The position to skip to in a partition, if it lies ahead.
    fn target(&self, at: &TopicPartition, position: NextOffset, group: Option<NextOffset>) -> Option<NextOffset> {
        let to = match self {
            Self::ToGroup => group,
            Self::To(partition, to) => (partition == at).then_some(*to),
        };
        to.filter(|to| *to > position)
    }
}

impl<P: Processor> Worker<P> {
    /// A worker that has not opened its session yet.
    ///
    /// # Errors
    /// If the configuration names files that cannot be read, or allows a larger state than the engine does.
    pub fn new(
        bus: Arc<dyn Bus>,
        config: P::Config,
        settings: EngineSettings,
        clock: Box<dyn Clock>,
        loss: Loss,
        metrics: StageMetrics,
    ) -> Result<Self, WorkerError> {
        let config = P::prepare(config)?;
        let bound = P::state_bytes_bound(&config);
        if bound > settings.state.state_bytes_max {
            return Err(WorkerError::Config(ConfigError {
                key: "state.state_bytes_max".into(),
                expected: format!("at least {bound}, which the limits of [{}] allow its state to reach", P::NAME),
                found: settings.state.state_bytes_max.to_string(),
            }));
        }
        let spec = WorkerSpec { processor: P::NAME.into(), inputs: P::inputs(&config), broadcasts: P::broadcasts(&config) };
        let rejecter = Rejecter { group: bus.group(P::NAME), processor: P::NAME, version: VERSION };
        Ok(Self {
            bus,
            rejecter,
            spec,
            config,
            settings,
            clock,
            loss,
            metrics,
            tracer: None,
            stop: Arc::new(AtomicBool::new(false)),
            session: None,
            gathered: Gathered::default(),
            outbox: Outbox::new(P::NAME),
            writes: Vec::new(),
            slots: BTreeMap::new(),
            feeds: BTreeMap::new(),
            poisoned: BTreeMap::new(),
            first_reject: BTreeMap::new(),
            skip: None,
            aside_until: None,
        })
    }

    /// Lets it live through records without their outputs before it goes on. The ways out of [`WorkerError::GroupMoved`] are
    /// this and a reset.
    pub fn skip(&mut self, skip: Skip) {
        self.skip = Some(skip);
    }

    /// Where its instances stand, once every one of them processes and owes no commit.
    pub fn settled(&self) -> Option<BTreeMap<TopicPartition, NextOffset>> {
        let settled = |slot: &Slot<P>| match slot {
            Slot::Running(owned) if !owned.snapshot_due => Some(owned.next),
            _ => None,
        };
        if self.slots.is_empty() {
            return None;
        }
        self.slots.iter().map(|(at, slot)| Some((at.clone(), settled(slot)?))).collect()
    }

    /// Lets its transactions be traced.
    pub fn trace(&mut self, tracer: Box<dyn BatchTracer>) {
        self.tracer = Some(tracer);
    }

    /// Set it to make [`Worker::run`] return after the batch in hand.
    pub fn stop_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stop)
    }

    /// Steps until told to stop, then leaves cleanly.
    ///
    /// # Errors
    /// See [`WorkerError`].
    pub fn run(&mut self) -> Result<(), WorkerError> {
        while !self.stop.load(Ordering::Relaxed) {
            self.step()?;
        }
        self.shutdown()
    }

    /// One round: restore, gather, process, commit. Waits briefly if nothing is there. A session that is lost anywhere in it is
    /// replaced in the next round.
    ///
    /// # Errors
    /// See [`WorkerError`]; the worker must then be dropped.
    pub fn step(&mut self) -> Result<(), WorkerError> {
        self.metrics.ticked(self.clock.monotonic());
        if self.is_aside() {
            return Ok(());
        }
        match self.round() {
            Err(WorkerError::Bus(BusError::Lost(why))) => self.lose_session(&why),
            Err(error @ WorkerError::NewerState { .. }) if self.bus.backend() == Backend::Kafka => self.step_aside(&error),
            outcome => outcome?,
        }
        self.tell();
        Ok(())
    }

    /// Puts into the metrics what only the end of a round shows.
    fn tell(&self) {
        let is_paused = |slot: &Slot<P>| !matches!(slot, Slot::Running(owned) if !owned.awaits_broadcasts);
        let paused = || self.slots.iter().filter(|(_, slot)| is_paused(slot)).map(|(at, _)| at);
        self.metrics.restoring(paused(), self.clock.monotonic());
        self.metrics.update(|totals| {
            totals.ready = self.is_ready();
            totals.paused_partitions = paused().count() as u64;
            totals.prefetch_bytes = self.session.as_ref().map_or(0, |session| session.prefetch_bytes());
        });
    }

    /// The restore comes first: a gather may bring records of a partition, then the news that it was taken away and given
    /// back. Such records precede the restore that follows from the news, and must not meet its result.
    fn round(&mut self) -> Result<(), WorkerError> {
        self.restore()?;
        self.gather()?;
        self.replay()?;
        self.open_feeds()?;
        self.process_broadcasts()?;
        self.process_records()?;
        self.process_silence()
    }

    /// Whether every assigned partition is processing.
    pub fn is_ready(&self) -> bool {
        self.session.is_some() && self.slots.values().all(|slot| matches!(slot, Slot::Running(owned) if !owned.awaits_broadcasts))
    }

    /// Writes a last snapshot and leaves the group.
    ///
    /// # Errors
    /// If the last commit fails; nothing is lost then, a restart replays.
    pub fn shutdown(&mut self) -> Result<(), WorkerError> {
        let owing = |slot: &mut Slot<P>| match slot {
            Slot::Running(owned) if owned.has_debt() => {
                owned.snapshot_due = true;
                true
            }
            _ => false,
        };
        let touched: Vec<_> = self.slots.iter_mut().filter_map(|(at, slot)| owing(slot).then(|| at.clone())).collect();
        let begun = if touched.is_empty() { Ok(false) } else { self.begin() };
        let begun = match begun {
            Err(WorkerError::Bus(BusError::Lost(why))) => {
                self.lose_session(&why);
                false
            }
            begun => begun?,
        };
        if begun {
            self.commit(&touched)?;
        }
        if let Some(mut session) = self.session.take() {
            session.close();
        }
        self.slots.clear();
        Ok(())
    }

    /// Fills `gathered` and takes note of assignments.
    fn gather(&mut self) -> Result<(), WorkerError> {
        self.gathered.clear();
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(self.bus.open(&self.spec)?),
        };
        session.gather(&self.settings.batch.limits(self.bus.backend()), &mut self.gathered)?;
        self.metrics.gathered(self.gathered.records().map(|(at, _)| at));
        for (at, _) in self.gathered.records() {
            if let Some(Slot::Replaying(owned, _) | Slot::Running(owned)) = self.slots.get_mut(at) {
                owned.at_end = false;
            }
        }
        for event in std::mem::take(&mut self.gathered.events) {
            self.on_event(event)?;
        }
        if is_on(Mutation::RestoredAmongGathered) {
            self.restore()?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: PartitionEvent) -> Result<(), WorkerError> {
        match event {
            PartitionEvent::Assigned(at) if self.spec.broadcasts.contains(&at.topic) => {
                self.feeds.insert(at, Feed::default());
            }
            PartitionEvent::Assigned(at) => {
                tracing::info!(processor = P::NAME, partition = %at, "assigned");
                self.metrics.rebalanced(Rebalance::Assigned);
                self.slots.insert(at, Slot::Restoring(None));
                self.close_feeds();
            }
            PartitionEvent::Revoked(_) if is_on(Mutation::RevokedRecordsProcessed) => {}
            PartitionEvent::Revoked(at) => {
                tracing::info!(processor = P::NAME, partition = %at, "revoked");
                self.slots.remove(&at);
                self.metrics.revoked(&at);
                self.poisoned.retain(|(partition, _), _| *partition != at);
                self.first_reject.remove(&at);
            }
            PartitionEvent::AtEnd(at) => match (self.slots.get_mut(&at), self.feeds.get_mut(&at)) {
                (Some(Slot::Replaying(owned, _) | Slot::Running(owned)), _) => {
                    owned.at_end = true;
                    self.metrics.update(|totals| _ = totals.instances.get_mut(&at).map(|instance| instance.lag = 0));
                }
                (_, Some(feed)) => feed.at_end = feed.open,
                _ => {}
            },
            PartitionEvent::Trimmed { at, from, to } => self.on_trimmed(&at, from, to)?,
        }
        Ok(())
    }

    /// Retention overtook us. What a replay needs is gone for good; what was still to come is lost, which we say and survive.
    fn on_trimmed(&mut self, at: &TopicPartition, from: NextOffset, to: NextOffset) -> Result<(), WorkerError> {
        match self.slots.get_mut(at) {
            Some(Slot::Running(owned)) if to > owned.next => {
                if !is_on(Mutation::LossUntold) {
                    self.loss.report(P::NAME, at.topic.as_str(), "retention", to.0 - owned.next.0);
                }
                owned.next = to;
                owned.snapshot_due = true;
                Ok(())
            }
            Some(Slot::Replaying(owned, _)) => Err(WorkerError::InputGone { at: at.clone(), needed: owned.next.max(from), first: to }),
            _ => Ok(()),
        }
    }

    /// In a rolling upgrade an older replica may meet the state of a newer one. It must not crash in a loop, and the partition
    /// must not wait for it: it leaves the group, stays up, not ready, and asks again later.
    fn step_aside(&mut self, error: &WorkerError) {
        let why = format!("{error}; leaving the group, so that a newer replica takes over");
        tracing::warn!(processor = P::NAME, why);
        if let Some(session) = &mut self.session {
            session.close();
        }
        self.forget_session();
        self.metrics.update(|totals| (totals.ready, totals.stalled) = (false, Some(why)));
        self.aside_until = Some(self.clock.monotonic() + ASIDE);
    }

    fn is_aside(&mut self) -> bool {
        let Some(until) = self.aside_until else { return false };
        if self.clock.monotonic() < until {
            self.clock.sleep(ASIDE_LOOK);
            return true;
        }
        self.aside_until = None;
        self.metrics.update(|totals| totals.stalled = None);
        false
    }

    fn lose_session(&mut self, why: &str) {
        tracing::warn!(processor = P::NAME, why, "session lost; opening a new one");
        self.metrics.rebalanced(Rebalance::Lost);
        self.forget_session();
    }

    fn forget_session(&mut self) {
        self.session = None;
        self.slots.clear();
        self.feeds.clear();
        self.poisoned.clear();
        self.gathered.clear();
    }
}

fn context<'a, P: Processor>(
    config: &'a P::Config,
    settings: &'a EngineSettings,
    partitions: u32,
    now: Duration,
) -> Context<'a, P::Config> {
    let lateness = P::lateness(config).unwrap_or_else(|| settings.time.lateness());
    Context { config, lateness, partitions, version: VERSION, settings: &settings.state, now }
}
