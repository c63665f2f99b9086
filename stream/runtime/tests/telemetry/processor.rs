//! A processor that gives an alert or panics when it is told to.

use schemas::{Alert, topics::Cleanup};
use stream_core::{ConfigError, Outbox, Processor, Record, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName, TopicPartition};
use stream_runtime::bus::TopicSpec;

/// Its input.
pub const IN: &str = "in.v1";
/// A record that it gives an alert for.
pub const ALARM: &str = "alarm";
/// One that it panics at.
pub const PANIC: &str = "panic";

/// What it needs besides the usual topics.
pub fn topics() -> Vec<TopicSpec> {
    [IN, "in.v1.dlq"].map(|name| spec(name.into())).into()
}

fn spec(name: TopicName) -> TopicSpec {
    TopicSpec { name, partitions: 1, cleanup: Cleanup::Delete, retention_ms: 3_600_000, retention_bytes: 1 << 30 }
}

pub struct Alarmist;

impl Processor for Alarmist {
    type Config = ();
    const NAME: &'static str = "alarmist";
    const STATE_VERSION: u16 = 1;

    fn inputs(_: &()) -> Vec<TopicName> {
        vec![IN.into()]
    }

    fn outputs(_: &()) -> Vec<TopicName> {
        vec![]
    }

    fn state_bytes_bound(_: &()) -> u64 {
        0
    }

    fn new(_: &(), _: &TopicPartition) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        out.observe(record.appended_at);
        match record.value {
            Some(value) if value == ALARM.as_bytes() => out.alert(Alert { name: "Alarm".into(), ..Alert::default() }),
            Some(value) if value == PANIC.as_bytes() => panic!("as told"),
            _ => Ok(()),
        }
    }

    fn snapshot(&self, _: &mut SnapshotWriter) -> Result<(), StateError> {
        Ok(())
    }

    fn restore(_: &SnapshotReader<'_>, _: &(), _: &TopicPartition) -> Result<Self, StateError> {
        Ok(Self)
    }
}
