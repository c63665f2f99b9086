//! What a step does with what it gathered: broadcasts, records, silence; each in transactions of its own.

use std::{collections::BTreeMap, time::Duration};

use stream_core::{Applied, Offset, Processor, Reject, TopicPartition};

use super::{Slot, Worker, WorkerError, context};
use crate::{
    dead_letters,
    metrics::{AbortCause, BatchTime},
};

/// Records between two looks at the clock while a batch is processed.
const RECORDS_PER_CLOCK: usize = 256;

/// How the processing of a batch ended.
enum Outcome {
    /// Up to this record; more may be left.
    Processed(usize),
    /// This record must not be processed again.
    Poisoned(TopicPartition, Offset, Reject),
    /// The line stops here.
    Stopped(WorkerError),
}

impl<P: Processor> Worker<P> {
    /// Applies gathered broadcast records in a commit of their own, which holds a snapshot: no replay will meet them.
    pub(super) fn process_broadcasts(&mut self) -> Result<(), WorkerError> {
        let feeds = &self.feeds;
        let is_open = |at: &TopicPartition| feeds.get(at).is_some_and(|feed| feed.open);
        if self.gathered.records().any(|(at, _)| is_open(at)) {
            if !self.begin()? {
                return Ok(());
            }
            if let Err(error) = self.apply_broadcasts() {
                self.abort(AbortCause::Stopped)?;
                return Err(error);
            }
            let touched: Vec<_> = self.slots.keys().cloned().collect();
            self.commit(&touched)?;
        }
        self.release_newborn();
        Ok(())
    }

    /// One partition after the other, as the snapshot's head lists them: in which order a gather brought them is not written
    /// down anywhere, so it must not matter.
    fn apply_broadcasts(&mut self) -> Result<(), WorkerError> {
        let open = self.feeds.iter().filter(|(_, feed)| feed.open).map(|(at, _)| at);
        for (at, record) in open.flat_map(|open| self.gathered.records().filter(move |(at, _)| *at == open)) {
            let mut rejected = None;
            for slot in self.slots.values_mut() {
                let Slot::Running(owned) = slot else { continue };
                let seen = owned.broadcasts.entry(at.clone()).or_default();
                if seen.is_past(record.offset) {
                    continue;
                }
                *seen = record.offset.next();
                owned.snapshot_due = true;
                match owned.instance.broadcast(record, &mut self.outbox) {
                    Applied::Accepted => {}
                    Applied::Rejected(reject) => rejected = Some(reject),
                    Applied::Poisoned(reject) => {
                        return Err(WorkerError::Broadcast { at: at.clone(), offset: record.offset, reject });
                    }
                }
            }
            if let Some(reject) = rejected {
                self.metrics.reject(&at.topic, reject.reason);
                dead_letters::put(&record, &reject, &self.rejecter, &mut self.outbox).map_err(|reject| WorkerError::Broadcast {
                    at: at.clone(),
                    offset: record.offset,
                    reject,
                })?;
            }
        }
        Ok(())
    }

    /// New-born instances begin once every broadcast has been read to its end.
    fn release_newborn(&mut self) {
        if !self.feeds.values().all(|feed| feed.at_end) {
            return;
        }
        for (at, slot) in &mut self.slots {
            if let (Slot::Running(owned), Some(session)) = (slot, &mut self.session)
                && std::mem::take(&mut owned.awaits_broadcasts)
            {
                session.resume(at);
            }
        }
    }

