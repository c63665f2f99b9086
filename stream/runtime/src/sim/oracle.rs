//! The crash law: whatever happened, outputs, dead letters and states are those of one undisturbed run over the same input
//! with the same committed injections and poison. The undisturbed run takes a bare [`Instance`], no engine.

use std::collections::{BTreeMap, BTreeSet};

use stream_core::{
    Applied, EventClock, Headers, Instance, NextOffset, Offset, Outbox, OutputSource, Processor, Reject, RejectReason, SnapshotWriter,
    TopicName, TopicPartition,
};

use super::{
    cluster::Cluster,
    history::{History, Injected},
    log::{Log, Origin, Stored},
    violation::Violation,
    workload::Workload,
};
use crate::{
    dead_letters::{self, Rejecter},
    loss::Loss,
    state::StoredState,
    worker::VERSION,
};

/// One output, as it should be or as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Emitted {
    /// What it follows from, and its number among the outputs of that source; a real log does not tell.
    number: Option<(OutputSource, u32)>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<u8>,
}

impl Emitted {
    /// Whether what was found is this, as far as the log tells.
    fn is(&self, found: &Self) -> bool {
        found.number.is_none_or(|number| self.number == Some(number))
            && (&self.key, &self.value, &self.headers) == (&found.key, &found.value, &found.headers)
    }

    /// A header of a dead letter.
    fn header<'a>(&'a self, name: &str) -> Option<&'a str> {
        Headers::from_encoded(&self.headers).text(name)
    }

    /// The record whose dead letter this is.
    fn rejected(&self) -> Option<Offset> {
        self.header("dlq.offset").and_then(|offset| offset.parse().ok()).map(Offset)
    }
}

/// Outputs of one instance, by where they went.
type Outputs = BTreeMap<TopicPartition, Vec<Emitted>>;

/// What the oracle saw: a law that holds over nothing proves nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Input records processed.
    pub records: u64,
    /// Outputs compared.
    pub outputs: u64,
    /// Dead letters among them.
    pub dead_letters: u64,
    /// Records that panicked or flooded, and were passed over.
    pub poison: u64,
    /// Idle ticks.
    pub ticks: u64,
    /// Broadcast records applied.
    pub broadcasts: u64,
    /// States compared.
    pub states: u64,
    /// Records that retention took before they were processed.
    pub trimmed: u64,
}

/// Holds everything that the cluster has committed against undisturbed runs, and what was lost against what was reported.
pub(super) fn verify<P: Processor>(cluster: &Cluster, config: &P::Config, workload: &Workload, loss: &Loss) -> Result<Verified, Violation> {
    verify_published(cluster, workload)?;
    let mut verified = Verified::default();
    let mut found = found_outputs(cluster)?;
    let mut refused = BTreeSet::new();
    for at in inputs::<P>(cluster, config) {
        let history = History::read(cluster, P::NAME, &at)?;
        let found = found.remove(&at).unwrap_or_default();
        let mut run = Undisturbed::<P>::new(cluster, config, &at, poison(&found, &at))?;
        if let Some(lost) = history.poison.iter().find(|offset| !run.poison.contains_key(offset)) {
            return Err(Violation::History { at, problem: format!("record {lost} is poison and has no dead letter") });
        }
        run.live(&history)?;
        compare(&at, &run.outputs, &found)?;
        run.verified.states += u64::from(run.compare_state(config, &history)?);
        refused.append(&mut run.refused);
        verified = verified + run.verified;
    }
    verify_refused_broadcasts(&found, &refused)?;
    verify_loss::<P>(cluster, config, loss)?;
    Ok(verified)
}

impl std::ops::Add for Verified {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            outputs: self.outputs + other.outputs,
            dead_letters: self.dead_letters + other.dead_letters,
            poison: self.poison + other.poison,
            ticks: self.ticks + other.ticks,
            broadcasts: self.broadcasts + other.broadcasts,
            states: self.states + other.states,
            trimmed: self.trimmed + other.trimmed,
        }
    }
}

/// One undisturbed run.
struct Undisturbed<'a, P> {
    cluster: &'a Cluster,
    instance: Instance<P>,
    outbox: Outbox,
    poison: BTreeMap<Offset, Reject>,
    outputs: Outputs,
    refused: BTreeSet<(TopicPartition, Offset)>,
    verified: Verified,
}

