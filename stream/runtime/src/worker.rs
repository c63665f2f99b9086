//! The engine loop: one thread, one processor, the partitions that a session assigns to it.
//!
//! ```text
//! step: gather ─▶ restore (slices) ─▶ replay ─▶ broadcasts ─▶ records ─▶ idle ticks and idle snapshots
//!                                               └── each: begin, apply, commit ──┘
//! ```
//!
//! Three rules carry the guarantees. *Never gather while a transaction is open*, so no rebalance meets one. *One restore
//! path*: after an abort, a fatal error, an assignment or a start, state comes from the last committed snapshot plus replay.
//! *Batch boundaries reach no output*: watermarks are told right after the record that moved them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use schemas::EventTime;
use stream_core::{Applied, ConfigError, NextOffset, Offset, Outbox, Processor, Reject, StateError, TopicPartition};

use crate::{
    bus::{Bus, BusError, CommitBatch, CommitError, Restoring, Session, StateWrite, WorkerSpec},
    dead_letters::{self, Rejecter},
    gathered::{Gathered, PartitionEvent},
    loss::Loss,
    metrics::{InstanceTotals, StageMetrics},
    owned::{Context, Owned, Replay},
    settings::EngineSettings,
    state::{DamagedState, StoredState},
    time::Clock,
};

/// Version of this program, as it stands in dead letters and snapshots.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Pause before a commit that found the disk full is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Records between two looks at the clock while a batch is processed.
const RECORDS_PER_CLOCK: usize = 256;

/// Why a worker stopped for good. Each says what an operator can do.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the texts say it")]
pub enum WorkerError {
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    DamagedState(#[from] DamagedState),
    #[error("configuration: {0}")]
    Config(#[from] ConfigError),
    #[error("state of {at} cannot be read or written")]
    State { at: TopicPartition, source: StateError },
    #[error("state of {at} has {bytes} bytes, at most {bytes_max} are allowed (state.state_bytes_max)")]
    StateTooLarge { at: TopicPartition, bytes: u64, bytes_max: u64 },
    #[error("state of {at} has version {found}, this program knows up to {known}: it was written by a newer program; start that one")]
    NewerState { at: TopicPartition, found: u16, known: u16 },
    #[error(
        "topic of {at} had {then} partitions when its state was written and has {now} now, so keys would meet foreign state; `nephoscope state reset` starts anew"
    )]
    PartitionsChanged { at: TopicPartition, then: u32, now: u32 },
    #[error(
        "the group's position in {at} is {group}, but {position} has been processed: somebody moved the group; move it back, or `nephoscope state reset` starts anew from there"
    )]
    GroupMoved { at: TopicPartition, group: NextOffset, position: NextOffset },
    #[error(
        "{at} begins at {first}, but a replay needs records from {needed} on: retention removed them; `nephoscope state reset` starts anew"
    )]
    InputGone { at: TopicPartition, needed: NextOffset, first: NextOffset },
    #[error("{at}: two runs over the same input differ: {what}")]
    Nondeterministic { at: TopicPartition, what: String },
    #[error("{at}: idle tick to {tick} failed: {reject}")]
    Tick { at: TopicPartition, tick: EventTime, reject: Reject },
    #[error("broadcast record {at} offset {offset} cannot be applied: {reject}")]
    Broadcast { at: TopicPartition, offset: Offset, reject: Reject },
    #[error("{at}: too many rejects; the first was offset {offset}: {reject}. Mend the writer or this program, then start again")]
    TooManyRejects { at: TopicPartition, offset: Offset, reject: Reject },
    #[error("commit failed: {0}")]
    Commit(String),
}

/// Where an owned partition is in its life.
enum Slot<P> {
    /// Its state is being read.
    Restoring,
    /// It lives again through what was committed after its snapshot.
    Replaying(Box<Owned<P>>, Replay),
    /// It processes.
    Running(Box<Owned<P>>),
}

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
    config: P::Config,
    settings: EngineSettings,
    clock: Box<dyn Clock>,
    loss: Loss,
    metrics: StageMetrics,
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
}

/// How the processing of a batch ended.
enum Outcome {
    /// Up to this record; more may be left.
    Processed(usize),
    /// This record must not be processed again.
    Poisoned(TopicPartition, Offset, Reject),
    /// The line stops here.
    Stopped(WorkerError),
}

