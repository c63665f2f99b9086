use std::time::Duration;

use schemas::topics::Cleanup;
use stream_core::{NextOffset, Outbox};
use stream_runtime::{
    bus::{BatchLimits, Bus, BusError, CommitBatch, CommitError, Restoring, Session, StateWrite, TopicSpec, WorkerSpec},
    embedded::EmbeddedBus,
    gathered::{Gathered, PartitionEvent},
    inspect::Inspect,
    publish::PublishBatch,
};
use tempfile::tempdir;

use crate::support::*;

#[test]
fn a_session_starts_without_records_and_reads_from_where_it_seeks() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    publish(&mut *bus.publisher("s").unwrap(), IN, (0..10).map(|n| n.to_string()));
    let mut session = bus.open(&worker("p")).unwrap();
    let first = gather(&mut *session);
    assert_eq!((first.len(), first.events), (0, vec![PartitionEvent::Assigned(at(IN, 0))]));
    assert!(gather(&mut *session).is_empty(), "a partition without a position is not read");
    session.seek(&at(IN, 0), NextOffset(7)).unwrap();
    assert!(gather(&mut *session).is_empty(), "a paused partition is not read");
    session.resume(&at(IN, 0));
    let gathered = gather(&mut *session);
    assert_eq!(values(&gathered), ["7", "8", "9"]);
    assert_eq!(gathered.events, [PartitionEvent::AtEnd(at(IN, 0))]);
    assert_eq!(session.end(&at(IN, 0)), Some(NextOffset(10)));
}

#[test]
fn the_end_is_told_once_and_again_after_new_records() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut publisher = bus.publisher("s").unwrap();
    let mut session = started(&bus, &worker("p"));
    let end = [PartitionEvent::AtEnd(at(IN, 0))];
    assert_eq!(gather(&mut *session).events, end);
    assert_eq!(gather(&mut *session).events, []);
    publish(&mut *publisher, IN, ["x".to_string()]);
    let gathered = gather(&mut *session);
    assert_eq!((values(&gathered), gathered.events), (vec!["x".to_string()], end.to_vec()));
    assert_eq!(gather(&mut *session).events, []);
}

#[test]
fn records_keep_key_headers_and_time_on_their_way() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut batch = PublishBatch::default();
    batch.push(&IN.into(), Some(b"k"), None, headers(&[("a", "1"), ("a", "2")]).as_headers()).unwrap();
    batch.push(&IN.into(), None, Some(b""), Default::default()).unwrap();
    bus.publisher("s").unwrap().publish(&batch, b"").unwrap();
    let mut session = started(&bus, &worker("p"));
    let gathered = gather(&mut *session);
    let records: Vec<_> = gathered.records().map(|(_, record)| record).collect();
    assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), None));
    assert_eq!(records[0].headers.iter().map(|(_, value)| value.unwrap()).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!((records[1].key, records[1].value, records[1].headers.iter().count()), (None, Some(&b""[..]), 0));
    assert!(records[0].appended_at.0 > 0 && records[0].appended_at <= records[1].appended_at);
}

#[test]
fn a_commit_shows_outputs_state_and_position_together() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    publish(&mut *bus.publisher("s").unwrap(), IN, ["a".to_string(), "b".to_string()]);
    let mut session = started(&bus, &worker("copier"));
    let gathered = gather(&mut *session);
    assert_eq!(read_values(&bus, OUT), Vec::<String>::new());
    commit_copies(&mut *session, &gathered).unwrap();
    assert_eq!(read_values(&bus, OUT), ["a", "b"]);
    assert_eq!(session.committed(&at(IN, 0)).unwrap(), Some(NextOffset(2)));
    let Restoring::Ready(image) = session.restore_step(&at(IN, 0)).unwrap() else { panic!("a small state takes one step") };
    assert_eq!(image.into_iter().collect::<Vec<_>>(), [("pos".to_string(), b"2".to_vec())]);
}

