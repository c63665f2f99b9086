//! Sinks on the model bus through every kind of bad day, and what is promised of them: outputs and dead letters exactly once,
//! effects at least once and in order, effects of intents only when the intent is on the bus.

mod promises;
mod replicas;
mod toy;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::EventTime;
use stream_core::Headers;

use self::{
    promises::{Seen, is_over, verify},
    replicas::Replicas,
    toy::{Act, Outside},
};
use crate::{
    bus::Bus,
    mutation::{self, Mutation},
    publish::PublishBatch,
    sim::{
        Faults, Rng, Tally,
        client::{Client, SimBus, Stillness},
        cluster::Cluster,
        seeds_to_run,
    },
};

const IN: &str = "in.v1";
const TABLE: &str = "table.v1";
const OUT: &str = "out.v1";
const NAME: &str = "toy.one";
const TABLE_RECORDS: usize = 3;
const BATCH_RECORDS: usize = 4;
const SEEDS: u64 = 1_500;
/// How often the destination is busy on a bad day, per mille of the requests.
const BUSY: u32 = 100;

/// A record of the input: its partition and offset.
type Place = (u32, u64);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Publishes the broadcast and what the toy has to do on this day.
fn publish(bus: &SimBus, rng: &mut Rng) {
    let mut publisher = bus.publisher("source").expect("a good day so far");
    let mut batch = PublishBatch::default();
    for n in 0..TABLE_RECORDS {
        batch.push(&TABLE.into(), Some(b"k"), Some(&[n as u8]), Headers::default()).expect("is small");
    }
    for _ in 0..40 {
        let act = match rng.below(30) {
            0..19 => Act::Deliver,
            19..27 => Act::Intend,
            27 => Act::Refuse,
            28 => Act::Panic,
            _ => Act::Stumble,
        };
        let key = rng.below(9).to_string();
        batch.push(&IN.into(), Some(key.as_bytes()), Some(&[act as u8]), Headers::default()).expect("is small");
    }
    publisher.publish(&batch, b"").expect("a good day so far");
}

/// Lives through a day and holds it to the promises.
fn live(seed: u64, faults: impl FnOnce(&mut Rng) -> Faults, busy: u32) -> Result<(Tally, Seen), String> {
    let mut rng = Rng::new(seed);
    let faults = faults(&mut rng);
    let mut cluster = Cluster::new(rng.fork(), Faults::NONE, EventTime(0));
    for (topic, partitions) in [(IN, 2), (TABLE, 1), (OUT, 1), ("in.v1.dlq", 2)] {
        cluster.create(&topic.into(), partitions);
    }
    cluster.group(NAME, &[IN.into()]);
    let cluster = Arc::new(Mutex::new(cluster));
    publish(&SimBus(Client::new(&cluster, Arc::new(Stillness), "source")), &mut rng);
    lock(&cluster).deliver_markers(None);
    let replicas = Replicas::new(&cluster, &mut rng);
    Outside::begin(rng.fork(), busy, &cluster);
    lock(&cluster).faults = faults;
    (0..250).for_each(|_| replicas.act());
    lock(&cluster).faults = Faults::NONE;
    Outside::calm_down();
    let mut rounds = 0;
    while !is_over(&lock(&cluster)) {
        if let Some(error) = replicas.broken() {
            return Err(format!("a process stopped: {error}"));
        }
        if rounds == 1_000 {
            return Err(format!("after {rounds} rounds without a fault, records are left"));
        }
        rounds += 1;
        replicas.calm_round();
    }
    if let Some(error) = replicas.broken() {
        return Err(format!("a process stopped: {error}"));
    }
    let seen = verify(&lock(&cluster), &Outside::end())?;
    Ok((lock(&cluster).events, seen))
}

#[test]
fn a_sink_keeps_its_promises_on_every_bad_day() {
    let (mut events, mut all) = (Tally::default(), Seen::default());
    for seed in seeds_to_run(SEEDS) {
        let (tally, seen) = live(seed, Faults::draw, BUSY).unwrap_or_else(|broken| panic!("SIM_SEED={seed}: {broken}"));
        (events, all) = (events + tally, all + seen);
    }
    println!("{events:?} {all:?}");
    if seeds_to_run(SEEDS).count() as u64 >= SEEDS {
        let Tally { crashes, lost, aborts, unknown, fenced, frozen, restores, commits, .. } = events;
        assert!([crashes, lost, aborts, unknown, fenced, frozen, restores, commits].into_iter().all(|count| count >= 100), "{events:?}");
        assert!([all.repeated, all.dead, all.acted, all.panics].into_iter().all(|count| count >= 100), "{all:?}");
    }
}

#[test]
fn on_a_good_day_nothing_is_delivered_twice() {
    for seed in 0..50 {
        let (_, seen) = live(seed, |_| Faults::NONE, 0).unwrap_or_else(|broken| panic!("SIM_SEED={seed}: {broken}"));
        // A panic sends the toy back to its last commit, so what was delivered of the same batch comes again.
        assert!(seen.repeated <= seen.panics * (BATCH_RECORDS - 1), "SIM_SEED={seed}: {seen:?}");
    }
}

/// Each deliberate fault must break a promise in some seed; the test prints in which.
#[test]
fn every_mutant_of_a_sink_is_found() {
    const SEEDS_PER_MUTANT: u64 = 400;
    let found = |mutant: Mutation| {
        mutation::set(Some(mutant));
        let found = (0..SEEDS_PER_MUTANT).find_map(|seed| Some((seed, live(seed, Faults::draw, BUSY).err()?)));
        mutation::set(None);
        found
    };
    let mut survivors = Vec::new();
    for mutant in Mutation::SINK {
        match found(mutant) {
            Some((seed, broken)) => println!("{mutant:?}: SIM_SEED={seed}: {broken}"),
            None => survivors.push(mutant),
        }
    }
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}
