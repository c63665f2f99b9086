use std::fs;

use bolero::check;
use proptest::prelude::*;
use stream_core::{HeaderBuffer, NextOffset, Offset};

use super::{
    super::{
        block::{self, BlockError, HEADER_BYTES, Header},
        mark::{Mark, Run},
        queue::DAMAGED,
        segment::Segment,
    },
    batch, drain, folder, lost, open,
};
use crate::{loss::Loss, publish::PublishBatch};

const RUN: Run = Run(*b"0123456789abcdef");
const ITERATIONS: usize = 20_000;

type Listed = (String, Option<Vec<u8>>, Option<Vec<u8>>, Vec<u8>);

fn listed(batch: &PublishBatch) -> Vec<Listed> {
    let record = |record: crate::publish::PublishView<'_>| {
        let (key, value) = (record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec));
        (record.topic.to_string(), key, value, record.headers.encoded().to_vec())
    };
    batch.records().map(record).collect()
}

fn any_batch() -> impl Strategy<Value = PublishBatch> {
    let bytes = || proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50));
    proptest::collection::vec(("[a-c]", bytes(), bytes(), proptest::option::of("[a-z]{1,5}")), 1..30).prop_map(|records| {
        let mut batch = PublishBatch::default();
        for (topic, key, value, header) in records {
            let mut headers = HeaderBuffer::default();
            header.iter().for_each(|name| headers.push(name, None));
            batch.push(&topic.as_str().into(), key.as_deref(), value.as_deref(), headers.as_headers()).expect("is small");
        }
        batch
    })
}

proptest! {
    #[test]
    fn a_block_comes_back_as_it_went(batches in proptest::collection::vec(any_batch(), 1..4), first in 0u64..1 << 60) {
        let (mut next, mut back, mut expected) = (NextOffset(first), PublishBatch::default(), Vec::new());
        for batch in &batches {
            let (header, bytes) = block::encode(RUN, next, batch).expect("is small");
            let read = Header::decode(RUN, &bytes).expect("is whole");
            prop_assert_eq!(read, header);
            prop_assert_eq!((read.first, read.bytes()), (Offset(next.0), bytes.len() as u64));
            block::decode(&read, &bytes[HEADER_BYTES..], &mut back).expect("is whole");
            next = read.next();
            expected.extend(listed(batch));
        }
        prop_assert_eq!(listed(&back), expected);
    }

    #[test]
    fn no_changed_bit_goes_unnoticed(batch in any_batch(), place in any::<proptest::sample::Index>(), bit in 0u8..8) {
        let (_, mut bytes) = block::encode(RUN, NextOffset(7), &batch).expect("is small");
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        let mut into = PublishBatch::default();
        let read = Header::decode(RUN, &bytes).and_then(|header| block::decode(&header, &bytes[HEADER_BYTES..], &mut into));
        prop_assert!(read.is_err() && into.is_empty());
    }

    #[test]
    fn a_mark_comes_back_from_the_bus(run: [u8; 16], next: u64) {
        let mark = Mark { run: Run(run), next: NextOffset(next) };
        prop_assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        prop_assert_eq!(Run::parse(&mark.run.to_string()), Some(mark.run));
    }

    /// Whatever happens to a file, the records that are left come out in order, each once, and those between them are counted.
    #[test]
    fn what_is_missing_between_whole_blocks_is_counted(
        counts in proptest::collection::vec(1u64..5, 3..12), changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (directory, loss) = (folder(), Loss::default());
        let mut queue = open(directory.path(), 1 << 30, &loss);
        let mut next = 0;
        for count in &counts {
            queue.append(&batch(next..next + count, 20)).expect("has room");
            next += count;
        }
        queue.close();
        drop(queue);
        let file = Segment::list(directory.path()).expect("lists").pop().expect("one file").2;
        let mut bytes = fs::read(&file).expect("reads");
        let seal = bytes.len() - HEADER_BYTES;
        for (place, value) in &changes {
            // Not the seal: without it the end is unknown.
            bytes[place.index(seal)] = *value;
        }
        fs::write(&file, bytes).expect("writes");
        let left = drain(&mut open(directory.path(), 1 << 30, &loss));
        prop_assert!(left.is_sorted() && left.windows(2).all(|pair| pair[0] < pair[1]));
        prop_assert_eq!(left.len() as u64 + lost(&loss, DAMAGED), next);
    }
}

#[test]
fn a_log_line_cannot_pass_for_a_block() {
    let (_, hostile) = block::encode(Run([7; 16]), NextOffset(0), &batch(0..3, 0)).expect("is small");
    assert!(matches!(Header::decode(RUN, &hostile), Err(BlockError::Checksum { .. })));
}

#[test]
fn a_batch_that_is_too_large_is_refused() {
    let large = batch(0..20, 880_000);
    assert!(matches!(block::encode(RUN, NextOffset(0), &large), Err(BlockError::TooLarge { .. })));
}

#[test]
fn a_cursor_of_somebody_else_is_no_mark() {
    for foreign in [&b""[..], b"\x01", b"\x02aaaaaaaaaaaaaaaabbbbbbbb", b"\x01aaaaaaaaaaaaaaaabbbbbbbbc"] {
        assert_eq!(Mark::decode(foreign), None);
    }
}

#[test]
fn fuzz_any_bytes_are_a_block_or_an_error() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        let _ = Mark::decode(bytes);
        let _ = Header::decode(RUN, bytes);
        // Past the checksums, where only a faulty disk controller or a fuzzer comes.
        let (header, _) = block::encode(RUN, NextOffset(1), &batch(0..2, 3)).expect("is small");
        let mut into = PublishBatch::default();
        let _ = block::unpack(&header, bytes, &mut into);
        assert!(into.is_empty() || into.len() == 2);
    });
}

#[test]
fn fuzz_any_bytes_are_a_file() {
    let directory = folder();
    let path = directory.path().join(format!("{:020}.{RUN}.spool", 0));
    let (_, whole) = block::encode(RUN, NextOffset(5), &batch(0..2, 3)).expect("is small");
    check!().with_iterations(ITERATIONS / 10).for_each(|bytes: &[u8]| {
        fs::write(&path, [bytes, &whole, bytes].concat()).expect("writes");
        let segment = Segment::open(&path, RUN, Offset(0)).expect("opens");
        let (mut place, mut records, mut missing) = (segment.start(), PublishBatch::default(), 0);
        while let Some(step) = segment.step(place) {
            missing += step.missing + segment.read(&step, &mut records);
            place = step.after;
        }
        assert_eq!((records.len(), missing), (2, 5), "the block is found, whatever is around it");
    });
}
