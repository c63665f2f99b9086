//! The model of a broker cluster: topics, the transaction coordinator and the consumer groups, behind one lock.

use std::collections::{BTreeMap, BTreeSet};

use schemas::EventTime;
use stream_core::{NextOffset, Offset, OutputView, Partition, TopicName, TopicPartition, partition_of_key};

use super::{
    faults::Faults,
    group::Group,
    log::{Log, Origin, Stored, TransactionId},
    rng::Rng,
    transactions::{Claim, Coordinator, Fenced, Marker, Target},
};
use crate::bus::{BusError, StateImage, StateWrite};

/// Topic of the publishers' cursors.
pub const CURSORS: &str = "nephoscope.cursors";

/// A cluster. Only its scheduler decides what happens when.
#[derive(Debug)]
pub struct Cluster {
    topics: BTreeMap<TopicName, Vec<Log>>,
    /// What the names of its groups begin with.
    pub prefix: String,
    /// All transactional producers.
    pub coordinator: Coordinator,
    groups: BTreeMap<String, Group>,
    /// Offsets of inputs that retention removed before anybody had processed them.
    lost: BTreeMap<TopicPartition, BTreeSet<Offset>>,
    /// The broker's clock, which stamps what is appended.
    pub now: EventTime,
    /// Records that one gather reads of one partition at most: few, so that batches end everywhere; many, so that one gather
    /// takes several transactions.
    pub gathered_max: u64,
    /// What may go wrong from here on.
    pub faults: Faults,
    /// Decides what does.
    pub rng: Rng,
    /// What did.
    pub events: Tally,
}

/// How often what happened: a simulation in which nothing went wrong proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Processes that died.
    pub crashes: u64,
    /// Clients that broke.
    pub lost: u64,
    /// Transactions that were aborted.
    pub aborts: u64,
    /// Commits whose outcome the client never learnt.
    pub unknown: u64,
    /// Clients that found themselves fenced.
    pub fenced: u64,
    /// Offsets refused for a wrong member or generation.
    pub refused: u64,
    /// Calls in the middle of which the world went on.
    pub frozen: u64,
    /// States read back.
    pub restores: u64,
    /// Committed batches.
    pub commits: u64,
    /// Commits that had to wait for the disk.
    pub retries: u64,
    /// Times that retention removed records.
    pub trims: u64,
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            crashes: self.crashes + other.crashes,
            lost: self.lost + other.lost,
            aborts: self.aborts + other.aborts,
            unknown: self.unknown + other.unknown,
            fenced: self.fenced + other.fenced,
            refused: self.refused + other.refused,
            frozen: self.frozen + other.frozen,
            restores: self.restores + other.restores,
            commits: self.commits + other.commits,
            retries: self.retries + other.retries,
            trims: self.trims + other.trims,
        }
    }
}

/// Name of a processor's state log.
pub fn state_topic(processor: &str) -> TopicName {
    TopicName::new(&format!("nephoscope.{processor}.state"))
}

/// Key of one entry of an instance in the state log.
pub fn state_key(at: &TopicPartition, key: &str) -> Vec<u8> {
    format!("{at}/{key}").into_bytes()
}

impl Cluster {
    /// An empty cluster.
    pub fn new(rng: Rng, faults: Faults, now: EventTime) -> Self {
        let mut cluster = Self {
            topics: BTreeMap::new(),
            prefix: "nephoscope".into(),
            coordinator: Coordinator::default(),
            groups: BTreeMap::new(),
            lost: BTreeMap::new(),
            now,
            gathered_max: 12,
            faults,
            rng,
            events: Tally::default(),
        };
        cluster.create(&TopicName::new(CURSORS), 1);
        cluster
    }

    /// Whether a fault strikes here, at its rate.
    pub fn strikes(&mut self, rate: impl FnOnce(&Faults) -> u32) -> bool {
        let rate = rate(&self.faults);
        self.rng.chance(rate)
    }

