//! What the model promises of Kafka, seen through the bus's interface.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use schemas::EventTime;
use stream_core::{Headers, NextOffset, Outbox, Partition, TopicPartition};

use crate::{
    bus::{BatchLimits, Bus, BusError, CommitBatch, CommitError, Restoring, Session, StateWrite, WorkerSpec},
    gathered::{Gathered, PartitionEvent},
    mutation::{self, Mutation},
    publish::PublishBatch,
    sim::{
        Faults, Rng,
        client::{Client, SimBus, Stillness},
        cluster::Cluster,
        log::{Origin, Stored},
    },
};

const LIMITS: BatchLimits = BatchLimits { records_max: 1_000, bytes_max: 1 << 20, batch_time_max: Duration::ZERO, quiet: Duration::ZERO };

fn input() -> TopicPartition {
    TopicPartition::new(&"in.v1".into(), Partition(0))
}

/// A cluster with three records in one input partition.
fn cluster(faults: Faults) -> Arc<Mutex<Cluster>> {
    let cluster = Arc::new(Mutex::new(Cluster::new(Rng::new(7), Faults::NONE, EventTime(0))));
    let bus = bus(&cluster, "source");
    bus.0.cluster().create(&input().topic, 1);
    let mut publisher = bus.publisher("source").expect("a quiet cluster");
    let mut batch = PublishBatch::default();
    for value in [b"a", b"b", b"c"] {
        batch.push(&input().topic, None, Some(value), Headers::default()).expect("small");
    }
    publisher.publish(&batch, b"3").expect("a quiet cluster");
    bus.0.cluster().faults = faults;
    cluster
}

fn bus(cluster: &Arc<Mutex<Cluster>>, instance: &str) -> SimBus {
    SimBus(Client::new(cluster, Arc::new(Stillness), instance))
}

fn spec() -> WorkerSpec {
    WorkerSpec { processor: "toy".into(), inputs: vec![input().topic], broadcasts: Vec::new() }
}

/// A session that owns the partition and has read its state, if it could be read at once.
fn owner(bus: &SimBus) -> (Box<dyn Session>, Restoring) {
    let mut session = bus.open(&spec()).expect("a quiet cluster");
    session.gather(&LIMITS, &mut Gathered::default()).expect("a member");
    let restored = session.restore_step(&input()).expect("assigned");
    (session, restored)
}

fn commit(session: &mut dyn Session, value: &[u8]) -> Result<(), CommitError> {
    session.begin().expect("claimed");
    let state = [StateWrite { at: input(), key: "pos".into(), value: Some(value.to_vec()) }];
    session.commit(&CommitBatch { outputs: &Outbox::new("toy"), state: &state, positions: &[(input(), NextOffset(3))] })
}

fn image(value: &[u8]) -> Restoring {
    Restoring::Ready([("pos".to_string(), value.to_vec())].into())
}

#[test]
fn only_committed_records_are_gathered() {
    let cluster = cluster(Faults::NONE);
    let bus = bus(&cluster, "a");
    let (mut session, _) = owner(&bus);
    session.seek(&input(), NextOffset(0)).expect("assigned");
    session.resume(&input());
    let mut gathered = Gathered::default();
    let mut claim = bus.0.cluster().coordinator.initialise("open");
    for _ in 0..20 {
        session.gather(&LIMITS, &mut gathered).expect("a member");
        let mut cluster = bus.0.cluster();
        let transaction = cluster.coordinator.begin(&claim).expect("claimed");
        let record = Stored { key: None, value: None, headers: Vec::new(), appended_at: EventTime(0), origin: Origin::State };
        cluster.append(&claim, transaction, &input(), record).expect("open");
        claim = cluster.coordinator.initialise("open");
        cluster.deliver_markers(None);
    }
    let values: Vec<_> = gathered.records().map(|(_, record)| record.value.map(<[u8]>::to_vec)).collect();
    assert_eq!(values, [Some(b"a".to_vec()), Some(b"b".to_vec()), Some(b"c".to_vec())], "three committed, twenty aborted");
}

