//! The log against the plainest model there is: a `Vec` per topic.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use schemas::topics::Cleanup;
use stream_core::NextOffset;
use stream_runtime::{
    bus::{Bus, TopicSpec},
    embedded::EmbeddedBus,
    gathered::Gathered,
    inspect::{Inspect, ReadLimits},
    publish::PublishBatch,
};
use tempfile::{TempDir, tempdir};

use crate::support::*;

const LOG: &str = "log.v1";
const TABLE: &str = "table.v1";

#[derive(Debug, Clone)]
enum Step {
    /// Records of these sizes, each for the log and the table.
    Publish(Vec<u16>),
    /// Read the log from this far before its end, in batches of this many.
    Read(u16, u8),
    Compact,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => vec(prop_oneof![0u16..300, 20_000u16..40_000], 1..60).prop_map(Step::Publish),
        3 => (any::<u16>(), 1u8..).prop_map(|(back, count)| Step::Read(back, count)),
        1 => Just(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

type Entry = (Option<Vec<u8>>, Option<Vec<u8>>);

struct Subject {
    directory: TempDir,
    bus: Option<EmbeddedBus>,
    all: Vec<Entry>,
}

impl Subject {
    fn new() -> Self {
        let directory = tempdir().unwrap();
        let bus = Some(Self::open(&directory));
        Self { directory, bus, all: Vec::new() }
    }

    fn open(directory: &TempDir) -> EmbeddedBus {
        let bus = EmbeddedBus::open(directory.path(), config()).unwrap();
        let log = TopicSpec { retention_bytes: 512 << 10, ..topic(LOG, 1) };
        let table = TopicSpec { cleanup: Cleanup::Compact, retention_ms: 0, retention_bytes: 256 << 10, ..topic(TABLE, 1) };
        bus.ensure_topics(&[log, table]).unwrap();
        bus
    }

    fn bus(&self) -> &EmbeddedBus {
        self.bus.as_ref().unwrap()
    }

    fn publish(&mut self, sizes: &[u16]) {
        let mut batch = PublishBatch::default();
        for size in sizes {
            let n = self.all.len() as u64;
            let noise = |at: u64| (at + 1).wrapping_mul(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
            let value = (*size % 7 != 0).then(|| (0..u64::from(*size) / 8).flat_map(noise).collect::<Vec<_>>());
            let key = (*size % 5 != 0).then(|| format!("k{}", size % 11).into_bytes());
            for topic in [LOG, TABLE] {
                batch.push(&topic.into(), key.as_deref(), value.as_deref(), Default::default()).unwrap();
            }
            self.all.push((key, value));
        }
        self.bus().publisher("s").unwrap().publish(&batch, b"").unwrap();
    }

    fn read(&self, topic: &str, from: u64, count: usize) -> Vec<(u64, Entry)> {
        let limits = ReadLimits { records_max: count, bytes_max: usize::MAX, wait: Default::default() };
        let (mut all, mut next) = (Vec::new(), NextOffset(from));
        loop {
            let mut gathered = Gathered::default();
            self.bus().read(&at(topic, 0), next, &limits, &mut gathered).unwrap();
            let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
            let records = gathered.records().map(|(_, record)| (record.offset.0, (owned(record.key), owned(record.value))));
            all.extend(records);
            match gathered.records().last() {
                Some((_, record)) => next = record.offset.next(),
                None => return all,
            }
        }
    }

    /// The log is the end of the model, the table has its last entries and no others.
    fn compare(&self, back: u64, count: usize) -> Result<(), TestCaseError> {
        settle(self.bus());
        let topics = self.bus().topics().unwrap();
        let log = topics.iter().find(|topic| topic.name.as_str() == LOG).unwrap().partitions[0];
        prop_assert_eq!(log.next.0, self.all.len() as u64);
        // Retention runs when a segment begins, or once a second.
        prop_assert!(log.bytes.unwrap() <= (512 << 10) + (64 << 10));
        let from = log.next.0.saturating_sub(back);
        let expected = self.all.iter().cloned().enumerate().skip(from.max(log.start.0) as usize);
        let expected: Vec<_> = expected.map(|(offset, entry)| (offset as u64, entry)).collect();
        prop_assert!(self.read(LOG, from, count) == expected, "the log differs from {} on", from);

        let table = self.read(TABLE, 0, count.max(10));
        prop_assert!(table.windows(2).all(|pair| pair[0].0 < pair[1].0));
        prop_assert!(table.iter().all(|(offset, entry)| self.all[*offset as usize] == *entry));
        let last = |entries: Vec<(u64, Entry)>| {
            entries.into_iter().map(|(offset, (key, value))| (key, (offset, value))).collect::<BTreeMap<_, _>>()
        };
        let numbered = self.all.iter().cloned().enumerate().map(|(offset, entry)| (offset as u64, entry)).collect();
        let (found, mut expected) = (last(table), last(numbered));
        // A deletion may be gone, but only with all before it.
        expected.retain(|key, (_, value)| value.is_some() || found.contains_key(key));
        prop_assert!(found == expected, "the table differs");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..Default::default() })]

    #[test]
    fn the_log_is_what_a_vector_would_be(steps in vec(step(), 1..40)) {
        let mut subject = Subject::new();
        for step in &steps {
            match step {
                Step::Publish(sizes) => subject.publish(sizes),
                Step::Read(back, count) => subject.compare(u64::from(*back) % 500, usize::from(*count))?,
                Step::Compact => drop(subject.bus().compact()),
                Step::Reopen => {
                    subject.bus = None;
                    subject.bus = Some(Subject::open(&subject.directory));
                }
            }
        }
        subject.compare(u64::MAX, 1_000)?;
        subject.bus = None;
        prop_assert_eq!(stream_runtime::embedded::check(subject.directory.path()).unwrap().findings, []);
    }
}