    /// Processes the gathered input records, in as many transactions as their time limit needs.
    pub(super) fn process_records(&mut self) -> Result<(), WorkerError> {
        let mut from = 0;
        while from < self.gathered.len() && self.has_work(from) {
            if !self.begin()? {
                return Ok(());
            }
            let mut touched = BTreeMap::new();
            let (begun, cpu) = (self.clock.monotonic(), self.clock.cpu());
            let outcome = self.process_batch(from, &mut touched);
            self.charge(cpu, &touched);
            let processing = self.clock.monotonic().saturating_sub(begun);
            if let Some(tracer) = &mut self.tracer {
                tracer.processed(&touched, &mut self.gathered.records().skip(from).map(|(_, record)| record));
            }
            match outcome {
                Outcome::Processed(to) => {
                    let partitions: Vec<_> = touched.keys().cloned().collect();
                    if !self.commit(&partitions)? {
                        return Ok(());
                    }
                    let whole = self.clock.monotonic().saturating_sub(begun);
                    self.metrics.processed(&touched, self.outbox.take_counts(), BatchTime { processing, whole });
                    from = to;
                }
                Outcome::Poisoned(at, offset, reject) => {
                    tracing::error!(processor = P::NAME, partition = %at, %offset, %reject, "record panicked; it becomes a dead letter");
                    self.poisoned.insert((at, offset), reject);
                    self.metrics.process_time(&touched, AbortCause::Panic.as_str(), processing);
                    self.abort(AbortCause::Panic)?;
                    return Ok(());
                }
                Outcome::Stopped(error) => {
                    self.metrics.process_time(&touched, AbortCause::Stopped.as_str(), processing);
                    self.abort(AbortCause::Stopped)?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn has_work(&self, from: usize) -> bool {
        self.gathered.records().skip(from).any(|(at, record)| match self.slots.get(at) {
            Some(Slot::Running(owned)) => !owned.awaits_broadcasts && !owned.next.is_past(record.offset),
            _ => false,
        })
    }

    fn process_batch(&mut self, from: usize, touched: &mut BTreeMap<TopicPartition, u32>) -> Outcome {
        let deadline = self.clock.monotonic() + Duration::from_millis(self.settings.batch.process_ms_max);
        let Self { gathered, slots, outbox, rejecter, poisoned, settings, metrics, first_reject, clock, .. } = self;
        let mut index = from;
        for (at, record) in gathered.records().skip(from) {
            index += 1;
            let Some(Slot::Running(owned)) = slots.get_mut(at) else { continue };
            if owned.awaits_broadcasts || owned.next.is_past(record.offset) {
                continue;
            }
            match touched.get_mut(at) {
                Some(count) => *count += 1,
                None => {
                    touched.insert(at.clone(), 1);
                }
            }
            let reject = match poisoned
                .iter()
                .find(|((known, offset), _)| known == at && *offset == record.offset)
                .map(|(_, reject)| reject.clone())
            {
                Some(reject) => {
                    owned.instance.skip(record, outbox);
                    owned.poison.insert(record.offset);
                    Some(reject)
                }
                None => match owned.instance.apply(record, outbox) {
                    Applied::Accepted => None,
                    Applied::Rejected(reject) => Some(reject),
                    Applied::Poisoned(reject) => return Outcome::Poisoned(at.clone(), record.offset, reject),
                },
            };
            owned.next = record.offset.next();
            match reject {
                None => owned.bucket.accept(&settings.dlq),
                Some(reject) => {
                    metrics.reject(&at.topic, reject.reason);
                    if owned.bucket.is_empty() {
                        first_reject.insert(at.clone(), (record.offset, reject.clone()));
                    }
                    let put = dead_letters::put(&record, &reject, rejecter, outbox);
                    if owned.bucket.reject(&settings.dlq) || put.is_err() {
                        let (offset, reject) = first_reject.get(at).cloned().unwrap_or((record.offset, put.err().unwrap_or(reject)));
                        return Outcome::Stopped(WorkerError::TooManyRejects { at: at.clone(), offset, reject });
                    }
                }
            }
            if index.is_multiple_of(RECORDS_PER_CLOCK) && clock.monotonic() >= deadline {
                break;
            }
        }
        Outcome::Processed(index)
    }

    /// Idle ticks for partitions that have been silent for long enough, and snapshots for those that owe one.
    pub(super) fn process_silence(&mut self) -> Result<(), WorkerError> {
        let now = self.clock.monotonic();
        let idle = Duration::from_millis(self.settings.time.idle_ms);
        let mut ticks = Vec::new();
        let mut touched = Vec::new();
        for (at, slot) in &mut self.slots {
            let Slot::Running(owned) = slot else { continue };
            let silent_ms = i64::try_from(now.saturating_sub(owned.silent_since).as_millis()).unwrap_or(i64::MAX);
            let tick = owned.instance.clock.idle_tick(silent_ms);
            let due = owned.at_end && !owned.awaits_broadcasts && now.saturating_sub(owned.ticked_at) >= idle;
            if due && let Some(tick) = tick {
                owned.ticked_at = now;
                ticks.push((at.clone(), tick));
            }
            if let (Some(session), Some(needed)) = (&mut self.session, owned.snapshot_next) {
                owned.snapshot_due |= needed < owned.next && session.is_retention_near(at, needed);
            }
            let context = context::<P>(&self.config, &self.settings, 0, now);
            let owes = owned.snapshot_next.is_some() && owned.needs_snapshot(&context);
            if owes || ticks.last().is_some_and(|(ticked, _)| ticked == at) {
                touched.push(at.clone());
            }
        }
        if touched.is_empty() || !self.begin()? {
            return Ok(());
        }
        for (at, tick) in ticks {
            let Some(Slot::Running(owned)) = self.slots.get_mut(&at) else { continue };
            if let Err(error) = owned.tick(tick, &mut self.outbox, &mut self.writes) {
                self.abort(AbortCause::Stopped)?;
                return Err(error);
            }
        }
        self.commit(&touched).map(|_| ())
    }

    /// Shares the CPU time since `begun` among the instances by their records, as what a replay would cost; and notes that
    /// they are not silent.
    pub(super) fn charge(&mut self, begun: Duration, records: &BTreeMap<TopicPartition, u32>) {
        let total: u32 = records.values().sum();
        if total == 0 {
            return;
        }
        let cost = self.clock.cpu().saturating_sub(begun);
        let now = self.clock.monotonic();
        for (at, count) in records {
            if let Some(Slot::Running(owned) | Slot::Replaying(owned, _)) = self.slots.get_mut(at) {
                owned.debt += cost.mul_f64(f64::from(*count) / f64::from(total));
                owned.silent_since = now;
                owned.ticked_at = now;
            }
        }
    }
}
