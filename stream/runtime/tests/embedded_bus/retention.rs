use std::time::Duration;

use schemas::topics::Cleanup;
use stream_core::NextOffset;
use stream_runtime::{
    bus::{Bus, TopicSpec},
    embedded::{EmbeddedBus, EmbeddedConfig},
    gathered::PartitionEvent,
    inspect::{Inspect, PartitionStatus},
};
use tempfile::tempdir;

use crate::support::*;

/// Numbers that do not compress well, so that bytes on disk follow bytes published.
fn noise(from: u64, to: u64) -> impl Iterator<Item = String> {
    let mix = |n: u64| n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (from..to).map(move |n| {
        format!("{n} {}", (0..16).fold(String::new(), |text, round| text + &format!("{:016x}", mix(n * 16 + round) ^ mix(round))))
    })
}

fn status(bus: &EmbeddedBus, name: &str) -> PartitionStatus {
    let topics = bus.topics().unwrap();
    topics.iter().find(|topic| topic.name.as_str() == name).unwrap().partitions[0]
}

fn fill(bus: &EmbeddedBus, topic: &str, records: u64) {
    let mut publisher = bus.publisher(topic).unwrap();
    for from in (0..records).step_by(100) {
        publish(&mut *publisher, topic, noise(from, from + 100));
    }
    settle(bus);
}

#[test]
fn a_topic_keeps_its_last_bytes_and_survives_reopening() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[TopicSpec { retention_bytes: 1 << 20, ..topic(IN, 1) }]).unwrap();
    fill(&bus, IN, 20_000);
    drop(bus);
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    let PartitionStatus { start, next, bytes } = status(&bus, IN);
    assert!((700 << 10..=1 << 20).contains(&bytes.unwrap()), "{bytes:?}");
    assert_eq!(next, NextOffset(20_000));
    let kept = read_from(&bus, &at(IN, 0), 0);
    assert_eq!(kept.len() as u64, 20_000 - start.0);
    assert_eq!(kept[0].0, start.0);
    assert_eq!(kept.into_iter().map(|(_, value)| value).collect::<Vec<_>>(), noise(start.0, 20_000).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_was_overtaken_is_told_what_it_missed() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[TopicSpec { retention_bytes: 512 << 10, ..topic(IN, 1) }]).unwrap();
    let mut session = started(&bus, &worker("p"));
    assert!(!session.is_retention_near(&at(IN, 0), NextOffset(0)));
    fill(&bus, IN, 1_800);
    assert_eq!(status(&bus, IN).start, NextOffset(0));
    assert!(session.is_retention_near(&at(IN, 0), NextOffset(0)), "three quarters are full");
    assert!(!session.is_retention_near(&at(IN, 0), NextOffset(1_799)));
    fill_more(&bus, 5_000);
    let start = status(&bus, IN).start;
    let gathered = gather(&mut *session);
    assert_eq!(gathered.events[0], PartitionEvent::Trimmed { at: at(IN, 0), from: NextOffset(0), to: start });
    assert_eq!(gathered.records().next().unwrap().1.offset.next(), NextOffset(start.0 + 1));
}

fn fill_more(bus: &EmbeddedBus, records: u64) {
    let mut publisher = bus.publisher("more").unwrap();
    for from in (0..records).step_by(100) {
        publish(&mut *publisher, IN, noise(from, from + 100));
    }
    settle(bus);
}

#[test]
fn records_that_are_too_old_go_even_if_nothing_follows() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[TopicSpec { retention_ms: 50, ..topic(IN, 1) }]).unwrap();
    let mut publisher = bus.publisher("s").unwrap();
    publish(&mut *publisher, IN, ["old".to_string()]);
    // Retention looks once a second; nothing announces it.
    let gone = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        status(&bus, IN).start == NextOffset(1)
    });
    assert!(gone);
    publish(&mut *publisher, IN, ["new".to_string()]);
    assert_eq!(read_from(&bus, &at(IN, 0), 0), [(1, "new".to_string())]);
    drop((publisher, bus));
    assert_eq!(status(&EmbeddedBus::open(directory.path(), config()).unwrap(), IN).next, NextOffset(2));
}

#[test]
fn the_total_cap_takes_data_first_and_never_alerts_or_tables() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), EmbeddedConfig { bytes_max: 2 << 20, ..config() }).unwrap();
    let names = ["logs.raw.v1", "other.v1", "logs.raw.v1.dlq", "prod.alerts.v1"];
    let mut specs: Vec<_> = names.iter().map(|name| topic(name, 1)).collect();
    specs.push(TopicSpec { cleanup: Cleanup::Compact, ..topic("table.v1", 1) });
    bus.ensure_topics(&specs).unwrap();
    for name in ["prod.alerts.v1", "table.v1", "logs.raw.v1.dlq"] {
        fill(&bus, name, 1_500);
    }
    for name in ["logs.raw.v1", "other.v1"] {
        fill(&bus, name, 6_000);
    }
    for name in ["prod.alerts.v1", "table.v1", "logs.raw.v1.dlq"] {
        assert_eq!(status(&bus, name).start, NextOffset(0), "{name}");
    }
    assert!(status(&bus, "logs.raw.v1").start > NextOffset(0));
    let total: u64 = bus.topics().unwrap().iter().map(|topic| topic.partitions[0].bytes.unwrap()).sum();
    assert!(total <= (2 << 20) + (64 << 10), "{total}");
    // With no data left to give, dead letters go; alerts make the bus larger than its cap rather than vanish.
    fill(&bus, "prod.alerts.v1", 6_000);
    assert_eq!(status(&bus, "prod.alerts.v1").start, NextOffset(0));
    assert!(status(&bus, "logs.raw.v1.dlq").start > NextOffset(0));
}
