//! Replicas of the toy in one thread, one of which acts at a time; while one is frozen in a call, the others go on.

use std::{
    cell::Cell,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use schemas::EventTime;

use super::{NAME, lock, toy::Toy};
use crate::{
    loss::Loss,
    metrics::StageMetrics,
    settings::EngineSettings,
    sim::{
        Rng,
        client::{Client, SimBus, World},
        cluster::Cluster,
    },
    sink::{SinkParts, SinkWorker},
    time::Clock,
    worker::WorkerError,
};

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// A clock that the test turns.
#[derive(Clone, Default)]
struct Hands(Arc<Mutex<Duration>>);

impl Hands {
    fn pass(&self, time: Duration) {
        *lock(&self.0) += time;
    }
}

impl Clock for Hands {
    fn monotonic(&self) -> Duration {
        *lock(&self.0)
    }

    fn cpu(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep(&self, time: Duration) {
        self.pass(time);
    }
}

pub(super) struct Process {
    client: Client,
    hands: Hands,
    worker: SinkWorker<Toy>,
}

/// All replicas, and the cluster that they are clients of.
pub(super) struct Replicas {
    this: Weak<Self>,
    cluster: Arc<Mutex<Cluster>>,
    /// Empty where no process runs, or one is frozen.
    slots: Vec<Mutex<Option<Process>>>,
    rng: Mutex<Rng>,
    broken: Mutex<Option<WorkerError>>,
}

/// The world as a frozen process's client knows it.
struct Elsewhere(Weak<Replicas>);

impl World for Elsewhere {
    fn go_on(&self) {
        let Some(replicas) = self.0.upgrade().filter(|_| DEPTH.get() < 2) else { return };
        DEPTH.set(DEPTH.get() + 1);
        let actions = lock(&replicas.rng).below(30);
        (0..actions).for_each(|_| replicas.act());
        DEPTH.set(DEPTH.get() - 1);
    }
}

fn name(index: usize) -> String {
    format!("replica-{index}")
}

impl Replicas {
    /// Places for two replicas, nobody in them yet.
    pub(super) fn new(cluster: &Arc<Mutex<Cluster>>, rng: &mut Rng) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            cluster: Arc::clone(cluster),
            slots: (0..2).map(|_| Mutex::default()).collect(),
            rng: Mutex::new(rng.fork()),
            broken: Mutex::default(),
        })
    }

    /// The first error that stopped a process for another reason than its death.
    pub(super) fn broken(&self) -> Option<WorkerError> {
        lock(&self.broken).take()
    }

    /// Somebody acts, or something strikes.
    pub(super) fn act(&self) {
        let (draw, index) = {
            let mut rng = lock(&self.rng);
            (rng.below(100), rng.index(self.slots.len()))
        };
        match draw {
            0..60 => self.step(index),
            60..75 => self.start(index),
            75..87 => drop(lock(&self.cluster).deliver_marker()),
            87..90 => lock(&self.cluster).with_group(NAME, |group, rng| group.disturb(rng)),
            90..93 => {
                let undecided = lock(&self.cluster).coordinator.undecided();
                let producer = lock(&self.rng).pick(&undecided).cloned();
                producer.into_iter().for_each(|producer| lock(&self.cluster).expire(&producer));
            }
            93..96 => self.evict_absent(),
            _ => {
                let process = lock(&self.slots[index]).take();
                process.into_iter().for_each(|mut process| process.worker.shutdown());
            }
        }
    }

    /// One round of a world without faults: whatever hangs times out, everybody is there and works.
    pub(super) fn calm_round(&self) {
        let undecided = lock(&self.cluster).coordinator.undecided();
        undecided.iter().for_each(|producer| lock(&self.cluster).expire(producer));
        lock(&self.cluster).deliver_markers(None);
        self.evict_absent();
        for index in 0..self.slots.len() {
            self.start(index);
            self.step(index);
        }
    }

    /// The sessions of processes that are dead or frozen time out.
    fn evict_absent(&self) {
        let is_absent = |instance: &str| self.slots.iter().enumerate().any(|(n, slot)| instance == name(n) && lock(slot).is_none());
        let mut cluster = lock(&self.cluster);
        cluster.with_group(NAME, |group, rng| group.members_of(is_absent).into_iter().for_each(|member| group.remove(member, rng)));
    }

    fn step(&self, index: usize) {
        let Some(mut process) = lock(&self.slots[index]).take() else { return };
        process.hands.pass(Duration::from_millis(lock(&self.rng).below(600)));
        if let Err(error) = process.worker.step()
            && !process.client.is_dead()
        {
            lock(&self.broken).get_or_insert(error);
            process.client.kill();
        }
        let mut slot = lock(&self.slots[index]);
        if slot.is_none() && !process.client.is_dead() {
            *slot = Some(process);
        }
    }

    /// Starts a process where none is, or where one is frozen: then it is the heir of a zombie.
    fn start(&self, index: usize) {
        if lock(&self.slots[index]).is_some() {
            return;
        }
        let client = Client::new(&self.cluster, Arc::new(Elsewhere(self.this.clone())), &name(index));
        let hands = Hands::default();
        let mut jitter = lock(&self.rng).fork();
        let (wall_hands, drift) = (hands.clone(), Cell::new(0));
        let worker = SinkWorker::new(SinkParts {
            bus: Arc::new(SimBus(client.clone())),
            name: NAME,
            destination: "one".into(),
            config: (),
            settings: EngineSettings::default(),
            clock: Box::new(hands.clone()),
            wall: Box::new({
                drift.set(jitter.below(5_000) as i64);
                // A wall clock that differs from process to process.
                move || EventTime::from_millis(1_700_000_000_000 + wall_hands.monotonic().as_millis() as i64 - drift.get())
            }),
            loss: Loss::default(),
            metrics: StageMetrics::default(),
        });
        *lock(&self.slots[index]) = worker.map(|worker| Process { client, hands, worker }).ok();
    }
}
