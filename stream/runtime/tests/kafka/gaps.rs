//! How long outputs stay away when replicas die, come back, leave and join: real processes, default settings.
//!
//! The test binary starts itself as the replica. The limits asserted are wider than those that are promised, since tests
//! share the machine; the figures are printed, and stand in `docs/benchmarks.md`.

use std::{
    collections::BTreeMap,
    io::Read,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use stream_core::{NextOffset, Outbox};
use stream_runtime::{
    bus::{Bus, CommitBatch, Restoring, StateWrite},
    config::BusSettings,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    kafka::{KafkaBus, KafkaSettings},
    loss::Loss,
    metrics::StageMetrics,
    publish::PublishBatch,
    settings::EngineSettings,
    sim::Rng,
    time::SystemClock,
    worker::Worker,
};

use crate::{
    copier::{Copier, CopierConfig},
    support::*,
};

/// Bootstrap servers, prefix and instance of a replica.
const REPLICA: &str = "NEPHOSCOPE_TEST_REPLICA";
/// One record for each partition in each such span: what a gap is measured with.
const PERIOD: Duration = Duration::from_millis(25);

/// The process of a replica. It leaves when its input is closed, or is killed.
#[test]
fn replica() {
    let Ok(told) = std::env::var(REPLICA) else { return };
    let told: Vec<_> = told.split(' ').collect();
    let bus =
        BusSettings { prefix: told[1].into(), topic_prefix: format!("{}.", told[1]), instance: told[2].into(), ..BusSettings::default() };
    let bus = Arc::new(KafkaBus::open(bus, KafkaSettings::of([("bootstrap.servers", told[0])])).unwrap());
    let (loss, metrics) = (Loss::default(), StageMetrics::default());
    let mut worker =
        Worker::<Copier>::new(bus, CopierConfig::default(), EngineSettings::default(), Box::new(SystemClock), loss, metrics).unwrap();
    let stop = worker.stop_flag();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read(&mut [0]);
        stop.store(true, Ordering::Relaxed);
    });
    worker.run().unwrap();
}

struct Replica(Child);

