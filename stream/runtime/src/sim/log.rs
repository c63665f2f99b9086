//! One partition of the model: records of transactions and the markers that settle them.

use std::collections::{BTreeMap, BTreeSet};

use schemas::EventTime;
use stream_core::{Headers, NextOffset, Offset, OutputSource, Record, TopicPartition};

/// One transaction of one producer; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TransactionId(pub u64);

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its records count.
    Commit,
    /// They never happened.
    Abort,
}

/// Who wrote a record, which the model remembers beside it: a real log does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// An output of an engine.
    Output {
        /// The instance that put it out.
        input: TopicPartition,
        /// What it follows from, and its number among the outputs of that source. Only the model knows.
        number: Option<(OutputSource, u32)>,
    },
    /// A publisher.
    Publisher(String),
    /// An engine's state log.
    State,
}

/// A record as it lies in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value; none is a tombstone.
    pub value: Option<Vec<u8>>,
    /// Headers, encoded.
    pub headers: Vec<u8>,
    /// When it was appended.
    pub appended_at: EventTime,
    /// Who wrote it.
    pub origin: Origin,
}

impl Stored {
    /// The record as a reader sees it.
    pub(super) fn record<'a>(&'a self, at: &'a TopicPartition, offset: Offset) -> Record<'a> {
        Record {
            topic: &at.topic,
            partition: at.partition,
            offset,
            appended_at: self.appended_at,
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: Headers::from_encoded(&self.headers),
        }
    }
}

#[derive(Debug)]
enum Entry {
    Data(TransactionId, Stored),
    /// Takes an offset like a record: readers see gaps.
    Marker,
}

/// A partition. Retention moves its start, but nothing is ever removed, so that the oracle can read all that happened.
#[derive(Debug, Default)]
pub struct Log {
    entries: Vec<Entry>,
    start: NextOffset,
    open: BTreeMap<TransactionId, NextOffset>,
    aborted: BTreeSet<TransactionId>,
    appended_at: Option<EventTime>,
}

impl Log {
    /// Appends a record of an open transaction. Append times never decrease.
    pub fn append(&mut self, transaction: TransactionId, mut record: Stored) -> Offset {
        record.appended_at = self.appended_at.map_or(record.appended_at, |last| last.max(record.appended_at));
        self.appended_at = Some(record.appended_at);
        let here = self.high_watermark();
        self.open.entry(transaction).or_insert(here);
        self.entries.push(Entry::Data(transaction, record));
        Offset(here.0)
    }

    /// Takes over a record that was committed elsewhere, with its offset; what lies between was markers or never happened.
    /// False if a later record is here already.
    pub fn adopt(&mut self, offset: Offset, record: Stored) -> bool {
        const SETTLED: TransactionId = TransactionId(0);
        let gap = offset.0.checked_sub(self.entries.len() as u64);
        self.entries.extend((0..gap.unwrap_or(0)).map(|_| Entry::Marker));
        if gap.is_some() {
            self.entries.push(Entry::Data(SETTLED, record));
        }
        gap.is_some()
    }

    /// Writes the control marker of a transaction.
    pub fn settle(&mut self, transaction: TransactionId, verdict: Verdict) {
        if verdict == Verdict::Abort {
            self.aborted.insert(transaction);
        }
        self.open.remove(&transaction);
        self.entries.push(Entry::Marker);
    }

    /// Retention removes what lies before a position.
    pub fn trim(&mut self, to: NextOffset) {
        self.start = self.start.max(to);
    }

    /// The first position that clients can read.
    pub fn start(&self) -> NextOffset {
        self.start
    }

    /// The end that a client under read_uncommitted sees.
    pub fn high_watermark(&self) -> NextOffset {
        NextOffset(self.entries.len() as u64)
    }

    /// The end that a client under read_committed sees: the first record of the oldest open transaction.
    pub fn last_stable(&self) -> NextOffset {
        self.open.values().min().copied().unwrap_or_else(|| self.high_watermark())
    }

    /// Transactions that have no marker here yet.
    pub fn open(&self) -> impl Iterator<Item = TransactionId> {
        self.open.keys().copied()
    }

    /// The records that a client under read_committed reads from a position on, be they trimmed or not.
    pub fn committed(&self, from: NextOffset) -> impl Iterator<Item = (Offset, &Stored)> {
        self.transactions(from).map(|(offset, _, record)| (offset, record))
    }

    /// As [`Log::committed`], with the transaction of each.
    pub fn transactions(&self, from: NextOffset) -> impl Iterator<Item = (Offset, TransactionId, &Stored)> {
        let stable = self.last_stable().0 as usize;
        let from = (from.0 as usize).min(stable);
        self.entries[from..stable].iter().zip(from as u64..).filter_map(|(entry, offset)| match entry {
            Entry::Data(transaction, record) if !self.aborted.contains(transaction) => Some((Offset(offset), *transaction, record)),
            Entry::Data(..) | Entry::Marker => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: i64) -> Stored {
        Stored { key: None, value: Some(vec![at as u8]), headers: Vec::new(), appended_at: EventTime(at), origin: Origin::State }
    }

    fn values(log: &Log) -> Vec<u8> {
        log.committed(NextOffset(0)).filter_map(|(_, stored)| stored.value.as_ref()?.first().copied()).collect()
    }

    #[test]
    fn nothing_is_stable_beyond_the_oldest_open_transaction() {
        let (mut log, older, newer) = (Log::default(), TransactionId(1), TransactionId(2));
        log.append(older, record(1));
        log.append(newer, record(2));
        log.settle(newer, Verdict::Commit);
        assert_eq!((log.last_stable(), log.high_watermark()), (NextOffset(0), NextOffset(3)));
        assert_eq!(values(&log), [0u8; 0], "a later transaction's commit does not show before the older one is settled");
        log.settle(older, Verdict::Abort);
        assert_eq!(log.last_stable(), NextOffset(4));
        assert_eq!(values(&log), [2]);
    }

    #[test]
    fn markers_leave_gaps_and_append_times_never_decrease() {
        let mut log = Log::default();
        log.append(TransactionId(1), record(9));
        log.settle(TransactionId(1), Verdict::Commit);
        let offset = log.append(TransactionId(2), record(3));
        log.settle(TransactionId(2), Verdict::Commit);
        assert_eq!(offset, Offset(2));
        let times: Vec<_> = log.committed(NextOffset(0)).map(|(offset, stored)| (offset.0, stored.appended_at.0)).collect();
        assert_eq!(times, [(0, 9), (2, 9)]);
    }
}
