//! What supervisors and scrapers ask.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::Shared;

#[derive(Serialize)]
struct Alive {
    alive: bool,
    /// Workers that have made no round for 30 s.
    dead: Vec<&'static str>,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    missing: Vec<Missing>,
}

#[derive(Serialize)]
struct Missing {
    part: String,
    why: String,
}

/// 200 if every worker made a round within 30 s.
pub(super) async fn livez(State(shared): State<Arc<Shared>>) -> Response {
    let dead = shared.engine.not_alive();
    (status(dead.is_empty()), Json(Alive { alive: dead.is_empty(), dead })).into_response()
}

/// 200 if every part processes; none assigned counts as ready.
pub(super) async fn readyz(State(shared): State<Arc<Shared>>) -> Response {
    let missing: Vec<_> = shared.engine.not_ready().into_iter().map(|(part, why)| Missing { part, why }).collect();
    (status(missing.is_empty()), Json(Ready { ready: missing.is_empty(), missing })).into_response()
}

/// OpenMetrics text.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, OPEN_METRICS)], shared.engine.metrics().text()).into_response()
}

/// The effective configuration, redacted.
pub(super) async fn config(State(shared): State<Arc<Shared>>) -> Json<serde_json::Value> {
    Json(shared.config.clone())
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
