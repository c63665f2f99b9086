//! A worker's view of Kafka: a member of a consumer group, and one transactional producer (KIP-447).
//!
//! Three things are not as they look. Positions come from the state alone: a new partition is paused at its beginning until
//! it has been sought, and whatever arrives before that is dropped. A transaction is begun only when the batch is complete,
//! so no rebalance ever meets an open one. And a commit goes out only if this is still the member that restored the
//! partitions: a client whose membership lapsed may join again as somebody new without telling anybody.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::TopicPartitionList,
};
use stream_core::{HeaderBuffer, NextOffset, Offset, Partition, TopicName, TopicPartition};

use super::{
    client::{ASK, Change, Member, failed, now},
    instance::Instance,
    names::{Place, state_prefix},
    native,
    reader::{Reader, is_transient, position, with_record},
    routes::Routes,
    shared::Shared,
    state_log::{Restore, stable_position},
    transactions::{Ended, Transactions},
};
use crate::{
    bus::{BatchLimits, BusError, CommitBatch, CommitError, Restoring, Session, WorkerSpec},
    gathered::{Gathered, PartitionEvent},
    peril::{Moment, pass},
    time::wall_clock,
};

/// How long leaving the group may take.
const LEAVE: Duration = Duration::from_secs(3);
/// A client that has records to read and brings none for this long is stuck: a known failure of consumers that go on sending
/// heartbeats.
const STUCK: Duration = Duration::from_secs(60);

/// Records between two looks at the clock while there is a next one: a look costs as much as a record.
const RECORDS_PER_CLOCK: usize = 64;

/// A session on Kafka.
pub struct KafkaSession {
    shared: Arc<Shared>,
    processor: String,
    instance: Arc<Instance>,
    consumer: BaseConsumer<Member>,
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

/// A partition that this session may read.
struct Assigned {
    place: Place,
    is_input: bool,
    is_paused: bool,
    /// A position that the client has not taken on yet.
    seek: Option<NextOffset>,
    /// The next record must be this or a later one: offsets have gaps, but never go back. None before the state is known.
    expected: Option<NextOffset>,
    is_at_end: bool,
    is_end_told: bool,
    /// Who we were when its state was read.
    restored_as: Option<String>,
    /// The append time of the last record.
    appended_ms: i64,
    /// The position that the last snapshot needs, and the append time when it was first asked about.
    needed: Option<(NextOffset, i64)>,
    /// When the position last moved, and to where.
    moved_at: Instant,
    moved_to: Option<NextOffset>,
}

impl Assigned {
    fn new(place: Place, is_input: bool) -> Self {
        Self {
            place,
            is_input,
            is_paused: true,
            seek: None,
            expected: None,
            is_at_end: false,
            is_end_told: false,
            restored_as: None,
            appended_ms: wall_clock().millis(),
            needed: None,
            moved_at: now(),
            moved_to: None,
        }
    }

    fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.place.topic, self.place.partition);
        list
    }
}

