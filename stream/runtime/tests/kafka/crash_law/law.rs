use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use stream_runtime::sim::{Mutation, Verified};

use super::world::{Story, World};
use crate::support::{Installation, cluster, own_cluster};

/// Worlds of one ordinary run.
const SEEDS: u64 = 3;
/// How long each is disturbed.
const SECONDS: u64 = 14;
/// Worlds at a time: more would only wait for the processor.
const WORLDS: usize = 3;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs the worlds of these seeds, a few at a time, and returns their outcomes in order.
fn run(prefix: &str, worlds: &[(u64, Option<Mutation>)], time: Duration) -> Vec<Result<Story, String>> {
    let next = AtomicU64::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed) as usize;
            let Some((seed, mutation)) = worlds.get(index) else { return done };
            let on = Installation::empty(&format!("{prefix}-{index}")).expect("there is a broker");
            done.push((index, World::new(on, *seed, *mutation).run(time)));
        }
    };
    let mut outcomes: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..WORLDS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    outcomes.sort_by_key(|(index, _)| *index);
    outcomes.into_iter().map(|(_, outcome)| outcome).collect()
}

#[test]
fn the_crash_law_holds_on_a_real_broker() {
    if cluster().is_none() {
        return;
    }
    let seeds = match setting("KAFKA_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..setting("KAFKA_SEEDS").unwrap_or(SEEDS),
    };
    let worlds: Vec<_> = seeds.clone().map(|seed| (seed, None)).collect();
    let time = Duration::from_secs(setting("KAFKA_SECONDS").unwrap_or(SECONDS));
    let (mut met, mut verified) = (BTreeMap::new(), Verified::default());
    for (seed, outcome) in seeds.zip(run("law", &worlds, time)) {
        let story = outcome.unwrap_or_else(|broken| panic!("KAFKA_SEED={seed}: {broken}"));
        story.met.into_iter().for_each(|(what, count)| *met.entry(what).or_insert(0) += count);
        verified = verified + story.verified;
    }
    println!("{met:#?}\n{verified:?}");
    assert!(verified.outputs > 0 && verified.records > 0 && verified.states > 0, "a law that holds over nothing proves nothing");
}

/// The broker dies with everything that is under way, and comes back.
#[test]
fn the_crash_law_holds_when_the_broker_is_killed() {
    let Some(cluster) = own_cluster() else { return };
    let world = World::new(Installation::on(cluster.clone(), "outage"), 7, None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                std::thread::sleep(Duration::from_secs(3));
                cluster.kill();
                std::thread::sleep(Duration::from_millis(500));
                cluster.restart();
            }
        });
        let story = world.run(Duration::from_secs(14)).unwrap_or_else(|broken| panic!("{broken}"));
        println!("{story:#?}");
    });
}

/// Two faults of the engine that nearly every world provokes. The simulator finds the others, and tests of their own find those
/// of the way to the brokers.
#[test]
fn mutants_are_found_on_a_real_broker() {
    /// On a busy machine a world gets to do little in its time, so there are others.
    const ROUNDS_MAX: u64 = 8;
    const MUTANTS: [Mutation; 2] = [Mutation::HeadOffByOne, Mutation::ClockFromPosition];
    if cluster().is_none() {
        return;
    }
    let mut missing = MUTANTS.to_vec();
    for seed in 0..ROUNDS_MAX {
        let worlds: Vec<_> = missing.iter().flat_map(|mutant| [2 * seed, 2 * seed + 1].map(|seed| (seed, Some(*mutant)))).collect();
        let outcomes = run(&format!("mutant-{seed}"), &worlds, Duration::from_secs(6));
        for ((seed, mutant), outcome) in worlds.into_iter().zip(outcomes) {
            if let (Err(broken), Some(mutant)) = (outcome, mutant) {
                println!("{mutant:?}, KAFKA_SEED={seed}: {broken}");
                missing.retain(|other| *other != mutant);
            }
        }
        if missing.is_empty() {
            return;
        }
    }
    panic!("{missing:?} were not found");
}
