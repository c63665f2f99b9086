//! How the committed state of an instance is read: one restore path, in slices, so that other partitions go on.
//!
//! A former owner may have a transaction open that will still commit. So the order matters: ask the group for its stable
//! position (the broker answers only once no transaction on it is open), note the end of the state log as it is *now* with
//! open transactions, wait until that end is stable, and only then read. Reading to the last stable offset of any moment
//! would miss the commit that was on its way.

use std::time::Duration;

use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    topic_partition_list::TopicPartitionList,
};
use stream_core::{NextOffset, TopicPartition};

use super::{
    client::{failed, now},
    member::Member,
    names::{Place, state_prefix},
    reader::{Read, Reader, next_offset},
    shared::Shared,
};
use crate::{
    bus::{BusError, Restoring, StateImage},
    mutation::{Mutation, is_on},
};

/// Time of one slice.
const SLICE: Duration = Duration::from_millis(100);

/// A restore under way.
pub(super) struct Restore {
    place: Place,
    prefix: String,
    stage: Stage,
}

enum Stage {
    /// Waiting until the group's position is stable.
    Position,
    /// Waiting until the state log is stable up to here.
    Stable(NextOffset),
    /// Reading it.
    Reading(Box<Reader>, StateImage),
}

impl Restore {
    /// Begins; `log` is the partition of the state log in which the instance's keys stand.
    pub(super) fn new(log: Place, at: &TopicPartition) -> Self {
        Self { place: log, prefix: state_prefix(at), stage: Stage::Position }
    }

    /// One slice. `input` is the partition whose state it is; `reader` makes a reader, or gives one back that is free.
    pub(super) fn step(
        &mut self,
        shared: &Shared,
        consumer: &BaseConsumer<Member>,
        input: &Place,
        reader: impl FnOnce() -> Result<Reader, BusError>,
    ) -> Result<Restoring, BusError> {
        match &mut self.stage {
            Stage::Position => {
                if stable_position(consumer, input, SLICE)?.is_some() {
                    match shared.high_ends(&self.place, SLICE) {
                        Ok((_, end)) => self.stage = Stage::Stable(end),
                        Err(BusError::Lost(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(Restoring::Pending)
            }
            Stage::Stable(mark) => {
                match shared.ends(&self.place, SLICE) {
                    Ok((_, stable)) if stable < *mark && !is_on(Mutation::StateReadToLastStable) => std::thread::sleep(SLICE / 10),
                    Ok(_) if *mark == NextOffset(0) => return Ok(Restoring::Ready(StateImage::new())),
                    Ok(_) => {
                        let reader = reader()?;
                        reader
                            .assign(&self.place.topic, self.place.at.partition.0, NextOffset(0))
                            .map_err(|error| failed(&format!("reading {}", self.place.at), &error))?;
                        self.stage = Stage::Reading(Box::new(reader), StateImage::new());
                    }
                    Err(BusError::Lost(_)) => {}
                    Err(error) => return Err(error),
                }
                Ok(Restoring::Pending)
            }
            Stage::Reading(reader, image) => {
                let until = now() + SLICE;
                while now() < until {
                    let read = reader.next(SLICE / 10).map_err(|error| failed(&format!("reading {}", self.place.at), &error))?;
                    match read {
                        Read::Record(message) => put(image, &self.prefix, &message),
                        Read::End => return Ok(Restoring::Ready(std::mem::take(image))),
                        Read::Nothing => {}
                    }
                }
                Ok(Restoring::Pending)
            }
        }
    }

    /// The reader, for the next restore.
    pub(super) fn into_reader(self) -> Option<Reader> {
        match self.stage {
            Stage::Reading(reader, _) => Some(*reader),
            Stage::Position | Stage::Stable(_) => None,
        }
    }
}

/// Applies one record of a state log.
pub(super) fn put(image: &mut StateImage, prefix: &str, message: &impl Message) {
    let key = message.key().and_then(|key| std::str::from_utf8(key).ok()).and_then(|key| key.strip_prefix(prefix));
    let Some(key) = key else { return };
    match message.payload() {
        Some(value) => _ = image.insert(key.to_owned(), value.to_vec()),
        None => _ = image.remove(key),
    }
}

/// The group's position in a partition: `None` while it is not known or not stable, `Some(None)` if there is none.
pub(super) fn stable_position(
    consumer: &BaseConsumer<Member>,
    place: &Place,
    wait: Duration,
) -> Result<Option<Option<NextOffset>>, BusError> {
    let mut list = TopicPartitionList::new();
    list.add_partition(&place.topic, place.partition);
    let answered = match consumer.committed_offsets(list, wait) {
        Ok(answered) => answered,
        Err(error) if is_undecided(&error) => return Ok(None),
        Err(error) => return Err(failed(&format!("the group's position in {}", place.at), &error)),
    };
    let found = answered.elements().first().map(|element| (element.error(), element.offset()));
    match found {
        Some((Ok(()), offset)) => Ok(Some(next_offset(offset))),
        Some((Err(error), _)) if !is_undecided(&error) => Err(failed(&format!("the group's position in {}", place.at), &error)),
        _ => Ok(None),
    }
}

fn is_undecided(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as C;
    matches!(
        error.rdkafka_error_code(),
        Some(
            C::UnstableOffsetCommit
                | C::OperationTimedOut
                | C::RequestTimedOut
                | C::WaitingForCoordinator
                | C::CoordinatorNotAvailable
                | C::CoordinatorLoadInProgress
                | C::NotCoordinator
                | C::BrokerTransportFailure
                | C::AllBrokersDown
                | C::NetworkException
                | C::StaleMemberEpoch
                | C::IllegalGeneration
                | C::RebalanceInProgress
                | C::UnknownMemberId
        )
    )
}
