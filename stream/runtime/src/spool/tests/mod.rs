//! The spool without threads: its format against any bytes, its queue against a model, its way to the bus on the model bus.

mod format;
mod model;
mod simulation;

use std::path::Path;

use tempfile::{TempDir, tempdir, tempdir_in};

use super::{mark::Mark, queue::Queue};
use crate::{loss::Loss, publish::PublishBatch};

const TOPIC: &str = "in.v1";

/// Records that are numbers, with something to make them longer.
fn batch(numbers: impl IntoIterator<Item = u64>, filler_bytes: usize) -> PublishBatch {
    let mut batch = PublishBatch::default();
    for number in numbers {
        let mut value = number.to_be_bytes().to_vec();
        // Noise, so that it keeps its size on the disk.
        let mut noise = number | 1;
        value.extend((0..filler_bytes).map(|_| {
            noise = noise.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23) ^ 0x51;
            noise as u8
        }));
        batch.push(&TOPIC.into(), Some(b"key"), Some(&value), Default::default()).expect("is small");
    }
    batch
}

/// A directory in memory if there is such a place: what is tested here does not depend on the disk, only waits for it.
fn folder() -> TempDir {
    tempdir_in("/dev/shm").or_else(|_| tempdir()).expect("a directory")
}

fn number(value: &[u8]) -> u64 {
    value.first_chunk().map_or(u64::MAX, |bytes| u64::from_be_bytes(*bytes))
}

fn numbers(batch: &PublishBatch) -> Vec<u64> {
    batch.records().filter_map(|record| record.value).map(number).collect()
}

fn open(directory: &Path, bytes_max: u64, loss: &Loss) -> Queue {
    Queue::open(directory, bytes_max, "test", loss.clone()).expect("opens")
}

/// Everything that waits, taken as if the bus took it.
fn drain(queue: &mut Queue) -> Vec<u64> {
    let mut taken = Vec::new();
    while let Some(peeked) = queue.peek(1_000) {
        taken.extend(numbers(&peeked.batch));
        queue.report_damaged(peeked.damaged);
        queue.pass(peeked.mark);
    }
    taken
}

fn lost(loss: &Loss, cause: &str) -> u64 {
    loss.totals().into_iter().filter(|(.., known, _)| known == cause).map(|(.., count)| count).sum()
}

/// A mark as it comes back from the bus.
fn from_bus(mark: Mark) -> Mark {
    Mark::decode(&mark.encode()).expect("is ours")
}
