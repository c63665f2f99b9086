//! What is watched, what cannot be seen and why: data for the local page, not only log lines.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::{LogRecord, SourceKind, topics};
use serde::Serialize;
use stream_runtime::loss::Loss;

/// Name under which losses are reported.
const COMPONENT: &str = "syslog";

/// Whether a source is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It is read as it grows.
    Watching,
    /// Its past is being read.
    CatchingUp,
    /// It is not there now and will be read when it is.
    Waiting,
    /// It cannot be seen: a blind spot. The reason says what would help.
    Blind,
    /// The collector has ended.
    Stopped,
}

/// One source as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceStatus {
    /// Address, path or device.
    pub name: String,
    /// Kind of source.
    pub kind: SourceKind,
    /// Whether it is seen.
    pub state: SourceState,
    /// Why it is not, or what else an operator should know; else empty.
    pub reason: String,
    /// When the last line came, microseconds since the epoch.
    pub last_seen: Option<i64>,
    /// Lines since the start.
    pub records: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Lines lost since the start.
    pub drops: u64,
    /// Lines of which only the head was kept, since the start.
    pub truncated: u64,
    /// Connections refused, or ended for what they sent or failed to send, since the start, by cause.
    pub refusals: BTreeMap<String, u64>,
}

/// All sources. Cheap to clone; every clone sees the same.
#[derive(Debug, Clone, Default)]
pub struct Watch {
    sources: Arc<Mutex<Vec<Arc<Gauge>>>>,
    loss: Loss,
}

#[derive(Debug)]
struct Gauge {
    name: String,
    kind: SourceKind,
    state: Mutex<(SourceState, String)>,
    last_seen_us: AtomicI64,
    records: AtomicU64,
    bytes: AtomicU64,
    drops: AtomicU64,
    truncated: AtomicU64,
    refusals: Mutex<BTreeMap<&'static str, u64>>,
    /// What an operator should know whatever the state.
    notice: Mutex<Option<String>>,
    /// What has not been reported yet.
    unreported: Mutex<Unreported>,
}

/// By cause.
#[derive(Debug, Default)]
struct Unreported {
    losses: BTreeMap<&'static str, u64>,
    /// With the latest in words.
    refusals: BTreeMap<&'static str, (u64, String)>,
}

/// A source's own hand on its status.
#[derive(Debug, Clone)]
pub(crate) struct SourceGauge {
    gauge: Arc<Gauge>,
    watch: Watch,
}

impl Watch {
    pub(crate) fn new(loss: Loss) -> Self {
        Self { sources: Arc::default(), loss }
    }

    /// All sources, sorted by name.
    pub fn status(&self) -> Vec<SourceStatus> {
        let mut status: Vec<_> = self.gauges().iter().map(|gauge| gauge.status()).collect();
        status.sort_by(|a, b| (&a.name, a.kind).cmp(&(&b.name, b.kind)));
        status
    }

    pub(crate) fn add(&self, kind: SourceKind, name: &str, state: SourceState, reason: impl Into<String>) -> SourceGauge {
        let gauge = Arc::new(Gauge {
            name: name.to_owned(),
            kind,
            state: Mutex::new((state, reason.into())),
            last_seen_us: AtomicI64::new(i64::MIN),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            drops: AtomicU64::new(0),
            truncated: AtomicU64::new(0),
            refusals: Mutex::default(),
            notice: Mutex::default(),
            unreported: Mutex::default(),
        });
        self.gauges().push(gauge.clone());
        SourceGauge { gauge, watch: self.clone() }
    }

    pub(crate) fn stopped(&self) {
        for gauge in self.gauges().iter() {
            let mut state = lock(&gauge.state);
            if state.0 != SourceState::Blind {
                state.0 = SourceState::Stopped;
            }
        }
    }

