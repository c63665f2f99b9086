//! What people and tools may see of a Kafka bus.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rdkafka::{Message, consumer::Consumer};
use schemas::topics::Cleanup;
use stream_core::{HeaderBuffer, NextOffset, Offset, Partition, TopicPartition};

use super::{
    KafkaBus,
    client::{ASK, failed, now},
    names::{Place, split_state_key},
    publisher::KafkaPublisher,
    reader::{Read, Reader, with_record},
    shared::{Shared, lock},
    transactions::{Ended, Transactions},
};
use crate::{
    bus::{BusError, StateImage},
    gathered::Gathered,
    inspect::{Appended, GroupStatus, Inspect, PartitionStatus, ReadLimits, StateStatus, TopicStatus, position_of},
    publish::{PublishBatch, PublishError},
    state::POSITION_KEY,
};

/// Readers kept for those who go on where they stopped, as `tail` and the page do.
const IDLE_READERS_MAX: usize = 16;
/// A read that waits for records looks up this often.
const LOOK: Duration = Duration::from_millis(100);

impl Inspect for KafkaBus {
    fn topics(&self) -> Result<Vec<TopicStatus>, BusError> {
        let shared = self.shared();
        let mut topics = Vec::new();
        for (topic, partitions) in shared.topics()? {
            let Some(name) = shared.names.own_topic(&topic) else { continue };
            let mut status = Vec::new();
            for partition in 0..partitions {
                let place = Place::new(&shared.names, &TopicPartition::new(&name, Partition(partition)));
                let (start, next) = shared.ends(&place, ASK)?;
                status.push(PartitionStatus { start, next, bytes: None });
            }
            let cleanup = schemas::topics::layout(name.as_str()).map_or(Cleanup::Delete, |layout| layout.cleanup);
            topics.push(TopicStatus { name, cleanup, partitions: status });
        }
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    fn read(&self, at: &TopicPartition, from: NextOffset, limits: &ReadLimits, into: &mut Gathered) -> Result<(), BusError> {
        let shared = self.shared();
        if shared.partitions(&at.topic)? <= at.partition.0 {
            return Err(super::missing(&at.topic));
        }
        let place = Place::new(&shared.names, at);
        let context = |error| failed(&format!("reading {at}"), &error);
        let mut position = from;
        let reader = match take_reader(shared, at, from) {
            Some(reader) => reader,
            None => {
                let (start, end) = shared.ends(&place, ASK)?;
                position = from.max(start);
                if position >= end && limits.wait.is_zero() {
                    return Ok(());
                }
                let reader = Reader::open(&shared.settings.reader(&shared.names.client("reader")))?;
                reader.assign(&place.topic, at.partition.0, position).map_err(context)?;
                reader
            }
        };
        let until = now() + limits.wait.max(ASK);
        let waits_until = now() + limits.wait;
        let mut headers = HeaderBuffer::default();
        let mut brought = 0;
        while brought < limits.records_max && into.bytes() < limits.bytes_max {
            let is_waiting = brought == 0 && now() < waits_until;
            match reader.next(LOOK).map_err(context)? {
                Read::Record(message) => {
                    with_record(at, &message, &mut headers, |record| into.push(at, record));
                    position = Offset(u64::try_from(message.offset()).unwrap_or(0)).next();
                    brought += 1;
                }
                Read::End if !is_waiting => break,
                Read::Nothing if brought > 0 || (!is_waiting && (!limits.wait.is_zero() || now() > until)) => break,
                Read::End | Read::Nothing => {}
            }
        }
        give_reader_back(shared, at, position, reader);
        Ok(())
    }

    fn states(&self) -> Result<Vec<StateStatus>, BusError> {
        let shared = self.shared();
        let mut all = Vec::new();
        for (topic, partitions) in shared.topics()? {
            let Some(processor) = shared.names.processor_of(&topic) else { continue };
            for (at, image) in read_state_log(shared, processor, 0..partitions)? {
                let bytes = image.values().map(|value| value.len() as u64).sum();
                all.push(StateStatus { processor: processor.to_owned(), at, keys: image.len(), bytes });
            }
        }
        Ok(all)
    }

    fn groups(&self) -> Result<Vec<GroupStatus>, BusError> {
        let shared = self.shared();
        let mut groups = Vec::new();
        for (topic, partitions) in shared.topics()? {
            let Some(processor) = shared.names.processor_of(&topic) else { continue };
            for (at, image) in read_state_log(shared, processor, 0..partitions)? {
                let Some(position) = image.get(POSITION_KEY) else { continue };
                groups.push(GroupStatus { processor: processor.to_owned(), position: position_of(&at, position)?, at });
            }
        }
        Ok(groups)
    }

    fn state(&self, processor: &str, at: &TopicPartition) -> Result<StateImage, BusError> {
        let partition = at.partition.0;
        Ok(read_state_log(self.shared(), processor, partition..partition + 1)?.remove(at).unwrap_or_default())
    }

    fn reset_state(&self, processor: &str) -> Result<usize, BusError> {
        let shared = self.shared();
        let group = shared.names.group(processor);
        let groups = shared.stable_client().fetch_group_list(Some(&group), ASK).map_err(|error| failed("list of groups", &error))?;
        let members: usize = groups.groups().iter().filter(|found| found.name() == group).map(|found| found.members().len()).sum();
        if members > 0 {
            return Err(BusError::Fatal(format!("{members} members of group {group} are running; stop every {processor} first")));
        }
        let log = shared.names.state_log(processor);
        let partitions = shared.partitions(&log)?;
        // What the last member committed may still be on its way; a key that is not seen would not be forgotten.
        for partition in 0..partitions {
            shared.settled_end(&Place::new(&shared.names, &TopicPartition::new(&log, Partition(partition))))?;
        }
        let states = read_state_log(shared, processor, 0..partitions)?;
        if states.is_empty() {
            return Ok(0);
        }
        let instance = shared.claim("admin")?;
        let id = shared.names.transactional_id("admin", &instance.name);
        let config = shared.settings.producer(&shared.names.client("admin"), &id);
        let mut transactions = Transactions::open(config, instance)?;
        let refuse = |ended: Ended| match ended {
            Ended::Settled(why) | Ended::Lost(why) | Ended::Fatal(why) => BusError::Fatal(format!("state of {processor} stays: {why}")),
        };
        transactions.begin().map_err(refuse)?;
        let topic = shared.names.topic(&log);
        let mut forgotten = Ok(());
        for (at, image) in &states {
            for key in image.keys() {
                let key = format!("{}{key}", super::names::state_prefix(at));
                let sent = transactions.send(&topic, at.partition.0, Some(key.as_bytes()), None, Default::default());
                forgotten = forgotten.and(sent);
            }
        }
        match forgotten.and_then(|()| transactions.delivered()).and_then(|()| transactions.commit()) {
            Ok(()) => Ok(states.len()),
            Err(error) => Err(refuse(transactions.end("reset", &error))),
        }
    }

    fn append(&self, source: &str, sequence: u64, records: &PublishBatch, position: &[u8]) -> Result<Appended, PublishError> {
        let mut remote = lock(&self.shared().remote);
        if !remote.contains_key(source) {
            let publisher = KafkaPublisher::open_remote(self.shared(), source).map_err(|error| match error {
                BusError::Fatal(why) => PublishError::Closed(why),
                error => PublishError::Retry(error.to_string()),
            })?;
            remote.insert(source.to_owned(), publisher);
        }
        match remote.get_mut(source) {
            Some(publisher) => publisher.append(sequence, records, position),
            None => Err(PublishError::Retry(format!("no publisher for {source}"))),
        }
    }
}

fn take_reader(shared: &Shared, at: &TopicPartition, from: NextOffset) -> Option<Reader> {
    let mut idle = lock(&shared.idle_readers);
    let index = idle.iter().position(|(partition, position, _)| partition == at && *position == from)?;
    Some(idle.remove(index).2)
}

fn give_reader_back(shared: &Shared, at: &TopicPartition, position: NextOffset, reader: Reader) {
    let mut idle = lock(&shared.idle_readers);
    let forgotten = (idle.len() >= IDLE_READERS_MAX).then(|| idle.remove(0));
    idle.push((at.clone(), position, reader));
    drop(idle);
    // Closing a client takes a moment, which nobody has to wait for under the lock.
    drop(forgotten);
}

/// The live keys of all instances in these partitions of a processor's state log.
fn read_state_log(
    shared: &Arc<Shared>,
    processor: &str,
    partitions: std::ops::Range<u32>,
) -> Result<BTreeMap<TopicPartition, StateImage>, BusError> {
    let log = shared.names.state_log(processor);
    let mut states = BTreeMap::<TopicPartition, StateImage>::new();
    let known = shared.partitions(&log)?;
    let reader = Reader::open(&shared.settings.reader(&shared.names.client("reader")))?;
    for partition in partitions.start..partitions.end.min(known) {
        let place = Place::new(&shared.names, &TopicPartition::new(&log, Partition(partition)));
        let context = |error| failed(&format!("reading {}", place.at), &error);
        if shared.ends(&place, ASK)?.1 == NextOffset(0) {
            continue;
        }
        reader.assign(&place.topic, partition, NextOffset(0)).map_err(context)?;
        let until = now() + 6 * ASK;
        loop {
            match reader.next(LOOK).map_err(context)? {
                Read::Record(message) => {
                    let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(split_state_key);
                    let Some((at, key)) = key else { continue };
                    let image = states.entry(at).or_default();
                    match message.payload() {
                        Some(value) => _ = image.insert(key.to_owned(), value.to_vec()),
                        None => _ = image.remove(key),
                    }
                }
                Read::End => break,
                Read::Nothing if now() > until => return Err(BusError::Lost(format!("{} cannot be read", place.at))),
                Read::Nothing => {}
            }
        }
    }
    states.retain(|_, image| !image.is_empty());
    Ok(states)
}
