use std::collections::VecDeque;

use proptest::prelude::*;

use super::{
    super::{mark::Mark, queue::FULL},
    batch, drain, folder, from_bus, lost, numbers, open,
};
use crate::{bus::BusError, loss::Loss, publish::PublishError, spool::queue::Queue};

#[derive(Debug, Clone)]
enum Act {
    /// So many records come.
    Append(u64),
    /// Blocks are published and pass.
    Publish,
    /// Blocks are published, but nobody hears of it; the next connection finds the cursor.
    PublishUnheard,
    /// Blocks were to be published, and were not.
    Fail,
    /// The process dies and comes back.
    Crash,
    /// The process ends and comes back.
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (1u64..20).prop_map(Act::Append),
        3 => Just(Act::Publish),
        1 => Just(Act::PublishUnheard),
        1 => Just(Act::Fail),
        1 => Just(Act::Crash),
        1 => Just(Act::Restart),
    ]
}

proptest! {
    /// Against a plain list: what is published is what came, in its order, each once, but for what was counted as lost.
    #[test]
    fn a_queue_is_a_list_that_forgets_only_what_it_counts(acts in proptest::collection::vec(act(), 1..80), bytes_max in prop_oneof![Just(1u64 << 30), Just(8_000u64)]) {
        let (directory, loss) = (folder(), Loss::default());
        let mut queue = open(directory.path(), bytes_max, &loss);
        let (mut published, mut appended, mut cursor) = (Vec::new(), 0, None::<Mark>);
        for act in acts {
            match act {
                Act::Append(count) => match queue.append(&batch(appended..appended + count, 30)) {
                    Ok(()) => appended += count,
                    Err(PublishError::Retry(_)) => prop_assert!(bytes_max < 1 << 30),
                    Err(error) => prop_assert!(false, "{}", error),
                },
                Act::Publish | Act::PublishUnheard | Act::Fail => {
                    cursor.into_iter().for_each(|mark| queue.pass(from_bus(mark)));
                    let Some(peeked) = queue.peek(500) else { continue };
                    if matches!(act, Act::Fail) {
                        continue;
                    }
                    published.extend(numbers(&peeked.batch));
                    cursor = Some(peeked.mark);
                    if matches!(act, Act::Publish) {
                        queue.pass(peeked.mark);
                    }
                }
                Act::Crash | Act::Restart => {
                    if matches!(act, Act::Restart) {
                        queue.close();
                    }
                    drop(queue);
                    queue = open(directory.path(), bytes_max, &loss);
                    // The first thing that a drainer does; before it nothing is known of what was published.
                    cursor.into_iter().for_each(|mark| queue.pass(from_bus(mark)));
                }
            }
            prop_assert!(queue.bytes() <= bytes_max);
        }
        cursor.into_iter().for_each(|mark| queue.pass(from_bus(mark)));
        let waiting = queue.records();
        let rest = drain(&mut queue);
        prop_assert_eq!(rest.len() as u64, waiting);
        published.extend(rest);
        prop_assert!(published.windows(2).all(|pair| pair[0] < pair[1]), "in order, each once: {:?}", published);
        prop_assert_eq!(published.len() as u64 + lost(&loss, FULL), appended);
        queue.close();
        drop(queue);
        let left: VecDeque<_> = std::fs::read_dir(directory.path()).expect("reads").map(|entry| entry.expect("reads").file_name()).collect();
        prop_assert_eq!(left, ["LOCK"], "an empty spool leaves nothing behind");
    }
}

#[test]
fn blocks_that_are_being_published_are_not_dropped() {
    let (directory, loss) = (folder(), Loss::default());
    let mut queue = open(directory.path(), 64_000, &loss);
    queue.append(&batch(0..2, 500)).expect("has room");
    let held = queue.peek(usize::MAX).expect("waits");
    let mut next = 2;
    while lost(&loss, FULL) < 100 {
        queue.append(&batch(next..next + 2, 500)).expect("room is made");
        next += 2;
    }
    queue.pass(held.mark);
    let rest = drain(&mut queue);
    assert_eq!(rest.first().copied(), Some(2 + lost(&loss, FULL)), "the oldest went, except those that were held");
    assert_eq!(rest.last().copied(), Some(next - 1));
}

/// A snapshot of the machine is put back: the numbers that the bus has seen stand for other records now.
#[test]
fn a_spool_put_back_to_an_earlier_state_loses_nothing() {
    let (directory, loss) = (folder(), Loss::default());
    let mut queue = open(directory.path(), 1 << 30, &loss);
    queue.append(&batch(0..10, 0)).expect("has room");
    drop(queue);
    let copy = folder();
    for entry in std::fs::read_dir(directory.path()).expect("reads") {
        let path = entry.expect("reads").path();
        std::fs::copy(&path, copy.path().join(path.file_name().expect("a name"))).expect("copies");
    }
    let mut later = open(directory.path(), 1 << 30, &loss);
    later.append(&batch(10..20, 0)).expect("has room");
    let cursor = later.peek(usize::MAX).expect("waits").mark;
    let mut back = open(copy.path(), 1 << 30, &loss);
    back.append(&batch(100..105, 0)).expect("has room");
    back.pass(cursor);
    assert!(drain(&mut back).ends_with(&[100, 101, 102, 103, 104]), "what came since is not taken for what the bus has");
}

#[test]
fn two_processes_cannot_have_the_same_spool() {
    let (directory, loss) = (folder(), Loss::default());
    let _held = open(directory.path(), 1 << 30, &loss);
    let refused = Queue::open(directory.path(), 1 << 30, "test", loss).expect_err("is taken");
    assert!(matches!(refused, BusError::Fatal(why) if why.contains("in use")));
}
