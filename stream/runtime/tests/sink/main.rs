//! Sinks on the embedded bus, with threads of their own: what one destination does not take, the others have long had.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use schemas::{EventTime, topics::Cleanup};
use serde::{Deserialize, Serialize};
use stream_core::{
    ConfigError, Headers, NextOffset, Outbox, Partition, Reject, RejectReason, Sink, SinkBatch, SinkError, SinkId, SnapshotReader,
    SnapshotWriter, StateError, TopicName, TopicPartition,
};
use stream_runtime::{
    bus::{Bus, TopicSpec},
    embedded::{Durability, EmbeddedBus, EmbeddedConfig},
    engine::Engine,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    publish::PublishBatch,
    settings::EngineSettings,
    sink,
    time::{Clock, SystemClock},
};
use tempfile::tempdir;

const IN: &str = "in.v1";
const DEAD: &str = "in.v1.dlq";
const OUT: &str = "out.v1";
/// Long enough for a loaded machine; nothing waits for it that comes earlier.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the destinations of one test got, and how they behave.
#[derive(Default)]
struct Outside {
    delivered: BTreeMap<String, Vec<String>>,
    acted: Vec<String>,
    /// Destinations that do not answer.
    hanging: Vec<&'static str>,
    /// How often a destination is busy before it takes something.
    busy: BTreeMap<&'static str, u32>,
}

/// The worlds of all tests, by name.
static OUTSIDE: (Mutex<BTreeMap<String, Outside>>, Condvar) = (Mutex::new(BTreeMap::new()), Condvar::new());

fn outside<T>(test: &str, change: impl FnOnce(&mut Outside) -> T) -> T {
    let changed = change(OUTSIDE.0.lock().unwrap().entry(test.into()).or_default());
    OUTSIDE.1.notify_all();
    changed
}

fn delivered(test: &str, destination: &str) -> Vec<String> {
    outside(test, |outside| outside.delivered.get(destination).cloned().unwrap_or_default())
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Config {
    test: String,
    destinations: Vec<String>,
}

/// Delivers texts; "refuse" is refused, "act…" is acted on once the intent is on the bus.
struct Postman {
    test: String,
    destination: String,
    intents: Vec<String>,
    outcomes: Vec<String>,
}

impl Sink for Postman {
    type Config = Config;
    const NAME: &'static str = "postman";
    const STATE_VERSION: u16 = 1;

    fn destinations(config: &Config) -> Vec<String> {
        config.destinations.clone()
    }

    fn inputs(_: &Config) -> Vec<TopicName> {
        vec![IN.into()]
    }

    fn state_bytes_bound(_: &Config) -> u64 {
        1 << 20
    }

    fn new(config: &Config, id: SinkId<'_>) -> Result<Self, ConfigError> {
        let (test, destination) = (config.test.clone(), id.destination.to_owned());
        Ok(Self { test, destination, intents: Vec::new(), outcomes: Vec::new() })
    }

    fn on_batch(&mut self, batch: &mut SinkBatch<'_>, out: &mut Outbox) -> Result<(), SinkError> {
        while let Some(record) = batch.take(out) {
            let text = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            if text == "refuse" {
                return Err(Reject::new(RejectReason::Refused, "it is not wanted").into());
            }
            let hangs = |worlds: &mut BTreeMap<String, Outside>| {
                worlds.entry(self.test.clone()).or_default().hanging.iter().any(|hanging| *hanging == self.destination)
            };
            drop(OUTSIDE.1.wait_while(OUTSIDE.0.lock().unwrap(), hangs).unwrap());
            let is_busy = outside(&self.test, |outside| {
                let busy = outside.busy.get_mut(self.destination.as_str()).filter(|left| **left > 0);
                busy.map(|left| *left -= 1).is_some()
            });
            if is_busy {
                return Err(SinkError::retry_after(Duration::from_millis(50), "busy"));
            }
            if text.starts_with("act") {
                out.emit_raw(&OUT.into(), None, Some(format!("intent {text}").as_bytes()))?;
                self.intents.push(text);
            } else {
                outside(&self.test, |outside| outside.delivered.entry(self.destination.clone()).or_default().push(text));
            }
            batch.done(out);
        }
        Ok(())
    }

    fn on_tick(&mut self, _: EventTime, out: &mut Outbox) -> Result<(), Reject> {
        for text in std::mem::take(&mut self.outcomes) {
            out.emit_raw(&OUT.into(), None, Some(format!("outcome {text}").as_bytes()))?;
            self.intents.retain(|intent| *intent != text);
        }
        Ok(())
    }

    fn after_commit(&mut self) {
        for text in self.intents.iter().filter(|text| !self.outcomes.contains(text)) {
            outside(&self.test, |outside| outside.acted.push(text.clone()));
        }
        self.outcomes = self.intents.clone();
    }

    fn snapshot(&self, w: &mut SnapshotWriter) -> Result<(), StateError> {
        w.put("intents", &self.intents)
    }

    fn restore(r: &SnapshotReader<'_>, config: &Config, id: SinkId<'_>) -> Result<Self, StateError> {
        let (test, destination) = (config.test.clone(), id.destination.to_owned());
        Ok(Self { test, destination, intents: r.get("intents")?, outcomes: Vec::new() })
    }
}

fn open_bus(directory: &Path) -> EmbeddedBus {
    let bus = EmbeddedBus::open(directory, EmbeddedConfig { durability: Durability::Os, ..Default::default() }).unwrap();
    let topic = |name: &str| TopicSpec {
        name: name.into(),
        partitions: 1,
        cleanup: Cleanup::Delete,
        retention_ms: 3_600_000,
        retention_bytes: 1 << 30,
    };
    bus.ensure_topics(&[topic(IN), topic(DEAD), topic(OUT)]).unwrap();
    bus
}

fn publish(bus: &EmbeddedBus, texts: impl IntoIterator<Item = String>) {
    let mut batch = PublishBatch::default();
    for text in texts {
        batch.push(&IN.into(), None, Some(text.as_bytes()), Headers::default()).unwrap();
    }
    bus.publisher("source").unwrap().publish(&batch, b"").unwrap();
}

fn read(bus: &EmbeddedBus, topic: &str) -> Vec<String> {
    let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::ZERO };
    let mut gathered = Gathered::default();
    bus.read(&TopicPartition::new(&topic.into(), Partition(0)), NextOffset(0), &limits, &mut gathered).unwrap();
    gathered.records().map(|(_, record)| String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()).collect()
}

