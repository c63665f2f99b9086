//! All parts of a process: one thread per processor, a watch over losses, and a view of it all for the API.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use serde::Serialize;
use stream_core::{Processor, Sink};

use crate::{
    bus::{Bus, BusError, TopicSpec},
    layout::{self, LayoutSettings},
    loss::{Loss, LossTotal},
    metrics::{Metrics, Part, SourceMetrics, StageMetrics},
    publish::{Open, Publish},
    settings::EngineSettings,
    sink::{self, SinkParts, SinkWorker},
    spool::{SpoolSpec, Spooled},
    telemetry::{self, Tracing},
    time::{Clock, SystemClock, wall_clock},
    watch::{Notice, Watch},
    worker::{Worker, WorkerError},
};

/// A worker that has not made a round for this long is not alive.
const ALIVE_MS: u64 = 30_000;
/// The source name of the runtime's own alerts.
pub(crate) const RUNTIME_SOURCE: &str = "runtime";

/// A running set of parts on one bus.
pub struct Engine {
    bus: Arc<dyn Bus>,
    settings: EngineSettings,
    view: EngineView,
    tracing: Option<Arc<dyn Tracing>>,
    threads: Vec<JoinHandle<()>>,
    stop_flags: Vec<Arc<AtomicBool>>,
    notice: Notice,
}

/// What others may see of an engine; cheap to clone.
#[derive(Clone)]
pub struct EngineView {
    stages: Arc<Mutex<BTreeMap<&'static str, Stage>>>,
    metrics: Metrics,
    loss: Loss,
}

#[derive(Clone)]
struct Stage {
    metrics: StageMetrics,
    stopped: Option<String>,
}

/// A stage as it is now.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StageStatus {
    /// Name.
    pub name: String,
    /// `running`, `restoring`, `waiting` (commits wait) or `stopped`.
    pub state: &'static str,
    /// Why it waits or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Records processed since the start.
    pub records: u64,
    /// Outputs since the start, by topic.
    pub emitted: BTreeMap<String, u64>,
    /// Rejects since the start, by reason.
    pub rejects: BTreeMap<String, u64>,
    /// Late records since the start.
    pub late: u64,
    /// Records behind the end, all partitions.
    pub lag: u64,
    /// Lowest watermark of its partitions, seconds since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark_seconds: Option<i64>,
    /// Bytes of the last snapshots.
    pub state_bytes: u64,
    /// Successful commits.
    pub commits: u64,
    /// Aborted transactions.
    pub aborts: u64,
    /// Restores.
    pub restores: u64,
    /// Records replayed.
    pub replayed: u64,
    /// Snapshots.
    pub snapshots: u64,
}

impl Engine {
    /// An engine without parts.
    pub fn new(bus: Arc<dyn Bus>, settings: EngineSettings) -> Self {
        let loss = Loss::default();
        let view = EngineView { stages: Arc::default(), metrics: Metrics::new(loss.clone()), loss };
        Self { bus, settings, view, tracing: None, threads: Vec::new(), stop_flags: Vec::new(), notice: Notice::default() }
    }

    /// What others may see.
    pub fn view(&self) -> EngineView {
        self.view.clone()
    }

    /// Where losses are reported.
    pub fn loss(&self) -> Loss {
        self.view.loss.clone()
    }

    /// Creates every topic of the table, with its dead letters, as the table lays them out for such a bus.
    ///
    /// # Errors
    /// If a topic exists in another shape.
    pub fn ensure_topics(bus: &dyn Bus) -> Result<(), BusError> {
        bus.ensure_topics(&layout::specs(bus.backend(), &LayoutSettings::default()))
    }

    /// Lets every part that is started from now on be traced.
    pub fn trace(&mut self, tracing: Arc<dyn Tracing>) {
        self.tracing = Some(tracing);
    }

