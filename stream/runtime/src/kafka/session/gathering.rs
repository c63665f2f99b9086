//! What the client brings: records, the ends of partitions, and what the group decided meanwhile.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use rdkafka::{
    Message,
    consumer::Consumer,
    error::{KafkaError, RDKafkaErrorCode},
};
use stream_core::{Offset, Partition, TopicPartition};

use super::{KafkaSession, assigned::Assigned};
use crate::{
    bus::{BatchLimits, BusError},
    gathered::{Gathered, PartitionEvent},
    kafka::{
        client::{ASK, failed, now},
        member::Change,
        names::Place,
        reader::{is_transient, position, with_record},
    },
};

/// A client that has records to read and brings none for this long is stuck: a known failure of consumers that go on sending
/// heartbeats.
const STUCK: Duration = Duration::from_secs(60);
/// Records between two looks at the clock while there is a next one: a look costs as much as a record.
const RECORDS_PER_CLOCK: usize = 64;

impl KafkaSession {
    /// Takes records until the batch is full, its time is over, nothing comes any more, or the group changed.
    pub(super) fn fill(&mut self, limits: &BatchLimits, into: &mut Gathered) -> Result<(), BusError> {
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
        Ok(())
    }

    /// Takes note of what the rebalance callbacks did; true if anything changed.
    pub(super) fn follow_group(&mut self, into: &mut Gathered) -> Result<bool, BusError> {
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
    pub(super) fn seek_pending(&mut self, into: &mut Gathered) -> Result<(), BusError> {
        for index in 0..self.partitions.len() {
            let Some(assigned) = self.partitions.get(index).filter(|assigned| !assigned.is_paused) else { continue };
            let Some(to) = assigned.seek else { continue };
            let (first, end) = self.shared.ends(&assigned.place, ASK)?;
            let to = assigned.check_position(to, first, end, into)?;
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
            (false, _) => &**consumer,
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
            // Who reads whole topics has a group's name, but joins none, and needs no right to one.
            KafkaError::MessageConsumption(RDKafkaErrorCode::GroupAuthorizationFailed) if is_feed => Ok(()),
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
            let to = assigned.check_position(expected, first, end, into)?;
            if to != expected {
                assigned.seek = Some(to);
            }
        }
        Ok(())
    }

    /// Says of which partitions everything has been gathered, once; and whether the client still brings what there is.
    pub(super) fn tell_ends(&mut self, into: &mut Gathered) -> Result<(), BusError> {
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
}
