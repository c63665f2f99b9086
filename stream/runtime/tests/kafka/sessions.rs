use std::time::Duration;

use rdkafka::{
    consumer::Consumer as _,
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
};
use schemas::topics::Cleanup;
use stream_core::{NextOffset, Outbox};
use stream_runtime::{
    bus::{Bus, BusError, CommitBatch, CommitError, Session, StateWrite, TopicSpec, WorkerSpec},
    config::BusSettings,
    gathered::{Gathered, PartitionEvent},
    inspect::Inspect,
    kafka::KafkaBus,
    sim::{self, Mutation},
};

use crate::support::*;

fn write(at: &stream_core::TopicPartition, key: &str, value: Option<&[u8]>) -> StateWrite {
    StateWrite { at: at.clone(), key: key.into(), value: value.map(<[u8]>::to_vec) }
}

fn commit_state(session: &mut dyn Session, state: &[StateWrite]) -> Result<(), CommitError> {
    session.begin().unwrap();
    session.commit(&CommitBatch { outputs: &Outbox::new("copier"), state, positions: &[] })
}

#[test]
fn a_session_reads_nothing_before_it_was_told_where() {
    let Some(on) = Installation::new("positions", 1) else { return };
    let bus = on.bus("one");
    publish(&bus, IN, 0..10);
    let mut session = bus.open(&worker("p")).unwrap();
    let gathered = gather_until(&mut *session, |gathered| !assigned(gathered).is_empty());
    assert_eq!((gathered.len(), gathered.events), (0, vec![PartitionEvent::Assigned(at(IN, 0))]));
    let nothing = |session: &mut dyn Session| {
        let mut gathered = Gathered::default();
        (0..5).for_each(|_| session.gather(&LIMITS, &mut gathered).unwrap());
        gathered.is_empty()
    };
    assert!(nothing(&mut *session), "a partition without a position is not read");
    session.seek(&at(IN, 0), NextOffset(7)).unwrap();
    assert!(nothing(&mut *session), "a paused partition is not read");
    session.resume(&at(IN, 0));
    let end = [PartitionEvent::AtEnd(at(IN, 0))];
    let gathered = gather_until(&mut *session, |gathered| gathered.events == end);
    assert_eq!(values(&gathered), ["7", "8", "9"]);
    assert_eq!(session.end(&at(IN, 0)), Some(NextOffset(10)));
    assert!(nothing(&mut *session), "the end is told once");
    session.pause(&at(IN, 0));
    publish(&bus, IN, [10, 11]);
    assert!(nothing(&mut *session));
    session.resume(&at(IN, 0));
    // Each publication is a transaction, whose mark takes an offset.
    let offsets: Vec<_> = gather_records(&mut *session, 2).records().map(|(_, record)| record.offset.0).collect();
    assert_eq!(offsets, [11, 12]);
}

#[test]
fn a_commit_shows_outputs_state_and_position_together_to_the_next_session() {
    let Some(on) = Installation::new("together", 1) else { return };
    let bus = on.bus("one");
    publish(&bus, IN, ["a", "b"]);
    let mut session = started(&bus, &worker("copier"), 1);
    let gathered = gather_records(&mut *session, 2);
    assert!(read_now(&bus, &at(OUT, 0)).is_empty());
    commit_copies(&mut *session, &gathered).unwrap();
    assert_eq!(read_values(&bus, &at(OUT, 0), 2), ["a", "b"]);
    session.close();
    let mut session = on.bus("two").open(&worker("copier")).unwrap();
    gather_until(&mut *session, |gathered| assigned(gathered) == [at(IN, 0)]);
    let image = restore(&mut *session, &at(IN, 0));
    assert_eq!(image.into_iter().collect::<Vec<_>>(), [("pos".to_string(), b"2".to_vec())]);
    assert_eq!(session.committed(&at(IN, 0)).unwrap(), Some(NextOffset(2)));
    assert_eq!(session.committed(&at(IN, 0)).unwrap(), Some(NextOffset(2)), "asking changes nothing");
}

#[test]
fn an_abort_leaves_no_trace() {
    let Some(on) = Installation::new("abort", 1) else { return };
    let bus = on.bus("one");
    publish(&bus, IN, ["a"]);
    let mut session = started(&bus, &worker("copier"), 1);
    gather_records(&mut *session, 1);
    session.begin().unwrap();
    session.abort().unwrap();
    assert!(read_now(&bus, &at(OUT, 0)).is_empty());
    assert!(bus.states().unwrap().is_empty());
}

