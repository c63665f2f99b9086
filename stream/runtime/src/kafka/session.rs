//! A worker's view of Kafka: a member of a consumer group, and one transactional producer (KIP-447).
//!
//! Three things are not as they look. Positions come from the state alone: a new partition is paused at its beginning until
//! it has been sought, and whatever arrives before that is dropped. A transaction is begun only when the batch is complete,
//! so no rebalance ever meets an open one. And a commit goes out only if this is still the member that restored the
//! partitions: a client whose membership lapsed may join again as somebody new without telling anybody.

mod assigned;
mod committing;
mod gathering;

use std::{sync::Arc, time::Duration};

use rdkafka::{
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    topic_partition_list::TopicPartitionList,
};
use stream_core::{HeaderBuffer, NextOffset, Partition, TopicName, TopicPartition};

use self::assigned::Assigned;
use super::{
    client::{ASK, failed, now},
    instance::Instance,
    member::{GroupMember, Member},
    names::Place,
    native,
    reader::Reader,
    routes::Routes,
    shared::Shared,
    state_log::{Restore, stable_position},
    transactions::{Ended, Transactions},
};
use crate::{
    bus::{BatchLimits, BusError, CommitBatch, CommitError, Restoring, Session, WorkerSpec},
    gathered::{Gathered, PartitionEvent},
    time::wall_clock,
};

/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(3);

/// A session on Kafka.
pub struct KafkaSession {
    shared: Arc<Shared>,
    processor: String,
    instance: Arc<Instance>,
    consumer: GroupMember,
    /// Reads the broadcasts, which every session reads whole: no group.
    feeds: Option<BaseConsumer<Member>>,
    transactions: Transactions,
    routes: Routes,
    state_log: TopicName,
    partitions: Vec<Assigned>,
    /// Broadcast partitions that have not been announced yet.
    unannounced: Vec<TopicPartition>,
    /// Where the last record stood among `partitions`.
    last: usize,
    restore: Option<(TopicPartition, Restore)>,
    reader: Option<Reader>,
    headers: HeaderBuffer,
    is_in_transaction: bool,
    is_closed: bool,
}

