//! The engine on the model bus: thousands of bad days, one per seed. `SIM_SEED=<n>` tells the story of one of them,
//! `SIM_SEEDS=<n>` asks for that many.

use std::time::Duration;

use stream_runtime::{
    sim::{Mutation, Options, Tally, Verified, check_crash_law, describe, seeds_to_run, simulate, toy},
    time::{Clock, SystemClock},
};
use tracing_subscriber::filter::LevelFilter;

/// Seeds of one ordinary run.
const SEEDS: u64 = 1_500;

#[test]
fn the_crash_law_holds_on_every_bad_day() {
    let seeds = seeds_to_run(SEEDS);
    if seeds.clone().count() == 1 {
        let story = tracing_subscriber::fmt().with_max_level(LevelFilter::DEBUG).without_time().finish();
        let told = tracing::subscriber::with_default(story, || simulate(seeds.start, &Options::default()));
        told.unwrap_or_else(|violation| panic!("SIM_SEED={}: {}", seeds.start, describe(&violation)));
        return;
    }
    let begun = SystemClock.cpu();
    let (mut events, mut verified) = (Tally::default(), Verified::default());
    for seed in seeds.clone() {
        match simulate(seed, &Options::default()) {
            Ok(report) => (events, verified) = (events + report.events, verified + report.verified),
            Err(violation) => panic!("SIM_SEED={seed}: {}", describe(&violation)),
        }
    }
    let per_minute = seeds.clone().count() as f64 * 60.0 / (SystemClock.cpu() - begun).max(Duration::from_millis(1)).as_secs_f64();
    println!("{} seeds, {per_minute:.0} a minute of CPU time\n{events:?}\n{verified:?}", seeds.clone().count());
    if seeds.count() as u64 >= SEEDS {
        assert_everything_happened(&events, &verified);
    }
}

/// A simulation in which nothing goes wrong proves nothing.
fn assert_everything_happened(events: &Tally, verified: &Verified) {
    let Tally { crashes, lost, aborts, unknown, fenced, refused, frozen, restores, commits, retries, trims } = *events;
    let Verified { records, outputs, dead_letters, poison, ticks, broadcasts, states, trimmed } = *verified;
    let rarest = [crashes, lost, aborts, unknown, fenced, refused, frozen, restores, commits, retries, trims].into_iter().min();
    assert!(rarest >= Some(100), "{events:?}");
    let rarest = [records, outputs, dead_letters, poison, ticks, broadcasts, states, trimmed].into_iter().min();
    assert!(rarest >= Some(100), "{verified:?}");
}

#[test]
fn a_seed_tells_the_same_story_twice() {
    for seed in 0..50 {
        let run = || simulate(seed, &Options::default()).map_err(|violation| describe(&violation));
        assert_eq!(run(), run(), "SIM_SEED={seed}");
    }
}

#[test]
fn any_processor_can_be_held_to_the_law() {
    check_crash_law::<toy::Toy>(&toy::ToyConfig { salt: 7, ..toy::ToyConfig::default() }, 50, toy::workload);
}

/// Each deliberate fault must break the law in some seed; the test prints in how many.
#[test]
fn every_mutant_is_found() {
    const SEEDS_PER_MUTANT: u64 = 400;
    let mut survivors = Vec::new();
    for mutation in Mutation::ALL {
        let options = Options { mutation: Some(mutation), ..Options::default() };
        let broken: Vec<_> = (0..SEEDS_PER_MUTANT).filter_map(|seed| Some((seed, simulate(seed, &options).err()?))).collect();
        let share = broken.len() as f64 * 100.0 / SEEDS_PER_MUTANT as f64;
        match broken.first() {
            Some((seed, violation)) => println!("{mutation:?}: {share:.1} % of the seeds, first SIM_SEED={seed}: {}", describe(violation)),
            None => survivors.push(mutation),
        }
    }
    assert!(survivors.is_empty(), "not found: {survivors:?}");
}
