//! One partition as a session sees it: where it stands, and what has been told about it.

use std::time::Instant;

use rdkafka::topic_partition_list::TopicPartitionList;
use stream_core::NextOffset;

use crate::{
    bus::BusError,
    gathered::{Gathered, PartitionEvent},
    kafka::{client::now, names::Place},
    time::wall_clock,
};

/// A partition that this session may read.
pub(super) struct Assigned {
    pub(super) place: Place,
    pub(super) is_input: bool,
    pub(super) is_paused: bool,
    /// A position that the client has not taken on yet.
    pub(super) seek: Option<NextOffset>,
    /// The next record must be this or a later one: offsets have gaps, but never go back. None before the state is known.
    pub(super) expected: Option<NextOffset>,
    pub(super) is_at_end: bool,
    pub(super) is_end_told: bool,
    /// Who we were when its state was read.
    pub(super) restored_as: Option<String>,
    /// The append time of the last record.
    pub(super) appended_ms: i64,
    /// The position that the last snapshot needs, and the append time when it was first asked about.
    pub(super) needed: Option<(NextOffset, i64)>,
    /// When the position last moved, and to where.
    pub(super) moved_at: Instant,
    pub(super) moved_to: Option<NextOffset>,
}

impl Assigned {
    pub(super) fn new(place: Place, is_input: bool) -> Self {
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

    pub(super) fn list(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.place.topic, self.place.partition);
        list
    }

    /// Where to read, if `to` is wanted: retention may have removed it, which is told.
    pub(super) fn check_position(
        &self,
        to: NextOffset,
        first: NextOffset,
        end: NextOffset,
        into: &mut Gathered,
    ) -> Result<NextOffset, BusError> {
        let at = &self.place.at;
        if to < first {
            into.events.push(PartitionEvent::Trimmed { at: at.clone(), from: to, to: first });
            return Ok(first);
        }
        if to > end && self.is_input {
            return Err(BusError::Fatal(format!(
                "{at} ends at {end}, but everything before {to} has been processed: the topic was truncated or made anew; \
                 `nephoscope state reset` starts anew"
            )));
        }
        Ok(to)
    }
}
