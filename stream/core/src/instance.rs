//! A processor with its clock: one step of the deterministic machine, as every bus, replay and test takes it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use schemas::EventTime;

use crate::{EventClock, Lateness, NextOffset, Outbox, OutputSource, Processor, Record, Reject, RejectReason, TopicPartition};

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// Processed.
    Accepted,
    /// Bad input; the state is as it was, and the outbox too.
    Rejected(Reject),
    /// The processor panicked or broke an output limit: its state is not to be trusted any more. The outbox is as it was.
    Poisoned(Reject),
}

/// A processor and its clock.
pub struct Instance<P> {
    /// The processor.
    pub processor: P,
    /// Its event time.
    pub clock: EventClock,
    at: TopicPartition,
    lateness: Lateness,
}

impl<P: Processor> Instance<P> {
    /// Puts a processor and a clock together.
    pub fn new(processor: P, clock: EventClock, at: TopicPartition, lateness: Lateness) -> Self {
        Self { processor, clock, at, lateness }
    }

    /// Which partition it reads.
    pub fn at(&self) -> &TopicPartition {
        &self.at
    }

    /// Applies one record: `on_record`, the clock, and `on_watermark` if the record moved it far enough.
    pub fn apply(&mut self, record: Record<'_>, out: &mut Outbox) -> Applied {
        out.begin(&self.at, OutputSource::Record(record.offset), record.appended_at, self.clock.delivered);
        let processor = &mut self.processor;
        match guard(out, |out| processor.on_record(record, out)) {
            Ok(()) => {
                let due = self.clock.advance(out.take_observed(), record.appended_at, self.lateness);
                match due.map(|watermark| self.watermark(watermark, out)) {
                    None | Some(Ok(())) => Applied::Accepted,
                    Some(Err(reject)) => self.poisoned(reject, out),
                }
            }
            Err(Fault::Rejected(reject)) => {
                out.undo();
                self.clock.advance(None, record.appended_at, self.lateness);
                Applied::Rejected(reject)
            }
            Err(Fault::Poisoned(reject)) => self.poisoned(reject, out),
        }
    }

    /// Passes over a record that is known to be poison: only the clock's append time moves. `out` is left ready for its dead letter.
    pub fn skip(&mut self, record: Record<'_>, out: &mut Outbox) {
        out.begin(&self.at, OutputSource::Record(record.offset), record.appended_at, self.clock.delivered);
        self.clock.advance(None, record.appended_at, self.lateness);
    }

    /// Applies an idle tick that falls before position `next`.
    ///
    /// # Errors
    /// If the processor panics or breaks a limit: there is no record to blame, so the worker stops.
    pub fn tick(&mut self, next: NextOffset, to: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        out.begin(&self.at, OutputSource::Tick(next, to), self.clock.appended_at, self.clock.delivered);
        self.clock.tick(to);
        self.watermark(to, out)
    }

    /// Applies a record of a broadcast. It has no outputs; `out` is left ready for its dead letter.
    pub fn broadcast(&mut self, record: Record<'_>, out: &mut Outbox) -> Applied {
        out.begin(&record.topic_partition(), OutputSource::Record(record.offset), record.appended_at, self.clock.delivered);
        match catch_unwind(AssertUnwindSafe(|| self.processor.on_broadcast(record))) {
            Ok(Ok(())) => Applied::Accepted,
            Ok(Err(reject)) => Applied::Rejected(reject),
            Err(panic) => Applied::Poisoned(Reject::new(RejectReason::Panic, panic_text(&*panic))),
        }
    }

    fn watermark(&mut self, watermark: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        let processor = &mut self.processor;
        match guard(out, |out| processor.on_watermark(watermark, out)) {
            Ok(()) => Ok(()),
            Err(Fault::Rejected(reject) | Fault::Poisoned(reject)) => Err(reject),
        }
    }

    fn poisoned(&self, reject: Reject, out: &mut Outbox) -> Applied {
        out.undo();
        Applied::Poisoned(reject)
    }
}

/// Why a step failed.
pub(crate) enum Fault {
    Rejected(Reject),
    Poisoned(Reject),
}

/// Runs a step; a panic or a broken limit is a fault, never more.
pub(crate) fn guard(out: &mut Outbox, step: impl FnOnce(&mut Outbox) -> Result<(), Reject>) -> Result<(), Fault> {
    let outcome = catch_unwind(AssertUnwindSafe(|| step(out)));
    if let Some(detail) = out.take_overflow() {
        return Err(Fault::Poisoned(Reject::new(RejectReason::OutputLimit, detail)));
    }
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(reject)) => Err(Fault::Rejected(reject)),
        Err(panic) => Err(Fault::Poisoned(Reject::new(RejectReason::Panic, panic_text(&*panic)))),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message")
}