#[test]
fn an_heir_reads_the_state_only_when_the_markers_of_its_predecessor_are_there() {
    let cluster = cluster(Faults { late_marker: 1_000, ..Faults::NONE });
    let bus = bus(&cluster, "a");
    let (mut session, restored) = owner(&bus);
    assert_eq!(restored, Restoring::Ready(Default::default()));
    commit(&mut *session, b"3").expect("a member");
    session.close();

    let other = self::bus(&cluster, "b");
    let (mut heir, restored) = owner(&other);
    assert_eq!(restored, Restoring::Pending, "offsets and state are decided, but no partition knows");
    while other.0.cluster().deliver_marker() {}
    assert_eq!(heir.restore_step(&input()).expect("assigned"), image(b"3"));
    assert_eq!(heir.committed(&input()).expect("assigned"), Some(NextOffset(3)));
}

#[test]
fn a_process_of_the_same_name_fences_its_predecessor() {
    let cluster = cluster(Faults::NONE);
    let (mut zombie, _) = owner(&bus(&cluster, "a"));
    zombie.begin().expect("the first of this name");
    let (mut heir, _) = owner(&bus(&cluster, "a"));
    let state = [StateWrite { at: input(), key: "pos".into(), value: Some(b"old".to_vec()) }];
    let batch = CommitBatch { outputs: &Outbox::new("toy"), state: &state, positions: &[] };
    assert!(matches!(zombie.commit(&batch), Err(CommitError::Fenced(_))));
    assert!(matches!(zombie.gather(&LIMITS, &mut Gathered::default()), Err(BusError::Lost(_))));
    commit(&mut *heir, b"new").expect("the present owner");
    assert_eq!(heir.restore_step(&input()).expect("assigned"), image(b"new"));
}

/// A session whose member was evicted between processing and commit.
fn evicted(faults: Faults) -> Box<dyn Session> {
    let bus = bus(&cluster(faults), "a");
    let (session, _) = owner(&bus);
    bus.0.cluster().with_group("toy", |group, rng| {
        let members = group.members_of(|_| true);
        assert_eq!(members.len(), 1);
        members.into_iter().for_each(|member| group.remove(member, rng));
    });
    session
}

#[test]
fn an_evicted_member_cannot_commit_even_if_it_has_joined_anew() {
    for stale_membership in [0, 1_000] {
        let mut session = evicted(Faults { stale_membership, ..Faults::NONE });
        assert!(matches!(commit(&mut *session, b"stale"), Err(CommitError::Aborted(_))));
        let mut gathered = Gathered::default();
        session.gather(&LIMITS, &mut gathered).expect("joins anew");
        assert_eq!(gathered.events, [PartitionEvent::Revoked(input()), PartitionEvent::Assigned(input())]);
    }
}

/// Rare in the simulator, so it has a test of its own: the coordinator alone does not stop a stale owner.
#[test]
fn without_the_look_at_the_member_a_stale_owner_commits_as_the_member_that_it_has_become() {
    let mut session = evicted(Faults::NONE);
    mutation::set(Some(Mutation::MembershipReadAtCommit));
    let outcome = commit(&mut *session, b"stale");
    mutation::set(None);
    assert!(outcome.is_ok(), "the new member and generation are good: {outcome:?}");
}

#[test]
fn an_unknown_outcome_is_either() {
    let mut outcomes = [0, 0];
    for _ in 0..40 {
        let cluster = cluster(Faults { unknown: 1_000, ..Faults::NONE });
        let bus = bus(&cluster, "a");
        let draws = outcomes.iter().sum::<u64>();
        bus.0.cluster().rng = Rng::new(draws);
        let (mut session, _) = owner(&bus);
        assert!(matches!(commit(&mut *session, b"3"), Err(CommitError::Unknown(_))));
        let (_, restored) = owner(&bus);
        outcomes[usize::from(restored == image(b"3"))] += 1;
    }
    assert!(outcomes.iter().all(|seen| *seen > 5), "{outcomes:?}");
}
