//! One simulated world: a cluster, sources, workers, and a scheduler that lets one of them act at a time, or strikes.

use std::{
    cell::Cell,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use stream_core::{NextOffset, Processor, TopicPartition};

use super::{
    client::{Client, SimBus, World},
    clock::SimClock,
    cluster::{Cluster, Tally},
    faults::Faults,
    feeder::Feeder,
    oracle::{inputs, is_processed, source_name},
    rng::Rng,
    violation::Violation,
    workload::{SourceRecord, Workload},
};
use crate::{
    loss::Loss,
    metrics::StageMetrics,
    settings::EngineSettings,
    state::StoredState,
    worker::{Worker, WorkerError},
};

/// Calls frozen within each other at most.
const DEPTH_MAX: u32 = 3;
/// Rounds without faults, for each record of a source, after which everything must be processed.
const CALM_ROUNDS_PER_RECORD: usize = 20;

thread_local! {
    static RELEASE: Cell<u8> = const { Cell::new(0) };
}

/// The release of the binary that simulated processes run, for processors whose bugs are fixed some day. It only rises, and
/// all processes are upgraded at once.
pub fn release() -> u8 {
    RELEASE.get()
}

/// Makes this thread a process that runs this release: for processes that are threads, on a real bus.
pub fn run_release(release: u8) {
    RELEASE.set(release);
}

/// One worker's place: the process that runs there may be out, frozen in a call.
struct Slot<P: Processor> {
    instance: String,
    /// Counts the processes that ran here. A process that comes back and finds another number has an heir.
    process: u64,
    live: Option<Live<P>>,
    is_out: bool,
}

struct Live<P: Processor> {
    client: Client,
    clock: SimClock,
    worker: Worker<P>,
}

struct Source {
    name: String,
    records: Vec<SourceRecord>,
    feeder: Mutex<Option<Feeder>>,
}

/// A world.
pub(super) struct Plot<P: Processor> {
    this: Weak<Self>,
    cluster: Arc<Mutex<Cluster>>,
    config: P::Config,
    settings: EngineSettings,
    slots: Vec<Mutex<Slot<P>>>,
    sources: Vec<Source>,
    rng: Mutex<Rng>,
    depth: AtomicU32,
    /// What workers said they lost.
    loss: Loss,
    violation: Mutex<Option<Violation>>,
}

/// The world as a frozen process's client knows it.
struct Elsewhere<P: Processor>(Weak<Plot<P>>);

impl<P: Processor> World for Elsewhere<P> {
    fn go_on(&self) {
        if let Some(plot) = self.0.upgrade() {
            plot.go_on();
        }
    }
}

/// What an instance has committed.
fn stored<P: Processor>(cluster: &Cluster, at: &TopicPartition) -> Option<StoredState> {
    let image = cluster.state_image(P::NAME, at).ok()?;
    StoredState::read(at, &image).ok().flatten()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<P: Processor> Plot<P> {
    /// Sets the scene. `cluster` has the topics already.
    pub(super) fn new(
        cluster: Cluster,
        config: P::Config,
        settings: EngineSettings,
        workload: &Workload,
        workers: usize,
        rng: Rng,
    ) -> Arc<Self> {
        RELEASE.set(0);
        let slot = |n| Slot { instance: format!("worker-{n}"), process: 0, live: None, is_out: false };
        let source = |(n, records): (usize, &Vec<_>)| Source { name: source_name(n), records: records.clone(), feeder: Mutex::new(None) };
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            cluster: Arc::new(Mutex::new(cluster)),
            config,
            settings,
            slots: (0..workers).map(|n| Mutex::new(slot(n))).collect(),
            sources: workload.sources.iter().enumerate().map(source).collect(),
            rng: Mutex::new(rng),
            depth: AtomicU32::new(0),
            loss: Loss::default(),
            violation: Mutex::new(None),
        })
    }

    /// The cluster.
    pub(super) fn cluster(&self) -> MutexGuard<'_, Cluster> {
        lock(&self.cluster)
    }

    /// What has happened so far.
    pub(super) fn tally(&self) -> Tally {
        self.cluster().events
    }

    /// What workers said they lost.
    pub(super) fn loss(&self) -> &Loss {
        &self.loss
    }

    /// The first broken law that showed while the world ran.
    pub(super) fn broken(&self) -> Result<(), Violation> {
        lock(&self.violation).take().map_or(Ok(()), Err)
    }

    /// Somebody acts, or something strikes.
    pub(super) fn act(&self) {
        let (draw, index) = {
            let mut rng = lock(&self.rng);
            (rng.below(100), rng.bits())
        };
        match draw {
            0..48 => self.step(index as usize % self.slots.len()),
            48..62 => self.feed(index as usize % self.sources.len().max(1)),
            62..76 => {
                self.cluster().deliver_marker();
            }
            76..84 => self.start(index as usize % self.slots.len()),
            84..88 => self.strike_group(),
            88..94 => self.strike_time(index as usize),
            94..96 => self.silence(index as usize % self.slots.len()),
            96..97 => self.strike_retention(index as usize),
            97..99 => self.shut_down(index as usize % self.slots.len()),
            _ => RELEASE.set(release() + u8::from(release() < 4 && index.is_multiple_of(2))),
        }
    }

    /// A few actions while somebody is frozen.
    fn go_on(&self) {
        if self.depth.fetch_add(1, Ordering::Relaxed) < DEPTH_MAX {
            let actions = {
                let mut rng = lock(&self.rng);
                let most = if rng.chance(200) { 60 } else { 12 };
                rng.below(most)
            };
            (0..actions).for_each(|_| self.act());
        }
        self.depth.fetch_sub(1, Ordering::Relaxed);
    }

    /// Faults cease; everything must be processed soon. Then everybody leaves cleanly.
    pub(super) fn calm_down(&self) -> Result<(), Violation> {
        self.cluster().faults = Faults::NONE;
        let records: usize = self.sources.iter().map(|source| source.records.len()).sum();
        let rounds_max = CALM_ROUNDS_PER_RECORD * (1 + records);
        for _ in 0..rounds_max {
            self.settle();
            for index in 0..self.sources.len() {
                self.feed(index);
            }
            for index in 0..self.slots.len() {
                self.start(index);
                self.step(index);
            }
            self.broken()?;
            self.cluster().deliver_markers(None);
            if self.is_fed() && self.unprocessed()?.is_none() {
                (0..self.slots.len()).for_each(|index| self.shut_down(index));
                self.cluster().deliver_markers(None);
                return self.broken();
            }
        }
        let left = self.unprocessed()?.map_or("records of a source".into(), |at| format!("records or broadcasts for {at}"));
        Err(Violation::Stuck(format!("after {rounds_max} rounds without a fault, {left} are left")))
    }

    /// Whether all records of all sources are on the bus.
    fn is_fed(&self) -> bool {
        self.sources.iter().all(|source| lock(&source.feeder).as_ref().and_then(Feeder::position) == Some(source.records.len()))
    }

    /// An input partition that is not processed to its end.
    fn unprocessed(&self) -> Result<Option<TopicPartition>, Violation> {
        let cluster = self.cluster();
        for at in inputs::<P>(&cluster, &self.config) {
            if !is_processed::<P>(&cluster, &self.config, &at)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Whatever hangs times out.
    fn settle(&self) {
        let is_gone = |instance: &str| self.slot_of(instance).is_none_or(|slot| slot.live.is_none());
        let mut cluster = self.cluster();
        for producer in cluster.coordinator.undecided() {
            cluster.expire(&producer);
        }
        cluster.deliver_markers(None);
        cluster.with_group(P::NAME, |group, rng| group.members_of(is_gone).into_iter().for_each(|member| group.remove(member, rng)));
    }

    fn slot_of(&self, instance: &str) -> Option<MutexGuard<'_, Slot<P>>> {
        self.slots.iter().map(lock).find(|slot| slot.instance == instance)
    }

    /// One step of a worker, if it is there.
    fn step(&self, index: usize) {
        let (mut live, process) = {
            let mut slot = lock(&self.slots[index]);
            let Some(live) = slot.live.take() else { return };
            slot.is_out = true;
            (live, slot.process)
        };
        live.clock.pass(Duration::from_millis(lock(&self.rng).below(300)));
        let outcome = live.worker.step();
        if let Err(error) = outcome
            && !live.client.is_dead()
        {
            live.client.kill();
            if !self.is_overtaken(&error) {
                lock(&self.violation).get_or_insert(Violation::Stopped(error));
            }
        }
        let mut slot = lock(&self.slots[index]);
        if slot.process == process {
            slot.is_out = false;
            slot.live = Some(live).filter(|live| !live.client.is_dead());
        }
    }

    /// Whether a worker stopped because retention went past the state that it had read, while somebody else committed a newer
    /// one: then the next worker finds all that it needs.
    fn is_overtaken(&self, error: &WorkerError) -> bool {
        let WorkerError::InputGone { at, .. } = error else { return false };
        let cluster = self.cluster();
        let is_needed = |stored: StoredState| cluster.log(at).is_ok_and(|log| stored.head.next >= log.start());
        stored::<P>(&cluster, at).is_some_and(is_needed)
    }

    /// Starts a process where none is, or where one is frozen: then it is the heir of a zombie.
    fn start(&self, index: usize) {
        let mut slot = lock(&self.slots[index]);
        if slot.live.is_some() || (slot.is_out && lock(&self.rng).chance(700)) {
            return;
        }
        let client = Client::new(&self.cluster, Arc::new(Elsewhere(self.this.clone())), &slot.instance);
        let rng = lock(&self.rng).fork();
        let clock = SimClock::new(self.cluster().faults.costly, rng);
        let bus = Arc::new(SimBus(client.clone()));
        let worker = Worker::new(
            bus,
            self.config.clone(),
            self.settings.clone(),
            Box::new(clock.clone()),
            self.loss.clone(),
            StageMetrics::default(),
        );
        match worker {
            Ok(worker) => {
                slot.process += 1;
                slot.is_out = false;
                slot.live = Some(Live { client, clock, worker });
            }
            Err(error) => {
                lock(&self.violation).get_or_insert(Violation::Stopped(error));
            }
        }
    }

    fn shut_down(&self, index: usize) {
        let Some(mut live) = lock(&self.slots[index]).live.take() else { return };
        if let Err(error) = live.worker.shutdown()
            && !live.client.is_dead()
        {
            lock(&self.violation).get_or_insert(Violation::Stopped(error));
        }
    }

    /// A source publishes its next block. While its process is frozen, another of the same name does.
    fn feed(&self, index: usize) {
        let Some(source) = self.sources.get(index) else { return };
        let present = lock(&source.feeder).take().filter(|feeder| !feeder.is_dead());
        let new = || Feeder::new(Client::new(&self.cluster, Arc::new(Elsewhere(self.this.clone())), &source.name), &source.name);
        let mut feeder = present.unwrap_or_else(new);
        let mut rng = lock(&self.rng).fork();
        if let Err(error) = feeder.feed(&source.records, &mut rng)
            && !feeder.is_dead()
        {
            lock(&self.violation).get_or_insert(error.into());
        }
        *lock(&source.feeder) = Some(feeder);
    }

    /// A partition is taken from somebody.
    fn strike_group(&self) {
        let mut cluster = self.cluster();
        if cluster.strikes(|faults| faults.rebalance) {
            cluster.with_group(P::NAME, super::group::Group::disturb);
        }
    }

    /// A session or a transaction times out: that of a process that is frozen or dead, or, more rarely, of any.
    fn strike_time(&self, index: usize) {
        let is_for_anybody = self.cluster().strikes(|faults| faults.timeout);
        let is_candidate = |instance: &str| is_for_anybody || self.slot_of(instance).is_none_or(|slot| slot.live.is_none());
        let mut cluster = self.cluster();
        if cluster.rng.chance(500) {
            let undecided = cluster.coordinator.undecided();
            if let Some(producer) = undecided.get(index % undecided.len().max(1)) {
                cluster.expire(producer);
            }
        } else {
            cluster.with_group(P::NAME, |group, rng| {
                let members = group.members_of(is_candidate);
                if let Some(member) = members.get(index % members.len().max(1)) {
                    group.remove(*member, rng);
                }
            });
        }
    }

    /// Retention removes records of an input: those that no replay needs any more, or, while nobody runs and nothing is under
    /// way, also such as nobody has processed. (What a replay still needs, the engine snapshots in time, or stops for good.)
    fn strike_retention(&self, index: usize) {
        if !self.cluster().strikes(|faults| faults.retention) {
            return;
        }
        let is_outage = self.depth.load(Ordering::Relaxed) == 0 && lock(&self.rng).chance(400);
        if is_outage {
            (0..self.slots.len()).for_each(|index| self.shut_down(index));
        }
        let is_empty = is_outage && self.slots.iter().map(lock).all(|slot| slot.live.is_none() && !slot.is_out);
        if is_empty {
            self.settle();
        }
        let mut cluster = self.cluster();
        let inputs = inputs::<P>(&cluster, &self.config);
        let Some(at) = inputs.get(index % inputs.len().max(1)) else { return };
        let (needed, next) = stored::<P>(&cluster, at).map(|stored| (stored.head.next, stored.position.next)).unwrap_or_default();
        let Ok((start, stable)) = cluster.log(at).map(|log| (log.start(), log.last_stable())) else { return };
        let limit = if is_empty && needed == next { stable } else { needed };
        if limit > start {
            let to = NextOffset(start.0 + 1 + cluster.rng.below(limit.0 - start.0));
            cluster.trim(at, next, to);
        }
    }

    /// A long time passes for one process.
    fn silence(&self, index: usize) {
        let strikes = self.cluster().strikes(|faults| faults.silence);
        if strikes && let Some(live) = &lock(&self.slots[index]).live {
            live.clock.pass(Duration::from_secs(5 + lock(&self.rng).below(80)));
        }
    }
}