#[test]
fn an_abort_leaves_no_trace() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut session = started(&bus, &worker("copier"));
    session.begin().unwrap();
    session.abort().unwrap();
    assert_eq!(read_values(&bus, OUT), Vec::<String>::new());
    assert!(bus.states().unwrap().is_empty());
}

#[test]
fn a_large_state_is_restored_in_slices() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut session = started(&bus, &worker("p"));
    let chunk = |n: usize| StateWrite { at: at(IN, 0), key: format!("chunk/s/{n:03}"), value: Some(vec![n as u8; 512 << 10]) };
    let state: Vec<_> = (0..40).map(chunk).collect();
    session.begin().unwrap();
    session.commit(&CommitBatch { outputs: &Outbox::new("p"), state: &state, positions: &[] }).unwrap();
    let mut slices = 1;
    let image = loop {
        match session.restore_step(&at(IN, 0)).unwrap() {
            Restoring::Pending => slices += 1,
            Restoring::Ready(image) => break image,
        }
    };
    assert!(slices > 1);
    assert_eq!(image.len(), 40);
    assert!(state.iter().all(|write| image.get(&write.key) == write.value.as_ref()));
}

#[test]
fn a_state_key_is_overwritten_deleted_and_seen_by_its_instance_only() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[topic(IN, 12)]).unwrap();
    let mut session = started(&bus, &worker("p"));
    let mut write = |list: &[(u32, &str, Option<&str>)]| {
        let write = |(partition, key, value): &(u32, &str, Option<&str>)| StateWrite {
            at: at(IN, *partition),
            key: (*key).into(),
            value: value.map(|value| value.as_bytes().to_vec()),
        };
        let state: Vec<_> = list.iter().map(write).collect();
        session.begin().unwrap();
        session.commit(&CommitBatch { outputs: &Outbox::new("p"), state: &state, positions: &[] }).unwrap();
    };
    write(&[(1, "a", Some("1")), (1, "b", Some("2")), (11, "a", Some("3"))]);
    write(&[(1, "a", Some("4")), (1, "b", None), (1, "c", Some("5")), (1, "c", None)]);
    let state = |partition| bus.state("p", &at(IN, partition)).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(state(1), [("a".to_string(), b"4".to_vec())]);
    assert_eq!(state(11), [("a".to_string(), b"3".to_vec())]);
    assert_eq!(state(2), []);
}

#[test]
fn sessions_of_a_processor_share_the_partitions_and_hand_them_over() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[topic(IN, 2), topic(OUT, 1)]).unwrap();
    let mut one = started(&bus, &worker("p"));
    let mut two = bus.open(&worker("p")).unwrap();
    assert!(gather(&mut *two).is_empty(), "the first session has not given anything up yet");
    let gathered = gather(&mut *one);
    assert_eq!(gathered.events[0], PartitionEvent::Revoked(at(IN, 1)));
    assert_eq!(assigned(&gather(&mut *two)), [at(IN, 1)]);
    // The first session may not commit for what it gave up, the second may.
    let position = [(at(IN, 1), NextOffset(0))];
    let commit = |session: &mut dyn Session| {
        session.begin().unwrap();
        session.commit(&CommitBatch { outputs: &Outbox::new("p"), state: &[], positions: &position })
    };
    assert!(matches!(commit(&mut *one), Err(CommitError::Fenced(_))));
    commit(&mut *two).unwrap();
    two.close();
    assert_eq!(assigned(&gather(&mut *one)), [at(IN, 1)]);
}

#[test]
fn every_session_reads_the_broadcasts() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    bus.ensure_topics(&[TopicSpec { cleanup: Cleanup::Compact, ..topic("table.v1", 1) }]).unwrap();
    publish(&mut *bus.publisher("s").unwrap(), "table.v1", ["t".to_string()]);
    let spec = WorkerSpec { broadcasts: vec!["table.v1".into()], ..worker("p") };
    let (mut one, mut two) = (started(&bus, &spec), started(&bus, &spec));
    assert_eq!(values(&gather(&mut *one)), ["t"]);
    assert_eq!(values(&gather(&mut *two)), ["t"]);
}

