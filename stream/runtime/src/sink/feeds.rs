//! Broadcast partitions, read whole by every replica: only while no instance is being restored, and from where the instance
//! that has seen least left off.

use std::collections::BTreeMap;

use stream_core::{NextOffset, TopicPartition};

use crate::bus::{BusError, Session};

/// All broadcast partitions.
#[derive(Debug, Default)]
pub(super) struct Feeds(BTreeMap<TopicPartition, Feed>);

#[derive(Debug, Default)]
struct Feed {
    is_open: bool,
    is_at_end: bool,
}

impl Feeds {
    /// The session may read this one.
    pub(super) fn assigned(&mut self, at: TopicPartition) {
        self.0.insert(at, Feed::default());
    }

    /// Everything that stands in it has been gathered, if it is one of ours.
    pub(super) fn at_end(&mut self, at: &TopicPartition) {
        if let Some(feed) = self.0.get_mut(at) {
            feed.is_at_end = feed.is_open;
        }
    }

    /// Whether its records are to be applied.
    pub(super) fn is_open(&self, at: &TopicPartition) -> bool {
        self.0.get(at).is_some_and(|feed| feed.is_open)
    }

    /// Whether all have been read to their ends.
    pub(super) fn are_at_end(&self) -> bool {
        self.0.values().all(|feed| feed.is_at_end)
    }

    /// Reads on from where `seen` says.
    pub(super) fn open(&mut self, session: &mut dyn Session, seen: impl Fn(&TopicPartition) -> NextOffset) -> Result<(), BusError> {
        for (at, feed) in self.0.iter_mut().filter(|(_, feed)| !feed.is_open) {
            session.seek(at, seen(at))?;
            session.resume(at);
            feed.is_open = true;
        }
        Ok(())
    }

    /// An instance is not where it committed, or will come back from there: what it has seen is open again.
    pub(super) fn close(&mut self, session: &mut dyn Session) {
        for (at, feed) in &mut self.0 {
            session.pause(at);
            *feed = Feed::default();
        }
    }
}
