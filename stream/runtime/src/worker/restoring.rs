//! The one way in which state comes back: the last committed snapshot, then everything since, outputs discarded.

use std::collections::BTreeMap;

use schemas::EventTime;
use stream_core::{NextOffset, Processor, TopicPartition};

use super::{Feed, Mismatch, Slot, Worker, WorkerError, context};
use crate::{
    bus::Restoring,
    mutation::{Mutation, is_on},
    owned::Owned,
    state::StoredState,
};

impl<P: Processor> Worker<P> {
    /// One slice of restoring each partition that needs it.
    pub(super) fn restore(&mut self) -> Result<(), WorkerError> {
        let restoring = |(at, slot): (&TopicPartition, &Slot<P>)| match slot {
            Slot::Restoring(mismatch) => Some((at.clone(), *mismatch)),
            Slot::Replaying(..) | Slot::Running(_) => None,
        };
        let restoring: Vec<_> = self.slots.iter().filter_map(restoring).collect();
        for (at, mismatch) in restoring {
            let Some(session) = &mut self.session else { return Ok(()) };
            if let Restoring::Ready(image) = session.restore_step(&at)? {
                self.restored(&at, StoredState::read(&at, &image)?, mismatch)?;
            }
        }
        Ok(())
    }

    /// State and group position are read one after the other; in between, whoever owns the partition by now may have
    /// committed. So a mismatch counts only if it is still there when both have been read again.
    fn restored(&mut self, at: &TopicPartition, stored: Option<StoredState>, before: Option<Mismatch>) -> Result<(), WorkerError> {
        let partitions = self.bus.partitions(&at.topic)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let group = session.committed(at)?;
        let context = context::<P>(&self.config, &self.settings, partitions, self.clock.monotonic());
        let slot = match stored {
            None => {
                let mut owned = Owned::fresh(at, group.unwrap_or_default(), &context)?;
                owned.awaits_broadcasts = !self.spec.broadcasts.is_empty();
                Slot::Running(Box::new(owned))
            }
            Some(stored) => {
                let position = stored.position.next;
                let skip_to = self.skip.as_ref().and_then(|skip| skip.target(at, position, group));
                if let Some(group) = group.filter(|group| *group != position && skip_to.is_none()) {
                    if before == Some((group, position)) || is_on(Mutation::MismatchBelievedAtOnce) {
                        return Err(WorkerError::GroupMoved { at: at.clone(), group, position });
                    }
                    self.slots.insert(at.clone(), Slot::Restoring(Some((group, position))));
                    return Ok(());
                }
                // No record yet: whatever ended its first life came while it was reading the broadcasts.
                let is_newborn = stored.position.clock.appended_at == EventTime::MIN;
                let (mut owned, mut replay) = Owned::restored(at, stored, &context)?;
                if let Some(to) = skip_to {
                    replay.skip_to(to);
                }
                owned.awaits_broadcasts = is_newborn && !self.spec.broadcasts.is_empty();
                // Without anything to live through again, it needs none of the input, should retention have gone past it.
                let is_there = owned.finish_replay(&mut replay, &mut self.outbox)?;
                self.outbox.clear();
                if is_there { Slot::Running(Box::new(owned)) } else { Slot::Replaying(Box::new(owned), replay) }
            }
        };
        let (Slot::Running(owned) | Slot::Replaying(owned, _)) = &slot else { return Ok(()) };
        session.seek(at, owned.next)?;
        if !owned.awaits_broadcasts {
            session.resume(at);
        }
        self.metrics.update(|totals| totals.restores += 1);
        self.slots.insert(at.clone(), slot);
        Ok(())
    }

    /// Lets replaying instances live through gathered records again, outputs discarded, until they are where they committed.
    pub(super) fn replay(&mut self) -> Result<(), WorkerError> {
        let begun = self.clock.cpu();
        let mut replayed = BTreeMap::<TopicPartition, u32>::new();
        for (at, record) in self.gathered.records() {
            let Some(Slot::Replaying(owned, replay)) = self.slots.get_mut(at) else { continue };
            if owned.finish_replay(replay, &mut self.outbox)? {
                continue;
            }
            owned.replay_record(record, replay, &mut self.outbox)?;
            *replayed.entry(at.clone()).or_default() += 1;
        }
        self.charge(begun, &replayed);
        self.metrics.update(|totals| totals.replayed += u64::from(replayed.values().sum::<u32>()));
        let replaying: Vec<_> =
            self.slots.iter().filter(|(_, slot)| matches!(slot, Slot::Replaying(..))).map(|(at, _)| at.clone()).collect();
        for at in replaying {
            let Some(Slot::Replaying(mut owned, mut replay)) = self.slots.remove(&at) else { continue };
            let done = owned.finish_replay(&mut replay, &mut self.outbox)?;
            self.outbox.clear();
            let slot = if done { Slot::Running(owned) } else { Slot::Replaying(owned, replay) };
            self.slots.insert(at, slot);
        }
        Ok(())
    }

    /// Broadcasts are read only while every instance is where it committed, because a replay must not meet them; and from
    /// where the instance that has seen least left off.
    pub(super) fn open_feeds(&mut self) -> Result<(), WorkerError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let running = !self.slots.is_empty() && self.slots.values().all(|slot| matches!(slot, Slot::Running(_)));
        for (at, feed) in self.feeds.iter_mut().filter(|(_, feed)| running && !feed.open) {
            let seen = |slot: &Slot<P>| match slot {
                Slot::Running(owned) => owned.broadcasts.get(at).copied().unwrap_or_default(),
                _ => NextOffset::default(),
            };
            session.seek(at, self.slots.values().map(seen).min().unwrap_or_default())?;
            session.resume(at);
            feed.open = true;
        }
        Ok(())
    }

    /// An instance is not where it committed, or will come back from there: what broadcasts it has seen is open again.
    pub(super) fn close_feeds(&mut self) {
        let Some(session) = self.session.as_mut().filter(|_| !is_on(Mutation::BroadcastsNotReadAgain)) else { return };
        for (at, feed) in &mut self.feeds {
            session.pause(at);
            *feed = Feed::default();
        }
    }
}