/// What a foreign producer aborts is read by nobody, and what it leaves open is waited for.
#[test]
fn only_committed_records_are_gathered() {
    let Some(on) = Installation::new("committed-only", 1) else { return };
    let bus = on.bus("one");
    let foreign: ThreadedProducer<DefaultProducerContext> = on.client().set("transactional.id", "committed-only.foreign").create().unwrap();
    foreign.init_transactions(PATIENCE).unwrap();
    let input = format!("{}{IN}", on.topic_prefix());
    let send = |value: &str| {
        foreign.send(BaseRecord::<(), str>::to(&input).partition(0).payload(value)).unwrap();
        foreign.flush(PATIENCE).unwrap();
    };
    let mut session = started(&bus, &worker("p"), 1);
    foreign.begin_transaction().unwrap();
    send("aborted");
    foreign.abort_transaction(PATIENCE).unwrap();
    foreign.begin_transaction().unwrap();
    send("first");
    publish(&bus, IN, ["second"]);
    let mut gathered = Gathered::default();
    (0..10).for_each(|_| session.gather(&LIMITS, &mut gathered).unwrap());
    assert_eq!(values(&gathered), Vec::<String>::new(), "an open transaction holds back what follows it");
    foreign.commit_transaction(PATIENCE).unwrap();
    assert_eq!(values(&gather_records(&mut *session, 2)), ["first", "second"]);
}

#[test]
fn a_large_state_is_restored_in_slices() {
    let Some(on) = Installation::new("slices", 1) else { return };
    let bus = on.bus("one");
    let mut session = started(&bus, &worker("p"), 1);
    let state: Vec<_> = (0..40).map(|n| write(&at(IN, 0), &format!("chunk/s/{n:03}"), Some(&vec![n as u8; 512 << 10]))).collect();
    commit_state(&mut *session, &state).unwrap();
    let image = restore(&mut *session, &at(IN, 0));
    assert_eq!(image.len(), 40);
    assert!(state.iter().all(|write| image.get(&write.key) == write.value.as_ref()));
}

#[test]
fn a_state_key_is_overwritten_deleted_and_seen_by_its_instance_only() {
    let Some(on) = Installation::new("state-keys", 12) else { return };
    let bus = on.bus("one");
    let mut session = started(&bus, &worker("p"), 12);
    let (one, eleven) = (at(IN, 1), at(IN, 11));
    let first = [write(&one, "a", Some(b"1")), write(&one, "b", Some(b"2")), write(&eleven, "a", Some(b"3"))];
    commit_state(&mut *session, &first).unwrap();
    let second = [write(&one, "a", Some(b"4")), write(&one, "b", None), write(&one, "c", Some(b"5")), write(&one, "c", None)];
    commit_state(&mut *session, &second).unwrap();
    let state = |partition| bus.state("p", &at(IN, partition)).unwrap().into_iter().collect::<Vec<_>>();
    eventually(|| state(1).len() == 1);
    assert_eq!(state(1), [("a".to_string(), b"4".to_vec())]);
    assert_eq!(state(11), [("a".to_string(), b"3".to_vec())]);
    assert_eq!(state(2), []);
    assert_eq!(restore(&mut *session, &one).into_iter().collect::<Vec<_>>(), state(1));
}

/// What a successor restores whose predecessor has a transaction under way that commits a moment later.
fn restored_while_undecided(on: &Installation, mutation: Option<Mutation>) -> Vec<u8> {
    let bus = on.bus("one");
    let mut session = started(&bus, &worker("p"), 1);
    commit_state(&mut *session, &[write(&at(IN, 0), "pos", Some(b"1"))]).unwrap();
    eventually(|| !bus.states().unwrap().is_empty());
    session.close();
    drop(session);
    let id = format!("{}.former", on.name);
    let former: ThreadedProducer<DefaultProducerContext> = on.client().set("transactional.id", id).create().unwrap();
    former.init_transactions(PATIENCE).unwrap();
    former.begin_transaction().unwrap();
    let (log, key) = (format!("{}{}.p.state", on.topic_prefix(), on.name), format!("{}/pos", at(IN, 0)));
    former.send(BaseRecord::to(&log).partition(0).key(&key).payload("2")).unwrap();
    former.flush(PATIENCE).unwrap();
    let mut session = bus.open(&worker("p")).unwrap();
    gather_until(&mut *session, |gathered| !assigned(gathered).is_empty());
    let commits = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1_500));
        former.commit_transaction(PATIENCE).unwrap();
    });
    sim::mutate(mutation);
    let image = restore(&mut *session, &at(IN, 0));
    sim::mutate(None);
    commits.join().unwrap();
    image["pos"].clone()
}

#[test]
fn a_restore_waits_for_what_is_still_undecided() {
    let Some(on) = Installation::new("undecided", 1) else { return };
    assert_eq!(restored_while_undecided(&on, None), b"2");
}

