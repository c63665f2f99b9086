//! The page, its files, and the JSON behind it.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use schemas::{AlertStatus, EventTime, Incident, IncidentStatus, Severity};
use serde::Deserialize;
use serde_json::{Value, json};
use stream_runtime::{
    api::{ApiError, Params},
    time::wall_clock,
};

use super::{
    Console, Overview,
    alerts::AlertQuery,
    evidence::{self, Proof},
    incidents::IncidentQuery,
    page,
    templates::{Order, TemplateQuery},
};

/// Entries of one answer.
const LIMIT_MAX: usize = 1_000;
/// Nothing from elsewhere, no script or style within the page, no frame, no form.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

impl Console {
    /// The page, its files, and the JSON behind it.
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/", get(index))
            .route("/style.css", get(async || file("text/css; charset=utf-8", page::STYLE)))
            .route("/app.js", get(async || file("text/javascript; charset=utf-8", page::SCRIPT)))
            .route("/api/overview", get(overview))
            .route("/api/sources", get(sources))
            .route("/api/templates", get(templates))
            .route("/api/templates/{id}", get(template))
            .route("/api/alerts", get(alerts))
            .route("/api/alerts/{key}", get(alert))
            .route("/api/incidents", get(incidents))
            .route("/api/incidents/{id}", get(incident))
            .with_state(self.clone())
    }
}

async fn index(State(console): State<Console>) -> Response {
    let all = console.incidents(&IncidentQuery { limit: usize::MAX, ..IncidentQuery::default() });
    let (open, past) = all.split_at(all.partition_point(|incident| incident.status == IncidentStatus::Open));
    let html = page::render(&console.overview(), open, past);
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, POLICY)], html).into_response()
}

fn file(content_type: &'static str, text: &'static str) -> Response {
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

async fn overview(State(console): State<Console>) -> Json<Overview> {
    Json(console.overview())
}

async fn sources(State(console): State<Console>) -> Json<Value> {
    Json(json!({ "sources": console.sources() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TemplateParams {
    host: Option<String>,
    since: Option<EventTime>,
    contains: Option<String>,
    #[serde(default)]
    sort: Order,
    limit: Option<usize>,
}

async fn templates(State(console): State<Console>, Params(params): Params<TemplateParams>) -> Result<Json<Value>, ApiError> {
    let TemplateParams { host, since, contains, sort, limit } = params;
    let query = TemplateQuery { host, since, contains, order: sort, limit: limit_of(limit)? };
    let now = wall_clock();
    let view = console.view();
    Ok(Json(json!({ "nowMs": now.millis(), "known": view.templates.len(), "templates": view.templates.list(&query, now) })))
}

/// A template with its newest lines.
async fn template(State(console): State<Console>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let (template, places) = {
        let view = console.view();
        (view.templates.one(&id, wall_clock()), view.templates.recent(&id))
    };
    let (Some(template), Some(places)) = (template, places) else {
        return Err(ApiError::not_found(format!("no template {id:?} was seen lately")).expected("an id of /api/templates"));
    };
    let lines = beside(move || {
        places.into_iter().filter_map(|place| evidence::line(console.0.inspect.as_ref(), &console.0.redactor, place)).collect::<Vec<_>>()
    });
    Ok(Json(json!({ "template": template, "lines": lines.await? })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AlertParams {
    status: Option<AlertStatus>,
    severity: Option<Severity>,
    limit: Option<usize>,
}

async fn alerts(State(console): State<Console>, Params(params): Params<AlertParams>) -> Result<Json<Value>, ApiError> {
    let AlertParams { status, severity, limit } = params;
    let query = AlertQuery { status, severity, limit: limit_of(limit)? };
    Ok(Json(json!({ "alerts": console.view().alerts.list(&query) })))
}

/// An alert, by id or fingerprint, with the lines behind it.
async fn alert(State(console): State<Console>, Path(key): Path<String>) -> Result<Json<Proof>, ApiError> {
    let found = console.view().alerts.find(&key).cloned();
    let missing = || ApiError::not_found(format!("no alert {key:?} is open or was lately")).expected("an id or fingerprint of /api/alerts");
    let alert = found.ok_or_else(missing)?;
    beside(move || evidence::proof(console.0.inspect.as_ref(), &console.0.redactor, alert)).await.map(Json)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IncidentParams {
    status: Option<IncidentStatus>,
    severity: Option<Severity>,
    limit: Option<usize>,
}

/// Incidents that are open or ended within a day, whole.
async fn incidents(State(console): State<Console>, Params(params): Params<IncidentParams>) -> Result<Json<Value>, ApiError> {
    let IncidentParams { status, severity, limit } = params;
    let query = IncidentQuery { status, severity, limit: limit_of(limit)? };
    Ok(Json(json!({ "incidents": console.incidents(&query) })))
}

/// An incident by its id, whole.
async fn incident(State(console): State<Console>, Path(id): Path<String>) -> Result<Json<Incident>, ApiError> {
    let missing = || ApiError::not_found(format!("no incident {id:?} is open or was lately")).expected("an id of /api/incidents");
    console.view().incidents.find(&id).cloned().map(Json).ok_or_else(missing)
}

/// Reads the bus beside the loop that serves.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ApiError::internal("the request failed; see the log"))
}

fn limit_of(limit: Option<usize>) -> Result<usize, ApiError> {
    match limit.unwrap_or(100) {
        limit @ 1..=LIMIT_MAX => Ok(limit),
        limit => Err(ApiError::bad_request(format!("limit is {limit}")).expected(format!("1 to {LIMIT_MAX}"))),
    }
}
