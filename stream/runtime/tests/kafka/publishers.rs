use std::time::Duration;

use stream_core::HeaderBuffer;
use stream_runtime::{
    bus::Bus,
    inspect::{Appended, Inspect},
    publish::{Cursor, Publish, PublishBatch, PublishError},
    sim::{self, Moment, Mutation},
};

use crate::support::*;

#[test]
fn a_publisher_finds_its_cursor_again() {
    let Some(on) = Installation::new("cursors", 1) else { return };
    let bus = on.bus("one");
    let mut publisher = bus.publisher("s").unwrap();
    assert_eq!(publisher.cursor(), None);
    publisher.publish(&batch(IN, ["a"]), b"line 1").unwrap();
    publisher.publish(&batch(IN, ["b"]), b"line 2").unwrap();
    let cursor = Cursor { sequence: 2, position: b"line 2".to_vec() };
    assert_eq!(publisher.cursor(), Some(&cursor));
    drop((publisher, bus));
    assert_eq!(on.bus("one").publisher("s").unwrap().cursor(), Some(&cursor));
    assert_eq!(on.bus("two").publisher("s").unwrap().cursor(), None, "another replica collects something else");
    assert_eq!(on.bus("one").publisher("other").unwrap().cursor(), None);
    assert_eq!(read_values(&on.bus("one"), &at(IN, 0), 2), ["a", "b"]);
}

#[test]
fn a_later_publisher_fences_an_older_one() {
    let Some(on) = Installation::new("fencing", 1) else { return };
    let (one, two) = (on.bus("same"), on.bus("same"));
    let mut older = one.publisher("s").unwrap();
    older.publish(&batch(IN, ["a"]), b"1").unwrap();
    let mut newer = two.publisher("s").unwrap();
    assert_eq!(newer.cursor().map(|cursor| cursor.sequence), Some(1));
    // Once may follow from an outage, so the older one takes its name back and finds out how far it has come.
    assert!(matches!(older.publish(&batch(IN, ["b"]), b"2"), Err(PublishError::Retry(_))));
    older.publish(&batch(IN, ["b"]), b"2").unwrap();
    // What the newer one has read since then may be what the older one published, so it must read again.
    let why = closed(&mut *newer, "c");
    assert!(why.contains("s/same"), "{why}");
    assert_eq!(read_values(&one, &at(IN, 0), 2), ["a", "b"]);
}

/// Publishes, again if that is asked for, and says why it is in vain.
fn closed(publisher: &mut dyn Publish, value: &str) -> String {
    loop {
        match publisher.publish(&batch(IN, [value]), value.as_bytes()) {
            Err(PublishError::Retry(_)) => {}
            Err(PublishError::Closed(why)) => return why,
            other => panic!("{value}: two processes share a name, and one is told {other:?}"),
        }
    }
}

#[test]
fn records_keep_key_headers_and_time_on_their_way() {
    let Some(on) = Installation::new("whole", 1) else { return };
    let bus = on.bus("one");
    let mut headers = HeaderBuffer::default();
    headers.push("a", Some(b"1"));
    headers.push("a", None);
    let mut batch = PublishBatch::default();
    batch.push(&IN.into(), Some(b"k"), None, headers.as_headers()).unwrap();
    batch.push(&IN.into(), None, Some(b""), Default::default()).unwrap();
    bus.publisher("s").unwrap().publish(&batch, b"").unwrap();
    let mut session = started(&bus, &worker("p"), 1);
    let gathered = gather_records(&mut *session, 2);
    let records: Vec<_> = gathered.records().map(|(_, record)| record).collect();
    assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), None));
    assert_eq!(records[0].headers.iter().collect::<Vec<_>>(), [("a", Some(&b"1"[..])), ("a", None)]);
    assert_eq!((records[1].key, records[1].value, records[1].headers.iter().count()), (None, Some(&b""[..]), 0));
    assert!(records[0].appended_at.0 > 0 && records[0].appended_at <= records[1].appended_at);
}

