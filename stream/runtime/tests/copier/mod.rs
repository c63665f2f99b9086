//! A processor that copies, and the commit of one batch of it by hand: what tests of a bus need of an engine.

use std::collections::BTreeMap;

use stream_core::{
    EventClock, Instance, NextOffset, Outbox, Processor, Record, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName,
    TopicPartition,
};
use stream_runtime::{
    bus::{CommitBatch, CommitError, Session, StateWrite},
    gathered::Gathered,
};

pub const IN: &str = "in.v1";
pub const OUT: &str = "out.v1";

/// Puts each record out as it came in.
pub struct Copier;

#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
pub struct CopierConfig {}

impl Processor for Copier {
    type Config = CopierConfig;
    const NAME: &'static str = "copier";
    const STATE_VERSION: u16 = 1;
    fn inputs(_: &CopierConfig) -> Vec<TopicName> {
        vec![IN.into()]
    }
    fn outputs(_: &CopierConfig) -> Vec<TopicName> {
        vec![OUT.into()]
    }
    fn state_bytes_bound(_: &CopierConfig) -> u64 {
        0
    }
    fn new(_: &CopierConfig, _: &TopicPartition) -> Result<Self, stream_core::ConfigError> {
        Ok(Self)
    }
    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        out.emit_with_headers(&OUT.into(), record.key, record.value, record.headers)
    }
    fn snapshot(&self, _: &mut SnapshotWriter) -> Result<(), StateError> {
        Ok(())
    }
    fn restore(_: &SnapshotReader<'_>, _: &CopierConfig, _: &TopicPartition) -> Result<Self, StateError> {
        Ok(Self)
    }
}

/// Commits copies of all records, with the position and a state key per partition.
pub fn commit_copies(session: &mut dyn Session, gathered: &Gathered) -> Result<(), CommitError> {
    let mut out = Outbox::new("copier");
    let mut positions = BTreeMap::new();
    for (at, record) in gathered.records() {
        Instance::new(Copier, EventClock::default(), at.clone(), Default::default()).apply(record, &mut out);
        positions.insert(at.clone(), record.offset.next());
    }
    let pos = |(at, next): (&TopicPartition, &NextOffset)| StateWrite {
        at: at.clone(),
        key: "pos".into(),
        value: Some(next.0.to_string().into_bytes()),
    };
    let state: Vec<_> = positions.iter().map(pos).collect();
    let positions: Vec<_> = positions.into_iter().collect();
    session.begin().unwrap();
    session.commit(&CommitBatch { outputs: &out, state: &state, positions: &positions })
}