impl Replica {
    fn start(on: &Installation, instance: &str) -> Self {
        let told = format!("{} {} {instance}", on.cluster.bootstrap(), on.name);
        let mut command = Command::new(std::env::current_exe().unwrap());
        let command = command.args(["--exact", "gaps::replica", "--nocapture"]).env(REPLICA, told);
        Self(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn leave(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Publishes at a steady pace while `events` happen, and returns the longest time between two outputs of one partition. The
/// replicas that the events leave behind process the rest.
fn longest_gap(on: &Installation, partitions: u32, events: impl FnOnce() -> Replica) -> Duration {
    let bus = on.bus("steady");
    let is_over = AtomicBool::new(false);
    let (published, _replica) = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| publish_steadily(&bus, partitions, &is_over));
        let replica = events();
        is_over.store(true, Ordering::Relaxed);
        (publishing.join().unwrap(), replica)
    });
    let outputs = outputs_when(&bus, published);
    let mut last = BTreeMap::new();
    let gaps = outputs.into_iter().filter_map(|(input, at_ms)| Some(at_ms - last.insert(input, at_ms)?));
    Duration::from_millis(gaps.max().unwrap_or(0).try_into().unwrap())
}

fn publish_steadily(bus: &KafkaBus, partitions: u32, is_over: &AtomicBool) -> usize {
    let keys: Vec<_> = (0..partitions).map(|partition| key_of(partition, partitions)).collect();
    let mut publisher = bus.publisher("steady").unwrap();
    let mut published = 0;
    while !is_over.load(Ordering::Relaxed) {
        let mut batch = PublishBatch::default();
        for key in &keys {
            batch.push(&IN.into(), Some(key.as_bytes()), Some(key.as_bytes()), Default::default()).unwrap();
        }
        publisher.publish(&batch, b"").unwrap();
        published += keys.len();
        std::thread::sleep(PERIOD);
    }
    published
}

/// A key that goes to that partition.
fn key_of(partition: u32, partitions: u32) -> String {
    let goes = |key: &String| stream_core::partition_of_key(Some(key.as_bytes()), partitions).0 == partition;
    (0..).map(|n: u32| n.to_string()).find(goes).unwrap()
}

/// Input and append time of all outputs, once there are that many.
fn outputs_when(bus: &KafkaBus, count: usize) -> Vec<(String, i64)> {
    let begun = Instant::now();
    loop {
        let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::ZERO };
        let mut gathered = Gathered::default();
        bus.read(&at(OUT, 0), NextOffset(0), &limits, &mut gathered).unwrap();
        assert!(gathered.len() <= count, "{} outputs of {count} records", gathered.len());
        if gathered.len() == count {
            return values(&gathered).into_iter().zip(gathered.records().map(|(_, record)| record.appended_at.millis())).collect();
        }
        assert!(begun.elapsed() < PATIENCE, "{} of {count} outputs came", gathered.len());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until there are outputs of that many inputs after those that are there now.
fn await_outputs(on: &Installation, inputs: usize) {
    let bus = on.bus("observer");
    let end = bus.topics().unwrap().iter().find(|topic| topic.name.as_str() == OUT).map(|topic| topic.partitions[0].next).unwrap();
    let begun = Instant::now();
    loop {
        let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::from_millis(200) };
        let mut gathered = Gathered::default();
        bus.read(&at(OUT, 0), end, &limits, &mut gathered).unwrap();
        if values(&gathered).into_iter().collect::<std::collections::BTreeSet<_>>().len() == inputs {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "no outputs of {inputs} inputs");
    }
}

/// Asserts a limit wider than the promise, and prints the figure.
fn report(what: &str, gap: Duration, promised: Duration) {
    println!("longest gap, {what}: {:.2} s (promised {} s)", gap.as_secs_f64(), promised.as_secs());
    assert!(gap < promised * 2 + Duration::from_secs(5), "{what}: {gap:?}");
}

#[test]
fn a_killed_replica_that_comes_back_goes_on_at_once() {
    let Some(on) = Installation::new("gap-back", 1) else { return };
    let gap = longest_gap(&on, 1, || {
        let replica = Replica::start(&on, "one");
        await_outputs(&on, 1);
        std::thread::sleep(Duration::from_secs(1));
        replica.kill();
        let replica = Replica::start(&on, "one");
        await_outputs(&on, 1);
        std::thread::sleep(Duration::from_secs(1));
        replica
    });
    report("kill -9, the same replica back", gap, Duration::from_secs(3));
}

#[test]
fn replicas_that_join_and_leave_hold_outputs_up_for_a_moment() {
    let Some(on) = Installation::new("gap-join", 2) else { return };
    let gap = longest_gap(&on, 2, || {
        let one = Replica::start(&on, "one");
        await_outputs(&on, 2);
        let two = Replica::start(&on, "two");
        std::thread::sleep(Duration::from_secs(6));
        two.leave();
        await_outputs(&on, 2);
        std::thread::sleep(Duration::from_secs(1));
        one
    });
    report("join and clean leave", gap, Duration::from_secs(5));
}

#[test]
fn a_killed_replica_is_replaced_by_another() {
    let Some(on) = Installation::new("gap-over", 2) else { return };
    let gap = longest_gap(&on, 2, || {
        let one = Replica::start(&on, "one");
        await_outputs(&on, 2);
        let two = Replica::start(&on, "two");
        std::thread::sleep(Duration::from_secs(6));
        two.kill();
        std::thread::sleep(Duration::from_secs(1));
        await_outputs(&on, 2);
        std::thread::sleep(Duration::from_secs(1));
        one
    });
    report("kill -9, another takes over", gap, Duration::from_secs(25));
}

#[test]
fn a_large_state_is_restored_within_seconds() {
    const MEBIBYTES: usize = 64;
    let Some(on) = Installation::new("large-state", 1) else { return };
    let bus = on.bus("one");
    let mut session = started(&bus, &worker("p"), 1);
    // Bytes that do not compress.
    let mut rng = Rng::new(0);
    let mut chunk = || (0..64 << 10).flat_map(|_| rng.bits().to_be_bytes()).collect::<Vec<u8>>();
    for from in (0..2 * MEBIBYTES).step_by(16) {
        let write = |n: usize| StateWrite { at: at(IN, 0), key: format!("chunk/s/{n:06}"), value: Some(chunk()) };
        let state: Vec<_> = (from..from + 16).map(write).collect();
        session.begin().unwrap();
        session.commit(&CommitBatch { outputs: &Outbox::new("p"), state: &state, positions: &[] }).unwrap();
    }
    session.close();
    let mut session = on.bus("two").open(&worker("p")).unwrap();
    gather_until(&mut *session, |gathered| !assigned(gathered).is_empty());
    let begun = Instant::now();
    let image = loop {
        if let Restoring::Ready(image) = session.restore_step(&at(IN, 0)).unwrap() {
            break image;
        }
    };
    let took = begun.elapsed();
    assert_eq!(image.values().map(Vec::len).sum::<usize>(), MEBIBYTES << 20);
    println!("restore of {MEBIBYTES} MiB of state: {:.2} s (promised 5 s)", took.as_secs_f64());
    assert!(took < Duration::from_secs(15), "{took:?}");
}