impl<'a, P: Processor> Undisturbed<'a, P> {
    fn new(cluster: &'a Cluster, config: &P::Config, at: &TopicPartition, poison: BTreeMap<Offset, Reject>) -> Result<Self, Violation> {
        let processor = P::new(config, at).map_err(|error| Violation::Stopped(error.into()))?;
        let instance = Instance::new(processor, EventClock::default(), at.clone(), P::lateness(config).unwrap_or_default());
        let (outputs, refused) = (Outputs::new(), BTreeSet::new());
        Ok(Self { cluster, instance, outbox: Outbox::new(P::NAME), poison, outputs, refused, verified: Verified::default() })
    }

    /// The whole life of the instance, up to the last committed position.
    fn live(&mut self, history: &History) -> Result<(), Violation> {
        let at = self.instance.at().clone();
        let end = history.last.as_ref().map_or(NextOffset(0), |last| last.next);
        let mut injections = history.injections.iter().peekable();
        let cluster = self.cluster;
        for (offset, stored) in cluster.log(&at)?.committed(NextOffset(0)).take_while(|(offset, _)| end.is_past(*offset)) {
            while let Some((before, injected)) = injections.next_if(|(before, _)| before.0 <= offset.0) {
                self.inject(*before, injected)?;
            }
            if cluster.is_lost(&at, offset) {
                self.verified.trimmed += 1;
                continue;
            }
            self.apply(&at, offset, stored)?;
        }
        for (before, injected) in injections {
            self.inject(*before, injected)?;
        }
        Ok(())
    }

    fn apply(&mut self, at: &TopicPartition, offset: Offset, stored: &Stored) -> Result<(), Violation> {
        let record = stored.record(at, offset);
        self.verified.records += 1;
        let reject = if let Some(reject) = self.poison.get(&offset) {
            self.instance.skip(record, &mut self.outbox);
            self.verified.poison += 1;
            Some(reject.clone())
        } else {
            match self.instance.apply(record, &mut self.outbox) {
                Applied::Accepted => None,
                Applied::Rejected(reject) => Some(reject),
                Applied::Poisoned(reject) => {
                    let problem = format!("record {offset} was processed, and panics in an undisturbed run: {reject}");
                    return Err(Violation::History { at: at.clone(), problem });
                }
            }
        };
        if let Some(reject) = reject {
            self.verified.dead_letters += 1;
            let by = Rejecter { group: format!("{}.{}", self.cluster.prefix, P::NAME), processor: P::NAME, version: VERSION };
            dead_letters::put(&record, &reject, &by, &mut self.outbox)
                .map_err(|reject| Violation::History { at: at.clone(), problem: reject.to_string() })?;
        }
        self.collect();
        Ok(())
    }

    fn inject(&mut self, before: NextOffset, injected: &Injected) -> Result<(), Violation> {
        match injected {
            Injected::Tick(to) => {
                self.verified.ticks += 1;
                let at = self.instance.at().clone();
                self.instance
                    .tick(before, *to, &mut self.outbox)
                    .map_err(|reject| Violation::History { at, problem: format!("tick to {to}: {reject}") })?;
                self.collect();
            }
            Injected::Broadcast(at, offset) => {
                self.verified.broadcasts += 1;
                let cluster = self.cluster;
                let Some((_, stored)) = cluster.log(at)?.committed(NextOffset(offset.0)).next() else { return Ok(()) };
                if self.instance.broadcast(stored.record(at, *offset), &mut self.outbox) != Applied::Accepted {
                    self.refused.insert((at.clone(), *offset));
                }
                self.outbox.clear();
            }
        }
        Ok(())
    }

    fn collect(&mut self) {
        for output in self.outbox.outputs() {
            let at = TopicPartition::new(output.topic, output.partition_among(self.cluster.partitions(output.topic)));
            self.verified.outputs += 1;
            self.outputs.entry(at).or_default().push(Emitted {
                number: Some((output.source, output.ordinal)),
                key: output.key.map(<[u8]>::to_vec),
                value: output.value.map(<[u8]>::to_vec),
                headers: output.headers.encoded().to_vec(),
            });
        }
        self.outbox.clear();
    }