impl KafkaSession {
    pub(super) fn open(shared: &Arc<Shared>, spec: &WorkerSpec) -> Result<Self, BusError> {
        let mut state_partitions = 0;
        for topic in spec.inputs.iter().chain(&spec.broadcasts) {
            let partitions = shared.partitions(topic)?;
            if partitions == 0 {
                return Err(super::missing(topic));
            }
            if spec.inputs.contains(topic) {
                state_partitions = partitions.max(state_partitions);
            }
        }
        let state_log = shared.names.state_log(&spec.processor);
        shared.ensure_internal(&state_log, state_partitions)?;
        let instance = shared.claim(&spec.processor)?;
        let client_id = shared.names.client(&spec.processor);
        let transactional_id = shared.names.transactional_id(&spec.processor, &instance.name);
        let transactions = Transactions::open(shared.settings.producer(&client_id, &transactional_id), Arc::clone(&instance))?;
        let member = shared.bus.static_membership.then_some(instance.name.as_str());
        let config = shared.settings.member(&client_id, &shared.names.group(&spec.processor), member);
        let consumer = GroupMember::new(&config).map_err(|error| failed("group member", &error))?;
        let inputs: Vec<String> = spec.inputs.iter().map(|topic| shared.names.topic(topic)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        consumer.subscribe(&inputs).map_err(|error| failed("subscription", &error))?;
        let (feeds, broadcasts) = open_feeds(shared, spec, &client_id)?;
        Ok(Self {
            shared: Arc::clone(shared),
            processor: spec.processor.clone(),
            instance,
            consumer,
            feeds,
            transactions,
            routes: Routes::default(),
            state_log,
            unannounced: broadcasts.iter().map(|assigned| assigned.place.at.clone()).collect(),
            partitions: broadcasts,
            last: 0,
            restore: None,
            reader: None,
            headers: HeaderBuffer::default(),
            is_in_transaction: false,
            is_closed: false,
        })
    }

    fn find(&mut self, at: &TopicPartition) -> Option<&mut Assigned> {
        self.partitions.iter_mut().find(|assigned| assigned.place.at == *at)
    }

    fn consumer_of(&self, assigned: &Assigned) -> &BaseConsumer<Member> {
        self.feeds.as_ref().filter(|_| !assigned.is_input).unwrap_or(&self.consumer)
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.is_closed { Err(BusError::Lost("the session is closed".into())) } else { Ok(()) }
    }
}

impl Session for KafkaSession {
    fn gather(&mut self, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError> {
        self.check_open()?;
        if self.is_in_transaction {
            return Err(BusError::Lost("gather while a transaction is open".into()));
        }
        for at in std::mem::take(&mut self.unannounced) {
            into.events.push(PartitionEvent::Assigned(at));
        }
        self.seek_pending(into)?;
        self.fill(limits, into)?;
        self.tell_ends(into)
    }

    fn restore_step(&mut self, at: &TopicPartition) -> Result<Restoring, BusError> {
        let Some(assigned) = self.partitions.iter().find(|assigned| assigned.place.at == *at) else {
            return Err(BusError::Lost(format!("{at} is not assigned to this session")));
        };
        self.restore.get_or_insert_with(|| {
            let log = TopicPartition::new(&self.state_log, at.partition);
            (at.clone(), Restore::new(Place::new(&self.shared.names, &log), at))
        });
        // One after the other: each is short, and they share a reader.
        if self.restore.as_ref().is_none_or(|(restoring, _)| restoring != at) {
            return Ok(Restoring::Pending);
        }
        let (shared, reader, client) = (&self.shared, &mut self.reader, self.shared.names.client(&self.processor));
        let Some((_, restore)) = &mut self.restore else { return Ok(Restoring::Pending) };
        let outcome = restore.step(shared, &self.consumer, &assigned.place, || match reader.take() {
            Some(reader) => Ok(reader),
            None => Reader::open(&shared.settings.reader(&client)),
        })?;
        if matches!(outcome, Restoring::Ready(_)) {
            self.reader = self.restore.take().and_then(|(_, restore)| restore.into_reader());
            let member = native::member_id(&self.consumer);
            if let Some(assigned) = self.find(at) {
                assigned.restored_as = member;
            }
        }
        Ok(outcome)
    }

    fn committed(&mut self, at: &TopicPartition) -> Result<Option<NextOffset>, BusError> {
        let place = Place::new(&self.shared.names, at);
        let until = now() + ASK;
        while now() < until {
            if let Some(position) = stable_position(&self.consumer, &place, Duration::from_millis(500))? {
                return Ok(position);
            }
        }
        Err(BusError::Lost(format!("the group's position in {at} is still undecided after {} s", ASK.as_secs())))
    }

    fn begin(&mut self) -> Result<(), BusError> {
        self.check_open()?;
        self.is_in_transaction = true;
        Ok(())
    }

    fn commit(&mut self, batch: &CommitBatch<'_>) -> Result<(), CommitError> {
        self.is_in_transaction = false;
        self.write(batch).map_err(|ended| match ended {
            Ended::Settled(why) => CommitError::Aborted(why),
            Ended::Lost(why) => CommitError::Unknown(why),
            Ended::Fatal(why) => CommitError::Fatal(why),
        })
    }

    fn abort(&mut self) -> Result<(), BusError> {
        self.is_in_transaction = false;
        self.check_open()
    }

    fn pause(&mut self, at: &TopicPartition) {
        let Some(index) = self.partitions.iter().position(|assigned| assigned.place.at == *at) else { return };
        if let Some(assigned) = self.partitions.get(index)
            && let Err(error) = self.consumer_of(assigned).pause(&assigned.list())
        {
            tracing::debug!(%error, partition = %at, "pause");
        }
        if let Some(assigned) = self.partitions.get_mut(index) {
            assigned.is_paused = true;
        }
    }

    fn resume(&mut self, at: &TopicPartition) {
        if let Some(assigned) = self.find(at) {
            // Records that the client brought while it was paused were dropped, so it is sought again.
            assigned.seek = assigned.seek.or(assigned.expected);
            (assigned.is_paused, assigned.is_at_end, assigned.is_end_told) = (false, false, false);
        }
    }

    fn seek(&mut self, at: &TopicPartition, to: NextOffset) -> Result<(), BusError> {
        let assigned = self.find(at).ok_or_else(|| BusError::Lost(format!("{at} is not assigned to this session")))?;
        (assigned.seek, assigned.expected) = (Some(to), Some(to));
        (assigned.is_at_end, assigned.is_end_told, assigned.moved_at) = (false, false, now());
        Ok(())
    }

    fn end(&mut self, at: &TopicPartition) -> Option<NextOffset> {
        let assigned = self.partitions.iter().find(|assigned| assigned.place.at == *at)?;
        if assigned.is_at_end {
            // What stands behind the last record is marks of transactions.
            return assigned.expected;
        }
        native::known_end(&self.consumer, &assigned.place.topic, assigned.place.partition).map(NextOffset)
    }

    fn is_retention_near(&mut self, at: &TopicPartition, needed: NextOffset) -> bool {
        let Some(retention_ms) = self.shared.retention_ms(&at.topic) else { return false };
        let Some(assigned) = self.find(at) else { return false };
        let appended_ms = assigned.appended_ms;
        let (known, since) = *assigned.needed.get_or_insert((needed, appended_ms));
        if known != needed {
            assigned.needed = Some((needed, appended_ms));
            return false;
        }
        wall_clock().millis().saturating_sub(since) > retention_ms / 2
    }

    fn prefetch_bytes(&self) -> u64 {
        let ahead = |consumer: &BaseConsumer<Member>| consumer.context().prefetch_bytes();
        ahead(&self.consumer) + self.feeds.as_ref().map_or(0, ahead)
    }

    /// A static member sends no word when its client closes, so it unsubscribes and waits until that is done: others take
    /// over within a second.
    fn close(&mut self) {
        if std::mem::replace(&mut self.is_closed, true) {
            return;
        }
        self.consumer.unsubscribe();
        let until = now() + LEAVE;
        let is_owning = |session: &Self| session.partitions.iter().any(|assigned| assigned.is_input);
        let mut left = Gathered::default();
        while is_owning(self) && now() < until {
            let _ = self.consumer.poll(Duration::from_millis(20));
            if self.follow_group(&mut left).is_err() {
                return;
            }
        }
        // The request to leave goes out behind the revocation.
        let _ = self.consumer.poll(Duration::from_millis(100));
    }
}

/// A reader of all broadcast partitions, paused.
fn open_feeds(shared: &Shared, spec: &WorkerSpec, client: &str) -> Result<(Option<BaseConsumer<Member>>, Vec<Assigned>), BusError> {
    let mut broadcasts = Vec::new();
    let mut list = TopicPartitionList::new();
    for topic in &spec.broadcasts {
        for partition in 0..shared.partitions(topic)? {
            let place = Place::new(&shared.names, &TopicPartition::new(topic, Partition(partition)));
            list.add_partition(&place.topic, place.partition);
            broadcasts.push(Assigned::new(place, false));
        }
    }
    if broadcasts.is_empty() {
        return Ok((None, broadcasts));
    }
    let config = shared.settings.reader(&format!("{client}.broadcasts"));
    let open = || {
        let feeds: BaseConsumer<Member> = config.create_with_context(Member::default())?;
        list.set_all_offsets(rdkafka::Offset::Beginning)?;
        feeds.assign(&list)?;
        feeds.pause(&list)?;
        Ok(feeds)
    };
    let mut open = open;
    let feeds = open().map_err(|error: KafkaError| failed("reading broadcasts", &error))?;
    Ok((Some(feeds), broadcasts))
}
