//! Where a processor puts what follows from a record. Outputs are encoded at once into one arena that is used again for
//! every batch, so an output costs no allocation.

use std::ops::Range;

use schemas::{Alert, EventTime, Subject, cloudevents, topics};

use crate::{
    HeaderBuffer, Headers, NextOffset, Offset, OutputSource, Partition, RECORD_BYTES_MAX, Reject, RejectReason, Timing, TopicName,
    TopicPartition, output_id, partition_of_key,
};

/// Outputs that one input record may cause.
pub const OUTPUTS_MAX: usize = 10_000;
/// Bytes that one input record may cause.
pub const OUTPUT_BYTES_MAX: usize = 8 << 20;
/// Bytes of a dead letter: a record of the largest size, with the headers that say why it died.
const DEAD_LETTER_BYTES_MAX: usize = RECORD_BYTES_MAX + (64 << 10);
/// An event time later than its append time by more than this is counted: the source's clock is fast.
const CLOCK_TOLERANCE_MS: i64 = 1_000;

/// One output, borrowed from the outbox.
#[derive(Debug, Clone, Copy)]
pub struct OutputView<'a> {
    /// Topic that it goes to.
    pub topic: &'a TopicName,
    /// Key.
    pub key: Option<&'a [u8]>,
    /// Value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers.
    pub headers: Headers<'a>,
    /// The instance that it comes from.
    pub input: &'a TopicPartition,
    /// What it follows from.
    pub source: OutputSource,
    /// Its number among the outputs of that source.
    pub ordinal: u32,
    /// Where it must go, if its key does not decide: a dead letter keeps the partition of its record.
    fixed_partition: Option<Partition>,
}

#[derive(Debug, Clone)]
struct Output {
    topic: u32,
    input: u32,
    fixed_partition: Option<Partition>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    source: OutputSource,
    ordinal: u32,
}

/// A point to which an outbox can be taken back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    outputs: usize,
    arena: usize,
}

/// Outputs of a batch, and what the record in hand said about its time.
#[derive(Debug)]
pub struct Outbox {
    processor: &'static str,
    arena: Vec<u8>,
    outputs: Vec<Output>,
    topics: Vec<TopicName>,
    inputs: Vec<TopicPartition>,
    alerts: TopicName,
    // The source in hand.
    input: u32,
    source: OutputSource,
    ordinal: u32,
    begun: Mark,
    appended_at: EventTime,
    delivered: EventTime,
    observed: Option<EventTime>,
    overflow: Option<String>,
    late: u64,
    clamped: u64,
}

impl Outbox {
    /// An empty outbox of a processor.
    pub fn new(processor: &'static str) -> Self {
        Self {
            processor,
            arena: Vec::new(),
            outputs: Vec::new(),
            topics: Vec::new(),
            inputs: Vec::new(),
            alerts: TopicName::new(topics::ALERTS),
            input: 0,
            source: OutputSource::Record(Offset(0)),
            ordinal: 0,
            begun: Mark { outputs: 0, arena: 0 },
            appended_at: EventTime::MIN,
            delivered: EventTime::MIN,
            observed: None,
            overflow: None,
            late: 0,
            clamped: 0,
        }
    }

    /// Encodes `value` for `topic`.
    ///
    /// # Errors
    /// [`RejectReason::OutputLimit`] if this record has caused too much already, [`RejectReason::InvalidField`] if the
    /// value does not fit its schema.
    pub fn emit<T: Subject>(&mut self, topic: &TopicName, key: &[u8], value: &T) -> Result<(), Reject> {
        let start = self.arena.len();
        self.arena.extend_from_slice(key);
        let value_start = self.arena.len();
        if let Err(error) = value.encode(&mut self.arena) {
            self.arena.truncate(start);
            return Err(error.into());
        }
        let end = self.arena.len();
        self.push(topic, Some(start..value_start), Some(value_start..end), end..end, RECORD_BYTES_MAX)
    }

    /// Puts out bytes as they are; no value is a tombstone.
    ///
    /// # Errors
    /// [`RejectReason::OutputLimit`] if this record has caused too much already.
    pub fn emit_raw(&mut self, topic: &TopicName, key: Option<&[u8]>, value: Option<&[u8]>) -> Result<(), Reject> {
        self.emit_with_headers(topic, key, value, Headers::default())
    }

    /// As [`Outbox::emit_raw`], with headers.
    ///
    /// # Errors
    /// As [`Outbox::emit_raw`].
    pub fn emit_with_headers(
        &mut self,
        topic: &TopicName,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
    ) -> Result<(), Reject> {
        self.append(topic, key, value, headers, RECORD_BYTES_MAX)
    }

