use std::time::{Duration, Instant};

use stream_core::NextOffset;
use stream_runtime::{
    bus::Bus,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
};

use crate::support::*;

const ALL: ReadLimits = ReadLimits { records_max: usize::MAX, bytes_max: usize::MAX, wait: Duration::ZERO };

#[test]
fn topics_are_those_of_the_installation_with_their_ends() {
    let Some(on) = Installation::new("listed", 2) else { return };
    let bus = on.bus("one");
    publish(&bus, IN, ["a", "b"]);
    let mut session = started(&bus, &worker("copier"), 2);
    let gathered = gather_records(&mut *session, 2);
    commit_copies(&mut *session, &gathered).unwrap();
    eventually(|| bus.topics().unwrap().iter().all(|topic| topic.partitions.iter().any(|partition| partition.next.0 >= 3)));
    let topics = bus.topics().unwrap();
    let names: Vec<_> = topics.iter().map(|topic| topic.name.as_str()).collect();
    assert_eq!(names, [IN, OUT], "neither state logs nor other installations");
    let ends: Vec<_> = topics[0].partitions.iter().map(|partition| (partition.start.0, partition.next.0)).collect();
    // Two records and the mark of their transaction.
    let full = home(IN, 2).partition.0 as usize;
    assert_eq!((ends[full], ends[1 - full]), ((0, 3), (0, 0)));
}

#[test]
fn a_read_goes_on_where_the_last_one_stopped_and_keeps_its_limits() {
    let Some(on) = Installation::new("reads", 1) else { return };
    let bus = on.bus("one");
    publish(&bus, IN, 0..10);
    eventually(|| read_now(&bus, &at(IN, 0)).len() == 10);
    let read = |from: u64, limits: &ReadLimits| {
        let mut gathered = Gathered::default();
        bus.read(&at(IN, 0), NextOffset(from), limits, &mut gathered).unwrap();
        (values(&gathered), gathered.records().last().map(|(_, record)| record.offset.next().0))
    };
    let three = ReadLimits { records_max: 3, ..ALL };
    assert_eq!(read(0, &three), (vec!["0".into(), "1".into(), "2".into()], Some(3)));
    assert_eq!(read(3, &three), (vec!["3".into(), "4".into(), "5".into()], Some(6)));
    assert_eq!(read(3, &three).1, Some(6), "the same again");
    assert_eq!(read(8, &ALL).0, ["8", "9"]);
    assert_eq!(read(10, &ALL).0, Vec::<String>::new());
    assert_eq!(read(1_000, &ALL).0, Vec::<String>::new());
    assert!(bus.read(&at(IN, 7), NextOffset(0), &ALL, &mut Gathered::default()).is_err());
    assert!(bus.read(&at("other.v1", 0), NextOffset(0), &ALL, &mut Gathered::default()).is_err());
}

#[test]
fn a_read_at_the_end_waits_for_a_record_but_not_for_ever() {
    let Some(on) = Installation::new("waits", 1) else { return };
    let bus = on.bus("one");
    let limits = |wait| ReadLimits { wait, ..ALL };
    let begun = Instant::now();
    let mut gathered = Gathered::default();
    bus.read(&at(IN, 0), NextOffset(0), &limits(Duration::from_millis(600)), &mut gathered).unwrap();
    assert!(gathered.is_empty() && begun.elapsed() >= Duration::from_millis(500), "{:?}", begun.elapsed());
    std::thread::scope(|scope| {
        scope.spawn(|| publish(&on.bus("two"), IN, ["x"]));
        bus.read(&at(IN, 0), NextOffset(0), &limits(PATIENCE), &mut gathered).unwrap();
    });
    assert_eq!(values(&gathered), ["x"]);
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}

#[test]
fn states_are_shown_by_instance_and_reset_only_when_nobody_uses_them() {
    let Some(on) = Installation::new("reset", 1) else { return };
    let bus = on.bus("one");
    assert!(bus.states().unwrap().is_empty());
    publish(&bus, IN, ["a"]);
    let mut session = started(&bus, &worker("copier"), 1);
    let gathered = gather_records(&mut *session, 1);
    commit_copies(&mut *session, &gathered).unwrap();
    eventually(|| !bus.states().unwrap().is_empty());
    let states = bus.states().unwrap();
    let shown: Vec<_> = states.iter().map(|state| (state.processor.as_str(), state.at.clone(), state.keys, state.bytes)).collect();
    assert_eq!(shown, [("copier", at(IN, 0), 1, 1)]);
    let error = bus.reset_state("copier").unwrap_err().to_string();
    assert!(error.contains("1 members of group reset.copier are running"), "{error}");
    session.close();
    drop(session);
    assert_eq!(bus.reset_state("copier").unwrap(), 1);
    assert_eq!(bus.reset_state("copier").unwrap(), 0);
    assert!(bus.states().unwrap().is_empty());
    let mut session = on.bus("two").open(&worker("copier")).unwrap();
    gather_until(&mut *session, |gathered| !assigned(gathered).is_empty());
    assert!(restore(&mut *session, &at(IN, 0)).is_empty());
    assert_eq!(session.committed(&at(IN, 0)).unwrap(), Some(NextOffset(1)), "the position of the group stays");
}