#[test]
fn reading_to_the_last_stable_offset_would_miss_it() {
    let Some(on) = Installation::new("undecided-mutant", 1) else { return };
    assert_eq!(restored_while_undecided(&on, Some(Mutation::StateReadToLastStable)), b"1");
}

#[test]
fn sessions_share_the_partitions_and_hand_them_over() {
    let Some(on) = Installation::new("hand-over", 2) else { return };
    let revoked = |gathered: &Gathered| -> Vec<PartitionEvent> {
        gathered.events.iter().filter(|event| matches!(event, PartitionEvent::Revoked(_))).cloned().collect()
    };
    let mut one = started(&on.bus("one"), &worker("p"), 2);
    let mut two = on.bus("two").open(&worker("p")).unwrap();
    let given_up = gather_both(&mut *one, &mut *two, |one, two| !revoked(one).is_empty() && !assigned(two).is_empty());
    let moved = assigned(&given_up.1).remove(0);
    let revoked = revoked(&given_up.0);
    assert_eq!(revoked, [PartitionEvent::Revoked(moved.clone())], "only what goes to the other is given up");
    take_over(&mut *two, &moved);
    // The first may not commit for what it gave up, the second may.
    let (gone, position) = ([write(&moved, "a", Some(b"1"))], [(moved.clone(), NextOffset(0))]);
    let commit = |session: &mut dyn Session| {
        session.begin().unwrap();
        session.commit(&CommitBatch { outputs: &Outbox::new("p"), state: &gone, positions: &position })
    };
    let refused = commit(&mut *one).unwrap_err();
    assert!(matches!(&refused, CommitError::Aborted(why) if why.contains("not assigned")), "{refused}");
    commit(&mut *two).unwrap();
    two.close();
    let back = gather_until(&mut *one, |gathered| !assigned(gathered).is_empty());
    assert_eq!(assigned(&back), [moved]);
}

/// Gathers with both until that suffices: a rebalance needs every member.
fn gather_both(one: &mut dyn Session, two: &mut dyn Session, enough: impl Fn(&Gathered, &Gathered) -> bool) -> (Gathered, Gathered) {
    let mut both = (Gathered::default(), Gathered::default());
    for _ in 0..2_000 {
        one.gather(&LIMITS, &mut both.0).unwrap();
        two.gather(&LIMITS, &mut both.1).unwrap();
        if enough(&both.0, &both.1) {
            return both;
        }
    }
    panic!("the group did not settle: {:?} and {:?}", both.0.events, both.1.events)
}

/// Who was not polled for longer than `max.poll.interval.ms` has an heir, and may not commit what it processed. It has no name
/// of its own here: the broker would refuse a static member that was replaced.
#[test]
fn a_member_that_slept_too_long_may_not_commit() {
    let Some(on) = Installation::new("sleeper", 1) else { return };
    let timeouts = [("session.timeout.ms", "6000"), ("max.poll.interval.ms", "6000"), ("transaction.timeout.ms", "5000")];
    let bus = |instance: &str| on.bus_of(BusSettings { instance: instance.into(), static_membership: false, ..on.settings() }, timeouts);
    let sleepers = bus("sleeper");
    publish(&sleepers, IN, ["a"]);
    let mut sleeper = started(&sleepers, &worker("copier"), 1);
    let gathered = gather_records(&mut *sleeper, 1);
    let mut heir = bus("heir").open(&worker("copier")).unwrap();
    gather_until(&mut *heir, |gathered| !assigned(gathered).is_empty());
    take_over(&mut *heir, &at(IN, 0));
    let of_heir = gather_records(&mut *heir, 1);
    commit_copies(&mut *heir, &of_heir).unwrap();
    let refused = commit_copies(&mut *sleeper, &gathered).unwrap_err();
    assert!(matches!(refused, CommitError::Aborted(_)), "{refused}");
    assert_eq!(read_values(&sleepers, &at(OUT, 0), 1), ["a"]);
}

#[test]
fn every_session_reads_the_broadcasts() {
    let Some(on) = Installation::new("broadcasts", 1) else { return };
    let (one, two) = (on.bus("one"), on.bus("two"));
    one.ensure_topics(&[TopicSpec { cleanup: Cleanup::Compact, ..topic("table.v1", 1) }]).unwrap();
    publish(&one, "table.v1", ["t"]);
    let spec = WorkerSpec { broadcasts: vec!["table.v1".into()], ..worker("p") };
    let read = |bus: &KafkaBus| {
        let mut session = bus.open(&spec).unwrap();
        session.seek(&at("table.v1", 0), NextOffset(0)).unwrap();
        session.resume(&at("table.v1", 0));
        let gathered = gather_records(&mut *session, 1);
        assert!(gathered.events.contains(&PartitionEvent::Assigned(at("table.v1", 0))));
        (values(&gathered), session)
    };
    let (first, second) = (read(&one), read(&two));
    assert_eq!((&first.0[..], &second.0[..]), (&["t".to_string()][..], &["t".to_string()][..]));
}

