//! One owned partition: its instance, its position, and what a restore and a commit make of them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use schemas::EventTime;
use stream_core::{
    Applied, EventClock, Instance, Lateness, NextOffset, Offset, Outbox, Processor, Record, SnapshotReader, SnapshotWriter, TopicPartition,
    config_hash,
};

use crate::{
    bus::StateWrite,
    dead_letters::Bucket,
    mutation::{self, Mutation, is_on},
    settings::StateSettings,
    state::{self, ChunkCache, HEAD_KEY, Head, JournalEntry, POISON_MAX, POSITION_KEY, Position, StoredState},
    worker::WorkerError,
};

/// A snapshot is due when replaying would cost this many times its own cost: a fifth of a saturated worker's time at most, and
/// far less of one that is not. With 20, a worker with 47 MB of state had 580,000 lines to replay after a crash, and more to come.
const SNAPSHOT_COST_FACTOR: u32 = 4;

/// An instance that this worker owns, with all that its next commit will say about it.
pub(crate) struct Owned<P> {
    pub(crate) instance: Instance<P>,
    /// Input offset to process next.
    pub(crate) next: NextOffset,
    pub(crate) bucket: Bucket,
    pub(crate) poison: BTreeSet<Offset>,
    /// How far each broadcast has been applied.
    pub(crate) broadcasts: BTreeMap<TopicPartition, NextOffset>,
    /// A new-born instance processes nothing before it has seen the broadcasts.
    pub(crate) awaits_broadcasts: bool,
    /// The session has brought everything that stands in the partition.
    pub(crate) at_end: bool,
    /// Monotonic time of the last record, or of the restore.
    pub(crate) silent_since: Duration,
    /// Monotonic time of the last record, tick or restore.
    pub(crate) ticked_at: Duration,
    /// CPU time that a replay would cost now.
    pub(crate) debt: Duration,
    /// A snapshot must be part of the next commit, whatever it costs.
    pub(crate) snapshot_due: bool,
    pub(crate) state_bytes: u64,
    /// CPU time of the last snapshot.
    pub(crate) snapshot_cost: Duration,
    /// Bytes that the last snapshot wrote.
    pub(crate) snapshot_bytes: u64,
    /// The first input record that a replay would need; none before the first snapshot.
    pub(crate) snapshot_next: Option<NextOffset>,
    journal: u32,
    cache: ChunkCache,
    /// The cache that holds once the commit in flight has succeeded.
    cache_next: Option<ChunkCache>,
}

/// What a restored instance must live through again, outputs discarded.
pub(crate) struct Replay {
    target: Position,
    journal: VecDeque<JournalEntry>,
    is_verified: bool,
    /// Beyond the committed position: live through records up to here as well, because the operator says that their outputs
    /// are not wanted.
    skip_to: Option<NextOffset>,
}

impl Replay {
    /// Goes on in silence up to a position beyond the committed one.
    pub(crate) fn skip_to(&mut self, to: NextOffset) {
        self.skip_to = Some(to);
    }
}

/// What every step of restoring and committing needs to know about the processor.
pub(crate) struct Context<'a, C> {
    pub(crate) config: &'a C,
    pub(crate) lateness: Lateness,
    pub(crate) partitions: u32,
    pub(crate) version: &'static str,
    pub(crate) settings: &'a StateSettings,
    pub(crate) now: Duration,
}

impl<P: Processor> Owned<P> {
    /// An instance without a past, which begins at `next`.
    pub(crate) fn fresh(at: &TopicPartition, next: NextOffset, context: &Context<'_, P::Config>) -> Result<Self, WorkerError> {
        let processor = P::new(context.config, at)?;
        let instance = Instance::new(processor, EventClock::default(), at.clone(), context.lateness);
        Ok(Self::at(instance, next, context.now))
    }

