use std::time::Duration;

use stream_runtime::{
    loss::Loss,
    metrics::SourceMetrics,
    publish::{Publish, PublishError},
    spool::SpoolSettings,
    time::{Clock, SystemClock},
};
use tempfile::tempdir;

use crate::support::*;

const LARGE: u64 = 1 << 30;

#[test]
fn a_hanging_bus_holds_no_source() {
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let moody = Moody::new(&bus, Mood::Hanging);
    let metrics = SourceMetrics::default();
    let mut spooled = moody.spool(spool_dir.path(), LARGE, &Loss::default(), &metrics);
    for n in 0..200 {
        spooled.publish(&batch(n * 5..n * 5 + 5, 100), &[]).unwrap();
    }
    assert_eq!((spooled.records(), published(&bus).len()), (1_000, 0), "all of it is on the disk and nothing on the bus");
    assert!(spooled.bytes() > 100_000 && metrics.totals().spool_bytes == spooled.bytes());
    moody.set(Mood::Good);
    eventually("everything goes out", || spooled.records() == 0);
    assert_eq!(published(&bus), (0..1_000).collect::<Vec<_>>());
    eventually("its size is told", || metrics.totals().spool_bytes == spooled.bytes());
}

#[test]
fn each_record_goes_out_once_whatever_the_bus_answers() {
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let moody = Moody::new(&bus, Mood::Good);
    moody.drive_mad(42);
    let mut spooled = moody.spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
    for n in 0..300 {
        spooled.publish(&batch(n * 3..n * 3 + 3, 50), &[]).unwrap();
        if n % 20 == 0 {
            std::thread::sleep(Duration::from_millis(100)); // the source's own pace, so that many publications are made
        }
    }
    moody.set(Mood::Good);
    eventually("everything goes out", || spooled.records() == 0);
    assert_eq!(published(&bus), (0..900).collect::<Vec<_>>());
}

#[test]
fn what_an_earlier_run_left_goes_out_at_the_next_start() {
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let moody = Moody::new(&bus, Mood::Away);
    for run in 0..3 {
        let mut spooled = moody.spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
        assert_eq!(spooled.records(), run * 10);
        spooled.publish(&batch(run * 10..run * 10 + 10, 10), &[]).unwrap();
    }
    moody.set(Mood::Good);
    let spooled = moody.spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
    eventually("everything goes out", || spooled.records() == 0);
    drop(spooled);
    assert_eq!(published(&bus), (0..30).collect::<Vec<_>>());
    let left: Vec<_> = std::fs::read_dir(spool_dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["LOCK"], "an empty spool leaves nothing behind");
}

#[test]
fn a_spool_that_is_closed_publishes_what_it_can_first() {
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let mut spooled = Moody::new(&bus, Mood::Good).spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
    (0..50).for_each(|n| spooled.publish(&batch(n..n + 1, 10), &[]).unwrap());
    drop(spooled);
    assert_eq!(published(&bus), (0..50).collect::<Vec<_>>());
}

#[test]
fn a_bus_that_does_not_answer_does_not_keep_a_process_from_ending() {
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let moody = Moody::new(&bus, Mood::Hanging);
    let mut spooled = moody.spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
    spooled.publish(&batch(0..1, 10), &[]).unwrap();
    let begun = SystemClock.monotonic();
    drop(spooled);
    assert!(SystemClock.monotonic() - begun < Duration::from_secs(30));
    moody.set(Mood::Good);
}

#[test]
fn the_oldest_records_of_a_full_spool_go_and_are_told() {
    const BYTES_MAX: u64 = 256 << 10;
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let (moody, loss) = (Moody::new(&bus, Mood::Away), Loss::default());
    let mut spooled = moody.spool(spool_dir.path(), BYTES_MAX, &loss, &SourceMetrics::default());
    for n in 0..1_000 {
        spooled.publish(&batch(n..n + 1, 1_000), &[]).unwrap();
        assert!(spooled.bytes() <= BYTES_MAX);
    }
    let lost = loss.totals();
    let [(component, topic, cause, count)] = &lost[..] else { panic!("one cause: {lost:?}") };
    assert_eq!((component.as_str(), topic.as_str(), cause.as_str()), ("sockets", TOPIC, "spool_full"));
    moody.set(Mood::Good);
    eventually("everything goes out", || spooled.records() == 0);
    assert_eq!(published(&bus), (*count..1_000).collect::<Vec<_>>());
    assert!(1_000 - count > 200, "a full spool is full: {count} were lost");
}

#[test]
fn another_process_of_the_same_name_ends_it_but_one_fence_does_not() {
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let moody = Moody::new(&bus, Mood::Fenced);
    let mut spooled = moody.spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
    spooled.publish(&batch(0..1, 10), &[]).unwrap();
    eventually("it gives up", || matches!(spooled.publish(&batch(1..2, 10), &[]), Err(PublishError::Closed(why)) if why == "fenced"));
    drop(spooled);
    moody.set(Mood::Good);
    let spooled = moody.spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
    eventually("what was taken goes out", || spooled.records() == 0);
    let all = published(&bus);
    assert!(!all.is_empty() && all[0] == 0, "{all:?}");
}

#[test]
fn a_position_is_refused_and_an_impossible_size_too() {
    let (bus_dir, spool_dir) = (tempdir().unwrap(), tempdir().unwrap());
    let bus = open_bus(bus_dir.path());
    let mut spooled = Moody::new(&bus, Mood::Good).spool(spool_dir.path(), LARGE, &Loss::default(), &SourceMetrics::default());
    assert_eq!(spooled.cursor(), None);
    assert!(matches!(spooled.publish(&batch(0..1, 10), b"line 7"), Err(PublishError::Closed(why)) if why.contains("position")));
    let error = SpoolSettings { spool_bytes_max: 1_000 }.check().unwrap_err();
    assert!(error.to_string().contains("spool.spool_bytes_max") && SpoolSettings::default().check().is_ok());
}
