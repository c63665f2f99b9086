use std::collections::BTreeMap;

use schemas::topics::Cleanup;
use stream_core::NextOffset;
use stream_runtime::{
    bus::{Bus, TopicSpec, WorkerSpec},
    embedded::EmbeddedBus,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    publish::PublishBatch,
};
use tempfile::tempdir;

use crate::support::*;

const TABLE: &str = "table.v1";

fn table(retention_ms: i64, retention_bytes: u64) -> TopicSpec {
    TopicSpec { cleanup: Cleanup::Compact, retention_ms, retention_bytes, ..topic(TABLE, 1) }
}

type Entries = Vec<(u64, String, Option<String>)>;

fn read(bus: &EmbeddedBus) -> Entries {
    let limits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Default::default() };
    let mut gathered = Gathered::default();
    bus.read(&at(TABLE, 0), NextOffset(0), &limits, &mut gathered).unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    gathered.records().map(|(_, record)| (record.offset.0, text(record.key.unwrap()), record.value.map(text))).collect()
}

fn last_of_each(entries: &Entries) -> BTreeMap<String, (u64, Option<String>)> {
    entries.iter().map(|(offset, key, value)| (key.clone(), (*offset, value.clone()))).collect()
}

/// Writes each entry as a commit of its own; key 0 is deleted at the end.
fn write(bus: &EmbeddedBus, rounds: u64) -> Entries {
    let mut publisher = bus.publisher("s").unwrap();
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut batch = PublishBatch::default();
        for key in 0..50u64 {
            let value = format!("{round} {:x}", (round * 50 + key + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
            let value = (key != 0 || round + 1 < rounds).then_some(value);
            batch
                .push(&TABLE.into(), Some(format!("k{key}").as_bytes()), value.as_ref().map(|value| value.as_bytes()), Default::default())
                .unwrap();
            all.push((round * 50 + key, format!("k{key}"), value));
        }
        publisher.publish(&batch, b"").unwrap();
    }
    all
}

fn bytes(bus: &EmbeddedBus) -> u64 {
    bus.topics().unwrap()[0].partitions[0].bytes.unwrap()
}

#[test]
fn a_table_keeps_the_last_record_of_each_key_under_its_offset() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[table(0, 1 << 20)]).unwrap();
    let all = write(&bus, 200);
    let before = bytes(&bus);
    assert_eq!(bus.compact(), 1);
    assert!(bytes(&bus) < before / 2, "{} of {before}", bytes(&bus));
    let compacted = read(&bus);
    let mut expected = last_of_each(&all);
    assert_eq!(compacted.len(), compacted.iter().filter(|entry| all.contains(entry)).count(), "each stands as it was written");
    assert!(compacted.windows(2).all(|pair| pair[0].0 < pair[1].0));
    // The deletion is in the last segment, which was not compacted.
    assert_eq!(last_of_each(&compacted), expected);
    assert_eq!(bus.compact(), 0, "once is enough");
    drop(bus);

    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    assert_eq!(read(&bus), compacted);
    assert_eq!(bus.topics().unwrap()[0].partitions[0].next, NextOffset(10_000));
    // Grown again, it goes again; by then the deletion is old, and goes with the key.
    let mut batch = PublishBatch::default();
    let mut publisher = bus.publisher("s").unwrap();
    for n in 0..4_000 {
        let value = format!("{n} {:x}", (n + 7u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
        batch.clear();
        batch.push(&TABLE.into(), Some(b"k1"), Some(value.as_bytes()), Default::default()).unwrap();
        publisher.publish(&batch, b"").unwrap();
        expected.insert("k1".into(), (10_000 + n, Some(value)));
    }
    assert_eq!(bus.compact(), 1);
    expected.remove("k0");
    assert_eq!(last_of_each(&read(&bus)), expected);
}

#[test]
fn deletions_and_steps_between_stay_for_a_while() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[table(3_600_000, 64 << 20)]).unwrap();
    let all = write(&bus, 200);
    bus.compact();
    assert_eq!(read(&bus), all, "there is room, and all is young");
    drop(bus);
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[table(3_600_000, 64 << 10)]).unwrap();
    let all = write(&bus, 400);
    assert_eq!(bus.compact(), 1);
    assert!(read(&bus).len() < all.len(), "there is no room");
    assert_eq!(last_of_each(&read(&bus)), last_of_each(&all), "the deletion is young");
}

#[test]
fn a_reader_goes_on_through_a_compaction() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[topic(IN, 1), table(0, 1 << 20)]).unwrap();
    let all = write(&bus, 200);
    let spec = WorkerSpec { broadcasts: vec![TABLE.into()], ..worker("p") };
    let mut session = started(&bus, &spec);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.extend(gather(&mut *session).records().map(|(_, record)| record.offset.0).collect::<Vec<_>>());
    }
    assert_eq!(seen, (0..3_000).collect::<Vec<_>>());
    assert_eq!(bus.compact(), 1);
    loop {
        let gathered = gather(&mut *session);
        if gathered.records().len() == 0 {
            break;
        }
        seen.extend(gathered.records().map(|(_, record)| record.offset.0));
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]));
    assert!(last_of_each(&all).values().all(|(offset, _)| seen.contains(offset)));
}

#[test]
fn what_an_interrupted_compaction_left_is_cleared_away() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[table(0, 1 << 20)]).unwrap();
    write(&bus, 200);
    let log = directory.path().join("log").join(TABLE).join("0");
    let list = || {
        let mut all: Vec<_> = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all
    };
    let replaced: Vec<_> = list().into_iter().map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    assert_eq!(bus.compact(), 1);
    let compacted = (read(&bus), list());
    drop(bus);
    // As if the process had died before the replaced files were removed, and while the next compaction was writing.
    let (_, first) = &replaced[0];
    for (bytes, path) in replaced.iter().filter(|(_, path)| !path.exists()) {
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(first.with_extension("new"), b"half").unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    assert_eq!((read(&bus), list()), compacted);
}