    fn append(
        &mut self,
        topic: &TopicName,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: Headers<'_>,
        bytes_max: usize,
    ) -> Result<(), Reject> {
        let mut append = |bytes: &[u8]| {
            let start = self.arena.len();
            self.arena.extend_from_slice(bytes);
            start..self.arena.len()
        };
        let (key, value) = (key.map(&mut append), value.map(&mut append));
        let headers = append(headers.encoded());
        self.push(topic, key, value, headers, bytes_max)
    }

    /// Puts out an alert, which gets its id and source here. Most processors let an [`crate::AlertBook`] call this.
    ///
    /// # Errors
    /// [`RejectReason::InvalidField`] if the alert breaks its contract, [`RejectReason::OutputLimit`] as above.
    pub fn alert(&mut self, mut alert: Alert) -> Result<(), Reject> {
        alert.id = self.next_id();
        alert.source = vec![self.processor.into()];
        let invalid = |detail: String| Reject::new(RejectReason::InvalidField, detail);
        alert.sanitize().map_err(|error| invalid(error.to_string()))?;
        let json = serde_json::to_vec(&alert).map_err(|error| invalid(error.to_string()))?;
        let mut headers = HeaderBuffer::default();
        for (name, value) in cloudevents::alert_headers(&alert) {
            headers.push(name, Some(value.as_bytes()));
        }
        let topic = self.alerts.clone();
        self.emit_with_headers(&topic, Some(alert.fingerprint.as_bytes()), Some(&json), headers.as_headers())
    }

    /// Says at what time the record in hand happened. A time later than the record's append time counts as that: one fast
    /// clock must not close everybody's windows.
    pub fn observe(&mut self, time: EventTime) -> Timing {
        if time.millis_since(self.appended_at) > CLOCK_TOLERANCE_MS {
            self.clamped += 1;
        }
        let time = time.min(self.appended_at);
        self.observed = Some(self.observed.map_or(time, |before| before.max(time)));
        if time < self.delivered {
            self.late += 1;
            return Timing::Late;
        }
        Timing::OnTime
    }

    /// Appends a header to the output of this number; whoever has the outbox after the processor adds what is not the
    /// processor's business, such as trace context.
    pub fn add_header(&mut self, index: usize, name: &str, value: &[u8]) {
        let Some(output) = self.outputs.get_mut(index) else { return };
        let mut header = HeaderBuffer::default();
        header.push(name, Some(value));
        let start = self.arena.len();
        self.arena.extend_from_within(output.headers.clone());
        self.arena.extend_from_slice(header.as_headers().encoded());
        output.headers = start..self.arena.len();
    }

    /// The id of the next output, as it will stand in its headers.
    pub fn next_id(&self) -> String {
        match self.inputs.get(self.input as usize) {
            Some(input) => output_id(self.processor, input, self.source, self.ordinal),
            None => String::new(),
        }
    }

    /// The topic that alerts go to.
    pub fn set_alerts_topic(&mut self, topic: TopicName) {
        self.alerts = topic;
    }