    /// Creates a topic; one that exists stays as it is.
    pub fn create(&mut self, topic: &TopicName, partitions: u32) {
        self.topics.entry(topic.clone()).or_insert_with(|| (0..partitions).map(|_| Log::default()).collect());
    }

    /// Number of partitions, 0 if there is no such topic.
    pub fn partitions(&self, topic: &TopicName) -> u32 {
        self.topics.get(topic).map_or(0, |logs| logs.len() as u32)
    }

    /// All partitions of a topic.
    pub fn partitions_of(&self, topic: &TopicName) -> Vec<TopicPartition> {
        (0..self.partitions(topic)).map(|partition| TopicPartition::new(topic, Partition(partition))).collect()
    }

    /// Names of all topics.
    pub fn topic_names(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.keys()
    }

    /// One partition.
    ///
    /// # Errors
    /// If there is no such topic or partition.
    pub fn log(&self, at: &TopicPartition) -> Result<&Log, BusError> {
        let log = self.topics.get(&at.topic).and_then(|logs| logs.get(at.partition.0 as usize));
        log.ok_or_else(|| BusError::Fatal(format!("there is no partition {at}")))
    }

    /// Retention removes what lies before a position; all from `processed` on is lost.
    pub fn trim(&mut self, at: &TopicPartition, processed: NextOffset, to: NextOffset) {
        self.lost.entry(at.clone()).or_default().extend((processed.0..to.0).map(Offset));
        self.events.trims += 1;
        if let Some(log) = self.topics.get_mut(&at.topic).and_then(|logs| logs.get_mut(at.partition.0 as usize)) {
            log.trim(to);
        }
    }

    /// Offsets that retention removed before anybody had processed them.
    pub fn lost(&self, at: &TopicPartition) -> impl Iterator<Item = Offset> {
        self.lost.get(at).into_iter().flatten().copied()
    }

    /// Whether retention removed an offset before anybody had processed it.
    pub fn is_lost(&self, at: &TopicPartition, offset: Offset) -> bool {
        self.lost.get(at).is_some_and(|lost| lost.contains(&offset))
    }

    /// Takes over a record that was committed on another bus.
    ///
    /// # Errors
    /// If there is no such partition, or a later record of it is there already.
    pub fn adopt(&mut self, at: &TopicPartition, offset: Offset, record: Stored) -> Result<(), BusError> {
        let log = self.topics.get_mut(&at.topic).and_then(|logs| logs.get_mut(at.partition.0 as usize));
        let log = log.ok_or_else(|| BusError::Fatal(format!("there is no partition {at}")))?;
        if log.adopt(offset, record) { Ok(()) } else { Err(BusError::Fatal(format!("{at} goes back to {offset}"))) }
    }

    /// The group of a processor, which splits the partitions of its inputs.
    pub fn group(&mut self, processor: &str, inputs: &[TopicName]) -> &mut Group {
        if !self.groups.contains_key(processor) {
            let partitions = inputs.iter().flat_map(|topic| self.partitions_of(topic)).collect();
            self.groups.insert(processor.into(), Group::new(partitions));
        }
        self.groups.entry(processor.into()).or_default()
    }

    /// Runs `step` on a group with the cluster's chance.
    pub fn with_group<T>(&mut self, processor: &str, step: impl FnOnce(&mut Group, &mut Rng) -> T) -> T {
        step(self.groups.entry(processor.into()).or_default(), &mut self.rng)
    }

    /// Appends one record of an open transaction; the partition verifies the transaction first (KIP-890).
    pub fn append(&mut self, claim: &Claim, transaction: TransactionId, at: &TopicPartition, record: Stored) -> Result<Offset, Fenced> {
        self.coordinator.touch(claim, transaction, Target::Log(at.clone()))?;
        let log = self.topics.get_mut(&at.topic).and_then(|logs| logs.get_mut(at.partition.0 as usize));
        log.map(|log| log.append(transaction, record)).ok_or(Fenced)
    }

