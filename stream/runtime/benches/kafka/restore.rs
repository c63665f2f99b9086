//! How long a worker with a large state takes to be back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use stream_runtime::metrics::StageMetrics;

use crate::{
    broker::Broker,
    model::{self, Load},
};

const STATE_BYTES: usize = 64 << 20;

/// A worker that leaves a state of 64 MiB behind, `snapshots` times over, and one that takes it up each time. The state
/// shares no chunk with the one before, and the brokers compact nothing between two of them: the worst case.
pub fn run(broker: &Broker, snapshots: u64) {
    println!("restore of {} MiB of state, none of it as it was in the snapshot before", STATE_BYTES >> 20);
    let load = Load { state_bytes: STATE_BYTES, ..Load::default() };
    let bus = broker.bus("restore", "0", 1);
    for n in 1..=snapshots {
        broker.fill("restore.in.v1", |send| send(0, b"host-1", b"one more record changes all of it"));
        let stop = AtomicBool::new(false);
        model::run(&bus, &load, &stop, |totals| stop.store(model::records(totals) > 0, Ordering::Relaxed));
        let (ready, replayed) = restore(&bus, &load);
        println!("  snapshots written so far: {n:>2}   open → ready {:>6.2} s   ({replayed} records replayed)", ready.as_secs_f64());
    }
}

/// The time from a worker's first step until it processes.
fn restore(bus: &stream_runtime::kafka::KafkaBus, load: &Load) -> (Duration, u64) {
    let metrics = StageMetrics::default();
    let mut worker = model::worker(bus, load, &metrics);
    let begun = Instant::now();
    while metrics.totals().restores == 0 || !worker.is_ready() {
        worker.step().expect("goes on");
    }
    let ready = begun.elapsed();
    worker.shutdown().expect("leaves");
    (ready, metrics.totals().replayed)
}
