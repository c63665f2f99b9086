//! A worker's view of the embedded bus.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc, time::Instant};

use stream_core::{NextOffset, Partition, TopicName, TopicPartition};

use super::{
    group::SessionId,
    partition_log::PartitionLog,
    queue::{Draft, Outcome},
    reader::{ReadEnd, Reader, Room},
    rows,
    shared::Shared,
    store::Table,
    time,
};
use crate::{
    bus::{BatchLimits, BusError, CommitBatch, CommitError, Restoring, Session, StateImage, WorkerSpec},
    gathered::{Gathered, PartitionEvent},
};

/// State that one restore step reads: about 50 ms from a cold disk.
const RESTORE_STEP_BYTES: usize = 16 << 20;

/// A session on the embedded bus.
pub struct EmbeddedSession {
    shared: Arc<Shared>,
    processor: String,
    id: SessionId,
    /// Version of the group that this session has followed.
    seen: u64,
    /// All partitions of the inputs, whoever owns them.
    inputs: Vec<TopicPartition>,
    /// Broadcast partitions that have not been announced yet.
    unannounced: Vec<TopicPartition>,
    partitions: BTreeMap<TopicPartition, Assigned>,
    /// Where the next gather begins, so that no partition starves the others.
    turn: usize,
    restores: BTreeMap<TopicPartition, Restore>,
    is_in_transaction: bool,
    is_closed: bool,
}

/// A partition that this session reads.
struct Assigned {
    log: Arc<PartitionLog>,
    reader: Option<Reader>,
    is_input: bool,
    is_paused: bool,
    is_end_told: bool,
}

#[derive(Default)]
struct Restore {
    image: StateImage,
    after: Option<Vec<u8>>,
}

impl EmbeddedSession {
    pub(super) fn open(shared: &Arc<Shared>, spec: &WorkerSpec) -> Result<Self, BusError> {
        let partitions = |topics: &[TopicName]| {
            let mut all = Vec::new();
            for name in topics {
                let topic = shared.topics.get(name).ok_or_else(|| super::topics::missing(name))?;
                all.extend((0..topic.spec.partitions).map(|partition| TopicPartition::new(name, Partition(partition))));
            }
            Ok::<_, BusError>(all)
        };
        let (inputs, unannounced) = (partitions(&spec.inputs)?, partitions(&spec.broadcasts)?);
        let id = shared.groups().join(&spec.processor);
        shared.signal.raise();
        Ok(Self {
            shared: Arc::clone(shared),
            processor: spec.processor.clone(),
            id,
            seen: 0,
            inputs,
            unannounced,
            partitions: BTreeMap::new(),
            turn: 0,
            restores: BTreeMap::new(),
            is_in_transaction: false,
            is_closed: false,
        })
    }

    /// Takes part in what changed in the group; true if something changed here.
    fn follow_group(&mut self, into: &mut Gathered) -> Result<bool, BusError> {
        let changes = {
            let mut groups = self.shared.groups();
            match groups.is_changed(&self.processor, self.seen) {
                true => groups.rebalance(&self.processor, self.id, &self.inputs, &mut self.seen),
                false => Default::default(),
            }
        };
        let broadcasts = std::mem::take(&mut self.unannounced);
        let is_changed = !(changes.revoked.is_empty() && changes.assigned.is_empty() && broadcasts.is_empty());
        if !changes.revoked.is_empty() {
            self.shared.signal.raise();
        }
        for at in changes.revoked {
            self.partitions.remove(&at);
            self.restores.remove(&at);
            into.events.push(PartitionEvent::Revoked(at));
        }
        let broadcasts = broadcasts.into_iter().map(|at| (at, false));
        for (at, is_input) in broadcasts.chain(changes.assigned.into_iter().map(|at| (at, true))) {
            let log = self.shared.topics.log(&at)?;
            self.partitions.insert(at.clone(), Assigned { log, reader: None, is_input, is_paused: true, is_end_told: false });
            into.events.push(PartitionEvent::Assigned(at));
        }
        Ok(is_changed)
    }

