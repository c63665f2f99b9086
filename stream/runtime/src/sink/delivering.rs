//! What a step does with what it gathered: broadcasts, batches, ticks. The sink acts first; the commit follows.

use std::time::Duration;

use stream_core::{Applied, Delivered, Headers, NextOffset, Outbox, Record, RefusedLater, Sink, TopicPartition};

use super::{Owned, SinkParts, SinkWorker, Slot};
use crate::{
    dead_letters::{self, Rejecter},
    metrics::{AbortCause, BatchTime},
    mutation::{self, Mutation},
    worker::WorkerError,
};

/// Time between two ticks.
const TICK: Duration = Duration::from_secs(1);

/// How the handing over of a batch ended.
enum Outcome {
    /// There is nothing to hand over.
    Nothing,
    /// So many records are dealt with.
    Handed(u32),
    /// The same, and the partition rests.
    Rests(u32, Duration, String),
    /// It panicked.
    Broken,
    /// The line stops here.
    Stopped(WorkerError),
}

/// Dead letters for records that the sink had been done with and that were refused when they were sent later. They fill the
/// same bucket as the others.
fn bury<S: Sink>(owned: &mut Owned<S>, parts: &SinkParts<S>, rejecter: &Rejecter, outbox: &mut Outbox) -> Result<(), WorkerError> {
    let at = owned.instance.at().clone();
    for refused in owned.instance.sink.take_refused() {
        let RefusedLater { offset, appended_at, key, value, headers, reject } = refused;
        let (key, value, headers) = (key.as_deref(), value.as_deref(), Headers::from_encoded(&headers));
        let record = Record { topic: &at.topic, partition: at.partition, offset, appended_at, key, value, headers };
        parts.metrics.reject(&at.topic, reject.reason);
        owned.instance.refuse(&record, outbox);
        let put = dead_letters::put(&record, &reject, rejecter, outbox);
        if owned.bucket.reject(&parts.settings.dlq) || put.is_err() {
            return Err(WorkerError::TooManyRejects { at, offset, reject: put.err().unwrap_or(reject) });
        }
    }
    Ok(())
}

impl<S: Sink> SinkWorker<S> {
    /// Applies gathered broadcast records in a commit of their own.
    pub(super) fn apply_broadcasts(&mut self) -> Result<(), WorkerError> {
        self.outbox.clear();
        let mut has_applied = false;
        for (at, record) in self.gathered.records().filter(|(at, _)| self.feeds.is_open(at)) {
            let failed = |reject| WorkerError::Broadcast { at: at.clone(), offset: record.offset, reject };
            let mut rejected = None;
            for slot in self.slots.values_mut() {
                let Slot::Running(owned) = slot else { continue };
                let seen = owned.broadcasts.entry(at.clone()).or_default();
                if seen.is_past(record.offset) {
                    continue;
                }
                *seen = record.offset.next();
                has_applied = true;
                match owned.instance.broadcast(record, &mut self.outbox) {
                    Applied::Accepted => {}
                    Applied::Rejected(reject) => rejected = Some(reject),
                    Applied::Poisoned(reject) => return Err(failed(reject)),
                }
            }
            if let Some(reject) = rejected {
                self.parts.metrics.reject(&at.topic, reject.reason);
                dead_letters::put(&record, &reject, &self.rejecter, &mut self.outbox).map_err(failed)?;
            }
        }
        if has_applied {
            let touched: Vec<_> = self.slots.keys().cloned().collect();
            self.commit(&touched)?;
        }
        self.release_newborn();
        Ok(())
    }