#[test]
fn keys_choose_the_partition_that_they_choose_on_every_bus() {
    let Some(on) = Installation::new("keys", 6) else { return };
    let bus = on.bus("one");
    let mut batch = PublishBatch::default();
    batch.push(&IN.into(), Some(b"vm-7"), Some(b"x"), Default::default()).unwrap();
    bus.publisher("s").unwrap().publish(&batch, b"").unwrap();
    assert_eq!(read_values(&bus, &at(IN, 3), 1), ["x"], "the vector of the specification: vm-7 goes to partition 3 of 6");
}

#[test]
fn a_record_for_no_topic_closes_the_publisher_and_leaves_no_trace() {
    let Some(on) = Installation::new("nowhere", 1) else { return };
    let bus = on.bus("one");
    let mut publisher = bus.publisher("s").unwrap();
    let mut records = batch(IN, ["a"]);
    records.push(&"nowhere.v1".into(), None, Some(b"b"), Default::default()).unwrap();
    let Err(PublishError::Closed(why)) = publisher.publish(&records, b"1") else { panic!("there is no such topic") };
    assert!(why.contains("nowhere.v1"), "{why}");
    assert!(read_now(&bus, &at(IN, 0)).is_empty());
    assert_eq!(bus.publisher("s").unwrap().cursor(), None);
}

#[test]
fn a_known_sequence_is_acknowledged_and_dropped() {
    let Some(on) = Installation::new("sequences", 1) else { return };
    let bus = on.bus("one");
    assert_eq!(bus.append("agent", 5, &batch(IN, ["a"]), b"p5").unwrap(), Appended::New);
    assert_eq!(bus.append("agent", 5, &batch(IN, ["a"]), b"p5").unwrap(), Appended::Known);
    assert_eq!(on.bus("two").append("agent", 4, &batch(IN, ["z"]), b"p4").unwrap(), Appended::Known, "through any replica");
    assert_eq!(on.bus("two").append("agent", 6, &batch(IN, ["b"]), b"p6").unwrap(), Appended::New);
    assert_eq!(read_values(&bus, &at(IN, 0), 2), ["a", "b"]);
}

#[test]
fn a_quiet_publisher_holds_nobody_back_and_does_not_time_out() {
    let Some(on) = Installation::new("quiet", 1) else { return };
    let bus = on.bus_with("one", [("transaction.timeout.ms", "1000"), ("message.timeout.ms", "1000"), ("linger.ms", "5")]);
    let mut publisher = bus.publisher("s").unwrap();
    publisher.publish(&batch(IN, ["a"]), b"1").unwrap();
    // A quiet publisher has no transaction open, so nothing of it can time out or hold readers back.
    std::thread::sleep(Duration::from_millis(2_500));
    publisher.publish(&batch(IN, ["b"]), b"2").unwrap();
    assert_eq!(read_values(&bus, &at(IN, 0), 2), ["a", "b"]);
}

/// A publisher is killed when the broker has committed, and another one of its name does as collectors do: it reads again
/// from the cursor. What then stands on the bus.
fn lines_after_a_death(on: &Installation, mutation: Option<Mutation>) -> Vec<String> {
    let bus = on.bus("one");
    let collect = || {
        let mut publisher = bus.publisher("s").unwrap();
        if publisher.cursor().is_none() {
            publisher.publish(&batch(IN, ["a"]), b"1").unwrap();
        }
    };
    std::thread::scope(|scope| {
        let killed = scope.spawn(|| {
            sim::mutate(mutation);
            sim::strike_with(Box::new(|moment| {
                if moment == Moment::Committed {
                    std::panic::resume_unwind(Box::new("killed"));
                }
            }));
            collect();
        });
        assert!(killed.join().is_err());
    });
    collect();
    publish(&on.bus("two"), IN, ["end"]);
    read_values(&bus, &at(IN, 0), 2)
}

#[test]
fn a_publisher_that_dies_before_it_learns_of_its_commit_repeats_nothing() {
    let Some(on) = Installation::new("dies", 1) else { return };
    assert_eq!(lines_after_a_death(&on, None), ["a", "end"]);
}

#[test]
fn a_cursor_apart_from_its_records_would_repeat_them() {
    let Some(on) = Installation::new("dies-mutant", 1) else { return };
    assert_eq!(lines_after_a_death(&on, Some(Mutation::CursorApart))[..2], ["a", "a"]);
}