#[test]
fn what_retention_removed_before_it_was_read_is_told() {
    let Some(on) = Installation::new("trimmed", 1) else { return };
    let bus = on.bus("one");
    publish(&bus, IN, 0..5);
    publish(&bus, IN, 5..8);
    delete_records(&on, 0, 6);
    let mut session = bus.open(&worker("p")).unwrap();
    gather_until(&mut *session, |gathered| !assigned(gathered).is_empty());
    restore(&mut *session, &at(IN, 0));
    session.seek(&at(IN, 0), NextOffset(2)).unwrap();
    session.resume(&at(IN, 0));
    let gathered = gather_records(&mut *session, 3);
    assert_eq!(gathered.events[0], PartitionEvent::Trimmed { at: at(IN, 0), from: NextOffset(2), to: NextOffset(6) });
    assert_eq!(values(&gathered), ["5", "6", "7"]);
}

/// Retention as an administrator makes it: the log begins at `before`.
fn delete_records(on: &Installation, partition: i32, before: i64) {
    let admin: rdkafka::admin::AdminClient<_> = on.client().create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(&format!("{}{IN}", on.topic_prefix()), partition, rdkafka::Offset::Offset(before)).unwrap();
    futures_executor::block_on(admin.delete_records(&list, &rdkafka::admin::AdminOptions::new())).unwrap();
}

#[test]
fn a_topic_that_is_shorter_than_what_was_read_is_another_topic() {
    let Some(on) = Installation::new("shorter", 1) else { return };
    let bus = on.bus("one");
    publish(&bus, IN, ["a"]);
    let mut session = started(&bus, &worker("p"), 1);
    session.seek(&at(IN, 0), NextOffset(100)).unwrap();
    let error = session.gather(&LIMITS, &mut Gathered::default()).unwrap_err();
    assert!(matches!(&error, BusError::Fatal(why) if why.contains("ends at 2") && why.contains("before 100")), "{error}");
}

#[test]
fn a_snapshot_is_due_when_its_record_is_half_as_old_as_retention_allows() {
    let Some(on) = Installation::empty("retention") else { return };
    let bus = on.bus("one");
    bus.ensure_topics(&[TopicSpec { retention_ms: 2_000, ..topic(IN, 1) }, topic("long.v1", 1)]).unwrap();
    publish(&bus, IN, ["a"]);
    publish(&bus, "long.v1", ["a"]);
    let inputs = vec![IN.into(), "long.v1".into()];
    let mut session = started(&bus, &WorkerSpec { inputs, ..worker("p") }, 2);
    gather_records(&mut *session, 2);
    for topic in [IN, "long.v1"] {
        session.is_retention_near(&at(topic, 0), NextOffset(0));
    }
    std::thread::sleep(Duration::from_millis(1_100));
    assert!(session.is_retention_near(&at(IN, 0), NextOffset(0)));
    assert!(!session.is_retention_near(&at("long.v1", 0), NextOffset(0)), "an hour is not half over");
    assert!(!session.is_retention_near(&at(IN, 0), NextOffset(1)), "after a snapshot the time begins anew");
}

#[test]
fn an_output_to_no_topic_fails_the_commit_and_leaves_no_trace() {
    let Some(on) = Installation::empty("no-output") else { return };
    let bus = on.bus("one");
    bus.ensure_topics(&[topic(IN, 1)]).unwrap();
    publish(&bus, IN, ["a"]);
    let mut session = started(&bus, &worker("copier"), 1);
    let gathered = gather_records(&mut *session, 1);
    let error = commit_copies(&mut *session, &gathered).unwrap_err();
    assert!(matches!(&error, CommitError::Fatal(text) if text.contains("no topic out.v1")), "{error}");
    assert!(bus.states().unwrap().is_empty());
    // Positions of a group are its own property, whoever looks.
    let observer: rdkafka::consumer::BaseConsumer = on.client().set("group.id", "no-output.copier").create().unwrap();
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition(&format!("{}{IN}", on.topic_prefix()), 0);
    let committed = observer.committed_offsets(list, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), rdkafka::Offset::Invalid);
}

#[test]
fn a_session_of_a_missing_topic_is_refused_by_name() {
    let Some(on) = Installation::empty("missing") else { return };
    let Err(error) = on.bus("one").open(&worker("p")) else { panic!("the topic is missing") };
    assert!(matches!(&error, BusError::Fatal(why) if why.contains("no topic in.v1")), "{error}");
}
