//! How a transaction begins and ends, and what follows when it does not succeed.

use std::{sync::atomic::Ordering, time::Duration};

use stream_core::{Processor, TopicPartition};

use super::{Slot, Worker, WorkerError, context};
use crate::{
    bus::{BusError, CommitBatch, CommitError},
    metrics::{AbortCause, InstanceTotals, commit_result},
    mutation::{Mutation, is_on},
};

/// Pause before a commit that found the disk full is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

impl<P: Processor> Worker<P> {
    pub(super) fn begin(&mut self) -> Result<bool, WorkerError> {
        self.outbox.clear();
        self.writes.clear();
        let Some(session) = &mut self.session else { return Ok(false) };
        session.begin()?;
        self.tracer.iter_mut().for_each(|tracer| tracer.begin());
        Ok(true)
    }

    /// Commits what the touched instances did. False if it did not succeed and they are to be restored.
    pub(super) fn commit(&mut self, touched: &[TopicPartition]) -> Result<bool, WorkerError> {
        let mut positions = Vec::with_capacity(touched.len());
        for at in touched {
            let partitions = self.bus.partitions(&at.topic)?;
            let Some(Slot::Running(owned)) = self.slots.get_mut(at) else { continue };
            let context = context::<P>(&self.config, &self.settings, partitions, self.clock.monotonic());
            owned.write(&context, || self.clock.cpu(), &mut self.writes)?;
            positions.push((at.clone(), owned.next));
        }
        self.tracer.iter_mut().for_each(|tracer| tracer.sending(&mut self.outbox));
        let batch = CommitBatch { outputs: &self.outbox, state: &self.writes, positions: &positions };
        let begun = self.clock.monotonic();
        let outcome = loop {
            let Some(session) = &mut self.session else { return Ok(false) };
            match session.commit(&batch) {
                Err(CommitError::Retry(why)) if !self.stop.load(Ordering::Relaxed) => {
                    self.metrics.stalled(&why);
                    self.clock.sleep(RETRY_PAUSE);
                    self.metrics.ticked(self.clock.monotonic());
                }
                outcome => break outcome,
            }
        };
        self.metrics.commit(&outcome, self.clock.monotonic().saturating_sub(begun));
        self.metrics.sent(&self.outbox, &outcome);
        self.traced(outcome.as_ref().copied().map_err(|_| commit_result(&outcome)));
        match outcome {
            Ok(()) => {
                self.committed(touched);
                Ok(true)
            }
            Err(CommitError::Aborted(why)) => {
                tracing::warn!(processor = P::NAME, why, "commit aborted; restoring");
                self.restore_gathered(touched);
                Ok(false)
            }
            Err(CommitError::Retry(why) | CommitError::Fenced(why) | CommitError::Unknown(why)) => {
                self.lose_session(&why);
                Ok(false)
            }
            Err(CommitError::Fatal(why)) => Err(WorkerError::Commit(why)),
        }
    }

    fn committed(&mut self, touched: &[TopicPartition]) {
        for at in touched {
            let Some(Slot::Running(owned)) = self.slots.get_mut(at) else { continue };
            if owned.committed() {
                self.metrics.snapshot(owned.snapshot_bytes, owned.snapshot_cost);
            }
            let next = owned.next;
            let end = self.session.as_mut().and_then(|session| session.end(at)).unwrap_or(next);
            let clock = owned.instance.clock;
            let watermark = clock.is_started().then_some(clock.watermark);
            let instance = InstanceTotals { lag: end.0.saturating_sub(next.0), watermark, state_bytes: owned.state_bytes };
            self.metrics.update(|totals| _ = totals.instances.insert(at.clone(), instance));
            self.poisoned.retain(|(partition, offset), _| partition != at || !next.is_past(*offset));
        }
    }

    pub(super) fn abort(&mut self, cause: AbortCause) -> Result<(), WorkerError> {
        self.metrics.aborted(cause);
        self.traced(Err(cause.as_str()));
        let aborted = self.session.as_mut().map(|session| session.abort());
        match aborted {
            Some(Err(BusError::Lost(why))) => self.lose_session(&why),
            Some(Err(error)) => return Err(error.into()),
            _ => self.restore_gathered(&[]),
        }
        Ok(())
    }

    fn traced(&mut self, outcome: Result<(), &'static str>) {
        self.tracer.iter_mut().for_each(|tracer| tracer.ended(outcome));
    }

    /// Memory is ahead of the log, and the session has passed over records that were not processed: every partition that
    /// was touched or gathered from comes back from what was committed.
    pub(super) fn restore_gathered(&mut self, touched: &[TopicPartition]) {
        if is_on(Mutation::StateKeptAfterAbort) {
            return;
        }
        let gathered = self.gathered.records().map(|(at, _)| at).chain(touched);
        let Some(session) = &mut self.session else { return };
        for at in gathered {
            if let Some(slot) = self.slots.get_mut(at)
                && !matches!(slot, Slot::Restoring(_))
            {
                session.pause(at);
                *slot = Slot::Restoring(None);
            }
        }
        self.close_feeds();
    }
}
