//! How a sink's state goes to the bus and comes back from there.

use std::time::Duration;

use schemas::EventTime;
use stream_core::{Sink, TopicPartition};

use super::{Mismatch, Owned, SinkWorker, Slot};
use crate::{
    bus::{BusError, CommitBatch, CommitError, Restoring},
    metrics::InstanceTotals,
    mutation::{Mutation, is_on},
    state::StoredState,
    worker::WorkerError,
};

/// Pause before a commit that found the disk full is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl<S: Sink> SinkWorker<S> {
    /// Commits what the touched instances did and put out, then lets them act on it. False if the commit did not succeed and
    /// they are to be restored.
    pub(super) fn commit(&mut self, touched: &[TopicPartition]) -> Result<bool, WorkerError> {
        self.writes.clear();
        for at in touched {
            self.write(at)?;
        }
        self.commit_written(touched)
    }

    /// Adds an instance's state to the next commit. True if it has changed.
    pub(super) fn write(&mut self, at: &TopicPartition) -> Result<bool, WorkerError> {
        let Some(Slot::Running(owned)) = self.slots.get_mut(at) else { return Ok(false) };
        owned.write(&self.parts.config, self.parts.settings.state.state_bytes_max, &mut self.writes)
    }

    pub(super) fn commit_written(&mut self, touched: &[TopicPartition]) -> Result<bool, WorkerError> {
        let next = |at: &TopicPartition| match self.slots.get(at) {
            Some(Slot::Running(owned)) => Some((at.clone(), owned.next)),
            _ => None,
        };
        let positions: Vec<_> = touched.iter().filter_map(next).collect();
        if is_on(Mutation::ActedBeforeCommit) {
            self.act(touched)?;
        }
        let Some(session) = &mut self.session else { return Ok(false) };
        session.begin()?;
        let batch = CommitBatch { outputs: &self.outbox, state: &self.writes, positions: &positions };
        let begun = self.parts.clock.monotonic();
        let outcome = loop {
            match session.commit(&batch) {
                Err(CommitError::Retry(why)) if !self.stop.load(std::sync::atomic::Ordering::Relaxed) => {
                    self.parts.metrics.stalled(&why);
                    self.parts.clock.sleep(RETRY_PAUSE);
                    self.parts.metrics.ticked(self.parts.clock.monotonic());
                }
                outcome => break outcome,
            }
        };
        self.parts.metrics.commit(&outcome, self.now().saturating_sub(begun));
        self.parts.metrics.sent(&self.outbox, &outcome);
        match outcome {
            Ok(()) => self.committed(touched).map(|()| true),
            Err(CommitError::Aborted(why)) => {
                tracing::warn!(sink = self.parts.name, why, "commit aborted; restoring");
                if !is_on(Mutation::StateKeptAfterAbort) {
                    self.restore_gathered(touched);
                }
                Ok(false)
            }
            Err(CommitError::Retry(why) | CommitError::Fenced(why) | CommitError::Unknown(why)) => {
                self.lose_session(&why);
                Ok(false)
            }
            Err(CommitError::Fatal(why)) => Err(WorkerError::Commit(why)),
        }
    }

    fn committed(&mut self, touched: &[TopicPartition]) -> Result<(), WorkerError> {
        for at in touched {
            let Some(Slot::Running(owned)) = self.slots.get_mut(at) else { continue };
            owned.committed();
            let next = owned.next;
            let end = self.session.as_mut().and_then(|session| session.end(at)).unwrap_or(next);
            let instance = InstanceTotals { lag: end.0.saturating_sub(next.0), watermark: None, state_bytes: owned.state_bytes };
            self.parts.metrics.update(|totals| _ = totals.instances.insert(at.clone(), instance));
            self.poisoned.retain(|(partition, offset), _| partition != at || !next.is_past(*offset));
            self.alone.retain(|partition, until| partition != at || *until > next);
        }
        self.act(touched)
    }

    /// Lets the touched instances act on what their states hold.
    fn act(&mut self, touched: &[TopicPartition]) -> Result<(), WorkerError> {
        for at in touched {
            let Some(Slot::Running(owned)) = self.slots.get_mut(at) else { continue };
            owned.instance.after_commit().map_err(|reject| WorkerError::AfterCommit { at: at.clone(), reject })?;
        }
        Ok(())
    }

    /// Memory is ahead of the log: every partition that was touched or gathered from comes back from what was committed.
    fn restore_gathered(&mut self, touched: &[TopicPartition]) {
        let gathered: Vec<_> = self.gathered.records().map(|(at, _)| at).chain(touched).cloned().collect();
        for at in &gathered {
            self.restore_later(at);
        }
    }

    /// An instance is not to be trusted any more; it comes back in the next round.
    pub(super) fn restore_later(&mut self, at: &TopicPartition) {
        let (Some(session), Some(slot)) = (&mut self.session, self.slots.get_mut(at)) else { return };
        if matches!(slot, Slot::Running(_)) {
            session.pause(at);
            *slot = Slot::Restoring(None);
            self.close_feeds();
        }
    }

    /// One slice of restoring each partition that needs it.
    pub(super) fn restore(&mut self) -> Result<(), WorkerError> {
        let restoring = |(at, slot): (&TopicPartition, &Slot<S>)| match slot {
            Slot::Restoring(mismatch) => Some((at.clone(), *mismatch)),
            Slot::Running(_) => None,
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

    /// A mismatch between state and group counts only if it is still there when both have been read again, since whoever owns
    /// the partition by now may have committed in between.
    fn restored(&mut self, at: &TopicPartition, stored: Option<StoredState>, before: Option<Mismatch>) -> Result<(), WorkerError> {
        let partitions = self.parts.bus.partitions(&at.topic)?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let group = session.committed(at)?;
        let has_broadcasts = !self.spec.broadcasts.is_empty();
        let config = &self.parts.config;
        let mut owned = match stored {
            None => Owned::<S>::fresh(config, self.id(at), group.unwrap_or_default(), partitions)?,
            Some(stored) => {
                let position = stored.position.next;
                if let Some(group) = group.filter(|group| *group != position) {
                    if before == Some((group, position)) || is_on(Mutation::MismatchBelievedAtOnce) {
                        return Err(WorkerError::GroupMoved { at: at.clone(), group, position });
                    }
                    self.slots.insert(at.clone(), Slot::Restoring(Some((group, position))));
                    return Ok(());
                }
                let mut owned = Owned::<S>::restored(config, self.id(at), stored, partitions)?;
                // What is in the state is on the bus: a process that died may have left it to be acted on.
                owned.instance.after_commit().map_err(|reject| WorkerError::AfterCommit { at: at.clone(), reject })?;
                owned
            }
        };
        // No record yet: whatever ended its first life came while it was reading the broadcasts.
        owned.awaits_broadcasts = has_broadcasts && owned.appended_at == EventTime::MIN;
        owned.ticked_at = self.now();
        let Some(session) = &mut self.session else { return Ok(()) };
        session.seek(at, owned.next)?;
        if !owned.awaits_broadcasts {
            session.resume(at);
        }
        self.parts.metrics.update(|totals| totals.restores += 1);
        self.slots.insert(at.clone(), Slot::Running(Box::new(owned)));
        Ok(())
    }

    /// Reads broadcasts on, if every instance is where it committed.
    pub(super) fn open_feeds(&mut self) -> Result<(), BusError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        let mut running = Vec::with_capacity(self.slots.len());
        for slot in self.slots.values() {
            let Slot::Running(owned) = slot else { return Ok(()) };
            running.push(owned);
        }
        if running.is_empty() {
            return Ok(());
        }
        let seen = |at: &TopicPartition| running.iter().map(|owned| owned.broadcasts.get(at).copied().unwrap_or_default()).min();
        self.feeds.open(session.as_mut(), |at| seen(at).unwrap_or_default())
    }

    pub(super) fn close_feeds(&mut self) {
        if let Some(session) = &mut self.session {
            self.feeds.close(session.as_mut());
        }
    }
}
