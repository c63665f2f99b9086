//! `GET /api/status`: the process and its parts on one page.

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Json, extract::State};
use schemas::EventTime;
use serde::Serialize;

use super::{Shared, blocking, bus_failed, extract::ApiError};
use crate::{
    engine::StageStatus,
    loss::LossTotal,
    time::{Clock, SystemClock, wall_clock},
    worker::VERSION,
};

/// A rate is that of the last ten seconds: long enough to be calm, short enough to follow.
const WINDOW: Duration = Duration::from_secs(10);
/// How often a sample is taken.
pub(super) const SAMPLE_PERIOD: Duration = Duration::from_secs(1);

/// Records per second of each stage, from samples of their counters.
pub(super) struct Rates {
    started: Duration,
    started_at: EventTime,
    samples: Mutex<VecDeque<Sample>>,
}

struct Sample {
    at: Duration,
    records: BTreeMap<String, u64>,
}

impl Rates {
    pub(super) fn new() -> Self {
        Self { started: SystemClock.monotonic(), started_at: wall_clock(), samples: Mutex::default() }
    }

    /// Takes a sample.
    pub(super) fn sample(&self, at: Duration, stages: &[StageStatus]) {
        let records = stages.iter().map(|stage| (stage.name.clone(), stage.records)).collect();
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample { at, records });
        // One sample older than the window stays: it is the one that a rate is measured against.
        while samples.get(1).is_some_and(|next| at.saturating_sub(next.at) >= WINDOW) {
            samples.pop_front();
        }
    }

    fn per_second(&self, at: Duration, stage: &StageStatus) -> f64 {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let before = samples.iter().find_map(|sample| Some((sample.at, *sample.records.get(&stage.name)?)));
        let Some((then, records)) = before else { return 0.0 };
        let seconds = at.saturating_sub(then).as_secs_f64();
        // Less than half a period says more about chance than about the stage.
        if seconds < SAMPLE_PERIOD.as_secs_f64() / 2.0 { 0.0 } else { stage.records.saturating_sub(records) as f64 / seconds }
    }
}

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
    let stage = |stage: StageStatus| StageView { records_per_second: shared.rates.per_second(now, &stage), stage };
    let loss = |(component, topic, cause, count): LossTotal| LossView { component, topic, cause, count };
    Ok(StatusView {
        version: VERSION,
        started_at: shared.rates.started_at,
        uptime_seconds: now.saturating_sub(shared.rates.started).as_secs(),
        ready: shared.engine.not_ready().is_empty(),
        rss_bytes: rss_bytes(),
        disk: DiskView {
            topics_bytes: topics.iter().flat_map(|topic| &topic.partitions).map(|at| at.bytes).sum(),
            free_bytes: free_bytes(&shared.data_dir),
        },
        stages: shared.engine.stages().into_iter().map(stage).collect(),
        losses: shared.engine.losses().into_iter().map(loss).collect(),
    })
}

fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
}

fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    Some(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(records: u64) -> StageStatus {
        StageStatus {
            name: "toy".into(),
            state: "running",
            why: None,
            records,
            emitted: BTreeMap::new(),
            rejects: BTreeMap::new(),
            late: 0,
            lag: 0,
            watermark_seconds: None,
            state_bytes: 0,
            commits: 0,
            aborts: 0,
            restores: 0,
            replayed: 0,
            snapshots: 0,
        }
    }

    #[test]
    fn a_rate_is_that_of_the_last_ten_seconds() {
        let rates = Rates::new();
        let second = Duration::from_secs;
        assert_eq!(rates.per_second(second(0), &stage(7)), 0.0);
        // A hundred records a second for a minute, then none.
        for at in 0..=60 {
            rates.sample(second(at), &[stage(at * 100)]);
        }
        assert_eq!(rates.per_second(second(60), &stage(6_000)), 100.0);
        for at in 61..=75 {
            rates.sample(second(at), &[stage(6_000)]);
        }
        assert_eq!(rates.per_second(second(75), &stage(6_000)), 0.0);
        assert!(rates.samples.lock().expect("not poisoned").len() <= 12);
    }
}