    /// All outputs in order.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = OutputView<'_>> {
        self.outputs.iter().map(|output| {
            let slice = |range: &Range<usize>| &self.arena[range.clone()];
            OutputView {
                topic: &self.topics[output.topic as usize],
                key: output.key.as_ref().map(slice),
                value: output.value.as_ref().map(slice),
                headers: Headers::from_encoded(slice(&output.headers)),
                input: &self.inputs[output.input as usize],
                source: output.source,
                ordinal: output.ordinal,
                fixed_partition: output.fixed_partition,
            }
        })
    }

    /// Number of outputs.
    pub fn len(&self) -> usize {
        self.outputs.len()
    }

    /// Whether nothing has been put out.
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }

    /// Bytes of all outputs.
    pub fn bytes(&self) -> usize {
        self.arena.len()
    }

    /// Late records and fast clocks since the last call.
    pub fn take_counts(&mut self) -> (u64, u64) {
        (std::mem::take(&mut self.late), std::mem::take(&mut self.clamped))
    }

    /// Empties it for the next batch. The arena is kept, unless one batch blew it up.
    pub fn clear(&mut self) {
        const ARENA_KEPT_BYTES_MAX: usize = 32 << 20;
        self.outputs.clear();
        self.arena.clear();
        self.arena.shrink_to(ARENA_KEPT_BYTES_MAX);
        self.inputs.clear();
    }

    /// Puts out a dead letter for the record in hand: the runtime's, not the processor's.
    pub fn dead_letter(&mut self, key: Option<&[u8]>, value: Option<&[u8]>, headers: Headers<'_>) -> Result<(), Reject> {
        let Some((topic, partition)) = self.inputs.get(self.input as usize).map(|input| (input.topic.dead_letters(), input.partition))
        else {
            return Ok(());
        };
        self.append(&topic, key, value, headers, DEAD_LETTER_BYTES_MAX)?;
        if let Some(output) = self.outputs.last_mut() {
            output.fixed_partition = Some(partition);
        }
        Ok(())
    }

    pub(crate) fn begin(&mut self, input: &TopicPartition, source: OutputSource, appended_at: EventTime, delivered: EventTime) {
        if self.inputs.last() != Some(input) {
            self.inputs.push(input.clone());
        }
        self.input = self.inputs.len() as u32 - 1;
        self.source = source;
        self.ordinal = 0;
        self.begun = self.mark();
        self.appended_at = appended_at;
        self.delivered = delivered;
        self.observed = None;
        self.overflow = None;
    }

    pub(crate) fn take_observed(&mut self) -> Option<EventTime> {
        self.observed.take()
    }

    pub(crate) fn take_overflow(&mut self) -> Option<String> {
        self.overflow.take()
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { outputs: self.outputs.len(), arena: self.arena.len() }
    }

    /// Takes back everything since the source in hand began.
    pub(crate) fn undo(&mut self) {
        self.outputs.truncate(self.begun.outputs);
        self.arena.truncate(self.begun.arena);
        self.ordinal = 0;
    }

    /// Takes back everything since a mark.
    pub(crate) fn undo_to(&mut self, mark: Mark) {
        self.begun = mark;
        self.undo();
    }

    fn push(
        &mut self,
        topic: &TopicName,
        key: Option<Range<usize>>,
        value: Option<Range<usize>>,
        headers: Range<usize>,
        bytes_max: usize,
    ) -> Result<(), Reject> {
        let length = |range: &Option<Range<usize>>| range.as_ref().map_or(0, ExactSizeIterator::len);
        let record_bytes = length(&key) + length(&value) + headers.len();
        let caused = (self.outputs.len() - self.begun.outputs + 1, self.arena.len() - self.begun.arena);
        if record_bytes > bytes_max || caused.0 > OUTPUTS_MAX || caused.1 > OUTPUT_BYTES_MAX {
            self.arena.truncate(headers.end - record_bytes);
            let detail = format!(
                "an output of {record_bytes} bytes for {topic} is number {} with {} bytes in all; allowed are {bytes_max} bytes each, {OUTPUTS_MAX} outputs and {OUTPUT_BYTES_MAX} bytes for one record",
                caused.0, caused.1
            );
            self.overflow = Some(detail.clone());
            return Err(Reject::new(RejectReason::OutputLimit, detail));
        }
        let topic = match self.topics.iter().position(|known| known == topic) {
            Some(index) => index as u32,
            None => {
                self.topics.push(topic.clone());
                self.topics.len() as u32 - 1
            }
        };
        let (input, source, ordinal) = (self.input, self.source, self.ordinal);
        self.outputs.push(Output { topic, input, fixed_partition: None, key, value, headers, source, ordinal });
        self.ordinal += 1;
        Ok(())
    }
}

impl OutputView<'_> {
    /// The deterministic id.
    pub fn id(&self, processor: &str) -> String {
        output_id(processor, self.input, self.source, self.ordinal)
    }

    /// The partition that it goes to, among `partitions` of its topic.
    pub fn partition_among(&self, partitions: u32) -> Partition {
        self.fixed_partition.unwrap_or_else(|| partition_of_key(self.key, partitions))
    }

    /// The position of the instance when this was put out: used to compare runs.
    pub fn position(&self) -> NextOffset {
        match self.source {
            OutputSource::Record(offset) => offset.next(),
            OutputSource::Tick(next, _) => next,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_added_behind_those_that_are_there_and_to_nothing_else() {
        let (topic, mut own, mut out) = (TopicName::new("out.v1"), HeaderBuffer::default(), Outbox::new("toy"));
        own.push("a", Some(b"1"));
        let input = TopicPartition::new(&TopicName::new("in.v1"), Partition(0));
        out.begin(&input, OutputSource::Record(Offset(0)), EventTime::MIN, EventTime::MIN);
        for value in [b"first".as_slice(), b"second"] {
            out.append(&topic, None, Some(value), own.as_headers(), RECORD_BYTES_MAX).expect("fits");
        }
        out.add_header(0, "b", b"2");
        out.add_header(2, "b", b"nowhere");
        let list = |index: usize| {
            let output = out.outputs().nth(index).expect("is there");
            (output.value, output.headers.iter().collect::<Vec<_>>())
        };
        assert_eq!(list(0), (Some(&b"first"[..]), vec![("a", Some(&b"1"[..])), ("b", Some(&b"2"[..]))]));
        assert_eq!(list(1), (Some(&b"second"[..]), vec![("a", Some(&b"1"[..]))]));
    }
}