    /// Starts a processor on a thread of its own. If it ever stops with an error, the others run on and an alert says so.
    ///
    /// # Errors
    /// If its configuration cannot work or the thread cannot be started.
    pub fn spawn<P: Processor>(&mut self, config: P::Config) -> Result<(), WorkerError> {
        let metrics = StageMetrics::default();
        let clock = Box::new(SystemClock);
        let mut worker = Worker::<P>::new(Arc::clone(&self.bus), config, self.settings.clone(), clock, self.loss(), metrics.clone())?;
        if let Some(tracing) = &self.tracing {
            let stage = telemetry::Stage { name: P::NAME, system: self.bus.system(), group: self.bus.group(P::NAME) };
            worker.trace(tracing.tracer(stage));
        }
        let stop = worker.stop_flag();
        self.start(P::NAME, Part::Processor, metrics, stop, move || worker.run())
    }

    /// Starts a sink: a thread and a consumer group for each of its destinations, so that none holds up another. If one ever
    /// stops with an error, the others run on and an alert says so.
    ///
    /// # Errors
    /// If its configuration cannot work or a thread cannot be started.
    pub fn spawn_sink<S: Sink>(&mut self, config: &S::Config) -> Result<(), WorkerError> {
        for destination in S::destinations(config) {
            let name: &'static str = sink::name::<S>(&destination)?.leak(); // once per process
            let metrics = StageMetrics::default();
            let mut worker = SinkWorker::<S>::new(SinkParts {
                bus: Arc::clone(&self.bus),
                name,
                destination,
                config: config.clone(),
                settings: self.settings.clone(),
                clock: Box::new(SystemClock),
                wall: Box::new(wall_clock),
                loss: self.loss(),
                metrics: metrics.clone(),
            })?;
            let stop = worker.stop_flag();
            self.start(name, Part::Sink, metrics, stop, move || worker.run())?;
        }
        Ok(())
    }

    /// Gives a worker its thread.
    fn start(
        &mut self,
        name: &'static str,
        part: Part,
        metrics: StageMetrics,
        stop: Arc<AtomicBool>,
        work: impl FnOnce() -> Result<(), WorkerError> + Send + 'static,
    ) -> Result<(), WorkerError> {
        // Its life begins here: before its first round a worker is young, not dead.
        metrics.ticked(SystemClock.monotonic());
        self.view.metrics.add_stage(name, part, metrics.clone(), self.bus.system(), self.bus.group(name));
        lock(&self.view.stages).insert(name, Stage { metrics, stopped: None });
        self.stop_flags.push(stop);
        let (view, notice) = (self.view.clone(), self.notice.clone());
        let run = move || {
            let Err(error) = work() else { return };
            let why = error_chain(&error);
            tracing::error!(part = name, why, "part stopped");
            if let Some(stage) = lock(&view.stages).get_mut(name) {
                stage.metrics.update(|totals| totals.ready = false);
                stage.stopped = Some(why.clone());
            }
            notice.stopped(name, why);
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        self.threads.push(thread.map_err(|source| BusError::Io { what: format!("cannot start a thread for {name}"), source })?);
        Ok(())
    }

    /// Opens the publisher of a collector, once `topics` are there, with what goes through it in the metrics.
    pub fn publisher(&self, source: &'static str, topics: Vec<TopicSpec>) -> Open {
        self.metered(source, topics).0
    }

    /// The publisher of a collector for what it cannot read again, on a bus that can be away: with a spool in front of it.
    ///
    /// # Errors
    /// If the spool cannot be opened.
    pub fn spooled(
        &self,
        source: &'static str,
        topics: Vec<TopicSpec>,
        directory: &Path,
        bytes_max: u64,
    ) -> Result<Box<dyn Publish>, BusError> {
        let (open, metrics) = self.metered(source, topics);
        Ok(Box::new(Spooled::open(SpoolSpec { directory, source, bytes_max, loss: self.loss(), metrics }, open)?))
    }

    fn metered(&self, source: &'static str, topics: Vec<TopicSpec>) -> (Open, SourceMetrics) {
        let metrics = SourceMetrics::default();
        self.view.metrics.add_source(source, metrics.clone(), self.bus.system());
        let (bus, metered) = (Arc::clone(&self.bus), metrics.clone());
        let open = move || {
            bus.ensure_topics(&topics)?;
            Ok(metered.metered(bus.publisher(source)?))
        };
        (Box::new(open), metrics)
    }

    /// The watch of a process, which publishes once `topics` are there.
    pub fn watch(&self, process: &str, topics: Vec<TopicSpec>) -> Watch {
        let (bus, source) = (Arc::clone(&self.bus), format!("{RUNTIME_SOURCE}-{process}"));
        let open = move || {
            bus.ensure_topics(&topics)?;
            bus.publisher(&source)
        };
        Watch::new(Box::new(open), self.loss(), self.notice.clone())
    }

    /// Lets it watch, on a thread of its own.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub fn spawn_watch(&mut self, watch: Watch) -> Result<(), BusError> {
        let thread = std::thread::Builder::new().name("watch".into()).spawn(move || watch.run());
        self.threads.push(thread.map_err(|source| BusError::Io { what: "cannot start the watch".into(), source })?);
        Ok(())
    }

