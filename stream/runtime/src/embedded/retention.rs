//! What is removed, and when. Whole segments go, the oldest first, so retention is the deletion of a file.

use std::sync::atomic::Ordering;

use schemas::{
    EventTime,
    topics::{Class, Cleanup, DLQ_SUFFIX, TOPICS},
};

use stream_core::NextOffset;

use super::{
    partition_log::{PartitionLog, SegmentEntry},
    shared::Shared,
};

/// Applies age and bytes of each topic, then the cap over all. Returns the bytes that are left.
pub(super) fn retain(shared: &Shared, now: EventTime) -> u64 {
    let logs = shared.topics.logs();
    for log in &logs {
        while let Some(entry) = log.take_oldest_if(|log, oldest| {
            let is_too_old = now.millis_since(oldest.index.last_appended) > log.limits.retention_ms;
            let is_too_much = log.bytes() > log.limits.retention_bytes && log.segments.len() > 1;
            log.limits.cleanup == Cleanup::Delete && (is_too_old || is_too_much)
        }) {
            remove(log, &entry);
        }
    }
    let mut total: u64 = logs.iter().filter_map(|log| log.status().bytes).sum();
    for class in [Class::Data, Class::DeadLetters] {
        while total > shared.config.bytes_max {
            let victims = logs.iter().filter(|log| class_of(log.at.topic.as_str()) == class);
            let oldest = victims.filter_map(|log| Some((log.age_of_sealed()?, log))).min_by_key(|(age, _)| *age);
            let Some(entry) = oldest.and_then(|(_, log)| Some((log, log.take_oldest_if(|_, _| true)?))) else {
                break;
            };
            remove(entry.0, &entry.1);
            total -= entry.1.index.bytes;
        }
    }
    total
}

/// The class of a topic by the table of topics, whatever prefix an operator gave it. What is not in the table is data.
fn class_of(name: &str) -> Class {
    if name.ends_with(DLQ_SUFFIX) {
        return Class::DeadLetters;
    }
    TOPICS.iter().find(|topic| name.ends_with(topic.name)).map_or(Class::Data, |topic| topic.class)
}

fn remove(log: &PartitionLog, entry: &SegmentEntry) {
    let path = entry.segment.path().display();
    match entry.segment.remove() {
        Ok(()) => tracing::debug!(partition = %log.at, from = entry.segment.base.0, to = entry.index.next.0, "retention removed records"),
        Err(error) => tracing::warn!(%path, %error, "retention could not remove a file"),
    }
}

impl PartitionLog {
    /// Takes the oldest segment out of the log if it may go.
    fn take_oldest_if(&self, may_go: impl FnOnce(&super::partition_log::LogState, &SegmentEntry) -> bool) -> Option<SegmentEntry> {
        let mut state = self.lock();
        let may_go = state.segments.front().is_some_and(|oldest| may_go(&state, oldest));
        may_go.then(|| state.segments.pop_front()).flatten()
    }

    fn is_in_oldest_sealed(&self, position: NextOffset) -> bool {
        let state = self.lock();
        state.segments.len() > 1 && state.segments.front().is_some_and(|oldest| position < oldest.index.next)
    }

    /// Time of the newest record of the oldest segment, if that takes no more appends and the log may be cut.
    fn age_of_sealed(&self) -> Option<EventTime> {
        let state = self.lock();
        let is_cut = state.limits.cleanup == Cleanup::Delete && state.segments.len() > 1;
        state.segments.front().filter(|_| is_cut).map(|oldest| oldest.index.last_appended)
    }
}

/// Whether a record will be removed before long: by its topic's limits, or because the bus is near its cap and the record
/// is in the oldest segment of its partition.
pub(super) fn is_near(shared: &Shared, log: &PartitionLog, position: NextOffset, now: EventTime) -> bool {
    let (bytes, cap) = (shared.bytes.load(Ordering::Relaxed), shared.config.bytes_max);
    let is_capped = bytes > cap / 8 * 7 && log.is_in_oldest_sealed(position);
    is_capped || log.is_retention_near(position, now)
}