impl<P: Processor> Worker<P> {
    /// A worker that has not opened its session yet.
    ///
    /// # Errors
    /// If the configuration allows a larger state than the engine does.
    pub fn new(
        bus: Arc<dyn Bus>,
        config: P::Config,
        settings: EngineSettings,
        clock: Box<dyn Clock>,
        loss: Loss,
        metrics: StageMetrics,
    ) -> Result<Self, WorkerError> {
        let bound = P::state_bytes_bound(&config);
        if bound > settings.state.state_bytes_max {
            return Err(WorkerError::Config(ConfigError {
                key: "state.state_bytes_max".into(),
                expected: format!("at least {bound}, which the limits of [{}] allow its state to reach", P::NAME),
                found: settings.state.state_bytes_max.to_string(),
            }));
        }
        let spec = WorkerSpec { processor: P::NAME.into(), inputs: P::inputs(&config), broadcasts: P::broadcasts(&config) };
        Ok(Self {
            bus,
            spec,
            config,
            settings,
            clock,
            loss,
            metrics,
            stop: Arc::new(AtomicBool::new(false)),
            session: None,
            gathered: Gathered::default(),
            outbox: Outbox::new(P::NAME),
            writes: Vec::new(),
            slots: BTreeMap::new(),
            feeds: BTreeMap::new(),
            poisoned: BTreeMap::new(),
            first_reject: BTreeMap::new(),
        })
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

    /// One round: gather, restore, process, commit. Waits briefly if nothing is there.
    ///
    /// # Errors
    /// See [`WorkerError`]; the worker must then be dropped.
    pub fn step(&mut self) -> Result<(), WorkerError> {
        self.metrics.ticked(self.clock.monotonic());
        if !self.gather()? {
            return Ok(());
        }
        self.restore()?;
        self.replay()?;
        self.open_feeds()?;
        self.process_broadcasts()?;
        self.process_records()?;
        self.process_silence()?;
        let ready = self.is_ready();
        self.metrics.update(|totals| totals.ready = ready);
        Ok(())
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
        if !touched.is_empty() && self.begin()? {
            self.commit(&touched)?;
        }
        if let Some(mut session) = self.session.take() {
            session.close();
        }
        self.slots.clear();
        Ok(())
    }

    /// Fills `gathered` and takes note of assignments. False if there is no session to go on with.
    fn gather(&mut self) -> Result<bool, WorkerError> {
        self.gathered.clear();
        let session = match &mut self.session {
            Some(session) => session,
            None => self.session.insert(self.bus.open(&self.spec)?),
        };
        match session.gather(&self.settings.batch.limits(), &mut self.gathered) {
            Ok(()) => {}
            Err(BusError::Lost(why)) => {
                self.lose_session(&why);
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        for event in std::mem::take(&mut self.gathered.events) {
            self.on_event(event)?;
        }
        Ok(true)
    }

    fn on_event(&mut self, event: PartitionEvent) -> Result<(), WorkerError> {
        match event {
            PartitionEvent::Assigned(at) if self.spec.broadcasts.contains(&at.topic) => {
                self.feeds.insert(at, Feed::default());
            }
            PartitionEvent::Assigned(at) => {
                tracing::info!(processor = P::NAME, partition = %at, "assigned");
                self.slots.insert(at, Slot::Restoring);
            }
            PartitionEvent::Revoked(at) => {
                tracing::info!(processor = P::NAME, partition = %at, "revoked");
                self.slots.remove(&at);
                self.metrics.update(|totals| _ = totals.instances.remove(&at));
                self.poisoned.retain(|(partition, _), _| *partition != at);
                self.first_reject.remove(&at);
            }
            PartitionEvent::AtEnd(at) => match (self.slots.get_mut(&at), self.feeds.get_mut(&at)) {
                (Some(Slot::Replaying(owned, _) | Slot::Running(owned)), _) => owned.at_end = true,
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
                self.loss.report(P::NAME, at.topic.as_str(), "retention", to.0 - owned.next.0);
                owned.next = to;
                owned.snapshot_due = true;
                Ok(())
            }
            Some(Slot::Replaying(owned, _)) => Err(WorkerError::InputGone { at: at.clone(), needed: owned.next.max(from), first: to }),
            _ => Ok(()),
        }
    }

    /// One slice of restoring each partition that needs it.
    fn restore(&mut self) -> Result<(), WorkerError> {
        let restoring: Vec<_> = self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Restoring)).map(|(at, _)| at.clone()).collect();
        for at in restoring {
            let Some(session) = &mut self.session else { return Ok(()) };
            match session.restore_step(&at) {
                Ok(Restoring::Pending) => {}
                Ok(Restoring::Ready(image)) => self.restored(&at, StoredState::read(&at, &image)?)?,
                Err(BusError::Lost(why)) => self.lose_session(&why),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn restored(&mut self, at: &TopicPartition, stored: Option<StoredState>) -> Result<(), WorkerError> {
        let partitions = self.bus.partitions(&at.topic)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let group = session.committed(at)?;
        let context = context::<P>(&self.config, &self.settings, partitions, self.clock.monotonic());
        let slot = match stored {
            None => {
                let mut owned = Owned::fresh(at, group.unwrap_or_default(), &context)?;
                owned.awaits_broadcasts = !self.spec.broadcasts.is_empty();
                Slot::Running(Box::new(owned))
            }
            Some(stored) => {
                let position = stored.position.next;
                if let Some(group) = group.filter(|group| *group != position) {
                    return Err(WorkerError::GroupMoved { at: at.clone(), group, position });
                }
                let (owned, replay) = Owned::restored(at, stored, &context)?;
                Slot::Replaying(Box::new(owned), replay)
            }
        };
        let (Slot::Running(owned) | Slot::Replaying(owned, _)) = &slot else { return Ok(()) };
        session.seek(at, owned.next)?;
        if !owned.awaits_broadcasts {
            session.resume(at);
        }
        self.metrics.update(|totals| totals.restores += 1);
        self.slots.insert(at.clone(), slot);
        Ok(())
    }

    /// Lets replaying instances live through gathered records again, outputs discarded, until they are where they committed.
    fn replay(&mut self) -> Result<(), WorkerError> {
        let begun = self.clock.cpu();
        let mut replayed = BTreeMap::<TopicPartition, u32>::new();
        for (at, record) in self.gathered.records() {
            let Some(Slot::Replaying(owned, replay)) = self.slots.get_mut(at) else { continue };
            if owned.finish_replay(replay, &mut self.outbox)? {
                continue;
            }
            owned.replay_record(record, replay, &mut self.outbox)?;
            *replayed.entry(at.clone()).or_default() += 1;
        }
        self.charge(begun, &replayed);
        self.metrics.update(|totals| totals.replayed += u64::from(replayed.values().sum::<u32>()));
        let replaying: Vec<_> =
            self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Replaying(..))).map(|(at, _)| at.clone()).collect();
        for at in replaying {
            let Some(Slot::Replaying(mut owned, mut replay)) = self.slots.remove(&at) else { continue };
            let done = owned.finish_replay(&mut replay, &mut self.outbox)?;
            self.outbox.clear();
            let slot = if done { Slot::Running(owned) } else { Slot::Replaying(owned, replay) };
            self.slots.insert(at, slot);
        }
        Ok(())
    }

    /// Broadcasts are read only while every instance is where it committed, because a replay must not meet them; and from
    /// where the instance that has seen least left off.
    fn open_feeds(&mut self) -> Result<(), WorkerError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let running = !self.slots.is_empty() && self.slots.values().all(|slot| matches!(slot, Slot::Running(_)));
        for (at, feed) in &mut self.feeds {
            if !running && feed.open {
                session.pause(at);
                *feed = Feed::default();
            } else if running && !feed.open {
                let seen = |slot: &Slot<P>| match slot {
                    Slot::Running(owned) => owned.broadcasts.get(at).copied().unwrap_or_default(),
                    _ => NextOffset::default(),
                };
                session.seek(at, self.slots.values().map(seen).min().unwrap_or_default())?;
                session.resume(at);
                feed.open = true;
            }
        }
        Ok(())
    }

    /// Applies gathered broadcast records in a commit of their own, which holds a snapshot: no replay will meet them.
    fn process_broadcasts(&mut self) -> Result<(), WorkerError> {
        let feeds = &self.feeds;
        let is_open = |at: &TopicPartition| feeds.get(at).is_some_and(|feed| feed.open);
        if self.gathered.records().any(|(at, _)| is_open(at)) {
            if !self.begin()? {
                return Ok(());
            }
            if let Err(error) = self.apply_broadcasts() {
                self.abort()?;
                return Err(error);
            }
            let touched: Vec<_> = self.slots.keys().cloned().collect();
            self.commit(&touched)?;
        }
        self.release_newborn();
        Ok(())
    }

    fn apply_broadcasts(&mut self) -> Result<(), WorkerError> {
        for (at, record) in self.gathered.records() {
            if !self.feeds.get(at).is_some_and(|feed| feed.open) {
                continue;
            }
            let mut rejected = None;
            for slot in self.slots.values_mut() {
                let Slot::Running(owned) = slot else { continue };
                let seen = owned.broadcasts.entry(at.clone()).or_default();
                if seen.is_past(record.offset) {
                    continue;
                }
                *seen = record.offset.next();
                owned.snapshot_due = true;
                match owned.instance.broadcast(record, &mut self.outbox) {
                    Applied::Accepted => {}
                    Applied::Rejected(reject) => rejected = Some(reject),
                    Applied::Poisoned(reject) => {
                        return Err(WorkerError::Broadcast { at: at.clone(), offset: record.offset, reject });
                    }
                }
            }
            if let Some(reject) = rejected {
                self.metrics.reject(&at.topic, reject.reason);
                dead_letters::put(&record, &reject, rejecter::<P>(), &mut self.outbox).map_err(|reject| WorkerError::Broadcast {
                    at: at.clone(),
                    offset: record.offset,
                    reject,
                })?;
            }
        }
        Ok(())
    }

    /// New-born instances begin once every broadcast has been read to its end.
    fn release_newborn(&mut self) {
        if !self.feeds.values().all(|feed| feed.at_end) {
            return;
        }
        for (at, slot) in &mut self.slots {
            if let (Slot::Running(owned), Some(session)) = (slot, &mut self.session)
                && std::mem::take(&mut owned.awaits_broadcasts)
            {
                session.resume(at);
            }
        }
    }

    /// Processes the gathered input records, in as many transactions as their time limit needs.
    fn process_records(&mut self) -> Result<(), WorkerError> {
        let mut from = 0;
        while from < self.gathered.len() && self.has_work(from) {
            if !self.begin()? {
                return Ok(());
            }
            let mut touched = BTreeMap::new();
            let begun = self.clock.cpu();
            let outcome = self.process_batch(from, &mut touched);
            self.charge(begun, &touched);
            match outcome {
                Outcome::Processed(to) => {
                    let partitions: Vec<_> = touched.keys().cloned().collect();
                    if !self.commit(&partitions)? {
                        return Ok(());
                    }
                    self.metrics.processed(&touched, self.outbox.take_counts());
                    from = to;
                }
                Outcome::Poisoned(at, offset, reject) => {
                    tracing::error!(processor = P::NAME, partition = %at, %offset, %reject, "record panicked; it becomes a dead letter");
                    self.poisoned.insert((at, offset), reject);
                    self.abort()?;
                    return Ok(());
                }
                Outcome::Stopped(error) => {
                    self.abort()?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn has_work(&self, from: usize) -> bool {
        self.gathered.records().skip(from).any(|(at, record)| match self.slots.get(at) {
            Some(Slot::Running(owned)) => !owned.awaits_broadcasts && !owned.next.is_past(record.offset),
            _ => false,
        })
    }

    fn process_batch(&mut self, from: usize, touched: &mut BTreeMap<TopicPartition, u32>) -> Outcome {
        let deadline = self.clock.monotonic() + Duration::from_millis(self.settings.batch.process_ms_max);
        let Self { gathered, slots, outbox, poisoned, settings, metrics, first_reject, clock, .. } = self;
        let mut index = from;
        for (at, record) in gathered.records().skip(from) {
            index += 1;
            let Some(Slot::Running(owned)) = slots.get_mut(at) else { continue };
            if owned.awaits_broadcasts || owned.next.is_past(record.offset) {
                continue;
            }
            match touched.get_mut(at) {
                Some(count) => *count += 1,
                None => {
                    touched.insert(at.clone(), 1);
                }
            }
            let reject = match poisoned.get(&(at.clone(), record.offset)).cloned() {
                Some(reject) => {
                    owned.instance.skip(record, outbox);
                    owned.poison.insert(record.offset);
                    Some(reject)
                }
                None => match owned.instance.apply(record, outbox) {
                    Applied::Accepted => None,
                    Applied::Rejected(reject) => Some(reject),
                    Applied::Poisoned(reject) => return Outcome::Poisoned(at.clone(), record.offset, reject),
                },
            };
            owned.next = record.offset.next();
            match reject {
                None => owned.bucket.accept(&settings.dlq),
                Some(reject) => {
                    metrics.reject(&at.topic, reject.reason);
                    if owned.bucket.is_empty() {
                        first_reject.insert(at.clone(), (record.offset, reject.clone()));
                    }
                    let put = dead_letters::put(&record, &reject, rejecter::<P>(), outbox);
                    if owned.bucket.reject(&settings.dlq) || put.is_err() {
                        let (offset, reject) = first_reject.get(at).cloned().unwrap_or((record.offset, put.err().unwrap_or(reject)));
                        return Outcome::Stopped(WorkerError::TooManyRejects { at: at.clone(), offset, reject });
                    }
                }
            }
            if index.is_multiple_of(RECORDS_PER_CLOCK) && clock.monotonic() >= deadline {
                break;
            }
        }
        Outcome::Processed(index)
    }

    /// Idle ticks for partitions that have been silent for long enough, and snapshots for those that owe one.
    fn process_silence(&mut self) -> Result<(), WorkerError> {
        let now = self.clock.monotonic();
        let idle = Duration::from_millis(self.settings.time.idle_ms);
        let mut ticks = Vec::new();
        let mut touched = Vec::new();
        for (at, slot) in &mut self.slots {
            let Slot::Running(owned) = slot else { continue };
            let silent_ms = i64::try_from(now.saturating_sub(owned.silent_since).as_millis()).unwrap_or(i64::MAX);
            let tick = owned.instance.clock.idle_tick(silent_ms);
            let due = owned.at_end && !owned.awaits_broadcasts && now.saturating_sub(owned.ticked_at) >= idle;
            if due && let Some(tick) = tick {
                owned.ticked_at = now;
                ticks.push((at.clone(), tick));
            }
            if let (Some(session), Some(needed)) = (&mut self.session, owned.snapshot_next) {
                owned.snapshot_due |= needed < owned.next && session.is_retention_near(at, needed);
            }
            let context = context::<P>(&self.config, &self.settings, 0, now);
            let owes = owned.snapshot_next.is_some() && owned.needs_snapshot(&context);
            if owes || ticks.last().is_some_and(|(ticked, _)| ticked == at) {
                touched.push(at.clone());
            }
        }
        if touched.is_empty() || !self.begin()? {
            return Ok(());
        }
        for (at, tick) in ticks {
            let Some(Slot::Running(owned)) = self.slots.get_mut(&at) else { continue };
            if let Err(error) = owned.tick(tick, &mut self.outbox, &mut self.writes) {
                self.abort()?;
                return Err(error);
            }
        }
        self.commit(&touched).map(|_| ())
    }

    /// Shares the CPU time since `begun` among the instances by their records, as what a replay would cost; and notes that
    /// they are not silent.
    fn charge(&mut self, begun: Duration, records: &BTreeMap<TopicPartition, u32>) {
        let total: u32 = records.values().sum();
        if total == 0 {
            return;
        }
        let cost = self.clock.cpu().saturating_sub(begun);
        let now = self.clock.monotonic();
        for (at, count) in records {
            if let Some(Slot::Running(owned) | Slot::Replaying(owned, _)) = self.slots.get_mut(at) {
                owned.debt += cost.mul_f64(f64::from(*count) / f64::from(total));
                owned.silent_since = now;
                owned.ticked_at = now;
            }
        }
    }

    fn begin(&mut self) -> Result<bool, WorkerError> {
        self.outbox.clear();
        self.writes.clear();
        let Some(session) = &mut self.session else { return Ok(false) };
        match session.begin() {
            Ok(()) => Ok(true),
            Err(BusError::Lost(why)) => {
                self.lose_session(&why);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Commits what the touched instances did. False if it did not succeed and they are to be restored.
    fn commit(&mut self, touched: &[TopicPartition]) -> Result<bool, WorkerError> {
        let mut positions = Vec::with_capacity(touched.len());
        for at in touched {
            let partitions = self.bus.partitions(&at.topic)?;
            let Some(Slot::Running(owned)) = self.slots.get_mut(at) else { continue };
            let context = context::<P>(&self.config, &self.settings, partitions, self.clock.monotonic());
            owned.write(&context, || self.clock.cpu(), &mut self.writes)?;
            positions.push((at.clone(), owned.next));
        }
        let batch = CommitBatch { outputs: &self.outbox, state: &self.writes, positions: &positions };
        let begun = self.clock.monotonic();
        let outcome = loop {
            let Some(session) = &mut self.session else { return Ok(false) };
            match session.commit(&batch) {
                Err(CommitError::Retry(why)) if !self.stop.load(Ordering::Relaxed) => {
                    self.metrics.stalled(&why);
                    self.clock.sleep(RETRY_PAUSE);
                    self.metrics.ticked(self.clock.monotonic());
                }
                outcome => break outcome,
            }
        };
        self.metrics.commit(&outcome, self.clock.monotonic().saturating_sub(begun));
        match outcome {
            Ok(()) => {
                self.committed(touched);
                Ok(true)
            }
            Err(CommitError::Aborted(why)) => {
                tracing::warn!(processor = P::NAME, why, "commit aborted; restoring");
                self.restore_gathered(touched);
                Ok(false)
            }
            Err(CommitError::Retry(why) | CommitError::Fenced(why) | CommitError::Unknown(why)) => {
                self.lose_session(&why);
                Ok(false)
            }
            Err(CommitError::Fatal(why)) => Err(WorkerError::Commit(why)),
        }
    }

    fn committed(&mut self, touched: &[TopicPartition]) {
        for at in touched {
            let Some(Slot::Running(owned)) = self.slots.get_mut(at) else { continue };
            let snapshots = u64::from(owned.committed());
            let next = owned.next;
            let end = self.session.as_mut().and_then(|session| session.end(at)).unwrap_or(next);
            let clock = owned.instance.clock;
            let watermark = clock.is_started().then_some(clock.watermark);
            let instance = InstanceTotals { lag: end.0.saturating_sub(next.0), watermark, state_bytes: owned.state_bytes };
            self.metrics.update(|totals| {
                totals.snapshots += snapshots;
                totals.instances.insert(at.clone(), instance);
            });
            self.poisoned.retain(|(partition, offset), _| partition != at || !next.is_past(*offset));
        }
        self.metrics.committed(&self.outbox);
    }

    fn abort(&mut self) -> Result<(), WorkerError> {
        self.metrics.update(|totals| totals.aborts += 1);
        let aborted = self.session.as_mut().map(|session| session.abort());
        match aborted {
            Some(Err(BusError::Lost(why))) => self.lose_session(&why),
            Some(Err(error)) => return Err(error.into()),
            _ => self.restore_gathered(&[]),
        }
        Ok(())
    }

    /// Memory is ahead of the log, and the session has passed over records that were not processed: every partition that
    /// was touched or gathered from comes back from what was committed.
    fn restore_gathered(&mut self, touched: &[TopicPartition]) {
        let gathered = self.gathered.records().map(|(at, _)| at).chain(touched);
        let Some(session) = &mut self.session else { return };
        for at in gathered {
            if let Some(slot) = self.slots.get_mut(at)
                && !matches!(slot, Slot::Restoring)
            {
                session.pause(at);
                *slot = Slot::Restoring;
            }
        }
    }

    fn lose_session(&mut self, why: &str) {
        tracing::warn!(processor = P::NAME, why, "session lost; opening a new one");
        self.session = None;
        self.slots.clear();
        self.feeds.clear();
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

const fn rejecter<P: Processor>() -> Rejecter<'static> {
    Rejecter { processor: P::NAME, version: VERSION }
}
