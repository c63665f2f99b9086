//! What a person sees first: one bounded view of templates, alerts, sources and stages, served as a page and as JSON.
//!
//! A thread follows `logs.parsed.v1` and `alerts.v1` on the bus; nothing here is state that must survive, since all of it
//! can be read again.

mod page;
mod view;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use schemas::{Alert, LogRecord, ParsedLog, Subject, topics};
use serde::Serialize;
use stream_core::{NextOffset, Partition, TopicName, TopicPartition};
use stream_runtime::{
    engine::{EngineView, StageStatus},
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    time::wall_clock,
};
use syslog::collector::SourceStatus;

pub use self::view::{AlertSummary, HostSummary, TemplateSummary};
use self::view::{TEMPLATES_SHOWN, View};

/// Records of each topic that are read when the view begins.
const PAST_RECORDS: u64 = 100_000;
/// How long one look at a topic waits for more.
const LOOK: Duration = Duration::from_millis(200);

/// The view; cheap to clone.
#[derive(Clone)]
pub struct Console(Arc<Inner>);

struct Inner {
    inspect: Arc<dyn Inspect>,
    engine: EngineView,
    sources: Box<dyn Fn() -> Vec<SourceStatus> + Send + Sync>,
    view: Mutex<View>,
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
    /// Lines seen by this view.
    pub lines: u64,
    /// Templates that this view knows.
    pub templates_known: usize,
    /// The most frequent templates of the last hour, new ones first among equals.
    pub templates: Vec<TemplateSummary>,
    /// Alerts that fire, worst first.
    pub open_alerts: Vec<AlertSummary>,
    /// Alerts that resolved lately, newest first.
    pub resolved_alerts: Vec<AlertSummary>,
    /// Hosts, most lines first.
    pub hosts: Vec<HostSummary>,
    /// What is watched, and what cannot be seen.
    pub sources: Vec<SourceStatus>,
    /// The pipeline.
    pub stages: Vec<StageStatus>,
    /// What was lost: component, topic, cause, count.
    pub losses: Vec<(String, String, String, u64)>,
}

impl Console {
    /// Begins to follow the bus.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn start(
        inspect: Arc<dyn Inspect>,
        engine: EngineView,
        sources: impl Fn() -> Vec<SourceStatus> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let (view, closing) = (Mutex::default(), AtomicBool::new(false));
        let console = Self(Arc::new(Inner { inspect, engine, sources: Box::new(sources), view, closing, threads: Mutex::default() }));
        for topic in [topics::LOGS_PARSED, topics::ALERTS] {
            let inner = Arc::clone(&console.0);
            let thread = std::thread::Builder::new().name("console".into()).spawn(move || inner.follow(topic))?;
            lock(&console.0.threads).push(thread);
        }
        Ok(console)
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
        let now = wall_clock();
        let view = lock(&self.0.view);
        Overview {
            version: stream_runtime::worker::VERSION,
            now_ms: now.millis(),
            lines: view.lines(),
            templates_known: view.templates_known(),
            templates: view.templates(now, TEMPLATES_SHOWN),
            open_alerts: view.open_alerts(),
            resolved_alerts: view.resolved_alerts(),
            hosts: view.hosts(),
            sources: (self.0.sources)(),
            stages: self.0.engine.stages(),
            losses: self.0.engine.losses(),
        }
    }

    /// The page, its files, and the JSON behind it.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/style.css", get(async || file("text/css; charset=utf-8", page::STYLE)))
            .route("/app.js", get(async || file("text/javascript; charset=utf-8", page::SCRIPT)))
            .route("/api/overview", get(async |State(console): State<Console>| Json(console.overview())))
            .route(
                "/api/sources",
                get(async |State(console): State<Console>| Json(serde_json::json!({ "sources": (console.0.sources)() }))),
            )
            .route("/api/alerts/{fingerprint}", get(alert))
            .with_state(self.clone())
    }

    /// An alert with the raw lines behind its evidence.
    fn evidence(&self, fingerprint: &str) -> Option<serde_json::Value> {
        let alert = lock(&self.0.view).alert(fingerprint)?.clone();
        let lines = alert.evidence.iter().filter_map(|evidence| {
            let at = TopicPartition::new(&evidence.topic.as_str().into(), Partition(evidence.partition));
            let limits = ReadLimits { records_max: 1, bytes_max: 1 << 20, wait: Duration::ZERO };
            let mut gathered = Gathered::default();
            self.0.inspect.read(&at, NextOffset(evidence.offset), &limits, &mut gathered).ok()?;
            let (_, record) = gathered.records().next().filter(|(_, record)| record.offset.0 == evidence.offset)?;
            let line = LogRecord::from_bytes(record.value?).ok()?;
            Some(schemas::alert::one_line(&String::from_utf8_lossy(&line.raw), 2_048))
        });
        let lines: Vec<String> = lines.collect();
        Some(serde_json::json!({ "alert": alert, "lines": lines }))
    }
}

impl Inner {
    fn follow(&self, topic: &str) {
        let name = TopicName::new(topic);
        let mut at = Vec::new();
        if let Ok(all) = self.inspect.topics() {
            let partitions = all.iter().filter(|status| status.name == name).flat_map(|status| status.partitions.iter().enumerate());
            at.extend(partitions.map(|(n, part)| {
                let from = part.next.0.saturating_sub(PAST_RECORDS).max(part.start.0);
                (TopicPartition::new(&name, Partition(n as u32)), NextOffset(from))
            }));
        }
        let limits = ReadLimits { records_max: 5_000, bytes_max: 4 << 20, wait: LOOK };
        let mut gathered = Gathered::default();
        while !self.closing.load(Ordering::Relaxed) {
            for (partition, next) in &mut at {
                gathered.clear();
                if let Err(error) = self.inspect.read(partition, *next, &limits, &mut gathered) {
                    tracing::warn!(%error, topic, "the page cannot read");
                    std::thread::sleep(LOOK);
                    continue;
                }
                let mut view = lock(&self.view);
                for (_, record) in gathered.records() {
                    *next = record.offset.next();
                    let Some(value) = record.value else { continue };
                    if topic == topics::ALERTS {
                        serde_json::from_slice::<Alert>(value).ok().into_iter().for_each(|alert| view.on_alert(alert));
                    } else if let Ok(line) = ParsedLog::from_bytes(value) {
                        view.on_line(&line);
                    }
                }
            }
        }
    }
}

async fn index(State(console): State<Console>) -> Response {
    let html = page::render(&console.overview());
    let policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8"), (header::CONTENT_SECURITY_POLICY, policy)], html).into_response()
}

async fn alert(State(console): State<Console>, Path(fingerprint): Path<String>) -> Response {
    let found = tokio::task::spawn_blocking(move || console.evidence(&fingerprint)).await.ok().flatten();
    let missing = || (StatusCode::NOT_FOUND, Json(serde_json::json!({ "error": "no such alert is open or was lately" }))).into_response();
    found.map_or_else(missing, |found| Json(found).into_response())
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
