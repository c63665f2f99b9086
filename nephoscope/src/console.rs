//! What a person sees first: one bounded view of templates, alerts, hosts, sources and stages, served as a page and as JSON.
//!
//! Four threads follow `logs.templates.v1`, `logs.parsed.v1`, `alerts.v1` and `incidents.v1` on the bus; nothing here is state that must
//! survive, since all of it can be read again.

mod alerts;
mod evidence;
mod incidents;
mod minutes;
mod page;
mod routes;
mod templates;
#[cfg(test)]
mod tests;
mod view;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use schemas::{Alert, AlertStatus, Incident, IncidentStatus, ParsedLog, Subject, TemplateRecord, topics};
use serde::Serialize;
use stream_core::{NextOffset, Partition, Record, TopicName, TopicPartition};
use stream_runtime::{
    api::{Rates, SAMPLE_PERIOD, rss_bytes},
    engine::{EngineView, StageStatus},
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    time::{Clock, SystemClock, wall_clock},
};
use syslog::collector::{SourceState, SourceStatus};

use crate::redact::Redactor;

pub use self::{alerts::AlertSummary, incidents::IncidentSummary, templates::TemplateSummary, view::HostSummary};
use self::{
    alerts::{AlertQuery, ENDED_MAX},
    incidents::IncidentQuery,
    templates::TemplateQuery,
    view::View,
};

/// Records of each topic that are read when the view begins: the last hour of a busy machine.
const PAST_RECORDS: u64 = 200_000;
/// How long one look at a topic waits for more.
const LOOK: Duration = Duration::from_millis(200);
/// Templates on the first screen.
const TEMPLATES_SHOWN: usize = 100;
/// Hosts on the first screen.
const HOSTS_SHOWN: usize = 20;

/// The view; cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    inspect: Arc<dyn Inspect>,
    engine: EngineView,
    sources: Box<dyn Fn() -> Vec<SourceStatus> + Send + Sync>,
    redactor: Redactor,
    view: Mutex<View>,
    source_rates: Rates,
    stage_rates: Rates,
    closing: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Everything that the first screen shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Version of this program.
    pub version: &'static str,
    /// Now, milliseconds since the epoch.
    pub now_ms: i64,
    /// Memory of this process in RAM.
    pub rss_bytes: Option<u64>,
    /// Lines seen by this view.
    pub lines: u64,
    /// Lines per minute of the last hour, oldest first.
    pub minutes: Vec<u32>,
    /// Alerts open in each minute of the last hour, oldest first: low, info, warning, high, critical.
    pub alert_minutes: Vec<[u32; alerts::SEVERITIES.len()]>,
    /// Incidents that go on, worst first.
    pub open_incidents: Vec<IncidentSummary>,
    /// Incidents that ended within a day, newest first.
    pub ended_incidents: Vec<IncidentSummary>,
    /// Alerts that fire, worst first.
    pub open_alerts: Vec<AlertSummary>,
    /// Alerts that resolved lately, newest first.
    pub resolved_alerts: Vec<AlertSummary>,
    /// Templates that this view knows.
    pub templates_known: usize,
    /// How many of them were first seen within the last hour.
    pub templates_new: usize,
    /// The most frequent templates of the last hour.
    pub templates: Vec<TemplateSummary>,
    /// Hosts that this view knows.
    pub hosts_known: usize,
    /// Hosts, most lines first.
    pub hosts: Vec<HostSummary>,
    /// What is watched, and what cannot be seen.
    pub sources: Vec<SourceView>,
    /// The pipeline.
    pub stages: Vec<StageView>,
    /// What was lost: component, topic, cause, count.
    pub losses: Vec<(String, String, String, u64)>,
}

/// A source and how fast it speaks.
#[derive(Debug, Serialize)]
pub struct SourceView {
    /// As its collector sees it.
    #[serde(flatten)]
    pub status: SourceStatus,
    /// Lines per second, over the last ten seconds.
    pub rate: f64,
}