    /// Appends an output of an engine where its key, or its source's partition, sends it.
    pub fn append_output(&mut self, claim: &Claim, transaction: TransactionId, output: &OutputView<'_>) -> Result<Offset, Fenced> {
        let at = TopicPartition::new(output.topic, output.partition_among(self.partitions(output.topic)));
        let record = Stored {
            key: output.key.map(<[u8]>::to_vec),
            value: output.value.map(<[u8]>::to_vec),
            headers: output.headers.encoded().to_vec(),
            appended_at: self.now,
            origin: Origin::Output { input: output.input.clone(), number: Some((output.source, output.ordinal)) },
        };
        self.append(claim, transaction, &at, record)
    }

    /// Appends one write to the state log, in the partition of the instance.
    pub fn append_state(
        &mut self,
        claim: &Claim,
        transaction: TransactionId,
        processor: &str,
        write: &StateWrite,
    ) -> Result<Offset, Fenced> {
        let at = TopicPartition::new(&state_topic(processor), write.at.partition);
        let key = Some(state_key(&write.at, &write.key));
        let record = Stored { key, value: write.value.clone(), headers: Vec::new(), appended_at: self.now, origin: Origin::State };
        self.append(claim, transaction, &at, record)
    }

    /// Partition of a published key.
    pub fn place(&self, topic: &TopicName, key: Option<&[u8]>) -> TopicPartition {
        TopicPartition::new(topic, partition_of_key(key, self.partitions(topic)))
    }

    /// What a compacted reader under read_committed finds under one instance's keys now.
    ///
    /// # Errors
    /// If the processor has no state log.
    pub fn state_image(&self, processor: &str, at: &TopicPartition) -> Result<StateImage, BusError> {
        let log = self.log(&TopicPartition::new(&state_topic(processor), at.partition))?;
        let prefix = state_key(at, "");
        let mut image = StateImage::new();
        for (_, record) in log.committed(NextOffset(0)) {
            let Some(key) = record.key.as_deref().and_then(|key| key.strip_prefix(prefix.as_slice())) else { continue };
            let key = String::from_utf8_lossy(key).into_owned();
            match &record.value {
                Some(value) => image.insert(key, value.clone()),
                None => image.remove(&key),
            };
        }
        Ok(image)
    }

    /// One of the markers that are under way arrives.
    pub fn deliver_marker(&mut self) -> bool {
        let markers = self.coordinator.markers(None);
        let chosen = self.rng.pick(&markers).cloned();
        chosen.inspect(|marker| self.deliver(marker)).is_some()
    }

    /// All markers of one producer, or of everybody, arrive.
    pub fn deliver_markers(&mut self, of: Option<&str>) {
        for marker in self.coordinator.markers(of) {
            self.deliver(&marker);
        }
    }

    /// A transaction timeout strikes a producer whose transaction is undecided.
    pub fn expire(&mut self, producer: &str) {
        self.coordinator.expire(producer);
    }

    /// Time passes until these transactions are settled: whoever does not decide in time is aborted.
    pub fn settle(&mut self, transactions: impl IntoIterator<Item = TransactionId>) {
        let producers: BTreeSet<_> = transactions.into_iter().filter_map(|open| self.coordinator.producer_of(open)).collect();
        for producer in producers {
            self.coordinator.expire(&producer);
            self.deliver_markers(Some(&producer));
        }
    }

    fn deliver(&mut self, marker: &Marker) {
        match &marker.target {
            Target::Log(at) => {
                if let Some(log) = self.topics.get_mut(&at.topic).and_then(|logs| logs.get_mut(at.partition.0 as usize)) {
                    log.settle(marker.transaction, marker.verdict);
                }
            }
            Target::Offsets(group) => {
                if let Some(group) = self.groups.get_mut(group) {
                    group.settle(marker.transaction, marker.verdict);
                }
            }
        }
        self.coordinator.delivered(marker);
    }
}