    /// New-born instances begin once every broadcast has been read to its end.
    fn release_newborn(&mut self) {
        if !self.feeds.are_at_end() {
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

    /// Partitions that have rested are read again.
    pub(super) fn resume(&mut self) -> Result<(), WorkerError> {
        let now = self.now();
        for (at, slot) in &mut self.slots {
            if let (Slot::Running(owned), Some(session)) = (slot, &mut self.session)
                && owned.rests_until.is_some_and(|until| now >= until)
            {
                owned.rests_until = None;
                session.seek(at, owned.next)?;
                session.resume(at);
            }
        }
        Ok(())
    }

    /// Hands over the gathered records, batch by batch, until the time is up: the group wants to be polled. What is left is
    /// read again.
    pub(super) fn deliver(&mut self) -> Result<(), WorkerError> {
        let deadline = self.now() + Duration::from_millis(self.parts.settings.batch.process_ms_max);
        let mut partitions: Vec<_> = self.gathered.records().map(|(at, _)| at.clone()).collect();
        partitions.sort();
        partitions.dedup();
        for at in &partitions {
            while self.now() < deadline && !self.is_stopping() {
                if !self.deliver_batch(at)? {
                    break;
                }
                self.ticked();
            }
        }
        for at in &partitions {
            if let (Some(session), Some(Slot::Running(owned))) = (&mut self.session, self.slots.get(at))
                && self.gathered.records().any(|(here, record)| here == at && !owned.next.is_past(record.offset))
            {
                session.seek(at, owned.next)?;
            }
        }
        Ok(())
    }

    /// Hands over one batch of a partition and commits what came of it. False if it goes no further in this round.
    fn deliver_batch(&mut self, at: &TopicPartition) -> Result<bool, WorkerError> {
        let begun = self.now();
        self.outbox.clear();
        let outcome = self.hand_over(at);
        let processing = self.now().saturating_sub(begun);
        let (count, rest) = match outcome {
            Outcome::Nothing => return Ok(false),
            Outcome::Handed(count) => (count, None),
            Outcome::Rests(count, pause, why) => (count, Some((pause, why))),
            Outcome::Broken => {
                self.parts.metrics.aborted(AbortCause::Panic);
                self.restore_later(at);
                return Ok(false);
            }
            Outcome::Stopped(error) => {
                self.parts.metrics.aborted(AbortCause::Stopped);
                return Err(error);
            }
        };
        if count > 0 || !self.outbox.is_empty() {
            if !self.commit(std::slice::from_ref(at))? {
                return Ok(false);
            }
            let time = BatchTime { processing, whole: self.now().saturating_sub(begun) };
            self.parts.metrics.processed(&[(at.clone(), count)].into(), self.outbox.take_counts(), time);
        }
        let Some((pause, why)) = rest else { return Ok(true) };
        tracing::warn!(sink = self.parts.name, partition = %at, why, ?pause, "its destination takes nothing for now");
        let until = self.now() + pause;
        if let (Some(session), Some(Slot::Running(owned))) = (&mut self.session, self.slots.get_mut(at)) {
            session.pause(at);
            owned.rests_until = Some(until);
        }
        Ok(false)
    }

    fn hand_over(&mut self, at: &TopicPartition) -> Outcome {
        let Self { gathered, slots, outbox, parts, rejecter, poisoned, alone, first_reject, .. } = self;
        let Some(Slot::Running(owned)) = slots.get_mut(at) else { return Outcome::Nothing };
        if owned.awaits_broadcasts || owned.rests_until.is_some() {
            return Outcome::Nothing;
        }
        let is_alone = alone.get(at).is_some_and(|until| owned.next < *until);
        let records_max = if is_alone { 1 } else { S::batch_records_max(&parts.config, &parts.destination).max(1) };
        let waiting = gathered.records().filter(|(here, record)| *here == at && !owned.next.is_past(record.offset));
        let records: Vec<Record<'_>> = waiting.map(|(_, record)| record).take(records_max).collect();
        let Some(first) = records.first() else { return Outcome::Nothing };
        let known = poisoned.get(&(at.clone(), first.offset)).cloned();
        let delivered = match known {
            Some(reject) => Delivered::Refused { done: 0, reject },
            None => owned.instance.deliver(&records, (parts.wall)(), outbox),
        };
        let (done, refused, rest) = match delivered {
            Delivered::Done { done } => (done, None, None),
            Delivered::Later { done, pause, why } => {
                (mutation::or(done, Mutation::UndoneRecordsPassed, || records.len()), None, Some((pause, why)))
            }
            Delivered::Refused { done, reject } => (done, Some(reject), None),
            Delivered::Broken { taken, reject } => {
                tracing::error!(sink = parts.name, partition = %at, offset = %first.offset, taken, %reject, "a record broke the sink");
                match records.get(1..taken).and_then(<[_]>::last) {
                    Some(last) => _ = alone.insert(at.clone(), last.offset.next()),
                    None => _ = poisoned.insert((at.clone(), first.offset), reject),
                }
                return Outcome::Broken;
            }
        };
        for record in records.iter().take(done) {
            owned.advance(record.offset, record.appended_at);
            owned.bucket.accept(&parts.settings.dlq);
        }
        let mut count = done as u32;
        if let (Some(reject), Some(record)) = (refused, records.get(done)) {
            parts.metrics.reject(&at.topic, reject.reason);
            if owned.bucket.is_empty() {
                first_reject.insert(at.clone(), (record.offset, reject.clone()));
            }
            owned.instance.refuse(record, outbox);
            let put = dead_letters::put(record, &reject, rejecter, outbox);
            if owned.bucket.reject(&parts.settings.dlq) || put.is_err() {
                let (offset, reject) = first_reject.get(at).cloned().unwrap_or((record.offset, put.err().unwrap_or(reject)));
                return Outcome::Stopped(WorkerError::TooManyRejects { at: at.clone(), offset, reject });
            }
            owned.advance(record.offset, record.appended_at);
            count += 1;
        }
        if let Err(error) = bury(owned, parts, rejecter, outbox) {
            return Outcome::Stopped(error);
        }
        match rest {
            None => Outcome::Handed(count),
            Some((pause, why)) => Outcome::Rests(count, pause, why),
        }
    }

    /// Tells every instance the time, once a second, and commits if that had consequences.
    pub(super) fn tick(&mut self) -> Result<(), WorkerError> {
        let now = self.now();
        let wall = (self.parts.wall)();
        self.outbox.clear();
        self.writes.clear();
        let is_due = |slot: &Slot<S>| match slot {
            Slot::Running(owned) => {
                !owned.awaits_broadcasts && (now.saturating_sub(owned.ticked_at) >= TICK || owned.instance.sink.is_pressed())
            }
            Slot::Restoring(_) => false,
        };
        let due: Vec<_> = self.slots.iter().filter(|(_, slot)| is_due(slot)).map(|(at, _)| at.clone()).collect();
        let mut touched = Vec::new();
        for at in due {
            let outputs = self.outbox.len();
            if let Some(Slot::Running(owned)) = self.slots.get_mut(&at) {
                owned.ticked_at = now;
                let next: NextOffset = owned.next;
                let ticked = owned.instance.tick(next, wall, &mut self.outbox);
                ticked.map_err(|reject| WorkerError::Tick { at: at.clone(), tick: wall, reject })?;
                bury(owned, &self.parts, &self.rejecter, &mut self.outbox)?;
            }
            let written = self.writes.len();
            if self.write(&at)? || self.outbox.len() > outputs {
                touched.push(at);
            } else {
                self.writes.truncate(written);
            }
        }
        if !touched.is_empty() {
            self.commit_written(&touched)?;
        }
        Ok(())
    }
}