    /// An instance from its last snapshot, and what it has to replay.
    pub(crate) fn restored(
        at: &TopicPartition,
        stored: StoredState,
        context: &Context<'_, P::Config>,
    ) -> Result<(Self, Replay), WorkerError> {
        let head = stored.head;
        if head.partitions != context.partitions {
            return Err(WorkerError::PartitionsChanged { at: at.clone(), then: head.partitions, now: context.partitions });
        }
        if head.state_version > P::STATE_VERSION {
            return Err(WorkerError::NewerState { at: at.clone(), found: head.state_version, known: P::STATE_VERSION });
        }
        let reader = SnapshotReader::new(&stored.sections, head.state_version, head.config_hash, config_hash(context.config));
        let processor = P::restore(&reader, context.config, at).map_err(|source| WorkerError::State { at: at.clone(), source })?;
        let clock = mutation::or(head.clock, Mutation::ClockNotRestored, EventClock::default);
        let clock = mutation::or(clock, Mutation::ClockFromPosition, || stored.position.clock);
        let instance = Instance::new(processor, clock, at.clone(), context.lateness);
        let mut owned = Self::at(instance, head.next, context.now);
        owned.poison = stored.position.poison.clone();
        owned.broadcasts = head.broadcasts.into_iter().collect();
        owned.snapshot_next = Some(head.next);
        owned.state_bytes = head.sections.iter().map(|section| section.bytes).sum();
        owned.cache = mutation::or(stored.cache, Mutation::ChunkCacheKeptAfterAbort, || mutation::last_written(at));
        owned.journal = stored.position.journal;
        let journal = mutation::or(stored.journal.into(), Mutation::JournalIgnored, VecDeque::new);
        Ok((owned, Replay { target: stored.position, journal, is_verified: false, skip_to: None }))
    }

    fn at(instance: Instance<P>, next: NextOffset, now: Duration) -> Self {
        Self {
            instance,
            next,
            bucket: Bucket::default(),
            poison: BTreeSet::new(),
            broadcasts: BTreeMap::new(),
            awaits_broadcasts: false,
            at_end: false,
            silent_since: now,
            ticked_at: now,
            debt: Duration::ZERO,
            snapshot_due: false,
            state_bytes: 0,
            snapshot_cost: Duration::ZERO,
            snapshot_bytes: 0,
            snapshot_next: None,
            journal: 0,
            cache: ChunkCache::default(),
            cache_next: None,
        }
    }

    /// Lives through one record again. Poison is passed over; anything else that panics now did not panic then.
    pub(crate) fn replay_record(&mut self, record: Record<'_>, replay: &mut Replay, out: &mut Outbox) -> Result<(), WorkerError> {
        let is_later = |entry: &JournalEntry| {
            let later = entry.before.is_past(record.offset);
            mutation::or(later, Mutation::JournalAtEqualOffsetsOnly, || entry.before.0 != record.offset.0)
        };
        self.replay_journal(replay, is_later, out)?;
        if self.poison.contains(&record.offset) && !is_on(Mutation::PoisonForgotten) {
            self.instance.skip(record, out);
        } else if let Applied::Poisoned(reject) = self.instance.apply(record, out) {
            let what = format!("record {} panicked in a replay and not before: {reject}", record.offset);
            return Err(WorkerError::Nondeterministic { at: self.instance.at().clone(), what });
        }
        self.next = record.offset.next();
        out.clear();
        Ok(())
    }

    /// Whether the replay has come to the committed position; if so, applies what was injected after the last record and
    /// compares the clocks: a free detector of nondeterminism.
    pub(crate) fn finish_replay(&mut self, replay: &mut Replay, out: &mut Outbox) -> Result<bool, WorkerError> {
        if self.next < replay.target.next {
            return Ok(false);
        }
        if !replay.is_verified {
            self.verify_replay(replay, out)?;
        }
        if let Some(to) = replay.skip_to {
            if self.next < to && !self.at_end {
                return Ok(false);
            }
            self.next = self.next.max(to);
            self.snapshot_due = true;
        }
        Ok(true)
    }

    fn verify_replay(&mut self, replay: &mut Replay, out: &mut Outbox) -> Result<(), WorkerError> {
        self.replay_journal(replay, |_| false, out)?;
        let at = self.instance.at().clone();
        let (clock, expected) = (self.instance.clock, replay.target.clock);
        if self.next != replay.target.next || clock != expected {
            let what = format!("after the replay to {} the clock is {clock:?}, it was {expected:?} at {}", self.next, replay.target.next);
            return Err(WorkerError::Nondeterministic { at, what });
        }
        self.bucket = replay.target.bucket;
        replay.is_verified = true;
        Ok(())
    }

    /// Applies the journal's entries from the front, up to the first for which `stop` holds.
    fn replay_journal(&mut self, replay: &mut Replay, stop: impl Fn(&JournalEntry) -> bool, out: &mut Outbox) -> Result<(), WorkerError> {
        while let Some(entry) = replay.journal.pop_front() {
            if stop(&entry) {
                replay.journal.push_front(entry);
                break;
            }
            self.apply_tick(entry.before, entry.tick, out)?;
            out.clear();
        }
        Ok(())
    }