    /// Lets every part finish its batch, write a snapshot and leave, then waits for all of them.
    pub fn stop(mut self) {
        for flag in &self.stop_flags {
            flag.store(true, Ordering::Relaxed);
        }
        self.notice.close();
        for thread in self.threads.drain(..) {
            let name = thread.thread().name().unwrap_or("part").to_string();
            if thread.join().is_err() {
                tracing::error!(name, "thread panicked");
            }
        }
    }
}

impl EngineView {
    /// All metrics of this process.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Losses since the start.
    pub fn losses(&self) -> Vec<LossTotal> {
        self.loss.totals()
    }

    /// All stages, by name.
    pub fn stages(&self) -> Vec<StageStatus> {
        lock(&self.stages).iter().map(|(name, stage)| stage.status(name)).collect()
    }

    /// Whether every worker made a round within 30 s; the names of those that did not.
    pub fn not_alive(&self) -> Vec<&'static str> {
        let now = u64::try_from(SystemClock.monotonic().as_millis()).unwrap_or(u64::MAX);
        let silent = |stage: &Stage| stage.stopped.is_none() && now.saturating_sub(stage.metrics.ticked_ms()) > ALIVE_MS;
        lock(&self.stages).iter().filter(|(_, stage)| silent(stage)).map(|(name, _)| *name).collect()
    }

    /// The stages that are not processing, and why.
    pub fn not_ready(&self) -> Vec<(String, String)> {
        let reason = |stage: StageStatus| match stage.state {
            "running" => None,
            state => Some((stage.name, stage.why.unwrap_or_else(|| state.into()))),
        };
        self.stages().into_iter().filter_map(reason).collect()
    }
}

impl Stage {
    fn status(&self, name: &str) -> StageStatus {
        let totals = self.metrics.totals();
        let state = match (&self.stopped, &totals.stalled, totals.ready) {
            (Some(_), _, _) => "stopped",
            (_, Some(_), _) => "waiting",
            (_, _, true) => "running",
            _ => "restoring",
        };
        let mut rejects = BTreeMap::new();
        for ((_, reason), count) in totals.rejects.iter() {
            *rejects.entry(reason.to_string()).or_default() += count;
        }
        let instances = || totals.instances.values();
        StageStatus {
            name: name.into(),
            state,
            why: self.stopped.clone().or(totals.stalled.clone()),
            records: totals.records.values().sum(),
            emitted: totals.emitted.iter().map(|(topic, count)| (topic.to_string(), *count)).collect(),
            rejects,
            late: totals.late,
            lag: instances().map(|instance| instance.lag).sum(),
            watermark_seconds: instances().filter_map(|instance| instance.watermark).min().map(|time| time.millis() / 1_000),
            state_bytes: instances().map(|instance| instance.state_bytes).sum(),
            commits: totals.commits.get("ok").copied().unwrap_or(0),
            aborts: totals.aborts.values().sum(),
            restores: totals.restores,
            replayed: totals.replayed,
            snapshots: totals.snapshots,
        }
    }
}

/// An error with all its causes, on one line.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
