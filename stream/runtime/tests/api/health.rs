//! What supervisors see.

use std::{
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use stream_core::{ConfigError, Outbox, Processor, Record, Reject, SnapshotReader, SnapshotWriter, StateError, TopicName, TopicPartition};
use stream_runtime::{
    bus::{Bus, BusError, Session, TopicSpec, WorkerSpec},
    engine::Engine,
    publish::Publish,
    settings::EngineSettings,
};

use crate::{NoBus, Running};

struct Toy;

impl Processor for Toy {
    type Config = ();
    const NAME: &'static str = "toy";
    const STATE_VERSION: u16 = 1;
    fn inputs(_: &()) -> Vec<TopicName> {
        vec![TopicName::new("in.v1")]
    }
    fn outputs(_: &()) -> Vec<TopicName> {
        vec![]
    }
    fn state_bytes_bound(_: &()) -> u64 {
        0
    }
    fn new(_: &(), _: &TopicPartition) -> Result<Self, ConfigError> {
        Ok(Self)
    }
    fn on_record(&mut self, _: Record<'_>, _: &mut Outbox) -> Result<(), Reject> {
        Ok(())
    }
    fn snapshot(&self, _: &mut SnapshotWriter) -> Result<(), StateError> {
        Ok(())
    }
    fn restore(_: &SnapshotReader<'_>, _: &(), _: &TopicPartition) -> Result<Self, StateError> {
        Ok(Self)
    }
}

#[test]
fn a_process_without_parts_lives_and_is_ready() {
    let running = Running::start();
    assert_eq!(running.stranger().get("/livez").json(), serde_json::json!({ "alive": true, "dead": [] }));
    assert_eq!(running.stranger().get("/readyz").json(), serde_json::json!({ "ready": true, "missing": [] }));
}

#[test]
fn a_stopped_part_is_named_with_its_reason() {
    let mut engine = Engine::new(Arc::new(NoBus), EngineSettings::default());
    engine.spawn::<Toy>(()).expect("spawns");
    let view = engine.view();
    while view.stages().iter().any(|stage| stage.state != "stopped") {
        std::thread::sleep(Duration::from_millis(1));
    }
    let running = Running::with_engine(engine);
    let ready = running.stranger().get("/readyz");
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["missing"][0], serde_json::json!({ "part": "toy", "why": "the disk is on fire" }));
    assert_eq!(running.stranger().get("/livez").status, 200, "a part that said why it stopped is not a hanging one");
    let status = running.client().get("/api/status").json();
    assert_eq!((&status["ready"], &status["stages"][0]["state"]), (&false.into(), &"stopped".into()));
}

/// A bus that never answers, until it is told to.
#[derive(Default)]
struct Hanging {
    released: Mutex<bool>,
    changed: Condvar,
}

impl Bus for Hanging {
    fn ensure_topics(&self, _: &[TopicSpec]) -> Result<(), BusError> {
        Ok(())
    }

    fn partitions(&self, _: &TopicName) -> Result<u32, BusError> {
        Ok(1)
    }

    fn open(&self, _: &WorkerSpec) -> Result<Box<dyn Session>, BusError> {
        let released = self.released.lock().expect("lock");
        drop(self.changed.wait_while(released, |released| !*released).expect("lock"));
        Err(BusError::Fatal("too late".into()))
    }

    fn publisher(&self, _: &str) -> Result<Box<dyn Publish>, BusError> {
        Err(BusError::Fatal("too late".into()))
    }
}

#[test]
fn a_process_says_what_it_is_and_uses() {
    let bus = Arc::new(Hanging::default());
    let mut engine = Engine::new(bus.clone(), EngineSettings::default());
    engine.spawn::<Toy>(()).expect("spawns");
    engine.loss().report("syslog", "logs.raw.v1", "kernel", 3);
    let running = Running::with_engine(engine);
    running.bus.push("alerts.v1", None, Some(b"{\"a\":1}"), &Default::default());
    let status = running.client().get("/api/status").json();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["disk"]["topicsBytes"], 7);
    assert!(status["disk"]["freeBytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert!(status["rssBytes"].as_u64().is_some_and(|bytes| bytes > 1 << 20));
    assert_eq!(status["losses"][0], serde_json::json!({ "component": "syslog", "topic": "logs.raw.v1", "cause": "kernel", "count": 3 }));
    let stage = &status["stages"][0];
    assert_eq!((&stage["name"], &stage["state"], &stage["recordsPerSecond"]), (&"toy".into(), &"restoring".into(), &0.0.into()));
    let metrics = running.stranger().get("/metrics");
    assert_eq!(metrics.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(metrics.text().contains("nephoscope_ready{stage=\"toy\"} 0") && metrics.text().ends_with("# EOF\n"), "{}", metrics.text());
    *bus.released.lock().expect("lock") = true;
    bus.changed.notify_all();
}

#[test]
fn a_worker_that_has_not_begun_its_first_round_is_young_and_not_dead() {
    // Its thread may not have run yet; nothing in the view may depend on whether it has.
    for _ in 0..20 {
        let mut engine = Engine::new(Arc::new(NoBus), EngineSettings::default());
        engine.spawn::<Toy>(()).expect("spawns");
        assert_eq!(engine.view().not_alive(), Vec::<&str>::new());
        engine.stop();
    }
}

#[test]
fn groups_say_how_far_each_processor_is_behind() {
    let running = Running::start();
    for value in [b"a", b"b", b"c"] {
        running.bus.push("logs.raw.v1", None, Some(value), &Default::default());
    }
    let groups = running.client().get("/api/groups").json();
    let drain = serde_json::json!({ "processor": "drain", "topic": "logs.raw.v1", "partition": 0, "position": 1, "end": 3, "lag": 2 });
    let old = serde_json::json!({ "processor": "old", "topic": "gone.v1", "partition": 0, "position": 9, "end": 9, "lag": 0 });
    assert_eq!(groups, serde_json::json!({ "groups": [drain, old] }));
}

#[test]
fn states_are_listed_and_their_keys_shown() {
    let running = Running::start();
    let states = running.client().get("/api/states").json();
    assert_eq!(
        states["states"][0],
        serde_json::json!({ "processor": "drain", "topic": "logs.raw.v1", "partition": 0, "keys": 2, "bytes": 5 })
    );
    let state = running.client().get("/api/states/drain/logs.raw.v1/0").json();
    assert_eq!(state["keys"], serde_json::json!([{ "key": "head", "bytes": 2 }, { "key": "pos", "bytes": 3 }]));
    let value = running.client().get("/api/states/drain/logs.raw.v1/0?key=pos").json();
    assert_eq!(value["keys"], serde_json::json!([{ "key": "pos", "bytes": 3, "valueBase64": "MzQ1" }]));
    for (target, status) in [("/api/states/drain/logs.raw.v1/9", 404), ("/api/states/a/b/0", 404), ("/api/states/a/b/x", 400)] {
        assert_eq!(running.client().get(target).status, status, "{target}");
    }
}