/// A stage and how fast it works.
#[derive(Debug, Serialize)]
pub struct StageView {
    /// As the engine sees it.
    #[serde(flatten)]
    pub status: StageStatus,
    /// Records per second, over the last ten seconds.
    pub rate: f64,
}

impl Console {
    /// Begins to follow the bus; what the redactor masks, nobody is shown.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        inspect: Arc<dyn Inspect>,
        engine: EngineView,
        sources: impl Fn() -> Vec<SourceStatus> + Send + Sync + 'static,
        redactor: Redactor,
    ) -> std::io::Result<Self> {
        let console = Self(Arc::new(Inner {
            inspect,
            engine,
            sources: Box::new(sources),
            view: Mutex::new(View::new(&redactor)),
            redactor,
            source_rates: Rates::default(),
            stage_rates: Rates::default(),
            closing: AtomicBool::new(false),
            threads: Mutex::default(),
        }));
        for topic in [topics::LOGS_TEMPLATES, topics::LOGS_PARSED, topics::ALERTS, topics::INCIDENTS] {
            console.spawn(move |inner| inner.follow(topic))?;
        }
        console.spawn(|inner| inner.sample())?;
        Ok(console)
    }

    fn spawn(&self, run: impl FnOnce(&Inner) + Send + 'static) -> std::io::Result<()> {
        let inner = Arc::clone(&self.0);
        let thread = std::thread::Builder::new().name("console".into()).spawn(move || run(&inner))?;
        lock(&self.0.threads).push(thread);
        Ok(())
    }

    /// Ends the threads.
    pub fn stop(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
        for thread in lock(&self.0.threads).drain(..) {
            if thread.join().is_err() {
                tracing::error!("thread of the console panicked");
            }
        }
    }

    /// The first screen.
    pub fn overview(&self) -> Overview {
        let (now, sources, stages) = (wall_clock(), self.sources(), self.stages());
        let mut view = self.view();
        view.alerts.settle(now, |part| stages.iter().any(|stage| stage.status.name == part && stage.status.state == "stopped"));
        let listed = |status, limit| AlertQuery { status: Some(status), severity: None, limit };
        let told = |status| {
            let query = IncidentQuery { status: Some(status), severity: None, limit: usize::MAX };
            view.incidents.list(&query, now).into_iter().map(incidents::summary).collect()
        };
        let mut hosts = view.hosts(now);
        let hosts_known = hosts.len();
        hosts.truncate(HOSTS_SHOWN);
        Overview {
            version: stream_runtime::worker::VERSION,
            now_ms: now.millis(),
            rss_bytes: rss_bytes(),
            lines: view.lines(),
            minutes: view.minutes(now),
            alert_minutes: view.alerts.hour(now),
            open_incidents: told(IncidentStatus::Open),
            ended_incidents: told(IncidentStatus::Resolved),
            open_alerts: view.alerts.list(&listed(AlertStatus::Firing, usize::MAX)),
            resolved_alerts: view.alerts.list(&listed(AlertStatus::Resolved, ENDED_MAX)),
            templates_known: view.templates.len(),
            templates_new: view.templates.count_new(now),
            templates: view.templates.list(&TemplateQuery { limit: TEMPLATES_SHOWN, ..TemplateQuery::default() }, now),
            hosts_known,
            hosts,
            sources,
            stages,
            losses: self.0.engine.losses(),
        }
    }

    /// The incidents that are wanted, whole.
    fn incidents(&self, query: &IncidentQuery) -> Vec<Incident> {
        self.view().incidents.list(query, wall_clock()).into_iter().cloned().collect()
    }

    fn sources(&self) -> Vec<SourceView> {
        let now = SystemClock.monotonic();
        let rate = |status: &SourceStatus| self.0.source_rates.per_second(now, &source_key(status), status.records);
        let mut sources: Vec<_> = (self.0.sources)().into_iter().map(|status| SourceView { rate: rate(&status), status }).collect();
        sources.sort_by_key(|source| place_of(&source.status));
        sources
    }

    fn stages(&self) -> Vec<StageView> {
        let now = SystemClock.monotonic();
        let rate = |status: &StageStatus| self.0.stage_rates.per_second(now, &status.name, status.records);
        self.0.engine.stages().into_iter().map(|status| StageView { rate: rate(&status), status }).collect()
    }

    fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.0.view)
    }
}

