//! One run of a processor over an input, with everything that can be seen of it.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

use proptest::test_runner::TestCaseError;
use schemas::EventTime;

use super::{EPOCH, input::Step};
use crate::{
    Applied, EventClock, Instance, NextOffset, Offset, Outbox, Processor, Record, Reject, SnapshotReader, SnapshotWriter, StateError,
    TopicPartition, config_hash, record::Headers,
};

type Sections = Vec<(String, Vec<u8>)>;

/// What became of one step.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub rejected: Option<Reject>,
    pub outputs: Vec<Output>,
}

impl Entry {
    pub(super) fn is_rejected(&self) -> bool {
        self.rejected.is_some()
    }
}

/// One output, whole.
#[derive(PartialEq, Eq)]
pub(super) struct Output {
    id: String,
    topic: String,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| bytes.escape_ascii().to_string());
        write!(f, "{} {} key {:?} value {:?}", self.topic, self.id, text(&self.key), text(&self.value))
    }
}

/// A processor under test and its transcript.
pub(super) struct Run<'a, P: Processor> {
    pub config: &'a P::Config,
    pub instance: Instance<P>,
    pub entries: Vec<Entry>,
    out: Outbox,
    next: NextOffset,
    appended_at: EventTime,
    idle_ms: i64,
}

impl<'a, P: Processor> Run<'a, P> {
    pub(super) fn new(config: &'a P::Config, at: &TopicPartition) -> Result<Self, TestCaseError> {
        let processor = P::new(config, at).map_err(|error| TestCaseError::fail(format!("the configuration is refused: {error}")))?;
        let instance = Instance::new(processor, EventClock::default(), at.clone(), P::lateness(config).unwrap_or_default());
        let out = Outbox::new(P::NAME);
        Ok(Self { config, instance, entries: Vec::new(), out, next: NextOffset(0), appended_at: EPOCH, idle_ms: 0 })
    }

    /// Takes a step and notes what came of it.
    pub(super) fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let index = self.entries.len();
        let broken = |reject: Reject| TestCaseError::fail(format!("total: step {index}: {reject}"));
        self.out.clear();
        let rejected = match step {
            Step::Record(line) => {
                let offset = Offset(self.next.0 + line.offsets_skipped);
                self.next = offset.next();
                self.appended_at = self.appended_at.plus_millis(line.append_gap_ms);
                self.idle_ms = 0;
                let at = self.instance.at().clone();
                let record = Record {
                    topic: &at.topic,
                    partition: at.partition,
                    offset,
                    appended_at: self.appended_at,
                    key: line.key.as_deref(),
                    value: line.value.as_deref(),
                    headers: Headers::from_encoded(&line.headers),
                };
                match self.instance.apply(record, &mut self.out) {
                    Applied::Accepted => None,
                    Applied::Rejected(reject) => Some(reject),
                    Applied::Poisoned(reject) => return Err(broken(reject)),
                }
            }
            Step::Idle { ms } => {
                self.idle_ms += ms;
                if let Some(to) = self.instance.clock.idle_tick(self.idle_ms) {
                    self.instance.tick(self.next, to, &mut self.out).map_err(broken)?;
                }
                None
            }
        };
        let outputs = self.out.outputs().map(|output| Output {
            id: output.id(P::NAME),
            topic: output.topic.to_string(),
            key: output.key.map(<[u8]>::to_vec),
            value: output.value.map(<[u8]>::to_vec),
            headers: output.headers.encoded().to_vec(),
        });
        self.entries.push(Entry { rejected, outputs: outputs.collect() });
        Ok(())
    }

    /// The state as a snapshot.
    pub(super) fn sections(&self) -> Result<Sections, TestCaseError> {
        sections(&self.instance.processor).map_err(|error| TestCaseError::fail(format!("the snapshot cannot be written: {error}")))
    }

    /// Puts the instance through its snapshot, which must come out of it as it went in.
    pub(super) fn restore(&mut self) -> Result<(), String> {
        let before = sections(&self.instance.processor).map_err(|error| error.to_string())?;
        let restored = restore_quietly::<P>(&before, self.config, self.instance.at())
            .map_err(|panic| format!("restore panicked: {panic}"))?
            .map_err(|error| error.to_string())?;
        let after = sections(&restored).map_err(|error| error.to_string())?;
        if let Some(((name, _), _)) = before.iter().zip(&after).find(|(before, after)| before != after) {
            return Err(format!("canonical snapshots: section {name:?} comes back with other bytes"));
        }
        if before.len() != after.len() {
            return Err(format!("canonical snapshots: {} sections become {}", before.len(), after.len()));
        }
        self.instance.processor = restored;
        Ok(())
    }
}

fn sections<P: Processor>(processor: &P) -> Result<Sections, StateError> {
    let mut writer = SnapshotWriter::default();
    processor.snapshot(&mut writer)?;
    Ok(writer.into_sections())
}

/// Restores; the outer error is the text of a panic.
pub(super) fn restore_quietly<P: Processor>(
    sections: &[(String, Vec<u8>)],
    config: &P::Config,
    at: &TopicPartition,
) -> Result<Result<P, StateError>, String> {
    let hash = config_hash(config);
    let reader = SnapshotReader::new(sections, P::STATE_VERSION, hash, hash);
    catch_unwind(AssertUnwindSafe(|| P::restore(&reader, config, at))).map_err(|panic| crate::instance::panic_text(&*panic).to_string())
}