#[test]
fn a_gather_is_woken_by_a_publication() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut session = started(&bus, &worker("p"));
    let limits = BatchLimits { quiet: Duration::from_secs(60), batch_time_max: Duration::ZERO, ..LIMITS };
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut gathered = Gathered::default();
            session.gather(&limits, &mut gathered).unwrap();
            values(&gathered)
        });
        publish(&mut *bus.publisher("s").unwrap(), IN, ["x".to_string()]);
        assert_eq!(reader.join().unwrap(), ["x"]);
    });
}

#[test]
fn batches_end_at_their_limits_and_lose_nothing() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let all: Vec<_> = (0..2_000).map(|n| format!("{n:0100}")).collect();
    for some in all.chunks(300) {
        publish(&mut *bus.publisher("s").unwrap(), IN, some.iter().cloned());
    }
    let mut session = started(&bus, &worker("p"));
    let limits = BatchLimits { records_max: 7, ..LIMITS };
    let mut seen = Vec::new();
    while seen.len() < 700 {
        let mut gathered = Gathered::default();
        session.gather(&limits, &mut gathered).unwrap();
        assert!(gathered.len() <= 7);
        seen.extend(values(&gathered));
    }
    let limits = BatchLimits { bytes_max: 1_000, ..LIMITS };
    while seen.len() < 2_000 {
        let mut gathered = Gathered::default();
        session.gather(&limits, &mut gathered).unwrap();
        assert!(gathered.bytes() < 1_000 + 100 && gathered.records().len() > 0);
        seen.extend(values(&gathered));
    }
    assert_eq!(seen, all);
}

#[test]
fn a_state_is_reset_only_when_nobody_uses_it() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    publish(&mut *bus.publisher("s").unwrap(), IN, ["a".to_string()]);
    let mut session = started(&bus, &worker("copier"));
    let gathered = gather(&mut *session);
    commit_copies(&mut *session, &gathered).unwrap();
    assert!(bus.reset_state("copier").unwrap_err().to_string().contains("running"));
    session.close();
    assert_eq!(bus.reset_state("copier").unwrap(), 1);
    assert!(bus.states().unwrap().is_empty());
    let mut session = started(&bus, &worker("copier"));
    assert_eq!(session.committed(&at(IN, 0)).unwrap(), Some(NextOffset(1)), "the position of the group stays");
}

#[test]
fn another_shape_of_a_topic_is_refused() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let error = bus.ensure_topics(&[topic(IN, 2)]).unwrap_err().to_string();
    assert!(error.contains("in.v1 has 1 partitions") && error.contains("configured are 2"), "{error}");
    bus.ensure_topics(&[TopicSpec { retention_bytes: 1 << 20, ..topic(IN, 1) }]).unwrap();
    assert!(bus.ensure_topics(&[topic("../x", 1)]).unwrap_err().to_string().contains("topic name"));
    assert!(bus.ensure_topics(&[topic("x", 0)]).is_err());
}

#[test]
fn an_output_to_no_topic_fails_the_commit() {
    let directory = tempdir().unwrap();
    let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
    bus.ensure_topics(&[topic(IN, 1)]).unwrap();
    publish(&mut *bus.publisher("s").unwrap(), IN, ["a".to_string()]);
    let mut session = started(&bus, &worker("copier"));
    let gathered = gather(&mut *session);
    let error = commit_copies(&mut *session, &gathered).unwrap_err();
    assert!(matches!(&error, CommitError::Fatal(text) if text.contains("out.v1 does not exist")), "{error}");
}

#[test]
fn a_session_is_lost_when_the_bus_closes() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut session = started(&bus, &worker("p"));
    bus.close();
    assert!(matches!(session.gather(&LIMITS, &mut Gathered::default()), Err(BusError::Lost(_))));
    assert!(bus.open(&worker("p")).is_err());
}
