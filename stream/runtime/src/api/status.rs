//! `GET /api/status`: the process and its parts on one page.

use std::{path::Path, sync::Arc};

use axum::{Json, extract::State};
use schemas::EventTime;
use serde::Serialize;

use super::{Shared, blocking, bus_failed, extract::ApiError};
use crate::{
    engine::StageStatus,
    loss::LossTotal,
    time::{Clock, SystemClock},
    worker::VERSION,
};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StatusView {
    version: &'static str,
    started_at: EventTime,
    uptime_seconds: u64,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    rss_bytes: Option<u64>,
    disk: DiskView,
    stages: Vec<StageView>,
    losses: Vec<LossView>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiskView {
    /// Bytes of all topics.
    topics_bytes: u64,
    /// Bytes left on the file system that they are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    free_bytes: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StageView {
    #[serde(flatten)]
    stage: StageStatus,
    records_per_second: f64,
}

#[derive(Serialize)]
struct LossView {
    component: String,
    topic: String,
    cause: String,
    count: u64,
}

/// The process and its parts.
pub(super) async fn status(State(shared): State<Arc<Shared>>) -> Result<Json<StatusView>, ApiError> {
    blocking(move || status_blocking(&shared)).await.map(Json)
}

fn status_blocking(shared: &Shared) -> Result<StatusView, ApiError> {
    let now = SystemClock.monotonic();
    let topics = shared.inspect.topics().map_err(|error| bus_failed(&error))?;
    let stage = |stage: StageStatus| StageView { records_per_second: shared.rates.per_second(now, &stage.name, stage.records), stage };
    let loss = |(component, topic, cause, count): LossTotal| LossView { component, topic, cause, count };
    Ok(StatusView {
        version: VERSION,
        started_at: shared.started_at,
        uptime_seconds: now.saturating_sub(shared.started).as_secs(),
        ready: shared.engine.not_ready().is_empty(),
        rss_bytes: rss_bytes(),
        disk: DiskView {
            topics_bytes: topics.iter().flat_map(|topic| &topic.partitions).filter_map(|at| at.bytes).sum(),
            free_bytes: free_bytes(&shared.data_dir),
        },
        stages: shared.engine.stages().into_iter().map(stage).collect(),
        losses: shared.engine.losses().into_iter().map(loss).collect(),
    })
}

/// Memory of this process that is in RAM, where the kernel tells.
pub fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}
