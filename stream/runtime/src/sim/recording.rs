//! What a real bus has committed, laid out as the model's logs, so that the same oracle judges the engine on both.
//!
//! A real log does not know who wrote a record. Sources sign theirs ([`sign`]), the [toy](super::toy) signs its outputs, and
//! dead letters say where they come from.

use schemas::EventTime;
use stream_core::{Partition, Processor, Record, TopicName, TopicPartition};

use super::{
    cluster::{Cluster, state_topic},
    faults::Faults,
    log::{Origin, Stored},
    oracle::{self, Verified, source_name},
    rng::Rng,
    toy::INPUT_HEADER,
    violation::Violation,
    workload::Workload,
};
use crate::{bus::BusError, loss::Loss};

/// Header with which a source signs its records.
const SOURCE_HEADER: &str = "source";

/// Adds to each record of a workload who published it.
pub fn sign(workload: &mut Workload) {
    for (number, records) in workload.sources.iter_mut().enumerate() {
        for record in records {
            record.headers.push(SOURCE_HEADER, Some(source_name(number).as_bytes()));
        }
    }
}

/// Everything that stands on a bus, from the first record of each partition on: nothing may have been removed or compacted.
#[derive(Debug)]
pub struct Recording(Cluster);

impl Recording {
    /// An empty bus with these topics, and the state log of a processor; names of groups begin with `prefix`.
    pub fn new<P: Processor>(prefix: &str, config: &P::Config, topics: &[(TopicName, u32)]) -> Self {
        let mut cluster = Cluster::new(Rng::new(0), Faults::NONE, EventTime(0));
        cluster.prefix = prefix.into();
        for (topic, partitions) in topics {
            cluster.create(topic, *partitions);
        }
        cluster.group(P::NAME, &P::inputs(config));
        let instances = P::inputs(config).iter().map(|topic| cluster.partitions(topic)).max().unwrap_or(1);
        cluster.create(&state_topic(P::NAME), instances);
        Self(cluster)
    }

    /// Adds a committed record. Those of a partition come in the order of their offsets, which may have gaps.
    ///
    /// # Errors
    /// If there is no such partition, or a later record of it is there already.
    pub fn add(&mut self, record: &Record<'_>) -> Result<(), BusError> {
        self.put(TopicPartition::new(record.topic, record.partition), record, origin(record))
    }

    /// Adds a committed record of the processor's state log, which may go by any name on the bus.
    ///
    /// # Errors
    /// As [`Recording::add`].
    pub fn add_state<P: Processor>(&mut self, record: &Record<'_>) -> Result<(), BusError> {
        self.put(TopicPartition::new(&state_topic(P::NAME), record.partition), record, Origin::State)
    }

    fn put(&mut self, at: TopicPartition, record: &Record<'_>, origin: Origin) -> Result<(), BusError> {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        let headers = record.headers.encoded().to_vec();
        self.0.adopt(&at, record.offset, Stored { key, value, headers, appended_at: record.appended_at, origin })
    }

    /// Whether every instance has processed all that is here.
    ///
    /// # Errors
    /// If the state log cannot be read.
    pub fn is_processed<P: Processor>(&self, config: &P::Config) -> Result<bool, Violation> {
        for at in oracle::inputs::<P>(&self.0, config) {
            if !oracle::is_processed::<P>(&self.0, config, &at)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Holds the recording to the crash law.
    ///
    /// # Errors
    /// The law that was broken.
    pub fn verify<P: Processor>(&self, config: &P::Config, workload: &Workload) -> Result<Verified, Violation> {
        oracle::verify::<P>(&self.0, config, workload, &Loss::default())
    }
}

/// Who wrote a record, by its headers.
fn origin(record: &Record<'_>) -> Origin {
    let text = |name: &str| record.headers.text(name);
    let letter = text("dlq.topic").zip(text("dlq.partition").and_then(|partition| partition.parse().ok()));
    let input = letter
        .map(|(topic, partition)| TopicPartition::new(&TopicName::new(topic), Partition(partition)))
        .or_else(|| instance(text(INPUT_HEADER)?));
    match (input, text(SOURCE_HEADER)) {
        (Some(input), _) => Origin::Output { input, number: None },
        (None, source) => Origin::Publisher(source.unwrap_or_default().to_owned()),
    }
}

/// Reads what [`TopicPartition`] displays.
fn instance(text: &str) -> Option<TopicPartition> {
    let (topic, partition) = text.rsplit_once('/')?;
    Some(TopicPartition::new(&TopicName::new(topic), Partition(partition.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use stream_core::{HeaderBuffer, NextOffset, Offset};

    use super::*;
    use crate::sim::toy::{Toy, ToyConfig};

    #[test]
    fn gaps_stay_gaps_and_nothing_goes_back() {
        let topic = TopicName::new("toy.wide.v1");
        let mut recording = Recording::new::<Toy>("nephoscope", &ToyConfig::default(), &[(topic.clone(), 1)]);
        let headers = HeaderBuffer::default();
        let mut add = |offset| {
            let (partition, offset, appended_at) = (Partition(0), Offset(offset), EventTime(1));
            recording.add(&Record { topic: &topic, partition, offset, appended_at, key: None, value: None, headers: headers.as_headers() })
        };
        add(2).expect("is the first");
        add(5).expect("is later");
        assert!(add(5).is_err() && add(3).is_err());
        let at = TopicPartition::new(&topic, Partition(0));
        let offsets: Vec<_> = recording.0.log(&at).expect("is there").committed(NextOffset(0)).map(|(offset, _)| offset.0).collect();
        assert_eq!(offsets, [2, 5]);
    }
}
