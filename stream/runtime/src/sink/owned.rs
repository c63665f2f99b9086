//! One owned partition: its instance, its position, and what a restore and a commit make of them.

use std::{collections::BTreeMap, time::Duration};

use schemas::EventTime;
use stream_core::{
    EventClock, NextOffset, Offset, Sink, SinkId, SinkInstance, SnapshotReader, SnapshotWriter, TopicPartition, config_hash,
};

use crate::{
    bus::StateWrite,
    dead_letters::Bucket,
    state::{self, ChunkCache, DamagedState, HEAD_KEY, Head, POSITION_KEY, Position, StoredState},
    worker::{VERSION, WorkerError},
};

/// An instance that this engine owns, with all that its next commit will say about it.
pub(super) struct Owned<S> {
    pub(super) instance: SinkInstance<S>,
    /// Input offset to deliver next.
    pub(super) next: NextOffset,
    pub(super) bucket: Bucket,
    /// How far each broadcast has been applied.
    pub(super) broadcasts: BTreeMap<TopicPartition, NextOffset>,
    /// A new-born instance delivers nothing before it has seen the broadcasts.
    pub(super) awaits_broadcasts: bool,
    /// Monotonic time at which its partition is read again.
    pub(super) rests_until: Option<Duration>,
    /// Monotonic time of the last tick.
    pub(super) ticked_at: Duration,
    /// When its last record was appended.
    pub(super) appended_at: EventTime,
    pub(super) state_bytes: u64,
    partitions: u32,
    cache: ChunkCache,
    /// The cache that holds once the commit in flight has succeeded.
    cache_next: Option<ChunkCache>,
}

impl<S: Sink> Owned<S> {
    /// An instance without a past, which begins at `next`.
    pub(super) fn fresh(config: &S::Config, id: SinkId<'_>, next: NextOffset, partitions: u32) -> Result<Self, WorkerError> {
        let instance = SinkInstance::new(S::new(config, id)?, EventTime::MIN, id.at.clone());
        Ok(Self {
            instance,
            next,
            bucket: Bucket::default(),
            broadcasts: BTreeMap::new(),
            awaits_broadcasts: false,
            rests_until: None,
            ticked_at: Duration::ZERO,
            appended_at: EventTime::MIN,
            state_bytes: 0,
            partitions,
            cache: ChunkCache::default(),
            cache_next: None,
        })
    }

    /// An instance as it was committed.
    pub(super) fn restored(config: &S::Config, id: SinkId<'_>, stored: StoredState, partitions: u32) -> Result<Self, WorkerError> {
        let (at, head, position) = (id.at, stored.head, stored.position);
        if head.partitions != partitions {
            return Err(WorkerError::PartitionsChanged { at: at.clone(), then: head.partitions, now: partitions });
        }
        if head.state_version > S::STATE_VERSION {
            return Err(WorkerError::NewerState { at: at.clone(), found: head.state_version, known: S::STATE_VERSION });
        }
        if head.next != position.next {
            let problem = format!("stands at {}, the position at {}; those of a sink move together", head.next, position.next);
            return Err(DamagedState { at: at.clone(), key: HEAD_KEY.into(), problem }.into());
        }
        let reader = SnapshotReader::new(&stored.sections, head.state_version, head.config_hash, config_hash(config));
        let sink = S::restore(&reader, config, id).map_err(|source| WorkerError::State { at: at.clone(), source })?;
        Ok(Self {
            instance: SinkInstance::new(sink, position.clock.delivered, at.clone()),
            next: position.next,
            bucket: position.bucket,
            broadcasts: head.broadcasts.into_iter().collect(),
            awaits_broadcasts: false,
            rests_until: None,
            ticked_at: Duration::ZERO,
            appended_at: position.clock.appended_at,
            state_bytes: head.sections.iter().map(|section| section.bytes).sum(),
            partitions,
            cache: stored.cache,
            cache_next: None,
        })
    }

    /// The records before `offset` have been dealt with.
    pub(super) fn advance(&mut self, offset: Offset, appended_at: EventTime) {
        self.next = offset.next();
        self.appended_at = appended_at;
    }

    /// Appends what a commit says about the instance. False if nothing of its state has changed since the last one: the
    /// position alone is then no reason to commit.
    pub(super) fn write(&mut self, config: &S::Config, bytes_max: u64, writes: &mut Vec<StateWrite>) -> Result<bool, WorkerError> {
        let at = self.instance.at().clone();
        let mut writer = SnapshotWriter::default();
        self.instance.sink.snapshot(&mut writer).map_err(|source| WorkerError::State { at: at.clone(), source })?;
        let sections = writer.into_sections();
        self.state_bytes = sections.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        if self.state_bytes > bytes_max {
            return Err(WorkerError::StateTooLarge { at, bytes: self.state_bytes, bytes_max });
        }
        let before = writes.len();
        let (sections, cache) = self.cache.write(&at, &sections, writes);
        let has_changed = writes.len() > before;
        // The clock of a sink: the last tick, which numbers its outputs, and the append time of its last record.
        let clock = EventClock { delivered: self.instance.last_tick, appended_at: self.appended_at, ..EventClock::default() };
        let head = Head {
            next: self.next,
            clock,
            sections,
            state_version: S::STATE_VERSION,
            partitions: self.partitions,
            config_hash: config_hash(config),
            broadcasts: self.broadcasts.clone().into_iter().collect(),
            runtime: VERSION.into(),
        };
        writes.push(state::write(&at, HEAD_KEY, &head));
        let position = Position { next: self.next, clock, bucket: self.bucket, poison: Default::default(), journal: 0 };
        writes.push(state::write(&at, POSITION_KEY, &position));
        self.cache_next = Some(cache);
        Ok(has_changed)
    }

    /// The commit that [`Owned::write`] took part in has succeeded.
    pub(super) fn committed(&mut self) {
        if let Some(cache) = self.cache_next.take() {
            self.cache = cache;
        }
    }
}