    /// Applies an idle tick now, and writes it to the journal, so that every later replay meets it at the same place.
    pub(crate) fn tick(&mut self, to: EventTime, out: &mut Outbox, writes: &mut Vec<StateWrite>) -> Result<(), WorkerError> {
        self.apply_tick(self.next, to, out)?;
        let entry = JournalEntry { before: self.next, tick: to };
        writes.push(state::write(self.instance.at(), &state::journal_key(self.journal), &entry));
        self.journal += 1;
        Ok(())
    }

    fn apply_tick(&mut self, before: NextOffset, to: EventTime, out: &mut Outbox) -> Result<(), WorkerError> {
        let at = self.instance.at().clone();
        self.instance.tick(before, to, out).map_err(|reject| WorkerError::Tick { at, tick: to, reject })
    }

    /// Whether a snapshot should be part of the next commit.
    pub(crate) fn needs_snapshot(&self, context: &Context<'_, P::Config>) -> bool {
        let worth = Duration::from_millis(context.settings.replay_cpu_ms).max(self.snapshot_cost * SNAPSHOT_COST_FACTOR);
        let idle = context.now.saturating_sub(self.silent_since) >= Duration::from_secs(context.settings.idle_snapshot_s);
        self.snapshot_due
            || self.snapshot_next.is_none()
            || self.poison.len() >= POISON_MAX
            || self.debt >= worth
            || (idle && !self.debt.is_zero())
    }

    /// Appends what this commit says about the instance: a snapshot if one is due, and the position.
    pub(crate) fn write(
        &mut self,
        context: &Context<'_, P::Config>,
        cpu: impl Fn() -> Duration,
        writes: &mut Vec<StateWrite>,
    ) -> Result<(), WorkerError> {
        let at = self.instance.at().clone();
        if self.needs_snapshot(context) {
            let begun = cpu();
            self.write_snapshot(&at, context, writes)?;
            self.snapshot_cost = cpu().saturating_sub(begun);
        }
        let position = Position {
            next: mutation::or(self.next, Mutation::PositionOffByOne, || NextOffset(self.next.0 + 1)),
            clock: self.instance.clock,
            bucket: self.bucket,
            poison: self.poison.clone(),
            journal: self.journal,
        };
        writes.push(state::write(&at, POSITION_KEY, &position));
        Ok(())
    }

    fn write_snapshot(
        &mut self,
        at: &TopicPartition,
        context: &Context<'_, P::Config>,
        writes: &mut Vec<StateWrite>,
    ) -> Result<(), WorkerError> {
        let mut writer = SnapshotWriter::default();
        self.instance.processor.snapshot(&mut writer).map_err(|source| WorkerError::State { at: at.clone(), source })?;
        let sections = writer.into_sections();
        self.state_bytes = sections.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if self.state_bytes > context.settings.state_bytes_max {
            return Err(WorkerError::StateTooLarge {
                at: at.clone(),
                bytes: self.state_bytes,
                bytes_max: context.settings.state_bytes_max,
            });
        }
        let before = writes.len();
        let (heads, cache) = self.cache.write(at, &sections, writes);
        self.snapshot_bytes = writes.iter().skip(before).filter_map(|write| write.value.as_ref()).map(|chunk| chunk.len() as u64).sum();
        writes.extend((0..self.journal).map(|n| StateWrite { at: at.clone(), key: state::journal_key(n), value: None }));
        self.journal = 0;
        self.poison.clear();
        let head = Head {
            next: mutation::or(self.next, Mutation::HeadOffByOne, || NextOffset(self.next.0 + 1)),
            clock: self.instance.clock,
            sections: heads,
            state_version: P::STATE_VERSION,
            partitions: context.partitions,
            config_hash: config_hash(context.config),
            broadcasts: self.broadcasts.clone().into_iter().collect(),
            runtime: context.version.into(),
        };
        writes.push(state::write(at, HEAD_KEY, &head));
        mutation::written(at, &cache);
        self.cache_next = Some(cache);
        Ok(())
    }

    /// The commit that [`Owned::write`] took part in has succeeded. Returns whether it held a snapshot.
    pub(crate) fn committed(&mut self) -> bool {
        let Some(cache) = self.cache_next.take() else { return false };
        self.cache = cache;
        self.snapshot_next = Some(self.next);
        self.snapshot_due = false;
        self.debt = Duration::ZERO;
        true
    }

    /// Whether a clean shutdown should leave a snapshot behind.
    pub(crate) fn has_debt(&self) -> bool {
        !self.debt.is_zero() || self.snapshot_next.is_some_and(|next| next < self.next)
    }
}
