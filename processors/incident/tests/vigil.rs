//! Who is called silent, and who is not.

use std::{collections::BTreeMap, path::Path};

use incident::{Config, IncidentProcessor};
use schemas::{Heartbeat, HeartbeatKind, Subject, topics};
use serde_json::Value;
use stream_core::{
    Applied, EventClock, Headers, Instance, Lateness, NextOffset, Offset, Outbox, Partition, Processor, Record, TopicPartition,
};

/// 2026-01-01T00:00:00Z, in seconds.
const T0: i64 = 1_767_225_600;
const SECOND_US: i64 = 1_000_000;

/// Hosts, a receiver and the processor, second by second.
struct Watch {
    instance: Instance<IncidentProcessor>,
    out: Outbox,
    next: NextOffset,
    /// Seconds since [`T0`].
    now: i64,
    run: &'static str,
    /// When each host was last heard.
    heard: BTreeMap<String, i64>,
}

impl Watch {
    fn new() -> Self {
        let at = TopicPartition::new(&topics::HOST_HEARTBEATS.into(), Partition(0));
        let processor = IncidentProcessor::new(&Config::default(), &at).expect("a configuration that works");
        let lateness = Lateness { lateness_ms: 0, ..Lateness::DEFAULT };
        let instance = Instance::new(processor, EventClock::default(), at, lateness);
        Self { instance, out: Outbox::new(IncidentProcessor::NAME), next: NextOffset(0), now: 0, run: "1", heard: BTreeMap::new() }
    }

    /// What follows from one record: name, status and subject of each alert.
    fn hand(&mut self, heartbeat: &Heartbeat) -> Vec<String> {
        self.out.clear();
        let (at, value) = (self.instance.at().clone(), heartbeat.to_bytes().expect("fits the schema"));
        let (offset, appended_at) = (Offset(self.next.0), schemas::EventTime::from_micros(heartbeat.time));
        self.next = offset.next();
        let record = Record {
            topic: &at.topic,
            partition: at.partition,
            offset,
            appended_at,
            key: None,
            value: Some(&value),
            headers: Headers::default(),
        };
        assert_eq!(self.instance.apply(record, &mut self.out), Applied::Accepted);
        told(&self.out)
    }

    fn time(&self) -> i64 {
        (T0 + self.now) * SECOND_US
    }

    fn sign(&mut self, name: &str, kind: HeartbeatKind, pulses: i64) -> Vec<String> {
        self.heard.insert(name.into(), self.now);
        self.hand(&Heartbeat {
            name: name.into(),
            is_vm: name.starts_with("vm"),
            kind,
            time: self.time(),
            receiver: "watch-1".into(),
            run: "1".into(),
            pulses,
            last_pulse: Some(self.time()),
            ..Heartbeat::default()
        })
    }

    fn word(&mut self) -> Vec<String> {
        self.hand(&Heartbeat {
            name: "watch-1".into(),
            kind: HeartbeatKind::Listening,
            time: self.time(),
            receiver: "watch-1".into(),
            run: self.run.into(),
            last_pulse: self.heard.values().max().map(|second| (T0 + second) * SECOND_US),
            ..Heartbeat::default()
        })
    }

    /// So many seconds in which these names live and the receiver hears; what was told.
    fn live(&mut self, seconds: i64, names: &[&str]) -> Vec<String> {
        let mut all = Vec::new();
        for _ in 0..seconds {
            self.now += 1;
            if self.now % 3 == 0 {
                for name in names {
                    all.extend(self.sign(name, HeartbeatKind::Summary, 1));
                }
            }
            if self.now % 2 == 0 {
                all.extend(self.word());
            }
        }
        all
    }

    /// Nothing has come for so many seconds, not even a word.
    fn nothing(&mut self, seconds: i64) -> Vec<String> {
        self.out.clear();
        if let Some(to) = self.instance.clock.idle_tick(seconds * 1_000) {
            self.instance.tick(self.next, to, &mut self.out).expect("within the limits");
        }
        told(&self.out)
    }
}

fn told(out: &Outbox) -> Vec<String> {
    let alert = |value: &[u8]| {
        let alert: Value = serde_json::from_slice(value).expect("JSON");
        let subject =
            alert["labels"].as_object().and_then(|labels| labels.values().next()).and_then(Value::as_str).expect("a label").to_owned();
        format!("{} {} {subject}", alert["name"].as_str().expect("a name"), alert["status"].as_str().expect("a status"))
    };
    out.outputs().filter(|output| output.topic.as_str() == topics::ALERTS).map(|output| alert(output.value.expect("a value"))).collect()
}

