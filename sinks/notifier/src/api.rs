//! What the API tells and does about notifications:
//!
//! | route | |
//! |---|---|
//! | `GET /api/notify` | how each destination stands |
//! | `POST /api/notify/{destination}/trial` | sends a synthetic alert there, now, and says what came of it |

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, State},
    routing::{get, post},
};
use serde::{Deserialize, Serialize};
use stream_runtime::{
    api::ApiError,
    time::{Clock, SystemClock, wall_clock},
};

use crate::{
    board::Standing,
    config::Config,
    courier::Courier,
    delivery::{Delivery, Failure},
    watchdog,
};

/// What came of a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trial {
    /// Its name.
    pub destination: String,
    /// Its kind.
    pub kind: String,
    /// Whether it took the alert.
    pub delivered: bool,
    /// What it said, if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// How long it took.
    pub took_ms: u64,
}

#[derive(Serialize)]
struct Destinations {
    destinations: BTreeMap<String, Standing>,
}

impl Trial {
    /// Sends a synthetic alert to a destination. Waits for the answer.
    ///
    /// # Errors
    /// If there is no such destination, with those there are.
    pub fn run(config: &Config, destination: &str) -> Result<Self, String> {
        let known = config.destinations();
        let Some(found) = known.get(destination) else {
            let names = known.keys().copied().collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "none is configured".into() } else { format!("there are {names}") };
            return Err(format!("there is no destination {destination:?}; {names}"));
        };
        let begun = SystemClock.monotonic();
        let outcome = match Courier::open(config, destination) {
            Ok(mut courier) => courier.deliver(&watchdog::trial(destination, wall_clock())),
            Err(error) => Err(Failure::never(error)),
        };
        let took = SystemClock.monotonic().saturating_sub(begun);
        Ok(Self {
            destination: destination.into(),
            kind: found.kind().into(),
            delivered: outcome.is_ok(),
            why: outcome.err().map(|failure| failure.to_string()),
            took_ms: u64::try_from(Duration::as_millis(&took)).unwrap_or(u64::MAX),
        })
    }
}

/// The routes.
pub fn routes(config: &Config) -> Router {
    Router::new().route("/api/notify", get(destinations)).route("/api/notify/{destination}/trial", post(trial)).with_state(config.clone())
}

async fn destinations(State(config): State<Config>) -> Json<Destinations> {
    let mut destinations = config.board.read();
    // One that has not had its first round says so by its zeros.
    for (name, destination) in config.destinations() {
        destinations.entry(name.into()).or_insert_with(|| Standing { kind: destination.kind().into(), ..Standing::default() });
    }
    Json(Destinations { destinations })
}

async fn trial(State(config): State<Config>, Path(destination): Path<String>) -> Result<Json<Trial>, ApiError> {
    let run = move || Trial::run(&config, &destination);
    match tokio::task::spawn_blocking(run).await {
        Ok(Ok(trial)) => Ok(Json(trial)),
        Ok(Err(unknown)) => Err(ApiError::not_found(unknown)),
        Err(_) => Err(ApiError::internal("the trial failed; see the log")),
    }
}
