//! What was promised, looked up in what stands on the bus and in what happened outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Add,
};

use stream_core::{Headers, NextOffset, Offset, TopicPartition};

use super::{
    IN, OUT, Place,
    toy::{Act, Outside},
};
use crate::sim::{cluster::Cluster, log::Stored};

/// Outputs under read_committed, with their offsets: what, of which record.
fn outputs(cluster: &Cluster) -> Vec<(u64, String, Place)> {
    let at = cluster.partitions_of(&OUT.into()).pop().expect("created");
    let log = cluster.log(&at).expect("created");
    let parse = |(offset, stored): (Offset, &Stored)| {
        let text = String::from_utf8_lossy(stored.value.as_deref().unwrap_or_default()).into_owned();
        let mut words = text.split(' ');
        let what = words.next().unwrap_or_default().to_owned();
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(u64::MAX);
        let place = (number() as u32, number());
        (offset.0, what, place)
    };
    log.committed(NextOffset(0)).map(parse).collect()
}

fn inputs(cluster: &Cluster) -> BTreeMap<Place, Act> {
    let records = |at: &TopicPartition| {
        let log = cluster.log(at).expect("created");
        let act = |(offset, stored): (Offset, &Stored)| Some(((at.partition.0, offset.0), Act::of(stored.value.as_deref())?));
        log.committed(NextOffset(0)).filter_map(act).collect::<Vec<_>>()
    };
    cluster.partitions_of(&IN.into()).iter().flat_map(records).collect()
}

fn dead_letters(cluster: &Cluster) -> Vec<Place> {
    let letters = |at: &TopicPartition| {
        let log = cluster.log(at).expect("created");
        let offset = |headers: &[u8]| Headers::from_encoded(headers).text("dlq.offset").and_then(|offset| offset.parse().ok());
        let places = log.committed(NextOffset(0)).map(|(_, stored)| (at.partition.0, offset(&stored.headers).unwrap_or(u64::MAX)));
        places.collect::<Vec<_>>()
    };
    cluster.partitions_of(&"in.v1.dlq".into()).iter().flat_map(letters).collect()
}

/// Every record is dealt with, every intent has its outcome.
pub(super) fn is_over(cluster: &Cluster) -> bool {
    let (outputs, dead) = (outputs(cluster), dead_letters(cluster));
    let has = |what: &str, place: &Place| outputs.iter().any(|(_, found, at)| found == what && at == place);
    inputs(cluster).iter().all(|(place, _)| dead.contains(place) || has("delivered", place) || has("outcome", place))
}

/// How much of what was promised only loosely happened: a test in which it never does proves nothing.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) repeated: usize,
    pub(super) dead: usize,
    pub(super) acted: usize,
    pub(super) panics: usize,
}

impl Add for Seen {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            repeated: self.repeated + other.repeated,
            dead: self.dead + other.dead,
            acted: self.acted + other.acted,
            panics: self.panics + other.panics,
        }
    }
}

/// Holds a day that is over to the promises.
pub(super) fn verify(cluster: &Cluster, outside: &Outside) -> Result<Seen, String> {
    let (inputs, outputs, dead) = (inputs(cluster), outputs(cluster), dead_letters(cluster));
    let count = |what: &str, place: &Place| outputs.iter().filter(|(_, found, at)| found == what && at == place).count();
    for (place, act) in &inputs {
        let letters = dead.iter().filter(|letter| *letter == place).count();
        let found = [count("delivered", place), count("intent", place), count("outcome", place), letters];
        let expected: &[[usize; 4]] = match act {
            Act::Deliver => &[[1, 0, 0, 0]],
            Act::Intend => &[[0, 1, 1, 0]],
            Act::Refuse | Act::Panic => &[[0, 0, 0, 1]],
            Act::Stumble => &[[1, 0, 0, 0], [0, 0, 0, 1]],
        };
        ensure(expected.contains(&found), || format!("{act:?} at {place:?}: deliveries, intents, outcomes, dead letters: {found:?}"))?;
        ensure(found[0] == 0 || outside.delivered.contains(place), || format!("{place:?} was not delivered"))?;
        ensure(found[1] == 0 || outside.acted.iter().any(|(acted, _)| acted == place), || format!("{place:?} was not acted on"))?;
    }
    for (place, end) in &outside.acted {
        let is_known = outputs.iter().any(|(offset, what, at)| what == "intent" && at == place && *offset < end.0);
        ensure(is_known, || format!("{place:?} was acted on before its intent was on the bus"))?;
    }
    for partition in 0..2 {
        let mut firsts = Vec::new();
        // What broke one process may be delivered by another that has lost the partition and does not know it yet.
        for (_, offset) in outside.delivered.iter().filter(|place| place.0 == partition && !dead.contains(place)) {
            if !firsts.contains(offset) {
                firsts.push(*offset);
            }
        }
        ensure(firsts.is_sorted(), || format!("deliveries of partition {partition} out of order: {firsts:?}"))?;
        let written = outputs.iter().filter(|(_, what, (here, _))| what != "outcome" && *here == partition);
        ensure(written.map(|(.., (_, offset))| offset).is_sorted(), || format!("outputs of partition {partition} out of order"))?;
    }
    let distinct: BTreeSet<_> = outside.delivered.iter().collect();
    let repeated = outside.delivered.len() - distinct.len();
    Ok(Seen { repeated, dead: dead.len(), acted: outside.acted.len(), panics: outside.panics })
}

fn ensure(is_so: bool, else_what: impl FnOnce() -> String) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(else_what()) }
}
