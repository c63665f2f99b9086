//! A sink as a runtime drives it: what became of a batch, a tick, a commit. Panics end here.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use schemas::EventTime;

use super::{Sink, SinkBatch, SinkError};
use crate::{
    Applied, NextOffset, Outbox, OutputSource, Record, Reject, RejectReason, TopicPartition,
    instance::{Fault, guard, panic_text},
};

/// What became of a batch. `done` counts the records, from the first, that are finished; outputs are only theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// It goes on with the next.
    Done {
        /// Records finished; at least one.
        done: usize,
    },
    /// It goes on after a pause.
    Later {
        /// Records finished.
        done: usize,
        /// How long the partition rests.
        pause: Duration,
        /// Why.
        why: String,
    },
    /// The record after the finished ones is refused for good.
    Refused {
        /// Records finished.
        done: usize,
        /// Why.
        reject: Reject,
    },
    /// It panicked or broke an output limit: its state is not to be trusted any more.
    Broken {
        /// Records that it had taken.
        taken: usize,
        /// Why.
        reject: Reject,
    },
}

/// A sink that neither failed nor took anything is asked again after this time.
const NOTHING_TAKEN_PAUSE: Duration = Duration::from_secs(1);

/// A sink and what its outputs are numbered by.
pub struct SinkInstance<S> {
    /// The sink.
    pub sink: S,
    /// The last tick: ticks number outputs, so none may come twice.
    pub last_tick: EventTime,
    at: TopicPartition,
}

impl<S: Sink> SinkInstance<S> {
    /// Puts a sink and its last tick together.
    pub fn new(sink: S, last_tick: EventTime, at: TopicPartition) -> Self {
        Self { sink, last_tick, at }
    }

    /// Which partition it reads.
    pub fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// Hands it records. `now` is the wall clock.
    pub fn deliver(&mut self, records: &[Record<'_>], now: EventTime, out: &mut Outbox) -> Delivered {
        let mut batch = SinkBatch::new(&self.at, records, self.last_tick, now, out);
        let sink = &mut self.sink;
        let outcome = catch_unwind(AssertUnwindSafe(|| sink.on_batch(&mut batch, out)));
        let broken = |taken, reason, detail: &str| Delivered::Broken { taken, reject: Reject::new(reason, detail) };
        if let Some(detail) = batch.overflow.take().or_else(|| out.take_overflow()) {
            return broken(batch.taken, RejectReason::OutputLimit, &detail);
        }
        match outcome {
            Err(panic) => broken(batch.taken, RejectReason::Panic, panic_text(&*panic)),
            Ok(Ok(())) if batch.taken == 0 => {
                Delivered::Later { done: 0, pause: NOTHING_TAKEN_PAUSE, why: "it takes nothing for now".into() }
            }
            Ok(Ok(())) => Delivered::Done { done: batch.taken },
            Ok(Err(error)) => {
                out.undo_to(batch.settled);
                let done = batch.done;
                match error {
                    SinkError::RetryAfter { pause, why } => Delivered::Later { done, pause, why },
                    SinkError::Poison(reject) => Delivered::Refused { done, reject },
                }
            }
        }
    }

    /// Gets ready for the dead letter of a record.
    pub fn refuse(&self, record: &Record<'_>, out: &mut Outbox) {
        out.begin(&self.at, OutputSource::Record(record.offset), record.appended_at, self.last_tick);
    }

    /// A second has passed.
    ///
    /// # Errors
    /// If the sink panics or breaks a limit: there is no record to blame, so the sink stops.
    pub fn tick(&mut self, next: NextOffset, now: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        self.last_tick = now.max(EventTime(self.last_tick.0.saturating_add(1)));
        let now = self.last_tick;
        out.begin(&self.at, OutputSource::Tick(next, now), now, now);
        let sink = &mut self.sink;
        guard(out, |out| sink.on_tick(now, out)).map_err(|fault| match fault {
            Fault::Rejected(reject) | Fault::Poisoned(reject) => reject,
        })
    }

    /// Applies a record of a broadcast. It has no outputs; `out` is left ready for its dead letter.
    pub fn broadcast(&mut self, record: Record<'_>, out: &mut Outbox) -> Applied {
        out.begin(&record.topic_partition(), OutputSource::Record(record.offset), record.appended_at, self.last_tick);
        match catch_unwind(AssertUnwindSafe(|| self.sink.on_broadcast(record))) {
            Ok(Ok(())) => Applied::Accepted,
            Ok(Err(reject)) => Applied::Rejected(reject),
            Err(panic) => Applied::Poisoned(Reject::new(RejectReason::Panic, panic_text(&*panic))),
        }
    }

    /// The state is committed.
    ///
    /// # Errors
    /// If the sink panics.
    pub fn after_commit(&mut self) -> Result<(), Reject> {
        let sink = &mut self.sink;
        catch_unwind(AssertUnwindSafe(|| sink.after_commit())).map_err(|panic| Reject::new(RejectReason::Panic, panic_text(&*panic)))
    }
}