#[test]
fn who_stops_is_silent_after_18_seconds_and_well_when_heard_again() {
    let mut watch = Watch::new();
    assert_eq!(watch.live(60, &["host-a", "vm-1"]), Vec::<String>::new());
    assert_eq!(watch.live(17, &["host-a"]), Vec::<String>::new(), "it was last heard at 60");
    assert_eq!(watch.live(3, &["host-a"]), ["VmSilent firing vm-1"]);
    assert_eq!(watch.live(30, &["host-a"]), Vec::<String>::new(), "it is told once");
    assert_eq!(watch.live(3, &["host-a", "vm-1"]), ["VmSilent resolved vm-1"]);
}

#[test]
fn who_says_goodbye_or_was_hardly_heard_is_not_missed() {
    let mut watch = Watch::new();
    watch.live(60, &["host-a", "host-b"]);
    watch.sign("host-b", HeartbeatKind::Farewell, 1);
    (0..9).for_each(|_| assert!(watch.sign("host-c", HeartbeatKind::Summary, 1).is_empty()));
    assert_eq!(watch.live(60, &["host-a"]), Vec::<String>::new());
}

#[test]
fn the_only_one_is_missed_too() {
    let mut watch = Watch::new();
    watch.live(60, &["host-a"]);
    assert_eq!(watch.live(20, &[]), ["HostSilent firing host-a"]);
    assert_eq!(watch.live(3, &["host-a"]), ["HostSilent resolved host-a"]);
}

#[test]
fn a_receiver_that_hears_nobody_is_one_alert() {
    let names: Vec<String> = (0..1_000).map(|n| format!("host-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut watch = Watch::new();
    watch.live(60, &names);
    // Not all were heard in the same second.
    watch.now += 1;
    for name in &names[..500] {
        watch.sign(name, HeartbeatKind::Summary, 1);
    }
    assert_eq!(watch.live(60, &[]), ["HeartbeatReceiverBlind firing watch-1"]);
    // It hears again, all but one: that one has its 18 seconds from now on.
    assert_eq!(watch.live(16, &names[1..]), ["HeartbeatReceiverBlind resolved watch-1"]);
    assert_eq!(watch.live(10, &names[1..]), ["HostSilent firing host-0"]);
}

#[test]
fn a_receiver_that_is_gone_makes_nobody_silent() {
    let mut watch = Watch::new();
    watch.live(60, &["host-a", "host-b"]);
    assert_eq!(watch.nothing(17), Vec::<String>::new());
    assert_eq!(watch.nothing(27), ["HeartbeatReceiverBlind firing watch-1"]);
    // A new life of it: everybody has time to be heard.
    watch.now += 40;
    watch.run = "2";
    assert_eq!(watch.live(16, &["host-a"]), ["HeartbeatReceiverBlind resolved watch-1"]);
    assert_eq!(watch.live(8, &["host-a"]), ["HostSilent firing host-b"]);
}

#[test]
fn what_is_read_late_makes_nobody_silent() {
    let mut watch = Watch::new();
    watch.live(60, &["host-a", "host-b"]);
    // The processor was away for an hour while all went well, and reads it in a moment: event time is the receiver's.
    assert_eq!(watch.live(3_600, &["host-a", "host-b"]), Vec::<String>::new());
}

#[test]
fn every_example_is_taken() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/examples/host.heartbeats/v1");
    let mut files: Vec<_> = std::fs::read_dir(folder).expect("the examples").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut watch = Watch::new();
    let told = files.iter().flat_map(|path| {
        let example = serde_json::from_slice(&std::fs::read(path).expect("can be read")).expect("a heartbeat");
        watch.hand(&example)
    });
    assert_eq!(told.collect::<Vec<_>>(), [""; 0], "nobody in them has been silent for long");
}

#[test]
fn a_record_that_names_nobody_is_refused() {
    let mut watch = Watch::new();
    for name in [String::new(), "a\nb".into(), "n".repeat(300)] {
        let heartbeat =
            Heartbeat { name, receiver: "watch-1".into(), kind: HeartbeatKind::First, time: watch.time(), ..Heartbeat::default() };
        let (at, value) = (watch.instance.at().clone(), heartbeat.to_bytes().expect("fits the schema"));
        let record = Record {
            topic: &at.topic,
            partition: at.partition,
            offset: Offset(0),
            appended_at: schemas::EventTime::from_micros(heartbeat.time),
            key: None,
            value: Some(&value),
            headers: Headers::default(),
        };
        assert!(matches!(watch.instance.apply(record, &mut watch.out), Applied::Rejected(_)));
    }
}