    /// Reports what was lost and refused since the last call: a sender that runs wild must not fill our own log.
    pub(crate) fn report(&self) {
        for gauge in self.gauges().iter() {
            let unreported = std::mem::take(&mut *lock(&gauge.unreported));
            for (cause, count) in unreported.losses {
                self.loss.report(COMPONENT, topics::LOGS_RAW, cause, count);
            }
            for (cause, (count, latest)) in unreported.refusals {
                tracing::warn!(source = gauge.name, cause, count, latest, "connections refused or ended");
                self.loss.refuse(COMPONENT, cause, count);
            }
        }
    }

    fn gauges(&self) -> MutexGuard<'_, Vec<Arc<Gauge>>> {
        lock(&self.sources)
    }
}

impl Gauge {
    fn status(&self) -> SourceStatus {
        let (state, mut reason) = lock(&self.state).clone();
        if let Some(notice) = lock(&self.notice).as_deref() {
            reason = if reason.is_empty() { notice.to_owned() } else { format!("{reason}; {notice}") };
        }
        let last_seen = self.last_seen_us.load(Ordering::Relaxed);
        SourceStatus {
            name: self.name.clone(),
            kind: self.kind,
            state,
            reason,
            last_seen: (last_seen != i64::MIN).then_some(last_seen),
            records: self.records.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            drops: self.drops.load(Ordering::Relaxed),
            truncated: self.truncated.load(Ordering::Relaxed),
            refusals: lock(&self.refusals).iter().map(|(cause, count)| ((*cause).to_owned(), *count)).collect(),
        }
    }
}

impl SourceGauge {
    pub(crate) fn count(&self, record: &LogRecord) {
        self.gauge.records.fetch_add(1, Ordering::Relaxed);
        self.gauge.bytes.fetch_add(record.raw.len() as u64, Ordering::Relaxed);
        self.gauge.truncated.fetch_add(u64::from(record.truncated), Ordering::Relaxed);
        self.gauge.last_seen_us.store(record.observed_time, Ordering::Relaxed);
    }

    /// `count` lines of this source are lost.
    pub(crate) fn lose(&self, cause: &'static str, count: u64) {
        if count > 0 {
            self.gauge.drops.fetch_add(count, Ordering::Relaxed);
            *lock(&self.gauge.unreported).losses.entry(cause).or_default() += count;
        }
    }

    /// A connection is refused, or ended for what it sent; `detail` says whose, and what an operator may want to know.
    pub(crate) fn refuse(&self, cause: &'static str, detail: impl FnOnce() -> String) {
        *lock(&self.gauge.refusals).entry(cause).or_default() += 1;
        let mut unreported = lock(&self.gauge.unreported);
        let (count, latest) = unreported.refusals.entry(cause).or_default();
        *count += 1;
        *latest = detail();
    }

    /// What an operator should know beside the state; logged when it changes.
    pub(crate) fn notice(&self, notice: Option<String>) {
        let mut current = lock(&self.gauge.notice);
        if *current == notice {
            return;
        }
        if let Some(notice) = &notice {
            tracing::warn!(source = self.gauge.name, notice, "source");
        }
        *current = notice;
    }

    /// Changes of state are logged once, when they happen.
    pub(crate) fn set(&self, state: SourceState, reason: impl Into<String>) {
        let reason = reason.into();
        let mut current = lock(&self.gauge.state);
        if current.0 == state && current.1 == reason {
            return;
        }
        let source = self.gauge.name.as_str();
        match state {
            SourceState::Blind => tracing::warn!(source, reason, "source cannot be seen"),
            SourceState::Waiting => tracing::warn!(source, reason, "source is not there"),
            _ if reason.is_empty() => tracing::info!(source, ?state, "source"),
            _ => tracing::warn!(source, ?state, reason, "source"),
        }
        *current = (state, reason);
    }

    /// The source has gone for good, and with it its line in the status.
    pub(crate) fn remove(self) {
        self.watch.report();
        self.watch.gauges().retain(|gauge| !Arc::ptr_eq(gauge, &self.gauge));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