    /// Compares clock and state with what was committed last. True if there was a snapshot right there.
    fn compare_state(&self, config: &P::Config, history: &History) -> Result<bool, Violation> {
        let Some(last) = &history.last else { return Ok(false) };
        let at = self.instance.at();
        let differs = |section: &str| Violation::State { at: at.clone(), next: last.next, section: section.into() };
        if last.clock != self.instance.clock {
            return Err(differs("(clock)"));
        }
        let damaged = |error: &dyn std::fmt::Display| Violation::History { at: at.clone(), problem: error.to_string() };
        let image = self.cluster.state_image(P::NAME, at)?;
        let Some(stored) = StoredState::read(at, &image).map_err(|error| damaged(&error))? else { return Ok(false) };
        if stored.head.next != last.next || !stored.journal.is_empty() {
            return Ok(false);
        }
        if stored.head.config_hash != stream_core::config_hash(config) || stored.head.clock != last.clock {
            return Err(differs("(head)"));
        }
        let mut writer = SnapshotWriter::default();
        self.instance.processor.snapshot(&mut writer).map_err(|error| damaged(&error))?;
        let expected = writer.into_sections();
        let differing = expected.iter().zip(&stored.sections).find(|(expected, found)| expected != found);
        match differing {
            Some(((name, _), _)) => Err(differs(name)),
            None if expected.len() != stored.sections.len() => Err(differs("(number of sections)")),
            None => Ok(true),
        }
    }
}

/// All committed outputs of engines, by instance.
fn found_outputs(cluster: &Cluster) -> Result<BTreeMap<TopicPartition, Outputs>, Violation> {
    let mut found = BTreeMap::<_, Outputs>::new();
    for topic in cluster.topic_names() {
        for at in cluster.partitions_of(topic) {
            for (_, stored) in cluster.log(&at)?.committed(NextOffset(0)) {
                let Origin::Output { input, number } = &stored.origin else { continue };
                let (key, value, headers) = (stored.key.clone(), stored.value.clone(), stored.headers.clone());
                let emitted = Emitted { number: *number, key, value, headers };
                found.entry(input.clone()).or_default().entry(at.clone()).or_default().push(emitted);
            }
        }
    }
    Ok(found)
}

/// Records that were given up, by the reason in their dead letters: whether a panic recurs is not the log's business.
fn poison(found: &Outputs, at: &TopicPartition) -> BTreeMap<Offset, Reject> {
    let dead_letters = found.iter().filter(|(output, _)| output.topic == at.topic.dead_letters()).flat_map(|(_, emitted)| emitted);
    let mut poison = BTreeMap::new();
    for letter in dead_letters {
        let reason = letter.header("dlq.reason");
        let reason = [RejectReason::Panic, RejectReason::OutputLimit].into_iter().find(|known| Some(known.as_str()) == reason);
        if let (Some(reason), Some(offset)) = (reason, letter.rejected()) {
            poison.insert(offset, Reject::new(reason, letter.header("dlq.detail").unwrap_or_default()));
        }
    }
    poison
}

fn compare(input: &TopicPartition, expected: &Outputs, found: &Outputs) -> Result<(), Violation> {
    let outputs: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    for output in outputs {
        let expected = expected.get(output).map_or(&[][..], Vec::as_slice);
        let found = found.get(output).map_or(&[][..], Vec::as_slice);
        let is_right = |number: &usize| match (expected.get(*number), found.get(*number)) {
            (Some(expected), Some(found)) => expected.is(found),
            (expected, found) => expected.is_none() && found.is_none(),
        };
        let Some(number) = (0..expected.len().max(found.len())).find(|number| !is_right(number)) else { continue };
        let is_repeat = found.get(..number).is_some_and(|before| found.get(number).is_some_and(|odd| before.contains(odd)));
        let found = format!("{}{}", text(found.get(number)), if is_repeat { ", which is a repetition" } else { "" });
        let (input, output) = (input.clone(), output.clone());
        return Err(Violation::Outputs { input, output, number, expected: text(expected.get(number)), found });
    }
    Ok(())
}

fn text(emitted: Option<&Emitted>) -> String {
    let Some(emitted) = emitted else { return "nothing".into() };
    let value = String::from_utf8_lossy(emitted.value.as_deref().unwrap_or_default()).into_owned();
    match (&emitted.number, emitted.rejected()) {
        (Some((source, ordinal)), _) => format!("{source:?} number {ordinal} {value:?}"),
        (None, Some(offset)) => format!("a dead letter of {offset}"),
        (None, None) => format!("{value:?}"),
    }
}

