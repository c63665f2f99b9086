//! The local API: what a running process tells, and takes, over HTTP.
//!
//! | route | |
//! |---|---|
//! | `GET /livez`, `/readyz`, `/metrics` | for supervisors and Prometheus; no token on loopback |
//! | `GET /config` | the effective configuration, redacted |
//! | `GET /api/status` | version, memory, disk, stages with rates, losses |
//! | `GET /api/topics`, `/api/topics/{topic}/records` | what stands on the bus, decoded |
//! | `POST /api/topics/{topic}/records` | publishing from other processes, exactly once by sequence |
//! | `GET /api/stream?topics=a,b` | new records as server-sent events |
//! | `GET /api/groups` | how far each processor has come in each partition |
//! | `GET /api/states`, `/api/states/{processor}/{topic}/{partition}` | the states of processors |
//! | `POST /api/dlq/{topic}/replay` | dead letters, back to where they came from |
//!
//! It listens twice: on a Unix socket that only its owner may open, and on TCP, where every request needs the token. Other
//! parts add routes of their own; the same guard stands before them. An error is a JSON object `{error, expected?}`.

mod access;
mod dead_letters;
mod extract;
mod groups;
mod health;
mod hub;
mod listener;
mod rates;
mod records;
mod server;
mod states;
mod status;
mod stream;
mod view;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Router, routing::get, routing::post};

use crate::{bus::BusError, engine::EngineView, inspect::Inspect, inspect::TopicStatus};

pub use extract::{ApiError, Body, Params};
pub use rates::{Rates, SAMPLE_PERIOD};
pub use server::{ApiConfig, ApiServer, ApiServerError};
pub use status::rss_bytes;
pub use view::{HeaderView, RecordView};

/// Bytes of a request body.
const BODY_BYTES_MAX: usize = 8 << 20;

/// What the API tells about.
pub struct ApiState {
    /// The bus.
    pub inspect: Arc<dyn Inspect>,
    /// The parts that run.
    pub engine: EngineView,
    /// The effective configuration, secrets already redacted.
    pub config: serde_json::Value,
    /// Routes of other parts, e.g. the page.
    pub routes: Router,
}

/// What all routes share.
struct Shared {
    inspect: Arc<dyn Inspect>,
    engine: EngineView,
    config: serde_json::Value,
    hub: Arc<hub::Hub>,
    rates: Rates,
    started: std::time::Duration,
    started_at: schemas::EventTime,
    waiting: Arc<tokio::sync::Semaphore>,
    replaying: std::sync::Mutex<()>,
    data_dir: std::path::PathBuf,
    closing: Arc<AtomicBool>,
}

impl Shared {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// The topic of that name.
    fn topic(&self, name: &str) -> Result<TopicStatus, ApiError> {
        let topics = self.inspect.topics().map_err(|error| bus_failed(&error))?;
        let names = || topics.iter().map(|topic| topic.name.as_str()).collect::<Vec<_>>().join(", ");
        match topics.iter().find(|topic| topic.name.as_str() == name) {
            Some(topic) => Ok(topic.clone()),
            None => Err(ApiError::not_found(format!("there is no topic {name:?}")).expected(names())),
        }
    }
}

fn bus_failed(error: &BusError) -> ApiError {
    ApiError::unavailable(crate::engine::error_chain(error))
}

/// Runs what blocks (every look at the bus) beside the loop that serves.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, ApiError> + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(ApiError::internal("the request failed; see the log")))
}

fn routes(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/config", get(health::config))
        .route("/api/status", get(status::status))
        .route("/api/topics", get(records::topics))
        .route("/api/topics/{topic}/records", get(records::read).post(records::publish))
        .route("/api/stream", get(stream::stream))
        .route("/api/groups", get(groups::groups))
        .route("/api/states", get(states::states))
        .route("/api/states/{processor}/{topic}/{partition}", get(states::state))
        .route("/api/dlq/{topic}/replay", post(dead_letters::replay))
        .with_state(shared)
}