/// Why a batch could not be written.
enum Unwritten {
    Client(&'static str, KafkaError),
    /// Somebody else owns what was processed.
    Foreign(String),
    Wrong(BusError),
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
        let consumer: BaseConsumer<Member> =
            config.create_with_context(Member::default()).map_err(|error| failed("group member", &error))?;
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

    /// Takes note of what the rebalance callbacks did; true if anything changed.
    fn follow_group(&mut self, into: &mut Gathered) -> Result<bool, BusError> {
        let changes = self.consumer.context().take_changes();
        let is_changed = !changes.is_empty();
        for change in changes {
            match change {
                Change::Assigned(list) => {
                    for (topic, partition) in list {
                        let Some(name) = self.shared.names.own_topic(&topic) else { continue };
                        let at = TopicPartition::new(&name, Partition(u32::try_from(partition).unwrap_or(0)));
                        self.partitions.retain(|assigned| assigned.place.at != at);
                        self.partitions.push(Assigned::new(Place { at: at.clone(), topic, partition }, true));
                        into.events.push(PartitionEvent::Assigned(at));
                    }
                }
                Change::Revoked(list) => {
                    for (topic, partition) in list {
                        let Some(index) = self.partitions.iter().position(|assigned| assigned.place.is(&topic, partition)) else {
                            continue;
                        };
                        let at = self.partitions.remove(index).place.at;
                        self.restore.take_if(|(restoring, _)| *restoring == at);
                        into.events.push(PartitionEvent::Revoked(at));
                    }
                }
                Change::Failed(error) => return Err(failed("rebalance", &error)),
            }
        }
        Ok(is_changed)
    }

    /// Puts the client where the engine wants it. A client that is not ready for it is asked again at the next gather.
    fn seek_pending(&mut self, into: &mut Gathered) -> Result<(), BusError> {
        for index in 0..self.partitions.len() {
            let Some(assigned) = self.partitions.get(index).filter(|assigned| !assigned.is_paused) else { continue };
            let Some(to) = assigned.seek else { continue };
            let (first, end) = self.shared.ends(&assigned.place, ASK)?;
            let to = check_position(assigned, to, first, end, into)?;
            let consumer = self.consumer_of(assigned);
            let sought = consumer.seek(&assigned.place.topic, assigned.place.partition, position(to), ASK);
            let moved = sought.and_then(|()| consumer.resume(&assigned.list()));
            let Some(assigned) = self.partitions.get_mut(index) else { continue };
            match moved {
                Ok(()) => (assigned.seek, assigned.expected, assigned.moved_at) = (None, Some(to), now()),
                Err(error) if assigned.moved_at.elapsed() > STUCK => return Err(failed(&format!("seek in {}", assigned.place.at), &error)),
                Err(error) => tracing::debug!(%error, partition = %assigned.place.at, "seek has to wait"),
            }
        }
        Ok(())
    }

    /// Takes the next record or event from the client; true if it was a record.
    fn poll(&mut self, is_feed: bool, wait: Duration, into: &mut Gathered) -> Result<bool, BusError> {
        let Self { consumer, feeds, partitions, last, headers, .. } = self;
        let consumer = match (is_feed, feeds) {
            (false, _) => &*consumer,
            (true, Some(feeds)) => feeds,
            (true, None) => return Ok(false),
        };
        let message = match consumer.poll(wait) {
            None => return Ok(false),
            Some(Err(error)) => {
                self.on_error(is_feed, &error, into)?;
                return Ok(false);
            }
            Some(Ok(message)) => message,
        };
        let (topic, partition) = (message.topic(), message.partition());
        if !partitions.get(*last).is_some_and(|assigned| assigned.place.is(topic, partition)) {
            let Some(index) = partitions.iter().position(|assigned| assigned.place.is(topic, partition)) else { return Ok(false) };
            *last = index;
        }
        let Some(assigned) = partitions.get_mut(*last).filter(|assigned| !assigned.is_paused && assigned.seek.is_none()) else {
            return Ok(false);
        };
        let Some(expected) = assigned.expected else { return Ok(false) };
        let offset = Offset(u64::try_from(message.offset()).unwrap_or(0));
        if expected.is_past(offset) {
            // Looking up the beginning, where a new partition is paused, may end after the seek and take its place. The record has
            // been processed, so it is sought again.
            tracing::debug!(partition = %assigned.place.at, %offset, %expected, "record from before the position");
            assigned.seek = Some(expected);
            return Ok(false);
        }
        with_record(&assigned.place.at, &message, headers, |record| {
            assigned.appended_ms = record.appended_at.millis();
            into.push(&assigned.place.at, record);
        });
        assigned.expected = Some(offset.next());
        (assigned.is_at_end, assigned.is_end_told) = (false, false);
        Ok(true)
    }

    fn on_error(&mut self, is_feed: bool, error: &KafkaError, into: &mut Gathered) -> Result<(), BusError> {
        match error {
            KafkaError::PartitionEOF(partition) => self.on_end(is_feed, *partition),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                self.on_out_of_range(is_feed, into)
            }
            KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId) => Err(match self.instance.fenced() {
                Some(why) => BusError::Fatal(why),
                None => BusError::Lost("another process joined under the same instance name".into()),
            }),
            KafkaError::MessageConsumptionFatal(code) => Err(BusError::Lost(format!("the client gave up: {code}"))),
            error if is_transient(error) => {
                tracing::debug!(%error, "consumer");
                Ok(())
            }
            error => Err(failed(&self.reading(), error)),
        }
    }

    /// What this session does, for errors that name neither topic nor group.
    fn reading(&self) -> String {
        let topics: BTreeSet<_> = self.partitions.iter().map(|assigned| assigned.place.topic.as_str()).collect();
        let topics: Vec<_> = topics.into_iter().collect();
        let reading = if topics.is_empty() { String::new() } else { format!(" reading {}", topics.join(", ")) };
        format!("member of group {}{reading}", self.shared.names.group(&self.processor))
    }

    /// The event names the number of the partition, but not its topic; if several fit, the brokers are asked.
    fn on_end(&mut self, is_feed: bool, partition: i32) -> Result<(), BusError> {
        let fits = |assigned: &Assigned| {
            assigned.is_input != is_feed && assigned.place.partition == partition && !assigned.is_paused && assigned.seek.is_none()
        };
        let is_ambiguous = self.partitions.iter().filter(|assigned| fits(assigned)).count() > 1;
        for assigned in self.partitions.iter_mut().filter(|assigned| fits(assigned)) {
            let Some(expected) = assigned.expected else { continue };
            assigned.is_at_end = !is_ambiguous || self.shared.ends(&assigned.place, ASK)?.1 <= expected;
        }
        Ok(())
    }

    /// Retention removed what was to be read next, in one of the partitions.
    fn on_out_of_range(&mut self, is_feed: bool, into: &mut Gathered) -> Result<(), BusError> {
        for assigned in self.partitions.iter_mut().filter(|assigned| assigned.is_input != is_feed && !assigned.is_paused) {
            let Some(expected) = assigned.expected else { continue };
            let (first, end) = self.shared.ends(&assigned.place, ASK)?;
            let to = check_position(assigned, expected, first, end, into)?;
            if to != expected {
                assigned.seek = Some(to);
            }
        }
        Ok(())
    }

    /// Says of which partitions everything has been gathered, once; and whether the client still brings what there is.
    fn tell_ends(&mut self, into: &mut Gathered) -> Result<(), BusError> {
        for assigned in self.partitions.iter_mut().filter(|assigned| !assigned.is_paused && assigned.seek.is_none()) {
            if assigned.is_at_end || assigned.expected.is_none() || assigned.expected != assigned.moved_to {
                (assigned.moved_at, assigned.moved_to) = (now(), assigned.expected);
                if assigned.is_at_end && !std::mem::replace(&mut assigned.is_end_told, true) {
                    into.events.push(PartitionEvent::AtEnd(assigned.place.at.clone()));
                }
            } else if assigned.moved_at.elapsed() > STUCK {
                assigned.moved_at = now();
                if let (Some(expected), Ok((_, end))) = (assigned.expected, self.shared.ends(&assigned.place, ASK))
                    && expected < end
                {
                    let what = format!("{}: position {expected} of {end} has not moved for {} s", assigned.place.at, STUCK.as_secs());
                    return Err(BusError::Lost(what));
                }
            }
        }
        Ok(())
    }

    fn check_open(&self) -> Result<(), BusError> {
        if self.is_closed { Err(BusError::Lost("the session is closed".into())) } else { Ok(()) }
    }

    fn write(&mut self, batch: &CommitBatch<'_>) -> Result<(), Ended> {
        pass(Moment::Begin);
        self.transactions.begin()?;
        match self.fill(batch) {
            Ok(()) => Ok(()),
            Err(Unwritten::Client(what, error)) => Err(self.transactions.end(what, &error)),
            Err(Unwritten::Foreign(why)) => Err(self.transactions.abort(why)),
            Err(Unwritten::Wrong(error)) => {
                let _ = self.transactions.abort(error.to_string());
                Err(Ended::Fatal(error.to_string()))
            }
        }
    }

    fn fill(&mut self, batch: &CommitBatch<'_>) -> Result<(), Unwritten> {
        for output in batch.outputs.outputs() {
            let (topic, partitions) = self.routes.to(&self.shared, output.topic).map_err(|error| unroutable(output.topic, error))?;
            let partition = output.partition_among(partitions);
            let sent = self.transactions.send(topic, partition.0, output.key, output.value, output.headers);
            sent.map_err(|error| Unwritten::Client("output", error))?;
        }
        let state_log = self.shared.names.topic(&self.state_log);
        for write in batch.state {
            let key = format!("{}{}", state_prefix(&write.at), write.key);
            let (key, value) = (Some(key.as_bytes()), write.value.as_deref());
            let sent = self.transactions.send(&state_log, write.at.partition.0, key, value, Default::default());
            sent.map_err(|error| Unwritten::Client("state", error))?;
        }
        self.transactions.delivered().map_err(|error| Unwritten::Client("delivery", error))?;
        pass(Moment::Sent);
        // Read anew for every commit: the generation moves on with every rebalance, also with those that leave us what we
        // have. And read before we look who we are, so that a membership that lapses in between does not slip through.
        let member = self.consumer.group_metadata().ok_or_else(|| Unwritten::Foreign("this client has no group".into()))?;
        self.check_member(batch)?;
        let mut positions = TopicPartitionList::with_capacity(batch.positions.len());
        for (at, next) in batch.positions {
            let topic = self.shared.names.topic(&at.topic);
            let added = positions.add_partition_offset(&topic, super::reader::number(at.partition.0), position(*next));
            added.map_err(|error| Unwritten::Client("position", error))?;
        }
        if positions.count() > 0 {
            self.transactions.send_positions(&positions, &member).map_err(|error| Unwritten::Client("positions", error))?;
        }
        pass(Moment::Positioned);
        self.transactions.commit().map_err(|error| Unwritten::Client("commit", error))?;
        pass(Moment::Committed);
        Ok(())
    }

    /// Whether all that was processed still belongs to who restored it.
    fn check_member(&mut self, batch: &CommitBatch<'_>) -> Result<(), Unwritten> {
        if self.consumer.assignment_lost() {
            return Err(Unwritten::Foreign("the assignment was lost".into()));
        }
        let member = native::member_id(&self.consumer);
        for at in batch.positions.iter().map(|(at, _)| at).chain(batch.state.iter().map(|write| &write.at)) {
            match self.partitions.iter().find(|assigned| assigned.place.at == *at) {
                Some(assigned) if assigned.restored_as.is_some() && assigned.restored_as == member => {}
                Some(_) => return Err(Unwritten::Foreign(format!("{at} was restored by an earlier membership"))),
                None => return Err(Unwritten::Foreign(format!("{at} is not assigned to this session of {}", self.processor))),
            }
        }
        Ok(())
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
        let has_feeds = self.feeds.is_some();
        let mut quiet_ends = now() + limits.quiet;
        let mut batch_ends = None::<Instant>;
        while into.len() < limits.records_max && into.bytes() < limits.bytes_max {
            let at = now();
            let deadline = batch_ends.map_or(quiet_ends, |batch_ends| batch_ends.min(quiet_ends));
            if at >= deadline {
                break;
            }
            let is_fed = has_feeds && self.poll(true, Duration::ZERO, into)?;
            let wait = if is_fed { Duration::ZERO } else { deadline - at };
            let mut is_more = self.poll(false, wait, into)?;
            if is_more || is_fed {
                quiet_ends = at + limits.quiet;
                batch_ends.get_or_insert(at + limits.batch_time_max);
            }
            let records_max = limits.records_max.min(into.len() + RECORDS_PER_CLOCK);
            while is_more && into.len() < records_max && into.bytes() < limits.bytes_max {
                is_more = self.poll(false, Duration::ZERO, into)?;
            }
            if self.follow_group(into)? {
                break;
            }
        }
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

/// Where to read, if `to` is wanted: retention may have removed it, which is told.
fn check_position(
    assigned: &Assigned,
    to: NextOffset,
    first: NextOffset,
    end: NextOffset,
    into: &mut Gathered,
) -> Result<NextOffset, BusError> {
    let at = &assigned.place.at;
    if to < first {
        into.events.push(PartitionEvent::Trimmed { at: at.clone(), from: to, to: first });
        return Ok(first);
    }
    if to > end && assigned.is_input {
        return Err(BusError::Fatal(format!(
            "{at} ends at {end}, but everything before {to} has been processed: the topic was truncated or made anew; \
             `nephoscope state reset` starts anew"
        )));
    }
    Ok(to)
}

fn unroutable(topic: &TopicName, error: KafkaError) -> Unwritten {
    match super::routes::describe(topic, &error) {
        Some(error) => Unwritten::Wrong(error),
        None => Unwritten::Client("output", error),
    }
}