/// A broadcast record is refused once per replica, so its dead letter may be there several times, but never not at all.
fn verify_refused_broadcasts(
    found: &BTreeMap<TopicPartition, Outputs>,
    refused: &BTreeSet<(TopicPartition, Offset)>,
) -> Result<(), Violation> {
    let sources = |at: &TopicPartition, outputs: &Outputs| {
        outputs.values().flatten().filter_map(|emitted| Some((at.clone(), emitted.rejected()?))).collect::<Vec<_>>()
    };
    let letters: BTreeSet<_> = found.iter().flat_map(|(at, outputs)| sources(at, outputs)).collect();
    match refused.symmetric_difference(&letters).next() {
        None => Ok(()),
        Some((at, offset)) => {
            let problem = format!("broadcast record {offset} was refused, or has a dead letter, but not both");
            Err(Violation::History { at: at.clone(), problem })
        }
    }
}

/// Loss is never silent. It may be told twice: a worker that has told it may die before it has committed its new position.
fn verify_loss<P: Processor>(cluster: &Cluster, config: &P::Config, loss: &Loss) -> Result<(), Violation> {
    let mut lost = BTreeMap::<TopicName, u64>::new();
    for at in inputs::<P>(cluster, config) {
        // An instance that never committed has not come there yet.
        if History::read(cluster, P::NAME, &at)?.last.is_some() {
            *lost.entry(at.topic.clone()).or_default() += cluster.lost(&at).count() as u64;
        }
    }
    let totals = loss.totals();
    for (topic, lost) in lost {
        let told = totals.iter().filter(|(_, from, cause, _)| from == topic.as_str() && cause == "retention");
        let reported = told.map(|(.., count)| count).sum();
        if reported < lost {
            return Err(Violation::Loss { topic, lost, reported });
        }
    }
    Ok(())
}

/// What each source published is there, in its order, exactly once.
fn verify_published(cluster: &Cluster, workload: &Workload) -> Result<(), Violation> {
    for (number, records) in workload.sources.iter().enumerate() {
        let name = source_name(number);
        let mut expected = BTreeMap::<TopicPartition, Vec<_>>::new();
        for record in records {
            let at = cluster.place(&record.topic, record.key.as_deref());
            let headers = record.headers.as_headers().encoded();
            expected.entry(at).or_default().push((record.key.as_deref(), record.value.as_deref(), headers));
        }
        let topics: BTreeSet<_> = records.iter().map(|record| &record.topic).collect();
        for at in topics.into_iter().flat_map(|topic| cluster.partitions_of(topic)) {
            let own = |stored: &Stored| stored.origin == Origin::Publisher(name.clone());
            let found = cluster.log(&at)?.committed(NextOffset(0)).filter(|(_, stored)| own(stored));
            let found: Vec<_> = found.map(|(_, s)| (s.key.as_deref(), s.value.as_deref(), s.headers.as_slice())).collect();
            let expected = expected.remove(&at).unwrap_or_default();
            if let Some(number) = (0..expected.len().max(found.len())).find(|n| expected.get(*n) != found.get(*n)) {
                let (expected, found) = (expected.len(), found.len());
                return Err(Violation::Published { source_name: name, at, expected, found, number });
            }
        }
    }
    Ok(())
}

/// Name of a workload's source.
pub(super) fn source_name(number: usize) -> String {
    format!("source-{number}")
}

/// Whether an instance has processed all committed records of its partition that are left, and has seen all broadcasts.
pub(super) fn is_processed<P: Processor>(cluster: &Cluster, config: &P::Config, at: &TopicPartition) -> Result<bool, Violation> {
    let history = History::read(cluster, P::NAME, at)?;
    let is_past = |next: Option<NextOffset>, at: &TopicPartition| {
        let left = cluster.log(at)?.committed(NextOffset(0)).map(|(offset, _)| offset).filter(|offset| !cluster.is_lost(at, *offset));
        Ok::<_, Violation>(left.last().is_none_or(|last| next.is_some_and(|next| next.is_past(last))))
    };
    let next = history.last.as_ref().map(|position| position.next);
    let mut is_processed = is_past(next, at)? && next.is_none_or(|next| next >= cluster.log(at).map_or(next, Log::start));
    for broadcast in P::broadcasts(config).iter().flat_map(|topic| cluster.partitions_of(topic)) {
        is_processed &= is_past(history.broadcasts.get(&broadcast).copied(), &broadcast)?;
    }
    Ok(is_processed)
}

/// All input partitions of a processor.
pub(super) fn inputs<P: Processor>(cluster: &Cluster, config: &P::Config) -> Vec<TopicPartition> {
    P::inputs(config).iter().flat_map(|topic| cluster.partitions_of(topic)).collect()
}
