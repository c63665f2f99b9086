//! A worker in a thread that stands for its process.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use stream_runtime::{
    kafka::KafkaBus,
    loss::Loss,
    metrics::StageMetrics,
    settings::{BatchSettings, DlqSettings, EngineSettings, StateSettings, TimeSettings},
    sim::{
        Mutation, Rng,
        toy::{Toy, ToyConfig},
    },
    time::SystemClock,
    worker::{Worker, WorkerError},
};

use super::fate::Fate;

/// One process of a replica.
pub struct Replica {
    pub fate: Fate,
    pub metrics: StageMetrics,
    thread: JoinHandle<Result<(), WorkerError>>,
}

/// How all replicas of a world are set.
#[derive(Clone)]
pub struct Setting {
    pub toy: ToyConfig,
    pub engine: EngineSettings,
    pub mutation: Option<Mutation>,
}

impl Setting {
    /// Small batches or large, snapshots all the time or hardly ever; silence soon.
    pub fn draw(rng: &mut Rng, mutation: Option<Mutation>) -> Self {
        let toy = ToyConfig { salt: rng.bits(), ..ToyConfig::default() };
        let records_max = if rng.chance(300) { 1 + rng.index(4) } else { 1_000 };
        let replay_cpu_ms = if rng.chance(500) { 0 } else { 1_000 };
        let engine = EngineSettings {
            batch: BatchSettings { records_max, batch_ms: 30, ..BatchSettings::default() },
            state: StateSettings { replay_cpu_ms, idle_snapshot_s: 1, ..StateSettings::default() },
            time: TimeSettings { idle_ms: 400, ..TimeSettings::default() },
            dlq: DlqSettings::default(),
        };
        Self { toy, engine, mutation }
    }
}

impl Replica {
    /// Starts a process on a bus of its own.
    pub fn start(bus: KafkaBus, setting: &Setting, release: u8) -> Self {
        let (fate, metrics, setting) = (Fate::default(), StageMetrics::default(), setting.clone());
        let (rule, told) = (fate.clone(), metrics.clone());
        let thread = std::thread::spawn(move || {
            let work = || work(bus, &setting, &rule, told);
            rule.rule(release, setting.mutation, work).unwrap_or(Ok(()))
        });
        Self { fate, metrics, thread }
    }

    pub fn is_gone(&self) -> bool {
        self.thread.is_finished()
    }

    /// Waits for its end.
    pub fn end(self) -> Result<(), WorkerError> {
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn work(bus: KafkaBus, setting: &Setting, fate: &Fate, metrics: StageMetrics) -> Result<(), WorkerError> {
    let (config, engine) = (setting.toy.clone(), setting.engine.clone());
    let mut worker = Worker::<Toy>::new(Arc::new(bus), config, engine, Box::new(SystemClock), Loss::default(), metrics)?;
    while !fate.is_leaving() {
        match worker.step() {
            // As a service manager does with a process that met the brokers' absence while it started.
            Err(WorkerError::Bus(stream_runtime::bus::BusError::Lost(_))) => std::thread::sleep(Duration::from_millis(200)),
            outcome => outcome?,
        }
    }
    worker.shutdown()
}

/// Whether a process may end so: somebody else has its name, which is what happens to a zombie.
pub fn is_fenced(error: &WorkerError) -> bool {
    error.to_string().contains("another process uses the instance name")
}