impl Inner {
    /// Reads a topic from its last records on, for as long as the console lives.
    fn follow(&self, topic: &str) {
        let name = TopicName::new(topic);
        let mut positions = Vec::new();
        match self.inspect.topics() {
            Ok(all) => {
                let partitions = all.iter().filter(|status| status.name == name).flat_map(|status| (0..).zip(&status.partitions));
                positions.extend(partitions.map(|(partition, status)| {
                    let from = status.next.0.saturating_sub(PAST_RECORDS).max(status.start.0);
                    (TopicPartition::new(&name, Partition(partition)), NextOffset(from))
                }));
            }
            Err(error) => tracing::error!(%error, topic, "the page cannot read"),
        }
        let limits = ReadLimits { records_max: 5_000, bytes_max: 4 << 20, wait: LOOK };
        let mut gathered = Gathered::default();
        while !self.closing.load(Ordering::Relaxed) && !positions.is_empty() {
            for (at, next) in &mut positions {
                gathered.clear();
                if let Err(error) = self.inspect.read(at, *next, &limits, &mut gathered) {
                    tracing::warn!(%error, topic, "the page cannot read");
                    std::thread::sleep(LOOK);
                    continue;
                }
                let mut view = lock(&self.view);
                for (_, record) in gathered.records() {
                    *next = record.offset.next();
                    take(&mut view, &record);
                }
            }
        }
    }

    /// Keeps the rates.
    fn sample(&self) {
        let mut last = Duration::ZERO;
        while !self.closing.load(Ordering::Relaxed) {
            let now = SystemClock.monotonic();
            if now.saturating_sub(last) >= SAMPLE_PERIOD {
                last = now;
                self.source_rates.sample(now, (self.sources)().iter().map(|source| (source_key(source), source.records)));
                self.stage_rates.sample(now, self.engine.stages().into_iter().map(|stage| (stage.name, stage.records)));
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Takes note of a record. What cannot be read is the business of the stages, which reject and count it.
fn take(view: &mut View, record: &Record<'_>) {
    let Some(value) = record.value else { return };
    match record.topic.as_str() {
        topics::ALERTS => {
            if let Ok(alert) = serde_json::from_slice::<Alert>(value) {
                view.on_alert(alert);
            }
        }
        topics::INCIDENTS => {
            if let Ok(incident) = serde_json::from_slice::<Incident>(value) {
                view.on_incident(incident);
            }
        }
        topics::LOGS_TEMPLATES => {
            if let Ok(template) = TemplateRecord::from_bytes(value) {
                view.on_template(&template);
            }
        }
        _ => {
            if let Ok(line) = ParsedLog::from_bytes(value) {
                view.on_line(&line, record.appended_at);
            }
        }
    }
}

/// Blind spots come first, then what speaks, what is silent, and what is not there. Within these the collector's order
/// stays, so that rows do not jump.
fn place_of(source: &SourceStatus) -> u8 {
    match source.state {
        SourceState::Blind | SourceState::Stopped => 0,
        SourceState::Watching | SourceState::CatchingUp if source.records > 0 => 1,
        SourceState::Watching | SourceState::CatchingUp => 2,
        SourceState::Waiting => 3,
    }
}

/// The same address may be listened on in two ways.
fn source_key(source: &SourceStatus) -> String {
    format!("{:?} {}", source.kind, source.name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
