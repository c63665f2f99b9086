//! Spans about our own work: `process <topic>` for each batch, `send alerts.v1` for each alert; never one per record.
//!
//! A worker knows only [`BatchTracer`]; what becomes of the spans is decided where a process is put together: [`otlp`] exports
//! them to an OpenTelemetry collector, nothing else is built in.

#[cfg(feature = "otlp")]
pub mod otlp;

use std::collections::BTreeMap;

use stream_core::{Outbox, Record, TopicPartition};

/// Where a stage stands on its bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// Its name.
    pub name: &'static str,
    /// `messaging.system` of its bus.
    pub system: &'static str,
    /// Its consumer group.
    pub group: String,
}

/// Makes the tracers of the workers of a process.
pub trait Tracing: Send + Sync {
    /// The tracer of one worker.
    fn tracer(&self, stage: Stage) -> Box<dyn BatchTracer>;
}

/// Follows the transactions of one worker. Each call returns at once: a collector that hangs must not hold up a batch.
pub trait BatchTracer: Send {
    /// A transaction begins.
    fn begin(&mut self);

    /// Records of these partitions, this many of each, were processed in it. `records` are those of the batch, in order;
    /// some of them may not have been reached.
    fn processed(&mut self, counts: &BTreeMap<TopicPartition, u32>, records: &mut dyn Iterator<Item = Record<'_>>);

    /// It is about to be committed with these outputs. Alerts among them get the context of their span as a header.
    fn sending(&mut self, outputs: &mut Outbox);

    /// It ended: well, or without a trace, for this reason.
    fn ended(&mut self, outcome: Result<(), &'static str>);
}