    /// Reads what there is, each partition in turn; true if there is no more room.
    fn read(&mut self, room: Room, into: &mut Gathered) -> Result<bool, BusError> {
        let count = self.partitions.len();
        self.turn = self.turn.checked_rem(count).unwrap_or(0);
        let (before, from) = (0..self.turn, self.turn..count);
        for number in from.chain(before) {
            let Some((at, assigned)) = self.partitions.iter_mut().nth(number) else { continue };
            let Some(reader) = assigned.reader.as_mut().filter(|_| !assigned.is_paused) else { continue };
            let count = into.len();
            let end = loop {
                match reader.read(room, into)? {
                    ReadEnd::Trimmed { from, to } => {
                        assigned.is_end_told = false;
                        into.events.push(PartitionEvent::Trimmed { at: at.clone(), from, to });
                    }
                    end => break end,
                }
            };
            assigned.is_end_told &= into.len() == count;
            if end == ReadEnd::Full {
                self.turn = number + 1;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says of which partitions everything has been gathered, once.
    fn tell_ends(&mut self, into: &mut Gathered) {
        for (at, assigned) in self.partitions.iter_mut().filter(|(_, assigned)| !assigned.is_end_told && !assigned.is_paused) {
            let is_at_end = assigned.reader.as_ref().is_some_and(|reader| reader.position() >= assigned.log.next());
            if is_at_end {
                assigned.is_end_told = true;
                into.events.push(PartitionEvent::AtEnd(at.clone()));
            }
        }
    }

    fn check_open(&self) -> Result<(), BusError> {
        match self.is_closed || self.shared.queue.is_closed() {
            true => Err(BusError::Lost("the session or its bus is closed".into())),
            false => Ok(()),
        }
    }

    fn check_owner(&self, at: &TopicPartition) -> Result<(), CommitError> {
        match self.partitions.get(at).is_some_and(|assigned| assigned.is_input) {
            true => Ok(()),
            false => Err(CommitError::Fenced(format!("{at} is not assigned to this session of {}", self.processor))),
        }
    }

    fn draft(&self, batch: &CommitBatch<'_>) -> Result<Draft, CommitError> {
        let mut draft = Draft::default();
        for write in batch.state {
            self.check_owner(&write.at)?;
            draft.rows.push(rows::state_write(&self.processor, write));
        }
        for (at, position) in batch.positions {
            self.check_owner(at)?;
            draft.rows.push(rows::position_write(&self.processor, at, *position));
        }
        for output in batch.outputs.outputs() {
            if !draft.push(&self.shared.topics, output.topic, output.key, output.value, output.headers.encoded()) {
                return Err(CommitError::Fatal(format!("output of {}: topic {} does not exist", self.processor, output.topic)));
            }
        }
        Ok(draft)
    }
}

impl Session for EmbeddedSession {
    fn gather(&mut self, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError> {
        self.check_open()?;
        if self.is_in_transaction {
            return Err(BusError::Lost("gather while a transaction is open".into()));
        }
        let room = Room { records_max: limits.records_max, bytes_max: limits.bytes_max };
        let mut quiet_ends = time::instant() + limits.quiet;
        let mut batch_ends = None::<Instant>;
        loop {
            let seen = self.shared.signal.count();
            let (before, is_changed) = (into.len(), self.follow_group(into)?);
            let is_full = self.read(room, into)?;
            if into.len() > before {
                let now = time::instant();
                quiet_ends = now + limits.quiet;
                batch_ends.get_or_insert(now + limits.batch_time_max);
            }
            let deadline = batch_ends.map_or(quiet_ends, |batch_ends| batch_ends.min(quiet_ends));
            if is_full || is_changed || !self.shared.signal.wait(seen, deadline) {
                self.tell_ends(into);
                return self.check_open();
            }
        }
    }

    fn restore_step(&mut self, at: &TopicPartition) -> Result<Restoring, BusError> {
        let prefix = rows::instance_prefix(&self.processor, at);
        let restore = self.restores.entry(at.clone()).or_default();
        let (mut bytes, mut last) = (0, None);
        self.shared.store.scan(Table::State, &prefix, restore.after.as_deref(), |key, value| {
            if let Some((_, _, name)) = rows::split_state_key(key) {
                restore.image.insert(name.to_owned(), value.to_vec());
            }
            bytes += value.len();
            if bytes < RESTORE_STEP_BYTES {
                return ControlFlow::Continue(());
            }
            last = Some(key.to_vec());
            ControlFlow::Break(())
        })?;
        if last.is_some() {
            restore.after = last;
            return Ok(Restoring::Pending);
        }
        Ok(Restoring::Ready(self.restores.remove(at).unwrap_or_default().image))
    }

    fn committed(&mut self, at: &TopicPartition) -> Result<Option<NextOffset>, BusError> {
        let key = rows::position_key(&self.processor, at);
        let value = self.shared.store.get(Table::Positions, &key)?;
        value.map(|value| rows::decode(Table::Positions, &key, &value)).transpose()
    }

    fn begin(&mut self) -> Result<(), BusError> {
        self.check_open()?;
        self.is_in_transaction = true;
        Ok(())
    }

    fn commit(&mut self, batch: &CommitBatch<'_>) -> Result<(), CommitError> {
        let drafted = self.draft(batch);
        self.is_in_transaction = false;
        match self.shared.queue.commit(drafted?) {
            Outcome::Done | Outcome::Known => Ok(()),
            Outcome::Retry(what) => {
                self.is_in_transaction = true;
                Err(CommitError::Retry(what))
            }
            Outcome::Superseded(what) => Err(CommitError::Fenced(what)),
            Outcome::Unknown(what) => Err(CommitError::Unknown(what)),
            Outcome::Closed => Err(CommitError::Fenced("the bus is closed".into())),
        }
    }

    fn abort(&mut self) -> Result<(), BusError> {
        self.is_in_transaction = false;
        self.check_open()
    }

    fn pause(&mut self, at: &TopicPartition) {
        if let Some(assigned) = self.partitions.get_mut(at) {
            assigned.is_paused = true;
        }
    }

    fn resume(&mut self, at: &TopicPartition) {
        if let Some(assigned) = self.partitions.get_mut(at) {
            assigned.is_paused = false;
            assigned.is_end_told = false;
        }
    }

    fn seek(&mut self, at: &TopicPartition, to: NextOffset) -> Result<(), BusError> {
        let assigned = self.partitions.get_mut(at).ok_or_else(|| BusError::Lost(format!("{at} is not assigned to this session")))?;
        assigned.is_end_told = false;
        match &mut assigned.reader {
            Some(reader) => reader.seek(to),
            reader => *reader = Some(Reader::new(&assigned.log, to)),
        }
        Ok(())
    }

    fn end(&mut self, at: &TopicPartition) -> Option<NextOffset> {
        self.partitions.get(at).map(|assigned| assigned.log.next())
    }

    fn is_retention_near(&mut self, at: &TopicPartition, position: NextOffset) -> bool {
        self.partitions.get(at).is_some_and(|assigned| super::retention::is_near(&self.shared, &assigned.log, position, time::now()))
    }

    fn close(&mut self) {
        if !std::mem::replace(&mut self.is_closed, true) {
            self.partitions.clear();
            self.shared.groups().leave(&self.processor, self.id);
            self.shared.signal.raise();
        }
    }
}

impl Drop for EmbeddedSession {
    fn drop(&mut self) {
        self.close();
    }
}
