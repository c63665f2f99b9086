//! The crash law as a check that any processor can call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use schemas::{EventTime, topics};
use stream_core::{Processor, TopicName};

use super::{
    cluster::{Cluster, Tally},
    faults::Faults,
    oracle::{self, Verified},
    rng::Rng,
    toy::{self, Toy, ToyConfig},
    violation::Violation,
    workload::Workload,
    world::Plot,
};
use crate::{
    mutation::{self, Mutation},
    settings::{BatchSettings, EngineSettings},
};

/// How a simulation is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Turns of the scheduler before the faults cease.
    pub actions: u32,
    /// Workers at most.
    pub workers_max: u64,
    /// A deliberate fault in the engine or the model.
    pub mutation: Option<Mutation>,
    /// What may go wrong; drawn from the seed if none.
    pub faults: Option<Faults>,
}

impl Default for Options {
    fn default() -> Self {
        Self { actions: 400, workers_max: 3, mutation: None, faults: None }
    }
}

/// What happened in a simulation that broke no law.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// What went wrong on purpose.
    pub events: Tally,
    /// What was compared.
    pub verified: Verified,
}

/// One simulation of the [toy](super::toy).
///
/// # Errors
/// The law that was broken.
pub fn simulate(seed: u64, options: &Options) -> Result<Report, Violation> {
    let mut rng = Rng::new(seed);
    // In a few runs a section takes several chunks; more of them would cost more than they find.
    let ballast_bytes_max = if rng.chance(5) { 1_500_000 } else { 3_000 };
    let config = ToyConfig { salt: rng.bits(), ballast_bytes_max };
    let workload = toy::workload(&mut rng);
    run::<Toy>(&config, &workload, rng, options)
}

/// Holds a processor to the crash law: for `seeds` seeds, what `workload` publishes goes through the real engine on the model
/// bus while processes die, freeze and lose their partitions, and the outputs must be those of an undisturbed run.
///
/// `SIM_SEED=<n>` in the environment runs that seed only, `SIM_SEEDS=<n>` that many.
///
/// ```
/// use stream_runtime::sim::{check_crash_law, toy};
///
/// check_crash_law::<toy::Toy>(&toy::ToyConfig::default(), 20, toy::workload);
/// ```
///
/// # Panics
/// With the seed and the broken law.
pub fn check_crash_law<P: Processor>(config: &P::Config, seeds: u64, workload: impl Fn(&mut Rng) -> Workload) {
    for seed in seeds_to_run(seeds) {
        let mut rng = Rng::new(seed);
        let workload = workload(&mut rng);
        if let Err(violation) = run::<P>(config, &workload, rng, &Options::default()) {
            panic!("SIM_SEED={seed}: {}", describe(&violation));
        }
    }
}

/// The seeds that the environment asks for, else the first `count`.
#[allow(clippy::disallowed_methods, reason = "a test's seed comes from whoever hunts a failure")]
pub fn seeds_to_run(count: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_SEEDS").unwrap_or(count),
    }
}

/// A violation with all its causes.
pub fn describe(violation: &Violation) -> String {
    let mut text = violation.to_string();
    let mut cause = std::error::Error::source(violation);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// One simulation of any processor.
///
/// # Errors
/// The law that was broken.
pub fn run<P: Processor>(config: &P::Config, workload: &Workload, mut rng: Rng, options: &Options) -> Result<Report, Violation> {
    let faults = options.faults.unwrap_or_else(|| Faults::draw(&mut rng));
    let mut cluster = Cluster::new(rng.fork(), faults, EventTime(0));
    create_topics::<P>(&mut cluster, config, workload);
    if rng.chance(100) {
        cluster.gathered_max = 1_000;
    }
    let records_max = if rng.chance(300) { 1 + rng.index(4) } else { 1_000 };
    let settings = EngineSettings { batch: BatchSettings { records_max, ..BatchSettings::default() }, ..EngineSettings::default() };
    let workers = 1 + rng.below(options.workers_max) as usize;
    mutation::set(options.mutation);
    let plot = Plot::<P>::new(cluster, config.clone(), settings, workload, workers, rng);
    // A mutant may panic where the engine would not; it must not leave the fault switched on.
    let ran = catch_unwind(AssertUnwindSafe(|| {
        for _ in 0..options.actions {
            plot.act();
            plot.broken()?;
        }
        plot.calm_down()
    }));
    mutation::set(None);
    ran.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let verified = oracle::verify::<P>(&plot.cluster(), config, workload, plot.loss())?;
    Ok(Report { events: plot.tally(), verified })
}

/// Creates what the workload shapes, one partition of whatever else the processor reads or writes, and its group.
fn create_topics<P: Processor>(cluster: &mut Cluster, config: &P::Config, workload: &Workload) {
    for (topic, partitions) in &workload.partitions {
        cluster.create(topic, *partitions);
    }
    let read: Vec<_> = P::inputs(config).into_iter().chain(P::broadcasts(config)).collect();
    for topic in read.iter().chain(&P::outputs(config)).chain([&TopicName::new(topics::ALERTS)]) {
        cluster.create(topic, 1);
    }
    cluster.group(P::NAME, &P::inputs(config));
    for topic in &read {
        let partitions = cluster.partitions(topic);
        cluster.create(&topic.dead_letters(), partitions);
    }
}
