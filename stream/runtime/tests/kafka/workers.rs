use std::{sync::Arc, time::Instant};

use rdkafka::{
    Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewPartitions},
    consumer::{BaseConsumer, CommitMode, Consumer},
};
use stream_core::NextOffset;
use stream_runtime::{
    bus::Bus,
    inspect::Inspect,
    kafka::KafkaBus,
    loss::Loss,
    metrics::StageMetrics,
    settings::EngineSettings,
    time::SystemClock,
    worker::{Worker, WorkerError},
};

use crate::{
    copier::{Copier, CopierConfig},
    support::*,
};

fn copier(bus: &KafkaBus) -> Worker<Copier> {
    let (loss, metrics) = (Loss::default(), StageMetrics::default());
    Worker::new(Arc::new(bus.clone()), CopierConfig::default(), EngineSettings::default(), Box::new(SystemClock), loss, metrics).unwrap()
}

/// Steps until that holds.
fn step_until(worker: &mut Worker<Copier>, enough: impl Fn() -> bool) -> Result<(), WorkerError> {
    let begun = Instant::now();
    while !enough() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain");
        worker.step()?;
    }
    Ok(())
}

/// A copier has copied two records, the second behind the mark of the first's transaction, and has left.
fn having_copied(on: &Installation) -> KafkaBus {
    let bus = on.bus("one");
    publish(&bus, IN, ["a"]);
    publish(&bus, IN, ["b"]);
    let mut worker = copier(&bus);
    step_until(&mut worker, || read_now(&bus, &at(OUT, 0)) == ["a", "b"]).unwrap();
    worker.shutdown().unwrap();
    bus
}

fn error_of(worker: &mut Worker<Copier>) -> WorkerError {
    step_until(worker, || false).unwrap_err()
}

/// Moves a group as an administrator does, while nobody is in it.
fn move_group(on: &Installation, to: i64) {
    let consumer: BaseConsumer = on.client().set("group.id", format!("{}.copier", on.name)).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&format!("{}{IN}", on.topic_prefix()), 0, Offset::Offset(to)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

#[test]
fn a_worker_goes_on_where_another_one_left() {
    let Some(on) = Installation::new("goes-on", 1) else { return };
    let bus = having_copied(&on);
    publish(&bus, IN, ["c"]);
    let mut worker = copier(&on.bus("two"));
    step_until(&mut worker, || read_now(&bus, &at(OUT, 0)).len() == 3).unwrap();
    assert_eq!(read_values(&bus, &at(OUT, 0), 3), ["a", "b", "c"]);
}

#[test]
fn a_group_that_somebody_moved_is_refused_both_ways() {
    let Some(on) = Installation::new("moved", 1) else { return };
    let bus = having_copied(&on);
    for to in [0, 7] {
        move_group(&on, to);
        let mut worker = copier(&bus);
        let error = error_of(&mut worker);
        worker.shutdown().unwrap();
        assert!(matches!(&error, WorkerError::GroupMoved { group, position: NextOffset(3), .. } if group.0 == to as u64), "{error}");
        let text = error.to_string();
        assert!(text.contains("in.v1/0") && text.contains("state reset"), "{text}");
    }
    move_group(&on, 3);
    publish(&bus, IN, ["c"]);
    step_until(&mut copier(&bus), || read_now(&bus, &at(OUT, 0)).len() == 3).unwrap();
}

#[test]
fn after_a_reset_a_moved_group_begins_where_it_was_moved_to() {
    let Some(on) = Installation::new("begins-anew", 1) else { return };
    let bus = having_copied(&on);
    move_group(&on, 2);
    assert_eq!(bus.reset_state("copier").unwrap(), 1);
    step_until(&mut copier(&bus), || read_now(&bus, &at(OUT, 0)).len() == 3).unwrap();
    assert_eq!(read_values(&bus, &at(OUT, 0), 3), ["a", "b", "b"]);
}

#[test]
fn a_topic_that_grew_partitions_is_refused() {
    let Some(on) = Installation::new("grown", 1) else { return };
    having_copied(&on);
    let admin: AdminClient<_> = on.client().create().unwrap();
    let name = format!("{}{IN}", on.topic_prefix());
    futures_executor::block_on(
        admin.create_partitions(&[NewPartitions::new(&name, 2)], &AdminOptions::new().operation_timeout(Some(PATIENCE))),
    )
    .unwrap();
    let bus = on.bus("one");
    let why = bus.ensure_topics(&[topic(IN, 1)]).unwrap_err().to_string();
    assert!(why.contains("in.v1 has 2 partitions, expected 1"), "{why}");
    let why = error_of(&mut copier(&bus)).to_string();
    assert!(why.contains("partitions") && why.contains("foreign state"), "{why}");
}