fn start(bus: &EmbeddedBus, test: &str, destinations: &[&str]) -> Engine {
    let mut engine = Engine::new(Arc::new(bus.clone()), EngineSettings::default());
    let destinations = destinations.iter().map(|destination| (*destination).to_owned()).collect();
    engine.spawn_sink::<Postman>(&Config { test: test.into(), destinations }).unwrap();
    engine
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = SystemClock.monotonic();
    while !is_so() {
        assert!(SystemClock.monotonic() - begun < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|n| format!("text {n}")).collect()
}

#[test]
fn a_destination_that_hangs_does_not_hold_up_the_others() {
    const TEST: &str = "hangs";
    let directory = tempdir().unwrap();
    let bus = open_bus(directory.path());
    outside(TEST, |outside| outside.hanging = vec!["pager"]);
    let engine = start(&bus, TEST, &["pager", "chat"]);
    publish(&bus, texts(0..500));
    eventually("the chat has everything", || delivered(TEST, "chat") == texts(0..500));
    assert_eq!(delivered(TEST, "pager"), [""; 0]);
    outside(TEST, |outside| outside.hanging.clear());
    eventually("the pager has everything", || delivered(TEST, "pager") == texts(0..500));
    engine.stop();
}

#[test]
fn a_busy_destination_gets_everything_once_and_in_order() {
    const TEST: &str = "busy";
    let directory = tempdir().unwrap();
    let bus = open_bus(directory.path());
    outside(TEST, |outside| outside.busy = [("chat", 10)].into());
    let engine = start(&bus, TEST, &["chat"]);
    publish(&bus, texts(0..100));
    eventually("it has everything", || delivered(TEST, "chat").len() >= 100);
    engine.stop();
    assert_eq!(delivered(TEST, "chat"), texts(0..100));
}

#[test]
fn what_is_refused_becomes_a_dead_letter_and_the_rest_goes_on() {
    const TEST: &str = "refused";
    let directory = tempdir().unwrap();
    let bus = open_bus(directory.path());
    let engine = start(&bus, TEST, &["chat"]);
    publish(&bus, ["a", "refuse", "b", "refuse", "c"].map(String::from));
    eventually("it has the rest", || delivered(TEST, "chat").len() >= 3);
    eventually("both are dead letters", || read(&bus, DEAD).len() >= 2);
    engine.stop();
    assert_eq!((delivered(TEST, "chat"), read(&bus, DEAD)), (["a", "b", "c"].map(String::from).to_vec(), vec!["refuse".into(); 2]));
}

#[test]
fn a_restart_delivers_nothing_twice_and_an_actor_acts_after_its_intent() {
    const TEST: &str = "restart";
    let directory = tempdir().unwrap();
    for run in 0..3 {
        let bus = open_bus(directory.path());
        let engine = start(&bus, TEST, &["chat"]);
        publish(&bus, texts(run * 10..run * 10 + 10).into_iter().chain([format!("act {run}")]));
        eventually("it has everything", || delivered(TEST, "chat").len() as u32 >= (run + 1) * 10);
        eventually("the outcome is on the bus", || read(&bus, OUT).contains(&format!("outcome act {run}")));
        engine.stop();
        bus.close();
    }
    assert_eq!(delivered(TEST, "chat"), texts(0..30));
    let bus = open_bus(directory.path());
    let expected: Vec<_> = (0..3).flat_map(|run| [format!("intent act {run}"), format!("outcome act {run}")]).collect();
    assert_eq!(read(&bus, OUT), expected);
    assert_eq!(outside(TEST, |outside| outside.acted.clone()), ["act 0", "act 1", "act 2"]);
}

#[test]
fn destinations_are_named_so_that_they_can_be_groups_and_files() {
    assert_eq!(sink::name::<Postman>("").unwrap(), "postman");
    assert_eq!(sink::name::<Postman>("ops-chat_2").unwrap(), "postman.ops-chat_2");
    for refused in ["Chat", "a.b", "a/b", "ü", &"x".repeat(41)] {
        assert!(sink::name::<Postman>(refused).unwrap_err().to_string().contains("destinations of [postman]"), "{refused}");
    }
}
