//! The processor that is measured, and one worker that runs it.

use std::{
    hint::black_box,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use stream_core::{ConfigError, Outbox, Processor, Record, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName, TopicPartition};
use stream_runtime::{
    bus::Bus,
    kafka::KafkaBus,
    loss::Loss,
    metrics::{StageMetrics, Totals},
    settings::EngineSettings,
    time::{Clock, SystemClock},
    worker::Worker,
};

/// How much work a record is, and how much there is to remember.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Load {
    /// Rounds of arithmetic per record; see [`rounds_per_us`].
    pub rounds: u64,
    /// Bytes of state, every one of them different after each record.
    pub state_bytes: usize,
}

/// Copies each record from `in.v1` to `out.v1`, after some work.
pub struct Copy {
    load: Load,
    seen: u64,
    out: TopicName,
}

impl Processor for Copy {
    type Config = Load;
    const NAME: &'static str = "copy";
    const STATE_VERSION: u16 = 1;

    fn inputs(_: &Load) -> Vec<TopicName> {
        vec!["in.v1".into()]
    }

    fn outputs(_: &Load) -> Vec<TopicName> {
        vec!["out.v1".into()]
    }

    fn state_bytes_bound(load: &Load) -> u64 {
        load.state_bytes as u64 + 1_024
    }

    fn new(load: &Load, _: &TopicPartition) -> Result<Self, ConfigError> {
        Ok(Self { load: load.clone(), seen: 0, out: "out.v1".into() })
    }

    fn on_record(&mut self, record: Record<'_>, out: &mut Outbox) -> Result<(), Reject> {
        self.seen += 1;
        work(self.load.rounds);
        out.observe(record.appended_at);
        out.emit_raw(&self.out, record.key, record.value)
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("seen", &self.seen)?;
        let mut random = self.seen;
        let model = w.section("model");
        while model.len() < self.load.state_bytes {
            model.extend(splitmix(&mut random).to_le_bytes());
        }
        Ok(())
    }

    fn restore(r: &SnapshotReader<'_>, load: &Load, _: &TopicPartition) -> Result<Self, StateError> {
        assert_eq!(r.require("model")?.len(), load.state_bytes, "the whole state is back");
        Ok(Self { load: load.clone(), seen: r.get("seen")?, out: "out.v1".into() })
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

fn work(rounds: u64) {
    let mut state = 1;
    for _ in 0..rounds {
        black_box(splitmix(&mut state));
    }
}

/// How many rounds of work take a microsecond of this machine's CPU time, when nothing else shares its core.
pub fn rounds_per_us() -> f64 {
    const ROUNDS: u64 = 10_000_000;
    let once = || {
        let begun = SystemClock.cpu();
        work(ROUNDS);
        (SystemClock.cpu() - begun).as_secs_f64() * 1e6
    };
    ROUNDS as f64 / (0..5).map(|_| once()).fold(f64::INFINITY, f64::min)
}

/// Runs one worker on this thread until it is stopped, telling what it has done after each step, then lets it leave.
pub fn run(bus: &KafkaBus, load: &Load, stop: &AtomicBool, mut told: impl FnMut(&Totals)) {
    let metrics = StageMetrics::default();
    let mut worker = worker(bus, load, &metrics);
    while !stop.load(Ordering::Relaxed) {
        worker.step().expect("goes on");
        told(&metrics.totals());
    }
    worker.shutdown().expect("leaves");
}

pub fn worker(bus: &KafkaBus, load: &Load, metrics: &StageMetrics) -> Worker<Copy> {
    let bus: Arc<dyn Bus> = Arc::new(bus.clone());
    let settings = EngineSettings::default();
    Worker::new(bus, load.clone(), settings, Box::new(SystemClock), Loss::default(), metrics.clone()).expect("starts")
}

/// Records that a worker has processed.
pub fn records(totals: &Totals) -> u64 {
    totals.records.values().sum()
}

/// A moment in a run.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    pub records: u64,
    wall: Duration,
    thread: Duration,
    process: Duration,
}

/// What lies between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub records: f64,
    pub wall: f64,
    /// CPU seconds of the thread that marked; none where that is not known.
    pub thread: Option<f64>,
    /// CPU seconds of the process.
    pub process: f64,
}

impl Mark {
    pub fn now(records: u64) -> Self {
        let (process, thread) = crate::support::cpu();
        Self { records, wall: SystemClock.monotonic(), thread, process }
    }

    /// From here until now.
    pub fn until(&self, records: u64) -> Span {
        let now = Self::now(records);
        Span {
            records: (now.records - self.records) as f64,
            wall: (now.wall - self.wall).as_secs_f64(),
            thread: Some((now.thread - self.thread).as_secs_f64()),
            process: (now.process - self.process).as_secs_f64(),
        }
    }
}
