use stream_runtime::{
    bus::Bus,
    inspect::{Appended, Inspect},
    publish::{Cursor, PublishError},
};
use tempfile::tempdir;

use crate::support::*;

#[test]
fn a_publisher_finds_its_cursor_again() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut publisher = bus.publisher("s").unwrap();
    assert_eq!(publisher.cursor(), None);
    publisher.publish(&batch(IN, ["a".to_string()]), b"line 1").unwrap();
    publisher.publish(&batch(IN, ["b".to_string()]), b"line 2").unwrap();
    let cursor = Cursor { sequence: 2, position: b"line 2".to_vec() };
    assert_eq!(publisher.cursor(), Some(&cursor));
    drop((publisher, bus));
    let bus = open(directory.path());
    assert_eq!(bus.publisher("s").unwrap().cursor(), Some(&cursor));
    assert_eq!(bus.publisher("other").unwrap().cursor(), None);
}

#[test]
fn a_later_publisher_fences_an_older_one() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let mut older = bus.publisher("s").unwrap();
    publish(&mut *older, IN, ["a".to_string()]);
    let mut newer = bus.publisher("s").unwrap();
    assert!(matches!(older.publish(&batch(IN, ["b".to_string()]), b""), Err(PublishError::Closed(_))));
    publish(&mut *newer, IN, ["c".to_string()]);
    assert!(matches!(older.publish(&batch(IN, ["d".to_string()]), b""), Err(PublishError::Closed(_))));
    assert_eq!(read_values(&bus, IN), ["a", "c"]);
}

/// A collector that is restarted at any moment reads its cursor and goes on after it: each line is there once.
#[test]
fn takeovers_at_any_moment_neither_lose_nor_repeat() {
    const LINES: usize = 400;
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let collect = || {
        let mut publisher = bus.publisher("s").unwrap();
        loop {
            let line = publisher.cursor().map_or(0, |cursor| String::from_utf8_lossy(&cursor.position).parse::<usize>().unwrap());
            if line == LINES {
                return;
            }
            if publisher.publish(&batch(IN, [line.to_string()]), (line + 1).to_string().as_bytes()).is_err() {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| collect()));
        }
    });
    collect();
    assert_eq!(read_values(&bus, IN), (0..LINES).map(|line| line.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_known_sequence_is_acknowledged_and_dropped() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    let append = |sequence, value: &str| bus.append("agent", sequence, &batch(IN, [value.to_string()]), b"p").unwrap();
    assert_eq!(append(1, "a"), Appended::New);
    assert_eq!(append(1, "a"), Appended::Known);
    assert_eq!(append(5, "b"), Appended::New);
    assert_eq!(append(3, "c"), Appended::Known);
    assert_eq!(read_values(&bus, IN), ["a", "b"]);
    drop(bus);
    let bus = open(directory.path());
    assert_eq!(bus.append("agent", 5, &batch(IN, ["b".to_string()]), b"p").unwrap(), Appended::Known);
    assert_eq!(bus.publisher("agent").unwrap().cursor().unwrap().sequence, 5);
}

#[test]
fn the_same_sequence_sent_at_once_by_many_lands_once() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    for sequence in 1..=50u64 {
        let append = || bus.append("agent", sequence, &batch(IN, [sequence.to_string()]), b"").unwrap();
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(append)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(all.iter().filter(|appended| **appended == Appended::New).count(), 1);
    }
    assert_eq!(read_values(&bus, IN).len(), 50);
}

#[test]
fn many_publishers_keep_their_own_order() {
    let directory = tempdir().unwrap();
    let bus = open(directory.path());
    std::thread::scope(|scope| {
        for source in 0..8 {
            let bus = &bus;
            scope.spawn(move || {
                let mut publisher = bus.publisher(&format!("s{source}")).unwrap();
                for n in 0..100 {
                    publish(&mut *publisher, IN, [format!("{source} {n:03}")]);
                }
            });
        }
    });
    let all = read_from(&bus, &at(IN, 0), 0);
    assert_eq!(all.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), (0..800).collect::<Vec<_>>());
    for source in 0..8 {
        let own: Vec<_> = all.iter().filter_map(|(_, value)| value.strip_prefix(&format!("{source} "))).collect();
        assert_eq!(own, (0..100).map(|n| format!("{n:03}")).collect::<Vec<_>>());
    }
}
